//! Every model by name.

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clap::ValueEnum;
use mamba_blocks::ConfigError;
use mamba_ts::data::{Batch, Input, Series};
use mamba_ts::{
    ArNet, ArNetConfig, DLinear, DLinearConfig, LastValue, LastValueConfig, MambaForecaster, MambaForecasterConfig,
    Network, Objective, SMamba, SMambaConfig, SeasonalNaive, SeasonalNaiveConfig, Tsm2, Tsm2Config,
};
use serde::{Deserialize, Serialize};

use crate::settings::Settings;

/// Which model.
#[derive(Clone, Copy, Debug, PartialEq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Variates as tokens, a scan over them in both directions
    SMamba,
    /// Selective mixing over time and over variates, by turns
    Tsm2,
    /// A scan over time for each variate, with a state that goes on
    Mamba,
    /// Linear in the trend and in the remainder
    DLinear,
    /// A linear autoregression
    ArNet,
    /// The last season again
    SeasonalNaive,
    /// The last value for ever
    LastValue,
}

impl Kind {
    pub const ALL: [Self; 7] =
        [Self::SMamba, Self::Tsm2, Self::Mamba, Self::DLinear, Self::ArNet, Self::SeasonalNaive, Self::LastValue];

    pub fn name(self) -> &'static str {
        match self {
            Self::SMamba => "S-Mamba",
            Self::Tsm2 => "TSM2",
            Self::Mamba => "Mamba over time",
            Self::DLinear => "DLinear",
            Self::ArNet => "AR-Net",
            Self::SeasonalNaive => "seasonal naive",
            Self::LastValue => "last value",
        }
    }

    /// The learning rate of the first epochs if the user gives none.
    pub fn lr(self) -> f64 {
        match self {
            Self::SMamba => 1e-4,
            Self::Tsm2 | Self::Mamba | Self::DLinear => 1e-3,
            Self::ArNet | Self::SeasonalNaive | Self::LastValue => 5e-3,
        }
    }

    /// Whether it is a rule, which every seed gives the same.
    pub fn is_rule(self) -> bool {
        matches!(self, Self::SeasonalNaive | Self::LastValue)
    }

    /// Whether it can forecast quantiles.
    pub fn has_quantiles(self) -> bool {
        matches!(self, Self::SMamba | Self::Tsm2 | Self::Mamba | Self::DLinear)
    }
}

/// One of them.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "a program has one")]
pub enum Model {
    SMamba(SMamba),
    Tsm2(Tsm2),
    Mamba(MambaForecaster),
    DLinear(DLinear),
    ArNet(ArNet),
    SeasonalNaive(SeasonalNaive),
    LastValue(LastValue),
}

impl Model {
    /// The model of `settings` for `series`, which forecasts so many rows.
    pub fn new(
        settings: &Settings,
        horizon: usize,
        outputs: usize,
        series: &Series,
        device: &Device,
    ) -> Result<Self, ConfigError> {
        let Settings { model, look_back, d_model, layers, d_state, .. } = *settings;
        let frequency = series.calendar().map(|calendar| calendar.frequency);
        let marks = frequency.map_or(0, |frequency| frequency.num_marks());
        let season = frequency.map_or(1, |frequency| frequency.season()).min(look_back);
        Ok(match model {
            Kind::SMamba => {
                let config = SMambaConfig::new(look_back, horizon).with_d_model(d_model).with_d_ff(settings.d_ff);
                let config = config.with_e_layers(layers).with_d_state(d_state).with_outputs(outputs);
                Self::SMamba(config.with_use_norm(settings.use_norm).try_init(device)?)
            }
            Kind::Tsm2 => {
                let config = Tsm2Config::new(look_back, horizon, series.variates()).with_marks(marks);
                let config = config.with_n_blocks(layers).with_d_state(d_state).with_outputs(outputs);
                Self::Tsm2(config.try_init(device)?)
            }
            Kind::Mamba => {
                let config = MambaForecasterConfig::new(look_back, horizon).with_marks(marks).with_n_layer(layers);
                let config = config.with_patch(look_back.min(24)).with_d_model(d_model / 4).with_outputs(outputs);
                Self::Mamba(config.try_init(device)?)
            }
            Kind::DLinear => {
                Self::DLinear(DLinearConfig::new(look_back, horizon).with_outputs(outputs).try_init(device)?)
            }
            Kind::ArNet => Self::ArNet(ArNetConfig::new(look_back, horizon, look_back).try_init(device)?),
            Kind::SeasonalNaive => {
                Self::SeasonalNaive(SeasonalNaiveConfig::new(look_back, horizon, season).try_init()?)
            }
            Kind::LastValue => Self::LastValue(LastValueConfig::new(look_back, horizon).try_init()?),
        })
    }
}

/// The same expression for the model of every variant.
macro_rules! each {
    ($model:expr, $inner:ident => $expression:expr) => {
        match $model {
            Model::SMamba($inner) => $expression,
            Model::Tsm2($inner) => $expression,
            Model::Mamba($inner) => $expression,
            Model::DLinear($inner) => $expression,
            Model::ArNet($inner) => $expression,
            Model::SeasonalNaive($inner) => $expression,
            Model::LastValue($inner) => $expression,
        }
    };
}

impl Network for Model {
    fn look_back(&self) -> usize {
        each!(self, model => model.look_back())
    }

    fn horizon(&self) -> usize {
        each!(self, model => model.horizon())
    }

    fn forecast(&self, input: Input) -> Tensor<4> {
        each!(self, model => model.forecast(input))
    }

    fn loss(&self, batch: Batch, objective: &Objective) -> Tensor<1> {
        each!(self, model => model.loss(batch, objective))
    }
}

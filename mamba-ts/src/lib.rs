//! Time series models on selective state spaces for Burn.
//!
//! | model | source | what it is |
//! |---|---|---|
//! | [`SMamba`] | Wang et al. 2024 | variates as tokens, a scan over them in both directions |
//! | [`Tsm2`] | Behrouz et al. 2024 | selective mixing over time and over variates, by turns |
//! | [`MambaForecaster`] | | a scan over time for each variate, with a state that goes on |
//! | [`motion::MotionPredictor`] | Huang et al. 2024 | MambaTrack: the next box of a tracked object |
//! | [`SequenceClassifier`] | | the class of a sequence, by a [`BiEncoder`] |
//! | [`LastValue`], [`SeasonalNaive`], [`ArNet`], [`DLinear`] | see there | what every claim is measured against |
//!
//! A [`Network`] goes from look-backs to horizons, in scaled units. A [`forecast::Forecaster`] goes from a
//! [`data::Series`] to how it goes on, in the units of the series: it scales, trains, takes new rows, and is
//! back-tested. [`SMambaConfig::load`] reads checkpoints of the original.
//!
//! ```
//! use burn::tensor::Device;
//! use mamba_ts::data::Series;
//! use mamba_ts::forecast::{ForecastError, Forecaster, NetworkForecaster};
//! use mamba_ts::training::TrainingConfig;
//! use mamba_ts::{Objective, SMambaConfig};
//!
//! # fn main() -> Result<(), ForecastError> {
//! // Series::read makes one of a CSV or Parquet file.
//! let waves = (0..200).flat_map(|row| [(row as f32 / 4.0).sin(), (row as f32 / 6.0).cos()]).collect();
//! let series = Series::new(vec!["a".into(), "b".into()], waves, None);
//!
//! let device = Device::default().autodiff();
//! let levels = vec![0.1, 0.5, 0.9];
//! let network = SMambaConfig::new(24, 12).with_d_model(16).with_d_ff(16).with_outputs(levels.len()).init(&device);
//! let training = TrainingConfig::new().with_epochs(1).with_objective(Objective::Quantiles(levels));
//! let mut forecaster = NetworkForecaster::new(network, training, &device);
//! forecaster.fit(&series)?;
//! forecaster.update(&[0.5, f32::NAN])?;
//! let forecast = forecaster.predict(12)?;
//! assert_eq!((forecast.horizon(), forecast.outputs(0, 1).len()), (12, 3));
//! # Ok(())
//! # }
//! ```

mod baselines;
mod bi_encoder;
mod both_ways;
mod classifier;
mod config;
pub mod data;
pub mod forecast;
mod mamba_forecaster;
pub mod metrics;
pub mod motion;
mod network;
mod normalization;
mod s_mamba;
pub mod training;
mod tsm2;

pub use baselines::{
    ArNet, ArNetConfig, DLinear, DLinearConfig, LastValue, LastValueConfig, SeasonalNaive, SeasonalNaiveConfig,
};
pub use bi_encoder::{BiEncoder, BiEncoderConfig, BiLayer};
pub use classifier::{SequenceClassifier, SequenceClassifierConfig};
pub use mamba_forecaster::{ForecasterState, MambaForecaster, MambaForecasterConfig};
pub use network::{Network, Objective};
pub use normalization::{Instance, RevIn, RevInConfig};
pub use s_mamba::{Activation, Encoder, EncoderLayer, InvertedEmbedding, SMamba, SMambaConfig};
pub use tsm2::{Averages, MambaMixerBlock, Tsm2, Tsm2Config};

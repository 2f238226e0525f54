//! What the scripts of the original program train with, by data set and horizon.

use super::SMambaConfig;
use crate::training::TrainingConfig;

/// One data set; of lists, a value for each horizon.
struct Published {
    /// The name of its file without the ending, and what the paper calls it.
    names: &'static [&'static str],
    horizons: [usize; 4],
    e_layers: [usize; 4],
    /// `d_model` and `d_ff`.
    width: [usize; 4],
    d_state: [usize; 4],
    lr: [f64; 4],
    batch: [usize; 4],
    epochs: [usize; 4],
    use_norm: bool,
}

/// What most data sets have.
const LONG: Published = Published {
    names: &[],
    horizons: [96, 192, 336, 720],
    e_layers: [2; 4],
    width: [512; 4],
    d_state: [32; 4],
    lr: [1e-4; 4],
    batch: [32; 4],
    epochs: [10; 4],
    use_norm: true,
};
const ETT: Published = Published { width: [256, 128, 128, 128], d_state: [2; 4], lr: [5e-5; 4], ..LONG };
const PEMS: Published = Published { horizons: [12, 24, 48, 96], e_layers: [4; 4], ..LONG };

const ALL: [Published; 13] = [
    Published { names: &["ETTh1"], width: [256; 4], lr: [7e-5, 7e-5, 5e-5, 5e-5], ..ETT },
    Published { names: &["ETTh2"], width: [256; 4], lr: [4e-5, 4e-5, 3e-5, 7e-5], ..ETT },
    Published { names: &["ETTm1"], ..ETT },
    Published { names: &["ETTm2"], lr: [5e-5, 5e-5, 3e-5, 5e-5], ..ETT },
    Published {
        names: &["exchange_rate", "Exchange"],
        width: [128; 4],
        lr: [1e-4, 1e-4, 5e-5, 5e-5],
        batch: [16, 32, 32, 32],
        ..LONG
    },
    Published { names: &["weather"], e_layers: [3; 4], d_state: [2; 4], lr: [5e-5; 4], epochs: [5; 4], ..LONG },
    Published {
        names: &["electricity", "ECL"],
        e_layers: [3; 4],
        d_state: [16, 32, 32, 32],
        lr: [1e-3, 5e-4, 5e-4, 5e-4],
        batch: [16; 4],
        epochs: [5; 4],
        ..LONG
    },
    Published { names: &["traffic"], e_layers: [4; 4], lr: [1e-3, 1e-3, 2e-3, 8e-4], batch: [16; 4], ..LONG },
    Published { names: &["solar_AL", "Solar"], ..LONG },
    Published {
        names: &["PEMS03"],
        e_layers: [4, 4, 5, 4],
        lr: [1e-3, 1e-3, 1e-4, 1.5e-3],
        epochs: [5, 10, 10, 10],
        ..PEMS
    },
    Published { names: &["PEMS04"], width: [1024; 4], lr: [3e-4; 4], use_norm: false, ..PEMS },
    Published {
        names: &["PEMS07"],
        e_layers: [2, 2, 4, 4],
        lr: [7e-4, 7e-4, 5e-4, 5e-4],
        batch: [16, 32, 32, 16],
        use_norm: false,
        ..PEMS
    },
    Published {
        names: &["PEMS08"],
        e_layers: [2, 2, 4, 4],
        width: [512, 512, 256, 256],
        lr: [1e-3, 7e-4, 1e-3, 1e-3],
        batch: [32, 32, 16, 16],
        ..PEMS
    },
];

impl SMambaConfig {
    /// The model and the training of the [original program's scripts] for a data set (`ETTh1`, `ETTm2`, `weather`,
    /// `electricity`, `PEMS08`, and so on) and a horizon of the paper, with a look-back of 96; none for others.
    ///
    /// Time marks are further tokens there, except for Solar and PEMS, whose files have no dates.
    ///
    /// ```
    /// use mamba_ts::SMambaConfig;
    ///
    /// let (model, training) = SMambaConfig::published("ETTh1", 96).expect("the paper has it");
    /// assert_eq!((model.d_model, model.horizon, training.epochs), (256, 96, 10));
    /// assert!(SMambaConfig::published("ETTh1", 100).is_none());
    /// ```
    ///
    /// [original program's scripts]: https://github.com/wzhwzhwzh0921/S-D-Mamba/tree/main/scripts
    pub fn published(dataset: &str, horizon: usize) -> Option<(Self, TrainingConfig)> {
        let named = |set: &&Published| set.names.iter().any(|name| name.eq_ignore_ascii_case(dataset));
        let set = ALL.iter().find(named)?;
        let place = set.horizons.iter().position(|&other| other == horizon)?;
        let model = Self::new(96, horizon)
            .with_e_layers(set.e_layers[place])
            .with_d_model(set.width[place])
            .with_d_ff(set.width[place])
            .with_d_state(set.d_state[place])
            .with_use_norm(set.use_norm);
        let training =
            TrainingConfig::new().with_lr(set.lr[place]).with_batch(set.batch[place]).with_epochs(set.epochs[place]);
        Some((model, training))
    }
}

//! The hyper-parameters of a run: flags of `train`, stored in its checkpoints.

use clap::Args;
use mamba_blocks::MambaLmConfig;
use serde::{Deserialize, Serialize};

use crate::data::VOCABULARY;
use crate::error::Error;
use crate::recipe::Recipe;

/// Larger models than this are slips of the finger: nothing here is meant for them.
const MOST_PARAMETERS: u128 = 1 << 30;

/// Model and training hyper-parameters. A field is the flag of the same name.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Settings {
    /// Width of the residual stream
    #[arg(long, default_value_t = 128, help_heading = "Model")]
    pub d_model: usize,
    /// Number of Mamba blocks
    #[arg(long, default_value_t = 4, help_heading = "Model")]
    pub n_layer: usize,
    /// Size of the state of each channel
    #[arg(long, default_value_t = 16, help_heading = "Model")]
    pub d_state: usize,
    #[command(flatten)]
    #[serde(flatten)]
    pub recipe: Recipe,
}

impl Settings {
    /// The model that these settings describe.
    pub fn model(&self) -> MambaLmConfig {
        MambaLmConfig::new(VOCABULARY, self.d_model, self.n_layer).with_d_state(self.d_state)
    }

    /// Refuses values that no run can have.
    pub fn validate(&self) -> Result<(), Error> {
        let model = self.model();
        model.validate()?;
        let parameters = self.n_layer as u128 * model.block().num_params() as u128;
        if parameters > MOST_PARAMETERS {
            return Err(Error::ModelTooLarge { parameters, most: MOST_PARAMETERS });
        }
        self.recipe.validate()
    }
}

#[cfg(test)]
pub mod tests {
    use clap::{ArgMatches, CommandFactory, FromArgMatches, Parser};

    use super::*;
    use crate::recipe::conflict;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        settings: Settings,
    }

    fn parse(flags: &[&str]) -> (Settings, ArgMatches) {
        let matches = Line::command().get_matches_from([&["train"], flags].concat());
        (Line::from_arg_matches(&matches).unwrap().settings, matches)
    }

    /// The defaults.
    pub fn settings() -> Settings {
        parse(&[]).0
    }

    /// The defaults.
    pub fn recipe() -> Recipe {
        settings().recipe
    }

    #[test]
    fn defaults_are_valid() {
        settings().validate().unwrap();
    }

    #[test]
    fn an_impossible_value_is_refused_by_its_flag() {
        let with = |recipe: Recipe| Settings { recipe, ..settings() };
        let refused = [
            ("d_model", Settings { d_model: 0, ..settings() }),
            ("n_layer", Settings { n_layer: 0, ..settings() }),
            ("parameters", Settings { d_model: 1 << 20, n_layer: 1 << 20, ..settings() }),
            ("batch", with(Recipe { batch: 1 << 40, ..recipe() })),
            ("batch", with(Recipe { length: usize::MAX, ..recipe() })),
            ("length", with(Recipe { length: 0, ..recipe() })),
            ("accumulate", with(Recipe { accumulate: 0, ..recipe() })),
            ("accumulate", with(Recipe { accumulate: 3, ..recipe() })),
            ("every", with(Recipe { every: 0, ..recipe() })),
            ("warmup", with(Recipe { warmup: 9, steps: 9, ..recipe() })),
            ("lr", with(Recipe { lr: f64::NAN, ..recipe() })),
            ("lr", with(Recipe { lr: -1.0, ..recipe() })),
            ("min-lr", with(Recipe { min_lr: 0.5, lr: 0.1, ..recipe() })),
            ("weight-decay", with(Recipe { weight_decay: -0.1, ..recipe() })),
            ("clip", with(Recipe { clip: 0.0, ..recipe() })),
        ];
        for (flag, settings) in refused {
            let message = settings.validate().unwrap_err().to_string();
            assert!(message.contains(flag), "{message}");
        }
    }

    #[test]
    fn only_typed_flags_conflict() {
        let stored = Settings { d_model: 64, recipe: Recipe { lr: 0.01, ..recipe() }, ..settings() };
        let conflict = |flags: &[&str]| {
            let (given, matches) = parse(flags);
            conflict(&given, &stored, &matches)
        };
        assert_eq!(conflict(&[]), None);
        assert_eq!(conflict(&["--d-model", "64", "--lr", "1e-2"]), None);
        assert_eq!(conflict(&["--d-model", "32"]), Some(("d-model".into(), "32".into(), "64".into())));
        assert_eq!(conflict(&["--lr", "1e-3"]), Some(("lr".into(), "0.001".into(), "0.01".into())));
    }
}

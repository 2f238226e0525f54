//! What is trained of a model, and how.

use burn::module::Module;
use clap::Args;
use mamba_blocks::{LoraConfig, LoraTarget, MambaLm};
use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::recipe::{Recipe, check};

/// The share of the parameters that adapters have at most if no rank is given.
const MOST_SHARE: f64 = 0.02;
const MOST_RANK: usize = 8;

/// The flags of `finetune` that a run keeps.
#[derive(Args, Clone, Debug, Serialize, Deserialize)]
pub struct Tuning {
    /// Train adapters of low rank beside these projections, of in_proj, x_proj, dt_proj and out_proj; nothing else moves
    #[arg(long, value_delimiter = ',', help_heading = "LoRA")]
    pub lora: Vec<String>,
    /// Rank of the adapters [default: up to 8, as long as they have less than 2 % of the parameters]
    #[arg(long, help_heading = "LoRA")]
    pub rank: Option<usize>,
    /// The adapters are scaled by alpha / rank [default: twice the rank]
    #[arg(long, help_heading = "LoRA")]
    pub alpha: Option<f64>,
    #[command(flatten)]
    #[serde(flatten)]
    pub recipe: Recipe,
}

impl Tuning {
    /// The adapters for `model`, if any are asked for.
    pub fn lora(&self, model: &MambaLm) -> Result<Option<LoraConfig>, Error> {
        if self.lora.is_empty() {
            for (flag, given) in [("rank", self.rank.map(|rank| rank as f64)), ("alpha", self.alpha)] {
                check(flag, given.unwrap_or_default(), given.is_none(), "--lora beside it")?;
            }
            return Ok(None);
        }
        let targets = self.lora.iter().map(|name| name.trim().parse()).collect::<Result<Vec<LoraTarget>, _>>()?;
        let config = LoraConfig::new().with_targets(targets);
        let rank = match self.rank {
            Some(rank) => rank,
            None => {
                let most = MOST_SHARE * model.num_params() as f64;
                let count = |rank| config.clone().with_rank(rank).num_params(model);
                let fits = |&rank: &usize| count(rank).is_ok_and(|count| (count as f64) < most);
                (1..=MOST_RANK).rev().find(fits).unwrap_or(1)
            }
        };
        let config = config.with_rank(rank).with_alpha(self.alpha.unwrap_or(2.0 * rank as f64));
        config.num_params(model)?;
        Ok(Some(config))
    }
}

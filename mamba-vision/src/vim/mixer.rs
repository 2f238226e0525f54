//! The mixer of Vision Mamba, which reads the tokens from both ends.

use crate::branch::{Branch, Way};
use crate::order::ScanPaths;
use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mamba_blocks::parts::{project, project_in_halves};
use mamba_blocks::{ConfigError, Direction, MambaConfig};

/// What the direction from the last token to the first has of its own.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum BiMambaType {
    /// Only its decay rates: it reads the features of the forward convolution.
    V1,
    /// Everything between the projections in and out, as in all published models.
    V2,
}

/// Configuration of a [`BiMamba`]; the defaults are those of the published models.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_blocks::MambaConfig;
/// use mamba_vision::{BiMambaConfig, BiMambaType};
///
/// let device = Device::default();
/// let v2 = BiMambaConfig::new(MambaConfig::new(16)).init(&device);
/// let v1 = BiMambaConfig::new(MambaConfig::new(16)).with_bimamba_type(BiMambaType::V1).try_init(&device)?;
/// let tokens = Tensor::<3>::ones([2, 10, 16], &device);
/// assert_eq!(v2.forward(tokens.clone()).dims(), v1.forward(tokens).dims());
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct BiMambaConfig {
    /// The mixer of one direction.
    pub mixer: MambaConfig,
    /// What the other direction has of its own.
    #[config(default = "BiMambaType::V2")]
    pub bimamba_type: BiMambaType,
    /// Whether the outputs of both directions are averaged instead of added (`div2` in the names of models).
    #[config(default = true)]
    pub divide_out: bool,
}

impl BiMambaConfig {
    /// Makes the mixer.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> BiMamba {
        self.try_init(device).unwrap_or_else(|error| panic!("BiMambaConfig: {error}"))
    }

    /// Makes the mixer.
    ///
    /// # Errors
    /// [`ConfigError`], as of [`MambaConfig::validate`].
    pub fn try_init(&self, device: &Device) -> Result<BiMamba, ConfigError> {
        let mixer = self.mixer.try_init(device)?;
        let other = self.mixer.try_init(device)?;
        let (a_b_log, branch_b) = match self.bimamba_type {
            BiMambaType::V1 => (Some(other.a_log), None),
            BiMambaType::V2 => {
                let mut branch = Branch::of(other);
                branch.dt_proj = self.dt_proj_b(device);
                (None, Some(branch))
            }
        };
        let (in_proj, out_proj) = (mixer.in_proj.clone(), mixer.out_proj.clone());
        Ok(BiMamba { in_proj, branch: Branch::of(mixer), branch_b, a_b_log, out_proj, divide_out: self.divide_out })
    }

    /// The original starts it as any linear layer, without regard to the time steps.
    fn dt_proj_b(&self, device: &Device) -> Linear {
        let (dt_rank, d_inner) = (self.mixer.dt_rank(), self.mixer.d_inner());
        let bias = Initializer::Zeros.init([d_inner], device);
        Linear { bias: Some(bias), ..LinearConfig::new(dt_rank, d_inner).with_bias(false).init(device) }
    }
}

/// The bidirectional mixer of Vision Mamba (Zhu et al. 2024): one projection in and one out, and between
/// them a scan from the first token and one from the last. Made by [`BiMambaConfig`].
#[derive(Module, Debug)]
pub struct BiMamba {
    /// From `d_model` to `[x, z]`, `2 * d_inner`.
    pub in_proj: Linear,
    /// From the first token to the last.
    pub branch: Branch,
    /// From the last token to the first; none in [`BiMambaType::V1`].
    pub branch_b: Option<Branch>,
    /// The decay rates from the last token to the first in [`BiMambaType::V1`]: `[d_inner, d_state]`.
    pub a_b_log: Option<Param<Tensor<2>>>,
    /// From `d_inner` to `d_model`.
    pub out_proj: Linear,
    /// Whether the outputs of both directions are averaged instead of added.
    pub divide_out: bool,
}

impl BiMamba {
    /// Mixes `[batch, length, d_model]` into the same shape; every token sees every other.
    ///
    /// # Panics
    /// If the input's last dimension is not `d_model`, or a dimension is zero.
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        self.forward_along(input, None)
    }

    /// As [`forward`](Self::forward), with both directions along one path through the tokens.
    ///
    /// # Panics
    /// As [`forward`](Self::forward), or if the path has another length.
    pub fn forward_along(&self, input: Tensor<3>, path: Option<&ScanPaths>) -> Tensor<3> {
        let [forth, back] = [Direction::Forward, Direction::Reverse].map(|direction| Way { direction, path });
        let (x, z) = project_in_halves(&self.in_proj, input);
        let y = match (&self.branch_b, &self.a_b_log) {
            (Some(branch_b), _) => self.branch.go(x.clone(), z.clone(), forth) + branch_b.go(x, z, back),
            (None, Some(a_b_log)) => {
                let selection = self.branch.select(x, forth);
                let y = self.branch.scan(selection.clone(), &self.branch.a_log, z.clone(), forth);
                y + self.branch.scan(selection, a_b_log, z, back)
            }
            (None, None) => self.branch.go(x, z, forth),
        };
        project(&self.out_proj, if self.divide_out { y.div_scalar(2.0) } else { y })
    }
}

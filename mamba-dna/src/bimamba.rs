//! A Mamba mixer that reads the tokens from both ends (Schiff et al. 2024, section 3.1).

use crate::mixer::Mixer;
use burn::config::Config;
use burn::module::{Initializer, Module, Param};
use burn::nn::Linear;
use burn::nn::conv::Conv1d;
use burn::tensor::{Device, Tensor};
use mamba_blocks::parts::{project, project_in_halves};
use mamba_blocks::{ConfigError, Direction, Mamba, MambaConfig, MambaOptions};

/// How the outputs of both directions become one.
#[derive(Config, Debug, Copy, PartialEq)]
pub enum Combine {
    /// Their sum, as in all published models.
    Add,
    /// Their product, element by element.
    Multiply,
}

/// Configuration of a [`BiMamba`]; the defaults are those of the published models.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_blocks::MambaConfig;
/// use mamba_dna::{BiMambaConfig, Combine};
///
/// let device = Device::default();
/// let config = BiMambaConfig::new(MambaConfig::new(16));
/// let mixer = config.init(&device);
/// assert_eq!(mixer.forward(Tensor::ones([2, 10, 16], &device)).dims(), [2, 10, 16]);
/// let other = config.with_combine(Combine::Multiply).with_weight_tie(false).try_init(&device)?;
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct BiMambaConfig {
    /// The mixer of one direction.
    pub mixer: MambaConfig,
    /// Whether there is a direction from the last token to the first.
    #[config(default = true)]
    pub bidirectional: bool,
    /// How the outputs of both directions become one.
    #[config(default = "Combine::Add")]
    pub combine: Combine,
    /// Whether both directions share the projections in and out, which have most of the parameters.
    #[config(default = true)]
    pub weight_tie: bool,
}

impl BiMambaConfig {
    /// Number of parameters.
    pub fn num_params(&self) -> usize {
        let one = self.mixer.num_params();
        let (d_model, d_inner, biases) = (self.mixer.d_model, self.mixer.d_inner(), usize::from(self.mixer.bias));
        let projections = 3 * d_model * d_inner + biases * (2 * d_inner + d_model);
        match (self.bidirectional, self.weight_tie) {
            (false, _) => one,
            (true, false) => 2 * one,
            (true, true) => 2 * one - projections,
        }
    }

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
        let mamba_fwd = self.mixer.try_init(device)?;
        let mamba_rev = match self.bidirectional {
            true => Some(Reverse::of(self.mixer.try_init(device)?, self.weight_tie)),
            false => None,
        };
        Ok(BiMamba { mamba_fwd, mamba_rev, combine: self.combine })
    }
}

/// A Mamba mixer from the first token to the last, and one from the last to the first. Made by [`BiMambaConfig`].
#[derive(Module, Debug)]
pub struct BiMamba {
    /// From the first token to the last.
    pub mamba_fwd: Mamba,
    /// From the last token to the first.
    pub mamba_rev: Option<Reverse>,
    /// How the outputs of both directions become one.
    #[module(skip)]
    pub combine: Combine,
}

/// What the direction from the last token to the first has of its own; see [`Mamba`] for the shapes.
#[derive(Module, Debug)]
pub struct Reverse {
    /// None if it is that of the other direction.
    pub in_proj: Option<Linear>,
    /// The causal depthwise convolution.
    pub conv1d: Conv1d,
    /// From `d_inner` to `[dt, b, c]`.
    pub x_proj: Linear,
    /// From `dt_rank` to `d_inner`.
    pub dt_proj: Linear,
    /// `a = -exp(a_log)`.
    pub a_log: Param<Tensor<2>>,
    /// The skip connection.
    pub d: Param<Tensor<1>>,
    /// None if it is that of the other direction.
    pub out_proj: Option<Linear>,
}

impl Reverse {
    fn of(mamba: Mamba, weight_tie: bool) -> Self {
        let Mamba { in_proj, conv1d, x_proj, dt_proj, a_log, d, out_proj, .. } = mamba;
        let own = |layer| if weight_tie { None } else { Some(layer) };
        Self { in_proj: own(in_proj), conv1d, x_proj, dt_proj, a_log, d, out_proj: own(out_proj) }
    }

    /// The whole mixer, with the projections of `other` where it has none.
    fn mamba(&self, other: &Mamba) -> Mamba {
        Mamba {
            in_proj: self.in_proj.as_ref().unwrap_or(&other.in_proj).clone(),
            conv1d: self.conv1d.clone(),
            x_proj: self.x_proj.clone(),
            dt_proj: self.dt_proj.clone(),
            a_log: self.a_log.clone(),
            d: self.d.clone(),
            out_proj: self.out_proj.as_ref().unwrap_or(&other.out_proj).clone(),
            inner_norm_epsilon: other.inner_norm_epsilon,
            long_context: None,
            kept_rates: None,
        }
    }
}

impl BiMamba {
    /// Mixes `[batch, length, d_model]` into the same shape; every token sees every other.
    ///
    /// # Panics
    /// If the input's last dimension is not `d_model`, or a dimension is zero.
    pub fn forward(&self, input: Tensor<3>) -> Tensor<3> {
        let Some(reverse) = &self.mamba_rev else { return self.mamba_fwd.forward(input) };
        let (fwd, rev) = (&self.mamba_fwd, reverse.mamba(&self.mamba_fwd));
        let backwards = || MambaOptions::new().with_direction(Direction::Reverse);
        let is_tied = reverse.in_proj.is_none() && reverse.out_proj.is_none();
        match self.combine {
            // Shared projections are taken once: before the directions part, and after they have been added.
            Combine::Add if is_tied && fwd.out_proj.bias.is_none() => {
                let (x, z) = project_in_halves(&fwd.in_proj, input);
                let (y, _) = fwd.between_projections(x.clone(), z.clone(), MambaOptions::new());
                let (back, _) = rev.between_projections(x, z, backwards());
                project(&fwd.out_proj, y + back)
            }
            Combine::Add => fwd.forward(input.clone()) + rev.forward_with(input, backwards()).0,
            Combine::Multiply => fwd.forward(input.clone()) * rev.forward_with(input, backwards()).0,
        }
    }

    /// Draws the weights of `out_proj` anew, divided by `sqrt(n_layer)`, as the original does with all mixers of a model.
    pub(crate) fn rescale(&mut self, n_layer: usize, device: &Device) {
        let redraw = |layer: &mut Linear| {
            let [d_inner, d_model] = layer.weight.dims();
            // PyTorch's uniform weight, divided.
            let gain = 1.0 / (3.0 * n_layer as f64).sqrt();
            let weight = Initializer::KaimingUniform { gain, fan_out_only: false };
            layer.weight = weight.init_with([d_inner, d_model], Some(d_inner), None, device);
        };
        redraw(&mut self.mamba_fwd.out_proj);
        if let Some(layer) = self.mamba_rev.as_mut().and_then(|reverse| reverse.out_proj.as_mut()) {
            redraw(layer);
        }
    }
}

impl Mixer for BiMamba {
    fn mix(&self, input: Tensor<3>) -> Tensor<3> {
        self.forward(input)
    }
}

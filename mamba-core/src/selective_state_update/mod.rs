//! One decoding step of the selective scan (Gu & Dao 2023, section 3.3.2).
//!
//! A step is a scan of length one from a state, and as differentiable: one launch. On GPUs one that nobody differentiates
//! has a kernel of its own, which writes into the memory of the last state unless somebody holds it.

use crate::{SelectiveScanOptions, selective_scan};
use burn::tensor::Tensor;

/// The optional arguments of [`selective_state_update()`].
#[derive(Clone, Debug, Default)]
pub struct SelectiveStateUpdateOptions {
    d: Option<Tensor<1>>,
    z: Option<Tensor<2>>,
    delta_bias: Option<Tensor<1>>,
    delta_softplus: bool,
}

impl SelectiveStateUpdateOptions {
    /// No skip, no gate, no bias, no softplus.
    pub fn new() -> Self {
        Self::default()
    }

    /// The skip connection `d`: `[d_inner]`.
    pub fn with_d(mut self, d: Tensor<1>) -> Self {
        self.d = Some(d);
        self
    }

    /// The gate `z`: `[batch, d_inner]`.
    pub fn with_z(mut self, z: Tensor<2>) -> Self {
        self.z = Some(z);
        self
    }

    /// The bias of delta: `[d_inner]`.
    pub fn with_delta_bias(mut self, delta_bias: Tensor<1>) -> Self {
        self.delta_bias = Some(delta_bias);
        self
    }

    /// Whether delta goes through a softplus.
    pub fn with_delta_softplus(mut self, delta_softplus: bool) -> Self {
        self.delta_softplus = delta_softplus;
        self
    }
}

/// Advances `state` `[batch, d_inner, d_state]` by one token; returns `y` `[batch, d_inner]` and the next state.
///
/// # Shapes
/// - `u`, `delta`: `[batch, d_inner]`
/// - `a`: `[d_inner, d_state]`
/// - `b`, `c`: `[batch, n_groups, d_state]`
///
/// # Panics
/// As [`selective_scan()`].
///
/// ```
/// use burn::tensor::{Device, Distribution, Tensor};
/// use mamba_core::{SelectiveStateUpdateOptions, selective_state_update};
///
/// let device = Device::default();
/// let [batch, d_inner, d_state] = [2, 8, 4];
/// let random = |width| Tensor::<2>::random([batch, width], Distribution::Default, &device);
/// let a = Tensor::<2>::ones([d_inner, d_state], &device).neg();
///
/// let mut state = Tensor::<3>::zeros([batch, d_inner, d_state], &device);
/// for _token in 0..3 {
///     let (u, delta) = (random(d_inner), random(d_inner));
///     let (b, c) = (random(d_state).unsqueeze_dim(1), random(d_state).unsqueeze_dim(1));
///     let options = SelectiveStateUpdateOptions::new().with_z(random(d_inner)).with_delta_softplus(true);
///     let (y, next) = selective_state_update(state, u, delta, a.clone(), b, c, options);
///     assert_eq!((y.dims(), next.dims()), ([batch, d_inner], [batch, d_inner, d_state]));
///     state = next;
/// }
/// ```
pub fn selective_state_update(
    state: Tensor<3>,
    u: Tensor<2>,
    delta: Tensor<2>,
    a: Tensor<2>,
    b: Tensor<3>,
    c: Tensor<3>,
    options: SelectiveStateUpdateOptions,
) -> (Tensor<2>, Tensor<3>) {
    let SelectiveStateUpdateOptions { d, z, delta_bias, delta_softplus } = options;
    let mut scan = SelectiveScanOptions::new().with_delta_softplus(delta_softplus).with_initial_state(state);
    if let Some(d) = d {
        scan = scan.with_d(d);
    }
    if let Some(z) = z {
        scan = scan.with_z(z.unsqueeze_dim(1));
    }
    if let Some(bias) = delta_bias {
        scan = scan.with_delta_bias(bias);
    }
    let out =
        selective_scan(u.unsqueeze_dim(1), delta.unsqueeze_dim(1), a, b.unsqueeze_dim(1), c.unsqueeze_dim(1), scan);
    (out.y.squeeze_dim(1), out.final_state)
}

//! Operators of selective state space models, for every device that Burn runs on.
//!
//! Each operator is a function on [`burn::tensor::Tensor`]s with a custom gradient:
//!
//! | operator | source | what it is |
//! |---|---|---|
//! | [`selective_scan()`] | Gu & Dao 2023, section 3 | the recurrence of Mamba-1 with its skip and gate |
//! | [`causal_conv1d()`] | Gu & Dao 2023, section 3.4 | the short depthwise convolution before it |
//! | [`depthwise_conv3x3()`] | Liu et al. 2024, section 4.2 | the same before a scan across an image |
//! | [`halving_windows()`] | Chellapilla et al. 2006 | what a convolution of 3 x 3 at every second place sees |
//! | [`selective_state_update()`] | the same recurrence | one step of decoding |
//! | [`add_rms_norm()`] | Gu & Dao 2023, section 3.4 | the residual stream and its norm between two mixers |
//! | [`layer_norm()`] | Ba et al. 2016 | the norm of vision and time series models |
//! | [`gelu()`] | Hendrycks & Gimpel 2016 | the activation of vision and time series models |
//! | [`linear()`] | | the projections around them: cuBLASLt's on CUDA, Burn's elsewhere |
//!
//! Every operator folder has the same rooms: `mod.rs` (the function, its arguments and checks), `reference.rs` (plain
//! tensor operations: the oracle), `backend.rs` (the extension trait), `autodiff.rs` (the backward node), `cpu.rs`
//! (Flex and NdArray) and `cube/` (one CubeCL kernel for CUDA, ROCm, Vulkan, Metal and WebGPU). Devices without a
//! kernel of ours run the reference.
//!
//! # Features
//! `flex` (default), `ndarray`, `wgpu`, `vulkan`, `metal`, `webgpu`, `cuda`, `rocm`, `fusion` and `autotune` are
//! Burn's own features of these names.

#![cfg_attr(feature = "ndarray", allow(deprecated, reason = "NdArray is supported for as long as Burn has it"))]

mod backend;
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "cube")]
mod launches;
mod memory;
mod order;

pub mod add_rms_norm;
pub mod causal_conv1d;
pub mod depthwise_conv3x3;
pub mod gelu;
pub mod halving_windows;
pub mod layer_norm;
pub mod linear;
pub mod selective_scan;
pub mod selective_state_update;

pub use add_rms_norm::{AddRmsNormOutput, add_rms_norm};
pub use backend::{among_workers, records_graphs};
pub use causal_conv1d::{CausalConv1dOptions, CausalConv1dOutput, causal_conv1d, causal_conv1d_step};
pub use depthwise_conv3x3::{DepthwiseConv3x3Options, depthwise_conv3x3};
pub use gelu::gelu;
pub use halving_windows::halving_windows;
#[cfg(feature = "cube")]
pub use launches::launches;
pub use layer_norm::layer_norm;
pub use linear::{linear, linear_transposed};
pub use memory::{columns, memory_id};
pub use order::{Direction, OrderError, ScanOrder};
pub use selective_scan::{SelectiveScanOptions, SelectiveScanOutput, selective_scan};
pub use selective_state_update::{SelectiveStateUpdateOptions, selective_state_update};

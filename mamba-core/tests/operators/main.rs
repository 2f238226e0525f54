//! The operators against float64, on every device that is compiled in.
//!
//! `MAMBA_TEST_DEVICE` (`flex`, `ndarray`, `wgpu`, `cuda` or `rocm`) restricts the run to one device,
//! `MAMBA_TEST_GPU` takes the default adapter for wgpu in place of the software one, and `MAMBA_TEST_FULL` runs the
//! whole grid where it would be thinned.

#[macro_use]
mod devices;

mod add_rms_norm;
mod arrays;
mod case;
mod conv_grid;
mod depthwise_conv3x3;
mod differences;
mod exactness;
mod gelu;
mod golden;
mod gradients;
mod grid;
mod half;
mod halving_windows;
mod layer_norm;
mod linear;
mod misuse;
mod oracle;
mod random;
mod references;
mod state_norm;
#[cfg(feature = "cuda")]
mod wide;

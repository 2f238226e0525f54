//! The scan as CubeCL kernels: one source for CUDA, ROCm, Vulkan, Metal and WebGPU.

mod ahead;
mod backward;
mod forward;
mod launch;
mod place;
mod plan;
mod prepared;
mod span;
mod step;
mod sums;
mod tile;
mod unit;
mod unread;

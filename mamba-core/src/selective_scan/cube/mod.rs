//! The scan as CubeCL kernels: one source for CUDA, ROCm, Vulkan, Metal and WebGPU.

mod backward;
mod forward;
mod launch;
mod plan;
mod span;
mod tile;

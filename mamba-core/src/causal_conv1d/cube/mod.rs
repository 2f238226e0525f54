//! The convolution as CubeCL kernels: one source for CUDA, ROCm, Vulkan, Metal and WebGPU.

mod backward;
mod forward;
mod launch;
mod place;
mod step;
mod thread;

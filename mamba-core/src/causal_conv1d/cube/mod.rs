//! The convolution as CubeCL kernels: one source for CUDA, ROCm, Vulkan, Metal and WebGPU.

mod kernels;
mod launch;

//! The device under test, which the tests of several crates share.

use burn::tensor::{Device, Distribution, Tensor};

/// Burn's default device if `MAMBA_TEST_DEVICE` is not set. `wgpu` is an emulated one unless `MAMBA_TEST_GPU` is set.
pub fn device() -> Device {
    IN_USE.with(|in_use| in_use.0.clone())
}

thread_local! {
    // Started while this is made, not after: what is made first outlives it, and the wait needs what a wait has made.
    static IN_USE: InUse = InUse::start(chosen_device());
}

/// Waits for the device when the test's thread ends: software Vulkan may crash a process that ends while it still computes.
struct InUse(Device);

impl InUse {
    fn start(device: Device) -> Self {
        device.sync().expect("the device works");
        Self(device)
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.sync().expect("the device works");
    }
}

fn chosen_device() -> Device {
    match std::env::var("MAMBA_TEST_DEVICE").as_deref() {
        #[cfg(feature = "wgpu")]
        Ok("wgpu") if std::env::var_os("MAMBA_TEST_GPU").is_none() => Device::wgpu(burn::tensor::DeviceKind::Cpu),
        #[cfg(feature = "wgpu")]
        Ok("wgpu") => Device::wgpu(burn::tensor::DeviceKind::DefaultDevice),
        #[cfg(feature = "cuda")]
        Ok("cuda") => Device::cuda(0),
        #[cfg(feature = "rocm")]
        Ok("rocm") => Device::rocm(0),
        #[cfg(feature = "flex")]
        Ok("flex") => Device::flex(),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated, reason = "supported for as long as Burn has it")]
        Ok("ndarray") => Device::ndarray(),
        Ok(other) => panic!("MAMBA_TEST_DEVICE is {other}, which is not compiled in"),
        Err(_) => Device::default(),
    }
}

pub fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

pub fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

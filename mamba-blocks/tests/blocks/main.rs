//! Behaviour of the layers and the language model, on the device that `MAMBA_TEST_DEVICE` names.

mod beams;
mod checkpoints;
mod companion;
mod configs;
mod decoder;
mod exactness;
mod generation;
mod golden;
mod initialisation;
#[cfg(any(feature = "wgpu", feature = "cuda", feature = "rocm"))]
mod launches;
mod long_context;
mod lora;
mod precision;
mod prompts;
mod states;
mod training;
mod transformers;
mod weight_decay;

use burn::tensor::{Device, Distribution, Int, Tensor};

/// Burn's default device if `MAMBA_TEST_DEVICE` is not set. `wgpu` is an emulated one unless `MAMBA_TEST_GPU` is set.
fn device() -> Device {
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

/// Waits for the device, in a test that reads nothing from it: software Vulkan may crash a process that ends while it
/// still computes.
fn finish(device: &Device) {
    device.sync().expect("the device works");
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn random_tokens(shape: [usize; 2], vocab_size: usize, device: &Device) -> Tensor<2, Int> {
    Tensor::<2>::random(shape, Distribution::Uniform(0.0, vocab_size as f64), device).int()
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// Norm of the difference over the norm of `expected`.
#[track_caller]
fn assert_close<const D: usize>(what: &str, actual: Tensor<D>, expected: Tensor<D>, tolerance: f64) {
    assert_eq!(actual.dims(), expected.dims(), "shapes of {what}");
    let (actual, expected) = (values(actual), values(expected));
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(&expected).map(|(x, y)| x - y));
    let error = difference / norm(&mut expected.into_iter());
    assert!(error <= tolerance, "{what}: relative error {error:e}, expected at most {tolerance:e}");
}

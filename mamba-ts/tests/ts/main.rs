//! Behaviour of the time series models and their data, on the device that `MAMBA_TEST_DEVICE` names.

mod csv_files;
mod fixture;
mod forecasters;
mod motion;
mod networks;
mod s_mamba;
mod tsm2;
mod windows;

use burn::tensor::{Device, Distribution, Tensor};

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

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn values<const D: usize>(x: Tensor<D>) -> Vec<f64> {
    x.into_data().iter::<f64>().collect()
}

/// Norm of the difference over the norm of `expected`; the difference itself where all of it is zero.
#[track_caller]
fn assert_close<const D: usize>(what: &str, actual: Tensor<D>, expected: Tensor<D>, tolerance: f64) {
    assert_eq!(actual.dims(), expected.dims(), "shapes of {what}");
    let (actual, expected) = (values(actual), values(expected));
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let difference = norm(&mut actual.iter().zip(&expected).map(|(x, y)| x - y));
    let expected = norm(&mut expected.into_iter());
    let error = if expected == 0.0 { difference } else { difference / expected };
    println!("{what}: relative error {error:e}");
    assert!(error <= tolerance, "{what}: relative error {error:e}, expected at most {tolerance:e}");
}

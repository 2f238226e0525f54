//! Which kernels a piece of work launches.

use cubecl::config::{TypeNameFormatLevel, type_name_format};
use cubecl::logging::{LaunchObservation, LaunchObserver};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Default)]
struct Names(Mutex<Vec<&'static str>>);

impl LaunchObserver for Names {
    fn launched(&self, kernel: &'static str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(kernel);
    }
}

/// Runs `work`, and returns with its result the names of the kernels that were launched meanwhile, in their order.
///
/// Every CubeCL device of the process is watched. Fusion launches late: let `work` end with
/// [`Device::sync`](burn::tensor::Device::sync). Autotune launches every candidate once: let `work` run before. What
/// cuBLASLt launches is not seen.
///
/// ```no_run
/// use burn::tensor::{Device, Tensor};
///
/// # fn run(device: Device) {
/// let (_, kernels) = mamba_core::launches(|| {
///     let _sum = Tensor::<1>::ones([8], &device) + 1.0;
///     device.sync().expect("the device works");
/// });
/// println!("{} launches: {kernels:?}", kernels.len());
/// # }
/// ```
pub fn launches<R>(work: impl FnOnce() -> R) -> (R, Vec<String>) {
    let names = Arc::new(Names::default());
    let observation = LaunchObservation::new(names.clone());
    let result = work();
    drop(observation);
    let names = std::mem::take(&mut *names.0.lock().unwrap_or_else(PoisonError::into_inner));
    (result, names.into_iter().map(|name| type_name_format(name, TypeNameFormatLevel::Short)).collect())
}

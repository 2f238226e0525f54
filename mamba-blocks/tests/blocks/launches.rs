//! A layer is few kernels on a GPU, however long the sequence is.

use crate::{device, random};
use burn::tensor::Device;
use mamba_blocks::MambaConfig;
use mamba_core::launches;

/// The kernels of one call after another one, which may have tuned kernels.
fn launched(device: &Device, call: impl Fn()) -> Vec<String> {
    let call = || {
        call();
        device.sync().unwrap();
    };
    call();
    launches(call).1
}

/// The devices whose operators are not kernels of CubeCL.
fn is_cpu() -> bool {
    std::env::var("MAMBA_TEST_DEVICE").is_ok_and(|device| ["flex", "ndarray"].contains(&device.as_str()))
}

#[test]
fn a_forward_pass_takes_at_most_20_launches_and_training_60() {
    if is_cpu() {
        return println!("skipped: the device launches no kernels");
    }
    let device = device();
    for length in [32, 300] {
        let x = random([2, length, 32], &device);
        let mamba = MambaConfig::new(32).init(&device);
        let forward = launched(&device, || drop(mamba.forward(x.clone())));
        println!("length {length}, forward, {} launches: {forward:#?}", forward.len());

        let device = device.clone().autodiff();
        let mamba = MambaConfig::new(32).init(&device);
        let x = random([2, length, 32], &device);
        let training = launched(&device, || drop(mamba.forward(x.clone().require_grad()).backward()));
        println!("length {length}, forward and backward, {} launches: {training:#?}", training.len());

        assert!((1..=20).contains(&forward.len()), "{} launches, expected 1 to 20", forward.len());
        assert!((1..=60).contains(&training.len()), "{} launches, expected 1 to 60", training.len());
    }
}

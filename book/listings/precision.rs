//! Chapter 'Precision, stability, initialisation'.

use burn::module::Module;
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::activation::softplus;
use burn::tensor::{DType, Device, Tensor};
use half::bf16;
use mamba_blocks::{CheckpointError, LoadOptions, Mamba, MambaConfig, MambaLm, optim};
use std::path::Path;

// ANCHOR: rounding
/// How far a state of a constant input is from what it would be without rounding, relative to that, after each step.
pub fn errors(round: impl Fn(f64) -> f64, delta: f64, steps: usize) -> Vec<f64> {
    let keep = (-delta).exp();
    let (mut exact, mut rounded) = (0.0, 0.0);
    let step = |_| {
        exact = keep * exact + delta;
        rounded = round(keep * rounded + delta);
        f64::abs(rounded - exact) / exact
    };
    (0..steps).map(step).collect()
}

pub fn to_f32(x: f64) -> f64 {
    f64::from(x as f32)
}

pub fn to_bf16(x: f64) -> f64 {
    bf16::from_f64(x).to_f64()
}
// ANCHOR_END: rounding

// ANCHOR: dtype
/// Weights in bf16, for half the memory.
fn in_bf16(folder: &Path, device: &Device) -> Result<MambaLm, CheckpointError> {
    MambaLm::from_pretrained_with(folder, LoadOptions::new().with_dtype(DType::BF16), device)
}
// ANCHOR_END: dtype

// ANCHOR: start
/// The time steps with which a layer starts, for an input of zero.
fn time_steps(mamba: &Mamba) -> Tensor<1> {
    let bias = mamba.dt_proj.bias.as_ref().expect("dt_proj has a bias");
    softplus(bias.val(), 1.0)
}
// ANCHOR_END: start

// ANCHOR: decay
/// One step of AdamW that lets `a_log`, `d`, biases and norms alone, with gradients clipped to a norm of 1.
fn train_step<M: Module>(model: M, loss: Tensor<1>) -> M {
    let config = AdamWConfig::new()
        .with_weight_decay(0.1)
        .with_grad_clipping(Some(burn::grad_clipping::GradientClippingConfig::Norm(1.0)));
    let mut optimizer = optim::adamw(&config);
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    optimizer.step(1e-3, model, gradients)
}
// ANCHOR_END: decay

#[test]
fn a_state_in_bf16_stops_short() {
    let last = |round: fn(f64) -> f64| errors(round, 1e-3, 10_000).pop().unwrap();
    assert!(last(to_f32) < 1e-4);
    assert!(last(to_bf16) > 0.5);
}

#[test]
fn what_the_scan_computes_with_stays_f32() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/checkpoints/plain");
    let model = in_bf16(&folder, &Device::default()).unwrap();
    let mixer = &model.layers[0].mixer;
    assert_eq!(mixer.in_proj.weight.dtype(), DType::BF16);
    assert_eq!(mixer.a_log.dtype(), DType::F32);
}

#[test]
fn a_layer_starts_with_steps_between_dt_min_and_dt_max() {
    let steps = time_steps(&MambaConfig::new(64).init(&Device::default()));
    assert!(steps.clone().min().into_scalar::<f32>() > 0.99e-3);
    assert!(steps.max().into_scalar::<f32>() < 0.101);
}

#[test]
fn a_step_trains() {
    let device = Device::default().autodiff();
    let mamba = MambaConfig::new(8).init(&device);
    let loss = mamba.forward(crate::random([1, 5, 8], &device)).square().mean();
    let before = mamba.num_params();
    assert_eq!(train_step(mamba, loss).num_params(), before);
}

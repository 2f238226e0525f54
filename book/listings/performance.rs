//! Chapter 'Performance and troubleshooting'.

use burn::tensor::{Device, Int, Tensor};
use mamba_blocks::{MambaLm, MambaLmConfig};
use std::time::{Duration, Instant};

// ANCHOR: time
/// The time of one call. A device works behind the host's back: without `sync` one measures how fast work is handed out.
fn time<T>(device: &Device, calls: u32, mut call: impl FnMut() -> T) -> Duration {
    // Kernels are compiled, and variants of them chosen, the first time.
    call();
    device.sync().expect("the work succeeds");
    let start = Instant::now();
    for _ in 0..calls {
        call();
    }
    device.sync().expect("the work succeeds");
    start.elapsed() / calls
}
// ANCHOR_END: time

// ANCHOR: decode
/// Greedy decoding, step by step; on CUDA a step is recorded once and then replayed with a single launch.
fn decode(model: &MambaLm, prompt: Tensor<2, Int>, tokens: usize) -> Vec<Tensor<1, Int>> {
    let (mut logits, state) = model.prefill(prompt);
    let mut decoder = model.decoder(&state);
    let mut chosen = Vec::new();
    for _ in 0..tokens {
        let next: Tensor<1, Int> = logits.argmax(1).squeeze_dim(1);
        logits = decoder.step(next.clone());
        chosen.push(next);
    }
    chosen
}
// ANCHOR_END: decode

// ANCHOR: blocks
/// Gradients with the activations of one block at a time: less memory for about a third more time.
fn gradients(model: &MambaLm, tokens: Tensor<2, Int>) -> burn::optim::GradientsParams {
    let (_loss, gradients) = model.gradients_by_block(tokens, None, |logits| logits.square().mean());
    gradients
}
// ANCHOR_END: blocks

fn model(device: &Device) -> MambaLm {
    MambaLmConfig::new(32, 16, 2).init(device)
}

#[test]
fn a_call_takes_time() {
    let device = Device::default();
    let (model, tokens) = (model(&device), Tensor::<2, Int>::ones([1, 8], &device));
    assert!(time(&device, 2, || model.forward(tokens.clone())) > Duration::ZERO);
}

#[test]
fn steps_choose_tokens() {
    let device = Device::default();
    assert_eq!(decode(&model(&device), Tensor::ones([2, 3], &device), 4).len(), 4);
}

#[test]
fn blocks_have_gradients_one_after_another() {
    let device = Device::default().autodiff();
    assert!(!gradients(&model(&device), Tensor::ones([1, 8], &device)).is_empty());
}

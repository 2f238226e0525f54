//! A state carries everything: steps, pieces, packed sequences and rows of a batch agree with the plain forward pass.

use crate::{assert_close, random, random_tokens};
use burn::module::Module;
use burn::tensor::{Bool, Device, Tensor, TensorData};
use mamba_blocks::{Direction, Mamba, MambaConfig, MambaLmConfig, MambaOptions, ScanOrder};

const TOLERANCE: f64 = 1e-5;

/// Every size is odd or different from the others.
fn mamba(device: &Device) -> Mamba {
    MambaConfig::new(10).with_d_state(5).with_d_conv(3).with_expand(3).with_bias(true).init(device)
}

fn tokens(x: &Tensor<3>, from: usize, to: usize) -> Tensor<3> {
    x.clone().narrow(1, from, to - from)
}

#[test]
fn steps_equal_the_forward_pass() {
    let device = crate::device();
    for d_conv in [2, 4, 8] {
        let mamba = MambaConfig::new(10).with_d_state(5).with_d_conv(d_conv).init(&device);
        let x = random([2, 9, 10], &device);
        let mut state = mamba.init_state(2, &device);
        let mut steps = Vec::new();
        for t in 0..9 {
            let (y, next) = mamba.step(tokens(&x, t, t + 1).squeeze_dim(1), state);
            steps.push(y);
            state = next;
        }
        assert_close("output", Tensor::stack(steps, 1), mamba.forward(x), TOLERANCE);
    }
}

#[test]
fn two_pieces_with_the_state_between_equal_the_whole() {
    let device = crate::device();
    let mamba = mamba(&device);
    let x = random([2, 13, 10], &device);
    let (whole, end) = mamba.forward_with_state(x.clone(), mamba.init_state(2, &device));
    assert_close("output from an empty state", whole.clone(), mamba.forward(x.clone()), TOLERANCE);
    for cut in [1, 2, 7, 12] {
        let (first, state) = mamba.forward_with_state(tokens(&x, 0, cut), mamba.init_state(2, &device));
        let (second, state) = mamba.forward_with_state(tokens(&x, cut, 13), state);
        assert_close("output", Tensor::cat(vec![first, second], 1), whole.clone(), TOLERANCE);
        assert_close("convolution's state", state.conv, end.conv.clone(), TOLERANCE);
        assert_close("scan's state", state.ssm, end.ssm.clone(), TOLERANCE);
    }
}

#[test]
fn a_language_model_goes_on_from_its_state() {
    let device = crate::device();
    let model = MambaLmConfig::new(30, 12, 3).with_d_state(4).with_tie_embeddings(false).init(&device);
    let ids = random_tokens([2, 11], 30, &device);
    let whole = model.forward(ids.clone());
    assert_eq!(whole.dims(), [2, 11, 32]);

    let (first, state) = model.forward_with_state(ids.clone().narrow(1, 0, 6), model.init_state(2, &device));
    let (second, mut state) = model.forward_with_state(ids.clone().narrow(1, 6, 3), state);
    let mut pieces = vec![first, second];
    for t in 9..11 {
        let (logits, next) = model.step(ids.clone().narrow(1, t, 1).squeeze_dim(1), state);
        pieces.push(logits.unsqueeze_dim(1));
        state = next;
    }
    assert_close("logits", Tensor::cat(pieces, 1), whole, TOLERANCE);
}

#[test]
fn a_reset_starts_a_new_sequence() {
    let device = crate::device();
    let mamba = mamba(&device);
    let x = random([1, 12, 10], &device);
    let starts = TensorData::new((0..12).map(|t| t == 5).collect(), [1, 12]);
    let reset = Tensor::<2, Bool>::from_data(starts, &device);
    let (packed, _) = mamba.forward_with(x.clone(), MambaOptions::new().with_reset(reset));
    let apart = Tensor::cat(vec![mamba.forward(tokens(&x, 0, 5)), mamba.forward(tokens(&x, 5, 12))], 1);
    assert_close("output", packed, apart, TOLERANCE);
}

#[test]
fn order_and_direction_visit_the_tokens_as_permuted_ones() {
    let device = crate::device();
    let mamba = mamba(&device);
    let x = random([2, 7, 10], &device);
    let reverse = MambaOptions::new().with_direction(Direction::Reverse);
    let (y, _) = mamba.forward_with(x.clone(), reverse);
    assert_close("reversed output", y, mamba.forward(x.clone().flip([1])).flip([1]), TOLERANCE);

    let backwards = ScanOrder::new(&[(0..7).rev().collect()], &device).unwrap();
    let (y, _) = mamba.forward_with(x.clone(), MambaOptions::new().with_order(backwards));
    assert_close("ordered output", y, mamba.forward(x.flip([1])).flip([1]), TOLERANCE);
}

#[test]
fn training_and_inference_compute_the_same() {
    let device = crate::device();
    let mamba = mamba(&device.clone().autodiff());
    let x = random([2, 7, 10], &device);
    let training = mamba.forward(Tensor::from_inner(x.clone())).inner();
    assert_close("output", training, mamba.valid().forward(x), TOLERANCE);
}

#[test]
fn rows_of_a_batch_do_not_influence_each_other() {
    let device = crate::device();
    let mamba = mamba(&device);
    let x = random([3, 6, 10], &device);
    let together = mamba.forward(x.clone());
    for row in 0..3 {
        let alone = mamba.forward(x.clone().narrow(0, row, 1));
        assert_close("output", together.clone().narrow(0, row, 1), alone, TOLERANCE);
    }
}

#[test]
fn a_token_sees_none_after_it() {
    let device = crate::device();
    let mamba = mamba(&device);
    let x = random([1, 8, 10], &device);
    let changed = Tensor::cat(vec![tokens(&x, 0, 5), random([1, 3, 10], &device)], 1);
    let difference = tokens(&(mamba.forward(x) - mamba.forward(changed)), 0, 5);
    assert_eq!(difference.abs().max().into_scalar::<f32>(), 0.0);
}

#[test]
fn gradients_reach_every_parameter_and_the_carried_state() {
    let device = crate::device().autodiff();
    let mamba = mamba(&device);
    let mut state = mamba.init_state(1, &device);
    state.conv = state.conv.require_grad();
    state.ssm = state.ssm.require_grad();
    let (y, end) = mamba.forward_with_state(random([1, 4, 10], &device), state.clone());
    let gradients = (y.square().sum() + end.ssm.sum()).backward();
    assert!(state.conv.grad(&gradients).unwrap().abs().max().into_scalar::<f32>() > 0.0);
    assert!(state.ssm.grad(&gradients).unwrap().abs().max().into_scalar::<f32>() > 0.0);
    let gradients = burn::optim::GradientsParams::from_grads(gradients, &mamba);
    assert_eq!(gradients.len(), burn::module::list_param_ids(&mamba).len());
}

#[test]
#[should_panic(expected = "Mamba: the input has shape [2, 3, 8], expected [batch, length, 10]")]
fn an_input_of_another_width_is_refused() {
    let device = crate::device();
    mamba(&device).forward(Tensor::zeros([2, 3, 8], &device));
}

#[test]
#[should_panic(expected = "MambaLm: the state has 1 layers, expected 2")]
fn a_state_of_another_model_is_refused() {
    let device = crate::device();
    let state = MambaLmConfig::new(8, 4, 1).init(&device).init_state(1, &device);
    let model = MambaLmConfig::new(8, 4, 2).init(&device);
    model.forward_with_state(random_tokens([1, 3], 8, &device), state);
}

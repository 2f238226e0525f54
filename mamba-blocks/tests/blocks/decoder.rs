//! A decoder, which may replay a recorded step, goes the same steps as the model.

use crate::{assert_close, random_tokens, values};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};
use mamba_blocks::{LmState, LongContextConfig, MambaLm, MambaLmConfig};

struct Cast(DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| value.cast(self.0))
    }
}

fn assert_same_state(actual: LmState, expected: LmState, tolerance: f64) {
    for (actual, expected) in actual.layers.into_iter().zip(expected.layers) {
        assert_close("ssm", actual.ssm, expected.ssm, tolerance);
        assert_close("conv", actual.conv.cast(DType::F32), expected.conv.cast(DType::F32), tolerance);
        assert_eq!(actual.window.is_some(), expected.window.is_some());
        if let (Some(actual), Some(expected)) = (actual.window, expected.window) {
            assert_close("window", actual, expected, tolerance);
        }
    }
}

/// Steps after a prompt, by a decoder and by the model.
fn check(model: &MambaLm, batch: usize, tolerance: f64) {
    let device = crate::device();
    let (_, start) = model.prefill(random_tokens([batch, 5], 11, &device));
    let before: Vec<_> = start.layers.iter().map(|layer| values(layer.ssm.clone())).collect();

    let mut decoder = model.decoder(&start);
    let mut state = start.clone();
    let mut first = None;
    for _ in 0..6 {
        let tokens = random_tokens([batch, 1], 11, &device).squeeze_dim::<1>(1);
        let (expected, next) = model.step(tokens.clone(), state);
        let actual = decoder.step(tokens);
        let held = first.get_or_insert_with(|| (actual.clone(), values(actual.clone().cast(DType::F32))));
        assert_eq!(values(held.0.clone().cast(DType::F32)), held.1, "a later step changed the logits of the first");
        assert_close("logits", actual.cast(DType::F32), expected.cast(DType::F32), tolerance);
        state = next;
    }
    assert_same_state(decoder.state(), state, tolerance);
    let after: Vec<_> = start.layers.iter().map(|layer| values(layer.ssm.clone())).collect();
    assert_eq!(before, after, "the decoder changed the state that it was given");
}

#[test]
fn a_decoder_goes_the_steps_of_the_model() {
    let device = crate::device();
    for batch in [1, 3] {
        check(&MambaLmConfig::new(11, 16, 2).with_d_state(4).init(&device), batch, 1e-6);
    }
}

#[test]
fn a_decoder_goes_the_steps_of_the_model_in_half_precision() {
    let device = crate::device();
    if !device.supports_dtype(DType::BF16) {
        return;
    }
    let model = MambaLmConfig::new(11, 16, 2).with_d_state(4).init(&device).map(&mut Cast(DType::BF16));
    check(&model, 2, 1e-2);
}

/// Steps that leave their state in other memory than the last, which a recording must carry back.
#[test]
fn a_decoder_goes_the_steps_of_a_model_for_long_inputs() {
    let device = crate::device();
    for long in [LongContextConfig::new().with_window(Some(4)), LongContextConfig::new().with_max_state_norm(Some(0.1))]
    {
        let model = MambaLmConfig::new(11, 16, 2).with_d_state(4).init(&device).with_long_context(&long).unwrap();
        check(&model, 2, 1e-6);
    }
}

#[test]
fn two_decoders_do_not_disturb_each_other() {
    let device = crate::device();
    let model = MambaLmConfig::new(11, 16, 2).with_d_state(4).init(&device);
    let start = model.init_state(2, &device);
    let tokens = || random_tokens([2, 1], 11, &device).squeeze_dim::<1>(1);
    let [mut one, mut other] = [(); 2].map(|()| model.decoder(&start));
    let [a, b] = [tokens(), tokens()];
    one.step(a.clone());
    other.step(b.clone());
    one.step(b.clone());
    let (_, state) = model.step(a, start.clone());
    assert_same_state(one.state(), model.step(b.clone(), state).1, 1e-6);
    assert_same_state(other.state(), model.step(b, start).1, 1e-6);
}

//! What holds for every network, and what each is by its formula.

use crate::fixture::collect;
use crate::{assert_close, device, random, values};
use burn::tensor::{Device, Tensor};
use mamba_blocks::ConfigError;
use mamba_ts::data::{Batch, Input};
use mamba_ts::{
    ArNetConfig, BiEncoderConfig, DLinearConfig, MambaForecasterConfig, Network, Objective, RevInConfig, SMambaConfig,
    SequenceClassifierConfig, Tsm2Config,
};

fn batch(look_back: usize, horizon: usize, variates: usize, marks: usize, device: &Device) -> Batch {
    let marks = (marks > 0).then(|| random([3, look_back, marks], device));
    let input = Input { values: random([3, look_back, variates], device), marks };
    Batch { input, target: random([3, horizon, variates], device), mask: None, input_mask: None }
}

/// Shapes, gradients of all parameters, and no influence of one window on another or of what is masked.
fn check(network: impl Network, variates: usize, marks: usize, outputs: usize, device: &Device) {
    let (look_back, horizon) = (network.look_back(), network.horizon());
    let objective = match outputs {
        1 => Objective::Mse,
        _ => Objective::Quantiles((1..=outputs).map(|level| level as f64 / (outputs + 1) as f64).collect()),
    };
    let batch = batch(look_back, horizon, variates, marks, device);
    let loss = network.loss(batch.clone(), &objective);
    let gradients = loss.backward();
    for (path, gradient) in collect(&network, Some(&gradients)) {
        assert!(values(gradient).iter().all(|value| value.is_finite()), "{path}");
    }

    let network = network.valid();
    let inner = |input: Input| Input { values: input.values.inner(), marks: input.marks.map(Tensor::inner) };
    let input = inner(batch.input);
    let all = network.forecast(input.clone());
    assert_eq!(all.dims(), [3, horizon, variates, outputs]);
    let one = |x: Tensor<3>| x.narrow(0, 1, 1);
    let alone = network.forecast(Input { values: one(input.values.clone()), marks: input.marks.clone().map(one) });
    assert_close("alone", alone, all.narrow(0, 1, 1), 1e-5);

    let zero = |rows| Tensor::<3>::zeros([3, rows, variates], &device.clone().inner());
    let masked = Batch {
        input,
        target: random([3, horizon, variates], &device.clone().inner()),
        mask: Some(zero(horizon)),
        input_mask: Some(zero(look_back)),
    };
    assert_eq!(network.loss(masked, &objective).into_scalar::<f32>(), 0.0);
}

#[test]
fn every_network_is_one() {
    let device = device().autodiff();
    for (variates, marks, outputs) in [(1, 0, 1), (7, 4, 3)] {
        let config = SMambaConfig::new(11, 5).with_d_model(6).with_d_ff(7).with_d_state(3).with_outputs(outputs);
        check(config.init(&device), variates, marks, outputs, &device);
        let config = Tsm2Config::new(11, 5, variates).with_marks(marks).with_d_state(3).with_outputs(outputs);
        check(config.init(&device), variates, marks, outputs, &device);
        let config = MambaForecasterConfig::new(11, 5).with_patch(4).with_marks(marks).with_outputs(outputs);
        check(config.with_d_model(8).with_d_state(3).init(&device), variates, marks, outputs, &device);
        let config = DLinearConfig::new(11, 5).with_kernel(5).with_outputs(outputs);
        check(config.try_init(&device).unwrap(), variates, marks, outputs, &device);
    }
    check(ArNetConfig::new(11, 5, 3).try_init(&device).unwrap(), 7, 0, 1, &device);
    check(ArNetConfig::new(11, 5, 1).try_init(&device).unwrap(), 7, 0, 1, &device);
}

#[test]
fn an_autoregression_is_applied_again_and_again() {
    let device = device();
    let mut network = ArNetConfig::new(3, 3, 2).try_init(&device).unwrap();
    network.regression.weight = network.regression.weight.map(|_| Tensor::from_floats([[0.5], [2.0]], &device));
    network.regression.bias = network.regression.bias.map(|bias| bias.map(|_| Tensor::from_floats([1.0], &device)));
    let look_back = Tensor::<3>::from_floats([[[9.0], [2.0], [3.0]]], &device);
    let forecast = network.forecast(Input { values: look_back, marks: None });
    // 2 * 3 + 0.5 * 2 + 1, and so on.
    assert_eq!(values(forecast), [8.0, 18.5, 42.0]);
    assert_eq!(network.coefficients(), [2.0, 0.5]);
}

#[test]
fn the_trend_of_d_linear_is_a_moving_average() {
    let device = device();
    let mut network = DLinearConfig::new(3, 3).with_kernel(3).try_init(&device).unwrap();
    let set = |linear: &mut burn::nn::Linear, weight: Tensor<2>| {
        linear.weight = linear.weight.clone().map(|_| weight);
        linear.bias = linear.bias.clone().map(|bias| bias.map(|bias| bias.zeros_like()));
    };
    set(&mut network.linear_trend, Tensor::eye(3, &device));
    set(&mut network.linear_seasonal, Tensor::zeros([3, 3], &device));
    let look_back = Tensor::<3>::from_floats([[[3.0], [6.0], [0.0]]], &device);
    let forecast = network.forecast(Input { values: look_back, marks: None });
    assert_close("trend", forecast, Tensor::from_floats([[[[4.0]], [[3.0]], [[2.0]]]], &device), 1e-6);
    assert!(DLinearConfig::new(3, 3).with_kernel(4).try_init(&device).is_err());
}

#[test]
fn tsm2_does_not_see_the_future_within_a_token_mixer() {
    // With the channel mixers' share of every average taken away, what is left goes over time only.
    let device = device();
    let mut network = Tsm2Config::new(8, 8, 2).with_n_blocks(1).with_d_state(2).init(&device);
    let block = &mut network.blocks[0];
    let x = random([1, 8, 2], &device);
    let changed = x.clone().slice_fill([0..1, 5..8, 0..2], 3.0);
    let mixed = |x: Tensor<3>| block.token_mixer.forward(x).narrow(1, 0, 5);
    assert_close("past", mixed(x), mixed(changed), 1e-6);
    assert!(matches!(Tsm2Config::new(8, 0, 2).try_init(&device), Err(ConfigError::Zero { name: "horizon" })));
}

#[test]
fn reversible_normalisation_is_reversed() {
    let device = device();
    let mut norm = RevInConfig::new(3).init(&device);
    norm.weight = norm.weight.map(|weight| weight.map(|_| Tensor::from_floats([0.5, 2.0, -1.0], &device)));
    norm.bias = norm.bias.map(|bias| bias.map(|_| Tensor::from_floats([1.0, 0.0, -3.0], &device)));
    let x = random([2, 9, 3], &device).mul_scalar(5.0).add_scalar(100.0);
    let (normed, instance) = norm.normalize(x.clone());
    let back = norm.denormalize(normed.clone().unsqueeze_dim(3), instance).squeeze_dim(3);
    assert_close("there and back", back, x, 1e-6);
    let first = normed.narrow(2, 0, 1);
    let mean = first.clone().mean().into_scalar::<f32>();
    assert!((mean - 1.0).abs() < 1e-4, "{mean}");
    assert_close("deviation", first.var_bias(1), Tensor::full([2, 1, 1], 0.25, &device), 1e-3);
}

#[test]
fn padding_of_a_sequence_does_not_count_in_the_mean() {
    let device = device();
    let encoder = BiEncoderConfig::new(3).with_d_model(8).with_n_layer(1).with_d_state(2);
    let classifier = SequenceClassifierConfig::new(encoder, 4).try_init(&device).unwrap();
    let x = random([2, 6, 3], &device);
    let logits = classifier.forward(x.clone(), None);
    assert_eq!(logits.dims(), [2, 4]);
    assert_close("full mask", classifier.forward(x.clone(), Some(Tensor::ones([2, 6], &device))), logits, 1e-6);
    let mask = Tensor::<2>::from_floats([[1.0, 0.0, 0.0, 0.0, 0.0, 0.0], [1.0; 6]], &device);
    let features = classifier.encoder.forward(x.clone()).narrow(0, 0, 1).narrow(1, 0, 1).squeeze_dim::<2>(1);
    let expected = mamba_blocks::parts::project(&classifier.head, features);
    assert_close("first row", classifier.forward(x, Some(mask)).narrow(0, 0, 1), expected, 1e-5);
}

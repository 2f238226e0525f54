//! Options for long inputs: off they change no bit, on they do what their equations say, in a prefill and in steps.

use crate::{assert_close, random, random_tokens, values};
use burn::module::Module;
use burn::tensor::{Device, Int, Tensor};
use mamba_blocks::{
    LmState, LongContext, LongContextConfig, Mamba, MambaConfig, MambaLm, MambaLmConfig, Prompts, TokenFilterConfig,
};
use mamba_core::{CausalConv1dOptions, causal_conv1d};

const TOLERANCE: f64 = 1e-5;

fn model(device: &Device) -> MambaLm {
    MambaLmConfig::new(30, 12, 2).with_d_state(5).with_initializer_range(1.0).init(device)
}

fn bits<const D: usize>(x: Tensor<D>) -> Vec<u8> {
    x.into_data().as_bytes().to_vec()
}

/// Samples that a filter may be made from.
fn samples(device: &Device) -> Tensor<2, Int> {
    random_tokens([3, 16], 30, device)
}

fn filter(length: usize) -> TokenFilterConfig {
    TokenFilterConfig::new(length).with_global_decay(1e-3)
}

#[test]
fn defaults_change_no_bit() {
    let device = crate::device();
    let plain = model(&device);
    let tokens = random_tokens([2, 17], 30, &device);
    let expected = bits(plain.forward(tokens.clone()));
    let off = plain.clone().with_long_context(&LongContextConfig::new()).unwrap();
    assert_eq!(bits(off.forward(tokens.clone())), expected);
    // Neither does a bound that no state reaches, nor a filter for no more tokens than the samples have.
    let filtered = plain.clone().with_token_filter(&filter(16), samples(&device)).unwrap();
    assert_eq!(bits(filtered.forward(tokens.clone())), expected);
    let config = LongContextConfig::new().with_max_state_norm(Some(1e6));
    let unbound = plain.clone().with_long_context(&config).unwrap();
    assert_close("logits", unbound.forward(tokens.clone()), plain.forward(tokens), TOLERANCE);
}

#[test]
fn forgetting_more_and_inserting_less_is_what_other_weights_do() {
    let device = crate::device();
    let plain = model(&device);
    let tokens = random_tokens([2, 17], 30, &device);
    let config = LongContextConfig::new().with_forget(2.0).with_insert(0.25);
    let found = plain.clone().with_long_context(&config).unwrap().forward(tokens.clone());

    let mut other = plain;
    for layer in &mut other.layers {
        let mixer = &mut layer.mixer;
        mixer.a_log = mixer.a_log.clone().map(|a_log| a_log + 2_f64.ln());
        mixer.x_proj.weight = mixer.x_proj.weight.clone().map(|weight: Tensor<2>| {
            let [d_inner, _] = weight.dims();
            let b = weight.clone().narrow(1, 1, 5).mul_scalar(0.25);
            weight.slice_assign([0..d_inner, 1..6], b)
        });
    }
    assert_close("logits", found, other.forward(tokens), TOLERANCE);
}

#[test]
fn a_prefill_and_steps_are_one_scan_with_everything_on() {
    let device = crate::device();
    let config = LongContextConfig::new().with_forget(1.3).with_insert(0.8).with_max_state_norm(Some(0.05));
    let model = model(&device).with_long_context(&config).unwrap();
    let bound = model.with_token_filter(&filter(64), samples(&device)).unwrap();
    let windowed = bound.clone().with_long_context(&config.with_max_state_norm(None).with_window(Some(5))).unwrap();
    let tokens = random_tokens([2, 13], 30, &device);
    for model in [bound, windowed] {
        let whole = model.forward(tokens.clone());
        let (_, state) = model.prefill(tokens.clone().narrow(1, 0, 7));
        let mut decoder = model.decoder(&state);
        for t in 7..13 {
            let logits = decoder.step(tokens.clone().narrow(1, t, 1).squeeze_dim(1));
            assert_close("logits", logits, whole.clone().narrow(1, t, 1).squeeze_dim(1), TOLERANCE);
        }
    }
}

#[test]
fn a_bound_state_stays_within_its_bound() {
    let device = crate::device();
    let plain = model(&device);
    let tokens = random_tokens([2, 150], 30, &device);
    let longest = |model: &MambaLm| {
        let (_, state) = model.prefill(tokens.clone());
        let norms =
            state.layers.into_iter().map(|layer| layer.ssm.square().sum_dim(2).sqrt().max().into_scalar::<f32>());
        norms.fold(0.0, f32::max)
    };
    let most = f64::from(longest(&plain)) / 2.0;
    let bound = plain.with_long_context(&LongContextConfig::new().with_max_state_norm(Some(most))).unwrap();
    let longest = f64::from(longest(&bound));
    assert!(longest <= most * 1.00001, "{longest}, expected at most {most}");
}

/// The mixer for one row, with its recurrence token by token in f64, anew for each token from the first that it sees; what is
/// not above its channel's threshold is left out of that channel.
fn naive(mixer: &Mamba, input: &Tensor<3>, thresholds: &[f64], window: usize) -> (Tensor<3>, usize) {
    let [d_inner, d_state] = mixer.a_log.dims();
    let [dt_rank, _] = mixer.dt_proj.weight.dims();
    let [_, length, _] = input.dims();
    let conv = CausalConv1dOptions::new().with_silu(true).with_bias(mixer.conv1d.bias.as_ref().unwrap().val());
    let xz = mixer.in_proj.forward(input.clone());
    let u = causal_conv1d(xz.clone().narrow(2, 0, d_inner), mixer.conv1d.weight.val().squeeze_dim(1), conv).y;
    let dt_b_c = mixer.x_proj.forward(u.clone());
    let delta = values(mixer.dt_proj.forward(dt_b_c.clone().narrow(2, 0, dt_rank)));
    let b = values(dt_b_c.clone().narrow(2, dt_rank, d_state));
    let c = values(dt_b_c.narrow(2, dt_rank + d_state, d_state));
    let (u, z) = (values(u), values(xz.narrow(2, d_inner, d_inner)));
    let (a_log, d) = (values(mixer.a_log.val()), values(mixer.d.val()));

    let mut y = vec![0.0; length * d_inner];
    let mut left_out = 0;
    for e in 0..d_inner {
        for t in 0..length {
            let at = t * d_inner + e;
            let mut h = vec![0.0; d_state];
            for seen in (t + 1).saturating_sub(window)..=t {
                let step = delta[seen * d_inner + e].exp().ln_1p();
                let passes = step > thresholds[e];
                left_out += usize::from(!passes && seen == t);
                for n in (0..d_state).filter(|_| passes) {
                    let decay = (-a_log[e * d_state + n].exp() * step).exp();
                    h[n] = decay * h[n] + step * b[seen * d_state + n] * u[seen * d_inner + e];
                }
            }
            y[at] = (0..d_state).map(|n| c[t * d_state + n] * h[n]).sum();
            y[at] = (y[at] + d[e] * u[at]) * z[at] / (1.0 + (-z[at]).exp());
        }
    }
    let y = Tensor::<1>::from_floats(y.as_slice(), &input.device()).reshape([1, length, d_inner]);
    (mixer.out_proj.forward(y), left_out)
}

#[test]
fn filtered_tokens_are_left_out_of_the_recurrence() {
    let device = crate::device();
    let mut mixer = MambaConfig::new(10).with_d_state(5).init(&device);
    let input = random([1, 24, 10], &device);
    // One channel lets everything pass, one nothing, the others some.
    let thresholds: Vec<f64> = (0..20).map(|e| [0.0, 1e3, 0.01, 0.03][e % 4]).collect();
    let threshold = Tensor::<1>::from_floats(thresholds.as_slice(), &device);
    mixer.long_context = Some(LongContext { threshold: Some(threshold), ..LongContext::default() });
    let (expected, left_out) = naive(&mixer, &input, &thresholds, 24);
    assert!((6 * 24..20 * 24 - 24).contains(&left_out), "{left_out}");
    assert_close("output", mixer.forward(input), expected, TOLERANCE);
}

#[test]
fn a_token_sees_its_window_and_nothing_before_it() {
    let device = crate::device();
    for (window, length) in [(1, 5), (3, 40), (7, 7), (20, 65), (64, 9)] {
        let mut mixer = MambaConfig::new(10).with_d_state(5).init(&device);
        let input = random([1, length, 10], &device);
        mixer.long_context = Some(LongContext { window: Some(window), ..LongContext::default() });
        let (expected, _) = naive(&mixer, &input, &[0.0; 20], window);
        assert_close(&format!("output with a window of {window}"), mixer.forward(input), expected, TOLERANCE);
    }
}

#[test]
fn a_window_over_pieces_resets_and_padded_prompts_is_the_window() {
    let device = crate::device();
    let model = model(&device).with_long_context(&LongContextConfig::new().with_window(Some(6))).unwrap();
    let rows = [vec![1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12], vec![13, 14], vec![15, 16, 17, 18, 19, 20, 21]];
    let row = |row: &[u32]| Tensor::<1, Int>::from_ints(row, &device).unsqueeze::<2>();
    let (_, state) = model.read(&Prompts::new(&rows), None).unwrap();
    let (logits, _) = model.read(&Prompts::new([[22, 23, 24], [25, 26, 27], [28, 29, 0]]), Some(state)).unwrap();
    for (at, more) in [[22, 23, 24], [25, 26, 27], [28, 29, 0]].into_iter().enumerate() {
        let whole = [&rows[at][..], &more].concat();
        let alone = model.forward(row(&whole)).narrow(1, whole.len() - 1, 1).squeeze_dim(1);
        assert_close("logits of a row", logits.clone().narrow(0, at, 1), alone, TOLERANCE);
    }

    // A state without a window is not one of this model.
    let plain = model.clone().with_long_context(&LongContextConfig::new()).unwrap().init_state(1, &device);
    let error = model.read(&Prompts::new([[1]]), Some(plain)).unwrap_err();
    assert!(
        error.to_string().contains("`layers.0.window` of the state has shape [0, 0, 0], expected [1, 6, 53]"),
        "{error}"
    );

    // On disk as well.
    let (_, state) = model.prefill(row(&rows[0]));
    let folder = tempfile::tempdir().unwrap();
    state.save(folder.path().join("state")).unwrap();
    let loaded = LmState::load(folder.path().join("state"), &model).unwrap();
    for (found, expected) in loaded.layers.into_iter().zip(state.layers) {
        assert_eq!(bits(found.window.unwrap()), bits(expected.window.unwrap()));
    }
}

#[test]
fn a_filter_is_made_from_samples_and_is_no_part_of_a_checkpoint() {
    let device = crate::device().autodiff();
    let plain = model(&device);
    let model = plain.clone().with_token_filter(&filter(64), samples(&device)).unwrap();
    let threshold = |layer: usize| model.layers[layer].mixer.long_context.as_ref().unwrap().threshold.clone().unwrap();
    assert!((0..2).all(|layer| threshold(layer).min().into_scalar::<f32>() >= 0.0));
    assert!((0..2).any(|layer| threshold(layer).max().into_scalar::<f32>() > 0.0), "no channel is global");
    assert_eq!(model.num_params(), plain.num_params());

    // It trains, and the trained weights are loaded without it.
    let tokens = random_tokens([2, 9], 30, &device);
    let gradients = model.forward(tokens.clone()).square().mean().backward();
    assert_eq!(burn::optim::GradientsParams::from_grads(gradients, &model).len(), 2 * 10 + 2);
    let folder = tempfile::tempdir().unwrap();
    model.valid().save_pretrained(folder.path()).unwrap();
    let loaded = MambaLm::from_pretrained(folder.path(), &crate::device()).unwrap();
    assert!(loaded.layers.iter().all(|layer| layer.mixer.long_context.is_none()));
    let tokens = tokens.inner();
    assert_eq!(bits(loaded.forward(tokens.clone())), bits(plain.valid().forward(tokens)));
}

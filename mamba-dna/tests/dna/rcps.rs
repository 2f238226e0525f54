//! `f(rc(x)) = rc(f(x))`, bit by bit, for every layer and any sizes.

use crate::{assert_same, device, random, random_tokens, values};
use burn::module::Module;
use burn::tensor::{Device, Tensor};
use mamba_blocks::MambaConfig;
use mamba_dna::rcps::{
    NormOrder, RcpsEmbeddingConfig, RcpsLmHeadConfig, RcpsNormConfig, RcpsWrapper, flip, reverse_complement,
};
use mamba_dna::{BiMambaConfig, CaduceusConfig, Combine, Mixer};
use proptest::prelude::*;

/// Seed, batch, length, channels of one strand.
fn sizes() -> impl Strategy<Value = (u64, usize, usize, usize)> {
    (any::<u64>(), 1..4_usize, 1..70_usize, 1..24_usize)
}

/// Exchanges the logits of complements, and turns the length round.
fn other_strand_of_logits(logits: Tensor<3>) -> Tensor<3> {
    let map = [0, 1, 2, 3, 4, 5, 6, 10, 9, 8, 7, 11, 12, 13, 14, 15];
    let map = Tensor::<1, burn::tensor::Int>::from_ints(map, &logits.device());
    logits.flip([1]).select(2, map)
}

fn wrapped<M: Mixer>(what: &str, mixer: M, x: Tensor<3>) {
    let wrapper = RcpsWrapper::new(mixer);
    assert_same(what, wrapper.forward(flip(x.clone())), flip(wrapper.forward(x)));
}

/// A mixer that is no Mamba: the mean of all tokens, and a weight for each channel.
#[derive(Module, Debug)]
struct Mean {
    weight: burn::module::Param<Tensor<1>>,
}

impl Mixer for Mean {
    fn mix(&self, input: Tensor<3>) -> Tensor<3> {
        input.clone().mean_dim(1) * self.weight.val().unsqueeze() + input
    }
}

fn mean(channels: usize, device: &Device) -> Mean {
    Mean { weight: burn::module::Param::from_tensor(random([channels], device)) }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_embedding_commutes((seed, batch, length, d_model) in sizes()) {
        let device = device();
        device.seed(seed);
        let layer = RcpsEmbeddingConfig::new(16, d_model).init(&device);
        let tokens = random_tokens([batch, length], seed, &device);
        let other = layer.forward(reverse_complement(tokens.clone()));
        assert_same("embedding", other, flip(layer.forward(tokens)));
    }

    #[test]
    fn the_norm_commutes_in_either_order((seed, batch, length, d_model) in sizes(), is_fused: bool, is_first: bool) {
        let device = device();
        device.seed(seed);
        let order = if is_fused { NormOrder::Fused } else { NormOrder::Plain };
        let mut layer = RcpsNormConfig::new(d_model).with_order(order).init(&device);
        layer.norm.gamma = layer.norm.gamma.map(|_| random([d_model], &device));
        let (hidden, residual) = (random([batch, length, 2 * d_model], &device), random([batch, length, 2 * d_model], &device));
        let residual = (!is_first).then_some(residual);
        let other = layer.forward(flip(hidden.clone()), residual.clone().map(flip));
        let output = layer.forward(hidden, residual);
        assert_same("normed", other.normed, flip(output.normed));
        assert_same("sum", other.sum, flip(output.sum));
    }

    #[test]
    fn the_head_commutes((seed, batch, length, d_model) in sizes()) {
        let device = device();
        device.seed(seed);
        let layer = RcpsLmHeadConfig::new(d_model, 16).init(&device);
        let x = random([batch, length, 2 * d_model], &device);
        assert_same("head", layer.forward(flip(x.clone())), other_strand_of_logits(layer.forward(x)));
    }

    #[test]
    fn any_mixer_in_the_wrapper_commutes((seed, batch, length, d_model) in sizes(), multiply: bool, is_tied: bool) {
        let device = device();
        device.seed(seed);
        let x = random([batch, length, 2 * d_model], &device);
        let config = MambaConfig::new(d_model).with_d_state(3);
        let combine = if multiply { Combine::Multiply } else { Combine::Add };
        let both = BiMambaConfig::new(config.clone()).with_combine(combine).with_weight_tie(is_tied);
        wrapped("Mamba", config.init(&device), x.clone());
        wrapped("BiMamba", both.init(&device), x.clone());
        wrapped("another mixer", mean(d_model, &device), x);
    }

    #[test]
    fn the_whole_model_commutes(
        (seed, batch, length, d_model) in sizes(), fused: bool, n_layer in 1..4_usize,
    ) {
        let device = device();
        device.seed(seed);
        let config = CaduceusConfig::new(d_model, n_layer).with_fused_add_norm(fused).with_d_state(4);
        let model = config.try_init_masked_lm(&device).unwrap();
        let tokens = random_tokens([batch, length], seed, &device);
        let other = reverse_complement(tokens.clone());
        assert_same("block", model.caduceus.forward(other.clone()), flip(model.caduceus.forward(tokens.clone())));
        assert_same("model", model.forward(other.clone()), other_strand_of_logits(model.forward(tokens.clone())));

        let classifier = config.classifier(model.caduceus.clone(), 3);
        assert_same("classes", classifier.forward(other.clone()), classifier.forward(tokens.clone()));
        let tracks = config.tracks(model.caduceus, 2);
        assert_same("tracks", tracks.forward(other), tracks.forward(tokens).flip([1]));
    }

    #[test]
    fn a_model_of_one_strand_is_symmetric_on_average((seed, batch, length, d_model) in sizes()) {
        let device = device();
        device.seed(seed);
        let config = CaduceusConfig::new(d_model, 2).with_rcps(false).with_d_state(4);
        let tokens = random_tokens([batch, length], seed, &device);
        let other = reverse_complement(tokens.clone());
        let classifier = config.classifier(config.init(&device), 3);
        let (one, two) = (classifier.forward_conjoined(tokens.clone()), classifier.forward_conjoined(other.clone()));
        assert_same("classes", one, two);
        let tracks = config.tracks(config.init(&device), 2);
        assert_same("tracks", tracks.forward_conjoined(other), tracks.forward_conjoined(tokens).flip([1]));
    }
}

#[test]
fn a_model_of_one_strand_alone_is_not_symmetric() {
    let device = device();
    device.seed(1);
    let config = CaduceusConfig::new(8, 2).with_rcps(false);
    let classifier = config.classifier(config.init(&device), 3);
    let tokens = random_tokens([1, 20], 1, &device);
    let other = classifier.forward(reverse_complement(tokens.clone()));
    assert_ne!(values(other), values(classifier.forward(tokens)));
}

#[test]
#[should_panic(expected = "5 channels, expected an even number")]
fn half_of_an_odd_number_of_channels_is_a_mistake() {
    let device = device();
    RcpsLmHeadConfig::new(2, 16).init(&device).forward(random([1, 2, 5], &device));
}

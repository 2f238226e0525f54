//! Scores of variants, generation.

use crate::device;
use burn::tensor::{Device, Tensor, activation::log_softmax};
use mamba_blocks::GenerationConfig;
use mamba_dna::tokens::{A, MASK, N, encode, to_tensor};
use mamba_dna::{CaduceusConfig, MambaDna, VariantWindow, variant_scores};
use std::ops::ControlFlow;

fn window(before: &str, reference: &str, alternate: &str, after: &str) -> VariantWindow {
    let [before, reference, alternate, after] = [before, reference, alternate, after].map(|text| encode(text).unwrap());
    VariantWindow { before, reference, alternate, after }
}

fn windows() -> Vec<VariantWindow> {
    vec![
        window("ACGTAC", "A", "C", "GTTGCA"),
        window("ACGTAC", "A", "G", "GTTGCA"),
        window("ACGTAC", "AGT", "A", "TGCA"),
        window("", "T", "TAC", "GGGGA"),
        window("CCNC", "AC", "GT", ""),
    ]
}

fn close(actual: &[f64], expected: &[f64]) {
    assert_eq!(actual.len(), expected.len());
    let near = actual.iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-5);
    assert!(near, "{actual:?}, expected {expected:?}");
}

/// Of the four nucleotides at each place.
fn log_probabilities(logits: Tensor<3>) -> Vec<Vec<f64>> {
    let values = log_softmax(logits.narrow(2, A.into(), 4), 2).into_data();
    values.iter::<f64>().collect::<Vec<_>>().chunks(4).map(<[f64]>::to_vec).collect()
}

#[test]
fn masked_scores_are_ratios_of_likelihoods_at_the_masked_places() {
    let device = device();
    device.seed(3);
    let model = CaduceusConfig::new(8, 2).with_initializer_range(1.0).try_init_masked_lm(&device).unwrap();
    let likelihood = |window: &VariantWindow, allele: &[u8]| {
        let masked = [window.before.clone(), vec![MASK; allele.len()], window.after.clone()].concat();
        let probabilities = log_probabilities(model.forward(to_tensor(&[masked], &device)));
        let places = allele.iter().enumerate().filter(|(_, token)| **token != N);
        places.map(|(i, token)| probabilities[window.before.len() + i][usize::from(token - A)]).sum::<f64>()
    };
    let expected =
        windows().iter().map(|w| likelihood(w, &w.alternate) - likelihood(w, &w.reference)).collect::<Vec<_>>();
    assert!(expected.iter().any(|score| score.abs() > 0.01), "{expected:?}");
    for batch in [1, 2, 100] {
        close(&variant_scores(&model, &windows(), batch, &device), &expected);
    }
}

#[test]
fn exchanged_alleles_have_the_opposite_score() {
    let device = device();
    let model = CaduceusConfig::new(8, 1).with_rcps(false).try_init_masked_lm(&device).unwrap();
    let exchange = |w: VariantWindow| VariantWindow { reference: w.alternate, alternate: w.reference, ..w };
    let exchanged: Vec<_> = windows().into_iter().map(exchange).collect();
    let expected: Vec<_> = variant_scores(&model, &windows(), 4, &device).into_iter().map(|score| -score).collect();
    close(&variant_scores(&model, &exchanged, 4, &device), &expected);
}

fn causal(device: &Device) -> MambaDna {
    device.seed(4);
    MambaDna::try_init(&MambaDna::config(8, 2).with_initializer_range(1.0), device).unwrap()
}

#[test]
fn causal_scores_are_ratios_of_likelihoods_of_whole_windows() {
    let device = device();
    let model = causal(&device);
    let likelihood = |window: &VariantWindow, allele: &[u8]| {
        let tokens = [window.before.as_slice(), allele, &window.after].concat();
        let probabilities = log_probabilities(model.forward(to_tensor(&[tokens.clone()], &device)));
        let next = tokens.iter().skip(1).zip(probabilities);
        next.filter(|(token, _)| **token != N).map(|(token, p)| p[usize::from(token - A)]).sum::<f64>()
    };
    let expected =
        windows().iter().map(|w| likelihood(w, &w.alternate) - likelihood(w, &w.reference)).collect::<Vec<_>>();
    close(&variant_scores(&model, &windows(), 3, &device), &expected);
}

#[test]
fn generated_tokens_are_nucleotides() {
    let device = device();
    let model = causal(&device);
    let config = GenerationConfig::new(40);
    let mut heard = Vec::new();
    let tokens = model.generate(&encode("ACGT").unwrap(), &config, |token| {
        heard.push(token);
        ControlFlow::Continue(())
    });
    let tokens = tokens.unwrap();
    assert!(tokens.iter().all(|token| (A..A + 4).contains(token)), "{tokens:?}");
    assert!(heard.starts_with(&tokens) && heard.len() <= tokens.len() + 1);
    assert!(model.generate(&[], &config, |_| ControlFlow::Continue(())).is_err());
}

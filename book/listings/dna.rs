//! Chapter 'DNA'.

use burn::tensor::{Device, Int, Tensor};
use mamba_blocks::ConfigError;
use mamba_dna::rcps::reverse_complement;
use mamba_dna::{CaduceusConfig, CaduceusMaskedLm, VariantWindow, tokens, variant_scores};

// ANCHOR: strands
/// The logits of A, C, G and T at each place, and those that the model finds for the other strand.
fn strands(model: &CaduceusMaskedLm, dna: Tensor<2, Int>) -> [Tensor<3>; 2] {
    [dna.clone(), reverse_complement(dna)].map(|strand| model.forward(strand).narrow(2, 7, 4))
}
// ANCHOR_END: strands

// ANCHOR: variant
/// The logarithm of how much likelier a T is than the G of the reference.
fn score(model: &CaduceusMaskedLm, device: &Device) -> f64 {
    let [before, reference, alternate, after] =
        ["GATTACA", "G", "T", "CATTAG"].map(|letters| tokens::encode(letters).expect("they are nucleotides"));
    variant_scores(model, &[VariantWindow { before, reference, alternate, after }], 8, device)[0]
}
// ANCHOR_END: variant

fn model(device: &Device) -> Result<CaduceusMaskedLm, ConfigError> {
    CaduceusConfig::new(16, 2).try_init_masked_lm(device)
}

#[test]
fn both_strands_say_the_same() {
    let device = Device::default();
    let dna = tokens::to_tensor(&[tokens::encode("GATTACA").unwrap()], &device);
    let [logits, other] = strands(&model(&device).unwrap(), dna);
    assert_eq!(other.flip([1, 2]).into_data(), logits.into_data());
}

#[test]
fn a_variant_has_a_score() {
    let device = Device::default();
    assert!(score(&model(&device).unwrap(), &device).is_finite());
}

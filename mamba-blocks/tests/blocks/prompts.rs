//! Prompts of different lengths in one batch, in any pieces.

use crate::assert_close;
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use mamba_blocks::{GenerationError, LmOptions, LmState, MambaLm, MambaLmConfig, Prompts};
use proptest::prelude::*;

const TOLERANCE: f64 = 1e-5;
const VOCABULARY: u32 = 23;

fn model(d_conv: usize, device: &Device) -> MambaLm {
    let config = MambaLmConfig::new(VOCABULARY as usize, 12, 3).with_d_state(5).with_d_conv(d_conv);
    config.with_initializer_range(1.0).init(device)
}

fn tensor(tokens: &[u32], device: &Device) -> Tensor<2, Int> {
    let data = TensorData::new(tokens.iter().map(|&token| i64::from(token)).collect(), [1, tokens.len()]);
    Tensor::from_data(data, device)
}

/// The logits after the last token, and the state, of one sequence alone in one scan.
fn alone(model: &MambaLm, tokens: &[u32], device: &Device) -> (Tensor<2>, LmState) {
    let (logits, state) = model.forward_with_state(tensor(tokens, device), model.init_state(1, device));
    (logits.narrow(1, tokens.len() - 1, 1).squeeze_dim(1), state)
}

fn assert_row(row: usize, (logits, state): (&Tensor<2>, &LmState), (logits_alone, state_alone): (Tensor<2>, LmState)) {
    assert_close("logits", logits.clone().narrow(0, row, 1), logits_alone, TOLERANCE);
    for (layer, alone) in state.select(&[row]).layers.into_iter().zip(state_alone.layers) {
        assert_close("state of the convolution", layer.conv, alone.conv, TOLERANCE);
        assert_close("state of the scan", layer.ssm, alone.ssm, TOLERANCE);
    }
}

/// 1 to 4 sequences, each in 1 to 4 pieces of 1 to 9 tokens.
fn sequences() -> impl Strategy<Value = Vec<Vec<Vec<u32>>>> {
    let piece = prop::collection::vec(0..VOCABULARY, 1..10);
    (1..5_usize, 1..5_usize).prop_flat_map(move |(batch, pieces)| {
        prop::collection::vec(prop::collection::vec(piece.clone(), pieces), batch)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Read in ragged pieces, then in steps, every row gets the logits and the state of one scan of itself alone.
    #[test]
    fn pieces_and_steps_of_a_padded_batch_are_one_scan_of_each_row(
        sequences in sequences(),
        steps in 0..4_usize,
        d_conv in 2..5_usize,
    ) {
        let device = crate::device();
        let model = model(d_conv, &device);
        let mut state = None;
        let mut logits = None;
        for piece in 0..sequences[0].len() {
            let prompts = Prompts::new(sequences.iter().map(|pieces| &pieces[piece]));
            let (next, seen) = model.read(&prompts, state).unwrap();
            (logits, state) = (Some(next), Some(seen));
        }
        let (mut logits, mut state) = (logits.unwrap(), state.unwrap());
        let mut whole: Vec<Vec<u32>> = sequences.iter().map(|pieces| pieces.concat()).collect();
        for step in 0..steps as u32 {
            whole.iter_mut().for_each(|row| row.push((row[0] + step) % VOCABULARY));
            let last: Vec<i64> = whole.iter().map(|row| i64::from(*row.last().unwrap())).collect();
            let last = TensorData::new(last, [sequences.len()]);
            (logits, state) = model.step(Tensor::from_data(last, &device), state);
        }
        for (row, tokens) in whole.iter().enumerate() {
            assert_row(row, (&logits, &state), alone(&model, tokens, &device));
        }
    }
}

#[test]
fn every_token_of_a_padded_row_has_the_logits_that_it_has_alone() {
    let device = crate::device();
    let model = model(4, &device);
    let row = [3, 1, 4, 1, 5];
    // Garbage on the left, and a reset at the first token.
    let padded = tensor(&[[9, 2, 6].as_slice(), &row].concat(), &device);
    let reset = Tensor::<2, Bool>::from_data(TensorData::new((0..8).map(|at| at == 3).collect(), [1, 8]), &device);
    let (logits, state) = model.forward_with(padded, LmOptions::new().with_reset(reset));
    assert_close("logits", logits.clone().narrow(1, 3, 5), model.forward(tensor(&row, &device)), TOLERANCE);
    let last = logits.narrow(1, 7, 1).squeeze_dim(1);
    assert_row(0, (&last, &state), alone(&model, &row, &device));
}

#[test]
fn prompts_longer_than_a_piece_of_prefill_are_those_alone() {
    let device = crate::device();
    let model = model(4, &device);
    // One starts in the first piece of 2048 tokens, one with the second, one within it.
    let lengths = [2500, 452, 451, 3];
    let rows = lengths.map(|length| (0..length).map(|at| (at * at + 3 * at) % VOCABULARY).collect::<Vec<u32>>());
    let (logits, state) = model.read(&Prompts::new(&rows), None).unwrap();
    let (again, next) = model.read(&Prompts::new(&rows), Some(state.clone())).unwrap();
    for (row, tokens) in rows.iter().enumerate() {
        assert_row(row, (&logits, &state), alone(&model, tokens, &device));
        let twice = [tokens.as_slice(), tokens].concat();
        assert_row(row, (&again, &next), alone(&model, &twice, &device));
    }
}

#[test]
fn a_state_for_other_prompts_or_another_model_is_refused() {
    let device = crate::device();
    let model = model(4, &device);
    let prompts = Prompts::new([[1, 2]]);
    let error = model.read(&prompts, Some(model.init_state(2, &device))).unwrap_err();
    let expected = GenerationError::StateShape { key: "layers.0.conv".into(), found: [2, 3, 24], expected: [1, 3, 24] };
    assert_eq!(error, expected);
    let other = MambaLmConfig::new(23, 12, 2).with_d_state(5).init(&device).init_state(1, &device);
    let error = model.read(&prompts, Some(other)).unwrap_err();
    assert_eq!(error, GenerationError::StateLayers { found: 2, expected: 3 });
}

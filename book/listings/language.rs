//! Chapter 'Language: checkpoints, generation, state'.

use burn::tensor::{Device, Int, Tensor};
use mamba_blocks::{
    CheckpointError, Draw, GenerationConfig, GenerationError, LmState, MambaLm, Packed, Prompts, Sampling, StateError,
};
use std::ops::ControlFlow;
use std::path::Path;

/// A small model with random weights, as transformers wrote it.
const CHECKPOINT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/checkpoints/plain");

// ANCHOR: load
/// The most likely next token, by a published model.
fn next_token(folder: &Path, tokens: &[i64], device: &Device) -> Result<i64, CheckpointError> {
    let model = MambaLm::from_pretrained(folder, device)?;
    let tokens = Tensor::<1, Int>::from_ints(tokens, device).unsqueeze::<2>();
    let [_, length] = tokens.dims();
    let logits = model.forward(tokens).narrow(1, length - 1, 1).narrow(2, 0, model.vocab_size);
    Ok(logits.argmax(2).into_scalar())
}
// ANCHOR_END: load

// ANCHOR: generate
/// Ten tokens after each of two prompts of different lengths; `say` sees them as they come.
fn answers(model: &MambaLm, mut say: impl FnMut(&[u32])) -> Result<Vec<Vec<u32>>, GenerationError> {
    let prompts = Prompts::new([vec![5, 9, 2], vec![7, 7, 1, 30, 12]]);
    let draw = Draw::new().with_temperature(0.8).with_top_p(Some(0.95));
    let config = GenerationConfig::new(10).with_sampling(Sampling::Random(draw)).with_seed(1);
    model.generate(prompts, &config, |tokens| {
        say(tokens);
        ControlFlow::Continue(())
    })
}
// ANCHOR_END: generate

// ANCHOR: state
/// What the model has read, in a file.
fn remember(model: &MambaLm, tokens: Tensor<2, Int>, file: &Path) -> Result<(), StateError> {
    let (_, state) = model.prefill(tokens);
    state.save(file)
}

/// The logits after some more tokens, from that file: as if it had all been read at once.
fn go_on(model: &MambaLm, file: &Path, tokens: Tensor<2, Int>) -> Result<Tensor<3>, StateError> {
    let state = LmState::load(file, model)?;
    Ok(model.forward_with_state(tokens, state).0)
}
// ANCHOR_END: state

// ANCHOR: packed
/// The loss of documents of any lengths, in rows of 16 tokens: each document sees itself alone.
fn loss(model: &MambaLm, documents: &[Vec<u32>], device: &Device) -> Result<Tensor<1>, mamba_blocks::PackError> {
    let packed = Packed::new(documents, 16, device)?;
    Ok(packed.loss(model.forward_packed(&packed)))
}
// ANCHOR_END: packed

#[test]
fn a_checkpoint_tells_the_next_token() {
    let token = next_token(Path::new(CHECKPOINT), &[1, 2, 3], &Device::default()).unwrap();
    assert!((0..48).contains(&token));
    let error = next_token(Path::new("no-such-folder"), &[1], &Device::default()).unwrap_err();
    assert!(error.to_string().contains("no-such-folder"));
}

#[test]
fn prompts_of_different_lengths_go_on_together() {
    let model = MambaLm::from_pretrained(CHECKPOINT, &Device::default()).unwrap();
    let mut steps = 0;
    let answers = answers(&model, |_| steps += 1).unwrap();
    assert_eq!((steps, answers.len(), answers[0].len()), (10, 2, 10));
}

#[test]
fn a_state_in_a_file_is_all_that_was_read() {
    let device = Device::default();
    let model = MambaLm::from_pretrained(CHECKPOINT, &device).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("talk.safetensors");
    let tokens = Tensor::<2, Int>::from_ints([[4, 8, 15, 16, 23, 42]], &device);
    remember(&model, tokens.clone().narrow(1, 0, 4), &file).unwrap();
    let rest = go_on(&model, &file, tokens.clone().narrow(1, 4, 2)).unwrap();
    assert!(crate::largest_difference(model.forward(tokens).narrow(1, 4, 2), rest) < 1e-4);
}

#[test]
fn packed_documents_have_a_loss() {
    let device = Device::default();
    let model = MambaLm::from_pretrained(CHECKPOINT, &device).unwrap();
    let loss = loss(&model, &[vec![1, 2, 3], vec![4, 5, 6, 7, 8]], &device).unwrap();
    assert!(loss.into_scalar::<f32>() > 0.0);
}

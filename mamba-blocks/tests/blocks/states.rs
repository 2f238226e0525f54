//! Snapshots of states, in memory and on disk.

use crate::assert_close;
use crate::precision::Cast;
use burn::module::Module;
use burn::tensor::DType;
use mamba_blocks::{Draw, Generated, GenerationConfig, LmState, MambaLm, MambaLmConfig, Prompts, Sampling, StateError};
use std::fs;
use std::ops::ControlFlow;

fn config() -> MambaLmConfig {
    MambaLmConfig::new(40, 12, 2).with_d_state(5).with_initializer_range(1.0)
}

fn say(model: &MambaLm, state: Option<LmState>, prompts: &[Vec<u32>]) -> Generated {
    let draw = Draw::new().with_temperature(20.0);
    let config = GenerationConfig::new(20).with_sampling(Sampling::Random(draw)).with_stop_tokens(vec![7, 8, 9]);
    model.generate_with_state(Prompts::new(prompts), state, &config, |_| ControlFlow::Continue(())).unwrap()
}

fn assert_near(found: LmState, expected: LmState) {
    for (found, expected) in found.layers.into_iter().zip(expected.layers) {
        assert_close("conv", found.conv, expected.conv, 1e-5);
        assert_close("ssm", found.ssm, expected.ssm, 1e-5);
    }
}

fn bits(state: &LmState) -> Vec<Vec<u8>> {
    let tensors = state.layers.iter().flat_map(|layer| [&layer.conv, &layer.ssm]);
    tensors.map(|tensor| tensor.to_data().as_bytes().to_vec()).collect()
}

#[test]
fn a_saved_conversation_goes_on_bit_by_bit() {
    let device = crate::device();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("conversation.safetensors");
    for dtype in [DType::F32, DType::BF16].into_iter().filter(|dtype| device.supports_dtype(*dtype)) {
        let model = config().init(&device).map(&mut Cast(dtype));
        let first = say(&model, None, &[vec![1, 2, 3], vec![4], vec![5, 6]]);
        let snapshot = first.state.clone();
        first.state.save(&path).unwrap();

        let reply = |row: usize| vec![*first.tokens[row].last().unwrap(), 10, 11 + row as u32];
        let prompts = [reply(0), reply(1), reply(2)];
        let expected = say(&model, Some(first.state), &prompts);
        let loaded = LmState::load(&path, &model).unwrap();
        assert_eq!(bits(&loaded), bits(&snapshot));
        for state in [snapshot, loaded] {
            let found = say(&model, Some(state), &prompts);
            assert_eq!(found.tokens, expected.tokens);
            assert_eq!(bits(&found.state), bits(&expected.state));
        }
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside the file");
}

#[test]
fn rows_are_selected_and_joined() {
    let device = crate::device();
    let model = config().init(&device);
    let (_, state) = model.read(&Prompts::new([[1], [2], [3]]), None).unwrap();
    assert_eq!(state.batch(), 3);
    let parts = vec![state.select(&[0]), state.select(&[1, 2])];
    assert_eq!(bits(&LmState::cat(parts)), bits(&state));
    let (_, expected) = model.read(&Prompts::new([[3], [1], [1]]), None).unwrap();
    assert_near(state.select(&[2, 0, 0]), expected);
}

#[test]
fn generating_goes_on_from_the_state_after_the_last_but_one_token() {
    // Of weights that are always the same, so that rows end at different times.
    let model = crate::golden::fixture_model(&crate::device());
    let prompts = [vec![1, 2, 3], vec![4], vec![5, 6]];
    let found = say(&model, None, &prompts);
    assert!(found.tokens.iter().any(|row| row.len() != found.tokens[0].len()), "{:?}", found.tokens);
    for (row, (prompt, new)) in prompts.iter().zip(&found.tokens).enumerate() {
        let (_, but_last) = new.split_last().unwrap();
        let seen = [prompt.as_slice(), but_last].concat();
        let (_, state) = model.read(&Prompts::new([seen]), None).unwrap();
        assert_near(found.state.select(&[row]), state);
    }
}

#[test]
fn a_text_in_turns_is_the_text_at_once() {
    let device = crate::device();
    let model = config().init(&device);
    let write = |prompts: &[Vec<u32>], state, count| {
        let config = GenerationConfig::new(count);
        model.generate_with_state(Prompts::new(prompts), state, &config, |_| ControlFlow::Continue(())).unwrap()
    };
    let prompts = [vec![1, 2, 3], vec![4]];
    let whole = write(&prompts, None, 15).tokens;
    let mut turn = write(&prompts, None, 5);
    let mut texts = turn.tokens.clone();
    for _ in 0..2 {
        let last: Vec<_> = turn.tokens.iter().map(|row| vec![*row.last().unwrap()]).collect();
        turn = write(&last, Some(turn.state), 5);
        texts.iter_mut().zip(&turn.tokens).for_each(|(text, new)| text.extend(new));
    }
    assert_eq!(texts, whole);
}

#[test]
fn foreign_files_are_refused_by_file_key_and_shape() {
    let device = crate::device();
    let model = config().init(&device);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state");
    let refused = |model: &MambaLm| {
        let error = LmState::load(&path, model).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        error
    };

    assert!(matches!(refused(&model), StateError::Read { .. }));
    let (_, state) = model.read(&Prompts::new([[1], [2]]), None).unwrap();
    state.save(&path).unwrap();

    let wider = refused(&config().with_expand(3).init(&device));
    assert!(
        matches!(&wider, StateError::Shape { key, found, expected, .. }
        if key == "layers.0.conv" && *found == [2, 3, 24] && *expected == [2, 3, 36]),
        "{wider}"
    );
    let states = refused(&config().with_d_state(6).init(&device));
    assert!(
        matches!(&states, StateError::Shape { key, found, expected, .. }
        if key == "layers.0.ssm" && *found == [2, 24, 5] && *expected == [2, 24, 6]),
        "{states}"
    );
    let mut deeper = config();
    deeper.n_layer = 3;
    let missing = refused(&deeper.init(&device));
    assert!(
        matches!(&missing, StateError::Missing { key, expected, .. }
        if key == "layers.2.conv" && *expected == [2, 3, 24]),
        "{missing}"
    );
    let mut flatter = config();
    flatter.n_layer = 1;
    let unexpected = refused(&flatter.init(&device));
    assert!(matches!(&unexpected, StateError::Unexpected { key, .. } if key == "layers.1.conv"), "{unexpected}");

    let bytes = fs::read(&path).unwrap();
    let mut lying = bytes.clone();
    lying[..8].copy_from_slice(&u64::MAX.to_le_bytes());
    for broken in [&bytes[..bytes.len() - 1], &bytes[..20], &[], &lying] {
        fs::write(&path, broken).unwrap();
        assert!(matches!(refused(&model), StateError::Format { .. }));
    }
}

#[test]
fn a_failed_save_leaves_the_old_file() {
    let device = crate::device();
    let model = config().init(&device);
    let folder = tempfile::tempdir().unwrap();
    let state = model.init_state(1, &device);
    let absent = folder.path().join("absent/state");
    assert!(matches!(state.save(&absent), Err(StateError::Write { .. })));
    // A folder stands in the way of the last step.
    let taken = folder.path().join("taken");
    fs::create_dir_all(taken.join("below")).unwrap();
    assert!(matches!(state.save(&taken), Err(StateError::Write { .. })));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

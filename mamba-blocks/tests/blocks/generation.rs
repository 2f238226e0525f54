//! Text generation.

use crate::random_tokens;
use burn::tensor::{Device, Int, Tensor};
use mamba_blocks::{Draw, GenerationConfig, GenerationError, MambaLm, MambaLmConfig, Prompts, Sampling};
use std::ops::ControlFlow;

/// 11 tokens, 16 with padding; the large embedding makes its choices clear.
fn model(device: &Device) -> MambaLm {
    MambaLmConfig::new(11, 16, 2).with_d_state(4).with_initializer_range(1.0).init(device)
}

fn generate(model: &MambaLm, prompt: &Tensor<2, Int>, config: &GenerationConfig) -> Vec<Vec<u32>> {
    model.generate(prompt.clone(), config, |_| ControlFlow::Continue(())).unwrap()
}

fn sampled(temperature: f64, top_k: Option<usize>, top_p: Option<f64>) -> Sampling {
    Sampling::Random(Draw { temperature, top_k, top_p, min_p: None })
}

#[test]
fn greedy_tokens_are_the_largest_logits_of_the_forward_pass() {
    let device = crate::device();
    let model = model(&device);
    let prompt = random_tokens([2, 5], 11, &device);
    let rows = generate(&model, &prompt, &GenerationConfig::new(6));
    assert_eq!(rows, generate(&model, &prompt, &GenerationConfig::new(6)));

    let mut tokens = prompt;
    let mut expected = vec![Vec::new(); 2];
    for _ in 0..6 {
        let [_, length] = tokens.dims();
        let logits = model.forward(tokens.clone()).narrow(1, length - 1, 1).narrow(2, 0, 11);
        let next: Tensor<2, Int> = logits.argmax(2).squeeze_dim(2);
        for (row, token) in expected.iter_mut().zip(next.to_data().iter::<u32>()) {
            row.push(token);
        }
        tokens = Tensor::cat(vec![tokens, next], 1);
    }
    assert_eq!(rows, expected);
}

#[test]
fn a_seed_gives_the_same_tokens_again_and_another_seed_others() {
    let device = crate::device();
    let model = model(&device);
    let prompt = random_tokens([1, 4], 11, &device);
    let config = GenerationConfig::new(40).with_sampling(sampled(20.0, None, None)).with_seed(7);
    let rows = generate(&model, &prompt, &config);
    assert_eq!(rows, generate(&model, &prompt, &config));
    assert_ne!(rows, generate(&model, &prompt, &config.with_seed(8)));
}

#[test]
fn a_row_does_not_depend_on_the_others() {
    let device = crate::device();
    let model = model(&device);
    let prompt = random_tokens([3, 4], 11, &device);
    let config = GenerationConfig::new(12).with_sampling(sampled(3.0, None, None)).with_seed(5);
    let rows = generate(&model, &prompt, &config);
    for (row, tokens) in rows.into_iter().enumerate() {
        let alone = generate(&model, &prompt.clone().narrow(0, row, 1), &config.clone().with_seed(5 + row as u64));
        assert_eq!(alone, vec![tokens]);
    }
}

#[test]
fn keeping_one_token_is_greedy() {
    let device = crate::device();
    let model = model(&device);
    let prompt = random_tokens([2, 4], 11, &device);
    let greedy = generate(&model, &prompt, &GenerationConfig::new(10));
    for sampling in [sampled(5.0, Some(1), None), sampled(5.0, None, Some(1e-9)), sampled(1e-6, None, None)] {
        assert_eq!(greedy, generate(&model, &prompt, &GenerationConfig::new(10).with_sampling(sampling)));
    }
}

#[test]
fn padding_is_never_chosen() {
    let device = crate::device();
    let mut model = model(&device);
    // Without the norm's weight all logits are equal, so that a flat draw reaches every token there is.
    model.norm_f.gamma = model.norm_f.gamma.map(|gamma| gamma.zeros_like());
    let config = GenerationConfig::new(300).with_sampling(sampled(1.0, None, None));
    let rows = generate(&model, &random_tokens([1, 2], 11, &device), &config);
    let mut seen = [false; 11];
    rows[0].iter().for_each(|&token| seen[token as usize] = true);
    assert_eq!(seen, [true; 11]);
}

#[test]
fn the_callback_gets_every_step_and_may_stop() {
    let device = crate::device();
    let model = model(&device);
    let prompt = random_tokens([2, 3], 11, &device);
    let mut steps = Vec::new();
    let rows = model.generate(prompt.clone(), &GenerationConfig::new(10), |tokens| {
        steps.push(tokens.to_vec());
        if steps.len() == 4 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let expected = generate(&model, &prompt, &GenerationConfig::new(4));
    assert_eq!(rows.unwrap(), expected);
    let streamed: Vec<Vec<u32>> = (0..2).map(|row| steps.iter().map(|step| step[row]).collect()).collect();
    assert_eq!(streamed, expected);
}

#[test]
fn a_row_ends_with_a_stop_token() {
    let device = crate::device();
    let model = model(&device);
    let prompt = random_tokens([4, 3], 11, &device);
    let flat = GenerationConfig::new(60).with_sampling(sampled(50.0, None, None));
    let free = generate(&model, &prompt, &flat);
    let stops = [3, 7];
    let mut steps: Vec<Vec<u32>> = Vec::new();
    let ended = model.generate(prompt, &flat.with_stop_tokens(stops.to_vec()), |tokens| {
        steps.push(tokens.to_vec());
        ControlFlow::Continue(())
    });
    let ended = ended.unwrap();
    assert_eq!(steps.len(), ended.iter().map(Vec::len).max().unwrap());
    for (at, (row, free)) in ended.iter().zip(free).enumerate() {
        let end = free.iter().position(|token| stops.contains(token)).map_or(free.len(), |at| at + 1);
        assert_eq!(*row, free[..end]);
        // A row that has ended shows its last token again.
        let streamed: Vec<u32> = steps.iter().map(|step| step[at]).collect();
        assert_eq!(streamed[..end], row[..]);
        assert!(streamed[end..].iter().all(|token| *token == row[end - 1]));
    }
}

#[test]
fn no_new_tokens_is_no_work() {
    let device = crate::device();
    let rows = generate(&model(&device), &random_tokens([2, 3], 11, &device), &GenerationConfig::new(0));
    assert_eq!(rows, vec![Vec::<u32>::new(); 2]);
}

#[test]
fn rows_of_different_lengths_are_those_alone() {
    // Of weights that are always the same, so that rows end at different times.
    let model = crate::golden::fixture_model(&crate::device());
    let prompts = [vec![1, 2, 3, 4, 5, 6, 7], vec![8], vec![9, 10, 0]];
    let config = GenerationConfig::new(25)
        .with_sampling(sampled(20.0, Some(20), Some(0.9)))
        .with_stop_tokens(vec![0, 5, 29])
        .with_repetition_penalty(1.2);
    let together = model.generate(Prompts::new(&prompts), &config, |_| ControlFlow::Continue(())).unwrap();
    assert!(together.iter().any(|row| row.len() != together[0].len()), "{together:?}");
    for (row, tokens) in together.into_iter().enumerate() {
        let config = config.clone().with_seed(row as u64);
        let alone = model.generate(Prompts::new([&prompts[row]]), &config, |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(alone, [tokens]);
    }
}

#[test]
fn a_long_prompt_is_read_in_pieces_and_nothing_is_tracked() {
    let device = crate::device().autodiff();
    let model = model(&device);
    let prompt = random_tokens([1, 2100], 11, &device);
    let rows = generate(&model, &prompt, &GenerationConfig::new(1));
    let logits = model.forward(prompt).narrow(1, 2099, 1).narrow(2, 0, 11);
    assert_eq!(rows[0][0], logits.argmax(2).into_scalar::<u32>());
}

#[test]
fn prompts_and_settings_that_cannot_be_used_are_refused() {
    let device = crate::device();
    let model = model(&device);
    let refused = |prompt: Tensor<2, Int>, config: GenerationConfig| {
        model.generate(prompt, &config, |_| panic!("nothing is generated")).unwrap_err()
    };
    let prompt = || Tensor::<2, Int>::from_ints([[1, 2], [3, 4]], &device);
    let config = GenerationConfig::new(3);

    let empty = refused(Tensor::empty([2, 0], &device), config.clone());
    assert_eq!(empty, GenerationError::EmptyPrompt { batch: 2, length: 0 });
    for (prompts, batch) in [(vec![vec![1, 2], vec![]], 2), (vec![], 0)] {
        let error = model.generate(Prompts::new(prompts), &config, |_| panic!("nothing is generated")).unwrap_err();
        assert_eq!(error, GenerationError::EmptyPrompt { batch, length: 0 });
    }
    for token in [11, 15, -1] {
        let error = refused(Tensor::from_ints([[1, 2], [3, token]], &device), config.clone());
        let expected = GenerationError::PromptToken { row: 1, position: 1, token: token.into(), vocab_size: 11 };
        assert_eq!(error, expected);
    }
    let error = refused(prompt(), config.clone().with_stop_tokens(vec![1, 11]));
    assert_eq!(error, GenerationError::StopToken { token: 11, vocab_size: 11 });

    let with = |sampling| refused(prompt(), config.clone().with_sampling(sampling));
    for temperature in [0.0, -1.0, f64::INFINITY] {
        assert_eq!(with(sampled(temperature, None, None)), GenerationError::Temperature(temperature));
    }
    assert!(matches!(with(sampled(f64::NAN, None, None)), GenerationError::Temperature(_)));
    assert_eq!(with(sampled(1.0, Some(0), None)), GenerationError::TopK);
    for top_p in [0.0, 1.5, -0.1] {
        assert_eq!(with(sampled(1.0, None, Some(top_p))), GenerationError::TopP(top_p));
    }
    for min_p in [-0.1, 1.1] {
        let draw = Draw::new().with_min_p(Some(min_p));
        assert_eq!(with(Sampling::Random(draw)), GenerationError::MinP(min_p));
    }
    for penalty in [0.0, -1.0, f64::INFINITY] {
        let error = refused(prompt(), config.clone().with_repetition_penalty(penalty));
        assert_eq!(error, GenerationError::RepetitionPenalty(penalty));
    }
}

#[test]
fn a_broken_model_is_told_from_a_token() {
    let device = crate::device();
    let mut model = model(&device);
    model.norm_f.gamma = model.norm_f.gamma.map(|gamma| gamma.mul_scalar(f32::NAN));
    let error = model
        .generate(random_tokens([1, 2], 11, &device), &GenerationConfig::new(3), |_| panic!("nothing is generated"));
    assert_eq!(error.unwrap_err(), GenerationError::NotFinite { row: 0, tokens: 0 });
}

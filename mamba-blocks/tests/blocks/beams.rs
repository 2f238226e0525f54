//! Beam search against an exhaustive one.

use burn::tensor::{Device, Int, Tensor, TensorData};
use mamba_blocks::{BeamConfig, BeamOutput, GenerationConfig, GenerationError, MambaLm, MambaLmConfig, Prompts};
use std::collections::HashSet;
use std::ops::ControlFlow;

const VOCABULARY: usize = 4;
const LENGTH: usize = 4;
const STOP: u32 = 2;

fn model(device: &Device) -> MambaLm {
    MambaLmConfig::new(VOCABULARY, 8, 2).with_d_state(4).with_initializer_range(0.5).init(device)
}

/// The sum of the log-probabilities of `text` after `prompt`, by one forward pass.
fn log_probability(model: &MambaLm, prompt: &[u32], text: &[u32]) -> f64 {
    let tokens: Vec<i64> = prompt.iter().chain(text).map(|&token| i64::from(token)).collect();
    let length = tokens.len();
    let device = model.embedding.weight.device();
    let logits = model.forward(Tensor::<2, Int>::from_data(TensorData::new(tokens, [1, length]), &device));
    let logits: Vec<f64> = logits.narrow(2, 0, VOCABULARY).into_data().iter().collect();
    let score = |(at, &token): (usize, &u32)| {
        let row = &logits[(prompt.len() + at - 1) * VOCABULARY..][..VOCABULARY];
        row[token as usize] - row.iter().map(|logit| logit.exp()).sum::<f64>().ln()
    };
    text.iter().enumerate().map(score).sum()
}

/// Every text that ends with the stop token or has the full length.
fn all_texts() -> Vec<Vec<u32>> {
    let mut open = vec![Vec::new()];
    let mut texts = Vec::new();
    for _ in 0..LENGTH {
        let longer =
            open.iter().flat_map(|text| (0..VOCABULARY as u32).map(move |token| [text.as_slice(), &[token]].concat()));
        let (ended, running): (Vec<_>, Vec<_>) =
            longer.partition(|text: &Vec<u32>| text.last() == Some(&STOP) || text.len() == LENGTH);
        texts.extend(ended);
        open = running;
    }
    texts
}

/// `found` are the first of `expected`; texts of nearly the same score may have changed places.
fn assert_texts(found: &[BeamOutput], count: usize, expected: &[(f64, Vec<u32>)]) {
    assert_eq!(found.len(), count);
    for (found, (score, _)) in found.iter().zip(expected) {
        let near = |score: f64| (found.score - score).abs() < 1e-5;
        let there = expected.iter().any(|(score, text)| near(*score) && found.tokens == *text);
        assert!(near(*score) && there, "{found:?}, expected {expected:?}");
    }
}

#[test]
fn as_many_beams_as_texts_find_the_best_of_all() {
    let device = crate::device();
    let model = model(&device);
    let prompts = [vec![1, 3, 0], vec![2]];
    for length_penalty in [0.0, 1.0, -0.5] {
        let beams = VOCABULARY.pow(LENGTH as u32);
        let config = BeamConfig::new(LENGTH, beams)
            .with_num_return(10)
            .with_stop_tokens(vec![STOP])
            .with_length_penalty(length_penalty);
        let found = model.beam_search(Prompts::new(&prompts), None, &config).unwrap();
        for (prompt, found) in prompts.iter().zip(found) {
            let score =
                |text: &Vec<u32>| log_probability(&model, prompt, text) / (text.len() as f64).powf(length_penalty);
            let mut all: Vec<_> = all_texts().into_iter().map(|text| (score(&text), text)).collect();
            all.sort_by(|x, y| y.0.total_cmp(&x.0));
            assert_texts(&found, 10, &all);
        }
    }
}

/// Beam search as the textbook has it, with a forward pass for every text.
fn textbook(model: &MambaLm, prompt: &[u32], beams: usize) -> Vec<(f64, Vec<u32>)> {
    let mut best = vec![(0.0, Vec::new())];
    for _ in 0..LENGTH {
        let longer = best
            .iter()
            .flat_map(|(_, text)| (0..VOCABULARY as u32).map(move |token| [text.as_slice(), &[token]].concat()));
        let mut longer: Vec<_> = longer.map(|text| (log_probability(model, prompt, &text), text)).collect();
        longer.sort_by(|x, y| y.0.total_cmp(&x.0));
        longer.truncate(beams);
        best = longer;
    }
    best
}

#[test]
fn few_beams_keep_the_best_of_each_step() {
    let device = crate::device();
    let model = model(&device);
    for beams in [1, 2, 3] {
        let config = BeamConfig::new(LENGTH, beams).with_num_return(beams).with_length_penalty(0.0);
        let found = model.beam_search(Prompts::new([[1, 3]]), None, &config).unwrap();
        assert_texts(&found[0], beams, &textbook(&model, &[1, 3], beams));
    }
}

#[test]
fn one_beam_is_greedy_and_goes_on_from_a_state() {
    let device = crate::device();
    let model = model(&device);
    let greedy = model.generate(Prompts::new([[1, 3, 0]]), &GenerationConfig::new(9), |_| ControlFlow::Continue(()));
    let (_, state) = model.read(&Prompts::new([[1]]), None).unwrap();
    let found = model.beam_search(Prompts::new([[3, 0]]), Some(state), &BeamConfig::new(9, 1)).unwrap();
    assert_eq!(found[0][0].tokens, greedy.unwrap()[0]);
}

#[test]
fn groups_avoid_the_tokens_of_those_before_them() {
    let device = crate::device();
    let model = model(&device);
    let prompt = [1, 3];
    let config = BeamConfig::new(LENGTH, VOCABULARY).with_num_groups(VOCABULARY).with_num_return(VOCABULARY);
    let search = |config: &BeamConfig| model.beam_search(Prompts::new([prompt]), None, config).unwrap().remove(0);

    // Without a penalty every group finds the same.
    let same = search(&config);
    assert!(same.iter().all(|text| *text == same[0]));

    // With a small one, group by group: greedy, a token less likely for every group before that has just chosen it.
    let penalty = 0.3;
    let mut texts: Vec<(f64, Vec<u32>)> = vec![(0.0, Vec::new()); VOCABULARY];
    for _ in 0..LENGTH {
        let mut chosen = [0.0; VOCABULARY];
        for (score, text) in &mut texts {
            let longer = |token: usize| [text.as_slice(), &[token as u32]].concat();
            let before = log_probability(&model, &prompt, text);
            let score_of =
                |token: usize| log_probability(&model, &prompt, &longer(token)) - before - penalty * chosen[token];
            let next = (0..VOCABULARY).max_by(|&x, &y| score_of(x).total_cmp(&score_of(y))).unwrap();
            *score += score_of(next);
            *text = longer(next);
            chosen[next] += 1.0;
        }
    }
    let mut expected: Vec<_> = texts.into_iter().map(|(score, text)| (score / LENGTH as f64, text)).collect();
    expected.sort_by(|x, y| y.0.total_cmp(&x.0));
    assert_texts(&search(&config.clone().with_diversity_penalty(penalty)), VOCABULARY, &expected);

    // With a large one, no two choose the same token.
    let apart = search(&config.with_diversity_penalty(100.0));
    for at in 0..LENGTH {
        let tokens: HashSet<u32> = apart.iter().map(|text| text.tokens[at]).collect();
        assert_eq!(tokens.len(), VOCABULARY);
    }
}

#[test]
fn settings_that_describe_no_search_are_refused() {
    let device = crate::device();
    let model = model(&device);
    let refused = |config: BeamConfig| model.beam_search(Prompts::new([[1]]), None, &config).unwrap_err();
    for (beams, groups, count) in [(0, 1, 1), (4, 0, 1), (4, 3, 1), (4, 1, 5), (4, 1, 0)] {
        let error = refused(BeamConfig::new(3, beams).with_num_groups(groups).with_num_return(count));
        assert_eq!(error, GenerationError::Beams { num_beams: beams, num_groups: groups, num_return: count });
    }
    let config = BeamConfig::new(3, 2);
    let error = refused(config.clone().with_diversity_penalty(-1.0));
    assert!(matches!(error, GenerationError::BeamPenalty { name: "diversity_penalty", .. }));
    let error = refused(config.clone().with_length_penalty(f64::NAN));
    assert!(matches!(error, GenerationError::BeamPenalty { name: "length_penalty", .. }));
    let error = refused(config.with_stop_tokens(vec![4]));
    assert_eq!(error, GenerationError::StopToken { token: 4, vocab_size: VOCABULARY });
}

//! Generation against `generate` of transformers, on the weights of the golden model.

use burn::tensor::Tensor;
use mamba_blocks::{BeamConfig, EarlyStopping, GenerationConfig, MambaLm, Prompts};
use serde_json::Value;
use std::ops::ControlFlow;

struct Expected(Value);

impl Expected {
    fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/mamba_lm_generation.json");
        Self(serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    }

    fn model(&self) -> MambaLm {
        let mut model = crate::golden::fixture_model(&crate::device());
        let scale = self.0["norm_f_scale"].as_f64().unwrap();
        model.norm_f.gamma = model.norm_f.gamma.map(|gamma: Tensor<1>| gamma.mul_scalar(scale));
        model
    }

    fn prompts(&self) -> Vec<Vec<u32>> {
        self.0["prompts"].as_array().unwrap().iter().map(tokens).collect()
    }

    fn new_tokens(&self) -> usize {
        self.0["max_new_tokens"].as_u64().unwrap() as usize
    }

    /// For each prompt the texts and their scores.
    fn texts(&self, case: &str) -> Vec<(Vec<Vec<u32>>, Vec<f64>)> {
        let numbers = |value: &Value| value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect();
        let rows = self.0["cases"][case].as_array().unwrap().iter();
        rows.map(|row| (row["texts"].as_array().unwrap().iter().map(tokens).collect(), numbers(&row["scores"])))
            .collect()
    }
}

fn tokens(value: &Value) -> Vec<u32> {
    value.as_array().unwrap().iter().map(|token| token.as_u64().unwrap() as u32).collect()
}

#[test]
fn greedy_texts_are_those_of_transformers() {
    let expected = Expected::open();
    let model = expected.model();
    let config = GenerationConfig::new(expected.new_tokens());
    let penalty = config.clone().with_repetition_penalty(6.0);
    let stops = penalty.clone().with_stop_tokens(vec![5, 11, 20]);
    for (case, config) in [("greedy", config), ("greedy_penalty", penalty), ("greedy_stops", stops)] {
        // All prompts in one batch, although their lengths differ.
        let prompts = Prompts::new(expected.prompts());
        let texts = model.generate(prompts, &config, |_| ControlFlow::Continue(())).unwrap();
        let theirs: Vec<Vec<u32>> = expected.texts(case).into_iter().map(|(mut texts, _)| texts.remove(0)).collect();
        assert_eq!(texts, theirs, "{case}");
    }
}

#[test]
fn beams_and_their_scores_are_those_of_transformers() {
    let expected = Expected::open();
    let model = expected.model();
    let config = |beams| BeamConfig::new(expected.new_tokens(), beams);
    let stops = vec![5, 8, 18, 11];
    let cases = [
        ("beams", config(4).with_num_return(4)),
        ("beams_stops", config(4).with_num_return(3).with_stop_tokens(vec![29, 8, 31])),
        ("beams_short", config(3).with_num_return(3).with_stop_tokens(vec![25, 8]).with_length_penalty(-1.0)),
        ("beams_long", config(3).with_num_return(3).with_stop_tokens(vec![25, 8]).with_length_penalty(2.0)),
        (
            "beams_full",
            config(3).with_num_return(2).with_stop_tokens(stops.clone()).with_early_stopping(EarlyStopping::Full),
        ),
        ("beams_never", config(3).with_num_return(2).with_stop_tokens(stops).with_early_stopping(EarlyStopping::Never)),
        ("beams_penalty", config(4).with_num_return(2).with_stop_tokens(vec![5]).with_repetition_penalty(1.5)),
    ];
    for (case, config) in cases {
        let found = model.beam_search(Prompts::new(expected.prompts()), None, &config).unwrap();
        for (prompt, (found, (texts, scores))) in found.iter().zip(expected.texts(case)).enumerate() {
            let tokens: Vec<_> = found.iter().map(|text| text.tokens.clone()).collect();
            assert_eq!(tokens, texts, "{case}, prompt {prompt}");
            for (found, score) in found.iter().zip(scores) {
                assert!((found.score - score).abs() <= 2e-5 * score.abs(), "{case}: {found:?}, expected {score}");
            }
        }
    }
}

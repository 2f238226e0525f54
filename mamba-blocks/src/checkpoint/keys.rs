//! Which tensors a model has: their names, which the two layouts share, and their shapes in PyTorch.

use super::error::{CheckpointError, TensorProblem, TensorProblems};
use super::weights::{Stored, Weights};
use crate::lm::MambaLmConfig;
use crate::mamba::MambaConfig;
use std::collections::BTreeSet;

pub(super) const HEAD: &str = "lm_head.weight";
pub(super) const NORM_F: &str = "backbone.norm_f.weight";
/// Transformers calls the embedding by the plural.
const EMBEDDINGS: &str = "backbone.embeddings.weight";
const EMBEDDING: &str = "backbone.embedding.weight";

/// More problems than this are not collected: one key of every layer is enough.
const MOST_PROBLEMS: usize = 100;

/// What the embedding is called.
pub(super) fn embedding(weights: &Weights) -> &'static str {
    if weights.contains(EMBEDDING) { EMBEDDING } else { EMBEDDINGS }
}

/// What the names of a block's tensors start with.
pub(super) fn block(index: usize) -> String {
    format!("backbone.layers.{index}")
}

/// The name of one of our parameters in the published layouts.
pub(super) fn published(path: &str) -> String {
    let at = if path.starts_with("lm_head.") { "" } else { "backbone." };
    let renamed = [(".gamma", ".weight"), (".a_log", ".A_log"), (".d", ".D")];
    let renamed = renamed.iter().find_map(|(ours, theirs)| Some((path.strip_suffix(ours)?, theirs)));
    match renamed {
        Some((rest, end)) => format!("{at}{rest}{end}"),
        None => format!("{at}{path}"),
    }
}

/// Whether it is the weight of a linear layer.
pub(super) fn is_linear(key: &str) -> bool {
    key == HEAD || key.ends_with("_proj.weight")
}

/// The tensors of a mixer.
fn mixer(config: &MambaConfig) -> Vec<(&'static str, Vec<usize>)> {
    let (d_model, d_inner, d_state, dt_rank) = (config.d_model, config.d_inner(), config.d_state, config.dt_rank());
    let mut tensors = vec![
        ("in_proj.weight", vec![2 * d_inner, d_model]),
        ("conv1d.weight", vec![d_inner, 1, config.d_conv]),
        ("x_proj.weight", vec![dt_rank + 2 * d_state, d_inner]),
        ("dt_proj.weight", vec![d_inner, dt_rank]),
        ("dt_proj.bias", vec![d_inner]),
        ("A_log", vec![d_inner, d_state]),
        ("D", vec![d_inner]),
        ("out_proj.weight", vec![d_model, d_inner]),
    ];
    if config.bias {
        tensors.extend([("in_proj.bias", vec![2 * d_inner]), ("out_proj.bias", vec![d_model])]);
    }
    if config.conv_bias {
        tensors.push(("conv1d.bias", vec![d_inner]));
    }
    tensors
}

/// Checks that `weights` has every tensor of the model, in its shape, and no other.
pub(super) fn check(weights: &Weights, config: &MambaLmConfig) -> Result<(), CheckpointError> {
    let (vocab, d_model) = (config.padded_vocab_size(), config.d_model);
    let outer = [(embedding(weights), vec![vocab, d_model]), (NORM_F, vec![d_model]), (HEAD, vec![vocab, d_model])];
    // A tied head may be stored or not.
    let outer = outer.into_iter().filter(|(key, _)| *key != HEAD || !config.tie_embeddings || weights.contains(HEAD));
    let blocks = (0..config.n_layer).flat_map(|index| {
        let block = block(index);
        let norm = (format!("{block}.norm.weight"), vec![d_model]);
        let mixer =
            mixer(&config.mixer()).into_iter().map(move |(name, shape)| (format!("{block}.mixer.{name}"), shape));
        std::iter::once(norm).chain(mixer)
    });

    let mut known = BTreeSet::new();
    let mut problems = Vec::new();
    for (key, expected) in outer.map(|(key, shape)| (key.to_string(), shape)).chain(blocks) {
        problems.extend(problem(weights.tensors.get(&key), &key, &expected, PartialEq::eq));
        known.insert(key);
        if problems.len() >= MOST_PROBLEMS {
            break;
        }
    }
    if problems.len() < MOST_PROBLEMS {
        let unexpected = weights.tensors.iter().filter(|(key, _)| !known.contains(*key));
        problems.extend(unexpected.take(MOST_PROBLEMS).map(|(key, stored)| TensorProblem::Unexpected {
            key: key.clone(),
            file: stored.path.clone(),
            found: stored.shape.clone(),
        }));
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(CheckpointError::Tensors { path: weights.folder.clone(), problems: TensorProblems(problems) }),
    }
}

/// What is wrong with one tensor, whose shape has to fit the expected one.
pub(super) fn problem(
    stored: Option<&Stored>,
    key: &str,
    expected: &[usize],
    fits: impl Fn(&[usize], &[usize]) -> bool,
) -> Option<TensorProblem> {
    let (key, expected) = (key.to_string(), expected.to_vec());
    let Some(stored) = stored else { return Some(TensorProblem::Missing { key, expected }) };
    let file = stored.path.clone();
    match &stored.dtype {
        Err(found) => Some(TensorProblem::DType { key, file, found: found.clone() }),
        Ok(_) if !fits(&stored.shape, &expected) => {
            Some(TensorProblem::Shape { key, file, found: stored.shape.clone(), expected })
        }
        Ok(_) => None,
    }
}

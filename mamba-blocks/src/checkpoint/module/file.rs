//! Published weights in one file: PyTorch's, of whatever kind, or safetensors.

use super::{ModuleLayout, fill::fill};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::weights::{self, Stored};
use burn::module::Module;
use std::collections::BTreeMap;
use std::path::Path;

/// What training scripts put the weights under, beside optimizers and averages.
const CONTAINERS: [&str; 2] = ["model.", "state_dict."];
/// What wrappers for several devices put before every name, at times twice.
const WRAPPER: &str = "module.";

/// `module` with the weights in the file `path`, in f32: safetensors if it is called so, or else a PyTorch file.
///
/// Nothing in a file is executed, and no memory is taken that it has no bytes for. Of a file with an average of the
/// weights beside them, the weights are taken.
///
/// # Errors
/// [`CheckpointError`], which names every tensor that is missing, left over or of another shape.
pub fn load_file<M: Module>(path: &Path, layout: &ModuleLayout, module: M) -> Result<M, CheckpointError> {
    fill(module, open(path, layout)?, layout, path)
}

/// The shapes of the tensors in the file `path`, by their published names.
///
/// # Errors
/// [`CheckpointError::Read`] and [`CheckpointError::Damaged`].
pub fn tensor_shapes(path: &Path, layout: &ModuleLayout) -> Result<BTreeMap<String, Vec<usize>>, CheckpointError> {
    Ok(open(path, layout)?.into_iter().map(|(key, stored)| (key, stored.shape)).collect())
}

fn open(path: &Path, layout: &ModuleLayout) -> Result<BTreeMap<String, Stored>, CheckpointError> {
    Ok(layout.known(unwrapped(weights::open_file(path)?.into_iter().collect())))
}

/// Without what encloses the weights.
fn unwrapped<T>(mut tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
    if let Some(container) = CONTAINERS.iter().find(|container| tensors.keys().any(|key| key.starts_with(**container)))
    {
        tensors = stripped(tensors, container);
    }
    while !tensors.is_empty() && tensors.keys().all(|key| key.starts_with(WRAPPER)) {
        tensors = stripped(tensors, WRAPPER);
    }
    tensors
}

/// Those that begin with `prefix`, without it.
fn stripped<T>(tensors: BTreeMap<String, T>, prefix: &str) -> BTreeMap<String, T> {
    let strip = |(key, tensor): (String, T)| Some((key.strip_prefix(prefix)?.to_string(), tensor));
    tensors.into_iter().filter_map(strip).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Vec<String> {
        unwrapped(keys.iter().map(|key| (key.to_string(), ())).collect()).into_keys().collect()
    }

    #[test]
    fn weights_are_found_in_every_container() {
        assert_eq!(keys(&["head.bias", "norm.weight"]), ["head.bias", "norm.weight"]);
        assert_eq!(keys(&["model.head.bias", "model_ema.head.bias", "optimizer.state.0.step"]), ["head.bias"]);
        assert_eq!(keys(&["state_dict.module.head.bias", "epoch"]), ["head.bias"]);
        assert_eq!(keys(&["module.module.head.bias"]), ["head.bias"]);
    }
}

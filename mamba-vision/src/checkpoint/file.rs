//! The tensors of a file, under their published names.

use burn::tensor::{DType, TensorData};
use burn_store::bridge;
use burn_store::burn_pack::Tensor;
use mamba_blocks::{CheckpointError, open_pytorch};
use safetensors::{Dtype, SafeTensors};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

pub(super) type Tensors = BTreeMap<String, Tensor>;

/// What training scripts put the weights under, beside optimizers and averages.
const CONTAINERS: [&str; 2] = ["model.", "state_dict."];
/// What wrappers for several devices put before every name, at times twice.
const WRAPPER: &str = "module.";

pub(super) fn open(path: &Path) -> Result<Tensors, CheckpointError> {
    let tensors: Tensors = match path.extension().is_some_and(|extension| extension == "safetensors") {
        true => safetensors(path)?,
        false => {
            let tensors = open_pytorch(path)?.into_tensors().into_iter();
            tensors.map(|(key, tensor)| (key, bridge::from_pytorch(tensor))).collect()
        }
    };
    Ok(unwrapped(tensors))
}

/// Without what encloses the weights.
fn unwrapped(mut tensors: Tensors) -> Tensors {
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
fn stripped(tensors: Tensors, prefix: &str) -> Tensors {
    let strip = |(key, tensor): (String, Tensor)| Some((key.strip_prefix(prefix)?.to_string(), tensor));
    tensors.into_iter().filter_map(strip).collect()
}

fn safetensors(path: &Path) -> Result<Tensors, CheckpointError> {
    let damaged = |reason: String| CheckpointError::Damaged { path: path.to_path_buf(), reason };
    let bytes = fs::read(path).map_err(|source| CheckpointError::Read { path: path.to_path_buf(), source })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
    let mut tensors = Tensors::new();
    for (key, view) in file.iter() {
        let dtype = match view.dtype() {
            Dtype::F64 => DType::F64,
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            Dtype::I64 => DType::I64,
            Dtype::I32 => DType::I32,
            other => return Err(damaged(format!("`{key}` has dtype {other:?}, expected numbers"))),
        };
        let data = TensorData::try_from_bytes_vec(view.data().to_vec(), view.shape().to_vec(), dtype);
        let data = data.map_err(|error| damaged(format!("`{key}`: {error}")))?;
        tensors.insert(key.to_string(), bridge::from_data(data, key.to_string(), None));
    }
    Ok(tensors)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(keys: &[&str]) -> Vec<String> {
        let tensor = |key: &&str| {
            let data = TensorData::new(vec![0.0_f32], [1]);
            (key.to_string(), bridge::from_data(data, key.to_string(), None))
        };
        unwrapped(keys.iter().map(tensor).collect()).into_keys().collect()
    }

    #[test]
    fn weights_are_found_in_every_container() {
        assert_eq!(keys(&["head.bias", "norm.weight"]), ["head.bias", "norm.weight"]);
        assert_eq!(keys(&["model.head.bias", "model_ema.head.bias", "optimizer.state.0.step"]), ["head.bias"]);
        assert_eq!(keys(&["state_dict.module.head.bias", "epoch"]), ["head.bias"]);
        assert_eq!(keys(&["module.module.head.bias"]), ["head.bias"]);
    }
}

//! Folders in Hugging Face's layout: `config.json` and the weights beside it.

use super::{ModuleLayout, fill::fill};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::files::read_json;
use crate::checkpoint::weights::{Stored, Weights};
use burn::module::Module;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

pub(super) const CONFIG: &str = "config.json";
/// No parameter is stored in less.
const LEAST_BYTES: u64 = 2;

/// The `config.json` of the checkpoint in `folder`.
///
/// # Errors
/// [`CheckpointError::Read`] and [`CheckpointError::Damaged`].
pub fn read_config(folder: &Path) -> Result<Value, CheckpointError> {
    read_json(&folder.join(CONFIG))
}

/// What `init` makes, which has `num_params` parameters, with the tensors of the checkpoint in `folder`, in f32:
/// safetensors or PyTorch files, shards included.
///
/// Nothing in a file is executed, and no memory is taken that the files have no bytes for.
///
/// # Errors
/// [`CheckpointError`], which names every tensor that is missing, left over or of another shape.
pub fn load_module<M: Module>(
    folder: &Path,
    layout: &ModuleLayout,
    num_params: usize,
    init: impl FnOnce() -> M,
) -> Result<M, CheckpointError> {
    let Weights { tensors, file_bytes, .. } = Weights::open(folder)?;
    let claimed = (num_params as u64).saturating_mul(LEAST_BYTES);
    if claimed > file_bytes {
        return Err(CheckpointError::TooLarge { folder: folder.to_path_buf(), claimed, expected: file_bytes });
    }
    let mut stored = layout.known(tensors);
    untie(&mut stored, layout)?;
    fill(init(), stored, layout, folder)
}

/// Tensors that are one parameter are kept once, after a look whether they are equal.
fn untie(stored: &mut BTreeMap<String, Stored>, layout: &ModuleLayout) -> Result<(), CheckpointError> {
    let tied: Vec<_> = stored.keys().filter_map(|key| Some((key.clone(), (layout.tied)(key)?))).collect();
    for (key, with) in tied {
        let Some(tensor) = stored.remove(&key) else { continue };
        match stored.get(&with) {
            None => drop(stored.insert(with, tensor)),
            Some(first) => {
                let same = first.shape == tensor.shape && first.read()?.as_bytes() == tensor.read()?.as_bytes();
                if !same {
                    return Err(CheckpointError::Untied { path: tensor.path, key, with });
                }
            }
        }
    }
    Ok(())
}

//! Which files of a folder hold the weights, and how files are written.

use super::error::CheckpointError;
use burn_store::burn_pack::{self, AtomicFile};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

/// In the order in which transformers looks for them; it does not know the last.
pub(super) const CANDIDATES: [&str; 5] = [
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    BURNPACK,
];

/// Burn's own format.
pub(super) const BURNPACK: &str = "model.bpk";

/// Files with weights, and in which of them an index places which tensor.
pub(super) struct Found {
    pub paths: Vec<PathBuf>,
    pub places: BTreeMap<String, PathBuf>,
}

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// The first of the candidates in `folder`, or the shards that it names.
pub(super) fn find(folder: &Path) -> Result<Found, CheckpointError> {
    let Some(path) = CANDIDATES.iter().map(|name| folder.join(name)).find(|path| path.exists()) else {
        // Tells a missing folder from one without weights.
        fs::read_dir(folder).map_err(CheckpointError::read(folder))?;
        return Err(CheckpointError::NoWeights { folder: folder.to_path_buf(), expected: CANDIDATES.join(" or ") });
    };
    if path.extension() != Some(OsStr::new("json")) {
        return Ok(Found { paths: vec![path], places: BTreeMap::new() });
    }
    let index: Index = read_json(&path)?;
    let mut places = BTreeMap::new();
    for (key, shard) in index.weight_map {
        let is_name = Path::new(&shard).components().eq([Component::Normal(OsStr::new(&shard))]);
        if !is_name {
            return Err(CheckpointError::ShardOutside { path, shard });
        }
        places.insert(key, folder.join(shard));
    }
    let paths: BTreeSet<_> = places.values().cloned().collect();
    Ok(Found { paths: paths.into_iter().collect(), places })
}

/// The first of the candidates in `folder` but Burn's own.
pub(super) fn published(folder: &Path) -> Option<&'static str> {
    CANDIDATES.into_iter().find(|name| *name != BURNPACK && folder.join(name).exists())
}

/// The size of a file; a link to a device without end is none.
pub(super) fn size(path: &Path) -> Result<u64, CheckpointError> {
    let metadata = fs::metadata(path).map_err(CheckpointError::read(path))?;
    match metadata.is_file() {
        true => Ok(metadata.len()),
        false => Err(CheckpointError::damaged(path, "it is no regular file")),
    }
}

/// A JSON file as a `T`.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, CheckpointError> {
    size(path)?;
    let bytes = fs::read(path).map_err(CheckpointError::read(path))?;
    serde_json::from_slice(&bytes).map_err(|error| CheckpointError::damaged(path, error))
}

/// In one step: written beside its place first.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let write = || {
        let (scratch, mut file) = AtomicFile::create(path)?;
        let written = file.write_all(bytes).and_then(|()| file.sync_all());
        drop(file);
        written.map_err(|error| burn_pack::Error::IoError(error.to_string()))?;
        scratch.commit()
    };
    write().map_err(|error| CheckpointError::write(path, error))
}

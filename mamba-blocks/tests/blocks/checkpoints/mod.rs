//! Checkpoints in either layout, against transformers (`fixtures/make_checkpoints.py`).

mod bad;
mod memory;
mod mutations;
mod parity;
mod pickles;

use burn::tensor::{Device, Int, Tensor, TensorData};
use mamba_blocks::MambaLm;
use safetensors::SafeTensors;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/checkpoints").join(name)
}

/// A copy of a checkpoint that a test may spoil.
fn copy(name: &str) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for entry in fs::read_dir(folder(name)).unwrap() {
        let path = entry.unwrap().path();
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// What transformers makes of a checkpoint.
struct Expected {
    ids: Vec<i32>,
    /// `[length, vocab_size]`.
    logits: Vec<f32>,
    /// The 64 tokens after `ids`.
    greedy: Vec<u32>,
}

impl Expected {
    fn open(name: &str) -> Self {
        let bytes = fs::read(folder(name).join("expected.safetensors")).unwrap();
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let words = |key: &str| -> Vec<[u8; 4]> { file.tensor(key).unwrap().data().as_chunks().0.to_vec() };
        Self {
            ids: words("ids").into_iter().map(i32::from_le_bytes).collect(),
            logits: words("logits").into_iter().map(f32::from_le_bytes).collect(),
            greedy: words("greedy").into_iter().map(u32::from_le_bytes).collect(),
        }
    }

    fn prompt(&self, device: &Device) -> Tensor<2, Int> {
        Tensor::from_data(TensorData::new(self.ids.clone(), [1, self.ids.len()]), device)
    }
}

/// The logits of `model` for `ids`, without those of the padding.
fn logits(model: &MambaLm, ids: Tensor<2, Int>) -> Vec<f32> {
    let logits = model.forward(ids).narrow(2, 0, model.vocab_size);
    logits.into_data().convert::<f32>().try_to_vec().unwrap()
}

//! A model from its weights, tensor by tensor: at no time are there two copies of more than one of them.

use super::error::CheckpointError;
use super::weights::{Source, Stored, Weights};
use super::{Progress, keys};
use crate::block::MambaBlock;
use crate::lm::{MambaLm, MambaLmConfig};
use crate::mamba::{Mamba, MambaConfig};
use burn::module::Param;
use burn::nn::{Embedding, Linear, RmsNorm};
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::cell::Cell;
use std::hash::{DefaultHasher, Hash, Hasher};

/// Files that share the bytes of two tensors are seen; those that repeat them over and over are made to harm.
const MOST_BYTES_PER_FILE_BYTE: u64 = 2;

pub(super) struct Loader<'a> {
    pub weights: &'a Weights,
    pub config: &'a MambaLmConfig,
    /// Of the parameters; those that the scan needs in f32 stay in it.
    pub dtype: DType,
    pub device: &'a Device,
    pub progress: Option<&'a Progress>,
    /// Bytes that have been read.
    pub done: Cell<u64>,
}

impl Loader<'_> {
    pub fn model(&self) -> Result<MambaLm, CheckpointError> {
        keys::check(self.weights, self.config)?;
        self.check_size()?;
        // First, as it reads the embedding twice.
        self.check_tied()?;
        let embedding = Embedding { weight: self.parameter(keys::embedding(self.weights), self.dtype)? };
        // Before the layers: it is as large as the embedding, and is read while there is little beside it.
        let lm_head = match self.config.tie_embeddings {
            true => None,
            false => Some(self.linear("lm_head", false)?),
        };
        let layers = (0..self.config.n_layer).map(|index| self.block(&keys::block(index))).collect::<Result<_, _>>()?;
        let norm_f = self.norm(keys::NORM_F)?;
        Ok(MambaLm { embedding, layers, norm_f, lm_head, vocab_size: self.config.vocab_size })
    }

    fn block(&self, at: &str) -> Result<MambaBlock, CheckpointError> {
        Ok(MambaBlock {
            norm: self.norm(&format!("{at}.norm.weight"))?,
            mixer: self.mixer(&format!("{at}.mixer"), &self.config.mixer())?,
            residual_in_fp32: self.config.residual_in_fp32,
        })
    }

    fn mixer(&self, at: &str, config: &MambaConfig) -> Result<Mamba, CheckpointError> {
        let mut conv1d = config.conv1d(self.device);
        conv1d.weight = self.parameter(&format!("{at}.conv1d.weight"), self.dtype)?;
        conv1d.bias = self.optional(config.conv_bias, &format!("{at}.conv1d.bias"))?;
        let mut dt_proj = self.linear(&format!("{at}.dt_proj"), false)?;
        dt_proj.bias = Some(self.parameter(&format!("{at}.dt_proj.bias"), DType::F32)?);
        Ok(Mamba {
            in_proj: self.linear(&format!("{at}.in_proj"), config.bias)?,
            conv1d,
            x_proj: self.linear(&format!("{at}.x_proj"), false)?,
            dt_proj,
            a_log: self.parameter(&format!("{at}.A_log"), DType::F32)?,
            d: self.parameter(&format!("{at}.D"), DType::F32)?,
            out_proj: self.linear(&format!("{at}.out_proj"), config.bias)?,
            inner_norm_epsilon: config.inner_norm_epsilon,
            long_context: None,
            kept_rates: None,
        })
    }

    fn norm(&self, key: &str) -> Result<RmsNorm, CheckpointError> {
        Ok(RmsNorm { gamma: self.parameter(key, self.dtype)?, epsilon: self.config.norm_epsilon })
    }

    /// PyTorch's weight is `[d_output, d_input]`, Burn's and that of its own format `[d_input, d_output]`.
    fn linear(&self, at: &str, bias: bool) -> Result<Linear, CheckpointError> {
        let key = format!("{at}.weight");
        let data = self.read(&key, self.dtype)?;
        let data =
            if matches!(self.weights.tensors[&key].source, Source::Burnpack { .. }) { data } else { transposed(data) };
        let weight = Param::from_tensor(Tensor::from_data(data, (self.device, self.dtype)));
        Ok(Linear { weight, bias: self.optional(bias, &format!("{at}.bias"))? })
    }

    fn optional(&self, is_there: bool, key: &str) -> Result<Option<Param<Tensor<1>>>, CheckpointError> {
        is_there.then(|| self.parameter(key, self.dtype)).transpose()
    }

    fn parameter<const D: usize>(&self, key: &str, dtype: DType) -> Result<Param<Tensor<D>>, CheckpointError> {
        let data = self.read(key, dtype)?;
        Ok(Param::from_tensor(Tensor::from_data(data, (self.device, dtype))))
    }

    /// The values of a tensor whose shape has been checked.
    fn read(&self, key: &str, dtype: DType) -> Result<TensorData, CheckpointError> {
        let stored = &self.weights.tensors[key];
        let cast = stored.read()?.try_cast(dtype);
        self.done.update(|done| done.saturating_add(stored.bytes()));
        if let Some(progress) = self.progress {
            progress(self.done.get(), self.bytes());
        }
        cast.map_err(|error| CheckpointError::damaged(&stored.path, format!("`{key}`: {error}")))
    }

    /// A head that is stored although it is tied has to be the embedding.
    fn check_tied(&self) -> Result<(), CheckpointError> {
        let head = self.weights.tensors.get(keys::HEAD).filter(|_| self.config.tie_embeddings);
        let Some(head) = head else { return Ok(()) };
        let embedding = &self.weights.tensors[keys::embedding(self.weights)];
        // By a hash, so that there is one of them at a time.
        let hash = |stored: &Stored| {
            let mut hasher = DefaultHasher::new();
            stored.dtype.hash(&mut hasher);
            stored.read()?.as_bytes().hash(&mut hasher);
            Ok::<_, CheckpointError>(hasher.finish())
        };
        match hash(head)? == hash(embedding)? {
            true => Ok(()),
            false => Err(CheckpointError::UntiedHead { path: head.path.clone(), key: keys::HEAD.into() }),
        }
    }

    /// Of all tensors.
    fn bytes(&self) -> u64 {
        self.weights.tensors.values().map(|stored| stored.bytes()).fold(0, u64::saturating_add)
    }

    /// A pickle can describe tensors that are larger than the bytes that they are made of.
    fn check_size(&self) -> Result<(), CheckpointError> {
        let claimed = self.bytes();
        let expected = self.weights.file_bytes.saturating_mul(MOST_BYTES_PER_FILE_BYTE);
        match claimed <= expected {
            true => Ok(()),
            false => Err(CheckpointError::TooLarge { folder: self.weights.folder.clone(), claimed, expected }),
        }
    }
}

/// A matrix of two or four bytes for each number, with its rows as columns.
pub(super) fn transposed(data: TensorData) -> TensorData {
    let (dtype, shape) = (data.dtype(), data.shape().clone());
    let [rows, columns] = [shape[0], shape[1]];
    let bytes = data.into_bytes();
    let bytes = match dtype.size() {
        2 => transposed_elements::<2>(&bytes, rows, columns),
        _ => transposed_elements::<4>(&bytes, rows, columns),
    };
    TensorData::from_bytes_vec(bytes, [columns, rows], dtype)
}

/// Square by square, so that both sides stay in the cache.
fn transposed_elements<const SIZE: usize>(bytes: &[u8], rows: usize, columns: usize) -> Vec<u8> {
    const SIDE: usize = 32;
    let (from, _) = bytes.as_chunks::<SIZE>();
    let mut to = vec![[0; SIZE]; from.len()];
    for top in (0..rows).step_by(SIDE) {
        for left in (0..columns).step_by(SIDE) {
            for row in top..rows.min(top + SIDE) {
                for column in left..columns.min(left + SIDE) {
                    to[column * rows + row] = from[row * columns + column];
                }
            }
        }
    }
    to.into_flattened()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_moves_every_element() {
        let (rows, columns) = (33, 70);
        let data = TensorData::new((0..rows * columns).map(|i| i as f32).collect::<Vec<_>>(), [rows, columns]);
        let result = transposed(data);
        assert_eq!(result.shape().to_vec(), [columns, rows]);
        let values = result.as_slice::<f32>().unwrap();
        for (row, column) in [(0, 0), (0, 69), (32, 0), (32, 69), (31, 32), (17, 40)] {
            assert_eq!(values[column * rows + row], (row * columns + column) as f32);
        }
    }
}

//! A state on disk: a safetensors file with the tensors of each layer.

use super::{LmState, key, shapes};
use crate::error::StateError;
use crate::lm::MambaLm;
use crate::mamba::MambaState;
use burn::tensor::{DType, Device, Tensor, TensorData};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use std::io::{self, Write};
use std::path::Path;

impl LmState {
    /// Writes the state to a safetensors file, which is there in full or not at all: it is written beside `path` and
    /// then renamed, in place of a file that was there.
    ///
    /// Layer `N` is the tensors `layers.N.conv`, `[batch, d_conv - 1, d_inner]`, `layers.N.ssm`,
    /// `[batch, d_inner, d_state]`, and `layers.N.window` if there is one ([`MambaState`]), bit by bit. The file is readable
    /// for its owner only: a state tells of what was said.
    ///
    /// # Errors
    /// [`StateError::Write`] if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), StateError> {
        let path = path.as_ref();
        self.write(path).map_err(|source| StateError::Write { path: path.to_path_buf(), source })
    }

    /// Reads what [`save`](Self::save) wrote, as a state of `model`, on its device.
    ///
    /// # Errors
    /// [`StateError`] if the file cannot be read, is no safetensors file, or holds no state of a model of this shape
    /// and precision.
    ///
    /// ```
    /// use burn::tensor::{Device, Int, Tensor};
    /// use mamba_blocks::{LmState, MambaLmConfig};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = Device::default();
    /// let model = MambaLmConfig::new(32, 16, 1).init(&device);
    /// let (_logits, state) = model.prefill(Tensor::<2, Int>::from_ints([[1, 2, 3]], &device));
    ///
    /// # let folder = tempfile::tempdir()?;
    /// # let file = folder.path().join("talk.safetensors");
    /// state.save(&file)?;
    /// let state = LmState::load(&file, &model)?;
    /// assert_eq!(state.batch(), 1);
    /// # Ok(())
    /// # }
    /// ```
    pub fn load(path: impl AsRef<Path>, model: &MambaLm) -> Result<Self, StateError> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|source| StateError::Read { path: path.to_path_buf(), source })?;
        let file = SafeTensors::deserialize(&bytes)
            .map_err(|error| StateError::Format { path: path.to_path_buf(), reason: error.to_string() })?;
        File { path, tensors: file }.state(model)
    }

    fn write(&self, path: &Path) -> io::Result<()> {
        let mut tensors = Vec::with_capacity(2 * self.layers.len());
        for (index, layer) in self.layers.iter().enumerate() {
            for (part, tensor) in layer.parts() {
                let dtype = file_dtype(tensor.dtype())
                    .ok_or_else(|| io::Error::other(format!("no file holds {:?}", tensor.dtype())))?;
                tensors.push((key(index, part), dtype, tensor.dims(), tensor.to_data()));
            }
        }
        let views = tensors.iter().map(|(key, dtype, dims, data)| {
            Ok((key, TensorView::new(*dtype, dims.to_vec(), data.as_bytes()).map_err(io::Error::other)?))
        });
        let views: Vec<_> = views.collect::<io::Result<_>>()?;
        let bytes = safetensors::serialize(views, None).map_err(io::Error::other)?;

        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut scratch = tempfile::NamedTempFile::new_in(folder)?;
        scratch.write_all(&bytes)?;
        scratch.as_file().sync_all()?;
        scratch.persist(path)?;
        Ok(())
    }
}

struct File<'a> {
    path: &'a Path,
    tensors: SafeTensors<'a>,
}

impl File<'_> {
    fn state(&self, model: &MambaLm) -> Result<LmState, StateError> {
        let batch = self.tensors.tensor(&key(0, "ssm")).ok().and_then(|ssm| ssm.shape().first().copied());
        let batch = batch.unwrap_or(1).max(1);
        let device = model.embedding.weight.device();
        let mut layers = Vec::with_capacity(model.layers.len());
        let mut known = Vec::with_capacity(2 * model.layers.len());
        for (index, layer) in model.layers.iter().enumerate() {
            let shapes = shapes(&layer.mixer, batch);
            let part = |part: &str, dtype| self.tensor(&key(index, part), shapes[part], dtype, &device);
            layers.push(MambaState {
                conv: part("conv", layer.mixer.conv1d.weight.dtype())?,
                ssm: part("ssm", DType::F32)?,
                window: layer.mixer.window().map(|_| part("window", DType::F32)).transpose()?,
            });
            known.extend(shapes.keys().map(|part| key(index, part)));
        }
        match self.tensors.names().into_iter().filter(|name| !known.iter().any(|key| key == name)).min() {
            Some(name) => Err(StateError::Unexpected { path: self.path.to_path_buf(), key: name.to_string() }),
            None => Ok(LmState { layers }),
        }
    }

    fn tensor(&self, key: &str, shape: [usize; 3], dtype: DType, device: &Device) -> Result<Tensor<3>, StateError> {
        let (path, key) = (self.path.to_path_buf(), key.to_string());
        let expected = shape.to_vec();
        let Ok(view) = self.tensors.tensor(&key) else {
            return Err(StateError::Missing { path, key, expected });
        };
        if view.shape() != shape {
            return Err(StateError::Shape { path, key, found: view.shape().to_vec(), expected });
        }
        if file_dtype(dtype) != Some(view.dtype()) {
            return Err(StateError::Dtype { path, key, found: format!("{:?}", view.dtype()), expected: dtype });
        }
        let data = TensorData::from_bytes_vec(view.data().to_vec(), shape, dtype);
        Ok(Tensor::from_data(data, (device, dtype)))
    }
}

fn file_dtype(dtype: DType) -> Option<Dtype> {
    match dtype {
        DType::F64 => Some(Dtype::F64),
        DType::F32 | DType::Flex32 => Some(Dtype::F32),
        DType::F16 => Some(Dtype::F16),
        DType::BF16 => Some(Dtype::BF16),
        _ => None,
    }
}

//! Modules as folders in Hugging Face's layout.

use super::ModuleLayout;
use super::folder::CONFIG;
use super::names::Place;
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::files::write;
use crate::checkpoint::safetensors;
use ::safetensors::Dtype;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use serde_json::Value;
use std::fs;
use std::path::Path;

const WEIGHTS: &str = "model.safetensors";

/// Writes `module` into `folder`, which is made: `model.safetensors`, in f32, and `config` as `config.json`. `buffers`
/// are tensors of whole numbers that the files have besides. Each file is there in full or not at all, the weights
/// before the configuration that makes them a model.
///
/// # Errors
/// [`CheckpointError::Write`].
pub fn save_module<M: Module>(
    module: &M,
    folder: &Path,
    layout: &ModuleLayout,
    config: &Value,
    buffers: Vec<(String, Vec<i64>)>,
) -> Result<(), CheckpointError> {
    let mut collect = Collect { layout, place: Place::default(), found: Vec::new() };
    module.visit(&mut collect);
    let mut tensors = collect.found;
    tensors.extend(buffers.into_iter().map(|(key, values)| {
        let length = values.len();
        (key, Dtype::I64, TensorData::new(values, [length]))
    }));
    let bytes = safetensors::serialized(&tensors).map_err(|error| CheckpointError::write(folder, error))?;

    fs::create_dir_all(folder).map_err(|error| CheckpointError::write(folder, error))?;
    write(&folder.join(WEIGHTS), &bytes)?;
    write(&folder.join(CONFIG), format!("{config:#}\n").as_bytes())
}

/// Collects the parameters as PyTorch has them.
struct Collect<'a> {
    layout: &'a ModuleLayout,
    place: Place,
    found: Vec<(String, Dtype, TensorData)>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().cast(DType::F32);
        let value = if self.place.is_transposed::<D>() { value.swap_dims(0, 1) } else { value };
        self.found.push(((self.layout.published)(&self.place.name()), Dtype::F32, value.into_data()));
    }
}

//! Weights of original implementations: PyTorch files.

use burn::module::Module;
use burn::tensor::{DType, TensorData};
use burn_store::burn_pack::Tensor;
use burn_store::{BurnToPyTorchAdapter, FloatCastAdapter, ModuleAdapter, ModuleSnapshot, PyTorchToBurnAdapter, bridge};
use mamba_blocks::{CheckpointError, TensorProblem, TensorProblems, open_pytorch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why the weights of a model were not loaded.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WeightsError {
    /// The file cannot be read, or is damaged.
    #[error(transparent)]
    File(#[from] CheckpointError),
    /// The tensors are not those of the model.
    #[error("the tensors in {path} are not those of the model: {problems}")]
    Tensors {
        /// The file.
        path: PathBuf,
        /// What is missing, left over or different.
        problems: TensorProblems,
    },
}

/// What a wrapper for several devices puts before every name.
const WRAPPER: &str = "module.";

/// `model` with the weights in the file `path`, in f32. `published` makes the original name of a parameter's path;
/// tensors that are `is_unused` are left out.
pub(crate) fn load<M: Module>(
    mut model: M,
    path: &Path,
    published: fn(&str) -> String,
    is_unused: fn(&str) -> bool,
) -> Result<M, WeightsError> {
    let stored = open_pytorch(path)?.into_tensors().into_iter();
    let stored = stored.map(|(key, tensor)| {
        let key = key.strip_prefix(WRAPPER).unwrap_or(&key).to_string();
        (key, bridge::from_pytorch(tensor))
    });
    let mut stored: BTreeMap<_, _> = stored.filter(|(key, _)| !is_unused(key)).collect();

    let (mut fitting, mut problems) = (Vec::new(), Vec::new());
    for parameter in model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true) {
        let key = published(&parameter.name);
        match fit(stored.remove(&key), key, parameter, path) {
            Ok(tensor) => fitting.push(tensor),
            Err(problem) => problems.push(problem),
        }
    }
    let file = path.to_path_buf();
    problems.extend(stored.into_iter().map(|(key, tensor)| TensorProblem::Unexpected {
        key,
        file: file.clone(),
        found: tensor.shape.to_vec(),
    }));
    if !problems.is_empty() {
        return Err(WeightsError::Tensors { path: file, problems: TensorProblems(problems) });
    }

    let adapter = PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32));
    let result = model.apply(fitting, None, Some(Box::new(adapter)), true);
    match result.errors.first() {
        None => Ok(model),
        // Shapes have been checked, so it is the bytes.
        Some(error) => Err(CheckpointError::Damaged { path: file, reason: error.to_string() }.into()),
    }
}

/// The tensor under the name and in the shape of `parameter`.
fn fit(stored: Option<Tensor>, key: String, parameter: Tensor, path: &Path) -> Result<Tensor, TensorProblem> {
    let expected = parameter.shape.to_vec();
    let Some(mut stored) = stored else { return Err(TensorProblem::Missing { key, expected }) };
    let (file, found) = (path.to_path_buf(), stored.shape.to_vec());
    if !stored.dtype.is_float() {
        return Err(TensorProblem::DType { key, file, found: format!("{:?}", stored.dtype) });
    }
    if found == expected {
        stored.name = parameter.name;
        return Ok(stored);
    }
    // A convolution with one tap is a linear layer.
    if found != [expected.as_slice(), &[1]].concat() {
        return Err(TensorProblem::Shape { key, file, found, expected });
    }
    let (dtype, shape) = (stored.dtype, parameter.shape.clone());
    let reshaped = move |data: TensorData| TensorData::from_bytes(data.into_bytes(), shape.clone(), dtype);
    Ok(bridge::map_data(stored, parameter.name, dtype, parameter.shape, reshaped))
}

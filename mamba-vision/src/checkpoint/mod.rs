//! Published weights of vision models: PyTorch files and safetensors.

mod error;
mod file;

pub use error::WeightsError;

use burn::module::Module;
use burn::tensor::{DType, TensorData};
use burn_store::burn_pack::Tensor;
use burn_store::{BurnToPyTorchAdapter, FloatCastAdapter, ModuleAdapter, ModuleSnapshot, PyTorchToBurnAdapter, bridge};
use mamba_blocks::{CheckpointError, TensorProblem, TensorProblems};
use std::collections::BTreeMap;
use std::path::Path;

/// The shapes of the tensors of a file.
pub(crate) type Shapes = BTreeMap<String, Vec<usize>>;

/// What the names in the files of a model are.
pub(crate) struct Layout {
    /// The published name of a parameter, from its path with PyTorch's names for layers.
    pub published: fn(&str) -> String,
    /// The name that a tensor of an older or a simpler file has in the published ones.
    pub modern: fn(&str) -> String,
    /// Whether a tensor is one that the model computes anew.
    pub is_buffer: fn(&str) -> bool,
    /// The published model that has tensors of these shapes.
    pub looks_like: fn(&Shapes) -> Option<String>,
}

/// `model` with the weights in the file `path`, in f32.
pub(crate) fn load<M: Module>(mut model: M, path: &Path, layout: &Layout) -> Result<M, WeightsError> {
    let tensors = file::open(path)?;
    let tensors = tensors.into_iter().map(|(key, tensor)| ((layout.modern)(&key), tensor));
    let mut tensors: file::Tensors = tensors.filter(|(key, _)| !(layout.is_buffer)(key)).collect();
    let shapes: Shapes = tensors.iter().map(|(key, tensor)| (key.clone(), tensor.shape.to_vec())).collect();

    let mut fitting = Vec::new();
    let mut problems = Vec::new();
    for parameter in model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true) {
        let key = (layout.published)(&parameter.name);
        match fit(tensors.remove(&key), key, parameter, path) {
            Ok(tensor) => fitting.push(tensor),
            Err(problem) => problems.push(problem),
        }
    }
    problems.extend(tensors.into_iter().map(|(key, tensor)| TensorProblem::Unexpected {
        key,
        file: path.to_path_buf(),
        found: tensor.shape.to_vec(),
    }));
    if !problems.is_empty() {
        let (problems, looks_like) = (TensorProblems(problems), (layout.looks_like)(&shapes));
        return Err(WeightsError::Tensors { path: path.to_path_buf(), problems, looks_like });
    }

    let adapter = PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32));
    let result = model.apply(fitting, None, Some(Box::new(adapter)), true);
    match result.errors.first() {
        None => Ok(model),
        // Shapes have been checked, so it is the bytes.
        Some(error) => Err(CheckpointError::Damaged { path: path.to_path_buf(), reason: error.to_string() }.into()),
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
    if !holds_the_same(&found, &expected) {
        return Err(TensorProblem::Shape { key, file, found, expected });
    }
    let (dtype, shape) = (stored.dtype, parameter.shape.clone());
    let reshaped = move |data: TensorData| TensorData::from_bytes(data.into_bytes(), shape.clone(), dtype);
    Ok(bridge::map_data(stored, parameter.name, dtype, parameter.shape, reshaped))
}

/// Whether one shape is the other with sides of length one, or with its first two sides as one.
fn holds_the_same(found: &[usize], expected: &[usize]) -> bool {
    let long = |shape: &[usize]| shape.iter().copied().filter(|&side| side != 1).collect::<Vec<_>>();
    let joins = |split: &[usize], joined: &[usize]| match (split, joined) {
        ([first, second, split @ ..], [both, joined @ ..]) => first * second == *both && split == joined,
        _ => false,
    };
    long(found) == long(expected) || joins(found, expected) || joins(expected, found)
}

/// A name with its parts renamed, one after the other.
pub(crate) fn replaced(name: String, parts: &[(&str, &str)]) -> String {
    parts.iter().fold(name, |name, (old, new)| name.replace(old, new))
}

/// Number of different indices right behind `prefix` in the names, as the 2 and the 5 in `layers.2.` and `layers.5.`.
pub(crate) fn count(shapes: &Shapes, prefix: &str) -> usize {
    let index = |key: &String| key.strip_prefix(prefix)?.split('.').next()?.parse::<usize>().ok();
    shapes.keys().filter_map(index).collect::<std::collections::BTreeSet<_>>().len()
}

/// The shapes that a file with the weights of `model` would have.
#[cfg(test)]
pub(crate) fn shapes_of<M: Module>(model: &M, layout: &Layout) -> Shapes {
    let parameters = model.collect(None, Some(Box::new(BurnToPyTorchAdapter)), true).into_iter();
    parameters.map(|parameter| ((layout.published)(&parameter.name), parameter.shape.to_vec())).collect()
}

/// Those of the published model `name`, which the original code told (`fixtures/make_local.py`).
#[cfg(test)]
pub(crate) fn published_shapes(name: &str, layout: &Layout) -> Shapes {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/vision/published_keys.json.gz");
    let file = flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap());
    let mut models: BTreeMap<String, Shapes> = serde_json::from_reader(file).unwrap();
    let shapes = models.remove(name).unwrap().into_iter();
    shapes.map(|(key, shape)| ((layout.modern)(&key), shape)).filter(|(key, _)| !(layout.is_buffer)(key)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_shapes_with_the_same_order_of_values_are_taken_for_each_other() {
        assert!(holds_the_same(&[6, 4, 1, 1], &[6, 4]));
        assert!(holds_the_same(&[24, 5], &[4, 6, 5]));
        assert!(holds_the_same(&[4, 6], &[24]));
        assert!(!holds_the_same(&[4, 6], &[6, 4]));
        assert!(!holds_the_same(&[4, 6, 5], &[4, 30]));
    }

    #[test]
    fn layers_are_counted_by_their_indices() {
        let keys = ["layers.0.a", "layers.0.b", "layers.10.a", "layers.x", "head.1"];
        let shapes = keys.into_iter().map(|key| (key.to_string(), vec![])).collect();
        assert_eq!(count(&shapes, "layers."), 2);
    }
}

//! The parameters of a module get the values of tensors in files.

use super::ModuleLayout;
use super::names::Place;
use crate::checkpoint::error::{CheckpointError, TensorProblem, TensorProblems};
use crate::checkpoint::keys;
use crate::checkpoint::load::transposed;
use crate::checkpoint::weights::{Source, Stored};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor, TensorData};
use std::collections::BTreeMap;
use std::path::Path;

/// `module` with the tensors `stored`, which come from `path`, in f32. Each is used, and one tensor at a time is in memory.
pub(super) fn fill<M: Module>(
    module: M,
    stored: BTreeMap<String, Stored>,
    layout: &ModuleLayout,
    path: &Path,
) -> Result<M, CheckpointError> {
    let mut fill = Fill { layout, stored, place: Place::default(), problems: Vec::new(), failed: None };
    let module = module.map(&mut fill);
    if let Some(error) = fill.failed {
        return Err(error);
    }
    let mut problems = fill.problems;
    problems.extend(fill.stored.into_iter().map(|(key, stored)| TensorProblem::Unexpected {
        key,
        file: stored.path,
        found: stored.shape,
    }));
    match problems.is_empty() {
        true => Ok(module),
        false => Err(CheckpointError::Tensors { path: path.to_path_buf(), problems: TensorProblems(problems) }),
    }
}

/// Takes what it has used out of `stored`.
struct Fill<'a> {
    layout: &'a ModuleLayout,
    stored: BTreeMap<String, Stored>,
    place: Place,
    problems: Vec<TensorProblem>,
    failed: Option<CheckpointError>,
}

impl ModuleMapper for Fill<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.place.enter(name, container);
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.place.exit();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let key = (self.layout.published)(&self.place.name());
        let is_transposed = self.place.is_transposed::<D>();
        let mut expected: Vec<_> = param.lazy_shape().iter().copied().collect();
        if is_transposed {
            expected.reverse();
        }
        let stored = self.stored.remove(&key);
        self.problems.extend(keys::problem(stored.as_ref(), &key, &expected, holds_the_same));
        let Some(stored) = stored.filter(|_| self.problems.is_empty() && self.failed.is_none()) else { return param };
        match read(&stored, &key, expected, is_transposed) {
            Ok(data) => {
                let options = (&param.device(), DType::F32);
                param.map(|_| Tensor::from_data(data, options)).set_require_grad(true)
            }
            Err(error) => {
                self.failed = Some(error);
                param
            }
        }
    }
}

/// The values of a tensor in the shape `expected`, which is PyTorch's, or transposed.
fn read(stored: &Stored, key: &str, expected: Vec<usize>, transpose: bool) -> Result<TensorData, CheckpointError> {
    let data = stored.read()?.try_cast(DType::F32);
    let data = data.map_err(|error| CheckpointError::damaged(&stored.path, format!("`{key}`: {error}")))?;
    if transpose && matches!(stored.source, Source::Burnpack { .. }) {
        return Ok(data);
    }
    let data = TensorData::from_bytes(data.into_bytes(), expected, DType::F32);
    Ok(if transpose { transposed(data) } else { data })
}

/// Whether one shape is the other with sides of length one, or with its first two sides as one: a convolution with one
/// tap is a linear layer.
fn holds_the_same(found: &[usize], expected: &[usize]) -> bool {
    let long = |shape: &[usize]| shape.iter().copied().filter(|&side| side != 1).collect::<Vec<_>>();
    let joins = |split: &[usize], joined: &[usize]| match (split, joined) {
        ([first, second, split @ ..], [both, joined @ ..]) => {
            first.checked_mul(*second) == Some(*both) && split == joined
        }
        _ => false,
    };
    long(found) == long(expected) || joins(found, expected) || joins(expected, found)
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
        assert!(!holds_the_same(&[usize::MAX, 2], &[4]));
    }
}

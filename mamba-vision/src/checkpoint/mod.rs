//! Published weights of vision models: PyTorch files and safetensors.

mod error;

pub use error::WeightsError;

use burn::module::Module;
use mamba_blocks::{CheckpointError, ModuleLayout, load_file, tensor_shapes};
use std::collections::BTreeMap;
use std::path::Path;

/// The shapes of the tensors of a file.
pub(crate) type Shapes = BTreeMap<String, Vec<usize>>;

/// What the names in the files of a model are, as in [`ModuleLayout`].
pub(crate) struct Layout {
    pub published: fn(&str) -> String,
    pub modern: fn(&str) -> String,
    pub is_buffer: fn(&str) -> bool,
    /// The published model that has tensors of these shapes.
    pub looks_like: fn(&Shapes) -> Option<String>,
}

impl Layout {
    fn names(&self) -> ModuleLayout {
        ModuleLayout { modern: self.modern, is_buffer: self.is_buffer, ..ModuleLayout::new(self.published) }
    }
}

/// `model` with the weights in the file `path`, in f32.
pub(crate) fn load<M: Module>(model: M, path: &Path, layout: &Layout) -> Result<M, WeightsError> {
    let names = layout.names();
    load_file(path, &names, model).map_err(|error| match error {
        CheckpointError::Tensors { path, problems } => {
            let looks_like = tensor_shapes(&path, &names).ok().and_then(|shapes| (layout.looks_like)(&shapes));
            WeightsError::Tensors { path, problems, looks_like }
        }
        error => WeightsError::File(error),
    })
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
    use burn_store::{BurnToPyTorchAdapter, ModuleSnapshot};
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
    fn layers_are_counted_by_their_indices() {
        let keys = ["layers.0.a", "layers.0.b", "layers.10.a", "layers.x", "head.1"];
        let shapes = keys.into_iter().map(|key| (key.to_string(), vec![])).collect();
        assert_eq!(count(&shapes, "layers."), 2);
    }
}

//! Modules of other crates: single files with published weights, and folders in Hugging Face's layout.

mod file;
mod fill;
mod folder;
mod names;
mod save;

pub use file::{load_file, tensor_shapes};
pub use folder::{load_module, read_config};
pub use save::save_module;

use std::collections::BTreeMap;

type ByName<T> = Box<dyn Fn(&str) -> T>;

/// What the tensors of a module are called in its published files.
///
/// ```
/// use burn::module::Module;
/// use burn::tensor::Device;
/// use mamba_blocks::{MambaConfig, ModuleLayout, load_file, load_module, read_config, save_module, tensor_shapes};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::default();
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// // A module of yours, whose published names have a prefix.
/// let module = MambaConfig::new(8).init(&device);
/// let layout = ModuleLayout::new(|path| format!("mixer.{path}"));
/// save_module(&module, folder, &layout, &serde_json::json!({ "d_model": 8 }), vec![])?;
///
/// let d_model = read_config(folder)?["d_model"].as_u64().unwrap_or(0) as usize;
/// let config = MambaConfig::new(d_model);
/// let module = load_module(folder, &layout, config.num_params(), || config.init(&device))?;
///
/// // One file, if the configuration is known.
/// let file = folder.join("model.safetensors");
/// assert_eq!(tensor_shapes(&file, &layout)?["mixer.in_proj.weight"], [32, 8]);
/// let module = load_file(&file, &layout, config.init(&device))?;
/// # Ok(())
/// # }
/// ```
pub struct ModuleLayout {
    /// The published name of a parameter, from its path here, where norms have a `weight` and a `bias`.
    pub published: ByName<String>,
    /// The published name of a tensor that an older or a simpler file calls otherwise.
    pub modern: fn(&str) -> String,
    /// The tensor that one of this name has to be equal to, if the module has both as one parameter.
    pub tied: ByName<Option<String>>,
    /// Whether a tensor is one that the module computes anew, or has no use for.
    pub is_buffer: fn(&str) -> bool,
}

impl ModuleLayout {
    /// Parameters are called what `published` makes of their paths; every tensor is one.
    pub fn new(published: impl Fn(&str) -> String + 'static) -> Self {
        Self { published: Box::new(published), modern: str::to_string, tied: Box::new(|_| None), is_buffer: |_| false }
    }

    /// The tensors that are parameters, by their published names.
    fn known<T>(&self, tensors: BTreeMap<String, T>) -> BTreeMap<String, T> {
        let tensors = tensors.into_iter().map(|(key, tensor)| ((self.modern)(&key), tensor));
        tensors.filter(|(key, _)| !(self.is_buffer)(key)).collect()
    }
}

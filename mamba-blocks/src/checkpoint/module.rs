//! Modules of other crates as folders in Hugging Face's layout: `config.json` and the weights beside it.

use super::error::{CheckpointError, TensorProblem, TensorProblems};
use super::files::read_json;
use super::keys;
use super::load::transposed;
use super::weights::{Stored, Weights};
use ::safetensors::tensor::{Dtype, TensorView, serialize};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use burn_store::burn_pack::{self, AtomicFile};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

const CONFIG: &str = "config.json";
const WEIGHTS: &str = "model.safetensors";
/// What Burn calls the layer whose weight PyTorch has the other way round.
const LINEAR: &str = "Struct:Linear";
/// No parameter is stored in less.
const LEAST_BYTES: u64 = 2;

type ByName<T> = Box<dyn Fn(&str) -> T>;

/// What the tensors of a module are called in its published files.
///
/// ```
/// use burn::module::Module;
/// use burn::tensor::Device;
/// use mamba_blocks::{MambaConfig, ModuleLayout, load_module, read_config, save_module};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::default();
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// // A module of yours, whose published names have a prefix.
/// let module = MambaConfig::new(8).init(&device);
/// let layout = ModuleLayout {
///     published: Box::new(|path| format!("mixer.{path}")),
///     tied: Box::new(|_| None),
///     is_buffer: |_| false,
/// };
/// save_module(&module, folder, &layout, &serde_json::json!({ "d_model": 8 }), vec![])?;
///
/// let d_model = read_config(folder)?["d_model"].as_u64().unwrap_or(0) as usize;
/// let config = MambaConfig::new(d_model);
/// let module = load_module(folder, &layout, config.num_params(), || config.init(&device))?;
/// # Ok(())
/// # }
/// ```
pub struct ModuleLayout {
    /// The published name of a parameter, from its path here.
    pub published: ByName<String>,
    /// The tensor that one of this name has to be equal to, if the module has both as one parameter.
    pub tied: ByName<Option<String>>,
    /// Whether a tensor is one that the module computes anew.
    pub is_buffer: fn(&str) -> bool,
}

/// The `config.json` of the checkpoint in `folder`.
///
/// # Errors
/// [`CheckpointError::Read`] and [`CheckpointError::Damaged`].
pub fn read_config(folder: &Path) -> Result<Value, CheckpointError> {
    read_json(&folder.join(CONFIG))
}

/// What `init` makes, which has `num_params` parameters, with the tensors of the checkpoint in `folder`, in f32:
/// safetensors or PyTorch files, shards included.
///
/// Nothing in a file is executed, and no memory is taken that the files have no bytes for.
///
/// # Errors
/// [`CheckpointError`], which names every tensor that is missing, left over or of another shape.
pub fn load_module<M: Module>(
    folder: &Path,
    layout: &ModuleLayout,
    num_params: usize,
    init: impl FnOnce() -> M,
) -> Result<M, CheckpointError> {
    let Weights { tensors: mut stored, file_bytes, .. } = Weights::open(folder)?;
    let claimed = (num_params as u64).saturating_mul(LEAST_BYTES);
    if claimed > file_bytes {
        return Err(CheckpointError::TooLarge { folder: folder.to_path_buf(), claimed, expected: file_bytes });
    }
    stored.retain(|key, _| !(layout.is_buffer)(key));
    untie(&mut stored, layout)?;
    let mut load = Load { layout, stored, path: Vec::new(), containers: Vec::new(), problems: vec![], failed: None };
    let module = init().map(&mut load);
    if let Some(error) = load.failed {
        return Err(error);
    }
    let mut problems = load.problems;
    problems.extend(load.stored.into_iter().map(|(key, stored)| TensorProblem::Unexpected {
        key,
        file: stored.path,
        found: stored.shape,
    }));
    match problems.is_empty() {
        true => Ok(module),
        false => Err(CheckpointError::Tensors { folder: folder.to_path_buf(), problems: TensorProblems(problems) }),
    }
}

/// Tensors that are one parameter are kept once, after a look whether they are equal.
fn untie(stored: &mut BTreeMap<String, Stored>, layout: &ModuleLayout) -> Result<(), CheckpointError> {
    let tied: Vec<_> = stored.keys().filter_map(|key| Some((key.clone(), (layout.tied)(key)?))).collect();
    for (key, with) in tied {
        let Some(tensor) = stored.remove(&key) else { continue };
        match stored.get(&with) {
            None => drop(stored.insert(with, tensor)),
            Some(first) => {
                let same = first.shape == tensor.shape && first.read()?.as_bytes() == tensor.read()?.as_bytes();
                if !same {
                    return Err(CheckpointError::Untied { path: tensor.path, key, with });
                }
            }
        }
    }
    Ok(())
}

/// Gives the parameters their values; takes what it has used out of `stored`.
struct Load<'a> {
    layout: &'a ModuleLayout,
    stored: BTreeMap<String, Stored>,
    path: Vec<String>,
    containers: Vec<String>,
    problems: Vec<TensorProblem>,
    failed: Option<CheckpointError>,
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.to_string());
        self.containers.push(container.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let key = (self.layout.published)(&self.path.join("."));
        let is_transposed = is_transposed::<D>(&self.containers);
        let mut expected: Vec<_> = param.lazy_shape().iter().copied().collect();
        if is_transposed {
            expected.reverse();
        }
        let stored = self.stored.remove(&key);
        self.problems.extend(keys::problem(stored.as_ref(), &key, expected));
        let Some(stored) = stored.filter(|_| self.problems.is_empty()) else { return param };
        let read = || {
            let data = stored.read()?.try_cast(DType::F32);
            data.map_err(|error| CheckpointError::damaged(&stored.path, format!("`{key}`: {error}")))
        };
        match read() {
            Ok(data) => {
                let options = (&param.device(), DType::F32);
                let data = if is_transposed { transposed(data) } else { data };
                param.map(|_| Tensor::from_data(data, options)).set_require_grad(true)
            }
            Err(error) => {
                self.failed.get_or_insert(error);
                param
            }
        }
    }
}

/// Whether a parameter of `D` dimensions is the weight of a linear layer.
fn is_transposed<const D: usize>(containers: &[String]) -> bool {
    D == 2 && containers.last().is_some_and(|container| container == LINEAR)
}

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
    let mut collect = Collect { layout, path: Vec::new(), containers: Vec::new(), found: Vec::new() };
    module.visit(&mut collect);
    let mut tensors = collect.found;
    tensors.extend(buffers.into_iter().map(|(key, values)| {
        let length = values.len();
        (key, Dtype::I64, TensorData::new(values, [length]))
    }));
    let views = tensors.iter().map(|(key, dtype, data)| {
        let view = TensorView::new(*dtype, data.shape().to_vec(), data.as_bytes());
        view.map(|view| (key.as_str(), view))
    });
    let views = views.collect::<Result<Vec<_>, _>>();
    let format = Some([("format".to_string(), "pt".to_string())].into());
    let bytes = views.and_then(|views| serialize(views, format));
    let bytes = bytes.map_err(|error| CheckpointError::write(folder, error))?;

    fs::create_dir_all(folder).map_err(|error| CheckpointError::write(folder, error))?;
    write(&folder.join(WEIGHTS), &bytes)?;
    write(&folder.join(CONFIG), format!("{config:#}\n").as_bytes())
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

/// Collects the parameters as PyTorch has them.
struct Collect<'a> {
    layout: &'a ModuleLayout,
    path: Vec<String>,
    containers: Vec<String>,
    found: Vec<(String, Dtype, TensorData)>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.to_string());
        self.containers.push(container.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let value = param.val().cast(DType::F32);
        let value = if is_transposed::<D>(&self.containers) { value.swap_dims(0, 1) } else { value };
        self.found.push(((self.layout.published)(&self.path.join(".")), Dtype::F32, value.into_data()));
    }
}

//! Published checkpoints: the original layout and Hugging Face's.
//!
//! Both are a folder with a `config.json` and the weights beside it, in `model.safetensors` or `pytorch_model.bin`, or
//! in the shards that `model.safetensors.index.json` or `pytorch_model.bin.index.json` names. Which layout the
//! configuration has, and which the names of the tensors, is seen from the files.

mod adapter;
mod burnpack;
mod config;
mod error;
mod files;
#[cfg(feature = "hub")]
mod hub;
mod keys;
mod load;
mod module;
mod pytorch;
mod safetensors;
mod save;
mod weights;

pub use error::{CheckpointError, TensorProblem, TensorProblems};
#[cfg(feature = "hub")]
pub use hub::{HubError, fetch_from_hub, is_hub_name};
pub use module::{ModuleLayout, load_file, load_module, read_config, save_module, tensor_shapes};

use crate::lm::{MambaLm, MambaLmConfig};
use burn::tensor::{DType, Device};
use load::Loader;
use std::cell::Cell;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use weights::Weights;

/// How [`MambaLm::from_pretrained_with`] loads.
///
/// ```
/// use burn::tensor::{DType, Device};
/// use mamba_blocks::{LoadOptions, MambaLm, MambaLmConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let device = Device::default();
/// # let folder = tempfile::tempdir()?;
/// # let folder = folder.path();
/// # MambaLmConfig::new(32, 16, 1).init(&device).save_pretrained(folder)?;
/// let config = MambaLmConfig::from_pretrained(folder)?;
/// println!("{} parameters", config.num_params());
/// let options = LoadOptions::new().with_dtype(DType::BF16).with_progress(|read, of| println!("{read} of {of} bytes"));
/// let model = MambaLm::from_pretrained_with(folder, options, &device)?;
/// assert_eq!(model.embedding.weight.dtype(), DType::BF16);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct LoadOptions {
    dtype: DType,
    progress: Option<Arc<Progress>>,
}

/// Gets how many bytes of how many have been read.
type Progress = dyn Fn(u64, u64) + Send + Sync;

impl Default for LoadOptions {
    fn default() -> Self {
        Self { dtype: DType::F32, progress: None }
    }
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { dtype, progress } = self;
        f.debug_struct("LoadOptions").field("dtype", dtype).field("progress", &progress.is_some()).finish()
    }
}

impl LoadOptions {
    /// Parameters in f32, whatever the files have.
    pub fn new() -> Self {
        Self::default()
    }

    /// The dtype of the parameters, f32, f16 or bf16. `a_log`, `d` and the bias of `dt_proj` stay in f32, in which the
    /// scan uses them.
    pub fn with_dtype(mut self, dtype: DType) -> Self {
        self.dtype = dtype;
        self
    }

    /// Calls `progress` after each tensor, with the bytes of the files that have been read and those of all tensors.
    pub fn with_progress(mut self, progress: impl Fn(u64, u64) + Send + Sync + 'static) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }
}

impl MambaLmConfig {
    /// Reads the configuration of the checkpoint in the folder `path`, and checks it against the tensors' shapes
    /// without reading them. The formats are those of [`MambaLm::from_pretrained`].
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn from_pretrained(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let (config, weights) = open(path.as_ref())?;
        keys::check(&weights, &config)?;
        Ok(config)
    }
}

impl MambaLm {
    /// Loads the checkpoint in the folder `path`, with parameters in f32.
    ///
    /// Mamba-1 models in the layout of the [original implementation](https://github.com/state-spaces/mamba)
    /// (`pytorch_model.bin`) and in that of [transformers](https://github.com/huggingface/transformers)
    /// (`model.safetensors`, `pytorch_model.bin`, or shards with an index), where a `falcon_mamba` is one with
    /// [`inner_norm_epsilon`](MambaLmConfig::inner_norm_epsilon) as at inference; and what
    /// [`save_burnpack`](Self::save_burnpack) wrote.
    ///
    /// Nothing in a file is executed, and no memory is taken that the files have no bytes for.
    ///
    /// # Errors
    /// [`CheckpointError`], which names the file, and every tensor that is missing, left over or of another shape.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use mamba_blocks::{MambaLm, MambaLmConfig};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = Device::default();
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// MambaLmConfig::new(32, 16, 1).init(&device).save_pretrained(folder)?;
    /// let model = MambaLm::from_pretrained(folder, &device)?;
    ///
    /// let error = MambaLm::from_pretrained("not-there", &device).unwrap_err();
    /// assert!(error.to_string().contains("not-there"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_pretrained(path: impl AsRef<Path>, device: &Device) -> Result<Self, CheckpointError> {
        Self::from_pretrained_with(path, LoadOptions::new(), device)
    }

    /// As [`from_pretrained`](Self::from_pretrained), with options.
    ///
    /// # Errors
    /// As [`from_pretrained`](Self::from_pretrained), and [`CheckpointError::DType`] if the device cannot hold the
    /// dtype.
    pub fn from_pretrained_with(
        path: impl AsRef<Path>,
        options: LoadOptions,
        device: &Device,
    ) -> Result<Self, CheckpointError> {
        let LoadOptions { dtype, progress } = options;
        let possible = [DType::F32, DType::F16, DType::BF16].into_iter().filter(|dtype| device.supports_dtype(*dtype));
        let possible: Vec<_> = possible.collect();
        if !possible.contains(&dtype) {
            let (found, expected) = (format!("{dtype:?}"), format!("one of {possible:?}"));
            return Err(CheckpointError::DType { found, expected });
        }
        let (config, weights) = open(path.as_ref())?;
        let (progress, done) = (progress.as_deref(), Cell::new(0));
        Loader { weights: &weights, config: &config, dtype, device, progress, done }.model()
    }

    /// Writes the model into the folder `path` in Hugging Face's layout, `model.safetensors` and `config.json`, which
    /// transformers and [`from_pretrained`](Self::from_pretrained) load. Each file is there in full or not at all.
    ///
    /// The vocabulary is written with its padding, and weights with their adapters merged into them.
    ///
    /// # Errors
    /// [`CheckpointError::Write`].
    pub fn save_pretrained(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        save::hugging_face(self, path.as_ref())
    }

    /// As [`save_pretrained`](Self::save_pretrained), with the weights in Burn's own format, `model.bpk`, which
    /// transformers does not load.
    ///
    /// # Errors
    /// [`CheckpointError::Write`], also if the folder holds weights in another format, which would be loaded instead.
    pub fn save_burnpack(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        save::burnpack(self, path.as_ref())
    }

    /// Writes the adapters of the model, and nothing else, into the folder `path` in the layout of
    /// [PEFT](https://github.com/huggingface/peft): `adapter_model.safetensors`, in f32, and `adapter_config.json`. Each
    /// file is there in full or not at all.
    ///
    /// PEFT itself refuses adapters on `out_proj` of a Mamba model, whose fused kernel in transformers would pass them by.
    ///
    /// # Errors
    /// [`CheckpointError::Write`], also if the model has no adapters.
    pub fn save_lora(&self, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        adapter::save(self, path.as_ref())
    }

    /// Freezes the model and puts the adapters in the folder `path` beside its weights, as
    /// [`save_lora`](Self::save_lora) or PEFT wrote them.
    ///
    /// # Errors
    /// [`CheckpointError`] if the files are damaged, or the adapters those of another model.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use mamba_blocks::{LoraConfig, MambaLmConfig};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = Device::default();
    /// let model = MambaLmConfig::new(32, 16, 1).init(&device);
    /// # let folder = tempfile::tempdir()?;
    /// # let folder = folder.path();
    /// let adapted = LoraConfig::new().with_rank(1).attach(model.clone())?;
    /// adapted.save_lora(folder)?;
    /// // On another day, beside the same weights.
    /// let adapted = model.load_lora(folder)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load_lora(self, path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        adapter::load(self, path.as_ref())
    }
}

/// The configuration in `folder`, and where the tensors are.
fn open(folder: &Path) -> Result<(MambaLmConfig, Weights), CheckpointError> {
    let path = folder.join("config.json");
    let json = files::read_json(&path)?;
    let weights = Weights::open(folder)?;
    let has_tensor = |name: &str| weights.contains(&format!("{}.mixer.{name}", keys::block(0)));
    let config = config::parse(&path, json, has_tensor)?;
    Ok((config, weights))
}

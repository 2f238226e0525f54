//! Weights of the original implementation.

use super::{SMamba, SMambaConfig};
use burn::tensor::Device;
use mamba_blocks::{CheckpointError, ModuleLayout, load_file};
use std::path::Path;

impl SMambaConfig {
    /// Makes the model with the weights in the file `path`, in f32: a `checkpoint.pth` of the
    /// [original implementation](https://github.com/wzhwzhwzh0921/S-D-Mamba).
    ///
    /// Nothing in a file is executed. The modules that the original makes and never uses are left out.
    ///
    /// # Errors
    /// [`CheckpointError`], which names every tensor that is missing, left over or of another shape.
    ///
    /// # Panics
    /// As [`init`](Self::init).
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use mamba_ts::SMambaConfig;
    ///
    /// # fn main() -> Result<(), mamba_blocks::CheckpointError> {
    /// let config = SMambaConfig::new(96, 24).with_d_model(256).with_d_ff(256).with_e_layers(2);
    /// let model = config.load("checkpoint.pth", &Device::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<SMamba, CheckpointError> {
        let layout = ModuleLayout { is_buffer: is_unused, ..ModuleLayout::new(published) };
        load_file(path.as_ref(), &layout, self.init(device))
    }
}

/// The name of a parameter in the original.
fn published(path: &str) -> String {
    match path.rsplit_once('.') {
        Some((mixer, "a_log")) => format!("{mixer}.A_log"),
        Some((mixer, "d")) => format!("{mixer}.D"),
        _ => path.to_string(),
    }
}

/// Two mixers of eleven channels and an attention in every layer.
fn is_unused(key: &str) -> bool {
    let rest = key.strip_prefix("encoder.attn_layers.").and_then(|rest| rest.split_once('.'));
    rest.is_some_and(|(_, part)| ["man.", "man2.", "a."].iter().any(|unused| part.starts_with(unused)))
}

//! The published weights of Vision Mamba.

use super::{Vim, VimConfig};
use crate::checkpoint::{Layout, Shapes, WeightsError, count, load};
use burn::tensor::Device;
use std::path::Path;

impl VimConfig {
    /// Makes the model with the weights in the file `path`, in f32: a `.pth` of the
    /// [original implementation](https://github.com/hustvl/Vim), or its tensors as safetensors.
    ///
    /// Nothing in a file is executed.
    ///
    /// # Errors
    /// [`WeightsError`], which names every tensor that is missing, left over or of another shape, and the published
    /// model that the file looks like.
    ///
    /// # Panics
    /// As [`init`](Self::init).
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use mamba_vision::VimConfig;
    ///
    /// # fn main() -> Result<(), mamba_vision::WeightsError> {
    /// let model = VimConfig::tiny().load("vim_t.pth", &Device::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<Vim, WeightsError> {
        load(self.init(device), path.as_ref(), &LAYOUT)
    }
}

const LAYOUT: Layout = Layout { published, modern, is_buffer, looks_like };

/// The parameters of a branch lie directly in the mixer there, those of the other direction with `_b` in their names.
fn published(path: &str) -> String {
    if let Some(rest) = path.strip_prefix("patch_embed.") {
        return format!("patch_embed.proj.{rest}");
    }
    let Some((mixer, parameter)) = path.split_once(".mixer.") else { return path.to_string() };
    let parameter = match parameter {
        "branch.a_log" => "A_log".into(),
        "branch.d" => "D".into(),
        "branch_b.a_log" | "a_b_log" => "A_b_log".into(),
        "branch_b.d" => "D_b".into(),
        _ => match parameter.strip_prefix("branch_b.").and_then(|rest| rest.split_once('.')) {
            Some((layer, parameter)) => format!("{layer}_b.{parameter}"),
            None => parameter.replace("branch.", ""),
        },
    };
    format!("{mixer}.mixer.{parameter}")
}

fn modern(key: &str) -> String {
    key.to_string()
}

/// Tables of sines and cosines for positions that the published models do not use.
fn is_buffer(key: &str) -> bool {
    key.starts_with("rope.")
}

fn looks_like(shapes: &Shapes) -> Option<String> {
    let name = match shapes.get("patch_embed.proj.weight")?.first()? {
        192 => "Vim-Ti",
        384 => "Vim-S",
        768 => "Vim-B",
        _ => return None,
    };
    let tokens = shapes.get("pos_embed")?.get(1)?;
    let depth = count(shapes, "layers.");
    Some(format!("{name} with {depth} layers for {tokens} tokens"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::shapes_of;

    #[test]
    fn published_models_are_recognised() {
        let name = |config: VimConfig| looks_like(&shapes_of(&config.init(&Device::default()), &LAYOUT));
        assert_eq!(name(VimConfig::tiny()).unwrap(), "Vim-Ti with 24 layers for 197 tokens");
        assert_eq!(name(VimConfig::small().with_stride(8)).unwrap(), "Vim-S with 24 layers for 730 tokens");
        assert_eq!(name(VimConfig::new(8).with_depth(1)), None);
    }

    #[test]
    fn parameters_have_their_published_names() {
        for (path, key) in [
            ("patch_embed.bias", "patch_embed.proj.bias"),
            ("layers.3.mixer.branch.a_log", "layers.3.mixer.A_log"),
            ("layers.3.mixer.branch.d", "layers.3.mixer.D"),
            ("layers.3.mixer.branch.dt_proj.bias", "layers.3.mixer.dt_proj.bias"),
            ("layers.3.mixer.branch_b.a_log", "layers.3.mixer.A_b_log"),
            ("layers.3.mixer.branch_b.d", "layers.3.mixer.D_b"),
            ("layers.3.mixer.branch_b.dt_proj.bias", "layers.3.mixer.dt_proj_b.bias"),
            ("layers.3.mixer.a_b_log", "layers.3.mixer.A_b_log"),
            ("layers.3.norm.weight", "layers.3.norm.weight"),
            ("pos_embed", "pos_embed"),
        ] {
            assert_eq!(published(path), key);
        }
    }
}

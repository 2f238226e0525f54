//! The published weights of LocalVim.

use super::{LocalVim, LocalVimConfig};
use crate::checkpoint::{Layout, Shapes, WeightsError, count, load};
use burn::tensor::Device;
use std::path::Path;

impl LocalVimConfig {
    /// Makes the model with the weights in the file `path`, in f32: a checkpoint of the
    /// [original implementation](https://github.com/hunto/LocalMamba), or its tensors as safetensors.
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
    /// use mamba_vision::LocalVimConfig;
    ///
    /// # fn main() -> Result<(), mamba_vision::WeightsError> {
    /// let model = LocalVimConfig::tiny().load("local_vim_tiny.ckpt", &Device::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<LocalVim, WeightsError> {
        load(self.init(device), path.as_ref(), &LAYOUT)
    }
}

pub(super) const LAYOUT: Layout = Layout { published, modern: str::to_string, is_buffer, looks_like };

/// The parameters of a branch lie directly in the mixer there, with the number of the branch at the end of a name.
fn published(path: &str) -> String {
    if let Some(rest) = path.strip_prefix("patch_embed.") {
        return format!("patch_embed.proj.{rest}");
    }
    let Some((mixer, parameter)) = path.split_once(".mixer.") else { return path.to_string() };
    let branch = || parameter.strip_prefix("branches.")?.split_once('.');
    let parameter = match branch() {
        Some((k, "a_log")) => format!("A_log_{k}"),
        Some((k, "d")) => format!("D_{k}"),
        Some((k, parameter)) => match parameter.split_once('.') {
            Some((layer, parameter)) => format!("{layer}_{k}.{parameter}"),
            None => format!("{parameter}_{k}"),
        },
        None => parameter.replace("merge.attn.", "attn.").replace("merge.weights", "multi_scan.weights"),
    };
    format!("{mixer}.mixer.{parameter}")
}

/// Tables of sines and cosines, which are computed.
fn is_buffer(key: &str) -> bool {
    key.starts_with("rope.")
}

fn looks_like(shapes: &Shapes) -> Option<String> {
    shapes.get("layers.0.mixer.attn.norm.weight")?;
    let d_model = *shapes.get("patch_embed.proj.weight")?.first()?;
    let is_search = shapes.contains_key("layers.0.mixer.multi_scan.weights");
    let name = match (d_model, is_search) {
        (192, false) => "LocalVim-T",
        (384, false) => "LocalVim-S",
        (128, true) => "the search for LocalVim-T's directions",
        _ => return None,
    };
    let depth = count(shapes, "layers.");
    let token = if shapes.contains_key("cls_token") { "and a class token" } else { "and no class token" };
    Some(format!("{name} with {depth} layers {token}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{published_shapes, shapes_of};

    #[test]
    fn models_have_the_tensors_of_the_published_ones() {
        for (name, config, told) in [
            ("tiny", LocalVimConfig::tiny(), "LocalVim-T with 20 layers and no class token"),
            (
                "tiny_middle_class_token",
                LocalVimConfig::tiny_middle_class_token(),
                "LocalVim-T with 20 layers and a class token",
            ),
            ("small", LocalVimConfig::small(), "LocalVim-S with 20 layers and no class token"),
            (
                "tiny_search",
                LocalVimConfig::tiny_search(),
                "the search for LocalVim-T's directions with 20 layers and no class token",
            ),
        ] {
            let shapes = shapes_of(&config.init(&Device::default()), &LAYOUT);
            assert_eq!(shapes, published_shapes(&format!("local_vim_{name}"), &LAYOUT));
            assert_eq!(looks_like(&shapes).as_deref(), Some(told));
        }
    }
}

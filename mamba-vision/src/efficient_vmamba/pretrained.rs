//! The published weights of EfficientVMamba.

use super::{EfficientVMamba, EfficientVMambaConfig};
use crate::checkpoint::{Layout, Shapes, WeightsError, count, load, replaced};
use burn::tensor::Device;
use std::path::Path;

impl EfficientVMambaConfig {
    /// Makes the model with the weights in the file `path`, in f32: a checkpoint of the
    /// [original implementation](https://github.com/TerryPei/EfficientVMamba), or its tensors as safetensors.
    ///
    /// Nothing in a file is executed. Of a file with an average of the weights beside them, the weights are taken.
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
    /// use mamba_vision::EfficientVMambaConfig;
    ///
    /// # fn main() -> Result<(), mamba_vision::WeightsError> {
    /// let model = EfficientVMambaConfig::tiny().load("EfficientVMamba_T.pth", &Device::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<EfficientVMamba, WeightsError> {
        load(self.init(device), path.as_ref(), &LAYOUT)
    }
}

pub(super) const LAYOUT: Layout = Layout { published, modern, is_buffer, looks_like };

/// Parts of paths, and what they are there: layers of a sequence are numbered.
const PUBLISHED: [(&str, &str); 14] = [
    ("patch_embed.conv1.", "patch_embed.0."),
    ("patch_embed.norm1.", "patch_embed.2."),
    (".downsample.merged_norm.", ".downsample.norm."),
    (".op.a_logs", ".op.A_logs"),
    (".op.ds", ".op.Ds"),
    (".conv_branch.conv.", ".conv_branch.0."),
    (".conv_branch.norm.", ".conv_branch.1."),
    (".conv_branch.proj.", ".conv_branch.3."),
    (".conv_pw.conv.", ".conv_pw.0."),
    (".conv_pw.norm.", ".conv_pw.1."),
    (".conv_dw.conv.", ".conv_dw.0."),
    (".conv_dw.norm.", ".conv_dw.1."),
    (".conv_pw2.conv.", ".conv_pw2.0."),
    (".conv_pw2.norm.", ".conv_pw2.1."),
];

fn published(path: &str) -> String {
    replaced(path.to_string(), &PUBLISHED)
}

/// In the stages without scans, blocks are numbered from 1, and what halves the image is the last in their sequence.
fn modern(key: &str) -> String {
    let in_sequence = || {
        let (stage, rest) = key.strip_prefix("layers.")?.split_once('.')?;
        let (layer, parameter) = rest.split_once('.')?;
        let block = layer.parse::<usize>().ok()?.checked_sub(1)?;
        Some(match parameter.starts_with("norm.") || parameter.starts_with("reduction.") {
            true => format!("layers.{stage}.downsample.{parameter}"),
            false => format!("layers.{stage}.blocks.{block}.{parameter}"),
        })
    };
    in_sequence().unwrap_or_else(|| key.to_string())
}

/// Batch norms count their batches.
fn is_buffer(key: &str) -> bool {
    key.ends_with(".num_batches_tracked")
}

fn looks_like(shapes: &Shapes) -> Option<String> {
    let size = match (shapes.get("patch_embed.0.weight")?.first()?, count(shapes, "layers.2.blocks.")) {
        (48, 4) => "T",
        (64, 4) => "S",
        (96, 9) => "B",
        _ => return None,
    };
    shapes.contains_key("layers.0.blocks.0.conv_branch.0.weight").then(|| format!("EfficientVMamba-{size}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{published_shapes, shapes_of};

    #[test]
    fn models_have_the_tensors_of_the_published_ones() {
        for (name, config, told) in [
            ("tiny", EfficientVMambaConfig::tiny(), "EfficientVMamba-T"),
            ("small", EfficientVMambaConfig::small(), "EfficientVMamba-S"),
            ("base", EfficientVMambaConfig::base(), "EfficientVMamba-B"),
        ] {
            let shapes = shapes_of(&config.init(&Device::default()), &LAYOUT);
            assert_eq!(shapes, published_shapes(&format!("efficient_vmamba_{name}"), &LAYOUT));
            assert_eq!(looks_like(&shapes).as_deref(), Some(told));
        }
    }
}

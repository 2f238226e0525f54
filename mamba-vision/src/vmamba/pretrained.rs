//! The published weights of VMamba.

use super::{VMamba, VMambaConfig};
use crate::checkpoint::{Layout, Shapes, WeightsError, count, load, replaced};
use burn::tensor::Device;
use std::path::Path;

impl VMambaConfig {
    /// Makes the model with the weights in the file `path`, in f32: a `.pth` of the [original
    /// implementation](https://github.com/MzeroMiko/VMamba), of either release, or its tensors as safetensors.
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
    /// use mamba_vision::VMambaConfig;
    ///
    /// # fn main() -> Result<(), mamba_vision::WeightsError> {
    /// let model = VMambaConfig::tiny().load("vssm_tiny.pth", &Device::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<VMamba, WeightsError> {
        load(self.init(device), path.as_ref(), &LAYOUT)
    }
}

pub(crate) const LAYOUT: Layout = Layout { published, modern, is_buffer: |_| false, looks_like };

/// Parts of paths, and what they are there: layers of a sequence are numbered.
const PUBLISHED: [(&str, &str); 11] = [
    ("patch_embed.conv1.", "patch_embed.0."),
    ("patch_embed.norm1.", "patch_embed.2."),
    ("patch_embed.conv2.", "patch_embed.5."),
    ("patch_embed.norm2.", "patch_embed.7."),
    (".downsample.conv.", ".downsample.1."),
    (".downsample.norm.", ".downsample.3."),
    (".downsample.merged_norm.", ".downsample.1."),
    (".downsample.reduction.", ".downsample.2."),
    (".op.a_logs", ".op.A_logs"),
    (".op.ds", ".op.Ds"),
    (".op.merge.", ".op.multi_scan."),
];

fn published(path: &str) -> String {
    replaced(path.to_string(), &PUBLISHED)
}

/// Names of the first release, and those of the file without dependencies.
const MODERN: [(&str, &str); 9] = [
    ("patch_embed.proj.", "patch_embed.0."),
    ("patch_embed.norm.", "patch_embed.2."),
    (".ln_1.", ".norm."),
    (".self_attention.", ".op."),
    (".downsample.norm.", ".downsample.1."),
    (".downsample.reduction.", ".downsample.2."),
    (".x_proj.weight", ".x_proj_weight"),
    (".dt_projs.weight", ".dt_projs_weight"),
    (".dt_projs.bias", ".dt_projs_bias"),
];

fn modern(key: &str) -> String {
    let at_top = ["norm.", "head."].iter().any(|name| key.starts_with(name));
    replaced(if at_top { format!("classifier.{key}") } else { key.to_string() }, &MODERN)
}

fn looks_like(shapes: &Shapes) -> Option<String> {
    let is_vanilla = !shapes.keys().any(|key| key.contains(".mlp."));
    let d_model = *shapes.get("layers.0.blocks.0.norm.weight")?.first()?;
    let [d_inner, _] = shapes.get("layers.0.blocks.0.op.out_proj.weight").map(|shape| [shape.get(1), shape.first()])?;
    let depth = count(shapes, "layers.2.blocks.");
    let size = match (is_vanilla, d_model, depth) {
        (true, 96, 9) | (false, 96, 5 | 8) => "T",
        (true, 96, 27) | (false, 96, 15 | 20) => "S",
        (true, 128, 27) | (false, 128, 15 | 20) => "B",
        _ => return None,
    };
    let release = if is_vanilla { "first" } else { "second" };
    if shapes.contains_key("layers.0.blocks.0.op.multi_scan.attn.norm.weight") {
        return Some(format!("LocalVMamba-{size}"));
    }
    let ratio = d_inner? / d_model;
    Some(format!("VMamba-{size} of the {release} release, s{ratio}l{depth}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::shapes_of;

    #[test]
    fn published_models_are_recognised() {
        let name = |config: VMambaConfig| looks_like(&shapes_of(&config.init(&Device::default()), &LAYOUT));
        assert_eq!(name(VMambaConfig::tiny()).unwrap(), "VMamba-T of the second release, s1l8");
        assert_eq!(name(VMambaConfig::small_s2l15()).unwrap(), "VMamba-S of the second release, s2l15");
        assert_eq!(name(VMambaConfig::vanilla_tiny()).unwrap(), "VMamba-T of the first release, s2l9");
        assert_eq!(name(VMambaConfig::new(8, vec![1, 1, 1, 1])), None);
    }

    #[test]
    fn parameters_have_their_published_names() {
        for (path, key) in [
            ("patch_embed.norm1.weight", "patch_embed.2.weight"),
            ("layers.0.blocks.1.op.a_logs", "layers.0.blocks.1.op.A_logs"),
            ("layers.0.blocks.1.op.ds", "layers.0.blocks.1.op.Ds"),
            ("layers.0.blocks.1.op.dt_projs_bias", "layers.0.blocks.1.op.dt_projs_bias"),
            ("layers.0.downsample.norm.bias", "layers.0.downsample.3.bias"),
            ("classifier.head.bias", "classifier.head.bias"),
        ] {
            assert_eq!(published(path), key);
        }
    }

    #[test]
    fn older_names_are_understood() {
        for (old, key) in [
            ("norm.weight", "classifier.norm.weight"),
            ("layers.0.blocks.1.ln_1.weight", "layers.0.blocks.1.norm.weight"),
            ("layers.0.blocks.1.self_attention.Ds", "layers.0.blocks.1.op.Ds"),
            ("layers.0.blocks.1.op.x_proj.weight", "layers.0.blocks.1.op.x_proj_weight"),
            ("layers.0.downsample.norm.weight", "layers.0.downsample.1.weight"),
        ] {
            assert_eq!(modern(old), key);
        }
    }
}

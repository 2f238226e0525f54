//! The published weights of opensr-mamba.

use super::{MambaSr, MambaSrConfig};
use crate::checkpoint::{Layout, Shapes, WeightsError, load};
use burn::tensor::Device;
use std::path::Path;

impl MambaSrConfig {
    /// Makes the model with the weights in the file `path`, in f32: a `.pth` of
    /// [opensr-mamba](https://pypi.org/project/opensr-mamba), or its tensors as safetensors.
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
    /// use mamba_vision::MambaSrConfig;
    ///
    /// # fn main() -> Result<(), mamba_vision::WeightsError> {
    /// let model = MambaSrConfig::opensr_rgb().load("srmodel.pt", &Device::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<MambaSr, WeightsError> {
        load(self.init(device), path.as_ref(), &LAYOUT)
    }
}

const LAYOUT: Layout = Layout { published, modern: str::to_string, is_buffer, looks_like };

/// Parts of paths, and what they are there.
const PUBLISHED: [(&str, &str); 7] = [
    ("upsample.", "upsample.0."),
    (".blocks.", ".residual_group.blocks."),
    (".op.", ".self_attention."),
    (".norm.", ".ln_1."),
    (".norm2.", ".ln_2."),
    (".a_logs", ".A_logs"),
    (".ds", ".Ds"),
];

fn published(path: &str) -> String {
    match path.strip_prefix("patch_norm.") {
        Some(rest) => format!("patch_embed.norm.{rest}"),
        None => PUBLISHED.iter().fold(path.to_string(), |path, (ours, theirs)| path.replace(ours, theirs)),
    }
}

/// Parameters of attentions that the published models do not have.
fn is_buffer(key: &str) -> bool {
    key.ends_with("conv_blk.a_parameter") || key.ends_with("conv_blk.b_parameter")
}

fn looks_like(shapes: &Shapes) -> Option<String> {
    let side = |key: &str, at: usize| shapes.get(key)?.get(at).copied();
    let name = match (side("conv_first.weight", 1)?, side("upsample.0.weight", 0)?) {
        (3, 48) => "srmodel",
        (10, 6) => "fusionmodel01",
        (10, 7) => "fusionmodel02",
        _ => return None,
    };
    Some(format!("{name} of opensr-mamba"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_have_their_published_names() {
        for (path, key) in [
            ("patch_norm.weight", "patch_embed.norm.weight"),
            ("upsample.bias", "upsample.0.bias"),
            ("layers.1.conv.bias", "layers.1.conv.bias"),
            ("layers.0.blocks.1.norm.weight", "layers.0.residual_group.blocks.1.ln_1.weight"),
            ("layers.0.blocks.1.op.out_norm.weight", "layers.0.residual_group.blocks.1.self_attention.out_norm.weight"),
            ("layers.0.blocks.1.op.ds", "layers.0.residual_group.blocks.1.self_attention.Ds"),
            ("layers.0.blocks.1.op.dt_projs_bias", "layers.0.residual_group.blocks.1.self_attention.dt_projs_bias"),
            ("norm.weight", "norm.weight"),
        ] {
            assert_eq!(published(path), key);
        }
    }
}

//! `config.json` of either layout as a [`MambaLmConfig`].
//!
//! Settings of the initialisation are not read: the weights are there.

use super::error::CheckpointError;
use crate::lm::MambaLmConfig;
use serde::Deserialize;
use serde_json::Value;
use std::path::Path;

/// Transformers' `MambaConfig` and `FalconMambaConfig` with their defaults.
#[derive(Deserialize)]
#[serde(default)]
struct HuggingFace {
    vocab_size: usize,
    hidden_size: usize,
    num_hidden_layers: usize,
    state_size: usize,
    conv_kernel: usize,
    expand: f64,
    intermediate_size: Option<usize>,
    time_step_rank: Rank,
    /// The default changed between versions; the tensors tell.
    use_bias: Option<bool>,
    use_conv_bias: Option<bool>,
    hidden_act: String,
    layer_norm_epsilon: f64,
    residual_in_fp32: bool,
    tie_word_embeddings: bool,
    mixer_rms_eps: f64,
}

impl Default for HuggingFace {
    fn default() -> Self {
        Self {
            vocab_size: 50280,
            hidden_size: 768,
            num_hidden_layers: 32,
            state_size: 16,
            conv_kernel: 4,
            expand: 2.0,
            intermediate_size: None,
            time_step_rank: Rank::default(),
            use_bias: None,
            use_conv_bias: None,
            hidden_act: "silu".into(),
            layer_norm_epsilon: 1e-5,
            residual_in_fp32: true,
            tie_word_embeddings: true,
            mixer_rms_eps: 1e-6,
        }
    }
}

/// The original implementation's `MambaConfig`.
#[derive(Deserialize)]
struct Original {
    d_model: usize,
    n_layer: usize,
    vocab_size: usize,
    #[serde(default)]
    d_intermediate: usize,
    #[serde(default)]
    ssm_cfg: OriginalMixer,
    #[serde(default)]
    attn_layer_idx: Vec<usize>,
    #[serde(default = "yes")]
    rms_norm: bool,
    #[serde(default = "yes")]
    residual_in_fp32: bool,
    #[serde(default = "eight")]
    pad_vocab_size_multiple: usize,
    #[serde(default = "yes")]
    tie_embeddings: bool,
}

fn yes() -> bool {
    true
}

fn eight() -> usize {
    8
}

/// The arguments of the original implementation's `Mamba`.
#[derive(Deserialize)]
#[serde(default)]
struct OriginalMixer {
    layer: String,
    d_state: usize,
    d_conv: usize,
    expand: f64,
    dt_rank: Rank,
    bias: Option<bool>,
    conv_bias: Option<bool>,
}

impl Default for OriginalMixer {
    fn default() -> Self {
        let (layer, dt_rank) = ("Mamba1".into(), Rank::default());
        Self { layer, d_state: 16, d_conv: 4, expand: 2.0, dt_rank, bias: None, conv_bias: None }
    }
}

/// A number, or "auto".
#[derive(Deserialize)]
#[serde(untagged)]
enum Rank {
    Explicit(usize),
    Auto(String),
}

impl Default for Rank {
    fn default() -> Self {
        Self::Auto("auto".into())
    }
}

impl Rank {
    fn explicit(self, path: &Path, name: &'static str) -> Result<Option<usize>, CheckpointError> {
        match self {
            Self::Explicit(rank) => Ok(Some(rank)),
            Self::Auto(auto) if auto == "auto" => Ok(None),
            Self::Auto(other) => Err(unsupported(path, name, other, "a number or \"auto\"")),
        }
    }
}

/// The model that `json`, read from `path`, describes. `has_tensor` tells whether the weights have a tensor of the
/// first layer's mixer.
pub(super) fn parse(
    path: &Path,
    json: Value,
    has_tensor: impl Fn(&str) -> bool,
) -> Result<MambaLmConfig, CheckpointError> {
    let model_type = match &json["model_type"] {
        Value::Null => None,
        Value::String(name) => Some(name.clone()),
        other => Some(other.to_string()),
    };
    let is_original = json["d_model"].is_u64();
    let config = match model_type.as_deref() {
        Some("mamba") => hugging_face(path, json, false, has_tensor)?,
        Some("falcon_mamba") => hugging_face(path, json, true, has_tensor)?,
        None if is_original => original(path, json, has_tensor)?,
        other => {
            let found = other.unwrap_or("that is missing, and no `d_model`").to_string();
            return Err(unsupported(path, "model_type", found, "mamba or falcon_mamba, or none beside `d_model`"));
        }
    };
    config.validate().map_err(|source| CheckpointError::Config { path: path.to_path_buf(), source })?;
    Ok(config)
}

fn hugging_face(
    path: &Path,
    json: Value,
    falcon: bool,
    has_tensor: impl Fn(&str) -> bool,
) -> Result<MambaLmConfig, CheckpointError> {
    let config: HuggingFace = serde_json::from_value(json).map_err(|error| CheckpointError::damaged(path, error))?;
    if !["silu", "swish"].contains(&config.hidden_act.as_str()) {
        return Err(unsupported(path, "hidden_act", config.hidden_act, "silu"));
    }
    let d_inner = config.intermediate_size.unwrap_or((config.expand * config.hidden_size as f64) as usize);
    let (expand, d_inner) = inner(d_inner, config.hidden_size);
    Ok(MambaLmConfig::new(config.vocab_size, config.hidden_size, config.num_hidden_layers)
        .with_pad_vocab_size_multiple(1)
        .with_d_state(config.state_size)
        .with_d_conv(config.conv_kernel)
        .with_expand(expand)
        .with_d_inner(d_inner)
        .with_dt_rank(config.time_step_rank.explicit(path, "time_step_rank")?)
        .with_bias(config.use_bias.unwrap_or_else(|| has_tensor("in_proj.bias")))
        .with_conv_bias(config.use_conv_bias.unwrap_or_else(|| has_tensor("conv1d.bias")))
        .with_norm_epsilon(config.layer_norm_epsilon)
        .with_inner_norm_epsilon(falcon.then_some(config.mixer_rms_eps))
        .with_residual_in_fp32(config.residual_in_fp32)
        .with_tie_embeddings(config.tie_word_embeddings))
}

fn original(path: &Path, json: Value, has_tensor: impl Fn(&str) -> bool) -> Result<MambaLmConfig, CheckpointError> {
    let config: Original = serde_json::from_value(json).map_err(|error| CheckpointError::damaged(path, error))?;
    let mixer = config.ssm_cfg;
    if mixer.layer != "Mamba1" {
        return Err(unsupported(path, "ssm_cfg.layer", mixer.layer, "Mamba1"));
    }
    if config.d_intermediate != 0 {
        return Err(unsupported(path, "d_intermediate", config.d_intermediate.to_string(), "0"));
    }
    if !config.attn_layer_idx.is_empty() {
        return Err(unsupported(path, "attn_layer_idx", format!("{:?}", config.attn_layer_idx), "no layers"));
    }
    if !config.rms_norm {
        return Err(unsupported(path, "rms_norm", "false".into(), "true"));
    }
    let (expand, d_inner) = inner((mixer.expand * config.d_model as f64) as usize, config.d_model);
    Ok(MambaLmConfig::new(config.vocab_size, config.d_model, config.n_layer)
        .with_pad_vocab_size_multiple(config.pad_vocab_size_multiple)
        .with_d_state(mixer.d_state)
        .with_d_conv(mixer.d_conv)
        .with_expand(expand)
        .with_d_inner(d_inner)
        .with_dt_rank(mixer.dt_rank.explicit(path, "ssm_cfg.dt_rank")?)
        .with_bias(mixer.bias.unwrap_or_else(|| has_tensor("in_proj.bias")))
        .with_conv_bias(mixer.conv_bias.unwrap_or_else(|| has_tensor("conv1d.bias")))
        .with_residual_in_fp32(config.residual_in_fp32)
        .with_tie_embeddings(config.tie_embeddings))
}

/// `expand`, and `d_inner` where it is no multiple of `d_model`.
fn inner(d_inner: usize, d_model: usize) -> (usize, Option<usize>) {
    match d_inner.checked_rem(d_model) {
        Some(0) => (d_inner / d_model, None),
        _ => (2, Some(d_inner)),
    }
}

fn unsupported(path: &Path, name: &'static str, found: String, expected: &'static str) -> CheckpointError {
    CheckpointError::Unsupported { path: path.to_path_buf(), name, found, expected }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn num_params(json: Value) -> usize {
        parse(Path::new("config.json"), json, |name| name == "conv1d.bias").unwrap().num_params()
    }

    #[test]
    fn published_sizes_have_their_parameter_counts_in_either_format() {
        for (d_model, n_layer, expected) in [
            (768, 24, 129_135_360),
            (1024, 48, 371_516_416),
            (1536, 48, 793_204_224),
            (2048, 48, 1_372_178_432),
            (2560, 64, 2_768_345_600),
        ] {
            let original = json!({
                "d_model": d_model, "n_layer": n_layer, "vocab_size": 50277, "ssm_cfg": {}, "rms_norm": true,
                "residual_in_fp32": true, "fused_add_norm": true, "pad_vocab_size_multiple": 8,
            });
            let hugging_face = json!({
                "model_type": "mamba", "hidden_size": d_model, "num_hidden_layers": n_layer, "vocab_size": 50280,
                "d_model": d_model, "n_layer": n_layer, "ssm_cfg": {}, "expand": 2, "intermediate_size": 2 * d_model,
                "time_step_rank": d_model / 16, "state_size": 16, "conv_kernel": 4, "use_bias": false,
            });
            assert_eq!(num_params(original), expected);
            assert_eq!(num_params(hugging_face), expected);
        }
        // The 7B FalconMamba: `expand` is not what its inner width says.
        let falcon = json!({
            "model_type": "falcon_mamba", "hidden_size": 4096, "num_hidden_layers": 64, "vocab_size": 65024,
            "expand": 16, "intermediate_size": 8192, "time_step_rank": 256, "tie_word_embeddings": false,
        });
        assert_eq!(num_params(falcon), 7_272_665_088);
    }

    #[test]
    fn settings_of_either_format_are_understood() {
        let read = |json| parse(Path::new("config.json"), json, |_| true).unwrap();
        let original = read(json!({
            "d_model": 10, "n_layer": 3, "vocab_size": 33, "pad_vocab_size_multiple": 16, "tie_embeddings": false,
            "ssm_cfg": {"layer": "Mamba1", "expand": 1.5, "dt_rank": 4, "d_state": 5, "d_conv": 2, "conv_bias": false},
        }));
        let expected = MambaLmConfig::new(33, 10, 3)
            .with_pad_vocab_size_multiple(16)
            .with_tie_embeddings(false)
            .with_d_inner(Some(15))
            .with_dt_rank(Some(4))
            .with_d_state(5)
            .with_d_conv(2)
            .with_conv_bias(false)
            .with_bias(true);
        assert_eq!(original, expected);

        let falcon = read(json!({
            "model_type": "falcon_mamba", "hidden_size": 32, "num_hidden_layers": 1, "vocab_size": 9, "expand": 3.0,
            "time_step_rank": "auto", "layer_norm_epsilon": 1e-6, "residual_in_fp32": false, "use_bias": false,
        }));
        let expected = MambaLmConfig::new(9, 32, 1)
            .with_pad_vocab_size_multiple(1)
            .with_expand(3)
            .with_norm_epsilon(1e-6)
            .with_inner_norm_epsilon(Some(1e-6))
            .with_residual_in_fp32(false);
        assert_eq!(falcon, expected);
    }
}

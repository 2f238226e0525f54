//! A model as files: in Hugging Face's layout, or with the weights in Burn's own format.

use super::error::CheckpointError;
use super::files::{self, BURNPACK};
use crate::lm::MambaLm;
use burn::module::Module;
use burn::tensor::DType;
use burn_store::{BurnToPyTorchAdapter, BurnpackStore, ModuleSnapshot, ModuleStore, SafetensorsStore};
use serde_json::{Value, json};
use std::fs;
use std::path::Path;

/// From the paths of our parameters to the names there; Burn's adapter has renamed `gamma` and transposed.
const NAMES: [(&str, &str); 4] = [
    (r"^(embedding|layers|norm_f)\.", "backbone.$1."),
    (r"^backbone\.embedding\.", "backbone.embeddings."),
    (r"\.a_log$", ".A_log"),
    (r"\.d$", ".D"),
];

/// The weights for transformers, and the configuration.
pub(super) fn hugging_face(model: &MambaLm, folder: &Path) -> Result<(), CheckpointError> {
    let mut store = SafetensorsStore::from_file(folder.join("model.safetensors"))
        .overwrite(true)
        .with_to_adapter(BurnToPyTorchAdapter)
        .clear_metadata()
        .metadata("format", "pt");
    for (ours, theirs) in NAMES {
        store = store.with_key_remapping(ours, theirs);
    }
    save(model, folder, &mut store)
}

/// The weights in Burn's own format, and the configuration.
pub(super) fn burnpack(model: &MambaLm, folder: &Path) -> Result<(), CheckpointError> {
    if let Some(other) = files::published(folder) {
        return Err(CheckpointError::write(folder, format!("it holds {other}, which would be loaded instead")));
    }
    save(model, folder, &mut BurnpackStore::from_file(folder.join(BURNPACK)).overwrite(true))
}

/// Both files are written beside their places first, the weights before the configuration that makes them a model.
fn save(model: &MambaLm, folder: &Path, weights: &mut impl ModuleStore) -> Result<(), CheckpointError> {
    fs::create_dir_all(folder).map_err(|error| CheckpointError::write(folder, error))?;
    // Other programs know of no adapters beside the weights.
    model.clone().materialize().save_into(weights).map_err(|error| CheckpointError::write(folder, error))?;

    files::write(&folder.join("config.json"), format!("{:#}\n", config(model)).as_bytes())
}

/// What transformers calls the sizes of `model`.
fn config(model: &MambaLm) -> Value {
    let [vocab_size, d_model] = model.embedding.weight.dims();
    let first = model.layers.first().map(|block| &block.mixer);
    let [d_inner, d_state] = first.map_or([0; 2], |mixer| mixer.a_log.dims());
    let mut config = json!({
        "architectures": ["MambaForCausalLM"],
        "model_type": "mamba",
        "vocab_size": vocab_size,
        "hidden_size": d_model,
        "num_hidden_layers": model.layers.len(),
        "state_size": d_state,
        "conv_kernel": first.map_or(0, |mixer| mixer.conv1d.kernel_size),
        // A whole number there; where it is none, the next setting counts.
        "expand": d_inner / d_model,
        "intermediate_size": d_inner,
        "time_step_rank": first.map_or(0, |mixer| mixer.dt_proj.weight.dims()[0]),
        "use_bias": first.is_some_and(|mixer| mixer.in_proj.bias.is_some()),
        "use_conv_bias": first.is_some_and(|mixer| mixer.conv1d.bias.is_some()),
        "hidden_act": "silu",
        "layer_norm_epsilon": model.norm_f.epsilon,
        "residual_in_fp32": model.layers.first().is_some_and(|block| block.residual_in_fp32),
        "tie_word_embeddings": model.lm_head.is_none(),
        "dtype": match model.embedding.weight.dtype() {
            DType::F16 => "float16",
            DType::BF16 => "bfloat16",
            _ => "float32",
        },
    });
    if let Some(epsilon) = first.and_then(|mixer| mixer.inner_norm_epsilon) {
        config["architectures"] = json!(["FalconMambaForCausalLM"]);
        config["model_type"] = json!("falcon_mamba");
        config["mixer_rms_eps"] = json!(epsilon);
    }
    config
}

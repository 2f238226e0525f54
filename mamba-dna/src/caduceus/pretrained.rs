//! Published checkpoints of Caduceus, as the [original implementation](https://github.com/kuleshov-group/caduceus) writes
//! and loads them.

use super::{CaduceusConfig, CaduceusMaskedLm};
use crate::bimamba::Combine;
use crate::heads::CaduceusClassifier;
use crate::tokens::{PAD, VOCABULARY, complement_map};
use burn::module::Module;
use burn::tensor::Device;
use mamba_blocks::{CheckpointError, ModuleLayout, load_module, read_config, save_module};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;

const BACKBONE: &str = "caduceus.backbone.";
const COMPLEMENT_MAP: &str = "complement_map";

impl CaduceusConfig {
    /// Reads the configuration of the checkpoint in the folder `path`.
    ///
    /// # Errors
    /// [`CheckpointError`] if it cannot be read or is of another model.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use mamba_dna::{CaduceusClassifier, CaduceusConfig, CaduceusMaskedLm};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let device = Device::default();
    /// # let folder = tempfile::tempdir()?;
    /// # let (lm, classifier) = (folder.path().join("lm"), folder.path().join("classifier"));
    /// let config = CaduceusConfig::new(16, 2);
    /// config.try_init_masked_lm(&device)?.save_pretrained(&config, &lm)?;
    /// assert_eq!(CaduceusConfig::from_pretrained(&lm)?, config);
    /// let model = CaduceusMaskedLm::from_pretrained(&lm, &device)?;
    ///
    /// config.classifier(model.caduceus, 2).save_pretrained(&config, &classifier)?;
    /// let model = CaduceusClassifier::from_pretrained(&classifier, &device)?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn from_pretrained(path: impl AsRef<Path>) -> Result<Self, CheckpointError> {
        let folder = path.as_ref();
        parse(&folder.join("config.json"), read_config(folder)?)
    }
}

impl CaduceusMaskedLm {
    /// Loads the checkpoint in the folder `path`, in f32: `model.safetensors` or `pytorch_model.bin`, and `config.json`.
    ///
    /// Nothing in a file is executed, and no memory is taken that the files have no bytes for. The complement map is
    /// that of the configuration, by the numbers of its keys; files have copies of it, which are passed over.
    ///
    /// # Errors
    /// [`CheckpointError`], which names every tensor that is missing, left over or of another shape.
    pub fn from_pretrained(path: impl AsRef<Path>, device: &Device) -> Result<Self, CheckpointError> {
        let folder = path.as_ref();
        let config = CaduceusConfig::from_pretrained(folder)?;
        let init = || Self { caduceus: config.init(device) };
        load_module(folder, &layout(&config), config.num_params(), init)
    }

    /// Writes the model into the folder `path`, as the original implementation loads it. Each file is there in full or
    /// not at all.
    ///
    /// # Errors
    /// [`CheckpointError::Write`].
    pub fn save_pretrained(&self, config: &CaduceusConfig, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        save(self, config, json!({"architectures": ["CaduceusForMaskedLM"]}), path.as_ref())
    }
}

impl CaduceusClassifier {
    /// Loads a model with the head for classes of sequences, as [`CaduceusMaskedLm::from_pretrained`].
    ///
    /// # Errors
    /// As there.
    pub fn from_pretrained(path: impl AsRef<Path>, device: &Device) -> Result<Self, CheckpointError> {
        let folder = path.as_ref();
        let config = CaduceusConfig::from_pretrained(folder)?;
        let classes = classes(&folder.join("config.json"), &read_config(folder)?)?;
        let init = || config.classifier(config.init(device), classes);
        load_module(folder, &layout(&config), config.num_params() + classes * config.d_model, init)
    }

    /// Writes the model into the folder `path`, as [`CaduceusMaskedLm::save_pretrained`].
    ///
    /// # Errors
    /// As there.
    pub fn save_pretrained(&self, config: &CaduceusConfig, path: impl AsRef<Path>) -> Result<(), CheckpointError> {
        let [_, classes] = self.score.weight.dims();
        let labels: BTreeMap<_, _> = (0..classes).map(|class| (class.to_string(), format!("LABEL_{class}"))).collect();
        let more = json!({"architectures": ["CaduceusForSequenceClassification"], "id2label": labels});
        save(self, config, more, path.as_ref())
    }
}

/// The original implementation's `CaduceusConfig` with its defaults.
#[derive(Deserialize)]
#[serde(default)]
struct Original {
    model_type: String,
    d_model: usize,
    n_layer: usize,
    vocab_size: usize,
    ssm_cfg: OriginalMixer,
    rms_norm: bool,
    residual_in_fp32: bool,
    fused_add_norm: bool,
    pad_vocab_size_multiple: usize,
    norm_epsilon: f64,
    bidirectional: bool,
    bidirectional_strategy: Option<String>,
    bidirectional_weight_tie: bool,
    rcps: bool,
    complement_map: Option<BTreeMap<usize, usize>>,
}

impl Default for Original {
    fn default() -> Self {
        Self {
            model_type: String::new(),
            d_model: 2560,
            n_layer: 64,
            vocab_size: 50277,
            ssm_cfg: OriginalMixer::default(),
            rms_norm: true,
            residual_in_fp32: true,
            fused_add_norm: true,
            pad_vocab_size_multiple: 8,
            norm_epsilon: 1e-5,
            bidirectional: true,
            bidirectional_strategy: None,
            bidirectional_weight_tie: true,
            rcps: false,
            complement_map: None,
        }
    }
}

/// The arguments of the original implementation's mixer; those of its initialisation are not read.
#[derive(Deserialize)]
#[serde(default)]
struct OriginalMixer {
    d_state: usize,
    d_conv: usize,
    expand: usize,
    dt_rank: Value,
    conv_bias: bool,
    bias: bool,
}

impl Default for OriginalMixer {
    fn default() -> Self {
        Self { d_state: 16, d_conv: 4, expand: 2, dt_rank: json!("auto"), conv_bias: true, bias: false }
    }
}

fn parse(path: &Path, json: Value) -> Result<CaduceusConfig, CheckpointError> {
    let damaged = |error: serde_json::Error| CheckpointError::Damaged { path: path.into(), reason: error.to_string() };
    let refuse = |name, found: String, expected| {
        Err(CheckpointError::Unsupported { path: path.to_path_buf(), name, found, expected })
    };
    let original: Original = serde_json::from_value(json).map_err(damaged)?;
    if original.model_type != "caduceus" {
        return refuse("model_type", format!("{:?}", original.model_type), "\"caduceus\"");
    }
    if !original.rms_norm {
        return refuse("rms_norm", "false".into(), "true");
    }
    let multiple = original.pad_vocab_size_multiple;
    let vocabulary = original.vocab_size;
    if multiple == 0 || ![VOCABULARY, VOCABULARY.next_multiple_of(multiple)].contains(&vocabulary) {
        return refuse("vocab_size", vocabulary.to_string(), "the 12 tokens of DNA, with padding or without");
    }
    if let Some(map) = original.complement_map.filter(|_| original.rcps) {
        let expected = complement_map(VOCABULARY.next_multiple_of(multiple));
        let fits = map.iter().all(|(&token, complement)| expected.get(token) == Some(complement));
        if !fits || map.len() < VOCABULARY {
            return refuse("complement_map", format!("{map:?}"), "A and T, C and G exchanged, all others themselves");
        }
    }
    let combine = match original.bidirectional_strategy.as_deref() {
        None | Some("add") => Combine::Add,
        Some("ew_multiply") => Combine::Multiply,
        Some(other) => return refuse("bidirectional_strategy", format!("{other:?}"), "\"add\" or \"ew_multiply\""),
    };
    let OriginalMixer { d_state, d_conv, expand, dt_rank, conv_bias, bias } = original.ssm_cfg;
    let dt_rank = match (dt_rank.as_str(), dt_rank.as_u64()) {
        (Some("auto"), _) => None,
        (_, Some(rank)) => Some(rank as usize),
        _ => return refuse("dt_rank", dt_rank.to_string(), "a number or \"auto\""),
    };
    let config = CaduceusConfig::new(original.d_model, original.n_layer)
        .with_rcps(original.rcps)
        .with_fused_add_norm(original.fused_add_norm)
        .with_bidirectional(original.bidirectional)
        .with_bidirectional_strategy(combine)
        .with_bidirectional_weight_tie(original.bidirectional_weight_tie)
        .with_d_state(d_state)
        .with_d_conv(d_conv)
        .with_expand(expand)
        .with_dt_rank(dt_rank)
        .with_conv_bias(conv_bias)
        .with_bias(bias)
        .with_norm_epsilon(original.norm_epsilon)
        .with_residual_in_fp32(original.residual_in_fp32)
        .with_pad_vocab_size_multiple(multiple);
    match config.validate() {
        Ok(()) => Ok(config),
        Err(source) => Err(CheckpointError::Config { path: path.to_path_buf(), source }),
    }
}

/// The number of classes of a model with a head for them.
fn classes(path: &Path, json: &Value) -> Result<usize, CheckpointError> {
    let labels = json["id2label"].as_object().map(|labels| labels.len());
    // Transformers leaves out its default.
    match labels.unwrap_or(2) {
        classes @ 1..=65_536 => Ok(classes),
        other => {
            let (name, found, expected) = ("id2label", format!("{other} labels"), "1 to 65536");
            Err(CheckpointError::Unsupported { path: path.to_path_buf(), name, found, expected })
        }
    }
}

fn save<M: Module>(model: &M, config: &CaduceusConfig, more: Value, folder: &Path) -> Result<(), CheckpointError> {
    let vocabulary = config.padded_vocab_size();
    let map = complement_map(vocabulary);
    let keyed: BTreeMap<_, _> = map.iter().enumerate().map(|(token, &other)| (token.to_string(), other)).collect();
    let mut json = json!({
        "model_type": "caduceus",
        "d_model": config.d_model,
        "n_layer": config.n_layer,
        "vocab_size": vocabulary,
        "ssm_cfg": {
            "d_state": config.d_state,
            "d_conv": config.d_conv,
            "expand": config.expand,
            "dt_rank": config.dt_rank.map_or(json!("auto"), |rank| json!(rank)),
            "conv_bias": config.conv_bias,
            "bias": config.bias,
        },
        "rms_norm": true,
        "residual_in_fp32": config.residual_in_fp32,
        "fused_add_norm": config.fused_add_norm,
        "pad_vocab_size_multiple": config.pad_vocab_size_multiple,
        "norm_epsilon": config.norm_epsilon,
        "initializer_cfg": {
            "initializer_range": config.initializer_range,
            "rescale_prenorm_residual": config.rescale_prenorm_residual,
            "n_residuals_per_layer": 1,
        },
        "bidirectional": config.bidirectional,
        "bidirectional_strategy": match config.bidirectional_strategy {
            Combine::Add => "add",
            Combine::Multiply => "ew_multiply",
        },
        "bidirectional_weight_tie": config.bidirectional_weight_tie,
        "rcps": config.rcps,
        "complement_map": keyed,
        "pad_token_id": PAD,
    });
    if let (Value::Object(all), Value::Object(more)) = (&mut json, more) {
        all.extend(more);
    }
    let mut buffers = Vec::new();
    if config.rcps {
        let values: Vec<_> = map.iter().map(|&id| id as i64).collect();
        buffers.push((format!("{BACKBONE}embeddings.word_embeddings.{COMPLEMENT_MAP}"), values.clone()));
        if json["architectures"][0] == "CaduceusForMaskedLM" {
            buffers.push((format!("lm_head.{COMPLEMENT_MAP}"), values));
        }
    }
    save_module(model, folder, &layout(config), &json, buffers)
}

/// The names of the tensors. They differ with `rcps`, and with the order of its norms.
fn layout(config: &CaduceusConfig) -> ModuleLayout {
    let embedding = match config.rcps {
        true => format!("{BACKBONE}embeddings.word_embeddings.embedding.weight"),
        false => format!("{BACKBONE}embeddings.word_embeddings.weight"),
    };
    let head = if config.rcps { "lm_head.lm_head.weight" } else { "lm_head.weight" };
    let mixer = if config.rcps { "mixer.submodule." } else { "mixer." };
    let norm = if config.rcps && !config.fused_add_norm { ".submodule.weight" } else { ".weight" };
    let is_tied = config.bidirectional_weight_tie;
    let of_embedding = embedding.clone();
    let published = move |path: &str| {
        let Some(path) = path.strip_prefix("caduceus.") else { return path.to_string() };
        if path == "embedding.weight" {
            return embedding.clone();
        }
        let path = path.replace("mixer.", mixer);
        let path = match path.rsplit_once('.') {
            Some((at, "weight")) if at.ends_with("norm") || at.ends_with("norm_f") => format!("{at}{norm}"),
            Some((at, "a_log")) => format!("{at}.A_log"),
            Some((at, "d")) => format!("{at}.D"),
            _ => path,
        };
        format!("{BACKBONE}{path}")
    };
    let tied = move |key: &str| {
        if key == head {
            return Some(of_embedding.clone());
        }
        let (before, projection) = key.split_once(".mamba_rev.").filter(|_| is_tied)?;
        let is_projection = ["in_proj.", "out_proj."].iter().any(|start| projection.starts_with(start));
        is_projection.then(|| format!("{before}.mamba_fwd.{projection}"))
    };
    ModuleLayout {
        tied: Box::new(tied),
        is_buffer: |key| key.ends_with(COMPLEMENT_MAP),
        ..ModuleLayout::new(published)
    }
}

//! The adapters of a model as files, in the layout of [PEFT](https://github.com/huggingface/peft): `adapter_config.json`
//! and `adapter_model.safetensors`.

use super::error::{CheckpointError, TensorProblem, TensorProblems};
use super::files::{read_json, write};
use super::weights::Stored;
use super::{keys, safetensors};
use crate::lm::MambaLm;
use crate::lora::{LoraConfig, LoraTarget};
use ::safetensors::Dtype;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::{DType, Tensor, TensorData};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";

/// What is understood of PEFT's configuration.
#[derive(Deserialize)]
struct Peft {
    r: usize,
    lora_alpha: f64,
    target_modules: Vec<String>,
}

/// Settings of PEFT that would make another model, and what they are if they do not.
fn plain() -> [(&'static str, Value, &'static str); 7] {
    [
        ("peft_type", json!("LORA"), "LORA"),
        ("bias", json!("none"), "none"),
        ("use_dora", json!(false), "false"),
        ("use_rslora", json!(false), "false"),
        ("modules_to_save", Value::Null, "null"),
        ("rank_pattern", json!({}), "{}"),
        ("alpha_pattern", json!({}), "{}"),
    ]
}

/// Writes the adapters of `model`; the weights before the configuration that makes them an adapter.
pub(super) fn save(model: &MambaLm, folder: &Path) -> Result<(), CheckpointError> {
    let config = describe(model).ok_or_else(|| CheckpointError::write(folder, "the model has no adapters"))?;
    let mut factors = Factors::default();
    model.visit(&mut factors);
    let bytes = safetensors::serialized(&factors.found).map_err(|error| CheckpointError::write(folder, error))?;

    fs::create_dir_all(folder).map_err(|error| CheckpointError::write(folder, error))?;
    write(&folder.join(WEIGHTS), &bytes)?;
    write(&folder.join(CONFIG), format!("{:#}\n", peft(&config)).as_bytes())
}

/// The configuration that the adapters of `model` were made with, if it has any.
fn describe(model: &MambaLm) -> Option<LoraConfig> {
    let mixer = &model.layers.first()?.mixer;
    let layers = [&mixer.in_proj, &mixer.x_proj, &mixer.dt_proj, &mixer.out_proj];
    let adapters = LoraTarget::ALL.into_iter().zip(layers.map(|layer| layer.weight.adapter()));
    let adapters: Vec<_> = adapters.filter_map(|(target, adapter)| Some((target, adapter?))).collect();
    let (_, first) = adapters.first()?;
    let [_, rank] = first.a.dims();
    let targets = adapters.iter().map(|(target, _)| *target).collect();
    Some(LoraConfig { rank, alpha: first.scale * rank as f64, targets })
}

fn peft(config: &LoraConfig) -> Value {
    let mut json = json!({
        "base_model_name_or_path": null,
        "task_type": "CAUSAL_LM",
        "inference_mode": true,
        "r": config.rank,
        "lora_alpha": config.alpha,
        "lora_dropout": 0.0,
        "target_modules": config.targets.iter().map(|target| target.name()).collect::<Vec<_>>(),
    });
    plain().into_iter().for_each(|(name, value, _)| json[name] = value);
    json
}

fn read_config(path: &Path) -> Result<LoraConfig, CheckpointError> {
    let json: Value = read_json(path)?;
    for (name, value, expected) in plain() {
        let found = &json[name];
        // What is not there is off; the type of adapter has to be.
        if *found != value && (!found.is_null() || name == "peft_type") {
            let (path, found) = (path.to_path_buf(), found.to_string());
            return Err(CheckpointError::Unsupported { path, name, found, expected });
        }
    }
    let Peft { r, lora_alpha, target_modules } =
        serde_json::from_value(json).map_err(|error| CheckpointError::damaged(path, error))?;
    let targets = target_modules.iter().map(|name| name.parse()).collect::<Result<_, _>>();
    let targets = targets.map_err(|source| CheckpointError::Adapter { path: path.to_path_buf(), source })?;
    Ok(LoraConfig { rank: r, alpha: lora_alpha, targets })
}

/// What PEFT calls one of our parameters, if it is a factor.
fn published(path: &str) -> Option<String> {
    let (weight, factor) = path.split_once(".weight.lora.")?;
    let letter = match factor {
        "a" => "A",
        "b" => "B",
        _ => return None,
    };
    Some(format!("base_model.model.backbone.{weight}.lora_{letter}.weight"))
}

/// Collects the factors as PyTorch has them, in f32.
#[derive(Default)]
struct Factors {
    path: Vec<String>,
    found: Vec<(String, Dtype, TensorData)>,
}

impl ModuleVisitor for Factors {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(key) = published(&self.path.join(".")) {
            let data = param.val().swap_dims(0, 1).cast(DType::F32).into_data();
            self.found.push((key, Dtype::F32, data));
        }
    }
}

/// Puts the adapters in `folder` beside the weights of `model`.
pub(super) fn load(model: MambaLm, folder: &Path) -> Result<MambaLm, CheckpointError> {
    let path = folder.join(CONFIG);
    let config = read_config(&path)?;
    let weights = folder.join(WEIGHTS);
    let stored = safetensors::open(&weights)?.into_iter().collect();
    let model = config.attach(model).map_err(|source| CheckpointError::Adapter { path, source })?;

    let mut load = Load { stored, path: Vec::new(), problems: Vec::new(), failed: None };
    let model = model.map(&mut load);
    if let Some(error) = load.failed {
        return Err(error);
    }
    let left = load.stored.into_iter();
    load.problems.extend(left.map(|(key, stored)| TensorProblem::Unexpected {
        key,
        file: stored.path,
        found: stored.shape,
    }));
    match load.problems.is_empty() {
        true => Ok(model),
        false => {
            Err(CheckpointError::Factors { folder: folder.to_path_buf(), problems: TensorProblems(load.problems) })
        }
    }
}

/// Gives the factors their values; takes what it has used out of `stored`.
struct Load {
    stored: BTreeMap<String, Stored>,
    path: Vec<String>,
    problems: Vec<TensorProblem>,
    failed: Option<CheckpointError>,
}

impl ModuleMapper for Load {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(key) = published(&self.path.join(".")) else { return param };
        let stored = self.stored.remove(&key);
        // PyTorch's factors are the other way round.
        let expected: Vec<_> = param.lazy_shape().iter().rev().copied().collect();
        self.problems.extend(keys::problem(stored.as_ref(), &key, &expected, PartialEq::eq));
        let Some(stored) = stored.filter(|_| self.problems.is_empty()) else { return param };
        let read = || {
            let data = stored.read()?.try_cast(param.dtype());
            data.map_err(|error| CheckpointError::damaged(&stored.path, format!("`{key}`: {error}")))
        };
        match read() {
            Ok(data) => {
                let options = (&param.device(), param.dtype());
                param.map(|_| Tensor::from_data(data, options).swap_dims(0, 1))
            }
            Err(error) => {
                self.failed.get_or_insert(error);
                param
            }
        }
    }
}

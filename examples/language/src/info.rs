//! `info`: what a model is made of.

use std::path::PathBuf;

use burn::module::{Module, ModuleVisitor, Param};
use burn::prelude::*;
use clap::{ArgMatches, Args};
use mamba_blocks::{MambaLm, MambaLmConfig};

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::memory::bytes;
use crate::pretrained::folder;
use crate::settings::Settings;

/// Shows the configuration, parameters and memory of a model: of a run, of a published checkpoint, or of the given flags.
#[derive(Args)]
pub struct InfoArgs {
    /// Folder of a run, or one of its checkpoints
    #[arg(long)]
    checkpoint: Option<PathBuf>,
    /// Folder of a published checkpoint
    #[arg(long, conflicts_with_all = ["checkpoint", "d_model", "n_layer", "d_state", "Recipe"])]
    model: Option<PathBuf>,
    #[command(flatten)]
    settings: Settings,
}

pub fn info(args: &InfoArgs, matches: &ArgMatches, device: &Device) -> Result<(), Error> {
    let (config, settings, model) = match (&args.checkpoint, &args.model) {
        (Some(path), _) => {
            let checkpoint = Checkpoint::open(path)?;
            checkpoint.refuse_conflict(&args.settings, matches)?;
            let model = checkpoint.model(device)?;
            let step = checkpoint.step;
            println!("checkpoint   step {step} of {}", checkpoint.config.settings.recipe.steps);
            if let Some((record, loss)) = checkpoint.history.iter().rev().find_map(|r| Some((r, r.validation?))) {
                println!("validation   {loss:.4} nats per byte at step {}", record.step);
            }
            (checkpoint.config.model, Some(checkpoint.config.settings), model)
        }
        (None, Some(path)) => {
            let config = MambaLmConfig::from_pretrained(folder(path)?)?;
            // Of the same shapes; the weights themselves need not be read.
            let model = config.init(device);
            (config, None, model)
        }
        (None, None) => {
            args.settings.validate()?;
            let config = args.settings.model();
            (config.clone(), Some(args.settings.clone()), config.init(device))
        }
    };
    if let Some(settings) = settings {
        println!("training     {}", one_line(&settings));
    }
    println!("model        {}", one_line(&config));
    println!("parameters   {}", model.num_params());
    list_parameters(&model);
    println!("memory       weights {}", bytes(model.num_params() as u64 * 4));
    println!("             weights, gradients and AdamW's moments {}", bytes(model.num_params() as u64 * 16));
    println!("             state of a sequence while decoding {}", bytes(state_size(&model, device) as u64 * 4));
    Ok(())
}

/// Parameter by parameter; of the layers, which are alike, only the first.
fn list_parameters(model: &MambaLm) {
    let mut list = ParameterList::default();
    model.visit(&mut list);
    for (path, shape, count) in list.parameters {
        if !path.starts_with("layers.") || path.starts_with("layers.0.") {
            println!("  {path:<32} {count:>9}  {shape:?}");
        }
        if path == "layers.0.norm.gamma" {
            let each = model.layers[0].num_params();
            println!("  layers.0 has {each} parameters, and so has each of the {} layers", model.layers.len());
        }
    }
}

#[derive(Default)]
struct ParameterList {
    path: Vec<String>,
    parameters: Vec<(String, Vec<usize>, usize)>,
}

impl ModuleVisitor for ParameterList {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let shape = param.lazy_shape();
        self.parameters.push((self.path.join("."), shape.to_vec(), shape.num_elements()));
    }
}

/// Numbers that a sequence takes with it from one byte to the next.
fn state_size(model: &MambaLm, device: &Device) -> usize {
    let state = model.init_state(1, device);
    state.layers.iter().map(|layer| layer.conv.shape().num_elements() + layer.ssm.shape().num_elements()).sum()
}

fn one_line(config: &impl serde::Serialize) -> String {
    let json = serde_json::to_value(config).unwrap_or_default();
    let fields = json.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null());
    fields.map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

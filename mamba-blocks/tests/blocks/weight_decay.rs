//! Weight decay reaches weights only, and the optimizer's state survives its file.

use crate::{random_tokens, values};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor};
use mamba_blocks::optim::{adamw, no_weight_decay};
use mamba_blocks::{MambaLm, MambaLmConfig};
use std::collections::BTreeMap;

#[derive(Default)]
struct Parameters {
    path: Vec<String>,
    found: BTreeMap<String, (ParamId, Vec<f64>)>,
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.insert(self.path.join("."), (param.id, values(param.val())));
    }
}

fn parameters(model: &MambaLm) -> BTreeMap<String, (ParamId, Vec<f64>)> {
    let mut parameters = Parameters::default();
    model.visit(&mut parameters);
    parameters.found
}

/// Gives every parameter a gradient of zero, so that AdamW only decays.
struct ZeroGradients(GradientsParams);

impl ModuleMapper for ZeroGradients {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.0.register(param.id, param.val().inner().zeros_like());
        param
    }
}

fn model(device: &Device) -> MambaLm {
    MambaLmConfig::new(9, 6, 2).with_bias(true).with_tie_embeddings(false).init(device)
}

#[test]
fn only_weights_of_projections_convolutions_and_embeddings_decay() {
    let device = crate::device().autodiff();
    let mut gradients = ZeroGradients(GradientsParams::new());
    let model = model(&device).map(&mut gradients);
    let before = parameters(&model);
    let mut optimizer = adamw(&AdamWConfig::new().with_weight_decay(0.5));
    let after = parameters(&optimizer.step(0.1, model, gradients.0));

    let mut decayed = Vec::new();
    for (path, (id, before)) in &before {
        let after = &after[path].1;
        let is_in_group = no_weight_decay().matches(id, Some(path));
        if is_in_group {
            assert_eq!(after, before, "{path} decayed");
        } else {
            let scaled = before.iter().zip(after).all(|(before, after)| (after - 0.95 * before).abs() < 1e-6);
            assert!(scaled, "{path} did not decay");
            decayed.push(path.as_str());
        }
    }
    let mixer = |layer| {
        ["conv1d", "dt_proj", "in_proj", "out_proj", "x_proj"].map(|name| format!("layers.{layer}.mixer.{name}.weight"))
    };
    let mut expected = vec!["embedding.weight".to_string(), "lm_head.weight".to_string()];
    expected.extend(mixer(0).into_iter().chain(mixer(1)));
    expected.sort();
    assert_eq!(decayed, expected);
}

fn train(model: MambaLm, optimizer: &mut ModuleOptimizer, tokens: &Tensor<2, Int>) -> MambaLm {
    let loss = model.forward(tokens.clone()).square().mean();
    let gradients = GradientsParams::from_grads(loss.backward(), &model);
    optimizer.step(0.01, model, gradients)
}

#[test]
fn training_goes_on_from_saved_model_and_optimizer() {
    let device = crate::device().autodiff();
    let tokens = random_tokens([2, 5], 9, &device);
    let config = AdamWConfig::new().with_weight_decay(0.5);
    let mut optimizer = adamw(&config);
    let trained = train(model(&device), &mut optimizer, &tokens);

    let saved_model = trained.clone().into_record().into_bytes().unwrap();
    let saved_optimizer = optimizer.into_bytes().unwrap();
    let record = burn::store::ModuleRecord::from_bytes(saved_model).unwrap();
    let resumed = model(&device).try_load_record(record).unwrap();
    let mut resumed_optimizer = adamw(&config).from_bytes(saved_optimizer).unwrap();

    let uninterrupted = parameters(&train(trained, &mut optimizer, &tokens));
    let resumed = parameters(&train(resumed, &mut resumed_optimizer, &tokens));
    for (path, (_, expected)) in uninterrupted {
        assert_eq!(resumed[&path].1, expected, "{path}");
    }
}

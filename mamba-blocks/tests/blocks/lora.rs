//! Adapters: where they start, what they train, and that a merged model is the same model.

use crate::{assert_close, device, random, random_tokens, values};
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::store::ModuleRecord;
use burn::tensor::{DType, Device, Int, Tensor};
use mamba_blocks::optim::adamw;
use mamba_blocks::{
    CheckpointError, LoraConfig, LoraError, LoraTarget, MambaLm, MambaLmConfig, TensorProblem, lora_parameters,
};
use std::fs;

const VOCABULARY: usize = 30;

fn model(device: &Device) -> MambaLm {
    MambaLmConfig::new(VOCABULARY, 16, 2).with_d_state(4).with_dt_rank(Some(4)).with_bias(true).init(device)
}

fn tokens(device: &Device) -> Tensor<2, Int> {
    random_tokens([2, 9], VOCABULARY, device)
}

/// Some steps on one batch; returns the first loss and the last.
fn train(mut model: MambaLm, steps: usize) -> (MambaLm, ModuleOptimizer, [f32; 2]) {
    let device = model.embedding.weight.device();
    let (tokens, wanted) = (tokens(&device), random([2, 9, VOCABULARY.next_multiple_of(8)], &device));
    let mut optimizer = adamw(&AdamWConfig::new());
    let mut losses = Vec::new();
    for _ in 0..steps {
        let loss = (model.forward(tokens.clone()) - wanted.clone()).square().mean();
        losses.push(loss.clone().into_scalar::<f32>());
        let gradients = GradientsParams::from_grads(loss.backward(), &model);
        model = optimizer.step(1e-2, model, gradients);
    }
    (model, optimizer, [losses[0], losses[steps - 1]])
}

fn adapted(config: &LoraConfig) -> MambaLm {
    config.attach(model(&device().autodiff())).unwrap()
}

/// Every parameter with its path.
#[derive(Default)]
struct Parameters {
    path: Vec<String>,
    found: Vec<(String, Vec<f64>)>,
}

impl ModuleVisitor for Parameters {
    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.to_string());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.found.push((self.path.join("."), values(param.val())));
    }
}

fn parameters(model: &MambaLm) -> Vec<(String, Vec<f64>)> {
    let mut parameters = Parameters::default();
    model.visit(&mut parameters);
    parameters.found
}

#[test]
fn adapters_start_as_no_change_and_are_all_that_is_trained() {
    let config = LoraConfig::new().with_rank(2).with_targets(LoraTarget::ALL.to_vec());
    let plain = model(&device().autodiff());
    let start = config.attach(plain.clone()).unwrap();
    let tokens = tokens(&device().autodiff());
    assert_eq!(values(start.forward(tokens.clone())), values(plain.forward(tokens)));
    let count = config.num_params(&plain).unwrap();
    assert_eq!(start.num_params(), plain.num_params() + count);

    let before = parameters(&start);
    let (trained, optimizer, [first, last]) = train(start, 20);
    assert!(last < 0.95 * first, "{first} {last}");
    let mut factors = 0;
    for ((path, before), (_, after)) in before.iter().zip(parameters(&trained)) {
        let is_factor = path.ends_with(".lora.a") || path.ends_with(".lora.b");
        assert_eq!(*before != after, is_factor, "{path}");
        factors += usize::from(is_factor);
    }
    assert_eq!(factors, 2 * 4 * 2);
    // Two moments for each factor, none for a weight.
    assert_eq!(optimizer.to_record().len(), 2 * factors);
}

#[test]
fn a_merged_model_is_the_same_and_plain() {
    let (trained, ..) = train(adapted(&LoraConfig::new().with_rank(3).with_alpha(5.0)), 5);
    let trained = trained.valid();
    let tokens = tokens(&device());
    let expected = trained.forward(tokens.clone());
    let merged = trained.clone().materialize();
    assert_close("merged", merged.forward(tokens.clone()), expected.clone(), 1e-6);
    assert_eq!(merged.num_params(), model(&device()).num_params());

    let folder = tempfile::tempdir().unwrap();
    trained.save_pretrained(folder.path()).unwrap();
    let loaded = MambaLm::from_pretrained(folder.path(), &device()).unwrap();
    assert_close("saved", loaded.forward(tokens), expected, 1e-6);
}

#[test]
fn adapters_on_disk_are_small_and_come_back() {
    let config = LoraConfig::new().with_rank(2).with_targets(vec![LoraTarget::X, LoraTarget::Dt]);
    let base = model(&device().autodiff());
    // An embedding of 30 by 16 in f32 alone has 1920 bytes.
    let (trained, ..) = train(config.attach(base.clone()).unwrap(), 3);
    let folder = tempfile::tempdir().unwrap();
    trained.save_lora(folder.path()).unwrap();
    let bytes = fs::metadata(folder.path().join("adapter_model.safetensors")).unwrap().len() as usize;
    assert!(bytes < 4 * config.num_params(&base).unwrap() + 2000, "{bytes}");

    let loaded = base.valid().load_lora(folder.path()).unwrap();
    let tokens = tokens(&device());
    assert_eq!(values(loaded.forward(tokens.clone())), values(trained.valid().forward(tokens)));
    assert!(matches!(loaded.load_lora(folder.path()), Err(CheckpointError::Adapter { .. })));
    assert!(matches!(base.save_lora(folder.path()), Err(CheckpointError::Write { .. })));
}

#[test]
fn a_record_of_the_factors_is_enough() {
    let config = LoraConfig::new().with_rank(2);
    let base = model(&device().autodiff());
    let (trained, ..) = train(config.attach(base.clone()).unwrap(), 3);
    let record = trained.valid().into_record_group(lora_parameters());
    assert_eq!(record.len(), 2 * 2 * 3);
    let record = ModuleRecord::from_bytes(record.into_bytes().unwrap()).unwrap().allow_partial(true);
    let loaded = config.attach(base).unwrap().load_record(record);
    assert_eq!(parameters(&loaded), parameters(&trained));
}

#[test]
fn half_precision_has_factors_of_its_own() {
    let device = device();
    if !device.supports_dtype(DType::BF16) {
        return;
    }
    let model = model(&device);
    let folder = tempfile::tempdir().unwrap();
    model.save_pretrained(folder.path()).unwrap();
    let options = mamba_blocks::LoadOptions::new().with_dtype(DType::BF16);
    let half = MambaLm::from_pretrained_with(folder.path(), options, &device).unwrap();
    let tokens = tokens(&device);
    let expected = half.forward(tokens.clone()).cast(DType::F32);
    let half = LoraConfig::new().with_rank(2).attach(half).unwrap();
    assert_eq!(half.layers[0].mixer.in_proj.weight.adapter().unwrap().a.dtype(), DType::BF16);
    assert_eq!(values(half.forward(tokens).cast(DType::F32)), values(expected));
}

#[test]
fn settings_without_sense_are_refused() {
    let base = model(&device());
    let config = LoraConfig::new().with_rank(1);
    let refused = |config: LoraConfig| config.attach(base.clone()).unwrap_err();
    assert_eq!(refused(config.clone().with_rank(0)), LoraError::Rank { found: 0, most: 12 });
    // `x_proj` has the fewest columns: 4 for dt, and 4 each for b and c.
    assert_eq!(refused(config.clone().with_rank(13)), LoraError::Rank { found: 13, most: 12 });
    assert_eq!(refused(config.clone().with_alpha(-1.0)), LoraError::Alpha(-1.0));
    assert_eq!(refused(config.clone().with_targets(vec![])), LoraError::NoWeights);
    let twice = config.attach(config.attach(base.clone()).unwrap()).unwrap_err();
    assert_eq!(twice, LoraError::Adapted { path: "layers.0.mixer.in_proj.weight".into() });
    assert_eq!("conv1d".parse::<LoraTarget>(), Err(LoraError::Target { found: "conv1d".into() }));
}

#[test]
fn adapters_of_another_model_or_kind_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let config = LoraConfig::new().with_rank(2);
    config.attach(model(&device())).unwrap().save_lora(folder.path()).unwrap();
    let load = |model: MambaLm| model.load_lora(folder.path()).unwrap_err();
    let problems = |error| match error {
        CheckpointError::Factors { problems, .. } => problems.0,
        other => panic!("{other:?}"),
    };

    let wide = MambaLmConfig::new(VOCABULARY, 24, 2).with_d_state(4).with_dt_rank(Some(4)).init(&device());
    assert!(matches!(&problems(load(wide))[0], TensorProblem::Shape { found, .. } if *found == [2, 16]));
    let deep = MambaLmConfig::new(VOCABULARY, 16, 3).with_d_state(4).with_dt_rank(Some(4)).init(&device());
    assert!(matches!(&problems(load(deep))[0], TensorProblem::Missing { key, .. } if key.contains("layers.2")));
    let flat = MambaLmConfig::new(VOCABULARY, 16, 1).with_d_state(4).with_dt_rank(Some(4)).init(&device());
    assert!(matches!(&problems(load(flat))[0], TensorProblem::Unexpected { key, .. } if key.contains("layers.1")));

    let path = folder.path().join("adapter_config.json");
    let written = fs::read_to_string(&path).unwrap();
    for (from, to, expected) in [
        ("\"LORA\"", "\"IA3\"", "peft_type"),
        ("\"use_dora\": false", "\"use_dora\": true", "use_dora"),
        ("\"r\": 2", "\"r\": 0", "rank"),
        ("\"r\": 2", "\"r\": 1000000000", "rank"),
        ("\"r\": 2", "\"r\": 3", "layers.0"),
        ("\"x_proj\"", "\"embeddings\"", "embeddings"),
        ("{", "", "adapter_config.json"),
    ] {
        fs::write(&path, written.replacen(from, to, 1)).unwrap();
        let message = load(model(&device())).to_string();
        assert!(message.contains(expected), "{message}");
    }
    fs::write(&path, written).unwrap();
    let path = folder.path().join("adapter_model.safetensors");
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(load(model(&device())), CheckpointError::Damaged { .. }));
    fs::remove_file(&path).unwrap();
    assert!(matches!(load(model(&device())), CheckpointError::Read { .. }));
}

//! Caduceus against its original implementation (`fixtures/make_caduceus.py`), and its sizes.

use crate::{assert_close, device, random_tokens};
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use mamba_blocks::{ConfigError, MambaConfig};
use mamba_dna::objective::cross_entropy;
use mamba_dna::{BiMamba, CaduceusConfig, CaduceusMaskedLm, Mixer};
use safetensors::SafeTensors;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

const CASES: [&str; 6] = ["ph", "ph_plain", "ps", "ps_plain", "ps_multiply", "ps_one_way"];

pub(crate) fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/caduceus").join(name)
}

/// The f32 tensors of a file.
fn tensors(path: PathBuf) -> BTreeMap<String, TensorData> {
    let bytes = fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let data = |view: safetensors::tensor::TensorView| match view.dtype() {
        safetensors::Dtype::F32 => {
            let words = view.data().as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
            TensorData::new::<f32, _>(words, view.shape().to_vec())
        }
        _ => {
            let words = view.data().as_chunks().0.iter().map(|word| i32::from_le_bytes(*word)).collect();
            TensorData::new::<i32, _>(words, view.shape().to_vec())
        }
    };
    file.tensors().into_iter().map(|(key, view)| (key, data(view))).collect()
}

/// The gradients of all parameters by path, as PyTorch has them.
struct Collect<'a> {
    gradients: &'a Gradients,
    path: Vec<String>,
    containers: Vec<String>,
    found: Vec<(String, Tensor<1>)>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, container: &str) {
        self.path.push(name.into());
        self.containers.push(container.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
        self.containers.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        let gradient = param.grad(self.gradients).unwrap_or_else(|| panic!("{path} has no gradient"));
        let is_linear = D == 2 && self.containers.last().is_some_and(|container| container == "Struct:Linear");
        let gradient = if is_linear { gradient.swap_dims(0, 1) } else { gradient };
        let length = gradient.shape().num_elements();
        self.found.push((path, gradient.reshape([length])));
    }
}

/// The end of the name of a gradient there that belongs to a path here.
fn suffix(path: &str) -> String {
    let path = path.strip_prefix("caduceus.").unwrap();
    let path = path.replace("embedding.weight", "weight").replace(".gamma", ".weight");
    let path = path.replace(".a_log", ".A_log");
    if path.ends_with(".d") { path.replace(".d", ".D") } else { path }
}

#[test]
fn logits_losses_and_every_gradient_are_those_of_the_original() {
    let device: Device = device().autodiff();
    for case in CASES {
        let model = CaduceusMaskedLm::from_pretrained(folder(case), &device).unwrap();
        let expected = tensors(folder(case).join("expected.safetensors"));
        let float = |name: &str| expected[name].clone();
        let tokens = Tensor::<2, Int>::from_data(float("input_ids"), &device);
        let logits = model.forward(tokens.clone());
        let expected_logits = Tensor::<3>::from_data(float("logits"), &device);
        let difference = (logits.clone() - expected_logits.clone()).abs().max().into_scalar::<f32>();
        println!("{case}: largest difference of the logits {difference:e}");
        assert!(difference <= 1e-4, "{case}: {difference:e}");
        assert_close(&format!("{case}: logits"), logits.clone(), expected_logits, 1e-5);

        let labels = Tensor::<2, Int>::from_data(float("labels"), &device);
        let weights = Tensor::<2>::from_data(float("loss_weights"), &device);
        if expected["loss"].iter::<f32>().all(f32::is_finite) {
            let loss = cross_entropy(logits.clone(), labels.clone(), None);
            assert_close("loss", loss, Tensor::from_data(float("loss"), &device), 1e-5);
            let loss = cross_entropy(logits.clone(), labels, Some(weights));
            assert_close("weighted loss", loss, Tensor::from_data(float("weighted_loss"), &device), 1e-5);
        }

        let gradients = (logits * Tensor::from_data(float("grad_logits"), &device)).sum().backward();
        let mut collect = Collect { gradients: &gradients, path: vec![], containers: vec![], found: vec![] };
        model.visit(&mut collect);
        let mut expected_gradients = tensors(folder(case).join("gradients.safetensors"));
        for (path, actual) in collect.found {
            let suffix = suffix(&path);
            let matches = |key: &&String| key.replace("submodule.", "").ends_with(&suffix);
            let key = expected_gradients.keys().find(matches).unwrap_or_else(|| panic!("{path}: {suffix}")).clone();
            let values: Vec<f32> = expected_gradients.remove(&key).unwrap().iter().collect();
            let expected = Tensor::<1>::from_floats(values.as_slice(), &actual.device());
            assert_close(&format!("{case}: gradient of {path}"), actual, expected, 2e-5);
        }
        assert!(expected_gradients.is_empty(), "{case}: {:?}", expected_gradients.keys());
    }
}

#[test]
fn classes_are_those_of_the_original() {
    let device = device();
    for case in CASES {
        let config = CaduceusConfig::from_pretrained(folder(case)).unwrap();
        let model = CaduceusMaskedLm::from_pretrained(folder(case), &device).unwrap();
        let expected = tensors(folder(case).join("expected.safetensors"));
        let tokens = Tensor::<2, Int>::from_data(expected["input_ids"].clone(), &device);
        let mut classifier = config.classifier(model.caduceus, 3);
        let weight = Tensor::<2>::from_data(expected["score.weight"].clone(), &device).transpose();
        classifier.score.weight = classifier.score.weight.map(|_| weight);
        let classes = match config.rcps {
            true => classifier.forward(tokens),
            false => classifier.forward_conjoined(tokens),
        };
        assert_close(case, classes, Tensor::from_data(expected["classes"].clone(), &device), 1e-5);
    }
}

#[test]
fn published_sizes_have_their_parameter_counts() {
    let device = device();
    for (d_model, n_layer, expected) in [(256, 16, 7_725_312), (118, 4, 470_702)] {
        for rcps in [true, false] {
            let config = CaduceusConfig::new(d_model, n_layer).with_rcps(rcps);
            assert_eq!(config.num_params(), expected);
            assert_eq!(config.try_init_masked_lm(&device).unwrap().num_params(), expected);
        }
    }
    let config = CaduceusConfig::new(7, 2).with_bidirectional_weight_tie(false).with_bias(true);
    assert_eq!(config.num_params(), config.init(&device).num_params());
    let config = config.with_bidirectional(false).with_conv_bias(false);
    assert_eq!(config.num_params(), config.init(&device).num_params());
}

/// What stands in a hybrid: a mixer of one direction, or one of both.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
enum Hybrid {
    One(mamba_blocks::Mamba),
    Both(BiMamba),
}

impl Mixer for Hybrid {
    fn mix(&self, input: Tensor<3>) -> Tensor<3> {
        match self {
            Self::One(mamba) => mamba.forward(input),
            Self::Both(mamba) => mamba.forward(input),
        }
    }
}

#[test]
fn blocks_take_mixers_of_several_kinds() {
    let device = device();
    let config = CaduceusConfig::new(6, 3);
    let mixer = |index| match index {
        1 => Ok(Hybrid::One(MambaConfig::new(6).try_init(&device)?)),
        _ => Ok(Hybrid::Both(config.mixer().try_init(&device)?)),
    };
    let model = CaduceusMaskedLm { caduceus: config.try_init_with(&device, mixer).unwrap() };
    assert_eq!(model.forward(random_tokens([2, 9], 1, &device)).dims(), [2, 9, 16]);
}

#[test]
fn rows_of_a_batch_do_not_see_each_other() {
    let device = device();
    let model = CaduceusConfig::new(12, 2).try_init_masked_lm(&device).unwrap();
    let tokens = random_tokens([3, 31], 5, &device);
    let together = model.forward(tokens.clone());
    for row in 0..3 {
        let alone = model.forward(tokens.clone().narrow(0, row, 1));
        assert_close("alone", alone, together.clone().narrow(0, row, 1), 1e-6);
    }
}

#[test]
fn settings_that_make_no_model_are_refused() {
    let error = |config: CaduceusConfig| config.try_init(&device()).unwrap_err();
    let config = CaduceusConfig::new(8, 2);
    assert_eq!(error(CaduceusConfig::new(0, 2)), ConfigError::Zero { name: "d_model" });
    assert_eq!(error(CaduceusConfig::new(8, 0)), ConfigError::Zero { name: "n_layer" });
    assert_eq!(error(config.clone().with_d_state(0)), ConfigError::Zero { name: "d_state" });
    assert!(matches!(
        error(config.clone().with_norm_epsilon(0.0)),
        ConfigError::OutOfRange { name: "norm_epsilon", .. }
    ));
    assert!(matches!(error(config.with_d_conv(1)), ConfigError::OutOfRange { name: "d_conv", .. }));
}

//! Models in `fixtures/vision`, against PyTorch (`fixtures/make_vision.py`).

use crate::assert_close;
use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use safetensors::SafeTensors;
use std::fs;
use std::path::{Path, PathBuf};

const TOLERANCE: f64 = 1e-5;

pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/vision").join(name)
}

/// One tensor of a fixture, f32.
pub(crate) fn tensor<const D: usize>(fixture: &str, name: &str, device: &Device) -> Tensor<D> {
    let bytes = fs::read(file(&format!("{fixture}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).unwrap();
    let words = view.data().as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
    Tensor::from_data(TensorData::new(words, view.shape().to_vec()), device)
}

/// The gradients of all parameters, or their values, by path.
struct Collect<'a> {
    gradients: Option<&'a Gradients>,
    path: Vec<String>,
    found: Vec<(String, Tensor<1>)>,
}

impl ModuleVisitor for Collect<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let path = self.path.join(".");
        if is_statistic(&path) {
            return;
        }
        let value = match self.gradients {
            Some(gradients) => param.grad(gradients).unwrap_or_else(|| panic!("{path} has no gradient")),
            None => param.val(),
        };
        let length = value.shape().num_elements();
        self.found.push((path, value.reshape([length])));
    }
}

/// What batch norms keep; it is not trained.
fn is_statistic(path: &str) -> bool {
    path.ends_with(".running_mean") || path.ends_with(".running_var")
}

/// Number of all that is trained.
pub(crate) fn parameters<M: Module>(model: &M) -> usize {
    collect(model, None).iter().map(|(_, values)| values.dims()[0]).sum()
}

fn collect<M: Module>(model: &M, gradients: Option<&Gradients>) -> Vec<(String, Tensor<1>)> {
    let mut collect = Collect { gradients, path: Vec::new(), found: Vec::new() };
    model.visit(&mut collect);
    collect.found
}

/// Checks the logits that `forward` gives, and the gradients of all parameters. `load` loads a file into the model; the
/// expected gradients are such a file as well.
pub(crate) fn check<M: Module>(
    fixture: &str,
    device: &Device,
    load: impl Fn(PathBuf, &Device) -> M,
    forward: impl Fn(&M, Tensor<4>) -> Tensor<2>,
) {
    let with_gradients = device.clone().autodiff();
    let model = load(file(&format!("{fixture}.pth")), &with_gradients);
    let logits = forward(&model, tensor(fixture, "images", &with_gradients));
    let expected = tensor::<2>(fixture, "logits", &with_gradients);
    let difference = (logits.clone() - expected.clone()).abs().max().into_scalar::<f32>();
    println!("{fixture}: largest difference of the logits {difference:e}");
    assert!(difference <= 1e-4, "{fixture}: {difference:e}");
    assert_close(&format!("{fixture}: logits"), logits.clone(), expected, TOLERANCE);

    let gradients = (logits * tensor(fixture, "grad_logits", &with_gradients)).sum().backward();
    let expected = load(file(&format!("{fixture}_gradients.pth")), device);
    let (actual, expected) = (collect(&model, Some(&gradients)), collect(&expected, None));
    assert_eq!(actual.len(), expected.len());
    for ((path, actual), (_, expected)) in actual.into_iter().zip(expected) {
        assert_close(&format!("{fixture}: gradient of {path}"), actual, expected, TOLERANCE);
    }
}

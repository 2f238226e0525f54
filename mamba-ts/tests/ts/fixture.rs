//! Files in `fixtures/time-series` (`fixtures/make_time_series.py`), and gradients by path.

use burn::module::{Module, ModuleVisitor, Param};
use burn::tensor::{Device, Gradients, Tensor, TensorData};
use safetensors::SafeTensors;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/time-series").join(name)
}

/// One tensor of a fixture, f32, if it is there.
pub(crate) fn tensor<const D: usize>(fixture: &str, name: &str, device: &Device) -> Option<Tensor<D>> {
    let bytes = fs::read(file(&format!("{fixture}.safetensors"))).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let view = file.tensor(name).ok()?;
    let words = view.data().as_chunks().0.iter().map(|word| f32::from_le_bytes(*word)).collect();
    Some(Tensor::from_data(TensorData::new(words, view.shape().to_vec()), device))
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
        let value = match self.gradients {
            Some(gradients) => param.grad(gradients).unwrap_or_else(|| panic!("{path} has no gradient")),
            None => param.val(),
        };
        let length = value.shape().num_elements();
        self.found.push((path, value.reshape([length])));
    }
}

pub(crate) fn collect<M: Module>(model: &M, gradients: Option<&Gradients>) -> Vec<(String, Tensor<1>)> {
    let mut collect = Collect { gradients, path: Vec::new(), found: Vec::new() };
    model.visit(&mut collect);
    collect.found
}

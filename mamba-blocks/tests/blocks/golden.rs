//! The model against `MambaForCausalLM` of transformers: logits, loss and the gradient of every parameter.

use crate::assert_close;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Gradients, Int, Tensor, TensorData};
use mamba_blocks::{MambaLm, MambaLmConfig};
use safetensors::{Dtype, SafeTensors};

const TOLERANCE: f64 = 1e-5;

struct Fixture(Vec<u8>);

impl Fixture {
    fn open() -> Self {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../fixtures/mamba_lm.safetensors");
        Self(std::fs::read(path).unwrap())
    }

    fn data(&self, name: &str) -> TensorData {
        let file = SafeTensors::deserialize(&self.0).unwrap();
        let tensor = file.tensor(name).unwrap_or_else(|error| panic!("{name}: {error}"));
        let words = tensor.data().chunks_exact(4).map(|bytes| bytes.try_into().unwrap());
        match tensor.dtype() {
            Dtype::F32 => TensorData::new(words.map(f32::from_le_bytes).collect(), tensor.shape().to_vec()),
            Dtype::I32 => TensorData::new(words.map(i32::from_le_bytes).collect(), tensor.shape().to_vec()),
            dtype => panic!("{name} is {dtype:?}, expected f32 or i32"),
        }
    }

    /// A parameter or its gradient in Burn's layout.
    fn parameter<const D: usize>(&self, prefix: &str, path: &[String], device: &Device) -> Tensor<D> {
        let name = format!("{prefix}backbone.{}", theirs(&path.join(".")));
        let tensor = Tensor::<D>::from_data(self.data(&name), device);
        let is_linear = path.len() > 1 && path[path.len() - 2].ends_with("_proj") && D == 2;
        if is_linear { tensor.swap_dims(0, 1) } else { tensor }
    }
}

/// The name of a parameter there.
fn theirs(path: &str) -> String {
    path.replace("embedding.", "embeddings.")
        .replace("gamma", "weight")
        .replace("a_log", "A_log")
        .replace("mixer.d", "mixer.D")
        .replace("mixer.Dt_proj", "mixer.dt_proj")
}

struct Load<'a> {
    fixture: &'a Fixture,
    device: Device,
    path: Vec<String>,
}

impl ModuleMapper for Load<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let value = self.fixture.parameter("", &self.path, &self.device);
        assert_eq!(value.dims(), param.dims(), "shape of {:?}", self.path);
        param.map(|old| if old.is_require_grad() { value.require_grad() } else { value })
    }
}

struct CompareGradients<'a> {
    fixture: &'a Fixture,
    gradients: Gradients,
    path: Vec<String>,
    compared: usize,
}

impl ModuleVisitor for CompareGradients<'_> {
    fn enter_module(&mut self, name: &str, _container_type: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container_type: &str) {
        self.path.pop();
    }

    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let name = self.path.join(".");
        let gradient = param.grad(&self.gradients).unwrap_or_else(|| panic!("{name} has no gradient"));
        let expected = self.fixture.parameter("grad.", &self.path, &gradient.device());
        assert_close(&name, gradient, expected, TOLERANCE);
        self.compared += 1;
    }
}

/// The model of the fixture.
pub(crate) fn fixture_model(device: &Device) -> MambaLm {
    model(&Fixture::open(), device)
}

fn model(fixture: &Fixture, device: &Device) -> MambaLm {
    let config = MambaLmConfig::new(32, 16, 2).with_d_state(4).with_dt_rank(Some(2));
    config.init(device).map(&mut Load { fixture, device: device.clone(), path: Vec::new() })
}

/// Mean cross-entropy of every token given those before it.
fn loss(logits: Tensor<3>, tokens: Tensor<2, Int>) -> Tensor<1> {
    let [_, length] = tokens.dims();
    let log_probabilities = log_softmax(logits.narrow(1, 0, length - 1), 2);
    -log_probabilities.gather(2, tokens.narrow(1, 1, length - 1).unsqueeze_dim(2)).mean()
}

#[test]
fn logits_loss_and_every_gradient_are_those_of_transformers() {
    let fixture = Fixture::open();
    let device = crate::device().autodiff();
    let model = model(&fixture, &device);
    let tokens = Tensor::<2, Int>::from_data(fixture.data("input_ids"), &device);

    let logits = model.forward(tokens.clone());
    let loss = loss(logits.clone(), tokens);
    assert_close("logits", logits, Tensor::from_data(fixture.data("logits"), &device), TOLERANCE);
    assert_close("loss", loss.clone(), Tensor::from_data(fixture.data("loss"), &device), TOLERANCE);

    let mut compare = CompareGradients { fixture: &fixture, gradients: loss.backward(), path: Vec::new(), compared: 0 };
    model.visit(&mut compare);
    assert_eq!(compare.compared, 22);
}

#[test]
fn steps_give_the_logits_of_transformers() {
    let fixture = Fixture::open();
    let device = crate::device();
    let model = model(&fixture, &device);
    let tokens = Tensor::<2, Int>::from_data(fixture.data("input_ids"), &device);
    let [batch, length] = tokens.dims();

    let mut state = model.init_state(batch, &device);
    let mut steps = Vec::new();
    for t in 0..length {
        let (logits, next) = model.step(tokens.clone().narrow(1, t, 1).squeeze_dim(1), state);
        steps.push(logits);
        state = next;
    }
    assert_close("logits", Tensor::stack(steps, 1), Tensor::<3>::from_data(fixture.data("logits"), &device), TOLERANCE);
}

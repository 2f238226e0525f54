//! TSM2 against PyTorch.

use crate::fixture::{collect, file, tensor};
use crate::{assert_close, device};
use burn::tensor::{Device, Tensor};
use burn_store::{ModuleSnapshot, PytorchStore};
use mamba_ts::data::Input;
use mamba_ts::{Network, Tsm2, Tsm2Config};

fn load(name: &str, device: &Device) -> Tsm2 {
    let config = Tsm2Config::new(9, 4, 5).with_marks(2).with_d_state(3).with_dropout(0.0);
    let mut model = config.init(device);
    model.load_from(&mut PytorchStore::from_file(file(name))).unwrap();
    model
}

#[test]
fn forecasts_and_every_gradient_are_those_of_pytorch() {
    let (plain, device) = (device(), device().autodiff());
    let model = load("tsm2.pth", &device);
    let tensor = |name: &str| tensor::<3>("tsm2", name, &device).unwrap();
    let outputs = model.forecast(Input { values: tensor("x"), marks: Some(tensor("marks")) });
    let y: Tensor<3> = outputs.squeeze_dim(3);
    assert_close("y", y.clone(), tensor("y"), 1e-5);
    let gradients = (y * tensor("grad_y")).sum().backward();
    let (actual, expected) = (collect(&model, Some(&gradients)), collect(&load("tsm2_gradients.pth", &plain), None));
    assert_eq!(actual.len(), expected.len());
    for ((path, actual), (_, expected)) in actual.into_iter().zip(expected) {
        // What only scales the input of a norm has next to no gradient, and that is rounding.
        if expected.clone().abs().max().into_scalar::<f32>() < 1e-3 {
            let difference = (actual - expected).abs().max().into_scalar::<f32>();
            assert!(difference < 1e-5, "gradient of {path}: {difference:e}");
            continue;
        }
        assert_close(&format!("gradient of {path}"), actual, expected, 2e-5);
    }
}

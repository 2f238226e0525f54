//! S-Mamba against the original, and what is wrong with files and settings.

use crate::fixture::{collect, file, tensor};
use crate::{assert_close, device, random, values};
use burn::module::Module;
use burn::tensor::Tensor;
use mamba_blocks::{CheckpointError, ConfigError, TensorProblem};
use mamba_ts::training::TrainingConfig;
use mamba_ts::{Activation, Network, SMambaConfig};

const TOLERANCE: f64 = 1e-5;

fn config(look_back: usize, horizon: usize, sizes: [usize; 4]) -> SMambaConfig {
    let [d_model, d_ff, d_state, e_layers] = sizes;
    let config = SMambaConfig::new(look_back, horizon).with_d_model(d_model).with_d_ff(d_ff);
    config.with_d_state(d_state).with_e_layers(e_layers)
}

fn seven() -> SMambaConfig {
    config(13, 5, [18, 10, 3, 2])
}

fn cases() -> [(&'static str, SMambaConfig); 4] {
    [
        ("s_mamba_7", seven()),
        ("s_mamba_21", config(8, 11, [8, 12, 5, 2]).with_use_norm(false)),
        ("s_mamba_137", config(6, 3, [5, 8, 2, 1]).with_activation(Activation::Relu)),
        ("s_mamba_marks", config(6, 4, [6, 6, 1, 1]).with_activation(Activation::Relu).with_use_norm(false)),
    ]
}

#[test]
fn forecasts_are_those_of_the_original() {
    let device = device();
    for (fixture, config) in cases() {
        let model = config.load(file(&format!("{fixture}.pth")), &device).unwrap();
        let tensor = |name: &str| tensor::<3>(fixture, name, &device);
        let (y, expected) = (model.forward(tensor("x").unwrap(), tensor("marks")), tensor("y").unwrap());
        let difference = (y.clone() - expected.clone()).abs().max().into_scalar::<f32>();
        println!("{fixture}: largest difference {difference:e}");
        assert!(difference <= 1e-4, "{fixture}: {difference:e}");
        assert_close(fixture, y, expected, TOLERANCE);
    }
}

#[test]
fn every_gradient_is_that_of_the_original() {
    let (plain, device) = (device(), device().autodiff());
    for (fixture, config) in cases() {
        // Nothing is dropped in the fixtures.
        let config = config.with_dropout(0.0);
        let model = config.load(file(&format!("{fixture}.pth")), &device).unwrap();
        let tensor = |name: &str| tensor::<3>(fixture, name, &device);
        let x = tensor("x").unwrap().require_grad();
        let y = model.forward(x.clone(), tensor("marks"));
        let gradients = (y * tensor("grad_y").unwrap()).sum().backward();
        if let Some(expected) = tensor("grad_x") {
            let actual = x.grad(&gradients).unwrap();
            assert_close(&format!("{fixture}: gradient of x"), actual, expected.inner(), TOLERANCE);
        }
        let expected = config.load(file(&format!("{fixture}_gradients.pth")), &plain).unwrap();
        let (actual, expected) = (collect(&model, Some(&gradients)), collect(&expected, None));
        assert_eq!(actual.len(), expected.len());
        for ((path, actual), (_, expected)) in actual.into_iter().zip(expected) {
            assert_close(&format!("{fixture}: gradient of {path}"), actual, expected, TOLERANCE);
        }
    }
}

#[test]
fn a_file_of_another_model_is_refused_with_every_tensor_at_fault() {
    let device = device();
    let error = seven().with_e_layers(1).with_d_ff(11).load(file("s_mamba_7.pth"), &device).unwrap_err();
    let CheckpointError::Tensors { problems, .. } = &error else { panic!("{error}") };
    let shape = TensorProblem::Shape {
        key: "encoder.attn_layers.0.conv1.weight".into(),
        file: file("s_mamba_7.pth"),
        found: vec![10, 18, 1],
        expected: vec![11, 18],
    };
    assert!(problems.0.contains(&shape), "{error}");
    let unexpected = problems.0.iter().filter(|problem| matches!(problem, TensorProblem::Unexpected { .. }));
    assert_eq!(unexpected.count(), 26, "{error}");
    let error = seven().load(file("no_such_file.pth"), &device).unwrap_err();
    assert!(error.to_string().contains("no_such_file.pth"), "{error}");
}

#[test]
fn damaged_files_are_refused() {
    let bytes = std::fs::read(file("s_mamba_marks.pth")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cut.pth");
    for length in [0, 1, 100, bytes.len() / 2, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        let error = seven().load(&path, &device()).unwrap_err();
        assert!(error.to_string().contains("cut.pth"), "{error}");
    }
}

#[test]
fn settings_that_make_no_model_are_refused() {
    let error = |config: SMambaConfig| config.try_init(&device()).unwrap_err();
    assert_eq!(error(SMambaConfig::new(96, 0)), ConfigError::Zero { name: "horizon" });
    assert_eq!(error(SMambaConfig::new(0, 96)), ConfigError::Zero { name: "look_back" });
    assert_eq!(error(seven().with_e_layers(0)), ConfigError::Zero { name: "e_layers" });
    for dropout in [-0.1, 1.0, f64::NAN] {
        assert!(matches!(error(seven().with_dropout(dropout)), ConfigError::OutOfRange { name: "dropout", .. }));
    }
}

#[test]
fn published_settings_are_those_of_the_scripts() {
    let (model, training) = SMambaConfig::published("ETTh1", 336).unwrap();
    assert_eq!(model, SMambaConfig::new(96, 336).with_d_model(256).with_d_ff(256).with_d_state(2));
    assert_eq!(training, TrainingConfig::new().with_lr(5e-5));
    let (model, training) = SMambaConfig::published("PEMS07", 24).unwrap();
    assert_eq!(model, SMambaConfig::new(96, 24).with_d_ff(512).with_use_norm(false));
    assert_eq!(training, TrainingConfig::new().with_lr(7e-4));
    let (model, training) = SMambaConfig::published("ecl", 96).unwrap();
    assert_eq!(model, SMambaConfig::new(96, 96).with_d_ff(512).with_e_layers(3).with_d_state(16));
    assert_eq!(training, TrainingConfig::new().with_lr(1e-3).with_batch(16).with_epochs(5));
    assert!(SMambaConfig::published("ETTh1", 24).is_none() && SMambaConfig::published("mine", 96).is_none());
}

#[test]
fn every_quantile_of_every_variate_has_its_place() {
    let device = device();
    let one = seven().init(&device);
    let mut three = seven().with_outputs(3).init(&device);
    // The outputs of a row lie together; all three get what the one has.
    let repeat = |x: Tensor<2>| {
        let [rows, columns] = x.dims();
        x.unsqueeze_dim::<3>(2).repeat_dim(2, 3).reshape([rows, 3 * columns])
    };
    let bias = one.projector.bias.as_ref().unwrap().val().unsqueeze::<2>();
    three.projector.weight = three.projector.weight.map(|_| repeat(one.projector.weight.val()));
    three.projector.bias = three.projector.bias.map(|param| param.map(|_| repeat(bias).squeeze_dim(0)));
    (three.enc_embedding, three.encoder) = (one.enc_embedding.clone(), one.encoder.clone());
    let x = random([2, 13, 4], &device);
    let input = mamba_ts::data::Input { values: x.clone(), marks: None };
    let (expected, outputs) = (one.forward(x, None), three.forecast(input));
    assert_eq!(outputs.dims(), [2, 5, 4, 3]);
    for output in 0..3 {
        let output = outputs.clone().narrow(3, output, 1).squeeze_dim(3);
        assert_close("output", output, expected.clone(), 1e-6);
    }
}

#[test]
fn training_drops_and_forecasting_does_not() {
    let device = device().autodiff();
    let model = seven().with_dropout(0.5).init(&device);
    let x = random([2, 13, 7], &device);
    assert_ne!(values(model.forward(x.clone(), None)), values(model.forward(x.clone(), None)));
    let (model, x) = (model.valid(), x.inner());
    assert_eq!(values(model.forward(x.clone(), None)), values(model.forward(x, None)));
    assert!(model.num_params() > 0);
}

#[test]
#[should_panic(expected = "expected [batch, 13, variates]")]
fn a_look_back_of_another_length_is_a_mistake() {
    seven().init(&device()).forward(random([1, 12, 7], &device()), None);
}

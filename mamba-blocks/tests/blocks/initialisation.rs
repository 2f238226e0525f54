//! A new model starts as the original implementation does.

use crate::values;
use burn::tensor::Tensor;
use burn::tensor::activation::softplus;
use mamba_blocks::{DtInit, MambaConfig, MambaLmConfig};

/// All in `-bound..bound`, and as spread out as uniform numbers are.
#[track_caller]
fn assert_uniform<const D: usize>(what: &str, x: Tensor<D>, bound: f64) {
    let x = values(x);
    assert!(x.iter().all(|x| x.abs() <= bound * (1.0 + 1e-6)), "{what} exceeds {bound}");
    let std = (x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64).sqrt();
    let expected = bound / 3f64.sqrt();
    assert!((std / expected - 1.0).abs() < 0.15, "{what}: standard deviation {std}, expected {expected}");
}

#[test]
fn projections_and_convolution_start_as_in_pytorch() {
    let device = crate::device();
    let mamba = MambaConfig::new(256).with_bias(true).init(&device);
    assert_uniform("in_proj", mamba.in_proj.weight.val(), 1.0 / 16.0);
    assert_uniform("conv1d.weight", mamba.conv1d.weight.val(), 0.5);
    assert_uniform("conv1d.bias", mamba.conv1d.bias.unwrap().val(), 0.5);
    assert_uniform("x_proj", mamba.x_proj.weight.val(), 1.0 / 512f64.sqrt());
    assert_uniform("dt_proj", mamba.dt_proj.weight.val(), 0.25);
    assert_uniform("out_proj", mamba.out_proj.weight.val(), 1.0 / 512f64.sqrt());
    assert!(mamba.x_proj.bias.is_none());
    for bias in [mamba.in_proj.bias, mamba.out_proj.bias] {
        assert!(values(bias.unwrap().val()).iter().all(|&bias| bias == 0.0));
    }
}

#[test]
fn a_log_is_the_logarithm_of_one_to_d_state_and_d_is_one() {
    let mamba = MambaConfig::new(6).with_d_state(20).init(&crate::device());
    for (i, a_log) in values(mamba.a_log.val()).into_iter().enumerate() {
        assert!((a_log - ((i % 20 + 1) as f64).ln()).abs() < 1e-6);
    }
    assert_eq!(values(mamba.d.val()), vec![1.0; 12]);
}

#[test]
fn initial_time_steps_are_log_uniform_in_their_range() {
    let device = crate::device();
    let steps = |config: MambaConfig| {
        let bias = config.init(&device).dt_proj.bias.unwrap().val();
        values(softplus(bias, 1.0))
    };
    let dt = steps(MambaConfig::new(512));
    assert!(dt.iter().all(|&dt| (0.000_999..0.1001).contains(&dt)));
    let median_is_near_the_middle = dt.iter().filter(|&&dt| dt < 0.01).count() as f64 / dt.len() as f64;
    assert!((median_is_near_the_middle - 0.5).abs() < 0.1);

    let dt = steps(MambaConfig::new(512).with_dt_min(0.01).with_dt_max(0.02).with_dt_init_floor(0.015));
    assert!(dt.iter().all(|&dt| (0.01499..0.02001).contains(&dt)));
    assert!(dt.iter().any(|&dt| dt < 0.01501));
}

#[test]
fn a_constant_dt_proj_has_one_value() {
    let config = MambaConfig::new(64).with_dt_init(DtInit::Constant).with_dt_scale(3.0);
    let weight = values(config.init(&crate::device()).dt_proj.weight.val());
    assert!(weight.iter().all(|weight| (weight - 1.5).abs() < 1e-6));
}

#[test]
fn the_output_projections_of_a_deep_model_are_scaled_down() {
    let device = crate::device();
    let config = MambaLmConfig::new(300, 32, 4);
    let bound = 1.0 / 64f64.sqrt();
    for layer in config.init(&device).layers {
        assert_uniform("out_proj", layer.mixer.out_proj.weight.val(), bound / 2.0);
    }
    for layer in config.with_rescale_prenorm_residual(false).init(&device).layers {
        assert_uniform("out_proj", layer.mixer.out_proj.weight.val(), bound);
    }
}

#[test]
fn the_embedding_is_normal_and_norms_are_one() {
    let model = MambaLmConfig::new(300, 32, 1).init(&crate::device());
    let embedding = values(model.embedding.weight.val());
    let std = (embedding.iter().map(|x| x * x).sum::<f64>() / embedding.len() as f64).sqrt();
    assert!((std - 0.02).abs() < 0.001, "standard deviation {std}");
    assert_eq!(values(model.norm_f.gamma.val()), vec![1.0; 32]);
    assert_eq!(values(model.layers[0].norm.gamma.val()), vec![1.0; 32]);
}

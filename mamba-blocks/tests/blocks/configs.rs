//! What a configuration describes, and which describe nothing.

use burn::config::Config;
use burn::module::Module;
use mamba_blocks::{ConfigError, MambaBlockConfig, MambaConfig, MambaLmConfig};

#[test]
fn the_published_models_have_their_parameter_counts() {
    for (d_model, n_layer, expected) in [
        (768, 24, 129_135_360),
        (1024, 48, 371_516_416),
        (1536, 48, 793_204_224),
        (2048, 48, 1_372_178_432),
        (2560, 64, 2_768_345_600),
    ] {
        assert_eq!(MambaLmConfig::new(50277, d_model, n_layer).num_params(), expected);
    }
    // Parameters are drawn when they are first used, so that this allocates little.
    let device = crate::device();
    let model = MambaLmConfig::new(50277, 768, 24).init(&device);
    assert_eq!(model.num_params(), 129_135_360);
}

#[test]
fn a_model_has_as_many_parameters_as_its_configuration_says() {
    let device = crate::device();
    let plain = MambaLmConfig::new(33, 24, 3);
    for config in [
        plain.clone(),
        plain.clone().with_tie_embeddings(false),
        plain.clone().with_bias(true).with_conv_bias(false),
        plain.with_d_state(5).with_d_conv(3).with_expand(3).with_dt_rank(Some(7)).with_pad_vocab_size_multiple(1),
    ] {
        assert_eq!(config.init(&device).num_params(), config.num_params(), "{config}");
    }
}

#[test]
fn a_configuration_survives_its_file() {
    let directory = std::env::temp_dir().join(format!("mamba-blocks-{}", std::process::id()));
    std::fs::create_dir_all(&directory).unwrap();
    let path = directory.join("config.json");
    let config = MambaLmConfig::new(50277, 768, 24).with_dt_rank(Some(3)).with_norm_epsilon(1e-6);
    config.save(&path).unwrap();
    assert_eq!(MambaLmConfig::load(&path).unwrap(), config);
    std::fs::remove_dir_all(directory).unwrap();
}

#[test]
fn sizes_of_zero_are_refused_by_name() {
    let mixer = MambaConfig::new(16);
    for (name, config) in [
        ("d_model", MambaConfig::new(0)),
        ("d_state", mixer.clone().with_d_state(0)),
        ("d_conv", mixer.clone().with_d_conv(0)),
        ("expand", mixer.clone().with_expand(0)),
        ("dt_rank", mixer.with_dt_rank(Some(0))),
    ] {
        let error = config.try_init(&crate::device()).unwrap_err();
        assert_eq!(error, ConfigError::Zero { name });
        assert_eq!(error.to_string(), format!("`{name}` is 0, expected at least 1"));
    }
    let lm = MambaLmConfig::new(10, 8, 1);
    for (name, config) in [
        ("vocab_size", MambaLmConfig::new(0, 8, 1)),
        ("n_layer", MambaLmConfig::new(10, 8, 0)),
        ("pad_vocab_size_multiple", lm.clone().with_pad_vocab_size_multiple(0)),
        ("d_state", lm.with_d_state(0)),
    ] {
        assert_eq!(config.validate(), Err(ConfigError::Zero { name }));
    }
}

#[test]
fn settings_out_of_range_are_refused_by_name() {
    let mixer = MambaConfig::new(16);
    for (dt_min, dt_max) in [(0.1, 0.1), (0.1, 0.01), (0.0, 0.1), (-1.0, 0.1), (f64::NAN, 0.1), (0.1, f64::INFINITY)] {
        let error = mixer.clone().with_dt_min(dt_min).with_dt_max(dt_max).validate().unwrap_err();
        assert!(matches!(error, ConfigError::DtRange { .. }), "{error}");
    }
    let name_of = |result| match result {
        Err(ConfigError::OutOfRange { name, .. } | ConfigError::TooLarge { name, .. }) => name,
        result => panic!("{result:?}"),
    };
    assert_eq!(name_of(mixer.clone().with_d_conv(1).validate()), "d_conv");
    assert_eq!(name_of(mixer.clone().with_dt_scale(0.0).validate()), "dt_scale");
    assert_eq!(name_of(mixer.clone().with_dt_init_floor(f64::NAN).validate()), "dt_init_floor");
    assert_eq!(name_of(mixer.clone().with_expand(usize::MAX).validate()), "expand");
    assert_eq!(name_of(MambaBlockConfig::new(mixer).with_norm_epsilon(0.0).validate()), "norm_epsilon");
    assert_eq!(name_of(MambaLmConfig::new(10, 8, 1).with_initializer_range(-1.0).validate()), "initializer_range");
    assert_eq!(name_of(MambaLmConfig::new(usize::MAX, 8, 1).validate()), "vocab_size");
}

#[test]
#[should_panic(expected = "MambaConfig: `dt_min` is 0.1 and `dt_max` is 0.01, expected 0 < dt_min < dt_max")]
fn init_panics_with_the_error() {
    MambaConfig::new(16).with_dt_min(0.1).with_dt_max(0.01).init(&crate::device());
}

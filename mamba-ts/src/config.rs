//! Checks of settings.

use mamba_blocks::ConfigError;

pub(crate) fn check_share(name: &'static str, value: f64) -> Result<(), ConfigError> {
    match (0.0..1.0).contains(&value) {
        true => Ok(()),
        false => Err(ConfigError::OutOfRange { name, value, expected: "at least 0 and less than 1" }),
    }
}

pub(crate) fn check_positive(name: &'static str, value: f64) -> Result<(), ConfigError> {
    match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(ConfigError::OutOfRange { name, value, expected: "a positive number" }),
    }
}

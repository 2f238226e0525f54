//! Checks of settings.

use mamba_blocks::ConfigError;

/// Shapes have at most three such factors.
const MAX_SIZE: usize = 1 << 20;

/// Checks that sizes are neither zero nor so large that products of them overflow.
pub(crate) fn check_sizes(sizes: &[(&'static str, usize)]) -> Result<(), ConfigError> {
    for &(name, value) in sizes {
        match value {
            0 => return Err(ConfigError::Zero { name }),
            1..=MAX_SIZE => {}
            _ => return Err(ConfigError::TooLarge { name, value, expected: MAX_SIZE }),
        }
    }
    Ok(())
}

pub(crate) fn check_positive(name: &'static str, value: f64) -> Result<(), ConfigError> {
    match value > 0.0 && value.is_finite() {
        true => Ok(()),
        false => Err(ConfigError::OutOfRange { name, value, expected: "a positive number" }),
    }
}

pub(crate) fn check_drop_path(value: f64) -> Result<(), ConfigError> {
    match (0.0..1.0).contains(&value) {
        true => Ok(()),
        false => Err(ConfigError::OutOfRange { name: "drop_path", value, expected: "at least 0 and less than 1" }),
    }
}

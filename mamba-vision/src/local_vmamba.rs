//! LocalVMamba (Huang et al. 2024): the first VMamba with four of eight directions in every block.

use crate::checkpoint::{WeightsError, load};
use crate::local::{LOCAL_VMAMBA_SMALL, LOCAL_VMAMBA_TINY, lists};
use crate::order::Order;
use crate::vmamba::{LAYOUT, ScanPattern, VMamba, VMambaConfig};
use burn::config::Config;
use burn::tensor::Device;
use mamba_blocks::ConfigError;
use std::path::Path;

/// LocalVMamba: a [`VMamba`] whose scans follow directions of their own in every block. Made by [`LocalVMambaConfig`].
pub type LocalVMamba = VMamba;

/// Configuration of a [`LocalVMamba`]; the defaults are those of the published models.
///
/// Without [`directions`](Self::directions), every block has all of [`LOCAL_CHOICES`](crate::LOCAL_CHOICES) and trains
/// weights for them: the search. [`VMamba::strongest_directions`] tells what it found.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_vision::{LocalVMambaConfig, Order};
///
/// let device = Device::default();
/// let directions = vec![Order::row(), Order::column(), Order::window(2), Order::window(2).from_the_end()];
/// let config = LocalVMambaConfig::new(8, vec![1, 1]).with_directions(Some(vec![directions; 2])).with_num_classes(10);
/// let model = config.init(&device);
/// assert_eq!(model.forward(Tensor::ones([1, 3, 32, 48], &device)).dims(), [1, 10]);
///
/// // The published sizes, and the narrow models in which their directions were searched for.
/// assert_eq!(LocalVMambaConfig::tiny().depths, LocalVMambaConfig::tiny_search().depths);
/// assert_eq!(LocalVMambaConfig::small().depths, LocalVMambaConfig::small_search().depths);
/// // Settings of a user: an error names the first at fault.
/// assert!(config.with_num_classes(0).try_init(&device).unwrap_err().to_string().contains("num_classes"));
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct LocalVMambaConfig {
    /// Width of the first stage; every stage has twice that of the one before.
    pub d_model: usize,
    /// Number of blocks of every stage.
    pub depths: Vec<usize>,
    /// The directions of every block, first to last; none if they are searched for.
    pub directions: Option<Vec<Vec<Order>>>,
    /// Channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Number of classes.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Inner channels of a scan for every channel of its stage.
    #[config(default = 2.0)]
    pub ssm_ratio: f64,
    /// How likely the last block is left out in training; it rises from 0 at the first.
    #[config(default = 0.2)]
    pub drop_path: f64,
}

impl LocalVMambaConfig {
    /// LocalVMamba-T: 26 M parameters.
    pub fn tiny() -> Self {
        Self::new(96, vec![2, 2, 9, 2]).with_directions(Some(lists(&LOCAL_VMAMBA_TINY)))
    }

    /// LocalVMamba-S: 50 M parameters.
    pub fn small() -> Self {
        Self::new(96, vec![2, 2, 27, 2]).with_directions(Some(lists(&LOCAL_VMAMBA_SMALL)))
    }

    /// The narrow model in which the directions of [`tiny`](Self::tiny) were searched for.
    pub fn tiny_search() -> Self {
        Self::new(32, vec![2, 2, 9, 2]).with_drop_path(0.1)
    }

    /// The narrow model in which the directions of [`small`](Self::small) were searched for.
    pub fn small_search() -> Self {
        Self::new(32, vec![2, 2, 27, 2]).with_drop_path(0.1)
    }

    /// Everything except the directions.
    fn backbone(&self) -> VMambaConfig {
        VMambaConfig::vanilla(self.d_model, self.depths.clone())
            .with_in_channels(self.in_channels)
            .with_num_classes(self.num_classes)
            .with_d_state(self.d_state)
            .with_ssm_ratio(self.ssm_ratio)
            .with_drop_path(self.drop_path)
    }

    /// Makes the model.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> LocalVMamba {
        self.try_init(device).unwrap_or_else(|error| panic!("LocalVMambaConfig: {error}"))
    }

    /// Makes the model, initialised as the original is.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn try_init(&self, device: &Device) -> Result<LocalVMamba, ConfigError> {
        let backbone = self.backbone();
        let Some(directions) = &self.directions else {
            return backbone.try_init_with(|_| ScanPattern::LocalSearch, device);
        };
        backbone.validate()?;
        check_count(directions.len(), self.depths.iter().sum())?;
        backbone.try_init_with(|block| ScanPattern::Local(directions[block].clone()), device)
    }

    /// Makes the model with the weights in the file `path`, in f32: a checkpoint of the
    /// [original implementation](https://github.com/hunto/LocalMamba), or its tensors as safetensors.
    ///
    /// Nothing in a file is executed.
    ///
    /// # Errors
    /// [`WeightsError`], which names every tensor that is missing, left over or of another shape, and the published
    /// model that the file looks like.
    ///
    /// # Panics
    /// As [`init`](Self::init).
    ///
    /// ```no_run
    /// use burn::tensor::Device;
    /// use mamba_vision::LocalVMambaConfig;
    ///
    /// # fn main() -> Result<(), mamba_vision::WeightsError> {
    /// let model = LocalVMambaConfig::tiny().load("local_vssm_tiny.ckpt", &Device::default())?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn load(&self, path: impl AsRef<Path>, device: &Device) -> Result<LocalVMamba, WeightsError> {
        load(self.init(device), path.as_ref(), &LAYOUT)
    }
}

/// Checks that there is one list of directions for each block.
pub(crate) fn check_count(lists: usize, blocks: usize) -> Result<(), ConfigError> {
    let expected = "one list for each block";
    match lists == blocks {
        true => Ok(()),
        false => Err(ConfigError::OutOfRange { name: "directions", value: lists as f64, expected }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{published_shapes, shapes_of};

    #[test]
    fn models_have_the_tensors_of_the_published_ones() {
        for (name, config) in [
            ("tiny", LocalVMambaConfig::tiny()),
            ("small", LocalVMambaConfig::small()),
            ("tiny_search", LocalVMambaConfig::tiny_search()),
        ] {
            let shapes = shapes_of(&config.init(&Device::default()), &LAYOUT);
            assert_eq!(shapes, published_shapes(&format!("local_vmamba_{name}"), &LAYOUT));
        }
        let shapes = shapes_of(&LocalVMambaConfig::tiny().init(&Device::default()), &LAYOUT);
        assert_eq!((LAYOUT.looks_like)(&shapes).as_deref(), Some("LocalVMamba-T"));
    }
}

//! Two-dimensional selective scans and vision models for Burn.
//!
//! | module | source | what it is |
//! |---|---|---|
//! | [`order`] | see there | the orders in which a scan visits an image, as tables that the operators read |
//! | [`Vim`] | Zhu et al. 2024 | Vision Mamba: patches through bidirectional mixers |
//! | [`VMamba`] | Liu et al. 2024 | stages of blocks that scan the image in four directions |
//! | [`MambaSr`] | Aybar 2024, after Guo et al. 2024 | super-resolution of satellite images |
//! | [`data`] | LeCun et al. 1998; Xiao et al. 2017 | labelled images, and how they are read and varied |
//! | [`optim`] | their published code | which parameters get no weight decay |
//!
//! [`VimConfig::load`], [`VMambaConfig::load`] and [`MambaSrConfig::load`] read published weights.
//!
//! Images are `[batch, channels, height, width]`, as Burn's convolutions take them; inside, channels are last.
//!
//! ```
//! use burn::tensor::{Device, Distribution, Tensor};
//! use mamba_vision::VimConfig;
//!
//! let device = Device::default();
//! let vim = VimConfig::new(16).with_depth(2).with_image_size([32, 48]).with_num_classes(10).init(&device);
//! let images = Tensor::<4>::random([1, 3, 32, 48], Distribution::Default, &device);
//! assert_eq!(vim.forward(images).dims(), [1, 10]);
//! ```

mod branch;
mod checkpoint;
mod config;
pub mod data;
mod drop_path;
mod init;
mod mamba_sr;
pub mod optim;
pub mod order;
mod vim;
mod vmamba;

pub use branch::Branch;
pub use checkpoint::WeightsError;
pub use drop_path::DropPath;
pub use mamba_sr::{Attention, MambaSr, MambaSrConfig, SrBlock, SrGroup};
pub use order::{Axis, Grid, Order, OrderError, Path, ScanPaths, scan_paths, serialise};
pub use vim::{BiMamba, BiMambaConfig, BiMambaType, ClassToken, Vim, VimBlock, VimConfig};
pub use vmamba::{
    Classifier, ConvDownsample, Downsample, DownsampleType, Mlp, PatchEmbed, PatchEmbedType, PatchMerging, Ss2d,
    Ss2dConfig, VMamba, VMambaConfig, VssBlock, VssStage,
};

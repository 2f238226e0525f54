//! Two-dimensional selective scans and vision models for Burn.
//!
//! | module | source | what it is |
//! |---|---|---|
//! | [`order`] | see there | the orders in which a scan visits an image, as tables that the operators read |
//! | [`Vim`] | Zhu et al. 2024 | Vision Mamba: patches through bidirectional mixers |
//! | [`VMamba`] | Liu et al. 2024 | stages of blocks that scan the image in four directions |
//! | [`LocalVim`], [`LocalVMamba`] | Huang et al. 2024 | the same two with windows among the directions |
//! | [`EfficientVMamba`] | Pei et al. 2024 | scans of sub-grids beside convolutions |
//! | [`MambaSr`] | Aybar 2024, after Guo et al. 2024 | super-resolution of satellite images |
//! | [`data`] | LeCun et al. 1998; Xiao et al. 2017 | labelled images, and how they are read and varied |
//! | [`Ema`] | Polyak & Juditsky 1992 | the average of the weights over a training |
//! | [`optim`] | their published code | which parameters get no weight decay |
//!
//! The `load` of every configuration, such as [`VimConfig::load`], reads published weights.
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
mod channel_attention;
mod checkpoint;
mod config;
mod conv;
pub mod data;
mod drop_path;
mod efficient_vmamba;
mod ema;
mod init;
mod local;
mod local_vim;
mod local_vmamba;
mod mamba_sr;
pub mod optim;
pub mod order;
mod vim;
mod vmamba;

pub use branch::Branch;
pub use channel_attention::ChannelAttention;
pub use checkpoint::WeightsError;
pub use drop_path::DropPath;
pub use efficient_vmamba::{
    ConvBranch, ConvNorm, EfficientBlock, EfficientStage, EfficientVMamba, EfficientVMambaConfig, EvssBlock,
    InvertedResidual, SqueezeExcite,
};
pub use ema::Ema;
pub use local::{DirectionMerge, LOCAL_CHOICES};
pub use local_vim::{LocalMamba, LocalVim, LocalVimBlock, LocalVimConfig, Rope};
pub use local_vmamba::{LocalVMamba, LocalVMambaConfig};
pub use mamba_sr::{Attention, MambaSr, MambaSrConfig, SrBlock, SrGroup};
pub use order::{Axis, Grid, Order, OrderError, Path, ScanPaths, scan_paths, serialise};
pub use vim::{BiMamba, BiMambaConfig, BiMambaType, ClassToken, Vim, VimBlock, VimConfig};
pub use vmamba::{
    Classifier, ConvDownsample, ConvStem, Downsample, DownsampleType, Mlp, PatchEmbed, PatchEmbedType, PatchMerging,
    ScanPattern, Ss2d, Ss2dConfig, StridedPatches, VMamba, VMambaConfig, VssBlock, VssStage,
};

//! The sizes and the initialisation of LocalVim.

use super::{LocalMamba, LocalVim, LocalVimBlock, Rope};
use crate::channel_attention::REDUCTION;
use crate::config::{check_drop_path, check_positive};
use crate::drop_path::{DropPath, rising};
use crate::init;
use crate::local::{LOCAL_CHOICES, LOCAL_VIM, WITHOUT_SEARCH, check_directions, lists};
use crate::local_vmamba::check_count;
use crate::order::Order;
use crate::vim::ClassToken;
use burn::config::Config;
use burn::module::Initializer;
use burn::nn::RmsNormConfig;
use burn::nn::conv::Conv2dConfig;
use burn::tensor::Device;
use mamba_blocks::{ConfigError, MambaConfig};

/// Configuration of a [`LocalVim`]; the defaults are those of the published models.
///
/// Without [`directions`](Self::directions), every layer has all of [`LOCAL_CHOICES`] and trains weights for them: the
/// search. [`LocalVim::strongest_directions`] tells what it found.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_vision::{LocalVimConfig, Order};
///
/// let device = Device::default();
/// // Two layers, each of which reads rows and windows from both ends.
/// let directions = vec![Order::row(), Order::row().from_the_end(), Order::window(2), Order::window(2).from_the_end()];
/// let config = LocalVimConfig::new(16).with_depth(2).with_directions(Some(vec![directions; 2]));
/// let model = config.with_image_size([32, 32]).with_patch_size(8).with_num_classes(10).try_init(&device)?;
/// assert_eq!(model.forward(Tensor::ones([1, 3, 32, 32], &device)).dims(), [1, 10]);
/// # Ok::<(), mamba_blocks::ConfigError>(())
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct LocalVimConfig {
    /// Width of the residual stream.
    pub d_model: usize,
    /// Number of blocks.
    #[config(default = 20)]
    pub depth: usize,
    /// The directions of every layer, first to last; none if they are searched for.
    pub directions: Option<Vec<Vec<Order>>>,
    /// Height and width of the images, multiples of the patches.
    #[config(default = "[224, 224]")]
    pub image_size: [usize; 2],
    /// Channels of the images.
    #[config(default = 3)]
    pub in_channels: usize,
    /// Side of a patch.
    #[config(default = 16)]
    pub patch_size: usize,
    /// Number of classes.
    #[config(default = 1000)]
    pub num_classes: usize,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Taps of the convolutions, at least 2.
    #[config(default = 4)]
    pub d_conv: usize,
    /// Inner channels for every channel of the residual stream.
    #[config(default = 2)]
    pub expand: usize,
    /// Where the class token is.
    #[config(default = "ClassToken::Absent")]
    pub class_token: ClassToken,
    /// Whether the stream is turned by rotary positions before every layer; not with a class token.
    #[config(default = true)]
    pub rope: bool,
    /// What the norms add to the mean square.
    #[config(default = 1e-5)]
    pub norm_epsilon: f64,
    /// How likely the last block is left out in training; it rises from 0 at the first.
    #[config(default = 0.1)]
    pub drop_path: f64,
}

impl LocalVimConfig {
    /// LocalVim-T: 8 M parameters.
    pub fn tiny() -> Self {
        Self::new(192).with_directions(Some(lists(&LOCAL_VIM)))
    }

    /// LocalVim-T with a class token in the middle instead of rotary positions.
    pub fn tiny_middle_class_token() -> Self {
        Self::tiny().with_class_token(ClassToken::Middle).with_rope(false)
    }

    /// LocalVim-S with the directions that were searched for in the tiny model: 28 M parameters.
    ///
    /// The original defines this model twice; what its name means there is
    /// [`small_without_search`](Self::small_without_search), with tensors of the same names and shapes.
    pub fn small() -> Self {
        Self::new(384).with_directions(Some(lists(&LOCAL_VIM)))
    }

    /// LocalVim-T with rows and windows of 2 in every layer.
    pub fn tiny_without_search() -> Self {
        Self::tiny().with_directions(Some(lists(&[WITHOUT_SEARCH; 20])))
    }

    /// LocalVim-S with rows and windows of 2 in every layer.
    pub fn small_without_search() -> Self {
        Self::small().with_directions(Some(lists(&[WITHOUT_SEARCH; 20])))
    }

    /// The narrow model in which the directions of [`tiny`](Self::tiny) were searched for.
    ///
    /// ```
    /// use mamba_vision::LocalVimConfig;
    ///
    /// // From the search to the models with what was found, and those without a search beside them.
    /// assert!(LocalVimConfig::tiny_search().directions.is_none());
    /// let found = [LocalVimConfig::tiny(), LocalVimConfig::tiny_middle_class_token(), LocalVimConfig::small()];
    /// let without = [LocalVimConfig::tiny_without_search(), LocalVimConfig::small_without_search()];
    /// assert!(found.iter().chain(&without).all(|config| config.directions.as_ref().unwrap().len() == config.depth));
    /// let tiny = LocalVimConfig::tiny().with_num_classes(10).init(&burn::tensor::Device::default());
    /// ```
    pub fn tiny_search() -> Self {
        Self::new(128)
    }

    /// Rows and columns of patches. For a configuration that is valid.
    pub fn patches(&self) -> [usize; 2] {
        self.image_size.map(|size| size / self.patch_size)
    }

    /// The configuration of one branch of a mixer.
    pub fn mixer(&self) -> MambaConfig {
        let mixer = MambaConfig::new(self.d_model).with_d_state(self.d_state).with_d_conv(self.d_conv);
        mixer.with_expand(self.expand)
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let [height, width] = self.image_size;
        ConfigError::check_sizes(&[
            ("depth", self.depth),
            ("image_size", height),
            ("image_size", width),
            ("in_channels", self.in_channels),
            ("patch_size", self.patch_size),
            ("num_classes", self.num_classes),
        ])?;
        let out_of_range =
            |name, value: usize, expected| Err(ConfigError::OutOfRange { name, value: value as f64, expected });
        if let Some(side) = self.image_size.into_iter().find(|side| side % self.patch_size != 0) {
            return out_of_range("image_size", side, "a multiple of the patch's side");
        }
        if self.rope && self.class_token != ClassToken::Absent {
            return out_of_range("rope", 1, "false with a class token");
        }
        if self.rope && !self.d_model.is_multiple_of(4) {
            return out_of_range("d_model", self.d_model, "a multiple of 4 for rotary positions");
        }
        if let Some(directions) = &self.directions {
            check_count(directions.len(), self.depth)?;
            directions.iter().try_for_each(|directions| check_directions(directions))?;
        }
        check_positive("norm_epsilon", self.norm_epsilon)?;
        check_drop_path(self.drop_path)?;
        self.mixer().validate()?;
        match self.mixer().d_inner() {
            d_inner if d_inner < REDUCTION => out_of_range("d_inner", d_inner, "at least 8"),
            _ => Ok(()),
        }
    }

    /// Makes the model.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> LocalVim {
        self.try_init(device).unwrap_or_else(|error| panic!("LocalVimConfig: {error}"))
    }

    /// Makes the model, initialised as the original is.
    ///
    /// # Errors
    /// As [`validate`](Self::validate).
    pub fn try_init(&self, device: &Device) -> Result<LocalVim, ConfigError> {
        self.validate()?;
        let d_model = self.d_model;
        let has_class_token = self.class_token != ClassToken::Absent;
        let tokens = self.patches().iter().product::<usize>() + usize::from(has_class_token);
        // Shifted by one block: the second is never left out either.
        let drop_path = std::iter::once(0.0).chain(rising(self.drop_path, self.depth)).take(self.depth);
        let layers = drop_path.enumerate().map(|(layer, prob)| self.block(layer, prob, device));
        let patch_embed = Conv2dConfig::new([self.in_channels, d_model], [self.patch_size; 2]);
        Ok(LocalVim {
            patch_embed: patch_embed.with_stride([self.patch_size; 2]).init(device),
            cls_token: has_class_token.then(|| Initializer::Zeros.init([1, 1, d_model], device)),
            pos_embed: init::normal().init([1, tokens, d_model], device),
            rope: self.rope.then(|| Rope::new(d_model, self.patches(), device)),
            layers: layers.collect::<Result<_, _>>()?,
            drop_path: DropPath::new(self.drop_path),
            norm_f: RmsNormConfig::new(d_model).with_epsilon(self.norm_epsilon).init(device),
            head: init::linear(d_model, self.num_classes, true, device),
            class_token: self.class_token,
            patches: self.patches(),
        })
    }

    fn block(&self, layer: usize, drop_path: f64, device: &Device) -> Result<LocalVimBlock, ConfigError> {
        let (directions, is_search) = match &self.directions {
            Some(directions) => (directions[layer].clone(), false),
            None => (LOCAL_CHOICES.to_vec(), true),
        };
        Ok(LocalVimBlock {
            norm: RmsNormConfig::new(self.d_model).with_epsilon(self.norm_epsilon).init(device),
            mixer: LocalMamba::new(&self.mixer(), directions, is_search, self.depth, device)?,
            drop_path: DropPath::new(drop_path),
        })
    }
}

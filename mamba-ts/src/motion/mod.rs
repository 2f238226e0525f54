//! The motion predictor of MambaTrack (Huang et al. 2024, "MambaTrack: A Simple Baseline for Multiple Object Tracking
//! with State Space Model", arXiv:2408.09178): where the box of an object will be.

mod boxes;
mod fill;

pub use boxes::{BoundingBox, iou};
pub use fill::TrackError;

use crate::bi_encoder::{BiEncoder, BiEncoderConfig};
use crate::config::check_share;
use burn::config::Config;
use burn::module::Module;
use burn::nn::loss::SmoothL1LossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::tensor::{Device, Tensor};
use mamba_blocks::ConfigError;
use mamba_blocks::parts::project;

/// Configuration of a [`MotionPredictor`].
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::motion::MotionPredictorConfig;
///
/// let device = Device::default();
/// let config = MotionPredictorConfig::new().with_d_model(16).with_n_layer(1);
/// let predictor = config.init(&device);
/// // The last ten boxes of five objects.
/// assert_eq!(predictor.forward(Tensor::ones([5, 10, 4], &device)).dims(), [5, 4]);
/// // Settings of a user: an error names the first at fault.
/// assert!(config.with_history(1).try_init(&device).unwrap_err().to_string().contains("history"));
/// ```
#[derive(Config, Debug, PartialEq)]
pub struct MotionPredictorConfig {
    /// Boxes that a prediction is made from, at least 2.
    #[config(default = 10)]
    pub history: usize,
    /// Width of a feature.
    #[config(default = 64)]
    pub d_model: usize,
    /// Number of layers.
    #[config(default = 3)]
    pub n_layer: usize,
    /// States of every channel.
    #[config(default = 16)]
    pub d_state: usize,
    /// Share of what a layer returns that training drops.
    #[config(default = 0.1)]
    pub dropout: f64,
}

impl MotionPredictorConfig {
    /// Makes the predictor.
    ///
    /// # Panics
    /// With the text of the [`ConfigError`] that [`try_init`](Self::try_init) returns.
    pub fn init(&self, device: &Device) -> MotionPredictor {
        self.try_init(device).unwrap_or_else(|error| panic!("MotionPredictorConfig: {error}"))
    }

    /// Makes the predictor.
    ///
    /// # Errors
    /// [`ConfigError`], which names the first setting at fault.
    pub fn try_init(&self, device: &Device) -> Result<MotionPredictor, ConfigError> {
        ConfigError::check_sizes(&[("history", self.history)])?;
        if self.history == 1 {
            return Err(ConfigError::OutOfRange { name: "history", value: 1.0, expected: "at least 2" });
        }
        check_share("dropout", self.dropout)?;
        let encoder = BiEncoderConfig::new(8).with_d_model(self.d_model).with_n_layer(self.n_layer);
        Ok(MotionPredictor {
            encoder: encoder.with_d_state(self.d_state).with_dropout(self.dropout).try_init(device)?,
            head: LinearConfig::new(self.d_model, 4).init(device),
            history: self.history,
        })
    }
}

/// From the last boxes of an object to the next one. Made by [`MotionPredictorConfig`].
///
/// Boxes are `[cx, cy, w, h]`, best as shares of the picture. The network reads each box and its difference to the one
/// before, in units of the last box's sides, so that a prediction moves and grows with its object.
#[derive(Module, Debug)]
pub struct MotionPredictor {
    /// Reads the boxes.
    pub encoder: BiEncoder,
    /// From the mean feature to the difference between the last box and the next.
    pub head: Linear,
    /// Boxes that a prediction is made from.
    pub history: usize,
}

impl MotionPredictor {
    /// The next boxes `[tracks, 4]` of tracks with their last boxes, oldest first, `[tracks, history, 4]`.
    ///
    /// # Panics
    /// If there is another number of boxes.
    pub fn forward(&self, boxes: Tensor<3>) -> Tensor<2> {
        let [tracks, history, sides] = boxes.dims();
        assert!(
            tracks > 0 && history == self.history && sides == 4,
            "MotionPredictor: the boxes have shape {:?}, expected [tracks, {}, 4] with at least one track",
            [tracks, history, sides],
            self.history
        );
        let last = boxes.clone().narrow(1, history - 1, 1);
        let size = last.clone().narrow(2, 2, 2).repeat_dim(2, 2);
        let place = (boxes - last.clone()) / size.clone();
        let first = place.clone().narrow(1, 0, 1);
        let moved = Tensor::cat(vec![first.clone(), place.clone().narrow(1, 0, history - 1)], 1);
        let moved = place.clone() - moved;

        let features = self.encoder.forward(Tensor::cat(vec![place, moved], 2));
        let offset = project(&self.head, features.mean_dim(1)) * size;
        (last + offset).squeeze_dim(1)
    }

    /// Smooth L1 of the predicted boxes in units of the last box's sides, and one less their overlap with the true
    /// ones.
    ///
    /// # Panics
    /// If shapes do not fit.
    pub fn loss(&self, boxes: Tensor<3>, next: Tensor<2>) -> Tensor<1> {
        let size = boxes.clone().narrow(1, self.history - 1, 1).narrow(2, 2, 2).squeeze_dim::<2>(1).repeat_dim(1, 2);
        let predicted = self.forward(boxes);
        let distance = (predicted.clone() - next.clone()) / size;
        let zero = distance.zeros_like();
        let smooth = SmoothL1LossConfig::new().init().forward(distance, zero).mean();
        smooth + iou(predicted, next).neg().add_scalar(1.0).mean()
    }
}

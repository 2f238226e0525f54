//! Time series models on selective state spaces for Burn.

mod baselines;
mod bi_encoder;
mod both_ways;
mod checkpoint;
mod classifier;
mod config;
pub mod data;
pub mod forecast;
mod mamba_forecaster;
pub mod metrics;
pub mod motion;
mod network;
mod normalization;
mod s_mamba;
pub mod training;
mod tsm2;

pub use baselines::{
    ArNet, ArNetConfig, DLinear, DLinearConfig, LastValue, LastValueConfig, SeasonalNaive, SeasonalNaiveConfig,
};
pub use bi_encoder::{BiEncoder, BiEncoderConfig, BiLayer};
pub use checkpoint::WeightsError;
pub use classifier::{SequenceClassifier, SequenceClassifierConfig};
pub use mamba_forecaster::{ForecasterState, MambaForecaster, MambaForecasterConfig};
pub use network::{Network, Objective};
pub use normalization::{Instance, RevIn, RevInConfig};
pub use s_mamba::{Activation, Encoder, EncoderLayer, InvertedEmbedding, SMamba, SMambaConfig};
pub use tsm2::{Averages, MambaMixerBlock, Tsm2, Tsm2Config};

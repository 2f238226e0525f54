//! Time series models on selective state spaces for Burn.
#![doc = ""]

mod both_ways;
mod checkpoint;
mod config;
pub mod data;
mod network;
mod normalization;
mod s_mamba;

pub use checkpoint::WeightsError;
pub use network::{Network, Objective};
pub use normalization::{Instance, RevIn, RevInConfig};
pub use s_mamba::{Activation, Encoder, EncoderLayer, InvertedEmbedding, SMamba, SMambaConfig};

//! The listings of the book. The chapters include them from here, between `ANCHOR` comments, and the tests run them.
#![cfg(test)]

mod backward;
mod chunks;
mod dna;
mod examples;
mod figures;
mod first_layer;
mod four_tokens;
mod kernel;
mod language;
mod links;
mod new_model;
mod operator;
mod performance;
mod porting;
mod precision;
mod selective_scan;
mod time_series;
mod vision;

use burn::tensor::{Device, Distribution, Tensor};

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn largest_difference<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> f32 {
    (a - b).abs().max().into_scalar()
}

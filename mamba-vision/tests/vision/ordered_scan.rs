//! A scan along paths is a permutation, a plain scan, and the permutation back.

use crate::{assert_close, device, random};
use burn::tensor::activation::softplus;
use burn::tensor::{Device, Int, Tensor, TensorData};
use mamba_core::{SelectiveScanOptions, selective_scan};
use mamba_vision::{Grid, Order, Path, ScanPaths};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

const TOLERANCE: f64 = 1e-6;

/// The arguments of a scan of `[batch, length]` tokens with `k` blocks of channels.
struct Arguments {
    u: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<4>,
    c: Tensor<4>,
    d: Tensor<1>,
}

impl Arguments {
    fn new(batch: usize, length: usize, k: usize, device: &Device) -> Self {
        let [d_inner, d_state] = [3, 2];
        Self {
            u: random([batch, length, d_inner], device).require_grad(),
            delta: softplus(random([batch, length, k * d_inner], device), 1.0).require_grad(),
            a: random([k * d_inner, d_state], device).exp().neg().require_grad(),
            b: random([batch, length, k, d_state], device).require_grad(),
            c: random([batch, length, k, d_state], device).require_grad(),
            d: random([k * d_inner], device).require_grad(),
        }
    }

    /// All in one launch, in place.
    fn in_place(&self, paths: &[Path]) -> Tensor<3> {
        let device = self.u.device();
        let options = SelectiveScanOptions::new().with_d(self.d.clone());
        let options = ScanPaths::new(paths, &device).unwrap().scan(self.u.dims()[0], options);
        let (u, delta, a) = (self.u.clone(), self.delta.clone(), self.a.clone());
        selective_scan(u, delta, a, self.b.clone(), self.c.clone(), options).y
    }

    /// Path by path, on permuted copies of the parts between two starts.
    fn permuted(&self, paths: &[Path]) -> Tensor<3> {
        let device = self.u.device();
        let d_inner = self.u.dims()[2];
        let mut ys = Vec::new();
        for (k, path) in paths.iter().enumerate() {
            let ends = path.starts().iter().copied().skip(1).chain([path.steps().len()]);
            let starts = if path.starts().is_empty() { &[0] } else { path.starts() };
            let mut parts = Vec::new();
            for (&start, end) in starts.iter().zip(ends) {
                let there = indices(&path.steps()[start..end], &device);
                let delta = self.delta.clone().narrow(2, k * d_inner, d_inner).select(1, there.clone());
                let of_path = |x: &Tensor<4>| x.clone().narrow(2, k, 1).select(1, there.clone());
                let options = SelectiveScanOptions::new().with_d(self.d.clone().narrow(0, k * d_inner, d_inner));
                let a = self.a.clone().narrow(0, k * d_inner, d_inner);
                let u = self.u.clone().select(1, there.clone());
                parts.push(selective_scan(u, delta, a, of_path(&self.b), of_path(&self.c), options).y);
            }
            ys.push(Tensor::cat(parts, 1).select(1, indices(&path.inverse(), &device)));
        }
        Tensor::cat(ys, 2)
    }

    fn gradients(&self, y: Tensor<3>, weight: Tensor<3>) -> Vec<(&'static str, Tensor<1>)> {
        let gradients = (y * weight).sum().backward();
        let flat = |x: Option<Tensor<3>>| x.unwrap().flatten(0, 2);
        vec![
            ("u", flat(self.u.grad(&gradients))),
            ("delta", flat(self.delta.grad(&gradients))),
            ("a", self.a.grad(&gradients).unwrap().flatten(0, 1)),
            ("b", self.b.grad(&gradients).unwrap().flatten(0, 3)),
            ("c", self.c.grad(&gradients).unwrap().flatten(0, 3)),
            ("d", self.d.grad(&gradients).unwrap()),
        ]
    }
}

fn indices(steps: &[usize], device: &Device) -> Tensor<1, Int> {
    let steps: Vec<_> = steps.iter().map(|&step| step as i32).collect();
    Tensor::from_data(TensorData::new(steps.clone(), [steps.len()]), device)
}

/// That the scan in place and the scan of permuted copies agree, in values and gradients.
fn check(orders: &[Order], grid: Grid, device: &Device) {
    let paths: Vec<_> = orders.iter().map(|order| order.path(grid).unwrap()).collect();
    let arguments = Arguments::new(2, grid.length(), paths.len(), device);
    let (actual, expected) = (arguments.in_place(&paths), arguments.permuted(&paths));
    assert_close(&format!("y for {grid}"), actual.clone(), expected.clone(), TOLERANCE);

    let weight = random(actual.dims(), device);
    let actual = arguments.gradients(actual, weight.clone());
    let expected = arguments.gradients(expected, weight);
    for ((name, actual), (_, expected)) in actual.into_iter().zip(expected) {
        assert_close(&format!("gradient of {name} for {grid}"), actual, expected, TOLERANCE);
    }
}

#[test]
fn a_scan_along_paths_is_a_scan_of_permuted_tokens() {
    let device = device().autodiff();
    let several = [Order::hilbert(), Order::snake(), Order::window(2), Order::z_order(), Order::atrous(2)];
    let cases = [
        (&Order::CROSS[..], Grid::image(5, 7)),
        (&several, Grid::image(6, 3)),
        (&[Order::atrous(3), Order::atrous(2).from_the_end()], Grid::image(7, 8)),
        (&Order::CROSS, Grid::image(1, 11)),
        (&Order::CROSS, Grid::image(13, 1)),
        (&Order::CROSS, Grid::image(1, 1)),
        (&Order::TRAVERSES, Grid::volume(3, 2, 4)),
        (&[Order::stride(4).from_the_end()], Grid::sequence(10)),
    ];
    for (orders, grid) in cases {
        check(orders, grid, &device);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn images_of_any_sides_are_scanned_as_permuted_ones(height in 1_usize..=40, width in 1_usize..=40) {
        check(&Order::CROSS, Grid::image(height, width), &device().autodiff());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn merging_the_sequences_of_any_orders_is_the_adjoint_of_taking_them(
        height in 1_usize..=40,
        width in 1_usize..=40,
        size in 1_usize..=9,
        seed: u64,
    ) {
        let grid = Grid::image(height, width);
        let mut orders = Order::CROSS.to_vec();
        orders.extend([Order::window(size), Order::atrous(size), Order::stride(size)]);
        orders.extend([Order::snake(), Order::hilbert(), Order::z_order()]);
        orders.extend(orders.clone().into_iter().map(Order::from_the_end));
        let mut rng = StdRng::seed_from_u64(seed);
        let mut integers = || (0..grid.length()).map(|_| rng.random_range(-9_i64..=9)).collect::<Vec<_>>();
        let x = integers();
        let (mut left, mut merged) = (0, vec![0; grid.length()]);
        for order in orders {
            let (path, y) = (order.path(grid).unwrap(), integers());
            left += path.steps().iter().zip(&y).map(|(&place, y)| x[place] * y).sum::<i64>();
            path.inverse().iter().zip(&mut merged).for_each(|(&step, sum)| *sum += y[step]);
        }
        prop_assert_eq!(left, x.iter().zip(&merged).map(|(x, y)| x * y).sum::<i64>());
    }
}

#[test]
fn merging_the_directions_is_the_adjoint_of_scanning_along_them() {
    let device = device().autodiff();
    for (height, width) in [(1, 1), (1, 7), (7, 1), (5, 6), (13, 11)] {
        let grid = Grid::image(height, width);
        let paths: Vec<_> = Order::CROSS.iter().map(|order| order.path(grid).unwrap()).collect();
        let length = grid.length();
        // Cross-scan: each direction's sequence of tokens; cross-merge: the sum at each place.
        let scan = |x: Tensor<2>| -> Tensor<3> {
            let sequences = paths.iter().map(|path| x.clone().select(0, indices(path.steps(), &device))).collect();
            Tensor::stack(sequences, 0)
        };
        let merge = |y: Tensor<3>| -> Tensor<2> {
            let directions = y.iter_dim(0).zip(&paths);
            let at_places =
                directions.map(|(y, path)| y.squeeze_dim::<2>(0).select(0, indices(&path.inverse(), &device)));
            at_places.reduce(|sum, y| sum + y).unwrap()
        };
        let (x, y) = (random([length, 2], &device), random([4, length, 2], &device));
        let left = (scan(x.clone()) * y.clone()).sum();
        let right = (x * merge(y)).sum();
        let error = (left.clone() - right).abs().into_scalar::<f32>();
        assert!(error <= 1e-4 * (1.0 + left.abs().into_scalar::<f32>()), "{grid}: {error:e}");
    }
}

//! Time of the selective scan on the CPU, forward and with its gradients.

use burn::tensor::{Device, Distribution, Tensor};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use mamba_core::{SelectiveScanOptions, selective_scan};
use std::hint::black_box;

/// `[batch, length, d_inner, d_state]`
const SHAPES: [[usize; 4]; 4] = [[2, 256, 512, 64], [1, 4096, 512, 16], [1, 65_536, 64, 16], [8, 512, 768, 16]];

struct Inputs {
    u: Tensor<3>,
    delta: Tensor<3>,
    a: Tensor<2>,
    b: Tensor<4>,
    c: Tensor<4>,
    options: SelectiveScanOptions,
}

impl Inputs {
    fn new([batch, length, d_inner, d_state]: [usize; 4], device: &Device) -> Self {
        let activation = || leaf(random([batch, length, d_inner], device));
        let per_token = || leaf(random([batch, length, 1, d_state], device));
        let per_channel = || leaf(random([d_inner], device));
        let options = SelectiveScanOptions::new()
            .with_d(per_channel())
            .with_delta_bias(per_channel())
            .with_delta_softplus(true)
            .with_z(activation());
        Self {
            u: activation(),
            delta: activation(),
            a: leaf(random([d_inner, d_state], device).exp().neg()),
            b: per_token(),
            c: per_token(),
            options,
        }
    }

    fn scan(&self) -> Tensor<3> {
        let Self { u, delta, a, b, c, options } = self;
        selective_scan(u.clone(), delta.clone(), a.clone(), b.clone(), c.clone(), options.clone()).y
    }
}

fn random<const D: usize>(shape: [usize; D], device: &Device) -> Tensor<D> {
    Tensor::random(shape, Distribution::Normal(0.0, 1.0), device)
}

fn leaf<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    if x.is_autodiff() { x.require_grad() } else { x }
}

fn benches(criterion: &mut Criterion) {
    for (name, device, passes) in
        [("forward", Device::flex(), 1), ("forward and backward", Device::flex().autodiff(), 2)]
    {
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        for shape @ [batch, length, d_inner, d_state] in SHAPES {
            let inputs = Inputs::new(shape, &device);
            // u, delta, z, b, c and y; going back, all of them again and a gradient of each.
            let moved = 4 * batch * length * (4 * d_inner + 2 * d_state) * (2 * passes - 1);
            let exponentials = batch * length * d_inner * (d_state + 2) * passes;
            let shape = format!("batch {batch}, length {length}, d_inner {d_inner}, d_state {d_state}");
            println!("{shape}: {:.1} MB moved, {:.1} M exponentials", moved as f64 / 1e6, exponentials as f64 / 1e6);
            group.throughput(Throughput::Elements((batch * length) as u64));
            group.bench_function(BenchmarkId::from_parameter(shape), |bencher| match passes {
                1 => bencher.iter(|| black_box(inputs.scan())),
                _ => bencher.iter(|| black_box(inputs.scan().sum().backward())),
            });
        }
        group.finish();
    }
}

criterion_group!(selective_scan_group, benches);
criterion_main!(selective_scan_group);

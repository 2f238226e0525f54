//! Random cases from a seed, the same on every machine.

use crate::arrays::{Array, Arrays};
use crate::case::{Case, Operator};
use std::collections::BTreeMap;

/// SplitMix64 (Steele, Lea & Flood 2014).
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn coin(&mut self) -> bool {
        self.bits() >> 63 == 1
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.bits() % end as u64) as usize
    }

    /// In [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }

    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.uniform()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.uniform()).cos()
    }

    pub fn normals(&mut self, shape: &[usize]) -> Array {
        Array::from_fn(shape, || self.normal())
    }

    pub fn permutation(&mut self, length: usize) -> Vec<usize> {
        let mut order: Vec<_> = (0..length).collect();
        for i in (1..length).rev() {
            order.swap(i, self.below(i + 1));
        }
        order
    }
}

/// Where the numbers of a scan come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// As in the original implementation's tests: `a` in (-0.5, 0], delta and its bias in [0, 0.5).
    Reference,
    /// As in a fresh Mamba: `a = -1, ..., -d_state`, delta from 1e-3 to 1e-1.
    Model,
}

/// What is on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    pub d: bool,
    pub z: bool,
    /// Of delta, or of the convolution.
    pub bias: bool,
    /// Softplus or SiLU.
    pub activation: bool,
    pub initial_state: bool,
    pub reset: bool,
    pub reset_per_order: bool,
    pub reverse: bool,
    /// 0: no table.
    pub orders: usize,
    pub shared_u: bool,
    /// Whether a scan adds up its orders.
    pub summed: bool,
}

impl Options {
    /// Each on or off by chance, with as many orders as the channels allow.
    pub fn random(rng: &mut Rng, channels: usize) -> Self {
        let orders = [0, 1, 2, 4][rng.below(4)];
        Self {
            d: rng.coin(),
            z: rng.coin(),
            bias: rng.coin(),
            activation: rng.coin(),
            initial_state: rng.coin(),
            reset: rng.coin(),
            reset_per_order: rng.coin(),
            reverse: rng.coin(),
            orders: if channels.is_multiple_of(orders.max(1)) { orders } else { 1 },
            shared_u: rng.coin(),
            summed: rng.coin(),
        }
    }
}

/// A case in a few numbers.
#[derive(Clone, Copy, Debug)]
pub struct Spec {
    pub operator: Operator,
    pub batch: usize,
    pub length: usize,
    pub channels: usize,
    /// `d_state` of the scan, width of the convolution.
    pub states: usize,
    /// Of the scan.
    pub groups: usize,
    pub options: Options,
    pub values: Values,
    pub seed: u64,
}

impl Spec {
    pub fn build(&self) -> Case {
        let mut rng = Rng::new(self.seed);
        let Spec { operator, batch, length, channels, options, .. } = *self;
        let mut inputs = match operator {
            Operator::Scan => self.scan(&mut rng),
            Operator::Conv => self.conv(&mut rng),
        };
        let state = match operator {
            Operator::Scan => [batch, channels, self.states],
            Operator::Conv => [batch, self.states - 1, channels],
        };
        // A convolution of width one has no state to begin with.
        if options.initial_state && !state.contains(&0) {
            inputs.insert("initial_state".into(), rng.normals(&state));
        }
        let mut weights: Arrays = BTreeMap::new();
        let summed = if operator == Operator::Scan && options.summed { options.orders.max(1) } else { 1 };
        weights.insert("y".into(), rng.normals(&[batch, length, channels / summed]));
        weights.insert("final_state".into(), rng.normals(&state));
        for array in inputs.values_mut().chain(weights.values_mut()) {
            array.values.iter_mut().for_each(|x| *x = f64::from(*x as f32));
        }

        let orders: Vec<_> = (0..options.orders).map(|_| rng.permutation(length)).collect();
        let reset = options.reset.then(|| {
            let rows = if options.reset_per_order { options.orders.max(1) } else { 1 };
            let share = (4.0 / length as f64).min(0.3);
            Array::from_fn(&[batch, rows, length], || f64::from(rng.uniform() < share))
        });
        let Options { activation, reverse, .. } = options;
        Case { operator, activation, inputs, orders, reset, reverse, summed, weights }
    }

    fn scan(&self, rng: &mut Rng) -> Arrays {
        let Spec { batch, length, channels, states, groups, options, .. } = *self;
        let tokens = [batch, length, channels];
        let u_channels = if options.shared_u { channels / options.orders.max(1) } else { channels };
        let mut inputs: Arrays = BTreeMap::new();
        inputs.insert("u".into(), rng.normals(&[batch, length, u_channels]));
        inputs.insert("b".into(), rng.normals(&[batch, length, groups, states]));
        inputs.insert("c".into(), rng.normals(&[batch, length, groups, states]));
        match self.values {
            Values::Reference => {
                inputs.insert("a".into(), Array::from_fn(&[channels, states], || -0.5 * rng.uniform()));
                inputs.insert("delta".into(), Array::from_fn(&tokens, || 0.5 * rng.uniform()));
                if options.bias {
                    inputs.insert("delta_bias".into(), Array::from_fn(&[channels], || 0.5 * rng.uniform()));
                }
            }
            Values::Model => {
                let a = (0..channels * states).map(|i| -((i % states + 1) as f64)).collect();
                inputs.insert("a".into(), Array::new(&[channels, states], a));
                // Log-uniform, then through the inverse of the softplus.
                let mut bias = Array::from_fn(&[channels], || 10f64.powf(-3.0 + 2.0 * rng.uniform()));
                if options.activation {
                    bias.values.iter_mut().for_each(|x| *x = x.exp_m1().ln());
                }
                let mut channel = (0..channels).cycle();
                let delta = Array::from_fn(&tokens, || {
                    let bias = bias.values[channel.next().expect("endless")];
                    let noise = if options.activation { 0.1 * rng.normal() } else { 0.1 * bias * rng.uniform() };
                    noise + if options.bias { 0.0 } else { bias }
                });
                inputs.insert("delta".into(), delta);
                if options.bias {
                    inputs.insert("delta_bias".into(), bias);
                }
            }
        }
        if options.d {
            inputs.insert("d".into(), rng.normals(&[channels]));
        }
        if options.z {
            inputs.insert("z".into(), rng.normals(&tokens));
        }
        inputs
    }

    fn conv(&self, rng: &mut Rng) -> Arrays {
        let mut inputs: Arrays = BTreeMap::new();
        inputs.insert("x".into(), rng.normals(&[self.batch, self.length, self.channels]));
        inputs.insert("weight".into(), rng.normals(&[self.channels, self.states]));
        if self.options.bias {
            inputs.insert("bias".into(), rng.normals(&[self.channels]));
        }
        inputs
    }
}

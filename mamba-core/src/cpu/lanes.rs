//! Vectors of f32 and the functions that the kernels apply to them.
//!
//! They are arrays, and the compiler makes vector instructions of the loops over them: everything here is inlined into
//! a function that [`vectorised`] compiles for the processor at hand.

use pulp::{Arch, Simd, WithSimd};
use std::ops::{Add, Div, Mul, Sub};

/// Work that is written once for vectors of any width. `run` and all that it calls must be `#[inline(always)]`.
pub(crate) trait Kernel {
    type Output;
    fn run<V: Lanes>(self) -> Self::Output;
}

/// Runs `kernel` with the widest vectors of this processor.
pub(crate) fn vectorised<K: Kernel>(kernel: K) -> K::Output {
    struct WithLanes<K>(K);

    impl<K: Kernel> WithSimd for WithLanes<K> {
        type Output = K::Output;

        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> K::Output {
            // Only WebAssembly has vectors without a fused multiplication and addition.
            const FUSED: bool = cfg!(not(target_family = "wasm"));
            match S::F32_LANES {
                16.. => self.0.run::<Vector<16, FUSED>>(),
                2.. => self.0.run::<Vector<8, FUSED>>(),
                _ => self.0.run::<Vector<8, false>>(),
            }
        }
    }

    Arch::new().dispatch(WithLanes(kernel))
}

/// `W` numbers, a multiple of eight; `FUSED` if the processor multiplies and adds in one instruction.
#[derive(Clone, Copy)]
pub(crate) struct Vector<const W: usize, const FUSED: bool>([f32; W]);

/// Some numbers side by side.
pub(crate) trait Lanes:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// How many.
    const WIDTH: usize;

    fn splat(x: f32) -> Self;
    /// The first numbers of `from`.
    fn load(from: &[f32]) -> Self;
    /// Into the first places of `to`.
    fn store(self, to: &mut [f32]);
    fn map(self, f: impl Fn(f32) -> f32) -> Self;
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self;
    /// `self * b + c`
    fn mul_add(self, b: Self, c: Self) -> Self;
    /// The numbers at `i`, `i + 8`, ... added.
    fn eight(self) -> [f32; 8];
}

impl<const W: usize, const FUSED: bool> Lanes for Vector<W, FUSED> {
    const WIDTH: usize = W;

    #[inline(always)]
    fn splat(x: f32) -> Self {
        Self([x; W])
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        let mut lanes = [0.0; W];
        lanes.copy_from_slice(&from[..W]);
        Self(lanes)
    }

    #[inline(always)]
    fn store(self, to: &mut [f32]) {
        to[..W].copy_from_slice(&self.0);
    }

    #[inline(always)]
    fn map(self, f: impl Fn(f32) -> f32) -> Self {
        Self(array(|i| f(self.0[i])))
    }

    #[inline(always)]
    fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
        Self(array(|i| f(self.0[i], other.0[i])))
    }

    #[inline(always)]
    fn mul_add(self, b: Self, c: Self) -> Self {
        let (a, b, c) = (self.0, b.0, c.0);
        // Where it is not an instruction it would be a slow function.
        Self(array(|i| if FUSED { a[i].mul_add(b[i], c[i]) } else { a[i] * b[i] + c[i] }))
    }

    #[inline(always)]
    fn eight(self) -> [f32; 8] {
        array(|i| {
            let mut sum = self.0[i];
            for j in (i + 8..W).step_by(8) {
                sum += self.0[j];
            }
            sum
        })
    }
}

macro_rules! operator {
    ($Trait:ident, $method:ident, $op:tt) => {
        impl<const W: usize, const FUSED: bool> $Trait for Vector<W, FUSED> {
            type Output = Self;

            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                self.zip(other, |a, b| a $op b)
            }
        }
    };
}

operator!(Add, add, +);
operator!(Sub, sub, -);
operator!(Mul, mul, *);
operator!(Div, div, /);

/// The array of `f(0)`, `f(1)`, ...: [`std::array::from_fn`], inlined for sure.
#[inline(always)]
pub(crate) fn array<T: Copy, const N: usize>(f: impl Fn(usize) -> T) -> [T; N] {
    let mut array = [f(0); N];
    for (i, x) in array.iter_mut().enumerate().skip(1) {
        *x = f(i);
    }
    array
}

/// The sum over the lanes of each of eight vectors.
#[inline(always)]
pub(crate) fn sums<V: Lanes>(vectors: [V; 8]) -> [f32; 8] {
    /// The sums of halves of segments of length `s`, `x`'s beside `y`'s.
    #[inline(always)]
    fn fold(x: [f32; 8], y: [f32; 8], s: usize) -> [f32; 8] {
        let half = s / 2;
        let pick = |i: usize, offset: usize| match i % s {
            k if k < half => x[i + offset],
            _ => y[i - half + offset],
        };
        let (low, high): ([f32; 8], [f32; 8]) = (array(|i| pick(i, 0)), array(|i| pick(i, half)));
        array(|i| low[i] + high[i])
    }

    let v: [_; 8] = array(|i| vectors[i].eight());
    let v: [_; 4] = array(|i| fold(v[i], v[i + 4], 8));
    let v: [_; 2] = array(|i| fold(v[i], v[i + 2], 4));
    fold(v[0], v[1], 2)
}

/// Added to a small number it rounds it to an integer, found in the lowest bits of the sum.
const ROUND: f32 = 12_582_912.0;

/// `2^r p` with `r` between -1/2 and 1/2, times `2^n` where `n` is `rounded - ROUND`.
#[inline(always)]
fn exp2_of_parts<V: Lanes>(r: V, rounded: V) -> V {
    // Minimax polynomial, relative error 9e-8.
    let mut p = V::splat(1.326_472_7e-3);
    #[allow(clippy::approx_constant, reason = "fitted with the others; not ln 2")]
    for c in [9.671_513e-3, 5.550_733_6e-2, 2.402_224_2e-1, 6.931_47e-1, 1.0] {
        p = p.mul_add(r, V::splat(c));
    }
    p.zip(rounded, |p, rounded| f32::from_bits(p.to_bits().wrapping_add(rounded.to_bits() << 23)))
}

/// `2^x` to about one unit in the last place; 0 from -127 down, infinite from 128 up.
#[inline(always)]
pub(crate) fn exp2<V: Lanes>(x: V) -> V {
    // At the limits, both integers, the exponent's bits come out as those of 0 and of infinity.
    let x = x.map(|x| if x < -127.0 { -127.0 } else { x }).map(|x| if x > 128.0 { 128.0 } else { x });
    let rounded = x + V::splat(ROUND);
    exp2_of_parts(x - (rounded - V::splat(ROUND)), rounded)
}

/// `e^x` to about one unit in the last place; 0 below -87.3, infinite above 88.7.
#[inline(always)]
pub(crate) fn exp<V: Lanes>(x: V) -> V {
    const LOG2_E: f32 = std::f32::consts::LOG2_E;
    // The sum of both is ln 2; the products of the first with small integers are exact.
    const LN_2: [f32; 2] = [0.693_359_4, -2.121_944_4e-4];
    const LEAST: f32 = -87.3365;
    const MOST: f32 = 88.7228;
    let inside = x.map(|x| if x < LEAST { LEAST } else { x }).map(|x| if x > MOST { MOST } else { x });
    let rounded = inside.mul_add(V::splat(LOG2_E), V::splat(ROUND));
    let n = rounded - V::splat(ROUND);
    let r = n.mul_add(V::splat(-LN_2[1]), n.mul_add(V::splat(-LN_2[0]), inside));
    let e = exp2_of_parts(r * V::splat(LOG2_E), rounded);
    e.zip(x, |e, x| if x < LEAST { 0.0 } else { e }).zip(x, |e, x| if x > MOST { f32::INFINITY } else { e })
}

/// `1 / (1 + e^-x)`
#[inline(always)]
pub(crate) fn sigmoid<V: Lanes>(x: V) -> V {
    let one = V::splat(1.0);
    one / (one + exp(x.map(|x| -x)))
}

/// `ln(1 + e^x)` and its derivative; the identity above 20, as in the original.
#[inline(always)]
pub(crate) fn softplus<V: Lanes>(x: V) -> (V, V) {
    let one = V::splat(1.0);
    let e = exp(x.map(|x| -x.abs()));
    // ln(1 + e) = 2 atanh(s): exact to the last digits however small e is.
    let s = e / (e + V::splat(2.0));
    let w = s * s;
    let mut p = V::splat(1.400_599_3e-1);
    for c in [1.400_090_3e-1, 2.001_076_3e-1, 3.333_321e-1, 1.0] {
        p = p.mul_add(w, V::splat(c));
    }
    let y = (s + s).mul_add(p, x.map(|x| if x < 0.0 { 0.0 } else { x }));
    let slope = x.zip(e, |x, e| if x < 0.0 { e } else { 1.0 }) / (one + e);
    let linear = |x: f32, y: f32, z: f32| if x > 20.0 { z } else { y };
    (x.zip(y, |x, y| linear(x, y, x)), x.zip(slope, |x, y| linear(x, y, 1.0)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::array::from_fn;

    macro_rules! apply {
        ($f:expr, $x:expr) => {{
            struct Apply<'a>(&'a [f32]);
            impl Kernel for Apply<'_> {
                type Output = Vec<f32>;

                #[inline(always)]
                fn run<V: Lanes>(self) -> Vec<f32> {
                    let mut y = vec![0.0; self.0.len()];
                    for (x, y) in self.0.chunks(V::WIDTH).zip(y.chunks_mut(V::WIDTH)) {
                        $f(V::load(x)).store(y);
                    }
                    y
                }
            }
            vectorised(Apply($x))
        }};
    }

    /// From -128 to 128, and nearer to zero as well.
    fn numbers() -> Vec<f32> {
        (-1 << 15..1 << 15).map(|i| i as f32 / 256.0).chain((-1 << 15..1 << 15).map(|i| i as f32 / 8192.0)).collect()
    }

    fn worst_relative_error(x: &[f32], y: &[f32], exact: impl Fn(f64) -> f64) -> f64 {
        x.iter().zip(y).fold(0.0, |worst: f64, (&x, &y)| {
            let exact = exact(x as f64);
            // Results without all digits of an f32 are as good as zero.
            if exact < 1.2e-38 || exact > f32::MAX as f64 {
                assert!(y < 2.4e-38 || y == f32::INFINITY);
                return worst;
            }
            worst.max((y as f64 / exact - 1.0).abs())
        })
    }

    #[test]
    fn exponentials_are_right_to_about_one_unit_in_the_last_place() {
        let x = numbers();
        assert!(worst_relative_error(&x, &apply!(exp2, &x), f64::exp2) < 2e-7);
        assert!(worst_relative_error(&x, &apply!(exp, &x), f64::exp) < 2e-7);
    }

    #[test]
    fn exponentials_end_in_zero_and_infinity() {
        let mut x = [0.0; 16];
        x[..6].copy_from_slice(&[-127.0, -1e30, f32::NEG_INFINITY, 128.0, 1e30, f32::INFINITY]);
        x[6] = f32::NAN;
        for y in [apply!(exp2, &x), apply!(exp, &x)] {
            assert_eq!(y[..3], [0.0; 3]);
            assert_eq!(y[3..6], [f32::INFINITY; 3]);
            assert!(y[6].is_nan());
            assert_eq!(y[7], 1.0);
        }
    }

    #[test]
    fn softplus_keeps_its_digits_where_it_is_small() {
        let x: Vec<f32> = numbers().into_iter().map(|x| x.clamp(-80.0, 80.0)).collect();
        let softplus_of = |x: f64| x.exp().ln_1p();
        assert!(worst_relative_error(&x, &apply!(|x| softplus(x).0, &x), softplus_of) < 5e-7);
        let sigmoid_of = |x: f64| 1.0 / (1.0 + (-x).exp());
        assert!(worst_relative_error(&x, &apply!(|x| softplus(x).1, &x), sigmoid_of) < 5e-7);
        assert!(worst_relative_error(&x, &apply!(sigmoid, &x), sigmoid_of) < 5e-7);
    }

    #[test]
    fn sums_are_those_of_the_vectors_in_order() {
        struct Sums;
        impl Kernel for Sums {
            type Output = [f32; 8];

            #[inline(always)]
            fn run<V: Lanes>(self) -> [f32; 8] {
                let lanes: [f32; 16] = from_fn(|i| i as f32);
                sums(from_fn(|k| V::load(&lanes) * V::splat(k as f32))).map(|sum| sum / V::WIDTH as f32)
            }
        }
        let sums = vectorised(Sums);
        assert_eq!(sums, from_fn(|k| k as f32 * sums[1]));
        assert!(sums[1] == 3.5 || sums[1] == 7.5);
    }
}

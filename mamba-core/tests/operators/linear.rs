//! The projection against float64, with its gradients: any layout, dtype and shape, vectors included.

use crate::arrays::{Array, Arrays, Worst, assert_close, assert_same};
use crate::devices::TestDevice;
#[cfg(feature = "flex")]
use crate::devices::on_threads;
use crate::grid::BOUND;
use crate::half::round;
use crate::random::Rng;
use burn::tensor::{DType, Device, Tensor, TensorData};
use mamba_core::linear::by_cublas;
use mamba_core::{linear, linear_transposed};
use std::collections::BTreeMap;

/// Batch, length, `d_in` and `d_out`.
const SHAPES: [[usize; 4]; 15] = [
    [1, 1, 8, 8],
    [1, 1, 1, 1],
    [1, 5, 1, 7],
    [4, 1, 48, 24],
    [3, 7, 48, 33],
    [2, 65, 96, 1],
    [1, 19, 17, 129],
    [3, 100, 72, 80],
    [8, 96, 16, 40],
    [1, 1, 1035, 131],
    [2, 1, 70, 65],
    [1, 3, 514, 33],
    [5, 1, 70, 2065],
    [1, 1, 37, 4101],
    [2, 4, 514, 80],
];

/// How the arguments lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Layout {
    /// Each on its own, row by row.
    Whole,
    /// As columns in the middle of a wider tensor, at an odd place.
    Narrowed,
    /// As rows in the middle of a longer tensor: the rows of `x` are not evenly apart.
    Sliced,
    /// With the last two dimensions exchanged.
    Transposed,
}

const LAYOUTS: [Layout; 4] = [Layout::Whole, Layout::Narrowed, Layout::Sliced, Layout::Transposed];

impl Layout {
    /// The same values in this layout. Concatenation is what makes a tensor of its own.
    fn of<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        let narrowed = |x: Tensor<D>, dim: usize, before: usize| {
            let size = x.dims()[dim];
            let left = x.clone().narrow(dim, 0, before.min(size));
            let before = left.dims()[dim];
            Tensor::cat(vec![left, x.clone(), x], dim).narrow(dim, before, size)
        };
        match self {
            Self::Whole => x,
            Self::Narrowed => narrowed(x, D - 1, 3),
            Self::Sliced if D > 1 => narrowed(x, D - 2, 1),
            Self::Transposed if D > 1 => narrowed(x.swap_dims(D - 2, D - 1), D - 1, 1).swap_dims(D - 2, D - 1),
            Self::Sliced | Self::Transposed => x,
        }
    }
}

/// Random arguments, rounded to `dtype`, and weights of the outputs in the loss.
struct Case {
    inputs: Arrays,
    weights: Array,
    label: String,
}

impl Case {
    fn new(shape: [usize; 4], bias: bool, dtype: DType) -> Self {
        let [batch, length, d_in, d_out] = shape;
        let mut rng = Rng::new(d_in as u64);
        let mut inputs = BTreeMap::from([
            ("x".to_string(), rng.normals(&[batch, length, d_in])),
            ("weight".to_string(), rng.normals(&[d_in, d_out])),
        ]);
        if bias {
            inputs.insert("bias".to_string(), rng.normals(&[d_out]));
        }
        let mut weights = rng.normals(&[batch, length, d_out]);
        inputs.values_mut().chain([&mut weights]).for_each(|array| round(array, dtype));
        Self { inputs, weights, label: format!("{shape:?} in {dtype:?}, bias: {bias}") }
    }

    /// `y` and the gradients of all inputs, as sums in float64.
    fn oracle(&self) -> Arrays {
        let (x, weight) = (&self.inputs["x"], &self.inputs["weight"]);
        let [d_in, d_out] = weight.shape[..] else { unreachable!("a matrix") };
        let rows = x.values.len() / d_in;
        let product = |m: usize, n: usize, k: usize, term: &dyn Fn(usize, usize, usize) -> f64| {
            (0..m * n).map(|i| (0..k).map(|k| term(i / n, i % n, k)).sum::<f64>()).collect::<Vec<_>>()
        };
        let (x, w, dy) = (&x.values, &weight.values, &self.weights.values);
        let mut y = product(rows, d_out, d_in, &|i, j, k| x[i * d_in + k] * w[k * d_out + j]);
        let grad_x = product(rows, d_in, d_out, &|i, j, k| dy[i * d_out + k] * w[j * d_out + k]);
        let grad_weight = product(d_in, d_out, rows, &|i, j, k| x[k * d_in + i] * dy[k * d_out + j]);
        let grad_bias = product(1, d_out, rows, &|_, j, k| dy[k * d_out + j]);
        let mut arrays = BTreeMap::from([
            ("grad_x".to_string(), Array::new(&self.inputs["x"].shape, grad_x)),
            ("grad_weight".to_string(), Array::new(&weight.shape, grad_weight)),
        ]);
        if let Some(bias) = self.inputs.get("bias") {
            y.iter_mut().enumerate().for_each(|(i, y)| *y += bias.values[i % d_out]);
            arrays.insert("grad_bias".to_string(), Array::new(&[d_out], grad_bias));
        }
        arrays.insert("y".to_string(), Array::new(&self.weights.shape, y));
        arrays
    }

    fn tensor<const D: usize>(array: &Array, device: &Device, dtype: DType) -> Tensor<D> {
        Tensor::from_data(TensorData::new(array.values.clone(), array.shape.clone()), (device, dtype))
    }

    /// `y`, and the gradients of the inputs that `tracked` names if the device has gradients.
    fn run(&self, device: &Device, dtype: DType, layout: Layout, tracked: impl Fn(&str) -> bool) -> Arrays {
        let tracked = |name: &str| device.is_autodiff() && tracked(name);
        let (x, weight) = (Self::tensor::<3>(&self.inputs["x"], device, dtype), &self.inputs["weight"]);
        let weight = Self::tensor::<2>(weight, device, dtype);
        let bias = self.inputs.get("bias").map(|bias| Self::tensor::<1>(bias, device, dtype));
        let x = if tracked("x") { x.require_grad() } else { x };
        let weight = if tracked("weight") { weight.require_grad() } else { weight };
        let bias = bias.map(|bias| if tracked("bias") { bias.require_grad() } else { bias });

        let y = linear(layout.of(x.clone()), layout.of(weight.clone()), bias.clone().map(|bias| layout.of(bias)));
        assert_eq!(y.dtype(), dtype);
        let mut arrays = BTreeMap::from([("y".to_string(), read(y.clone()))]);
        if ["x", "weight", "bias"].into_iter().any(&tracked) {
            // The gradient of `y` has its layout.
            let loss = (layout.of(y) * Self::tensor(&self.weights, device, dtype)).sum();
            let gradients = loss.backward();
            let mut insert = |name: &str, gradient: Option<Array>| {
                gradient.and_then(|gradient| arrays.insert(format!("grad_{name}"), gradient));
            };
            insert("x", x.grad(&gradients).map(read));
            insert("weight", weight.grad(&gradients).map(read));
            insert("bias", bias.and_then(|bias| bias.grad(&gradients)).map(read));
        }
        arrays
    }
}

/// The values of a tensor, which must have the dtype of all others here.
fn read<const D: usize>(tensor: Tensor<D>) -> Array {
    let shape = tensor.dims();
    Array::new(&shape, tensor.into_data().iter::<f64>().collect())
}

/// Burn's own f32 products use fewer bits of the mantissa where a GPU has TF32.
fn bound(device: &TestDevice, dtype: DType) -> f64 {
    match dtype {
        DType::F32 if device.name == "cuda" && !by_cublas(&device.device) => 5e-3,
        DType::F32 => BOUND,
        _ => 1e-2,
    }
}

/// Asserts that the arrays are the same bits where Burn's autotune has no choice, and nearly the same elsewhere.
fn assert_again(device: &TestDevice, dtype: DType, first: &Arrays, second: &Arrays, label: impl Fn() -> String) {
    if by_cublas(&device.device) {
        assert_same(first, second, label);
    } else {
        assert_close(first, second, bound(device, dtype), label);
    }
}

fn check(device: &TestDevice, dtype: DType) {
    if !device.device.supports_dtype(dtype) {
        return println!("skipped: {} has no {dtype:?}", device.name);
    }
    let bound = bound(device, dtype);
    let mut worst = Worst::default();
    // On an emulated GPU these are products of Burn's own, and slow.
    let (shapes, layouts) = if device.thinned() { (&SHAPES[4..6], &LAYOUTS[..2]) } else { (&SHAPES[..], &LAYOUTS[..]) };
    for &shape in shapes {
        for bias in [false, true] {
            let case = Case::new(shape, bias, dtype);
            let expected = case.oracle();
            for &layout in layouts {
                let label = || format!("{}: {}, {layout:?}", device.name, case.label);
                let tracked = case.run(&device.device.clone().autodiff(), dtype, layout, |_| true);
                worst.add(assert_close(&tracked, &expected, bound, label));
                let untracked = case.run(&device.device, dtype, layout, |_| true);
                assert_again(device, dtype, &tracked, &untracked, label);
            }
        }
    }
    let route = if by_cublas(&device.device) { "cuBLASLt" } else { "Burn" };
    worst.print(&format!("linear in {dtype:?} on {} by {route}", device.name));
}

fn linear_agrees_with_float64_in_f32(device: &TestDevice) {
    check(device, DType::F32);
}

fn linear_agrees_with_float64_in_f16(device: &TestDevice) {
    check(device, DType::F16);
}

fn linear_agrees_with_float64_in_bf16(device: &TestDevice) {
    check(device, DType::BF16);
}

fn any_input_may_be_the_only_one_with_a_gradient(device: &TestDevice) {
    let case = Case::new([2, 9, 24, 16], true, DType::F32);
    let with_gradients = device.device.clone().autodiff();
    let all = case.run(&with_gradients, DType::F32, Layout::Whole, |_| true);
    for only in case.inputs.keys() {
        let one = case.run(&with_gradients, DType::F32, Layout::Whole, |name| name == only);
        assert_eq!(one.keys().cloned().collect::<Vec<_>>(), [format!("grad_{only}"), "y".into()]);
        assert_again(device, DType::F32, &all, &one, || format!("{}: only `{only}`", device.name));
    }
}

fn checkpointing_changes_no_gradient_of_linear(device: &TestDevice) {
    let case = Case::new([2, 9, 24, 16], true, DType::F32);
    let plain = case.run(&device.device.clone().autodiff(), DType::F32, Layout::Whole, |_| true);
    let recomputing = device.device.clone().autodiff().gradient_checkpointing();
    let again = case.run(&recomputing, DType::F32, Layout::Whole, |_| true);
    assert_again(device, DType::F32, &again, &plain, || device.name.into());
}

/// The gradient of a sum is one number that is broadcast.
fn the_loss_of_linear_may_be_a_sum(device: &TestDevice) {
    let mut case = Case::new([2, 9, 24, 16], true, DType::F32);
    case.weights.values.fill(1.0);
    let device_with_gradients = device.device.clone().autodiff();
    let x = Case::tensor::<3>(&case.inputs["x"], &device_with_gradients, DType::F32).require_grad();
    let weight = Case::tensor::<2>(&case.inputs["weight"], &device_with_gradients, DType::F32).require_grad();
    let gradients = linear(x.clone(), weight.clone(), None).sum().backward();
    let gradient = |name: &str, gradient: Option<Array>| (name.to_string(), gradient.expect("a gradient"));
    let actual = Arrays::from([
        gradient("grad_x", x.grad(&gradients).map(read)),
        gradient("grad_weight", weight.grad(&gradients).map(read)),
    ]);
    let mut expected = case.oracle();
    expected.retain(|name, _| actual.contains_key(name));
    assert_close(&actual, &expected, bound(device, DType::F32), || device.name.into());
}

/// Products of many shapes in a row, some waiting for others, as in a model: memory is reused in their order.
fn products_may_follow_one_another(device: &TestDevice) {
    let d = 40;
    let case = Case::new([2, 33, d, d], false, DType::F32);
    let weight = Case::tensor::<2>(&case.inputs["weight"], &device.device, DType::F32) * (0.5 / (d as f32).sqrt());
    let mut actual = Case::tensor::<3>(&case.inputs["x"], &device.device, DType::F32);
    let weights = read(weight.clone()).values;
    let mut expected = case.inputs["x"].values.clone();
    for _ in 0..20 {
        // An operation of Burn's before and after each product.
        actual = linear(actual + 1.0, weight.clone(), None) + 0.5;
        let row = |row: &[f64]| {
            let sum = |j: usize| (0..d).map(|k| (row[k] + 1.0) * weights[k * d + j]).sum::<f64>();
            (0..d).map(|j| sum(j) + 0.5).collect::<Vec<_>>()
        };
        expected = expected.chunks(d).flat_map(row).collect();
    }
    let expected = Arrays::from([("y".to_string(), Array::new(&[2, 33, d], expected))]);
    let actual = Arrays::from([("y".to_string(), read(actual))]);
    assert_close(&actual, &expected, bound(device, DType::F32), || device.name.into());
}

/// Tensors that were made on another thread lie on another stream of CubeCL.
fn arguments_may_come_from_other_threads(device: &TestDevice) {
    let case = Case::new([2, 65, 96, 80], true, DType::F32);
    let on_thread = |name: &'static str| {
        let array = case.inputs[name].clone();
        let device = device.device.clone();
        // Some work, so that the value is not there at once.
        std::thread::spawn(move || (0..50).fold(Case::tensor::<1>(&flat(array), &device, DType::F32), |x, _| x * 1.0))
            .join()
            .expect("the thread works")
    };
    let x = on_thread("x").reshape([2, 65, 96]);
    let weight = on_thread("weight").reshape([96, 80]);
    let y = linear(x, weight, Some(on_thread("bias")));
    let mut expected = case.oracle();
    expected.retain(|name, _| name == "y");
    assert_close(&Arrays::from([("y".into(), read(y))]), &expected, bound(device, DType::F32), || device.name.into());
}

fn flat(array: Array) -> Array {
    Array::new(&[array.values.len()], array.values)
}

/// One row, one token, a matrix, a vector: all the same product.
fn the_rank_of_the_input_does_not_matter(device: &TestDevice) {
    let case = Case::new([1, 1, 24, 16], true, DType::F32);
    let [x, weight, bias] = ["x", "weight", "bias"].map(|name| &case.inputs[name]);
    let x = Case::tensor::<3>(x, &device.device, DType::F32);
    let weight = Case::tensor::<2>(weight, &device.device, DType::F32);
    let bias = Some(Case::tensor::<1>(bias, &device.device, DType::F32));
    let token = linear(x.clone(), weight.clone(), bias.clone());
    let row = linear(x.clone().reshape([1, 24]), weight.clone(), bias.clone());
    let vector = linear(x.reshape([24]), weight, bias);
    assert_eq!((token.dims(), row.dims(), vector.dims()), ([1, 1, 16], [1, 16], [16]));
    for other in [row.reshape([1, 1, 16]), vector.reshape([1, 1, 16])] {
        let label = || device.name.into();
        assert_close(
            &Arrays::from([("y".into(), read(token.clone()))]),
            &Arrays::from([("y".into(), read(other))]),
            bound(device, DType::F32),
            label,
        );
    }
}

/// The same as `linear` of the transposed weight, with gradients and without, whichever factor is transposed.
fn a_transposed_weight_is_the_same_for_one_row_and_many(device: &TestDevice) {
    let device = device.device.clone().autodiff();
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, burn::tensor::Distribution::Default, &device);
    let shapes = [[1, 8, 8], [1, 17, 129], [3, 48, 33], [16, 16, 5], [65, 9, 1], [1, 1, 1], [2, 211, 70], [7, 83, 19]];
    for [rows, d_in, d_out] in shapes {
        let (x, weight) = (random([rows, d_in]).require_grad(), random([d_out, d_in]).require_grad());
        let weights = random([rows, d_out]);
        let all = |y: Tensor<2>| {
            let gradients = (y.clone() * weights.clone()).sum().backward();
            [y.inner(), x.grad(&gradients).unwrap(), weight.grad(&gradients).unwrap()]
        };
        let found = all(linear_transposed(x.clone(), weight.clone()));
        let expected = all(linear(x.clone(), weight.clone().transpose(), None));
        let untracked = linear_transposed(x.inner(), weight.inner());
        for (found, expected) in found.into_iter().chain([untracked]).zip(expected.iter().chain(&expected[..1])) {
            assert_eq!(found.dims(), expected.dims());
            let difference = (found - expected.clone()).abs().max().into_scalar::<f32>();
            assert!(
                difference <= 1e-5 * expected.clone().abs().max().into_scalar::<f32>(),
                "{rows} {d_in} {d_out}: {difference}"
            );
        }
    }
}

/// One row after the other, and all at once; and the last outputs of a weight, and all of them.
fn few_rows_do_not_influence_one_another(device: &TestDevice) {
    let random = |shape: [usize; 2]| {
        let array = Rng::new(shape[0] as u64).normals(&shape);
        Case::tensor::<2>(&array, &device.device, DType::F32)
    };
    // Elsewhere one row may be multiplied otherwise than two.
    let bound = if ["flex", "ndarray"].contains(&device.name) { 0.0 } else { bound(device, DType::F32) };
    for (rows, transposed) in [(2, false), (3, false), (5, false), (8, false), (2, true), (5, true), (8, true)] {
        let (d_in, d_out) = (83, 45);
        let x = random([rows, d_in]);
        let weight = random(if transposed { [d_out, d_in] } else { [d_in, d_out] });
        let product = if transposed { linear_transposed } else { |x, weight| linear(x, weight, None) };
        let all = product(x.clone(), weight.clone());
        let each = (0..rows).map(|row| product(x.clone().narrow(0, row, 1), weight.clone()));
        let mut pairs = vec![(Tensor::cat(each.collect(), 0), all.clone())];
        let first = weight.clone().narrow(usize::from(!transposed), 0, 19);
        // As a tensor of its own.
        pairs.push((product(x, first + 0.0), all.narrow(1, 0, 19)));
        for (found, expected) in pairs {
            let [found, expected] = [found, expected].map(|y| Arrays::from([("y".to_string(), read(y))]));
            assert_close(&found, &expected, bound, || format!("{}: {rows} rows", device.name));
        }
    }
}

/// Many threads take narrower columns than few.
#[cfg(feature = "flex")]
#[test]
fn few_rows_do_not_depend_on_the_number_of_threads() {
    let random = |shape: [usize; 2]| {
        let array = Rng::new(shape[0] as u64).normals(&shape);
        Case::tensor::<2>(&array, &Device::flex(), DType::F32)
    };
    for [rows, d_in, d_out] in [[1, 300, 3001], [1, 40, 9000], [3, 768, 515], [8, 130, 1100]] {
        let (x, weight) = (random([rows, d_in]), random([d_in, d_out]));
        let [one, five, forty] = [1, 5, 40].map(|threads| {
            let y = on_threads(threads, || linear(x.clone(), weight.clone(), None));
            Arrays::from([("y".into(), read(y))])
        });
        for other in [five, forty] {
            assert_same(&other, &one, || format!("{rows} x {d_in} x {d_out}"));
        }
    }
}

on_every_device!(
    few_rows_do_not_influence_one_another,
    a_transposed_weight_is_the_same_for_one_row_and_many,
    linear_agrees_with_float64_in_f32,
    linear_agrees_with_float64_in_f16,
    linear_agrees_with_float64_in_bf16,
    any_input_may_be_the_only_one_with_a_gradient,
    checkpointing_changes_no_gradient_of_linear,
    the_loss_of_linear_may_be_a_sum,
    products_may_follow_one_another,
    arguments_may_come_from_other_threads,
    the_rank_of_the_input_does_not_matter,
);

//! One call of an operator: all its inputs in float64, and how to run it on a device.

use crate::arrays::{Array, Arrays};
use burn::tensor::{Bool, DType, Device, Tensor, TensorData};
use mamba_core::*;
use std::collections::BTreeMap;
use std::ops::Range;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Scan,
    Conv,
}

#[derive(Clone, Copy, Debug)]
pub enum Axis {
    Batch,
    Length,
    Channel,
}

impl Operator {
    /// Which dimension of the array is `axis`, if any; groups are no channels.
    pub fn dimension(self, name: &str, axis: Axis) -> Option<usize> {
        let state = if self == Operator::Scan { 1 } else { 2 };
        match (name.trim_start_matches("grad_"), axis) {
            ("a" | "d" | "delta_bias" | "weight" | "bias", axis) => matches!(axis, Axis::Channel).then_some(0),
            (_, Axis::Batch) => Some(0),
            ("initial_state" | "final_state", axis) => matches!(axis, Axis::Channel).then_some(state),
            (_, Axis::Length) => Some(1),
            (name, Axis::Channel) => (!matches!(name, "b" | "c")).then_some(2),
        }
    }

    /// Whether an input (or the output `y`) is in half precision when the operator is.
    pub fn is_half(self, name: &str) -> bool {
        match self {
            Operator::Scan => matches!(name, "u" | "delta" | "b" | "c" | "z" | "y"),
            Operator::Conv => matches!(name, "x" | "initial_state" | "y" | "final_state"),
        }
    }

    /// The selected entries of all arrays that have the axis; the others stay.
    pub fn select(self, arrays: &Arrays, axis: Axis, indices: &[usize]) -> Arrays {
        let select = |(name, array): (&String, &Array)| {
            let array = match self.dimension(name, axis) {
                Some(dimension) => array.select(dimension, indices),
                None => array.clone(),
            };
            (name.clone(), array)
        };
        arrays.iter().map(select).collect()
    }
}

/// A call of an operator and the gradients of a loss with respect to its outputs.
#[derive(Clone, Debug)]
pub struct Case {
    pub operator: Operator,
    /// Softplus on delta, or SiLU on the output.
    pub activation: bool,
    /// By argument name; an option that is off has no entry.
    pub inputs: Arrays,
    /// Empty: the tokens' own order.
    pub orders: Vec<Vec<usize>>,
    /// `[batch, 1 or n_orders, length]`, 1 where the state is reset.
    pub reset: Option<Array>,
    pub reverse: bool,
    /// Orders whose outputs a scan adds up, or 1.
    pub summed: usize,
    /// What `y` and `final_state` are multiplied with in the loss; an output without an entry is not in the loss.
    pub weights: Arrays,
}

impl Case {
    /// `[batch, length, channels]`.
    pub fn dims(&self) -> [usize; 3] {
        let x = if self.operator == Operator::Scan { "delta" } else { "x" };
        self.inputs[x].shape.as_slice().try_into().expect("three dimensions")
    }

    /// `[batch, d_inner, d_state]` or `[batch, width - 1, channels]`.
    pub fn state_dims(&self) -> [usize; 3] {
        let [batch, _, channels] = self.dims();
        match self.operator {
            Operator::Scan => [batch, channels, self.inputs["a"].shape[1]],
            Operator::Conv => [batch, self.inputs["weight"].shape[1] - 1, channels],
        }
    }

    /// The places that order `k` visits, one after the other.
    pub fn path(&self, k: usize) -> Vec<usize> {
        let mut path = self.orders.get(k).cloned().unwrap_or_else(|| (0..self.dims()[1]).collect());
        if self.reverse {
            path.reverse();
        }
        path
    }

    pub fn is_reset(&self, row: usize, k: usize, place: usize) -> bool {
        self.reset.as_ref().is_some_and(|reset| {
            let (rows, length) = (reset.shape[1], reset.shape[2]);
            reset.values[(row * rows + k % rows) * length + place] != 0.0
        })
    }

    /// The same call with the selected batch rows or tokens; orders stay.
    pub fn select(&self, axis: Axis, indices: &[usize]) -> Self {
        let dimension = if matches!(axis, Axis::Batch) { 0 } else { 2 };
        Self {
            inputs: self.operator.select(&self.inputs, axis, indices),
            weights: self.operator.select(&self.weights, axis, indices),
            reset: self.reset.as_ref().map(|reset| reset.select(dimension, indices)),
            ..self.clone()
        }
    }

    /// `y`, `final_state` and the gradients of the loss in all inputs.
    pub fn run(&self, device: &Device, dtype: DType) -> Arrays {
        self.run_as(&device.clone().autodiff(), dtype, |leaves| leaves.forward(None, None))
    }

    /// The same, with `forward` in place of the operator.
    pub fn run_as(
        &self,
        device: &Device,
        dtype: DType,
        forward: impl FnOnce(&Leaves) -> (Tensor<3>, Tensor<3>),
    ) -> Arrays {
        let leaves = Leaves::new(self, device, dtype, |_| true);
        let (y, final_state) = forward(&leaves);
        let mut arrays = named(y.clone(), final_state.clone());
        arrays.append(&mut leaves.gradients(leaves.loss(y, final_state)));
        arrays
    }

    /// `y` and `final_state`, with nothing tracked.
    pub fn outputs(&self, device: &Device, dtype: DType) -> Arrays {
        self.outputs_as(device, dtype, |leaves| leaves.forward(None, None))
    }

    /// The same, with `forward` in place of the operator.
    pub fn outputs_as(
        &self,
        device: &Device,
        dtype: DType,
        forward: impl FnOnce(&Leaves) -> (Tensor<3>, Tensor<3>),
    ) -> Arrays {
        let (y, final_state) = forward(&Leaves::new(self, device, dtype, |_| false));
        named(y, final_state)
    }
}

/// The inputs of a case as tensors on a device. All are flat, so that they fit into one list.
pub struct Leaves<'a> {
    case: &'a Case,
    device: Device,
    flat: BTreeMap<&'a str, Tensor<1>>,
    layout: Layout,
}

/// How the inputs lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Each on its own, in row-major order.
    Whole,
    /// As the first half of a tensor with twice the last dimension, such as a projection to several inputs.
    Narrowed,
    /// With the last two dimensions exchanged.
    Transposed,
}

impl<'a> Leaves<'a> {
    /// Those inputs are tracked of which `tracked` says so.
    pub fn new(case: &'a Case, device: &Device, dtype: DType, tracked: impl Fn(&str) -> bool) -> Self {
        let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let leaf = |(name, array): (&'a String, &Array)| {
            let dtype = if case.operator.is_half(name) { dtype } else { wide };
            let data = TensorData::new(array.values.clone(), [array.values.len()]);
            let leaf = Tensor::from_data(data, (device, dtype));
            (name.as_str(), if tracked(name) { leaf.require_grad() } else { leaf })
        };
        Self { case, device: device.clone(), flat: case.inputs.iter().map(leaf).collect(), layout: Layout::Whole }
    }

    pub fn with_layout(mut self, layout: Layout) -> Self {
        self.layout = layout;
        self
    }

    /// The same values in the layout of these leaves.
    pub fn lay_out<const D: usize>(&self, x: Tensor<D>) -> Tensor<D> {
        // Concatenation is what makes a tensor of its own.
        let narrowed = |x: Tensor<D>| {
            let size = x.dims()[D - 1];
            Tensor::cat(vec![x.clone(), x], D - 1).narrow(D - 1, 0, size)
        };
        match self.layout {
            Layout::Narrowed => narrowed(x),
            Layout::Transposed if D > 1 => narrowed(x.swap_dims(D - 2, D - 1)).swap_dims(D - 2, D - 1),
            _ => x,
        }
    }

    /// An input, or its tokens `part`.
    pub fn get<const D: usize>(&self, name: &str, part: &Option<Range<usize>>) -> Option<Tensor<D>> {
        let shape: [usize; D] = self.case.inputs.get(name)?.shape.as_slice().try_into().expect("rank as asked for");
        let tensor = self.lay_out(self.flat[name].clone().reshape(shape));
        match (part, self.case.operator.dimension(name, Axis::Length)) {
            (Some(part), Some(dimension)) => Some(tensor.narrow(dimension, part.start, part.len())),
            _ => Some(tensor),
        }
    }

    pub fn expect<const D: usize>(&self, name: &str, part: &Option<Range<usize>>) -> Tensor<D> {
        self.get(name, part).unwrap_or_else(|| panic!("a case without `{name}`"))
    }

    fn reset(&self, part: &Option<Range<usize>>) -> Option<Tensor<3, Bool>> {
        let Array { shape, values } = self.case.reset.as_ref()?;
        let data = TensorData::new(values.iter().map(|x| *x != 0.0).collect::<Vec<_>>(), shape.clone());
        let reset = Tensor::from_data(data, &self.device);
        Some(match part {
            Some(part) => reset.narrow(2, part.start, part.len()),
            None => reset,
        })
    }

    fn order(&self) -> Option<ScanOrder> {
        let orders = &self.case.orders;
        (!orders.is_empty()).then(|| ScanOrder::new(orders, &self.device).expect("a permutation"))
    }

    fn direction(&self) -> Direction {
        if self.case.reverse { Direction::Reverse } else { Direction::Forward }
    }

    /// The operator on all tokens or on a part of them, from `state` or from the initial state.
    pub fn forward(&self, part: Option<Range<usize>>, state: Option<Tensor<3>>) -> (Tensor<3>, Tensor<3>) {
        let state = state.or_else(|| self.get("initial_state", &None));
        match self.case.operator {
            Operator::Scan => self.scan(&part, state, selective_scan),
            Operator::Conv => self.conv(&part, state, causal_conv1d),
        }
    }

    /// [`forward`](Self::forward) of all tokens through the reference.
    pub fn reference(&self) -> (Tensor<3>, Tensor<3>) {
        let state = self.get("initial_state", &None);
        match self.case.operator {
            Operator::Scan => self.scan(&None, state, selective_scan::reference::selective_scan),
            Operator::Conv => self.conv(&None, state, causal_conv1d::reference::causal_conv1d),
        }
    }

    fn scan(
        &self,
        part: &Option<Range<usize>>,
        state: Option<Tensor<3>>,
        scan: fn(Tensor<3>, Tensor<3>, Tensor<2>, Tensor<4>, Tensor<4>, SelectiveScanOptions) -> SelectiveScanOutput,
    ) -> (Tensor<3>, Tensor<3>) {
        let mut options = SelectiveScanOptions::new().with_delta_softplus(self.case.activation);
        if let Some(d) = self.get("d", part) {
            options = options.with_d(d);
        }
        if let Some(z) = self.get("z", part) {
            options = options.with_z(z);
        }
        if let Some(bias) = self.get("delta_bias", part) {
            options = options.with_delta_bias(bias);
        }
        if let Some(state) = state {
            options = options.with_initial_state(state);
        }
        if let Some(reset) = self.reset(part) {
            options = match reset.dims()[1] {
                1 => options.with_reset(reset.squeeze_dim(1)),
                _ => options.with_reset_per_order(reset),
            };
        }
        if let Some(order) = self.order() {
            options = options.with_order(order);
        }
        let SelectiveScanOutput { y, final_state } = scan(
            self.expect("u", part),
            self.expect("delta", part),
            self.expect("a", part),
            self.expect("b", part),
            self.expect("c", part),
            options.with_direction(self.direction()).with_sum_over_orders(self.case.summed > 1),
        );
        (y, final_state)
    }

    fn conv(
        &self,
        part: &Option<Range<usize>>,
        state: Option<Tensor<3>>,
        conv: fn(Tensor<3>, Tensor<2>, CausalConv1dOptions) -> CausalConv1dOutput,
    ) -> (Tensor<3>, Tensor<3>) {
        let mut options = CausalConv1dOptions::new().with_silu(self.case.activation);
        if let Some(bias) = self.get("bias", part) {
            options = options.with_bias(bias);
        }
        if let Some(state) = state {
            options = options.with_initial_state(state);
        }
        if let Some(reset) = self.reset(part) {
            options = match reset.dims()[1] {
                1 => options.with_reset(reset.squeeze_dim(1)),
                _ => options.with_reset_per_order(reset),
            };
        }
        if let Some(order) = self.order() {
            options = options.with_order(order);
        }
        let options = options.with_direction(self.direction());
        let CausalConv1dOutput { y, final_state } = conv(self.expect("x", part), self.expect("weight", part), options);
        (y, final_state)
    }

    /// The decoding step for token `t`.
    fn step(&self, t: usize, state: Tensor<3>) -> (Tensor<3>, Tensor<3>) {
        let part = Some(t..t + 1);
        let (y, state) = match self.case.operator {
            Operator::Scan => {
                let mut options = SelectiveStateUpdateOptions::new().with_delta_softplus(self.case.activation);
                if let Some(d) = self.get("d", &part) {
                    options = options.with_d(d);
                }
                if let Some(z) = self.get::<3>("z", &part) {
                    options = options.with_z(z.squeeze_dim(1));
                }
                if let Some(bias) = self.get("delta_bias", &part) {
                    options = options.with_delta_bias(bias);
                }
                let token = |name| self.expect::<3>(name, &part).squeeze_dim(1);
                let grouped = |name| self.expect::<4>(name, &part).squeeze_dim(1);
                let a = self.expect("a", &part);
                selective_state_update(state, token("u"), token("delta"), a, grouped("b"), grouped("c"), options)
            }
            Operator::Conv => {
                let x = self.expect::<3>("x", &part).squeeze_dim(1);
                let weight = self.expect("weight", &part);
                causal_conv1d_step(x, state, weight, self.get("bias", &part), self.case.activation)
            }
        };
        (y.unsqueeze_dim(1), state)
    }

    /// All tokens through the decoding step.
    pub fn steps(&self) -> (Tensor<3>, Tensor<3>) {
        self.steps_seen(|_| ())
    }

    /// The same, with every state held until the last step is done; none of them changes.
    pub fn steps_of_held_states(&self) -> (Tensor<3>, Tensor<3>) {
        let mut held = vec![];
        let outputs = self.steps_seen(|state| held.push((state.clone(), state.to_data())));
        for (state, before) in held {
            assert_eq!(state.into_data(), before, "a step changed a state that is held");
        }
        outputs
    }

    /// All tokens through the decoding step; `see` gets the state before each.
    fn steps_seen(&self, mut see: impl FnMut(&Tensor<3>)) -> (Tensor<3>, Tensor<3>) {
        let [_, length, _] = self.case.dims();
        let mut state = self.initial_state();
        let mut ys = Vec::with_capacity(length);
        for t in 0..length {
            see(&state);
            let (y, next) = self.step(t, state);
            ys.push(y);
            state = next;
        }
        (Tensor::cat(ys, 1), state)
    }

    /// The initial state of the case, or zeros.
    pub fn initial_state(&self) -> Tensor<3> {
        self.get("initial_state", &None).unwrap_or_else(|| self.zero_state())
    }

    pub fn zero_state(&self) -> Tensor<3> {
        let like = if self.case.operator == Operator::Scan { "a" } else { "x" };
        Tensor::zeros(self.case.state_dims(), (&self.device, self.flat[like].dtype()))
    }

    /// The sum of the outputs, each times its weights.
    pub fn loss(&self, y: Tensor<3>, final_state: Tensor<3>) -> Tensor<1> {
        let mut loss = Tensor::<1>::zeros([1], &self.device);
        for (name, output) in [("y", y), ("final_state", final_state)] {
            // A convolution of width one has an empty state.
            let weights = self.case.weights.get(name).filter(|weights| !weights.values.is_empty());
            if let Some(Array { shape, values }) = weights {
                let wide = if output.dtype() == DType::F64 { DType::F64 } else { DType::F32 };
                let data = TensorData::new(values.clone(), shape.clone());
                let weights = Tensor::<3>::from_data(data, (&self.device, wide));
                loss = loss.cast(wide) + (output.cast(wide) * weights).sum();
            }
        }
        loss
    }

    /// The gradients of the tracked inputs, zero where the loss does not depend on one.
    pub fn gradients(&self, loss: Tensor<1>) -> Arrays {
        let gradients = loss.backward();
        let tracked = self.flat.iter().filter(|(_, leaf)| leaf.is_require_grad());
        let gradient = |(name, leaf): (&&str, &Tensor<1>)| {
            let shape = &self.case.inputs[*name].shape;
            let gradient = leaf.grad(&gradients).map(|gradient| read(gradient).values);
            let gradient = gradient.map_or_else(|| Array::zeros(shape), |values| Array::new(shape, values));
            (format!("grad_{name}"), gradient)
        };
        tracked.map(gradient).collect()
    }
}

/// The outputs under their names.
fn named(y: Tensor<3>, final_state: Tensor<3>) -> Arrays {
    BTreeMap::from([("y".into(), read(y)), ("final_state".into(), read(final_state))])
}

fn read<const D: usize>(tensor: Tensor<D>) -> Array {
    let shape = tensor.dims();
    if shape.contains(&0) {
        return Array::new(&shape, vec![]);
    }
    Array::new(&shape, tensor.into_data().iter::<f64>().collect())
}

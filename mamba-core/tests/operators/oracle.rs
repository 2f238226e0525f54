//! The operators and their gradients in float64, token by token: what the kernels are held against.

use crate::arrays::{Array, Arrays};
use crate::case::{Case, Operator};
use std::collections::BTreeMap;

/// `y`, `final_state` and the gradients of the loss in all inputs.
pub fn oracle(case: &Case) -> Arrays {
    match case.operator {
        Operator::Scan => scan(case),
        Operator::Conv => conv(case),
    }
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn softplus(x: f64) -> f64 {
    if x > 20.0 { x } else { x.exp().ln_1p() }
}

/// The derivative of `x * sigmoid(x)`.
fn silu_slope(x: f64) -> f64 {
    sigmoid(x) * (1.0 + x * (1.0 - sigmoid(x)))
}

/// Zeros like every input, to add gradients to.
struct Grads<'a>(BTreeMap<&'a str, Array>);

impl<'a> Grads<'a> {
    fn like(inputs: &'a Arrays) -> Self {
        Self(inputs.iter().map(|(name, input)| (name.as_str(), Array::zeros(&input.shape))).collect())
    }

    /// Takes the array out, to write to it without a lookup; empty if the input is off.
    fn take(&mut self, name: &str) -> Vec<f64> {
        self.0.get_mut(name).map(|array| std::mem::take(&mut array.values)).unwrap_or_default()
    }

    fn put(&mut self, name: &str, values: Vec<f64>) {
        if let Some(array) = self.0.get_mut(name) {
            array.values = values;
        }
    }

    fn with_outputs(self, y: Array, final_state: Array) -> Arrays {
        let grads = self.0.into_iter().map(|(name, grad)| (format!("grad_{name}"), grad));
        grads.chain([("y".into(), y), ("final_state".into(), final_state)]).collect()
    }
}

fn scan(case: &Case) -> Arrays {
    let [batch, length, d_inner] = case.dims();
    let [_, _, n] = case.state_dims();
    let input = |name: &str| case.inputs.get(name).map(|array| array.values.as_slice());
    let given = |name: &str| input(name).expect("a required input");
    let (u, delta, a, b, c) = (given("u"), given("delta"), given("a"), given("b"), given("c"));
    let (d, z, bias, initial) = (input("d"), input("z"), input("delta_bias"), input("initial_state"));
    let weights = |name: &str| case.weights.get(name).map(|array| array.values.as_slice());
    let (grad_y, grad_final) = (weights("y"), weights("final_state"));
    let (groups, u_channels) = (case.inputs["b"].shape[2], case.inputs["u"].shape[2]);
    let block = d_inner / case.orders.len().max(1);
    let y_channels = d_inner / case.summed;

    let mut y = Array::zeros(&[batch, length, y_channels]);
    let mut final_state = Array::zeros(&[batch, d_inner, n]);
    let mut grads = Grads::like(&case.inputs);
    let names = ["u", "delta", "a", "b", "c", "d", "z", "delta_bias", "initial_state"];
    let [mut gu, mut gdelta, mut ga, mut gb, mut gc, mut gd, mut gz, mut gbias, mut gstate] =
        names.map(|name| grads.take(name));

    // For the channel at hand: the state after every step, and what the step before left of it.
    let mut h = vec![0.0; length * n];
    let mut kept = vec![0.0; length * n];
    let mut ungated = vec![0.0; length];
    let mut state = vec![0.0; n];
    for row in 0..batch {
        for e in 0..d_inner {
            let path = case.path(e / block);
            let (a_e, d_e) = (&a[e * n..][..n], d.map_or(0.0, |d| d[e]));
            let at = |place: usize| (row * length + place) * d_inner + e;
            let at_y = |place: usize| (row * length + place) * y_channels + e % y_channels;
            let at_u = |place: usize| (row * length + place) * u_channels + e % u_channels;
            let at_group = |place: usize| ((row * length + place) * groups + e / (d_inner / groups)) * n;
            let raw = |place: usize| delta[at(place)] + bias.map_or(0.0, |bias| bias[e]);
            let step_size = |place: usize| if case.activation { softplus(raw(place)) } else { raw(place) };
            let state_at = (row * d_inner + e) * n;

            match initial {
                Some(initial) => state.copy_from_slice(&initial[state_at..][..n]),
                None => state.fill(0.0),
            }
            for (t, &place) in path.iter().enumerate() {
                if case.is_reset(row, e / block, place) {
                    state.fill(0.0);
                }
                let (u_t, dt, b_t, c_t) =
                    (u[at_u(place)], step_size(place), &b[at_group(place)..], &c[at_group(place)..]);
                let mut out = d_e * u_t;
                for i in 0..n {
                    let left = (dt * a_e[i]).exp() * state[i];
                    state[i] = left + dt * u_t * b_t[i];
                    out += c_t[i] * state[i];
                    kept[t * n + i] = left;
                    h[t * n + i] = state[i];
                }
                ungated[t] = out;
                y.values[at_y(place)] += out * z.map_or(1.0, |z| z[at(place)] * sigmoid(z[at(place)]));
            }
            final_state.values[state_at..][..n].copy_from_slice(&state);

            // From here on `state` is the gradient of the state after the step.
            match grad_final {
                Some(grad) => state.copy_from_slice(&grad[state_at..][..n]),
                None => state.fill(0.0),
            }
            for (t, &place) in path.iter().enumerate().rev() {
                let mut g = grad_y.map_or(0.0, |grad| grad[at_y(place)]);
                if let Some(z) = z {
                    let z_t = z[at(place)];
                    gz[at(place)] = g * ungated[t] * silu_slope(z_t);
                    g *= z_t * sigmoid(z_t);
                }
                let (u_t, dt, group) = (u[at_u(place)], step_size(place), at_group(place));
                let reset = case.is_reset(row, e / block, place);
                let (mut grad_u, mut grad_dt) = (d_e * g, 0.0);
                for i in 0..n {
                    state[i] += g * c[group + i];
                    gc[group + i] += g * h[t * n + i];
                    gb[group + i] += state[i] * dt * u_t;
                    ga[e * n + i] += state[i] * dt * kept[t * n + i];
                    grad_u += state[i] * dt * b[group + i];
                    grad_dt += state[i] * (b[group + i] * u_t + a_e[i] * kept[t * n + i]);
                    state[i] *= if reset { 0.0 } else { (dt * a_e[i]).exp() };
                }
                gu[at_u(place)] += grad_u;
                let slope = if case.activation && raw(place) <= 20.0 { sigmoid(raw(place)) } else { 1.0 };
                gdelta[at(place)] = grad_dt * slope;
                if bias.is_some() {
                    gbias[e] += grad_dt * slope;
                }
                if d.is_some() {
                    gd[e] += g * u_t;
                }
            }
            if initial.is_some() {
                gstate[state_at..][..n].copy_from_slice(&state);
            }
        }
    }
    for (name, grad) in names.into_iter().zip([gu, gdelta, ga, gb, gc, gd, gz, gbias, gstate]) {
        grads.put(name, grad);
    }
    grads.with_outputs(y, final_state)
}

fn conv(case: &Case) -> Arrays {
    let [batch, length, channels] = case.dims();
    let [_, before, _] = case.state_dims();
    let width = before + 1;
    let input = |name: &str| case.inputs.get(name).map(|array| array.values.as_slice());
    let (x, weight) = (input("x").expect("required"), input("weight").expect("required"));
    let (bias, initial) = (input("bias"), input("initial_state"));
    let weights = |name: &str| case.weights.get(name).map(|array| array.values.as_slice());
    let (grad_y, grad_final) = (weights("y"), weights("final_state"));
    let block = channels / case.orders.len().max(1);

    let mut y = Array::zeros(&[batch, length, channels]);
    let mut final_state = Array::zeros(&[batch, before, channels]);
    let mut grads = Grads::like(&case.inputs);
    let names = ["x", "weight", "bias", "initial_state"];
    let [mut gx, mut gweight, mut gbias, mut gstate] = names.map(|name| grads.take(name));

    // For the channel at hand, oldest first: the initial state, then the tokens; and the number of resets up to each.
    let mut seen = vec![0.0; before + length];
    let mut grad_seen = vec![0.0; before + length];
    let mut segment = vec![0; before + length];
    for row in 0..batch {
        for e in 0..channels {
            let path = case.path(e / block);
            let at = |place: usize| (row * length + place) * channels + e;
            let at_state = |i: usize| (row * before + i) * channels + e;
            for i in 0..before {
                seen[i] = initial.map_or(0.0, |initial| initial[at_state(i)]);
            }
            for (t, &place) in path.iter().enumerate() {
                seen[before + t] = x[at(place)];
                let so_far = if before + t == 0 { 0 } else { segment[before + t - 1] };
                segment[before + t] = so_far + usize::from(case.is_reset(row, e / block, place));
            }
            grad_seen.fill(0.0);
            for (t, &place) in path.iter().enumerate() {
                let mut out = bias.map_or(0.0, |bias| bias[e]);
                for k in (0..width).filter(|k| segment[t + k] == segment[t + before]) {
                    out += weight[e * width + k] * seen[t + k];
                }
                y.values[at(place)] = if case.activation { out * sigmoid(out) } else { out };

                let slope = if case.activation { silu_slope(out) } else { 1.0 };
                let g = slope * grad_y.map_or(0.0, |grad| grad[at(place)]);
                for k in (0..width).filter(|k| segment[t + k] == segment[t + before]) {
                    grad_seen[t + k] += g * weight[e * width + k];
                    gweight[e * width + k] += g * seen[t + k];
                }
                if bias.is_some() {
                    gbias[e] += g;
                }
            }
            for i in (0..before).filter(|i| segment[length + i] == segment[length + before - 1]) {
                final_state.values[at_state(i)] = seen[length + i];
                grad_seen[length + i] += grad_final.map_or(0.0, |grad| grad[at_state(i)]);
            }
            for (t, &place) in path.iter().enumerate() {
                gx[at(place)] = grad_seen[before + t];
            }
            if initial.is_some() {
                for i in 0..before {
                    gstate[at_state(i)] = grad_seen[i];
                }
            }
        }
    }
    for (name, grad) in names.into_iter().zip([gx, gweight, gbias, gstate]) {
        grads.put(name, grad);
    }
    grads.with_outputs(y, final_state)
}

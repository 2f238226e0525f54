//! The scan over a sliding window: every token sees itself and the `window - 1` tokens before it, in constant time.
//!
//! The recurrence is linear, so that what the tokens before the window left in the state can be taken out of it again
//! (Chen et al. 2024, "Stuffed Mamba", arXiv:2410.07145v1, "sliding window by state difference"). With `g_t` the state
//! of the tokens that have left the window, scanned `window` tokens late,
//!
//! ```text
//! h_t - exp(a (delta'_(t - window + 1) + ... + delta'_t)) g_(t - window)
//! ```
//!
//! is the state of the window alone. It is read through one more scan, whose `c` has the decay in it. Both start anew from
//! that difference every few tokens, so that neither grows and nothing cancels that has long been forgotten.

use super::{Mamba, MambaOptions, MambaState, ScanInputs};
use crate::parts::at_least_f32;
use burn::tensor::{Bool, Int, Tensor};
use mamba_core::{CausalConv1dOptions, Direction, SelectiveScanOptions, SelectiveScanOutput, selective_scan};

/// Tokens that are scanned at a time: `c` with its decay takes `d_inner * d_state` numbers for each.
const PIECE: [usize; 2] = [16, 256];

impl Mamba {
    /// [`Mamba::between_projections`] where a token sees no more than a window.
    pub(super) fn in_window(&self, x: Tensor<3>, z: Tensor<3>, options: MambaOptions) -> (Tensor<3>, MambaState) {
        let MambaOptions { state, reset, order, direction } = options;
        assert!(
            order.is_none() && direction == Direction::Forward,
            "Mamba: with a window, tokens are seen in their order"
        );
        let [batch, length, _] = x.dims();
        let state = state.unwrap_or_else(|| self.init_state(batch, &x.device()));
        let tokens = state.window.expect("Mamba: the state is of a mixer without a window");
        let mut conv = CausalConv1dOptions::new().with_initial_state(state.conv);
        if let Some(reset) = &reset {
            conv = conv.with_reset(reset.clone());
        }
        let (ScanInputs { x, delta, b, c, conv_state }, a) = self.long_scan_inputs(x, conv);

        let dtype = x.dtype();
        let token = Tensor::cat(vec![self.time_steps(delta), at_least_f32(x), at_least_f32(b).squeeze_dim(2)], 2);
        let (z, c, d) = (at_least_f32(z), at_least_f32(c), at_least_f32(self.d.val()));
        let [_, window, _] = tokens.dims();
        let piece = window.clamp(PIECE[0], PIECE[1]);
        let mut state = Window { ssm: state.ssm, tokens };
        let mut ys = Vec::with_capacity(length.div_ceil(piece));
        for start in (0..length).step_by(piece) {
            let count = piece.min(length - start);
            let piece = Piece {
                token: token.clone().narrow(1, start, count),
                z: z.clone().narrow(1, start, count),
                c: c.clone().narrow(1, start, count),
                reset: reset.clone().map(|reset| reset.narrow(1, start, count)),
            };
            let (y, next) = piece.scan(a.clone(), d.clone(), state);
            ys.push(y);
            state = next;
        }
        let state = MambaState { conv: conv_state, ssm: state.ssm, window: Some(state.tokens) };
        (Tensor::cat(ys, 1).cast(dtype), state)
    }
}

/// What the scan remembers of a window.
struct Window {
    /// The state of its tokens: `[batch, d_inner, d_state]`.
    ssm: Tensor<3>,
    /// `[delta', x, b]` of its tokens, oldest first, zero where there was none: `[batch, window, 2 d_inner + d_state]`.
    tokens: Tensor<3>,
}

/// Some tokens.
struct Piece {
    /// `[delta', x, b]`.
    token: Tensor<3>,
    z: Tensor<3>,
    c: Tensor<4>,
    reset: Option<Tensor<2, Bool>>,
}

impl Piece {
    fn scan(self, a: Tensor<2>, d: Tensor<1>, state: Window) -> (Tensor<3>, Window) {
        let Self { token, z, c, reset } = self;
        let [batch, length, _] = token.dims();
        let [_, window, _] = state.tokens.dims();
        let [d_inner, d_state] = a.dims();
        // The token at `t` leaves the window when the one at `t + window` comes.
        let tokens = Tensor::cat(vec![state.tokens, token.clone()], 1);
        let leaving = tokens.clone().narrow(1, 0, length);
        let steps = tokens.clone().narrow(2, 0, d_inner).cumsum(1);
        let steps = steps.clone().narrow(1, window, length) - steps.narrow(1, 0, length);
        let decay = (steps.unsqueeze_dim::<4>(3) * a.clone().unsqueeze::<4>()).exp();

        let mut options = SelectiveScanOptions::new().with_z(z);
        let (mut leaving, mut tokens) = (leaving, tokens.narrow(1, length, window));
        if let Some(reset) = reset {
            let segment = reset.clone().int().cumsum(1);
            let segment = Tensor::cat(vec![Tensor::zeros([batch, window], &segment.device()), segment], 1);
            let now = segment.clone().narrow(1, window, length);
            let last = now.clone().narrow(1, length - 1, 1).expand([batch, window]);
            leaving = without_others(leaving, segment.clone().narrow(1, 0, length), now, d_inner);
            tokens = without_others(tokens, segment.narrow(1, length, window), last, d_inner);
            options = options.with_reset(reset);
        }

        let scan = |token: Tensor<3>, c: Tensor<4>, options| {
            let [_, _, n_groups, _] = c.dims();
            let part = |start, count| token.clone().narrow(2, start, count);
            let b = part(2 * d_inner, d_state).unsqueeze_dim::<4>(2).expand([batch, length, n_groups, d_state]);
            selective_scan(part(d_inner, d_inner), part(0, d_inner), a.clone(), b, c, options)
        };
        let SelectiveScanOutput { y, final_state } =
            scan(token, c.clone(), options.clone().with_d(d).with_initial_state(state.ssm));
        let left = scan(leaving, c * decay.clone(), options);
        let decay = decay.narrow(1, length - 1, 1).squeeze_dim::<3>(1);
        (y - left.y, Window { ssm: final_state - decay * left.final_state, tokens })
    }
}

/// `[delta', x, b]` with zeros as the `x` of those tokens that are not of the `segment` in which they are seen.
fn without_others(tokens: Tensor<3>, of: Tensor<2, Int>, segment: Tensor<2, Int>, d_inner: usize) -> Tensor<3> {
    let [batch, length, _] = tokens.dims();
    let is_other = of.not_equal(segment).unsqueeze_dim::<3>(2).expand([batch, length, d_inner]);
    let x = tokens.clone().narrow(2, d_inner, d_inner).mask_fill(is_other, 0.0);
    tokens.slice_assign([0..batch, 0..length, d_inner..2 * d_inner], x)
}

//! The channels of one token, for what adds up over them.

use super::{CpuBackend, Float, LANES, Lanes, Row};
use burn::backend::TensorMetadata;
use burn::backend::tensor::FloatTensor;
use burn::tensor::DType;

/// The channels of one token in whole rows. Lanes beyond the last channel are zero.
pub(crate) struct Channels {
    pub(crate) rows: Vec<Row>,
    pub(crate) d_model: usize,
}

impl Channels {
    pub(crate) fn new(d_model: usize) -> Self {
        Self { rows: vec![Row::ZERO; d_model.div_ceil(LANES)], d_model }
    }

    /// Those of a parameter, `[d_model]`, of any type.
    pub(crate) fn of<B: CpuBackend>(parameter: FloatTensor<B>) -> Self {
        let mut channels = Self::new(parameter.shape()[0]);
        channels.read(B::elements::<f32>(&B::contiguous(B::float_cast(parameter, DType::F32.into()))));
        channels
    }

    #[inline(always)]
    pub(crate) fn read<E: Float>(&mut self, from: &[E]) {
        for (row, from) in self.rows.iter_mut().zip(from.chunks(LANES)) {
            row.copy_from(from);
        }
    }

    #[inline(always)]
    pub(crate) fn write<E: Float>(&self, to: &mut [E]) {
        for (row, to) in self.rows.iter().zip(to.chunks_mut(LANES)) {
            row.write(to);
        }
    }

    /// The mean over the channels of what their lanes add up to.
    #[inline(always)]
    pub(crate) fn mean(&self, sum: Row) -> f32 {
        let mut sum = sum.0;
        for half in [8, 4, 2, 1] {
            for lane in 0..half {
                sum[lane] += sum[lane + half];
            }
        }
        sum[0] / self.d_model as f32
    }
}

/// `row` with `f` of its vectors, each of which begins at a lane.
#[inline(always)]
pub(crate) fn each<V: Lanes>(row: &mut Row, f: impl Fn(V, usize) -> V) {
    for lane in (0..LANES).step_by(V::WIDTH) {
        f(V::load(&row.0[lane..]), lane).store(&mut row.0[lane..]);
    }
}

//! Look-backs and horizons as batches of tensors.

use super::Series;
use burn::tensor::{Device, Tensor, TensorData};
use std::ops::Range;
use std::sync::Arc;

/// What a network reads.
#[derive(Clone, Debug)]
pub struct Input {
    /// The look-back: `[batch, look_back, variates]`.
    pub values: Tensor<3>,
    /// The time marks of the look-back: `[batch, look_back, marks]`.
    pub marks: Option<Tensor<3>>,
}

/// Look-backs and what followed.
#[derive(Clone, Debug)]
pub struct Batch {
    /// What a network reads.
    pub input: Input,
    /// What followed: `[batch, horizon, variates]`; anything where a value is missing.
    pub target: Tensor<3>,
    /// 1 where the target is known, 0 where it is missing: `[batch, horizon, variates]`. None if all of it is known.
    pub mask: Option<Tensor<3>>,
    /// The same for the look-back: `[batch, look_back, variates]`.
    pub input_mask: Option<Tensor<3>>,
}

/// Every look-back in some rows of a series with its horizon.
///
/// Where a value of a look-back is missing, the last one before it is read, or 0 (the mean of a scaled series) if there
/// is none: nothing of the future.
///
/// ```
/// use burn::tensor::Device;
/// use mamba_ts::data::{Series, Windows};
///
/// let series = Series::new(vec!["a".into()], (0..20).map(|row| row as f32).collect(), None);
/// let windows = Windows::new(&series, 0..20, 6, 3);
/// assert_eq!(windows.len(), 12);
/// let batch = windows.batch(&[0, 11], &Device::default());
/// assert_eq!((batch.input.values.dims(), batch.target.dims()), ([2, 6, 1], [2, 3, 1]));
/// ```
#[derive(Clone, Debug)]
pub struct Windows {
    values: Arc<Values>,
    rows: Range<usize>,
    look_back: usize,
    horizon: usize,
    stride: usize,
}

#[derive(Debug)]
struct Values {
    filled: Vec<f32>,
    is_known: Option<Vec<f32>>,
    marks: Option<Vec<f32>>,
    variates: usize,
    num_marks: usize,
}

impl Windows {
    /// Those of a series that is scaled already, within `rows`; there may be none.
    pub fn new(series: &Series, rows: Range<usize>, look_back: usize, horizon: usize) -> Self {
        let known = |value: &f32| f32::from(u8::from(!value.is_nan()));
        let marks = series.marks(0, series.len());
        let values = Values {
            filled: filled(series),
            is_known: (series.missing() > 0).then(|| series.values().iter().map(known).collect()),
            num_marks: marks.as_ref().map_or(0, |marks| marks.len() / series.len()),
            marks,
            variates: series.variates(),
        };
        Self { values: Arc::new(values), rows, look_back, horizon, stride: 1 }
    }

    /// Those of other rows of the same series.
    pub fn with_rows(&self, rows: Range<usize>) -> Self {
        Self { rows, ..self.clone() }
    }

    /// Only every so many windows.
    pub fn with_stride(mut self, stride: usize) -> Self {
        self.stride = stride.max(1);
        self
    }

    /// Number of windows.
    pub fn len(&self) -> usize {
        let starts = (self.rows.len() + 1).saturating_sub(self.look_back + self.horizon);
        starts.div_ceil(self.stride)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Number of variates.
    pub fn variates(&self) -> usize {
        self.values.variates
    }

    /// Number of time marks of a row.
    pub fn num_marks(&self) -> usize {
        self.values.num_marks
    }

    /// The first row of a window's horizon, in the whole series.
    pub fn origin(&self, index: usize) -> usize {
        self.rows.start + index * self.stride + self.look_back
    }

    /// Some of the windows on a device.
    ///
    /// # Panics
    /// If there is no such window.
    pub fn batch(&self, indices: &[usize], device: &Device) -> Batch {
        let Values { filled, is_known, variates, .. } = &*self.values;
        let horizon = |from: &[f32]| self.gather(from, *variates, indices, 0..self.horizon as isize, device);
        let look_back = |from: &[f32]| self.gather(from, *variates, indices, self.before(), device);
        Batch {
            input: self.input(indices, device),
            target: horizon(filled),
            mask: is_known.as_deref().map(horizon),
            input_mask: is_known.as_deref().map(look_back),
        }
    }

    /// The look-backs of some of the windows.
    ///
    /// # Panics
    /// If there is no such window.
    pub fn input(&self, indices: &[usize], device: &Device) -> Input {
        let Values { filled, marks, variates, num_marks, .. } = &*self.values;
        let marks = marks.as_deref();
        Input {
            values: self.gather(filled, *variates, indices, self.before(), device),
            marks: marks.map(|marks| self.gather(marks, *num_marks, indices, self.before(), device)),
        }
    }

    /// The rows of a look-back, seen from the first row of its horizon.
    fn before(&self) -> Range<isize> {
        -(self.look_back as isize)..0
    }

    /// Rows around the first row of each horizon: `[batch, rows, columns]`.
    fn gather(
        &self,
        from: &[f32],
        columns: usize,
        indices: &[usize],
        rows: Range<isize>,
        device: &Device,
    ) -> Tensor<3> {
        let start = |index: usize| self.origin(index).saturating_add_signed(rows.start) * columns;
        let values = indices.iter().flat_map(|&index| &from[start(index)..start(index) + rows.len() * columns]);
        let data = TensorData::new(values.copied().collect(), [indices.len(), rows.len(), columns]);
        Tensor::from_data(data, device)
    }
}

/// The values of a series, each missing one replaced by the last before it.
pub(crate) fn filled(series: &Series) -> Vec<f32> {
    let variates = series.variates();
    let mut filled = series.values().to_vec();
    for place in 0..filled.len() {
        if filled[place].is_nan() {
            filled[place] = if place < variates { 0.0 } else { filled[place - variates] };
        }
    }
    filled
}

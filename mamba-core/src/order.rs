//! The path that a scan takes through its tokens.

use burn::tensor::{Bool, Device, Int, Tensor, TensorData};

/// Which end of the path a scan starts from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the first step to the last.
    #[default]
    Forward,
    /// From the last step to the first; nothing is flipped in memory.
    Reverse,
}

/// Why a table of indices is not a scan order.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no order, or the orders have no tokens.
    #[error("a scan order needs at least one row with at least one token, got {rows} rows of length {length}")]
    Empty {
        /// Number of rows.
        rows: usize,
        /// Length of the first row.
        length: usize,
    },
    /// The rows differ in length.
    #[error("order {row} has {actual} tokens, expected {expected} as in order 0")]
    Ragged {
        /// The row at fault.
        row: usize,
        /// Its length.
        actual: usize,
        /// The length of row 0.
        expected: usize,
    },
    /// A row is not a permutation.
    #[error(
        "order {row} is not a permutation of 0..{length}: index {index} at step {step} is out of range or repeated"
    )]
    NotAPermutation {
        /// The row at fault.
        row: usize,
        /// The step at fault.
        step: usize,
        /// The index found there.
        index: usize,
        /// The number of tokens.
        length: usize,
    },
}

/// One or more orders in which the same tokens are visited.
///
/// At step `t` the scan reads token `order[t]` and writes its output back to place `order[t]`. Row and column scans,
/// windows, Hilbert curves and shuffles are all such a table. With several orders the channels of the scan are split
/// into as many equal, contiguous blocks; block `k` follows order `k`, all in one launch.
///
/// ```
/// # use mamba_core::ScanOrder;
/// # let device = burn::tensor::Device::flex();
/// // A 2 x 3 image, row by row and column by column.
/// let cross = ScanOrder::new(&[vec![0, 1, 2, 3, 4, 5], vec![0, 3, 1, 4, 2, 5]], &device)?;
/// assert_eq!(cross.dims(), [2, 6]);
/// # Ok::<(), mamba_core::OrderError>(())
/// ```
#[derive(Clone, Debug)]
pub struct ScanOrder {
    /// `[n_orders, length]`, every row a permutation.
    pub(crate) table: Tensor<2, Int>,
}

impl ScanOrder {
    /// Checks that every row is a permutation of `0..length` and puts the table on `device`.
    ///
    /// # Errors
    /// [`OrderError`] if there is no row, rows differ in length, or a row is not a permutation.
    pub fn new(rows: &[Vec<usize>], device: &Device) -> Result<Self, OrderError> {
        let length = rows.first().map_or(0, Vec::len);
        if length == 0 {
            return Err(OrderError::Empty { rows: rows.len(), length });
        }
        let mut table = Vec::with_capacity(rows.len() * length);
        for (row, order) in rows.iter().enumerate() {
            if order.len() != length {
                return Err(OrderError::Ragged { row, actual: order.len(), expected: length });
            }
            let mut seen = vec![false; length];
            for (step, &index) in order.iter().enumerate() {
                if index >= length || std::mem::replace(&mut seen[index], true) {
                    return Err(OrderError::NotAPermutation { row, step, index, length });
                }
                table.push(index as i32);
            }
        }
        let data = TensorData::new(table, [rows.len(), length]);
        Ok(Self { table: Tensor::from_data(data, device) })
    }

    /// The same from a tensor `[n_orders, length]`, such as the `argsort` of scores; reads it back once to check it.
    ///
    /// # Errors
    /// As [`ScanOrder::new`].
    ///
    /// ```
    /// use burn::tensor::{Device, Tensor};
    /// use mamba_core::ScanOrder;
    ///
    /// // The most important token comes last, so that the state remembers it best.
    /// let importance = Tensor::<2>::from_floats([[0.3, 0.9, 0.1]], &Device::default());
    /// let order = ScanOrder::from_tensor(importance.argsort(1))?;
    /// assert_eq!(order.dims(), [1, 3]);
    /// # Ok::<(), mamba_core::OrderError>(())
    /// ```
    pub fn from_tensor(table: Tensor<2, Int>) -> Result<Self, OrderError> {
        let [rows, length] = table.dims();
        let device = table.device();
        let indices: Vec<i64> = table.into_data().iter::<i64>().collect();
        let rows: Vec<Vec<usize>> = (0..rows)
            .map(|row| {
                let row = &indices[row * length..(row + 1) * length];
                // A negative index must stay out of range.
                row.iter().map(|&index| usize::try_from(index).unwrap_or(usize::MAX)).collect()
            })
            .collect();
        Self::new(&rows, &device)
    }

    /// `[n_orders, length]`.
    pub fn dims(&self) -> [usize; 2] {
        self.table.dims()
    }
}

/// The table that kernels read: entry `2 * place + reset` for every step, `[batch or 1, n_orders, length]`.
///
/// `reset` is `[batch, 1 or n_orders, length]` and indexed by place. `None` if tokens are visited in their own order
/// without resets.
pub(crate) fn steps_table(order: Option<&ScanOrder>, reset: Option<&Tensor<3, Bool>>) -> Option<Tensor<3, Int>> {
    match (order, reset) {
        (None, None) => None,
        (Some(order), None) => Some(order.table.clone().mul_scalar(2).unsqueeze_dim(0)),
        (None, Some(reset)) => {
            let [_, _, length] = reset.dims();
            let places = Tensor::<1, Int>::arange(0..length as i64, &reset.device()).mul_scalar(2);
            Some(reset.clone().int().add(places.unsqueeze()))
        }
        (Some(order), Some(reset)) => {
            let [batch, _, length] = reset.dims();
            let [n_orders, _] = order.dims();
            let table = order.table.clone().unsqueeze_dim::<3>(0).expand([batch, n_orders, length]);
            let reset = reset.clone().int().expand([batch, n_orders, length]);
            Some(reset.gather(2, table.clone()).add(table.mul_scalar(2)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device() -> Device {
        Device::default()
    }

    #[test]
    fn a_row_that_is_not_a_permutation_is_refused() {
        let repeated = ScanOrder::new(&[vec![0, 1, 2], vec![0, 2, 2]], &device()).unwrap_err();
        assert_eq!(repeated, OrderError::NotAPermutation { row: 1, step: 2, index: 2, length: 3 });
        let outside = ScanOrder::new(&[vec![0, 3, 1]], &device()).unwrap_err();
        assert_eq!(outside, OrderError::NotAPermutation { row: 0, step: 1, index: 3, length: 3 });
        let ragged = ScanOrder::new(&[vec![0, 1], vec![0]], &device()).unwrap_err();
        assert_eq!(ragged, OrderError::Ragged { row: 1, actual: 1, expected: 2 });
        let empty = ScanOrder::new(&[], &device()).unwrap_err();
        assert_eq!(empty, OrderError::Empty { rows: 0, length: 0 });
        let negative = Tensor::<2, Int>::from_ints([[0, -1]], &device());
        assert!(ScanOrder::from_tensor(negative).is_err());
    }

    #[test]
    fn the_steps_table_joins_order_and_resets() {
        let order = ScanOrder::new(&[vec![2, 0, 1], vec![0, 1, 2]], &device()).unwrap();
        let reset = Tensor::<3, Bool>::from_data([[[false, true, false]]], &device());
        let table = steps_table(Some(&order), Some(&reset)).unwrap();
        let values: Vec<i64> = table.into_data().iter::<i64>().collect();
        assert_eq!(values, [4, 0, 3, 0, 3, 4]);
        let table = steps_table(None, Some(&reset)).unwrap();
        let values: Vec<i64> = table.into_data().iter::<i64>().collect();
        assert_eq!(values, [0, 3, 4]);
    }
}

//! Paths on a device.

use super::{OrderError, Path};
use burn::tensor::{Bool, Device, Tensor, TensorData};
use mamba_core::{CausalConv1dOptions, ScanOrder, SelectiveScanOptions};

/// Paths over the same tokens on a device, as the operators take them: all in one launch.
#[derive(Clone, Debug)]
pub struct ScanPaths {
    order: ScanOrder,
    /// `[1, paths, length]`, by place; none if no path starts anew.
    reset: Option<Tensor<3, Bool>>,
}

impl ScanPaths {
    /// Puts paths on `device`.
    ///
    /// # Errors
    /// [`OrderError::Table`] if there is no path, or if paths differ in length.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use mamba_vision::{Grid, Order, ScanPaths};
    ///
    /// let grid = Grid::image(2, 3);
    /// let rows = Order::row().path(grid)?;
    /// let paths = ScanPaths::new(&[rows.clone(), rows.reversed()], &Device::default())?;
    /// assert_eq!(paths.dims(), [2, 6]);
    /// # Ok::<(), mamba_vision::OrderError>(())
    /// ```
    pub fn new(paths: &[Path], device: &Device) -> Result<Self, OrderError> {
        let rows: Vec<_> = paths.iter().map(|path| path.steps().to_vec()).collect();
        let order = ScanOrder::new(&rows, device)?;
        let [_, length] = order.dims();
        // A start at the first step resets a state that is already zero.
        let is_in_parts = paths.iter().any(|path| path.starts().iter().any(|&start| start > 0));
        let reset = is_in_parts.then(|| {
            let mut reset = vec![false; paths.len() * length];
            for (row, path) in paths.iter().enumerate() {
                for &start in path.starts() {
                    reset[row * length + path.steps()[start]] = true;
                }
            }
            Tensor::from_data(TensorData::new(reset, [1, paths.len(), length]), device)
        });
        Ok(Self { order, reset })
    }

    /// `[paths, length]`.
    pub fn dims(&self) -> [usize; 2] {
        self.order.dims()
    }

    /// The table itself.
    pub fn order(&self) -> &ScanOrder {
        &self.order
    }

    /// `options` of a scan of `batch` images along these paths.
    pub fn scan(&self, batch: usize, options: SelectiveScanOptions) -> SelectiveScanOptions {
        let options = options.with_order(self.order.clone());
        match self.reset(batch) {
            Some(reset) => options.with_reset_per_order(reset),
            None => options,
        }
    }

    /// `options` of a convolution over `batch` images along these paths.
    pub fn convolution(&self, batch: usize, options: CausalConv1dOptions) -> CausalConv1dOptions {
        let options = options.with_order(self.order.clone());
        match self.reset(batch) {
            Some(reset) => options.with_reset_per_order(reset),
            None => options,
        }
    }

    fn reset(&self, batch: usize) -> Option<Tensor<3, Bool>> {
        let [paths, length] = self.dims();
        self.reset.clone().map(|reset| reset.expand([batch, paths, length]))
    }
}

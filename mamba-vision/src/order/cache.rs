//! Tables are built once for each shape and device.

use super::padded::{ClassPlace, padded};
use super::{Grid, Order, OrderError, Path, ScanPaths};
use burn::tensor::Device;
use std::sync::{Mutex, PoisonError};

/// Tables that are kept; the one that was not used for longest goes first.
const MOST_TABLES: usize = 64;

struct Entry {
    orders: Vec<Order>,
    grid: Grid,
    tokens: Tokens,
    device: Device,
    paths: ScanPaths,
}

/// What the tokens of a scan are.
#[derive(Clone, Copy, PartialEq)]
enum Tokens {
    /// The places of a grid.
    Places,
    /// The places of an image, a class token among them, and padding behind them.
    Padded(ClassPlace),
}

impl Entry {
    fn is_for(&self, orders: &[Order], grid: Grid, tokens: Tokens, device: &Device) -> bool {
        // A device with gradients may compare equal to the same without.
        let same_device = self.device == *device && self.device.is_autodiff() == device.is_autodiff();
        self.grid == grid && self.tokens == tokens && self.orders == orders && same_device
    }
}

static CACHE: Mutex<Vec<Entry>> = Mutex::new(Vec::new());

/// The paths of `orders` through `grid` on `device`, built the first time that they are asked for.
///
/// # Errors
/// [`OrderError`], as of [`Order::path`].
///
/// ```
/// use burn::tensor::Device;
/// use mamba_vision::{Grid, Order, scan_paths};
///
/// let paths = scan_paths(&Order::CROSS, Grid::image(4, 6), &Device::default())?;
/// assert_eq!(paths.dims(), [4, 24]);
/// # Ok::<(), mamba_vision::OrderError>(())
/// ```
pub fn scan_paths(orders: &[Order], grid: Grid, device: &Device) -> Result<ScanPaths, OrderError> {
    cached(orders, grid, Tokens::Places, device)
}

/// The paths of `orders` through an image whose windows are padded with tokens behind the others, which are zero; all
/// are as long as the longest. The class token, if there is one, is met at the step of its own place.
pub(crate) fn padded_scan_paths(
    orders: &[Order],
    grid: Grid,
    class: ClassPlace,
    device: &Device,
) -> Result<ScanPaths, OrderError> {
    cached(orders, grid, Tokens::Padded(class), device)
}

fn cached(orders: &[Order], grid: Grid, tokens: Tokens, device: &Device) -> Result<ScanPaths, OrderError> {
    let mut cache = CACHE.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(found) = cache.iter().position(|entry| entry.is_for(orders, grid, tokens, device)) {
        cache[found..].rotate_left(1);
        return Ok(cache[cache.len() - 1].paths.clone());
    }
    let paths = ScanPaths::new(&built(orders, grid, tokens)?, device)?;
    if cache.len() == MOST_TABLES {
        cache.remove(0);
    }
    cache.push(Entry { orders: orders.to_vec(), grid, tokens, device: device.clone(), paths: paths.clone() });
    Ok(paths)
}

fn built(orders: &[Order], grid: Grid, tokens: Tokens) -> Result<Vec<Path>, OrderError> {
    let Tokens::Padded(class) = tokens else { return orders.iter().map(|order| order.path(grid)).collect() };
    let paths = orders.iter().map(|&order| padded(order, grid, class)).collect::<Result<Vec<_>, _>>()?;
    let longest = paths.iter().map(|path| path.steps().len()).max().unwrap_or(0);
    // What a path does not need comes after all that it does.
    Ok(paths.into_iter().map(|path| path.extended(longest)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables that are kept for images of some width, which no other test uses.
    fn kept(width: usize) -> usize {
        CACHE.lock().unwrap().iter().filter(|entry| entry.grid.width == width).count()
    }

    #[test]
    fn a_table_is_built_once_for_each_shape_and_device() {
        let device = Device::default();
        let ask = |height, device: &Device| scan_paths(&Order::CROSS, Grid::image(height, 97), device).unwrap().dims();
        for _ in 0..3 {
            assert_eq!(ask(2, &device), [4, 194]);
            assert_eq!(ask(3, &device), [4, 291]);
        }
        assert_eq!(kept(97), 2);
        ask(3, &device.clone().autodiff());
        assert_eq!(kept(97), 3);
        // The oldest make room.
        for height in 4..100 {
            assert_eq!(ask(height, &device), [4, 97 * height]);
        }
        assert!(kept(97) <= MOST_TABLES);
        assert_eq!(ask(2, &device), [4, 194]);
    }
}

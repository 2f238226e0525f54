//! The directions of the published models.

use crate::order::{Grid, Order, OrderError};
use mamba_blocks::ConfigError;

const H: Order = Order::row();
const HF: Order = H.from_the_end();
const V: Order = Order::column();
const VF: Order = V.from_the_end();
const W2: Order = Order::window(2);
const W2F: Order = W2.from_the_end();
const W7: Order = Order::window(7);
const W7F: Order = W7.from_the_end();

/// The directions among which LocalMamba searches, in the order of the weights of a search: rows, columns, windows of 2 and
/// of 7, each also from the end.
pub const LOCAL_CHOICES: [Order; 8] = [H, HF, V, VF, W2, W2F, W7, W7F];

/// Those of a block.
type Block = [Order; 4];

/// Rows and windows, which the published models without a search have in every block.
pub(crate) const WITHOUT_SEARCH: Block = [H, HF, W2, W2F];

/// What the search for LocalVim-T found, block by block.
pub(crate) const LOCAL_VIM: [Block; 20] = [
    [H, VF, W7, W7F],
    [HF, W2F, W7, W7F],
    [H, HF, V, W7],
    [H, HF, V, VF],
    [H, HF, V, VF],
    [H, HF, V, VF],
    [HF, V, VF, W7],
    [HF, V, VF, W2F],
    [H, HF, V, VF],
    [H, HF, V, VF],
    [H, V, VF, W2],
    [H, V, VF, W2F],
    [H, HF, VF, W7],
    [HF, V, VF, W2],
    [H, HF, V, VF],
    [H, V, W2, W2F],
    [V, VF, W2, W7],
    [H, HF, V, W2],
    [H, HF, W2F, W7],
    [V, VF, W2, W2F],
];

/// What the search for LocalVMamba-T found, block by block.
pub(crate) const LOCAL_VMAMBA_TINY: [Block; 15] = [
    [H, HF, W7, W7F],
    [HF, VF, W2, W2F],
    [HF, VF, W2F, W7],
    [HF, V, VF, W2],
    [H, HF, VF, W2F],
    [HF, VF, W2, W2F],
    [H, W2F, W7, W7F],
    [H, HF, V, VF],
    [H, VF, W7, W7F],
    [HF, V, W2, W7F],
    [V, VF, W2, W7F],
    [H, HF, VF, W2F],
    [VF, W2F, W7, W7F],
    [HF, VF, W2F, W7F],
    [HF, V, W7, W7F],
];

/// What the search for LocalVMamba-S found, block by block.
pub(crate) const LOCAL_VMAMBA_SMALL: [Block; 33] = [
    [H, V, VF, W7F],
    [H, HF, V, W7],
    [HF, V, VF, W7],
    [HF, V, W2F, W7],
    [HF, V, W2F, W7],
    [HF, VF, W2, W7F],
    [HF, V, VF, W7],
    [H, V, VF, W7],
    [H, V, VF, W7],
    [H, V, VF, W7F],
    [H, HF, V, VF],
    [H, V, VF, W2],
    [V, VF, W2F, W7],
    [H, HF, V, W2],
    [HF, V, VF, W7F],
    [H, HF, V, VF],
    [H, V, VF, W7F],
    [H, V, VF, W7F],
    [H, HF, VF, W7],
    [HF, VF, W2F, W7],
    [HF, V, VF, W7F],
    [V, VF, W7, W7F],
    [H, V, VF, W7F],
    [HF, V, VF, W2],
    [H, V, VF, W2F],
    [H, HF, V, W7],
    [H, HF, W7, W7F],
    [H, VF, W2, W2F],
    [H, VF, W2, W7],
    [H, V, VF, W7F],
    [HF, V, W2F, W7],
    [HF, VF, W7, W7F],
    [H, V, W7, W7F],
];

/// The blocks as a setting.
pub(crate) fn lists(blocks: &[Block]) -> Vec<Vec<Order>> {
    blocks.iter().map(|block| block.to_vec()).collect()
}

/// Checks that there are directions, and that all are those of an image.
pub(crate) fn check_directions(directions: &[Order]) -> Result<(), ConfigError> {
    ConfigError::check_sizes(&[("directions", directions.len())])?;
    match directions.iter().find_map(|order| order.path(Grid::image(1, 1)).err()) {
        None => Ok(()),
        Some(OrderError::Zero { .. }) => Err(ConfigError::Zero { name: "directions" }),
        Some(_) => Err(ConfigError::OutOfRange { name: "directions", value: f64::NAN, expected: "orders of images" }),
    }
}

//! Which ways the scans of a block go.

use crate::local::LOCAL_CHOICES;
use crate::order::Order;
use serde::{Deserialize, Serialize};

/// Which ways the scans of a block go.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum ScanPattern {
    /// Rows and columns from both ends ([`Order::CROSS`]): VMamba.
    Cross,
    /// These, in windows that are padded to be whole, and with an attention: LocalVMamba.
    Local(Vec<Order>),
    /// All of [`LOCAL_CHOICES`], with weights to choose some by: the search for LocalVMamba's directions.
    LocalSearch,
    /// One through each of the four sub-grids of every second row and column: EfficientVMamba.
    Atrous,
}

impl ScanPattern {
    /// One for each direction, through the image, or through the sub-grid.
    pub fn orders(&self) -> &[Order] {
        match self {
            Self::Cross => &Order::CROSS,
            Self::Local(orders) => orders,
            Self::LocalSearch => &LOCAL_CHOICES,
            Self::Atrous => const { &[Order::row(), Order::column(), Order::row(), Order::column()] },
        }
    }

    pub(super) fn is_local(&self) -> bool {
        matches!(self, Self::Local(_) | Self::LocalSearch)
    }

    pub(super) fn is_search(&self) -> bool {
        *self == Self::LocalSearch
    }
}

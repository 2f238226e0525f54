//! What the two LocalMamba models share (Huang et al. 2024): directions, their attention and their sum, and the search for
//! them.

mod directions;
mod merge;

pub use directions::LOCAL_CHOICES;
pub(crate) use directions::{
    LOCAL_VIM, LOCAL_VMAMBA_SMALL, LOCAL_VMAMBA_TINY, WITHOUT_SEARCH, check_directions, lists,
};
pub use merge::DirectionMerge;

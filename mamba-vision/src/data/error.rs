//! What is wrong with a data set.

use std::path::{Path, PathBuf};
use thiserror::Error;

/// Why a data set was not read.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum DataError {
    /// The file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is of another kind.
    #[error("{path} is no idx file of bytes with {expected} dimensions: it begins with {found:02x?}")]
    Magic {
        /// The file.
        path: PathBuf,
        /// Its first bytes.
        found: Vec<u8>,
        /// The number of dimensions.
        expected: usize,
    },
    /// The file is cut short, or has something behind its end.
    #[error("{path} has {found} bytes of data, expected {expected} for the sizes {sizes:?} in its header")]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes that are there, or more than expected.
        found: usize,
        /// Bytes that the header promises.
        expected: u64,
        /// The sizes in the header.
        sizes: Vec<u32>,
    },
    /// There are no images, or they have no pixels.
    #[error("{path} has the sizes {sizes:?}, expected at least 1")]
    Empty {
        /// The file.
        path: PathBuf,
        /// The sizes in the header.
        sizes: Vec<u32>,
    },
    /// There is not one label for each image.
    #[error("{path} has {found} labels, expected {expected}, one for each image")]
    Labels {
        /// The file of labels.
        path: PathBuf,
        /// Number of labels.
        found: usize,
        /// Number of images.
        expected: usize,
    },
    /// A label is no class.
    #[error("label {index} of {path} is {label}, expected less than {classes}")]
    Label {
        /// The file of labels.
        path: PathBuf,
        /// Which label.
        index: usize,
        /// Its value.
        label: u8,
        /// Number of classes.
        classes: usize,
    },
}

impl DataError {
    pub(super) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        |source| Self::Read { path, source }
    }
}

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
        label: usize,
        /// Number of classes.
        classes: usize,
    },
    /// The file is no image that can be read.
    #[error("{path} is no image: {reason}")]
    Image {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The image is larger than any that makes sense here.
    #[error("{path} is too large an image: {reason}")]
    Huge {
        /// The file.
        path: PathBuf,
        /// Which limit it exceeds.
        reason: String,
    },
    /// The file has another size than its kind has.
    #[error("{path} has {found}, expected {expected}")]
    Size {
        /// The file.
        path: PathBuf,
        /// What it has.
        found: String,
        /// What it should have.
        expected: String,
    },
    /// A folder has no folder for a class.
    #[error("{path} has no classes, expected a folder of images for each")]
    NoClasses {
        /// The folder.
        path: PathBuf,
    },
    /// A folder has too many classes.
    #[error("{path} has {found} classes, expected at most {most}")]
    ManyClasses {
        /// The folder.
        path: PathBuf,
        /// Its classes.
        found: usize,
        /// The most that there may be.
        most: usize,
    },
    /// A folder of classes has no image, or none that can be read.
    #[error("{path} has no images that can be read; expected PNG or JPEG files")]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// The file of labels is no list of them.
    #[error("{path} is no JSON list of labels: {reason}")]
    LabelList {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl DataError {
    pub(super) fn read(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_path_buf();
        |source| Self::Read { path, source }
    }
}

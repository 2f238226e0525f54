//! A folder with a folder of pictures for each class, as ImageNet and many others come.

use super::decode::is_picture;
use super::{DataError, LabelledImages, Picture};
use std::fs;
use std::path::{Path, PathBuf};

/// The classes and the files of a folder that has a folder of PNG and JPEG files for each class.
///
/// ```
/// use mamba_vision::data::{FolderImages, ImageFolder};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path();
/// # for class in ["cat", "dog"] {
/// #     std::fs::create_dir(path.join(class))?;
/// #     image::GrayImage::new(20, 10).save(path.join(class).join("1.png"))?;
/// # }
/// // cat/1.png, dog/1.png
/// let folder = ImageFolder::open(path)?;
/// assert_eq!(folder.classes(), ["cat", "dog"]);
/// let FolderImages { images, skipped } = folder.read(3, [16, 16], || {})?;
/// assert_eq!((images.len(), images.dims(), skipped.len()), (2, [3, 16, 16], 0));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct ImageFolder {
    path: PathBuf,
    classes: Vec<String>,
    /// Files, and which class each shows.
    files: Vec<(PathBuf, u16)>,
}

/// What [`ImageFolder::read`] gives.
#[derive(Debug)]
pub struct FolderImages {
    /// The images that could be read.
    pub images: LabelledImages,
    /// What is wrong with the others.
    pub skipped: Vec<DataError>,
}

/// Labels have two bytes.
const MOST_CLASSES: usize = 1 << 16;

impl ImageFolder {
    /// Lists the folder at `path`: classes and files by name. Files of other kinds, and those that begin with a dot,
    /// are passed over.
    ///
    /// # Errors
    /// [`DataError::Read`], [`DataError::NoClasses`], [`DataError::ManyClasses`], and [`DataError::NoImages`] if no
    /// class has any.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, DataError> {
        let path = path.as_ref();
        let folders: Vec<_> = sorted(path)?.into_iter().filter(|entry| entry.is_dir()).collect();
        let (path, found) = (path.to_path_buf(), folders.len());
        match found {
            0 => return Err(DataError::NoClasses { path }),
            1..=MOST_CLASSES => {}
            _ => return Err(DataError::ManyClasses { path, found, most: MOST_CLASSES }),
        }
        let (mut classes, mut files) = (Vec::with_capacity(found), Vec::new());
        for (class, folder) in folders.iter().enumerate() {
            classes.push(folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
            let pictures = sorted(folder)?.into_iter().filter(|file| is_picture(file));
            files.extend(pictures.map(|file| (file, class as u16)));
        }
        match files.is_empty() {
            true => Err(DataError::NoImages { path }),
            false => Ok(Self { path, classes, files }),
        }
    }

    /// The names of the classes.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Number of files.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there are no files; what is opened has some.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// Decodes all files at `[height, width]`, as [`Picture::read_at`] does. A bad one is left out. `see` is called
    /// after each.
    ///
    /// # Errors
    /// [`DataError::NoImages`] if none is good.
    ///
    /// # Panics
    /// As [`Picture::read_at`].
    pub fn read(&self, channels: usize, size: [usize; 2], mut see: impl FnMut()) -> Result<FolderImages, DataError> {
        let (mut pixels, mut labels, mut skipped) = (Vec::new(), Vec::new(), Vec::new());
        for (file, class) in &self.files {
            match Picture::read_at(file, channels, size) {
                Ok(picture) => {
                    pixels.extend(picture.pixels);
                    labels.push(*class);
                }
                Err(error) => skipped.push(error),
            }
            see();
        }
        if labels.is_empty() {
            return Err(DataError::NoImages { path: self.path.clone() });
        }
        let [height, width] = size;
        let images = LabelledImages { pixels, labels, channels, height, width, classes: self.classes.len() };
        Ok(FolderImages { images, skipped })
    }
}

/// What is in a folder, by name, without what is hidden.
fn sorted(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let entries = fs::read_dir(folder).map_err(DataError::read(folder))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut paths = paths.map_err(DataError::read(folder))?;
    paths.retain(|path| path.file_name().is_some_and(|name| !name.to_string_lossy().starts_with('.')));
    paths.sort();
    Ok(paths)
}

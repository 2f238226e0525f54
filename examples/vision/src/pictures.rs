//! The pictures that a user names: files, and all in folders.

use std::fs;
use std::path::{Path, PathBuf};

use burn::tensor::{Device, Tensor, TensorData};
use mamba_vision::data::{Picture, is_picture};

use crate::error::Error;

/// Files as they are, and the PNG and JPEG files in folders, by name.
pub fn listed(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    for path in paths {
        match path.is_dir() {
            true => files.extend(in_folder(path)?),
            false => files.push(path.clone()),
        }
    }
    Ok(files)
}

fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let entries = fs::read_dir(folder).map_err(Error::read(folder))?;
    let paths: Result<Vec<_>, _> = entries.map(|entry| entry.map(|entry| entry.path())).collect();
    let mut files = paths.map_err(Error::read(folder))?;
    files.retain(|file| is_picture(file));
    files.sort();
    match files.is_empty() {
        true => Err(Error::NoPictures { path: folder.to_path_buf() }),
        false => Ok(files),
    }
}

/// What `work` makes of each file. One that fails is told and counted, and the next one follows.
pub fn for_each(files: &[PathBuf], mut work: impl FnMut(&Path) -> Result<(), Error>) -> Result<(), Error> {
    let mut first = None;
    let mut failed = 0;
    for file in files {
        if let Err(error) = work(file) {
            failed += 1;
            if files.len() > 1 {
                eprintln!("left out: {error}");
            }
            first.get_or_insert(error);
        }
    }
    match first {
        Some(first) if files.len() == 1 => Err(first),
        Some(first) if failed == files.len() => Err(Error::NoImages { count: failed, first: Box::new(first) }),
        Some(_) => {
            eprintln!("{failed} of {} images left out", files.len());
            Ok(())
        }
        None => Ok(()),
    }
}

/// A picture `[1, channels, height, width]` on a device, white being 1.
pub fn on_device(picture: &Picture, device: &Device) -> Tensor<4> {
    let values: Vec<_> = picture.pixels.iter().map(|&pixel| f32::from(pixel) / 255.0).collect();
    Tensor::from_data(TensorData::new(values, [1, picture.channels, picture.height, picture.width]), device)
}

//! The images to train on and to test with, from any of the forms that they come in.

use std::path::{Path, PathBuf};

use examples_common::progress;
use mamba_vision::data::{CIFAR10_CLASSES, ImageFolder, LabelledImages};

use crate::error::Error;

/// Images with the names of their classes.
pub struct DataSet {
    pub train: LabelledImages,
    pub test: LabelledImages,
    pub names: Vec<String>,
}

/// The classes of Fashion-MNIST.
const FASHION: [&str; 10] =
    ["T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"];
const DIGITS: [&str; 10] = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"];

/// The part of Fashion-MNIST that ships here.
pub fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data")
}

/// Reads what is in `folder`; pictures of a folder of classes get `side` rows and columns.
pub fn read(folder: &Path, side: usize) -> Result<DataSet, Error> {
    let has = |name: &str| folder.join(name).exists();
    let data = if has("train-images-idx3-ubyte.gz") || has("train-images-idx3-ubyte") {
        let is_fashion = folder.to_string_lossy().contains("fashion") || folder == shipped();
        let names = if is_fashion { FASHION } else { DIGITS };
        DataSet { train: idx(folder, "train")?, test: idx(folder, "t10k")?, names: names.map(String::from).to_vec() }
    } else if has("data_batch_1.bin") || has("data_batch_1.png") {
        let is_binary = has("data_batch_1.bin");
        let batches: Vec<_> = (1..=5).map(|batch| format!("data_batch_{batch}")).collect();
        let train = cifar(folder, &batches, "train_lables.json", is_binary)?;
        let test = cifar(folder, &["test_batch".into()], "test_lables.json", is_binary)?;
        DataSet { train, test, names: CIFAR10_CLASSES.map(String::from).to_vec() }
    } else if let Some(test) = ["test", "val"].into_iter().find(|test| has("train") && has(test)) {
        folders(folder, test, side)?
    } else {
        return Err(Error::NoData { path: folder.to_path_buf() });
    };
    match data.test.dims() == data.train.dims() {
        true => Ok(data),
        false => {
            let (found, expected) = (data.test.dims(), data.train.dims());
            Err(Error::OtherImages { path: folder.to_path_buf(), found, expected })
        }
    }
}

/// Images and labels with the names that the MNIST family is published under.
fn idx(folder: &Path, part: &str) -> Result<LabelledImages, Error> {
    let file = |name: &str| {
        let packed = folder.join(format!("{part}-{name}-ubyte.gz"));
        if packed.exists() { packed } else { packed.with_extension("") }
    };
    Ok(LabelledImages::read_idx(file("images-idx3"), file("labels-idx1"), DIGITS.len())?)
}

fn cifar(folder: &Path, batches: &[String], labels: &str, is_binary: bool) -> Result<LabelledImages, Error> {
    let extension = if is_binary { "bin" } else { "png" };
    let files: Vec<_> = batches.iter().map(|batch| folder.join(batch).with_extension(extension)).collect();
    Ok(match is_binary {
        true => LabelledImages::read_cifar10_binary(&files)?,
        false => LabelledImages::read_cifar10_png(&files, folder.join(labels))?,
    })
}

fn folders(folder: &Path, test: &str, side: usize) -> Result<DataSet, Error> {
    let [train, test] = [ImageFolder::open(folder.join("train"))?, ImageFolder::open(folder.join(test))?];
    if train.classes() != test.classes() {
        let (found, expected) = (test.classes().join(", "), train.classes().join(", "));
        return Err(Error::OtherClasses { path: folder.to_path_buf(), found, expected });
    }
    let names = train.classes().to_vec();
    let images = |folder: ImageFolder| -> Result<LabelledImages, Error> {
        let bar = progress::steps(folder.len(), 0);
        let read = folder.read(3, [side, side], || bar.inc(1))?;
        bar.finish_and_clear();
        if let Some(first) = read.skipped.first() {
            eprintln!("{} of {} images left out, such as this: {first}", read.skipped.len(), folder.len());
        }
        Ok(read.images)
    };
    Ok(DataSet { train: images(train)?, test: images(test)?, names })
}

//! `eval`: how often a trained model is right.

use std::path::PathBuf;

use burn::tensor::Device;
use clap::Args;
use examples_common::files::{publish, write_synced};

use crate::checkpoint::Checkpoint;
use crate::dataset;
use crate::error::Error;
use crate::evaluate::Confusion;

/// Tells how often the model of a run is right on the test images.
#[derive(Args)]
pub struct EvalArgs {
    /// Folder of the run
    #[arg(long, default_value = "runs/vision")]
    run: PathBuf,
    /// Folder of the images [default: that of the run]
    #[arg(long)]
    data: Option<PathBuf>,
    /// Confusion matrix as SVG [default: none]
    #[arg(long)]
    confusion: Option<PathBuf>,
}

pub fn eval(args: &EvalArgs, device: &Device) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(&args.run)?;
    let config = &checkpoint.config;
    let folder = args.data.as_ref().unwrap_or(&config.data);
    let data = dataset::read(folder, config.settings.side)?;
    if data.test.dims() != config.sizes.image {
        let (found, expected) = (data.test.dims(), config.sizes.image);
        return Err(Error::OtherImages { path: folder.clone(), found, expected });
    }
    if data.test.classes() != config.names.len() {
        let (found, expected) = (data.names.join(", "), config.names.join(", "));
        return Err(Error::OtherClasses { path: folder.clone(), found, expected });
    }
    let model = checkpoint.best(device)?;
    let confusion = Confusion::of(&model, &data.test, |images| config.normalized(images), device);
    for (name, share) in config.names.iter().zip(confusion.by_class()) {
        match share {
            Some(share) => println!("{:6.2} %  {name}", 100.0 * share),
            None => println!("no images  {name}"),
        }
    }
    println!("{:6.2} %  of {} images", 100.0 * confusion.accuracy(), data.test.len());
    if let Some(path) = &args.confusion {
        publish(path, |path| write_synced(path, confusion.svg(&config.names).as_bytes()))?;
    }
    Ok(())
}

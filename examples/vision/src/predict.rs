//! `predict`: what a trained model takes pictures for.

use std::path::PathBuf;

use burn::tensor::Device;
use burn::tensor::activation::softmax;
use clap::Args;
use mamba_vision::data::Picture;

use crate::checkpoint::Checkpoint;
use crate::error::Error;
use crate::pictures::{for_each, listed, on_device};

/// Tells what the model of a run takes pictures for.
#[derive(Args)]
pub struct PredictArgs {
    /// PNG or JPEG files, or folders of them
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Folder of the run
    #[arg(long, default_value = "runs/vision")]
    run: PathBuf,
    /// Number of classes to tell for each, the most likely first
    #[arg(long, default_value_t = 3)]
    top: usize,
    /// Dark and light change places: the images of the MNIST family are light on dark
    #[arg(long)]
    invert: bool,
}

pub fn predict(args: &PredictArgs, device: &Device) -> Result<(), Error> {
    let checkpoint = Checkpoint::open(&args.run)?;
    let (config, files) = (&checkpoint.config, listed(&args.images)?);
    let model = checkpoint.best(device)?;
    let [channels, height, width] = config.sizes.image;
    for_each(&files, |file| {
        let images = on_device(&Picture::read_at(file, channels, [height, width])?, device);
        let images = if args.invert { images.neg().add_scalar(1.0) } else { images };
        let shares = softmax(model.forward(config.normalized(images)), 1).into_data();
        let mut ranked: Vec<_> = shares.iter::<f32>().zip(&config.names).collect();
        ranked.sort_by(|(x, _), (y, _)| y.total_cmp(x));
        let told = ranked.iter().take(args.top).map(|(share, name)| format!("{name} {:.1} %", 100.0 * share));
        println!("{}: {}", file.display(), told.collect::<Vec<_>>().join(", "));
        Ok(())
    })
}

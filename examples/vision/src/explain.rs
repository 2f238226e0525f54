//! `explain`: where a trained model looks.

use std::fs;
use std::path::PathBuf;

use burn::module::Module;
use burn::tensor::{Device, Tensor};
use clap::Args;
use image::imageops::FilterType;
use image::{Rgb, RgbImage};
use mamba_vision::data::Picture;

use crate::checkpoint::{Checkpoint, Config};
use crate::error::Error;
use crate::heat;
use crate::model::Model;
use crate::pictures::{for_each, listed, on_device};

/// Draws on which pixels the answer of a run's model depends (saliency, Simonyan et al. 2014), for each picture, and on which
/// the middle of its last features does, over all of them (effective receptive field, Luo et al. 2016).
#[derive(Args)]
pub struct ExplainArgs {
    /// PNG or JPEG files, or folders of them
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// Folder of the run
    #[arg(long, default_value = "runs/vision")]
    run: PathBuf,
    /// Folder of the pictures
    #[arg(long, default_value = "runs/explain")]
    out: PathBuf,
    /// Dark and light change places: the images of the MNIST family are light on dark
    #[arg(long)]
    invert: bool,
}

pub fn explain(args: &ExplainArgs, device: &Device) -> Result<(), Error> {
    let mut checkpoint = Checkpoint::open(&args.run)?;
    let files = listed(&args.images)?;
    // Only pixels have gradients: the model is as in use, without dropped paths and with the statistics of its norms.
    checkpoint.config.sizes.drop_path = 0.0;
    let device = device.clone().autodiff();
    let config = &checkpoint.config;
    let model = Looking { model: checkpoint.best(&device)?.freeze(), config };
    fs::create_dir_all(&args.out).map_err(Error::write(&args.out))?;
    let [channels, height, width] = config.sizes.image;
    let mut field = vec![0.0; height * width];
    for_each(&files, |file| {
        let picture = Picture::read_at(file, channels, [height, width])?;
        let pixels = on_device(&picture, &device);
        let pixels = if args.invert { pixels.neg().add_scalar(1.0) } else { pixels };
        let (class, saliency) = model.saliency(pixels.clone());
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let path = args.out.join(format!("{name}-saliency.png"));
        let shown = heat::enlarged(&as_image(&picture), FilterType::Nearest);
        heat::write(&heat::beside(&[shown, heat::map(&saliency, width)]), &path)?;
        println!("{}: {}, {}", file.display(), config.names[class], path.display());
        let own = model.receptive_field(pixels).ok_or(Error::NoFeatures)?;
        field.iter_mut().zip(own).for_each(|(sum, own)| *sum += own);
        Ok(())
    })?;
    let path = args.out.join("receptive-field.png");
    heat::write(&heat::map(&field, width), &path)?;
    println!("{}", path.display());
    Ok(())
}

/// A model that is asked where it looks.
struct Looking<'a> {
    model: Model,
    config: &'a Config,
}

impl Looking<'_> {
    /// The most likely class, and for every pixel how much its score depends on it.
    fn saliency(&self, pixels: Tensor<4>) -> (usize, Vec<f32>) {
        let pixels = pixels.require_grad();
        let scores = self.model.forward(self.config.normalized(pixels.clone()));
        let class = scores.clone().argmax(1).into_scalar::<i64>() as usize;
        (class, dependence(&pixels, scores.narrow(1, class, 1).sum()))
    }

    /// For every pixel how much the middle of the last features depends on it; none without features.
    fn receptive_field(&self, pixels: Tensor<4>) -> Option<Vec<f32>> {
        let pixels = pixels.require_grad();
        let features = self.model.features(self.config.normalized(pixels.clone()))?;
        let [_, height, width, _] = features.dims();
        let middle = features.narrow(1, height / 2, 1).narrow(2, width / 2, 1).sum();
        Some(dependence(&pixels, middle))
    }
}

/// The greatest gradient of a pixel's channels, without its sign.
fn dependence(pixels: &Tensor<4>, value: Tensor<1>) -> Vec<f32> {
    let gradients = value.backward();
    let gradient = pixels.grad(&gradients).expect("the pixels have gradients");
    gradient.abs().max_dim(1).into_data().iter::<f32>().collect()
}

fn as_image(picture: &Picture) -> RgbImage {
    let (size, width) = (picture.height * picture.width, picture.width);
    RgbImage::from_fn(width as u32, picture.height as u32, |column, row| {
        let place = row as usize * width + column as usize;
        Rgb([0, 1, 2].map(|channel| picture.pixels[channel.min(picture.channels - 1) * size + place]))
    })
}

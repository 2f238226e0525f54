//! `super-resolve`: pictures of four times the size, by published weights.

mod raster;
mod tiles;

use std::path::{Path, PathBuf};

use burn::tensor::Device;
use clap::Args;
use image::RgbImage;
use image::imageops::{self, FilterType};
use mamba_vision::MambaSrConfig;

use crate::error::Error;
use crate::heat;
use raster::{Raster, is_tiff};

/// Enlarges a picture or a satellite image four times with the weights of opensr-mamba, which were trained on Sentinel-2:
/// red, green and blue of 10 m become 2.5 m.
#[derive(Args)]
pub struct SuperResolveArgs {
    /// PNG, JPEG or (Geo)TIFF of 8 or 16 bits or f32
    input: PathBuf,
    /// PNG, JPEG or (Geo)TIFF; a TIFF keeps type and place of a TIFF
    output: PathBuf,
    /// Which bands are red, green and blue, counted from 1
    #[arg(long, value_delimiter = ',', num_args = 3, default_value = "1,2,3", value_names = ["RED,GREEN,BLUE"])]
    bands: Vec<usize>,
    /// The value of full reflectance [default: 255 for 8 bits, 10000 for 16 bits, 1 for f32]
    #[arg(long)]
    white: Option<f32>,
    /// A part of the image: its first column and row, its columns and rows [default: all]
    #[arg(long, value_delimiter = ',', num_args = 4, value_names = ["LEFT,TOP,WIDTH,HEIGHT"])]
    crop: Option<Vec<usize>>,
    /// Pixels on the side of the tiles that a large image is taken apart into
    #[arg(long, default_value_t = 128)]
    tile: usize,
    /// Pixels by which tiles see beyond their edges
    #[arg(long, default_value_t = 16)]
    overlap: usize,
    /// Weights [default: srmodel.pth of opensr-mamba, which ships here]
    #[arg(long)]
    weights: Option<PathBuf>,
    /// A picture of the image before, enlarged bicubically, beside the one after [default: none]
    #[arg(long)]
    compare: Option<PathBuf>,
}

/// By what sides grow.
const TIMES: usize = 4;

pub fn super_resolve(args: &SuperResolveArgs, device: &Device) -> Result<(), Error> {
    let flag = |flag, given: &dyn ToString, expected| Err(Error::Flag { flag, given: given.to_string(), expected });
    if !(16..=1024).contains(&args.tile) {
        return flag("tile", &args.tile, "16 to 1024");
    }
    if args.overlap > 256 {
        return flag("overlap", &args.overlap, "at most 256");
    }
    if let Some(white) = args.white.filter(|white| !(*white > 0.0 && white.is_finite())) {
        return flag("white", &white, "a positive number");
    }
    let image = Raster::read(&args.input)?.bands(&args.bands, &args.input)?;
    let image = match &args.crop {
        Some(part) => image.cropped(part, &args.input)?,
        None => image,
    };
    let white = args.white.unwrap_or(image.kind.white());
    let weights = args.weights.clone().unwrap_or_else(shipped);
    let model = MambaSrConfig::opensr_rgb().load(weights, device)?;
    let enlarged = tiles::through(&model, &image, white, [args.tile, args.overlap], device);
    if let Some(path) = &args.compare {
        let before = picture(&image, white);
        let (width, height) = (enlarged.width as u32, enlarged.height as u32);
        let before = imageops::resize(&before, width, height, FilterType::CatmullRom);
        heat::write(&heat::beside(&[before, picture(&enlarged, white)]), path)?;
    }
    match is_tiff(&args.output) {
        true => enlarged.write_tiff(&args.output)?,
        false => heat::write(&picture(&enlarged, white), &args.output)?,
    }
    println!("{} x {} pixels, {}", enlarged.width, enlarged.height, args.output.display());
    Ok(())
}

/// Trained weights (C. Aybar, MIT).
fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/opensr-mamba/srmodel.pth")
}

/// Red, green and blue as 8 bits.
fn picture(image: &Raster, white: f32) -> RgbImage {
    let size = image.height * image.width;
    RgbImage::from_fn(image.width as u32, image.height as u32, |column, row| {
        let place = row as usize * image.width + column as usize;
        image::Rgb([0, 1, 2].map(|band| (image.values[band * size + place] / white * 255.0).round() as u8))
    })
}

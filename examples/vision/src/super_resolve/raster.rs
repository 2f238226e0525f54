//! Images of any number of bands, and where on the earth they are.

use std::fs::File;
use std::io::{BufReader, Cursor};
use std::path::Path;

use examples_common::files::{publish, write_synced};
use mamba_vision::data::Picture;
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::encoder::colortype::{ColorType, RGB8, RGB16, RGB32Float};
use tiff::encoder::{Compression, TiffEncoder, TiffValue};
use tiff::tags::Tag;

use crate::error::Error;

/// An image, band by band and row by row, in the values of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Raster {
    pub values: Vec<f32>,
    pub bands: usize,
    pub height: usize,
    pub width: usize,
    pub kind: Kind,
    place: Place,
}

/// The type of its values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    U8,
    U16,
    F32,
}

/// Where on the earth an image is (OGC GeoTIFF 1.1), as far as its size matters to it.
#[derive(Clone, Debug, Default, PartialEq)]
struct Place {
    /// Size of a pixel: x, y, z.
    scale: Vec<f64>,
    /// Points of the image (column, row, layer) with their coordinates, six numbers each.
    tie_points: Vec<f64>,
    /// In place of these, a matrix of four rows.
    transformation: Vec<f64>,
    keys: Vec<u16>,
    doubles: Vec<f64>,
    text: String,
}

/// Pixels of all bands together.
const MOST_VALUES: usize = 1 << 30;

/// Whether a file has one of the names that TIFF files have.
pub fn is_tiff(path: &Path) -> bool {
    path.extension().is_some_and(|extension| ["tif", "tiff"].iter().any(|tiff| extension.eq_ignore_ascii_case(tiff)))
}

impl Kind {
    /// The value of full reflectance, if nothing else is said; that of 16 bits is Sentinel-2's.
    pub fn white(self) -> f32 {
        match self {
            Self::U8 => 255.0,
            Self::U16 => 10_000.0,
            Self::F32 => 1.0,
        }
    }

    /// The greatest value.
    pub fn most(self) -> f32 {
        match self {
            Self::U8 => 255.0,
            Self::U16 => 65_535.0,
            Self::F32 => f32::MAX,
        }
    }
}

impl Raster {
    pub fn read(path: &Path) -> Result<Self, Error> {
        if is_tiff(path) {
            return read_tiff(path);
        }
        let Picture { pixels, channels, height, width } = Picture::read(path, 3)?;
        let values = pixels.into_iter().map(f32::from).collect();
        Ok(Self { values, bands: channels, height, width, kind: Kind::U8, place: Place::default() })
    }

    /// Those bands, counted from 1.
    pub fn bands(self, chosen: &[usize], path: &Path) -> Result<Self, Error> {
        let size = self.height * self.width;
        let mut values = Vec::with_capacity(chosen.len() * size);
        for &band in chosen {
            if !(1..=self.bands).contains(&band) {
                return Err(Error::Band { path: path.to_path_buf(), band, bands: self.bands });
            }
            values.extend_from_slice(&self.values[(band - 1) * size..band * size]);
        }
        Ok(Self { values, bands: chosen.len(), ..self })
    }

    /// The part with the first column and row, and the columns and rows, that `part` gives.
    pub fn cropped(self, part: &[usize], path: &Path) -> Result<Self, Error> {
        let &[left, top, width, height] = part else { unreachable!("clap counts them") };
        let fits =
            |start: usize, size: usize, of: usize| size > 0 && start.checked_add(size).is_some_and(|end| end <= of);
        if !fits(left, width, self.width) || !fits(top, height, self.height) {
            let given = part.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
            return Err(Error::Crop { path: path.to_path_buf(), given, width: self.width, height: self.height });
        }
        let mut values = Vec::with_capacity(self.bands * width * height);
        for band in 0..self.bands {
            for row in top..top + height {
                let start = (band * self.height + row) * self.width + left;
                values.extend_from_slice(&self.values[start..start + width]);
            }
        }
        let place = self.place.clone().moved(left as f64, top as f64);
        Ok(Self { values, height, width, place, ..self })
    }

    /// An image of `times` the size at the same place, all of it zero.
    pub fn enlarged(&self, times: usize) -> Self {
        let (height, width) = (times * self.height, times * self.width);
        let place = self.place.clone().enlarged(times as f64);
        Self { values: vec![0.0; self.bands * height * width], height, width, place, ..*self }
    }

    /// Writes red, green and blue.
    pub fn write_tiff(&self, path: &Path) -> Result<(), Error> {
        let mut bytes = Cursor::new(Vec::new());
        let written = match self.kind {
            Kind::U8 => self.encode::<RGB8>(&mut bytes, |value| value.round() as u8),
            Kind::U16 => self.encode::<RGB16>(&mut bytes, |value| value.round() as u16),
            Kind::F32 => self.encode::<RGB32Float>(&mut bytes, |value| value),
        };
        written.map_err(|error| Error::write(path)(std::io::Error::other(error)))?;
        Ok(publish(path, |path| write_synced(path, bytes.get_ref()))?)
    }

    fn encode<C: ColorType>(
        &self,
        bytes: &mut Cursor<Vec<u8>>,
        value: impl Fn(f32) -> C::Inner,
    ) -> Result<(), TiffError>
    where
        [C::Inner]: TiffValue,
    {
        let size = self.height * self.width;
        let pixels: Vec<_> = (0..size)
            .flat_map(|place| (0..self.bands).map(move |band| band * size + place))
            .map(|at| value(self.values[at]))
            .collect();
        let mut encoder = TiffEncoder::new(bytes)?.with_compression(Compression::Lzw);
        let mut image = encoder.new_image::<C>(self.width as u32, self.height as u32)?;
        let Place { scale, tie_points, transformation, keys, doubles, text } = &self.place;
        let directory = image.encoder();
        for (tag, numbers) in [
            (Tag::ModelPixelScaleTag, scale),
            (Tag::ModelTiepointTag, tie_points),
            (Tag::ModelTransformationTag, transformation),
            (Tag::GeoDoubleParamsTag, doubles),
        ] {
            if !numbers.is_empty() {
                directory.write_tag(tag, &numbers[..])?;
            }
        }
        if !keys.is_empty() {
            directory.write_tag(Tag::GeoKeyDirectoryTag, &keys[..])?;
            directory.write_tag(Tag::GeoAsciiParamsTag, text.as_str())?;
        }
        image.write_data(&pixels)
    }
}

fn read_tiff(path: &Path) -> Result<Raster, Error> {
    let refused = |reason: String| Error::Raster { path: path.to_path_buf(), reason };
    let failed = |error: TiffError| refused(error.to_string());
    let file = BufReader::new(File::open(path).map_err(Error::read(path))?);
    let mut decoder = Decoder::new(file).map_err(failed)?.with_limits(limits());
    let (width, height) = decoder.dimensions().map_err(failed)?;
    let size = width as usize * height as usize;
    if size == 0 {
        return Err(refused("it has no pixels".into()));
    }
    let bands = usize::from(decoder.colortype().map_err(failed)?.num_samples());
    if size.checked_mul(bands).is_none_or(|values| values > MOST_VALUES) {
        return Err(refused(format!("{width} x {height} pixels of {bands} bands, expected at most 2^30 values")));
    }
    let mut data = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut data).map_err(failed)?;
    let (kind, values): (_, Vec<f32>) = match data {
        DecodingResult::U8(values) => (Kind::U8, values.into_iter().map(f32::from).collect()),
        DecodingResult::U16(values) => (Kind::U16, values.into_iter().map(f32::from).collect()),
        DecodingResult::F32(values) => (Kind::F32, values),
        _ => return Err(refused("its values are of another type, expected 8 or 16 bits or f32".into())),
    };
    if values.len() != size * bands {
        return Err(refused(format!("it has {} values, expected {} for {bands} bands", values.len(), size * bands)));
    }
    let values = match layout.planes {
        1 => (0..bands).flat_map(|band| values.iter().skip(band).step_by(bands).copied()).collect(),
        _ => values,
    };
    let place = Place::of(&mut decoder);
    Ok(Raster { values, bands, height: height as usize, width: width as usize, kind, place })
}

/// Of decoding.
fn limits() -> Limits {
    let mut limits = Limits::default();
    limits.decoding_buffer_size = 4 * MOST_VALUES;
    limits
}

impl Place {
    /// What is not there, or of another type, is left empty.
    fn of<R: std::io::Read + std::io::Seek>(decoder: &mut Decoder<R>) -> Self {
        let mut numbers = |tag| decoder.get_tag_f64_vec(tag).unwrap_or_default();
        Self {
            scale: numbers(Tag::ModelPixelScaleTag),
            tie_points: numbers(Tag::ModelTiepointTag),
            transformation: numbers(Tag::ModelTransformationTag),
            doubles: numbers(Tag::GeoDoubleParamsTag),
            keys: decoder.get_tag_u16_vec(Tag::GeoKeyDirectoryTag).unwrap_or_default(),
            text: decoder.get_tag_ascii_string(Tag::GeoAsciiParamsTag).unwrap_or_default(),
        }
    }

    /// With the pixel at `left` and `top` as the first.
    fn moved(mut self, left: f64, top: f64) -> Self {
        for point in self.tie_points.as_chunks_mut::<6>().0 {
            point[0] -= left;
            point[1] -= top;
        }
        for row in self.transformation.as_chunks_mut::<4>().0 {
            row[3] += row[0] * left + row[1] * top;
        }
        self
    }

    /// With every pixel as `times` in each direction.
    fn enlarged(mut self, times: f64) -> Self {
        self.scale.iter_mut().take(2).for_each(|size| *size /= times);
        for point in self.tie_points.as_chunks_mut::<6>().0 {
            point[..2].iter_mut().for_each(|at| *at *= times);
        }
        for row in self.transformation.as_chunks_mut::<4>().0 {
            row[..2].iter_mut().for_each(|step| *step /= times);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raster(kind: Kind) -> Raster {
        let values = (0..3 * 4 * 5).map(|value| value as f32).collect();
        let place = Place {
            scale: vec![30.0, 30.0, 0.0],
            tie_points: vec![0.0, 0.0, 0.0, 1000.0, 2000.0, 0.0],
            keys: vec![1, 1, 0, 1, 1024, 0, 1, 1],
            text: "somewhere|".into(),
            ..Place::default()
        };
        Raster { values, bands: 3, height: 4, width: 5, kind, place }
    }

    #[test]
    fn what_is_written_is_read_again_with_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.TIF");
        for kind in [Kind::U8, Kind::U16, Kind::F32] {
            raster(kind).write_tiff(&path).unwrap();
            assert_eq!(Raster::read(&path).unwrap(), raster(kind));
        }
    }

    #[test]
    fn a_part_and_an_enlargement_stay_where_they_are() {
        let path = Path::new("image.tif");
        let part = raster(Kind::U8).cropped(&[1, 2, 3, 2], path).unwrap();
        assert_eq!(part.values[..6], [11.0, 12.0, 13.0, 16.0, 17.0, 18.0]);
        let enlarged = part.enlarged(4);
        assert_eq!((enlarged.height, enlarged.width, enlarged.values.len()), (8, 12, 288));
        let Place { scale, tie_points, .. } = &enlarged.place;
        assert_eq!((&scale[..2], &tie_points[..2]), (&[7.5, 7.5][..], &[-4.0, -8.0][..]));
        for part in [[0, 0, 6, 1], [4, 0, 2, 1], [0, 0, 0, 1], [usize::MAX, 0, 2, 1]] {
            assert!(matches!(raster(Kind::U8).cropped(&part, path), Err(Error::Crop { .. })));
        }
        assert!(matches!(raster(Kind::U8).bands(&[1, 4, 2], path), Err(Error::Band { band: 4, bands: 3, .. })));
        assert_eq!(raster(Kind::U8).bands(&[3, 1, 1], path).unwrap().values[0], 40.0);
    }

    #[test]
    fn what_is_no_tiff_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("image.tif");
        raster(Kind::U8).write_tiff(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        for length in [0, 3, 8, bytes.len() / 2] {
            std::fs::write(&path, &bytes[..length]).unwrap();
            assert!(matches!(Raster::read(&path), Err(Error::Raster { .. })), "{length}");
        }
    }
}

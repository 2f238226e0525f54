//! Data sets, whole and damaged.

use crate::{device, values};
use mamba_vision::data::{DataError, LabelledImages, Variation};
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::fs;
use std::path::Path;

/// Two images of 2 x 3 with the labels 1 and 0.
const IMAGES: [u8; 28] = [0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 3, 0, 51, 102, 153, 204, 255, 1, 2, 3, 4, 5, 6];
const LABELS: [u8; 10] = [0, 0, 8, 1, 0, 0, 0, 2, 1, 0];

fn read(folder: &Path, images: &[u8], labels: &[u8]) -> Result<LabelledImages, DataError> {
    fs::write(folder.join("images"), images).unwrap();
    fs::write(folder.join("labels"), labels).unwrap();
    LabelledImages::read_idx(folder.join("images"), folder.join("labels"), 2)
}

#[test]
fn images_and_labels_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let data = read(folder.path(), &IMAGES, &LABELS).unwrap();
    assert_eq!((data.len(), data.dims(), data.labels()), (2, [1, 2, 3], &[1, 0][..]));
    let (images, labels) = data.batch(&[0, 1, 0], &device());
    assert_eq!(images.dims(), [3, 1, 2, 3]);
    let expected = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0];
    assert!(values(images).iter().zip(expected).all(|(x, y)| (x - y).abs() < 1e-6));
    assert_eq!(labels.into_data().iter::<i64>().collect::<Vec<_>>(), [1, 0, 1]);
}

#[test]
fn a_varied_image_is_moved_or_mirrored() {
    let folder = tempfile::tempdir().unwrap();
    let data = read(folder.path(), &IMAGES, &LABELS).unwrap();
    let mut rng = StdRng::seed_from_u64(1);
    let mut varied = |variation| {
        let (images, _) = data.varied_batch(&[0; 64], variation, &mut rng, &device());
        let pixels: Vec<_> = values(images).into_iter().map(|x| (x * 5.0).round() as u8).collect();
        let mut images: Vec<_> = pixels.as_chunks::<6>().0.to_vec();
        images.sort();
        images.dedup();
        images
    };
    assert_eq!(varied(Variation::default()), [[0, 1, 2, 3, 4, 5]]);
    assert_eq!(varied(Variation { flip: true, ..Variation::default() }), [[0, 1, 2, 3, 4, 5], [2, 1, 0, 5, 4, 3]]);
    let moved = varied(Variation { shift: 1, ..Variation::default() });
    assert_eq!(moved.len(), 9);
    assert!(moved.contains(&[0, 0, 0, 0, 0, 1]), "{moved:?}");
    assert!(moved.contains(&[4, 5, 0, 0, 0, 0]), "{moved:?}");
}

#[test]
fn what_is_wrong_with_a_file_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let error = |images: &[u8], labels: &[u8]| read(folder.path(), images, labels).unwrap_err();
    let changed = |bytes: &[u8], at: usize, value: u8| {
        let mut bytes = bytes.to_vec();
        bytes[at] = value;
        bytes
    };
    for length in 0..16 {
        assert!(matches!(error(&IMAGES[..length], &LABELS), DataError::Magic { .. } | DataError::Length { .. }));
    }
    assert!(matches!(error(&IMAGES[..20], &LABELS), DataError::Length { found: 4, expected: 12, .. }));
    let longer = [&IMAGES[..], &[0]].concat();
    assert!(matches!(error(&longer, &LABELS), DataError::Length { found: 13, expected: 12, .. }));
    assert!(matches!(error(&changed(&IMAGES, 2, 9), &LABELS), DataError::Magic { .. }));
    assert!(matches!(error(&LABELS, &LABELS), DataError::Magic { expected: 3, .. }));
    assert!(matches!(error(&changed(&IMAGES, 7, 0), &LABELS), DataError::Empty { .. }));
    // A header that promises more than there is takes no memory.
    assert!(matches!(error(&changed(&IMAGES, 4, 255), &LABELS), DataError::Length { found: 12, .. }));
    let labels = [0, 0, 8, 1, 0, 0, 0, 1, 1];
    assert!(matches!(error(&IMAGES, &labels), DataError::Labels { found: 1, expected: 2, .. }));
    assert!(matches!(error(&IMAGES, &changed(&LABELS, 9, 2)), DataError::Label { index: 1, label: 2, .. }));
    let missing = LabelledImages::read_idx(folder.path().join("none"), folder.path().join("labels"), 2).unwrap_err();
    assert!(matches!(missing, DataError::Read { .. }));
    fs::write(folder.path().join("images.gz"), IMAGES).unwrap();
    let packed = LabelledImages::read_idx(folder.path().join("images.gz"), folder.path().join("labels"), 2);
    assert!(matches!(packed.unwrap_err(), DataError::Read { .. }));
}

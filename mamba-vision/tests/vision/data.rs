//! Data sets, whole and damaged.

use crate::{assert_close, device, random, values};
use burn::nn::LinearConfig;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::tensor::{Int, Tensor};
use image::{Rgb, RgbImage};
use mamba_vision::Ema;
use mamba_vision::data::{
    DataError, FolderImages, ImageFolder, LabelledImages, Mix, Picture, Variation, cross_entropy, one_hot,
};
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

fn write_png(path: &Path, [height, width]: [u32; 2], pixel: impl Fn(u32, u32) -> [u8; 3]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    RgbImage::from_fn(width, height, |column, row| Rgb(pixel(row, column))).save(path).unwrap();
}

#[test]
fn pictures_are_read_channel_by_channel() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    write_png(&path, [2, 3], |row, column| [row as u8, column as u8, 200]);
    let picture = Picture::read(&path, 3).unwrap();
    assert_eq!((picture.channels, picture.height, picture.width), (3, 2, 3));
    assert_eq!(picture.pixels, [[0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2], [200; 6]].concat());
    assert_eq!(Picture::read(&path, 1).unwrap().pixels.len(), 6);
    // At another size, the middle.
    write_png(&path, [40, 80], |_, column| [if (20..60).contains(&column) { 255 } else { 0 }; 3]);
    let picture = Picture::read_at(&path, 1, [8, 8]).unwrap();
    assert_eq!((picture.height, picture.width), (8, 8));
    assert!(picture.pixels.iter().all(|&pixel| pixel > 200), "{:?}", picture.pixels);
}

#[test]
fn a_folder_goes_on_past_a_bad_picture_and_counts_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    write_png(&path("dog/1.png"), [5, 9], |_, _| [1, 2, 3]);
    write_png(&path("cat/1.png"), [7, 7], |_, _| [4, 5, 6]);
    fs::copy(path("cat/1.png"), path("cat/2.png")).unwrap();
    fs::write(path("cat/3.png"), b"no picture").unwrap();
    let bytes = fs::read(path("cat/1.png")).unwrap();
    fs::write(path("cat/4.png"), &bytes[..bytes.len() / 2]).unwrap();
    fs::write(path("cat/notes.txt"), b"passed over").unwrap();
    fs::write(path("cat/.hidden.png"), b"passed over").unwrap();

    let images = ImageFolder::open(folder.path()).unwrap();
    assert_eq!((images.classes(), images.len()), (&["cat".to_string(), "dog".to_string()][..], 5));
    let mut seen = 0;
    let FolderImages { images, skipped } = images.read(3, [4, 4], || seen += 1).unwrap();
    assert_eq!((images.dims(), images.labels(), images.classes(), seen), ([3, 4, 4], &[0, 0, 1][..], 2, 5));
    assert_eq!(skipped.len(), 2);
    assert!(skipped.iter().all(|error| matches!(error, DataError::Image { .. })), "{skipped:?}");
    assert!(skipped[0].to_string().contains("3.png"), "{}", skipped[0]);
}

#[test]
fn a_folder_without_classes_or_pictures_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(ImageFolder::open(folder.path().join("none")).unwrap_err(), DataError::Read { .. }));
    assert!(matches!(ImageFolder::open(folder.path()).unwrap_err(), DataError::NoClasses { .. }));
    fs::create_dir(folder.path().join("cat")).unwrap();
    assert!(matches!(ImageFolder::open(folder.path()).unwrap_err(), DataError::NoImages { .. }));
    fs::write(folder.path().join("cat/1.jpg"), b"").unwrap();
    let images = ImageFolder::open(folder.path()).unwrap();
    assert!(matches!(images.read(3, [4, 4], || ()).unwrap_err(), DataError::NoImages { .. }));
}

#[test]
fn huge_and_empty_pictures_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    write_png(&path, [2, 3], |_, _| [0; 3]);
    // The header promises other sides; its checksum is theirs.
    let with_sides = |width: u32, height: u32| {
        let mut bytes = fs::read(&path).unwrap();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let checksum = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
        let changed = folder.path().join("changed.png");
        fs::write(&changed, bytes).unwrap();
        Picture::read(&changed, 3).unwrap_err()
    };
    assert!(matches!(with_sides(1 << 30, 1 << 30), DataError::Huge { .. }));
    assert!(matches!(with_sides(30_000, 30_000), DataError::Huge { .. }));
    assert!(matches!(with_sides(0, 2), DataError::Image { .. }));
}

/// The checksum of PNG.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc: u32, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}

#[test]
fn both_forms_of_cifar_10_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    // Two images: their channels count up to different numbers.
    let pixel = |image: usize, channel: usize, at: usize| ((at * (channel + 1) + image) % 251) as u8;
    let mut records = Vec::new();
    for (image, label) in [3, 9].into_iter().enumerate() {
        records.push(label);
        records.extend((0..3).flat_map(|channel| (0..1024).map(move |at| pixel(image, channel, at))));
    }
    fs::write(path("batch.bin"), &records).unwrap();
    write_png(&path("batch.png"), [2, 1024], |row, column| {
        [0, 1, 2].map(|channel| pixel(row as usize, channel, column as usize))
    });
    fs::write(path("labels.json"), "[3, 9]").unwrap();
    let binary = LabelledImages::read_cifar10_binary(&[path("batch.bin")]).unwrap();
    let png = LabelledImages::read_cifar10_png(&[path("batch.png")], path("labels.json")).unwrap();
    for data in [&binary, &png] {
        assert_eq!((data.dims(), data.labels(), data.classes()), ([3, 32, 32], &[3, 9][..], 10));
    }
    let images = |data: &LabelledImages| values(data.batch(&[0, 1], &device()).0);
    assert_eq!(images(&binary), images(&png));
    assert!((images(&binary)[1024 + 7] - f64::from(pixel(0, 1, 7)) / 255.0).abs() < 1e-6);

    let error = |records: &[u8]| {
        fs::write(path("bad.bin"), records).unwrap();
        LabelledImages::read_cifar10_binary(&[path("bad.bin")]).unwrap_err()
    };
    assert!(matches!(error(&[]), DataError::Size { .. }));
    assert!(matches!(error(&records[..4000]), DataError::Size { .. }));
    records[3073] = 10;
    assert!(matches!(error(&records), DataError::Label { index: 1, label: 10, classes: 10, .. }));
    let error = |labels: &str| {
        fs::write(path("bad.json"), labels).unwrap();
        LabelledImages::read_cifar10_png(&[path("batch.png")], path("bad.json")).unwrap_err()
    };
    assert!(matches!(error("[3"), DataError::LabelList { .. }));
    assert!(matches!(error("[3, -1]"), DataError::LabelList { .. }));
    assert!(matches!(error("[3]"), DataError::Labels { found: 1, expected: 2, .. }));
    assert!(matches!(error("[3, 10]"), DataError::Label { index: 1, .. }));
    write_png(&path("narrow.png"), [2, 32], |_, _| [0; 3]);
    let narrow = LabelledImages::read_cifar10_png(&[path("narrow.png")], path("labels.json"));
    assert!(matches!(narrow.unwrap_err(), DataError::Size { .. }));
}

#[test]
fn crops_and_colours_stay_images() {
    let folder = tempfile::tempdir().unwrap();
    write_png(&folder.path().join("cat/1.png"), [16, 16], |row, column| [row as u8 * 16, column as u8 * 16, 128]);
    let images = ImageFolder::open(folder.path()).unwrap().read(3, [16, 16], || ()).unwrap().images;
    let mut rng = StdRng::seed_from_u64(3);
    let mut varied = |variation| values(images.varied_batch(&[0; 16], variation, &mut rng, &device()).0);
    let plain = varied(Variation::default());
    for variation in [Variation { crop: 0.2, ..Variation::default() }, Variation { color: 0.4, ..Variation::default() }]
    {
        let changed = varied(variation);
        assert!(changed.iter().all(|value| (0.0..=1.0).contains(value)));
        assert!(changed.iter().zip(&plain).any(|(x, y)| (x - y).abs() > 0.05), "{variation:?}");
    }
    // A part of a ramp rises, and nothing black comes in.
    let cropped = varied(Variation { crop: 0.2, ..Variation::default() });
    assert!(cropped.chunks(256).skip(2).step_by(3).flatten().all(|&blue| (blue - 128.0 / 255.0).abs() < 1e-6));
    assert!(cropped[..256].chunks(16).is_sorted_by(|above, below| above[0] <= below[0]));
}

#[test]
fn mixed_images_have_the_classes_of_both() {
    let device = device();
    let labels = Tensor::<1, Int>::from_ints([0, 1, 2, 3], &device);
    let shares = one_hot(labels, 4, 0.2);
    assert!(values(shares.clone()).chunks(4).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-6));
    assert!((values(shares.clone())[0] - 0.85).abs() < 1e-6);
    // Every image is of its number.
    let images = Tensor::<1>::from_floats([0.0, 1.0, 2.0, 3.0], &device).reshape([4, 1, 1, 1]).expand([4, 2, 8, 8]);
    let mut rng = StdRng::seed_from_u64(5);
    let hard = one_hot(Tensor::from_ints([0, 1, 2, 3], &device), 4, 0.0);
    let mut is_mixed = [false; 2];
    for (kind, mix) in [Mix { mixup: 0.8, cutmix: 0.0 }, Mix { mixup: 0.0, cutmix: 1.0 }].into_iter().enumerate() {
        for _ in 0..20 {
            let (mixed, shares) = mix.apply(images.clone(), hard.clone(), &mut rng);
            // The mean over the pixels is the mean over the classes, weighted with their shares.
            let mean = values(mixed.mean_dim(3).mean_dim(2).mean_dim(1));
            for (row, mean) in values(shares).chunks(4).zip(mean) {
                let expected: f64 = row.iter().enumerate().map(|(class, share)| class as f64 * share).sum();
                assert!((mean - expected).abs() < 1e-5, "{mix:?}: {mean}, expected {expected}");
                is_mixed[kind] |= row.iter().all(|&share| share < 0.99);
            }
        }
    }
    assert_eq!(is_mixed, [true; 2]);
    let (unmixed, _) = Mix::default().apply(images.clone(), hard, &mut rng);
    assert_eq!(values(unmixed), values(images));
}

#[test]
fn soft_cross_entropy_is_that_of_burn_for_one_class() {
    let device = device();
    let logits = random([5, 4], &device);
    let labels = Tensor::<1, Int>::from_ints([0, 3, 1, 1, 2], &device);
    for smoothing in [0.0, 0.1] {
        let loss = CrossEntropyLossConfig::new().with_smoothing((smoothing > 0.0).then_some(smoothing as f32));
        let expected = loss.init(&device).forward(logits.clone(), labels.clone());
        let found = cross_entropy(logits.clone(), one_hot(labels.clone(), 4, smoothing));
        assert_close("loss", found, expected, 1e-5);
    }
}

#[test]
fn an_average_of_weights_follows_them() {
    let device = device().autodiff();
    let mut model = LinearConfig::new(2, 2).with_bias(false).init(&device);
    let weight = |value: f64| Tensor::<2>::full([2, 2], value, &device);
    model.weight = model.weight.map(|_| weight(0.0).require_grad());
    let mut average = Ema::new(&model, 0.5);
    // With decays of 1/10, 2/11 and 3/12.
    for (value, expected) in [(1.0, 0.9), (1.0, 10.8 / 11.0), (0.0, 2.7 / 11.0)] {
        model.weight = model.weight.map(|_| weight(value).require_grad());
        average.update(&model);
        let found = values(average.model().weight.val());
        assert!(found.iter().all(|value| (value - expected).abs() < 1e-6), "{found:?}, expected {expected}");
    }
    assert!(!average.model().weight.val().device().is_autodiff());
}

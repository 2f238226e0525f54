//! Chapter 'Vision: scan orders'.

use crate::random;
use burn::tensor::{Device, Tensor};
use mamba_core::{SelectiveScanOptions, selective_scan};
use mamba_vision::{Grid, Order, OrderError, ScanPaths, VMambaConfig, VimConfig, scan_paths};

// ANCHOR: path
/// The places of an image of 2 rows and 3 columns, in the order of four scans.
fn paths() -> Result<Vec<Vec<usize>>, OrderError> {
    let image = Grid::image(2, 3);
    let orders = [Order::row(), Order::column(), Order::snake(), Order::column().from_the_end()];
    orders.iter().map(|order| Ok(order.path(image)?.steps().to_vec())).collect()
}
// ANCHOR_END: path

// ANCHOR: scan
/// Four scans over one image in one launch: channel block `k` follows order `k`, and all read the same `u`.
fn cross_scan(u: Tensor<3>, image: Grid) -> Result<Tensor<3>, OrderError> {
    let (device, [batch, length, channels], d_state) = (u.device(), u.dims(), 8);
    let paths = scan_paths(&Order::CROSS, image, &device)?;
    let delta = random([batch, length, 4 * channels], &device).abs();
    let a = random([4 * channels, d_state], &device).abs().neg();
    let [b, c] = [(); 2].map(|()| random([batch, length, 4, d_state], &device));

    let y = selective_scan(u, delta, a, b, c, paths.scan(batch, SelectiveScanOptions::new())).y;
    Ok(y.reshape([batch, length, 4, channels]).sum_dim(2).squeeze_dim(2))
}
// ANCHOR_END: scan

// ANCHOR: parts
/// The sub-grids of every second row and column, each a sequence of its own, for all channels.
fn atrous(image: Grid, device: &Device) -> Result<ScanPaths, OrderError> {
    ScanPaths::new(&[Order::atrous(2).path(image)?], device)
}
// ANCHOR_END: parts

// ANCHOR: models
/// The classes of a batch of images by two small models; images may have any size for the second.
fn classes(images: Tensor<4>) -> [Tensor<2>; 2] {
    let (device, [_, _, height, width]) = (images.device(), images.dims());
    let vim = VimConfig::new(32).with_depth(2).with_image_size([height, width]).with_num_classes(10);
    let vmamba = VMambaConfig::new(16, vec![1, 1]).with_num_classes(10);
    [vim.init(&device).forward(images.clone()), vmamba.init(&device).forward(images)]
}
// ANCHOR_END: models

#[test]
fn orders_are_lists_of_places() {
    let paths = paths().unwrap();
    assert_eq!(paths[1], [0, 3, 1, 4, 2, 5]);
    assert_eq!(paths[2], [0, 1, 2, 5, 4, 3]);
}

#[test]
fn four_scans_meet_in_one_image() {
    let u = random([2, 15, 8], &Device::default());
    assert_eq!(cross_scan(u, Grid::image(3, 5)).unwrap().dims(), [2, 15, 8]);
}

#[test]
fn parts_start_anew() {
    let device = Device::default();
    assert_eq!(atrous(Grid::image(4, 6), &device).unwrap().dims(), [1, 24]);
    assert_eq!(Order::atrous(2).path(Grid::image(4, 6)).unwrap().starts().len(), 4);
}

#[test]
fn models_tell_classes() {
    let images = random([2, 3, 32, 48], &Device::default());
    assert!(classes(images).iter().all(|logits| logits.dims() == [2, 10]));
}

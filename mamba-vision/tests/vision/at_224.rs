//! All classifiers on images of real size, square and not, against the original networks
//! (`fixtures/make_vision_224.py`).

use crate::device;
use crate::fixture::{file, tensor};
use burn::tensor::{Tensor, TensorData};
use mamba_vision::{
    ClassToken, EfficientVMambaConfig, LocalVMambaConfig, LocalVimConfig, Order, VMambaConfig, VimConfig,
};

const SIZES: [(&str, [usize; 2]); 2] = [("", [224, 224]), ("_160", [160, 224])];

/// Numbers in [-1, 1) that a hash makes of their places.
fn image([height, width]: [usize; 2]) -> Tensor<4> {
    let number = |place: u64| ((place * 2_654_435_761 % (1 << 32)) >> 8) as f32 / (1 << 23) as f32 - 1.0;
    let numbers: Vec<_> = (0..(3 * height * width) as u64).map(number).collect();
    Tensor::from_data(TensorData::new(numbers, [1, 3, height, width]), &device())
}

/// Within 1e-3 of the original, and far nearer than that.
fn check(name: &str, forward: impl Fn(Tensor<4>, &str, [usize; 2]) -> Tensor<2>) {
    for (ending, size) in SIZES {
        let expected = tensor::<2>("logits_224", &format!("{name}{ending}"), &device());
        let difference = (forward(image(size), ending, size) - expected).abs().max().into_scalar::<f32>();
        println!("{name}, {size:?}: largest difference of the logits {difference:e}");
        assert!(difference <= 1e-4, "{name}, {size:?}: {difference:e}");
    }
}

fn windows() -> Vec<Vec<Order>> {
    let window = Order::window(7);
    vec![
        vec![Order::row(), Order::column().from_the_end(), Order::window(2), window.from_the_end()],
        vec![Order::row().from_the_end(), Order::column(), Order::window(2).from_the_end(), window],
    ]
}

#[test]
fn logits_of_vmamba_are_those_of_the_original() {
    let second =
        VMambaConfig::new(8, vec![1, 2, 1]).with_num_classes(5).load(file("vmamba_v05.pth"), &device()).unwrap();
    check("vmamba_v05", |images, _, _| second.forward(images));
    let first = VMambaConfig::vanilla(4, vec![1, 1, 2, 1]).with_num_classes(5).with_d_state(5);
    let first = first.load(file("vmamba_v0.pth"), &device()).unwrap();
    check("vmamba_v0", |images, _, _| first.forward(images));
}

#[test]
fn logits_of_vim_are_those_of_the_original() {
    let config = VimConfig::new(12).with_depth(2).with_num_classes(5).with_d_state(4).with_d_conv(3).with_stride(16);
    check("vim_224", |images, ending, size| {
        let config = config.clone().with_image_size(size);
        config.load(file(&format!("vim_224{ending}.pth")), &device()).unwrap().forward(images)
    });
}

#[test]
fn logits_of_local_vim_are_those_of_the_original() {
    let config = LocalVimConfig::new(12).with_depth(2).with_num_classes(5).with_d_state(4).with_d_conv(3);
    let config = config.with_rope(false).with_class_token(ClassToken::Middle).with_directions(Some(windows()));
    check("local_vim_224", |images, ending, size| {
        let config = config.clone().with_image_size(size);
        config.load(file(&format!("local_vim_224{ending}.pth")), &device()).unwrap().forward(images)
    });
}

#[test]
fn logits_of_local_vmamba_are_those_of_the_original() {
    let mut directions = windows();
    directions.push(vec![Order::row(), Order::window(7)]);
    let config =
        LocalVMambaConfig::new(4, vec![1, 2]).with_num_classes(5).with_d_state(3).with_directions(Some(directions));
    let model = config.load(file("local_vmamba.pth"), &device()).unwrap();
    check("local_vmamba", |images, _, _| model.forward(images));
}

#[test]
fn logits_of_efficient_vmamba_are_those_of_the_original() {
    let config = EfficientVMambaConfig::new(8, vec![1, 1, 1]).with_num_classes(5);
    let model = config.load(file("efficient_vmamba.pth"), &device()).unwrap();
    check("efficient_vmamba", |images, _, _| model.forward(images));
}

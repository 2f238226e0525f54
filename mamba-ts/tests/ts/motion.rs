//! Boxes of objects in motion.

use crate::fixture::collect;
use crate::{assert_close, device, values};
use burn::module::Module;
use burn::optim::{AdamConfig, GradientsParams};
use burn::tensor::{Device, Tensor};
use mamba_ts::motion::{BoundingBox, MotionPredictor, MotionPredictorConfig, TrackError, iou};

fn config() -> MotionPredictorConfig {
    MotionPredictorConfig::new().with_history(4).with_d_model(16).with_n_layer(1).with_d_state(2).with_dropout(0.0)
}

/// Tracks of constant speed, and their next boxes.
fn tracks(count: usize, device: &Device) -> (Tensor<3>, Tensor<2>) {
    let (mut boxes, mut next) = (Vec::new(), Vec::new());
    for track in 0..count {
        let (x, speed) = (0.1 + 0.05 * track as f32, 0.005 * (track % 5) as f32);
        let at = |frame: usize| [x + speed * frame as f32, 0.5 - speed * frame as f32, 0.1, 0.2];
        boxes.extend((0..4).flat_map(at));
        next.extend(at(4));
    }
    let data = |values: Vec<f32>, shape: Vec<usize>| burn::tensor::TensorData::new(values, shape);
    (Tensor::from_data(data(boxes, vec![count, 4, 4]), device), Tensor::from_data(data(next, vec![count, 4]), device))
}

#[test]
fn overlap_is_that_of_geometry() {
    let device = device();
    let a = Tensor::<2>::from_floats([[0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0], [0.0, 0.0, 2.0, 2.0]], &device);
    let b = Tensor::<2>::from_floats([[0.0, 0.0, 2.0, 2.0], [1.0, 0.0, 2.0, 2.0], [5.0, 0.0, 2.0, 2.0]], &device);
    assert_close("iou", iou(a, b), Tensor::from_floats([1.0, 1.0 / 3.0, 0.0], &device), 1e-6);
}

#[test]
fn predictions_move_and_grow_with_their_object() {
    let device = device();
    let model = config().init(&device);
    let (boxes, _) = tracks(3, &device);
    let next = model.forward(boxes.clone());
    let shift = Tensor::<1>::from_floats([0.3, -0.2, 0.0, 0.0], &device);
    let moved = model.forward(boxes.clone().mul_scalar(2.0) + shift.clone().unsqueeze());
    assert_close("moved", moved, next.mul_scalar(2.0) + shift.unsqueeze(), 1e-5);
}

#[test]
fn constant_speed_is_learnt() {
    let device = device().autodiff();
    let mut model = config().init(&device);
    let mut optimizer = AdamConfig::new().init();
    let (boxes, next) = tracks(16, &device);
    let first = model.loss(boxes.clone(), next.clone()).into_scalar::<f32>();
    for step in 0..60 {
        let gradients = model.loss(boxes.clone(), next.clone()).backward();
        if step == 0 {
            collect(&model, Some(&gradients));
        }
        let gradients = GradientsParams::from_grads(gradients, &model);
        model = optimizer.step(5e-3, model, gradients);
    }
    let last = model.loss(boxes, next).into_scalar::<f32>();
    assert!(last < 0.25 * first, "{first} to {last}");
}

#[test]
fn missing_boxes_are_filled_one_after_the_other() {
    let device = device();
    let model: MotionPredictor = config().init(&device).valid();
    let at = |frame: usize| BoundingBox { cx: 0.1 * frame as f32, cy: 0.5, w: 0.1, h: 0.2 };
    let track = [Some(at(0)), Some(at(1)), None, None, Some(at(4)), None];
    let filled = model.fill(&track, &device).unwrap();
    assert_eq!((filled.len(), filled[0], filled[4]), (6, at(0), at(4)));
    assert!(filled.iter().all(|found| found.is_valid()));
    assert_eq!(filled[3], model.next(&filled[..3], &device).unwrap());
    // With fewer boxes than it reads, the first stood still.
    let boxes = [at(0), at(0), at(0), at(1)].map(BoundingBox::to_array).concat();
    let boxes = Tensor::<3>::from_data(burn::tensor::TensorData::new(boxes, [1, 4, 4]), &device);
    let expected = values(model.forward(boxes));
    assert!((f64::from(filled[2].cx) - expected[0]).abs() < 1e-6);

    assert_eq!(model.fill(&[None, Some(at(1))], &device), Err(TrackError::NoStart));
    let flat = BoundingBox { w: 0.0, ..at(1) };
    assert!(matches!(model.fill(&[Some(at(0)), Some(flat)], &device), Err(TrackError::Box { frame: 1, .. })));
    assert_eq!(model.fill(&[], &device), Ok(vec![]));
    assert!(config().with_history(1).try_init(&device).is_err());
}

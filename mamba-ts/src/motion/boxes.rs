//! Boxes and their overlap.

use burn::tensor::Tensor;

/// A box by its centre and its sides.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BoundingBox {
    /// Centre, from the left.
    pub cx: f32,
    /// Centre, from the top.
    pub cy: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl BoundingBox {
    /// As `[cx, cy, w, h]`.
    pub fn to_array(self) -> [f32; 4] {
        [self.cx, self.cy, self.w, self.h]
    }

    /// From `[cx, cy, w, h]`.
    ///
    /// ```
    /// use mamba_ts::motion::BoundingBox;
    ///
    /// assert!(BoundingBox::from_array([0.5, 0.5, 0.2, 0.1]).is_valid());
    /// ```
    pub fn from_array([cx, cy, w, h]: [f32; 4]) -> Self {
        Self { cx, cy, w, h }
    }

    /// Whether all of it are numbers and neither side is 0 or less.
    pub fn is_valid(self) -> bool {
        self.to_array().into_iter().all(f32::is_finite) && self.w > 0.0 && self.h > 0.0
    }
}

/// Intersection over union of boxes `[boxes, 4]` with as many others: `[boxes]`. Sides below zero count as zero.
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use mamba_ts::motion::iou;
///
/// let device = Device::default();
/// let a = Tensor::<2>::from_floats([[0.0, 0.0, 2.0, 2.0]], &device);
/// // Half of it is the other's.
/// let b = Tensor::<2>::from_floats([[1.0, 0.0, 2.0, 2.0]], &device);
/// assert!((iou(a, b).into_scalar::<f32>() - 1.0 / 3.0).abs() < 1e-6);
/// ```
pub fn iou(a: Tensor<2>, b: Tensor<2>) -> Tensor<1> {
    let part = |boxes: &Tensor<2>, start: usize| boxes.clone().narrow(1, start, 2);
    let (size_a, size_b) = (part(&a, 2).clamp_min(0.0), part(&b, 2).clamp_min(0.0));
    let half = |size: &Tensor<2>| size.clone().mul_scalar(0.5);
    let low = (part(&a, 0) - half(&size_a)).max_pair(part(&b, 0) - half(&size_b));
    let high = (part(&a, 0) + half(&size_a)).min_pair(part(&b, 0) + half(&size_b));
    let area = |size: Tensor<2>| size.clone().narrow(1, 0, 1) * size.narrow(1, 1, 1);
    let common = area((high - low).clamp_min(0.0));
    let union = area(size_a) + area(size_b) - common.clone();
    (common / union.clamp_min(1e-12)).squeeze_dim(1)
}

//! Clipping by the norm of the whole gradient (Pascanu et al. 2013), where Burn's own clips each parameter by itself.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::Tensor;

/// Scales all gradients of `model` by one factor, so that their common norm is at most `limit`.
pub fn clip_norm<M: Module>(model: &M, grads: &mut GradientsParams, limit: f64) {
    let mut squares = SumOfSquares { grads, sum: None };
    model.visit(&mut squares);
    if let Some(sum) = squares.sum {
        let factor = (sum.sqrt() + 1e-6).recip().mul_scalar(limit).clamp_max(1.0);
        model.visit(&mut Scale { grads, factor });
    }
}

struct SumOfSquares<'a> {
    grads: &'a GradientsParams,
    sum: Option<Tensor<1>>,
}

impl ModuleVisitor for SumOfSquares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            let square = grad.square().sum();
            self.sum = Some(match self.sum.take() {
                Some(sum) => sum + square,
                None => square,
            });
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    factor: Tensor<1>,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.grads.register(param.id, grad * self.factor.clone().unsqueeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::nn::{Linear, LinearConfig};
    use burn::prelude::*;

    use super::*;

    fn norm_after(limit: f64) -> (f32, f32) {
        let device = Device::default().autodiff();
        let model: Linear = LinearConfig::new(4, 3).init(&device);
        let loss = model.forward(Tensor::<2>::ones([2, 4], &device)).mul_scalar(5.0).sum();
        let mut grads = GradientsParams::from_grads(loss.backward(), &model);
        let norm = |grads: &GradientsParams| {
            let square = |grad: Tensor<1>| grad.square().sum().into_scalar::<f32>();
            let weight = grads.get::<2>(model.weight.id).unwrap().flatten(0, 1);
            let bias = grads.get::<1>(model.bias.as_ref().unwrap().id).unwrap();
            (square(weight) + square(bias)).sqrt()
        };
        let before = norm(&grads);
        clip_norm(&model, &mut grads, limit);
        (before, norm(&grads))
    }

    #[test]
    fn a_large_gradient_gets_the_norm_of_the_limit() {
        let (before, after) = norm_after(1.0);
        assert!(before > 10.0 && (after - 1.0).abs() < 1e-5, "{before} {after}");
    }

    #[test]
    fn a_small_gradient_is_left_alone() {
        let (before, after) = norm_after(1e3);
        assert_eq!(before, after);
    }
}

//! Models whose parameters are in half precision.

use crate::{assert_close, random, random_tokens};
use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::{DType, Tensor};
use mamba_blocks::{MambaBlockConfig, MambaConfig, MambaLmConfig};

/// Every parameter in this precision.
pub(crate) struct Cast(pub(crate) DType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        param.map(|value| value.cast(self.0))
    }
}

#[test]
fn a_half_precision_model_is_near_the_f32_model() {
    let device = crate::device();
    let model = MambaLmConfig::new(40, 32, 2).init(&device);
    let tokens = random_tokens([2, 9], 40, &device);
    let expected = model.forward(tokens.clone());
    for (dtype, tolerance) in [(DType::BF16, 3e-2), (DType::F16, 3e-3)] {
        if !device.supports_dtype(dtype) {
            println!("skipped: the device has no {dtype:?}");
            continue;
        }
        let half = model.clone().map(&mut Cast(dtype));
        let logits = half.forward(tokens.clone());
        assert_eq!(logits.dtype(), dtype);
        assert_close(&format!("{dtype:?} logits"), logits, expected.clone(), tolerance);

        let (first, state) = half.forward_with_state(tokens.clone().narrow(1, 0, 8), half.init_state(2, &device));
        assert_eq!([state.layers[0].conv.dtype(), state.layers[0].ssm.dtype()], [dtype, DType::F32]);
        let (last, _) = half.step(tokens.clone().narrow(1, 8, 1).squeeze_dim(1), state);
        let logits = Tensor::cat(vec![first, last.unsqueeze_dim(1)], 1);
        assert_close(&format!("{dtype:?} steps"), logits, expected.clone(), tolerance);
    }
}

#[test]
fn the_residual_is_in_f32_unless_switched_off() {
    let device = crate::device();
    if !device.supports_dtype(DType::BF16) {
        return println!("skipped: the device has no bf16");
    }
    let config = MambaBlockConfig::new(MambaConfig::new(16));
    for (in_fp32, expected) in [(true, DType::F32), (false, DType::BF16)] {
        let block = config.clone().with_residual_in_fp32(in_fp32).init(&device).map(&mut Cast(DType::BF16));
        let x = random([1, 5, 16], &device).cast(DType::BF16);
        let (hidden, residual) = block.forward(x.clone(), Some(x));
        assert_eq!([hidden.dtype(), residual.dtype()], [DType::BF16, expected]);
    }
}

//! Packed documents, parts of a batch, recomputed blocks and several devices: the gradients are those of the plain way.

use crate::{assert_close, random_tokens, values};
use burn::module::{Module, ModuleVisitor, Param};
use burn::nn::loss::CrossEntropyLossConfig;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::{Bool, Device, Int, Tensor, TensorData};
use mamba_blocks::optim::data_parallel;
use mamba_blocks::{MambaLm, MambaLmConfig, PackError, Packed};

const TOLERANCE: f64 = 1e-5;

fn config() -> MambaLmConfig {
    MambaLmConfig::new(30, 12, 3).with_d_state(5).with_initializer_range(1.0)
}

fn gradients(loss: Tensor<1>, model: &MambaLm) -> GradientsParams {
    GradientsParams::from_grads(loss.backward(), model)
}

/// The gradients of every parameter.
fn assert_same(model: &MambaLm, found: &GradientsParams, expected: &GradientsParams) {
    struct Compare<'a>(&'a GradientsParams, &'a GradientsParams);

    impl ModuleVisitor for Compare<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let [found, expected] = [self.0, self.1].map(|of| of.get::<D>(param.id).unwrap());
            assert_close("gradient", found, expected, TOLERANCE);
        }
    }

    assert_eq!(found.len(), expected.len());
    model.visit(&mut Compare(found, expected));
}

/// The mean over all tokens but the last.
fn cross_entropy(logits: Tensor<3>, tokens: Tensor<2, Int>) -> Tensor<1> {
    let [_, length] = tokens.dims();
    let logits = logits.narrow(1, 0, length - 1).flatten(0, 1);
    CrossEntropyLossConfig::new().init(&logits.device()).forward(logits, tokens.narrow(1, 1, length - 1).flatten(0, 1))
}

fn documents() -> Vec<Vec<u32>> {
    let token = |document: u32, at: u32| (document * 7 + at * at * 3 + at) % 30;
    let lengths = [5, 9, 1, 12, 3, 7, 2];
    lengths.into_iter().zip(0..).map(|(length, document)| (0..length).map(|at| token(document, at)).collect()).collect()
}

fn alone(document: &[u32], device: &Device) -> Tensor<2, Int> {
    let data = TensorData::new(document.iter().map(|&token| i64::from(token)).collect(), [1, document.len()]);
    Tensor::from_data(data, device)
}

#[test]
fn packed_documents_are_those_alone() {
    let device = crate::device().autodiff();
    for tied in [true, false] {
        let model = config().with_tie_embeddings(tied).init(&device);
        let documents = documents();
        let packed = Packed::new(&documents, 14, &device).unwrap();
        let [rows, _] = packed.tokens.dims();
        assert_eq!(rows, 3);
        let logits = model.forward_packed(&packed);

        let mut sum = Tensor::<1>::zeros([1], &device);
        for (index, document) in documents.iter().enumerate() {
            let tokens = alone(document, &device);
            let expected = model.forward(tokens.clone());
            assert_close("logits", packed.document(logits.clone(), index), expected.clone(), TOLERANCE);
            if document.len() > 1 {
                sum = sum + cross_entropy(expected, tokens).mul_scalar(document.len() as f64 - 1.0);
            }
        }
        let targets: usize = documents.iter().map(|document| document.len() - 1).sum();
        let expected = sum.div_scalar(targets as f64);
        let loss = packed.loss(logits);
        assert_close("loss", loss.clone(), expected.clone(), TOLERANCE);
        assert_same(&model, &gradients(loss, &model), &gradients(expected, &model));
    }
}

#[test]
fn packing_places_every_document_once() {
    let device = crate::device();
    let packed = Packed::new(&documents(), 14, &device).unwrap();
    let places: Vec<_> = packed.places().iter().map(|(row, range)| (*row, range.start, range.end)).collect();
    // The first row with room: 5 + 9, 1 + 12, 3 + 7 + 2, and one token of the second row is left.
    assert_eq!(places, [(0, 0, 5), (0, 5, 14), (1, 0, 1), (1, 1, 13), (2, 0, 3), (2, 3, 10), (2, 10, 12)]);
    let ints = |x: Tensor<2, Int>| x.into_data().iter::<i64>().collect::<Vec<_>>();
    let bools = |x: Tensor<2, Bool>| ints(x.int());
    assert_eq!(ints(packed.positions)[28..], [0, 1, 2, 0, 1, 2, 3, 4, 5, 6, 0, 1, 0, 1]);
    assert_eq!(bools(packed.reset)[28..], [1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 0, 1, 0]);
    assert_eq!(bools(packed.has_target)[28..], [1, 1, 0, 1, 1, 1, 1, 1, 1, 0, 1, 0, 0, 0]);
    let (tokens, targets) = (ints(packed.tokens), ints(packed.targets));
    assert_eq!(tokens[29..31], targets[28..30]);

    let only = Packed::new(&[vec![3_u32]], 2, &device).unwrap();
    assert_eq!(values(only.loss(Tensor::zeros([1, 2, 4], &device))), [0.0]);
}

#[test]
fn documents_that_fit_no_row_are_named() {
    let device = crate::device();
    let error = |documents: &[Vec<u32>]| Packed::new(documents, 4, &device).unwrap_err();
    assert_eq!(error(&[]), PackError::NoDocuments);
    assert_eq!(error(&[vec![1], vec![]]), PackError::Length { document: 1, length: 0, row_length: 4 });
    assert_eq!(error(&[vec![1; 5]]), PackError::Length { document: 0, length: 5, row_length: 4 });
}

#[test]
fn parts_of_a_batch_add_up() {
    let device = crate::device().autodiff();
    let model = config().init(&device);
    let tokens = random_tokens([6, 11], 30, &device);
    let mut sum = GradientsAccumulator::new();
    for part in tokens.clone().split(2, 0) {
        let loss = cross_entropy(model.forward(part.clone()), part).div_scalar(3);
        sum.accumulate(&model, gradients(loss, &model));
    }
    let expected = gradients(cross_entropy(model.forward(tokens.clone()), tokens), &model);
    assert_same(&model, &sum.grads(), &expected);
}

#[test]
fn recomputed_blocks_give_the_same_gradients() {
    let device = crate::device().autodiff();
    let tokens = random_tokens([2, 11], 30, &device);
    let starts = TensorData::new((0..22).map(|at| at % 5 == 4).collect(), [2, 11]);
    let reset = Tensor::<2, Bool>::from_data(starts, &device);
    for (tied, reset) in [(true, None), (false, None), (true, Some(reset))] {
        let model = config().with_tie_embeddings(tied).init(&device);
        let mut options = mamba_blocks::LmOptions::new();
        if let Some(reset) = &reset {
            options = options.with_reset(reset.clone());
        }
        let expected = cross_entropy(model.forward_with(tokens.clone(), options).0, tokens.clone());
        let (loss, found) =
            model.gradients_by_block(tokens.clone(), reset, |logits| cross_entropy(logits, tokens.clone()));
        assert_close("loss", loss, expected.clone().inner(), TOLERANCE);
        assert_same(&model, &found, &gradients(expected, &model));
    }
}

#[test]
fn frozen_parameters_get_no_gradient_from_recomputed_blocks() {
    let device = crate::device().autodiff();
    let mut model = config().init(&device);
    model.embedding = model.embedding.freeze();
    model.layers[0] = model.layers[0].clone().freeze();
    let tokens = random_tokens([2, 11], 30, &device);
    let (_, found) = model.gradients_by_block(tokens.clone(), None, |logits| cross_entropy(logits, tokens.clone()));
    let expected = gradients(cross_entropy(model.forward(tokens.clone()), tokens), &model);
    assert_eq!(found.len(), expected.len());
    let weight = &model.layers[1].mixer.in_proj.weight;
    assert_close("gradient", found.get::<2>(weight.id).unwrap(), expected.get::<2>(weight.id).unwrap(), TOLERANCE);
}

#[test]
fn gradient_checkpointing_of_burn_gives_the_same_gradients() {
    let device = crate::device().autodiff();
    let model = config().init(&device);
    let tokens = random_tokens([2, 11], 30, &device);
    let expected = gradients(cross_entropy(model.forward(tokens.clone()), tokens.clone()), &model);
    let device = device.gradient_checkpointing();
    let model = model.fork(&device);
    let tokens = tokens.to_device(&device);
    let found = gradients(cross_entropy(model.forward(tokens.clone()), tokens), &model);
    assert_same(&model, &found, &expected);
}

#[test]
fn two_devices_give_the_gradients_of_one() {
    let device = crate::device().autodiff();
    let model = config().init(&device);
    let tokens = random_tokens([6, 11], 30, &device);
    let expected = gradients(cross_entropy(model.forward(tokens.clone()), tokens.clone()), &model);
    // The same device twice where there is one only: two replicas, on two threads.
    let parts = tokens.split(3, 0).into_iter().zip(devices(&device)).map(|(tokens, device)| (device, tokens)).collect();
    let found = data_parallel(&model, parts, |replica, tokens, device| {
        let tokens = tokens.to_device(device);
        gradients(cross_entropy(replica.forward(tokens.clone()), tokens).div_scalar(2), replica)
    });
    assert_same(&model, &found, &expected);
}

/// Two devices, different ones if `MAMBA_TEST_DEVICE` is cuda and there are two.
fn devices(device: &Device) -> [Device; 2] {
    #[cfg(feature = "cuda")]
    if std::env::var("MAMBA_TEST_DEVICE").as_deref() == Ok("cuda") && std::env::var_os("MAMBA_TEST_GPUS").is_some() {
        return [device.clone(), Device::cuda(1).autodiff()];
    }
    [device.clone(), device.clone()]
}

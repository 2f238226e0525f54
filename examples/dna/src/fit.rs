//! One training of a classifier, and what it says of other sequences.

use burn::lr_scheduler::module_lr_scheduler::ModuleLrScheduler;
use burn::module::Module;
use burn::nn::loss::CrossEntropyLossConfig;
use burn::nn::{Linear, LinearConfig};
use burn::optim::GradientsParams;
use burn::tensor::activation::softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use examples_common::files::{publish, write_synced};
use examples_common::progress;
use mamba_dna::data::augment;
use mamba_dna::objective::class_weights;
use mamba_dna::tokens::to_tensor;
use mamba_dna::{CaduceusClassifier, CaduceusConfig};
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;

use crate::baselines::{Cnn, kmer_counts};
use crate::error::Error;
use crate::finetune::{CLASSES, FinetuneArgs, Method};
use crate::fitting::{optimizer, schedule};
use crate::labelled::Labelled;
use crate::metrics::Predictions;
use crate::model::{Lm, classify};
use crate::pretrain::model_folder;

/// Longest k-mers that are counted.
const LONGEST: u32 = 5;

/// One training.
pub struct Fit<'a> {
    pub args: &'a FinetuneArgs,
    pub data: &'a Labelled,
    pub training: &'a [usize],
    pub config: &'a CaduceusConfig,
    pub device: &'a Device,
    pub seed: u64,
}

impl Fit<'_> {
    /// What the trained model says of the sequences `test`, and its number of parameters.
    pub fn method(&self, method: Method, test: &[usize], fold: usize) -> Result<(Predictions, usize), Error> {
        let classes = self.data.classes.len();
        let test = self.data.select(test);
        match method {
            Method::Ps | Method::Ph => {
                let model = self.caduceus(method)?;
                let model = self.train(method, model, |model, tokens| model.forward(to_tensor(tokens, self.device)))?;
                let valid = model.valid();
                if self.seed == 0 && fold == 0 && method == self.args.models[0] {
                    self.keep(&valid)?;
                }
                Ok((
                    predict(&test, &inner(self.device), |tokens, device| classify(&valid, to_tensor(tokens, device))),
                    model.num_params(),
                ))
            }
            Method::Cnn => {
                let size = self.config.num_params() + classes * self.config.d_model;
                let model = Cnn::of_size(size, self.data.length(), classes, self.device);
                let model = self.train(method, model, |model, tokens| model.forward(to_tensor(tokens, self.device)))?;
                let valid = model.valid();
                Ok((
                    predict(&test, &inner(self.device), |tokens, device| valid.forward(to_tensor(tokens, device))),
                    model.num_params(),
                ))
            }
            Method::Kmer => {
                let width = (1..=LONGEST).map(|k| 4_usize.pow(k)).sum();
                let model: Linear = LinearConfig::new(width, classes).init(self.device);
                let features = |tokens: &[&[u8]], device: &Device| kmer_counts(tokens, LONGEST, device);
                let model = self.train(method, model, |model, tokens| {
                    let tokens: Vec<_> = tokens.iter().map(Vec::as_slice).collect();
                    model.forward(features(&tokens, self.device))
                })?;
                let valid = model.valid();
                Ok((
                    predict(&test, &inner(self.device), |tokens, device| valid.forward(features(tokens, device))),
                    model.num_params(),
                ))
            }
        }
    }

    fn caduceus(&self, method: Method) -> Result<CaduceusClassifier, Error> {
        let classes = self.data.classes.len();
        let config = self.config.clone();
        match &self.args.pretrained {
            None => {
                let config = config.with_rcps(method == Method::Ps);
                Ok(config.classifier(config.try_init(self.device)?, classes))
            }
            Some(folder) => match Lm::open(&model_folder(folder), self.device)? {
                Lm::Masked(model) if model.caduceus.order.is_some() == (method == Method::Ps) => {
                    Ok(config.classifier(model.caduceus, classes))
                }
                _ => Err(Error::Kind { path: folder.clone(), found: "another model", expected: method.name() }),
            },
        }
    }

    /// Stores a model for `eval` and `saliency`, with the names of the classes.
    fn keep(&self, model: &CaduceusClassifier) -> Result<(), Error> {
        let folder = self.args.out.join("model");
        let config = self.config.clone().with_rcps(model.caduceus.order.is_some());
        model.save_pretrained(&config, &folder)?;
        let names = self.data.classes.join("\n") + "\n";
        Ok(publish(&folder.join(CLASSES), |path| write_synced(path, names.as_bytes()))?)
    }

    /// Trains on batches at random; a Caduceus for one strand gets every second sequence as its other strand.
    fn train<M: Module>(
        &self,
        method: Method,
        mut model: M,
        forward: impl Fn(&M, &[Vec<u8>]) -> Tensor<2>,
    ) -> Result<M, Error> {
        let FinetuneArgs { epochs, batch, weight_decay, balance, .. } = *self.args;
        let turns = method == Method::Ph;
        let steps = epochs * self.training.len().div_ceil(batch);
        let mut schedule: ModuleLrScheduler = schedule([steps, steps / 10, 0], self.args.lr(method), 0.0)?;
        let mut optimizer = optimizer(weight_decay);
        let labels = self.data.select(self.training).1;
        let weights = balance.then(|| class_weights(&labels, self.data.classes.len()));
        let loss = CrossEntropyLossConfig::new().with_weights(weights).init(self.device);
        let mut rng = StdRng::seed_from_u64(self.seed);
        let mut order = self.training.to_vec();
        let bar = progress::steps(steps, 0);
        let mut step = 0;
        for _ in 0..epochs {
            order.shuffle(&mut rng);
            for indices in order.chunks(batch) {
                let (tokens, labels) = self.data.select(indices);
                let turn = |tokens: &[u8]| if turns { augment(tokens.to_vec(), &mut rng) } else { tokens.to_vec() };
                let tokens: Vec<_> = tokens.into_iter().map(turn).collect();
                let labels: Vec<_> = labels.into_iter().map(|label| label as i32).collect();
                let targets = Tensor::<1, Int>::from_data(TensorData::new(labels, [indices.len()]), self.device);
                let loss = loss.forward(forward(&model, &tokens), targets);
                let value = loss.clone().into_scalar::<f32>();
                step += 1;
                if !value.is_finite() {
                    return Err(Error::Diverged { step, loss: value });
                }
                let gradients = GradientsParams::from_grads(loss.backward(), &model);
                model = optimizer.step(schedule.step().base(), model, gradients);
                bar.set_message(format!("loss {value:.3}"));
                bar.inc(1);
            }
        }
        bar.finish_and_clear();
        Ok(model)
    }
}

fn inner(device: &Device) -> Device {
    device.clone().inner()
}

/// The probabilities that `forward` gives sequences.
pub fn predict(
    (sequences, labels): &(Vec<&[u8]>, Vec<usize>),
    device: &Device,
    forward: impl Fn(&[&[u8]], &Device) -> Tensor<2>,
) -> Predictions {
    const ROWS: usize = 64;
    let mut probabilities = Vec::with_capacity(labels.len());
    for rows in sequences.chunks(ROWS) {
        let logits = forward(rows, device);
        let [_, classes] = logits.dims();
        let values: Vec<f32> = softmax(logits, 1).into_data().iter().collect();
        probabilities.extend(values.chunks(classes).map(<[f32]>::to_vec));
    }
    Predictions { labels: labels.clone(), probabilities }
}

//! The smallest program around a Mamba layer: a module of one's own that learns what to remember.
//!
//! A sequence shows symbols, and marks some of them. The module says at every token which symbol was marked last: it has
//! to keep that one and to let all others pass, which is what a *selective* state space is for.

use burn::nn::{LinearConfig, loss::CrossEntropyLossConfig};
use burn::optim::{AdamWConfig, GradientsParams};
use burn::tensor::{Bool, Device, Distribution, Int};

use burn::{module::Module, nn::Linear, tensor::Tensor};
use mamba_blocks::{Mamba, MambaConfig};

#[derive(Module, Debug)]
struct Tagger {
    mamba: Mamba,
    head: Linear,
}

impl Tagger {
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.head.forward(self.mamba.forward(x.clone()) + x)
    }
}

const SYMBOLS: usize = 8;
/// A token is a symbol, one-hot, and a channel that tells whether it is marked.
const D_MODEL: usize = SYMBOLS + 1;

/// Tokens `[batch, length, D_MODEL]`, and at each of them the symbol that was marked last, `[batch, length]`.
fn task(batch: usize, length: usize, device: &Device) -> (Tensor<3>, Tensor<2, Int>) {
    let uniform = |end| Tensor::<2>::random([batch, length], Distribution::Uniform(0.0, end), device);
    let symbols: Tensor<2, Int> = uniform(SYMBOLS as f64).int();
    let places = Tensor::<1, Int>::arange(0..length as i64, device).unsqueeze::<2>().expand([batch, length]);
    let marked: Tensor<2, Bool> = uniform(1.0).lower_elem(0.2).bool_or(places.clone().equal_elem(0));
    // The place that was marked last is the greatest so far.
    let last = (places * marked.clone().int()).cummax(1);
    let answers = symbols.clone().gather(1, last);

    let tokens = Tensor::cat(vec![symbols.one_hot::<3>(SYMBOLS).float(), marked.float().unsqueeze_dim(2)], 2);
    (tokens, answers)
}

/// The share of tokens that the module labels rightly.
fn accuracy(tagger: &Tagger, tokens: Tensor<3>, answers: Tensor<2, Int>) -> f32 {
    let labels = tagger.forward(tokens).argmax(2).squeeze_dim::<2>(2);
    labels.equal(answers).float().mean().into_scalar()
}

fn train(steps: usize, device: &Device) -> Tagger {
    let mamba = MambaConfig::new(D_MODEL).init(device);
    let mut tagger = Tagger { mamba, head: LinearConfig::new(D_MODEL, SYMBOLS).init(device) };
    let mut optimizer = AdamWConfig::new().init();
    for step in 1..=steps {
        let (tokens, answers) = task(32, 32, device);
        let scores = tagger.forward(tokens.clone()).flatten::<2>(0, 1);
        let loss = CrossEntropyLossConfig::new().init(device).forward(scores, answers.clone().flatten(0, 1));
        if step % 100 == 0 {
            println!("step {step}: loss {:.3}", loss.clone().into_scalar::<f32>());
        }
        let gradients = GradientsParams::from_grads(loss.backward(), &tagger);
        tagger = optimizer.step(1e-2, tagger, gradients);
    }
    tagger
}

fn main() {
    let device = Device::default();
    device.seed(1);
    let tagger = train(400, &device.clone().autodiff()).valid();

    let (tokens, answers) = task(100, 64, &device);
    println!(
        "sequences twice as long as in training: {:.1} % right",
        100.0 * accuracy(&tagger, tokens.clone(), answers)
    );

    // The same, token by token: the state has a fixed size, however long the sequence becomes.
    let mut state = tagger.mamba.init_state(100, &device);
    let mut outputs = Vec::new();
    for token in tokens.clone().iter_dim(1) {
        let (y, next) = tagger.mamba.step(token.squeeze_dim(1), state);
        outputs.push(y);
        state = next;
    }
    let difference = (Tensor::stack::<3>(outputs, 1) - tagger.mamba.forward(tokens)).abs().max();
    println!("steps and the scan differ by {:.1e}", difference.into_scalar::<f32>());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_learns_what_to_keep() {
        let device = Device::default();
        device.seed(1);
        let tagger = train(400, &device.clone().autodiff()).valid();
        let (tokens, answers) = task(100, 64, &device);
        let found = accuracy(&tagger, tokens, answers);
        assert!(found > 0.9, "{found}");
    }
}

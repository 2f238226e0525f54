//! Data parallelism: replicas of a model on several devices, one batch each.

use burn::module::Module;
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::tensor::Device;
use std::thread;

/// The sum of the gradients that `gradients` returns for each part, with a replica of `model` on the part's device; on the
/// first device, for its optimizer.
///
/// Every part is computed on a thread of its own, so that the devices work at the same time. A device may be named more
/// than once. Parts that are to count as one batch scale their losses with their share of it.
///
/// These are the means of Burn's own learner: [`Module::fork`], gradients that move between devices, and
/// [`GradientsAccumulator`]. They serve every device; Burn's collective operations (`burn::tensor::distributed`) are for
/// CUDA and remote devices only.
///
/// ```
/// use burn::optim::GradientsParams;
/// use burn::tensor::{Device, Int, Tensor};
/// use mamba_blocks::{MambaLmConfig, optim::data_parallel};
///
/// let device = Device::default().autodiff();
/// let model = MambaLmConfig::new(16, 8, 1).init(&device);
/// let parts = vec![(device.clone(), [[1, 2, 3]]), (device.clone(), [[4, 5, 6]])];
/// let gradients = data_parallel(&model, parts, |replica, tokens, device| {
///     let logits = replica.forward(Tensor::<2, Int>::from_ints(tokens, device));
///     GradientsParams::from_grads(logits.square().mean().div_scalar(2).backward(), replica)
/// });
/// assert!(!gradients.is_empty());
/// ```
///
/// # Panics
/// If there is no part, or with the panic of a thread.
pub fn data_parallel<M, B>(
    model: &M,
    parts: Vec<(Device, B)>,
    gradients: impl Fn(&M, B, &Device) -> GradientsParams + Sync,
) -> GradientsParams
where
    M: Module + Send + Sync,
    B: Send,
{
    let (first, _) = parts.first().expect("data_parallel: there is no part");
    let first = first.clone();
    let gradients = &gradients;
    thread::scope(|scope| {
        let compute = |(device, batch): (Device, B)| {
            let replica = model.clone().fork(&device);
            scope.spawn(move || gradients(&replica, batch, &device))
        };
        let threads: Vec<_> = parts.into_iter().map(compute).collect();
        let mut sum = GradientsAccumulator::new();
        // In the order of the parts, whichever is ready first, so that the sum is the same in every run.
        for thread in threads {
            let part = thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            sum.accumulate(model, part.to_device(&first, model));
        }
        sum.grads()
    })
}

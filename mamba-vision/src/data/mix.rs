//! Images mixed with others of their batch, and their classes with them.

use burn::tensor::activation::log_softmax;
use burn::tensor::{Device, Int, Tensor, TensorData};
use rand::seq::SliceRandom;
use rand::{Rng, RngExt};
use rand_distr::{Beta, Distribution};

/// How often, and by how much, the images of a batch are mixed; none by default.
///
/// ```
/// use burn::tensor::{Device, Int, Tensor};
/// use mamba_vision::data::{Mix, cross_entropy, one_hot};
/// use rand::{SeedableRng, rngs::StdRng};
///
/// let device = Device::default();
/// let images = Tensor::<4>::ones([2, 3, 8, 8], &device);
/// let shares = one_hot(Tensor::<1, Int>::from_ints([0, 2], &device), 4, 0.1);
/// let mix = Mix { mixup: 0.8, cutmix: 1.0 };
/// let (images, shares) = mix.apply(images, shares, &mut StdRng::seed_from_u64(1));
/// assert_eq!((images.dims(), shares.dims()), ([2, 3, 8, 8], [2, 4]));
///
/// // Of logits that know nothing.
/// let loss = cross_entropy(Tensor::zeros([2, 4], &device), shares);
/// assert!((loss.into_scalar::<f32>() - 4_f32.ln()).abs() < 1e-5);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mix {
    /// Mixup (Zhang et al. 2018): images are added up; the weight is drawn from a beta distribution with this number
    /// twice, and 0 is none.
    pub mixup: f64,
    /// CutMix (Yun et al. 2019): a rectangle of an image is another's; its area is drawn so.
    pub cutmix: f64,
}

/// The share of every class in every image, `[batch, classes]`: of its own all but `smoothing`, which all classes
/// share.
pub fn one_hot(labels: Tensor<1, Int>, classes: usize, smoothing: f64) -> Tensor<2> {
    let own: Tensor<2> = labels.one_hot::<2>(classes).float();
    own.mul_scalar(1.0 - smoothing).add_scalar(smoothing / classes as f64)
}

/// Cross entropy of logits `[batch, classes]` against shares of classes, as of [`one_hot`] and [`Mix::apply`].
pub fn cross_entropy(logits: Tensor<2>, shares: Tensor<2>) -> Tensor<1> {
    (log_softmax(logits, 1) * shares).sum_dim(1).mean().neg()
}

impl Mix {
    /// Mixes every image `[batch, channels, height, width]` with another of the batch, and the shares of their classes
    /// `[batch, classes]` as their pixels: by mixup, by CutMix, or by one of them at random.
    ///
    /// # Panics
    /// If a number of the settings is negative.
    pub fn apply<R: Rng + ?Sized>(&self, images: Tensor<4>, shares: Tensor<2>, rng: &mut R) -> (Tensor<4>, Tensor<2>) {
        let cuts = match (self.mixup > 0.0, self.cutmix > 0.0) {
            (false, false) => return (images, shares),
            (true, true) => rng.random::<bool>(),
            (_, cuts) => cuts,
        };
        let device = images.device();
        let [batch, _, height, width] = images.dims();
        let mut partners: Vec<_> = (0..batch as i32).collect();
        partners.shuffle(rng);
        let partners = Tensor::<1, Int>::from_data(TensorData::new(partners, [batch]), &device);
        let others = images.clone().select(0, partners.clone());
        let own = share(if cuts { self.cutmix } else { self.mixup }, rng);
        let (images, own) = match cuts {
            true => {
                let (mask, own) = rectangle([height, width], own, rng, &device);
                (images.clone() + (others - images) * mask, own)
            }
            false => (images.mul_scalar(own) + others.mul_scalar(1.0 - own), own),
        };
        let shares = shares.clone().mul_scalar(own) + shares.select(0, partners).mul_scalar(1.0 - own);
        (images, shares)
    }
}

/// Drawn from a beta distribution with `alpha` twice.
fn share<R: Rng + ?Sized>(alpha: f64, rng: &mut R) -> f64 {
    Beta::new(alpha, alpha).unwrap_or_else(|error| panic!("Mix: {alpha}: {error}")).sample(rng)
}

/// A mask `[1, 1, height, width]` that is 1 in a rectangle of about `1 - own` of all places, and the share outside of
/// it.
fn rectangle<R: Rng + ?Sized>(size: [usize; 2], own: f64, rng: &mut R, device: &Device) -> (Tensor<4>, f64) {
    let [rows, columns] = size.map(|side| {
        let (half, middle) = ((side as f64 * (1.0 - own).sqrt() / 2.0) as usize, rng.random_range(0..side));
        middle.saturating_sub(half)..(middle + half).min(side)
    });
    let [height, width] = size;
    let places = (0..height).flat_map(|row| (0..width).map(move |column| (row, column)));
    let mask: Vec<f32> =
        places.map(|(row, column)| f32::from(rows.contains(&row) && columns.contains(&column))).collect();
    let inside = (rows.len() * columns.len()) as f64 / (height * width) as f64;
    (Tensor::from_data(TensorData::new(mask, [1, 1, height, width]), device), 1.0 - inside)
}

//! Rotary positions of an image's tokens.

use burn::module::Module;
use burn::tensor::{Device, Tensor, TensorData};

/// Turns pairs of channels by angles that rise with the row in the first half of the channels, and with the column in the
/// second (EVA-02, Fang et al. 2023). Row `h` of `H` counts as `14 h / H`, for images of any size.
#[derive(Module, Debug)]
pub struct Rope {
    /// `[tokens, d_model]`; computed, so neither trained nor stored.
    cos: Tensor<2>,
    /// As `cos`.
    sin: Tensor<2>,
}

/// Rows of the images that positions are counted in.
const ROWS: f64 = 14.0;
const THETA: f64 = 10_000.0;

impl Rope {
    /// `d_model` has been checked to be a multiple of 4.
    pub(super) fn new(d_model: usize, [height, width]: [usize; 2], device: &Device) -> Self {
        let half = d_model / 2;
        let angle = |place: usize, channel: usize| {
            let (at, of) = if channel < half { (place / width, height) } else { (place % width, width) };
            let pair = channel % half / 2;
            at as f64 / of as f64 * ROWS * THETA.powf(-((2 * pair) as f64) / half as f64)
        };
        let table = |of: fn(f64) -> f64| {
            let places = (0..height * width).flat_map(|place| (0..d_model).map(move |channel| (place, channel)));
            let values: Vec<_> = places.map(|(place, channel)| of(angle(place, channel)) as f32).collect();
            Tensor::from_data(TensorData::new(values, [height * width, d_model]), device)
        };
        Self { cos: table(f64::cos), sin: table(f64::sin) }
    }

    /// `[batch, tokens, d_model]`, the same shape.
    pub fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        let [batch, tokens, d_model] = x.dims();
        let pairs = x.clone().reshape([batch, tokens, d_model / 2, 2]);
        // (x0, x1) becomes (-x1, x0).
        let turned = Tensor::cat(vec![pairs.clone().narrow(3, 1, 1).neg(), pairs.narrow(3, 0, 1)], 3);
        let turned = turned.reshape([batch, tokens, d_model]);
        let [cos, sin] = [&self.cos, &self.sin].map(|table| table.clone().cast(x.dtype()).unsqueeze::<3>());
        x * cos + turned * sin
    }
}

//! Forecasts of a stream: one row in, a forecast out, at a cost that does not grow.

use super::{Forecast, ForecastError, Forecaster, check_horizon, check_row, fit_network};
use crate::data::{Calendar, Frequency, Series, StandardScaler, filled};
use crate::mamba_forecaster::{ForecasterState, MambaForecaster};
use crate::network::Network;
use crate::training::TrainingConfig;
use burn::tensor::{Device, Tensor, TensorData};

/// A [`MambaForecaster`] that carries its state from row to row.
///
/// ```
/// use burn::tensor::Device;
/// use mamba_ts::data::{Series, StandardScaler};
/// use mamba_ts::forecast::{Forecaster, StreamingForecaster};
/// use mamba_ts::{MambaForecasterConfig, training::TrainingConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let waves = (0..120).map(|row| (row as f32 / 4.0).sin()).collect();
/// # let series = Series::new(vec!["wave".into()], waves, None);
/// # let device = Device::default().autodiff();
/// let config = MambaForecasterConfig::new(24, 12).with_patch(6).with_d_model(8).with_n_layer(1);
/// let mut forecaster = StreamingForecaster::new(config.init(&device), TrainingConfig::new().with_epochs(1), &device);
/// forecaster.fit(&series)?;
/// // A new row costs one step, however many there were before.
/// forecaster.update(&[0.5])?;
/// assert_eq!(forecaster.predict(12)?.horizon(), 12);
///
/// // With a network from a file, and the scaler of its training.
/// let device = device.inner();
/// let (network, scaler) = (config.init(&device), StandardScaler::fit(&series, 0..120));
/// let mut forecaster = StreamingForecaster::fitted(network, scaler, TrainingConfig::new(), &series, &device);
/// forecaster.observe(&series)?;
/// assert_eq!(forecaster.predict(12)?.horizon(), 12);
/// # Ok(())
/// # }
/// ```
pub struct StreamingForecaster {
    untrained: MambaForecaster,
    training: TrainingConfig,
    device: Device,
    fitted: Option<Fitted>,
}

struct Fitted {
    network: MambaForecaster,
    scaler: StandardScaler,
    names: Vec<String>,
    frequency: Option<Frequency>,
    stream: Option<Stream>,
}

/// What is left of the past.
struct Stream {
    state: ForecasterState,
    /// The feature of the last row: `[variates, 1, d_model]`.
    feature: Tensor<3>,
    /// The last row, scaled and without gaps.
    last: Vec<f32>,
    /// That of the rows to come.
    calendar: Option<Calendar>,
}

/// Rows that are read at a time.
const CHUNK: usize = 4096;

impl StreamingForecaster {
    /// One that has learnt nothing. `network` is on `device`, which has gradients.
    pub fn new(network: MambaForecaster, training: TrainingConfig, device: &Device) -> Self {
        Self { untrained: network, training, device: device.clone(), fitted: None }
    }

    /// One that has learnt already: `network` has no gradients, and the series was scaled by `scaler`. It has no past.
    pub fn fitted(
        network: MambaForecaster,
        scaler: StandardScaler,
        training: TrainingConfig,
        like: &Series,
        device: &Device,
    ) -> Self {
        let fitted = Some(Fitted::new(network.clone(), scaler, like));
        Self { untrained: network, training, device: device.clone(), fitted }
    }
}

impl Fitted {
    fn new(network: MambaForecaster, scaler: StandardScaler, like: &Series) -> Self {
        let frequency = like.calendar().map(|calendar| calendar.frequency);
        Self { network, scaler, names: like.names().to_vec(), frequency, stream: None }
    }

    /// Reads rows that are scaled and have no gaps, behind those before.
    fn read(&mut self, rows: &[f32], marks: Option<&[f32]>, calendar: Option<Calendar>, device: &Device) {
        let variates = self.names.len();
        let length = rows.len() / variates;
        let values = Tensor::<2>::from_data(TensorData::new(rows.to_vec(), [length, variates]), device).swap_dims(0, 1);
        let marks = marks.map(|marks| {
            let marks = TensorData::new(marks.to_vec(), [1, length, marks.len() / length]);
            Tensor::<3>::from_data(marks, device).repeat_dim(0, variates)
        });
        let state = self.stream.take().map(|stream| stream.state);
        let (features, state) = self.network.read(values, marks, state);
        let feature = features.narrow(1, length - 1, 1);
        self.stream = Some(Stream { state, feature, last: rows[rows.len() - variates..].to_vec(), calendar });
    }
}

impl Forecaster for StreamingForecaster {
    fn fit(&mut self, series: &Series) -> Result<(), ForecastError> {
        let (network, scaler) = fit_network(self.untrained.clone(), &self.training, series, &self.device)?;
        self.fitted = Some(Fitted::new(network, scaler, series));
        self.observe(series)
    }

    fn observe(&mut self, history: &Series) -> Result<(), ForecastError> {
        let fitted = self.fitted.as_mut().ok_or(ForecastError::NoPast)?;
        history.check_like(&fitted.names, fitted.frequency)?;
        history.check_len(1, "to forecast from")?;
        history.check_finite()?;
        let device = self.device.clone().inner();
        let variates = history.variates();
        let rows = filled(&fitted.scaler.transform(history));
        fitted.stream = None;
        for (chunk, rows) in rows.chunks(CHUNK * variates).enumerate() {
            let (first, length) = (chunk * CHUNK, rows.len() / variates);
            let calendar = history.calendar().and_then(|calendar| calendar.behind(first + length));
            fitted.read(rows, history.marks(first, length).as_deref(), calendar, &device);
        }
        Ok(())
    }

    fn update(&mut self, row: &[f32]) -> Result<(), ForecastError> {
        let fitted = self.fitted.as_mut().ok_or(ForecastError::NoPast)?;
        check_row(row, &fitted.names)?;
        let stream = fitted.stream.as_ref().ok_or(ForecastError::NoPast)?;
        let scaled = |(column, &value): (usize, &f32)| match value.is_nan() {
            true => stream.last[column],
            false => fitted.scaler.scale(column, value),
        };
        let row: Vec<_> = row.iter().enumerate().map(scaled).collect();
        let calendar = stream.calendar;
        let marks = calendar.map(|calendar| calendar.frequency.marks(calendar.start)).filter(|marks| !marks.is_empty());
        let next = calendar.and_then(|calendar| calendar.behind(1));
        fitted.read(&row, marks.as_deref(), next, &self.device.clone().inner());
        Ok(())
    }

    fn predict(&self, horizon: usize) -> Result<Forecast, ForecastError> {
        let fitted = self.fitted.as_ref().ok_or(ForecastError::NoPast)?;
        let stream = fitted.stream.as_ref().ok_or(ForecastError::NoPast)?;
        check_horizon(horizon, fitted.network.horizon())?;
        let last = TensorData::new(stream.last.clone(), [stream.last.len(), 1]);
        let last = Tensor::<2>::from_data(last, &self.device.clone().inner());
        // [variates, 1, horizon, outputs]
        let outputs = fitted.network.horizons(stream.feature.clone(), last);
        let outputs = outputs.narrow(2, 0, horizon).permute([1, 2, 0, 3]);
        let levels = self.training.objective.levels();
        Ok(Forecast::new(outputs, &fitted.names, stream.calendar, levels, &fitted.scaler))
    }
}

//! Forecasts by any network that reads windows.

use super::{Forecast, ForecastError, Forecaster, check_horizon, check_row, fit_network};
use crate::data::{Series, StandardScaler, Windows};
use crate::network::Network;
use crate::training::TrainingConfig;
use burn::tensor::Device;

/// A network with what it needs to forecast a series: a scaler, and the last rows.
pub struct NetworkForecaster<N> {
    untrained: N,
    training: TrainingConfig,
    device: Device,
    fitted: Option<Fitted<N>>,
}

struct Fitted<N> {
    network: N,
    scaler: StandardScaler,
    /// The last rows, at least as many as a look-back.
    past: Series,
}

impl<N: Network> NetworkForecaster<N> {
    /// One that has learnt nothing. `network` is on `device`, which has gradients.
    pub fn new(network: N, training: TrainingConfig, device: &Device) -> Self {
        Self { untrained: network, training, device: device.clone(), fitted: None }
    }

    /// One that has learnt already: `network` has no gradients, and the series was scaled by `scaler`.
    ///
    /// # Errors
    /// [`ForecastError::Data`] if `past` is shorter than a look-back.
    ///
    /// ```
    /// use burn::tensor::Device;
    /// use mamba_ts::data::{Series, StandardScaler};
    /// use mamba_ts::forecast::{Forecaster, NetworkForecaster};
    /// use mamba_ts::{DLinearConfig, training::TrainingConfig};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let device = Device::default();
    /// # let past = Series::new(vec!["a".into()], (0..50).map(|row| row as f32).collect(), None);
    /// // A network from a file, with the scaler of its training.
    /// let (network, scaler) = (DLinearConfig::new(24, 12).try_init(&device)?, StandardScaler::fit(&past, 0..50));
    /// let forecaster = NetworkForecaster::fitted(network, scaler, TrainingConfig::new(), &past, &device)?;
    /// assert_eq!(forecaster.predict(12)?.horizon(), 12);
    /// # Ok(())
    /// # }
    /// ```
    pub fn fitted(
        network: N,
        scaler: StandardScaler,
        training: TrainingConfig,
        past: &Series,
        device: &Device,
    ) -> Result<Self, ForecastError> {
        let untrained = network.clone();
        let fitted = Fitted { network, scaler, past: past.clone() };
        let mut forecaster = Self { untrained, training, device: device.clone(), fitted: Some(fitted) };
        forecaster.observe(past)?;
        Ok(forecaster)
    }

    /// The network, once it has learnt.
    pub fn network(&self) -> Option<&N> {
        self.fitted.as_ref().map(|fitted| &fitted.network)
    }
}

impl<N: Network> Forecaster for NetworkForecaster<N> {
    fn fit(&mut self, series: &Series) -> Result<(), ForecastError> {
        let (network, scaler) = fit_network(self.untrained.clone(), &self.training, series, &self.device)?;
        let look_back = network.look_back();
        let past = series.slice(series.len() - look_back..series.len());
        self.fitted = Some(Fitted { network, scaler, past });
        Ok(())
    }

    fn observe(&mut self, history: &Series) -> Result<(), ForecastError> {
        let fitted = self.fitted.as_mut().ok_or(ForecastError::NoPast)?;
        let look_back = fitted.network.look_back();
        history.check_len(look_back, "to forecast from")?;
        history.check_finite()?;
        let frequency = fitted.past.calendar().map(|calendar| calendar.frequency);
        history.check_like(fitted.past.names(), frequency)?;
        fitted.past = history.slice(history.len() - look_back..history.len());
        Ok(())
    }

    fn update(&mut self, row: &[f32]) -> Result<(), ForecastError> {
        let fitted = self.fitted.as_mut().ok_or(ForecastError::NoPast)?;
        check_row(row, fitted.past.names())?;
        fitted.past.push(row);
        Ok(())
    }

    fn predict(&self, horizon: usize) -> Result<Forecast, ForecastError> {
        let Fitted { network, scaler, past } = self.fitted.as_ref().ok_or(ForecastError::NoPast)?;
        check_horizon(horizon, network.horizon())?;
        let windows = Windows::new(&scaler.transform(past), 0..past.len(), past.len(), 0);
        let outputs = network.forecast(windows.input(&[0], &self.device.clone().inner()));
        let outputs = outputs.narrow(1, 0, horizon);
        let calendar = past.calendar().and_then(|calendar| calendar.behind(past.len()));
        Ok(Forecast::new(outputs, past.names(), calendar, self.training.objective.levels(), scaler))
    }
}

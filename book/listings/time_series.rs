//! Chapter 'Time series'.

use crate::random;
use burn::tensor::{Device, Tensor};
use mamba_ts::data::Series;
use mamba_ts::forecast::{Forecast, ForecastError, Forecaster, NetworkForecaster};
use mamba_ts::training::TrainingConfig;
use mamba_ts::{Objective, SMambaConfig};

// ANCHOR: forecast
/// How a series goes on after one more row, in its own units, with the quantiles of each value.
fn forecast(series: &Series, row: &[f32], device: &Device) -> Result<Forecast, ForecastError> {
    let levels = vec![0.1, 0.5, 0.9];
    let network = SMambaConfig::new(24, 12).with_d_model(16).with_d_ff(16).with_outputs(levels.len()).init(device);
    let training = TrainingConfig::new().with_epochs(1).with_objective(Objective::Quantiles(levels));
    let mut forecaster = NetworkForecaster::new(network, training, device);
    forecaster.fit(series)?;
    forecaster.update(row)?;
    forecaster.predict(12)
}
// ANCHOR_END: forecast

// ANCHOR: network
/// The network alone: from look-backs `[batch, 96, variates]` to horizons `[batch, 24, variates]`.
fn horizons(look_backs: Tensor<3>) -> Tensor<3> {
    let network = SMambaConfig::new(96, 24).with_d_model(16).with_d_ff(16).init(&look_backs.device());
    network.forward(look_backs, None)
}
// ANCHOR_END: network

#[test]
fn a_series_goes_on() {
    let waves = (0..200).flat_map(|row| [(row as f32 / 4.0).sin(), (row as f32 / 6.0).cos()]).collect();
    let series = Series::new(vec!["a".into(), "b".into()], waves, None);
    let forecast = forecast(&series, &[0.5, f32::NAN], &Device::default().autodiff()).unwrap();
    assert_eq!((forecast.horizon(), forecast.outputs(0, 1).len()), (12, 3));
}

#[test]
fn a_network_goes_from_look_backs_to_horizons() {
    assert_eq!(horizons(random([2, 96, 5], &Device::default())).dims(), [2, 24, 5]);
}

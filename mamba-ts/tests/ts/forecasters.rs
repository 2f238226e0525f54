//! Fitting, forecasting, streams and back-tests.

use crate::device;
use mamba_ts::data::{Calendar, Series};
use mamba_ts::forecast::{
    AnomalyScorer, BacktestConfig, ForecastError, Forecaster, NetworkForecaster, StreamingForecaster, backtest,
};
use mamba_ts::training::{TrainingConfig, TrainingError};
use mamba_ts::{
    ArNetConfig, DLinearConfig, LastValueConfig, MambaForecasterConfig, Network, Objective, SMambaConfig,
    SeasonalNaiveConfig, Tsm2Config,
};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

/// Two waves with a period of 12 rows, hourly.
fn waves(rows: usize) -> Series {
    let value = |row: usize, shift: f32| 10.0 + 3.0 * (row as f32 / 12.0 * std::f32::consts::TAU + shift).sin();
    let values = (0..rows).flat_map(|row| [value(row, 0.0), value(row, 1.0)]).collect();
    Series::new(vec!["a".into(), "b".into()], values, Some(hourly()))
}

fn hourly() -> Calendar {
    Calendar { start: "2020-01-01T00:00".parse().unwrap(), frequency: "h".parse().unwrap() }
}

fn training() -> TrainingConfig {
    TrainingConfig::new().with_epochs(2).with_lr(1e-2)
}

fn last_value(look_back: usize, horizon: usize) -> NetworkForecaster<mamba_ts::LastValue> {
    let network = LastValueConfig::new(look_back, horizon).try_init().unwrap();
    NetworkForecaster::new(network, training(), &device().autodiff())
}

#[test]
fn rules_do_what_their_names_say() {
    let series = waves(100);
    let mut rule = last_value(5, 4);
    rule.fit(&series).unwrap();
    let forecast = rule.predict(3).unwrap();
    assert!((0..3).all(|row| (forecast.value(row, 1) - series.row(99)[1]).abs() < 1e-5));
    assert_eq!(forecast.time(0).unwrap().to_string(), "2020-01-05T04:00:00");

    let network = SeasonalNaiveConfig::new(24, 30, 12).try_init().unwrap();
    let mut rule = NetworkForecaster::new(network, training(), &device().autodiff());
    rule.fit(&series).unwrap();
    let (forecast, truth) = (rule.predict(30).unwrap(), waves(130));
    assert!((0..30).all(|row| (forecast.value(row, 0) - truth.row(100 + row)[0]).abs() < 1e-4));
    assert!(SeasonalNaiveConfig::new(24, 30, 25).try_init().is_err());
}

#[test]
fn what_cannot_be_forecast_is_refused() {
    let series = waves(100);
    let mut rule = last_value(5, 4);
    assert!(matches!(rule.predict(1), Err(ForecastError::NoPast)));
    assert!(matches!(rule.update(&[1.0, 2.0]), Err(ForecastError::NoPast)));
    let error = rule.fit(&waves(12)).unwrap_err();
    assert_eq!(error.to_string(), "there are 12 rows to learn from, expected at least 13");
    rule.fit(&series).unwrap();
    for horizon in [0, 5] {
        assert!(matches!(rule.predict(horizon), Err(ForecastError::Horizon { longest: 4, .. })));
    }
    assert!(matches!(rule.update(&[1.0]), Err(ForecastError::Row { found: 1, expected: 2 })));
    assert!(matches!(rule.update(&[1.0, f32::INFINITY]), Err(ForecastError::Infinite { .. })));
    let other = series.select(&["b".into(), "a".into()]).unwrap();
    assert_eq!(rule.observe(&other).unwrap_err().to_string(), "the columns are b, a, expected a, b");
    assert!(rule.observe(&waves(4)).is_err());
    let infinite = Series::new(series.names().to_vec(), [1.0, 2.0, f32::INFINITY, 4.0].repeat(50), Some(hourly()));
    for error in [rule.fit(&infinite).unwrap_err(), rule.observe(&infinite).unwrap_err()] {
        assert_eq!(error.to_string(), "row 2 of the column `a` is inf, expected a number, or NaN where it is missing");
    }
    // A missing value is not forgotten to be one.
    rule.update(&[f32::NAN, 7.0]).unwrap();
    let forecast = rule.predict(1).unwrap();
    assert!((forecast.value(0, 0) - series.row(99)[0]).abs() < 1e-5 && (forecast.value(0, 1) - 7.0).abs() < 1e-5);
}

#[test]
fn training_stops_at_the_batch_that_diverges() {
    let series = waves(200);
    let device = device().autodiff();
    let network = DLinearConfig::new(12, 6).try_init(&device).unwrap();
    let config = training().with_lr(1e30).with_epochs(5).with_patience(5);
    let error = NetworkForecaster::new(network, config, &device).fit(&series).unwrap_err();
    assert!(matches!(error, ForecastError::Training(TrainingError::Diverged { epoch: 1, .. })), "{error}");
}

#[test]
fn constant_columns_and_gaps_are_learnt_from_by_every_network() {
    let waves = waves(200);
    let values = waves.values().iter().enumerate();
    let values = values.map(|(place, &value)| match (place % 2, place % 7) {
        (0, _) => 3.0,
        (_, 0) => f32::NAN,
        // Longer than a window.
        _ if (100..160).contains(&place) => f32::NAN,
        _ => value,
    });
    let series = Series::new(waves.names().to_vec(), values.collect(), waves.calendar());
    let device = device().autodiff();
    let small = |config: SMambaConfig| config.with_d_model(8).with_d_ff(8).with_d_state(2);
    check_fit(small(SMambaConfig::new(12, 6)).init(&device), &series);
    check_fit(small(SMambaConfig::new(12, 6)).with_use_norm(false).init(&device), &series);
    check_fit(Tsm2Config::new(12, 6, 2).with_marks(4).with_d_state(2).init(&device), &series);
    check_fit(MambaForecasterConfig::new(12, 6).with_marks(4).with_patch(4).with_d_model(8).init(&device), &series);
    check_fit(DLinearConfig::new(12, 6).try_init(&device).unwrap(), &series);
    check_fit(ArNetConfig::new(12, 6, 3).try_init(&device).unwrap(), &series);
}

fn check_fit(network: impl Network, series: &Series) {
    let mut forecaster = NetworkForecaster::new(network, training(), &device().autodiff());
    forecaster.fit(series).unwrap();
    let forecast = forecaster.predict(6).unwrap();
    for row in 0..6 {
        // The constant is forecast as one, to within what a deviation of 1 leaves to a young network.
        assert!((forecast.value(row, 0) - 3.0).abs() < 2.0 && forecast.value(row, 1).is_finite());
    }
}

#[test]
fn quantiles_rise_and_are_written() {
    let device = device().autodiff();
    let network = SMambaConfig::new(24, 6).with_d_model(16).with_d_ff(16).with_d_state(2).with_outputs(3).init(&device);
    let training = training().with_objective(Objective::Quantiles(vec![0.1, 0.5, 0.9])).with_epochs(1);
    let mut forecaster = NetworkForecaster::new(network, training, &device);
    forecaster.fit(&waves(120)).unwrap();
    let forecast = forecaster.predict(4).unwrap();
    for row in 0..4 {
        assert!(forecast.outputs(row, 1).is_sorted());
        assert_eq!(forecast.value(row, 1), forecast.outputs(row, 1)[1]);
    }
    let mut csv = Vec::new();
    forecast.write_csv(&mut csv).unwrap();
    let csv = String::from_utf8(csv).unwrap();
    assert!(csv.starts_with("date,a,a_q10,a_q50,a_q90,b,b_q10,b_q50,b_q90\n2020-01-06T00:00:00,"), "{csv}");
    assert_eq!(csv.lines().count(), 5);
}

fn streaming(config: MambaForecasterConfig) -> StreamingForecaster {
    let device = device().autodiff();
    let network = config.with_d_model(16).with_d_state(4).init(&device);
    StreamingForecaster::new(network, training().with_epochs(1), &device)
}

#[test]
fn a_stream_forecasts_what_a_run_over_all_rows_does() {
    // With marks, and in chunks that no patch fits.
    for marks in [0, 4] {
        let calendar = (marks > 0).then(hourly);
        let undated = |series: Series| Series::new(series.names().to_vec(), series.values().to_vec(), calendar);
        let series = undated(waves(5000));
        let mut stream = streaming(MambaForecasterConfig::new(24, 6).with_patch(5).with_marks(marks));
        stream.fit(&series.slice(0..150)).unwrap();
        for row in 150..400 {
            stream.update(series.row(row)).unwrap();
            if ![150, 151, 170, 399].contains(&row) {
                continue;
            }
            let streamed = stream.predict(6).unwrap();
            stream.observe(&series.slice(0..row + 1)).unwrap();
            let whole = stream.predict(6).unwrap();
            assert_eq!(streamed.time(0), whole.time(0));
            for (step, variate) in (0..6).flat_map(|step| [(step, 0), (step, 1)]) {
                let difference = (streamed.value(step, variate) - whole.value(step, variate)).abs();
                // The deviation of the series is 2.1.
                assert!(difference <= 2.1e-5, "row {row}, step {step}: {difference:e}");
            }
        }
        stream.observe(&series).unwrap();
        stream.update(&[f32::NAN, 1.0]).unwrap();
        assert!(stream.predict(6).unwrap().value(0, 0).is_finite());
    }
}

#[test]
fn ar_net_finds_the_coefficients_of_a_simulated_process() {
    let coefficients = [0.5, -0.3, 0.2, 0.1];
    let mut rng = StdRng::seed_from_u64(1);
    let mut normal = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0;
    let mut values = vec![0.0_f32; 4];
    for row in 4..20_000 {
        let mean: f32 = coefficients.iter().enumerate().map(|(lag, weight)| weight * values[row - 1 - lag]).sum();
        values.push(mean + normal());
    }
    let series = Series::new(vec!["x".into()], values, None);
    let device = device().autodiff();
    let network = ArNetConfig::new(60, 4, 4).try_init(&device).unwrap();
    let config = TrainingConfig::new().with_epochs(4).with_patience(4).with_lr(3e-2).with_lr_decay(0.2);
    let mut forecaster = NetworkForecaster::new(network, config.with_batch(128), &device);
    forecaster.fit(&series).unwrap();
    let found = forecaster.network().unwrap().coefficients();
    println!("{found:?}");
    assert!(found.iter().zip(coefficients).all(|(found, expected)| (found - expected).abs() < 0.02), "{found:?}");
}

#[test]
fn a_back_test_knows_nothing_of_what_it_forecasts() {
    let series = waves(100);
    let mut rule = last_value(5, 4);
    rule.fit(&series.slice(0..50)).unwrap();
    let config = BacktestConfig { horizon: 4, start: 60, stride: 6, refit_every: None, season: 12 };
    let mut seen = 0;
    let found = backtest(&mut rule, &series, &config, |done, all| {
        seen += 1;
        assert_eq!((done, all), (seen, 7));
    })
    .unwrap();
    for (origin, forecast) in &found.forecasts {
        assert!((forecast.value(0, 0) - series.row(origin - 1)[0]).abs() < 1e-4);
    }
    assert_eq!(found.evaluation.count(), 7 * 4 * 2);
    // The same, learning anew at every second origin.
    let config = BacktestConfig { refit_every: Some(2), ..config };
    let refitted = backtest(&mut rule, &series, &config, |_, _| {}).unwrap();
    assert!((refitted.evaluation.scores().mae - found.evaluation.scores().mae).abs() < 1e-5);
    let config = BacktestConfig { start: 97, ..config };
    assert!(matches!(backtest(&mut rule, &series, &config, |_, _| {}), Err(ForecastError::Data(_))));
    let config = BacktestConfig { horizon: 0, ..config };
    assert!(backtest(&mut rule, &series, &config, |_, _| {}).unwrap_err().to_string().contains("`horizon` is 0"));
}

#[test]
fn a_jump_is_an_anomaly() {
    let series = waves(200);
    let network = SeasonalNaiveConfig::new(12, 1, 12).try_init().unwrap();
    let mut forecaster = NetworkForecaster::new(network, training(), &device().autodiff());
    let mut rng = StdRng::seed_from_u64(2);
    let mut noisy = |row: &[f32]| row.iter().map(|value| value + 0.1 * rng.random::<f32>()).collect::<Vec<_>>();
    let values = (0..200).flat_map(|row| noisy(series.row(row))).collect();
    let series = Series::new(series.names().to_vec(), values, series.calendar());
    forecaster.fit(&series.slice(0..100)).unwrap();
    let mut scorer = AnomalyScorer::calibrate(forecaster, &series.slice(100..180)).unwrap();
    for row in 180..190 {
        assert!(scorer.score(series.row(row)).unwrap().iter().all(|&score| score < 5.0));
    }
    let scores = scorer.score(&[20.0, f32::NAN]).unwrap();
    assert!(scores[0] > 20.0 && scores[1].is_nan());
}

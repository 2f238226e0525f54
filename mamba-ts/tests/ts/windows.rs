//! Scaling and windows.

use crate::{device, values};
use mamba_ts::data::{Series, StandardScaler, Windows};

fn series(values: &[f32]) -> Series {
    Series::new(vec!["a".into(), "b".into()], values.to_vec(), None)
}

#[test]
fn scaling_is_that_of_the_training_rows_and_has_an_inverse() {
    let nan = f32::NAN;
    let series = series(&[1.0, 5.0, 3.0, 5.0, nan, 5.0, 100.0, 5.5]);
    let scaler = StandardScaler::fit(&series, 0..3);
    // A constant column keeps its unit.
    assert_eq!((scaler.mean.as_slice(), scaler.deviation.as_slice()), (&[2.0, 5.0][..], &[1.0, 1.0][..]));
    let scaled = scaler.transform(&series);
    assert_eq!(scaled.row(3), [98.0, 0.5]);
    assert!(scaled.row(2)[0].is_nan());
    assert_eq!(scaler.unscale(0, 98.0), 100.0);
}

#[test]
fn a_window_is_a_look_back_and_what_followed() {
    let series = series(&(0..20).map(|value| value as f32).collect::<Vec<_>>());
    let windows = Windows::new(&series, 1..9, 3, 2);
    assert_eq!((windows.len(), windows.origin(0), windows.origin(3)), (4, 4, 7));
    let batch = windows.batch(&[3, 0], &device());
    assert_eq!(batch.input.values.dims(), [2, 3, 2]);
    assert_eq!(values(batch.input.values), [8, 9, 10, 11, 12, 13, 2, 3, 4, 5, 6, 7].map(f64::from));
    assert_eq!(values(batch.target), [14, 15, 16, 17, 8, 9, 10, 11].map(f64::from));
    assert!(batch.mask.is_none() && batch.input.marks.is_none());
    assert_eq!(windows.clone().with_stride(3).len(), 2);
    assert_eq!(windows.clone().with_stride(3).origin(1), 7);
    assert!(windows.with_rows(0..4).is_empty());
}

#[test]
fn missing_values_are_filled_from_the_past_only_and_masked() {
    let nan = f32::NAN;
    let series = series(&[nan, 1.0, 2.0, nan, nan, nan, 4.0, 5.0]);
    let batch = Windows::new(&series, 0..4, 3, 1).batch(&[0], &device());
    assert_eq!(values(batch.input.values), [0.0, 1.0, 2.0, 1.0, 2.0, 1.0]);
    assert_eq!(values(batch.mask.unwrap()), [1.0, 1.0]);
    let batch = Windows::new(&series, 0..4, 1, 2).batch(&[0], &device());
    assert_eq!(values(batch.mask.unwrap()), [1.0, 0.0, 0.0, 0.0]);
}

//! What a training does with its windows and its learning rate.

use crate::device;
use mamba_blocks::ConfigError;
use mamba_ts::DLinearConfig;
use mamba_ts::data::{Series, Windows};
use mamba_ts::training::{Control, Trainer, TrainingConfig, TrainingError};

fn trainer(config: TrainingConfig) -> Result<Trainer<mamba_ts::DLinear>, TrainingError> {
    let device = device().autodiff();
    Trainer::new(DLinearConfig::new(4, 2).try_init(&device).unwrap(), config, &device)
}

/// So many windows of 4 and 2 rows.
fn windows(count: usize) -> Windows {
    let values = (0..count + 5).map(|row| (row as f32).sin()).collect();
    Windows::new(&Series::new(vec!["a".into()], values, None), 0..count + 5, 4, 2)
}

#[test]
fn the_learning_rate_falls_after_the_second_epoch_as_that_of_the_original() {
    let trainer = trainer(TrainingConfig::new().with_lr(8.0)).unwrap();
    assert_eq!([1, 2, 3, 4, 5].map(|epoch| trainer.learning_rate(epoch)), [8.0, 8.0, 4.0, 2.0, 1.0]);
    let trainer = self::trainer(TrainingConfig::new().with_lr(8.0).with_lr_hold(1)).unwrap();
    assert_eq!([1, 2, 3].map(|epoch| trainer.learning_rate(epoch)), [8.0, 4.0, 2.0]);
}

#[test]
fn a_batch_that_is_not_whole_sits_out_unless_it_is_the_only_one() {
    for (count, drop_last, expected) in [(10, true, 2), (10, false, 3), (8, true, 2), (3, true, 1)] {
        let mut trainer = trainer(TrainingConfig::new().with_batch(4).with_drop_last(drop_last)).unwrap();
        let mut batches = 0;
        let mut watch = |progress: mamba_ts::training::Progress| {
            batches += 1;
            assert_eq!((progress.batch, progress.batches), (batches, expected));
            Control::Continue
        };
        trainer.epoch(&windows(count), &windows(1), &mut watch).unwrap();
        assert_eq!(batches, expected, "{count} windows");
    }
}

#[test]
fn an_epoch_that_is_stopped_has_not_been() {
    let mut trainer = trainer(TrainingConfig::new().with_batch(4)).unwrap();
    let weight = |trainer: &Trainer<mamba_ts::DLinear>| trainer.network.linear_trend.weight.val().into_data();
    let before = weight(&trainer);
    let stopped = trainer.epoch(&windows(10), &windows(1), &mut |_| Control::Stop).unwrap();
    assert!(stopped.is_none() && trainer.history.is_empty());
    assert_eq!(weight(&trainer), before);
    trainer.epoch(&windows(10), &windows(1), &mut |_| Control::Continue).unwrap();
    assert_ne!(weight(&trainer), before);
}

#[test]
fn settings_and_windows_that_make_no_training_are_refused() {
    for (config, name) in [
        (TrainingConfig::new().with_epochs(0), "epochs"),
        (TrainingConfig::new().with_batch(0), "batch"),
        (TrainingConfig::new().with_lr_hold(0), "lr_hold"),
    ] {
        let error = trainer(config).err().unwrap();
        assert!(matches!(error, TrainingError::Config(ConfigError::Zero { name: found }) if found == name), "{error}");
    }
    assert!(trainer(TrainingConfig::new().with_lr(f64::NAN)).is_err());
    let error = trainer(TrainingConfig::new()).unwrap().epoch(&windows(0), &windows(1), &mut |_| Control::Continue);
    assert_eq!(error, Err(TrainingError::NoWindows { train: 0, validation: 1 }));
}

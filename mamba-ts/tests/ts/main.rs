//! Behaviour of the time series models and their data, on the device that `MAMBA_TEST_DEVICE` names.

#[path = "../../../mamba-vision/tests/vision/close.rs"]
mod close;
mod csv_files;
#[path = "../../../mamba-blocks/tests/blocks/device.rs"]
mod device;
mod fixture;
mod forecasters;
mod motion;
mod networks;
#[cfg(feature = "parquet")]
mod parquet_files;
mod s_mamba;
mod training;
mod tsm2;
mod windows;

use close::assert_close;
use device::{device, random, values};

//! Behaviour of the orders and the vision models, on the device that `MAMBA_TEST_DEVICE` names.

mod at_224;
mod close;
mod data;
#[path = "../../../mamba-blocks/tests/blocks/device.rs"]
mod device;
mod efficient_vmamba;
mod fixture;
mod local;
mod mamba_sr;
mod ordered_scan;
mod orders;
mod vim;
mod vmamba;
mod weight_decay;

use close::assert_close;
use device::{device, random, values};

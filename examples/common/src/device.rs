//! `--device`: the backends of this build, by name.

use burn::tensor::{Device, Tensor};

use crate::panics::caught;

/// Why there is no device of a name.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// No backend has the name.
    #[error("unknown device `{name}`; this build has {available}")]
    Unknown {
        /// As given.
        name: String,
        /// Those of the build.
        available: String,
    },
    /// The build leaves its backend out.
    #[error("device `{name}` is not compiled in; this build has {available} (build with `--features {name}`)")]
    NotCompiled {
        /// As given.
        name: String,
        /// Those of the build.
        available: String,
    },
    /// Its driver or adapter is not there.
    #[error("device `{name}` does not start: {reason}")]
    Start {
        /// As given.
        name: String,
        /// What the backend says.
        reason: String,
    },
}

/// Every backend that the program can be built with; the names are also those of the Cargo features.
const KNOWN: [&str; 8] = ["flex", "ndarray", "wgpu", "vulkan", "metal", "webgpu", "cuda", "rocm"];

type Open = fn() -> Device;

/// The backends that are compiled in.
fn compiled() -> Vec<(&'static str, Open)> {
    vec![
        #[cfg(feature = "flex")]
        ("flex", Device::flex as Open),
        #[cfg(feature = "ndarray")]
        #[allow(deprecated)] // Burn deprecates the backend; it stays for comparison.
        ("ndarray", Device::ndarray as Open),
        #[cfg(feature = "wgpu")]
        ("wgpu", (|| Device::wgpu(Default::default())) as Open),
        #[cfg(feature = "vulkan")]
        ("vulkan", (|| Device::vulkan(Default::default())) as Open),
        #[cfg(feature = "metal")]
        ("metal", (|| Device::metal(Default::default())) as Open),
        #[cfg(feature = "webgpu")]
        ("webgpu", (|| Device::webgpu(Default::default())) as Open),
        #[cfg(feature = "cuda")]
        ("cuda", (|| Device::cuda(0_usize)) as Open),
        #[cfg(feature = "rocm")]
        ("rocm", (|| Device::rocm(0_usize)) as Open),
    ]
}

/// The device for those who ask for none: the first that is compiled in.
pub fn default_name() -> &'static str {
    compiled().first().map_or("none", |(name, _)| name)
}

/// Opens the device called `name` and computes one number on it. To be called once, at the start of the program.
///
/// # Errors
/// If the build has no such device, or it does not start.
pub fn open(name: &str) -> Result<Device, DeviceError> {
    let compiled = compiled();
    let available = || compiled.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    let Some((_, open)) = compiled.iter().find(|(known, _)| *known == name) else {
        let (name, available) = (name.to_string(), available());
        return Err(match KNOWN.contains(&name.as_str()) {
            true => DeviceError::NotCompiled { name, available },
            false => DeviceError::Unknown { name, available },
        });
    };
    // Burn reads the state of an optimizer through its default device, which otherwise is the first one compiled in.
    // SAFETY: no other thread has been started that could read the environment.
    unsafe { std::env::set_var("BURN_DEVICE", name) };
    // Drivers and adapters that are not there are reported by a panic.
    let started = caught(|| {
        let device = open();
        Tensor::<1>::ones([1], &device).into_data();
        device
    });
    started.map_err(|reason| DeviceError::Start { name: name.to_string(), reason })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compiled_devices_are_known() {
        assert!(compiled().iter().all(|(name, _)| KNOWN.contains(name)));
    }

    #[test]
    fn unknown_device_lists_those_of_the_build() {
        let message = open("abacus").unwrap_err().to_string();
        assert!(message.contains("`abacus`"));
        assert!(compiled().iter().all(|(name, _)| message.contains(name)));
    }
}

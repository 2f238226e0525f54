//! The devices that are compiled in.

use burn::tensor::Device;
#[cfg(feature = "wgpu")]
use burn::tensor::DeviceKind;

/// A device under test.
pub struct TestDevice {
    pub name: &'static str,
    pub device: Device,
    /// A GPU that is emulated on the CPU: it gets fewer cases.
    pub emulated: bool,
}

impl TestDevice {
    #[cfg(feature = "flex")]
    pub fn flex() -> Self {
        Self { name: "flex", device: Device::flex(), emulated: false }
    }

    #[cfg(feature = "ndarray")]
    pub fn ndarray() -> Self {
        #[allow(deprecated, reason = "supported for as long as Burn has it")]
        let device = Device::ndarray();
        Self { name: "ndarray", device, emulated: false }
    }

    #[cfg(feature = "wgpu")]
    pub fn wgpu() -> Self {
        let gpu = std::env::var_os("MAMBA_TEST_GPU").is_some();
        let kind = if gpu { DeviceKind::DefaultDevice } else { DeviceKind::Cpu };
        Self { name: "wgpu", device: Device::wgpu(kind), emulated: !gpu }
    }

    #[cfg(feature = "cuda")]
    pub fn cuda() -> Self {
        Self { name: "cuda", device: Device::cuda(0), emulated: false }
    }

    #[cfg(feature = "rocm")]
    pub fn rocm() -> Self {
        Self { name: "rocm", device: Device::rocm(0), emulated: false }
    }

    /// The first one compiled in, for what does not depend on the device.
    #[allow(unreachable_code, reason = "the first return ends it")]
    pub fn first() -> Self {
        #[cfg(feature = "flex")]
        return Self::flex();
        #[cfg(feature = "ndarray")]
        return Self::ndarray();
        #[cfg(feature = "wgpu")]
        return Self::wgpu();
        #[cfg(feature = "cuda")]
        return Self::cuda();
        #[cfg(feature = "rocm")]
        return Self::rocm();
        panic!("no device is compiled in");
    }

    /// Whether a long list of cases is cut down on this device.
    pub fn thinned(&self) -> bool {
        let asked = |variable| std::env::var_os(variable).is_some();
        (self.emulated && !asked("MAMBA_TEST_FULL")) || asked("MAMBA_TEST_THIN")
    }
}

/// What `f` returns among so many threads of the CPU.
#[cfg(feature = "flex")]
pub fn on_threads<R: Send>(threads: usize, f: impl FnOnce() -> R + Send) -> R {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(f)
}

/// Runs `check` unless `MAMBA_TEST_DEVICE` names another device.
pub fn on(name: &str, device: fn() -> TestDevice, check: fn(&TestDevice)) {
    match std::env::var("MAMBA_TEST_DEVICE") {
        Ok(only) if only != name => println!("skipped: MAMBA_TEST_DEVICE is {only}"),
        _ => {
            let device = device();
            check(&device);
            // Software Vulkan may crash a process that ends while it still computes.
            device.device.sync().expect("the device works");
        }
    }
}

/// Makes each of the functions, `fn(&TestDevice)`, a test on every device: `function::device`.
macro_rules! on_every_device {
    ($($check:ident),* $(,)?) => {
        $(mod $check {
            #[cfg(feature = "flex")]
            #[test]
            fn flex() {
                crate::devices::on("flex", crate::devices::TestDevice::flex, super::$check);
            }

            #[cfg(feature = "ndarray")]
            #[test]
            fn ndarray() {
                crate::devices::on("ndarray", crate::devices::TestDevice::ndarray, super::$check);
            }

            #[cfg(feature = "wgpu")]
            #[test]
            fn wgpu() {
                crate::devices::on("wgpu", crate::devices::TestDevice::wgpu, super::$check);
            }

            #[cfg(feature = "cuda")]
            #[test]
            fn cuda() {
                crate::devices::on("cuda", crate::devices::TestDevice::cuda, super::$check);
            }

            #[cfg(feature = "rocm")]
            #[test]
            fn rocm() {
                crate::devices::on("rocm", crate::devices::TestDevice::rocm, super::$check);
            }
        })*
    };
}

/// The same for functions `fn(&TestDevice, Operator)`: `scan::function::device` and `conv::function::device`.
macro_rules! on_every_device_and_operator {
    ($($check:ident),* $(,)?) => {
        on_every_device_and_operator!(scan, crate::case::Operator::Scan, $($check),*);
        on_every_device_and_operator!(conv, crate::case::Operator::Conv, $($check),*);
    };
    ($module:ident, $operator:expr, $($check:ident),*) => {
        mod $module {
            $(fn $check(device: &crate::devices::TestDevice) {
                super::$check(device, $operator);
            })*
            on_every_device!($($check),*);
        }
    };
}

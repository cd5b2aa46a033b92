//! Where weights live and what computes with them: `device = "cpu" | "cuda" | "wgpu"`.
//!
//! The processor is always there. Each other device is a cargo feature of its name; the engine compiles its kernels when
//! it runs, so that no feature needs a toolkit to build.

use burn::tensor::Device;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;

/// The name of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum DeviceName {
    /// The processor, in hand-written kernels.
    #[default]
    Cpu,
    /// The first NVIDIA card, by its driver.
    Cuda,
    /// A card by Vulkan (on Linux), Metal or DirectX, a dedicated one before others; also a software driver such as Mesa's
    /// lavapipe.
    Wgpu,
}

/// Why a device cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// It is no part of this build.
    #[error("this build has {}: build it with `cargo build --release --features {name}`", built())]
    NotBuilt {
        /// The device.
        name: DeviceName,
    },
    /// The machine has none, or its driver is missing.
    #[error("no {name} device can be opened: {reason}. Try: {remedy}, or device = \"cpu\"")]
    NotThere {
        /// The device.
        name: DeviceName,
        /// What the engine says.
        reason: String,
        /// What to do about it.
        remedy: &'static str,
    },
}

impl DeviceName {
    /// Every device.
    pub const ALL: [DeviceName; 3] = [DeviceName::Cpu, DeviceName::Cuda, DeviceName::Wgpu];

    /// Those that this build has.
    pub const BUILT: &[DeviceName] = &[
        DeviceName::Cpu,
        #[cfg(feature = "cuda")]
        DeviceName::Cuda,
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu,
    ];

    /// Its name in a config.
    pub fn name(self) -> &'static str {
        match self {
            DeviceName::Cpu => "cpu",
            DeviceName::Cuda => "cuda",
            DeviceName::Wgpu => "wgpu",
        }
    }

    /// Opens the device.
    ///
    /// # Errors
    /// It is no part of this build, or the machine has none.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            DeviceName::Cpu => Ok(Device::flex()),
            #[cfg(feature = "cuda")]
            name @ DeviceName::Cuda => cuda().map_err(|reason| DeviceError::NotThere {
                name,
                reason,
                remedy: "NVIDIA's driver (`nvidia-smi` lists its cards) and the toolkit's libdevice (CUDA_PATH names the toolkit)",
            }),
            #[cfg(feature = "wgpu")]
            name @ DeviceName::Wgpu => wgpu().map_err(|reason| DeviceError::NotThere {
                name,
                reason,
                remedy: "a Vulkan driver (Debian: apt-get install mesa-vulkan-drivers; `vulkaninfo --summary` lists them)",
            }),
            #[cfg(not(all(feature = "cuda", feature = "wgpu")))]
            name => Err(DeviceError::NotBuilt { name }),
        }
    }
}

/// The names of the devices of this build, and how few they are.
fn built() -> String {
    let names: Vec<&str> = DeviceName::BUILT.iter().map(|device| device.name()).collect();
    format!("only {}", names.join(" and "))
}

#[cfg(feature = "cuda")]
fn cuda() -> Result<Device, String> {
    if Device::enumerate(burn::tensor::DeviceType::Cuda).is_empty() {
        return Err("there is no driver (libcuda), or no card".into());
    }
    tried(Device::cuda(0))
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Device, String> {
    use burn::tensor::wgpu::WgpuBackend;
    // The engine refuses to open a device that is open.
    static OPENED: std::sync::OnceLock<Result<Device, String>> = std::sync::OnceLock::new();
    // On Linux there is OpenGL where Vulkan is missing, and Mesa's aborts the program at its end.
    let api = if cfg!(target_os = "linux") { WgpuBackend::Vulkan } else { WgpuBackend::Auto };
    let open = || Device::wgpu_options().graphics_api(api).init().map_err(|e| e.to_string()).and_then(tried);
    OPENED.get_or_init(open).clone()
}

/// The device, if a kernel can be compiled for it and its number be read.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn tried(device: Device) -> Result<Device, String> {
    let one = burn::tensor::Tensor::<1>::zeros([1], &device).exp().try_into_scalar::<f32>();
    one.map(|_| device).map_err(|e| e.to_string())
}

/// The make of a device, as its driver calls it; `None` for the processor.
pub fn device_model_name(device: &Device) -> Option<String> {
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    return device.identity().map(|identity| identity.name);
    #[cfg(not(any(feature = "cuda", feature = "wgpu")))]
    {
        let _ = device;
        None
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_built_opens_and_the_rest_says_how_to_build_it() {
        for name in DeviceName::ALL {
            match name.open() {
                Ok(_) => assert!(DeviceName::BUILT.contains(&name), "{name}"),
                Err(error) => {
                    let remedy = format!("cargo build --release --features {name}");
                    assert!(error.to_string().contains(&remedy), "{error}");
                }
            }
        }
        assert!(DeviceName::default().open().is_ok());
    }
}

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
    /// A card by Vulkan, Metal or DirectX, a dedicated one before others; also a software driver such as Mesa's lavapipe.
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
            DeviceName::Cuda => cuda(),
            #[cfg(feature = "wgpu")]
            DeviceName::Wgpu => wgpu(),
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
fn cuda() -> Result<Device, DeviceError> {
    if Device::enumerate(burn::tensor::DeviceType::Cuda).is_empty() {
        return Err(DeviceError::NotThere {
            name: DeviceName::Cuda,
            reason: "there is no driver (libcuda), or no card".into(),
            remedy: "NVIDIA's driver (`nvidia-smi` lists its cards)",
        });
    }
    Ok(Device::cuda(0))
}

#[cfg(feature = "wgpu")]
fn wgpu() -> Result<Device, DeviceError> {
    // The engine refuses to open a device that is open.
    static OPENED: std::sync::OnceLock<Result<Device, String>> = std::sync::OnceLock::new();
    let opened = OPENED.get_or_init(|| Device::wgpu_options().init().map_err(|e| e.to_string()));
    opened.clone().map_err(|reason| DeviceError::NotThere {
        name: DeviceName::Wgpu,
        reason,
        remedy: "a Vulkan driver (Debian: apt-get install mesa-vulkan-drivers; `vulkaninfo --summary` lists what is there)",
    })
}

/// The make of a device, as its driver calls it; `None` for the processor.
pub fn make_of(device: &Device) -> Option<String> {
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

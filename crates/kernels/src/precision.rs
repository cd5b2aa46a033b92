//! What numbers matrix products are made of.

use cpu::GemmKernel;
use cpu::bf16::Bf16Backend;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the large matrix products of a network are made of. Weights, sums, norms, attention, losses and the optimizer are
/// f32 in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Precision {
    /// f32 operands.
    #[default]
    F32,
    /// Operands rounded to bf16, sums in f32, where the processor multiplies such numbers; f32 operands where it does not.
    Bf16,
    /// As on a processor that has the instruction, by plain arithmetic.
    #[cfg(test)]
    #[serde(skip)]
    Emulated,
}

impl Precision {
    /// In words what a processor makes of it.
    pub fn describe_on_host(self) -> &'static str {
        match (self, self.kernel()) {
            (Precision::F32, _) => "f32",
            (_, GemmKernel::F32) => "f32, as this processor cannot multiply bf16",
            (_, GemmKernel::Bf16(_)) => "bf16 (AVX512-BF16)",
        }
    }

    /// Whether operands are to be rounded, where that is possible.
    pub(crate) fn rounds(self) -> bool {
        self != Precision::F32
    }

    /// How the processor multiplies with this precision.
    pub(crate) fn kernel(self) -> GemmKernel {
        let unit = match self {
            Precision::F32 => None,
            Precision::Bf16 => Bf16Backend::detect(),
            #[cfg(test)]
            Precision::Emulated => Some(Bf16Backend::Emulated),
        };
        unit.map_or(GemmKernel::F32, GemmKernel::Bf16)
    }
}

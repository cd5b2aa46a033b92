//! What numbers matrix products are made of.

use crate::cpu::bf16::{self, Bf16Backend};
use crate::cpu::matmul::{self, MatRef};
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
        match (self, GemmKernel::of(self)) {
            (Precision::F32, _) => "f32",
            (_, GemmKernel::F32) => "f32, as this processor cannot multiply bf16",
            (_, GemmKernel::Bf16(_)) => "bf16 (AVX512-BF16)",
        }
    }

    /// Whether operands are to be rounded, where that is possible.
    pub(crate) fn rounds(self) -> bool {
        self != Precision::F32
    }
}

/// How the processor multiplies matrices.
#[derive(Debug, Clone, Copy)]
pub(crate) enum GemmKernel {
    /// f32 operands, by the `gemm` crate.
    F32,
    /// bf16 operands.
    Bf16(Bf16Backend),
}

impl GemmKernel {
    pub(crate) fn of(precision: Precision) -> GemmKernel {
        let unit = match precision {
            Precision::F32 => None,
            Precision::Bf16 => Bf16Backend::detect(),
            #[cfg(test)]
            Precision::Emulated => Some(Bf16Backend::Emulated),
        };
        unit.map_or(GemmKernel::F32, GemmKernel::Bf16)
    }

    /// `a b` in a new buffer, by all threads.
    pub(crate) fn product(self, a: MatRef, b: MatRef) -> Vec<f32> {
        match self {
            GemmKernel::F32 => matmul::product(a, b),
            GemmKernel::Bf16(unit) => bf16::product(a, b, unit),
        }
    }
}

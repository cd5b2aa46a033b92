//! What numbers matrix products are made of.

use crate::cpu::bf16::{self, Unit};
use crate::cpu::matmul::{self, Matrix};
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
    pub fn on_this_processor(self) -> &'static str {
        match (self, Products::of(self)) {
            (Precision::F32, _) => "f32",
            (_, Products::F32) => "f32, as this processor cannot multiply bf16",
            (_, Products::Bf16(_)) => "bf16 (AVX512-BF16)",
        }
    }

    /// Whether operands are to be rounded, where that is possible.
    pub(crate) fn rounds(self) -> bool {
        self != Precision::F32
    }
}

/// How the processor multiplies matrices.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Products {
    /// f32 operands, by the `gemm` crate.
    F32,
    /// bf16 operands.
    Bf16(Unit),
}

impl Products {
    pub(crate) fn of(precision: Precision) -> Products {
        let unit = match precision {
            Precision::F32 => None,
            Precision::Bf16 => Unit::found(),
            #[cfg(test)]
            Precision::Emulated => Some(Unit::Emulated),
        };
        unit.map_or(Products::F32, Products::Bf16)
    }

    /// `a b` in a new buffer, by all threads.
    pub(crate) fn product(self, a: Matrix, b: Matrix) -> Vec<f32> {
        match self {
            Products::F32 => matmul::product(a, b),
            Products::Bf16(unit) => bf16::product(a, b, unit),
        }
    }
}

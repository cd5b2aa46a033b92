//! Matrix products, by the kind of their operands.

pub mod bf16;
pub(crate) mod few_rows;
pub mod int4;
pub mod int8;
pub mod matmul;

use bf16::Bf16Backend;
use matmul::MatRef;

/// How the processor multiplies matrices.
#[derive(Debug, Clone, Copy)]
pub enum GemmKernel {
    /// f32 operands, by the `gemm` crate, or a product for few rows.
    F32,
    /// bf16 operands.
    Bf16(Bf16Backend),
}

impl GemmKernel {
    /// `a b` in a new buffer, by all threads.
    pub fn product(self, a: MatRef, b: MatRef) -> Vec<f32> {
        match self {
            GemmKernel::F32 => match few_rows::factors(&a, &b) {
                Some((x, w, shape)) => few_rows::product(x, w, shape),
                None => matmul::product(a, b),
            },
            GemmKernel::Bf16(unit) => bf16::product(a, b, unit),
        }
    }
}

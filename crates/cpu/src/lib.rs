//! The operations of a network on plain slices, by the processor's vector instructions. Everything is row-major f32; weights
//! are `[out, in]`.
//!
//! Work is split into chunks of fixed size and partial sums are added in order, so results do not depend on which
//! thread does what. Sizes that do not fit panic.
//!
//! This crate and the program's allocator are the only places with unsafe code: instructions that are found at run time, and
//! buffers that are not cleared before they are written.

#![allow(unsafe_code)]

pub mod activation;
pub mod adamw;
pub mod affine;
pub mod attention;
pub mod columns;
pub mod cross_entropy;
pub mod dense;
pub mod disentangled_attention;
mod dropout;
pub mod embed;
pub mod gated_low_rank;
mod gemm;
pub mod jacobian;
pub mod level1;
pub mod linear;
pub mod low_rank;
pub mod matvec;
pub mod mean_squares;
pub mod mix;
pub mod mixture;
pub mod norm;
mod packed_matrix;
pub mod rotary;
mod simd;
pub mod soft_cross_entropy;
mod uninit;

pub use activation::glu::Glu;
pub use adamw::AdamW;
pub use affine::AffineGroups;
pub use cross_entropy::CrossEntropyTargets;
pub use dropout::{Dropout, DropoutMask, splitmix};
pub use gated_low_rank::GatedLowRankShape;
pub use gemm::{GemmKernel, bf16, int4, int8, matmul};
pub use low_rank::LowRankGroups;
pub use mix::Mixing;
pub use mixture::MixtureWeights;
pub use packed_matrix::PackedMatrix;
pub use rotary::RotaryAngles;
pub use soft_cross_entropy::SoftCrossEntropyTargets;

/// Rows that one parallel task takes at a time.
const ROWS: usize = 64;

/// Numbers that one parallel task takes at a time, where rows do not matter.
pub const CHUNK: usize = 1 << 14;

/// Adds up the partial sums of chunks, first to last.
fn reduce_partials<const N: usize>(width: usize, parts: Vec<[Vec<f32>; N]>) -> [Vec<f32>; N] {
    let mut total = [const { Vec::new() }; N].map(|_: Vec<f32>| vec![0.0; width]);
    for part in &parts {
        for (total, part) in total.iter_mut().zip(part) {
            simd::add(total, part);
        }
    }
    total
}

//! The operations on plain slices: no engine types in here. Everything is row-major f32; weights are `[out, in]`.
//!
//! Work is split into chunks of fixed size and partial sums are added in order, so results do not depend on which
//! thread does what.

pub(crate) mod adamw;
pub(crate) mod attention;
pub(crate) mod bf16;
pub(crate) mod cross_entropy;
pub(crate) mod embed;
pub(crate) mod geglu;
pub(crate) mod gelu;
pub(crate) mod jacobian;
pub(crate) mod linear;
pub(crate) mod low_rank;
pub mod matmul;
pub(crate) mod norm;
pub(crate) mod simd;
pub(crate) mod uninit;

/// Rows that one parallel task takes at a time.
const ROWS: usize = 64;

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

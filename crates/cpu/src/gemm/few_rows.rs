//! Products `x w^T` of few rows `x` and a weight `w` whose rows lie in memory as they are: what writing a text token by token needs. A
//! general product packs the weight first, which costs more than the product does where few rows use it; here each weight is read once.
//!
//! Every sum is made along `k` from first to last in fixed lanes by one thread, so results do not depend on the number of threads.

mod lanes;

use crate::matmul::MatRef;
use crate::simd;
pub(crate) use lanes::Lanes;
#[cfg(target_arch = "x86_64")]
pub(crate) use lanes::{Avx2, Avx512};
use rayon::prelude::*;

/// The most rows for which this is faster than a general product.
pub(crate) const MOST_ROWS: usize = 64;
/// The fewest weights for which it is worth it.
const LEAST_WEIGHTS: usize = 1 << 16;
/// About how many weights a thread takes at a time.
const WEIGHTS_AT_ONCE: usize = 1 << 15;
/// Rows of `x` in whose tiles the next weights are asked for: all at once were more than the processor waits for.
const PREFETCHING_ROWS: usize = 16;
/// Rows of the weight in a tile.
const OUTPUTS: usize = 4;

/// A number of a weight as it is stored.
pub(crate) trait Weight: Copy + Send + Sync {
    /// Its value.
    fn widen(self) -> f32;

    /// The values of the first numbers of a slice, which has enough.
    fn load<V: Lanes>(from: &[Self]) -> V;
}

impl Weight for f32 {
    #[inline(always)]
    fn widen(self) -> f32 {
        self
    }

    #[inline(always)]
    fn load<V: Lanes>(from: &[f32]) -> V {
        V::load(from)
    }
}

/// bf16, by its bits.
impl Weight for u16 {
    #[inline(always)]
    fn widen(self) -> f32 {
        f32::from_bits(u32::from(self) << 16)
    }

    #[inline(always)]
    fn load<V: Lanes>(from: &[u16]) -> V {
        V::load_bf16(from)
    }
}

/// The factors of `a b` and `[m, k, n]`, where [`product`] is the faster way to multiply them.
pub(crate) fn factors<'a>(a: &MatRef<'a>, b: &MatRef<'a>) -> Option<(&'a [f32], &'a [f32], [usize; 3])> {
    let ([m, k], [_, n]) = (a.shape(), b.shape());
    let fits = m <= MOST_ROWS && n * k >= LEAST_WEIGHTS;
    Some((a.rows_in_order().filter(|_| fits)?, b.t().rows_in_order()?, [m, k, n]))
}

/// `x w^T` of `x` `[m, k]` and `w` `[n, k]` in a new buffer `[m, n]`, by all threads. Best where `m` is at most 64.
pub(crate) fn product<W: Weight>(x: &[f32], w: &[W], [m, k, n]: [usize; 3]) -> Vec<f32> {
    assert!(x.len() == m * k && w.len() == n * k, "the factors of a product must fit");
    if m * n * k == 0 {
        return vec![0.0; m * n];
    }
    let outputs = (WEIGHTS_AT_ONCE / k).next_multiple_of(OUTPUTS).max(OUTPUTS);
    // By rows of the weight: `[m, rows]`.
    let parts: Vec<Vec<f32>> = w.par_chunks(outputs * k).map(|w| part(x, w, [m, k])).collect();
    join_outputs(&parts, [m, n], outputs)
}

/// Puts products by outputs together: each of `parts` is `[m, at_once]`, the last may have fewer; result `[m, n]`.
pub(crate) fn join_outputs(parts: &[Vec<f32>], [m, n]: [usize; 2], at_once: usize) -> Vec<f32> {
    let mut y = vec![0.0; m * n];
    if y.is_empty() {
        return y;
    }
    y.par_chunks_mut(n).enumerate().for_each(|(row, y)| {
        for (y, part) in y.chunks_mut(at_once).zip(parts) {
            y.copy_from_slice(&part[row * y.len()..][..y.len()]);
        }
    });
    y
}

/// The product with some rows of the weight.
fn part<W: Weight>(x: &[f32], w: &[W], [m, k]: [usize; 2]) -> Vec<f32> {
    let mut y = vec![0.0; m * (w.len() / k)];
    #[cfg(target_arch = "x86_64")]
    match simd::detected_isa() {
        // SAFETY: `detected_isa` has found these instructions on this machine.
        simd::IsaLevel::Avx512 => unsafe { avx512(x, w, [m, k], &mut y) },
        // SAFETY: `detected_isa` has found these instructions on this machine.
        simd::IsaLevel::Avx2 => unsafe { avx2(x, w, [m, k], &mut y) },
        simd::IsaLevel::Baseline => tiles::<W, [f32; 4], 2>(x, w, [m, k], &mut y),
    }
    #[cfg(not(target_arch = "x86_64"))]
    tiles::<W, [f32; 4], 2>(x, w, [m, k], &mut y);
    y
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
fn avx512<W: Weight>(x: &[f32], w: &[W], shape: [usize; 2], y: &mut [f32]) {
    tiles::<W, lanes::Avx512, 4>(x, w, shape, y);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2<W: Weight>(x: &[f32], w: &[W], shape: [usize; 2], y: &mut [f32]) {
    tiles::<W, lanes::Avx2, 2>(x, w, shape, y);
}

/// All tiles: `ROWS` rows of `x` times [`OUTPUTS`] rows of `w`, and what is left at the ends.
#[inline(always)]
fn tiles<W: Weight, V: Lanes, const ROWS: usize>(x: &[f32], w: &[W], [m, k]: [usize; 2], y: &mut [f32]) {
    let n = w.len() / k;
    for first in (0..n).step_by(OUTPUTS) {
        let mut row = 0;
        while row < m {
            let (rows, outputs) = ((m - row).min(ROWS), (n - first).min(OUTPUTS));
            let (x, w) = (&x[row * k..][..rows * k], &w[first * k..][..outputs * k]);
            let at = row * n + first;
            match (rows == ROWS, outputs == OUTPUTS) {
                (true, true) => {
                    tile::<W, V, ROWS, OUTPUTS>(x, w, k, (&mut y[at..], n), row < PREFETCHING_ROWS)
                }
                (_, true) => {
                    for (i, x) in (0..rows).step_by(2).zip(x.chunks(2 * k)) {
                        match x.len() / k {
                            2 => tile::<W, V, 2, OUTPUTS>(
                                x,
                                w,
                                k,
                                (&mut y[at + i * n..], n),
                                row < PREFETCHING_ROWS,
                            ),
                            _ => tile::<W, V, 1, OUTPUTS>(
                                x,
                                w,
                                k,
                                (&mut y[at + i * n..], n),
                                row < PREFETCHING_ROWS,
                            ),
                        }
                    }
                }
                _ => {
                    for (i, x) in x.chunks_exact(k).enumerate() {
                        for (j, w) in w.chunks_exact(k).enumerate() {
                            tile::<W, V, 1, 1>(
                                x,
                                w,
                                k,
                                (&mut y[at + i * n + j..], n),
                                row < PREFETCHING_ROWS,
                            );
                        }
                    }
                }
            }
            row += rows;
        }
    }
}

/// One tile; `y` begins at its first element and has rows of `stride`. With `ahead` the rows of the next tile come from memory while this one
/// is computed.
#[inline(always)]
fn tile<W: Weight, V: Lanes, const ROWS: usize, const OUT: usize>(
    x: &[f32],
    w: &[W],
    k: usize,
    (y, stride): (&mut [f32], usize),
    ahead: bool,
) {
    let x: [&[f32]; ROWS] = std::array::from_fn(|i| &x[i * k..][..k]);
    let w: [&[W]; OUT] = std::array::from_fn(|j| &w[j * k..][..k]);
    let mut sums = [[V::zero(); OUT]; ROWS];
    let whole = k / V::COUNT * V::COUNT;
    for at in (0..whole).step_by(V::COUNT) {
        // No closure: the compiler would not build it for the instruction set of its caller.
        let mut weights = [V::zero(); OUT];
        for (lanes, w) in weights.iter_mut().zip(&w) {
            *lanes = W::load(&w[at..]);
            if ahead {
                prefetch(w.as_ptr().wrapping_add(OUT * k + at));
            }
        }
        for (x, sums) in x.iter().zip(&mut sums) {
            let x = V::load(&x[at..]);
            for (w, sum) in weights.iter().zip(sums) {
                *sum = x.multiply_add(*w, *sum);
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (j, sum) in sums.iter().enumerate() {
            let rest = (whole..k).map(|at| x[i][at] * w[j][at].widen()).sum::<f32>();
            y[i * stride + j] = sum.sum() + rest;
        }
    }
}

/// Asks for a number that will be read soon; it may lie outside of all memory.
#[inline(always)]
fn prefetch<W>(number: *const W) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the instruction is in every processor of this kind, and reads nothing.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(number.cast())
    };
    #[cfg(not(target_arch = "x86_64"))]
    let _ = number;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: f32) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * seed).sin()).collect()
    }

    #[test]
    fn products_of_all_sizes_are_those_of_plain_arithmetic_by_every_instruction_set() {
        for [m, k, n] in [[1, 1, 1], [3, 70, 9], [4, 64, 8], [5, 33, 4], [17, 16, 131], [2, 0, 3], [0, 4, 3]]
        {
            let (x, w) = (numbers(m * k, 0.37), numbers(n * k, 0.91));
            let half: Vec<u16> = w.iter().map(|w| (w.to_bits() >> 16) as u16).collect();
            let of = |w: &dyn Fn(usize) -> f64| -> Vec<f64> {
                let element = |i, j| (0..k).map(|at| f64::from(x[i * k + at]) * w(j * k + at)).sum::<f64>();
                (0..m).flat_map(|i| (0..n).map(move |j| (i, j))).map(|(i, j)| element(i, j)).collect()
            };
            let close = |got: Vec<f32>, right: Vec<f64>| {
                assert_eq!(got.len(), right.len());
                assert!(got.iter().zip(right).all(|(&x, y)| (f64::from(x) - y).abs() < 1e-4), "{m} {k} {n}");
            };
            close(product(&x, &w, [m, k, n]), of(&|at| f64::from(w[at])));
            close(product(&x, &half, [m, k, n]), of(&|at| f64::from(half[at].widen())));
            let mut plain = vec![0.0; m * n];
            if k > 0 {
                tiles::<f32, [f32; 4], 2>(&x, &w, [m, k], &mut plain);
                close(plain, of(&|at| f64::from(w[at])));
            }
        }
    }
}

//! Products `x w^T` of few rows with codes of four bits, which are read once. Codes become f32 in registers, so that sums are those of
//! the f32 weights.
//!
//! Every sum is made in fixed lanes by one thread, so results depend neither on the number of threads nor on the rows beside.

use super::Int4Matrix;
use crate::gemm::few_rows::{Lanes, Weight, join_outputs};
use crate::simd;
use rayon::prelude::*;
use std::ops::Range;

/// About how many weights a thread takes at a time.
const WEIGHTS_AT_ONCE: usize = 1 << 16;
/// Rows of the weight in a tile.
const OUTPUTS: usize = 4;

/// Outputs of a weight, as they are stored.
#[derive(Clone, Copy)]
struct Outputs<'a> {
    codes: &'a [u8],
    scales: &'a [u16],
    offsets: &'a [u16],
    /// Numbers of a group, and groups of a row.
    group: [usize; 2],
}

impl Outputs<'_> {
    fn count(&self) -> usize {
        self.scales.len() / self.group[1]
    }
}

impl Int4Matrix {
    /// `x w^T` with some outputs: `x` `[n, in]`, result `[n, outputs]`. Best where there are few rows.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub fn product(&self, x: &[f32], n: usize, outputs: Range<usize>) -> Vec<f32> {
        let [all, inputs] = self.shape;
        assert!(x.len() == n * inputs && outputs.end <= all, "int4 product: sizes");
        let at_once = (WEIGHTS_AT_ONCE / inputs).next_multiple_of(OUTPUTS).max(OUTPUTS);
        let begins: Vec<usize> = outputs.clone().step_by(at_once).collect();
        let part = |begin: &usize| part(x, n, self.outputs(*begin..outputs.end.min(begin + at_once)));
        let parts: Vec<Vec<f32>> = begins.par_iter().map(part).collect();
        join_outputs(&parts, [n, outputs.len()], at_once)
    }

    fn outputs(&self, rows: Range<usize>) -> Outputs<'_> {
        let [scales, offsets] = self.grids(rows.clone());
        let group = [self.group, self.shape[1] / self.group];
        Outputs { codes: self.codes(rows), scales, offsets, group }
    }
}

/// The product with some outputs, `[n, outputs]`.
fn part(x: &[f32], n: usize, w: Outputs<'_>) -> Vec<f32> {
    let mut y = vec![0.0; n * w.count()];
    #[cfg(target_arch = "x86_64")]
    match simd::detected_isa() {
        // SAFETY: `detected_isa` has found these instructions on this machine.
        simd::IsaLevel::Avx512 => unsafe { avx512(x, n, w, &mut y) },
        // SAFETY: as above.
        simd::IsaLevel::Avx2 => unsafe { avx2(x, n, w, &mut y) },
        simd::IsaLevel::Baseline => tiles::<[f32; 4]>(x, n, w, &mut y),
    }
    #[cfg(not(target_arch = "x86_64"))]
    tiles::<[f32; 4]>(x, n, w, &mut y);
    y
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
fn avx512(x: &[f32], n: usize, w: Outputs<'_>, y: &mut [f32]) {
    tiles::<crate::gemm::few_rows::Avx512>(x, n, w, y);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn avx2(x: &[f32], n: usize, w: Outputs<'_>, y: &mut [f32]) {
    tiles::<crate::gemm::few_rows::Avx2>(x, n, w, y);
}

/// All of `y` in tiles of four rows, or what is left, by four outputs. To be compiled into a function that has the instructions of `V`.
#[inline(always)]
fn tiles<V: Lanes>(x: &[f32], n: usize, w: Outputs<'_>, y: &mut [f32]) {
    let (outputs, inputs) = (w.count(), w.group[0] * w.group[1]);
    for first in (0..outputs).step_by(OUTPUTS) {
        let is_whole = outputs - first >= OUTPUTS;
        let mut row = 0;
        while row < n {
            let rows = if n - row >= 4 && is_whole { 4 } else { 1 };
            let (x, y) = (&x[row * inputs..][..rows * inputs], &mut y[row * outputs..]);
            match (rows, is_whole) {
                (4, _) => tile::<V, 4, OUTPUTS>(x, w, first, (y, outputs)),
                (_, true) => tile::<V, 1, OUTPUTS>(x, w, first, (y, outputs)),
                _ => {
                    for output in first..outputs {
                        tile::<V, 1, 1>(x, w, output, (y, outputs));
                    }
                }
            }
            row += rows;
        }
    }
}

/// One tile, whose first output is `first`; `y` begins at its first row, and has rows of `stride`.
#[inline(always)]
fn tile<V: Lanes, const ROWS: usize, const OUT: usize>(
    x: &[f32],
    w: Outputs<'_>,
    first: usize,
    (y, stride): (&mut [f32], usize),
) {
    let [group, groups] = w.group;
    let (half, inputs) = (group / 2, group * groups);
    let x: [&[f32]; ROWS] = std::array::from_fn(|i| &x[i * inputs..][..inputs]);
    let mut sums = [[V::zero(); OUT]; ROWS];
    for g in 0..groups {
        // No closures: the compiler would not build them for the instruction set of their caller.
        let (mut scales, mut offsets) = ([V::zero(); OUT], [V::zero(); OUT]);
        for j in 0..OUT {
            let at = (first + j) * groups + g;
            (scales[j], offsets[j]) = (V::splat(w.scales[at].widen()), V::splat(w.offsets[at].widen()));
        }
        for at in (0..half).step_by(V::COUNT) {
            let (mut low, mut high) = ([V::zero(); OUT], [V::zero(); OUT]);
            for j in 0..OUT {
                let codes = &w.codes[((first + j) * groups + g) * half + at..];
                let (a, b) = V::load_nibbles(codes);
                low[j] = a.multiply_add(scales[j], offsets[j]);
                high[j] = b.multiply_add(scales[j], offsets[j]);
            }
            for (x, sums) in x.iter().zip(&mut sums) {
                let a = V::load(&x[g * group + at..]);
                let b = V::load(&x[g * group + half + at..]);
                for j in 0..OUT {
                    sums[j] = b.multiply_add(high[j], a.multiply_add(low[j], sums[j]));
                }
            }
        }
    }
    for (i, sums) in sums.iter().enumerate() {
        for (j, sum) in sums.iter().enumerate() {
            y[i * stride + first + j] = sum.sum();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Int4Rounding;
    use super::*;

    fn numbers(len: usize, seed: f32) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * seed).sin()).collect()
    }

    #[test]
    fn products_are_those_of_the_rounded_weight_by_every_instruction_set() {
        for [n, k, outputs] in [[1, 64, 1], [3, 128, 9], [4, 32, 8], [9, 96, 131], [0, 64, 3]] {
            let (x, w) = (numbers(n * k, 0.37), numbers(outputs * k, 0.91));
            let w = Int4Matrix::quantize(&w, [outputs, k], Int4Rounding::MinMax);
            let values = w.rows(0..outputs);
            let right = |i: usize, j: usize| {
                (0..k).map(|at| f64::from(x[i * k + at]) * f64::from(values[j * k + at])).sum::<f64>()
            };
            let close = |got: &[f32], columns: Range<usize>| {
                assert_eq!(got.len(), n * columns.len());
                for (at, got) in got.iter().enumerate() {
                    let right = right(at / columns.len(), columns.start + at % columns.len());
                    assert!((f64::from(*got) - right).abs() < 1e-4, "{n} {k} {outputs}: {got} {right}");
                }
            };
            close(&w.product(&x, n, 0..outputs), 0..outputs);
            close(&w.product(&x, n, outputs / 3..outputs), outputs / 3..outputs);
            let mut plain = vec![0.0; n * outputs];
            tiles::<[f32; 4]>(&x, n, w.outputs(0..outputs), &mut plain);
            close(&plain, 0..outputs);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                // SAFETY: the instructions are there.
                unsafe { avx2(&x, n, w.outputs(0..outputs), &mut plain) };
                close(&plain, 0..outputs);
            }
        }
    }

    #[test]
    fn what_a_row_gives_does_not_depend_on_the_rows_beside_it() {
        let (x, w) = (numbers(7 * 64, 0.37), numbers(5 * 64, 0.91));
        let w = Int4Matrix::quantize(&w, [5, 64], Int4Rounding::Hqq);
        let all = w.product(&x, 7, 0..5);
        for row in 0..7 {
            assert_eq!(w.product(&x[row * 64..][..64], 1, 0..5), all[row * 5..][..5]);
        }
    }
}

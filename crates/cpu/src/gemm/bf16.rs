//! Matrix products of bf16 operands with f32 sums, for processors that multiply pairs of bf16 numbers (AVX512-BF16).
//!
//! Both operands come as f32, are rounded to bf16 (to nearest, ties to even) and packed into panels: six rows of `a`, 64
//! columns of `b`, pairs of neighbours along `k` in one word. A tile of 6 x 64 sums stays in 24 registers of 16 lanes.
//! Every sum is made along `k` from first to last by one thread, so results do not depend on the number of threads.
//!
//! The tile is written over [`SimdAccumulator`], of which there are two: the instruction, and what it computes in plain arithmetic,
//! so that everything but the instruction itself is tested on every machine. The instruction does not round between the two
//! products of a pair as plain arithmetic does, and takes denormal numbers for zero: results differ by the rounding of sums.
//!
//! AMX tiles would be faster still where they are present; their intrinsics are not in stable Rust.

use crate::matmul::MatRef;
use crate::simd;
use crate::uninit::alloc_uninit;
use rayon::prelude::*;
use std::mem::MaybeUninit;

/// Rows and columns of a tile.
const TILE: [usize; 2] = [6, 64];
/// Pairs along `k` that are packed at a time: a panel of `b` then takes 128 KiB, which the second cache holds.
const DEPTH: usize = 512;
/// Rows that one thread works on at a time.
const ROWS: usize = 8 * TILE[0];

/// The sums of a tile.
type Sums = [[f32; TILE[1]]; TILE[0]];

/// How pairs are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bf16Backend {
    /// By `vdpbf16ps`.
    #[cfg(target_arch = "x86_64")]
    Avx512,
    /// By plain arithmetic that rounds alike, on any processor: for tests.
    Emulated,
}

impl Bf16Backend {
    /// The unit of this processor, if it has one. The standard library looks once and remembers.
    pub fn detect() -> Option<Bf16Backend> {
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx512bf16") && is_x86_feature_detected!("avx512f") {
            return Some(Bf16Backend::Avx512);
        }
        None
    }

    fn tile(self, a: &[[u32; TILE[0]]], b: &[[u32; TILE[1]]], sums: &mut Sums) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `detect` has seen these instructions on this machine.
            Bf16Backend::Avx512 => unsafe { avx512::tile(a, b, sums) },
            Bf16Backend::Emulated => emulated::tile(a, b, sums),
        }
    }
}

/// `a b` in a new buffer, by all threads.
pub(crate) fn product(a: MatRef, b: MatRef, unit: Bf16Backend) -> Vec<f32> {
    let ([m, k], [k_b, n]) = (a.shape(), b.shape());
    assert_eq!(k, k_b, "the factors of a product must fit");
    if m * n == 0 || k == 0 {
        return vec![0.0; m * n];
    }
    // SAFETY: the first round of `add` (`first`) writes every element of `out`: all rows, all columns.
    unsafe {
        alloc_uninit(m * n, |out| {
            for begin in (0..k).step_by(2 * DEPTH) {
                let depth = (k - begin).min(2 * DEPTH);
                let (a, b) = (a.t().rows(begin, depth).t(), b.rows(begin, depth));
                add(out, begin == 0, a, b, unit);
            }
        })
        .0
    }
}

/// `out := a b`, or `out += a b` after the first time, for factors of little depth.
fn add(out: &mut [MaybeUninit<f32>], first: bool, a: MatRef, b: MatRef, unit: Bf16Backend) {
    let ([m, k], [_, n]) = (a.shape(), b.shape());
    let pairs = k.div_ceil(2);
    let panels = n.div_ceil(TILE[1]);
    let mut packed = vec![[0; TILE[1]]; panels * pairs];
    packed.par_chunks_mut(pairs).enumerate().for_each(|(panel, words)| {
        pack_columns(b.t(), panel * TILE[1], words);
    });
    out.par_chunks_mut(ROWS * n).enumerate().for_each(|(chunk, out)| {
        let rows = out.len() / n;
        let mut of_rows = vec![[0; TILE[0]]; rows.div_ceil(TILE[0]) * pairs];
        for (panel, words) in of_rows.chunks_mut(pairs).enumerate() {
            pack_rows(a, chunk * ROWS + panel * TILE[0], words);
        }
        let mut sums = [[0.0; TILE[1]]; TILE[0]];
        for (b, column) in packed.chunks(pairs).zip((0..n).step_by(TILE[1])) {
            for (a, out) in of_rows.chunks(pairs).zip(out.chunks_mut(TILE[0] * n)) {
                unit.tile(a, b, &mut sums);
                for (out, sums) in out.chunks_mut(n).zip(&sums) {
                    let out = &mut out[column..n.min(column + TILE[1])];
                    write(out, sums, first);
                }
            }
        }
    });
    debug_assert_eq!(m * n, out.len());
}

/// The bits of `x` as bf16, to nearest, ties to even; NaN stays NaN.
#[inline(always)]
pub(crate) fn rounded(x: f32) -> u32 {
    let bits = x.to_bits();
    let near = bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { (bits >> 16) | 0x40 } else { near }
}

/// Two numbers in a word, the first in the low half.
#[inline(always)]
fn pair(low: f32, high: f32) -> u32 {
    rounded(low) | rounded(high) << 16
}

/// Packs `N` rows of `x` from row `first` on: word `p` of a lane holds columns `2p` and `2p + 1` of its row. Zeros stand for
/// what lies beyond.
#[inline(always)]
fn pack<const N: usize>(x: MatRef, first: usize, words: &mut [[u32; N]]) {
    let lanes = N.min(x.shape()[0].saturating_sub(first));
    if x.is_column_major() {
        pack_column_major(x, first, lanes, words);
    } else {
        pack_row_major(x, first, lanes, words);
    }
}

/// Where rows lie whole in memory: row after row, first into neighbouring words, then into its lane.
#[inline(always)]
fn pack_row_major<const N: usize>(x: MatRef, first: usize, lanes: usize, words: &mut [[u32; N]]) {
    let mut row = [0; DEPTH];
    for lane in 0..N {
        let row = &mut row[..words.len()];
        if lane < lanes {
            let (pairs, odd) = x.t().column(first + lane, 0, x.shape()[1]).as_chunks::<2>();
            for (word, [low, high]) in row.iter_mut().zip(pairs) {
                *word = pair(*low, *high);
            }
            if let ([last], Some(word)) = (odd, row.last_mut()) {
                *word = pair(*last, 0.0);
            }
        } else {
            row.fill(0);
        }
        for (words, word) in words.iter_mut().zip(row) {
            words[lane] = *word;
        }
    }
}

/// Where neighbouring rows lie beside each other in memory: pair after pair, all lanes at once.
#[inline(always)]
fn pack_column_major<const N: usize>(x: MatRef, first: usize, lanes: usize, words: &mut [[u32; N]]) {
    let zeros = [0.0; N];
    for (p, word) in words.iter_mut().enumerate() {
        *word = [0; N];
        let low = x.column(2 * p, first, lanes);
        let high = if 2 * p + 1 < x.shape()[1] { x.column(2 * p + 1, first, lanes) } else { &zeros[..lanes] };
        for ((word, low), high) in word.iter_mut().zip(low).zip(high) {
            *word = pair(*low, *high);
        }
    }
}

simd::simd! {
    fn pack_rows(x: MatRef<'_>, first: usize, words: &mut [[u32; 6]]) {
        pack(x, first, words);
    }

    fn pack_columns(x: MatRef<'_>, first: usize, words: &mut [[u32; 64]]) {
        pack(x, first, words);
    }

    fn write(out: &mut [MaybeUninit<f32>], sums: &[f32; 64], first: bool) {
        for (out, sum) in out.iter_mut().zip(sums) {
            // SAFETY: after the first time every element has been written.
            let before = if first { 0.0 } else { unsafe { out.assume_init() } };
            out.write(before + sum);
        }
    }
}

/// Sixteen sums, and what adds a product of pairs to each.
trait SimdAccumulator: Copy {
    /// Sixteen pairs.
    type Pairs: Copy;
    fn zero() -> Self;
    fn pairs(words: &[u32; 16]) -> Self::Pairs;
    /// The same pair sixteen times.
    fn splat(word: u32) -> Self::Pairs;
    /// `self + a.low b.low + a.high b.high`
    fn plus(self, a: Self::Pairs, b: Self::Pairs) -> Self;
    fn store(self, to: &mut [f32; 16]);
}

/// All sums of a tile. To be compiled into a function that has the instructions of `L`.
#[inline(always)]
fn tile_of<L: SimdAccumulator>(a: &[[u32; TILE[0]]], b: &[[u32; TILE[1]]], sums: &mut Sums) {
    let mut lanes = [[L::zero(); TILE[1] / 16]; TILE[0]];
    for (a, b) in a.iter().zip(b) {
        let (b, _) = b.as_chunks::<16>();
        let b: [L::Pairs; TILE[1] / 16] = std::array::from_fn(|j| L::pairs(&b[j]));
        for (lanes, a) in lanes.iter_mut().zip(a) {
            let a = L::splat(*a);
            for (sum, b) in lanes.iter_mut().zip(b) {
                *sum = sum.plus(a, b);
            }
        }
    }
    for (lanes, sums) in lanes.iter().zip(sums) {
        for (lane, to) in lanes.iter().zip(sums.as_chunks_mut::<16>().0) {
            lane.store(to);
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod avx512 {
    use super::{SimdAccumulator, Sums, TILE, tile_of};
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn tile(a: &[[u32; TILE[0]]], b: &[[u32; TILE[1]]], sums: &mut Sums) {
        tile_of::<Zmm>(a, b, sums);
    }

    #[derive(Clone, Copy)]
    struct Zmm(__m512);

    // `Zmm` is used by `tile` alone, which has the instructions.
    impl SimdAccumulator for Zmm {
        type Pairs = __m512bh;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: the instructions are there; loads and stores are of whole arrays of sixteen words.
            Zmm(unsafe { _mm512_setzero_ps() })
        }
        #[inline(always)]
        fn pairs(words: &[u32; 16]) -> __m512bh {
            // SAFETY: the instructions are there; loads and stores are of whole arrays of sixteen words.
            unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(words.as_ptr().cast())) }
        }
        #[inline(always)]
        fn splat(word: u32) -> __m512bh {
            // SAFETY: the instructions are there; loads and stores are of whole arrays of sixteen words.
            unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(word.cast_signed())) }
        }
        #[inline(always)]
        fn plus(self, a: __m512bh, b: __m512bh) -> Self {
            // SAFETY: the instructions are there; loads and stores are of whole arrays of sixteen words.
            Zmm(unsafe { _mm512_dpbf16_ps(self.0, a, b) })
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; 16]) {
            // SAFETY: the instructions are there; loads and stores are of whole arrays of sixteen words.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), self.0) }
        }
    }
}

mod emulated {
    use super::{SimdAccumulator, Sums, TILE, tile_of};

    crate::simd::simd! {
        pub(super) fn tile(a: &[[u32; TILE[0]]], b: &[[u32; TILE[1]]], sums: &mut Sums) {
            tile_of::<[f32; 16]>(a, b, sums);
        }
    }

    impl SimdAccumulator for [f32; 16] {
        type Pairs = [u32; 16];

        #[inline(always)]
        fn zero() -> Self {
            [0.0; 16]
        }
        #[inline(always)]
        fn pairs(words: &[u32; 16]) -> [u32; 16] {
            *words
        }
        #[inline(always)]
        fn splat(word: u32) -> [u32; 16] {
            [word; 16]
        }
        #[inline(always)]
        fn plus(self, a: [u32; 16], b: [u32; 16]) -> Self {
            let low = |word: u32| f32::from_bits(word << 16);
            let high = |word: u32| f32::from_bits(word & 0xffff_0000);
            std::array::from_fn(|i| self[i] + high(a[i]) * high(b[i]) + low(a[i]) * low(b[i]))
        }
        #[inline(always)]
        fn store(self, to: &mut [f32; 16]) {
            *to = self;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: f32) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * seed).sin()).collect()
    }

    fn exact(a: MatRef, b: MatRef) -> Vec<f64> {
        let at = |x: &MatRef, i, j| f64::from(f32::from_bits(rounded(x.at(i, j)) << 16));
        let element = |i, j| (0..a.shape()[1]).map(|k| at(&a, i, k) * at(&b, k, j)).sum();
        (0..a.shape()[0])
            .flat_map(|i| (0..b.shape()[1]).map(move |j| (i, j)))
            .map(|(i, j)| element(i, j))
            .collect()
    }

    fn units() -> Vec<Bf16Backend> {
        std::iter::once(Bf16Backend::Emulated).chain(Bf16Backend::detect()).collect()
    }

    #[test]
    fn products_of_all_orientations_and_sizes() {
        let sizes = [
            (1, 1, 1),
            (3, 5, 7),
            (6, 64, 2),
            (1, 65, 17),
            (65, 1, 31),
            (70, 90, 130),
            (50, 130, 2051),
            (4, 4, 0),
            (0, 3, 2),
            (3, 0, 2),
        ];
        for (m, n, k) in sizes {
            let (a, b) = (numbers(m * k, 0.37), numbers(k * n, 0.91));
            for (a, b) in [
                (MatRef::new(&a, m, k), MatRef::new(&b, k, n)),
                (MatRef::new(&a, k, m).t(), MatRef::new(&b, k, n)),
                (MatRef::new(&a, m, k), MatRef::new(&b, n, k).t()),
                (MatRef::new(&a, k, m).t(), MatRef::new(&b, n, k).t()),
            ] {
                let right = exact(a, b);
                for unit in units() {
                    let got = product(a, b, unit);
                    assert_eq!(got.len(), right.len());
                    let near =
                        |(x, y): (&f32, &f64)| (f64::from(*x) - y).abs() < 1e-5 * (1.0 + k as f64).sqrt();
                    assert!(got.iter().zip(&right).all(near), "{unit:?} {m} {n} {k}");
                }
            }
        }
    }

    #[test]
    fn rounding_is_to_nearest_and_ties_to_even() {
        let halves = |x: f32| rounded(x);
        assert_eq!(halves(1.0), 0x3f80);
        // Bits below: just under a half, a half after even and after odd, just over.
        for (bits, right) in
            [(0x3f80_7fff, 0x3f80), (0x3f80_8000, 0x3f80), (0x3f81_8000, 0x3f82), (0x3f80_8001, 0x3f81)]
        {
            assert_eq!(halves(f32::from_bits(bits)), right);
        }
        assert_eq!((halves(f32::INFINITY), halves(f32::MAX), halves(-0.0)), (0x7f80, 0x7f80, 0x8000));
        assert!(f32::from_bits(halves(f32::from_bits(0x7f80_0001)) << 16).is_nan());
    }

    #[test]
    fn the_number_of_threads_changes_no_bit() {
        let (a, b) = (numbers(200 * 1500, 0.37), numbers(1500 * 100, 0.91));
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let (a, b) = (MatRef::new(&a, 200, 1500), MatRef::new(&b, 1500, 100));
            pool.install(|| product(a, b, Bf16Backend::Emulated))
        };
        assert!(run(1) == run(2) && run(1) == run(5));
    }
}

//! Weights of four bits: groups of 64 or 32 numbers along a row, each `w = s q + m` with `q` in 0..=15. Only weights are quantized; inputs
//! and sums stay f32, as in GPTQ's and HQQ's products and in llama.cpp's blocks of four bits with a minimum (Q4_1).
//!
//! Scales `s` and offsets `m` are bf16, so that a number takes 4.5 bits in groups of 64; codes are rounded with the scales as they are
//! stored. Byte `j` of a group of `g` has number `j` in its low half, and number `j + g / 2` in its high half, as in llama.cpp's blocks:
//! a vector of bytes is then two vectors of neighbours.

mod gptq;
mod hqq;
mod product;

use crate::bf16::rounded;
use crate::gemm::few_rows::Weight;
pub use gptq::InputErrors;
use rayon::prelude::*;
use std::ops::Range;

/// The greatest code.
const MOST: f32 = 15.0;
/// The sizes of groups, of which the first that divides the inputs is taken.
const GROUPS: [usize; 2] = [64, 32];
/// Groups that one thread rounds at a time.
const GROUPS_AT_ONCE: usize = 256;

/// How the scales and offsets of groups are found, and numbers rounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Int4Rounding {
    /// The range of the group, and the nearest code.
    MinMax,
    /// Offsets that minimize the l_0.7 norm of the error (Badri & Shaji 2023, "Half-quadratic quantization of large machine learning
    /// models"), and the nearest code.
    Hqq,
}

/// A weight `[out, in]` of codes of four bits, with a scale and an offset for each group.
#[derive(Debug, Clone, PartialEq)]
pub struct Int4Matrix {
    shape: [usize; 2],
    group: usize,
    /// Two codes a byte, row by row.
    bytes: Vec<u8>,
    /// bf16, of each group.
    scales: Vec<u16>,
    /// bf16, of each group.
    offsets: Vec<u16>,
}

/// A scale and an offset, as they are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Grid {
    scale: f32,
    offset: f32,
}

impl Grid {
    /// Rounds both to bf16. Numbers that are all the same have the scale 0, and are the offset.
    fn new(scale: f32, offset: f32) -> Grid {
        Grid { scale: (rounded(scale) as u16).widen(), offset: (rounded(offset) as u16).widen() }
    }

    /// Over the range of some numbers; not finite where they are not.
    fn of_range(numbers: impl Iterator<Item = f32> + Clone) -> Grid {
        let (least, most) = range(numbers);
        Grid::new((most - least) / MOST, least)
    }

    fn code(self, number: f32) -> u8 {
        let steps = if self.scale == 0.0 { 0.0 } else { (number - self.offset) / self.scale };
        // NaN gives 0, and its group has a scale that is not finite.
        steps.round_ties_even().clamp(0.0, MOST) as u8
    }

    fn value(self, code: u8) -> f32 {
        f32::from(code) * self.scale + self.offset
    }
}

/// The least and the greatest number; NaN where one is not finite.
fn range(numbers: impl Iterator<Item = f32> + Clone) -> (f32, f32) {
    match numbers.clone().all(f32::is_finite) {
        true => numbers.fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), x| (a.min(x), b.max(x))),
        false => (f32::NAN, f32::NAN),
    }
}

/// The codes of a group in its bytes.
fn pack(codes: &[u8], bytes: &mut [u8]) {
    let (low, high) = codes.split_at(bytes.len());
    for ((byte, low), high) in bytes.iter_mut().zip(low).zip(high) {
        *byte = low | high << 4;
    }
}

impl Int4Matrix {
    /// How many numbers share a scale in rows of so many; `None` where rows do not fall into groups, and four bits cannot hold them.
    pub fn group_size(inputs: usize) -> Option<usize> {
        GROUPS.into_iter().find(|group| inputs > 0 && inputs.is_multiple_of(*group))
    }

    /// Rounds each group. One that is not finite gives numbers that are not.
    ///
    /// # Panics
    /// If the numbers do not fill the shape, or rows do not fall into groups.
    pub fn quantize(values: &[f32], shape: [usize; 2], rounding: Int4Rounding) -> Self {
        assert_eq!(values.len(), shape[0] * shape[1], "a matrix must fill its slice");
        let group = Int4Matrix::group_size(shape[1]).expect("rows fall into groups");
        let grids = match rounding {
            Int4Rounding::MinMax => {
                values.par_chunks(group).map(|numbers| Grid::of_range(numbers.iter().copied())).collect()
            }
            Int4Rounding::Hqq => hqq::grids(values, group),
        };
        let mut bytes = vec![0; values.len() / 2];
        let groups = bytes.par_chunks_mut(group / 2).zip(values.par_chunks(group)).zip(&grids);
        groups.with_min_len(GROUPS_AT_ONCE).for_each(|((bytes, numbers), grid)| {
            let codes: Vec<u8> = numbers.iter().map(|number| grid.code(*number)).collect();
            pack(&codes, bytes);
        });
        Int4Matrix::of_grids(bytes, &grids, shape)
    }

    fn of_grids(bytes: Vec<u8>, grids: &[Grid], shape: [usize; 2]) -> Self {
        let bits = |of: fn(&Grid) -> f32| grids.iter().map(|grid| rounded(of(grid)) as u16).collect();
        Int4Matrix::new(bytes, [bits(|grid| grid.scale), bits(|grid| grid.offset)], shape)
    }

    /// Of bytes as they are stored, and the scales and offsets of groups as bf16.
    ///
    /// # Panics
    /// If they do not fit the shape, or rows do not fall into groups.
    pub fn new(bytes: Vec<u8>, [scales, offsets]: [Vec<u16>; 2], shape: [usize; 2]) -> Self {
        let group = Int4Matrix::group_size(shape[1]).expect("rows fall into groups");
        let (size, groups) = (shape[0] * shape[1], shape[0] * shape[1] / group);
        assert!(2 * bytes.len() == size && scales.len() == groups && offsets.len() == groups, "int4: sizes");
        Int4Matrix { shape, group, bytes, scales, offsets }
    }

    /// Outputs and inputs.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// What it takes of memory.
    pub fn bytes(&self) -> usize {
        self.bytes.len() + size_of_val(&self.scales[..]) + size_of_val(&self.offsets[..])
    }

    /// The codes of some outputs, two a byte.
    pub fn codes(&self, rows: Range<usize>) -> &[u8] {
        let width = self.shape[1] / 2;
        &self.bytes[rows.start * width..rows.end * width]
    }

    /// The scales and offsets of the groups of some outputs, as bf16.
    pub fn grids(&self, rows: Range<usize>) -> [&[u16]; 2] {
        let groups = self.shape[1] / self.group;
        [&self.scales, &self.offsets].map(|numbers| &numbers[rows.start * groups..rows.end * groups])
    }

    /// The weights of some outputs as f32, row by row.
    pub fn rows(&self, rows: Range<usize>) -> Vec<f32> {
        let half = self.group / 2;
        let ([scales, offsets], codes) = (self.grids(rows.clone()), self.codes(rows));
        let mut values = vec![0.0; 2 * codes.len()];
        let groups = values.par_chunks_mut(self.group).zip(codes.par_chunks(half)).zip(scales).zip(offsets);
        groups.with_min_len(GROUPS_AT_ONCE).for_each(|(((values, codes), scale), offset)| {
            dequantize(values, codes, scale.widen(), offset.widen());
        });
        values
    }

    /// The numbers that codes of four bits stand for, as f32: what training that knows of the rounding multiplies with
    /// ([`Int4Rounding::MinMax`]).
    ///
    /// # Panics
    /// As [`Int4Matrix::quantize`].
    pub fn rounded(values: &[f32], shape: [usize; 2]) -> Vec<f32> {
        assert_eq!(values.len(), shape[0] * shape[1], "a matrix must fill its slice");
        let group = Int4Matrix::group_size(shape[1]).expect("rows fall into groups");
        let mut rounded = vec![0.0; values.len()];
        let groups = rounded.par_chunks_mut(group).zip(values.par_chunks(group));
        groups.with_min_len(GROUPS_AT_ONCE).for_each(|(rounded, values)| {
            let grid = Grid::of_range(values.iter().copied());
            round(rounded, values, grid.scale, grid.offset);
        });
        rounded
    }
}

crate::simd::simd! {
    fn round(rounded: &mut [f32], values: &[f32], scale: f32, offset: f32) {
        for (rounded, number) in rounded.iter_mut().zip(values) {
            let steps = if scale == 0.0 { 0.0 } else { (number - offset) / scale };
            *rounded = steps.round_ties_even().clamp(0.0, MOST) * scale + offset;
        }
    }

    fn dequantize(values: &mut [f32], codes: &[u8], scale: f32, offset: f32) {
        let (low, high) = values.split_at_mut(codes.len());
        for ((low, high), code) in low.iter_mut().zip(high).zip(codes) {
            *low = f32::from(code & 15) * scale + offset;
            *high = f32::from(code >> 4) * scale + offset;
        }
    }
}

#[cfg(test)]
mod tests;

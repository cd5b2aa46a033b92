//! Products `x w^T` of int8 weights, whose inputs are quantized row by row when they come: dynamic quantization, as in PyTorch's
//! `quantize_dynamic` and onnxruntime.
//!
//! A weight is symmetric by output channel: `w = s_w q_w`, `q_w` in -127..=127, `s_w = max |w| / 127`. A row of `x` is asymmetric:
//! `x = s_x (q_x - z)`, `q_x` in 0..=255, over a range that contains 0. So `y = s_x s_w (sum q_x q_w - z sum q_w) + b` with sums of
//! integers, and every instruction set gives the same bits.
//!
//! The weight is packed once: panels of 16 outputs, of which four neighbours along `k` lie together, as `vpdpbusd` multiplies them. The
//! sums of a tile stay in registers along the whole of `k`.
//!
//! AMX tiles would be faster still where they are present; their intrinsics are not in stable Rust.

mod activations;
mod tiles;

use crate::activation::gelu::normal_cdf;
use crate::uninit::alloc_uninit;
use activations::QuantizedRows;
use rayon::prelude::*;
use std::mem::MaybeUninit;
use std::ops::Range;
pub use tiles::Int8Backend;
use tiles::{LANES, PANELS, QUAD, Quads, Sums, TILE_ROWS};

/// Rows that one thread works on at a time.
const ROWS: usize = 8 * TILE_ROWS;
/// Up to so many rows threads share the outputs, above it the rows.
const FEW_ROWS: usize = 2 * ROWS;
/// About how many weights a thread takes at a time where there are few rows.
const WEIGHTS_AT_ONCE: usize = 1 << 16;
/// The most inputs: the sums of more could leave i32.
pub const MOST_INPUTS: usize = 1 << 16;

/// What is done to sums before they are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The bias is added.
    Bias,
    /// The bias is added, and the exact GELU taken.
    Gelu,
}

/// A weight `[out, in]` of int8 numbers with a scale for each output.
#[derive(Debug, Clone, PartialEq)]
pub struct Int8Matrix {
    shape: [usize; 2],
    /// Panel by panel, each along `k`.
    panels: Vec<Quads>,
    /// By output, as many as the panels have.
    scales: Vec<f32>,
    /// The sum of each output's numbers.
    sums: Vec<i32>,
}

impl Int8Matrix {
    /// Rounds each row to 255 steps between plus and minus its largest value. A row that is not finite has a scale that is not, and gives
    /// outputs that are not.
    ///
    /// # Panics
    /// If the numbers do not fill the shape, or rows are longer than [`MOST_INPUTS`].
    pub fn quantize(values: &[f32], shape: [usize; 2]) -> Self {
        assert_eq!(values.len(), shape[0] * shape[1], "a matrix must fill its slice");
        if shape[1] == 0 {
            return Int8Matrix::new(&[], vec![0.0; shape[0]], shape);
        }
        let rows = values.par_chunks(shape[1]).map(quantized_row);
        let (numbers, scales): (Vec<Vec<i8>>, Vec<f32>) = rows.unzip();
        Int8Matrix::new(&numbers.concat(), scales, shape)
    }

    /// The numbers that codes of rows of `width` stand for, as f32: what training that knows of the rounding multiplies with.
    pub fn rounded(values: &[f32], width: usize) -> Vec<f32> {
        let mut rounded = vec![0.0; values.len()];
        let rows = rounded.par_chunks_mut(width.max(1)).zip(values.par_chunks(width.max(1)));
        rows.for_each(|(rounded, row)| {
            let (codes, scale) = quantized_row(row);
            rounded.iter_mut().zip(codes).for_each(|(value, code)| *value = f32::from(code) * scale);
        });
        rounded
    }

    /// Of numbers row by row, with the scale of each row.
    ///
    /// # Panics
    /// As [`Int8Matrix::quantize`], and for a number of -128.
    pub fn new(numbers: &[i8], mut scales: Vec<f32>, shape: [usize; 2]) -> Self {
        let [outputs, inputs] = shape;
        assert_eq!(numbers.len(), outputs * inputs, "a matrix must fill its slice");
        assert!(scales.len() == outputs && inputs <= MOST_INPUTS, "an int8 matrix: scales and inputs");
        assert!(!numbers.contains(&i8::MIN), "int8 weights are symmetric");
        let (quads, panels) = (inputs.div_ceil(QUAD), outputs.div_ceil(LANES));
        let mut packed = vec![Quads::ZERO; panels * quads];
        let mut sums = vec![0; panels * LANES];
        scales.resize(panels * LANES, 0.0);
        if inputs > 0 {
            let rows = packed.par_chunks_mut(quads).zip(sums.par_chunks_mut(LANES));
            rows.zip(numbers.par_chunks(LANES * inputs)).for_each(|((panel, sums), numbers)| {
                for (lane, (row, sum)) in numbers.chunks_exact(inputs).zip(sums).enumerate() {
                    *sum = row.iter().map(|q| i32::from(*q)).sum();
                    for (quad, four) in panel.iter_mut().zip(row.chunks(QUAD)) {
                        quad.0[lane * QUAD..][..four.len()].copy_from_slice(four);
                    }
                }
            });
        }
        Int8Matrix { shape, panels: packed, scales, sums }
    }

    /// Outputs and inputs.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// What it takes of memory.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.panels[..]) + size_of_val(&self.scales[..]) + size_of_val(&self.sums[..])
    }

    /// The scale of each output.
    pub fn scales(&self) -> &[f32] {
        &self.scales[..self.shape[0]]
    }

    /// The numbers of some outputs, row by row.
    pub fn numbers(&self, rows: Range<usize>) -> Vec<i8> {
        let quads = self.quads();
        let row = |row: usize| {
            let (panel, lane) = (&self.panels[row / LANES * quads..][..quads], row % LANES);
            let numbers = panel.iter().flat_map(move |quad| &quad.0[lane * QUAD..][..QUAD]);
            numbers.copied().take(self.shape[1]).collect::<Vec<i8>>()
        };
        rows.into_par_iter().flat_map_iter(row).collect()
    }

    /// The weights of some outputs as f32, row by row.
    pub fn rows(&self, rows: Range<usize>) -> Vec<f32> {
        let mut values: Vec<f32> = self.numbers(rows.clone()).into_iter().map(f32::from).collect();
        let width = self.shape[1].max(1);
        values.par_chunks_mut(width).zip(&self.scales[rows]).for_each(|(row, s)| crate::simd::scale(row, *s));
        values
    }

    /// `x w^T + b` with some outputs, of which `finish` is made: `x` `[n, in]`, `b` `[out]` of all outputs, result `[n, outputs]`.
    ///
    /// # Panics
    /// If the sizes do not fit.
    pub fn product(&self, x: &[f32], n: usize, outputs: Range<usize>, b: &[f32], finish: Finish) -> Vec<f32> {
        self.product_by(Int8Backend::detect(), x, n, outputs, (b, finish))
    }

    fn product_by(
        &self,
        unit: Int8Backend,
        x: &[f32],
        n: usize,
        outputs: Range<usize>,
        (bias, finish): (&[f32], Finish),
    ) -> Vec<f32> {
        let [all, inputs] = self.shape;
        assert!(x.len() == n * inputs && bias.len() == all && outputs.end <= all, "int8 product: sizes");
        let width = outputs.len();
        if n * width == 0 {
            return Vec::new();
        }
        let block = Block { unit, weight: self, bias, finish };
        if n <= FEW_ROWS {
            return block.few_rows(&QuantizedRows::of(x, [n, inputs], unit.shift()), outputs);
        }
        // SAFETY: the chunks cover the whole buffer, and `Block::write` fills each.
        unsafe {
            alloc_uninit(n * width, |out| {
                let chunks = out.par_chunks_mut(ROWS * width).enumerate();
                chunks.for_each(|(chunk, out)| {
                    let rows = out.len() / width;
                    let x = &x[chunk * ROWS * inputs..][..rows * inputs];
                    let rows = QuantizedRows::of(x, [rows, inputs], unit.shift());
                    block.write(&rows, outputs.clone(), out);
                });
            })
            .0
        }
    }

    fn quads(&self) -> usize {
        self.shape[1].div_ceil(QUAD)
    }
}

/// The numbers of a row and their scale.
fn quantized_row(row: &[f32]) -> (Vec<i8>, f32) {
    let largest = row.iter().fold(0.0f32, |most, x| if x.abs() > most { x.abs() } else { most });
    let finite = row.iter().all(|x| x.is_finite());
    let scale = if finite { largest / 127.0 } else { f32::NAN };
    let step = if scale > 0.0 { scale } else { 1.0 };
    // The largest value of subnormal scales can land beyond the last step; NaN is no number of steps.
    (row.iter().map(|x| (x / step).round_ties_even().clamp(-127.0, 127.0) as i8).collect(), scale)
}

/// What all tiles of a product have in common.
#[derive(Clone, Copy)]
struct Block<'a> {
    unit: Int8Backend,
    weight: &'a Int8Matrix,
    bias: &'a [f32],
    finish: Finish,
}

impl Block<'_> {
    /// The product of few rows, by outputs.
    fn few_rows(&self, x: &QuantizedRows, outputs: Range<usize>) -> Vec<f32> {
        let (n, width, group) = (x.rows(), outputs.len(), PANELS * LANES);
        let at_once = (WEIGHTS_AT_ONCE / self.weight.shape[1].max(1)).next_multiple_of(group).max(group);
        // Parts begin where panels do.
        let first = outputs.start / group * group;
        let begins: Vec<usize> = (first..outputs.end).step_by(at_once).collect();
        let part = |begin: &usize| {
            let own = outputs.start.max(*begin)..outputs.end.min(begin + at_once);
            // SAFETY: `write` fills what it is given.
            let part = unsafe { alloc_uninit(n * own.len(), |out| self.write(x, own.clone(), out)).0 };
            (own, part)
        };
        let mut parts: Vec<(Range<usize>, Vec<f32>)> = begins.par_iter().map(part).collect();
        if let [(_, part)] = &mut parts[..] {
            return std::mem::take(part);
        }
        let mut y = Vec::with_capacity(n * width);
        for row in 0..n {
            for (own, part) in &parts {
                y.extend_from_slice(&part[row * own.len()..][..own.len()]);
            }
        }
        y
    }

    /// Fills `out` `[rows, outputs]`.
    fn write(&self, x: &QuantizedRows, outputs: Range<usize>, out: &mut [MaybeUninit<f32>]) {
        let (width, quads) = (outputs.len(), self.weight.quads());
        let mut sums: Sums = [[0; PANELS * LANES]; TILE_ROWS];
        let mut panel = outputs.start / LANES;
        while panel * LANES < outputs.end {
            let left = outputs.end.div_ceil(LANES) - panel;
            let count = if left < PANELS { 1 } else { PANELS };
            let panels = &self.weight.panels[panel * quads..][..count * quads];
            let first = panel * LANES;
            let own = outputs.start.max(first)..outputs.end.min(first + count * LANES);
            let channels = Channels {
                sums: &self.weight.sums[own.clone()],
                scales: &self.weight.scales[own.clone()],
                bias: &self.bias[own.clone()],
            };
            for (tile, out) in out.chunks_mut(TILE_ROWS * width).enumerate() {
                let rows = out.len() / width;
                self.unit.tile(x.tile(tile * TILE_ROWS, rows), rows, panels, &mut sums);
                for (i, (out, sums)) in out.chunks_mut(width).zip(&sums).enumerate() {
                    let out = &mut out[own.start - outputs.start..][..own.len()];
                    let sums = &sums[own.start - first..][..own.len()];
                    let (scale, zero) = x.factors(tile * TILE_ROWS + i);
                    match self.finish {
                        Finish::Bias => write_bias(out, sums, scale, zero, channels),
                        Finish::Gelu => write_gelu(out, sums, scale, zero, channels),
                    }
                }
            }
            panel += count;
        }
    }
}

/// What belongs to the outputs of a tile.
#[derive(Clone, Copy)]
struct Channels<'a> {
    sums: &'a [i32],
    scales: &'a [f32],
    bias: &'a [f32],
}

#[inline(always)]
fn dequantized(sum: i32, of_weights: i32, zero: i32, scale: f32, of_channel: f32, bias: f32) -> f32 {
    (sum - zero * of_weights) as f32 * scale * of_channel + bias
}

crate::simd::simd! {
    fn write_bias(out: &mut [MaybeUninit<f32>], sums: &[i32], scale: f32, zero: i32, channels: Channels<'_>) {
        let Channels { sums: w, scales: s, bias: b } = channels;
        for ((((out, sum), w), s), b) in out.iter_mut().zip(sums).zip(w).zip(s).zip(b) {
            out.write(dequantized(*sum, *w, zero, scale, *s, *b));
        }
    }

    fn write_gelu(out: &mut [MaybeUninit<f32>], sums: &[i32], scale: f32, zero: i32, channels: Channels<'_>) {
        let Channels { sums: w, scales: s, bias: b } = channels;
        for ((((out, sum), w), s), b) in out.iter_mut().zip(sums).zip(w).zip(s).zip(b) {
            let z = dequantized(*sum, *w, zero, scale, *s, *b);
            out.write(z * normal_cdf(z));
        }
    }
}

#[cfg(test)]
mod tests;

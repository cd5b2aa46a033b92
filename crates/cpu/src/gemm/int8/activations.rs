//! Rows of inputs, quantized when they come.

use super::tiles::QUAD;

/// Rows of bytes, with what they stand for: `x = scale (byte - zero)`.
pub(super) struct QuantizedRows {
    /// Bytes of a row, a multiple of four.
    stride: usize,
    bytes: Vec<u8>,
    factors: Vec<(f32, i32)>,
}

/// The narrowest range of a row, below which its numbers are taken for zero.
const LEAST_RANGE: f32 = 1e-30;

impl QuantizedRows {
    /// Quantizes `x` `[rows, width]`, by one thread. `shift` is what is flipped of every byte: 0 for unsigned bytes, 128 for signed ones.
    pub fn of(x: &[f32], [rows, width]: [usize; 2], shift: u8) -> Self {
        let stride = width.next_multiple_of(QUAD);
        if stride == 0 {
            return QuantizedRows { stride, bytes: Vec::new(), factors: vec![(1.0, 0); rows] };
        }
        let mut bytes = vec![0; rows * stride];
        let row = |(row, bytes): (&[f32], &mut [u8])| quantize(row, &mut bytes[..width], shift);
        let factors = x.chunks_exact(width).zip(bytes.chunks_exact_mut(stride)).map(row).collect();
        QuantizedRows { stride, bytes, factors }
    }

    pub fn rows(&self) -> usize {
        self.factors.len()
    }

    /// The bytes of some rows.
    pub fn tile(&self, first: usize, rows: usize) -> &[u8] {
        &self.bytes[first * self.stride..(first + rows) * self.stride]
    }

    /// Scale and zero of a row.
    pub fn factors(&self, row: usize) -> (f32, i32) {
        self.factors[row]
    }
}

/// Scale and zero of a row, by its least and its largest number and 0; a scale that is no number where one of them is not finite.
#[inline(always)]
fn range(row: &[f32]) -> (f32, f32) {
    const LANES: usize = 16;
    let (chunks, rest) = row.as_chunks::<LANES>();
    let (mut least, mut most, mut bits) = ([0.0f32; LANES], [0.0f32; LANES], [0u32; LANES]);
    for chunk in chunks {
        for i in 0..LANES {
            least[i] = if chunk[i] < least[i] { chunk[i] } else { least[i] };
            most[i] = if chunk[i] > most[i] { chunk[i] } else { most[i] };
            bits[i] = bits[i].max(chunk[i].to_bits() & 0x7fff_ffff);
        }
    }
    let least = least.iter().chain(rest).fold(0.0f32, |a, b| a.min(*b));
    let most = most.iter().chain(rest).fold(0.0f32, |a, b| a.max(*b));
    let rest = rest.iter().map(|x| x.to_bits() & 0x7fff_ffff);
    let largest = bits.into_iter().chain(rest).max().unwrap_or_default();
    if largest >= f32::INFINITY.to_bits() { (f32::NAN, f32::NAN) } else { (least, most) }
}

crate::simd::simd! {
    fn quantize(row: &[f32], bytes: &mut [u8], shift: u8) -> (f32, i32) {
        // Added to a number it leaves the nearest integer in the low bits, ties to even.
        const ROUND: f32 = 12_582_912.0;
        let (least, most) = range(row);
        if least.is_nan() {
            return (f32::NAN, 0);
        }
        // By parts: the range of finite numbers may not be finite.
        let scale = (most / 255.0 - least / 255.0).max(LEAST_RANGE / 255.0);
        let zero = (-least / scale + ROUND) - ROUND;
        let steps = 1.0 / scale;
        for (byte, x) in bytes.iter_mut().zip(row) {
            let at = (x * steps + zero).clamp(0.0, 255.0);
            *byte = (at + ROUND).to_bits() as u8 ^ shift;
        }
        (scale, zero as i32 - i32::from(shift))
    }
}

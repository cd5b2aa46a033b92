//! From blocks of a quantized type to f32. The layouts are those of ggml-quants.c; gguf-py's quants.py has the same in NumPy.
//!
//! Products and sums are rounded one by one, as there, so that results are equal to the bit.

use half::{bf16, f16};

/// Appends the numbers of whole blocks.
pub(crate) type Read = fn(&[u8], &mut Vec<f32>);

pub(crate) fn f32(bytes: &[u8], out: &mut Vec<f32>) {
    out.extend(bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)));
}

pub(crate) fn f16(bytes: &[u8], out: &mut Vec<f32>) {
    out.extend(bytes.as_chunks().0.iter().map(|bytes| f16::from_le_bytes(*bytes).to_f32()));
}

pub(crate) fn bf16(bytes: &[u8], out: &mut Vec<f32>) {
    out.extend(bytes.as_chunks().0.iter().map(|bytes| bf16::from_le_bytes(*bytes).to_f32()));
}

/// `d q`, 8 bits each.
pub(crate) fn q8_0(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.as_chunks::<34>().0 {
        let d = scale(block, 0);
        out.extend(block[2..].iter().map(|q| d * f32::from(q.cast_signed())));
    }
}

/// `d (q - 8)`, 4 bits each: the low halves of 16 bytes, then the high ones.
pub(crate) fn q4_0(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.as_chunks::<18>().0 {
        let d = scale(block, 0);
        out.extend(nibbles(&block[2..]).map(|q| d * (f32::from(q) - 8.0)));
    }
}

/// `d q + m`.
pub(crate) fn q4_1(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.as_chunks::<20>().0 {
        let (d, m) = (scale(block, 0), scale(block, 2));
        out.extend(nibbles(&block[4..]).map(|q| d * f32::from(q) + m));
    }
}

/// `d (q - 16)`, 5 bits each: the fifth bits lie together before the others.
pub(crate) fn q5_0(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.as_chunks::<22>().0 {
        let d = scale(block, 0);
        let low = nibbles(&block[6..]).enumerate();
        out.extend(low.map(|(i, q)| d * (f32::from(q | fifth(&block[2..6], i)) - 16.0)));
    }
}

/// `d q + m`, 5 bits each.
pub(crate) fn q5_1(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.as_chunks::<24>().0 {
        let (d, m) = (scale(block, 0), scale(block, 2));
        let low = nibbles(&block[8..]).enumerate();
        out.extend(low.map(|(i, q)| d * f32::from(q | fifth(&block[4..8], i)) + m));
    }
}

/// `d s q - dmin m`: 8 parts of 32 numbers, each with a scale s and a minimum m of 6 bits.
pub(crate) fn q4_k(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.as_chunks::<144>().0 {
        let parts = scales_and_minima(block);
        for (pair, quants) in parts.chunks_exact(2).zip(block[16..].chunks_exact(32)) {
            for ((d, m), q) in pair.iter().zip([low_halves(quants), high_halves(quants)]) {
                out.extend(q.iter().map(|q| d * f32::from(*q) - m));
            }
        }
    }
}

/// As [`q4_k`] with a fifth bit: bit i of byte j belongs to number j of part i.
pub(crate) fn q5_k(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.as_chunks::<176>().0 {
        let parts = scales_and_minima(block);
        let (fifths, quants) = (&block[16..48], &block[48..]);
        for (i, (d, m)) in parts.iter().enumerate() {
            let quants = &quants[i / 2 * 32..][..32];
            let low = if i % 2 == 0 { low_halves(quants) } else { high_halves(quants) };
            let bits = fifths.iter().map(|byte| (byte >> i & 1) << 4);
            out.extend(low.iter().zip(bits).map(|(q, bit)| d * f32::from(q | bit) - m));
        }
    }
}

/// `d s (q - 32)`: 16 parts of 16 numbers of 6 bits, each with a scale s of 8 bits.
pub(crate) fn q6_k(bytes: &[u8], out: &mut Vec<f32>) {
    for block in bytes.as_chunks::<210>().0 {
        let (low, high, scales, d) = (&block[..128], &block[128..192], &block[192..208], scale(block, 208));
        for part in 0..8 {
            // Of 128 numbers 64 bytes hold the low halves, 32 the bits above them.
            let (half, quarter) = (part / 4, part % 4);
            let low = &low[half * 64 + quarter % 2 * 32..][..32];
            let high = &high[half * 32..][..32];
            for i in 0..32 {
                let nibble = if quarter < 2 { low[i] & 15 } else { low[i] >> 4 };
                let q = nibble | (high[i] >> (2 * quarter) & 3) << 4;
                let scale = d * f32::from(scales[part * 2 + i / 16].cast_signed());
                out.push(scale * (f32::from(q) - 32.0));
            }
        }
    }
}

/// The f16 at a place of a block.
fn scale(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The low halves of bytes, then the high ones.
fn nibbles(bytes: &[u8]) -> impl Iterator<Item = u8> {
    bytes.iter().map(|byte| byte & 15).chain(bytes.iter().map(|byte| byte >> 4))
}

fn low_halves(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte & 15).collect()
}

fn high_halves(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| byte >> 4).collect()
}

/// The fifth bit of number i, in its place.
fn fifth(bits: &[u8], i: usize) -> u8 {
    (bits[i / 8] >> (i % 8) & 1) << 4
}

/// Of each part `d s` and `dmin m`. The first four have 6 bits in one byte; of the others the low four lie in the last four bytes, and the
/// high two above the first ones'.
fn scales_and_minima(block: &[u8]) -> Vec<(f32, f32)> {
    let (d, dmin, packed) = (scale(block, 0), scale(block, 2), &block[4..16]);
    let of = |i: usize| match i {
        0..4 => (packed[i] & 63, packed[i + 4] & 63),
        _ => {
            let (scale, minimum, low) = (packed[i - 4], packed[i], packed[i + 4]);
            (low & 15 | scale >> 2 & 48, low >> 4 | minimum >> 2 & 48)
        }
    };
    let of = |i| {
        let (scale, minimum) = of(i);
        (d * f32::from(scale), dmin * f32::from(minimum))
    };
    (0..8).map(of).collect()
}

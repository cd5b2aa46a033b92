//! From f32 to blocks of a quantized type. Types of 32 numbers are those of gguf-py's quants.py, byte for byte, which are those of
//! ggml-quants.c; Q4_K is ggml's `quantize_row_q4_K_ref`, without an importance matrix.

use half::f16;

/// Appends blocks of whole rows of numbers.
pub(crate) type Write = fn(&[f32], &mut Vec<u8>);

pub(crate) fn f32(numbers: &[f32], out: &mut Vec<u8>) {
    out.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
}

pub(crate) fn f16(numbers: &[f32], out: &mut Vec<u8>) {
    out.extend(numbers.iter().flat_map(|number| f16::from_f32(*number).to_le_bytes()));
}

/// `d q`, where `d` takes the greatest number to 127.
#[allow(clippy::cast_possible_truncation)] // Rounded numbers of at most 127.
pub(crate) fn q8_0(numbers: &[f32], out: &mut Vec<u8>) {
    for block in numbers.as_chunks::<32>().0 {
        let d = block.iter().fold(0.0f32, |most, x| most.max(x.abs())) / 127.0;
        let inverse = inverse(d);
        scale(d, out);
        out.extend(block.iter().map(|x| ((x * inverse).round() as i8).cast_unsigned()));
    }
}

/// `d (q - 8)`, where `d` takes the number that is farthest from 0 to -8.
pub(crate) fn q4_0(numbers: &[f32], out: &mut Vec<u8>) {
    for block in numbers.as_chunks::<32>().0 {
        let d = farthest(block) / -8.0;
        let quants = shifted(block, inverse(d), 8.5, 15);
        scale(d, out);
        nibbles(&quants, out);
    }
}

/// `d (q - 16)`, likewise; the fifth bits lie together before the others.
pub(crate) fn q5_0(numbers: &[f32], out: &mut Vec<u8>) {
    for block in numbers.as_chunks::<32>().0 {
        let d = farthest(block) / -16.0;
        let quants = shifted(block, inverse(d), 16.5, 31);
        scale(d, out);
        let fifth = quants.iter().enumerate().fold(0u32, |bits, (i, q)| bits | u32::from(q >> 4) << i);
        out.extend(fifth.to_le_bytes());
        nibbles(&quants.map(|q| q & 15), out);
    }
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

fn scale(d: f32, out: &mut Vec<u8>) {
    out.extend(f16::from_f32(d).to_le_bytes());
}

/// The number with the greatest absolute value; the first of several.
fn farthest(block: &[f32]) -> f32 {
    block.iter().fold(0.0, |most: f32, x| if x.abs() > most.abs() { *x } else { most })
}

/// `x inverse + shift`, cut to a whole number of at most `most`.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Of 0.5 to 32.5.
fn shifted(block: &[f32; 32], inverse: f32, shift: f32, most: u8) -> [u8; 32] {
    block.map(|x| ((x * inverse + shift) as u8).min(most))
}

/// Two numbers of 4 bits in a byte: the first half of them in the low ones.
fn nibbles(quants: &[u8], out: &mut Vec<u8>) {
    let (low, high) = quants.split_at(quants.len() / 2);
    out.extend(low.iter().zip(high).map(|(low, high)| low | high << 4));
}

/// Numbers of a part of a block of Q4_K.
const PART: usize = 32;
/// Their greatest quant.
const MOST: f32 = 15.0;
/// The greatest quant of scales and minima.
const MOST_SCALE: f32 = 63.0;

/// `d s q - dmin m`: 8 parts of 32 numbers, each with a scale s and a minimum m of 6 bits.
pub(crate) fn q4_k(numbers: &[f32], out: &mut Vec<u8>) {
    for block in numbers.as_chunks::<256>().0 {
        let parts = block.as_chunks::<PART>().0;
        let fitted: Vec<[f32; 2]> = parts.iter().map(fit).collect();
        let greatest = |at: usize| fitted.iter().fold(0.0f32, |most, part| most.max(part[at]));
        let (scales, minima) = (greatest(0), greatest(1));
        let six_bits = |most: f32, value: f32| {
            quant(if most > 0.0 { MOST_SCALE / most } else { 0.0 } * value, MOST_SCALE)
        };
        let stored: Vec<[u8; 2]> =
            fitted.iter().map(|[s, m]| [six_bits(scales, *s), six_bits(minima, *m)]).collect();
        scale(scales / MOST_SCALE, out);
        scale(minima / MOST_SCALE, out);
        out.extend(packed(&stored));
        let [d, dmin] = [scales, minima].map(|most| f16::from_f32(most / MOST_SCALE).to_f32());
        let quants: Vec<[u8; PART]> = parts
            .iter()
            .zip(&stored)
            .map(|(part, [s, m])| {
                let (d, minimum) = (d * f32::from(*s), dmin * f32::from(*m));
                part.map(|x| if d == 0.0 { 0 } else { quant((x + minimum) / d, MOST) })
            })
            .collect();
        for pair in quants.as_chunks::<2>().0 {
            out.extend(pair[0].iter().zip(&pair[1]).map(|(low, high)| low | high << 4));
        }
    }
}

/// The nearest whole number from 0 to `most`; of two the even one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn quant(x: f32, most: f32) -> u8 {
    x.round_ties_even().clamp(0.0, most) as u8
}

/// Scales and minima of 6 bits in 12 bytes: four of each, then the low four bits of both of the others, whose high two bits stand above
/// the first ones.
fn packed(stored: &[[u8; 2]]) -> [u8; 12] {
    let mut bytes = [0; 12];
    for (j, [s, m]) in stored.iter().enumerate() {
        match j {
            0..4 => (bytes[j], bytes[j + 4]) = (*s, *m),
            _ => {
                bytes[j + 4] = (s & 15) | (m & 15) << 4;
                bytes[j - 4] |= (s >> 4) << 6;
                bytes[j] |= (m >> 4) << 6;
            }
        }
    }
    bytes
}

/// The scale and the minimum of a part, the latter with its sign turned: of 21 first scales the one whose least squares fit, weighted by
/// how large numbers are, is best (`make_qkx2_quants`).
fn fit(x: &[f32; PART]) -> [f32; 2] {
    let mean_square = x.iter().map(|x| x * x).sum::<f32>() / PART as f32;
    let weights = x.map(|x| mean_square.sqrt() + x.abs());
    let low = x.iter().copied().fold(x[0], f32::min).min(0.0);
    let high = x.iter().copied().fold(x[0], f32::max);
    if high == low {
        return [0.0, -low];
    }
    let (mut sum_w, mut sum_x) = (0.0, 0.0);
    for (x, w) in x.iter().zip(weights) {
        sum_w += w;
        sum_x += w * x;
    }
    let error = |quants: &[u8; PART], [scale, minimum]: [f32; 2]| -> f32 {
        let one = |((q, x), w): ((&u8, &f32), f32)| {
            let difference = scale * f32::from(*q) + minimum - x;
            w * difference * difference
        };
        quants.iter().zip(x).zip(weights).map(one).sum()
    };
    let inverse = MOST / (high - low);
    let mut best = [1.0 / inverse, low];
    let mut least = error(&x.map(|x| quant(inverse * (x - low), MOST)), best);
    for step in 0..=20u8 {
        let inverse = (-1.0 + 0.1 * f32::from(step) + MOST) / (high - low);
        let quants = x.map(|x| quant(inverse * (x - low), MOST));
        let (mut sum_q, mut sum_qq, mut sum_qx) = (0.0, 0.0, 0.0);
        for ((q, x), w) in quants.iter().zip(x).zip(weights) {
            let q = f32::from(*q);
            sum_q += w * q;
            sum_qq += w * q * q;
            sum_qx += w * q * x;
        }
        let determinant = sum_w * sum_qq - sum_q * sum_q;
        if determinant <= 0.0 {
            continue;
        }
        let mut found =
            [(sum_w * sum_qx - sum_x * sum_q) / determinant, (sum_qq * sum_x - sum_q * sum_qx) / determinant];
        if found[1] > 0.0 {
            found = [sum_qx / sum_qq, 0.0];
        }
        let own = error(&quants, found);
        if own < least {
            (least, best) = (own, found);
        }
    }
    [best[0], -best[1]]
}

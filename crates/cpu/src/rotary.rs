//! Rotary positions (Su et al. 2021): pairs of columns of queries and keys turned by angles that grow with the position.

use crate::{ROWS, simd};
use rayon::prelude::*;

/// Cosines and sines of the angles of positions, `[positions, half]` each, in pairs of columns `i` and `i + half`.
#[derive(Debug, Clone, PartialEq)]
pub struct RotaryAngles {
    cos: Vec<f32>,
    sin: Vec<f32>,
    half: usize,
}

impl RotaryAngles {
    /// The angles `position frequencies[i]` of positions below `positions`, whose cosines and sines are multiplied by `factor`. In f32, as
    /// networks are trained.
    pub fn new(frequencies: &[f32], factor: f32, positions: usize) -> Self {
        let angles =
            (0..positions).flat_map(|at| frequencies.iter().map(move |frequency| at as f32 * frequency));
        let (sin, cos) = angles.map(f32::sin_cos).map(|(sin, cos)| (sin * factor, cos * factor)).unzip();
        RotaryAngles { cos, sin, half: frequencies.len() }
    }

    /// Angles of a position: half as many as a head has columns.
    pub fn half(&self) -> usize {
        self.half
    }

    /// How many positions have angles.
    pub fn positions(&self) -> usize {
        self.cos.len().checked_div(self.half).unwrap_or(usize::MAX)
    }

    /// Cosines and sines of all positions, `[positions, half]` each.
    pub fn tables(&self) -> [&[f32]; 2] {
        [&self.cos, &self.sin]
    }

    fn of(&self, position: u32) -> [&[f32]; 2] {
        let begin = position as usize * self.half;
        [&self.cos, &self.sin].map(|table| &table[begin..begin + self.half])
    }
}

/// Rotates the first `heads` heads of each token of `x` `[n, width]` by the angles of its position; backwards with `inverse`, which is also
/// how gradients go back.
pub fn rotate(
    x: &mut [f32],
    width: usize,
    heads: usize,
    positions: &[u32],
    angles: &RotaryAngles,
    inverse: bool,
) {
    assert_eq!(x.len(), width * positions.len(), "rotary: a position for each token");
    if width == 0 || angles.half == 0 {
        return;
    }
    x.par_chunks_mut(ROWS * width).zip(positions.par_chunks(ROWS)).for_each(|(x, positions)| {
        for (token, position) in x.chunks_exact_mut(width).zip(positions) {
            let [cos, sin] = angles.of(*position);
            rotate_token(&mut token[..heads * 2 * angles.half], cos, sin, if inverse { -1.0 } else { 1.0 });
        }
    });
}

simd::simd! {
    fn rotate_token(heads: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
        for head in heads.chunks_exact_mut(2 * cos.len()) {
            let (first, second) = head.split_at_mut(cos.len());
            for (((a, b), cos), sin) in first.iter_mut().zip(second).zip(cos).zip(sin) {
                let (x, y, sin) = (*a, *b, sign * sin);
                *a = x * cos - y * sin;
                *b = y * cos + x * sin;
            }
        }
    }
}

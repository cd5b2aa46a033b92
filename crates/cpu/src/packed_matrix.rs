//! Weights that are not trained, in fewer bytes than f32 takes.

use crate::activation::gelu;
use crate::bf16::rounded;
use crate::gemm::few_rows;
use crate::int4::{Int4Matrix, Int4Rounding};
use crate::int8::{Finish, Int8Matrix};
use crate::matmul::MatRef;
use crate::{CHUNK, GemmKernel, linear};
use rayon::prelude::*;
use std::ops::Range;

/// A weight `[rows, columns]`, of a linear layer `[out, in]`, that is only read.
#[derive(Debug, Clone, PartialEq)]
pub struct PackedMatrix {
    shape: [usize; 2],
    numbers: Numbers,
}

/// The numbers row by row.
#[derive(Debug, Clone, PartialEq)]
enum Numbers {
    /// The upper halves of f32, rounded to nearest, ties to even.
    Bf16(Vec<u16>),
    /// Bytes with a scale for each row, whose products quantize their inputs, too.
    Int8(Int8Matrix),
    /// Codes of four bits with a scale and an offset for each group.
    Int4(Int4Matrix),
}

impl PackedMatrix {
    /// Rounds to bf16.
    ///
    /// # Panics
    /// If the numbers do not fill the shape.
    pub fn bf16(values: &[f32], shape: [usize; 2]) -> Self {
        assert_eq!(values.len(), shape[0] * shape[1], "a matrix must fill its slice");
        let numbers =
            Numbers::Bf16(values.par_iter().with_min_len(CHUNK).map(|x| rounded(*x) as u16).collect());
        PackedMatrix { shape, numbers }
    }

    /// Of int8 numbers.
    pub fn int8(matrix: Int8Matrix) -> Self {
        PackedMatrix { shape: matrix.shape(), numbers: Numbers::Int8(matrix) }
    }

    /// Of codes of four bits.
    pub fn int4(matrix: Int4Matrix) -> Self {
        PackedMatrix { shape: matrix.shape(), numbers: Numbers::Int4(matrix) }
    }

    /// A matrix of this shape with other numbers, stored alike.
    ///
    /// # Panics
    /// If the numbers do not fill the shape.
    pub fn of_values(&self, values: &[f32]) -> Self {
        match &self.numbers {
            Numbers::Bf16(_) => PackedMatrix::bf16(values, self.shape),
            Numbers::Int8(_) => PackedMatrix::int8(Int8Matrix::quantize(values, self.shape)),
            Numbers::Int4(_) => {
                PackedMatrix::int4(Int4Matrix::quantize(values, self.shape, Int4Rounding::Hqq))
            }
        }
    }

    /// The int8 numbers and scales, where it has these.
    pub fn as_int8(&self) -> Option<&Int8Matrix> {
        match &self.numbers {
            Numbers::Int8(matrix) => Some(matrix),
            Numbers::Bf16(_) | Numbers::Int4(_) => None,
        }
    }

    /// The codes of four bits, where it has these.
    pub fn as_int4(&self) -> Option<&Int4Matrix> {
        match &self.numbers {
            Numbers::Int4(matrix) => Some(matrix),
            Numbers::Bf16(_) | Numbers::Int8(_) => None,
        }
    }

    /// How many bits a code has; `None` where numbers are no codes.
    pub fn code_bits(&self) -> Option<usize> {
        match &self.numbers {
            Numbers::Bf16(_) => None,
            Numbers::Int8(_) => Some(8),
            Numbers::Int4(_) => Some(4),
        }
    }

    /// Rows and columns.
    pub fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// What the numbers take of memory.
    pub fn bytes(&self) -> usize {
        match &self.numbers {
            Numbers::Bf16(numbers) => size_of_val(&numbers[..]),
            Numbers::Int8(matrix) => matrix.bytes(),
            Numbers::Int4(matrix) => matrix.bytes(),
        }
    }

    /// Some rows as f32.
    pub fn rows(&self, rows: Range<usize>) -> Vec<f32> {
        let width = self.shape[1];
        let numbers = match &self.numbers {
            Numbers::Bf16(numbers) => &numbers[rows.start * width..rows.end * width],
            Numbers::Int8(matrix) => return matrix.rows(rows),
            Numbers::Int4(matrix) => return matrix.rows(rows),
        };
        numbers.par_iter().with_min_len(CHUNK).map(|x| few_rows::Weight::widen(*x)).collect()
    }

    /// The rows of these numbers as f32, `[index, columns]`.
    pub fn gather(&self, index: &[u32]) -> Vec<f32> {
        let row = |id: &u32| self.rows(*id as usize..*id as usize + 1);
        index.iter().flat_map(row).collect()
    }

    /// `x w^T + b` with some rows of the weight and of the bias: `x` `[n, columns]`, `b` of all rows, result `[n, rows]`.
    pub fn linear(
        &self,
        x: &[f32],
        n: usize,
        (rows, b): (Range<usize>, &[f32]),
        products: GemmKernel,
    ) -> Vec<f32> {
        let width = self.shape[1];
        let bias = &b[rows.clone()];
        let mut y = match &self.numbers {
            Numbers::Int8(matrix) => return matrix.product(x, n, rows, b, Finish::Bias),
            Numbers::Bf16(numbers) if n <= few_rows::MOST_ROWS => {
                let used = &numbers[rows.start * width..rows.end * width];
                few_rows::product(x, used, [n, width, rows.len()])
            }
            Numbers::Int4(matrix) if n <= few_rows::MOST_ROWS => matrix.product(x, n, rows),
            Numbers::Bf16(_) | Numbers::Int4(_) => {
                let (outputs, w) = (rows.len(), self.rows(rows));
                products.product(MatRef::new(x, n, width), MatRef::new(&w, outputs, width).t())
            }
        };
        linear::add_bias(&mut y, bias);
        y
    }

    /// `gelu(x w^T + b)`: `x` `[n, columns]`, `b` `[rows]`, result `[n, rows]`.
    pub fn linear_gelu(&self, x: &[f32], n: usize, b: &[f32], products: GemmKernel) -> Vec<f32> {
        let rows = 0..self.shape[0];
        if let Numbers::Int8(matrix) = &self.numbers {
            return matrix.product(x, n, rows, b, Finish::Gelu);
        }
        let mut y = self.linear(x, n, (rows, &vec![0.0; b.len()]), products);
        gelu::forward(&mut y, b);
        y
    }

    /// The gradient of `x` from that of the product, `dy` `[n, rows]`: `dy w`.
    pub fn input_gradient(&self, dy: &[f32], n: usize, rows: Range<usize>, products: GemmKernel) -> Vec<f32> {
        let (outputs, w) = (rows.len(), self.rows(rows));
        products.product(MatRef::new(dy, n, outputs), MatRef::new(&w, outputs, self.shape[1]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_are_those_of_the_rounded_weight() {
        let numbers = |len: usize, seed: f32| (0..len).map(|i| (i as f32 * seed).sin()).collect::<Vec<f32>>();
        for n in [1, 7, 65] {
            let (x, w, dy) = (numbers(n * 20, 0.37), numbers(12 * 20, 0.91), numbers(n * 5, 0.5));
            let packed = PackedMatrix::bf16(&w, [12, 20]);
            let rounded = packed.rows(0..12);
            assert!(w.iter().zip(&rounded).all(|(a, b)| (a - b).abs() <= a.abs() / 256.0));
            assert_eq!(
                packed.gather(&[3, 0, 3]),
                [&rounded[60..80], &rounded[..20], &rounded[60..80]].concat()
            );
            let y = packed.linear(&x, n, (4..9, &[0.0; 12]), GemmKernel::F32);
            let right =
                |i: usize, j: usize| (0..20).map(|k| x[i * 20 + k] * rounded[(4 + j) * 20 + k]).sum::<f32>();
            assert!((0..n * 5).all(|at| (y[at] - right(at / 5, at % 5)).abs() < 1e-4));
            let dx = packed.input_gradient(&dy, n, 4..9, GemmKernel::F32);
            let right =
                |i: usize, k: usize| (0..5).map(|j| dy[i * 5 + j] * rounded[(4 + j) * 20 + k]).sum::<f32>();
            assert!((0..n * 20).all(|at| (dx[at] - right(at / 20, at % 20)).abs() < 1e-4));
        }
        assert!(PackedMatrix::bf16(&[f32::NAN], [1, 1]).rows(0..1)[0].is_nan());
    }
}

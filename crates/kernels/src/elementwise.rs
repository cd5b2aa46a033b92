//! Formulas over the elements of several tensors, such as an optimizer's step: written once, for numbers and for tensors. On the CPU
//! a formula runs over all tensors in one pass and in place; elsewhere the engine runs it operation by operation.

use crate::flex::{as_flex, f32_slice_of, map_all_in_place};
use burn::tensor::Tensor;
use cpu::CHUNK;
use rayon::prelude::*;
use std::ops::{Add, Div, Mul, Sub};

/// What a formula is written in: a number, or a tensor of them. Factors and summands are rounded to f32, as the engine does.
pub trait Element:
    Clone + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self>
{
    /// `x factor`
    fn mul_scalar(self, factor: f64) -> Self;
    /// `x / divisor`
    fn div_scalar(self, divisor: f64) -> Self;
    /// `x + summand`
    fn add_scalar(self, summand: f64) -> Self;
    /// The square root.
    fn sqrt(self) -> Self;
    /// -1, 0 or 1; 0 for NaN.
    fn sign(self) -> Self;
    /// `max(x, min)`, with NaN kept.
    fn clamp_min(self, min: f64) -> Self;
}

impl Element for f32 {
    fn mul_scalar(self, factor: f64) -> f32 {
        self * factor as f32
    }
    fn div_scalar(self, divisor: f64) -> f32 {
        self / divisor as f32
    }
    fn add_scalar(self, summand: f64) -> f32 {
        self + summand as f32
    }
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }
    fn sign(self) -> f32 {
        if self.is_nan() || self == 0.0 { 0.0 } else { 1f32.copysign(self) }
    }
    fn clamp_min(self, min: f64) -> f32 {
        if self.is_nan() || self > min as f32 { self } else { min as f32 }
    }
}

impl Element for Tensor<2> {
    fn mul_scalar(self, factor: f64) -> Self {
        Tensor::mul_scalar(self, factor)
    }
    fn div_scalar(self, divisor: f64) -> Self {
        Tensor::div_scalar(self, divisor)
    }
    fn add_scalar(self, summand: f64) -> Self {
        Tensor::add_scalar(self, summand)
    }
    fn sqrt(self) -> Self {
        Tensor::sqrt(self)
    }
    fn sign(self) -> Self {
        Tensor::sign(self)
    }
    fn clamp_min(self, min: f64) -> Self {
        Tensor::clamp_min(self, min)
    }
}

/// What becomes of an element of each of `O` tensors, which also depends on an element of each of `R` others.
pub trait Formula<const O: usize, const R: usize>: Sync {
    /// The new elements.
    fn apply<E: Element>(&self, updated: [E; O], read: [E; R]) -> [E; O];
}

/// Tensors of one shape `[n, m]` after a formula. The tensors that it only reads are `[n or 1, m or 1]` and are repeated along a
/// dimension of 1.
///
/// Takes plain tensors, not ones that autodiff follows. On the CPU it works in place for each tensor whose buffer nobody else holds.
pub fn elementwise<const O: usize, const R: usize>(
    formula: &impl Formula<O, R>,
    updated: [Tensor<2>; O],
    read: [Tensor<2>; R],
) -> [Tensor<2>; O] {
    let shape @ [n, m] = updated[0].dims();
    assert!(updated.iter().all(|x| x.dims() == shape), "elementwise: tensors of one shape");
    let repeats = |of: usize, size: usize| of == size || of == 1;
    let fits = |x: &Tensor<2>| repeats(x.dims()[0], n) && repeats(x.dims()[1], m);
    assert!(read.iter().all(fits), "elementwise: what is read must have the shape or repeat");
    let on_host: Option<Vec<_>> = updated.iter().chain(&read).map(as_flex).collect();
    let Some(mut on_host) = on_host else {
        return formula.apply(updated, read);
    };
    let of_sources = on_host.split_off(O);
    let shapes = read.each_ref().map(|x| x.dims());
    // Where no rows are told apart, all of them are one.
    let is_flat = shapes.iter().all(|of| *of == shape || *of == [1, 1]);
    let joined = |[rows, columns]: [usize; 2]| if is_flat { [1, rows * columns] } else { [rows, columns] };
    let [n, m] = joined(shape);
    let sources: [Source<'_>; R] = std::array::from_fn(|k| {
        let [rows, columns] = joined(shapes[k]);
        let strides = [usize::from(rows > 1) * columns, usize::from(columns > 1)];
        Source { values: f32_slice_of(&of_sources[k]), strides }
    });
    // The only handles now: all are written over.
    drop(updated);
    let new = map_all_in_place(on_host, |slices: &mut [&mut [f32]]| {
        let mut left: [&mut [f32]; O] = std::array::from_fn(|k| std::mem::take(&mut slices[k]));
        let mut parts = Vec::new();
        for row in 0..n {
            for start in (0..m).step_by(CHUNK) {
                let len = CHUNK.min(m - start);
                parts.push((
                    row,
                    start,
                    left.each_mut().map(|slice| slice.split_off_mut(..len).expect("rows lie end to end")),
                ));
            }
        }
        let chunk = |(row, start, part)| run(formula, part, sources.map(|source| source.at(row, start)));
        parts.into_par_iter().with_min_len((CHUNK / m.max(1)).max(1)).for_each(chunk);
    });
    new.try_into().unwrap_or_else(|_| unreachable!("as many as there were"))
}

/// A tensor that is read, and how far apart its rows and columns are; 0 where it repeats.
#[derive(Clone, Copy)]
struct Source<'a> {
    values: &'a [f32],
    strides: [usize; 2],
}

impl<'a> Source<'a> {
    /// The values from a column of a row, and how far apart they are.
    fn at(self, row: usize, column: usize) -> (&'a [f32], usize) {
        (&self.values[row * self.strides[0] + column * self.strides[1]..], self.strides[1])
    }
}

/// The formula over a part of a row.
fn run<const O: usize, const R: usize>(
    formula: &impl Formula<O, R>,
    mut part: [&mut [f32]; O],
    read: [(&[f32], usize); R],
) {
    let len = part[0].len();
    for i in 0..len {
        let updated = std::array::from_fn(|k| part[k][i]);
        let new = formula.apply(updated, read.map(|(values, stride)| values[i * stride]));
        for (slice, new) in part.iter_mut().zip(new) {
            slice[i] = new;
        }
    }
}

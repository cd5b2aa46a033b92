//! The two things that balancing does with the rows of a Jacobian, a task's gradient each: their inner products, and their
//! weighted sum. Plain tensors, not ones that autodiff follows.

use crate::cpu;
use crate::flex::{numbers_of, on_flex};
use burn::tensor::Tensor;

/// Adds the inner products of K tensors of one shape, one parameter's part of K rows, to `products` `[K K]`, row by row. On
/// the CPU in f64, in an order that does not depend on the threads, reading every row once.
pub fn add_products<const D: usize>(rows: &[Tensor<D>], products: &mut [f64]) {
    let k = rows.len();
    assert_eq!(products.len(), k * k, "add_products: a square of products");
    let shape = rows.first().map(|row| row.dims());
    assert!(rows.iter().all(|row| Some(row.dims()) == shape), "add_products: rows of one shape");
    if let Some(on_host) = rows.iter().map(on_flex).collect::<Option<Vec<_>>>() {
        let slices: Vec<&[f32]> = on_host.iter().map(numbers_of).collect();
        return cpu::jacobian::add_products(&slices, products);
    }
    let mut pairs = Vec::new();
    for (i, a) in rows.iter().enumerate() {
        for b in &rows[..=i] {
            pairs.push(total(a.clone() * b.clone()));
        }
    }
    let found: Vec<f64> =
        if pairs.is_empty() { vec![] } else { Tensor::cat(pairs, 0).into_data().iter().collect() };
    let mut found = found.into_iter();
    for i in 0..k {
        for j in 0..=i {
            let product = found.next().unwrap_or(0.0);
            products[i * k + j] += product;
            if i != j {
                products[j * k + i] += product;
            }
        }
    }
}

/// `sum_i weight_i row_i` over tensors of one shape; `None` without rows. On the CPU in place of the first, in one pass.
pub fn combine<const D: usize>(rows: Vec<(f64, Tensor<D>)>) -> Option<Tensor<D>> {
    let on_host: Option<Vec<_>> = rows.iter().map(|(_, row)| on_flex(row)).collect();
    let weights: Vec<f32> = rows.iter().map(|(weight, _)| *weight as f32).collect();
    let Some(mut on_host) = on_host else {
        return rows.into_iter().map(|(weight, row)| row * weight).reduce(|a, b| a + b);
    };
    // The only handles now: the first row is written over.
    drop(rows);
    if on_host.is_empty() {
        return None;
    }
    let rest = on_host.split_off(1);
    let rest: Vec<(f32, &[f32])> = weights[1..].iter().copied().zip(rest.iter().map(numbers_of)).collect();
    let first = on_host.pop()?;
    Some(crate::flex::written(first, |out| cpu::jacobian::combine(out, weights[0], &rest)))
}

/// The sum of all elements, one dimension after the other: in a fixed order on every device.
fn total<const D: usize>(x: Tensor<D>) -> Tensor<1> {
    (0..D).rev().fold(x, |x, dim| x.sum_dim(dim)).reshape([1])
}

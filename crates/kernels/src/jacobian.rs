//! What balancing does with the rows of a Jacobian, a task's gradient each: their inner products, their weighted sum, and, for
//! methods that change the gradients themselves, whatever these do. Plain tensors, not ones that autodiff follows.

use crate::flex::{as_flex, f32_slice_of, map_all_in_place, map_in_place};
use crate::reference;
use burn::backend::Dispatch;
use burn::tensor::{Tensor, TensorData};

/// Adds the inner products of K tensors of one shape, one parameter's part of K rows, to `into` `[K K]`, row by row. On
/// the CPU in f64, in an order that does not depend on the threads, reading every row once.
pub fn accumulate_gramian<const D: usize>(rows: &[Tensor<D>], into: &mut [f64]) {
    let k = rows.len();
    assert_eq!(into.len(), k * k, "accumulate_gramian: a square of products");
    let shape = rows.first().map(|row| row.dims());
    assert!(rows.iter().all(|row| Some(row.dims()) == shape), "accumulate_gramian: rows of one shape");
    let mut found = products(rows).into_iter();
    for i in 0..k {
        for j in 0..=i {
            let product = found.next().unwrap_or(0.0);
            into[i * k + j] += product;
            if i != j {
                into[j * k + i] += product;
            }
        }
    }
}

/// The products of every row with itself and those before it.
fn products<const D: usize>(rows: &[Tensor<D>]) -> Vec<f64> {
    if let Some(on_host) = rows.iter().map(as_flex).collect::<Option<Vec<_>>>() {
        return cpu::jacobian::products(&on_host.iter().map(f32_slice_of).collect::<Vec<_>>());
    }
    let product = |a: &Tensor<D>, b: &Tensor<D>| {
        Tensor::<1>::from_dispatch(reference::sum::<Dispatch>((a.clone() * b.clone()).into_dispatch()))
    };
    let pairs = rows.iter().enumerate().flat_map(|(i, a)| rows[..=i].iter().map(move |b| product(a, b)));
    // There is a row: none would have been on the host.
    Tensor::cat(pairs.collect(), 0).into_data().iter().collect()
}

/// `sum_i weight_i row_i` over tensors of one shape; `None` without rows. On the CPU in place of the first, in one pass.
pub fn weighted_sum<const D: usize>(rows: Vec<(f64, Tensor<D>)>) -> Option<Tensor<D>> {
    let on_host: Option<Vec<_>> = rows.iter().map(|(_, row)| as_flex(row)).collect();
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
    let rest: Vec<(f32, &[f32])> = weights[1..].iter().copied().zip(rest.iter().map(f32_slice_of)).collect();
    let first = on_host.pop()?;
    Some(map_in_place(first, |out| cpu::jacobian::weighted_sum(out, weights[0], &rest)))
}

/// Tensors of one shape after `change`, which sees the numbers of all of them at once. On the CPU in place for each whose
/// buffer nobody else holds.
pub fn map_rows_in_place<const D: usize>(
    rows: Vec<Tensor<D>>,
    change: impl FnOnce(&mut [&mut [f32]]),
) -> Vec<Tensor<D>> {
    let on_host: Option<Vec<_>> = rows.iter().map(as_flex).collect();
    if let Some(on_host) = on_host {
        drop(rows);
        return map_all_in_place(on_host, change);
    }
    let numbers = |row: &Tensor<D>| row.to_data().try_into_vec().expect("rows of a Jacobian are f32");
    let mut values: Vec<Vec<f32>> = rows.iter().map(numbers).collect();
    change(&mut values.iter_mut().map(Vec::as_mut_slice).collect::<Vec<_>>());
    let back = |(row, values): (Tensor<D>, Vec<f32>)| {
        Tensor::from_data(TensorData::new(values, row.dims()), &row.device())
    };
    rows.into_iter().zip(values).map(back).collect()
}

//! Inner products and weighted sums of rows, on every device against plain loops in f64.

use super::{devices, matrix, numbers, values};
use crate::{accumulate_gramian, map_rows_in_place, weighted_sum};

#[test]
fn products_and_sums_of_rows() {
    for device in devices() {
        for (k, shape) in [(1, [1, 1]), (3, [7, 5]), (8, [130, 200]), (4, [0, 3]), (0, [2, 2])] {
            let len = shape[0] * shape[1];
            let rows: Vec<Vec<f32>> = (0..k).map(|i| numbers(len, i as u32 + 1)).collect();
            let tensors = || rows.iter().map(|row| matrix(row.clone(), shape, &device));
            let mut products = vec![0.5; k * k];
            accumulate_gramian(&tensors().collect::<Vec<_>>(), &mut products);
            for i in 0..k {
                for j in 0..k {
                    let pairs = rows[i].iter().zip(&rows[j]);
                    let right: f64 = pairs.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
                    let far = (products[i * k + j] - 0.5 - right).abs();
                    assert!(far <= 1e-6 * (1.0 + len as f64), "{k} {shape:?} on {device:?}: {far:e}");
                }
            }
            let weight = |i: usize| 0.25 * i as f64 - 0.6;
            let sum = weighted_sum(tensors().enumerate().map(|(i, row)| (weight(i), row)).collect());
            assert_eq!(sum.is_some(), k > 0);
            for (at, found) in sum.map(values).unwrap_or_default().into_iter().enumerate() {
                let right: f64 = rows.iter().enumerate().map(|(i, row)| weight(i) * f64::from(row[at])).sum();
                assert!((f64::from(found) - right).abs() < 1e-6, "{k} {shape:?} on {device:?}");
            }
        }
    }
}

/// The rows that were given stay as they are where somebody holds them.
#[test]
fn a_sum_writes_over_nothing_that_is_held() {
    for device in devices() {
        let row = matrix(numbers(12, 3), [3, 4], &device);
        let sum = weighted_sum(vec![(2.0, row.clone()), (1.0, row.clone())]).expect("two rows");
        assert_eq!(values(row), numbers(12, 3));
        let tripled: Vec<f32> = numbers(12, 3).iter().map(|x| x * 2.0 + x).collect();
        assert_eq!(values(sum), tripled);
    }
}

#[test]
fn all_rows_are_changed_at_once_and_held_ones_stay() {
    for device in devices() {
        let rows: Vec<_> = (1..4).map(|seed| matrix(numbers(12, seed), [3, 4], &device)).collect();
        let held = rows[1].clone();
        let changed = map_rows_in_place(rows, |rows| {
            let (first, others) = rows.split_at_mut(1);
            for (at, x) in first[0].iter_mut().enumerate() {
                *x += others[0][at] * others[1][at];
            }
            others[0].fill(1.0);
        });
        let [a, b, c] = [1, 2, 3].map(|seed| numbers(12, seed));
        let expected: Vec<f32> = (0..12).map(|at| a[at] + b[at] * c[at]).collect();
        assert_eq!(changed.into_iter().map(values).collect::<Vec<_>>(), [expected, vec![1.0; 12], c]);
        assert_eq!(values(held), b, "{device:?}");
    }
}

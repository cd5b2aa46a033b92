//! Formulas over elements: in one pass what the engine does operation by operation, to the bit.

use super::{devices, matrix, numbers, values};
use crate::{Element, Formula, elementwise, mean_squares};

/// Every operation of [`Element`].
struct All;

impl Formula<2, 3> for All {
    fn apply<E: Element>(&self, [x, y]: [E; 2], [a, b, c]: [E; 3]) -> [E; 2] {
        let z = (x.clone() * a).mul_scalar(0.3) - y.clone().div_scalar(0.7) / b.clamp_min(0.01).sqrt();
        [z + y.sign() * c.clone(), x.add_scalar(0.1) - c]
    }
}

#[test]
fn a_formula_over_numbers_is_that_over_tensors() {
    for device in devices() {
        for shape @ [n, h] in [[1, 1], [3, 7], [300, 129], [1, 40_000], [40_000, 1], [0, 4], [4, 0]] {
            let of = |[n, h]: [usize; 2], seed| matrix(numbers(n * h, seed), [n, h], &device);
            for read in [[shape; 3], [[n, 1], [1, h], [1, 1]], [[1, 1], shape, [n, 1]]] {
                // The second is held by somebody else, who must not see it change.
                let (x, y) = (of(shape, 1), of(shape, 2));
                let read = [of(read[0], 3), of(read[1], 4), of(read[2], 5)];
                let right = All.apply([x.clone(), y.clone()], read.clone()).map(values);
                let found = elementwise(&All, [x, y.clone()], read).map(values);
                assert_eq!(found, right, "{shape:?} on {device:?}");
                assert_eq!(values(y), numbers(n * h, 2), "{shape:?} on {device:?}");
            }
        }
    }
}

#[test]
fn means_of_squares_are_those_in_f64() {
    for device in devices() {
        for [n, h] in [[1, 1], [3, 7], [300, 129]] {
            let x = numbers(n * h, 1);
            let square = |i: usize, j: usize| (f64::from(x[i * h + j]) * 0.5).powi(2);
            let rows: Vec<f64> =
                (0..n).map(|i| (0..h).map(|j| square(i, j)).sum::<f64>() / h as f64).collect();
            let columns: Vec<f64> =
                (0..h).map(|j| (0..n).map(|i| square(i, j)).sum::<f64>() / n as f64).collect();
            let found = mean_squares(&matrix(x.clone(), [n, h], &device), 0.5);
            assert_eq!(found.each_ref().map(|means| means.dims()), [[n, 1], [1, h]]);
            for (found, right) in found.into_iter().zip([rows, columns]) {
                let close = |(a, b): (f32, &f64)| (f64::from(a) - b).abs() < 1e-6;
                assert!(values(found).into_iter().zip(&right).all(close), "[{n}, {h}] on {device:?}");
            }
        }
    }
}

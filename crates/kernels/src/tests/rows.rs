//! Rows of a table: spread over it, and stepped with, on every device.

use super::{devices, matrix, numbers, values};
use crate::{AdamW, adamw, adamw_rows, gather_rows, scatter_add_rows};
use burn::tensor::{Device, Tensor};

const SHAPE: [usize; 2] = [1000, 48];

#[test]
fn spread_puts_rows_where_pick_takes_them_from() {
    for device in devices() {
        let x = matrix(numbers(4 * 48, 1), [4, 48], &device);
        let index = [999, 3, 0, 500];
        let spread_out = scatter_add_rows(x.clone(), &index, SHAPE[0]);
        assert_eq!(values(gather_rows(spread_out.clone(), &index)), values(x.clone()), "{device:?}");
        let others = values(spread_out).chunks(48).filter(|row| row.iter().all(|x| *x == 0.0)).count();
        assert_eq!(others, 996);
        let twice = values(scatter_add_rows(x.clone(), &[1, 0, 1, 0], 2));
        let x = values(x);
        for at in 0..48 {
            assert_eq!(twice[48 + at], x[at] + x[96 + at], "{device:?}");
        }
    }
}

/// To the bit, on the CPU; elsewhere it is the same operation anyway.
#[test]
fn a_step_with_some_rows_is_one_with_zeros_elsewhere() {
    let step = AdamW {
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
        learning_rate: 1e-2,
        grad_scale: 0.5,
        step: 3,
    };
    for device in devices() {
        for rows in [vec![], vec![0], vec![7, 8, 9, 998, 999], (0..1000).step_by(3).collect::<Vec<u32>>()] {
            let of = |seed| matrix(numbers(48_000, seed), SHAPE, &device);
            let square = |seed| of(seed) * of(seed);
            let g = matrix(numbers(rows.len() * 48, 9), [rows.len(), 48], &device);
            let (w, m, v) = adamw_rows(step, of(1), (&rows, g.clone()), of(2), square(3));
            let right = adamw(step, of(1), scatter_add_rows(g, &rows, SHAPE[0]), of(2), square(3));
            assert_eq!(values(w), values(right.0), "{device:?}, {} rows", rows.len());
            assert_eq!(values(m), values(right.1));
            assert_eq!(values(v), values(right.2));
        }
    }
}

#[test]
fn a_gradient_is_added_once_however_the_result_is_used() {
    let device = Device::flex().autodiff();
    assert!(crate::can_add_gradient(&device));
    let x = Tensor::<2>::from_floats([[1.0, 2.0]], &device).require_grad();
    let y = crate::add_gradient(x.clone(), vec![0.5, -1.0]);
    let gradients = ((y.clone() * 3.0).sum() + y.sum()).backward();
    assert_eq!(values(x.grad(&gradients).unwrap()), [4.5, 3.0]);
}

//! Gradients of tensors that several operations use: what the engine would do by itself, to the bit.

use super::{matrix, numbers, values};
use burn::tensor::{Device, Tensor};

/// A network whose states are used two and three times, by fused operations and by the engine's own.
fn network(x: Tensor<2>, one: Tensor<1>) -> Tensor<1> {
    let x = crate::norm(x, one.clone(), one.clone(), 1e-5);
    let y = crate::add_norm(x.clone(), x.clone(), one.clone(), one.clone(), 1e-5, None);
    let z = crate::add(y.clone(), crate::glu(y.clone(), x.clone() * 3.0, crate::Glu::GeluTanh));
    let parts = x.dims()[0] / 3;
    let taken = crate::join_columns(vec![
        crate::take_columns(z.clone(), 1..3),
        crate::take_columns(z.clone(), 0..2),
        crate::take_columns(x.clone(), 2..5),
    ]);
    let rows = [0..parts, parts..2 * parts, parts..3 * parts].map(|rows| crate::take_rows(y.clone(), rows));
    let rows = rows.into_iter().map(|rows| (rows.clone() * rows).sum()).reduce(|a, b| a + b);
    (z.clone() * crate::relu(z)).sum() + (taken.clone() * taken).sum() + rows.expect("three") + x.sum()
}

#[test]
fn gradients_are_added_up_as_the_engine_does() {
    // 8,200 rows of 5 are more numbers than one thread takes at a time.
    for rows in [3, 8_200] {
        let device = Device::flex().autodiff();
        let of = |ours: bool| {
            let x = matrix(numbers(5 * rows, 1), [rows, 5], &device).require_grad();
            let one = Tensor::<1>::ones([5], &device).require_grad();
            let loss = network(x.clone(), one.clone());
            let gradients = if ours { crate::backward(&loss) } else { loss.backward() };
            (values(x.grad(&gradients).unwrap()), values(one.grad(&gradients).unwrap()))
        };
        assert!(of(true) == of(false), "{rows} rows");
        assert!(of(true) == of(false), "{rows} rows: a second pass begins anew");
    }
}

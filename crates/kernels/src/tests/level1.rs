//! Sums and multiples of tensors: those of the engine, and no change of a tensor that others hold.

use super::{devices, matrix, numbers, values};

#[test]
fn sums_are_those_of_the_engine_and_change_no_tensor_that_others_hold() {
    for device in devices() {
        for shape @ [n, h] in [[1, 1], [3, 7], [300, 129], [0, 4]] {
            let of = |seed| matrix(numbers(n * h, seed), shape, &device);
            let right = values(of(1) + of(2));
            let (a, b) = (of(1), of(2));
            assert_eq!(values(crate::add(of(1), of(2))), right, "{shape:?} on {device:?}");
            assert_eq!(values(crate::add(a.clone(), of(2))), right, "{shape:?} on {device:?}");
            assert_eq!(values(crate::add(of(1), b.clone())), right, "{shape:?} on {device:?}");
            assert_eq!(values(crate::add(a.clone(), b.clone())), right, "{shape:?} on {device:?}");
            assert_eq!(
                (values(a), values(b)),
                (numbers(n * h, 1), numbers(n * h, 2)),
                "{shape:?} on {device:?}"
            );
            // Views of other tensors.
            let (wide, tall) = (of(3).repeat_dim(1, 2), of(3).transpose());
            let right = values(wide.clone().slice([0..n, 0..h]) + tall.clone().transpose());
            assert_eq!(values(crate::add(wide.slice([0..n, 0..h]), tall.transpose())), right);
        }
    }
}

#[test]
fn multiples_are_those_of_the_engine_and_change_no_tensor_that_others_hold() {
    for device in devices() {
        for shape @ [n, h] in [[1, 1], [3, 7], [300, 129], [0, 4]] {
            let x = matrix(numbers(n * h, 1), shape, &device);
            let right = values(x.clone() * 0.3);
            assert_eq!(values(crate::scale(x.clone(), 0.3)), right, "{shape:?} on {device:?}");
            assert_eq!(values(x.clone()), numbers(n * h, 1), "{shape:?} on {device:?}");
            assert_eq!(values(crate::scale(x, 0.3)), right, "{shape:?} on {device:?}");
        }
    }
}

//! What adapters do to tensors of tokens, against the engine's own operations and against numbers worked out by hand.

use super::against_reference::check;
use super::{dispatched, flat, matrix, values, vector};
use crate::reference;
use burn::backend::Dispatch;
use burn::tensor::{Device, Tensor};
use cpu::{AffineGroups, GatedLowRankShape, LowRankGroups, MixtureWeights};

#[test]
fn grouped_low_rank() {
    for groups in [vec![0..7, 7..7], vec![0..3, 3..7], vec![1..2, 4..7], vec![2..2, 3..6]] {
        for columns in [0..5, 2..6] {
            let (rank, inputs, width) = (2, 4, 6);
            let shapes = [
                [7, width],
                [7, inputs],
                [groups.len() * rank, inputs],
                [groups.len() * columns.len(), rank],
            ];
            let settings = LowRankGroups {
                rows: groups.clone(),
                columns: columns.clone(),
                width,
                inputs,
                rank,
                scale: 0.5,
            };
            check(
                "grouped_low_rank",
                &shapes,
                &|x| {
                    let own = |(g, rows): (usize, &std::ops::Range<usize>)| {
                        let a = x[2].clone().slice([g * rank..(g + 1) * rank, 0..inputs]);
                        let b = x[3].clone().slice([g * columns.len()..(g + 1) * columns.len(), 0..rank]);
                        (rows.clone(), [a, b])
                    };
                    let groups = groups.iter().enumerate().map(own).collect();
                    crate::grouped_low_rank(x[0].clone(), x[1].clone(), groups, columns.clone(), 0.5)
                },
                &|x| {
                    let inputs = [0, 1, 2, 3].map(|i| dispatched(&x[i]));
                    Tensor::from_dispatch(reference::grouped_low_rank::<Dispatch>(inputs, &settings))
                },
            );
        }
    }
}

#[test]
fn gated_low_rank() {
    for (n, columns, experts) in [(7, 0..5, 3), (4, 2..6, 1), (1, 1..2, 4), (0, 0..5, 2)] {
        let (rank, inputs, width) = (2, 4, 6);
        let shape = GatedLowRankShape { columns: columns.clone(), width, inputs, rank, experts, scale: 0.5 };
        let shapes =
            [[n, width], [n, inputs], [rank, inputs], [experts, inputs], [columns.len(), experts * rank]];
        check(
            "gated_low_rank",
            &shapes,
            &|x| {
                let factors = [2, 3, 4].map(|i| x[i].clone());
                crate::gated_low_rank(x[0].clone(), x[1].clone(), factors, columns.clone(), 0.5)
            },
            &|x| {
                let inputs = [0, 1, 2, 3, 4].map(|i| dispatched(&x[i]));
                Tensor::from_dispatch(reference::gated_low_rank::<Dispatch>(inputs, &shape))
            },
        );
    }
}

#[test]
fn grouped_scale() {
    for rows in [vec![0..7, 7..7], vec![0..3, 3..7], vec![1..2, 4..7]] {
        for (columns, centers_from) in [(0..5, 0), (2..6, 3)] {
            let (groups, width) = (rows.len(), 6);
            let settings = AffineGroups { rows: rows.clone(), columns: columns.clone(), width, centers_from };
            check(
                "grouped_scale",
                &[[7, width], [groups, columns.len()], [1, 8]],
                &|x| {
                    let own = |(g, rows): (usize, &std::ops::Range<usize>)| {
                        (rows.clone(), vector(&x[1].clone().slice([g..g + 1, 0..columns.len()])))
                    };
                    let groups = rows.iter().enumerate().map(own).collect();
                    let centers = Some((vector(&x[2]), centers_from));
                    crate::grouped_scale(x[0].clone(), groups, columns.clone(), centers)
                },
                &|x| {
                    let inputs = [dispatched(&x[0]), dispatched(&x[1]), flat(&x[2])];
                    Tensor::from_dispatch(reference::grouped_scale::<Dispatch>(inputs, &settings))
                },
            );
        }
    }
}

/// A factor of 1 changes nothing, to the bit, whatever the center.
#[test]
fn scaling_by_one_changes_no_bit() {
    let device = Device::flex();
    let x = matrix(super::numbers(12, 5), [3, 4], &device);
    let ones = Tensor::ones([4], &device);
    let centers = vector(&matrix(super::numbers(4, 6), [1, 4], &device));
    let scaled = crate::grouped_scale(x.clone(), vec![(0..3, ones)], 0..4, Some((centers, 0)));
    assert_eq!(values(scaled), values(x));
}

#[test]
fn mixture_weights() {
    let kinds = [MixtureWeights::Softmax { temperature: 0.3 }, MixtureWeights::Sigmoid { eps: 1e-12 }];
    for (of, [n, count]) in kinds.into_iter().flat_map(|of| [(of, [1, 1]), (of, [5, 3]), (of, [2, 70])]) {
        check("mixture_weights", &[[n, count]], &|x| crate::mixture_weights(x[0].clone(), of), &|x| {
            Tensor::from_dispatch(reference::mixture_weights::<Dispatch>(dispatched(&x[0]), of))
        });
    }
}

#[test]
fn weighted_mix() {
    for [count, rows, columns] in [[1, 1, 1], [3, 4, 5], [2, 70, 33]] {
        check(
            "weighted_mix",
            &[[1, count], [count * rows, columns]],
            &|x| crate::weighted_mix(vector(&x[0]), x[1].clone()),
            &|x| x[0].clone().matmul(x[1].clone().reshape([count, rows * columns])).reshape([rows, columns]),
        );
    }
}

#[test]
fn scale_rows() {
    for [n, h] in [[1, 1], [5, 7], [3, 200], [4, 0]] {
        check("scale_rows", &[[n, h], [1, n]], &|x| crate::scale_rows(x[0].clone(), vector(&x[1])), &|x| {
            x[0].clone() * x[1].clone().reshape([n, 1])
        });
    }
}

/// The lengths of the rows of [[3, 4], [1, 0]] + 2 [[1], [-1]] [[0.5, 0]] = [[4, 4], [0, 0]].
#[test]
fn row_norms_of_an_updated_weight() {
    let device = Device::flex();
    let w = matrix(vec![3.0, 4.0, 1.0, 0.0], [2, 2], &device);
    let (a, b) = (matrix(vec![0.5, 0.0], [1, 2], &device), matrix(vec![1.0, -1.0], [2, 1], &device));
    let norms = values(crate::low_rank_row_norms(&w, [&a, &b], 2.0));
    assert_eq!(norms, [32f32.sqrt(), 0.0]);
}

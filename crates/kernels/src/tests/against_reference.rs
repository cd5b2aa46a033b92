//! Every operation, forward and every gradient, on every device against the engine's own operations on the processor.

use super::{devices, dispatched, flat, numbers, relative, rows, run, to_f64, vector};
use crate::settings::{AttentionRows, EmbedSettings, RotarySettings};
use crate::{
    AttentionSettings, CrossEntropyTargets, Dropout, Glu, Precision::F32, RotaryAngles, RowOffsets,
    SoftCrossEntropyTargets, reference,
};
use burn::backend::{Dispatch, ops::ActivationOps};
use burn::tensor::{Device, Tensor, TensorData};
use cpu::{
    Mixing, PackedMatrix,
    int4::{Int4Matrix, Int4Rounding},
};
use std::sync::Arc;

pub(super) type Operation<'a> = dyn Fn(&[Tensor<2>]) -> Tensor<2> + 'a;

/// Rows and columns that norms are tried with.
const NORMS: [[usize; 2]; 4] = [[1, 3], [5, 33], [200, 64], [0, 5]];
const DROPOUT: Option<Dropout> = Some(Dropout::new(0.3, 11));

pub(super) fn check(name: &str, shapes: &[[usize; 2]], fused: &Operation<'_>, reference: &Operation<'_>) {
    let input = |(i, shape): (usize, &[usize; 2])| (numbers(shape[0] * shape[1], i as u32 + 1), *shape);
    let inputs: Vec<_> = shapes.iter().enumerate().map(input).collect();
    let (right, d_right) = run(&Device::flex(), &inputs, reference);
    for device in devices() {
        let (y, dy) = run(&device, &inputs, fused);
        let far = relative(&y, &to_f64(&right));
        assert!(far < 1e-5, "{name} {shapes:?} on {device:?}: result {far:e}");
        for (i, (dy, right)) in dy.iter().zip(&d_right).enumerate() {
            let far = relative(dy, &to_f64(right));
            assert!(far < 1e-5, "{name} {shapes:?} on {device:?}: gradient {i} {far:e}");
        }
    }
}

#[test]
fn linear() {
    for [n, i, o] in [[1, 1, 1], [1, 7, 3], [70, 33, 45], [300, 64, 96], [0, 5, 3]] {
        check(
            "linear",
            &[[n, i], [o, i], [1, o]],
            &|x| crate::linear(x[0].clone(), x[1].clone(), vector(&x[2]), F32),
            &|x| {
                let y = reference::linear::<Dispatch>(dispatched(&x[0]), dispatched(&x[1]), flat(&x[2]), F32);
                Tensor::from_dispatch(y)
            },
        );
    }
}

#[test]
fn linear_of_some_rows_of_the_weight() {
    for rows in [0..2, 2..6, 4..6, 0..6, 3..3] {
        check(
            "linear_rows",
            &[[70, 5], [6, 5], [1, 6]],
            &|x| crate::linear_rows(x[0].clone(), x[1].clone(), vector(&x[2]), rows.clone(), F32),
            &|x| {
                let b = x[2].clone().slice([0..1, rows.clone()]);
                x[0].clone().matmul(x[1].clone().slice([rows.clone()]).transpose()) + b
            },
        );
    }
}

#[test]
fn linear_of_views() {
    // A transposed weight and a sliced input: neither is contiguous.
    check(
        "linear",
        &[[9, 8], [5, 4], [1, 4]],
        &|x| crate::linear(x[0].clone().slice([2..7, 1..6]), x[1].clone().transpose(), vector(&x[2]), F32),
        &|x| {
            let cut = x[0].clone().slice([2..7, 1..6]);
            cut.matmul(x[1].clone()) + vector(&x[2]).reshape([1, 4])
        },
    );
}

#[test]
fn linear_gelu() {
    for [n, i, o] in [[1, 1, 1], [1, 7, 3], [131, 33, 65], [0, 5, 3]] {
        check(
            "linear_gelu",
            &[[n, i], [o, i], [1, o]],
            &|x| crate::linear_gelu(x[0].clone(), x[1].clone(), vector(&x[2]), F32),
            &|x| {
                let y = reference::linear_gelu::<Dispatch>(
                    dispatched(&x[0]),
                    dispatched(&x[1]),
                    flat(&x[2]),
                    F32,
                );
                Tensor::from_dispatch(y)
            },
        );
    }
}

#[test]
fn packed_linear_gelu() {
    for [n, i, o] in [[1, 32, 1], [7, 64, 3], [131, 32, 65], [0, 32, 3]] {
        let w = numbers(o * i, 9);
        let int4 = Int4Matrix::quantize(&w, [o, i], Int4Rounding::MinMax);
        for packed in [PackedMatrix::bf16(&w, [o, i]), PackedMatrix::int4(int4)] {
            let packed = Arc::new(packed);
            let w = |like: &Tensor<2>| {
                Tensor::<2>::from_data(TensorData::new(packed.rows(0..o), [o, i]), &like.device())
            };
            check(
                "packed_linear_gelu",
                &[[n, i], [1, o]],
                &|x| crate::packed_linear_gelu(x[0].clone(), &packed, vector(&x[1]), F32),
                &|x| {
                    let y = reference::linear_gelu::<Dispatch>(
                        dispatched(&x[0]),
                        dispatched(&w(&x[0])),
                        flat(&x[1]),
                        F32,
                    );
                    Tensor::from_dispatch(y)
                },
            );
        }
    }
}

#[test]
fn glu() {
    for activation in [Glu::Gelu, Glu::GeluTanh, Glu::Silu] {
        for shape in [[1, 1], [7, 13], [300, 129], [0, 3]] {
            // Farther out the plain version loses digits: 1 + tanh is almost nothing there.
            for far in [1.0, 3.0] {
                check(
                    "glu",
                    &[shape, shape],
                    &|x| crate::glu(x[0].clone() * far, x[1].clone(), activation),
                    &|x| {
                        let a = (x[0].clone() * far).into_dispatch();
                        Tensor::from_dispatch(reference::glu::<Dispatch>(a, dispatched(&x[1]), activation))
                    },
                );
            }
        }
    }
}

#[test]
fn rotary() {
    let angles = Arc::new(RotaryAngles::new(&[1.0, 0.3, 0.01], 1.2, 40));
    for ([n, width], heads) in [([1, 6], 1), ([7, 20], 2), ([300, 24], 4), ([5, 8], 0), ([0, 12], 2)] {
        let positions: Arc<[u32]> = (0..n as u32).map(|i| i * 7 % 40).collect();
        let settings = RotarySettings { heads, positions: positions.clone(), angles: angles.clone() };
        check("rotary", &[[n, width]], &|x| crate::rotary(x[0].clone(), heads, &positions, &angles), &|x| {
            Tensor::from_dispatch(reference::rotary::<Dispatch>(dispatched(&x[0]), &settings))
        });
    }
}

#[test]
fn ffn() {
    for [n, h, f, o] in [[1, 1, 1, 1], [1, 5, 7, 5], [70, 24, 96, 24], [131, 33, 65, 17], [0, 4, 6, 4]] {
        check(
            "ffn",
            &[[n, h], [f, h], [1, f], [o, f], [1, o]],
            &|x| crate::ffn(x[0].clone(), x[1].clone(), vector(&x[2]), x[3].clone(), vector(&x[4]), F32),
            &|x| {
                let (x0, w1, w2) = (dispatched(&x[0]), dispatched(&x[1]), dispatched(&x[3]));
                Tensor::from_dispatch(reference::ffn::<Dispatch>(x0, w1, flat(&x[2]), w2, flat(&x[4]), F32))
            },
        );
    }
}

/// Heads, columns, dropout and sight that an attention is tried with.
fn attentions() -> impl Iterator<Item = (usize, AttentionSettings)> {
    let shapes = [(1, 3), (4, 20), (2, 64)];
    let of = |(heads, h)| {
        let settings = [(None, false), (DROPOUT, false), (None, true), (DROPOUT, true)];
        settings.map(|(dropout, causal)| {
            (h, AttentionSettings { causal, dropout, ..AttentionSettings::new(heads) })
        })
    };
    shapes.into_iter().flat_map(of)
}

/// Keys and values for several heads, windows, and a factor of their own.
fn grouped_attentions() -> impl Iterator<Item = (usize, AttentionSettings)> {
    let of = |(h, settings): (usize, AttentionSettings)| {
        let heads = settings.heads;
        [(1, None, None), (heads, Some(1), None), (1, Some(0), Some(0.3)), (heads.div_ceil(2), Some(3), None)]
            .map(|(kv_heads, window, scale)| (h, AttentionSettings { kv_heads, window, scale, ..settings }))
    };
    attentions().flat_map(of)
}

#[test]
fn attention() {
    let packs: &[&[usize]] = &[&[1], &[4, 4, 4], &[5, 17, 1, 33], &[3, 0, 2], &[130, 1], &[0, 0], &[]];
    for lengths in packs {
        for (h, settings) in attentions() {
            let rows = rows(lengths);
            check(
                "attention",
                &[[rows[rows.len() - 1], 3 * h]],
                &|x| crate::attention(x[0].clone() * 3.0, &rows, settings),
                &|x| {
                    let qkv = (x[0].clone() * 3.0).into_dispatch();
                    Tensor::from_dispatch(reference::attention::<Dispatch>(qkv, &rows, settings))
                },
            );
        }
    }
}

/// Lengths of rows of queries and of keys.
const ACROSS: &[(&[usize], &[usize])] = &[
    (&[1], &[1]),
    (&[3, 3], &[5, 5]),
    (&[1, 1, 1], &[7, 1, 12]),
    (&[5, 0, 2, 9], &[3, 4, 0, 40]),
    (&[0, 0], &[2, 3]),
    (&[2], &[0]),
    (&[], &[]),
];

#[test]
fn relative_attention() {
    for (queries, keys) in ACROSS {
        for (h, settings) in attentions() {
            let (q_rows, kv_rows) = (rows(queries), rows(keys));
            // As many distances as the longest row needs, and some to spare.
            for distances in [2 * 40 - 1, 2 * 45 + 1] {
                let shapes =
                    [[q_rows[queries.len()], h], [kv_rows[keys.len()], 2 * h], [distances, settings.heads]];
                check(
                    "relative_attention",
                    &shapes,
                    &|x| {
                        let rows = [&q_rows, &kv_rows];
                        crate::relative_attention(
                            x[0].clone(),
                            x[1].clone(),
                            x[2].clone(),
                            rows,
                            None,
                            settings,
                        )
                    },
                    &|x| {
                        let [q, kv, bias] = [0, 1, 2].map(|i| dispatched(&x[i]));
                        let rows =
                            AttentionRows { offsets: [q_rows.clone(), kv_rows.clone()], positions: None };
                        let y = reference::relative_attention::<Dispatch>(q, kv, bias, &rows, settings);
                        Tensor::from_dispatch(y)
                    },
                );
            }
        }
    }
}

#[test]
fn cross_attention() {
    for (queries, keys) in ACROSS {
        for (h, settings) in attentions().chain(grouped_attentions()) {
            let (q_rows, kv_rows) = (rows(queries), rows(keys));
            let shapes = [[q_rows[queries.len()], h], [kv_rows[keys.len()], settings.kv_width(h)]];
            check(
                "cross_attention",
                &shapes,
                &|x| {
                    let rows = [&q_rows, &kv_rows];
                    crate::cross_attention(x[0].clone() * 3.0, x[1].clone(), rows, None, settings)
                },
                &|x| {
                    let (q, kv) = ((x[0].clone() * 3.0).into_dispatch(), dispatched(&x[1]));
                    let rows = AttentionRows { offsets: [q_rows.clone(), kv_rows.clone()], positions: None };
                    Tensor::from_dispatch(reference::cross_attention::<Dispatch>(q, kv, &rows, settings))
                },
            );
        }
    }
}

/// Some queries of a row, or all of them in a call of their own, get what they get among all.
#[test]
fn queries_do_not_depend_on_each_other() {
    let (h, all) = (8, rows(&[4, 1, 6]));
    let device = burn::tensor::Device::flex();
    let qkv = super::matrix(numbers(11 * 3 * h, 5), [11, 3 * h], &device);
    let (q, kv) = (qkv.clone().slice([0..11, 0..h]), qkv.clone().slice([0..11, h..3 * h]));
    let some = [0, 3, 4, 9, 10];
    let settings = AttentionSettings::new(2);
    let whole = crate::gather_rows(crate::attention(qkv, &all, settings), &some);
    let q_rows = rows(&[2, 1, 2]);
    let part =
        crate::cross_attention(crate::gather_rows(q, &some), kv.clone(), [&q_rows, &all], None, settings);
    assert!(relative(&super::values(part), &to_f64(&super::values(whole))) < 1e-6);
}

/// The same with a causal mask and a bias by distance, where positions say which queries these are.
#[test]
fn narrowed_queries_keep_their_positions() {
    let (h, all) = (8, rows(&[4, 1, 6]));
    let device = burn::tensor::Device::flex();
    let qkv = super::matrix(numbers(11 * 3 * h, 5), [11, 3 * h], &device);
    let bias = super::matrix(numbers(2 * 13, 7), [13, 2], &device);
    let (q, kv) = (qkv.clone().slice([0..11, 0..h]), qkv.slice([0..11, h..3 * h]));
    let (some, q_rows) = ([0, 3, 4, 6, 9], rows(&[2, 1, 2]));
    let positions = [0, 3, 0, 1, 4];
    for causal in [false, true] {
        let settings = AttentionSettings { causal, ..AttentionSettings::new(2) };
        let attend = |q: Tensor<2>, rows: &RowOffsets, positions: Option<&[u32]>| {
            crate::relative_attention(q, kv.clone(), bias.clone(), [rows, &all], positions, settings)
        };
        let whole = crate::gather_rows(attend(q.clone(), &all, None), &some);
        let part = attend(crate::gather_rows(q.clone(), &some), &q_rows, Some(&positions));
        assert!(relative(&super::values(part), &to_f64(&super::values(whole))) < 1e-6, "causal: {causal}");
    }
}

/// Narrowed queries against the engine's own operations, gradients included.
#[test]
fn relative_attention_at_positions() {
    let (q_rows, kv_rows) = (rows(&[2, 0, 3]), rows(&[5, 2, 4]));
    let positions = [1, 4, 0, 2, 3];
    for (h, settings) in attentions().chain(grouped_attentions()) {
        let shapes = [[5, h], [11, settings.kv_width(h)], [11, settings.heads]];
        check(
            "relative_attention",
            &shapes,
            &|x| {
                let (rows, positions) = ([&q_rows, &kv_rows], Some(&positions[..]));
                crate::relative_attention(x[0].clone(), x[1].clone(), x[2].clone(), rows, positions, settings)
            },
            &|x| {
                let [q, kv, bias] = [0, 1, 2].map(|i| dispatched(&x[i]));
                let rows = AttentionRows::new("test", [&q_rows, &kv_rows], Some(&positions));
                Tensor::from_dispatch(reference::relative_attention::<Dispatch>(q, kv, bias, &rows, settings))
            },
        );
    }
}

#[test]
fn mix() {
    for [n, blocks, outputs, width] in
        [[1, 1, 1, 1], [5, 3, 1, 4], [130, 4, 4, 33], [70, 2, 5, 3], [0, 2, 2, 3]]
    {
        for rows in [1, n] {
            let settings = Mixing { blocks, outputs, shared: rows == 1 };
            check(
                "mix",
                &[[n, blocks * width], [rows, outputs * blocks]],
                &|x| crate::mix(x[0].clone(), x[1].clone(), blocks),
                &|x| {
                    let inputs = [0, 1].map(|i| dispatched(&x[i]));
                    Tensor::from_dispatch(reference::mix::<Dispatch>(inputs, settings))
                },
            );
        }
    }
}

#[test]
fn softmax_of_rows() {
    for shape in [[1, 1], [5, 3], [130, 8], [70, 33], [0, 4]] {
        check("softmax", &[shape], &|x| crate::softmax(x[0].clone()), &|x| {
            Tensor::from_dispatch(Dispatch::softmax(dispatched(&x[0]), 1))
        });
    }
}

#[test]
fn sigmoid_gate() {
    check(
        "sigmoid_gate",
        &[[33, 17], [33, 17]],
        &|x| crate::sigmoid_gate(x[0].clone(), x[1].clone()),
        &|x| burn::tensor::activation::sigmoid(x[0].clone()) * x[1].clone(),
    );
}

#[test]
fn columns_are_joined_and_taken_apart() {
    let of = |x: &[Tensor<2>]| crate::join_columns(vec![x[0].clone(), x[1].clone()]);
    check("join_columns", &[[5, 3], [5, 2]], &|x| crate::take_columns(of(x), 2..4), &|x| {
        Tensor::cat(vec![x[0].clone().slice([0..5, 2..3]), x[1].clone().slice([0..5, 0..1])], 1)
    });
    for count in [1, 3, 5] {
        let shapes: Vec<[usize; 2]> = (0..count).map(|i| [70, i + 1]).collect();
        check("join_columns", &shapes, &|x| crate::join_columns(x.to_vec()), &|x| Tensor::cat(x.to_vec(), 1));
    }
}

#[test]
fn rows_are_taken() {
    for rows in [0..5, 0..2, 2..5, 3..4] {
        check("take_rows", &[[5, 3]], &|x| crate::take_rows(x[0].clone(), rows.clone()), &|x| {
            x[0].clone().slice([rows.clone()])
        });
    }
}

#[test]
fn gelu() {
    check("gelu", &[[33, 17]], &|x| crate::gelu(x[0].clone()), &|x| {
        Tensor::from_dispatch(reference::gelu::<Dispatch>(dispatched(&x[0])))
    });
}

#[test]
fn gelu_tanh() {
    for shape in [[1, 1], [7, 13], [300, 129], [0, 3]] {
        // Farther out the plain version loses digits: 1 + tanh is almost nothing there.
        for far in [1.0, 3.0] {
            check("gelu_tanh", &[shape], &|x| crate::gelu_tanh(x[0].clone() * far), &|x| {
                Tensor::from_dispatch(reference::gelu_tanh::<Dispatch>((x[0].clone() * far).into_dispatch()))
            });
        }
    }
}

#[test]
fn add() {
    for shape in [[1, 1], [7, 13], [300, 129], [0, 3]] {
        check("add", &[shape, shape], &|x| crate::add(x[0].clone(), x[1].clone()), &|x| {
            x[0].clone() + x[1].clone()
        });
    }
}

#[test]
fn relu() {
    for shape in [[1, 1], [7, 13], [300, 129], [0, 3]] {
        check("relu", &[shape], &|x| crate::relu(x[0].clone()), &|x| {
            Tensor::from_dispatch(Dispatch::relu(dispatched(&x[0])))
        });
    }
}

#[test]
fn leaky_relu() {
    for shape in [[1, 1], [7, 13], [300, 129], [0, 3]] {
        check("leaky_relu", &[shape], &|x| crate::leaky_relu(x[0].clone(), 0.1), &|x| {
            Tensor::from_dispatch(Dispatch::leaky_relu(dispatched(&x[0]), 0.1.into()))
        });
    }
}

#[test]
fn batched_matvec() {
    for [n, k, w] in [[1, 1, 1], [7, 3, 5], [70, 9, 101], [0, 2, 3], [3, 0, 2]] {
        check(
            "batched_matvec",
            &[[n, k * w], [n, w]],
            &|x| crate::batched_matvec(x[0].clone(), x[1].clone()),
            &|x| {
                let (a, x) = (dispatched(&x[0]), dispatched(&x[1]));
                Tensor::from_dispatch(reference::batched_matvec::<Dispatch>(a, x))
            },
        );
    }
}

#[test]
fn gather_rows_concat() {
    for index in [&[][..], &[6], &[0, 4, 5, 5, 7, 1, 4]] {
        check(
            "gather_rows_concat",
            &[[5, 7], [3, 7]],
            &|x| crate::gather_rows_concat(x[0].clone(), x[1].clone(), index),
            &|x| {
                let (a, b) = (dispatched(&x[0]), dispatched(&x[1]));
                Tensor::from_dispatch(reference::gather_rows_concat::<Dispatch>(a, b, index))
            },
        );
    }
}

#[test]
fn add_norm() {
    for [n, h] in NORMS {
        for dropout in [None, DROPOUT] {
            check(
                "add_norm",
                &[[n, h], [n, h], [1, h], [1, h]],
                &|x| crate::add_norm(x[0].clone(), x[1].clone(), vector(&x[2]), vector(&x[3]), 1e-5, dropout),
                &|x| {
                    let (y, residual) = (dispatched(&x[0]), dispatched(&x[1]));
                    let z =
                        reference::add_norm::<Dispatch>(y, residual, flat(&x[2]), flat(&x[3]), 1e-5, dropout);
                    Tensor::from_dispatch(z)
                },
            );
        }
    }
}

#[test]
fn norm() {
    for [n, h] in NORMS {
        check(
            "norm",
            &[[n, h], [1, h], [1, h]],
            &|x| crate::norm(x[0].clone(), vector(&x[1]), vector(&x[2]), 1e-12),
            &|x| {
                let y = reference::norm::<Dispatch>(dispatched(&x[0]), flat(&x[1]), flat(&x[2]), 1e-12);
                Tensor::from_dispatch(y)
            },
        );
    }
}

#[test]
fn rms_norm() {
    for [n, h] in NORMS {
        check("rms_norm", &[[n, h], [1, h]], &|x| crate::rms_norm(x[0].clone(), vector(&x[1]), 1e-6), &|x| {
            Tensor::from_dispatch(reference::rms_norm::<Dispatch>(dispatched(&x[0]), flat(&x[1]), 1e-6))
        });
        for dropout in [None, DROPOUT] {
            check(
                "add_rms_norm",
                &[[n, h], [n, h], [1, h]],
                &|x| crate::add_rms_norm(x[0].clone(), x[1].clone(), vector(&x[2]), 1e-5, dropout),
                &|x| {
                    let (y, residual) = (dispatched(&x[0]), dispatched(&x[1]));
                    let z = reference::add_rms_norm::<Dispatch>(y, residual, flat(&x[2]), 1e-5, dropout);
                    Tensor::from_dispatch(z)
                },
            );
        }
    }
}

#[test]
fn embed_norm() {
    let ids: &[[&[u32]; 3]] = &[
        [&[4], &[0], &[1]],
        [&[6, 2, 6, 6, 0], &[0, 1, 2, 0, 1], &[0, 0, 1, 1, 1]],
        [&[1, 2, 3], &[0, 1, 2], &[0, 0, 0]],
        [&[], &[], &[]],
    ];
    for [words, places, segments] in ids {
        for (dropout, h) in [(None, 9), (DROPOUT, 9), (None, 64), (DROPOUT, 33)] {
            check(
                "embed_norm",
                &[[7, h], [3, h], [2, h], [1, h], [1, h]],
                &|x| {
                    let tables = [(x[0].clone(), *words), (x[1].clone(), *places), (x[2].clone(), *segments)];
                    crate::embed_norm(tables, vector(&x[3]), vector(&x[4]), 1e-5, dropout)
                },
                &|x| {
                    let tensors = [dispatched(&x[0]), dispatched(&x[1]), dispatched(&x[2])];
                    let [a, b, c] = tensors;
                    let ids = [(*words).into(), (*places).into(), (*segments).into()];
                    let settings = EmbedSettings { ids, eps: 1e-5, dropout };
                    let inputs = [a, b, c, flat(&x[3]), flat(&x[4])];
                    Tensor::from_dispatch(reference::embed_norm::<Dispatch>(inputs, &settings))
                },
            );
        }
    }
}

#[test]
fn dropout() {
    for shape in [[1, 1], [7, 13], [300, 129]] {
        check("dropout", &[shape], &|x| crate::dropout(x[0].clone(), DROPOUT), &|x| {
            Tensor::from_dispatch(reference::dropout::<Dispatch>(dispatched(&x[0]), DROPOUT))
        });
    }
}

#[test]
fn pick_and_embed() {
    for index in [&[0][..], &[4, 0, 4, 4, 2], &[1, 3]] {
        check("pick", &[[5, 7]], &|x| crate::gather_rows(x[0].clone(), index), &|x| {
            Tensor::from_dispatch(reference::gather_rows::<Dispatch>(dispatched(&x[0]), index))
        });
        check("embed", &[[5, 7]], &|x| crate::embed(x[0].clone(), index), &|x| {
            Tensor::from_dispatch(reference::gather_rows::<Dispatch>(dispatched(&x[0]), index))
        });
    }
}

#[test]
fn segment_mean() {
    for lengths in [&[1][..], &[3, 0, 2], &[17, 1, 40]] {
        let rows = rows(lengths);
        check(
            "mean_rows",
            &[[rows[rows.len() - 1], 9]],
            &|x| crate::segment_mean(x[0].clone(), &rows),
            &|x| Tensor::from_dispatch(reference::segment_mean::<Dispatch>(dispatched(&x[0]), &rows)),
        );
    }
}

#[test]
fn cross_entropy() {
    for [n, count] in [[1, 1], [1, 2], [150, 7], [3, 40]] {
        for (weighted, smoothing) in [(false, 0.0), (true, 0.0), (false, 0.1), (true, 0.3)] {
            let target: Vec<u32> = (0..n as u32).map(|i| i * 7 % count as u32).collect();
            let weight: Option<Vec<f32>> =
                weighted.then(|| numbers(count, 5).iter().map(|w| w + 1.5).collect());
            let classes = CrossEntropyTargets {
                target: target.clone().into(),
                weight: weight.clone().map(Into::into),
                smoothing,
            };
            check(
                "cross_entropy",
                &[[n, count]],
                &|x| {
                    let logits = x[0].clone() * 8.0;
                    crate::cross_entropy(logits, &target, weight.as_deref(), smoothing).reshape([1, 1])
                },
                &|x| {
                    let loss =
                        reference::cross_entropy::<Dispatch>((x[0].clone() * 8.0).into_dispatch(), &classes);
                    Tensor::<1>::from_dispatch(loss).reshape([1, 1])
                },
            );
        }
    }
}

#[test]
fn soft_cross_entropy() {
    for [n, count] in [[1, 1], [1, 2], [150, 7], [3, 40]] {
        for temperature in [0.5, 1.0, 4.0] {
            let target: Vec<f32> = numbers(n * count, 5).iter().map(|t| (t + 1.0) / count as f32).collect();
            let weight: Vec<f32> = numbers(n, 6).iter().map(|w| w + 1.0).collect();
            let targets = SoftCrossEntropyTargets {
                target: target.clone().into(),
                weight: weight.clone().into(),
                temperature,
            };
            check(
                "soft_cross_entropy",
                &[[n, count]],
                &|x| {
                    let logits = x[0].clone() * 8.0;
                    crate::soft_cross_entropy(logits, target.clone(), weight.clone(), temperature)
                        .reshape([1, 1])
                },
                &|x| {
                    let logits = (x[0].clone() * 8.0).into_dispatch();
                    let loss = reference::soft_cross_entropy::<Dispatch>(logits, &targets);
                    Tensor::<1>::from_dispatch(loss).reshape([1, 1])
                },
            );
        }
    }
}

/// In several chunks where there are many classes.
#[test]
fn linear_cross_entropy() {
    for [n, h, classes] in [[1, 1, 2], [7, 5, 11], [0, 3, 4], [300, 3, 60_000]] {
        let target: Vec<u32> = (0..n as u32).map(|i| i * 7919 % classes as u32).collect();
        for smoothing in [0.0, 0.1] {
            let targets = CrossEntropyTargets { target: target.clone().into(), weight: None, smoothing };
            check(
                "linear_cross_entropy",
                &[[n, h], [classes, h]],
                &|x| {
                    let loss = crate::linear_cross_entropy(x[0].clone(), x[1].clone(), &target, smoothing);
                    loss.reshape([1, 1])
                },
                &|x| {
                    let logits = x[0].clone().matmul(x[1].clone().transpose()).into_dispatch();
                    let loss = reference::cross_entropy::<Dispatch>(logits, &targets);
                    Tensor::<1>::from_dispatch(loss).reshape([1, 1])
                },
            );
        }
    }
}

#[test]
fn likelihoods() {
    let device = Device::flex();
    let (x, table) = (
        super::matrix(numbers(4 * 3, 1), [4, 3], &device),
        super::matrix(numbers(5 * 3, 2), [5, 3], &device),
    );
    let target = [0, 3, 4, 3];
    let found = crate::likelihoods(x.clone(), table.clone(), &target);
    let logits = super::values(x.matmul(table.transpose()));
    for ((logits, target), (nats, best)) in logits.chunks(5).zip(target).zip(found) {
        let sum: f64 = logits.iter().map(|z| f64::from(*z).exp()).sum();
        let here = logits[target as usize];
        assert!((f64::from(nats) - (sum.ln() - f64::from(here))).abs() < 1e-5);
        assert_eq!(best, logits.iter().all(|z| *z <= here));
    }
}

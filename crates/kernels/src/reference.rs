//! Every operation out of the engine's own ones: what devices without hand-written kernels run, and what the
//! hand-written kernels are tested against. Generic, so that any backend can fall back to it.

use crate::settings::{AttentionRows, EmbedSettings, RotarySettings};
use crate::{
    AdamW, AttentionSettings, CrossEntropyTargets, DisentangledSettings, Dropout, Precision, RowOffsets,
    SoftCrossEntropyTargets,
};
use burn::backend::{
    Backend, Slice, TensorMetadata, get_or_init_device_settings,
    tensor::{FloatTensor, IndexingUpdateOp, IntTensor},
};
use burn::tensor::{FloatDType, Shape, TensorData};
use cpu::{AffineGroups, DropoutMask, GatedLowRankShape, Glu, LowRankGroups, Mixing, MixtureWeights};
use std::ops::Range;

pub(crate) fn linear<B: Backend>(
    x: FloatTensor<B>,
    w: FloatTensor<B>,
    b: FloatTensor<B>,
    precision: Precision,
) -> FloatTensor<B> {
    let w = B::float_swap_dims(w, 0, 1);
    if !precision.rounds() {
        return B::linear(x, w, Some(b));
    }
    let (dtype, outputs) = (x.dtype(), w.shape()[1]);
    let [x, w] = [x, w].map(|x| B::float_cast(x, FloatDType::BF16));
    let y = B::float_cast(B::float_matmul(x, w), dtype.into());
    B::float_add(y, B::float_reshape(b, Shape::new([1, outputs])))
}

pub(crate) fn linear_rows<B: Backend>(
    x: FloatTensor<B>,
    w: FloatTensor<B>,
    b: FloatTensor<B>,
    rows: Range<usize>,
    precision: Precision,
) -> FloatTensor<B> {
    if rows == (0..w.shape()[0]) {
        return linear::<B>(x, w, b, precision);
    }
    let w = B::float_slice(w, &[rows.clone().into()]);
    linear::<B>(x, w, B::float_slice(b, &[rows.into()]), precision)
}

pub(crate) fn linear_gelu<B: Backend>(
    x: FloatTensor<B>,
    w: FloatTensor<B>,
    b: FloatTensor<B>,
    precision: Precision,
) -> FloatTensor<B> {
    gelu::<B>(linear::<B>(x, w, b, precision))
}

pub(crate) fn ffn<B: Backend>(
    x: FloatTensor<B>,
    w1: FloatTensor<B>,
    b1: FloatTensor<B>,
    w2: FloatTensor<B>,
    b2: FloatTensor<B>,
    precision: Precision,
) -> FloatTensor<B> {
    linear::<B>(linear_gelu::<B>(x, w1, b1, precision), w2, b2, precision)
}

/// `activation(a) b`
pub(crate) fn glu<B: Backend>(a: FloatTensor<B>, b: FloatTensor<B>, activation: Glu) -> FloatTensor<B> {
    let active = match activation {
        Glu::Gelu => gelu::<B>(a),
        Glu::GeluTanh => gelu_tanh::<B>(a),
        Glu::Silu => B::float_mul(B::sigmoid(a.clone()), a),
    };
    B::float_mul(active, b)
}

/// `a (1 + tanh(sqrt(2 / pi) (a + 0.044715 a^3))) / 2`
pub(crate) fn gelu_tanh<B: Backend>(a: FloatTensor<B>) -> FloatTensor<B> {
    let cube = B::float_mul(B::float_mul(a.clone(), a.clone()), a.clone());
    let z = B::float_add(a.clone(), B::float_mul_scalar(cube, 0.044_715.into()));
    let tanh = B::float_tanh(B::float_mul_scalar(z, std::f64::consts::FRAC_2_PI.sqrt().into()));
    B::float_mul(B::float_mul_scalar(a, 0.5.into()), B::float_add_scalar(tanh, 1.0.into()))
}

/// `[x1 cos - x2 sin, x2 cos + x1 sin]` of the halves of each head.
pub(crate) fn rotary<B: Backend>(x: FloatTensor<B>, settings: &RotarySettings) -> FloatTensor<B> {
    let RotarySettings { heads, positions, angles } = settings;
    let ([n, width], half) = (x.shape().dims(), angles.half());
    if n == 0 || half == 0 {
        return x;
    }
    let columns = heads * 2 * half;
    let of_tokens = |table: &[f32]| {
        let of = |at: &u32| table[*at as usize * half..][..half].to_vec();
        host::<B>(positions.iter().flat_map(of).collect(), [n, 1, half], &x)
    };
    let [cos, sin] = angles.tables().map(of_tokens);
    let head = B::float_slice(x.clone(), &[Slice::from(0..n), Slice::from(0..columns)]);
    let head = B::float_reshape(head, Shape::new([n, *heads, 2 * half]));
    let part = |columns: Range<usize>| {
        B::float_slice(head.clone(), &[Slice::from(0..n), Slice::from(0..*heads), Slice::from(columns)])
    };
    let (a, b) = (part(0..half), part(half..2 * half));
    let times = |x: &FloatTensor<B>, by: &FloatTensor<B>| B::float_mul(x.clone(), by.clone());
    let first = B::float_sub(times(&a, &cos), times(&b, &sin));
    let second = B::float_add(times(&b, &cos), times(&a, &sin));
    let rotated = B::float_reshape(B::float_cat(vec![first, second], 2), Shape::new([n, columns]));
    if columns == width {
        return rotated;
    }
    let rest = B::float_slice(x, &[Slice::from(0..n), Slice::from(columns..width)]);
    B::float_cat(vec![rotated, rest], 1)
}

/// `x (1 + erf(x / sqrt(2))) / 2`. Not the engine's, whose gradient is that of an approximation on most devices.
pub(crate) fn gelu<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let erf = B::float_erf(B::float_mul_scalar(x.clone(), std::f32::consts::FRAC_1_SQRT_2.into()));
    B::float_mul(B::float_mul_scalar(x, 0.5.into()), B::float_add_scalar(erf, 1.0.into()))
}

pub(crate) fn attention<B: Backend>(
    qkv: FloatTensor<B>,
    rows: &RowOffsets,
    settings: AttentionSettings,
) -> FloatTensor<B> {
    let [n, width] = qkv.shape().dims();
    if n == 0 {
        return B::float_reshape(qkv, Shape::new([0, width / 3])); // Slices of nothing are too much for the engine.
    }
    let part =
        |columns: Range<usize>| B::float_slice(qkv.clone(), &[Slice::from(0..n), Slice::from(columns)]);
    let (q, kv) = (part(0..width / 3), part(width / 3..width));
    let rows = AttentionRows { offsets: [rows.clone(), rows.clone()], positions: None };
    cross_attention::<B>(q, kv, &rows, settings)
}

pub(crate) fn cross_attention<B: Backend>(
    q: FloatTensor<B>,
    kv: FloatTensor<B>,
    rows: &AttentionRows,
    settings: AttentionSettings,
) -> FloatTensor<B> {
    attend::<B>(q, kv, None, rows, settings)
}

pub(crate) fn relative_attention<B: Backend>(
    q: FloatTensor<B>,
    kv: FloatTensor<B>,
    bias: FloatTensor<B>,
    rows: &AttentionRows,
    settings: AttentionSettings,
) -> FloatTensor<B> {
    attend::<B>(q, kv, Some(bias), rows, settings)
}

/// The position among the keys of query `query` of `queries`, of which the first is query `first` of the pack.
fn position(rows: &AttentionRows, first: usize, query: usize, queries: usize, keys: usize) -> isize {
    match &rows.positions {
        Some(positions) => positions[first + query] as isize,
        None => query as isize + keys as isize - queries as isize,
    }
}

/// The bias `[distances, heads]` of queries at these positions and of keys, `[1, heads, queries, keys]`.
fn of_distances<B: Backend>(bias: &FloatTensor<B>, positions: &[isize], keys: usize) -> FloatTensor<B> {
    let [distances, heads] = bias.shape().dims();
    let (queries, middle) = (positions.len(), (distances / 2) as isize);
    let index = positions.iter().flat_map(|at| (0..keys as isize).map(move |key| (middle + key - at) as u32));
    let picked = gather_rows::<B>(bias.clone(), &index.collect::<Vec<u32>>());
    let picked = B::float_reshape(picked, Shape::new([1, queries, keys, heads]));
    B::float_swap_dims(B::float_swap_dims(picked, 2, 3), 1, 2)
}

fn attend<B: Backend>(
    q: FloatTensor<B>,
    kv: FloatTensor<B>,
    bias: Option<FloatTensor<B>>,
    rows: &AttentionRows,
    settings: AttentionSettings,
) -> FloatTensor<B> {
    let (h, heads, kv_heads) = (q.shape()[1], settings.heads, settings.kv_heads);
    let (d, group) = (h / heads, heads / kv_heads);
    let lengths = |rows: &RowOffsets| rows.windows(2).map(|row| row[1] - row[0]).collect::<Vec<usize>>();
    let AttentionRows { offsets, positions } = rows;
    let (queries, keys) = (lengths(&offsets[0]), lengths(&offsets[1]));
    let sizes = || queries.iter().zip(&keys).map(|(q, k)| heads * q * k);
    let factors = DropoutMask::of(settings.dropout, heads).map(|mask| mask.factors(sizes().sum()));
    // `batch` rows of equal lengths from row `row` on, whose probabilities begin at `at`.
    let part = |row: usize, at: usize, batch: usize| {
        let (m, n) = (queries[row], keys[row]);
        let heads_of = |x: &FloatTensor<B>, rows: &RowOffsets, t: usize, column: usize, heads: usize| {
            let tokens = Slice::from(rows[row]..rows[row] + batch * t);
            let x = B::float_slice(x.clone(), &[tokens, Slice::from(column..column + heads * d)]);
            B::float_swap_dims(B::float_reshape(x, Shape::new([batch, t, heads, d])), 1, 2)
        };
        // Keys and values for each head, where heads share them.
        let repeated = |x: FloatTensor<B>| {
            let x = B::float_reshape(x, Shape::new([batch, kv_heads, 1, n * d]));
            let x = B::float_expand(x, Shape::new([batch, kv_heads, group, n * d]));
            B::float_reshape(x, Shape::new([batch, heads, n, d]))
        };
        let q = heads_of(&q, &offsets[0], m, 0, heads);
        let [k, v] =
            [0, kv_heads * d].map(|column| repeated(heads_of(&kv, &offsets[1], n, column, kv_heads)));
        let at_query = |query| position(rows, offsets[0][row], query, m, n);
        let positions: Vec<isize> = (0..m).map(at_query).collect();
        let scores = B::float_matmul(q, B::float_swap_dims(k, 2, 3));
        let mut scores = match &bias {
            Some(bias) => {
                let scaled = B::float_mul_scalar(scores, settings.scale.unwrap_or(1.0).into());
                B::float_add(scaled, of_distances::<B>(bias, &positions, n))
            }
            None => B::float_mul_scalar(scores, settings.scale.unwrap_or(1.0 / (d as f32).sqrt()).into()),
        };
        let masked = settings.causal || settings.window.is_some();
        let hidden = masked.then(|| hidden(&positions, n, &settings));
        if let Some(hidden) = &hidden {
            let far = hidden.iter().map(|hidden| if *hidden { -1e30 } else { 0.0 }).collect();
            scores = B::float_add(scores, host::<B>(far, [1, 1, m, n], &kv));
        }
        let mut p = B::softmax(scores, 3);
        if let Some(hidden) = &hidden {
            let seen = hidden.iter().map(|hidden| f32::from(!hidden)).collect();
            p = B::float_mul(p, host::<B>(seen, [1, 1, m, n], &kv));
        }
        if let Some(factors) = &factors {
            let shape = [batch, heads, m, n];
            let size = shape.iter().product::<usize>();
            p = B::float_mul(p, host::<B>(factors[at..at + size].to_vec(), shape, &kv));
        }
        let context = B::float_swap_dims(B::float_matmul(p, v), 1, 2);
        B::float_reshape(context, Shape::new([batch * m, h]))
    };
    let same = |lengths: &[usize]| lengths.iter().all(|t| *t > 0 && *t == lengths[0]);
    if positions.is_none() && !queries.is_empty() && same(&queries) && same(&keys) {
        return part(0, 0, queries.len());
    }
    let mut at = 0;
    let mut parts = vec![];
    for (row, size) in sizes().enumerate() {
        match size {
            0 if queries[row] == 0 => {}
            // Queries without a key: zeros that still belong to the graph.
            0 => {
                let tokens = Slice::from(offsets[0][row]..offsets[0][row + 1]);
                let q = B::float_slice(q.clone(), &[tokens, Slice::from(0..h)]);
                parts.push(B::float_mul_scalar(q, 0.0.into()));
            }
            _ => parts.push(part(row, at, 1)),
        }
        at += size;
    }
    if parts.is_empty() { q } else { B::float_cat(parts, 0) }
}

/// Row by row: the tables' products with all rows, of which each pair takes that of its distance.
pub(crate) fn disentangled_attention<B: Backend>(
    [q, kv, keys, queries]: [FloatTensor<B>; 4],
    rows: &AttentionRows,
    settings: &DisentangledSettings,
) -> FloatTensor<B> {
    let (h, heads) = (q.shape()[1], settings.heads);
    let [q_rows, kv_rows] = &rows.offsets;
    let sizes = q_rows.windows(2).zip(kv_rows.windows(2)).map(|(q, k)| heads * (q[1] - q[0]) * (k[1] - k[0]));
    let factors = DropoutMask::of(settings.dropout, heads).map(|mask| mask.factors(sizes.sum()));
    let of_heads = |x: &FloatTensor<B>, rows: Range<usize>, column: usize| {
        let count = rows.len();
        let x = B::float_slice(x.clone(), &[Slice::from(rows), Slice::from(column..column + h)]);
        B::float_swap_dims(B::float_reshape(x, Shape::new([count, heads, h / heads])), 0, 1)
    };
    let terms = 1 + [&keys, &queries].iter().filter(|table| table.shape()[0] > 0).count();
    let factor = 1.0 / ((h / heads * terms) as f32).sqrt();
    let (mut at, mut parts) = (0, vec![]);
    for row in 0..q_rows.len() - 1 {
        let (of_q, of_kv) = (q_rows[row]..q_rows[row + 1], kv_rows[row]..kv_rows[row + 1]);
        let (m, n) = (of_q.len(), of_kv.len());
        if m * n == 0 {
            continue; // No row has more queries than keys.
        }
        let (first, reach) = (of_q.start, (settings.index.len() / 2) as isize);
        let (q, k) = (of_heads(&q, of_q, 0), of_heads(&kv, of_kv.clone(), 0));
        let index = |query: usize, key: usize| {
            let distance = key as isize - position(rows, first, query, m, n);
            i64::from(settings.index[(reach + distance) as usize])
        };
        let mut scores = B::float_matmul(q.clone(), B::float_swap_dims(k.clone(), 1, 2));
        if keys.shape()[0] > 0 {
            let table = of_heads(&keys, 0..keys.shape()[0], 0);
            let product = B::float_matmul(q, B::float_swap_dims(table, 1, 2));
            let index = (0..heads * m).flat_map(|i| (0..n).map(move |j| index(i % m, j))).collect();
            let index = host_index::<B>(index, [heads, m, n], &kv);
            scores = B::float_add(scores, B::float_gather(2, product, index));
        }
        if queries.shape()[0] > 0 {
            let table = of_heads(&queries, 0..queries.shape()[0], 0);
            let product = B::float_matmul(k, B::float_swap_dims(table, 1, 2));
            let index = (0..heads * n).flat_map(|j| (0..m).map(move |i| index(i, j % n))).collect();
            let index = host_index::<B>(index, [heads, n, m], &kv);
            scores = B::float_add(scores, B::float_swap_dims(B::float_gather(2, product, index), 1, 2));
        }
        let mut p = B::softmax(B::float_mul_scalar(scores, factor.into()), 2);
        if let Some(factors) = &factors {
            let own = factors[at..at + heads * m * n].to_vec();
            p = B::float_mul(p, host::<B>(own, [heads, m, n], &kv));
        }
        at += heads * m * n;
        let context = B::float_swap_dims(B::float_matmul(p, of_heads(&kv, of_kv, h)), 0, 1);
        parts.push(B::float_reshape(context, Shape::new([m, h])));
    }
    if parts.is_empty() { q } else { B::float_cat(parts, 0) }
}

/// `[queries, keys]`: which keys the queries of an attention, at these positions, do not see.
fn hidden(positions: &[isize], keys: usize, settings: &AttentionSettings) -> Vec<bool> {
    let AttentionSettings { causal, window, .. } = *settings;
    let is_hidden = |at: isize, key: usize| {
        let far = window.is_some_and(|window| at.abs_diff(key as isize) > window);
        far || causal && key as isize > at
    };
    positions.iter().flat_map(|at| (0..keys).map(move |key| is_hidden(*at, key))).collect()
}

pub(crate) fn add_norm<B: Backend>(
    y: FloatTensor<B>,
    residual: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    eps: f32,
    dropout: Option<Dropout>,
) -> FloatTensor<B> {
    norm::<B>(B::float_add(self::dropout::<B>(y, dropout), residual), gamma, beta, eps)
}

pub(crate) fn norm<B: Backend>(
    x: FloatTensor<B>,
    gamma: FloatTensor<B>,
    beta: FloatTensor<B>,
    eps: f32,
) -> FloatTensor<B> {
    B::layer_norm(x, gamma, Some(beta), eps.into())
}

pub(crate) fn rms_norm<B: Backend>(x: FloatTensor<B>, gamma: FloatTensor<B>, eps: f32) -> FloatTensor<B> {
    let h = x.shape()[1];
    let square = B::float_mul(x.clone(), x.clone());
    let mean = B::float_div_scalar(B::float_sum_dim(square, 1), (h as f32).into());
    let root = B::float_sqrt(B::float_add_scalar(mean, eps.into()));
    B::float_mul(B::float_div(x, root), B::float_reshape(gamma, Shape::new([1, h])))
}

pub(crate) fn add_rms_norm<B: Backend>(
    y: FloatTensor<B>,
    residual: FloatTensor<B>,
    gamma: FloatTensor<B>,
    eps: f32,
    dropout: Option<Dropout>,
) -> FloatTensor<B> {
    rms_norm::<B>(B::float_add(self::dropout::<B>(y, dropout), residual), gamma, eps)
}

pub(crate) fn embed_norm<B: Backend>(
    [a, b, c, gamma, beta]: [FloatTensor<B>; 5],
    settings: &EmbedSettings,
) -> FloatTensor<B> {
    let [of_a, of_b, of_c] = &settings.ids;
    let sum = B::float_add(gather_rows::<B>(a, of_a), gather_rows::<B>(b, of_b));
    let sum = B::float_add(sum, gather_rows::<B>(c, of_c));
    self::dropout::<B>(norm::<B>(sum, gamma, beta, settings.eps), settings.dropout)
}

pub(crate) fn take_columns<B: Backend>(x: FloatTensor<B>, columns: Range<usize>) -> FloatTensor<B> {
    let rows = 0..x.shape()[0];
    B::float_slice(x, &[Slice::from(rows), Slice::from(columns)])
}

pub(crate) fn grouped_low_rank<B: Backend>(
    [y, x, a, b]: [FloatTensor<B>; 4],
    groups: &LowRankGroups,
) -> FloatTensor<B> {
    let LowRankGroups { rows, columns, inputs, rank, scale, .. } = groups;
    let slice = |x: &FloatTensor<B>, rows: Range<usize>, columns: Range<usize>| {
        B::float_slice(x.clone(), &[Slice::from(rows), Slice::from(columns)])
    };
    rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty()).fold(y, |y, (g, rows)| {
        let a = slice(&a, g * rank..(g + 1) * rank, 0..*inputs);
        let b = slice(&b, g * columns.len()..(g + 1) * columns.len(), 0..*rank);
        let t = B::float_matmul(slice(&x, rows.clone(), 0..*inputs), B::float_swap_dims(a, 0, 1));
        let update = B::float_mul_scalar(B::float_matmul(t, B::float_swap_dims(b, 0, 1)), (*scale).into());
        let sum = B::float_add(slice(&y, rows.clone(), columns.clone()), update);
        B::float_slice_assign(y, &[Slice::from(rows.clone()), Slice::from(columns.clone())], sum)
    })
}

pub(crate) fn mix<B: Backend>([x, w]: [FloatTensor<B>; 2], s: Mixing) -> FloatTensor<B> {
    let [n, columns] = [0, 1].map(|i| x.shape()[i]);
    let width = columns / s.blocks.max(1);
    let rows = w.shape()[0];
    let x = B::float_reshape(x, Shape::new([n, s.blocks, width]));
    let w = B::float_reshape(w, Shape::new([rows, s.outputs, s.blocks]));
    let w = B::float_expand(w, Shape::new([n, s.outputs, s.blocks]));
    B::float_reshape(B::float_matmul(w, x), Shape::new([n, s.outputs * width]))
}

pub(crate) fn gated_low_rank<B: Backend>(
    [y, x, a, router, b]: [FloatTensor<B>; 5],
    shape: &GatedLowRankShape,
) -> FloatTensor<B> {
    let (n, GatedLowRankShape { columns, rank, experts, scale, .. }) = (y.shape()[0], shape);
    if n == 0 {
        return y; // Slices of nothing are too much for the engine.
    }
    let t = B::float_matmul(x.clone(), B::float_swap_dims(a, 0, 1));
    let gates = B::softmax(B::float_matmul(x, B::float_swap_dims(router, 0, 1)), 1);
    let t = B::float_reshape(t, Shape::new([n, 1, *rank]));
    let gates = B::float_reshape(gates, Shape::new([n, *experts, 1]));
    let gated = B::float_reshape(B::float_mul(gates, t), Shape::new([n, experts * rank]));
    let update = B::float_matmul(gated, B::float_swap_dims(b, 0, 1));
    let place = [Slice::from(0..n), Slice::from(columns.clone())];
    let update = B::float_mul_scalar(update, (*scale).into());
    let sum = B::float_add(B::float_slice(y.clone(), &place), update);
    B::float_slice_assign(y, &place, sum)
}

pub(crate) fn grouped_scale<B: Backend>(
    [x, factor, center]: [FloatTensor<B>; 3],
    groups: &AffineGroups,
) -> FloatTensor<B> {
    let AffineGroups { rows, columns, centers_from: from, .. } = groups;
    let center = B::float_slice(center, &[Slice::from(*from..from + columns.len())]);
    let center = B::float_reshape(center, Shape::new([1, columns.len()]));
    rows.iter().enumerate().filter(|(_, rows)| !rows.is_empty()).fold(x, |x, (g, rows)| {
        let factor = B::float_slice(factor.clone(), &[Slice::from(g..g + 1), Slice::from(0..columns.len())]);
        let place = [Slice::from(rows.clone()), Slice::from(columns.clone())];
        let scaled = B::float_mul(B::float_slice(x.clone(), &place), factor.clone());
        let kept = B::float_sub(center.clone(), B::float_mul(factor, center.clone()));
        B::float_slice_assign(x, &place, B::float_add(scaled, kept))
    })
}

pub(crate) fn weighted_mix<B: Backend>([weights, parts]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
    let ([all, columns], count) = (parts.shape().dims(), weights.shape()[0]);
    let parts = B::float_reshape(parts, Shape::new([count, all / count * columns]));
    let sum = B::float_matmul(B::float_reshape(weights, Shape::new([1, count])), parts);
    B::float_reshape(sum, Shape::new([all / count, columns]))
}

pub(crate) fn mixture_weights<B: Backend>(logits: FloatTensor<B>, of: MixtureWeights) -> FloatTensor<B> {
    match of {
        MixtureWeights::Softmax { temperature } => {
            B::softmax(B::float_div_scalar(logits, temperature.into()), 1)
        }
        MixtureWeights::Sigmoid { eps } => {
            let z = B::sigmoid(logits);
            let total = B::float_add_scalar(B::float_sum_dim(z.clone(), 1), eps.into());
            B::float_div(z, total)
        }
    }
}

pub(crate) fn scale_rows<B: Backend>([x, factor]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
    let n = x.shape()[0];
    B::float_mul(x, B::float_reshape(factor, Shape::new([n, 1])))
}

pub(crate) fn dropout<B: Backend>(x: FloatTensor<B>, dropout: Option<Dropout>) -> FloatTensor<B> {
    let shape = x.shape();
    let Some(mask) = DropoutMask::of(dropout, shape[1]) else { return x };
    let factors = host::<B>(mask.factors(shape.num_elements()), shape, &x);
    B::float_mul(x, factors)
}

pub(crate) fn gather_rows<B: Backend>(x: FloatTensor<B>, index: &[u32]) -> FloatTensor<B> {
    let index = host_index::<B>(index.iter().map(|&i| i as i64).collect(), [index.len()], &x);
    B::float_select(x, 0, index)
}

pub(crate) fn gather_rows_concat<B: Backend>(
    a: FloatTensor<B>,
    b: FloatTensor<B>,
    index: &[u32],
) -> FloatTensor<B> {
    gather_rows::<B>(B::float_cat(vec![a, b], 0), index)
}

pub(crate) fn batched_matvec<B: Backend>(a: FloatTensor<B>, x: FloatTensor<B>) -> FloatTensor<B> {
    let ([n, columns], [_, w]) = ([a.shape()[0], a.shape()[1]], [x.shape()[0], x.shape()[1]]);
    let k = columns / w;
    let (a, x) = (B::float_reshape(a, Shape::new([n, k, w])), B::float_reshape(x, Shape::new([n, 1, w])));
    B::float_reshape(B::float_sum_dim(B::float_mul(a, x), 2), Shape::new([n, k]))
}

pub(crate) fn segment_mean<B: Backend>(x: FloatTensor<B>, rows: &RowOffsets) -> FloatTensor<B> {
    let (count, h) = (rows.len() - 1, x.shape()[1]);
    let lengths = || rows.windows(2).map(|row| row[1] - row[0]);
    let row_of = lengths().enumerate().flat_map(|(row, t)| std::iter::repeat_n(row as i64, t)).collect();
    let row_of = host_index::<B>(row_of, [x.shape()[0]], &x);
    let share = host::<B>(lengths().map(|t| 1.0 / t.max(1) as f32).collect(), [count, 1], &x);
    let zeros = B::float_zeros(Shape::new([count, h]), &x.device(), x.dtype().into());
    B::float_mul(B::float_select_assign(zeros, 0, row_of, x, IndexingUpdateOp::Add), share)
}

pub(crate) fn cross_entropy<B: Backend>(
    logits: FloatTensor<B>,
    classes: &CrossEntropyTargets,
) -> FloatTensor<B> {
    let [n, count] = logits.shape().dims();
    let total = classes.total() as f32;
    if total == 0.0 {
        // Multiplied rather than made anew, so that the loss still belongs to the graph.
        return B::float_mul_scalar(B::float_sum(logits), 0.0.into());
    }
    let target = classes.target.iter().map(|&class| class as i64).collect();
    let target = host_index::<B>(target, [n, 1], &logits);
    let weight_of = |class| classes.weight_of(class) / -total;
    let of_target = classes.target.iter().map(|&class| (1.0 - classes.smoothing) * weight_of(class as usize));
    let of_target = host::<B>(of_target.collect(), [n, 1], &logits);
    let of_all = (0..count).map(|class| classes.smoothing / count as f32 * weight_of(class));
    let of_all = host::<B>(of_all.collect(), [1, count], &logits);
    let log_p = B::log_softmax(logits, 1);
    let hit = sum::<B>(B::float_mul(B::float_gather(1, log_p.clone(), target), of_target));
    if classes.smoothing == 0.0 {
        return hit;
    }
    B::float_add(hit, sum::<B>(B::float_mul(log_p, of_all)))
}

pub(crate) fn soft_cross_entropy<B: Backend>(
    logits: FloatTensor<B>,
    targets: &SoftCrossEntropyTargets,
) -> FloatTensor<B> {
    let [n, count]: [usize; 2] = logits.shape().dims();
    if n == 0 {
        return B::float_mul_scalar(B::float_sum(logits), 0.0.into());
    }
    let (temperature, square) = (targets.temperature, targets.temperature * targets.temperature);
    let weighted = targets.target.chunks(count).zip(targets.weight.iter());
    let weighted = weighted.flat_map(|(row, weight)| row.iter().map(move |t| -t * weight * square)).collect();
    let weighted = host::<B>(weighted, [n, count], &logits);
    let log_p = B::log_softmax(B::float_mul_scalar(logits, (1.0 / temperature).into()), 1);
    sum::<B>(B::float_mul(log_p, weighted))
}

pub(crate) fn adamw<B: Backend>(
    w: FloatTensor<B>,
    g: FloatTensor<B>,
    m: FloatTensor<B>,
    v: FloatTensor<B>,
    step: AdamW,
) -> (FloatTensor<B>, FloatTensor<B>, FloatTensor<B>) {
    let mix = |old, keep: f32, new| {
        B::float_add(B::float_mul_scalar(old, keep.into()), B::float_mul_scalar(new, (1.0 - keep).into()))
    };
    let (first, second) = step.corrections();
    let g = if step.grad_scale == 1.0 { g } else { B::float_mul_scalar(g, step.grad_scale.into()) };
    let m = mix(m, step.beta1, g.clone());
    let v = mix(v, step.beta2, B::float_mul(g.clone(), g));
    let root = B::float_div_scalar(B::float_sqrt(v.clone()), second.into());
    let change = B::float_div(m.clone(), B::float_add_scalar(root, step.eps.into()));
    let change = B::float_mul_scalar(change, (f64::from(step.learning_rate) / first).into());
    let w = B::float_mul_scalar(w, (1.0 - step.learning_rate * step.weight_decay).into());
    (B::float_sub(w, change), m, v)
}

pub(crate) fn squared_norm<B: Backend>(g: FloatTensor<B>) -> FloatTensor<B> {
    sum::<B>(B::float_mul(g.clone(), g))
}

/// The sum of all elements, `[1]`, by runs of [`RUN`]. Not the engine's, which on a card adds up in the order in which threads
/// arrive, another one each time.
pub(crate) fn sum<B: Backend>(x: FloatTensor<B>) -> FloatTensor<B> {
    let n = x.shape().num_elements();
    let x = B::float_reshape(x, Shape::new([n]));
    if n <= RUN {
        return B::float_sum_dim(x, 0);
    }
    let part = |range: Range<usize>| B::float_slice(x.clone(), &[Slice::from(range)]);
    let whole = n - n % RUN;
    let runs = B::float_reshape(part(0..whole), Shape::new([whole / RUN, RUN]));
    let mut sums = vec![B::float_reshape(B::float_sum_dim(runs, 1), Shape::new([whole / RUN]))];
    if whole < n {
        sums.push(B::float_sum_dim(part(whole..n), 0));
    }
    sum::<B>(B::float_cat(sums, 0))
}

/// How many numbers are added up in one go. Mesa's software driver ends every loop after 65,535 rounds, and says nothing.
const RUN: usize = 1024;

/// Host numbers on the device and in the element type of `like`.
pub(crate) fn host<B: Backend>(
    values: Vec<f32>,
    shape: impl Into<Shape>,
    like: &FloatTensor<B>,
) -> FloatTensor<B> {
    let data = TensorData::new(values, shape.into()).convert_dtype(like.dtype());
    B::float_from_data(data, &like.device())
}

/// Host indices on the device of `like`, in the device's integer type.
fn host_index<B: Backend>(values: Vec<i64>, shape: impl Into<Shape>, like: &FloatTensor<B>) -> IntTensor<B> {
    let device = like.device();
    let dtype = get_or_init_device_settings::<B>(&device).int_dtype;
    B::int_from_data(TensorData::new(values, shape.into()).convert_dtype(dtype.into()), &device)
}

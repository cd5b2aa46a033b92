//! Fused operations over packs, as an extension of the tensor engine.
//!
//! A pack is a step's rows laid end to end without padding. Linear layers, norms and losses run over all its
//! tokens at once; attention and pooling read the rows' offsets ([`RowOffsets`]).
//!
//! On the CPU in f32 every operation is hand-written, forward and backward, and is one node of the autodiff graph
//! (`flex/` over the plain slices of the crate `cpu`). On other devices and for other element types it is made of the
//! engine's own operations (`reference.rs`). Both compute the same function; dropout draws the same mask.
//!
//! Gradients are computed for tracked inputs only, and nothing is saved for a backward pass that cannot come.
//! Results are the same to the bit from run to run and for every number of threads.
//!
//! Shapes are preconditions: a wrong shape, an id outside a table or offsets that do not fit panic.

#[cfg(any(feature = "cuda", feature = "wgpu"))]
mod cube;
mod elementwise;
mod flex;
mod jacobian;
mod kv_cache;
mod low_rank;
mod memory_limit;
mod precision;
mod reference;
mod settings;
#[cfg(test)]
mod tests;

pub use cpu::{
    AdamW, CrossEntropyTargets, Dropout, Glu, MixtureWeights, PackedMatrix, RotaryAngles,
    SoftCrossEntropyTargets, dense,
    int4::{InputErrors, Int4Matrix, Int4Rounding},
    int8::Int8Matrix,
    matmul, splitmix,
};
pub use elementwise::{Element, Formula, elementwise};
pub use jacobian::{accumulate_gramian, map_rows_in_place, weighted_sum};
pub use kv_cache::KvCache;
pub use low_rank::{
    gated_low_rank, grouped_low_rank, grouped_scale, low_rank_row_norms, mixture_weights, scale_rows,
    weighted_mix,
};
pub use memory_limit::{MemoryLimit, OutOfMemory, check_memory, release_autograd_graph, with_memory_limit};
pub use precision::Precision;
pub use settings::{AttentionSettings, DisentangledSettings};

use burn::backend::Dispatch;
use burn::tensor::{Device, Gradients, IndexingUpdateOp, Int, Tensor, TensorData};
use cpu::Mixing;
use flex::PackOps;
use settings::{AttentionRows, EmbedSettings, RotarySettings};
use std::ops::Range;
use std::sync::Arc;

/// Where a pack's rows begin and end: row `i` is tokens `rows[i]..rows[i + 1]`. Rises from 0 to the number of
/// tokens, one more entry than there are rows. It stays on the host because shapes depend on it.
pub type RowOffsets = Arc<[usize]>;

/// Rows of these lengths, one after the other.
pub fn offsets_from_lengths(lengths: impl IntoIterator<Item = usize>) -> RowOffsets {
    let ends = lengths.into_iter().scan(0, |end, length| {
        *end += length;
        Some(*end)
    });
    std::iter::once(0).chain(ends).collect()
}

/// The inner products of the columns of `x` `[n, in]` with each other: `x^T x` `[in, in]`, in f32 on the processor.
pub fn gram(x: Tensor<2>) -> Vec<f32> {
    let [n, inputs] = x.dims();
    let x: Vec<f32> = x.inner().into_data().try_into_vec().expect("states are f32");
    cpu::linear::weight_gradient(&x, &x, [n, inputs, inputs], Precision::F32.kernel())
}

/// Linear layer: `x w^T + b`.
///
/// `x` `[n, in]`, `w` `[out, in]`, `b` `[out]`, result `[n, out]`.
pub fn linear(x: Tensor<2>, w: Tensor<2>, b: Tensor<1>, precision: Precision) -> Tensor<2> {
    let rows = 0..w.dims()[0];
    linear_rows(x, w, b, rows, precision)
}

/// Linear layer with some rows of its weight and bias alone: `x w[rows]^T + b[rows]`. Nothing is copied, and the rows that are not
/// used get zeros as their gradient.
///
/// `x` `[n, in]`, `w` `[out, in]`, `b` `[out]`, result `[n, rows]`.
pub fn linear_rows(
    x: Tensor<2>,
    w: Tensor<2>,
    b: Tensor<1>,
    rows: Range<usize>,
    precision: Precision,
) -> Tensor<2> {
    let [_, inputs] = x.dims();
    let [outputs, _] = w.dims();
    assert_eq!((w.dims()[1], b.dims()[0]), (inputs, outputs), "linear: weight and bias must fit the input");
    assert!(rows.start <= rows.end && rows.end <= outputs, "linear: rows of the weight");
    Tensor::from_dispatch(Dispatch::fused_linear(
        x.into_dispatch(),
        w.into_dispatch(),
        b.into_dispatch(),
        rows,
        precision,
    ))
}

/// [`linear_rows`] with a packed weight, which gets no gradient.
///
/// `x` `[n, in]`, `w` `[out, in]`, `b` `[out]`, result `[n, rows]`.
pub fn packed_linear(
    x: Tensor<2>,
    w: &Arc<PackedMatrix>,
    b: Tensor<1>,
    rows: Range<usize>,
    precision: Precision,
) -> Tensor<2> {
    let [outputs, inputs] = w.shape();
    let fits = (x.dims()[1], b.dims()[0]) == (inputs, outputs);
    assert!(fits, "packed_linear: weight and bias must fit the input");
    assert!(rows.start <= rows.end && rows.end <= outputs, "packed_linear: rows of the weight");
    Tensor::from_dispatch(Dispatch::fused_packed_linear(
        x.into_dispatch(),
        b.into_dispatch(),
        w.clone(),
        rows,
        precision,
    ))
}

/// [`linear_gelu`] with a packed weight, which gets no gradient.
pub fn packed_linear_gelu(
    x: Tensor<2>,
    w: &Arc<PackedMatrix>,
    b: Tensor<1>,
    precision: Precision,
) -> Tensor<2> {
    let [outputs, inputs] = w.shape();
    let fits = (x.dims()[1], b.dims()[0]) == (inputs, outputs);
    assert!(fits, "packed_linear_gelu: weight and bias must fit the input");
    Tensor::from_dispatch(Dispatch::fused_packed_linear_gelu(
        x.into_dispatch(),
        b.into_dispatch(),
        w.clone(),
        precision,
    ))
}

/// What a matrix is rounded to by [`fake_quantize`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CodeType {
    /// [`Int8Matrix`].
    Int8,
    /// [`Int4Matrix`], by [`Int4Rounding::MinMax`].
    Int4,
}

/// The numbers that the codes of a weight `[out, in]` stand for, with the gradient passed through as if they were the weight: the straight-through
/// estimator (Bengio et al. 2013) of quantization-aware training (Jacob et al. 2018, "Quantization and training of neural networks for
/// efficient integer-arithmetic-only inference").
///
/// # Panics
/// On a device of which [`can_pack`] says no; for rows that do not fall into the groups of four bits.
pub fn fake_quantize(w: Tensor<2>, to: CodeType) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::fused_fake_quantize(w.into_dispatch(), to))
}

/// Linear layer with the exact GELU: `gelu(x w^T + b)`. Shapes as in [`linear`].
pub fn linear_gelu(x: Tensor<2>, w: Tensor<2>, b: Tensor<1>, precision: Precision) -> Tensor<2> {
    let ([_, inputs], [outputs, _]) = (x.dims(), w.dims());
    let fits = (w.dims()[1], b.dims()[0]) == (inputs, outputs);
    assert!(fits, "linear_gelu: weight and bias must fit the input");
    Tensor::from_dispatch(Dispatch::fused_linear_gelu(
        x.into_dispatch(),
        w.into_dispatch(),
        b.into_dispatch(),
        precision,
    ))
}

/// The exact GELU `x Phi(x)` (Hendrycks and Gimpel 2016). `x` and the result `[n, f]`.
pub fn gelu(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::fused_gelu(x.into_dispatch()))
}

/// The approximation of the GELU with tanh (Hendrycks and Gimpel 2016, equation 2). `x` and the result `[n, f]`.
pub fn gelu_tanh(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::fused_gelu_tanh(x.into_dispatch()))
}

/// A gated linear unit (Shazeer 2020, "GLU variants improve transformer"): `activation(a) b`. `a`, `b` and the result `[n, f]`.
pub fn glu(a: Tensor<2>, b: Tensor<2>, activation: Glu) -> Tensor<2> {
    assert_eq!(a.dims(), b.dims(), "glu: both factors must have the same shape");
    Tensor::from_dispatch(Dispatch::fused_glu(a.into_dispatch(), b.into_dispatch(), activation))
}

/// Rotary positions (Su et al. 2021, "RoFormer"): in each head of the first `heads` `d` columns, `d` twice the angles of a position, the
/// pair of columns `i` and `i + d / 2` is rotated by the angle `i` of the token's position. The other columns stay.
///
/// `x` `[n, w]`, `positions` `[n]` below [`RotaryAngles::positions`], result `[n, w]`.
pub fn rotary(x: Tensor<2>, heads: usize, positions: &[u32], angles: &Arc<RotaryAngles>) -> Tensor<2> {
    let [n, width] = x.dims();
    assert_eq!(positions.len(), n, "rotary: a position for each token");
    assert!(heads * 2 * angles.half() <= width, "rotary: {heads} heads in {width} columns");
    let known = positions.iter().all(|position| (*position as usize) < angles.positions());
    assert!(known, "rotary: positions below {}", angles.positions());
    let settings = RotarySettings { heads, positions: positions.into(), angles: angles.clone() };
    Tensor::from_dispatch(Dispatch::fused_rotary(x.into_dispatch(), settings))
}

/// Feed-forward block: `gelu(x w1^T + b1) w2^T + b2`, with the exact GELU `x Phi(x)` (Hendrycks and Gimpel 2016).
///
/// `x` `[n, h]`, `w1` `[f, h]`, `b1` `[f]`, `w2` `[out, f]`, `b2` `[out]`, result `[n, out]`.
pub fn ffn(
    x: Tensor<2>,
    w1: Tensor<2>,
    b1: Tensor<1>,
    w2: Tensor<2>,
    b2: Tensor<1>,
    precision: Precision,
) -> Tensor<2> {
    let ([_, h], [f, _], [out, _]) = (x.dims(), w1.dims(), w2.dims());
    assert_eq!((w1.dims()[1], b1.dims()[0]), (h, f), "ffn: first weight and bias must fit the input");
    assert_eq!((w2.dims()[1], b2.dims()[0]), (f, out), "ffn: second weight and bias must fit the first");
    Tensor::from_dispatch(Dispatch::fused_ffn(
        x.into_dispatch(),
        w1.into_dispatch(),
        b1.into_dispatch(),
        w2.into_dispatch(),
        b2.into_dispatch(),
        precision,
    ))
}

/// Weighted sums of the blocks of columns of each row: `y[i, t] = sum_e w[i, t, e] x[i, e]`, with blocks of equal width.
///
/// `x` `[n, blocks width]`, `w` `[n, outputs blocks]`, or `[1, outputs blocks]` for all rows; result `[n, outputs width]`.
pub fn mix(x: Tensor<2>, w: Tensor<2>, blocks: usize) -> Tensor<2> {
    let ([n, columns], [rows, weights]) = (x.dims(), w.dims());
    let fits = blocks > 0 && columns % blocks == 0 && weights % blocks == 0 && (rows == 1 || rows == n);
    assert!(
        fits,
        "mix: {weights} weights in {rows} rows for {blocks} blocks in {columns} columns of {n} rows"
    );
    let settings = Mixing { blocks, outputs: weights / blocks, shared: rows == 1 };
    Tensor::from_dispatch(Dispatch::fused_mix(x.into_dispatch(), w.into_dispatch(), settings))
}

/// The softmax of each row. `z` and the result `[n, k]`.
pub fn softmax(z: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::fused_softmax(z.into_dispatch()))
}

/// A gate: `sigmoid(a) b`, element by element. `a`, `b` and the result `[n, k]`.
pub fn sigmoid_gate(a: Tensor<2>, b: Tensor<2>) -> Tensor<2> {
    assert_eq!(a.dims(), b.dims(), "sigmoid_gate: both factors must have the same shape");
    Tensor::from_dispatch(Dispatch::fused_sigmoid_gate(a.into_dispatch(), b.into_dispatch()))
}

/// `x`, to whose gradient `g` is added in the backward pass, whatever the gradient of the result is multiplied by: what a term of the loss
/// has as its gradient by `x` that is not part of the losses of the tasks. `g` `[n, k]` like `x`, a plain tensor.
///
/// On the CPU alone ([`can_add_gradient`]); elsewhere the gradient of `x` is that of the result.
pub fn add_gradient(x: Tensor<2>, g: Vec<f32>) -> Tensor<2> {
    let shape = x.dims();
    assert_eq!(g.len(), shape[0] * shape[1], "add_gradient: a number for each of x");
    let g = Tensor::<2>::from_data(TensorData::new(g, shape), &x.device());
    Tensor::from_dispatch(Dispatch::fused_add_gradient(x.into_dispatch(), g.into_dispatch()))
}

/// Whether [`add_gradient`] does on a device what it says.
pub fn can_add_gradient(device: &Device) -> bool {
    is_processor(device)
}

/// Whether a device has kernels for packed weights ([`packed_linear`]); others would make f32 of them in every product.
pub fn can_pack(device: &Device) -> bool {
    is_processor(device)
}

fn is_processor(device: &Device) -> bool {
    flex::as_flex(&Tensor::<1>::zeros([1], &device.clone().inner())).is_some()
}

/// Matrices with the same rows side by side: parts `[n, w]` of any widths, result `[n, sum of w]`.
///
/// # Panics
/// Without any part.
pub fn join_columns(mut parts: Vec<Tensor<2>>) -> Tensor<2> {
    // In pairs, so that none is copied more often than the logarithm of their number.
    while parts.len() > 1 {
        let mut rest = parts.into_iter();
        let mut joined = Vec::new();
        while let Some(a) = rest.next() {
            joined.push(match rest.next() {
                Some(b) => {
                    assert_eq!(a.dims()[0], b.dims()[0], "join_columns: parts of one height");
                    Tensor::from_dispatch(Dispatch::fused_join_columns(a.into_dispatch(), b.into_dispatch()))
                }
                None => a,
            });
        }
        parts = joined;
    }
    parts.pop().expect("join_columns: a part")
}

/// Some columns of a matrix. `x` `[n, w]`, result `[n, columns]`.
pub fn take_columns(x: Tensor<2>, columns: Range<usize>) -> Tensor<2> {
    let width = x.dims()[1];
    assert!(columns.start <= columns.end && columns.end <= width, "take_columns: columns of the matrix");
    if columns == (0..width) {
        return x;
    }
    Tensor::from_dispatch(Dispatch::fused_take_columns(x.into_dispatch(), columns))
}

/// Some rows of a matrix, one after the other. `x` `[n, w]`, result `[rows, w]`. On the CPU nothing is copied.
pub fn take_rows(x: Tensor<2>, rows: Range<usize>) -> Tensor<2> {
    let height = x.dims()[0];
    assert!(rows.start <= rows.end && rows.end <= height, "take_rows: rows of the matrix");
    if rows == (0..height) {
        return x;
    }
    Tensor::from_dispatch(Dispatch::fused_take_rows(x.into_dispatch(), rows))
}

/// Self-attention inside each row of a pack (Vaswani et al. 2017): `dropout(softmax(q k^T / sqrt(d))) v` per head.
///
/// `qkv` `[n, 3h]` holds queries, keys and values side by side, each as `heads` blocks of `d = h / heads` columns;
/// result `[n, h]`.
pub fn attention(qkv: Tensor<2>, rows: &RowOffsets, settings: AttentionSettings) -> Tensor<2> {
    let [n, width] = qkv.dims();
    let AttentionSettings { heads, kv_heads, .. } = settings;
    assert!(heads > 0 && width.is_multiple_of(3 * heads), "attention: {width} columns, {heads} heads");
    assert_eq!(heads, kv_heads, "attention: side by side every head has its own keys");
    check_rows("attention", rows, n);
    Tensor::from_dispatch(Dispatch::fused_attention(qkv.into_dispatch(), rows.clone(), settings))
}

/// Attention from the queries of each row to keys and values of the row of the same number in another pack: what a
/// decoder reads of the encoder, or some tokens of all of their row. See [`attention`].
///
/// `q` `[m, h]` in rows `q_rows`, `kv` `[n, 2 kv_heads d]` with `d = h / heads`, keys before values, in as many rows `kv_rows`; result
/// `[m, h]`, zeros for queries whose row has no keys. `positions` `[m]` are those of the queries among the keys of their row, from 0; without them the
/// queries are the last ones of their row. They matter to a causal attention and to a bias by distance.
pub fn cross_attention(
    q: Tensor<2>,
    kv: Tensor<2>,
    [q_rows, kv_rows]: [&RowOffsets; 2],
    positions: Option<&[u32]>,
    settings: AttentionSettings,
) -> Tensor<2> {
    let ([m, h], [n, width]) = (q.dims(), kv.dims());
    settings.check("cross_attention", h);
    assert_eq!(width, settings.kv_width(h), "cross_attention: keys and values must fit the queries");
    assert_eq!(q_rows.len(), kv_rows.len(), "cross_attention: both sides must have the same rows");
    check_rows("cross_attention", q_rows, m);
    check_rows("cross_attention", kv_rows, n);
    let rows = AttentionRows::new("cross_attention", [q_rows, kv_rows], positions);
    Tensor::from_dispatch(Dispatch::fused_cross_attention(
        q.into_dispatch(),
        kv.into_dispatch(),
        rows,
        settings,
    ))
}

/// Attention with a learned number for each head and distance (Raffel et al. 2020, T5): `dropout(softmax(q k^T + bias)) v` per
/// head, the scores not divided by a root. Otherwise as [`cross_attention`].
///
/// `bias` `[2 max_distance + 1, heads]`, of distances from `-max_distance` to `max_distance`. A distance is the key's position less the
/// query's; `max_distance` is at least the longest row's tokens less one.
pub fn relative_attention(
    q: Tensor<2>,
    kv: Tensor<2>,
    bias: Tensor<2>,
    [q_rows, kv_rows]: [&RowOffsets; 2],
    positions: Option<&[u32]>,
    settings: AttentionSettings,
) -> Tensor<2> {
    let ([m, h], [n, width], [distances, heads]) = (q.dims(), kv.dims(), bias.dims());
    settings.check("relative_attention", h);
    assert_eq!(heads, settings.heads, "relative_attention: a column of the bias for each head");
    assert_eq!(width, settings.kv_width(h), "relative_attention: keys and values must fit the queries");
    assert_eq!(q_rows.len(), kv_rows.len(), "relative_attention: both sides must have the same rows");
    check_rows("relative_attention", q_rows, m);
    check_rows("relative_attention", kv_rows, n);
    let longest = |rows: &RowOffsets| rows.windows(2).map(|row| row[1] - row[0]).max().unwrap_or(0);
    let least = longest(q_rows).max(longest(kv_rows)).saturating_sub(1);
    let fits = distances % 2 == 1 && distances / 2 >= least;
    assert!(fits, "relative_attention: {distances} distances for rows of {} tokens", least + 1);
    let rows = AttentionRows::new("relative_attention", [q_rows, kv_rows], positions);
    let [q, kv, bias] = [q, kv, bias].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fused_relative_attention(q, kv, bias, rows, settings))
}

/// Disentangled attention (He et al. 2021, "DeBERTa", equations 2 to 4): per head `dropout(softmax(scores)) v` with
///
/// `score[i, j] = (q_i k_j + q_i Pk[r] + k_j Pq[r]) / sqrt(d terms)`, `r = index[j - i]`.
///
/// `q` `[m, h]`, `kv` `[n, 2h]` and their rows as in [`cross_attention`], no row with more queries than keys; `Pk`, `Pq` are the
/// `tables` `[distances, h]`, keys and queries of relative positions. A term without its table is left out; `terms` counts those
/// that are there, 1 to 3. Result `[m, h]`.
pub fn disentangled_attention(
    q: Tensor<2>,
    kv: Tensor<2>,
    tables: [Option<Tensor<2>>; 2],
    [q_rows, kv_rows]: [&RowOffsets; 2],
    positions: Option<&[u32]>,
    settings: DisentangledSettings,
) -> Tensor<2> {
    let ([m, h], [n, width], heads) = (q.dims(), kv.dims(), settings.heads);
    assert!(heads > 0 && h.is_multiple_of(heads), "disentangled_attention: {h} columns, {heads} heads");
    assert_eq!(width, 2 * h, "disentangled_attention: keys and values must fit the queries");
    assert_eq!(q_rows.len(), kv_rows.len(), "disentangled_attention: both sides must have the same rows");
    check_rows("disentangled_attention", q_rows, m);
    check_rows("disentangled_attention", kv_rows, n);
    let lengths = |rows: &RowOffsets| rows.windows(2).map(|row| row[1] - row[0]).collect::<Vec<_>>();
    let (queries, keys) = (lengths(q_rows), lengths(kv_rows));
    let fits = queries.iter().zip(&keys).all(|(queries, keys)| queries <= keys);
    assert!(fits, "disentangled_attention: no row with more queries than keys");
    let (distances, least) = (settings.index.len(), keys.iter().max().map_or(0, |keys| keys.max(&1) - 1));
    let fits = distances % 2 == 1 && distances / 2 >= least;
    assert!(fits, "disentangled_attention: {distances} distances for rows of {} tokens", least + 1);
    for table in tables.iter().flatten() {
        assert_eq!(table.dims()[1], h, "disentangled_attention: tables must fit the queries");
        check_index("disentangled_attention", &settings.index, table.dims()[0]);
    }
    let rows = AttentionRows::new("disentangled_attention", [q_rows, kv_rows], positions);
    let device = q.device();
    let [keys, queries] =
        tables.map(|table| table.unwrap_or_else(|| Tensor::zeros([0, h], &device)).into_dispatch());
    let (q, kv) = (q.into_dispatch(), kv.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused_disentangled_attention(q, kv, keys, queries, rows, settings))
}

/// End of a post-norm block: `norm(dropout(y) + residual)`.
///
/// `y` and `residual` `[n, h]`, `gamma` and `beta` `[h]`, result `[n, h]`. See [`norm`].
pub fn add_norm(
    y: Tensor<2>,
    residual: Tensor<2>,
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f32,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    assert_eq!(y.dims(), residual.dims(), "add_norm: both summands must have the same shape");
    check_norm(&y, &gamma, &beta);
    Tensor::from_dispatch(Dispatch::fused_add_norm(
        y.into_dispatch(),
        residual.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        eps,
        dropout,
    ))
}

/// Layer norm over the last dimension (Ba, Kiros and Hinton 2016):
/// `(x - mean) / sqrt(variance + eps) gamma + beta`, with the biased variance.
///
/// `x` `[n, h]`, `gamma` and `beta` `[h]`, result `[n, h]`.
pub fn norm(x: Tensor<2>, gamma: Tensor<1>, beta: Tensor<1>, eps: f32) -> Tensor<2> {
    check_norm(&x, &gamma, &beta);
    Tensor::from_dispatch(Dispatch::fused_norm(
        x.into_dispatch(),
        gamma.into_dispatch(),
        beta.into_dispatch(),
        eps,
    ))
}

/// RMS norm over the last dimension (Zhang and Sennrich 2019): `x / sqrt(mean(x^2) + eps) gamma`.
///
/// `x` `[n, h]`, `gamma` `[h]`, result `[n, h]`.
pub fn rms_norm(x: Tensor<2>, gamma: Tensor<1>, eps: f32) -> Tensor<2> {
    assert_eq!(gamma.dims()[0], x.dims()[1], "rms_norm: scale must fit the input");
    Tensor::from_dispatch(Dispatch::fused_rms_norm(x.into_dispatch(), gamma.into_dispatch(), eps))
}

/// End of a post-norm block with an RMS norm: `rms_norm(dropout(y) + residual)`.
///
/// `y` and `residual` `[n, h]`, `gamma` `[h]`, result `[n, h]`. See [`rms_norm`].
pub fn add_rms_norm(
    y: Tensor<2>,
    residual: Tensor<2>,
    gamma: Tensor<1>,
    eps: f32,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    assert_eq!(y.dims(), residual.dims(), "add_rms_norm: both summands must have the same shape");
    assert_eq!(gamma.dims()[0], y.dims()[1], "add_rms_norm: scale must fit the input");
    Tensor::from_dispatch(Dispatch::fused_add_rms_norm(
        y.into_dispatch(),
        residual.into_dispatch(),
        gamma.into_dispatch(),
        eps,
        dropout,
    ))
}

/// Dropout (Srivastava et al. 2014). `None`, or a rate of 0, gives `x` back.
pub fn dropout(x: Tensor<2>, dropout: Option<Dropout>) -> Tensor<2> {
    match dropout.filter(|dropout| dropout.rate > 0.0) {
        Some(dropout) => Tensor::from_dispatch(Dispatch::fused_dropout(x.into_dispatch(), dropout)),
        None => x,
    }
}

/// `max(x, 0)`, element by element; NaN stays NaN.
pub fn relu(x: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::fused_relu(x.into_dispatch(), 0.0))
}

/// `x` where it is above 0 and `slope x` elsewhere (Maas et al. 2013), with a slope above 0.
pub fn leaky_relu(x: Tensor<2>, slope: f32) -> Tensor<2> {
    assert!(slope > 0.0, "leaky_relu: the slope must be above 0");
    Tensor::from_dispatch(Dispatch::fused_relu(x.into_dispatch(), slope))
}

/// The product of a matrix and a vector in each row, as `torch.bmm` computes it: `y[i] = a[i] x[i]`.
///
/// `a` `[n, k w]` of matrices `[k, w]`, `x` `[n, w]` with `w` above 0, result `[n, k]`.
pub fn batched_matvec(a: Tensor<2>, x: Tensor<2>) -> Tensor<2> {
    let ([n, columns], [vectors, w]) = (a.dims(), x.dims());
    assert!(n == vectors && w > 0 && columns % w == 0, "batched_matvec: a matrix for each vector");
    Tensor::from_dispatch(Dispatch::fused_batched_matvec(a.into_dispatch(), x.into_dispatch()))
}

/// The sum of two tensors of one shape; on the CPU in the place of one that nobody else holds.
pub fn add<const D: usize>(a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
    assert_eq!(a.dims(), b.dims(), "add: tensors of one shape");
    Tensor::from_dispatch(Dispatch::fused_add(a.into_dispatch(), b.into_dispatch()))
}

/// `x factor`; on the CPU in place where nobody else holds `x`.
///
/// Takes plain tensors, not ones that autodiff follows.
pub fn scale<const D: usize>(x: Tensor<D>, factor: f64) -> Tensor<D> {
    let Some(of_x) = flex::as_flex(&x) else { return x * factor };
    drop(x);
    flex::map_in_place(of_x, |x| cpu::level1::scale(x, factor as f32))
}

/// The backward pass of a scalar `[1]`: the gradients of `scalar.backward()`, where those of a tensor that several operations use are
/// added up in place.
pub fn backward(scalar: &Tensor<1>) -> Gradients {
    flex::backward(scalar)
}

/// Looks tokens up: row `i` of the result is row `ids[i]` of `table`. The backward pass adds up the gradients of
/// repeated ids.
///
/// `table` `[vocabulary, h]`, `ids` `[n]`, result `[n, h]`.
pub fn embed(table: Tensor<2>, ids: &[u32]) -> Tensor<2> {
    gather_rows(table, ids)
}

/// The embeddings of a BERT-like network: `dropout(norm(a[i] + b[j] + c[k]))`, for each token a row of three tables
/// (words, positions, segments). The backward pass adds up the gradients of repeated ids.
///
/// Tables `[size, h]` with `[n]` ids each, `gamma` and `beta` `[h]`, result `[n, h]`. See [`norm`].
pub fn embed_norm(
    tables: [(Tensor<2>, &[u32]); 3],
    gamma: Tensor<1>,
    beta: Tensor<1>,
    eps: f32,
    dropout: Option<Dropout>,
) -> Tensor<2> {
    let n = tables[0].1.len();
    for (table, ids) in &tables {
        assert_eq!(ids.len(), n, "embed_norm: one row of each table for each token");
        check_index("embed_norm", ids, table.dims()[0]);
        check_norm(table, &gamma, &beta);
    }
    let ids = tables.each_ref().map(|(_, ids)| Arc::from(*ids));
    let [a, b, c] = tables.map(|(table, _)| table.into_dispatch());
    let settings = EmbedSettings { ids, eps, dropout };
    let (gamma, beta) = (gamma.into_dispatch(), beta.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused_embed_norm(a, b, c, gamma, beta, settings))
}

/// Picks rows: row `i` of the result is row `index[i]` of `x`. The same row may be picked many times.
///
/// `x` `[n, h]`, `index` `[m]`, result `[m, h]`.
pub fn gather_rows(x: Tensor<2>, index: &[u32]) -> Tensor<2> {
    check_index("gather_rows", index, x.dims()[0]);
    Tensor::from_dispatch(Dispatch::fused_gather_rows(x.into_dispatch(), index.into()))
}

/// [`gather_rows`] from the concatenation of two matrices, which is not made.
///
/// `a` `[n, h]`, `b` `[m, h]`, `index` of numbers below `n + m`, result `[index, h]`.
pub fn gather_rows_concat(a: Tensor<2>, b: Tensor<2>, index: &[u32]) -> Tensor<2> {
    assert_eq!(a.dims()[1], b.dims()[1], "gather_rows_concat: both matrices must be equally wide");
    check_index("gather_rows_concat", index, a.dims()[0] + b.dims()[0]);
    let (a, b) = (a.into_dispatch(), b.into_dispatch());
    Tensor::from_dispatch(Dispatch::fused_gather_rows_concat(a, b, index.into()))
}

/// Undoes [`gather_rows`]: a matrix of `rows` rows, zero but for row `index[i]`, which is row `i` of `x`; rows for one place add up.
///
/// `x` `[m, h]`, `index` `[m]`, result `[rows, h]`. Takes plain tensors, not ones that autodiff follows.
pub fn scatter_add_rows(x: Tensor<2>, index: &[u32], rows: usize) -> Tensor<2> {
    let [m, h] = x.dims();
    assert_eq!(index.len(), m, "scatter_add_rows: one place for each row");
    check_index("scatter_add_rows", index, rows);
    if let Some(x) = flex::as_flex(&x) {
        return flex::scatter_add_rows(&x, index, rows);
    }
    let device = x.device();
    let index: Vec<i64> = index.iter().map(|i| i64::from(*i)).collect();
    let index = Tensor::<1, Int>::from_data(TensorData::new(index, [m]), &device);
    Tensor::zeros([rows, h], &device).select_assign(0, index, x, IndexingUpdateOp::Add)
}

/// The mean of each row's token states; zeros for a row without tokens.
///
/// `x` `[n, h]`, result `[rows, h]`.
pub fn segment_mean(x: Tensor<2>, rows: &RowOffsets) -> Tensor<2> {
    check_rows("segment_mean", rows, x.dims()[0]);
    Tensor::from_dispatch(Dispatch::fused_segment_mean(x.into_dispatch(), rows.clone()))
}

/// Mean cross-entropy of a softmax, as `torch.nn.CrossEntropyLoss(weight, label_smoothing)` computes it:
///
/// `sum_i [(1 - s) w_{y_i} (-log p_{i,y_i}) + s/C sum_c w_c (-log p_{i,c})] / sum_i w_{y_i}`.
///
/// `logits` `[n, C]`, `target` `[n]` of classes below `C`, `weight` `[C]` (1 where not given), `smoothing` `s` in
/// `0..=1`; result `[1]`. Without rows, or when all targets weigh nothing, the loss is 0 (PyTorch: NaN).
pub fn cross_entropy(logits: Tensor<2>, target: &[u32], weight: Option<&[f32]>, smoothing: f32) -> Tensor<1> {
    let [n, classes] = logits.dims();
    assert_eq!(target.len(), n, "cross_entropy: one target for each row of logits");
    assert!(weight.is_none_or(|w| w.len() == classes), "cross_entropy: one weight for each class");
    if let Some(outside) = target.iter().find(|&&t| t as usize >= classes) {
        panic!("cross_entropy: target {outside} is outside the {classes} classes");
    }
    let classes = CrossEntropyTargets { target: target.into(), weight: weight.map(Arc::from), smoothing };
    Tensor::from_dispatch(Dispatch::fused_cross_entropy(logits.into_dispatch(), classes))
}

/// Cross-entropy with a distribution as the target of each row, at a temperature `T`, as a student learns from the answers of a teacher
/// (Hinton, Vinyals and Dean 2015, "Distilling the Knowledge in a Neural Network"):
///
/// `sum_i w_i T^2 sum_c t_ic (-log softmax(z_i / T)_c)`, which is `T^2` times the KL divergence from `t` plus the entropy of `t`. The factor
/// `T^2` keeps the size of gradients where the temperature is another.
///
/// `logits` `[n, C]`, `target` `[n C]` row after row, `weight` `[n]`, `temperature` above 0; result `[1]`, a sum: 0 without rows.
pub fn soft_cross_entropy(
    logits: Tensor<2>,
    target: Vec<f32>,
    weight: Vec<f32>,
    temperature: f32,
) -> Tensor<1> {
    let [n, classes] = logits.dims();
    assert_eq!(target.len(), n * classes, "soft_cross_entropy: a probability for each logit");
    assert_eq!(weight.len(), n, "soft_cross_entropy: a weight for each row of logits");
    let targets = SoftCrossEntropyTargets { target: target.into(), weight: weight.into(), temperature };
    Tensor::from_dispatch(Dispatch::fused_soft_cross_entropy(logits.into_dispatch(), targets))
}

/// The mean [`cross_entropy`] of the logits `x table^T`, which are not held all at once on the CPU: a vocabulary of 150,000 tokens would
/// need gigabytes. `x` `[n, h]`, `table` `[C, h]`, `target` `[n]` below `C`; result `[1]`, 0 for no rows.
pub fn linear_cross_entropy(x: Tensor<2>, table: Tensor<2>, target: &[u32], smoothing: f32) -> Tensor<1> {
    check_targets("linear_cross_entropy", [&x, &table], target);
    let classes = CrossEntropyTargets { target: target.into(), weight: None, smoothing };
    Tensor::from_dispatch(Dispatch::fused_linear_cross_entropy(
        x.into_dispatch(),
        table.into_dispatch(),
        classes,
    ))
}

/// The negative log-likelihood of each row's target in a softmax of the logits `x table^T`, and whether no class has a greater logit. Shapes
/// as in [`linear_cross_entropy`]; without a graph.
pub fn likelihoods(x: Tensor<2>, table: Tensor<2>, target: &[u32]) -> Vec<(f32, bool)> {
    check_targets("likelihoods", [&x, &table], target);
    let h = x.dims()[1];
    let [x, table] = [x, table].map(to_host);
    cpu::cross_entropy::likelihoods(cpu::cross_entropy::States { x: &x, table: &table, h }, target)
}

/// The numbers of a tensor, row after row.
fn to_host(x: Tensor<2>) -> Vec<f32> {
    x.into_data().convert::<f32>().try_into_vec().expect("the tensor is f32 now")
}

fn check_targets(operation: &str, [x, table]: [&Tensor<2>; 2], target: &[u32]) {
    let ([n, h], [classes, width]) = (x.dims(), table.dims());
    assert_eq!(h, width, "{operation}: states as wide as the table");
    assert_eq!(target.len(), n, "{operation}: one target for each row");
    if let Some(outside) = target.iter().find(|&&t| t as usize >= classes) {
        panic!("{operation}: target {outside} is outside the {classes} classes");
    }
}

/// One step of AdamW (Loshchilov and Hutter 2019): returns the new weights and both moments.
///
/// Takes plain tensors, not ones that autodiff follows. On the CPU the step works in place for each of `w`, `m` and
/// `v` whose buffer nobody else holds, and copies it otherwise.
pub fn adamw<const D: usize>(
    step: AdamW,
    w: Tensor<D>,
    g: Tensor<D>,
    m: Tensor<D>,
    v: Tensor<D>,
) -> (Tensor<D>, Tensor<D>, Tensor<D>) {
    let shape = w.dims();
    assert!([g.dims(), m.dims(), v.dims()] == [shape; 3], "adamw: all four tensors must have one shape");
    let (w, m, v) = Dispatch::fused_adamw(
        w.into_dispatch(),
        g.into_dispatch(),
        m.into_dispatch(),
        v.into_dispatch(),
        step,
    );
    (Tensor::from_dispatch(w), Tensor::from_dispatch(m), Tensor::from_dispatch(v))
}

/// [`adamw`] with a gradient that is zero but for some rows of `w`, given by their numbers, rising: the same result.
///
/// `w`, `m` and `v` `[n, h]`, `g` `[rows, h]`.
pub fn adamw_rows(
    step: AdamW,
    w: Tensor<2>,
    (rows, g): (&[u32], Tensor<2>),
    m: Tensor<2>,
    v: Tensor<2>,
) -> (Tensor<2>, Tensor<2>, Tensor<2>) {
    let [n, h] = w.dims();
    assert_eq!(g.dims(), [rows.len(), h], "adamw_rows: a gradient for each of the rows");
    assert!(rows.is_sorted_by(|a, b| a < b), "adamw_rows: rows must rise");
    check_index("adamw_rows", rows, n);
    let on_host = [&w, &g, &m, &v].map(flex::as_flex);
    let [Some(of_w), Some(of_g), Some(of_m), Some(of_v)] = on_host else {
        return adamw(step, w, scatter_add_rows(g, rows, n), m, v);
    };
    // The only handles now: all three are written over.
    drop((w, m, v));
    flex::adamw_rows(step, of_w, (rows, of_g), of_m, of_v)
}

/// The sum of the squares of all elements, for clipping by norm; `[1]`. It stays on the device, because every number that
/// is read waits for all work before it. On the CPU it is accumulated in f64, in an order that does not depend on the
/// threads; elsewhere in the type of `g`.
pub fn squared_norm<const D: usize>(g: &Tensor<D>) -> Tensor<1> {
    Tensor::from_dispatch(Dispatch::fused_squared_norm(g.clone().into_dispatch()))
}

/// The means of `(scale x)^2` over each row, `[n, 1]`, and over each column, `[1, h]`, of `x` `[n, h]`.
///
/// Takes plain tensors, not ones that autodiff follows.
pub fn mean_squares(x: &Tensor<2>, scale: f64) -> [Tensor<2>; 2] {
    if let Some(x) = flex::as_flex(x) {
        return flex::mean_squares(&x, scale as f32);
    }
    let x = x.clone().mul_scalar(scale);
    let squares = x.clone() * x;
    [squares.clone().mean_dim(1), squares.mean_dim(0)]
}

fn check_rows(operation: &str, rows: &RowOffsets, tokens: usize) {
    let fits = rows.first() == Some(&0) && rows.last() == Some(&tokens) && rows.is_sorted();
    assert!(fits, "{operation}: row offsets must rise from 0 to the {tokens} tokens");
}

fn check_index(operation: &str, index: &[u32], rows: usize) {
    if let Some(outside) = index.iter().find(|&&i| i as usize >= rows) {
        panic!("{operation}: index {outside} is outside the {rows} rows");
    }
}

fn check_norm(x: &Tensor<2>, gamma: &Tensor<1>, beta: &Tensor<1>) {
    let [_, h] = x.dims();
    assert_eq!((gamma.dims()[0], beta.dims()[0]), (h, h), "norm: scale and shift must fit the input");
}

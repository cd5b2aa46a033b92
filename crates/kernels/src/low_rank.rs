//! What adapters do to tensors of tokens: low-rank updates, gates over them, scales.

use crate::flex::{self, PackOps};
use burn::backend::Dispatch;
use burn::tensor::Tensor;
use cpu::{AffineGroups, GatedLowRankShape, LowRankGroups, MixtureWeights};
use std::ops::Range;

/// Low-rank updates of groups of rows (Hu et al. 2022, LoRA): `y[rows, columns] + scale (x[rows] A^T) B^T`, with an A and a B
/// for each group.
///
/// `y` `[n, width]`, `x` `[n, in]`; of each group its rows, A `[rank, in]` and B `[columns, rank]`; groups are apart from each
/// other. Result `[n, width]`.
pub fn grouped_low_rank(
    y: Tensor<2>,
    x: Tensor<2>,
    groups: Vec<(Range<usize>, [Tensor<2>; 2])>,
    columns: Range<usize>,
    scale: f32,
) -> Tensor<2> {
    let ([n, width], [rows_of_x, inputs]) = (y.dims(), x.dims());
    assert!(rows_of_x == n && columns.end <= width, "grouped_low_rank: the update must lie in `y`");
    let Some((_, [first, _])) = groups.first() else { return y };
    let rank = first.dims()[0];
    let (mut rows, mut a, mut b) = (Vec::new(), Vec::new(), Vec::new());
    for (range, [of_a, of_b]) in groups {
        let fits = of_a.dims() == [rank, inputs] && of_b.dims() == [columns.len(), rank] && range.end <= n;
        assert!(fits, "grouped_low_rank: the factors of a group must fit");
        rows.push(range);
        a.push(of_a);
        b.push(of_b);
    }
    let (a, b) = (Tensor::cat(a, 0), Tensor::cat(b, 0));
    let groups = LowRankGroups { rows, columns, width, inputs, rank, scale };
    let [y, x, a, b] = [y, x, a, b].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fused_low_rank(y, x, a, b, groups))
}

/// A low-rank update of all rows with several second factors, mixed by a gate for each row (Tian et al. 2024, HydraLoRA):
/// `y[:, columns] + scale sum_k g_k (x A^T) B_k^T` with `g = softmax(x R^T)`.
///
/// `y` `[n, width]`, `x` `[n, in]`, A `[rank, in]`, `router` R `[experts, in]`, `b` `[columns, experts rank]`: the second factors
/// `[columns, rank]` side by side. Result `[n, width]`.
pub fn gated_low_rank(
    y: Tensor<2>,
    x: Tensor<2>,
    [a, router, b]: [Tensor<2>; 3],
    columns: Range<usize>,
    scale: f32,
) -> Tensor<2> {
    let ([n, width], [rows_of_x, inputs]) = (y.dims(), x.dims());
    let ([rank, of_a], [experts, of_router]) = (a.dims(), router.dims());
    assert!(rows_of_x == n && columns.end <= width, "gated_low_rank: the update must lie in `y`");
    let fits = of_a == inputs && of_router == inputs && b.dims() == [columns.len(), experts * rank];
    assert!(fits && rank > 0 && experts > 0 && width > 0, "gated_low_rank: the factors must fit");
    let shape = GatedLowRankShape { columns, width, inputs, rank, experts, scale };
    let [y, x, a, router, b] = [y, x, a, router, b].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fused_gated_low_rank(y, x, a, router, b, shape))
}

/// Scales columns about centers, with a factor for each group of rows: `factor x[rows, columns] + (1 - factor) center`. What is
/// scaled of the output of a linear layer is then its product without the bias, where the bias is the center.
///
/// `x` `[n, width]`; of each group its rows and the factors `[columns]`; groups are apart from each other. The centers of the columns
/// are those of `centers` from an index on; without any they are 0. Result `[n, width]`.
pub fn grouped_scale(
    x: Tensor<2>,
    groups: Vec<(Range<usize>, Tensor<1>)>,
    columns: Range<usize>,
    centers: Option<(Tensor<1>, usize)>,
) -> Tensor<2> {
    let [n, width] = x.dims();
    assert!(columns.end <= width, "grouped_scale: the columns must lie in `x`");
    if groups.is_empty() {
        return x;
    }
    let (mut rows, mut factors) = (Vec::new(), Vec::new());
    for (range, factor) in groups {
        let fits = factor.dims() == [columns.len()] && range.end <= n;
        assert!(fits, "grouped_scale: the factors of a group must fit");
        rows.push(range);
        factors.push(factor.reshape([1, columns.len()]));
    }
    let factor = Tensor::<2>::cat(factors, 0);
    let (centers, centers_from) = centers.unwrap_or_else(|| (Tensor::zeros([columns.len()], &x.device()), 0));
    let fits = centers_from + columns.len() <= centers.dims()[0];
    assert!(fits, "grouped_scale: a center for each of the columns");
    let groups = AffineGroups { rows, columns, width, centers_from };
    let [x, factor] = [x, factor].map(Tensor::into_dispatch);
    Tensor::from_dispatch(Dispatch::fused_grouped_scale(x, factor, centers.into_dispatch(), groups))
}

/// The weights of a mixture for each row: `softmax(logits / temperature)`, or sigmoids over their sum.
///
/// `logits` and result `[n, count]`.
pub fn mixture_weights(logits: Tensor<2>, of: MixtureWeights) -> Tensor<2> {
    Tensor::from_dispatch(Dispatch::fused_mixture_weights(logits.into_dispatch(), of))
}

/// `sum_k weights_k parts_k` of matrices of one shape.
///
/// `weights` `[count]`, `parts` `[count rows, columns]`: the matrices one above the other. Result `[rows, columns]`.
pub fn weighted_mix(weights: Tensor<1>, parts: Tensor<2>) -> Tensor<2> {
    let ([count], [all, _]) = (weights.dims(), parts.dims());
    assert!(count > 0 && all.is_multiple_of(count), "weighted_mix: a matrix for each weight");
    Tensor::from_dispatch(Dispatch::fused_weighted_mix(weights.into_dispatch(), parts.into_dispatch()))
}

/// Each row times a number of its own: `diag(factor) x`.
///
/// `x` `[n, h]`, `factor` `[n]`, result `[n, h]`.
pub fn scale_rows(x: Tensor<2>, factor: Tensor<1>) -> Tensor<2> {
    assert_eq!(factor.dims()[0], x.dims()[0], "scale_rows: a factor for each row");
    Tensor::from_dispatch(Dispatch::fused_scale_rows(x.into_dispatch(), factor.into_dispatch()))
}

/// The Euclidean length of each row of `w + scale b a`, the weight after a low-rank update (Liu et al. 2024, DoRA).
///
/// `w` `[out, in]`, `a` `[rank, in]`, `b` `[out, rank]`, result `[out]`. Takes plain tensors, not ones that autodiff follows.
pub fn low_rank_row_norms(w: &Tensor<2>, [a, b]: [&Tensor<2>; 2], scale: f32) -> Tensor<1> {
    let ([outputs, inputs], [rank, _]) = (w.dims(), a.dims());
    let fits = a.dims() == [rank, inputs] && b.dims() == [outputs, rank];
    assert!(fits, "low_rank_row_norms: the factors must fit the weight");
    if let [Some(w), Some(a), Some(b)] = [w, a, b].map(flex::as_flex) {
        return flex::low_rank_row_norms(&w, [&a, &b], scale);
    }
    let whole = b.clone().matmul(a.clone()) * scale + w.clone();
    (whole.clone() * whole).sum_dim(1).sqrt().reshape([outputs])
}

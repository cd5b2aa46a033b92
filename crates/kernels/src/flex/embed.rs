//! Looking tokens up, picking rows and averaging them.

use super::node::{FusedOp, as_f32_slice, dim, tensor, whole};
use crate::settings::EmbedSettings;
use crate::{RowOffsets, reference};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::{DropoutMask, embed, norm};
use std::sync::Arc;

/// Three tables, `gamma, beta -> dropout(norm(sum of the tables' rows))`
pub(super) struct EmbedNorm {
    norm: norm::Saved,
    gamma: FlexTensor,
    /// Rows of each table.
    sizes: [usize; 3],
    settings: EmbedSettings,
}

impl FusedOp<5> for EmbedNorm {
    type Settings = EmbedSettings;

    fn forward(
        settings: EmbedSettings,
        inputs: [FlexTensor; 5],
        requires_grad: [bool; 5],
    ) -> (FlexTensor, Option<Self>) {
        let [a, b, c, gamma, beta] = inputs;
        let (h, n) = (dim(&gamma, 0), settings.ids[0].len());
        let tables = [&a, &b, &c];
        let sizes = tables.map(|table| dim(table, 0));
        let ids = settings.ids.each_ref().map(|ids| &ids[..]);
        let mut y = embed::add_tables(tables.map(as_f32_slice), ids, h);
        let of =
            norm::Norm { gamma: as_f32_slice(&gamma), beta: Some(as_f32_slice(&beta)), eps: settings.eps };
        let norm = if requires_grad.contains(&true) {
            Some(norm::forward_and_save(&mut y, None, of, None))
        } else {
            norm::forward(&mut y, None, of, None);
            None
        };
        if let Some(mask) = DropoutMask::of(settings.dropout, h) {
            norm::dropout(&mut y, mask);
        }
        (tensor(y, [n, h]), norm.map(|norm| EmbedNorm { norm, gamma, sizes, settings }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 5]) -> [Option<FlexTensor>; 5] {
        let (mut d, h) = (whole(d), dim(&self.gamma, 0));
        if let Some(mask) = DropoutMask::of(self.settings.dropout, h) {
            norm::dropout(d.storage_mut(), mask);
        }
        let gamma = as_f32_slice(&self.gamma);
        let [d_gamma, d_beta] = norm::backward(d.storage_mut(), &self.norm, gamma, norm::Kind::Layer);
        let table = |i: usize| {
            let size = self.sizes[i];
            let gradient = || embed::gather_rows_backward(as_f32_slice(&d), &self.settings.ids[i], size, h);
            requires_grad[i].then(|| tensor(gradient(), [size, h]))
        };
        let sums = [(requires_grad[3], d_gamma), (requires_grad[4], d_beta)];
        let [d_gamma, d_beta] = sums.map(|(requires_grad, sum)| requires_grad.then(|| tensor(sum, [h])));
        [table(0), table(1), table(2), d_gamma, d_beta]
    }

    fn reference<B: Backend>(settings: EmbedSettings, inputs: [FloatTensor<B>; 5]) -> FloatTensor<B> {
        reference::embed_norm::<B>(inputs, &settings)
    }
}

/// `x -> rows of x`
pub(super) struct GatherRows {
    index: Arc<[u32]>,
    shape: [usize; 2],
}

impl FusedOp<1> for GatherRows {
    type Settings = Arc<[u32]>;

    fn forward(
        index: Arc<[u32]>,
        [x]: [FlexTensor; 1],
        requires_grad: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let shape = [dim(&x, 0), dim(&x, 1)];
        let y = tensor(embed::gather_rows(as_f32_slice(&x), &index, shape[1]), [index.len(), shape[1]]);
        (y, requires_grad[0].then_some(GatherRows { index, shape }))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let [n, h] = self.shape;
        [Some(tensor(embed::gather_rows_backward(as_f32_slice(&d), &self.index, n, h), [n, h]))]
    }

    fn reference<B: Backend>(index: Arc<[u32]>, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        reference::gather_rows::<B>(x, &index)
    }
}

/// `a, b -> rows of the concatenation of a and b`
pub(super) struct GatherRowsConcat {
    index: Arc<[u32]>,
    /// Rows of both, and their columns.
    sizes: [usize; 3],
}

impl FusedOp<2> for GatherRowsConcat {
    type Settings = Arc<[u32]>;

    fn forward(
        index: Arc<[u32]>,
        [a, b]: [FlexTensor; 2],
        requires_grad: [bool; 2],
    ) -> (FlexTensor, Option<Self>) {
        let sizes @ [.., h] = [dim(&a, 0), dim(&b, 0), dim(&a, 1)];
        let y = embed::gather_rows_concat([&a, &b].map(as_f32_slice), &index, h);
        let y = tensor(y, [index.len(), h]);
        (y, requires_grad.contains(&true).then_some(GatherRowsConcat { index, sizes }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 2]) -> [Option<FlexTensor>; 2] {
        let [n_a, n_b, h] = self.sizes;
        let mut a = embed::gather_rows_backward(as_f32_slice(&d), &self.index, n_a + n_b, h);
        let b = a.split_off(n_a * h);
        [requires_grad[0].then(|| tensor(a, [n_a, h])), requires_grad[1].then(|| tensor(b, [n_b, h]))]
    }

    fn reference<B: Backend>(index: Arc<[u32]>, [a, b]: [FloatTensor<B>; 2]) -> FloatTensor<B> {
        reference::gather_rows_concat::<B>(a, b, &index)
    }
}

/// `x -> mean of each row's tokens`
pub(super) struct SegmentMean(RowOffsets);

impl FusedOp<1> for SegmentMean {
    type Settings = RowOffsets;

    fn forward(
        rows: RowOffsets,
        [x]: [FlexTensor; 1],
        requires_grad: [bool; 1],
    ) -> (FlexTensor, Option<Self>) {
        let h = dim(&x, 1);
        let y = tensor(embed::segment_mean(as_f32_slice(&x), &rows, h), [rows.len() - 1, h]);
        (y, requires_grad[0].then_some(SegmentMean(rows)))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let (h, n) = (dim(&d, 1), self.0[self.0.len() - 1]);
        [Some(tensor(embed::segment_mean_backward(as_f32_slice(&d), &self.0, h), [n, h]))]
    }

    fn reference<B: Backend>(rows: RowOffsets, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        reference::segment_mean::<B>(x, &rows)
    }
}

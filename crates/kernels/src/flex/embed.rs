//! Looking tokens up, picking rows and averaging them.

use super::node::{Block, dim, numbers, tensor, whole};
use crate::cpu::{embed, norm};
use crate::noise::Mask;
use crate::ops::EmbedSettings;
use crate::{Rows, plain};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use std::sync::Arc;

/// Three tables, `gamma, beta -> dropout(norm(sum of the tables' rows))`
pub(super) struct EmbedNorm {
    norm: norm::Saved,
    gamma: FlexTensor,
    /// Rows of each table.
    sizes: [usize; 3],
    settings: EmbedSettings,
}

impl Block<5> for EmbedNorm {
    type Settings = EmbedSettings;

    fn forward(
        settings: EmbedSettings,
        inputs: [FlexTensor; 5],
        need: [bool; 5],
    ) -> (FlexTensor, Option<Self>) {
        let [a, b, c, gamma, beta] = inputs;
        let (h, n) = (dim(&gamma, 0), settings.ids[0].len());
        let tables = [&a, &b, &c];
        let sizes = tables.map(|table| dim(table, 0));
        let ids = settings.ids.each_ref().map(|ids| &ids[..]);
        let mut y = embed::add_tables(tables.map(numbers), ids, h);
        let of = norm::Norm { gamma: numbers(&gamma), beta: Some(numbers(&beta)), eps: settings.eps };
        let norm = if need.contains(&true) {
            Some(norm::forward_and_save(&mut y, None, of, None))
        } else {
            norm::forward(&mut y, None, of, None);
            None
        };
        if let Some(mask) = Mask::of(settings.noise, h) {
            norm::dropout(&mut y, mask);
        }
        (tensor(y, [n, h]), norm.map(|norm| EmbedNorm { norm, gamma, sizes, settings }))
    }

    fn backward(&self, d: FlexTensor, need: [bool; 5]) -> [Option<FlexTensor>; 5] {
        let (mut d, h) = (whole(d), dim(&self.gamma, 0));
        if let Some(mask) = Mask::of(self.settings.noise, h) {
            norm::dropout(d.storage_mut(), mask);
        }
        let gamma = numbers(&self.gamma);
        let [d_gamma, d_beta] = norm::backward(d.storage_mut(), &self.norm, gamma, norm::Kind::Layer);
        let table = |i: usize| {
            let size = self.sizes[i];
            let gradient = || embed::pick_backward(numbers(&d), &self.settings.ids[i], size, h);
            need[i].then(|| tensor(gradient(), [size, h]))
        };
        let sums = [(need[3], d_gamma), (need[4], d_beta)];
        let [d_gamma, d_beta] = sums.map(|(need, sum)| need.then(|| tensor(sum, [h])));
        [table(0), table(1), table(2), d_gamma, d_beta]
    }

    fn plain<B: Backend>(settings: EmbedSettings, inputs: [FloatTensor<B>; 5]) -> FloatTensor<B> {
        plain::embed_norm::<B>(inputs, &settings)
    }
}

/// `x -> rows of x`
pub(super) struct Pick {
    index: Arc<[u32]>,
    shape: [usize; 2],
}

impl Block<1> for Pick {
    type Settings = Arc<[u32]>;

    fn forward(index: Arc<[u32]>, [x]: [FlexTensor; 1], need: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let shape = [dim(&x, 0), dim(&x, 1)];
        let y = tensor(embed::pick(numbers(&x), &index, shape[1]), [index.len(), shape[1]]);
        (y, need[0].then_some(Pick { index, shape }))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let [n, h] = self.shape;
        [Some(tensor(embed::pick_backward(numbers(&d), &self.index, n, h), [n, h]))]
    }

    fn plain<B: Backend>(index: Arc<[u32]>, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        plain::pick::<B>(x, &index)
    }
}

/// `x -> mean of each row's tokens`
pub(super) struct MeanRows(Rows);

impl Block<1> for MeanRows {
    type Settings = Rows;

    fn forward(rows: Rows, [x]: [FlexTensor; 1], need: [bool; 1]) -> (FlexTensor, Option<Self>) {
        let h = dim(&x, 1);
        let y = tensor(embed::mean_rows(numbers(&x), &rows, h), [rows.len() - 1, h]);
        (y, need[0].then_some(MeanRows(rows)))
    }

    fn backward(&self, d: FlexTensor, _: [bool; 1]) -> [Option<FlexTensor>; 1] {
        let (h, n) = (dim(&d, 1), self.0[self.0.len() - 1]);
        [Some(tensor(embed::mean_rows_backward(numbers(&d), &self.0, h), [n, h]))]
    }

    fn plain<B: Backend>(rows: Rows, [x]: [FloatTensor<B>; 1]) -> FloatTensor<B> {
        plain::mean_rows::<B>(x, &rows)
    }
}

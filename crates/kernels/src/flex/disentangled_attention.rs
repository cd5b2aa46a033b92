//! Disentangled attention: what it saves, and the way back.

use super::node::{FusedOp, as_f32_slice, dim, like};
use crate::settings::AttentionRows;
use crate::{DisentangledSettings, reference};
use burn::backend::{Backend, tensor::FloatTensor};
use burn_flex::FlexTensor;
use cpu::disentangled_attention::{self, DisentangledArgs};
use cpu::{DropoutMask, attention::QkvView};

/// `q, kv, keys, queries -> context`
pub(super) struct DisentangledAttention {
    inputs: [FlexTensor; 4],
    /// Probabilities before dropout, row by row and head by head.
    probabilities: Vec<f32>,
    rows: AttentionRows,
    settings: DisentangledSettings,
}

fn args<'a>(
    [q, kv, keys, queries]: &'a [FlexTensor; 4],
    rows: &'a AttentionRows,
    settings: &'a DisentangledSettings,
) -> DisentangledArgs<'a> {
    let h = dim(q, 1);
    DisentangledArgs {
        q: QkvView { data: as_f32_slice(q), rows: &rows.offsets[0], width: h, column: 0 },
        kv: QkvView { data: as_f32_slice(kv), rows: &rows.offsets[1], width: 2 * h, column: 0 },
        heads: settings.heads,
        h,
        positions: rows.positions.as_deref(),
        tables: [as_f32_slice(keys), as_f32_slice(queries)],
        index: &settings.index,
    }
}

impl FusedOp<4> for DisentangledAttention {
    type Settings = (AttentionRows, DisentangledSettings);

    fn forward(
        (rows, settings): Self::Settings,
        inputs: [FlexTensor; 4],
        requires_grad: [bool; 4],
    ) -> (FlexTensor, Option<Self>) {
        let (y, kept) = disentangled_attention::forward(
            args(&inputs, &rows, &settings),
            DropoutMask::of(settings.dropout, settings.heads),
            requires_grad.contains(&true),
        );
        let y = like(y, &inputs[0]);
        (y, kept.map(|probabilities| DisentangledAttention { inputs, probabilities, rows, settings }))
    }

    fn backward(&self, d: FlexTensor, requires_grad: [bool; 4]) -> [Option<FlexTensor>; 4] {
        let args = args(&self.inputs, &self.rows, &self.settings);
        let mask = DropoutMask::of(self.settings.dropout, self.settings.heads);
        let ([d_q, d_kv], [d_keys, d_queries]) =
            disentangled_attention::backward(as_f32_slice(&d), &self.probabilities, args, mask);
        let mut gradients = [d_q, d_kv, d_keys, d_queries].into_iter();
        std::array::from_fn(|i| {
            let gradient = gradients.next()?;
            requires_grad[i].then(|| like(gradient, &self.inputs[i]))
        })
    }

    fn reference<B: Backend>(
        (rows, settings): Self::Settings,
        inputs: [FloatTensor<B>; 4],
    ) -> FloatTensor<B> {
        reference::disentangled_attention::<B>(inputs, &rows, &settings)
    }
}

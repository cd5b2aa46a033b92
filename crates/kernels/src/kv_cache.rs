//! Keys and values of texts that grow token by token.

use crate::{AttentionSettings, RowOffsets, check_memory, cross_attention, to_host};
use burn::tensor::{Tensor, TensorData};
use cpu::attention::{AttentionArgs, QkvView, forward};
use rayon::prelude::*;
use std::sync::{Arc, Mutex, PoisonError};

/// Keys and values of every layer and text. A text's lie in a buffer of its own, to whose end a token is added: nothing that is there is
/// copied, unless two texts go on from one.
#[derive(Debug, Default)]
pub struct KvCache {
    /// By layer, by text: `[tokens, 2 kv_heads d]`.
    layers: Vec<Mutex<Vec<Arc<Vec<f32>>>>>,
}

impl KvCache {
    /// Of so many layers and texts, without tokens.
    pub fn new(layers: usize, texts: usize) -> Self {
        KvCache { layers: (0..layers).map(|_| Mutex::new(vec![Arc::default(); texts])).collect() }
    }

    /// Goes on with some of the texts: text `i` from text `from[i]`. The others are dropped.
    pub fn select(&mut self, from: &[u32]) {
        for layer in &mut self.layers {
            let texts = layer.get_mut().unwrap_or_else(PoisonError::into_inner);
            *texts = from.iter().map(|text| texts[*text as usize].clone()).collect();
        }
    }

    /// Adds to each text the keys and values `kv` `[n, 2 kv_heads d]` of its new tokens, which `rows` tells, and attends to all of the text
    /// from the queries `q` `[n, h]` of the new tokens. Result `[n, h]`, without a graph. See [`cross_attention`].
    pub fn attend(
        &self,
        layer: usize,
        q: Tensor<2>,
        kv: Tensor<2>,
        rows: &RowOffsets,
        settings: AttentionSettings,
    ) -> Tensor<2> {
        check_memory();
        let ([n, h], device) = (q.dims(), q.device());
        settings.check("KvCache::attend", h);
        let width = settings.kv_width(h);
        let mut texts = self.layers[layer].lock().unwrap_or_else(PoisonError::into_inner);
        assert_eq!(rows.len(), texts.len() + 1, "KvCache::attend: a row of new tokens for each text");
        let first = texts.iter().all(|text| text.is_empty());
        let new = to_host(kv.clone());
        for (text, row) in texts.iter_mut().zip(rows.windows(2)) {
            Arc::make_mut(text).extend_from_slice(&new[row[0] * width..row[1] * width]);
        }
        if first {
            return cross_attention(q, kv, [rows, rows], None, settings);
        }
        let q = to_host(q);
        let of_text = |(text, row): (&Arc<Vec<f32>>, &[usize])| {
            let [queries, keys] = [[0, row[1] - row[0]], [0, text.len() / width]];
            let args = AttentionArgs {
                q: QkvView { data: &q[row[0] * h..row[1] * h], rows: &queries, width: h, column: 0 },
                kv: QkvView { data: text, rows: &keys, width, column: 0 },
                heads: settings.heads,
                kv_heads: settings.kv_heads,
                h,
                window: settings.window,
                scale: settings.scale,
                causal: settings.causal,
                positions: None,
                bias: None,
            };
            forward(args, None, false).0
        };
        let context: Vec<Vec<f32>> = texts.par_iter().zip(rows.par_windows(2)).map(of_text).collect();
        Tensor::from_data(TensorData::new(context.concat(), [n, h]), &device)
    }
}

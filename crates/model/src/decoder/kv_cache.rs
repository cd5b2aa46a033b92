//! The KV cache: keys and values of what is written stay.

use super::{Decoder, Layer};
use crate::cast::to_u32;
use crate::parameters::Parameters;
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use kernels::{AttentionSettings, RowOffsets};

/// Keys and values of texts that are being written: `hypotheses` of them, all of one length.
#[derive(Debug, Clone)]
pub struct KvCache {
    layers: Vec<LayerKvCache>,
    /// The encoder's rows.
    rows: RowOffsets,
    /// Which of them each hypothesis reads.
    sources: Vec<u32>,
    /// Tokens of each hypothesis.
    length: usize,
}

/// Keys and values of a layer.
#[derive(Debug, Clone)]
struct LayerKvCache {
    /// Of the encoder's states, `[n, 2 attention_dim]`.
    encoder: Tensor<2>,
    /// The same for each hypothesis, in rows end to end.
    read: Tensor<2>,
    /// Of the hypotheses' tokens, `[hypotheses length, 2 attention_dim]`; `None` before the first.
    own: Option<Tensor<2>>,
}

impl Decoder {
    /// [`super::Generator::start`]
    pub(super) fn start_cache(
        &self,
        parameters: &Parameters,
        states: &Tensor<2>,
        rows: &RowOffsets,
    ) -> KvCache {
        let context = LayerContext::plain(parameters, self.precision, None);
        let keys = |layer: &Layer| layer.cross_attention.keys_and_values(&context, states.clone());
        let kept = |encoder: Tensor<2>| LayerKvCache { read: encoder.clone(), encoder, own: None };
        KvCache {
            layers: self.layers.iter().map(|layer| kept(keys(layer))).collect(),
            sources: (0..to_u32(rows.len().saturating_sub(1))).collect(),
            rows: rows.clone(),
            length: 0,
        }
    }

    /// [`super::Generator::step`]
    pub(super) fn step_cached(
        &self,
        parameters: &Parameters,
        cache: &mut KvCache,
        (from, ids): (&[u32], &[u32]),
        start: Option<Tensor<2>>,
    ) -> Tensor<2> {
        let s = &self.settings.blocks;
        let context = LayerContext::plain(parameters, self.precision, None);
        let n = ids.len();
        let reordered = cache.reorder(from);
        let one: RowOffsets = (0..=n).collect();
        let own: RowOffsets = (0..=n).map(|i| i * cache.length).collect();
        let read = cache.source_offsets();
        let distance = cache.length.max(1) - 1;
        let bias = self.settings.buckets.bias(parameters, self.relative_position_bias, distance);
        let settings = |causal| AttentionSettings { causal, ..AttentionSettings::new(s.heads) };
        let mut x = self.embed(parameters, (ids, &one), start.filter(|_| cache.length == 1));
        for (layer, kept) in self.layers.iter().zip(&mut cache.layers) {
            let Layer { self_attention, cross_attention, feed_forward } = layer;
            let normed = self_attention.pre_norm(&context, x.clone(), s);
            let new = self_attention.keys_and_values(&context, normed.clone());
            let kv = kept.append(new, &reordered);
            let q = self_attention.queries(&context, normed);
            let attended =
                kernels::relative_attention(q, kv, bias.clone(), [&one, &own], None, settings(true));
            x = self_attention.output_projection(&context, x, attended, None, None);
            let q = self.cross_queries(layer, &context, x.clone());
            let kv = kept.read.clone();
            let attended = kernels::cross_attention(q, kv, [&one, &read], None, settings(false));
            x = cross_attention.output_projection(&context, x, attended, None, None);
            x = feed_forward.run(&context, x, s, [None, None]);
        }
        self.lm_head(&context, x, self.last_site())
    }
}

impl KvCache {
    /// Goes on from some of the texts, which are then one token longer. Gives the indices of their keys among those that were
    /// kept, each followed by that of the new token behind them.
    fn reorder(&mut self, from: &[u32]) -> Vec<u32> {
        let sources: Vec<u32> = from.iter().map(|text| self.sources[*text as usize]).collect();
        let kept = self.sources.len() * if self.length == 0 { 0 } else { self.length };
        if sources != self.sources {
            let tokens: Vec<u32> = sources.iter().flat_map(|row| self.tokens_of(*row)).collect();
            self.layers
                .iter_mut()
                .for_each(|layer| layer.read = kernels::gather_rows(layer.encoder.clone(), &tokens));
            self.sources = sources;
        }
        let length = self.length;
        self.length += 1;
        let of = |(i, text): (usize, &u32)| {
            let begin = *text as usize * length;
            (begin..begin + length).chain([kept + i]).map(to_u32)
        };
        from.iter().enumerate().flat_map(of).collect()
    }

    fn tokens_of(&self, row: u32) -> std::ops::Range<u32> {
        to_u32(self.rows[row as usize])..to_u32(self.rows[row as usize + 1])
    }

    /// Where each text's keys of the encoder begin.
    fn source_offsets(&self) -> RowOffsets {
        kernels::offsets_from_lengths(self.sources.iter().map(|row| self.tokens_of(*row).len()))
    }
}

impl LayerKvCache {
    /// Adds the keys and values of a token of each text; `index` are those of all, text by text.
    fn append(&mut self, new: Tensor<2>, index: &[u32]) -> Tensor<2> {
        let all = match self.own.take() {
            Some(own) => kernels::gather_rows_concat(own, new, index),
            None => new,
        };
        self.own = Some(all.clone());
        all
    }
}

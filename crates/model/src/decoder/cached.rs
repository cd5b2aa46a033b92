//! Writing one token after the other: keys and values of what is written stay.

use super::{Decoder, Layer};
use crate::parameters::Parameters;
use burn::tensor::Tensor;
use kernels::{AttentionSettings, Rows};

/// What a decoder remembers of texts that are being written: `hypotheses` of them, all of one length.
#[derive(Debug, Clone)]
pub struct Cache {
    layers: Vec<Kept>,
    /// The encoder's rows.
    rows: Rows,
    /// Which of them each hypothesis reads.
    sources: Vec<u32>,
    /// Tokens of each hypothesis.
    length: usize,
}

/// Keys and values of a layer.
#[derive(Debug, Clone)]
struct Kept {
    /// Of the encoder's states, `[n, 2 inner]`.
    encoder: Tensor<2>,
    /// The same for each hypothesis, in rows end to end.
    read: Tensor<2>,
    /// Of the hypotheses' tokens, `[hypotheses length, 2 inner]`; `None` before the first.
    own: Option<Tensor<2>>,
}

impl Decoder {
    /// Begins a text for each row of the encoder's states, `[n, hidden]` in `rows`.
    pub fn begin(&self, parameters: &Parameters, states: &Tensor<2>, rows: &Rows) -> Cache {
        let keys = |layer: &Layer| layer.cross.keys(parameters, states.clone(), &self.settings.blocks);
        let kept = |encoder: Tensor<2>| Kept { read: encoder.clone(), encoder, own: None };
        Cache {
            layers: self.layers.iter().map(|layer| kept(keys(layer))).collect(),
            sources: (0..rows.len().saturating_sub(1) as u32).collect(),
            rows: rows.clone(),
            length: 0,
        }
    }

    /// Adds a token to texts and scores what may follow, `[texts, vocabulary]`. Text `i` goes on from text `from[i]` of the step
    /// before (of the first step: it reads row `from[i]`) with token `ids[i]`; texts that nobody goes on from are dropped.
    /// `start` is as in [`Decoder::scores`].
    pub fn next(
        &self,
        parameters: &Parameters,
        cache: &mut Cache,
        from: &[u32],
        ids: &[u32],
        start: Option<Tensor<2>>,
    ) -> Tensor<2> {
        let s = &self.settings.blocks;
        let n = ids.len();
        let before = cache.follow(from);
        let one: Rows = (0..=n).collect();
        let own: Rows = (0..=n).map(|i| i * cache.length).collect();
        let read: Rows = cache.rows_read();
        let bias = self.settings.buckets.bias(parameters, self.distances, cache.length.max(1) - 1);
        let settings = |causal| AttentionSettings { heads: s.heads, causal, noise: None };
        let mut x = self.looked_up(parameters, (ids, &one), start.filter(|_| cache.length == 1));
        for (layer, kept) in self.layers.iter().zip(&mut cache.layers) {
            let normed = layer.own.normed(parameters, x.clone(), s);
            let new = layer.own.keys(parameters, normed.clone(), s);
            let kv = kept.append(new, &before);
            let q = layer.own.queries(parameters, normed, s);
            let found = kernels::relative_attention(q, kv, bias.clone(), [&one, &own], settings(true));
            x = layer.own.end(parameters, x, found, s, None);
            let q = self.cross_queries(layer, parameters, x.clone());
            let found = kernels::cross_attention(q, kept.read.clone(), [&one, &read], settings(false));
            x = layer.cross.end(parameters, x, found, s, None);
            x = layer.feed_forward.run(parameters, x, s, [None, None]);
        }
        self.scores_of(parameters, x, None)
    }
}

impl Cache {
    /// Goes on from some of the texts, which are then one token longer. Gives the places of their keys among those that were
    /// kept, each followed by that of the new token behind them.
    fn follow(&mut self, from: &[u32]) -> Vec<u32> {
        let sources: Vec<u32> = from.iter().map(|text| self.sources[*text as usize]).collect();
        let kept = self.sources.len() * if self.length == 0 { 0 } else { self.length };
        if sources != self.sources {
            let tokens: Vec<u32> = sources.iter().flat_map(|row| self.tokens_of(*row)).collect();
            self.layers
                .iter_mut()
                .for_each(|layer| layer.read = kernels::pick(layer.encoder.clone(), &tokens));
            self.sources = sources;
        }
        let length = self.length;
        self.length += 1;
        let of = |(i, text): (usize, &u32)| {
            let begin = *text as usize * length;
            (begin..begin + length).chain([kept + i]).map(|at| at as u32)
        };
        from.iter().enumerate().flat_map(of).collect()
    }

    fn tokens_of(&self, row: u32) -> std::ops::Range<u32> {
        self.rows[row as usize] as u32..self.rows[row as usize + 1] as u32
    }

    /// Where each text's keys of the encoder begin.
    fn rows_read(&self) -> Rows {
        kernels::rows_of(self.sources.iter().map(|row| self.tokens_of(*row).len()))
    }
}

impl Kept {
    /// Adds the keys and values of a token of each text; `places` are those of all, text by text.
    fn append(&mut self, new: Tensor<2>, places: &[u32]) -> Tensor<2> {
        let all = match self.own.take() {
            Some(own) => kernels::pick(Tensor::cat(vec![own, new], 0), places),
            None => new,
        };
        self.own = Some(all.clone());
        all
    }
}

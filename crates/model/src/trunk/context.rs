//! What a layer computes with: the only way from a layer to a weight.
//!
//! Everything that is not the network's own business passes here: the precision of products, dropout as a function of seed,
//! site and position, and what the sharing scheme adds at a site.

use super::TrunkPass;
use super::feed_forward::{Activation, FeedForwardId, LinearId};
use super::input::{EncoderInput, PackOffset, TokenSelection};
use super::inserted_rows;
use super::lanes::{Lane, Lanes};
use crate::calibration::InputGrams;
use crate::cast::to_u32;
use crate::parameters::{MatrixId, Parameters, VectorId, Weight};
use crate::sharing::{Half, Hard, Map, Sharing, Site, WeightCopies};
use burn::tensor::Tensor;
use kernels::{Dropout, KvCache, Precision, RowOffsets};
use std::borrow::Cow;
use std::cell::RefCell;
use std::ops::Range;

/// Keys and values with a prefix before those of each sequence.
pub struct Prefixed {
    /// `[n + length sequences, 2 h]`
    pub kv: Tensor<2>,
    /// The offsets of the sequences among them.
    pub offsets: RowOffsets,
    /// How many stand before those of a sequence.
    pub length: usize,
}

/// What a layer computes with: see the module.
pub struct LayerContext<'a> {
    parameters: &'a Parameters,
    sharing: &'a dyn Sharing,
    lanes: Lanes,
    precision: Precision,
    dropout_seed: Option<u64>,
    /// The seed of noise other than dropout, which frozen layers have too.
    noise_seed: Option<u64>,
    progress: f64,
    share: f64,
    cache: Option<&'a KvCache>,
    /// Who listens to the inputs of linear layers.
    grams: Option<&'a InputGrams>,
    offset: PackOffset,
    dataset_embedding: Option<MatrixId>,
    /// The task whose own weights stand for the backbone's.
    weights_of: Option<String>,
    /// What is added to the output of the feed-forward half.
    beside: Option<Tensor<2>>,
    /// What a network computes once for a run of layers: [`LayerContext::once`].
    memo: RefCell<Option<Tensor<2>>>,
}

impl<'a> LayerContext<'a> {
    /// Of a network that no sharing scheme touches. With `dropout_seed` there is dropout.
    pub fn plain(parameters: &'a Parameters, precision: Precision, dropout_seed: Option<u64>) -> Self {
        LayerContext {
            parameters,
            sharing: &Hard,
            lanes: Lanes::default(),
            precision,
            dropout_seed,
            noise_seed: None,
            progress: 1.0,
            share: 0.0,
            cache: None,
            grams: None,
            offset: PackOffset::default(),
            dataset_embedding: None,
            weights_of: None,
            beside: None,
            memo: RefCell::new(None),
        }
    }

    /// Of some layers of a trunk in a pass.
    pub(super) fn of_trunk(
        self,
        pass: &TrunkPass<'a>,
        sharing: &'a dyn Sharing,
        dataset_embedding: Option<MatrixId>,
    ) -> Self {
        let TrunkPass { lanes, progress, share, dropout_seed, cache, grams, .. } = *pass;
        let (lanes, offset) = (lanes.clone(), pass.input.offset);
        LayerContext {
            sharing,
            lanes,
            offset,
            dataset_embedding,
            progress,
            share,
            cache,
            grams,
            noise_seed: dropout_seed,
            ..self
        }
    }

    /// The same for selected tokens alone.
    pub fn select(&self, selection: &TokenSelection<'_>) -> LayerContext<'a> {
        LayerContext { lanes: self.lanes.select(selection.tokens), offset: selection.offset, ..self.copy() }
    }

    /// The same with the weights that a task has for itself.
    pub(super) fn with_weights_of(&self, task: &str) -> LayerContext<'a> {
        LayerContext { weights_of: Some(task.into()), ..self.copy() }
    }

    /// The same for the tokens of one lane, with its own weights.
    pub(super) fn of_lane(&self, task: &str, offset: PackOffset) -> LayerContext<'a> {
        LayerContext {
            weights_of: Some(task.into()),
            lanes: Lanes::default(),
            offset,
            beside: None,
            memo: RefCell::new(None),
            ..self.copy()
        }
    }

    /// The same for some rows of a table in the place of tokens, with the updates of a task where it has any.
    pub fn of_table(&self, task: Option<&str>, rows: Range<usize>) -> LayerContext<'a> {
        let lanes = Lanes::new(task.map(|task| (task.to_owned(), rows.len())));
        LayerContext {
            lanes,
            offset: PackOffset { tokens: rows.start, ..PackOffset::default() },
            ..self.copy()
        }
    }

    /// Whether the sharing scheme changes what one of some maps of a layer gives.
    pub fn hooks(&self, layer: usize, maps: &[Map]) -> bool {
        maps.iter().any(|map| self.site(Some(layer), *map).is_some())
    }

    /// The same for tokens that come after so much of the pack, and are in no lane.
    pub(super) fn at(&self, offset: PackOffset) -> LayerContext<'a> {
        LayerContext { offset, lanes: Lanes::default(), ..self.copy() }
    }

    /// The same with something that is added to the output of the feed-forward half.
    pub(super) fn with_beside(&self, beside: Option<Tensor<2>>) -> LayerContext<'a> {
        LayerContext { beside, ..self.copy() }
    }

    fn copy(&self) -> LayerContext<'a> {
        LayerContext {
            lanes: self.lanes.clone(),
            weights_of: self.weights_of.clone(),
            beside: self.beside.clone(),
            memo: RefCell::new(self.memo.borrow().clone()),
            ..*self
        }
    }

    /// The table that weights are looked up in.
    pub fn parameters(&self) -> &'a Parameters {
        self.parameters
    }

    /// The lanes of the tokens.
    pub fn lanes(&self) -> &Lanes {
        &self.lanes
    }

    /// What `of` makes of the tokens of each task by themselves, put together again: of `x` `[n, in]`, in the lanes. `of` gets the task,
    /// or `None` where all tokens are one, with `shared`; what it gives no result for gets zeros. `None` without any result.
    pub fn by_task(
        &self,
        x: Tensor<2>,
        shared: bool,
        of: impl Fn(Option<String>, Tensor<2>) -> Option<Tensor<2>>,
    ) -> Option<Tensor<2>> {
        if shared {
            return of(None, x);
        }
        let part = |lane: &Lane| {
            let own = kernels::take_rows(x.clone(), lane.tokens.clone());
            (lane.tokens.len(), of(Some(lane.task.clone()), own))
        };
        let parts: Vec<(usize, Option<Tensor<2>>)> = self.lanes.iter().map(part).collect();
        let width = parts.iter().find_map(|(_, found)| Some(found.as_ref()?.dims()[1]))?;
        let zeros = |rows: usize| Tensor::zeros([rows, width], &x.device());
        let parts = parts.into_iter().map(|(rows, found)| found.unwrap_or_else(|| zeros(rows)));
        Some(Tensor::cat(parts.collect(), 0))
    }

    /// What of the pack comes before the tokens.
    pub(super) fn offset(&self) -> PackOffset {
        self.offset
    }

    /// A matrix: the task's own, where the tokens go through the layer with weights of a task.
    pub fn matrix(&self, id: MatrixId) -> Tensor<2> {
        let own = self.own_weights().and_then(|(task, own)| own.matrix(task, id, self.parameters));
        own.unwrap_or_else(|| self.parameters.matrix(id))
    }

    /// The vectors `[tokens, width]` of tokens in a table.
    pub fn token_vectors(&self, table: MatrixId, ids: &[u32]) -> Tensor<2> {
        self.parameters.rows_of(self.weight(table), table, ids, self.precision)
    }

    /// A table with the vectors of tokens, and the row of each: of a packed table, and of one that is a product, a new one that has these
    /// vectors alone.
    pub fn token_table<'b>(&self, table: MatrixId, ids: &'b [u32]) -> (Tensor<2>, Cow<'b, [u32]>) {
        match self.weight(table) {
            Weight::Dense(vectors) => (vectors, self.parameters.local_row_indices(table, ids)),
            other => {
                let vectors = self.parameters.rows_of(other, table, ids, self.precision);
                (vectors, (0..to_u32(ids.len())).collect())
            }
        }
    }

    /// A matrix as it is in memory, as [`LayerContext::matrix`].
    fn weight(&self, id: MatrixId) -> Weight {
        let own = self.own_weights().and_then(|(task, own)| own.matrix(task, id, self.parameters));
        own.map_or_else(|| self.parameters.weight(id), Weight::Dense)
    }

    /// A vector, as [`LayerContext::matrix`].
    pub fn vector(&self, id: VectorId) -> Tensor<1> {
        let own = self.own_weights().and_then(|(task, own)| own.vector(task, id, self.parameters));
        own.unwrap_or_else(|| self.parameters.vector(id))
    }

    /// The task whose weights stand for the backbone's, and these.
    fn own_weights(&self) -> Option<(&str, &WeightCopies)> {
        Some((self.weights_of.as_deref()?, self.sharing.copies()?))
    }

    /// The numbers that large products are made of.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Dropout of token states at a site: every site of a network has a number of its own.
    pub fn dropout(&self, rate: f32, site: u64) -> Option<Dropout> {
        dropout(rate, self.dropout_seed, site, self.offset.tokens)
    }

    /// Dropout of attention probabilities at a site.
    pub fn attention_dropout(&self, rate: f32, site: u64) -> Option<Dropout> {
        dropout(rate, self.dropout_seed, site, self.offset.scores)
    }

    /// A seed of noise that a sharing scheme draws at a site; `None` outside of training.
    pub fn noise_seed(&self, site: u64) -> Option<u64> {
        Some(site_seed(self.noise_seed?, !site))
    }

    /// Keys and values of what comes before the tokens in their texts ([`TrunkPass::cache`]).
    pub fn cache(&self) -> Option<&'a KvCache> {
        self.cache
    }

    /// How much of the training lies behind, 0 to 1; 1 outside of it.
    pub fn progress(&self) -> f64 {
        self.progress
    }

    /// What losses that a sharing scheme adds are multiplied by: the share of the step that the tokens are; 0 outside of training.
    pub fn share(&self) -> f64 {
        self.share
    }

    /// Keys and values `kv` `[n, 2 h]` of an attention, with those of the sharing scheme's prefixes before those of each sequence, and the
    /// offsets of the longer sequences; `None` where the layer has no prefixes.
    pub fn with_prefixes(&self, layer: usize, kv: &Tensor<2>, offsets: &RowOffsets) -> Option<Prefixed> {
        let of = |task: Option<&str>| self.sharing.prefix(layer, task, self);
        let (kv, offsets, length) = inserted_rows::insert(self, kv.clone(), offsets, of)?;
        Some(Prefixed { kv, offsets, length })
    }

    /// Whether [`LayerContext::with_prefixes`] changes the keys and values of a layer.
    pub fn has_prefixes(&self, layer: usize) -> bool {
        let task = self.lanes.iter().next().map(|lane| lane.task.as_str());
        self.sharing.prefix(layer, task, self).is_some()
    }

    /// Dropout of attention probabilities whose keys have `length` more before those of each sequence.
    pub fn prefixed_dropout(&self, rate: f32, site: u64, length: usize) -> Option<Dropout> {
        dropout(rate, self.dropout_seed, site, self.offset.scores + length * self.offset.tokens)
    }

    /// What `make` gives, computed once for all layers that this context is passed to.
    pub fn once(&self, make: impl FnOnce() -> Tensor<2>) -> Tensor<2> {
        self.memo.borrow_mut().get_or_insert_with(make).clone()
    }

    /// The vectors of the tokens' corpora `[tokens, hidden]`, where corpora have any.
    pub fn dataset_vectors(&self, input: &EncoderInput<'_>) -> Option<Tensor<2>> {
        let table = self.dataset_embedding?;
        Some(kernels::gather_rows(self.matrix(table), input.datasets))
    }

    /// A linear layer `x w^T + b`: `x` `[n, in]`, result `[n, out]`. `layer` is the layer of the encoder that it is in; `None` where no
    /// sharing scheme may touch it. `maps` says what the rows of the weight are, in equal parts one after the other: queries, keys
    /// and values may be one product.
    pub fn linear(&self, layer: Option<usize>, maps: &[Map], x: Tensor<2>, w: LinearId) -> Tensor<2> {
        let (weight, bias) = self.linear_weights(w);
        let x = self.enter(layer, maps, x);
        self.record(w, &x, 1.0);
        let y = weight.linear(x.clone(), bias, self.precision);
        self.adapt(layer, maps, x, y)
    }

    /// A product with a weight that a sharing scheme has, without bias: `x` `[n, in]`, `weight` `[out, in]`, result `[n, out]`.
    pub fn product(&self, x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
        let zeros = Tensor::zeros([weight.dims()[0]], &weight.device());
        kernels::linear(x, weight, zeros, self.precision)
    }

    /// As [`LayerContext::linear`] with the rows `rows` of the weight alone; `maps` are those of these rows.
    pub fn linear_part(
        &self,
        layer: Option<usize>,
        maps: &[Map],
        x: Tensor<2>,
        w: LinearId,
        rows: Range<usize>,
    ) -> Tensor<2> {
        let (weight, bias) = self.linear_weights(w);
        let x = self.enter(layer, maps, x);
        self.record(w, &x, rows.len() as f64 / weight.dims()[0].max(1) as f64);
        let y = weight.linear_rows(x.clone(), bias, rows, self.precision);
        self.adapt(layer, maps, x, y)
    }

    /// A feed-forward block: `x` `[n, hidden]`, result `[n, hidden]`. `inside` is the dropout after the activation. One fused
    /// operation where no sharing scheme touches it.
    pub fn feed_forward(
        &self,
        layer: Option<usize>,
        x: Tensor<2>,
        w: &FeedForwardId,
        inside: Option<Dropout>,
    ) -> Tensor<2> {
        if let Some(y) = layer.and_then(|layer| self.sharing.feed_forward(layer, self, &x, w)) {
            return y;
        }
        let hooked = [Map::FfnIn, Map::FfnOut].into_iter().any(|map| self.site(layer, map).is_some());
        if w.activation == Activation::Gelu && !hooked && inside.is_none() && self.grams.is_none() {
            let ((w1, b1), (w2, b2)) = (self.linear_weights(w.ffn_in), self.linear_weights(w.ffn_out));
            match (w1, w2) {
                (Weight::Dense(w1), Weight::Dense(w2)) => {
                    return kernels::ffn(x, w1, b1, w2, b2, self.precision);
                }
                (Weight::Packed(w1), w2) => {
                    let active = kernels::packed_linear_gelu(x, &w1, b1, self.precision);
                    return w2.linear(active, b2, self.precision);
                }
                _ => {}
            }
        }
        let maps: &[Map] = match w.activation {
            Activation::GluOfHalves(_) => &[Map::FfnIn, Map::FfnGate],
            _ => &[Map::FfnIn],
        };
        let inner = self.linear(layer, maps, x.clone(), w.ffn_in);
        let gate = w.gate.map(|gate| self.linear(layer, &[Map::FfnGate], x, gate));
        let active = w.activation.apply(inner, gate);
        self.linear(layer, &[Map::FfnOut], kernels::dropout(active, inside), w.ffn_out)
    }

    /// The output `y` `[n, hidden]` of a half of a layer of the encoder, whose maps had the input `x` `[n, hidden]`, before it is added to
    /// the states; and the dropout that is still to be applied to it. The sharing scheme may change it; dropout comes before.
    pub fn after_half(
        &self,
        layer: Option<usize>,
        half: Half,
        x: &Tensor<2>,
        y: Tensor<2>,
        dropout: Option<Dropout>,
    ) -> (Tensor<2>, Option<Dropout>) {
        let hooked = layer.filter(|layer| self.sharing.hooks_half(*layer, half));
        let beside = self.beside.as_ref().filter(|_| layer.is_some() && half == Half::FeedForward);
        if hooked.is_none() && beside.is_none() {
            return (y, dropout);
        }
        let mut y = kernels::dropout(y, dropout);
        if let Some(layer) = hooked {
            y = self.sharing.after_half(layer, half, self, x, y);
        }
        if let Some(beside) = beside {
            y = kernels::add(y, beside.clone());
        }
        (y, None)
    }

    /// Tells who listens what a linear layer reads; `share` is the part of its rows that is computed.
    fn record(&self, w: LinearId, x: &Tensor<2>, share: f64) {
        if let Some(grams) = self.grams {
            grams.add(w.weight, x, share);
        }
    }

    fn linear_weights(&self, w: LinearId) -> (Weight, Tensor<1>) {
        let weight = self.weight(w.weight);
        let bias = match w.bias {
            Some(bias) => self.vector(bias),
            None => Tensor::zeros([weight.dims()[0]], self.parameters.device()),
        };
        (weight, bias)
    }

    /// The place of a map, if the sharing scheme changes what it gives.
    fn site(&self, layer: Option<usize>, map: Map) -> Option<Site> {
        layer.map(|layer| Site { layer, map }).filter(|site| self.sharing.hooks(*site))
    }

    /// What the sharing scheme makes of the input of a linear layer that is one map.
    fn enter(&self, layer: Option<usize>, maps: &[Map], x: Tensor<2>) -> Tensor<2> {
        match maps {
            [map] => match self.site(layer, *map) {
                Some(site) => self.sharing.input(site, self, x),
                None => x,
            },
            _ => x,
        }
    }

    /// What the sharing scheme makes of the output `y` of a linear layer on `x`.
    fn adapt(&self, layer: Option<usize>, maps: &[Map], x: Tensor<2>, mut y: Tensor<2>) -> Tensor<2> {
        let width = y.dims()[1] / maps.len().max(1);
        for (part, map) in maps.iter().enumerate() {
            if let Some(site) = self.site(layer, *map) {
                y = self.sharing.linear(site, self, &x, y, part * width..(part + 1) * width);
            }
        }
        y
    }
}

/// The dropout of one site, `offset` rows into its tensor: none without a seed or a rate; sites of one step get seeds that have
/// nothing in common.
fn dropout(rate: f32, seed: Option<u64>, site: u64, offset: usize) -> Option<Dropout> {
    let seed = seed.filter(|_| rate > 0.0)?;
    Some(Dropout::new(rate, site_seed(seed, site)).with_offset(offset))
}

/// The (site + 1)-th number of the SplitMix64 sequence that the seed starts.
fn site_seed(seed: u64, site: u64) -> u64 {
    kernels::splitmix(seed.wrapping_add(site.wrapping_mul(0x9E37_79B9_7F4A_7C15)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sites_and_seeds_have_their_own_dropout() {
        let seeds: Vec<u64> = [(1, 0), (1, 1), (2, 0), (2, 1)]
            .iter()
            .map(|&(s, site)| dropout(0.1, Some(s), site, 0).unwrap().seed)
            .collect();
        for (i, a) in seeds.iter().enumerate() {
            assert!(seeds[i + 1..].iter().all(|b| a != b));
        }
        assert!(dropout(0.0, Some(1), 0, 0).is_none() && dropout(0.1, None, 0, 0).is_none());
    }
}

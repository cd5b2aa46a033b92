//! What a layer computes with: the only way from a layer to a weight.
//!
//! Everything that is not the network's own business passes here: the precision of products, dropout as a function of seed,
//! site and position, and what the sharing scheme adds at a site.

use super::input::{EncoderInput, PackOffset, TokenSelection};
use super::lanes::Lanes;
use crate::parameters::{MatrixId, Parameters, VectorId};
use crate::sharing::{Hard, Map, Sharing, Site};
use burn::tensor::Tensor;
use kernels::{Dropout, Precision};
use std::cell::RefCell;
use std::ops::Range;

/// The weights of a linear layer.
#[derive(Debug, Clone, Copy)]
pub struct LinearId {
    /// `[out, in]`
    pub weight: MatrixId,
    /// `[out]`; `None` for a layer without.
    pub bias: Option<VectorId>,
}

/// The activation between the two linear layers of a feed-forward block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// The exact GELU.
    Gelu,
    /// The tanh approximation of the GELU, times the gate.
    GegluTanh,
    /// ReLU.
    Relu,
}

/// The weights of a feed-forward block.
#[derive(Debug, Clone, Copy)]
pub struct FeedForwardId {
    /// `[ffn, hidden]`
    pub ffn_in: LinearId,
    /// `[ffn, hidden]`, for [`Activation::GegluTanh`].
    pub gate: Option<LinearId>,
    /// `[hidden, ffn]`
    pub ffn_out: LinearId,
    /// Between them.
    pub activation: Activation,
}

/// What a layer computes with: see the module.
pub struct LayerContext<'a> {
    parameters: &'a Parameters,
    sharing: &'a dyn Sharing,
    lanes: Lanes,
    precision: Precision,
    dropout_seed: Option<u64>,
    offset: PackOffset,
    dataset_embedding: Option<MatrixId>,
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
            offset: PackOffset::default(),
            dataset_embedding: None,
            memo: RefCell::new(None),
        }
    }

    /// Of some layers of a trunk.
    pub(super) fn of_trunk(
        plain: Self,
        sharing: &'a dyn Sharing,
        lanes: &Lanes,
        offset: PackOffset,
        dataset_embedding: Option<MatrixId>,
    ) -> Self {
        LayerContext { sharing, lanes: lanes.clone(), offset, dataset_embedding, ..plain }
    }

    /// The same for selected tokens alone.
    pub fn select(&self, selection: &TokenSelection<'_>) -> LayerContext<'a> {
        LayerContext {
            lanes: self.lanes.select(selection.tokens),
            offset: selection.offset,
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

    /// A matrix.
    pub fn matrix(&self, id: MatrixId) -> Tensor<2> {
        self.parameters.matrix(id)
    }

    /// A vector.
    pub fn vector(&self, id: VectorId) -> Tensor<1> {
        self.parameters.vector(id)
    }

    /// Dropout of token states at a site: every site of a network has a number of its own.
    pub fn dropout(&self, rate: f32, site: u64) -> Option<Dropout> {
        dropout(rate, self.dropout_seed, site, self.offset.tokens)
    }

    /// Dropout of attention probabilities at a site.
    pub fn attention_dropout(&self, rate: f32, site: u64) -> Option<Dropout> {
        dropout(rate, self.dropout_seed, site, self.offset.scores)
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
        let y = kernels::linear(x.clone(), weight, bias, self.precision);
        self.adapt(layer, maps, x, y)
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
        let y = kernels::linear_rows(x.clone(), weight, bias, rows, self.precision);
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
        let hooked = [Map::FfnIn, Map::FfnOut].into_iter().any(|map| self.site(layer, map).is_some());
        if w.activation == Activation::Gelu && !hooked && inside.is_none() {
            let ((w1, b1), (w2, b2)) = (self.linear_weights(w.ffn_in), self.linear_weights(w.ffn_out));
            return kernels::ffn(x, w1, b1, w2, b2, self.precision);
        }
        let inner = self.linear(layer, &[Map::FfnIn], x.clone(), w.ffn_in);
        let active = match (w.activation, w.gate) {
            (Activation::Gelu, _) => kernels::gelu(inner),
            (Activation::GegluTanh, Some(gate)) => {
                kernels::geglu_tanh(inner, self.linear(layer, &[Map::FfnGate], x, gate))
            }
            (Activation::GegluTanh, None) => unreachable!("a gated block has a gate"),
            (Activation::Relu, _) => kernels::relu(inner),
        };
        self.linear(layer, &[Map::FfnOut], kernels::dropout(active, inside), w.ffn_out)
    }

    fn linear_weights(&self, w: LinearId) -> (Tensor<2>, Tensor<1>) {
        let weight = self.matrix(w.weight);
        let bias = match w.bias {
            Some(bias) => self.vector(bias),
            None => Tensor::zeros([weight.dims()[0]], &weight.device()),
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
    // The (site + 1)-th number of the SplitMix64 sequence that the seed starts.
    let seed = kernels::splitmix(seed.wrapping_add(site.wrapping_mul(0x9E37_79B9_7F4A_7C15)));
    Some(Dropout::new(rate, seed).with_offset(offset))
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

//! Low-rank factorization: matrices of a trained network as products of two smaller ones, which are trained further as any other.
//!
//! [`factorizable`] says which matrices there are, [`low_rank`] finds the factors of one, and [`Parameters::factorize`] puts them in its place.
//! Queries, keys and values that are one matrix stay one: they have their own rows of the first factor, and share the second.

pub mod low_rank;
#[cfg(test)]
mod tests;

use crate::parameters::{Parameters, Role};
use crate::sharing::Map;
use crate::trunk::Trunk;

/// What a matrix is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetworkPart {
    /// The table of token vectors.
    Embeddings,
    /// Queries, keys, values, or the map out of the attention.
    Attention,
    /// A map of the feed-forward part.
    FeedForward,
}

impl NetworkPart {
    /// Its name, as in options.
    pub const fn name(self) -> &'static str {
        match self {
            NetworkPart::Embeddings => "embeddings",
            NetworkPart::Attention => "attention",
            NetworkPart::FeedForward => "ffn",
        }
    }
}

/// A matrix that can be factorized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Factorizable {
    /// Its index in the table of parameters.
    pub index: usize,
    /// What it is part of.
    pub part: NetworkPart,
    /// The layer; of several that have the same weights the first; `None` of the token table.
    pub layer: Option<usize>,
    /// Rows and columns.
    pub shape: [usize; 2],
}

impl Factorizable {
    /// The rank with which two factors have at most `share` of the numbers of the matrix: at least 1, and a multiple of 8 from 64 on, so
    /// that products fill vector instructions.
    pub fn rank_of(&self, share: f64) -> usize {
        let [rows, columns] = self.shape;
        let most = share * (rows * columns) as f64 / (rows + columns) as f64;
        // What is no size that there is becomes one.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let rank = (most as usize).clamp(1, rows.min(columns));
        if rank >= 64 { rank / 8 * 8 } else { rank }
    }
}

/// The matrices of a trunk that can be factorized: the token table, and the linear maps of its layers, in their order.
pub fn factorizable(trunk: &Trunk, parameters: &Parameters) -> Vec<Factorizable> {
    let spec = trunk.spec();
    let is_there = |index: usize| {
        let parameter = parameters.parameter(index);
        spec.names.entries().iter().any(|entry| entry.name == parameter.name)
            && matches!(parameter.role, Role::Linear | Role::Embedding)
            && parameters.second_factor(index).is_none()
            && parameter.shape().len() == 2
    };
    let mut found: Vec<Factorizable> = Vec::new();
    let mut add = |index: usize, part: NetworkPart, layer: Option<usize>| {
        if is_there(index) && found.iter().all(|one| one.index != index) {
            let shape = parameters.shape(index);
            found.push(Factorizable { index, part, layer, shape: [shape[0], shape[1]] });
        }
    };
    add(spec.token_embedding.index(), NetworkPart::Embeddings, None);
    for (layer, sites) in spec.layers.iter().enumerate() {
        for site in sites {
            let part = match site.map {
                Map::Query | Map::Key | Map::Value | Map::AttentionOutput => NetworkPart::Attention,
                Map::FfnIn | Map::FfnGate | Map::FfnOut => NetworkPart::FeedForward,
            };
            add(site.weight.index(), part, Some(layer));
        }
    }
    found
}

//! Structured pruning: whole layers, key-value groups of attention heads and columns of feed-forward parts are taken out of a network,
//! so that what is left is a smaller network of the same sort, with fewer operations and a config.json that transformers opens.
//!
//! A *gate* is a number that a structure's output is multiplied by: 1 in the network as it is, 0 where the structure is gone. The
//! derivative of a loss by a gate is the sum over the weights that make the structure's output of weight times gradient; its size is the
//! first-order Taylor importance of the structure (Michel et al. 2019, "Are sixteen heads really better than one?"; Molchanov et al. 2019,
//! "Importance estimation for neural network pruning"). [`gates`] says which weights these are.

mod cut;
mod selection;
mod width;

pub use cut::{Cut, cut, cut_weights};
pub(crate) use selection::CutTensors;
pub use selection::CutWeights;
pub use width::{StateGate, StateWidth, WidthOfHeads};

use crate::cast::to_usize;
use crate::sharing::Map;
use crate::trunk::Trunk;

/// Which sizes of a network can be made smaller so that its config.json can say so, and what stands in the way of others.
#[derive(Debug, Clone, Copy)]
pub struct CuttableSizes {
    /// The key of config.json with the columns inside feed-forward parts, the same in all layers.
    pub ffn: Result<&'static str, &'static str>,
    /// The heads, whose number `num_attention_heads`, `num_key_value_heads` and `head_dim` say.
    pub heads: Result<HeadSizes, &'static str>,
    /// The width of states.
    pub hidden: Result<StateWidth, &'static str>,
    /// Layers.
    pub layers: Result<(), &'static str>,
    /// Whether the first layer is made otherwise than the others, so that it stays.
    pub first_layer_stays: bool,
}

impl CuttableSizes {
    /// Of a network of which nothing can be cut, for a reason.
    pub(crate) const fn none(reason: &'static str) -> Self {
        CuttableSizes {
            ffn: Err(reason),
            heads: Err(reason),
            hidden: Err(reason),
            layers: Err(reason),
            first_layer_stays: false,
        }
    }

    /// Of a network whose heads are as wide as its states allow.
    pub(crate) const fn ffn_alone(key: &'static str) -> Self {
        const REASON: &str = "config.json has no size of a head: transformers takes hidden_size / num_attention_heads for it, \
                              so that fewer heads would be wider ones; they can be cut with the width of states, by `prune --hidden`";
        const WIDTH: &str = "of the architectures, those of BERT with embeddings as wide as states and layers of their own, and Llama and its \
                             relatives without scaled embeddings, are cut in their width";
        let heads = Err(REASON);
        CuttableSizes { ffn: Ok(key), heads, hidden: Err(WIDTH), layers: Ok(()), first_layer_stays: false }
    }

    /// The heads, where they can be cut, by themselves or with the width of states.
    pub fn heads_of_any(&self) -> Option<HeadSizes> {
        let following = self.hidden.ok().and_then(|hidden| match hidden.of_heads {
            WidthOfHeads::Follow(_, heads) => Some(heads),
            WidthOfHeads::Free(_) => None,
        });
        self.heads.ok().or(following)
    }
}

/// The attention heads of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadSizes {
    /// Heads of queries.
    pub heads: usize,
    /// Heads of keys and values; each serves `heads / kv_heads` heads of queries, and goes with them.
    pub kv_heads: usize,
    /// Columns of a head.
    pub head_dim: usize,
    /// The number that transformers wants to be a multiple of the heads of queries, if it does.
    pub divide: Option<usize>,
}

impl HeadSizes {
    /// Heads of queries that a head of keys and values serves.
    pub fn heads_per_group(&self) -> usize {
        self.heads / self.kv_heads
    }

    /// How many groups are a share of them: the nearest number, at least one.
    pub fn kept(&self, share: f64) -> usize {
        to_usize((self.kv_heads as f64 * share).round()).clamp(1, self.kv_heads)
    }

    /// The number of groups that a share is; or, where transformers would not open what is left, why, with the shares that it takes.
    ///
    /// # Errors
    /// The reason.
    pub fn checked(&self, share: f64) -> Result<usize, String> {
        let (left, possible) = (self.kept(share), self.group_counts());
        if possible.contains(&left) {
            return Ok(left);
        }
        let shares = possible.iter().map(|groups| format!("{:.3}", *groups as f64 / self.kv_heads as f64));
        Err(format!(
            "{} heads would stay, and transformers wants their number to divide the width of a state; expected one of {}",
            left * self.heads_per_group(),
            shares.collect::<Vec<_>>().join(", ")
        ))
    }

    /// How many groups transformers opens: all numbers up to those that there are which it takes.
    pub fn group_counts(&self) -> Vec<usize> {
        let is_taken = |groups: &usize| {
            self.divide.is_none_or(|width| width.is_multiple_of(groups * self.heads_per_group()))
        };
        (1..=self.kv_heads).filter(is_taken).collect()
    }
}

/// From so many columns on their number is a multiple of [`MULTIPLE`], which products are fast for.
const MANY: usize = 64;
const MULTIPLE: usize = 8;

/// How many columns are a share of them: from 64 columns on a multiple of 8, at least one.
pub fn kept_columns(count: usize, share: f64) -> usize {
    if share >= 1.0 {
        return count;
    }
    let unit = if count >= MANY { MULTIPLE } else { 1 };
    let units = to_usize((count as f64 * share / unit as f64).round());
    (units * unit).clamp(unit.min(count), count)
}

/// The gates of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerGates {
    /// Of the columns inside the feed-forward part; `None` where they cannot be cut.
    pub ffn: Option<ColumnGates>,
    /// Of the groups of heads; `None` where they cannot be cut.
    pub heads: Option<ColumnGates>,
    /// The parameters whose sum of (offset + weight) times gradient is the derivative by a gate of everything that the layer adds to the
    /// states: index, offset.
    pub layer: Vec<(usize, f64)>,
}

/// Structures whose outputs are made by columns of one matrix `[out, count width]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ColumnGates {
    /// The index of the matrix.
    pub parameter: usize,
    /// How many structures there are.
    pub count: usize,
    /// How many columns each has, one after the other.
    pub width: usize,
}

impl ColumnGates {
    /// The derivative of a loss by each gate: the sum of weight times gradient over the structure's columns. `weights` and `gradient` are those
    /// of the matrix.
    pub fn derivatives(&self, weights: &[f32], gradient: &[f32]) -> Vec<f64> {
        let columns = self.count * self.width;
        let mut sums = vec![0.0; columns];
        for (weights, gradient) in weights.chunks(columns).zip(gradient.chunks(columns)) {
            for ((sum, weight), gradient) in sums.iter_mut().zip(weights).zip(gradient) {
                *sum += f64::from(*weight) * f64::from(*gradient);
            }
        }
        sums.chunks(self.width).map(|columns| columns.iter().sum()).collect()
    }
}

/// The gates of every layer of a trunk.
pub fn gates(trunk: &Trunk) -> Vec<LayerGates> {
    let (backbone, sizes) = (trunk.backbone(), trunk.cuttable());
    let sites = backbone.spec().layers.iter().enumerate();
    let of_layer = |(index, sites): (usize, &Vec<crate::sharing::SiteWeight>)| {
        let columns = |map: Map, count: Option<usize>| {
            let site = sites.iter().find(|site| site.map == map)?;
            let count = count.unwrap_or(site.inputs);
            Some(ColumnGates { parameter: site.weight.index(), count, width: site.inputs / count })
        };
        LayerGates {
            ffn: sizes.ffn.ok().and_then(|_| columns(Map::FfnOut, None)),
            heads: sizes.heads_of_any().and_then(|heads| columns(Map::AttentionOutput, Some(heads.kv_heads))),
            layer: backbone.layer_gate(index),
        }
    };
    sites.map(of_layer).collect()
}

/// What the gates of the dimensions of a trunk's states are made of; nothing where the width cannot be cut.
pub fn state_gates(trunk: &Trunk) -> Vec<StateGate> {
    trunk.cuttable().hidden.map_or_else(|_| Vec::new(), |_| trunk.backbone().state_gates())
}

impl Trunk {
    /// Which sizes of the backbone can be made smaller.
    pub fn cuttable(&self) -> CuttableSizes {
        self.backbone().cuttable()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_columns_stay_by_eights() {
        let found = [(1536, 0.5), (100, 0.5), (10, 0.25), (100, 1.0), (64, 0.001), (3, 0.001)];
        assert_eq!(found.map(|(count, share)| kept_columns(count, share)), [768, 48, 3, 100, 8, 1]);
    }

    #[test]
    fn rows_and_columns_become_zeros() {
        let cut = CutWeights { parameter: 0, rows: vec![1], columns: vec![0, 2] };
        let mut values: Vec<f32> = (1..10).map(|value| value as f32).collect();
        cut.zero(&mut values, 3);
        assert_eq!(values, [0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 8.0, 0.0]);
    }
}

//! The width of states: dimensions that are cut out of everything that reads or writes states.

use super::HeadSizes;
use super::cut::{gone, not_cut, remove_rows};
use super::selection::Removed;
use crate::backbones::Backbone;
use crate::error::ModelError;
use crate::parameters::{Parameters, Role};
use crate::sharing::Map;
use std::collections::BTreeSet;

/// The width of states of a network that can be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StateWidth {
    /// The key of config.json.
    pub key: &'static str,
    /// The width.
    pub width: usize,
    /// What it is a multiple of.
    pub of_heads: WidthOfHeads,
}

/// How a width goes with attention heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WidthOfHeads {
    /// It does not: config.json has the size of a head by itself, under `head_dim`.
    Free(HeadSizes),
    /// It is that of all heads side by side, so that whole heads are cut with it: the key of their number, and they.
    Follow(&'static str, HeadSizes),
}

impl StateWidth {
    /// How many heads stay with a width; `None` where these do not follow it.
    ///
    /// # Errors
    /// Why the network cannot have this width, with those near it that it can; `groups` of heads stay where these do not follow.
    pub fn checked(&self, width: usize, groups: Option<usize>) -> Result<Option<usize>, String> {
        let (step, why) = match self.of_heads {
            WidthOfHeads::Follow(_, heads) => {
                (heads.head_dim, "whole heads are cut with it, and transformers takes hidden_size / num_attention_heads for their size".into())
            }
            WidthOfHeads::Free(heads) => {
                let left = heads.heads_per_group() * groups.unwrap_or(heads.kv_heads);
                match heads.divide {
                    Some(_) => (left, format!("transformers wants it to be a multiple of the {left} heads")),
                    None => (1, String::new()),
                }
            }
        };
        if (1..=self.width).contains(&width) && width.is_multiple_of(step) {
            return Ok(matches!(self.of_heads, WidthOfHeads::Follow(..)).then_some(width / step));
        }
        match step {
            1 => Err(format!("expected 1 to {}, the width of a state", self.width)),
            _ => Err(format!("expected a multiple of {step} up to {}: {why}", self.width)),
        }
    }
}

/// Numbers of a parameter that write states: those whose product with their gradient is part of the derivative of a loss by numbers that
/// the dimensions of states are multiplied by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StateGate {
    /// The parameter's index.
    pub parameter: usize,
    /// What is added to each of its numbers.
    pub offset: f64,
    /// Whether a column of it writes a dimension, and not a row (of a vector a number).
    pub by_column: bool,
}

impl StateGate {
    /// A matrix or vector of which a row writes a dimension.
    pub(crate) fn rows(parameter: usize, offset: f64) -> Self {
        StateGate { parameter, offset, by_column: false }
    }

    /// A table of which a column writes a dimension.
    pub(crate) fn columns(parameter: usize) -> Self {
        StateGate { parameter, offset: 0.0, by_column: true }
    }

    /// Adds to `sums`, a number for each dimension, its part of the derivatives. `weights` and `gradient` are of as many rows.
    pub fn add_derivatives(&self, weights: &[f32], gradient: &[f32], sums: &mut [f64]) {
        let per_row = weights.len() / sums.len().max(1);
        for (at, (weight, gradient)) in weights.iter().zip(gradient).enumerate() {
            let dimension = if self.by_column { at % sums.len() } else { at / per_row.max(1) };
            sums[dimension] += (self.offset + f64::from(*weight)) * f64::from(*gradient);
        }
    }
}

/// Removes all but some dimensions of the states.
pub(super) fn remove_width(
    backbone: &dyn Backbone,
    parameters: &Parameters,
    kept: &[usize],
    removed: &mut Removed,
) -> Result<(), ModelError> {
    let spec = backbone.spec();
    let dimensions = || gone(kept, spec.hidden);
    let mut done: BTreeSet<usize> = backbone.of_a_head().into_iter().collect();
    for site in spec.layers.iter().flatten() {
        done.extend([Some(site.weight.index()), site.bias.map(|bias| bias.index())].into_iter().flatten());
        match site.map {
            Map::AttentionOutput | Map::FfnOut => remove_rows(site, dimensions(), removed),
            Map::Query | Map::Key | Map::Value | Map::FfnIn | Map::FfnGate => {
                removed.columns(site.weight.index(), dimensions());
            }
        }
    }
    for entry in spec.names.entries() {
        let index = parameters.find(&entry.name).expect("its network made the parameters in this table");
        if done.contains(&index) {
            continue;
        }
        let (parameter, shape) = (parameters.parameter(index), parameters.shape(index));
        match (parameter.role, &shape[..]) {
            (Role::Embedding, [_, width]) if *width == spec.hidden => removed.columns(index, dimensions()),
            (Role::Norm | Role::NormShift, [width]) if *width == spec.hidden => {
                removed.rows(index, dimensions())
            }
            _ => {
                return Err(not_cut(
                    "hidden",
                    format!("{} {shape:?} does not go by the width of a state", entry.name),
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_checked() {
        let heads = HeadSizes { heads: 12, kv_heads: 12, head_dim: 32, divide: None };
        let bert = StateWidth {
            key: "hidden_size",
            width: 384,
            of_heads: WidthOfHeads::Follow("num_attention_heads", heads),
        };
        assert_eq!(bert.checked(320, None), Ok(Some(10)));
        assert!(bert.checked(300, None).unwrap_err().contains("a multiple of 32 up to 384"));
        assert!(bert.checked(416, None).is_err() && bert.checked(0, None).is_err());
        let heads = HeadSizes { heads: 4, kv_heads: 2, head_dim: 8, divide: Some(32) };
        let free = StateWidth { width: 32, of_heads: WidthOfHeads::Free(heads), ..bert };
        assert_eq!((free.checked(28, None), free.checked(30, Some(1))), (Ok(None), Ok(None)));
        assert!(free.checked(30, None).unwrap_err().contains("4 heads"));
        let none = StateWidth { of_heads: WidthOfHeads::Free(HeadSizes { divide: None, ..heads }), ..free };
        assert_eq!(none.checked(29, None), Ok(None));
        assert!(none.checked(33, None).unwrap_err().contains("1 to 32"));
    }

    #[test]
    fn derivatives_are_sums_of_rows_or_columns() {
        let (weights, gradient) = ([1.0, 2.0, 3.0, 4.0], [1.0, 1.0, 10.0, 10.0]);
        let mut sums = [0.0; 2];
        StateGate::rows(0, 0.0).add_derivatives(&weights, &gradient, &mut sums);
        assert_eq!(sums, [3.0, 70.0]);
        StateGate::columns(0).add_derivatives(&weights, &gradient, &mut sums);
        assert_eq!(sums, [34.0, 112.0]);
        let mut sums = [0.0; 2];
        StateGate::rows(0, 1.0).add_derivatives(&[0.5, 2.0], &[2.0, 1.0], &mut sums);
        assert_eq!(sums, [3.0, 3.0]);
    }
}

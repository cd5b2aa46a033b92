//! The trunk in parts, for a pack whose graph memory has no room for.
//!
//! Some sequences at a time go through it, twice: first without a graph, for the states of the whole pack, from which the heads
//! work as ever; then, when the gradient of these states is known, with one, which is used up before the next part begins (Gao et
//! al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"). Dropout draws for a part what it draws for
//! it in the whole, so that losses are the same numbers, and gradients the same sums, added up part by part. It costs one pass forward.

use crate::{gradients::Gradients, job::Model};
use burn::tensor::Tensor;
use data::Pack;
use kernels::Rows;
use model::{Before, Parameters, Read, Tokens};
use std::ops::Range;

/// How far up the trunk a pass goes.
pub(crate) enum End {
    /// To what enters the last layer.
    LastLayer,
    /// All the way, for all tokens.
    All,
    /// All the way, for the tokens that are read.
    Read {
        /// Their places in the pack, rising.
        tokens: Vec<u32>,
        /// Where each sequence begins among them, and their number.
        sequences: Rows,
    },
}

/// A pack that goes through the trunk in parts.
pub(crate) struct Parts<'m> {
    model: &'m Model,
    pack: Pack,
    /// For each token the vector of its corpus; empty where corpora have none.
    corpora: Vec<u32>,
    /// The states below the trained part of the backbone, where they are known.
    below: Option<Tensor<2>>,
    noise_seed: Option<u64>,
    end: End,
    /// The sequences of each part.
    of: Vec<Range<usize>>,
}

impl<'m> Parts<'m> {
    /// Parts of at most `most` tokens, but of one sequence at least.
    pub(crate) fn new(
        model: &'m Model,
        pack: &Pack,
        below: Option<Tensor<2>>,
        noise_seed: Option<u64>,
        end: End,
        most: usize,
    ) -> Self {
        let of = cut(&pack.sequences, most);
        let corpora = model.corpora_of(pack);
        Parts { model, pack: pack.clone(), corpora, below, noise_seed, end, of }
    }

    /// The states of all parts, at the beginning of a graph.
    pub(crate) fn states(&self, parameters: &Parameters) -> Tensor<2> {
        let parameters = parameters.inference();
        let states = self.of.iter().filter_map(|part| self.run(&parameters, part)).collect();
        Tensor::cat(states, 0).autodiff().require_grad()
    }

    /// Adds the gradient over the trunk to `into`, by that of the states.
    pub(crate) fn backward(&self, parameters: &Parameters, d_states: &Tensor<2>, into: &mut Gradients) {
        let (mut at, h) = (0, d_states.dims()[1]);
        for part in &self.of {
            let Some(states) = self.run(parameters, part) else { continue };
            let own = at..at + states.dims()[0];
            at = own.end;
            if !states.is_require_grad() && !states.is_tracked() {
                continue; // All of it is frozen.
            }
            let d = d_states.clone().slice([own, 0..h]).autodiff();
            into.add(Gradients::backward((states * d).sum(), parameters));
        }
    }

    /// The states of a part; `None` where none of its tokens is read.
    fn run(&self, parameters: &Parameters, part: &Range<usize>) -> Option<Tensor<2>> {
        let (pack, backbone, seed) = (&self.pack, &self.model.backbone, self.noise_seed);
        let all = &pack.sequences;
        let own = all[part.start]..all[part.end];
        let rows = from_zero(all, part);
        let tokens = Tokens {
            ids: &pack.ids[own.clone()],
            positions: &pack.positions[own.clone()],
            segments: &pack.segments[own.clone()],
            rows: &rows,
            corpora: self.corpora.get(own.clone()).unwrap_or_default(),
            before: Before { tokens: own.start, pairs: pairs([all, all], part.start) },
        };
        let read = match &self.end {
            End::LastLayer | End::All => None,
            End::Read { tokens, sequences } => {
                let of_part = sequences[part.start]..sequences[part.end];
                let places = tokens[of_part.clone()].iter().map(|token| token - own.start as u32);
                let before = Before { tokens: of_part.start, pairs: pairs([sequences, all], part.start) };
                Some((places.collect::<Vec<u32>>(), from_zero(sequences, part), before))
            }
        };
        if read.as_ref().is_some_and(|(places, ..)| places.is_empty()) {
            return None;
        }
        let below = match &self.below {
            Some(below) => below.clone().slice([own, 0..below.dims()[1]]),
            None => backbone.lower(parameters, tokens, seed),
        };
        let states = backbone.middle(parameters, below, tokens, seed);
        let read = read.as_ref().map(|(tokens, rows, before)| Read { tokens, rows, before: *before });
        Some(match self.end {
            End::LastLayer => states,
            End::All | End::Read { .. } => backbone.last(parameters, states, tokens, read, seed),
        })
    }
}

/// Ranges of sequences of at most `most` tokens each, one sequence at least.
fn cut(bounds: &[usize], most: usize) -> Vec<Range<usize>> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    for sequence in 0..bounds.len() - 1 {
        if sequence > begin && bounds[sequence + 1] - bounds[begin] > most {
            parts.push(begin..sequence);
            begin = sequence;
        }
    }
    parts.push(begin..bounds.len() - 1);
    parts
}

/// The bounds of a part, counted from its beginning.
fn from_zero(bounds: &[usize], part: &Range<usize>) -> Rows {
    bounds[part.start..=part.end].iter().map(|bound| bound - bounds[part.start]).collect()
}

/// How many pairs of a query and a key there are in the sequences before number `end`; bounds of queries, and of keys.
fn pairs([queries, keys]: [&[usize]; 2], end: usize) -> usize {
    let length = |bounds: &[usize], sequence: usize| bounds[sequence + 1] - bounds[sequence];
    (0..end).map(|sequence| length(queries, sequence) * length(keys, sequence)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_hold_what_fits_and_one_sequence_at_least() {
        assert_eq!(cut(&[0, 3, 5, 9, 10], 5), [0..2, 2..4]);
        assert_eq!(cut(&[0, 3, 5, 9, 10], 1), [0..1, 1..2, 2..3, 3..4]);
        assert_eq!(cut(&[0, 3, 5, 9, 10], 10).first(), Some(&(0..4)));
    }

    #[test]
    fn pairs_are_counted_sequence_by_sequence() {
        assert_eq!(pairs([&[0, 3, 5], &[0, 3, 5]], 2), 9 + 4);
        assert_eq!(pairs([&[0, 1, 3], &[0, 3, 5]], 1), 3);
    }
}

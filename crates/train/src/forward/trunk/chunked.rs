//! A pass whose graph is not kept: a pack goes through the trunk chunk by chunk where its graph would exceed the memory limit, or layer
//! by layer with activation checkpointing, or both.
//!
//! Each chunk of sequences goes through the trunk twice: first without a graph, for the states of the whole pack, on which the heads
//! work as ever; then, when the gradient of these states is known, with one, which is used up before the next chunk begins (Gao et
//! al. 2021, "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup"). With activation checkpointing the second
//! time only the inputs of the layers are kept, and one layer after the other has a graph, from the last to the first (Chen et
//! al. 2016, "Training deep nets with sublinear memory cost"). Dropout is a function of the position in the pack, so that losses
//! are the same numbers; the gradients of chunks are the same sums in another order. Both cost one pass forward.

use super::PassInput;
use crate::{gradients::Gradients, job::Model};
use burn::tensor::Tensor;
use data::Pack;
use kernels::RowOffsets;
use model::{EncoderInput, Lanes, PackOffset, Parameters, TokenSelection, TrunkPass};
use std::ops::Range;

/// Which states a pass gives.
pub(crate) enum OutputSelection {
    /// Those that enter the last layer.
    BelowLastLayer,
    /// Those of the whole trunk, of all tokens.
    All,
    /// Those of the whole trunk, of selected tokens.
    Tokens {
        /// Their indices in the pack, rising.
        tokens: Vec<u32>,
        /// Where each sequence begins among them, and their number.
        sequences: RowOffsets,
    },
}

/// A pass in chunks.
pub(crate) struct ChunkedForward<'m> {
    model: &'m Model,
    pack: Pack,
    lanes: Lanes,
    /// For each token its row of the dataset embedding; empty where there is none.
    datasets: Vec<u32>,
    /// States out of the frozen prefix, where they are known.
    below: Option<Tensor<2>>,
    dropout_seed: Option<u64>,
    progress: f64,
    share: f64,
    output: OutputSelection,
    /// The sequences of each chunk.
    chunks: Vec<Range<usize>>,
}

/// One chunk, laid out as the trunk reads it.
struct Chunk<'a> {
    input: EncoderInput<'a>,
    lanes: &'a Lanes,
    below: Option<Tensor<2>>,
    selection: Option<TokenSelection<'a>>,
}

impl<'m> ChunkedForward<'m> {
    /// Chunks of at most `most` tokens, but of one sequence at least.
    pub(crate) fn new(of: &PassInput<'m, '_, '_>, output: OutputSelection, most: usize) -> Self {
        let pack = (*of.work.pack).clone();
        ChunkedForward {
            model: of.model,
            lanes: of.work.lanes.clone(),
            datasets: of.model.datasets_of(&pack),
            below: of.below.clone(),
            dropout_seed: of.dropout_seed,
            progress: of.progress,
            share: of.share,
            output,
            chunks: chunks(&pack.sequences, most),
            pack,
        }
    }

    /// The states of all chunks; at the beginning of a graph where the parameters are differentiated.
    pub(crate) fn states(&self, parameters: &Parameters) -> Tensor<2> {
        let differentiates = parameters.device().is_autodiff();
        let parameters = parameters.inference();
        let run = |chunk: &Range<usize>| self.with_chunk(chunk, |chunk| self.run(&parameters, &chunk));
        let states = self.chunks.iter().filter_map(run).collect();
        let states = Tensor::cat(states, 0);
        if differentiates { states.autodiff().require_grad() } else { states }
    }

    /// Adds the gradient over the trunk to `into`, by that of the states.
    pub(crate) fn backward(&self, parameters: &Parameters, d_states: &Tensor<2>, into: &mut Gradients) {
        let (mut end, h) = (0, d_states.dims()[1]);
        for chunk in &self.chunks {
            self.with_chunk(chunk, |chunk| {
                let states = match &chunk.selection {
                    Some(selection) => selection.tokens.len(),
                    None => chunk.input.ids.len(),
                };
                let own = end..end + states;
                end = own.end;
                let d = d_states.clone().slice([own, 0..h]);
                if self.model.trunk.activation_checkpointing() {
                    self.backward_by_layer(parameters, &chunk, d, into);
                    return;
                }
                let states = self.run(parameters, &chunk);
                if states.is_require_grad() || states.is_tracked() {
                    into.add(Gradients::backward((states * d.autodiff()).sum(), parameters));
                }
            });
        }
    }

    /// One layer after the other, from the last to the first: each has a graph of its own, from the states that entered it.
    fn backward_by_layer(
        &self,
        parameters: &Parameters,
        chunk: &Chunk<'_>,
        d: Tensor<2>,
        into: &mut Gradients,
    ) {
        let trunk = &self.model.trunk;
        let inference = parameters.inference();
        let (plain, pass) = (self.pass(&inference, chunk), self.pass(parameters, chunk));
        let below = self.below_of(chunk, &plain);
        let layers = trunk.middle_layers();
        let mut inputs = vec![below];
        for layer in layers.clone() {
            let x = inputs[inputs.len() - 1].clone();
            inputs.push(trunk.run(&plain, layer..layer + 1, x));
        }
        let mut d = d;
        let mut back = |input: Tensor<2>, run: &dyn Fn(Tensor<2>) -> Tensor<2>| {
            let input = input.autodiff().require_grad();
            let sum = (run(input.clone()) * d.clone().autodiff()).sum();
            let (gradients, d_input) = Gradients::backward_to(sum, parameters, Some(&input));
            into.add(gradients);
            if let Some(d_input) = d_input {
                d = d_input;
            }
        };
        if let (Some(top), false) = (inputs.pop(), matches!(self.output, OutputSelection::BelowLastLayer)) {
            back(top, &|x| trunk.last(&pass, x, chunk.selection.as_ref()));
        }
        for layer in layers.rev() {
            if let Some(input) = inputs.pop() {
                back(input, &|x| trunk.run(&pass, layer..layer + 1, x));
            }
        }
        let trained_below = |p: &model::Parameter| p.trainable && p.is_in_prefix(trunk.middle_layers().start);
        if chunk.below.is_none() && parameters.iter().any(trained_below) {
            let states = trunk.lower(&pass);
            if states.is_require_grad() || states.is_tracked() {
                into.add(Gradients::backward((states * d.autodiff()).sum(), parameters));
            }
        }
    }

    /// The states of a chunk.
    fn run(&self, parameters: &Parameters, chunk: &Chunk<'_>) -> Tensor<2> {
        let (trunk, pass) = (&self.model.trunk, self.pass(parameters, chunk));
        let states = trunk.middle(&pass, self.below_of(chunk, &pass));
        match self.output {
            OutputSelection::BelowLastLayer => states,
            OutputSelection::All | OutputSelection::Tokens { .. } => {
                trunk.last(&pass, states, chunk.selection.as_ref())
            }
        }
    }

    /// The states out of the frozen prefix, on the device of the pass: known ones come on the differentiable device.
    fn below_of(&self, chunk: &Chunk<'_>, pass: &TrunkPass<'_>) -> Tensor<2> {
        match &chunk.below {
            Some(below) if pass.parameters.device().is_autodiff() => below.clone(),
            Some(below) => below.clone().inner(),
            None => self.model.trunk.lower(pass),
        }
    }

    fn pass<'a>(&self, parameters: &'a Parameters, chunk: &Chunk<'a>) -> TrunkPass<'a> {
        let of_pack = chunk.input.ids.len() as f64 / self.pack.tokens().max(1) as f64;
        TrunkPass {
            parameters,
            input: chunk.input,
            lanes: chunk.lanes,
            dropout_seed: self.dropout_seed,
            progress: self.progress,
            share: self.share * of_pack,
            cache: None,
            grams: None,
        }
    }

    /// What `work` makes of a chunk; `None` where none of its tokens is selected.
    fn with_chunk<T>(&self, chunk: &Range<usize>, work: impl FnOnce(Chunk<'_>) -> T) -> Option<T> {
        let (pack, all) = (&self.pack, &self.pack.sequences);
        let own = all[chunk.start]..all[chunk.end];
        let offsets = from_zero(all, chunk);
        let lanes = self.lanes.chunk(&own);
        let input = EncoderInput {
            ids: &pack.ids[own.clone()],
            positions: &pack.positions[own.clone()],
            segments: &pack.segments[own.clone()],
            offsets: &offsets,
            datasets: self.datasets.get(own.clone()).unwrap_or_default(),
            offset: PackOffset {
                tokens: own.start,
                scores: scores([all, all], chunk.start),
                sequences: chunk.start,
            },
        };
        let selected = match &self.output {
            OutputSelection::BelowLastLayer | OutputSelection::All => None,
            OutputSelection::Tokens { tokens, sequences } => {
                let of_chunk = sequences[chunk.start]..sequences[chunk.end];
                let index = tokens[of_chunk.clone()].iter().map(|token| token - own.start as u32);
                let offset = PackOffset {
                    tokens: of_chunk.start,
                    scores: scores([sequences, all], chunk.start),
                    sequences: chunk.start,
                };
                Some((index.collect::<Vec<u32>>(), from_zero(sequences, chunk), offset))
            }
        };
        if selected.as_ref().is_some_and(|(tokens, ..)| tokens.is_empty()) {
            return None;
        }
        let selection = selected.as_ref().map(|(tokens, offsets, offset)| TokenSelection {
            tokens,
            offsets,
            offset: *offset,
        });
        let below = self.below.as_ref().map(|below| below.clone().slice([own, 0..below.dims()[1]]));
        Some(work(Chunk { input, lanes: &lanes, below, selection }))
    }
}

/// Ranges of sequences of at most `most` tokens each, one sequence at least.
fn chunks(bounds: &[usize], most: usize) -> Vec<Range<usize>> {
    let (mut chunks, mut begin) = (Vec::new(), 0);
    for sequence in 0..bounds.len() - 1 {
        if sequence > begin && bounds[sequence + 1] - bounds[begin] > most {
            chunks.push(begin..sequence);
            begin = sequence;
        }
    }
    chunks.push(begin..bounds.len() - 1);
    chunks
}

/// The bounds of a chunk, counted from its beginning.
fn from_zero(bounds: &[usize], chunk: &Range<usize>) -> RowOffsets {
    bounds[chunk.start..=chunk.end].iter().map(|bound| bound - bounds[chunk.start]).collect()
}

/// How many attention scores a head has in the sequences before number `end`; bounds of queries, and of keys.
fn scores([queries, keys]: [&[usize]; 2], end: usize) -> usize {
    let length = |bounds: &[usize], sequence: usize| bounds[sequence + 1] - bounds[sequence];
    (0..end).map(|sequence| length(queries, sequence) * length(keys, sequence)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_what_fits_and_one_sequence_at_least() {
        assert_eq!(chunks(&[0, 3, 5, 9, 10], 5), [0..2, 2..4]);
        assert_eq!(chunks(&[0, 3, 5, 9, 10], 1), [0..1, 1..2, 2..3, 3..4]);
        assert_eq!(chunks(&[0, 3, 5, 9, 10], 10).first(), Some(&(0..4)));
    }

    #[test]
    fn scores_are_counted_sequence_by_sequence() {
        assert_eq!(scores([&[0, 3, 5], &[0, 3, 5]], 2), 9 + 4);
        assert_eq!(scores([&[0, 1, 3], &[0, 3, 5]], 1), 3);
    }
}

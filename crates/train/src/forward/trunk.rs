//! One pass through the trunk, which serves every task of a pack: states of the tokens that some head reads, and no more.

pub(crate) mod chunked;
mod work;

use crate::job::Model;
use burn::tensor::Tensor;
use chunked::{ChunkedForward, OutputSelection};
use data::Pack;
use model::{EncoderInput, PackOffset, Parameters, TokenSelection, TrunkPass};
use std::borrow::Cow;
use tasks::BatchRow;
pub(crate) use work::WorkPack;

/// The last layer is narrowed only if that drops at least one token in this many: fewer cost more than they save.
const MIN_NARROWING_FRACTION: usize = 16;

/// What the heads get.
pub(crate) struct Pass<'p> {
    /// `[tokens, hidden]`, of the tokens of `pack`.
    pub(crate) states: Tensor<2>,
    /// The pack, or its rows with only those tokens that a head reads.
    pub(crate) pack: Cow<'p, Pack>,
}

/// Everything that a pass through the trunk depends on. The parameters may go on (`'a`) before what the pass returns of the pack (`'p`).
pub(crate) struct PassInput<'m, 'p, 'a> {
    pub(crate) model: &'m Model,
    pub(crate) parameters: &'a Parameters,
    /// The pack, for each task its rows, and the lanes.
    pub(crate) work: &'p WorkPack<'p>,
    /// States of the pack's tokens out of the frozen prefix, where they are known.
    pub(crate) below: Option<Tensor<2>>,
    /// With a seed there is dropout.
    pub(crate) dropout_seed: Option<u64>,
    /// How much of the run lies behind, 0 to 1.
    pub(crate) progress: f64,
    /// Which share of the step the pack is; 0 outside of training.
    pub(crate) share: f64,
    /// The most tokens that go through the trunk at once; `None`: all.
    pub(crate) chunk_tokens: Option<usize>,
}

impl<'m, 'p, 'a> PassInput<'m, 'p, 'a> {
    /// A pass outside of training: no dropout, all tokens at once.
    pub(crate) fn evaluation(model: &'m Model, parameters: &'a Parameters, work: &'p WorkPack<'p>) -> Self {
        PassInput {
            model,
            parameters,
            work,
            below: None,
            dropout_seed: None,
            progress: 1.0,
            share: 0.0,
            chunk_tokens: None,
        }
    }

    /// The whole trunk. Where the pass is chunked or checkpointed, its graph begins at the states, and what is returned beside them
    /// carries their gradient on.
    pub(crate) fn run(&self) -> (Pass<'p>, Option<ChunkedForward<'m>>) {
        let narrowed = self.narrowed();
        if let Some(chunk_tokens) = self.chunk_bound() {
            let (output, pack) = match narrowed {
                Some((tokens, pack)) => {
                    (OutputSelection::Tokens { tokens, sequences: pack.sequences.clone() }, Cow::Owned(pack))
                }
                None => (OutputSelection::All, Cow::Borrowed(&*self.work.pack)),
            };
            let chunked = ChunkedForward::new(self, output, chunk_tokens);
            return (Pass { states: chunked.states(self.parameters), pack }, Some(chunked));
        }
        let states = self.all_but_last();
        (self.last_of(states, narrowed), None)
    }

    /// All but the last layer: states `[tokens, hidden]` of all tokens; chunked or checkpointed as in [`PassInput::run`].
    pub(crate) fn run_below_last(&self) -> (Tensor<2>, Option<ChunkedForward<'m>>) {
        match self.chunk_bound() {
            Some(chunk_tokens) => {
                let chunked = ChunkedForward::new(self, OutputSelection::BelowLastLayer, chunk_tokens);
                (chunked.states(self.parameters), Some(chunked))
            }
            None => (self.all_but_last(), None),
        }
    }

    /// The whole trunk: states `[tokens, hidden]` of all tokens.
    pub(crate) fn run_all_tokens(&self) -> Tensor<2> {
        self.last_of(self.all_but_last(), None).states
    }

    /// The last layer, on the states that enter it.
    pub(crate) fn run_last(&self, states: Tensor<2>) -> Pass<'p> {
        self.last_of(states, self.narrowed())
    }

    fn all_but_last(&self) -> Tensor<2> {
        let datasets = self.model.datasets_of(&self.work.pack);
        let pass = self.pass(&datasets);
        let below = self.below.clone().unwrap_or_else(|| self.model.trunk.lower(&pass));
        self.model.trunk.middle(&pass, below)
    }

    fn last_of(&self, states: Tensor<2>, narrowed: Option<(Vec<u32>, Pack)>) -> Pass<'p> {
        let pass = self.pass(&[]);
        let Some((tokens, seen)) = narrowed else {
            let states = self.model.trunk.last(&pass, states, None);
            return Pass { states, pack: Cow::Borrowed(&*self.work.pack) };
        };
        let offset = PackOffset::default();
        let selection = TokenSelection { tokens: &tokens, offsets: &seen.sequences, offset };
        let states = self.model.trunk.last(&pass, states, Some(&selection));
        Pass { states, pack: Cow::Owned(seen) }
    }

    fn pass<'s>(&'s self, datasets: &'s [u32]) -> TrunkPass<'s> {
        TrunkPass {
            parameters: self.parameters,
            input: EncoderInput { datasets, ..encoder_input(&self.work.pack) },
            lanes: &self.work.lanes,
            dropout_seed: self.dropout_seed,
            progress: self.progress,
            share: self.share,
            cache: None,
            grams: None,
        }
    }

    /// The most tokens of a chunk, where the pass is chunked or checkpointed: in training alone.
    fn chunk_bound(&self) -> Option<usize> {
        let chunked = self.chunk_tokens.filter(|most| *most < self.work.pack.tokens());
        let checkpointed =
            self.model.trunk.activation_checkpointing() && self.parameters.device().is_autodiff();
        chunked.or(checkpointed.then_some(usize::MAX))
    }

    /// The tokens that some head reads, and the pack with them alone, where that is worthwhile.
    fn narrowed(&self) -> Option<(Vec<u32>, Pack)> {
        let pack = &*self.work.pack;
        if self.model.trunk.sharing().reads_all_tokens() {
            return None;
        }
        let read = tokens_read(self.model, pack, &self.work.rows);
        let worthwhile = (pack.tokens() - read.len()) * MIN_NARROWING_FRACTION >= pack.tokens();
        worthwhile.then(|| {
            let seen = pack.select_tokens(&read);
            (read, seen)
        })
    }
}

/// The model's parameters as a training pass over a pack needs them: of the token embedding only the rows that occur,
/// where it is trained and no task with `rows` in the pack needs it whole.
pub(crate) fn parameters_for(
    model: &Model,
    parameters: &Parameters,
    pack: &Pack,
    rows: &[Vec<BatchRow>],
) -> Parameters {
    let table = model.trunk.spec().token_embedding;
    let mut readers = model.tasks.iter().zip(rows).filter(|(_, rows)| !rows.is_empty());
    let whole = readers.any(|(task, _)| task.head.needs_full_embedding());
    if whole || !parameters.parameter(table.index()).trainable {
        return parameters.clone();
    }
    let mut ids = pack.ids.clone();
    ids.sort_unstable();
    ids.dedup();
    parameters.with_row_subset(table, &ids)
}

/// A pack as the trunk reads it, but for dataset embeddings.
pub(crate) fn encoder_input(pack: &Pack) -> EncoderInput<'_> {
    EncoderInput {
        ids: &pack.ids,
        positions: &pack.positions,
        segments: &pack.segments,
        offsets: &pack.sequences,
        datasets: &[],
        offset: PackOffset::default(),
    }
}

/// The tokens of a pack that some task reads of its rows, rising.
fn tokens_read(model: &Model, pack: &Pack, rows: &[Vec<BatchRow>]) -> Vec<u32> {
    let mut read = vec![false; pack.tokens()];
    for (task, rows) in model.tasks.iter().zip(rows) {
        task.head.mark_used_tokens(pack, rows, &mut read);
    }
    (0..).zip(read).filter_map(|(token, read)| read.then_some(token)).collect()
}

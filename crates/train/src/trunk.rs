//! One pass through the trunk, which serves every task of a pack: states of the tokens that some head reads, and no more.

pub(crate) mod parts;

use crate::job::Model;
use burn::tensor::Tensor;
use data::Pack;
use model::{Before, Parameters, Read, Tokens};
use parts::{End, Parts};
use std::borrow::Cow;
use tasks::BatchRow;

/// Leaving fewer than one token in this many out of the last layer costs more than it saves.
const WORTHWHILE: usize = 16;

/// What the heads get.
pub(crate) struct Pass<'p> {
    /// `[tokens, hidden]`, of the tokens of `pack`.
    pub(crate) states: Tensor<2>,
    /// The pack, or its rows with only those tokens that a head reads.
    pub(crate) pack: Cow<'p, Pack>,
}

/// Runs the trunk. `rows` holds for each task of the model the rows of the pack that it reads; `below` the states of the
/// backbone's frozen part, where they are known.
pub(crate) fn pass<'p>(
    model: &Model,
    parameters: &Parameters,
    pack: &'p Pack,
    rows: &[Vec<BatchRow>],
    below: Option<Tensor<2>>,
    noise_seed: Option<u64>,
) -> Pass<'p> {
    let states = middle(model, parameters, pack, below, noise_seed);
    last(model, parameters, pack, rows, states, noise_seed)
}

/// All but the last layer: states `[tokens, hidden]` of all tokens.
pub(crate) fn middle(
    model: &Model,
    parameters: &Parameters,
    pack: &Pack,
    below: Option<Tensor<2>>,
    noise_seed: Option<u64>,
) -> Tensor<2> {
    let corpora = model.corpora_of(pack);
    let tokens = Tokens { corpora: &corpora, ..tokens(pack) };
    let below = below.unwrap_or_else(|| model.backbone.lower(parameters, tokens, noise_seed));
    model.backbone.middle(parameters, below, tokens, noise_seed)
}

/// The last layer, on the states that enter it.
pub(crate) fn last<'p>(
    model: &Model,
    parameters: &Parameters,
    pack: &'p Pack,
    rows: &[Vec<BatchRow>],
    states: Tensor<2>,
    noise_seed: Option<u64>,
) -> Pass<'p> {
    let tokens = tokens(pack);
    let Some((read, seen)) = narrowed(model, pack, rows) else {
        let states = model.backbone.last(parameters, states, tokens, None, noise_seed);
        return Pass { states, pack: Cow::Borrowed(pack) };
    };
    let read = Read { tokens: &read, rows: &seen.sequences, before: Before::default() };
    let states = model.backbone.last(parameters, states, tokens, Some(read), noise_seed);
    Pass { states, pack: Cow::Owned(seen) }
}

/// [`pass`]; where no more than `part` tokens go through the trunk at once and the pack has more, its graph begins at its states,
/// and the parts carry their gradient on.
pub(crate) fn pass_in_parts<'m, 'p>(
    model: &'m Model,
    parameters: &Parameters,
    (pack, below): (&'p Pack, Option<Tensor<2>>),
    rows: &[Vec<BatchRow>],
    noise_seed: Option<u64>,
    part: Option<usize>,
) -> (Pass<'p>, Option<Parts<'m>>) {
    let Some(most) = bound(pack, part) else {
        return (pass(model, parameters, pack, rows, below, noise_seed), None);
    };
    let (end, seen) = match narrowed(model, pack, rows) {
        Some((tokens, seen)) => (End::Read { tokens, sequences: seen.sequences.clone() }, Cow::Owned(seen)),
        None => (End::All, Cow::Borrowed(pack)),
    };
    let parts = Parts::new(model, pack, below, noise_seed, end, most);
    (Pass { states: parts.states(parameters), pack: seen }, Some(parts))
}

/// [`middle`], in parts as [`pass_in_parts`].
pub(crate) fn middle_in_parts<'m>(
    model: &'m Model,
    parameters: &Parameters,
    (pack, below): (&Pack, Option<Tensor<2>>),
    noise_seed: Option<u64>,
    part: Option<usize>,
) -> (Tensor<2>, Option<Parts<'m>>) {
    let Some(most) = bound(pack, part) else {
        return (middle(model, parameters, pack, below, noise_seed), None);
    };
    let parts = Parts::new(model, pack, below, noise_seed, End::LastLayer, most);
    (parts.states(parameters), Some(parts))
}

/// The most tokens of a part, where the pack has more.
fn bound(pack: &Pack, part: Option<usize>) -> Option<usize> {
    part.filter(|most| *most < pack.tokens())
}

/// The tokens that some head reads, and the pack with them alone, where that is worthwhile.
fn narrowed(model: &Model, pack: &Pack, rows: &[Vec<BatchRow>]) -> Option<(Vec<u32>, Pack)> {
    let read = tokens_read(model, pack, rows);
    let worthwhile = (pack.tokens() - read.len()) * WORTHWHILE >= pack.tokens();
    worthwhile.then(|| {
        let seen = pack.only(&read);
        (read, seen)
    })
}

/// The model's parameters as a training pass over a pack needs them: of the table of token vectors only the rows that occur,
/// where it is trained and no task with `rows` in the pack needs it whole.
pub(crate) fn parameters_for(
    model: &Model,
    parameters: &Parameters,
    pack: &Pack,
    rows: &[Vec<BatchRow>],
) -> Parameters {
    let table = model.backbone.token_table();
    let mut readers = model.tasks.iter().zip(rows).filter(|(_, rows)| !rows.is_empty());
    let whole = readers.any(|(task, _)| task.kind.reads_vocabulary());
    if whole || !parameters.parameter(table.index()).trainable {
        return parameters.clone();
    }
    let mut ids = pack.ids.clone();
    ids.sort_unstable();
    ids.dedup();
    parameters.with_rows(table, &ids)
}

/// A pack as all but the embeddings of the backbone read it: what they call a row is a sequence.
pub(crate) fn tokens(pack: &Pack) -> Tokens<'_> {
    Tokens {
        ids: &pack.ids,
        positions: &pack.positions,
        segments: &pack.segments,
        rows: &pack.sequences,
        corpora: &[],
        before: Before::default(),
    }
}

/// The tokens of a pack that some task reads of its rows, rising.
fn tokens_read(model: &Model, pack: &Pack, rows: &[Vec<BatchRow>]) -> Vec<u32> {
    let mut read = vec![false; pack.tokens()];
    for (task, rows) in model.tasks.iter().zip(rows) {
        task.kind.reads(pack, rows, &mut read);
    }
    (0..).zip(read).filter_map(|(token, read)| read.then_some(token)).collect()
}

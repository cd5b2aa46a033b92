//! A cut through the trunk: what lies below it runs once for all tasks, what lies above once for each.

use super::pieces::{Piece, noise_of, places, rows_of_one, some_rows};
use super::{Losses, Packs, rows_of_all};
use crate::gradients::{Gradient, Gradients};
use crate::scope::Scope;
use crate::trunk::parts::Parts;
use crate::trunk::{self, Pass};
use burn::tensor::Tensor;
use data::{Pack, Split};
use model::Parameters;
use std::borrow::Cow;
use tasks::BatchRow;

/// A pass up to the cut.
pub(super) struct Cut<'m> {
    /// What it was made of.
    pub(super) parameters: Parameters,
    /// `[tokens, hidden]`, at the end of its graph.
    pub(super) states: Tensor<2>,
    /// What is below the states, where they were made in parts.
    pub(super) parts: Option<Parts<'m>>,
}

/// All rows of a piece up to the cut, and the pack as it is there.
pub(super) fn cut<'m, 'p>(
    step: &Packs<'m>,
    piece: &'p Piece,
    rows: &[Vec<BatchRow>],
    scope: Scope,
) -> (Cut<'m>, Cow<'p, Pack>) {
    let model = step.model;
    let parameters = trunk::parameters_for(model, &model.parameters, &piece.pack, rows);
    let (below, seed) = (piece.below.clone(), Some(noise_of(step, piece, String::new())("the trunk")));
    let at = (&piece.pack, below);
    if scope == Scope::LastLayer {
        let (states, parts) = trunk::middle_in_parts(model, &parameters, at, seed, step.at.part);
        return (Cut { parameters, states, parts }, Cow::Borrowed(&piece.pack));
    }
    let (Pass { states, pack }, parts) =
        trunk::pass_in_parts(model, &parameters, at, rows, seed, step.at.part);
    (Cut { parameters, states, parts }, pack)
}

/// The same numbers where a graph begins.
pub(super) fn leaf(states: &Tensor<2>) -> Tensor<2> {
    states.clone().inner().autodiff().require_grad()
}

/// The rows of one task from the cut on.
pub(super) fn above<'m>(
    step: &Packs<'m>,
    piece: &Piece,
    task: usize,
    rows: &[BatchRow],
    (cut, pack, leaf): (&Cut<'_>, &Pack, &Tensor<2>),
    scope: Scope,
) -> Losses<'m> {
    let (model, parameters) = (step.model, cut.parameters.clone());
    let noise = noise_of(step, piece, format!(" for {}", model.tasks[task].name));
    let learning = Some(step.learning(&noise));
    if scope == Scope::Representation {
        let rows = rows_of_one(model, pack, task);
        return Losses::of_heads(model, parameters, (leaf, pack), &rows, Split::Train, learning);
    }
    let (part, states) = some_rows(pack, Some(leaf), &places(rows));
    let (rows, states) = (rows_of_one(model, &part, task), states.unwrap_or_else(|| leaf.clone()));
    let seed = Some(noise("the trunk"));
    let Pass { states, pack } = trunk::last(model, &parameters, &part, &rows, states, seed);
    Losses::of_heads(model, parameters, (&states, &pack), &rows, Split::Train, learning)
}

/// Carries the gradients of the states at the cut through what lies below it.
pub(super) fn backward_below(
    step: &Packs<'_>,
    pieces: &[Piece],
    cuts: Vec<Option<Cut<'_>>>,
    mut at_cut: Gradients,
    scope: Scope,
    into: &mut Gradients,
) {
    for (index, (piece, kept)) in pieces.iter().zip(cuts).enumerate() {
        let Some(Gradient::Matrix(d)) = at_cut.take(index) else { continue };
        let again = || cut(step, piece, &rows_of_all(step.model, &piece.pack, Split::Train), scope).0;
        let Cut { parameters, states, parts } = kept.unwrap_or_else(again);
        if let Some(parts) = parts {
            parts.backward(&parameters, &d, into);
            continue;
        }
        if !states.is_require_grad() && !states.is_tracked() {
            continue; // All of it is frozen.
        }
        let product = (states * d.autodiff()).sum();
        into.add(Gradients::backward(product, &parameters));
    }
}

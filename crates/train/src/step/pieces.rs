//! What a step's packs are cut into: all rows of a pack, or two halves of them; and the rows of one task.

use super::{Packs, noise};
use crate::evaluate::rows_labelled;
use crate::job::Model;
use burn::tensor::Tensor;
use data::{Pack, Split};
use tasks::BatchRow;

/// Some rows of one of the step's packs.
pub(super) struct Piece {
    /// Which of the step's packs.
    pub(super) micro: usize,
    /// Which half of its rows: 0 where these are all.
    pub(super) half: usize,
    pub(super) pack: Pack,
    /// The states below the trained part of the backbone, where they are known.
    pub(super) below: Option<Tensor<2>>,
}

/// The packs of the step, or the two halves of each, and how many there are of each.
pub(super) fn pieces(step: &Packs<'_>, below: Vec<Option<Tensor<2>>>, halve: bool) -> (Vec<Piece>, usize) {
    let mut pieces = Vec::new();
    for (micro, (pack, below)) in step.packs.iter().zip(below).enumerate() {
        if !halve {
            pieces.push(Piece { micro, half: 0, pack: pack.clone(), below });
            continue;
        }
        for half in 0..2 {
            let (pack, below) = some_rows(pack, below.as_ref(), &rows_of_half(pack, half));
            pieces.push(Piece { micro, half, pack, below });
        }
    }
    (pieces, if halve { 2 } else { 1 })
}

/// Every other row of each view.
fn rows_of_half(pack: &Pack, half: usize) -> Vec<usize> {
    let mut seen: Vec<usize> = Vec::new();
    let mut place = |view: usize| {
        seen.resize(seen.len().max(view + 1), 0);
        seen[view] += 1;
        seen[view] - 1
    };
    (0..pack.len()).filter(|row| place(pack.rows[*row].view as usize) % 2 == half).collect()
}

/// Some rows of a pack, and the states below them.
pub(super) fn some_rows(pack: &Pack, below: Option<&Tensor<2>>, rows: &[usize]) -> (Pack, Option<Tensor<2>>) {
    let below = below.map(|below| {
        let tokens = rows.iter().flat_map(|row| pack.offsets[*row] as u32..pack.offsets[row + 1] as u32);
        kernels::pick(below.clone(), &tokens.collect::<Vec<u32>>())
    });
    (pack.some(rows), below)
}

pub(super) fn places(rows: &[BatchRow]) -> Vec<usize> {
    rows.iter().map(|row| row.pack_row as usize).collect()
}

/// The rows of one task of a pack, none of the others.
pub(super) fn rows_of_one(model: &Model, pack: &Pack, task: usize) -> Vec<Vec<BatchRow>> {
    let of = |other| {
        if other == task { rows_labelled(pack, &model.tasks[task], Split::Train) } else { Vec::new() }
    };
    (0..model.tasks.len()).map(of).collect()
}

/// How much of a task's rows in the piece's pack the piece has.
pub(super) fn share(step: &Packs<'_>, piece: &Piece, task: usize) -> f64 {
    let rows = |pack: &Pack| rows_labelled(pack, &step.model.tasks[task], Split::Train).len() as f64;
    rows(&piece.pack) / rows(&step.packs[piece.micro]).max(1.0)
}

/// The seeds of a piece's dropout.
pub(super) fn noise_of<'a>(
    step: &'a Packs<'_>,
    piece: &'a Piece,
    suffix: String,
) -> impl Fn(&str) -> u64 + 'a {
    let half = if piece.half == 0 { "" } else { ", second half" };
    move |name: &str| noise(step.seed, &format!("{name}{suffix}{half}"), step.at.index, piece.micro)
}

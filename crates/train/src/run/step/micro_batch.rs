//! Micro-batches: all rows of a pack of the step, or one of two halves of them; and the rows of one task.

use super::{StepInputs, dropout_seed};
use crate::forward::evaluate::rows_labelled;
use crate::job::Model;
use burn::tensor::Tensor;
use data::{Pack, Split};
use tasks::BatchRow;

/// Some rows of one of the step's packs.
pub(super) struct MicroBatch {
    /// Which of the step's packs.
    pub(super) accumulation_index: usize,
    /// Which half of its rows: 0 where these are all.
    pub(super) half: usize,
    pub(super) pack: Pack,
    /// The states below the trained part of the backbone, where they are known.
    pub(super) below: Option<Tensor<2>>,
}

/// The packs of the step, or the two halves of each, and how many there are of each.
pub(super) fn micro_batches(
    step: &StepInputs<'_>,
    below: Vec<Option<Tensor<2>>>,
    halve: bool,
) -> (Vec<MicroBatch>, usize) {
    let mut micro_batches = Vec::new();
    for (accumulation_index, (pack, below)) in step.packs.iter().zip(below).enumerate() {
        if !halve {
            micro_batches.push(MicroBatch { accumulation_index, half: 0, pack: pack.clone(), below });
            continue;
        }
        for half in 0..2 {
            let (pack, below) = some_rows(pack, below.as_ref(), &rows_of_half(pack, half));
            micro_batches.push(MicroBatch { accumulation_index, half, pack, below });
        }
    }
    (micro_batches, if halve { 2 } else { 1 })
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
        kernels::gather_rows(below.clone(), &tokens.collect::<Vec<u32>>())
    });
    (pack.select_rows(rows), below)
}

pub(super) fn pack_rows(rows: &[BatchRow]) -> Vec<usize> {
    rows.iter().map(|row| row.pack_row as usize).collect()
}

/// The rows of one task of a pack, none of the others.
pub(super) fn rows_of_one(model: &Model, pack: &Pack, task: usize) -> Vec<Vec<BatchRow>> {
    let of = |other| {
        if other == task { rows_labelled(pack, &model.tasks[task], Split::Train) } else { Vec::new() }
    };
    (0..model.tasks.len()).map(of).collect()
}

/// How much of a task's rows in the micro_batch's pack the micro_batch has.
pub(super) fn share(step: &StepInputs<'_>, micro_batch: &MicroBatch, task: usize) -> f64 {
    let rows = |pack: &Pack| rows_labelled(pack, &step.model.tasks[task], Split::Train).len() as f64;
    rows(&micro_batch.pack) / rows(&step.packs[micro_batch.accumulation_index]).max(1.0)
}

/// The seeds of a micro_batch's dropout.
pub(super) fn dropout_seed_of<'a>(
    step: &'a StepInputs<'_>,
    micro_batch: &'a MicroBatch,
    suffix: String,
) -> impl Fn(&str) -> u64 + 'a {
    let half = if micro_batch.half == 0 { "" } else { ", second half" };
    move |name: &str| {
        dropout_seed(
            step.seed,
            &format!("{name}{suffix}{half}"),
            step.position.index,
            micro_batch.accumulation_index,
        )
    }
}

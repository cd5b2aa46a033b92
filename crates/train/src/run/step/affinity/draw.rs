//! The rows of a measurement: of every task that is trained the same number, drawn apart from the stream of the run.

use super::random;
use crate::job::{Model, Views, corpora};
use data::{Pack, RowRef, Split};
use std::collections::BTreeSet;
use tasks::BatchRow;

/// Rows of each task in a measurement, or all that carry its label where there are fewer. With 32 of them a measurement of six tasks
/// costs about as much as a dozen steps of 2048 tokens of short sentences.
pub const ROWS_PER_TASK: usize = 32;

/// The rows of a measurement.
pub(super) struct AffinityDraw {
    /// For each task of the model its rows in its corpus, as they were drawn; none for a task that is not trained.
    pub(super) rows: Vec<Vec<u32>>,
    /// Which corpus each task reads.
    corpus: Vec<usize>,
    /// The two halves of every task's rows, those that are not empty.
    pub(super) halves: Vec<HalfDraw>,
}

/// One half of every task's rows, in one pack.
pub(super) struct HalfDraw {
    pub(super) pack: Pack,
    /// For each task of the model its rows in the pack.
    pub(super) rows: Vec<Vec<BatchRow>>,
}

impl AffinityDraw {
    /// Draws, for the measurement after so many steps. The rows of a corpus are put in one random order, and each task takes the first
    /// that carry its label: tasks that read one corpus have the same rows as far as both are labelled.
    pub(super) fn new(model: &Model, views: &Views, seed: u64, index: usize) -> AffinityDraw {
        let mut rows = vec![Vec::new(); model.tasks.len()];
        let mut corpus = vec![0; model.tasks.len()];
        for (number, (name, of_corpus)) in corpora(&views.train).into_iter().enumerate() {
            let count = of_corpus.iter().map(|view| views.train[*view].encoded.rows()).max().unwrap_or(0);
            let mut order: Vec<u32> = (0..count as u32).collect();
            let stream = format!("rows of the affinity of tasks in corpus {name}");
            random::shuffle(&mut random::stream(seed, &stream, index as u64), &mut order);
            for (at, task) in
                model.tasks.iter().enumerate().filter(|(_, task)| of_corpus.contains(&task.view))
            {
                corpus[at] = number;
                let encoded = &views.train[task.view].encoded;
                let carries = |row: &usize| {
                    *row < encoded.rows()
                        && encoded.length(*row) > 0
                        && task.head.labelled(Split::Train, *row)
                };
                if task.is_trained {
                    let drawn = order.iter().filter(|row| carries(&(**row as usize)));
                    rows[at] = drawn.take(ROWS_PER_TASK).copied().collect();
                }
            }
        }
        let half = |number: usize| HalfDraw::new(model, views, &rows, number, seed, index);
        let halves = (0..2).map(half).filter(|half| !half.pack.rows.is_empty()).collect();
        AffinityDraw { rows, corpus, halves }
    }

    /// How many rows of their corpus two tasks have in common.
    pub(super) fn shared_rows(&self, a: usize, b: usize) -> usize {
        let (a_rows, b_rows) = (&self.rows[a], &self.rows[b]);
        if self.corpus[a] == self.corpus[b] {
            a_rows.iter().filter(|row| b_rows.contains(row)).count()
        } else {
            0
        }
    }
}

impl HalfDraw {
    /// Every other row of each task, from the first or the second on.
    fn new(
        model: &Model,
        views: &Views,
        rows: &[Vec<u32>],
        half: usize,
        seed: u64,
        index: usize,
    ) -> HalfDraw {
        let own = |task: usize| {
            let view = model.tasks[task].view as u32;
            let of_half = rows[task].iter().skip(half).step_by(2);
            of_half.map(move |row| RowRef { view, row: *row }).collect::<BTreeSet<RowRef>>()
        };
        let of_tasks: Vec<BTreeSet<RowRef>> = (0..rows.len()).map(own).collect();
        let all: Vec<RowRef> =
            of_tasks.iter().flatten().copied().collect::<BTreeSet<_>>().into_iter().collect();
        let place =
            |of: &RowRef| BatchRow { pack_row: all.partition_point(|other| other < of) as u32, row: of.row };
        let placed = of_tasks.iter().map(|own| own.iter().map(place).collect()).collect();
        let name = format!("hidden tokens of the affinity of tasks, half {half}");
        let pack = Pack::drawn(&views.train, &all, random::derive_seed(seed, &name, index as u64));
        HalfDraw { pack, rows: placed }
    }
}

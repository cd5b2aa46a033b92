//! What a task costs on this machine: the time of the trunk and of its head, forward and backward, on rows of its own.

use crate::{
    config::Settings,
    forward::evaluate::rows_labelled,
    forward::trunk::{self, PassInput, WorkPack},
    job::Job,
    run::step::{Losses, PassContext},
};
use data::{Pack, RowRef, Split};
use std::time::Duration;
use tasks::BatchRow;

/// How often each is measured; the fastest counts.
const ROUNDS: usize = 3;
/// Tokens of the rows that are measured, at most: enough for the pace of larger packs.
const TOKENS: usize = 1024;

/// What a task costs, in seconds for each token of its rows.
#[derive(Debug, Clone, PartialEq)]
pub struct TaskCost {
    /// The task.
    pub task: String,
    /// Tokens that it was measured on.
    pub tokens: usize,
    /// The trunk forward.
    pub forward: f64,
    /// The head and the loss, forward.
    pub head: f64,
    /// The backward pass of both.
    pub backward: f64,
}

impl TaskCost {
    /// All of it.
    pub fn total(&self) -> f64 {
        self.forward + self.head + self.backward
    }
}

/// Measures every task of a job. Nothing moves.
pub fn measure(job: &Job, settings: &Settings, clock: &dyn Fn() -> Duration) -> Vec<TaskCost> {
    (0..job.model.tasks.len()).filter_map(|task| measure_task(job, settings, task, clock)).collect()
}

fn measure_task(
    job: &Job,
    settings: &Settings,
    task: usize,
    clock: &dyn Fn() -> Duration,
) -> Option<TaskCost> {
    let slot = &job.model.tasks[task];
    let pack = pack_of(job, task, settings.train.tokens_per_batch.min(TOKENS))?;
    let rows: Vec<Vec<BatchRow>> = job
        .model
        .tasks
        .iter()
        .enumerate()
        .map(
            |(other, slot)| if other == task { rows_labelled(&pack, slot, Split::Train) } else { Vec::new() },
        )
        .collect();
    let mut best: Option<[f64; 3]> = None;
    for _ in 0..ROUNDS {
        let seed = |_: &str| settings.train.seed;
        let parameters = trunk::parameters_for(&job.model, &job.model.parameters, &pack, &rows);
        let seconds = |from: Duration| clock().saturating_sub(from).as_secs_f64();
        let began = clock();
        let work = WorkPack::new(&job.model, &pack, rows.clone());
        let input = PassInput {
            dropout_seed: Some(settings.train.seed),
            ..PassInput::evaluation(&job.model, &parameters, &work)
        };
        let (pass, chunked) = input.run();
        // A device works ahead until somebody reads a number.
        let _ = pass.states.clone().inner().sum().into_scalar::<f32>();
        let forward = seconds(began);
        let began = clock();
        let on = (&pass.states, &*pass.pack);
        let context = PassContext { dropout_seed: Some(&seed), ..PassContext::EVALUATION };
        let losses = Losses::of_heads(&job.model, parameters, on, &work.rows, Split::Train, context);
        let losses = losses.with_chunked(chunked, &pass.states);
        let head = seconds(began);
        let began = clock();
        let weights = vec![1.0; job.model.tasks.len()];
        let _ = losses.gradients(&weights, 1.0, None).map(|(gradients, _)| gradients.squared_norms());
        let found = [forward, head, seconds(began)];
        best = Some(best.map_or(found, |best| std::array::from_fn(|i| best[i].min(found[i]))));
    }
    let [forward, head, backward] = best?.map(|seconds| seconds / pack.tokens() as f64);
    Some(TaskCost { task: slot.name.clone(), tokens: pack.tokens(), forward, head, backward })
}

/// The first labelled rows of a task, so many tokens of them at most, and one row at least.
fn pack_of(job: &Job, task: usize, most: usize) -> Option<Pack> {
    let slot = &job.model.tasks[task];
    let view = job.views.train.get(slot.view)?;
    let mut tokens = 0;
    let labelled = (0..view.encoded.rows()).filter(|row| slot.head.labelled(Split::Train, *row));
    let some = labelled.take_while(|row| {
        let first = tokens == 0;
        tokens += view.encoded.length(*row);
        first || tokens <= most
    });
    let rows: Vec<RowRef> = some.map(|row| RowRef { view: slot.view as u32, row: row as u32 }).collect();
    (!rows.is_empty()).then(|| Pack::drawn(&job.views.train, &rows, 0))
}

//! Running a model without training it: predictions and scores of every task from one pass over the rows.

use crate::forward::task_input::TaskInput;
use crate::forward::trunk::{Pass, PassInput, WorkPack};
use crate::job::{Model, TaskSlot};
use data::{Pack, RowRef, Split, View};
use model::Parameters;
use std::sync::atomic::{AtomicBool, Ordering};
use tasks::{Batch, BatchRow, Prediction, Scores};

/// The scores of a split.
#[derive(Debug, Clone)]
pub struct Evaluation {
    /// Per task that has a label in the split, in the order of the model's tasks.
    pub tasks: Vec<TaskScores>,
    /// The mean of their primary metrics, weighted by importance; `None` where no task has a label.
    pub mean: Option<f64>,
    /// Rows that went through the trunk.
    pub rows: usize,
}

/// The scores of one task.
#[derive(Debug, Clone)]
pub struct TaskScores {
    /// The task.
    pub task: String,
    /// Its metrics.
    pub scores: Scores,
    /// Its mean loss, where that is a finite number.
    pub loss: Option<f64>,
    /// Labelled rows.
    pub rows: usize,
    /// Those of them whose predictions rest on scores that are not finite: the metrics mean nothing then.
    pub nonfinite: usize,
}

impl Evaluation {
    /// The tasks that have scores which are not finite, in words; empty where all is well.
    pub fn nonfinite(&self) -> Vec<String> {
        let said = |task: &TaskScores| {
            format!(
                "task `{}`: the scores of {} of {} rows are not finite",
                task.task, task.nonfinite, task.rows
            )
        };
        self.tasks.iter().filter(|task| task.nonfinite > 0).map(said).collect()
    }
}

impl TaskScores {
    /// The value of the primary metric; 0 where the kind gives none.
    pub fn primary(&self) -> f64 {
        self.scores
            .values
            .iter()
            .find(|(name, _)| *name == self.scores.primary)
            .map_or(0.0, |(_, value)| *value)
    }
}

/// What one task gives over all packs.
#[derive(Default)]
struct Tally {
    predictions: Vec<(u32, Prediction)>,
    loss: f64,
    num_targets: usize,
}

/// Scores every task on the rows of `views` that carry its labels. Rows run sorted by length, in packs of at most
/// `tokens` tokens, without gradients; a row that several tasks read runs once.
///
/// `views` are those of `split`, encoded by the model's heads. `None` when `stop` is set before the end.
pub fn evaluate(
    model: &Model,
    split: Split,
    views: &[View],
    tokens: usize,
    stop: &AtomicBool,
) -> Option<Evaluation> {
    evaluate_tasks(model, |_| true, split, views, tokens, stop).map(|(evaluation, _)| evaluation)
}

/// Predictions of each task of a model: `[tasks][rows]`, each with the index of its row in the task's view.
pub type TaskPredictions = Vec<Vec<(u32, Prediction)>>;

/// As [`evaluate`] of the wanted tasks only, with the predictions behind the scores: of each task of the model those of the labelled rows
/// of the split, in the order of the rows.
pub fn evaluate_tasks(
    model: &Model,
    wanted: impl Fn(&TaskSlot) -> bool,
    split: Split,
    views: &[View],
    tokens: usize,
    stop: &AtomicBool,
) -> Option<(Evaluation, TaskPredictions)> {
    let (tallies, rows) = tally(model, wanted, split, views, tokens, stop)?;
    let evaluation = summarize(model, split, &tallies, rows);
    Some((evaluation, tallies.into_iter().map(|tally| tally.predictions).collect()))
}

/// Calibrates the heads that fit something after training, such as thresholds, on the rows of the validation split, `views`.
pub(crate) fn calibrate(model: &mut Model, views: &[View], tokens: usize) {
    let (split, never) = (Split::Validation, AtomicBool::new(false));
    let Some((tallies, _)) = tally(model, |task| task.head.calibrates(), split, views, tokens, &never) else {
        return;
    };
    for (task, tally) in model.tasks.iter_mut().zip(tallies).filter(|(task, _)| task.head.calibrates()) {
        task.head.calibrate(split, &tally.predictions);
    }
}

/// The predictions of the wanted tasks for the rows that carry their labels, with their losses; and how many rows ran.
fn tally(
    model: &Model,
    wanted: impl Fn(&TaskSlot) -> bool,
    split: Split,
    views: &[View],
    tokens: usize,
    stop: &AtomicBool,
) -> Option<(Vec<Tally>, usize)> {
    let parameters = model.parameters.inference();
    let mut rows = labelled(&model.tasks, &wanted, split, views);
    sort_by_length(&mut rows, views);
    let mut tallies: Vec<Tally> = model.tasks.iter().map(|_| Tally::default()).collect();
    for pack in packs(&rows, views, tokens) {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        let of_task = |task| if wanted(task) { rows_labelled(&pack, task, split) } else { Vec::new() };
        let rows: Vec<Vec<BatchRow>> = model.tasks.iter().map(of_task).collect();
        let work = WorkPack::new(model, &pack, rows);
        let (Pass { states, pack }, _) = PassInput::evaluation(model, &parameters, &work).run();
        for ((task, rows), tally) in model.tasks.iter().zip(&work.rows).zip(&mut tallies) {
            if !rows.is_empty() {
                let input = TaskInput::new(model, &parameters, task, (&states, &pack), rows);
                tally.update(task, &parameters, &input.evaluated(split));
            }
        }
    }
    for tally in &mut tallies {
        tally.predictions.sort_by_key(|(row, _)| *row);
    }
    Some((tallies, rows.len()))
}

impl Tally {
    fn update(&mut self, task: &TaskSlot, parameters: &Parameters, batch: &Batch<'_>) {
        if let Some(loss) = task.head.loss(parameters, batch) {
            self.loss += f64::from(loss.mean.into_scalar::<f32>()) * loss.num_targets as f64;
            self.num_targets += loss.num_targets;
        }
        let predictions = task.head.predict(parameters, batch);
        self.predictions.extend(batch.rows.iter().map(|r| r.row).zip(predictions));
    }
}

fn summarize(model: &Model, split: Split, tallies: &[Tally], rows: usize) -> Evaluation {
    let (mut tasks, mut sum, mut importance) = (Vec::new(), 0.0, 0.0);
    for (task, tally) in model.tasks.iter().zip(tallies) {
        if tally.predictions.is_empty() {
            continue;
        }
        let loss =
            (tally.num_targets > 0).then(|| tally.loss / tally.num_targets as f64).filter(|l| l.is_finite());
        let scored = TaskScores {
            task: task.name.clone(),
            scores: task.head.score(split, &tally.predictions),
            loss,
            rows: tally.predictions.len(),
            nonfinite: tally.predictions.iter().filter(|(_, found)| !found.is_finite()).count(),
        };
        sum += task.training.importance * scored.primary();
        importance += task.training.importance;
        tasks.push(scored);
    }
    Evaluation { mean: (importance > 0.0).then(|| sum / importance), tasks, rows }
}

/// The outputs of the tasks at `tasks` (indices into the model's) for every row of one view, all from one pass:
/// `[tasks][rows]`, in the order of both. No labels are needed.
pub fn predict(model: &Model, tasks: &[usize], view: &View, tokens: usize) -> Vec<Vec<Prediction>> {
    let parameters = model.parameters.inference();
    let views = std::slice::from_ref(view);
    let mut rows: Vec<RowRef> = (0..view.encoded.rows() as u32).map(|row| RowRef { view: 0, row }).collect();
    sort_by_length(&mut rows, views);
    let mut out: Vec<Vec<(u32, Prediction)>> = tasks.iter().map(|_| Vec::with_capacity(rows.len())).collect();
    for pack in packs(&rows, views, tokens) {
        let rows = batch_rows(&pack, 0, |_| true);
        let of_task = |task| if tasks.contains(&task) { rows.clone() } else { Vec::new() };
        let rows_read: Vec<Vec<BatchRow>> = (0..model.tasks.len()).map(of_task).collect();
        let work = WorkPack::new(model, &pack, rows_read);
        let (Pass { states, pack }, _) = PassInput::evaluation(model, &parameters, &work).run();
        for (out, index) in out.iter_mut().zip(tasks) {
            let (Some(task), Some(rows)) = (model.tasks.get(*index), work.rows.get(*index)) else { continue };
            let input = TaskInput::new(model, &parameters, task, (&states, &pack), rows);
            let predictions = task.head.predict(&parameters, &input.evaluated(Split::Test));
            out.extend(rows.iter().map(|r| r.row).zip(predictions));
        }
    }
    let in_order = |mut predictions: Vec<(u32, Prediction)>| {
        predictions.sort_by_key(|(row, _)| *row);
        predictions.into_iter().map(|(_, prediction)| prediction).collect()
    };
    out.into_iter().map(in_order).collect()
}

/// The rows of a pack that carry a label of a task.
pub(crate) fn rows_labelled(pack: &Pack, task: &TaskSlot, split: Split) -> Vec<BatchRow> {
    let wanted = split != Split::Train || task.is_trained;
    batch_rows(pack, task.view, |row| wanted && task.head.labelled(split, row))
}

/// The rows of a pack that are of a view and pass the test.
fn batch_rows(pack: &Pack, view: usize, wanted: impl Fn(usize) -> bool) -> Vec<BatchRow> {
    let rows = pack.rows.iter().enumerate();
    rows.filter(|(_, r)| r.view as usize == view && wanted(r.row as usize))
        .map(|(i, r)| BatchRow { pack_row: i as u32, row: r.row })
        .collect()
}

/// The rows that carry a label of any wanted task.
pub(crate) fn labelled(
    tasks: &[TaskSlot],
    wanted: impl Fn(&TaskSlot) -> bool,
    split: Split,
    views: &[View],
) -> Vec<RowRef> {
    let mut rows = Vec::new();
    for (i, view) in views.iter().enumerate() {
        let readers: Vec<&TaskSlot> = tasks.iter().filter(|t| t.view == i && wanted(t)).collect();
        let carries = |row: &usize| readers.iter().any(|t| t.head.labelled(split, *row));
        let of_view = (0..view.encoded.rows()).filter(carries);
        rows.extend(of_view.map(|row| RowRef { view: i as u32, row: row as u32 }));
    }
    rows
}

/// Longest first: the largest pack comes at once, and packs hold rows of like length.
pub(crate) fn sort_by_length(rows: &mut [RowRef], views: &[View]) {
    rows.sort_by_key(|r| std::cmp::Reverse(length(views, *r)));
}

fn length(views: &[View], row: RowRef) -> usize {
    views.get(row.view as usize).map_or(0, |v| v.encoded.length(row.row as usize))
}

/// Cuts rows into packs of at most `tokens` tokens; a longer row stands alone.
pub(crate) fn packs(rows: &[RowRef], views: &[View], tokens: usize) -> impl Iterator<Item = Pack> {
    let mut left = rows;
    std::iter::from_fn(move || {
        let mut size = 0;
        let end = left.iter().position(|r| {
            size += length(views, *r);
            size > tokens
        });
        let (these, rest) = left.split_at(end.unwrap_or(left.len()).max(1).min(left.len()));
        left = rest;
        (!these.is_empty()).then(|| Pack::of(views, these))
    })
}

//! The loss of single rows, for orders that go by it.

use crate::{
    forward::task_input::TaskInput,
    forward::trunk::{PassInput, WorkPack},
    job::Job,
};
use data::{Pack, RowRef, Split};
use tasks::BatchRow;

/// Rows that go through the trunk at once.
const ROWS_PER_PACK: usize = 32;

/// For each of some training rows the mean of the losses that its tasks have on it, under the model as it is, without dropout. 0
/// for a row on which none has a finite one.
pub(crate) fn per_example_losses(job: &Job, views: &[usize], rows: &[u32]) -> Vec<f64> {
    let model = &job.model;
    let parameters = model.parameters.inference();
    let (mut sums, mut counts) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
    for view in views {
        for (chunk, some) in rows.chunks(ROWS_PER_PACK).enumerate() {
            let refs: Vec<RowRef> = some.iter().map(|row| RowRef { view: *view as u32, row: *row }).collect();
            let pack = Pack::of(&job.views.train, &refs);
            let labelled = |task: &crate::job::TaskSlot| -> Vec<BatchRow> {
                let rows = (0..).zip(some).map(|(pack_row, row)| BatchRow { pack_row, row: *row });
                rows.filter(|r| task.view == *view && task.head.labelled(Split::Train, r.row as usize))
                    .collect()
            };
            let of_tasks: Vec<Vec<BatchRow>> = model.tasks.iter().map(labelled).collect();
            if of_tasks.iter().all(Vec::is_empty) {
                continue;
            }
            let work = WorkPack::new(model, &pack, of_tasks.clone());
            let (pass, _) = PassInput::evaluation(model, &parameters, &work).run();
            for ((task, rows), of_work) in model.tasks.iter().zip(&of_tasks).zip(&work.rows) {
                for (row, row_of_work) in rows.iter().zip(of_work) {
                    let (of_trunk, one) = ((&pass.states, &*pass.pack), std::slice::from_ref(row_of_work));
                    let input = TaskInput::new(model, &parameters, task, of_trunk, one);
                    let loss = task.head.loss(&parameters, &input.evaluated(Split::Train));
                    let loss = loss.map(|l| f64::from(l.mean.into_scalar::<f32>()));
                    if let Some(loss) = loss.filter(|loss| loss.is_finite()) {
                        let at = chunk * ROWS_PER_PACK + row.pack_row as usize;
                        sums[at] += loss;
                        counts[at] += 1.0;
                    }
                }
            }
        }
    }
    sums.iter().zip(counts).map(|(sum, count)| if count > 0.0 { sum / count } else { 0.0 }).collect()
}

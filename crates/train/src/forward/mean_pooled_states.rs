//! One state for each row, straight from the trunk: what the model makes of whole texts, whatever its tasks are.

use crate::{
    forward::evaluate::{packs, sort_by_length},
    forward::trunk::{PassInput, WorkPack},
    job::Model,
};
use data::{RowRef, View};

/// The mean state of the tokens of some rows of a view, special tokens included: `[rows][hidden]`, in the order of `rows`, which
/// must be rows of the view. A row of several sequences has one mean over all of them. No token is hidden, no label is needed;
/// packs hold at most `tokens` tokens, or one longer row.
pub fn mean_pooled_states(model: &Model, view: &View, rows: &[usize], tokens: usize) -> Vec<Vec<f32>> {
    let parameters = model.parameters.inference();
    let shown = View { masking: None, ..view.clone() };
    let views = std::slice::from_ref(&shown);
    let mut sorted: Vec<RowRef> = rows.iter().map(|row| RowRef { view: 0, row: *row as u32 }).collect();
    sort_by_length(&mut sorted, views);
    let mut of_row = vec![Vec::new(); shown.encoded.rows()];
    for pack in packs(&sorted, views, tokens) {
        let work = WorkPack::without_tasks(&pack);
        let states = PassInput::evaluation(model, &parameters, &work).run_all_tokens();
        let states = model.trunk.readout(None, &parameters, states, &pack.sequences);
        let means = kernels::segment_mean(states, &pack.offsets);
        let means: Vec<f32> = means.into_data().try_into_vec().expect("states are f32");
        for (row, mean) in pack.rows.iter().zip(means.chunks(model.trunk.hidden())) {
            of_row[row.row as usize] = mean.to_vec();
        }
    }
    rows.iter().map(|row| of_row[*row].clone()).collect()
}

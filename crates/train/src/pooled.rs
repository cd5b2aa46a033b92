//! One state for each row, straight from the trunk: what the model makes of whole texts, whatever its tasks are.

use crate::{
    evaluate::{packs, sort_by_length},
    job::Model,
    trunk,
};
use data::{RowRef, View};

/// The mean state of the tokens of some rows of a view, special tokens included: `[rows][hidden]`, in the order of `rows`, which
/// must be rows of the view. A row of several sequences has one mean over all of them. No token is hidden, no label is needed;
/// packs hold at most `tokens` tokens, or one longer row.
pub fn pooled(model: &Model, view: &View, rows: &[usize], tokens: usize) -> Vec<Vec<f32>> {
    let parameters = model.parameters.inference();
    let shown = View { hiding: None, ..view.clone() };
    let views = std::slice::from_ref(&shown);
    let mut sorted: Vec<RowRef> = rows.iter().map(|row| RowRef { view: 0, row: *row as u32 }).collect();
    sort_by_length(&mut sorted, views);
    let mut of_row = vec![Vec::new(); shown.encoded.rows()];
    for pack in packs(&sorted, views, tokens) {
        let states = trunk::middle(model, &parameters, &pack, None, None);
        let states = model.backbone.last(&parameters, states, trunk::tokens(&pack), None, None);
        let means = kernels::mean_rows(states, &pack.offsets);
        let means: Vec<f32> = means.into_data().try_into_vec().expect("states are f32");
        for (row, mean) in pack.rows.iter().zip(means.chunks(model.backbone.hidden())) {
            of_row[row.row as usize] = mean.to_vec();
        }
    }
    rows.iter().map(|row| of_row[*row].clone()).collect()
}

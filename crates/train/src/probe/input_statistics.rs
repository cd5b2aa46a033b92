//! What the trunk of a model reads on rows of a split, summed up for methods that make weights smaller.

use crate::{
    forward::evaluate::{packs, sort_by_length},
    forward::trunk::encoder_input,
    job::Job,
};
use data::{RowRef, Split, View, random};
use model::{EncoderInput, Gram, InputGrams, TrunkPass};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

/// Sums over the inputs of a trunk.
#[derive(Debug, Default)]
pub struct InputStatistics {
    /// Rows that went through the trunk.
    pub rows: usize,
    /// Their tokens.
    pub tokens: usize,
    /// The inputs of linear layers, by the index of the weight.
    pub grams: BTreeMap<usize, Gram>,
    /// How often each token is in the split: in all of its rows, and not only in those that went through the trunk.
    pub token_counts: Vec<u64>,
}

/// Which rows are read.
#[derive(Debug, Clone, Copy)]
pub struct RowChoice {
    /// The split that they are of.
    pub split: Split,
    /// Of each view at most so many; all where it has fewer.
    pub rows: usize,
    /// What they are drawn by, with the number of the view.
    pub seed: u64,
}

/// Sums up what the linear layers with these weights read on rows of every view, labelled or not, without dropout; tokens that a task
/// would hide are shown. Packs hold at most `pack_tokens` tokens, or one longer row. `None` when `stop` is set before the end.
pub fn input_statistics(
    job: &Job,
    weights: impl IntoIterator<Item = usize>,
    choice: RowChoice,
    pack_tokens: usize,
    stop: &AtomicBool,
) -> Option<InputStatistics> {
    let model = &job.model;
    let parameters = model.parameters.inference();
    let shown = |view: &View| View { masking: None, ..view.clone() };
    let views: Vec<View> = job.views.of(choice.split).iter().map(shown).collect();
    let mut rows = drawn(&views, choice);
    sort_by_length(&mut rows, &views);
    let grams = InputGrams::of(weights);
    let mut found = InputStatistics { rows: rows.len(), ..InputStatistics::default() };
    for pack in packs(&rows, &views, pack_tokens) {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        found.tokens += pack.tokens();
        let datasets = model.datasets_of(&pack);
        let input = EncoderInput { datasets: &datasets, ..encoder_input(&pack) };
        let pass = TrunkPass { grams: Some(&grams), ..TrunkPass::evaluation(&parameters, input) };
        model.trunk.states(&pass);
    }
    found.grams = grams.into_sums();
    found.token_counts = vec![0; model.trunk.spec().vocabulary];
    for id in views.iter().flat_map(|view| &view.encoded.ids) {
        found.token_counts[*id as usize] += 1;
    }
    Some(found)
}

/// Some rows of every view.
fn drawn(views: &[View], RowChoice { rows, seed, .. }: RowChoice) -> Vec<RowRef> {
    let of_view = |(number, view): (usize, &View)| {
        let mut of: Vec<usize> = (0..view.encoded.rows()).collect();
        random::shuffle(&mut random::stream(seed, "calibration rows", number as u64), &mut of);
        of.truncate(rows);
        of.into_iter().map(move |row| RowRef { view: number as u32, row: row as u32 })
    };
    views.iter().enumerate().flat_map(of_view).collect()
}

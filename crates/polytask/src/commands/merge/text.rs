//! What `polytask merge` prints, and what it leaves beside the model.

use super::scores::TaskRow;
use super::settings;
use crate::terminal::{figures::count, figures::counted, figures::points, table::Table};
use data::Split;
use model::merging::Merging;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;
use train::MergeReport;

/// A model that was merged, as `merge.json` has it.
#[derive(Debug, Clone, Serialize)]
pub struct MergedModel {
    /// Its run's folder, or its model's, absolute.
    pub folder: PathBuf,
    /// Its tasks; with private parameters in the trunk, one of them.
    pub tasks: Vec<String>,
    /// How much it counts.
    pub weight: f64,
    /// The norm of its difference to the common checkpoint, or without one to the first model, divided by the norm of that.
    pub distance: f64,
    /// The hash of its polytask.json, where that has one.
    pub blake3: Option<String>,
}

/// How a model was merged: `merge.json`.
#[derive(Debug, Clone, Serialize)]
pub struct MergeRecord {
    /// The version of the program.
    pub polytask: &'static str,
    /// The method.
    pub method: &'static str,
    /// Its settings.
    pub settings: Value,
    /// The common checkpoint, where it was used.
    pub base: Option<String>,
    /// The models.
    pub models: Vec<MergedModel>,
    /// Tensors and their numbers.
    pub tensors: usize,
    /// Numbers of all of them.
    pub numbers: usize,
    /// Tensors that some models lack, with these.
    pub left_out: Vec<(String, Vec<String>)>,
}

/// A relative distance from which on a model has nothing of what it is said to have begun with.
const FAR: f64 = 1.0;

/// What is probably not meant, a sentence each.
pub fn warnings(record: &MergeRecord, report: &MergeReport) -> Vec<String> {
    let reference = record.base.clone().unwrap_or_else(|| "those of the first model".into());
    let far = record.models.iter().filter(|model| model.distance >= FAR).map(|model| {
        format!(
            "the weights of {} are as far from {reference} as those are from 0 (distance {:.2}): were they trained from the same \
             checkpoint?",
            model.tasks.join(", "),
            model.distance
        )
    });
    let mut lacking: BTreeMap<&Vec<String>, Vec<&str>> = BTreeMap::new();
    for (tensor, models) in &report.left_out {
        lacking.entry(models).or_default().push(tensor);
    }
    let lacking = lacking.into_iter().map(|(models, tensors)| {
        let more = match tensors.len() - 1 {
            0 => String::new(),
            more => format!(" and {} more", count(more)),
        };
        format!("{}{more}: not in all models, {} had no say in it", tensors[0], models.join(", "))
    });
    far.chain(lacking).collect()
}

/// What was merged, as a table.
pub fn models_table(record: &MergeRecord, method: &Merging) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    let mut table = Table::new(&["model", "tasks", "weight", "distance"]);
    for model in &record.models {
        table.row([
            model.folder.strip_prefix(&here).unwrap_or(&model.folder).display().to_string(),
            model.tasks.join(", "),
            if method.takes_weights() { format!("{}", model.weight) } else { "–".into() },
            format!("{:.4}", model.distance),
        ]);
    }
    let from = match &record.base {
        Some(base) => format!("distance from {base}"),
        None => "distance from the first".into(),
    };
    format!(
        "  {} merged by {}: {}, {} numbers; {from}\n\n{}",
        counted(record.models.len(), "model"),
        settings::describe(method),
        counted(record.tensors, "tensor"),
        count(record.numbers),
        table.render()
    )
}

/// The scores, as a table.
pub fn scores_table(rows: &[TaskRow], split: Split) -> String {
    let refitted = rows.iter().any(|row| row.refitted.is_some());
    let mut header = vec!["task", "metric", "rows", "own model", "merged"];
    header.extend(refitted.then_some("refitted heads"));
    let mut table = Table::new(&header);
    let written = |value: Option<f64>| value.map_or_else(|| "–".into(), points);
    for row in rows {
        let mut cells =
            vec![row.task.clone(), row.metric.clone(), count(row.rows), points(row.own), written(row.merged)];
        cells.extend(refitted.then(|| written(row.refitted)));
        table.row(cells);
    }
    format!("  {split} split, in points of a hundred\n\n{}", table.render())
}

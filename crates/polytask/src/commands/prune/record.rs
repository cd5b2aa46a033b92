//! What pruning found and did: `prune.json`, and tables of it.

use super::Prune;
use super::choice::{Wanted, kept_share};
use super::measured::Measured;
use crate::distill::teachers::shown;
use crate::job::measured::{ModelRow, TaskChange, changes_table, models_table};
use crate::terminal::figures::{count, points};
use crate::terminal::table::Table;
use model::pruning::Cut;
use serde::Serialize;
use std::path::Path;
use train::{LossesWithout, SearchStep, TaskImportance};

/// `prune.json`
#[derive(Debug, Clone, Serialize)]
pub struct Pruned {
    /// The version of the program.
    polytask: &'static str,
    /// What was asked for.
    wanted: Wanted,
    /// How layers were chosen.
    layers_by: &'static str,
    /// The split of the rows that importance was measured on.
    split: &'static str,
    /// The seed that they were drawn by.
    seed: u64,
    /// What has stayed.
    kept: Kept,
    /// What each task depends on.
    importance: Vec<Importance>,
    /// What the tasks' losses are without layers, where these were chosen by that; null otherwise.
    without_layers: Option<WithoutLayers>,
    /// Of each task with labelled validation rows.
    tasks: Vec<TaskChange>,
    /// The model as it was.
    before: ModelRow,
    /// The pruned one.
    after: ModelRow,
}

/// What has stayed, by the places in the model as it was.
#[derive(Debug, Clone, Serialize)]
struct Kept {
    /// Layers; null: all.
    layers: Option<Vec<usize>>,
    /// Groups of heads by layer; null: all.
    head_groups: Option<Vec<Vec<usize>>>,
    /// Feed-forward columns by layer; null: all.
    ffn: Option<Vec<Vec<usize>>>,
    /// Dimensions of states; null: all.
    hidden: Option<Vec<usize>>,
}

/// What a task depends on: means over its rows of the size of the derivative of the row's loss by a structure's gate.
#[derive(Debug, Clone, Serialize)]
struct Importance {
    task: String,
    rows: usize,
    layers: Vec<f64>,
    head_groups: Vec<Vec<f64>>,
    ffn: Vec<Vec<f64>>,
    /// Of dimensions of states; empty where these were not cut.
    hidden: Vec<f64>,
}

/// The losses of the search for the layers that stay.
#[derive(Debug, Clone, Serialize)]
struct WithoutLayers {
    /// Those that went, the least harmful one first.
    order: Vec<usize>,
    /// Of the whole model, and without some layers: mean losses in the order of the tasks.
    losses: Vec<LossesWithout>,
}

impl WithoutLayers {
    /// The losses of the tasks without some layers.
    fn losses(&self, layers: &[usize]) -> Option<&[Option<f64>]> {
        self.losses.iter().find(|found| found.layers == layers).map(|found| &found.losses[..])
    }
}

impl Pruned {
    pub(super) fn new(
        of: &Prune<'_>,
        measured: &Measured,
        (cut, order): (Cut, Option<SearchStep>),
        scores: Vec<TaskChange>,
        [before, after]: [ModelRow; 2],
    ) -> Self {
        let importance = |task: TaskImportance| Importance {
            task: task.task,
            rows: task.rows,
            layers: task.layers,
            head_groups: task.heads,
            ffn: task.ffn,
            hidden: task.hidden,
        };
        Pruned {
            polytask: env!("CARGO_PKG_VERSION"),
            wanted: of.wanted,
            layers_by: of.wanted.by.name(),
            split: of.split.name(),
            seed: of.args.seed,
            kept: Kept { layers: cut.layers, head_groups: cut.head_groups, ffn: cut.ffn, hidden: cut.hidden },
            importance: measured.importance.iter().cloned().map(importance).collect(),
            without_layers: match order {
                Some(SearchStep::Done(order)) => {
                    Some(WithoutLayers { order, losses: measured.losses.clone() })
                }
                _ => None,
            },
            tasks: scores,
            before,
            after,
        }
    }
}

/// The record for people.
pub(super) struct Text<'a> {
    pub(super) record: &'a Pruned,
    pub(super) out: &'a Path,
}

impl Text<'_> {
    pub(super) fn all(&self) -> String {
        let out = self.out.display();
        format!(
            "{}\n{}{}\n{}\n{}\n  next: polytask train {out}/config.toml --run {out}-tuned, to win back what was lost; or polytask evaluate {out}\n",
            self.layers(),
            self.without_layers(),
            self.shares(),
            self.scores(),
            self.models()
        )
    }

    /// Of each layer its share of what every task depends on, and what of it has stayed.
    fn layers(&self) -> String {
        let Pruned { importance, kept, split, .. } = self.record;
        let mut header = vec!["layer"];
        header.extend(importance.iter().map(|task| task.task.as_str()));
        header.push("stays");
        let mut table = Table::new(&header);
        for layer in 0..importance.first().map_or(0, |task| task.layers.len()) {
            let mut cells = vec![layer.to_string()];
            cells.extend(importance.iter().map(|task| {
                let all: f64 = task.layers.iter().sum();
                if all > 0.0 { points(task.layers[layer] / all) } else { "-".into() }
            }));
            cells.push(kept.of_layer(layer, importance));
            table.row(cells);
        }
        format!(
            "  what the tasks depend on, by their own {split} rows: each layer's share of the sum over layers, in percent\n\n{}",
            table.render()
        )
    }

    /// How the loss of every task changes without each layer, and then without that one which went, and so on.
    fn without_layers(&self) -> String {
        let Pruned { importance, without_layers, .. } = self.record;
        let Some(found) = without_layers else { return String::new() };
        let Some(whole) = found.losses(&[]) else { return String::new() };
        let mut header = vec!["without"];
        header.extend(importance.iter().map(|task| task.task.as_str()));
        let mut table = Table::new(&header);
        let mut row = |name: String, cells: Vec<String>| {
            table.row([vec![name], cells].concat());
        };
        let plain = |loss: &Option<f64>| loss.map_or("-".into(), |loss| format!("{loss:.3}"));
        row("nothing".into(), whole.iter().map(plain).collect());
        let layers = importance.first().map_or(0, |task| task.layers.len());
        let singles = (0..layers).map(|layer| vec![layer]);
        let ordered = (2..=found.order.len()).map(|count| {
            let mut gone = found.order[..count].to_vec();
            gone.sort_unstable();
            gone
        });
        for gone in singles.chain(ordered) {
            let Some(losses) = found.losses(&gone) else { continue };
            let change = |(loss, whole): (&Option<f64>, &Option<f64>)| match (loss, whole) {
                (Some(loss), Some(whole)) => format!("{:+.3}", loss - whole),
                _ => "-".into(),
            };
            let name = gone.iter().map(usize::to_string).collect::<Vec<_>>().join(", ");
            row(name, losses.iter().zip(whole).map(change).collect());
        }
        let order = match &found.order[..] {
            [] => "none went".to_owned(),
            order => format!(
                "went, in this order: {}",
                order.iter().map(usize::to_string).collect::<Vec<_>>().join(", ")
            ),
        };
        format!(
            "  the loss of every task on those rows, and its change without a layer; {order}\n\n{}\n",
            table.render()
        )
    }

    /// How much of what every task depends on has stayed.
    fn shares(&self) -> String {
        let Pruned { importance, kept, .. } = self.record;
        let layers = kept.layers.as_deref();
        let mut table = Table::new(&["task", "rows", "layers", "heads", "ffn", "hidden"]);
        let shown = |share: Option<f64>| share.map_or("-".into(), points);
        let hidden = kept.hidden.clone().map(|kept| vec![kept]);
        for task in importance {
            let by_layer: Vec<Vec<f64>> = task.layers.iter().map(|layer| vec![*layer]).collect();
            table.row([
                task.task.clone(),
                count(task.rows),
                shown(kept_share(&by_layer, None, layers)),
                shown(kept_share(&task.head_groups, kept.head_groups.as_deref(), layers)),
                shown(kept_share(&task.ffn, kept.ffn.as_deref(), layers)),
                shown(kept_share(std::slice::from_ref(&task.hidden), hidden.as_deref(), None)),
            ]);
        }
        format!("  how much of that has stayed, in percent of each task's own\n\n{}", table.render())
    }

    fn scores(&self) -> String {
        let tasks = &self.record.tasks;
        if tasks.is_empty() {
            return "  no task has labelled validation rows: nothing was scored\n".into();
        }
        format!(
            "  validation split, scores in points of a hundred, before any training of what is left\n\n{}",
            changes_table(tasks)
        )
    }

    fn models(&self) -> String {
        let Pruned { before, after, .. } = self.record;
        let name = |row: &ModelRow| shown(row.folder.parent().unwrap_or(&row.folder));
        let speed = match (before.rows_per_second(), after.rows_per_second()) {
            (Some(before), Some(after)) => format!(", {:.2} of its rows per second", after / before),
            _ => String::new(),
        };
        format!(
            "{}  the pruned model has {:.2} of the parameters, {:.2} of the size on disk{speed}\n",
            models_table([(name(before), before), (name(after), after)]),
            after.parameters as f64 / before.parameters.max(1) as f64,
            after.bytes as f64 / before.bytes.max(1) as f64,
        )
    }
}

impl Kept {
    /// What of a layer has stayed, in words.
    fn of_layer(&self, layer: usize, importance: &[Importance]) -> String {
        if self.layers.as_ref().is_some_and(|layers| !layers.contains(&layer)) {
            return "-".into();
        }
        let part = |kept: &Option<Vec<Vec<usize>>>, of: fn(&Importance) -> &Vec<Vec<f64>>, what: &str| {
            let (kept, all) = (kept.as_ref()?, importance.first().map_or(0, |task| of(task)[layer].len()));
            Some(format!("{} of {} {what}", count(kept[layer].len()), count(all)))
        };
        let heads = part(&self.head_groups, |task| &task.head_groups, "groups of heads");
        let ffn = part(&self.ffn, |task| &task.ffn, "columns");
        let parts: Vec<String> = [heads, ffn].into_iter().flatten().collect();
        if parts.is_empty() { "all".into() } else { parts.join(", ") }
    }
}

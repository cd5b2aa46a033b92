//! What was factorized, and what came of it: `factorize.json`, and tables of it.

use crate::cli;
use crate::distill::teachers::shown;
use crate::job::measured::{ModelRow, TaskChange, changes_table, models_table};
use crate::terminal::figures::{count, points, short};
use crate::terminal::table::Table;
use ::model::factorization::NetworkPart;
use ::train::{FactorizedMatrix, InputStatistics};
use serde::Serialize;
use std::path::Path;

/// `factorize.json`
#[derive(Debug, Clone, Serialize)]
pub struct Factorized {
    /// The version of the program.
    polytask: &'static str,
    /// The split of the rows that inputs were summed up over.
    split: String,
    /// The seed that they were drawn by.
    seed: u64,
    /// How many went through the network.
    rows: usize,
    /// Their tokens.
    calibration_tokens: usize,
    /// Matrices that are two factors now.
    matrices: Vec<Matrix>,
    /// Of each task with labelled validation rows.
    tasks: Vec<TaskChange>,
    /// The model as it was.
    before: ModelRow,
    /// The factorized one.
    after: ModelRow,
}

/// A matrix that is two factors now.
#[derive(Debug, Clone, Serialize)]
struct Matrix {
    name: String,
    part: &'static str,
    /// Null of the token table.
    layer: Option<usize>,
    shape: [usize; 2],
    rank: usize,
    /// The squared norm of what it gave for the inputs; of the token table of its rows, by how often they were read.
    energy: f64,
    /// That of the error.
    lost: f64,
}

impl Factorized {
    pub(super) fn new(
        args: &cli::Factorize,
        matrices: &[FactorizedMatrix],
        inputs: &InputStatistics,
        tasks: Vec<TaskChange>,
        [before, after]: [ModelRow; 2],
    ) -> Self {
        let matrix = |found: &FactorizedMatrix| Matrix {
            name: found.name.clone(),
            part: found.of.part.name(),
            layer: found.of.layer,
            shape: found.of.shape,
            rank: found.rank,
            energy: found.energy,
            lost: found.lost,
        };
        Factorized {
            polytask: env!("CARGO_PKG_VERSION"),
            split: args.split.clone(),
            seed: args.seed,
            rows: inputs.rows,
            calibration_tokens: inputs.tokens,
            matrices: matrices.iter().map(matrix).collect(),
            tasks,
            before,
            after,
        }
    }
}

/// The record for people.
pub(super) struct Text<'a> {
    pub(super) record: &'a Factorized,
    pub(super) out: &'a Path,
}

impl Text<'_> {
    pub(super) fn all(&self) -> String {
        let out = self.out.display();
        format!(
            "{}\n{}\n{}\n  next: polytask train {out}/config.toml --run {out}-tuned, to win back what was lost; or polytask evaluate {out}\n",
            self.parts(),
            self.scores(),
            self.models()
        )
    }

    /// Of each part what it has kept.
    fn parts(&self) -> String {
        let Factorized { matrices, split, rows, calibration_tokens, .. } = self.record;
        let mut table = Table::new(&["part", "ranks", "parameters", "are", "kept"]);
        let mut at = 0;
        while at < matrices.len() {
            let is_same =
                |other: &&Matrix| (other.part, other.layer) == (matrices[at].part, matrices[at].layer);
            let part: Vec<&Matrix> = matrices[at..].iter().take_while(is_same).collect();
            at += part.len();
            table.row(row_of(&part));
        }
        format!(
            "  parts as two factors; kept: of what their matrices give for the inputs of {} {split} rows ({} tokens), the share of the \
             squared norm, in percent\n\n{}",
            count(*rows),
            count(*calibration_tokens),
            table.render()
        )
    }

    fn scores(&self) -> String {
        let tasks = &self.record.tasks;
        if tasks.is_empty() {
            return "  no task has labelled validation rows: nothing was scored\n".into();
        }
        format!(
            "  validation split, scores in points of a hundred, before any training of the factors\n\n{}",
            changes_table(tasks)
        )
    }

    fn models(&self) -> String {
        let Factorized { before, after, .. } = self.record;
        let name = |row: &ModelRow| shown(row.folder.parent().unwrap_or(&row.folder));
        let speed = match (before.rows_per_second(), after.rows_per_second()) {
            (Some(before), Some(after)) => format!(", {:.2} of its rows per second", after / before),
            _ => String::new(),
        };
        format!(
            "{}  the factorized model has {:.2} of the parameters, {:.2} of the size on disk{speed}\n",
            models_table([(name(before), before), (name(after), after)]),
            after.parameters as f64 / before.parameters.max(1) as f64,
            after.bytes as f64 / before.bytes.max(1) as f64,
        )
    }
}

/// A line of matrices of the same part and layer.
fn row_of(part: &[&Matrix]) -> Vec<String> {
    let first = part[0];
    let name = match first.layer {
        _ if first.part == NetworkPart::Embeddings.name() => first.part.to_owned(),
        Some(layer) => format!("layer {layer} {}", first.part),
        None => first.part.to_owned(),
    };
    let ranks: Vec<String> = part.iter().map(|matrix| count(matrix.rank)).collect();
    let sum = |of: fn(&Matrix) -> usize| part.iter().map(|matrix| of(matrix)).sum::<usize>();
    let whole = sum(|matrix| matrix.shape[0] * matrix.shape[1]);
    let factors = sum(|matrix| matrix.rank * (matrix.shape[0] + matrix.shape[1]));
    let energy: f64 = part.iter().map(|matrix| matrix.energy).sum();
    let lost: f64 = part.iter().map(|matrix| matrix.lost).sum();
    let kept = if energy > 0.0 { points(1.0 - lost / energy) } else { "-".into() };
    vec![name, ranks.join(", "), short(whole), short(factors), kept]
}

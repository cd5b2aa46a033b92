//! `polytask evaluate`: a trained model's scores on a split of its corpora.

use crate::cli;
use crate::failure::Failure;
use crate::terminal::{figures::count, figures::points, output, table::Table};
use crate::{
    config::Config, job::assemble, job::corpora::TaskLabels, job::out_of_domain::OtherDomains,
    job::scoring::score_tasks,
};
use data::Split;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use train::{Evaluation, Model, RunDir, TaskScores};

/// Scores the run's model and prints a table, or one JSON object.
pub fn evaluate(args: &cli::Evaluate) -> Result<u8, Failure> {
    let split = split(&args.split)?;
    let run = RunDir::new(&args.run);
    let config = super::config_of_run(&run)?;
    let device = super::open_device(args.device.unwrap_or(config.train.device))?;
    let (evaluation, elsewhere, model) = super::with_threads(config.train.threads, || {
        let mut model = super::open_model(&args.run, &device)?;
        model.pack_for_inference();
        let (evaluation, model) = score(&config, model, split)?;
        match split {
            Split::Test => score_elsewhere(&config, model).map(|(found, model)| (evaluation, found, model)),
            _ => Ok((evaluation, Vec::new(), model)),
        }
    })?;
    let scores = as_json(&evaluation, &elsewhere, &args.split);
    // A run that cannot be written can be scored all the same.
    let text = serde_json::to_vec_pretty(&scores).map_err(Failure::failed)?;
    if let Err(failure) = super::train::write(&scores_path(&run, split), &text) {
        output::error(format_args!(
            "warning: reports of this run will lack these scores: {}",
            failure.messages.join("; ")
        ));
    }
    if args.json {
        output::line(scores);
    } else {
        output::line(format_args!("\n{}", as_table(&evaluation, &elsewhere, &model, split)));
    }
    Ok(0)
}

/// A task's scores on the test rows of a corpus of another domain.
struct Elsewhere {
    corpus: String,
    scored: TaskScores,
}

/// Scores the tasks on the corpora of their `out_of_domain`.
fn score_elsewhere(config: &Config, mut model: Model) -> Result<(Vec<Elsewhere>, Model), Failure> {
    let mut found = Vec::new();
    for other in OtherDomains::rounds(config) {
        let config = other.applied(config, &mut model);
        let job = assemble::assemble_saved(&config, model, &[Split::Test])?.job;
        let (evaluation, _) = score_tasks(&config, &job, Split::Test, |task| other.has(task))?;
        model = job.model;
        for scored in evaluation.tasks {
            let slot = model.tasks.iter().find(|slot| slot.name == scored.task);
            let corpus = slot.map(|slot| slot.config.corpus.clone()).unwrap_or_default();
            found.push(Elsewhere { corpus, scored });
        }
    }
    Ok((found, model))
}

/// Where the scores of a split lie in a run, once they were computed: as the object that `--json` prints.
pub fn scores_path(run: &RunDir, split: Split) -> PathBuf {
    run.root().join(format!("scores.{split}.json"))
}

/// The scores of a split as they are stored.
#[derive(Debug, Clone, Deserialize)]
pub struct SavedScores {
    /// By task.
    pub tasks: BTreeMap<String, SavedTaskScores>,
}

/// The scores of a task as they are stored.
#[derive(Debug, Clone, Deserialize)]
pub struct SavedTaskScores {
    /// The primary metric.
    pub primary: String,
    /// By metric.
    pub scores: BTreeMap<String, f64>,
}

/// Scores a model on a split of the config's corpora.
pub fn score(config: &Config, model: Model, split: Split) -> Result<(Evaluation, Model), Failure> {
    let assembled = assemble::assemble_saved(config, model, &[split])?;
    let job = &assembled.job;
    if job.views.of(split).iter().all(|view| view.encoded.rows() == 0) {
        return Err(Failure::refused([format!("no corpus of this run has a {split} split")]));
    }
    if assembled.report.labels.iter().all(|found| found.labelled == 0) {
        return Err(Failure::refused([nothing_to_score(&assembled.report.labels, split)]));
    }
    let (evaluation, _) = score_tasks(config, job, split, |_| true)?;
    Ok((evaluation, assembled.job.model))
}

/// Why there is nothing to score: no row has a label.
fn nothing_to_score(labels: &[TaskLabels], split: Split) -> String {
    let missing = |found: &TaskLabels| match found.teacher_alone {
        true => format!("task `{}` has learned the states of a teacher, and has no score", found.task),
        false => format!(
            "task `{}` reads `{}`, the rows have {}",
            found.task,
            found.fields.join("`, `"),
            found.fields_found
        ),
    };
    let missing: Vec<String> = labels.iter().map(missing).collect();
    format!(
        "no row of the {split} split has a label, so that there is nothing to score: {}",
        missing.join("; ")
    )
}

/// The split of that name.
///
/// # Errors
/// Another name.
pub fn split(name: &str) -> Result<Split, Failure> {
    Split::ALL.into_iter().find(|split| split.name() == name).ok_or_else(|| {
        Failure::refused([format!("--split {name}: found `{name}`, expected train, validation or test")])
    })
}

fn as_table(evaluation: &Evaluation, elsewhere: &[Elsewhere], model: &Model, split: Split) -> String {
    let mut table = Table::new(&["task", "kind", "rows", "metric", "score", "also"]);
    let own = evaluation.tasks.iter().map(|scored| (scored.task.clone(), scored));
    let other = |found: &'_ Elsewhere| format!("{} on {}", found.scored.task, found.corpus);
    for (name, scored) in own.chain(elsewhere.iter().map(|found| (other(found), &found.scored))) {
        let slot = model.tasks.iter().find(|slot| slot.name == scored.task);
        let kind = slot.and_then(|slot| slot.config.kind(&slot.name).ok()).unwrap_or_default();
        let primary = scored.scores.primary.as_str();
        let also = scored.scores.values.iter().filter(|(name, _)| name != primary);
        // Errors are no fractions: they stay in their own unit.
        let is_score = |name: &str| slot.is_some_and(|slot| slot.kind.metrics().contains(&name));
        let written = |name: &str, value: f64| match is_score(name) {
            true => format!("{name} {}", points(value)),
            false => format!("{name} {value:.4}"),
        };
        table.row([
            name,
            kind.to_string(),
            count(scored.rows),
            primary.to_string(),
            points(scored.primary()),
            also.map(|(name, value)| written(name, *value)).collect::<Vec<_>>().join(", "),
        ]);
    }
    let signatures: String = evaluation
        .tasks
        .iter()
        .flat_map(|scored| scored.scores.signatures.iter().map(move |found| (&scored.task, found)))
        .map(|(task, (metric, signature))| format!("  {metric} of {task}: {signature}\n"))
        .collect();
    let mean = evaluation.mean.map(|m| format!("  weighted mean {}\n", points(m))).unwrap_or_default();
    format!(
        "  {split} split, scores in points of a hundred, errors in their own unit\n\n{}\n{signatures}{mean}",
        table.render()
    )
}

fn as_json(evaluation: &Evaluation, elsewhere: &[Elsewhere], split: &str) -> Value {
    let entry = |scored: &TaskScores| {
        let scores: Map<String, Value> =
            scored.scores.values.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let signatures: Map<String, Value> =
            scored.scores.signatures.iter().map(|(name, text)| (name.clone(), json!(text))).collect();
        json!({ "rows": scored.rows, "primary": scored.scores.primary, "loss": scored.loss, "scores": scores, "signatures": signatures })
    };
    let tasks: Map<String, Value> =
        evaluation.tasks.iter().map(|scored| (scored.task.clone(), entry(scored))).collect();
    let mut json = json!({ "split": split, "mean": evaluation.mean, "tasks": tasks });
    if !elsewhere.is_empty() {
        let other = |found: &Elsewhere| {
            let mut other = entry(&found.scored);
            other["task"] = json!(found.scored.task);
            other["corpus"] = json!(found.corpus);
            other
        };
        json["out_of_domain"] = elsewhere.iter().map(other).collect();
    }
    json
}

//! The page of one run.

use super::affinity;
use super::charts;
use super::held_out::{HeldOut, TaskErrors};
use super::outcome::outcomes;
use super::run_files::{DataLabels, DataView, RunFiles};
use crate::history::{CurveKind, History, RunState};
use crate::terminal::figures::{count, counted, duration, points, short};
use report::page::{Align, Confusion, Page};
use std::time::Duration;

use Align::{Figures, Words};

/// Labels that a summary names.
const LABELS: usize = 6;

/// The page as HTML.
pub fn page(run: &RunFiles) -> String {
    let runs = std::slice::from_ref(run);
    let history = &run.history;
    let mut page = Page::new(&format!("Run {}", run.name), &state(history));
    outcome(&mut page, run);
    page.section("Loss", "Training: the loss of each step, and its mean over a fortieth of the steps around. Validation: the same loss on held-out rows, without dropout. A validation loss that rises while that of training falls says that the task is overfitted.");
    charts::losses(&mut page, runs, history.tasks());
    if history.evaluations.is_empty() {
        page.paragraph("Nothing was evaluated in training: no validation row has a label, or the run ended before its first evaluation.");
    } else {
        page.section("Scores", "On validation rows, fractions.");
        charts::scores(&mut page, runs, history.tasks());
    }
    balance(&mut page, history);
    affinity::section(&mut page, history);
    page.section("Computation and learning rates", "");
    charts::compute(&mut page, history);
    charts::learning_rates(&mut page, runs);
    charts::of_runs(&mut page, runs, "speed", "tokens per second", &CurveKind::Speed, "tokens_per_second");
    data(&mut page, run);
    if let Some(found) = &run.held_out {
        held_out(&mut page, found);
    }
    super::origin(&mut page, run.environment.as_ref(), &run.config_text);
    page.finish()
}

/// Where the run stands, in words.
fn state(history: &History) -> String {
    let last = history.last;
    let at = format!("step {}, epoch {}", count(last.step), last.epoch);
    let time = duration(Duration::from_secs_f64(last.elapsed));
    let early = if history.stopped_early.is_some() { "stopped early" } else { "finished" };
    match &history.state {
        RunState::Finished(e) => format!(
            "{early} after {} and {}; the model is that of step {}",
            counted(e.step, "step"),
            duration(Duration::from_secs_f64(e.elapsed)),
            count(e.result)
        ),
        RunState::Interrupted(e) => {
            format!("interrupted after step {} of {}, {time}", count(e.step), count(e.steps))
        }
        RunState::Open => format!("not finished: {at}, {time}"),
    }
}

fn outcome(page: &mut Page, run: &RunFiles) {
    let history = &run.history;
    page.section("Result", "What each task got, and what it gave. Epochs are rows by the task's labelled rows; computation is its share of the products with the trunk's weights. Scores in points of a hundred: at the first validation, at the best of the task, at the last.");
    if !run.problems.is_empty() {
        page.points(run.problems.iter().map(|problem| (problem.as_str(), [].as_slice())));
    }
    let header = [
        ("task", Words),
        ("kind", Words),
        ("rows", Figures),
        ("epochs", Figures),
        ("tokens", Figures),
        ("computation", Figures),
        ("time", Figures),
        ("metric", Words),
        ("first", Figures),
        ("best", Figures),
        ("at step", Figures),
        ("last", Figures),
        ("test", Figures),
    ];
    let dash = || "–".to_owned();
    let rows: Vec<Vec<String>> = outcomes(run)
        .into_iter()
        .map(|found| {
            let of = |which: usize| found.validation.map_or_else(dash, |scored| points(scored[which].score));
            vec![
                found.task.clone(),
                run.kind(&found.task),
                count(found.rows as usize),
                found.epochs.map_or_else(dash, |epochs| format!("{epochs:.1}")),
                count(found.tokens as usize),
                format!("{:.1} %", 100.0 * found.compute_share),
                duration(Duration::from_secs_f64(found.seconds)),
                found.metric.clone(),
                of(0),
                of(1),
                found.validation.map_or_else(dash, |scored| count(scored[1].step)),
                of(2),
                found.test.map_or_else(dash, points),
            ]
        })
        .collect();
    page.table(&header, &rows);
    if run.test.is_none() {
        page.paragraph(&format!(
            "The test split is not scored: `polytask evaluate {}` does it.",
            run.run.root().display()
        ));
    }
    let mut facts: Vec<(&str, String)> = Vec::new();
    if let Some(command) = run.environment.as_ref().and_then(|found| found.sessions.first()) {
        facts.push(("command", format!("`{}`", command.command_line())));
    }
    if let Some(started) = &history.started {
        let heads: usize = started.head_parameters.values().sum();
        facts.push((
            "parameters",
            format!(
                "{} in the trunk, {} in {}",
                short(started.trunk_parameters),
                short(heads),
                counted(started.head_parameters.len(), "head")
            ),
        ));
    }
    if let Some(best) = history.best() {
        facts.push((
            "best evaluation",
            format!("step {}, weighted mean {}", count(best.step), points(best.mean)),
        ));
    }
    facts.push(("tokens", count(history.last.tokens as usize)));
    for done in &history.tasks_done {
        let why = match done.reason {
            train::StopReason::Budget => "its budget was used up".to_owned(),
            train::StopReason::Stopped { best } => format!("no better score since step {}", count(best)),
        };
        facts.push(("task done", format!("{} after step {}: {why}", done.task, count(done.step))));
    }
    if !history.resumed_after.is_empty() {
        let steps: Vec<String> = history.resumed_after.iter().map(|step| count(*step)).collect();
        facts.push(("resumed after step", steps.join(", ")));
    }
    if !history.nonfinite_steps.is_empty() {
        facts.push(("steps not finite", count(history.nonfinite_steps.len())));
    }
    page.facts(&facts);
}

fn balance(page: &mut Page, history: &History) {
    if history.tasks().len() < 2 {
        return;
    }
    page.section("Balance of the tasks", "");
    let weight = |task| history.curves.get(&CurveKind::Balance, "weight", task);
    let weights: Vec<f64> =
        history.tasks().iter().flat_map(|task| weight(task)).map(|point| point.value).collect();
    let constant = weights.first().filter(|first| weights.iter().all(|weight| weight == *first));
    if let Some(weight) = constant {
        page.paragraph(&format!("The weight of every task is {weight} in every step."));
    }
    let conflicts = history.curves.get(&CurveKind::Gradient, "conflicts", "");
    page.paragraph(&match conflicts.iter().filter(|point| point.value > 0.0).count() {
        _ if conflicts.is_empty() => "The balancer does not look at the gradients of single tasks, so that their norms, cosines and conflicts are not known.".into(),
        steps => format!(
            "In {} of {} steps ({:.0} %) gradients were in conflict: the cosine of at least one pair of tasks was negative. A mean cosine within two standard errors of 0 is drawn pale.",
            count(steps),
            count(conflicts.len()),
            100.0 * steps as f64 / conflicts.len() as f64
        ),
    });
    if constant.is_none() {
        charts::of_tasks(page, history, "weight of each task", "weight", &CurveKind::Balance, "weight");
    }
    charts::gradients(page, history);
}

fn data(page: &mut Page, run: &RunFiles) {
    let (Some(data), history) = (&run.data, &run.history) else { return };
    page.section("Data", "");
    let header = [
        ("corpus", Words),
        ("split", Words),
        ("tasks", Words),
        ("rows", Figures),
        ("tokens", Figures),
        ("rows cut", Figures),
        ("blank rows", Figures),
        ("unknown tokens", Figures),
    ];
    // The splits of a corpus below each other, and those of a task.
    let place = |name: &String| history.tasks().iter().position(|task| task == name);
    let mut views: Vec<&DataView> = data.views.iter().collect();
    views.sort_by_key(|view| view.tasks.first().and_then(place));
    let mut labels: Vec<&DataLabels> = data.labels.iter().collect();
    labels.sort_by_key(|found| place(&found.task));
    let rows: Vec<Vec<String>> = views
        .iter()
        .map(|view| {
            vec![
                view.corpus.clone(),
                view.split.clone(),
                view.tasks.join(", "),
                count(view.rows),
                count(view.tokens),
                count(view.truncated_rows),
                count(view.blank_rows),
                count(view.unknown_tokens),
            ]
        })
        .collect();
    page.table(&header, &rows);
    let header = [
        ("task", Words),
        ("split", Words),
        ("rows with a label", Figures),
        ("without", Figures),
        ("labels", Figures),
        ("most frequent", Words),
    ];
    let rows: Vec<Vec<String>> = labels
        .iter()
        .map(|found| {
            let mut counts = found.counts.clone();
            counts.retain(|(_, n)| *n > 0);
            counts.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
            let some: Vec<String> =
                counts.iter().take(LABELS).map(|(label, n)| format!("{label} {}", count(*n))).collect();
            vec![
                found.task.clone(),
                found.split.clone(),
                count(found.labelled),
                count(found.missing),
                if counts.is_empty() { "–".into() } else { count(counts.len()) },
                some.join(", "),
            ]
        })
        .collect();
    page.table(&header, &rows);
    let mut findings: Vec<(String, Vec<String>)> =
        data.findings.iter().map(|text| (text.clone(), Vec::new())).collect();
    for found in &data.labels {
        let task = &found.task;
        findings.extend(found.remarks.iter().map(|remark| (format!("{task}: {remark}"), Vec::new())));
        findings.extend(found.issues.iter().map(|issue| {
            (
                format!("{task}, {}: {} rows {}", found.split, count(issue.rows), issue.what),
                issue.places.clone(),
            )
        }));
        if !found.unseen.is_empty() {
            let names = found.unseen.iter().map(|(label, n)| format!("{label} ({})", count(*n))).collect();
            let text = format!(
                "{task}, {}: {} that training never shows",
                found.split,
                counted(found.unseen.len(), "label")
            );
            findings.push((text, names));
        }
    }
    if !findings.is_empty() {
        page.heading("To look at");
        page.points(findings.iter().map(|(text, examples)| (text.as_str(), examples.as_slice())));
    }
}

fn held_out(page: &mut Page, found: &HeldOut) {
    page.section(
        &format!("Answers on {} rows", found.split),
        &format!(
            "Of the exported model. A confusion matrix counts answers: a row for each true label, a column for each answer, colours by the share of the true label. Of a corpus with more than {} labelled rows it answers as many, at even distances.",
            count(found.most_rows)
        ),
    );
    for task in &found.tasks {
        page.heading(&task.task);
        let share = 100.0 * task.correct as f64 / task.rows.max(1) as f64;
        let of = if task.rows < task.labelled {
            format!(" of {} labelled ones", count(task.labelled))
        } else {
            String::new()
        };
        page.paragraph(&format!(
            "{}: {} rows{of}, {share:.1} % of them right in all parts.",
            task.kind,
            count(task.rows)
        ));
        if task.labels.len() > 1 {
            let confusion = Confusion { labels: task.labels.clone(), counts: task.confusion.clone() };
            let caption = format!("{}: gold (rows) and predicted (columns)", task.task);
            page.confusion(&caption, &confusion);
        }
        worst(page, task);
    }
}

fn worst(page: &mut Page, task: &TaskErrors) {
    if task.worst.is_empty() {
        return;
    }
    page.paragraph(&format!("The worst answers, by the {}:", task.error_is));
    let header = [("place", Words), ("text", Words), ("gold", Words), ("answer", Words), ("error", Figures)];
    let rows: Vec<Vec<String>> = task
        .worst
        .iter()
        .map(|row| {
            // The end of a path tells files of one run apart.
            let place = row.place.rsplit(['/', '\\']).next().unwrap_or(&row.place).to_owned();
            vec![place, row.text.clone(), row.gold.clone(), row.answer.clone(), format!("{:.3}", row.error)]
        })
        .collect();
    page.table(&header, &rows);
}

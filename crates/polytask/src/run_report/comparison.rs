//! The page of several runs beside each other.

use super::charts;
use super::outcome::outcomes;
use super::run_files::RunFiles;
use crate::history::{CurveKind, RunState};
use crate::terminal::figures::{count, duration, points, short};
use report::page::{Align, Page};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use Align::{Figures, Words};

/// The page as HTML.
pub fn page(runs: &[RunFiles]) -> String {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let mut page = Page::new(&format!("{} runs", runs.len()), &names.join(", "));
    let tasks = tasks(runs);
    results(&mut page, runs, &tasks);
    differences(&mut page, runs);
    page.section("Scores", "The primary score of each task on validation rows, fractions. A run has the same colour and the same dashes in every chart of this section.");
    charts::scores(&mut page, runs, &tasks);
    page.section("Loss", "Of each task the mean over a fortieth of the steps in training, and broken the loss on validation rows. Losses of runs whose loss functions differ cannot be compared.");
    charts::losses(&mut page, runs, &tasks);
    page.section("Learning rates and speed", "");
    charts::learning_rates(&mut page, runs);
    charts::of_runs(&mut page, runs, "speed", "tokens per second", &CurveKind::Speed, "tokens_per_second");
    page.finish()
}

/// The tasks of all runs, in the order of the first that has them.
fn tasks(runs: &[RunFiles]) -> Vec<String> {
    let mut tasks: Vec<String> = Vec::new();
    for task in runs.iter().flat_map(|run| run.history.tasks()) {
        if !tasks.contains(task) {
            tasks.push(task.clone());
        }
    }
    tasks
}

fn results(page: &mut Page, runs: &[RunFiles], tasks: &[String]) {
    page.section("Results", "The best validation score of each task in a run, in points of a hundred; behind the stroke the test score, where `polytask evaluate` scored it. One run of each says nothing about chance: other seeds give other scores.");
    let mut problems = runs.iter().flat_map(|run| &run.problems).peekable();
    if problems.peek().is_some() {
        page.points(problems.map(|problem| (problem.as_str(), [].as_slice())));
    }
    let header: Vec<(&str, Align)> = [("", Words), ("", Words)]
        .into_iter()
        .chain(runs.iter().map(|run| (run.name.as_str(), Figures)))
        .collect();
    let line = |name: &str, about: &str, value: &dyn Fn(&RunFiles) -> String| {
        [name.to_owned(), about.to_owned()].into_iter().chain(runs.iter().map(value)).collect::<Vec<String>>()
    };
    let dash = || "–".to_owned();
    let mut rows: Vec<Vec<String>> = tasks
        .iter()
        .map(|task| {
            let metrics: BTreeSet<&str> = runs.iter().filter_map(|run| run.history.primary(task)).collect();
            let metric = metrics.into_iter().collect::<Vec<_>>().join(", ");
            line(task, &metric, &|run| {
                let Some(found) = outcomes(run).into_iter().find(|found| found.task == *task) else {
                    return dash();
                };
                let best = found.validation.map_or_else(dash, |[_, best, _]| points(best.score));
                found.test.map_or(best.clone(), |test| format!("{best} / {}", points(test)))
            })
        })
        .collect();
    rows.push(line("best weighted mean", "", &|run| {
        run.history.best().map_or_else(dash, |best| points(best.mean))
    }));
    rows.push(line("steps", "", &|run| count(run.history.last.step)));
    rows.push(line("tokens", "", &|run| count(run.history.last.tokens as usize)));
    rows.push(line("time", "", &|run| duration(Duration::from_secs_f64(run.history.last.elapsed))));
    rows.push(line("parameters", "", &|run| {
        let started = run.history.started.as_ref();
        started.map_or_else(dash, |e| short(e.trunk_parameters + e.head_parameters.values().sum::<usize>()))
    }));
    rows.push(line("model of step", "", &|run| match &run.history.state {
        RunState::Finished(end) => count(end.result),
        RunState::Interrupted(_) => "interrupted".into(),
        RunState::Open => "not finished".into(),
    }));
    page.table(&header, &rows);
}

fn differences(page: &mut Page, runs: &[RunFiles]) {
    page.section(
        "Differences of the configs",
        "Keys whose values are not the same in all runs, defaults included.",
    );
    let configs: Vec<BTreeMap<String, String>> = runs.iter().map(|run| flat(&run.config)).collect();
    let keys: BTreeSet<&String> = configs.iter().flat_map(BTreeMap::keys).collect();
    let differs = |key: &&&String| configs.iter().any(|config| config.get(**key) != configs[0].get(**key));
    let rows: Vec<Vec<String>> = keys
        .iter()
        .filter(differs)
        .map(|key| {
            let value =
                |config: &BTreeMap<String, String>| config.get(*key).cloned().unwrap_or_else(|| "–".into());
            std::iter::once((*key).clone()).chain(configs.iter().map(value)).collect()
        })
        .collect();
    if rows.is_empty() {
        page.paragraph("There are none.");
        return;
    }
    let header: Vec<(&str, Align)> =
        std::iter::once(("key", Words)).chain(runs.iter().map(|run| (run.name.as_str(), Words))).collect();
    page.table(&header, &rows);
}

/// A config as keys with dots and their values.
fn flat(config: &toml::Table) -> BTreeMap<String, String> {
    let mut out = BTreeMap::new();
    let mut open: Vec<(String, &toml::Value)> =
        config.iter().map(|(key, value)| (key.clone(), value)).collect();
    while let Some((key, value)) = open.pop() {
        match value {
            toml::Value::Table(table) if !table.is_empty() => {
                open.extend(table.iter().map(|(name, value)| (format!("{key}.{name}"), value)));
            }
            value => {
                out.insert(key, value.to_string());
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_config_is_keys_and_values() {
        let config =
            "[train]\nepochs = 3\n[task.a]\nimportance = 2.0\nx = { y = [1, \"z\"] }\n[b]".parse().unwrap();
        let flat: Vec<(String, String)> = super::flat(&config).into_iter().collect();
        let expected =
            [("b", "{}"), ("task.a.importance", "2.0"), ("task.a.x.y", "[1, \"z\"]"), ("train.epochs", "3")];
        assert_eq!(flat, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
}

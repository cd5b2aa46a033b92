//! What was found as a page with figures.

use super::analysis::Findings;
use super::matrix::{Estimate, Matrix};
use super::text::{Told, figure, groups_notes, marks, matrices, named};
use crate::config::Config;
use crate::run_report::{environment::Environment, origin};
use crate::terminal::figures::{count, counted};
use report::page::{Align, Chart, Page, Series, SignedCell, SignedHeatMap};

/// The most lines of a chart.
const LINES: usize = 8;

/// The page as HTML.
pub(super) fn page(findings: &Findings, (config, environment): (&Config, Option<&Environment>)) -> String {
    let names: Vec<&str> = findings.tasks.iter().map(|task| task.task.as_str()).collect();
    let subtitle = format!(
        "{}; {} after every {} of {}",
        names.join(", "),
        counted(findings.measurements, "measurement"),
        counted(findings.every, "step"),
        counted(findings.seeds.len(), "training")
    );
    let mut page = Page::new("Which tasks help which", &subtitle);
    groups(&mut page, findings);
    for told in matrices(findings) {
        page.section(told.heading, &told.legend);
        page.signed_heat_map(&told.title, &heat_map(findings, &told));
    }
    let marks = marks(findings);
    if !marks.is_empty() {
        page.section("How far to rely on them", "");
        marks.iter().for_each(|note| page.paragraph(note));
    }
    layers(&mut page, findings);
    course(&mut page, findings);
    tasks(&mut page, findings);
    origin(&mut page, environment, &config.resolved_toml());
    page.finish()
}

fn groups(page: &mut Page, findings: &Findings) {
    let about = format!("By {}.", findings.by.describe());
    page.section("Which to train together", &about);
    if let Some(why) = &findings.no_groups {
        return page.paragraph(&format!("No groups: {why}."));
    }
    let header = [
        ("models", Align::Figures),
        ("groups", Align::Words),
        ("predicted gain", Align::Figures),
        ("figures that may be chance", Align::Figures),
        ("found again", Align::Figures),
    ];
    let rows: Vec<Vec<String>> = findings
        .partitions
        .iter()
        .filter(|one| one.groups.len() == one.budget)
        .map(|one| {
            let again = one.stability.map_or("–".into(), |share| format!("{:.0} %", 100.0 * share));
            let unsure = format!("{} of {}", one.unsure.0, one.unsure.1);
            vec![count(one.budget), named(one), findings.amount(one.gain), unsure, again]
        })
        .collect();
    page.table(&header, &rows);
    groups_notes(findings).iter().for_each(|note| page.paragraph(note));
}

fn heat_map(findings: &Findings, told: &Told<'_>) -> SignedHeatMap {
    let tasks = &findings.tasks;
    let most = largest(told.matrix);
    let row = |from: usize| {
        let cell = |to: usize| {
            let found = told.matrix.at(from, to)?;
            let title = format!("{} → {}: {}", tasks[from].task, tasks[to].task, words(found, told.scale));
            Some(SignedCell {
                value: found.mean / most,
                uncertain: !found.is_sure(),
                text: figure(found, told.scale).trim_end().to_owned(),
                title,
            })
        };
        (tasks[from].task.clone(), (0..tasks.len()).map(cell).collect())
    };
    SignedHeatMap {
        columns: tasks.iter().map(|task| task.task.clone()).collect(),
        rows: (0..tasks.len()).map(row).collect(),
        ends: (told.ends.0.into(), told.ends.1.into()),
    }
}

/// The greatest figure of a matrix, its diagonal included.
fn largest(matrix: &Matrix) -> f64 {
    let all = matrix.0.iter().flatten().flatten().map(|found| found.mean.abs());
    all.fold(f64::MIN_POSITIVE, f64::max)
}

/// A figure with its interval.
fn words(found: &Estimate, (scale, digits): (f64, usize)) -> String {
    let mean = format!("{:+.digits$}", scale * found.mean);
    match found.interval {
        Some([low, high]) => {
            format!("{mean}, 95 % interval {:+.digits$} to {:+.digits$}", scale * low, scale * high)
        }
        None => mean,
    }
}

/// The pairs whose cosines are the greatest, to either side.
fn strongest(findings: &Findings) -> Vec<(usize, usize)> {
    let pairs = findings.cosine.pairs().filter(|((a, b), _)| a < b);
    let mut pairs: Vec<((usize, usize), f64)> = pairs.map(|(pair, found)| (pair, found.mean.abs())).collect();
    pairs.sort_by(|a, b| b.1.total_cmp(&a.1));
    pairs.into_iter().take(LINES).map(|(pair, _)| pair).collect()
}

fn pair_name(findings: &Findings, (a, b): (usize, usize)) -> String {
    format!("{}, {}", findings.tasks[a].task, findings.tasks[b].task)
}

fn layers(page: &mut Page, findings: &Findings) {
    if findings.layers.len() < 2 {
        return;
    }
    page.section(
        "Over the depth of the network",
        "The cosine of gradients over each part, from the bottom up.",
    );
    let names: Vec<String> = findings.layers.iter().map(|of| of.layer.clone()).collect();
    let row = |(a, b): (usize, usize)| {
        let cell = |of: &super::analysis::LayerMatrix| {
            let found = of.cosine.at(a, b)?;
            Some(SignedCell {
                value: found.mean,
                uncertain: !found.is_sure(),
                text: figure(found, (1.0, 2)).trim_end().to_owned(),
                title: format!("{}, {}: {}", pair_name(findings, (a, b)), of.layer, words(found, (1.0, 2))),
            })
        };
        (pair_name(findings, (a, b)), findings.layers.iter().map(cell).collect())
    };
    let pairs = findings.cosine.pairs().map(|(pair, _)| pair).filter(|(a, b)| a < b);
    let map = SignedHeatMap {
        columns: names,
        rows: pairs.map(row).collect(),
        ends: ("against".into(), "alike".into()),
    };
    page.signed_heat_map("Cosine of gradients by pair and part of the network", &map);
}

fn course(page: &mut Page, findings: &Findings) {
    page.section(
        "Over training",
        &format!(
            "The cosine of gradients in the training with seed {}: the pairs with the greatest means.",
            findings.seeds[0]
        ),
    );
    let mut chart = Chart::new("step", "cosine");
    for (a, b) in strongest(findings) {
        let own = findings
            .course
            .iter()
            .find(|of| of.tasks.0 == findings.tasks[a].task && of.tasks.1 == findings.tasks[b].task);
        let points =
            own.into_iter().flat_map(|of| of.points.iter().map(|(step, cosine)| (*step as f64, *cosine)));
        chart.line(Series::new(pair_name(findings, (a, b)), points));
    }
    page.lines("Cosine of gradients over training", &chart);
}

fn tasks(page: &mut Page, findings: &Findings) {
    page.section(
        "Tasks",
        "Gradient: the mean norm over the shared parameters. Reliability: the cosine between the gradients of two halves of its rows; near 0, a \
         gradient of so many rows says more of the rows than of the task. Momentum: what a step of the optimizer without a gradient takes off \
         its loss; this is taken off the affinities.",
    );
    let header = [
        ("task", Align::Words),
        ("rows", Align::Figures),
        ("gradient", Align::Figures),
        ("reliability", Align::Figures),
        ("momentum", Align::Figures),
        ("alone", Align::Words),
    ];
    let mut rows = Vec::new();
    for task in &findings.tasks {
        let of = |found: &Option<Estimate>, scale| {
            found.as_ref().map_or("–".into(), |found| words(found, scale))
        };
        let alone = task.alone.as_ref().map_or("–".into(), |of| {
            format!("{:.2} {} on {} {} rows", 100.0 * of.mean, of.metric, count(of.rows), of.split)
        });
        rows.push(vec![
            task.task.clone(),
            count(task.rows),
            format!("{:.3}", task.gradient_norm),
            of(&task.reliability, (1.0, 2)),
            of(&task.without_gradient, (100.0, 4)) + " %",
            alone,
        ]);
    }
    page.table(&header, &rows);
}

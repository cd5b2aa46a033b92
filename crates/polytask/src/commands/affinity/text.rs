//! What was found, as tables for the terminal.

use super::analysis::Findings;
use super::grouping::Partition;
use super::matrix::{Estimate, Mark, Matrix};
use crate::terminal::figures::{count, counted, points};
use crate::terminal::table::Table;
use crate::terminal::wrap::wrapped;

/// The most pairs whose layers are printed; the page has all.
const PAIRS: usize = 15;
const WIDTH: usize = 110;

/// A matrix, how it is called, and how to read it.
pub(super) struct Told<'a> {
    /// In a few words.
    pub(super) heading: &'static str,
    pub(super) title: String,
    pub(super) matrix: &'a Matrix,
    /// What the rows are, for the corner of the table.
    pub(super) corner: &'static str,
    /// How its figures are multiplied, and how many digits they have.
    pub(super) scale: (f64, usize),
    pub(super) legend: String,
    /// What values below and above 0 mean.
    pub(super) ends: (&'static str, &'static str),
}

/// Every matrix of pairs, in the order in which they are told.
pub(super) fn matrices(findings: &Findings) -> Vec<Told<'_>> {
    let mut told = vec![cosines(findings), affinities(findings)];
    let points = |heading, title: &str, corner, matrix, legend: &str| Told {
        heading,
        title: title.to_owned(),
        matrix,
        corner,
        scale: (1.0, 2),
        legend: legend.to_owned(),
        ends: ("hurts", "helps"),
    };
    told.extend(findings.pairs.as_ref().map(|matrix| {
        points(
            "Pairs",
            "Trained together, in points of the task's metric against alone",
            "trained with",
            matrix,
            "Column: the task that is scored. Above 0: with the task of the row it scores higher than alone, after as many steps with \
             as many of its rows in each.",
        )
    }));
    told.extend(findings.intermediate.as_ref().map(|matrix| {
        points(
            "One after the other",
            "One after the other, in points of the task's metric against alone",
            "first",
            matrix,
            "Column: the task that is trained and scored. Above 0: it scores higher from the trunk that was trained on the task of the \
             row than from the beginning. The first task's training comes on top.",
        )
    }));
    told
}

fn cosines(findings: &Findings) -> Told<'_> {
    Told {
        heading: "Cosines of gradients",
        title: format!(
            "Cosine of gradients over all shared parameters, the mean of {}",
            counted(findings.measurements, "measurement")
        ),
        matrix: &findings.cosine,
        corner: "",
        scale: (1.0, 2),
        legend: "Above 0: steps on both tasks move the shared parameters alike; below 0: against each other. It says nothing of the size \
                 of the steps, nor of what comes of them in the end."
            .into(),
        ends: ("against", "alike"),
    }
}

fn affinities(findings: &Findings) -> Told<'_> {
    let largest = (0..findings.tasks.len())
        .filter_map(|task| findings.net_affinity.at(task, task))
        .map(|found| found.mean.abs())
        .fold(findings.net_affinity.largest(), f64::max);
    // A unit in which the largest has one digit or two before the point.
    let power = if largest > 0.0 { (1.0 - largest.log10().floor()).clamp(2.0, 9.0) as i32 } else { 2 };
    let unit = match power {
        2 => "percent of the loss".to_owned(),
        power => format!("1e-{power} of the loss"),
    };
    Told {
        heading: "Affinity",
        title: format!("Affinity of TAG: what a step on one task takes off the loss of another, in {unit}"),
        matrix: &findings.net_affinity,
        corner: "a step on",
        scale: (10f64.powi(power), 2),
        legend: "Column: the task whose loss is looked at. Above 0: a step on the task of the row lowers it. The diagonal is a step on the \
                 task itself: hold the others of its column against it. What momentum does in any case is taken off."
            .into(),
        ends: ("raises", "lowers"),
    }
}

/// All of it.
pub(super) fn report(findings: &Findings) -> String {
    let mut out = format!("\n  Tasks\n\n{}\n", tasks(findings));
    for told in matrices(findings) {
        out += &format!(
            "  {}\n\n{}\n{}",
            told.title,
            table(findings, &told),
            wrapped("  ", &told.legend, WIDTH)
        );
        out.push('\n');
        if std::ptr::eq(told.matrix, &findings.cosine) {
            out += &layers(findings);
        }
    }
    out.extend(marks(findings).iter().map(|line| wrapped("  ", line, WIDTH)));
    if let Some(why) = &findings.no_groups {
        return out
            + "\n"
            + &wrapped("  ", &format!("No groups by {}: {why}.", findings.by.describe()), WIDTH);
    }
    out += &format!("\n  {}\n\n{}\n", groups_title(findings), groups(findings));
    out.extend(groups_notes(findings).iter().map(|line| wrapped("  ", line, WIDTH)));
    out
}

fn tasks(findings: &Findings) -> String {
    let has_scores = findings.tasks.iter().any(|task| task.alone.is_some());
    let mut header = vec!["task", "rows", "gradient", "reliability"];
    header.extend(has_scores.then_some("alone"));
    let mut table = Table::new(&header);
    for task in &findings.tasks {
        let mut cells = vec![
            task.task.clone(),
            count(task.rows),
            format!("{:.3}", task.gradient_norm),
            task.reliability.as_ref().map_or("–".into(), |found| format!("{:+.2}", found.mean)),
        ];
        let score =
            |of: &super::analysis::AloneScore| format!("{} {} ({})", points(of.mean), of.metric, of.split);
        cells.extend(has_scores.then(|| task.alone.as_ref().map_or("–".into(), score)));
        table.row(cells);
    }
    let legend = "Gradient: the mean norm of its gradient over the shared parameters. Reliability: the cosine between the gradients of two \
                  halves of its rows; near 0, a gradient of so many rows says more of the rows than of the task.";
    table.render() + "\n" + &wrapped("  ", legend, WIDTH)
}

fn table(findings: &Findings, told: &Told<'_>) -> String {
    let mut header = vec![told.corner];
    header.extend(findings.tasks.iter().map(|task| task.task.as_str()));
    let mut table = Table::new(&header);
    for (from, task) in findings.tasks.iter().enumerate() {
        let cell = |to: usize| match told.matrix.at(from, to) {
            Some(found) => figure(found, told.scale),
            None => "–".into(),
        };
        let cells = std::iter::once(task.task.clone()).chain((0..findings.tasks.len()).map(cell));
        table.row(cells);
    }
    table.render()
}

/// A figure and its marks.
pub(super) fn figure(found: &Estimate, (scale, digits): (f64, usize)) -> String {
    let sign = |mark: Mark| match mark {
        Mark::Noise => '~',
        Mark::Unreliable => '?',
        Mark::FewRows => '*',
    };
    let marks: String = found.marks.iter().map(|mark| sign(*mark)).collect();
    // So that figures stand below each other.
    let space = if marks.is_empty() { " " } else { "" };
    let figure = format!("{:+.digits$}", scale * found.mean);
    // What rounds to 0 has no sign.
    let is_zero = figure.bytes().all(|byte| !(b'1'..=b'9').contains(&byte));
    let figure = if is_zero { &figure[1..] } else { &figure };
    format!("{figure}{marks}{space}")
}

/// Cosines pair by pair, over the parts of the network.
fn layers(findings: &Findings) -> String {
    let pairs: Vec<(usize, usize)> =
        findings.cosine.pairs().map(|(pair, _)| pair).filter(|(a, b)| a < b).collect();
    if findings.layers.len() < 2 || pairs.is_empty() {
        return String::new();
    }
    let mut header = vec!["pair"];
    header.extend(findings.layers.iter().map(|of| of.layer.as_str()));
    let mut table = Table::new(&header);
    for (a, b) in pairs.iter().take(PAIRS) {
        let name = format!("{}, {}", findings.tasks[*a].task, findings.tasks[*b].task);
        let cell = |of: &super::analysis::LayerMatrix| {
            of.cosine.at(*a, *b).map_or("–".into(), |found| figure(found, (1.0, 2)))
        };
        table.row(std::iter::once(name).chain(findings.layers.iter().map(cell)));
    }
    let more = pairs.len().saturating_sub(PAIRS);
    let more = if more > 0 { format!("  and {more} pairs more, in report.html\n") } else { String::new() };
    format!("  The same over the parts of the network, from the bottom up\n\n{}{more}\n", table.render())
}

/// What the marks mean that occur, and which tasks have rows in common.
pub(super) fn marks(findings: &Findings) -> Vec<String> {
    let mut lines = Vec::new();
    let matrices = matrices(findings);
    let occurs = |mark: Mark| {
        let mut figures = matrices.iter().flat_map(|told| told.matrix.pairs());
        figures.any(|(_, found)| found.marks.contains(&mark))
    };
    if occurs(Mark::Noise) {
        let has_scores = findings.pairs.is_some() || findings.intermediate.is_some();
        let scores = match (has_scores, findings.seeds.len()) {
            (false, _) => "",
            (true, 1) => " Scores of one seed all have it.",
            (true, _) => " Those of scores are over seeds and rows.",
        };
        lines.push(format!(
            "~ may be chance: the 95 % interval holds 0, or there are too few measurements for one. Intervals are by the means of blocks of \
             measurements, since those in a row resemble each other.{scores}"
        ));
    }
    if occurs(Mark::Unreliable) {
        lines.push(
            "? nor does it show that there is nothing: the gradients of one of the two are so unreliable that of a cosine of 1 less than 0.25 \
             would be left."
                .into(),
        );
    }
    if occurs(Mark::FewRows) {
        lines.push("* one of the tasks has fewer than 8 rows: every measurement is of the same ones.".into());
    }
    for (a, row) in findings.shared_rows.iter().enumerate() {
        for (b, shared) in row.iter().enumerate().filter(|(b, shared)| *b > a && **shared >= 1.0) {
            let (first, second) = (&findings.tasks[a], &findings.tasks[b]);
            lines.push(format!(
                "{} and {} have {shared:.0} of {} rows of a measurement in common: what is peculiar to those rows makes their gradients \
                 more alike than they are on others.",
                first.task,
                second.task,
                first.rows.min(second.rows)
            ));
        }
    }
    lines.extend(findings.unmeasured.iter().map(|why| format!("Some measurements were not made: {why}.")));
    lines
}

fn groups_title(findings: &Findings) -> String {
    format!("Which to train together, by {}", findings.by.describe())
}

fn groups(findings: &Findings) -> String {
    let has_stability = findings.partitions.iter().any(|one| one.stability.is_some());
    let mut header = vec!["models", "predicted gain", "may be chance"];
    header.extend(has_stability.then_some("found again"));
    header.push("groups");
    let mut table = Table::new(&header);
    for one in &findings.partitions {
        // More models than are of use are the same division again.
        if one.groups.len() < one.budget {
            continue;
        }
        let mut cells = vec![
            count(one.budget),
            findings.amount(one.gain),
            format!("{} of {}", one.unsure.0, one.unsure.1),
        ];
        let again = |share: f64| format!("{:.0} %", 100.0 * share);
        cells.extend(has_stability.then(|| one.stability.map_or("–".into(), again)));
        cells.push(named(one));
        table.row(cells);
    }
    table.render()
}

/// `a + b | c`
pub(super) fn named(partition: &Partition) -> String {
    partition.groups.iter().map(|group| group.join(" + ")).collect::<Vec<_>>().join(" | ")
}

pub(super) fn groups_notes(findings: &Findings) -> Vec<String> {
    let mut lines = vec![
        "Predicted gain: over each task alone, the mean over tasks by importance; a task of a group is taken to gain the mean of what the \
         others of the group do for it (the rule of TAG). May be chance: of the figures behind it. It is a prediction from pairs."
            .to_owned(),
    ];
    if findings.partitions.iter().any(|one| one.stability.is_some()) {
        lines.push(
            "Found again: in what part of resamples of the measurements the same groups are best. Where that is low, take another reason \
             to choose."
                .into(),
        );
    }
    if findings.partitions.iter().any(|one| !one.is_proven) {
        lines.push(
            "More than ten tasks: the groups come from a local search, without proof that there are no better ones.".into(),
        );
    }
    if let Some(best) = findings.partitions.iter().find(|one| one.groups.len() < one.budget) {
        lines.push(format!("More than {} predict no more.", counted(best.groups.len(), "model")));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_has_its_marks_and_what_rounds_to_zero_no_sign() {
        let of = |mean: f64, marks: &[Mark]| {
            let found = Estimate { mean, standard_error: None, interval: None, marks: marks.to_vec() };
            figure(&found, (1.0, 2))
        };
        assert_eq!(of(0.123, &[]), "+0.12 ");
        assert_eq!(of(-0.2, &[Mark::Noise, Mark::Unreliable]), "-0.20~?");
        assert_eq!((of(-0.001, &[Mark::Noise]), of(0.001, &[])), ("0.00~".into(), "0.00 ".into()));
    }
}

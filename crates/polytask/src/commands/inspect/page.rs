//! The report as a page with figures.

use super::text::{how, ratio, remarks};
use crate::survey::Pair;
use crate::survey::Report;
use crate::survey::Survey;
use crate::survey::ViewSurvey;
use crate::survey::percent;
use crate::survey::{LabelSurvey, SplitLabels};
use crate::terminal::figures::count;
use data::Split;
use data::survey::Histogram;
use report::page::{Align, Bar, Cell, Column, HeatMap, Page};
use std::collections::BTreeSet;

use Align::{Figures, Words};

/// Bars that a figure of labels has; the rest are one bar.
const BARS: usize = 15;

/// The page as HTML; `config` is the name of the file.
pub fn page(report: &Report, config: &str) -> String {
    let Report { findings, survey } = report;
    let names: BTreeSet<&str> = survey.corpora.iter().map(|view| view.corpus.as_str()).collect();
    let corpora = names.len();
    let things = findings.len();
    let subtitle = format!(
        "{corpora} {}, {} {}; {things} {} to look at",
        if corpora == 1 { "corpus" } else { "corpora" },
        survey.labels.len(),
        if survey.labels.len() == 1 { "task" } else { "tasks" },
        if things == 1 { "thing" } else { "things" },
    );
    let mut page = Page::new(&format!("Data of {config}"), &subtitle);
    page.section("To look at", if things == 0 { "Nothing stands out." } else { "The gravest first." });
    page.points(findings.iter().map(|finding| (finding.text.as_str(), finding.examples.as_slice())));
    lengths(&mut page, survey);
    labels(&mut page, &survey.labels);
    repeated(&mut page, survey);
    pairs(&mut page, survey);
    page.finish()
}

fn lengths(page: &mut Page, survey: &Survey) {
    let about = format!(
        "Lengths in tokens, special ones included, before rows are cut at {}. Unknown tokens are those that the vocabulary lacks; \
         “not in training” is the share of a split's tokens that its training split never shows.",
        count(survey.max_length)
    );
    page.section("Sizes and lengths", &about);
    let header = [
        ("corpus", Words),
        ("tasks", Words),
        ("split", Words),
        ("rows", Figures),
        ("tokens", Figures),
        ("shortest", Figures),
        ("median", Figures),
        ("95 %", Figures),
        ("longest", Figures),
        ("rows cut", Figures),
        ("unknown", Figures),
        ("not in training", Figures),
    ];
    let mut rows = Vec::new();
    for view in &survey.corpora {
        for split in &view.splits {
            let lengths = &split.lengths;
            rows.push(vec![
                view.name.clone(),
                view.tasks.join(", "),
                split.split.to_string(),
                count(lengths.rows),
                count(lengths.tokens),
                count(lengths.least),
                count(lengths.median),
                count(lengths.most_of_95),
                count(lengths.most),
                percent(lengths.share_cut()),
                percent(lengths.share_unknown()),
                split.new_tokens.map_or("–".into(), percent),
            ]);
        }
    }
    page.table(&header, &rows);
    for view in &survey.corpora {
        if let Some(split) = view.split(Split::Train) {
            let caption = format!("{}, training rows by length", view.name);
            page.histogram(&caption, "tokens a row", &columns(&split.lengths.histogram));
        }
    }
}

fn columns(histogram: &Histogram) -> Vec<Column> {
    let last = histogram.counts.len().saturating_sub(1);
    let column = |(i, rows): (usize, &usize)| {
        let (from, to) = (i * histogram.width, (i + 1) * histogram.width - 1);
        let range = match (i == last && histogram.open, from == to) {
            (true, _) => format!("{from} tokens and more"),
            (_, true) => format!("{from} tokens"),
            _ => format!("{from} to {to} tokens"),
        };
        Column { label: count(from), value: *rows as f64, title: format!("{range}: {} rows", count(*rows)) }
    };
    histogram.counts.iter().enumerate().map(column).collect()
}

fn labels(page: &mut Page, tasks: &[LabelSurvey]) {
    page.section(
        "Labels",
        "Evenness is the entropy of the labels over the greatest that so many could have: 1 where all are as frequent, near 0 where one is nearly all. In tagging the tag O is left out.",
    );
    let header = [
        ("task", Words),
        ("kind", Words),
        ("corpus", Words),
        ("split", Words),
        ("rows with", Figures),
        ("without", Figures),
        ("labels", Figures),
        ("evenness", Figures),
        ("most : least", Figures),
        ("remarks", Words),
    ];
    let line = |task: &LabelSurvey, split: &SplitLabels| {
        let if_any = |text: String| if split.balance.labels > 0 { text } else { "–".into() };
        vec![
            task.task.clone(),
            task.kind.clone(),
            task.corpus.clone(),
            split.found.split.to_string(),
            count(split.found.labelled),
            count(split.found.missing),
            if_any(count(split.balance.labels)),
            if_any(format!("{:.2}", split.balance.evenness)),
            if_any(format!("{} : 1", ratio(split.balance.ratio))),
            remarks(split),
        ]
    };
    let rows: Vec<Vec<String>> =
        tasks.iter().flat_map(|task| task.splits.iter().map(move |split| line(task, split))).collect();
    page.table(&header, &rows);
    numbers(page, tasks);
    for task in tasks {
        let Some(split) = task.split(Split::Train).filter(|split| split.balance.labels > 0) else { continue };
        page.bars(&format!("{}, labels in training", task.task), &bars(split));
    }
}

fn bars(split: &SplitLabels) -> Vec<Bar> {
    let ranked = split.ranked();
    let bar = |(label, n): &(&str, usize)| Bar::new(*label, *n as f64, count(*n));
    // One more takes no more space than a bar for the rest.
    let shown = if ranked.len() == BARS + 1 { BARS + 1 } else { BARS };
    let mut bars: Vec<Bar> = ranked.iter().take(shown).map(bar).collect();
    let rest: usize = ranked.iter().skip(shown).map(|(_, n)| n).sum();
    if rest > 0 {
        // Without a length: it would press all others together.
        bars.push(Bar::new(format!("{} more", ranked.len() - shown), 0.0, count(rest)));
    }
    bars
}

fn numbers(page: &mut Page, tasks: &[LabelSurvey]) {
    let header = [
        ("task", Words),
        ("split", Words),
        ("mean", Figures),
        ("deviation", Figures),
        ("least", Figures),
        ("greatest", Figures),
    ];
    let line = |task: &LabelSurvey, split: &SplitLabels| {
        let numbers = split.found.numbers?;
        Some(vec![
            task.task.clone(),
            split.found.split.to_string(),
            format!("{:.4}", numbers.mean),
            format!("{:.4}", numbers.std),
            numbers.min.to_string(),
            numbers.max.to_string(),
        ])
    };
    let rows: Vec<Vec<String>> =
        tasks.iter().flat_map(|task| task.splits.iter().filter_map(move |split| line(task, split))).collect();
    if !rows.is_empty() {
        page.table(&header, &rows);
    }
}

fn repeated(page: &mut Page, survey: &Survey) {
    page.section(
        "Repeated texts",
        "Texts are compared by their letters and digits alone, whatever their case, spaces and punctuation. A leak is a row that is held out and whose text the model learns from, in its own corpus or in another. Short ones have fewer than twelve letters and recur by chance.",
    );
    if survey.repeated.is_empty() {
        page.paragraph("No text stands in more than one place.");
        return;
    }
    let header = [
        ("rows of", Words),
        ("stand in", Words),
        ("rows", Figures),
        ("share", Figures),
        ("texts", Figures),
        ("short", Figures),
        ("", Words),
        ("for example", Words),
    ];
    let rows: Vec<Vec<String>> = survey
        .repeated
        .iter()
        .map(|found| {
            let elsewhere = match found.rows_of == found.found_in {
                true => "itself, earlier".into(),
                false => format!("{} {}", found.found_in.corpus, found.found_in.split),
            };
            vec![
                format!("{} {}", found.rows_of.corpus, found.rows_of.split),
                elsewhere,
                count(found.rows),
                percent(found.fraction()),
                count(found.texts),
                count(found.short),
                if found.leaks() { "leak".into() } else { String::new() },
                found.examples.first().map(|example| example.text.clone()).unwrap_or_default(),
            ]
        })
        .collect();
    page.table(&header, &rows);
}

fn pairs(page: &mut Page, survey: &Survey) {
    if survey.pairs.is_empty() {
        return;
    }
    page.section(
        "Corpora side by side",
        &format!("By their training splits. {}", survey.features.map(how).unwrap_or_default()),
    );
    let of = |pair: &Pair| {
        let distance = pair.distance?;
        Some(Cell {
            strength: distance / 2.0,
            text: format!("{distance:.2}"),
            title: format!(
                "{} and {}: {distance:.2} ± {:.2}, {} rows of each",
                pair.first,
                pair.second,
                pair.uncertainty.unwrap_or_default(),
                count(pair.rows)
            ),
        })
    };
    page.heat_map("Distance of texts, 0 to 2", &matrix(survey, |pair, _| of(pair)));
    let share =
        |share: f64, title: String| Cell { strength: share, text: format!("{:.0}", 100.0 * share), title };
    page.heat_map(
        "Token types that both have, % of those of either",
        &matrix(survey, |pair, _| {
            Some(share(
                pair.jaccard,
                format!("{} and {}: {}", pair.first, pair.second, percent(pair.jaccard)),
            ))
        }),
    );
    page.heat_map(
        "Tokens of the column that the row's training shows, %",
        &matrix(survey, |pair, turned| {
            let (knows, known) = if turned {
                (pair.second_covers, (&pair.second, &pair.first))
            } else {
                (pair.first_covers, (&pair.first, &pair.second))
            };
            knows.map(|knows| {
                share(knows, format!("{} shows {} of the tokens of {}", known.0, percent(knows), known.1))
            })
        }),
    );
}

/// A cell for every two corpora; `turned` where the row is the pair's second.
fn matrix(survey: &Survey, cell: impl Fn(&Pair, bool) -> Option<Cell>) -> HeatMap {
    let compared = |view: &&ViewSurvey| {
        survey.pairs.iter().any(|pair| [&pair.first, &pair.second].contains(&&view.name))
    };
    let mut names: Vec<String> = Vec::new();
    for view in survey.corpora.iter().filter(compared) {
        // A corpus that is read twice in other ways has one name.
        if !names.contains(&view.name) {
            names.push(view.name.clone());
        }
    }
    let of = |row: &String, column: &String| {
        survey.pairs.iter().find_map(|pair| match (&pair.first, &pair.second) {
            (first, second) if first == row && second == column => cell(pair, false),
            (first, second) if second == row && first == column => cell(pair, true),
            _ => None,
        })
    };
    let rows = names.iter().map(|row| (row.clone(), names.iter().map(|column| of(row, column)).collect()));
    HeatMap { rows: rows.collect(), columns: names.clone() }
}

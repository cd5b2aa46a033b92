//! What deserves a look, in sentences, the gravest first. The limits are where a person would begin to look, and no law.

use super::contradictions::Contradictions;
use super::counts::Survey;
use super::labels::{LabelSurvey, SplitLabels};
use super::repeated::{Place, Repeated};
use super::splits::{SplitSurvey, ViewSurvey};
use crate::terminal::figures::count;
use data::Split;
use data::survey::SHORT;
use serde::Serialize;
use std::collections::HashSet;

/// Repeated rows are reported from this fraction on, short texts aside.
const REPEATED: f64 = 0.01;
/// Test rows that are in training are reported from this fraction on, short texts aside.
const LEAKED: f64 = 0.001;
/// Truncated rows are reported from this fraction on.
const CUT: f64 = 0.05;
/// Unknown tokens are reported from this fraction on.
const UNKNOWN: f64 = 0.01;
/// Rows without a label are reported from this fraction on.
const MISSING: f64 = 0.5;
/// Labels lost to truncation, or to words without a token, are reported from this fraction of the labels on.
const LOST: f64 = 0.01;
/// Rows whose labels contradict each other are more than good to know from this fraction on.
const CONTRADICTING: f64 = 0.01;
/// Labels with fewer training examples than this are rare.
const RARE: usize = 5;
/// The most frequent label over the rarest, from here on.
const UNEVEN: f64 = 100.0;
/// Training tokens of the largest corpus over those of the smallest, from here on.
const LARGER: f64 = 20.0;
/// How many labels a sentence names.
const NAMED: usize = 5;
/// Kinds whose labels are found by rules and not given, so that most of them are rare.
const BY_RULE: &[&str] = &["lemmatization"];
/// How many findings other commands than `inspect` say.
const GRAVEST: usize = 12;

/// One of them.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// How grave it is.
    pub severity: Severity,
    /// What was found, and what it means.
    pub text: String,
    /// Examples.
    pub examples: Vec<String>,
}

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Test scores do not mean what they seem to.
    TestScores,
    /// What is chosen on the validation split does not mean what it seems to.
    Choices,
    /// The model sees less than it could, or something else than is meant.
    Learning,
    /// Good to know.
    Notice,
}

/// What deserves a look.
pub fn of(survey: &Survey) -> Vec<Finding> {
    let mut most_repeated: Vec<&Repeated> = survey.repeated.iter().collect();
    most_repeated.sort_by(|a, b| b.long_text_fraction().total_cmp(&a.long_text_fraction()));
    let mut found: Vec<Finding> = most_repeated.into_iter().filter_map(elsewhere).collect();
    survey.corpora.iter().for_each(|view| found.extend(inside(&view.name, &survey.repeated)));
    // A corpus that is read in several ways may be reported twice in the same words.
    let mut seen = HashSet::new();
    found.retain(|finding| seen.insert(finding.text.clone()));
    found.extend(survey.contradictions.iter().map(contradicting));
    survey.labels.iter().for_each(|labels| found.extend(of_labels(labels)));
    survey.corpora.iter().for_each(|view| found.extend(of_view(view, survey.max_length)));
    found.extend(sizes(&survey.corpora));
    // Stable: within a severity repeated rows by their share, then all else in the order of the config.
    found.sort_by_key(|finding| finding.severity);
    found
}

/// The findings that are more than good to know, the gravest first, each in one text; at most a dozen, and how many more there are.
pub fn gravest(survey: &Survey) -> (Vec<String>, usize) {
    let mut grave: Vec<String> = of(survey)
        .into_iter()
        .filter(|finding| finding.severity < Severity::Notice)
        .map(|Finding { text, examples, .. }| match examples.first() {
            Some(example) => format!("{text} For example: {example}"),
            None => text,
        })
        .collect();
    let more = grave.len().saturating_sub(GRAVEST);
    grave.truncate(GRAVEST);
    (grave, more)
}

/// Rows of one text with different labels.
fn contradicting(found: &Contradictions) -> Finding {
    let Contradictions { task, split, rows, of, examples } = found;
    let text = format!(
        "task `{task}`: {} rows whose text stands earlier{} with another label: {} of {} ({}). No model can learn both.",
        adjective(*split),
        if *split == Split::Train { "" } else { ", there or in training," },
        count(*rows),
        count(*of),
        percent(*rows as f64 / (*of).max(1) as f64)
    );
    // People disagree here and there.
    let few = (*rows as f64) < CONTRADICTING * *of as f64;
    let severity = match split {
        _ if few => Severity::Notice,
        Split::Train => Severity::Learning,
        Split::Validation => Severity::Choices,
        Split::Test => Severity::TestScores,
    };
    Finding { severity, text, examples: examples.clone() }
}

fn finding(severity: Severity, text: String) -> Finding {
    Finding { severity, text, examples: Vec::new() }
}

/// What rows of a split are called.
fn adjective(split: Split) -> &'static str {
    match split {
        Split::Train => "training",
        Split::Validation | Split::Test => split.name(),
    }
}

/// A fraction as people read it: no part of the whole becomes nothing, or all of it.
pub fn percent(fraction: f64) -> String {
    match 100.0 * fraction {
        x if x > 0.0 && x < 0.1 => "<0.1 %".into(),
        x if x < 100.0 && x > 99.9 => ">99.9 %".into(),
        x if x >= 10.0 && x.fract() < 1e-9 => format!("{x:.0} %"),
        x => format!("{x:.1} %"),
    }
}

/// Rows that stand in another split or corpus.
fn elsewhere(repeated: &Repeated) -> Option<Finding> {
    let Repeated { rows_of: Place { corpus, split }, found_in, .. } = repeated;
    let own = found_in.corpus == *corpus;
    let whose = || if own { "its own training".into() } else { format!("training of `{}`", found_in.corpus) };
    let (severity, place, meaning, from) = match (split, found_in.split) {
        (Split::Test, Split::Train) => {
            let meaning = match own {
                true => "Scores on them show what was memorized.",
                false => "A model that learns both has seen these texts.",
            };
            (Severity::TestScores, whose(), meaning, LEAKED)
        }
        (Split::Validation, Split::Train) => (
            Severity::Choices,
            whose(),
            "The best checkpoint is chosen on texts that were learned.",
            REPEATED,
        ),
        (Split::Test, Split::Validation) => {
            let meaning = "What is chosen on the one suits the other a little too well.";
            (Severity::Choices, "its validation split".into(), meaning, REPEATED)
        }
        _ => return None,
    };
    if repeated.long_text_fraction() < from {
        return None;
    }
    let text = format!(
        "`{corpus}`: {split} rows that are in {place}, too: {}. {meaning}{}",
        counted(repeated),
        chance(repeated.short)
    );
    Some(Finding { severity, text, examples: examples(repeated) })
}

/// Rows of a corpus that stand twice in a split.
fn inside(corpus: &str, repeated: &[Repeated]) -> Option<Finding> {
    let inside = |r: &&Repeated| r.rows_of == r.found_in && r.rows_of.corpus == corpus;
    let inside: Vec<&Repeated> =
        repeated.iter().filter(inside).filter(|r| r.long_text_fraction() >= REPEATED).collect();
    let most = inside.first()?;
    let splits: Vec<String> =
        inside.iter().map(|r| format!("{} of the {} split", counted(r), r.rows_of.split)).collect();
    let text = format!(
        "`{corpus}`: rows that repeat an earlier one: {}. Each text counts as often as it stands there.{}",
        splits.join("; "),
        chance(inside.iter().map(|r| r.short).sum())
    );
    Some(Finding { severity: Severity::Notice, text, examples: examples(most) })
}

fn counted(repeated: &Repeated) -> String {
    let Repeated { rows, of, texts, .. } = repeated;
    let some = if texts < rows { format!(", {} different texts", count(*texts)) } else { String::new() };
    format!("{} of {} ({}{some})", count(*rows), count(*of), percent(repeated.fraction()))
}

fn chance(short: usize) -> String {
    match short {
        0 => String::new(),
        short => format!(" Of fewer than {SHORT} letters, so that chance is likely: {}.", count(short)),
    }
}

fn examples(repeated: &Repeated) -> Vec<String> {
    repeated.examples.iter().map(|e| format!("{} = {}: {}", e.row, e.elsewhere, e.text)).collect()
}

fn of_labels(labels: &LabelSurvey) -> Vec<Finding> {
    let task = &labels.task;
    let mut found = Vec::new();
    for split in labels.splits.iter().filter(|split| !split.found.teacher_alone) {
        let name = adjective(split.found.split);
        if split.found.labelled == 0 {
            let (severity, so) = match split.found.split {
                Split::Train => (Severity::Learning, "It learns nothing"),
                Split::Validation => (Severity::Choices, "It has no say in the best checkpoint"),
                Split::Test => (Severity::TestScores, "It cannot be scored there"),
            };
            let text = format!(
                "task `{task}`: no {name} row carries a label in {}. {so}. The first row has the fields {}.",
                ticked(&split.found.fields),
                split.found.fields_found
            );
            found.push(finding(severity, text));
            continue;
        }
        for issue in &split.found.issues {
            let text = format!(
                "task `{task}`: {} of {} {name} rows {}: {}{}",
                count(issue.rows),
                count(issue.of),
                issue.what,
                issue.places.join(", "),
                if issue.rows > issue.places.len() { ", ..." } else { "" }
            );
            found.push(finding(Severity::Learning, text));
        }
        for remark in &split.found.remarks {
            found.push(finding(Severity::Learning, format!("task `{task}`: {remark}.")));
        }
        let share = split.found.missing as f64 / split.rows() as f64;
        if share >= MISSING {
            let text = format!(
                "task `{task}`: {name} rows without a label: {} of {} ({}). They are masked for it.",
                count(split.found.missing),
                count(split.rows()),
                percent(share)
            );
            found.push(finding(Severity::Notice, text));
        }
        found.extend(unseen(task, split));
        for (lost, why) in [
            (split.found.truncated, "are cut off by data.max_length"),
            (split.found.without_token, "are of words without any token"),
            (split.found.out_of_reach, "are out of the task's settings' reach"),
        ] {
            let labels =
                split.found.counts.iter().map(|(_, count)| count).sum::<usize>().max(split.found.labelled);
            if lost as f64 >= LOST * labels as f64 && lost > 0 {
                let text =
                    format!("task `{task}`: {name} labels that {why}: {} of {}.", count(lost), count(labels));
                found.push(finding(Severity::Learning, text));
            }
        }
    }
    if let Some(training) = labels.split(Split::Train) {
        found.extend(uneven(labels, training));
        found.extend(numbers(labels, training));
    }
    found
}

/// Labels that training never shows.
fn unseen(task: &str, split: &SplitLabels) -> Option<Finding> {
    let unseen = &split.found.unseen;
    if unseen.is_empty() {
        return None;
    }
    let mut named: Vec<(&String, &usize)> = unseen.iter().collect();
    named.sort_by_key(|(_, count)| std::cmp::Reverse(**count));
    let times = match unseen.len() {
        1 => String::new(),
        _ => format!(", {} times in all", count(unseen.values().sum())),
    };
    let text = format!(
        "task `{task}`: {} labels that training never shows: {}{times} ({}). No model can find them.",
        split.found.split,
        count(unseen.len()),
        listed(named.iter().map(|(label, n)| format!("`{label}` {}", count(**n))), unseen.len())
    );
    let severity = if split.found.split == Split::Test { Severity::TestScores } else { Severity::Choices };
    Some(finding(severity, text))
}

/// Labels that are rare in training, or much rarer than others.
fn uneven(labels: &LabelSurvey, training: &SplitLabels) -> Option<Finding> {
    let ranked = training.ranked();
    let ((most, many), (least, few)) = (*ranked.first()?, *ranked.last()?);
    let rare: Vec<String> = ranked
        .iter()
        .rev()
        .take_while(|(_, n)| *n < RARE)
        .map(|(label, n)| format!("`{label}` {}", count(*n)))
        .collect();
    let far = training.balance.ratio >= UNEVEN;
    if BY_RULE.contains(&labels.kind.as_str()) || (rare.is_empty() && !far) {
        return None;
    }
    let mut text = format!("task `{}`: ", labels.task);
    if !rare.is_empty() {
        text += &format!(
            "labels with fewer than {RARE} training examples: {} of {} ({}). ",
            count(rare.len()),
            count(ranked.len()),
            listed(rare.iter().cloned(), rare.len())
        );
    }
    if far {
        text += &format!(
            "`{most}`, the most frequent, occurs {} times, the rarest, `{least}`, {}. ",
            count(many),
            count(few)
        );
    }
    // What is shown once can hardly be learned, and may be a slip of the pen.
    let severity = if few == 1 { Severity::Learning } else { Severity::Notice };
    Some(finding(severity, text + "Look at a score that counts every label the same."))
}

/// Numbers that lie outside what training shows.
fn numbers(labels: &LabelSurvey, training: &SplitLabels) -> Vec<Finding> {
    let Some(known) = training.found.numbers else { return Vec::new() };
    let mut found = Vec::new();
    let task = &labels.task;
    for split in labels.splits.iter().filter(|split| split.found.split != Split::Train) {
        let Some(numbers) = split.found.numbers else { continue };
        if numbers.min < known.min || numbers.max > known.max {
            found.push(finding(
                Severity::Notice,
                format!(
                    "task `{task}`: numbers of its {} split go from {} to {}, those of training only from {} to {}.",
                    split.found.split, numbers.min, numbers.max, known.min, known.max
                ),
            ));
        }
    }
    found
}

fn of_view(view: &ViewSurvey, max_length: usize) -> Vec<Finding> {
    let name = &view.name;
    let mut found = Vec::new();
    for SplitSurvey { split, lengths, blank_rows, blank_places, .. } in &view.splits {
        if *blank_rows > 0 {
            let text = format!(
                "`{name}`: {} of {} {} rows have nothing to read in {} (null, empty or blank); they are left out: {}{}",
                count(*blank_rows),
                count(lengths.rows),
                adjective(*split),
                view.reads,
                blank_places.join(", "),
                if *blank_rows > blank_places.len() { ", ..." } else { "" }
            );
            found.push(finding(Severity::Learning, text));
        }
        if lengths.share_cut() >= CUT {
            let windows = view.most_windows.map(|most| format!(" in {most} windows")).unwrap_or_default();
            let text = format!(
                "`{name}`: {} rows longer than data.max_length = {max_length}{windows}, which are cut: {} of {} ({}). The longest has {} tokens.",
                adjective(*split),
                count(lengths.cut_rows),
                count(lengths.rows),
                percent(lengths.share_cut()),
                count(lengths.most)
            );
            found.push(finding(Severity::Learning, text));
        }
        if lengths.share_unknown() >= UNKNOWN {
            let text = format!(
                "`{name}`: {} tokens that the vocabulary does not know: {}. The model sees one sign for all of them.",
                adjective(*split),
                percent(lengths.share_unknown())
            );
            found.push(finding(Severity::Learning, text));
        }
    }
    for (split, so) in [
        (Split::Validation, "no best checkpoint can be chosen by it"),
        (Split::Test, "nothing is left to measure it on at the end"),
    ] {
        if view.split(split).is_none() {
            found.push(finding(Severity::Notice, format!("`{name}` has no {split} split: {so}.")));
        }
    }
    found
}

/// Corpora of very different sizes.
fn sizes(corpora: &[ViewSurvey]) -> Option<Finding> {
    let tokens = |view: &&ViewSurvey| view.split(Split::Train).map_or(0, |split| split.lengths.tokens);
    let (largest, smallest) = (corpora.iter().max_by_key(tokens)?, corpora.iter().min_by_key(tokens)?);
    let times = tokens(&largest) as f64 / tokens(&smallest).max(1) as f64;
    let text = format!(
        "`{}` has {times:.0} times as many training tokens as `{}`. `polytask check` says how often each is drawn, `[sampling]` changes it.",
        largest.name, smallest.name
    );
    (times >= LARGER).then(|| finding(Severity::Notice, text))
}

/// Names in ticks.
fn ticked(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

/// The first of some names.
fn listed(names: impl Iterator<Item = String>, all: usize) -> String {
    let some = names.take(NAMED).collect::<Vec<_>>().join(", ");
    if all > NAMED { format!("{some} and {} more", count(all - NAMED)) } else { some }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_never_rounded_to_nothing_or_all() {
        let shares = [0.0, 0.0001, 0.037, 0.5, 0.125, 0.9999, 1.0];
        let expected = ["0.0 %", "<0.1 %", "3.7 %", "50 %", "12.5 %", ">99.9 %", "100 %"];
        assert_eq!(shares.map(percent), expected);
    }

    #[test]
    fn short_texts_alone_are_no_finding() {
        let place = |corpus: &str, split| Place { corpus: corpus.into(), split };
        let repeated = |rows, short| Repeated {
            rows_of: place("a", Split::Test),
            found_in: place("b", Split::Train),
            rows,
            of: 1000,
            texts: rows,
            short,
            examples: Vec::new(),
        };
        assert!(elsewhere(&repeated(40, 40)).is_none());
        let found = elsewhere(&repeated(41, 40)).unwrap();
        assert_eq!(found.severity, Severity::TestScores);
        assert_eq!(
            found.text,
            "`a`: test rows that are in training of `b`, too: 41 of 1,000 (4.1 %). A model that learns both has \
             seen these texts. Of fewer than 12 letters, so that chance is likely: 40."
        );
    }
}

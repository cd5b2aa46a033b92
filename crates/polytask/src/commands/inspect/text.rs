//! The report as text, findings first.

use crate::survey::{
    Features, Finding, LabelSurvey, Pair, Repeated, Report, SAMPLE, SplitLabels, ViewSurvey, percent,
};
use crate::terminal::escape::one_line;
use crate::terminal::figures::count;
use crate::terminal::table::Table;
use crate::terminal::wrap::wrapped;

/// How many labels a line names.
const NAMED: usize = 3;
/// How wide lines of words are, in columns.
const WIDTH: usize = 112;

/// The whole report.
pub fn text(report: &Report) -> String {
    let Report { findings: found, survey } = report;
    let mut out = format!("\n{}\n", findings(found));
    out += &format!(
        "  rows, and lengths in tokens before cutting at {}\n\n{}\n",
        count(survey.max_length),
        rows(&survey.corpora)
    );
    out += &format!("  labels\n\n{}\n", labels(&survey.labels));
    let numbers = numbers(&survey.labels);
    if !numbers.is_empty() {
        out += &format!("  numbers\n\n{numbers}\n");
    }
    if !survey.repeated.is_empty() {
        out += &format!(
            "  repeated texts, compared by their letters and digits alone\n\n{}\n",
            repeated(&survey.repeated)
        );
    }
    if !survey.pairs.is_empty() {
        out += &format!("  corpora side by side, by their training splits\n\n{}\n", pairs(&survey.pairs));
        out += &format!(
            "{}\n",
            survey.features.map(|features| wrapped("  ", &how(features), WIDTH)).unwrap_or_default()
        );
    }
    out
}

/// What a distance means.
pub fn how(features: Features) -> String {
    let features = match features {
        Features::States => "the backbone's mean states, before any training here",
        Features::Tokens => "the tokens of each row",
    };
    format!(
        "Distance: how well a linear classifier tells rows of two corpora apart by {features}; 0 not at all, 2 always \
         (proxy A-distance, at most {SAMPLE} different texts of each, with its standard error). It says nothing of labels."
    )
}

fn findings(findings: &[Finding]) -> String {
    if findings.is_empty() {
        return "  nothing stands out\n".into();
    }
    let things = if findings.len() == 1 { "thing" } else { "things" };
    let mut out = format!("  {} {things} to look at\n\n", findings.len());
    for (i, finding) in findings.iter().enumerate() {
        out += &wrapped(&format!("{:>4}. ", i + 1), &one_line(&finding.text), WIDTH);
        for example in &finding.examples {
            out += &format!("        {}\n", one_line(example));
        }
    }
    out
}

fn rows(corpora: &[ViewSurvey]) -> String {
    let mut table = Table::new(&[
        "corpus",
        "tasks",
        "split",
        "rows",
        "tokens",
        "shortest",
        "median",
        "95 %",
        "longest",
        "rows cut",
        "unknown",
        "not in training",
    ]);
    for view in corpora {
        for (i, split) in view.splits.iter().enumerate() {
            let lengths = &split.lengths;
            let once = |text: &str| if i == 0 { text.to_owned() } else { String::new() };
            table.row([
                once(&view.name),
                once(&view.tasks.join(", ")),
                split.split.to_string(),
                count(lengths.rows),
                count(lengths.tokens),
                count(lengths.least),
                count(lengths.median),
                count(lengths.most_of_95),
                count(lengths.most),
                if lengths.cut_rows == 0 { "-".into() } else { percent(lengths.share_cut()) },
                percent(lengths.share_unknown()),
                split.new_tokens.map_or("-".into(), percent),
            ]);
        }
    }
    table.render()
}

fn labels(tasks: &[LabelSurvey]) -> String {
    let mut table = Table::new(&[
        "task",
        "split",
        "rows with",
        "without",
        "labels",
        "evenness",
        "most : least",
        "most frequent",
        "remarks",
    ]);
    for task in tasks {
        for (i, split) in task.splits.iter().enumerate() {
            let some = split.balance.labels > 0;
            let if_any = |text: String| if some { text } else { "-".into() };
            table.row([
                if i == 0 { task.task.clone() } else { String::new() },
                split.found.split.to_string(),
                count(split.found.labelled),
                if split.found.missing == 0 { "-".into() } else { count(split.found.missing) },
                if_any(count(split.balance.labels)),
                if_any(format!("{:.2}", split.balance.evenness)),
                if_any(format!("{} : 1", ratio(split.balance.ratio))),
                most_frequent(split),
                remarks(split),
            ]);
        }
    }
    table.render()
}

/// A ratio, exact where that says something.
pub fn ratio(ratio: f64) -> String {
    if ratio < 10.0 { format!("{ratio:.1}") } else { count(ratio.round() as usize) }
}

fn most_frequent(split: &SplitLabels) -> String {
    let ranked = split.ranked();
    let named = ranked.iter().take(NAMED).map(|(label, n)| format!("{} {}", one_line(label), count(*n)));
    let named = named.collect::<Vec<_>>().join(", ");
    let more = ranked.len().saturating_sub(NAMED);
    if more > 0 { format!("{named}, {more} more") } else { named }
}

/// Labels that another split has.
pub fn remarks(split: &SplitLabels) -> String {
    let listed = |what: &str, names: Vec<&String>| {
        let more = names.len().saturating_sub(NAMED);
        let some = names.into_iter().take(NAMED).map(|name| one_line(name)).collect::<Vec<_>>().join(", ");
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        format!("{what}: {some}{more}")
    };
    let mut remarks = Vec::new();
    if !split.found.unseen.is_empty() {
        remarks.push(listed("not in training", split.found.unseen.keys().collect()));
    }
    if !split.absent.is_empty() {
        remarks.push(listed("only in training", split.absent.iter().collect()));
    }
    remarks.join("; ")
}

fn numbers(tasks: &[LabelSurvey]) -> String {
    let mut table = Table::new(&["task", "split", "mean", "deviation", "least", "greatest"]);
    let mut any = false;
    for task in tasks {
        for split in &task.splits {
            let Some(numbers) = split.found.numbers else { continue };
            any = true;
            table.row([
                task.task.clone(),
                split.found.split.to_string(),
                format!("{:.4}", numbers.mean),
                format!("{:.4}", numbers.std),
                numbers.min.to_string(),
                numbers.max.to_string(),
            ]);
        }
    }
    if any { table.render() } else { String::new() }
}

fn repeated(all: &[Repeated]) -> String {
    let mut table =
        Table::new(&["rows of", "split", "stand in", "split", "rows", "share", "texts", "short", ""]);
    for repeated in all {
        let inside = repeated.rows_of == repeated.found_in;
        table.row([
            repeated.rows_of.corpus.clone(),
            repeated.rows_of.split.to_string(),
            if inside { "itself, earlier".into() } else { repeated.found_in.corpus.clone() },
            repeated.found_in.split.to_string(),
            count(repeated.rows),
            percent(repeated.fraction()),
            count(repeated.texts),
            count(repeated.short),
            if repeated.leaks() { "leak".into() } else { String::new() },
        ]);
    }
    table.render()
}

fn pairs(pairs: &[Pair]) -> String {
    let mut table = Table::new(&[
        "corpus A",
        "corpus B",
        "distance",
        "rows",
        "token types in both",
        "tokens of B in A",
        "tokens of A in B",
    ]);
    for pair in pairs {
        table.row([
            pair.first.clone(),
            pair.second.clone(),
            match (pair.distance, pair.uncertainty) {
                (Some(distance), Some(uncertainty)) => format!("{distance:.2} ± {uncertainty:.2}"),
                _ => "- (too few rows)".into(),
            },
            count(pair.rows),
            percent(pair.jaccard),
            pair.first_covers.map_or("-".into(), percent),
            pair.second_covers.map_or("-".into(), percent),
        ]);
    }
    table.render()
}

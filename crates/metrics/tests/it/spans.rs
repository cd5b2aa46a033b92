//! Spans and their scores against seqeval's answers (`scripts/make_metric_fixtures.py`).

use polytask_metrics::{Scheme, Score, Span, span_scores, spans, split_tag};
use serde_json::Value;

fn close(name: &str, case: usize, ours: f64, theirs: &Value) {
    let theirs = theirs.as_f64().expect("a number");
    assert!((ours - theirs).abs() <= 1e-12, "case {case}, {name}: {ours}, seqeval says {theirs}");
}

/// The rows' tags, and the spans that seqeval finds in them.
fn rows(tags: &Value, found: &Value) -> (Vec<Vec<String>>, Vec<Vec<Span>>) {
    let list = |v: &Value| v.as_array().expect("a list").clone();
    let text = |v: &Value| v.as_str().expect("text").to_owned();
    let number = |v: &Value| v.as_u64().expect("a number") as usize;
    let tags = list(tags)
        .iter()
        .map(|row| text(row).split(' ').filter(|t| !t.is_empty()).map(str::to_owned).collect())
        .collect();
    let span = |v: &Value| Span { label: text(&v[0]), start: number(&v[1]), end: number(&v[2]) };
    (tags, list(found).iter().map(|row| list(row).iter().map(span).collect()).collect())
}

#[test]
fn equal_seqeval() {
    let cases: Value =
        serde_json::from_str(include_str!("../fixtures/spans.json")).expect("the fixture is JSON");
    let cases = cases.as_array().expect("a list of cases");
    assert!(cases.len() >= 100);
    for (i, case) in cases.iter().enumerate() {
        let mut ours = Vec::new();
        for side in ["gold", "predicted"] {
            let (tags, expected) = rows(&case[side], &case[format!("{side}_spans")]);
            let found: Vec<Vec<Span>> = tags.iter().map(|row| spans(row)).collect();
            assert_eq!(found, expected, "case {i}, {side}: {tags:?}");
            ours.push(found);
        }
        let scores = span_scores(&ours[0], &ours[1]);
        close("precision", i, scores.precision, &case["precision"]);
        close("recall", i, scores.recall, &case["recall"]);
        close("F1", i, scores.f1, &case["f1"]);
        close("macro F1", i, scores.macro_f1, &case["macro_f1"]);
        let by_type = case["by_type"].as_object().expect("a table");
        assert_eq!(scores.by_type.len(), by_type.len(), "case {i}");
        for (label, theirs) in by_type {
            let Score { precision, recall, f1, support } = scores.by_type[label];
            for (k, ours) in [precision, recall, f1, support as f64].into_iter().enumerate() {
                close(label, i, ours, &theirs[k]);
            }
        }
    }
}

#[test]
fn without_spans_every_score_is_zero() {
    for rows in [vec![], vec![vec![]], vec![vec![], vec![]]] {
        let scores = span_scores(&rows, &rows);
        assert_eq!((scores.precision, scores.recall, scores.f1, scores.macro_f1), (0.0, 0.0, 0.0, 0.0));
        assert!(scores.by_type.is_empty());
    }
}

#[test]
fn a_span_listed_twice_is_one_span() {
    let once = spans(&["B-PER", "I-PER"]);
    let twice = [once.clone(), once.clone()].concat();
    let gold = [once];
    assert_eq!(span_scores(&gold, &[twice]), span_scores(&gold, &gold));
}

#[test]
fn tags_split_into_letter_and_type() {
    let check = |tag, letter, kind| assert_eq!(split_tag(tag), (letter, kind), "{tag:?}");
    check("B-PER", 'B', "PER");
    check("I-geo-loc", 'I', "geo-loc");
    check("O", 'O', "_");
    check("B-", 'B', "_");
    check("", 'O', "_");
    check("人-名", '人', "名");
}

#[test]
fn schemes_know_their_tags() {
    for tag in ["O", "B-PER", "I-PER", "B-geo-loc"] {
        assert!(Scheme::Bio.knows(tag) && Scheme::Bioes.knows(tag), "{tag}");
    }
    for tag in ["E-PER", "S-PER"] {
        assert!(!Scheme::Bio.knows(tag) && Scheme::Bioes.knows(tag), "{tag}");
    }
    for tag in ["", "B", "B-", "-PER", "PER", "BI-PER", "b-PER", "o", "X-PER", "O-PER"] {
        assert!(!Scheme::Bio.knows(tag) && !Scheme::Bioes.knows(tag), "{tag}");
    }
}

/// The tables of valid neighbours, written out by hand from the schemes' definitions.
#[test]
fn schemes_allow_valid_neighbours_only() {
    let check = |scheme: Scheme, previous: &str, followers: &str| {
        let edge = |tag: &'static str| if tag == "|" { None } else { Some(tag) };
        for next in ["O", "B-A", "I-A", "E-A", "S-A", "B-B", "I-B", "E-B", "S-B", "|"] {
            if next != "|" && !scheme.knows(next) {
                continue;
            }
            let expected = followers.split(' ').any(|f| f == next);
            let previous = if previous == "|" { None } else { Some(previous) };
            assert_eq!(scheme.allows(previous, edge(next)), expected, "{scheme:?}: {previous:?} then {next}");
        }
    };
    check(Scheme::Bio, "|", "O B-A B-B |");
    check(Scheme::Bio, "O", "O B-A B-B |");
    check(Scheme::Bio, "B-A", "O B-A I-A B-B |");
    check(Scheme::Bio, "I-A", "O B-A I-A B-B |");
    check(Scheme::Bioes, "|", "O B-A S-A B-B S-B |");
    check(Scheme::Bioes, "O", "O B-A S-A B-B S-B |");
    check(Scheme::Bioes, "B-A", "I-A E-A");
    check(Scheme::Bioes, "I-A", "I-A E-A");
    check(Scheme::Bioes, "E-A", "O B-A S-A B-B S-B |");
    check(Scheme::Bioes, "S-A", "O B-A S-A B-B S-B |");
}

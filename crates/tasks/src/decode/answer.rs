//! Tags as scores, and as answers with spans, texts and offsets.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};

use crate::ModelInput;

/// The tag of a word outside of all spans.
pub(crate) const OUTSIDE: &str = "O";

/// Span scores as seqeval counts them, in its strict mode if a scheme is given, and the share of words with the correct tag. One list
/// of tags per row.
pub(crate) fn span_scores(
    gold: &[Vec<&str>],
    predicted: &[Vec<&str>],
    strict: Option<metrics::Scheme>,
) -> Vec<(String, f64)> {
    let of_row = |row: &Vec<&str>| match strict {
        Some(scheme) => metrics::strict_spans(row, scheme),
        None => metrics::spans(row),
    };
    let spans = |rows: &[Vec<&str>]| rows.iter().map(of_row).collect::<Vec<_>>();
    let scores = metrics::span_scores(&spans(gold), &spans(predicted));
    let (gold, predicted, _) = as_ids(gold, predicted);
    vec![
        ("span_f1".into(), scores.f1),
        ("span_precision".into(), scores.precision),
        ("span_recall".into(), scores.recall),
        ("span_macro_f1".into(), scores.macro_f1),
        ("token_accuracy".into(), metrics::accuracy(&gold, &predicted)),
    ]
}

/// Scores of tags without spans.
pub(crate) fn word_scores(gold: &[Vec<&str>], predicted: &[Vec<&str>]) -> Vec<(String, f64)> {
    let (gold, predicted, classes) = as_ids(gold, predicted);
    vec![
        ("token_accuracy".into(), metrics::accuracy(&gold, &predicted)),
        ("macro_f1".into(), metrics::macro_f1(&gold, &predicted, classes)),
    ]
}

/// The tags of all words of all rows as ids, and the number of different tags.
fn as_ids<'a>(gold: &[Vec<&'a str>], predicted: &[Vec<&'a str>]) -> (Vec<u32>, Vec<u32>, usize) {
    let mut ids: BTreeMap<&'a str, u32> = BTreeMap::new();
    let mut number = |rows: &[Vec<&'a str>]| -> Vec<u32> {
        let tags = rows.iter().flatten();
        tags.map(|tag| {
            let next = ids.len() as u32;
            *ids.entry(tag).or_insert(next)
        })
        .collect()
    };
    let (gold, predicted) = (number(gold), number(predicted));
    (gold, predicted, ids.len())
}

/// The answer for one row from the tags (name and probability) of its words, with the entities that they encode if `spans`.
pub(crate) fn tagged(tags: &[(&str, Option<f32>)], input: ModelInput<'_>, spans: bool) -> Value {
    let names: Vec<&str> = tags.iter().map(|(name, _)| *name).collect();
    let mut answer = serde_json::Map::new();
    if spans {
        let offsets = character_offsets(input);
        let entity = |span: metrics::Span| {
            let words = &tags[span.start..span.end];
            let probability = words.iter().map(|(_, p)| p.unwrap_or(1.0)).fold(1.0, f32::min);
            let (start, end) = (offsets[span.start].start, offsets[span.end - 1].end);
            json!({
                "text": text(input, span.start..span.end),
                "label": span.label,
                "start": start,
                "end": end,
                "probability": probability,
            })
        };
        answer.insert("entities".into(), metrics::spans(&names).into_iter().map(entity).collect());
    }
    answer.insert("tags".into(), json!(names));
    if let ModelInput::Text { .. } = input {
        answer.insert("words".into(), json!(input.words()));
    }
    Value::Object(answer)
}

/// The range of each word in characters (Unicode scalar values).
pub(crate) fn character_offsets(input: ModelInput<'_>) -> Vec<Range<usize>> {
    match input {
        ModelInput::Text { text, words } => {
            let mut counted = (0, 0); // bytes, characters so far
            let mut characters = |byte: usize| {
                let from = if byte < counted.0 { (0, 0) } else { counted };
                let more = text.get(from.0..byte).map_or(0, |part| part.chars().count());
                counted = (byte, from.1 + more);
                counted.1
            };
            words.iter().map(|word| characters(word.start)..characters(word.end)).collect()
        }
        ModelInput::Words(words) => {
            let mut next = 0;
            words
                .iter()
                .map(|word| {
                    let range = next..next + word.chars().count();
                    next = range.end + 1;
                    range
                })
                .collect()
        }
        ModelInput::Pair { .. } | ModelInput::Choices(_) => Vec::new(),
    }
}

/// The text of some words.
pub(crate) fn text(input: ModelInput<'_>, words: Range<usize>) -> String {
    match input {
        ModelInput::Text { text, words: ranges } => {
            text.get(ranges[words.start].start..ranges[words.end - 1].end).unwrap_or_default().to_owned()
        }
        ModelInput::Words(all) => all[words].join(" "),
        ModelInput::Pair { .. } | ModelInput::Choices(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_count_characters_as_python_does() {
        // Python: "😀 e\u0301cole 東京".index("東京") == 8
        let text = "😀 e\u{301}cole 東京";
        let words = [0..4, 5..12, 13..16, 16..19];
        let tags = [("O", Some(0.9)), ("B-X", Some(0.8)), ("B-LOC", Some(0.7)), ("I-LOC", Some(0.6))];
        let answer = tagged(&tags, ModelInput::Text { text, words: &words }, true);
        assert_eq!(answer["entities"][0]["text"], "e\u{301}cole");
        assert_eq!((&answer["entities"][0]["start"], &answer["entities"][0]["end"]), (&json!(2), &json!(8)));
        assert_eq!(answer["entities"][1]["text"], "東京");
        assert_eq!((&answer["entities"][1]["start"], &answer["entities"][1]["end"]), (&json!(9), &json!(11)));
        assert_eq!(answer["entities"][1]["probability"], json!(0.6f32));
        assert_eq!(answer["words"], json!(["😀", "e\u{301}cole", "東", "京"]));
    }

    #[test]
    fn offsets_in_given_words_count_single_spaces() {
        let words = ["José".to_owned(), "García".to_owned(), "lives".to_owned()];
        let tags = [("B-PER", Some(0.5)), ("I-PER", None), ("O", Some(1.0))];
        let answer = tagged(&tags, ModelInput::Words(&words), true);
        let entity =
            json!({ "text": "José García", "label": "PER", "start": 0, "end": 11, "probability": 0.5f32 });
        assert_eq!(answer, json!({ "entities": [entity], "tags": ["B-PER", "I-PER", "O"] }));
    }
}

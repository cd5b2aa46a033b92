//! Labelled spans of a plain text, by characters, as annotation tools export them, and the tags of the words that they cover.
//!
//! A span is `[start, end, label]` (Doccano, spaCy), or an object with `start` and `end` (Prodigy) or `start_offset` and `end_offset`
//! (Doccano), and `label` or `type`. Offsets count Unicode characters as Python does, the end exclusive. Words are those that
//! [`data::split_words`] finds in the text.

use data::{DataError, Row, Value, split_words};

use crate::decode::answer::OUTSIDE;
use crate::targets::labels::as_label;

/// The formats of the field, for a message.
const EXPECTED: &str = "a list of [start, end, label], or of objects with start, end (or start_offset, end_offset) and label, in characters of the text";

/// The tags of a row's words in scheme `bio`, and what was lost on the way.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct SpanTags {
    pub tags: Vec<Option<String>>,
    /// Whether a span overlaps another one; the first and longer one is kept.
    pub overlapping: bool,
    /// Whether a span lies outside of the text, or covers no word.
    pub outside: bool,
    /// Whether a span begins or ends inside of a word; the whole word is tagged.
    pub misaligned: bool,
}

/// The keys of an object under which its parts stand.
const START: [&str; 2] = ["start", "start_offset"];
const END: [&str; 2] = ["end", "end_offset"];
const LABEL: [&str; 2] = ["label", "type"];

struct TextSpan {
    start: f64,
    end: f64,
    label: String,
}

fn span(value: &Value) -> Option<TextSpan> {
    let number = |value: Option<&Value>| match value? {
        Value::Number(number) => Some(*number),
        _ => None,
    };
    let label = |value: Option<&Value>| as_label(value?).ok().flatten();
    match value {
        Value::List(parts) => Some(TextSpan {
            start: number(parts.first())?,
            end: number(parts.get(1))?,
            label: label(parts.get(2)).filter(|_| parts.len() == 3)?,
        }),
        Value::Record(_) => {
            let part = |names: &[&str]| names.iter().find_map(|name| value.field(name));
            Some(TextSpan {
                start: number(part(&START))?,
                end: number(part(&END))?,
                label: label(part(&LABEL))?,
            })
        }
        _ => None,
    }
}

/// The tags of a row's words; `None` for a row without the field of spans.
///
/// Errors: something else in the field.
pub(crate) fn tags(row: &Row, text: &str, field: &str) -> Result<Option<SpanTags>, DataError> {
    let Some(value) = row.get(field) else { return Ok(None) };
    let text = row.text(text)?.unwrap_or_default();
    let Value::List(items) = value else { return Err(row.error(field, value.preview(), EXPECTED)) };
    let read = |item: &Value| span(item).ok_or_else(|| row.error(field, item.preview(), EXPECTED));
    let mut spans = items.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    spans.sort_by(|a, b| a.start.total_cmp(&b.start).then(b.end.total_cmp(&a.end)));
    let words = word_characters(&text);
    let characters = text.chars().count() as f64;
    let mut found = SpanTags { tags: vec![Some(OUTSIDE.to_owned()); words.len()], ..SpanTags::default() };
    for TextSpan { start, end, label } in spans {
        let covered: Vec<usize> =
            (0..words.len()).filter(|word| words[*word].0 < end && words[*word].1 > start).collect();
        let (Some(first), Some(last)) = (covered.first(), covered.last()) else {
            found.outside = true;
            continue;
        };
        if start < 0.0 || end > characters || start >= end {
            found.outside = true;
            continue;
        }
        if covered.iter().any(|word| found.tags[*word].as_deref() != Some(OUTSIDE)) {
            found.overlapping = true;
            continue;
        }
        found.misaligned |= words[*first].0 < start || words[*last].1 > end;
        for word in &covered {
            let letter = if word == first { 'B' } else { 'I' };
            found.tags[*word] = Some(format!("{letter}-{label}"));
        }
    }
    Ok(Some(found))
}

/// The first character of each word of a text and the one behind it.
fn word_characters(text: &str) -> Vec<(f64, f64)> {
    let (mut byte, mut characters) = (0, 0);
    let mut at = |end: usize| {
        characters += text[byte..end].chars().count();
        byte = end;
        characters as f64
    };
    split_words(text).into_iter().map(|word| (at(word.start), at(word.end))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::Place;
    use std::path::Path;

    fn read(text: &str, spans: Value) -> Result<(String, [bool; 3]), String> {
        let fields = vec![("text".into(), Value::Text(text.into())), ("label".into(), spans)];
        let row = Row { place: Place { file: Path::new("a").into(), line: 1 }, fields };
        let found = tags(&row, "text", "label").map_err(|error| error.to_string())?.unwrap();
        let tags: Vec<&str> = found.tags.iter().map(|tag| tag.as_deref().unwrap()).collect();
        Ok((tags.join(" "), [found.overlapping, found.outside, found.misaligned]))
    }

    fn list(start: f64, end: f64, label: &str) -> Value {
        Value::List(vec![Value::Number(start), Value::Number(end), Value::Text(label.into())])
    }

    fn object(names: [&str; 3], start: f64, end: f64) -> Value {
        let values = [Value::Number(start), Value::Number(end), Value::Text("X".into())];
        Value::Record(names.into_iter().map(Into::into).zip(values).collect())
    }

    #[test]
    fn spans_of_every_tool_are_tags_of_words() {
        let text = "é in New York, Bo";
        for spans in [
            vec![list(15.0, 17.0, "X"), list(5.0, 13.0, "X")],
            vec![object(["start", "end", "label"], 5.0, 13.0), object(["start", "end", "type"], 15.0, 17.0)],
            vec![
                object(["start_offset", "end_offset", "label"], 5.0, 13.0),
                object(["start_offset", "end_offset", "label"], 15.0, 17.0),
            ],
        ] {
            assert_eq!(read(text, Value::List(spans)).unwrap(), ("O O B-X I-X O B-X".into(), [false; 3]));
        }
        assert!(read(text, Value::Text("x".into())).unwrap_err().contains("a list of [start, end, label]"));
        assert!(read(text, Value::List(vec![Value::Number(1.0)])).is_err());
    }

    #[test]
    fn what_tags_cannot_hold_is_noticed() {
        let of = |spans: Vec<Value>| read("one two three", Value::List(spans)).unwrap();
        assert_eq!(
            of(vec![list(0.0, 3.0, "A"), list(0.0, 7.0, "B")]),
            ("B-B I-B O".into(), [true, false, false])
        );
        assert_eq!(of(vec![list(8.0, 99.0, "A")]), ("O O O".into(), [false, true, false]));
        assert_eq!(of(vec![list(3.0, 4.0, "A")]), ("O O O".into(), [false, true, false]));
        assert_eq!(of(vec![list(5.0, 13.0, "A")]), ("O B-A I-A".into(), [false, false, true]));
    }
}

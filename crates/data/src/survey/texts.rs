//! The texts that a view reads of its rows.

use rayon::prelude::*;

use super::NormalizedText;
use std::borrow::Cow;

use crate::{InputField, Row, View};

/// The normalized text of each row, without prefixes, markers and spans: two rows with the same one have the same content.
pub fn text_keys(view: &View) -> Vec<Option<NormalizedText>> {
    view.rows.par_iter().map(|row| NormalizedText::of(&texts(&view.input, row))).collect()
}

/// As [`text_keys`], but where two spans are marked, the same text with other spans is another row.
pub fn row_keys(view: &View) -> Vec<Option<NormalizedText>> {
    let InputField::Marked(marked) = &view.input else { return text_keys(view) };
    let with_spans = |row| {
        let mut texts = texts(&view.input, row);
        let spans = [&marked.head, &marked.tail].map(|field| row.get(field).map(|value| value.preview()));
        // Normalized texts have digits and no punctuation: a letter tells `[1, 23]` and `[12, 3]` apart.
        texts.extend(spans.into_iter().flatten().map(|span| span.replace(',', "to")));
        NormalizedText::of(&texts)
    };
    view.rows.par_iter().map(with_spans).collect()
}

/// The text of a row, for display: several texts are joined by ` | `.
pub fn text_of(view: &View, row: usize) -> String {
    view.rows.get(row).map(|row| texts(&view.input, row).join(" | ")).unwrap_or_default()
}

/// The texts that are read of a row; none of a field that a view would refuse.
fn texts(input: &InputField, row: &Row) -> Vec<String> {
    let text = |field: &str| row.text(field).ok().flatten().map(Cow::into_owned);
    let words = |field: &str| row.words(field).ok().flatten().map(|words| words.join(" "));
    match input {
        InputField::Text(field) | InputField::Prefixed { field, .. } | InputField::SplitText(field) => {
            text(field).into_iter().collect()
        }
        InputField::Words(field) => words(field).into_iter().collect(),
        InputField::Chat { source, .. } => {
            let messages = source.messages(row).unwrap_or_default();
            messages
                .iter()
                .filter(|message| message["role"] == "user")
                .filter_map(|message| message["content"].as_str().map(str::to_owned))
                .collect()
        }
        InputField::Windowed { input, .. } | InputField::Completion { prompt: input, .. } => {
            texts(input, row)
        }
        InputField::Pair(first, second) | InputField::Windows { fields: [first, second], .. } => {
            [text(first), text(second)].into_iter().flatten().collect()
        }
        InputField::Choices(first, second) => {
            let choices = row.choices(second).ok().flatten().unwrap_or_default();
            text(first).into_iter().chain(choices).collect()
        }
        InputField::Marked(marked) => {
            let read = if marked.words { words(&marked.text) } else { text(&marked.text) };
            read.into_iter().collect()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Encoded, EntityMarkers, Place, TextWindows, Value};
    use std::path::Path;

    fn view(input: InputField, rows: &[serde_json::Value]) -> View {
        let row = |(i, json): (usize, &serde_json::Value)| {
            let Ok(Value::Record(fields)) = crate::json_value(&json.to_string()) else { panic!("an object") };
            Row { place: Place { file: Path::new("a.jsonl").into(), line: i + 1 }, fields }
        };
        let rows: Vec<Row> = rows.iter().enumerate().map(row).collect();
        View { corpus: "c".into(), input, rows: rows.into(), encoded: Encoded::default(), masking: None }
    }

    #[test]
    fn every_input_is_read() {
        let row = serde_json::json!({ "t": "One text", "w": ["two", "words"], "c": ["a", "b"], "h": [0, 1], "e": [1, 2] });
        let fields = || ["t".to_owned(), "t".to_owned()];
        let marked = |text: &str, words| {
            let text = text.to_owned();
            let [head, tail] = ["h", "e"].map(str::to_owned);
            InputField::Marked(EntityMarkers { text, words, head, tail, markers: true })
        };
        for (input, read) in [
            (InputField::Text("t".into()), "One text"),
            (InputField::text("t", Some("say: ")), "One text"),
            (InputField::Words("w".into()), "two words"),
            (InputField::Pair("t".into(), "t".into()), "One text | One text"),
            (InputField::Windows { fields: fields(), overlap: 1, most: 2 }, "One text | One text"),
            (InputField::Choices("t".into(), "c".into()), "One text | a | b"),
            (InputField::Words("w".into()).in_windows(Some(TextWindows::default())), "two words"),
            (marked("t", false), "One text"),
            (marked("w", true), "two words"),
            (InputField::Text("absent".into()), ""),
        ] {
            let view = view(input, std::slice::from_ref(&row));
            assert_eq!(text_of(&view, 0), read);
            assert_eq!(text_keys(&view)[0].is_some(), !read.is_empty());
        }
    }

    #[test]
    fn words_equal_their_text_and_spans_tell_rows_apart() {
        let words =
            view(InputField::Words("w".into()), &[serde_json::json!({ "w": ["It", "'s", "me", "!"] })]);
        let text = view(InputField::Text("t".into()), &[serde_json::json!({ "t": "It's me!" })]);
        assert_eq!(text_keys(&words), text_keys(&text));
        let [text, head, tail] = ["t", "h", "e"].map(str::to_owned);
        let marked = EntityMarkers { text, words: false, head, tail, markers: false };
        let rows = [
            serde_json::json!({ "t": "a b c", "h": [0, 1], "e": [2, 3] }),
            serde_json::json!({ "t": "a b c", "h": [0, 1], "e": [4, 5] }),
        ];
        let marked = view(InputField::Marked(marked), &rows);
        let (texts, rows) = (text_keys(&marked), row_keys(&marked));
        assert!(texts[0] == texts[1] && rows[0] != rows[1] && text_of(&marked, 7).is_empty());
    }
}

//! A line of standard input, as the tasks of a model read it.

use data::{DataError, EntityMarkers, InputField, Place, Row, split_words};
use serde_json::{Map, Value};
use std::ops::Range;
use std::path::Path;
use tasks::ModelInput;
use train::Model;

/// What a model's tasks read of a line.
pub struct ModelInputs {
    /// The fields of the tasks that read one text.
    one: Vec<String>,
    /// Each pair of texts that some task reads.
    pub pairs: Vec<InputField>,
    /// The fields of each text with choices that some task reads.
    pub choices: Vec<[String; 2]>,
    /// Each text with two spans that some task reads.
    pub marked: Vec<EntityMarkers>,
}

impl ModelInputs {
    pub fn of(model: &Model) -> ModelInputs {
        let mut inputs =
            ModelInputs { one: Vec::new(), pairs: Vec::new(), choices: Vec::new(), marked: Vec::new() };
        for task in &model.tasks {
            match task.kind.input() {
                InputField::Text(field) | InputField::Prefixed { field, .. } | InputField::Words(field) => {
                    inputs.one.push(field)
                }
                input @ (InputField::Pair(..) | InputField::Windows { .. }) => {
                    if !inputs.pairs.contains(&input) {
                        inputs.pairs.push(input);
                    }
                }
                InputField::Choices(text, choices) => {
                    let fields = [text, choices];
                    if !inputs.choices.contains(&fields) {
                        inputs.choices.push(fields);
                    }
                }
                InputField::Marked(marked) => {
                    if !inputs.marked.contains(&marked) {
                        inputs.marked.push(marked);
                    }
                }
            }
        }
        inputs
    }

    /// The fields that a line may have, for a message.
    fn wanted(&self) -> String {
        let two = |[first, second]: [&str; 2]| format!("`{first}` and `{second}`");
        let pairs = self.pairs.iter().map(|pair| two(fields_of(pair)));
        let choices = self.choices.iter().map(|[text, choices]| two([text, choices]));
        let one = (!self.one.is_empty()).then(|| "`text` or `tokens`".to_string());
        let marked = self.marked.iter().map(|marked| {
            let [text, head, tail] = marked.fields();
            format!("`{text}`, `{head}` and `{tail}`")
        });
        one.into_iter().chain(pairs).chain(choices).chain(marked).collect::<Vec<_>>().join(", or ")
    }
}

/// The two fields of an input that has two.
fn fields_of(input: &InputField) -> [&str; 2] {
    let fields = input.fields();
    [fields[0], fields[1]]
}

/// A line of input: one text, pairs of texts, texts with choices, texts with two spans, or several of them.
pub struct Question {
    /// For the tasks that read one text.
    pub one: Option<SingleText>,
    /// For the tasks that read two, in the order of [`ModelInputs::pairs`].
    pub pairs: Vec<Option<[String; 2]>>,
    /// For the tasks that choose among texts, in the order of [`ModelInputs::choices`].
    pub choices: Vec<Option<Choices>>,
    /// For the tasks that read two spans of a text, in the order of [`ModelInputs::marked`].
    pub marked: Vec<Option<Marked>>,
}

/// A text, and others of which one belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Choices {
    /// The text.
    pub text: String,
    /// The others.
    pub choices: Vec<String>,
}

/// A text with two spans.
#[derive(Debug, Clone, PartialEq)]
pub struct Marked {
    /// The text.
    pub text: String,
    /// The pieces that the spans cut it into.
    pub pieces: Vec<String>,
}

/// One text.
pub enum SingleText {
    /// Plain text, and the byte ranges of its words.
    Text(String, Vec<Range<usize>>),
    /// Words as they were given.
    Words(Vec<String>),
}

impl SingleText {
    pub fn text(&self) -> String {
        match self {
            SingleText::Text(text, _) => text.clone(),
            SingleText::Words(words) => words.join(" "),
        }
    }

    pub fn words(&self) -> Vec<String> {
        match self {
            SingleText::Text(text, words) => words.iter().map(|w| text[w.clone()].to_string()).collect(),
            SingleText::Words(words) => words.clone(),
        }
    }

    pub fn source(&self) -> ModelInput<'_> {
        match self {
            SingleText::Text(text, words) => ModelInput::Text { text, words },
            SingleText::Words(words) => ModelInput::Words(words),
        }
    }

    fn of_text(text: &str) -> Result<SingleText, String> {
        let words = split_words(text);
        if words.is_empty() {
            Err("the text is empty".into())
        } else {
            Ok(SingleText::Text(text.into(), words))
        }
    }
}

impl Question {
    /// What the answer repeats: the text, of a pair the second text beside it.
    pub fn repeated(&self) -> Map<String, Value> {
        let pair = self.pairs.iter().flatten().next();
        let marked = || self.marked.iter().flatten().next().map(|marked| marked.text.clone());
        let text = self.one.as_ref().map(SingleText::text).or_else(|| pair.map(|[first, _]| first.clone()));
        let choices = || self.choices.iter().flatten().next().map(|choices| choices.text.clone());
        let text = text.or_else(choices).or_else(marked);
        let second = pair.map(|[_, second]| second.clone());
        let fields = [("text", text), ("pair", second)];
        fields.into_iter().filter_map(|(name, text)| Some((name.into(), text?.into()))).collect()
    }

    /// A line of plain text.
    pub fn from_text(inputs: &ModelInputs, line: &[u8]) -> Result<Question, String> {
        if inputs.one.is_empty() {
            return Err(format!("no task reads one text; give JSON objects with {}", inputs.wanted()));
        }
        let text = std::str::from_utf8(line).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to()))?;
        let one = Some(SingleText::of_text(text.trim_end_matches(['\n', '\r']))?);
        let (pairs, choices) = (vec![None; inputs.pairs.len()], vec![None; inputs.choices.len()]);
        Ok(Question { one, pairs, choices, marked: vec![None; inputs.marked.len()] })
    }

    /// An object with `text` or `tokens`, or with fields that the model was trained on; with two texts for the tasks that
    /// read two (`text` and `pair` serve for any of them), with a list for those that choose, and with two spans for the tasks that read these (`text` or `tokens`,
    /// `head` and `tail` serve for any of them).
    pub fn from_json(inputs: &ModelInputs, line: &[u8]) -> Result<Question, String> {
        let value: Value = serde_json::from_slice(line).map_err(|e| format!("not a JSON object: {e}"))?;
        let Value::Object(fields) = value else { return Err("not a JSON object".into()) };
        let pairs = inputs
            .pairs
            .iter()
            .map(|pair| two(inputs, &fields, fields_of(pair)))
            .collect::<Result<Vec<_>, _>>()?;
        let choices = inputs
            .choices
            .iter()
            .map(|names| choices(inputs, &fields, names))
            .collect::<Result<Vec<_>, _>>()?;
        let one = if inputs.one.is_empty() { None } else { one(inputs, &fields)? };
        let marked =
            inputs.marked.iter().map(|names| spans(inputs, &fields, names)).collect::<Result<Vec<_>, _>>()?;
        let none = pairs.iter().all(Option::is_none) && choices.iter().all(Option::is_none);
        if one.is_none() && none && marked.iter().all(Option::is_none) {
            let found: Vec<&str> = fields.keys().map(String::as_str).collect();
            return Err(format!("no field {}; found {}", inputs.wanted(), found.join(", ")));
        }
        Ok(Question { one, pairs, choices, marked })
    }
}

/// The first field that holds one text.
fn one(inputs: &ModelInputs, fields: &Map<String, Value>) -> Result<Option<SingleText>, String> {
    let names = inputs.one.iter().map(String::as_str).chain(["tokens", "text"]);
    let found = names.filter_map(|name| fields.get_key_value(name)).find(|(_, v)| !v.is_null());
    let Some((name, value)) = found else { return Ok(None) };
    match value {
        Value::String(text) => SingleText::of_text(text).map(Some),
        Value::Array(items) => {
            let words: Option<Vec<String>> = items.iter().map(|w| w.as_str().map(str::to_string)).collect();
            match words {
                Some(words) if !words.is_empty() => Ok(Some(SingleText::Words(words))),
                _ => Err(format!("`{name}` is not a list of words")),
            }
        }
        _ => Err(format!("`{name}` is neither a text nor a list of words")),
    }
}

/// Both texts of a pair; `None` where the line has neither.
fn two(
    inputs: &ModelInputs,
    fields: &Map<String, Value>,
    [first, second]: [&str; 2],
) -> Result<Option<[String; 2]>, String> {
    let get = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let lacks = |name: &str, other: &str| Err(format!("no field `{name}` beside `{other}`"));
    // A field that some task reads by itself may stand alone.
    let alone = |name: &str| name == "text" || inputs.one.iter().any(|one| one == name);
    let found = match (get(first), get(second)) {
        (Some(a), Some(b)) => [(first, a), (second, b)],
        (Some(_), None) if !alone(first) => return lacks(second, first),
        (None, Some(_)) if !alone(second) => return lacks(first, second),
        _ => match (get("text"), get("pair")) {
            (Some(a), Some(b)) => [("text", a), ("pair", b)],
            (None, Some(_)) => return lacks("text", "pair"),
            _ => return Ok(None),
        },
    };
    let text = |(name, value): (&str, &Value)| {
        value.as_str().map(str::to_string).ok_or_else(|| format!("`{name}` is not a text"))
    };
    let pair = [text(found[0])?, text(found[1])?];
    if pair.iter().all(|text| text.trim().is_empty()) {
        return Err("both texts are empty".into());
    }
    Ok(Some(pair))
}

/// A text with its choices; `None` where the line has no choices, or no text.
fn choices(
    inputs: &ModelInputs,
    fields: &Map<String, Value>,
    [text, list]: &[String; 2],
) -> Result<Option<Choices>, String> {
    let found = (first(fields, &[text, "text"]), first(fields, &[list, "choices"]));
    let ((name, value), (list, choices)) = match found {
        (Some(text), Some(choices)) => (text, choices),
        (Some(_), None) if inputs.one.is_empty() => return Err(format!("no field `{list}` beside `{text}`")),
        (None, Some(_)) => return Err(format!("no field `{text}` beside `{list}`")),
        _ => return Ok(None),
    };
    let text = value.as_str().ok_or_else(|| format!("`{name}` is not a text"))?.to_string();
    let texts =
        choices.as_array().map_or(&[][..], Vec::as_slice).iter().map(|c| c.as_str().map(str::to_string));
    match texts.collect::<Option<Vec<String>>>() {
        Some(choices) if choices.len() > 1 => Ok(Some(Choices { text, choices })),
        _ => Err(format!("`{list}` is not a list of two or more texts")),
    }
}

/// A text with its two spans; `None` where the line has neither span, or not the text. Spans count words where a list of
/// words is given, or text in a field of words that the model was trained on; otherwise characters.
fn spans(
    inputs: &ModelInputs,
    fields: &Map<String, Value>,
    names: &EntityMarkers,
) -> Result<Option<Marked>, String> {
    let text = first(fields, &[&names.text, "text", "tokens"]);
    let found = (text, first(fields, &[&names.head, "head"]), first(fields, &[&names.tail, "tail"]));
    let (Some((name, text)), Some((_, head)), Some((_, tail))) = found else {
        let alone = !inputs.one.is_empty() && found.1.is_none() && found.2.is_none();
        if alone || found.0.is_none() {
            return Ok(None);
        }
        let lacking = if found.1.is_none() { &names.head } else { &names.tail };
        return Err(format!("no field `{lacking}` beside the text"));
    };
    let words = text.is_array() || (names.words && *name == names.text);
    let fields = [(&names.text, text), (&names.head, head), (&names.tail, tail)];
    let row = Row {
        place: Place { file: Path::new("standard input").into(), line: 0 },
        fields: fields.map(|(name, value)| (name.as_str().into(), value.into())).to_vec(),
    };
    // The answer names the line.
    let reason = |error: DataError| match error {
        DataError::BadRow { reason, .. } => reason,
        other => other.to_string(),
    };
    let pieces = EntityMarkers { words, ..names.clone() }.pieces(&row).map_err(reason)?.unwrap_or_default();
    let text = row.words(&names.text).ok().flatten().filter(|_| words).map(|words| words.join(" "));
    let text = text.or_else(|| row.text(&names.text).ok().flatten().map(str::to_string)).unwrap_or_default();
    Ok(Some(Marked { text, pieces }))
}

/// The first of the named fields that a line has, with its name.
fn first<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<(&'a String, &'a Value)> {
    names.iter().filter_map(|name| fields.get_key_value(*name)).find(|(_, value)| !value.is_null())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(one: &[&str], pairs: &[[&str; 2]]) -> ModelInputs {
        ModelInputs {
            one: one.iter().map(|name| name.to_string()).collect(),
            pairs: pairs.iter().map(|[a, b]| InputField::Pair(a.to_string(), b.to_string())).collect(),
            choices: Vec::new(),
            marked: Vec::new(),
        }
    }

    #[test]
    fn pairs_are_read_by_their_names_or_as_text_and_pair() {
        let reads = reads(&[], &[["premise", "hypothesis"]]);
        let read = |line: &str| Question::from_json(&reads, line.as_bytes()).map(|q| q.pairs[0].clone());
        let expected = Ok(Some(["a".to_string(), "b".to_string()]));
        assert_eq!(read(r#"{"hypothesis": "b", "premise": "a"}"#), expected);
        assert_eq!(read(r#"{"text": "a", "pair": "b"}"#), expected);
        for (line, says) in [
            (r#"{"premise": "a"}"#, "no field `hypothesis` beside `premise`"),
            (r#"{"hypothesis": "a", "text": "b"}"#, "no field `premise` beside `hypothesis`"),
            (r#"{"premise": "a", "hypothesis": ["b"]}"#, "`hypothesis` is not a text"),
            (r#"{"premise": " ", "hypothesis": ""}"#, "both texts are empty"),
            (r#"{"text": "a"}"#, "no field `premise` and `hypothesis`; found text"),
            ("[]", "not a JSON object"),
        ] {
            assert_eq!(read(line).unwrap_err(), says);
        }
        let plain = Question::from_text(&reads, b"a\n").err().unwrap();
        assert_eq!(plain, "no task reads one text; give JSON objects with `premise` and `hypothesis`");
    }

    #[test]
    fn tasks_on_one_text_and_on_two_may_stand_side_by_side() {
        let reads = reads(&["review"], &[["a", "b"]]);
        let read = |line: &str| Question::from_json(&reads, line.as_bytes()).unwrap();
        let both = read(r#"{"review": "one", "a": "two", "b": "three"}"#);
        assert_eq!(Value::Object(both.repeated()), serde_json::json!({ "text": "one", "pair": "three" }));
        assert!(both.one.is_some() && both.pairs[0].is_some());
        let one = read(r#"{"text": "one"}"#);
        assert!(one.one.is_some() && one.pairs[0].is_none());
        let two = read(r#"{"a": "two", "b": "three"}"#);
        assert!(two.one.is_none() && two.pairs[0].is_some());
    }

    #[test]
    fn choices_are_read_by_their_names_or_as_text_and_choices() {
        let reads = |one: &[&str]| ModelInputs {
            choices: vec![["question".into(), "answers".into()]],
            ..reads(one, &[])
        };
        let read = |line: &str| {
            Question::from_json(&reads(&[]), line.as_bytes()).map(|question| question.choices[0].clone())
        };
        let expected = Choices { text: "a".into(), choices: vec!["b".into(), "c".into()] };
        assert_eq!(read(r#"{"question": "a", "answers": ["b", "c"]}"#), Ok(Some(expected.clone())));
        assert_eq!(read(r#"{"text": "a", "choices": ["b", "c"]}"#), Ok(Some(expected)));
        for (line, says) in [
            (r#"{"question": "a"}"#, "no field `answers` beside `question`"),
            (r#"{"answers": ["a", "b"]}"#, "no field `question` beside `answers`"),
            (r#"{"question": 1, "answers": ["a", "b"]}"#, "`question` is not a text"),
            (r#"{"question": "a", "answers": ["b"]}"#, "`answers` is not a list of two or more texts"),
            (r#"{"question": "a", "answers": ["b", 1]}"#, "`answers` is not a list of two or more texts"),
            (r#"{"x": "a"}"#, "no field `question` and `answers`; found x"),
        ] {
            assert_eq!(read(line).unwrap_err(), says);
        }
        let beside = Question::from_json(&reads(&["text"]), br#"{"text": "x"}"#).unwrap();
        assert!(beside.one.is_some() && beside.choices[0].is_none());
    }

    #[test]
    fn spans_are_read_by_their_names_or_as_head_and_tail() {
        let [text, head, tail] = ["words", "a", "b"].map(str::to_string);
        let marked = EntityMarkers { text, words: true, head, tail, markers: true };
        let reads = |one: &[&str]| ModelInputs { marked: vec![marked.clone()], ..reads(one, &[]) };
        let read = |line: &str| {
            let marked = Question::from_json(&reads(&[]), line.as_bytes()).map(|q| q.marked[0].clone());
            let shown =
                |m: Marked| (m.text, m.pieces.into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>());
            marked.map(|marked| marked.map(shown))
        };
        let pieces = ["$", "x", "$", "y", "#", "z", "#"].map(str::to_string).to_vec();
        for line in [
            r#"{"words": ["x", "y", "z"], "a": [0, 1], "b": [2, 3]}"#,
            r#"{"words": "x y z", "a": [0, 1], "b": [2, 3]}"#,
            r#"{"tokens": ["x", "y", "z"], "head": [0, 1], "tail": [2, 3]}"#,
            r#"{"text": "x y z", "head": [0, 1], "tail": [4, 5]}"#,
        ] {
            assert_eq!(read(line), Ok(Some(("x y z".to_string(), pieces.clone()))), "{line}");
        }
        for (line, says) in [
            (r#"{"words": ["x"], "a": [0, 1]}"#, "no field `b` beside the text"),
            (r#"{"words": ["x"]}"#, "no field `a` beside the text"),
            (r#"{"a": [0, 1], "b": [0, 1]}"#, "no field `words`, `a` and `b`; found a, b"),
            (
                r#"{"words": ["x"], "a": [0, 1], "b": [0, 2]}"#,
                "field \"b\": found [0, 2], expected [start, end] of a span that is not empty, with end (exclusive) at most 1, in words of field \"words\"",
            ),
            (r#"{"text": 5, "head": [0, 1], "tail": [0, 2]}"#, "field \"words\": found 5, expected text"),
        ] {
            assert_eq!(read(line).unwrap_err(), says);
        }
        let beside = Question::from_json(&reads(&["text"]), br#"{"text": "x"}"#).unwrap();
        assert!(beside.one.is_some() && beside.marked[0].is_none());
        let plain = Question::from_text(&reads(&[]), b"x\n").err().unwrap();
        assert_eq!(plain, "no task reads one text; give JSON objects with `words`, `a` and `b`");
    }
}

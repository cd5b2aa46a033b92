//! A line of standard input, as the tasks of a model read it.

use data::{InputField, split_words};
use serde_json::{Map, Value};
use std::ops::Range;
use tasks::Source;
use train::Model;

/// What a model's tasks read of a line.
pub struct Reads {
    /// The fields of the tasks that read one text.
    one: Vec<String>,
    /// The fields of each pair of texts that some task reads.
    pub pairs: Vec<[String; 2]>,
}

impl Reads {
    pub fn of(model: &Model) -> Reads {
        let mut reads = Reads { one: Vec::new(), pairs: Vec::new() };
        for task in &model.tasks {
            match task.kind.input() {
                InputField::Text(field) | InputField::Words(field) => reads.one.push(field),
                InputField::Pair(first, second) => {
                    let pair = [first, second];
                    if !reads.pairs.contains(&pair) {
                        reads.pairs.push(pair);
                    }
                }
            }
        }
        reads
    }

    /// The fields that a line may have, for a message.
    fn wanted(&self) -> String {
        let pairs = self.pairs.iter().map(|[first, second]| format!("`{first}` and `{second}`"));
        let one = (!self.one.is_empty()).then(|| "`text` or `tokens`".to_string());
        one.into_iter().chain(pairs).collect::<Vec<_>>().join(", or ")
    }
}

/// What is asked about: one text, pairs of texts, or both.
pub struct Question {
    /// For the tasks that read one text.
    pub one: Option<One>,
    /// For the tasks that read two, in the order of [`Reads::pairs`].
    pub pairs: Vec<Option<[String; 2]>>,
}

/// One text.
pub enum One {
    /// Plain text, and the byte ranges of its words.
    Text(String, Vec<Range<usize>>),
    /// Words as they were given.
    Words(Vec<String>),
}

impl One {
    pub fn text(&self) -> String {
        match self {
            One::Text(text, _) => text.clone(),
            One::Words(words) => words.join(" "),
        }
    }

    pub fn words(&self) -> Vec<String> {
        match self {
            One::Text(text, words) => words.iter().map(|w| text[w.clone()].to_string()).collect(),
            One::Words(words) => words.clone(),
        }
    }

    pub fn source(&self) -> Source<'_> {
        match self {
            One::Text(text, words) => Source::Text { text, words },
            One::Words(words) => Source::Words(words),
        }
    }

    fn of_text(text: &str) -> Result<One, String> {
        let words = split_words(text);
        if words.is_empty() { Err("the text is empty".into()) } else { Ok(One::Text(text.into(), words)) }
    }
}

impl Question {
    /// What the answer repeats: the text, of a pair the second text beside it.
    pub fn repeated(&self) -> Map<String, Value> {
        let pair = self.pairs.iter().flatten().next();
        let text = self.one.as_ref().map(One::text).or_else(|| pair.map(|[first, _]| first.clone()));
        let second = pair.map(|[_, second]| second.clone());
        let fields = [("text", text), ("pair", second)];
        fields.into_iter().filter_map(|(name, text)| Some((name.into(), text?.into()))).collect()
    }

    /// A line of plain text.
    pub fn from_text(reads: &Reads, line: &[u8]) -> Result<Question, String> {
        if reads.one.is_empty() {
            return Err(format!("no task reads one text; give JSON objects with {}", reads.wanted()));
        }
        let text = std::str::from_utf8(line).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to()))?;
        let one = Some(One::of_text(text.trim_end_matches(['\n', '\r']))?);
        Ok(Question { one, pairs: vec![None; reads.pairs.len()] })
    }

    /// An object with `text` or `tokens`, or with fields that the model was trained on; with two texts for the tasks that
    /// read two (`text` and `pair` serve for any of them).
    pub fn from_json(reads: &Reads, line: &[u8]) -> Result<Question, String> {
        let value: Value = serde_json::from_slice(line).map_err(|e| format!("not a JSON object: {e}"))?;
        let Value::Object(fields) = value else { return Err("not a JSON object".into()) };
        let pairs =
            reads.pairs.iter().map(|names| two(reads, &fields, names)).collect::<Result<Vec<_>, _>>()?;
        let one = if reads.one.is_empty() { None } else { one(reads, &fields)? };
        if one.is_none() && pairs.iter().all(Option::is_none) {
            let found: Vec<&str> = fields.keys().map(String::as_str).collect();
            return Err(format!("no field {}; found {}", reads.wanted(), found.join(", ")));
        }
        Ok(Question { one, pairs })
    }
}

/// The first field that holds one text.
fn one(reads: &Reads, fields: &Map<String, Value>) -> Result<Option<One>, String> {
    let names = reads.one.iter().map(String::as_str).chain(["tokens", "text"]);
    let found = names.filter_map(|name| fields.get_key_value(name)).find(|(_, v)| !v.is_null());
    let Some((name, value)) = found else { return Ok(None) };
    match value {
        Value::String(text) => One::of_text(text).map(Some),
        Value::Array(items) => {
            let words: Option<Vec<String>> = items.iter().map(|w| w.as_str().map(str::to_string)).collect();
            match words {
                Some(words) if !words.is_empty() => Ok(Some(One::Words(words))),
                _ => Err(format!("`{name}` is not a list of words")),
            }
        }
        _ => Err(format!("`{name}` is neither a text nor a list of words")),
    }
}

/// Both texts of a pair; `None` where the line has neither.
fn two(
    reads: &Reads,
    fields: &Map<String, Value>,
    names: &[String; 2],
) -> Result<Option<[String; 2]>, String> {
    let get = |name: &str| fields.get(name).filter(|value| !value.is_null());
    let lacks = |name: &str, other: &str| Err(format!("no field `{name}` beside `{other}`"));
    // A field that some task reads by itself may stand alone.
    let alone = |name: &str| name == "text" || reads.one.iter().any(|one| one == name);
    let [first, second] = names.each_ref().map(String::as_str);
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reads(one: &[&str], pairs: &[[&str; 2]]) -> Reads {
        Reads {
            one: one.iter().map(|name| name.to_string()).collect(),
            pairs: pairs.iter().map(|pair| pair.map(str::to_string)).collect(),
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
}

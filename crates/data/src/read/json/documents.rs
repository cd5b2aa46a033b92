//! JSON documents that hold a corpus in lists: rows are taken out of the shapes that are known.

use std::sync::Arc;

use crate::Value;

/// Gives the rows of a document, if it has a certain shape.
type Shape = fn(&Value) -> Option<Vec<Value>>;

/// The known shapes, the first that fits counts.
const SHAPES: [Shape; 2] = [squad, spacy];

/// The rows of a document of a known shape.
pub fn of_shape(value: &Value) -> Option<Vec<Value>> {
    SHAPES.iter().find_map(|shape| shape(value))
}

/// The rows of an element of an array: those of a known shape, or the one object that it is; `None` for what is no object.
pub fn rows(value: Value) -> Option<Vec<Value>> {
    if let Some(rows) = of_shape(&value) {
        return Some(rows);
    }
    match value {
        Value::Record(_) => Some(vec![value]),
        Value::List(items) => pair(items).map(|row| vec![row]),
        _ => None,
    }
}

/// The name of the list of objects in a document that is none of the shapes: probably the rows.
pub fn list_of_objects(value: &Value) -> Option<&str> {
    let Value::Record(fields) = value else { return None };
    let objects = |value: &Value| matches!(value, Value::List(items) if !items.is_empty() && items.iter().all(|item| matches!(item, Value::Record(_))));
    fields.iter().find(|(_, value)| objects(value)).map(|(name, _)| &**name)
}

fn items<'a>(value: &'a Value, name: &str) -> Option<&'a [Value]> {
    match value.field(name)? {
        Value::List(items) => Some(items),
        _ => None,
    }
}

fn record<const N: usize>(fields: [(&str, Option<Value>); N]) -> Value {
    let given = fields.into_iter().filter_map(|(name, value)| Some((Arc::from(name), value?)));
    Value::Record(given.collect())
}

/// SQuAD's own layout, `data` / `paragraphs` / `qas`: a row has `id`, `title`, `context`, `question` and `answers`.
fn squad(document: &Value) -> Option<Vec<Value>> {
    let mut rows = Vec::new();
    for article in items(document, "data")? {
        for paragraph in items(article, "paragraphs")? {
            for question in items(paragraph, "qas")? {
                let of = |value: &Value, name: &str| value.field(name).cloned();
                let unanswerable = question.field("is_impossible") == Some(&Value::Bool(true));
                let answers =
                    if unanswerable { Some(Value::List(Vec::new())) } else { of(question, "answers") };
                rows.push(record([
                    ("id", of(question, "id")),
                    ("title", of(article, "title")),
                    ("context", of(paragraph, "context")),
                    ("question", of(question, "question")),
                    ("answers", answers),
                ]));
            }
        }
    }
    Some(rows)
}

/// spaCy's training format of version 2, `paragraphs` / `sentences` / `tokens`: a sentence is a row with `tokens`, and where its
/// words have them `tags` (from `ner`), `pos` (from `tag`), `head` (counted from 1, 0 for the root) and `deprel` (from `dep`).
fn spacy(document: &Value) -> Option<Vec<Value>> {
    let mut rows = Vec::new();
    for paragraph in items(document, "paragraphs")? {
        for sentence in items(paragraph, "sentences")? {
            let tokens = items(sentence, "tokens")?;
            let column = |name: &str| {
                let found: Vec<Value> =
                    tokens.iter().map(|token| token.field(name).cloned().unwrap_or(Value::Null)).collect();
                found.iter().any(|value| *value != Value::Null).then_some(Value::List(found))
            };
            // Heads are relative to the word; that of the root is 0.
            let head = |(index, token): (usize, &Value)| match token.field("head") {
                Some(Value::Number(0.0)) => Value::Number(0.0),
                Some(Value::Number(offset)) => Value::Number(index as f64 + 1.0 + offset),
                _ => Value::Null,
            };
            let heads = column("head").map(|_| Value::List(tokens.iter().enumerate().map(head).collect()));
            rows.push(record([
                ("tokens", Some(column("orth")?)),
                ("tags", column("ner")),
                ("pos", column("tag")),
                ("head", heads),
                ("deprel", column("dep")),
            ]));
        }
    }
    Some(rows)
}

/// spaCy's list of `[text, {"entities": [[start, end, label]]}]`: a row with `text` and the fields of the object.
fn pair(items: Vec<Value>) -> Option<Value> {
    let [Value::Text(_), Value::Record(_)] = &items[..] else { return None };
    let mut items = items.into_iter();
    let (text, Some(Value::Record(mut fields))) = (items.next()?, items.next()) else { return None };
    fields.insert(0, ("text".into(), text));
    Some(Value::Record(fields))
}

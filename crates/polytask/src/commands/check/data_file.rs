//! `polytask check FILE` of a file with data: what its rows have, and a config to begin with.

use crate::failure::Failure;
use crate::terminal::{figures::count, figures::counted, output, table::Table};
use data::{CorpusConfig, DataError, Row, Value, is_blank};
use std::collections::BTreeSet;
use std::path::Path;

/// Different values of a field are counted up to here.
const MOST_COUNTED: usize = 1000;
/// A field with more different values than this is no label.
const MOST_LABELS: usize = 200;

/// Prints the fields of a file's rows, and a config that learns one of them.
///
/// # Errors
/// A file that cannot be read.
pub fn check(file: &Path) -> Result<u8, Failure> {
    let mut corpus = CorpusConfig::of(file.display().to_string());
    let bytes = files::read(file).map_err(|error| Failure::io("reading", file, error))?;
    corpus.delimiter = data::foreign_delimiter(file, &bytes);
    let rows = data::read_bytes(file, bytes, &corpus).map_err(Failure::refused)?;
    if rows.is_empty() {
        return Err(Failure::refused([DataError::NoRows { files: file.display().to_string() }]));
    }
    let fields = Field::all(&rows);
    let format = data::format_of_name(file).map(data::Format::name).unwrap_or_default();
    output::line(format_args!("\n  {}: data ({format}), {}\n", file.display(), counted(rows.len(), "row")));
    output::line(table(&fields));
    output::line("  a config to begin with; save it, change it, and give it to polytask check:\n");
    output::text(config(file, &corpus, &fields, &rows));
    Ok(0)
}

/// What a field holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Text,
    Number,
    Truth,
    Words,
    Spans,
    Numbers,
    Other,
}

impl Content {
    fn name(self) -> &'static str {
        match self {
            Content::Text => "text",
            Content::Number => "numbers",
            Content::Truth => "true or false",
            Content::Words => "lists of words",
            Content::Spans => "lists of spans",
            Content::Numbers => "lists of numbers",
            Content::Other => "lists or objects",
        }
    }

    fn of(value: &Value) -> Content {
        let is_text = |item: &Value| matches!(item, Value::Text(_));
        let is_number = |item: &Value| matches!(item, Value::Number(_));
        match value {
            Value::Text(text) if text.trim().parse::<f64>().is_ok() => Content::Number,
            Value::Text(_) => Content::Text,
            Value::Number(_) | Value::Integer(_) => Content::Number,
            Value::Bool(_) => Content::Truth,
            Value::List(items) if !items.is_empty() && items.iter().all(is_text) => Content::Words,
            Value::List(items) if !items.is_empty() && items.iter().all(is_number) => Content::Numbers,
            Value::List(items) if !items.is_empty() && items.iter().all(is_span) => Content::Spans,
            _ => Content::Other,
        }
    }
}

/// Whether a value is a labelled span: `[start, end, label]`, or an object with a start.
fn is_span(value: &Value) -> bool {
    match value {
        Value::List(parts) => matches!(parts[..], [Value::Number(_), Value::Number(_), Value::Text(_)]),
        Value::Record(fields) => fields.iter().any(|(name, _)| matches!(&**name, "start" | "start_offset")),
        _ => false,
    }
}

/// A field of the rows.
struct Field {
    name: String,
    /// In how many rows it has a value.
    filled: usize,
    content: Content,
    /// Its different values, so many of them.
    values: BTreeSet<String>,
    /// Characters of its texts, on average.
    length: f64,
    example: String,
}

impl Field {
    fn all(rows: &[Row]) -> Vec<Field> {
        let mut names: Vec<&str> = Vec::new();
        for (name, _) in rows.iter().flat_map(|row| &row.fields) {
            if names.last() != Some(&&**name) && !names.contains(&&**name) {
                names.push(name);
            }
        }
        names.into_iter().map(|name| Field::of(name, rows)).collect()
    }

    fn of(name: &str, rows: &[Row]) -> Field {
        let values: Vec<&Value> =
            rows.iter().filter_map(|row| row.get(name)).filter(|value| !value.is_blank()).collect();
        let contents: Vec<Content> = values.iter().map(|value| Content::of(value)).collect();
        // A number here and there is text among texts; an empty list says nothing.
        let content = match contents.iter().find(|content| **content != Content::Other) {
            Some(_) if contents.contains(&Content::Text) => Content::Text,
            Some(content) => *content,
            None => Content::Other,
        };
        let mut different = BTreeSet::new();
        for value in &values {
            if different.len() >= MOST_COUNTED {
                break;
            }
            different.insert(value.preview());
        }
        let characters = values.iter().filter_map(|value| value.as_text()).map(|text| text.chars().count());
        Field {
            name: name.to_owned(),
            filled: values.len(),
            content,
            length: characters.sum::<usize>() as f64 / values.len().max(1) as f64,
            example: values.first().map(|value| value.preview()).unwrap_or_default(),
            values: different,
        }
    }

    /// Whether the field may be the label of a classification.
    fn is_label(&self) -> bool {
        let few = self.values.len() >= 2 && self.values.len() <= MOST_LABELS.min(self.filled / 2);
        few && matches!(self.content, Content::Text | Content::Truth | Content::Number)
    }
}

fn table(fields: &[Field]) -> String {
    let mut table = Table::new(&["field", "filled", "holds", "different", "for example"]);
    for field in fields {
        let more = if field.values.len() >= MOST_COUNTED { "+" } else { "" };
        table.row([
            field.name.clone(),
            count(field.filled),
            field.content.name().into(),
            format!("{}{more}", count(field.values.len())),
            field.example.clone(),
        ]);
    }
    table.render()
}

fn config(file: &Path, corpus: &CorpusConfig, fields: &[Field], rows: &[Row]) -> String {
    let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
    let delimiter = corpus
        .delimiter
        .map(|sign| format!("delimiter = {}\n", quoted(&sign.to_string())))
        .unwrap_or_default();
    format!(
        "[model]\nbackbone = {{ bag = {{}} }}        # or the directory of a pretrained encoder\n\n[corpus.data]\ntrain = {}\n\
         {delimiter}validation_split = 0.1\n\n[task.first]\ncorpus = \"data\"\n{}\n",
        quoted(&file.display().to_string()),
        task(fields, rows)
    )
}

/// A kind that the fields can be read as.
fn task(fields: &[Field], rows: &[Row]) -> String {
    let with =
        |content: Content| fields.iter().filter(move |field| field.content == content && field.filled > 0);
    let quoted = |name: &str| toml::Value::String(name.to_owned()).to_string();
    let text = with(Content::Text).max_by(|a, b| a.length.total_cmp(&b.length));
    if let (Some(spans), Some(text)) = (with(Content::Spans).next(), text) {
        return format!("tagging = {{ text = {}, spans = {} }}", quoted(&text.name), quoted(&spans.name));
    }
    for words in with(Content::Words) {
        let side_by_side = |other: &&Field| {
            other.name != words.name
                && rows.iter().all(|row| lengths(row, &words.name) == lengths(row, &other.name))
        };
        let tags = with(Content::Words).chain(with(Content::Numbers)).find(side_by_side);
        if let Some(tags) = tags {
            let spans = tags.values.iter().any(|value| value.contains("\"O\""));
            let scheme = if spans { "" } else { ", scheme = \"none\"" };
            return format!(
                "tagging = {{ tokens = {}, tags = {}{scheme} }}",
                quoted(&words.name),
                quoted(&tags.name)
            );
        }
    }
    let Some(text) = text else {
        return "# no field of text: say in `columns` or `format` how the file is read".into();
    };
    let others = || fields.iter().filter(|field| field.name != text.name);
    let named =
        |field: &&Field| ["label", "labels", "class", "category", "target"].contains(&field.name.as_str());
    let label = others().filter(|field| field.is_label());
    if let Some(label) = label.clone().find(named).or_else(|| label.min_by_key(|field| field.values.len())) {
        return format!(
            "classification = {{ text = {}, label = {} }}",
            quoted(&text.name),
            quoted(&label.name)
        );
    }
    match with(Content::Number).next() {
        Some(number) => {
            format!("regression = {{ text = {}, value = {} }}", quoted(&text.name), quoted(&number.name))
        }
        None => format!("masked_language_model = {{ text = {} }}", quoted(&text.name)),
    }
}

/// How many items a row's list has.
fn lengths(row: &Row, field: &str) -> Option<usize> {
    match row.get(field)? {
        Value::List(items) => Some(items.len()),
        Value::Text(text) if is_blank(text) => Some(0),
        _ => None,
    }
}

//! A row of input, as the tasks of a model read it.
//!
//! A task reads the fields that it was trained on. Where a row has none of them, the names `text`, `tokens`, `pair`, `choices`, `head`
//! and `tail` serve instead, unless another task was trained on a field of that name in the same corpus: then the field is something
//! else, and this task gets an error. A line of plain text serves every task that reads one text.

use data::{ChatSource, EntityMarkers, InputField, RenderedChat, Row, RowInput, Value, split_words};
use std::borrow::Cow;
use std::ops::Range;
use tasks::ModelInput;
use train::Model;

/// The fields that the tasks of a corpus were trained on.
#[derive(Debug, Clone, PartialEq)]
pub struct TrainedFields {
    names: Vec<String>,
    /// Fields of text and of words that said the same in every row of training.
    same_text: Vec<[String; 2]>,
}

impl TrainedFields {
    pub fn of(model: &Model, corpus: &str) -> TrainedFields {
        let tasks = model.tasks.iter().filter(|task| task.config.corpus == corpus);
        let inputs = tasks.map(|task| task.kind.input());
        let names =
            inputs.flat_map(|input| input.fields().into_iter().map(str::to_owned).collect::<Vec<_>>());
        TrainedFields { names: names.collect(), same_text: model.same_text.clone() }
    }

    /// Whether a field may serve a task that was trained on another.
    fn may_serve(&self, field: &str, trained: &str) -> bool {
        let same = |[text, words]: &[String; 2]| {
            (text == field && words == trained) || (text == trained && words == field)
        };
        self.names.iter().all(|name| name != field) || self.same_text.iter().any(same)
    }
}

/// A row of input.
pub struct Question {
    pub row: Row,
    /// Whether it is a line of plain text, in the field `text`.
    pub is_plain: bool,
}

/// Why a task has no answer to a row.
#[derive(Debug, Clone, PartialEq)]
pub enum NoAnswer {
    /// The row lacks a field of the task.
    Absent(String),
    /// What the task would read is blank, or no such value as it reads.
    Broken(String),
}

impl NoAnswer {
    /// The reason in words.
    pub fn reason(&self) -> &str {
        match self {
            NoAnswer::Absent(reason) | NoAnswer::Broken(reason) => reason,
        }
    }
}

/// What a task reads of a row.
#[derive(Debug, PartialEq)]
pub struct TaskInput {
    /// What is tokenized.
    pub input: RowInput<'static>,
    /// What the answer speaks of.
    pub source: Source,
}

/// The texts that an answer speaks of.
#[derive(Debug, Clone, PartialEq)]
pub enum Source {
    /// A text and the bytes of its words.
    Text(String, Vec<Range<usize>>),
    /// Words as they were given.
    Words(Vec<String>),
    /// Two texts.
    Pair([String; 2]),
    /// A text with choices.
    Choices(String, Vec<String>),
}

impl Source {
    /// What a head needs for its answer; `offset_mapping` is that of the row's tokens.
    pub fn as_model_input<'a>(&'a self, offset_mapping: &'a [&'a [[u32; 2]]]) -> ModelInput<'a> {
        match self {
            Source::Text(text, words) => ModelInput::Text { text, words },
            Source::Words(words) => ModelInput::Words(words),
            Source::Pair([_, second]) => ModelInput::Pair { second, offset_mapping },
            Source::Choices(_, choices) => ModelInput::Choices(choices),
        }
    }

    /// The text, and the second one of a pair.
    pub fn texts(&self) -> (String, Option<&String>) {
        match self {
            Source::Text(text, _) | Source::Choices(text, _) => (text.clone(), None),
            Source::Words(words) => (words.join(" "), None),
            Source::Pair([first, second]) => (first.clone(), Some(second)),
        }
    }
}

impl Question {
    /// The row as a task reads it that was trained on `input`.
    ///
    /// Errors: a field that the row lacks, that is blank, or that holds something else.
    pub fn read(&self, input: &InputField, trained: &TrainedFields) -> Result<TaskInput, NoAnswer> {
        let located = self.located(input, trained).map_err(NoAnswer::Absent)?;
        let reason = |error: data::DataError| match error {
            data::DataError::BadRow { reason, .. } => NoAnswer::Broken(reason),
            other => NoAnswer::Broken(other.to_string()),
        };
        let Some(read) = located.read(&self.row).map_err(reason)? else {
            return Err(NoAnswer::Broken(match self.is_plain {
                true => "the text is empty".into(),
                false => format!("nothing to read in {}: null, empty or blank", ticked(&located.fields())),
            }));
        };
        Ok(self.prepared(input, &located, read))
    }

    /// The row's values in the form that the task was trained on.
    fn prepared(&self, trained: &InputField, located: &InputField, read: RowInput<'_>) -> TaskInput {
        if let (InputField::Windowed { input: trained, .. }, InputField::Windowed { input: located, .. }) =
            (trained, located)
            && let RowInput::Windowed { input, windows } = read
        {
            let TaskInput { input, source } = self.prepared(trained, located, *input);
            return TaskInput { input: RowInput::Windowed { input: Box::new(input), windows }, source };
        }
        if let (
            InputField::Completion { prompt: trained, .. },
            InputField::Completion { prompt: located, separator, max_target_length, .. },
        ) = (trained, located)
        {
            // What follows is to be written, also where the row has it.
            let RowInput::Completion { prompt, .. } = &read else { unreachable!("it was read as such") };
            let source = self.source(located, &RowInput::Text(prompt.clone().into()));
            let (separator, max_target_length) = (separator.clone(), *max_target_length);
            let prompt = match (&**trained, &**located) {
                // Words that are given where a text was trained on, are that text.
                (InputField::Prefixed { prefix, .. }, InputField::Words(_)) => format!("{prefix}{prompt}"),
                _ => prompt.clone(),
            };
            let input = RowInput::Completion { prompt, separator, target: None, max_target_length };
            return TaskInput { input, source };
        }
        let source = self.source(located, &read);
        if let RowInput::Chat(chat) = read {
            // What the assistant says last is to be written, also where the row has it.
            let end = chat.assistant.last().map_or(chat.text.len(), |turn| turn.start);
            let chat = RenderedChat { text: chat.text[..end].to_owned(), assistant: Vec::new() };
            return TaskInput { input: RowInput::Chat(chat), source };
        }
        let input = match (trained, read) {
            // Words that are given where a text was trained on, are that text.
            (InputField::Text(_), RowInput::Words(words)) => RowInput::Text(words.join(" ").into()),
            (InputField::Prefixed { prefix, .. }, RowInput::Words(words)) => {
                RowInput::Text(format!("{prefix}{}", words.join(" ")).into())
            }
            (InputField::SplitText(_), RowInput::Words(words)) if matches!(located, InputField::Words(_)) => {
                RowInput::Words(words)
            }
            (_, read) => owned(read),
        };
        TaskInput { input, source }
    }

    fn source(&self, located: &InputField, read: &RowInput<'_>) -> Source {
        let text = |field: &str| self.row.text(field).ok().flatten().map(Cow::into_owned).unwrap_or_default();
        match (located, read) {
            (
                InputField::Text(field) | InputField::Prefixed { field, .. } | InputField::SplitText(field),
                _,
            ) => {
                let text = text(field);
                let words = split_words(&text);
                Source::Text(text, words)
            }
            (InputField::Marked(marked), _) => {
                let words = self.row.words(&marked.text).ok().flatten().filter(|_| marked.words);
                Source::Text(words.map_or_else(|| text(&marked.text), |words| words.join(" ")), Vec::new())
            }
            (_, RowInput::Pair(first, second) | RowInput::Windows { texts: [first, second], .. }) => {
                Source::Pair([first.to_string(), second.to_string()])
            }
            (_, RowInput::Choices(text, choices)) => Source::Choices(text.to_string(), choices.clone()),
            (located, RowInput::Windowed { input, .. }) => match located {
                InputField::Windowed { input: located, .. } => self.source(located, input),
                other => self.source(other, input),
            },
            (_, RowInput::Words(words)) => Source::Words(words.clone()),
            (_, RowInput::Text(text)) => Source::Text(text.to_string(), split_words(text)),
            (_, RowInput::Chat(chat)) => Source::Text(chat.text.clone(), Vec::new()),
            (_, RowInput::Completion { prompt, .. }) => Source::Text(prompt.clone(), split_words(prompt)),
        }
    }

    /// The input with the names of the fields that this row has.
    fn located(&self, input: &InputField, trained: &TrainedFields) -> Result<InputField, String> {
        let named = |field: &str, instead: &[&str]| self.field(field, instead, trained);
        Ok(match input {
            InputField::Text(field) => one_text(&named(field, &["text", "tokens"])?, self, InputField::Text),
            InputField::Prefixed { prefix, field } => {
                let with_prefix = |field| InputField::Prefixed { prefix: prefix.clone(), field };
                one_text(&named(field, &["text", "tokens"])?, self, with_prefix)
            }
            InputField::SplitText(field) => {
                one_text(&named(field, &["text", "tokens"])?, self, InputField::SplitText)
            }
            InputField::Words(field) => match named(field, &["tokens", "text"])? {
                // A text in the field that was trained on has single spaces between words; any other is split.
                found if found == *field && !self.is_plain => InputField::Words(found),
                found => one_text(&found, self, InputField::SplitText),
            },
            InputField::Pair(first, second) => {
                InputField::Pair(named(first, &["text"])?, named(second, &["pair"])?)
            }
            InputField::Windows { fields: [first, second], overlap, most } => InputField::Windows {
                fields: [named(first, &["text"])?, named(second, &["pair"])?],
                overlap: *overlap,
                most: *most,
            },
            InputField::Windowed { input, windows } => {
                self.located(input, trained)?.in_windows(Some(*windows))
            }
            InputField::Chat { source, template, .. } => {
                let source = match source {
                    ChatSource::Messages(field) => ChatSource::Messages(named(field, &["messages"])?),
                    ChatSource::Turn { system, user, assistant } => ChatSource::Turn {
                        system: system.clone(),
                        user: named(user, &["text"])?,
                        assistant: assistant.clone(),
                    },
                };
                InputField::Chat { source, template: template.clone(), last_turn: true }
            }
            InputField::Completion { prompt, separator, target, max_target_length } => {
                InputField::Completion {
                    prompt: Box::new(self.located(prompt, trained)?),
                    separator: separator.clone(),
                    target: target.clone(),
                    max_target_length: *max_target_length,
                }
            }
            InputField::Choices(text, choices) => {
                InputField::Choices(named(text, &["text"])?, named(choices, &["choices"])?)
            }
            InputField::Marked(marked) => {
                let text = named(&marked.text, &["text", "tokens"])?;
                let is_list = matches!(self.row.get(&text), Some(Value::List(_)));
                let words = is_list || (marked.words && text == marked.text);
                let (head, tail) = (named(&marked.head, &["head"])?, named(&marked.tail, &["tail"])?);
                InputField::Marked(EntityMarkers { text, words, head, tail, markers: marked.markers })
            }
        })
    }

    /// The field of the row that serves for a trained one: itself, or the first of those `instead` that may.
    fn field(&self, trained_on: &str, instead: &[&str], trained: &TrainedFields) -> Result<String, String> {
        if self.row.has(trained_on) && !self.is_plain {
            return Ok(trained_on.to_owned());
        }
        let may_serve =
            |field: &&&str| self.row.has(field) && (self.is_plain || trained.may_serve(field, trained_on));
        let found = instead.iter().find(may_serve).map(|field| (*field).to_owned());
        found.ok_or_else(|| match self.is_plain {
            true => format!("a line of plain text has no field `{trained_on}`; give JSON objects"),
            false => format!("no field `{trained_on}`; found {}", self.row.names()),
        })
    }
}

/// The input of a field that holds a text, or a list of words.
fn one_text(field: &str, question: &Question, of_text: impl FnOnce(String) -> InputField) -> InputField {
    match question.row.get(field) {
        Some(Value::List(_)) => InputField::Words(field.to_owned()),
        _ => of_text(field.to_owned()),
    }
}

fn owned(read: RowInput<'_>) -> RowInput<'static> {
    let text = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
    match read {
        RowInput::Text(one) => RowInput::Text(text(one)),
        RowInput::Words(words) => RowInput::Words(words),
        RowInput::Windowed { input, windows } => {
            RowInput::Windowed { input: Box::new(owned(*input)), windows }
        }
        RowInput::Pair(first, second) => RowInput::Pair(text(first), text(second)),
        RowInput::Choices(one, choices) => RowInput::Choices(text(one), choices),
        RowInput::Windows { texts, overlap, most } => {
            RowInput::Windows { texts: texts.map(text), overlap, most }
        }
        RowInput::Chat(chat) => RowInput::Chat(chat),
        RowInput::Completion { prompt, separator, target, max_target_length } => {
            RowInput::Completion { prompt, separator, target, max_target_length }
        }
    }
}

fn ticked(fields: &[&str]) -> String {
    fields.iter().map(|field| format!("`{field}`")).collect::<Vec<_>>().join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::Place;
    use std::path::Path;

    fn place() -> Place {
        Place { file: Path::new("standard input").into(), line: 1 }
    }

    fn question(json: &str) -> Question {
        let Ok(Value::Record(fields)) = data::json_value(json) else { panic!("an object") };
        Question { row: Row { place: place(), fields }, is_plain: false }
    }

    fn trained(names: &[&str]) -> TrainedFields {
        TrainedFields { names: names.iter().map(|name| name.to_string()).collect(), same_text: Vec::new() }
    }

    fn words(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn each_task_reads_the_field_it_was_trained_on() {
        let trained = trained(&["text", "tokens"]);
        let both = question(r#"{"text": "a b", "tokens": ["c", "d e"]}"#);
        let text = both.read(&InputField::Text("text".into()), &trained).unwrap();
        assert_eq!(text.input, RowInput::Text("a b".into()));
        let tokens = both.read(&InputField::Words("tokens".into()), &trained).unwrap();
        assert_eq!(tokens.source, Source::Words(vec!["c".into(), "d e".into()]));
        let one = question(r#"{"text": "a b"}"#);
        let error = one.read(&InputField::Words("tokens".into()), &trained).unwrap_err();
        assert_eq!(error, NoAnswer::Absent("no field `tokens`; found text".into()));
        // Fields that said the same in training serve for each other.
        let same_text = vec![["text".to_owned(), "tokens".to_owned()]];
        let same = TrainedFields { same_text, ..trained };
        let found = one.read(&InputField::Words("tokens".into()), &same).unwrap();
        assert_eq!(found.input, RowInput::Words(words("a b")));
    }

    #[test]
    fn common_names_serve_where_no_task_was_trained_on_them() {
        let trained = trained(&["review", "words"]);
        for (input, json, expected) in [
            (InputField::Text("review".into()), r#"{"text": "a b"}"#, RowInput::Text("a b".into())),
            (InputField::Text("review".into()), r#"{"tokens": ["a", "b"]}"#, RowInput::Text("a b".into())),
            (InputField::Words("words".into()), r#"{"words": "a  b."}"#, RowInput::Words(words("a  b."))),
            (InputField::Words("words".into()), r#"{"text": "a  b."}"#, RowInput::Words(words("a b ."))),
            (
                InputField::Pair("x".into(), "y".into()),
                r#"{"text": "a", "y": "b"}"#,
                RowInput::Pair("a".into(), "b".into()),
            ),
        ] {
            assert_eq!(question(json).read(&input, &trained).unwrap().input, expected, "{json}");
        }
        let plain = Row { place: place(), fields: vec![("text".into(), Value::Text("a b".into()))] };
        let plain = Question { row: plain, is_plain: true };
        assert_eq!(
            plain.read(&InputField::Words("words".into()), &trained).unwrap().input,
            RowInput::Words(words("a b"))
        );
        let error = plain.read(&InputField::Pair("x".into(), "y".into()), &trained).unwrap_err();
        assert_eq!(error.reason(), "a line of plain text has no field `y`; give JSON objects");
    }

    #[test]
    fn windows_are_read_as_their_text_is() {
        let trained = trained(&["review", "words"]);
        let windows = data::TextWindows { overlap: 3, most: 2 };
        for (input, json) in [
            (InputField::Text("review".into()), r#"{"text": "a b"}"#),
            (InputField::Text("review".into()), r#"{"tokens": ["a", "b"]}"#),
            (InputField::Words("words".into()), r#"{"words": ["a", "b"]}"#),
            (InputField::Words("words".into()), r#"{"text": "a  b."}"#),
            (InputField::SplitText("review".into()), r#"{"review": "a  b."}"#),
        ] {
            let plain = question(json).read(&input, &trained).unwrap();
            let read = question(json).read(&input.in_windows(Some(windows)), &trained).unwrap();
            assert_eq!(read.source, plain.source, "{json}");
            assert_eq!(read.input, RowInput::Windowed { input: Box::new(plain.input), windows }, "{json}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        let trained = trained(&["a", "b"]);
        let pair = InputField::Pair("a".into(), "b".into());
        for (json, says) in [
            (r#"{"a": "x"}"#, "no field `b`; found a"),
            (r#"{"a": "x", "b": " "}"#, "nothing to read in `a` and `b`: null, empty or blank"),
            (r#"{"a": "x", "b": ["y"]}"#, "field \"b\": found [\"y\"], expected text"),
        ] {
            assert_eq!(question(json).read(&pair, &trained).unwrap_err().reason(), says, "{json}");
        }
    }

    #[test]
    fn spans_count_words_of_lists_and_characters_of_texts() {
        let [text, head, tail] = ["words", "a", "b"].map(str::to_string);
        let marked = InputField::Marked(EntityMarkers { text, words: true, head, tail, markers: true });
        let trained = trained(&["words", "a", "b"]);
        let pieces = ["$", "x", "$", "y", "#", "z", "#"].map(str::to_string).to_vec();
        for json in [
            r#"{"words": ["x", "y", "z"], "a": [0, 1], "b": [2, 3]}"#,
            r#"{"words": "x y z", "a": [0, 1], "b": [2, 3]}"#,
            r#"{"tokens": ["x", "y", "z"], "head": [0, 1], "tail": [2, 3]}"#,
            r#"{"text": "x y z", "head": [0, 1], "tail": [4, 5]}"#,
        ] {
            let found = question(json).read(&marked, &trained).unwrap();
            let RowInput::Words(read) = found.input else { panic!("pieces") };
            assert_eq!(
                read.into_iter().filter(|piece| !piece.is_empty()).collect::<Vec<_>>(),
                pieces,
                "{json}"
            );
            assert_eq!(found.source, Source::Text("x y z".into(), Vec::new()));
        }
    }
}

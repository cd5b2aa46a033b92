//! The input of a task: which fields of a row it reads, how, and when there is nothing to read.

pub(crate) mod chat;

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::chat::ChatSource;
use crate::{
    ChatTemplate, Completion, DataError, EntityMarkers, ErrorList, Input, RenderedChat, Row, TextWindows,
    Value, is_blank, split_words,
};

/// The input of a task: which fields of a row it reads, and how. A saved model says it in these words.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputField {
    /// A field of plain text.
    Text(String),
    /// A field of plain text with a prefix, by which a model tells its tasks apart.
    Prefixed {
        /// The text before every text of the field.
        prefix: String,
        /// The field.
        field: String,
    },
    /// A field of words, each of which may carry a label.
    Words(String),
    /// A field of plain text that is read as the words of [`split_words`], each of which may carry a label.
    SplitText(String),
    /// Two fields of plain text, read as one row.
    Pair(String, String),
    /// A field of plain text and a field with a list of texts, read as one row with a sequence for each of the list.
    Choices(String, String),
    /// Two fields of plain text, read as one row with a sequence for each window of the second.
    Windows {
        /// Both fields.
        fields: [String; 2],
        /// Tokens that a window shares with the one before it.
        overlap: usize,
        /// The maximum number of windows of a text.
        most: usize,
    },
    /// One text, or the words of one, read as one row with a sequence for each window of it.
    Windowed {
        /// The field: of plain text, with a prefix or not, or of words.
        input: Box<InputField>,
        /// The windows.
        windows: TextWindows,
    },
    /// A text and what a decoder is to write after it, in one row.
    Completion {
        /// What is read: a text, with a prefix or not.
        prompt: Box<InputField>,
        /// The text between the two.
        separator: String,
        /// The field with the text that follows, or with several, of which the first is read. A row may lack it.
        target: String,
        /// The maximum number of its tokens.
        max_target_length: usize,
    },
    /// A field with the messages of a conversation, of which what the assistant says is to be written.
    Chat {
        /// The fields.
        source: ChatSource,
        /// How they are written.
        template: ChatTemplate,
        /// Whether the assistant's last turn alone is learned, in place of all of them.
        last_turn: bool,
    },
    /// A field of text or words with two spans marked in it. The words of its tokens are pieces ([`crate::SpanRole`]).
    Marked(EntityMarkers),
}

impl InputField {
    /// A field of plain text, with a prefix if there is one.
    pub fn text(field: &str, prefix: Option<&str>) -> Self {
        match prefix {
            Some(prefix) => InputField::Prefixed { prefix: prefix.to_owned(), field: field.to_owned() },
            None => InputField::Text(field.to_owned()),
        }
    }

    /// The same text or words in windows, where there are some.
    pub fn in_windows(self, windows: Option<TextWindows>) -> Self {
        match windows {
            Some(windows) => InputField::Windowed { input: Box::new(self), windows },
            None => self,
        }
    }

    /// The field of plain text without a prefix that is read, and its windows, if it is read in some.
    pub fn plain_text(&self) -> Option<(&str, Option<TextWindows>)> {
        match self {
            InputField::Text(field) => Some((field, None)),
            InputField::Windowed { input, windows } => Some((input.plain_text()?.0, Some(*windows))),
            _ => None,
        }
    }

    /// The field of words that is read, and its windows, if it is read in some.
    pub fn given_words(&self) -> Option<(&str, Option<TextWindows>)> {
        match self {
            InputField::Words(field) => Some((field, None)),
            InputField::Windowed { input, windows } => Some((input.given_words()?.0, Some(*windows))),
            _ => None,
        }
    }

    /// The maximum number of windows of a text, where it is read in windows.
    pub fn most_windows(&self) -> Option<usize> {
        match self {
            InputField::Windows { most, .. } => Some(*most),
            InputField::Windowed { windows, .. } => Some(windows.most),
            _ => None,
        }
    }

    /// The names of the fields.
    pub fn fields(&self) -> Vec<&str> {
        match self {
            InputField::Text(field)
            | InputField::Prefixed { field, .. }
            | InputField::Words(field)
            | InputField::SplitText(field) => vec![field],
            InputField::Pair(first, second) | InputField::Choices(first, second) => vec![first, second],
            InputField::Windows { fields: [first, second], .. } => vec![first, second],
            InputField::Chat { source, .. } => vec![source.field()],
            InputField::Windowed { input, .. } | InputField::Completion { prompt: input, .. } => {
                input.fields()
            }
            InputField::Marked(marked) => marked.fields().to_vec(),
        }
    }
}

/// The fields' names, for people: `text`, or `premise + hypothesis`.
impl fmt::Display for InputField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.fields().join(" + "))
    }
}

/// The input of one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowInput<'a> {
    /// A text.
    Text(Cow<'a, str>),
    /// Words.
    Words(Vec<String>),
    /// Two texts.
    Pair(Cow<'a, str>, Cow<'a, str>),
    /// A text with its choices.
    Choices(Cow<'a, str>, Vec<String>),
    /// Two texts, the second in windows.
    Windows {
        /// Both texts.
        texts: [Cow<'a, str>; 2],
        /// Tokens that a window shares with the one before it.
        overlap: usize,
        /// The maximum number of windows.
        most: usize,
    },
    /// A text or words in windows.
    Windowed {
        /// The text or the words.
        input: Box<RowInput<'a>>,
        /// The windows.
        windows: TextWindows,
    },
    /// A prompt and what follows it: see [`Completion`].
    Completion {
        /// The text that is read.
        prompt: String,
        /// What stands between the two.
        separator: String,
        /// The text that is to be written, where it is known.
        target: Option<String>,
        /// Tokens of the target that are kept, at most.
        max_target_length: usize,
    },
    /// A conversation.
    Chat(RenderedChat),
}

impl RowInput<'_> {
    /// Whether the words are given, so that the tokens know them.
    pub fn has_words(&self) -> bool {
        match self {
            RowInput::Words(_) => true,
            RowInput::Windowed { input, .. } => input.has_words(),
            _ => false,
        }
    }

    /// The texts that are read, words joined by spaces.
    pub fn texts(&self) -> Vec<String> {
        match self {
            RowInput::Text(text) => vec![text.to_string()],
            RowInput::Words(words) => vec![words.join(" ")],
            RowInput::Pair(first, second) | RowInput::Windows { texts: [first, second], .. } => {
                vec![first.to_string(), second.to_string()]
            }
            RowInput::Choices(text, choices) => {
                [text.to_string()].into_iter().chain(choices.iter().cloned()).collect()
            }
            RowInput::Windowed { input, .. } => input.texts(),
            RowInput::Completion { prompt, .. } => vec![prompt.clone()],
            RowInput::Chat(chat) => vec![chat.text.clone()],
        }
    }

    /// What the tokenizer reads.
    pub fn as_input(&self) -> Input<'_> {
        match self {
            RowInput::Text(text) => Input::Text(text),
            RowInput::Words(words) => Input::Words(words),
            RowInput::Pair(first, second) => Input::Pair(first, second),
            RowInput::Choices(text, choices) => Input::Choices(text, choices),
            RowInput::Windows { texts: [first, second], overlap, most } => {
                Input::Windows { first, second, overlap: *overlap, most: *most }
            }
            RowInput::Chat(chat) => Input::Chat(chat),
            RowInput::Completion { prompt, separator, target, max_target_length } => {
                Input::Completion(Completion {
                    prompt,
                    separator,
                    target: target.as_deref(),
                    max_target_length: *max_target_length,
                })
            }
            RowInput::Windowed { input, windows } => match input.as_input() {
                Input::Text(text) => Input::LongText(text, *windows),
                Input::Words(words) => Input::LongWords(words, *windows),
                // Inputs of several sequences have no windows beside them.
                several => several,
            },
        }
    }
}

impl InputField {
    /// The input of a row; `None` where there is nothing to read: a field that is absent, null or blank ([`is_blank`]), no words or
    /// blank ones alone, a blank text of two, a blank choice, no span.
    ///
    /// # Errors
    /// A field that holds something else.
    pub fn read<'a>(&self, row: &'a Row) -> Result<Option<RowInput<'a>>, DataError> {
        let text = |field: &str| Ok(row.text(field)?.filter(|text| !is_blank(text)));
        let texts = |first: &str, second: &str| match (text(first)?, text(second)?) {
            (Some(first), Some(second)) => Ok::<_, DataError>(Some([first, second])),
            _ => Ok(None),
        };
        Ok(match self {
            InputField::Text(field) => text(field)?.map(RowInput::Text),
            InputField::Prefixed { prefix, field } => {
                text(field)?.map(|text| RowInput::Text(format!("{prefix}{text}").into()))
            }
            InputField::Words(field) => {
                let words = row.words(field)?.filter(|words| !words.iter().all(|word| is_blank(word)));
                words.map(RowInput::Words)
            }
            InputField::SplitText(field) => {
                let words = |text: Cow<'a, str>| {
                    split_words(&text).into_iter().map(|word| text[word].to_owned()).collect()
                };
                text(field)?.map(words).map(RowInput::Words)
            }
            InputField::Pair(first, second) => {
                texts(first, second)?.map(|[first, second]| RowInput::Pair(first, second))
            }
            InputField::Choices(field, list) => match (text(field)?, row.get(list)) {
                (Some(text), Some(_)) => {
                    let choices = row.choices(list)?.filter(|choices| !choices.iter().any(|c| is_blank(c)));
                    choices.map(|choices| RowInput::Choices(text, choices))
                }
                _ => None,
            },
            InputField::Windows { fields: [first, second], overlap, most } => {
                let (overlap, most) = (*overlap, *most);
                texts(first, second)?.map(|texts| RowInput::Windows { texts, overlap, most })
            }
            InputField::Windowed { input, windows } => {
                input.read(row)?.map(|input| RowInput::Windowed { input: Box::new(input), windows: *windows })
            }
            InputField::Chat { source, template, last_turn } => match row.get(source.field()) {
                Some(value) if !value.is_blank() => {
                    Some(RowInput::Chat(chat::read(row, source, template, *last_turn)?))
                }
                _ => None,
            },
            InputField::Completion { prompt, separator, target, max_target_length } => {
                let prompt = prompt.read(row)?.map(|prompt| prompt.texts().concat());
                let first = match row.get(target) {
                    // What is no text is refused where targets are read.
                    Some(Value::List(items)) => items
                        .iter()
                        .filter_map(Value::as_text)
                        .find(|text| !is_blank(text))
                        .map(Cow::into_owned),
                    _ => text(target)?.map(Cow::into_owned),
                };
                let completion = |prompt| RowInput::Completion {
                    prompt,
                    separator: separator.clone(),
                    target: first,
                    max_target_length: *max_target_length,
                };
                prompt.map(completion)
            }
            InputField::Marked(marked)
                if marked.fields().iter().any(|field| row.get(field).is_none_or(Value::is_blank)) =>
            {
                None
            }
            InputField::Marked(marked) => marked.pieces(row)?.map(RowInput::Words),
        })
    }

    /// The input of a row without anything to read.
    pub(crate) fn blank(&self) -> RowInput<'static> {
        let empty = || Cow::Borrowed("");
        match self {
            InputField::Text(_) | InputField::Prefixed { .. } => RowInput::Text(empty()),
            InputField::Words(_) | InputField::SplitText(_) | InputField::Marked(_) => {
                RowInput::Words(Vec::new())
            }
            InputField::Windowed { input, windows } => {
                RowInput::Windowed { input: Box::new(input.blank()), windows: *windows }
            }
            InputField::Completion { separator, max_target_length, .. } => RowInput::Completion {
                prompt: String::new(),
                separator: separator.clone(),
                target: None,
                max_target_length: *max_target_length,
            },
            InputField::Chat { .. } => RowInput::Chat(RenderedChat::default()),
            InputField::Pair(..) => RowInput::Pair(empty(), empty()),
            InputField::Choices(..) => RowInput::Choices(empty(), vec![String::new(); 2]),
            InputField::Windows { overlap, most, .. } => {
                RowInput::Windows { texts: [empty(), empty()], overlap: *overlap, most: *most }
            }
        }
    }

    /// The rows, without their fields where there is nothing to read: such a row has no label of any task that reads this input.
    ///
    /// # Errors
    /// Every row with a field that holds something else (many at once); a field that no row has; rows that are all blank.
    pub fn keep_readable(&self, rows: &Arc<[Row]>) -> Result<Arc<[Row]>, Vec<DataError>> {
        let is_readable: Vec<bool> = self.read_all(rows)?.iter().map(Option::is_some).collect();
        keep(rows, &is_readable, self)
    }

    /// The input of each row, as [`InputField::read`] gives it.
    ///
    /// # Errors
    /// Every row with a field that holds something else (many at once); a field that no row has.
    pub(crate) fn read_all<'a>(&self, rows: &'a [Row]) -> Result<Vec<Option<RowInput<'a>>>, Vec<DataError>> {
        let Some(first) = rows.first() else { return Ok(Vec::new()) };
        let is_nowhere = |field: &&str| match self {
            // Null spans are no blank text.
            InputField::Marked(marked) if *field != marked.text => {
                rows.iter().all(|row| row.get(field).is_none())
            }
            _ => !rows.iter().any(|row| row.has(field)),
        };
        if let Some(field) = self.fields().into_iter().find(is_nowhere) {
            return Err(vec![match rows.len() {
                1 => first.missing(field),
                rows => first.missing_everywhere(field, rows),
            }]);
        }
        let mut errors = ErrorList::new();
        let mut inputs = Vec::with_capacity(rows.len());
        for row in rows {
            match self.read(row) {
                Ok(input) => inputs.push(input),
                Err(error) => errors.push(error),
            }
        }
        errors.finish(inputs)
    }
}

/// The rows, without the fields of those that are not to be kept.
pub(crate) fn keep(
    rows: &Arc<[Row]>,
    is_kept: &[bool],
    input: &InputField,
) -> Result<Arc<[Row]>, Vec<DataError>> {
    if let (Some(first), false) = (rows.first(), is_kept.contains(&true)) {
        let reason =
            format!("field {input}: nothing to read in any of {} rows (null, empty or blank)", rows.len());
        return Err(vec![first.place.error(reason)]);
    }
    if rows.iter().zip(is_kept).all(|(row, kept)| *kept || row.fields.is_empty()) {
        return Ok(rows.clone());
    }
    let without_fields = |row: &Row| Row { place: row.place.clone(), fields: Vec::new() };
    Ok(rows
        .iter()
        .zip(is_kept)
        .map(|(row, kept)| if *kept { row.clone() } else { without_fields(row) })
        .collect())
}

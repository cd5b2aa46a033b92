//! Where questions come from: lines of standard input as they arrive, or the rows of a file in any format that corpora have.

use super::question::Question;
use crate::failure::Failure;
use data::{CorpusConfig, Format, Place, Row, Value};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of lines from which a chunk is full.
const CHUNK_BYTES: usize = 1 << 20;
/// How much of standard input is read ahead.
const BUFFER: usize = 1 << 20;

/// The format of questions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputFormat {
    /// Of lines what the first line that is not empty looks like: objects, an array of objects, or plain text. Of a file what its name says.
    Auto,
    /// A line is a text.
    Text,
    /// Rows in a format of corpora.
    Rows(Format),
}

impl InputFormat {
    /// The names on the command line.
    pub const NAMES: [(&str, InputFormat); 10] = [
        ("auto", InputFormat::Auto),
        ("text", InputFormat::Text),
        ("jsonl", InputFormat::Rows(Format::Jsonl)),
        ("json", InputFormat::Rows(Format::Jsonl)),
        ("csv", InputFormat::Rows(Format::Csv)),
        ("tsv", InputFormat::Rows(Format::Tsv)),
        ("conll", InputFormat::Rows(Format::Conll)),
        ("conllu", InputFormat::Rows(Format::Conllu)),
        ("fasttext", InputFormat::Rows(Format::Fasttext)),
        ("parquet", InputFormat::Rows(Format::Parquet)),
    ];

    /// The format of a name.
    ///
    /// # Errors
    /// Another name; the error lists those that there are.
    pub fn parse(name: &str) -> Result<InputFormat, String> {
        let found = Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, format)| *format);
        found.ok_or_else(|| format!("there are {}", Self::NAMES.map(|(name, _)| name).join(", ")))
    }
}

/// A question, or what is wrong with its line.
pub struct Asked {
    pub line: usize,
    pub question: Result<Question, String>,
}

/// The source of questions.
pub enum Source<R: Read> {
    /// Lines as they arrive.
    Lines(Lines<R>),
    /// Rows that are read already.
    Rows(std::vec::IntoIter<Row>),
}

impl<R: Read> Source<R> {
    /// Standard input.
    ///
    /// # Errors
    /// Input of another format than lines that cannot be read.
    pub fn of_lines(from: R, format: InputFormat, corpus: &CorpusConfig) -> Result<Self, Failure> {
        let mut from = BufReader::with_capacity(BUFFER, from);
        match format {
            InputFormat::Rows(format) if format != Format::Jsonl => {
                let mut bytes = Vec::new();
                from.read_to_end(&mut bytes).map_err(failed)?;
                rows_of(Path::new(STDIN), bytes, Some(format), corpus)
            }
            InputFormat::Auto | InputFormat::Rows(_) if begins_with_array(&mut from)? => {
                let mut bytes = Vec::new();
                from.read_to_end(&mut bytes).map_err(failed)?;
                rows_of(Path::new(STDIN), bytes, Some(Format::Jsonl), corpus)
            }
            format => {
                let is_json = match format {
                    InputFormat::Auto => None,
                    format => Some(format != InputFormat::Text),
                };
                Ok(Source::Lines(Lines { from, number: 0, is_json }))
            }
        }
    }

    /// The rows of a file.
    ///
    /// # Errors
    /// A file that cannot be read, or no rows in its format.
    pub fn of_file(file: &Path, format: InputFormat, corpus: &CorpusConfig) -> Result<Self, Failure> {
        let bytes = files::read(file).map_err(|error| Failure::io("reading", file, error))?;
        match format {
            InputFormat::Text => {
                let rows = data::text_lines(file, bytes).map_err(Failure::refused)?;
                Ok(Source::Rows(rows.into_iter()))
            }
            InputFormat::Auto => rows_of(file, bytes, None, corpus),
            InputFormat::Rows(format) => rows_of(file, bytes, Some(format), corpus),
        }
    }

    /// The next questions, at most so many; none at the end.
    ///
    /// # Errors
    /// Input that cannot be read.
    pub fn next(&mut self, most: usize) -> Result<Vec<Asked>, Failure> {
        match self {
            Source::Lines(lines) => lines.next(most),
            Source::Rows(rows) => {
                let asked = |row: Row| Asked {
                    line: row.place.line,
                    question: Ok(Question { row, is_plain: false }),
                };
                Ok(rows.take(most).map(asked).collect())
            }
        }
    }
}

/// The name of standard input as a file.
const STDIN: &str = "standard input";

fn failed(error: io::Error) -> Failure {
    Failure::failed(format!("reading standard input: {error}"))
}

fn rows_of<R: Read>(
    file: &Path,
    bytes: Vec<u8>,
    format: Option<Format>,
    corpus: &CorpusConfig,
) -> Result<Source<R>, Failure> {
    let corpus = CorpusConfig { format, ..corpus.clone() };
    let rows = data::read_bytes(file, bytes, &corpus).map_err(Failure::refused)?;
    Ok(Source::Rows(rows.into_iter()))
}

/// Whether what has arrived begins a JSON array of objects or lists. A text may begin with a bracket, too.
fn begins_with_array(from: &mut BufReader<impl Read>) -> Result<bool, Failure> {
    let first = from.fill_buf().map_err(failed)?;
    let first = first.strip_prefix(BYTE_ORDER_MARK).unwrap_or(first).trim_ascii_start();
    let element = first.strip_prefix(b"[").map(|rest| rest.trim_ascii_start().first());
    Ok(matches!(element, Some(None | Some(b'{' | b'[' | b']'))))
}

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Lines that are read as they arrive.
pub struct Lines<R: Read> {
    from: BufReader<R>,
    number: usize,
    /// Whether lines are JSON objects; `None` while all lines were empty.
    is_json: Option<bool>,
}

impl<R: Read> Lines<R> {
    fn next(&mut self, most: usize) -> Result<Vec<Asked>, Failure> {
        let (mut asked, mut bytes) = (Vec::new(), 0);
        let mut line = Vec::new();
        // What has arrived is answered: nobody waits for lines that are not written yet.
        while asked.is_empty()
            || (asked.len() < most && bytes < CHUNK_BYTES && self.from.buffer().contains(&b'\n'))
        {
            line.clear();
            if self.from.read_until(b'\n', &mut line).map_err(failed)? == 0 {
                break;
            }
            self.number += 1;
            bytes += line.len();
            let text =
                if self.number == 1 { line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&line) } else { &line };
            asked.push(Asked { line: self.number, question: self.question(text) });
        }
        Ok(asked)
    }

    fn question(&mut self, line: &[u8]) -> Result<Question, String> {
        if self.is_json.is_none() && !line.trim_ascii().is_empty() {
            self.is_json = Some(line.trim_ascii_start().starts_with(b"{"));
        }
        let text =
            std::str::from_utf8(line).map_err(|e| format!("not UTF-8 at byte {}", e.valid_up_to() + 1))?;
        let text = text.trim_end_matches(['\n', '\r']);
        let place = Place { file: Arc::from(Path::new(STDIN)), line: self.number };
        if self.is_json == Some(true) {
            return match data::json_value(text)? {
                Value::Record(fields) => Ok(Question { row: Row { place, fields }, is_plain: false }),
                other => Err(format!("found {}, expected a JSON object", other.describe())),
            };
        }
        let fields = vec![("text".into(), Value::Text(text.to_owned()))];
        Ok(Question { row: Row { place, fields }, is_plain: true })
    }
}

/// A source, and its file if it is one.
pub type Named<R> = (Option<PathBuf>, Source<R>);

/// The sources of a command line: its files, or else standard input.
pub fn sources<R: Read>(
    files: &[PathBuf],
    stdin: R,
    format: InputFormat,
    corpus: &CorpusConfig,
) -> Result<Vec<Named<R>>, Failure> {
    if files.is_empty() {
        return Ok(vec![(None, Source::of_lines(stdin, format, corpus)?)]);
    }
    let of_file = |file: &PathBuf| Ok((Some(file.clone()), Source::of_file(file, format, corpus)?));
    files.iter().map(of_file).collect()
}

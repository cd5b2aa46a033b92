//! Readers: from files to rows. One file per format.
//!
//! A file is read whole and checked whole: all its bad rows are reported at once, each with file, line and reason, and
//! only a file without errors gives rows. Text is UTF-8 with or without a byte order mark; lines end in LF or CRLF.

mod class_names;
mod conll;
mod conllu;
mod csv;
mod fasttext;
mod faults;
mod json;
mod keys;
mod parallel;
mod parquet;
mod text;
mod tsv;

pub use self::json::json_value;
pub use self::text::{LFS_POINTER, LFS_REMEDY};

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{CorpusConfig, DataError, ErrorList, Format, Paths, Place, Row, Value};

/// Reads the rows of all files, in order.
///
/// # Errors
/// All bad rows (the first twenty in full, the rest counted), files that cannot be read, patterns that match nothing,
/// files without any row.
pub fn read(paths: &Paths, corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    let mut errors = ErrorList::new();
    let mut rows = Vec::new();
    let files = files(paths)?;
    if corpus.format == Some(Format::Parallel) {
        keys::check(&files[0], Format::Parallel, corpus)?;
        match parallel::rows(&files, corpus) {
            Ok(more) => rows = more,
            Err(found) => errors.extend(found),
        }
    } else {
        for path in &files {
            match read_file(path, corpus) {
                Ok(more) => rows.extend(more),
                Err(found) => errors.extend(found),
            }
        }
    }
    if rows.is_empty() && errors.is_empty() {
        errors.push(DataError::NoRows { files: paths.to_string() });
    }
    errors.extend(class_names::put(&mut rows, &corpus.names).err().into_iter().flatten());
    errors.finish(rows)
}

/// The rows in the bytes of a file: one that was read already, or standard input.
///
/// # Errors
/// As [`read`].
pub fn read_bytes(path: &Path, bytes: Vec<u8>, corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    let format = format_of(path, corpus)?;
    keys::check(path, format, corpus)?;
    let file: Arc<Path> = path.into();
    if format == Format::Parquet {
        return parquet::rows_of_bytes(&file, bytes);
    }
    rows_of_text(&file, &text::of_bytes(&file, bytes)?, format, corpus)
}

/// The lines of a text, each a row with the one field `text`.
///
/// # Errors
/// Bytes that are no text.
pub fn text_lines(path: &Path, bytes: Vec<u8>) -> Result<Vec<Row>, Vec<DataError>> {
    let file: Arc<Path> = path.into();
    let text = text::of_bytes(&file, bytes)?;
    let name: Arc<str> = "text".into();
    let row = |(line, text): (usize, &str)| Row {
        place: Place { file: file.clone(), line },
        fields: vec![(name.clone(), Value::Text(text.to_owned()))],
    };
    Ok(text::lines(text.strip_suffix('\n').unwrap_or(&text)).map(row).collect())
}

fn format_of(path: &Path, corpus: &CorpusConfig) -> Result<Format, Vec<DataError>> {
    corpus.format.or_else(|| format_of_name(path)).ok_or_else(|| {
        let reason = "the extension tells no format; name the file .jsonl, .csv, .tsv, .conll, .conllu or .parquet, \
                      or set the corpus's `format`";
        vec![DataError::Format { path: path.into(), reason: reason.into() }]
    })
}

fn read_file(path: &Path, corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    let format = format_of(path, corpus)?;
    keys::check(path, format, corpus)?;
    let file: Arc<Path> = path.into();
    if format == Format::Parquet {
        return parquet::rows(&file);
    }
    rows_of_text(&file, &text::read(&file)?, format, corpus)
}

/// The rows of a text in some format.
fn rows_of_text(
    file: &Arc<Path>,
    text: &str,
    format: Format,
    corpus: &CorpusConfig,
) -> Result<Vec<Row>, Vec<DataError>> {
    match format {
        Format::Jsonl => json::rows(file, text),
        Format::Csv => csv::rows(file, text, corpus),
        Format::Tsv => tsv::rows(file, text, corpus),
        Format::Conll => conll::rows(file, text, corpus),
        Format::Conllu => conllu::rows(file, text),
        Format::Fasttext => fasttext::rows(file, text),
        Format::Parquet | Format::Parallel => {
            let reason = format!("{} is no format of one text", format.name());
            Err(vec![DataError::Format { path: file.to_path_buf(), reason }])
        }
    }
}

/// The formats by the extension of a file, in small letters.
const EXTENSIONS: [(&str, Format); 11] = [
    ("jsonl", Format::Jsonl),
    ("ndjson", Format::Jsonl),
    ("json", Format::Jsonl),
    ("csv", Format::Csv),
    ("tsv", Format::Tsv),
    ("conll", Format::Conll),
    ("bio", Format::Conll),
    ("iob", Format::Conll),
    ("conllu", Format::Conllu),
    ("parquet", Format::Parquet),
    ("ft", Format::Fasttext),
];

/// The delimiter in the bytes of a CSV or TSV file whose first line has not the usual one.
pub fn foreign_delimiter(path: &Path, bytes: &[u8]) -> Option<char> {
    let usual = match format_of_name(path)? {
        Format::Csv => ',',
        Format::Tsv => '\t',
        _ => return None,
    };
    tsv::other_delimiter(&text::of_bytes(&path.into(), bytes.to_vec()).ok()?, usual)
}

/// The format by a file's extension; that of a compressed file stands before `.gz` or `.zst`.
pub fn format_of_name(path: &Path) -> Option<Format> {
    let extension = path.extension()?.to_str()?.to_ascii_lowercase();
    if matches!(extension.as_str(), "gz" | "zst") {
        return format_of_name(Path::new(path.file_stem()?)).filter(|format| *format != Format::Parquet);
    }
    EXTENSIONS.iter().find(|(known, _)| *known == extension).map(|(_, format)| *format)
}

/// The files that paths and globs name: paths in the order given, the files of one glob sorted. A path that exists is
/// taken as it stands, also with brackets in its name.
///
/// # Errors
/// Every path or pattern that names no file.
pub fn files(paths: &Paths) -> Result<Vec<PathBuf>, Vec<DataError>> {
    let mut errors = ErrorList::new();
    let mut out = Vec::new();
    for pattern in paths.iter() {
        let path = Path::new(pattern);
        if path.is_file() {
            out.push(path.to_owned());
            continue;
        }
        if path.is_dir() {
            let reason = format!("is a folder; name its files, for example {pattern}/*.jsonl");
            errors.push(DataError::Format { path: path.into(), reason });
            continue;
        }
        if path.exists() {
            let reason = "is no regular file but a pipe or device, and rows are read more than once: write them to a file";
            errors.push(DataError::Format { path: path.into(), reason: reason.into() });
            continue;
        }
        match glob::glob(pattern) {
            Err(error) => {
                let reason = format!("is no valid pattern: {error}");
                errors.push(DataError::Format { path: path.into(), reason });
            }
            Ok(found) => {
                let before = out.len();
                for entry in found {
                    match entry {
                        Ok(path) if path.is_file() => out.push(path),
                        Ok(_) => {}
                        Err(error) => {
                            errors.push(DataError::Io { path: error.path().into(), source: error.into() })
                        }
                    }
                }
                if out.len() == before {
                    errors.push(DataError::NoFiles { pattern: pattern.to_owned() });
                }
                out[before..].sort();
            }
        }
    }
    errors.finish(out)
}

/// A path as a glob that matches it alone.
pub fn escape_pattern(path: &str) -> String {
    glob::Pattern::escape(path)
}

/// BLAKE3 over the bytes of all files in order, as 64 hexadecimal digits: changes whenever the data does.
///
/// # Errors
/// As [`files`], and files that cannot be read.
pub fn content_hash(paths: &Paths) -> Result<String, Vec<DataError>> {
    let mut errors = ErrorList::new();
    let mut hasher = blake3::Hasher::new();
    for path in files(paths)? {
        let mut one = blake3::Hasher::new();
        match std::fs::File::open(&path).and_then(|file| one.update_reader(file).map(|_| ())) {
            Ok(()) => hasher.update(one.finalize().as_bytes()),
            Err(source) => {
                errors.push(DataError::Io { path, source });
                &mut hasher
            }
        };
    }
    errors.finish(hasher.finalize().to_hex().to_string())
}

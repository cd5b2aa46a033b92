//! Readers: from files to rows. One file per format.
//!
//! A file is read whole and checked whole: all its bad rows are reported at once, each with file, line and reason, and
//! only a file without errors gives rows. Text is UTF-8 with or without a byte order mark; lines end in LF or CRLF.

mod conll;
mod conllu;
mod csv;
mod jsonl;
mod parquet;
mod text;
mod tsv;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::{CorpusConfig, DataError, ErrorList, Format, Paths, Row};

/// Reads the rows of all files, in order.
///
/// # Errors
/// All bad rows (the first twenty in full, the rest counted), files that cannot be read, patterns that match nothing,
/// files without any row.
pub fn read(paths: &Paths, corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    let mut errors = ErrorList::new();
    let mut rows = Vec::new();
    for path in files(paths)? {
        match read_file(&path, corpus) {
            Ok(more) => rows.extend(more),
            Err(found) => errors.extend(found),
        }
    }
    if rows.is_empty() && errors.is_empty() {
        errors.push(DataError::NoRows { files: paths.to_string() });
    }
    errors.finish(rows)
}

fn read_file(path: &Path, corpus: &CorpusConfig) -> Result<Vec<Row>, Vec<DataError>> {
    let format = corpus.format.or_else(|| by_extension(path)).ok_or_else(|| {
        let reason = "the extension tells no format; name the file .jsonl, .csv, .tsv, .conll, .conllu or .parquet, \
                      or set the corpus's `format`";
        vec![DataError::Format { path: path.into(), reason: reason.into() }]
    })?;
    let file: Arc<Path> = path.into();
    match format {
        Format::Jsonl => jsonl::rows(&file, &text::read(&file)?),
        Format::Csv => csv::rows(&file, &text::read(&file)?, corpus),
        Format::Tsv => tsv::rows(&file, &text::read(&file)?, corpus),
        Format::Conll => conll::rows(&file, &text::read(&file)?, corpus),
        Format::Conllu => conllu::rows(&file, &text::read(&file)?),
        Format::Parquet => parquet::rows(&file),
    }
}

fn by_extension(path: &Path) -> Option<Format> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "jsonl" | "ndjson" | "json" => Some(Format::Jsonl),
        "csv" => Some(Format::Csv),
        "tsv" => Some(Format::Tsv),
        "conll" | "bio" | "iob" => Some(Format::Conll),
        "conllu" => Some(Format::Conllu),
        "parquet" => Some(Format::Parquet),
        _ => None,
    }
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

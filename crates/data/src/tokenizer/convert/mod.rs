//! Tokenizers of other formats, as the text of an equivalent `tokenizer.json`: what `AutoTokenizer` of transformers makes of the same
//! files. Everything behind a tokenizer.json stays as it is.

mod bpe_files;
mod byte_level;
mod document;
mod gguf;
mod merges;
mod sentence_piece;
mod settings;
mod to_gguf;
mod wordpiece;

pub use self::gguf::GgufTokenizer;
pub use self::to_gguf::{GgufTokenIds, gguf_tokenizer};

use self::settings::Settings;
use super::{MOST_JSON, Tokenizer};
use crate::DataError;
use std::path::Path;

/// The largest file of a vocabulary that is read, in bytes.
const MOST_BYTES: u64 = 64 << 20;

/// A format: the files that a folder has it by, what it is called, and what reads it.
struct Format {
    files: &'static [&'static str],
    what: &'static str,
    /// Reads the first of the files, with the folder's settings.
    convert: fn(&Path, &Settings) -> Result<String, String>,
}

const SENTENCE_PIECE: Format =
    Format { files: &[], what: "a SentencePiece model", convert: sentence_piece::convert };

/// In the order in which they are looked for. Names are those of `vocab_files_names` in transformers.
const FORMATS: [Format; 6] = [
    Format { files: &["vocab.json", "merges.txt"], what: "a byte-level BPE", convert: bpe_files::convert },
    Format { files: &["sentencepiece.bpe.model"], ..SENTENCE_PIECE },
    Format { files: &["spiece.model"], ..SENTENCE_PIECE },
    Format { files: &["spm.model"], ..SENTENCE_PIECE },
    Format { files: &["tokenizer.model"], ..SENTENCE_PIECE },
    Format { files: &["vocab.txt"], what: "a WordPiece vocabulary", convert: wordpiece::convert },
];

impl Tokenizer {
    /// The tokenizer of a model: a folder in Hugging Face layout, a GGUF file, or a folder that holds one. `tokenizer.json` is taken where
    /// there is one. Else it is made of what there is: the metadata of the GGUF file, `vocab.json` with `merges.txt`, a SentencePiece
    /// model, or `vocab.txt`, with tokenizer_config.json, special_tokens_map.json and config.json where they are there. The second value
    /// is then a sentence that says so.
    ///
    /// # Errors
    /// When there is none, it cannot be read, or it is of a sort that is not known.
    pub fn of_model(path: &Path) -> Result<(Self, Option<String>), DataError> {
        // Where there is none, it says what is missing.
        let missing = || Self::from_file(&path.join("tokenizer.json")).map(|tokenizer| (tokenizer, None));
        Self::of_model_if_any(path)?.map_or_else(missing, Ok)
    }

    /// As [`Tokenizer::of_model`]; `None` where there is none.
    ///
    /// # Errors
    /// When it cannot be read, or it is of a sort that is not known.
    pub fn of_model_if_any(path: &Path) -> Result<Option<(Self, Option<String>)>, DataError> {
        let file = path.join("tokenizer.json");
        if file.is_file() {
            return Ok(Some((Self::from_file(&file)?, None)));
        }
        let invalid = |reason: String| DataError::Tokenizer { path: Some(path.into()), reason };
        let has = |format: &&Format| format.files.iter().all(|name| path.join(name).is_file());
        let gguf = ::gguf::of_model(path).map_err(|error| invalid(error.to_string()))?;
        let (json, what) = match (gguf, FORMATS.iter().find(has)) {
            (Some(file), _) => (GgufTokenizer::open(&file)?.json, file.display().to_string()),
            (None, Some(format)) => {
                let settings = Settings::of(path).map_err(&invalid)?;
                let what = format!("{}, {}", path.join(format.files[0]).display(), format.what);
                let json = (format.convert)(&path.join(format.files[0]), &settings);
                (json.map_err(|reason| invalid(format!("{}: {reason}", format.files[0])))?, what)
            }
            (None, None) => return Ok(None),
        };
        if json.len() as u64 > MOST_JSON {
            return Err(invalid(format!(
                "as tokenizer.json it has {} bytes, expected at most {MOST_JSON}",
                json.len()
            )));
        }
        let tokenizer = Self::parse(&json, Some(path.into()))?;
        Ok(Some((tokenizer, Some(format!("tokenizer: there is no tokenizer.json; it was made of {what}")))))
    }
}

/// A file of bounded length.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let size = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if size > MOST_BYTES {
        return Err(format!("{size} bytes, expected at most {MOST_BYTES}"));
    }
    files::read(path).map_err(|error| error.to_string())
}

/// A text file of bounded length.
fn read_text(path: &Path) -> Result<String, String> {
    String::from_utf8(read(path)?).map_err(|_| "found bytes that are not UTF-8".into())
}

#[cfg(test)]
mod tests;

//! From a file's bytes to its lines.

use std::path::Path;
use std::sync::Arc;

use crate::{DataError, ErrorList, Place};

/// The text of a file, see [`decode`].
pub fn read(file: &Arc<Path>) -> Result<String, Vec<DataError>> {
    match std::fs::read(file) {
        Ok(bytes) => decode(file, bytes),
        Err(source) => Err(vec![DataError::Io { path: file.to_path_buf(), source }]),
    }
}

/// The text in a file's bytes, without its byte order mark.
///
/// # Errors
/// Every line that is not UTF-8, with the column of the first wrong byte; UTF-16 and compressed files are named as such.
fn decode(file: &Arc<Path>, mut bytes: Vec<u8>) -> Result<String, Vec<DataError>> {
    let whole =
        |reason: &str| Err(vec![DataError::Format { path: file.to_path_buf(), reason: reason.into() }]);
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        bytes.drain(..3);
    }
    match bytes.as_slice() {
        [0xFF, 0xFE, ..] | [0xFE, 0xFF, ..] => {
            return whole("found UTF-16, expected UTF-8; convert it with: iconv -f UTF-16 -t UTF-8");
        }
        [0x1F, 0x8B, ..] => return whole("found a gzip file, expected text; unpack it with: gunzip"),
        [0x28, 0xB5, 0x2F, 0xFD, ..] => {
            return whole("found a Zstandard file, expected text; unpack it with: unzstd");
        }
        [b'P', b'K', 3, 4, ..] => return whole("found a zip file, expected text; unpack it with: unzip"),
        [b'P', b'A', b'R', b'1', ..] => {
            return whole("found a Parquet file, expected text; name it .parquet");
        }
        _ => {}
    }
    let bytes = match String::from_utf8(bytes) {
        Ok(text) => return Ok(text),
        Err(error) => error.into_bytes(),
    };
    let mut errors = ErrorList::new();
    for (i, line) in bytes.split(|&b| b == b'\n').enumerate() {
        if let Err(error) = std::str::from_utf8(line) {
            let at = error.valid_up_to();
            let reason = format!(
                "byte {} of the line (0x{:02X}) is not UTF-8; convert the file to UTF-8",
                at + 1,
                line[at]
            );
            errors.push(Place { file: file.clone(), line: i + 1 }.error(reason));
        }
    }
    errors.finish(String::new())
}

/// The lines of a text with their numbers from 1 on, without line ends (LF or CRLF).
pub fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split('\n')
        .map(|line| line.strip_suffix('\r').unwrap_or(line))
        .enumerate()
        .map(|(i, line)| (i + 1, line))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_each_line_that_is_not_utf8() {
        let file: Arc<Path> = Path::new("x.jsonl").into();
        let errors = decode(&file, b"good\nb\xFFad\nfine\n\xE4\xB8\n".to_vec()).unwrap_err();
        let said: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(said[0], "x.jsonl:2: byte 2 of the line (0xFF) is not UTF-8; convert the file to UTF-8");
        assert!(said[1].starts_with("x.jsonl:4: byte 1 of the line (0xE4)"));
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn takes_the_byte_order_mark_off_and_names_other_encodings() {
        let file: Arc<Path> = Path::new("x").into();
        assert_eq!(decode(&file, b"\xEF\xBB\xBFa".to_vec()).unwrap(), "a");
        assert!(decode(&file, b"\xFF\xFEa\0".to_vec()).unwrap_err()[0].to_string().contains("UTF-16"));
        assert!(decode(&file, b"\x1F\x8B\x08".to_vec()).unwrap_err()[0].to_string().contains("gzip"));
    }

    #[test]
    fn lines_end_in_lf_or_crlf() {
        let found: Vec<_> = lines("a\r\nb\n\u{2028}c\u{85}").collect();
        assert_eq!(found, [(1, "a"), (2, "b"), (3, "\u{2028}c\u{85}")]);
    }
}

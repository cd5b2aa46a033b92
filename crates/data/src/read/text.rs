//! From a file's bytes to its lines.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use crate::{DataError, ErrorList, Place};

/// How many bytes a compressed file may hold for each of its own: more is no text, but an attack.
const MAX_RATIO: u64 = 1000;

/// The text of a file, see [`decode`]. A file that gzip or Zstandard compressed is unpacked.
pub fn read(file: &Arc<Path>) -> Result<String, Vec<DataError>> {
    let bytes =
        std::fs::read(file).map_err(|source| vec![DataError::Io { path: file.to_path_buf(), source }])?;
    of_bytes(file, bytes)
}

/// The text in the bytes of a file, unpacked if they are compressed.
pub fn of_bytes(file: &Arc<Path>, bytes: Vec<u8>) -> Result<String, Vec<DataError>> {
    decode(file, unpacked(bytes).map_err(|source| vec![DataError::Io { path: file.to_path_buf(), source }])?)
}

/// The bytes of a file, unpacked if they are compressed.
fn unpacked(bytes: Vec<u8>) -> std::io::Result<Vec<u8>> {
    let most = MAX_RATIO * bytes.len() as u64;
    let mut out = Vec::new();
    match bytes.as_slice() {
        [0x1F, 0x8B, ..] => flate2::read::MultiGzDecoder::new(&*bytes).take(most).read_to_end(&mut out)?,
        [0x28, 0xB5, 0x2F, 0xFD, ..] => zstd::Decoder::new(&*bytes)?.take(most).read_to_end(&mut out)?,
        _ => return Ok(bytes),
    };
    if out.len() as u64 == most {
        return Err(std::io::Error::other(format!(
            "holds more than {MAX_RATIO} times its own size when unpacked"
        )));
    }
    Ok(out)
}

/// Files that are no text at all, by how they begin, and what to do.
const NO_TEXT: [(&[u8], &str); 9] = [
    (&[0xFF, 0xFE], "found UTF-16, expected UTF-8; convert it with: iconv -f UTF-16 -t UTF-8"),
    (&[0xFE, 0xFF], "found UTF-16, expected UTF-8; convert it with: iconv -f UTF-16 -t UTF-8"),
    (
        b"PK\x03\x04",
        "found a zip file (or an Excel workbook), expected text; unpack it with: unzip, or save it as CSV",
    ),
    (b"PAR1", "found a Parquet file, expected text; name it .parquet"),
    (b"BZh", "found a bzip2 file, expected text; unpack it with: bunzip2"),
    (&[0xFD, b'7', b'z', b'X', b'Z'], "found an xz file, expected text; unpack it with: unxz"),
    (b"ARROW1", "found an Arrow file, expected text; write it as Parquet: Dataset.to_parquet"),
    (LFS_POINTER, LFS_REMEDY),
    (b"<!DOCTYPE", "found a web page, expected data; download the file itself (its raw link)"),
];

/// How a pointer of Git LFS begins, which stands where the file should be.
pub const LFS_POINTER: &[u8] = b"version https://git-lfs.github.com/spec/";
/// What to do about it.
pub const LFS_REMEDY: &str = "found a Git LFS pointer and not the file itself; fetch it with: git lfs pull";

/// The text in a file's bytes, without its byte order mark.
///
/// # Errors
/// Every line that is not UTF-8, with the column of the first wrong byte; what is no text at all ([`NO_TEXT`]).
fn decode(file: &Arc<Path>, mut bytes: Vec<u8>) -> Result<String, Vec<DataError>> {
    let whole =
        |reason: &str| Err(vec![DataError::Format { path: file.to_path_buf(), reason: reason.into() }]);
    if bytes.starts_with(&[0xEF, 0xBB, 0xBF]) {
        bytes.drain(..3);
    }
    if let Some((_, reason)) = NO_TEXT.iter().find(|(begin, _)| bytes.starts_with(begin)) {
        return whole(reason);
    }
    let ends = bytes.trim_ascii_end();
    if ends.contains(&b'\r') && !ends.contains(&b'\n') {
        return whole("the lines end in carriage returns alone; convert it with: tr '\\r' '\\n'");
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
                "byte {} of the line (0x{:02X}) is not UTF-8; convert the file to UTF-8 (from Windows: iconv -f WINDOWS-1252 -t UTF-8)",
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
        assert_eq!(
            said[0],
            "x.jsonl:2: byte 2 of the line (0xFF) is not UTF-8; convert the file to UTF-8 (from Windows: iconv -f WINDOWS-1252 -t UTF-8)"
        );
        assert!(said[1].starts_with("x.jsonl:4: byte 1 of the line (0xE4)"));
        assert_eq!(said.len(), 2);
    }

    #[test]
    fn takes_the_byte_order_mark_off_and_names_other_encodings() {
        let file: Arc<Path> = Path::new("x").into();
        assert_eq!(decode(&file, b"\xEF\xBB\xBFa".to_vec()).unwrap(), "a");
        assert!(decode(&file, b"\xFF\xFEa\0".to_vec()).unwrap_err()[0].to_string().contains("UTF-16"));
        let said = |bytes: &[u8]| decode(&file, bytes.to_vec()).unwrap_err()[0].to_string();
        assert!(said(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n").contains("git lfs pull"));
        assert!(said(b"a,b\rc,d\r").contains("carriage returns"));
        assert_eq!(decode(&file, b"a\r".to_vec()).unwrap(), "a\r");
    }

    #[test]
    fn unpacks_gzip_and_zstandard_and_no_bomb() {
        let pack = |text: &[u8]| {
            let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            std::io::Write::write_all(&mut gzip, text).unwrap();
            [gzip.finish().unwrap(), zstd::encode_all(text, 19).unwrap()]
        };
        for (first, second) in pack(b"one\n").into_iter().zip(pack(b"two\n")) {
            let both = [first, second].concat();
            assert_eq!(unpacked(both).unwrap(), b"one\ntwo\n");
        }
        let error = unpacked(pack(&vec![b'a'; 50 << 20])[1].clone()).unwrap_err().to_string();
        assert!(error.contains("more than 1000 times"), "{error}");
        assert!(unpacked(pack(b"cut off")[0][..12].to_vec()).is_err());
    }

    #[test]
    fn lines_end_in_lf_or_crlf() {
        let found: Vec<_> = lines("a\r\nb\n\u{2028}c\u{85}").collect();
        assert_eq!(found, [(1, "a"), (2, "b"), (3, "\u{2028}c\u{85}")]);
    }
}

//! An opened file.

use crate::error::{Cause, GgufError};
use crate::header::{Header, TensorInfo};
use crate::tensor_type::TensorType;
use crate::value::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// A GGUF file whose header has been read. Tensors are read when they are asked for.
#[derive(Debug)]
pub struct Gguf {
    path: PathBuf,
    header: Header,
}

/// So many blocks are read at a time: of the largest, 600 kB.
const BLOCKS: usize = 2048;

impl Gguf {
    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// [`GgufError::Io`], and [`GgufError::Broken`] for bytes that are not a whole GGUF file of version 2 or 3.
    pub fn open(path: &Path) -> Result<Self, GgufError> {
        let open = || -> Result<Header, Cause> {
            let file = regular(path)?;
            let length = file.metadata()?.len();
            Header::read(BufReader::with_capacity(1 << 16, file), length)
        };
        let header = open().map_err(|cause| cause.at(path))?;
        Ok(Gguf { path: path.to_owned(), header })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The metadata by key.
    pub fn metadata(&self) -> &BTreeMap<String, Value> {
        &self.header.metadata
    }

    /// A value of the metadata.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.header.metadata.get(key)
    }

    /// The tensors by name.
    pub fn tensors(&self) -> &BTreeMap<String, TensorInfo> {
        &self.header.tensors
    }

    /// Appends a tensor's numbers, rows first, as f32. After an error nothing is appended.
    ///
    /// # Errors
    /// [`GgufError::NoTensor`], [`GgufError::Type`] for a type that is not dequantized here, [`GgufError::Io`].
    pub fn read_f32(&self, name: &str, numbers: &mut Vec<f32>) -> Result<(), GgufError> {
        let path = || self.path.clone();
        let info = self.header.tensors.get(name);
        let info = info.ok_or_else(|| GgufError::NoTensor { path: path(), name: name.into() })?;
        let dequantize = info.kind.read().ok_or_else(|| GgufError::Type {
            path: path(),
            name: name.into(),
            found: info.kind.name(),
            expected: TensorType::readable(),
        })?;
        let before = numbers.len();
        let mut read = || -> Result<(), std::io::Error> {
            let mut file = regular(&self.path)?;
            file.seek(SeekFrom::Start(info.offset))?;
            let (values, bytes) = info.kind.block();
            let mut left = info.numbers / values;
            let mut buffer = vec![0; left.min(BLOCKS) * bytes];
            numbers.reserve(info.numbers);
            while left > 0 {
                let blocks = left.min(BLOCKS);
                file.read_exact(&mut buffer[..blocks * bytes])?;
                dequantize(&buffer[..blocks * bytes], numbers);
                left -= blocks;
            }
            Ok(())
        };
        let read = read();
        read.map_err(|source| {
            numbers.truncate(before);
            GgufError::Io { path: path(), source }
        })
    }
}

/// Opens a file, and nothing that could wait or never end, such as a pipe or a device.
fn regular(path: &Path) -> std::io::Result<File> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(std::io::Error::new(ErrorKind::InvalidInput, "it is no regular file"));
    }
    File::open(path)
}

//! A file that is written: keys, then what tensors there are, then their numbers.

use crate::tensor_type::TensorType;
use crate::value::{Array, Value};
use std::io::{self, Write};

/// The version of the format.
const VERSION: u32 = 3;
/// Of the tensors' bytes.
const ALIGNMENT: usize = 32;

/// A file that is being described. See the crate for the format.
#[derive(Debug, Clone, Default)]
pub struct Writer {
    metadata: Vec<(String, Value)>,
    tensors: Vec<Described>,
}

#[derive(Debug, Clone)]
struct Described {
    name: String,
    /// Rows first.
    shape: Vec<usize>,
    kind: TensorType,
}

impl Described {
    fn numbers(&self) -> usize {
        self.shape.iter().product()
    }

    fn bytes(&self) -> usize {
        let (values, bytes) = self.kind.block();
        self.numbers() / values * bytes
    }
}

impl Writer {
    /// A file without anything.
    pub fn new() -> Self {
        Writer::default()
    }

    /// Sets a key. Integers are written with 32 bits where they fit, else with 64.
    pub fn set(&mut self, key: impl Into<String>, value: Value) {
        let key = key.into();
        self.metadata.retain(|(known, _)| *known != key);
        self.metadata.push((key, value));
    }

    /// Whether a key is set.
    pub fn has(&self, key: &str) -> bool {
        self.metadata.iter().any(|(known, _)| known == key)
    }

    /// Adds a tensor, rows first. Its name must be new.
    ///
    /// # Panics
    /// For a type that is not written, and rows that are no whole blocks: [`TensorType::takes_rows_of`] tells both.
    pub fn tensor(&mut self, name: impl Into<String>, shape: &[usize], kind: TensorType) {
        let row = shape.last().copied().unwrap_or(1);
        assert!(kind.takes_rows_of(row), "{} takes no rows of {row} numbers", kind.name());
        self.tensors.push(Described { name: name.into(), shape: shape.to_vec(), kind });
    }

    /// Writes the file; `numbers` gives those of a tensor by its place among the tensors, as many as its shape says.
    ///
    /// # Errors
    /// Those of `to` and of `numbers`; a tensor with another number of numbers.
    pub fn write(
        &self,
        to: &mut impl Write,
        mut numbers: impl FnMut(usize) -> io::Result<Vec<f32>>,
    ) -> io::Result<()> {
        let header = self.header();
        to.write_all(&header)?;
        for (at, tensor) in self.tensors.iter().enumerate() {
            let found = numbers(at)?;
            let (Some(quantize), true) = (tensor.kind.write(), found.len() == tensor.numbers()) else {
                let reason = format!("{}: {} numbers for {:?}", tensor.name, found.len(), tensor.shape);
                return Err(io::Error::new(io::ErrorKind::InvalidData, reason));
            };
            let mut bytes = Vec::with_capacity(tensor.bytes().next_multiple_of(ALIGNMENT));
            quantize(&found, &mut bytes);
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
            to.write_all(&bytes)?;
        }
        Ok(())
    }

    /// All before the tensors' numbers, with the bytes that align them.
    fn header(&self) -> Vec<u8> {
        let mut out = b"GGUF".to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend((self.tensors.len() as u64).to_le_bytes());
        out.extend((self.metadata.len() as u64).to_le_bytes());
        for (key, value) in &self.metadata {
            text(key, &mut out);
            self::value(value, &mut out);
        }
        let mut offset = 0u64;
        for tensor in &self.tensors {
            text(&tensor.name, &mut out);
            out.extend(u32::try_from(tensor.shape.len()).unwrap_or_default().to_le_bytes());
            // The innermost dimension first.
            tensor.shape.iter().rev().for_each(|size| out.extend((*size as u64).to_le_bytes()));
            out.extend(tensor.kind.number().to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += tensor.bytes().next_multiple_of(ALIGNMENT) as u64;
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        out
    }
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn value(value: &Value, out: &mut Vec<u8>) {
    let mut put = |kind: u32, bytes: &[u8]| {
        out.extend(kind.to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::Unsigned(number) => match u32::try_from(*number) {
            Ok(number) => put(4, &number.to_le_bytes()),
            Err(_) => put(10, &number.to_le_bytes()),
        },
        Value::Signed(number) => match i32::try_from(*number) {
            Ok(number) => put(5, &number.to_le_bytes()),
            Err(_) => put(11, &number.to_le_bytes()),
        },
        Value::F32(number) => put(6, &number.to_le_bytes()),
        Value::F64(number) => put(12, &number.to_le_bytes()),
        Value::Bool(value) => put(7, &[u8::from(*value)]),
        Value::String(value) => {
            put(8, &[]);
            text(value, out);
        }
        Value::Array(values) => {
            put(9, &[]);
            array(values, out);
        }
    }
}

fn array(values: &Array, out: &mut Vec<u8>) {
    fn numbers<T: Copy, const N: usize>(
        kind: u32,
        values: &[T],
        bytes: impl Fn(T) -> [u8; N],
        out: &mut Vec<u8>,
    ) {
        out.extend(kind.to_le_bytes());
        out.extend((values.len() as u64).to_le_bytes());
        out.extend(values.iter().flat_map(|value| bytes(*value)));
    }
    match values {
        Array::U8(values) => numbers(0, values, u8::to_le_bytes, out),
        Array::I8(values) => numbers(1, values, i8::to_le_bytes, out),
        Array::U16(values) => numbers(2, values, u16::to_le_bytes, out),
        Array::I16(values) => numbers(3, values, i16::to_le_bytes, out),
        Array::U32(values) => numbers(4, values, u32::to_le_bytes, out),
        Array::I32(values) => numbers(5, values, i32::to_le_bytes, out),
        Array::F32(values) => numbers(6, values, f32::to_le_bytes, out),
        Array::Bool(values) => numbers(7, values, |value| [u8::from(value)], out),
        Array::U64(values) => numbers(10, values, u64::to_le_bytes, out),
        Array::I64(values) => numbers(11, values, i64::to_le_bytes, out),
        Array::F64(values) => numbers(12, values, f64::to_le_bytes, out),
        Array::String(values) => {
            numbers::<u8, 1>(8, &[], |byte| [byte], out);
            let length = out.len() - 8;
            out[length..].copy_from_slice(&(values.len() as u64).to_le_bytes());
            values.iter().for_each(|value| text(value, out));
        }
    }
}

//! What stands before the tensors' bytes: metadata, and where each tensor lies.

use crate::error::Cause;
use crate::tensor_type::TensorType;
use crate::value::{Array, Value};
use std::collections::BTreeMap;
use std::io::Read;

/// A tensor as the header describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    /// Its shape in the order of PyTorch: rows first. (The file has the innermost dimension first.)
    pub shape: Vec<usize>,
    /// The type of its numbers.
    pub kind: TensorType,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
    /// How many numbers it has.
    pub numbers: usize,
}

/// All of a header.
#[derive(Debug)]
pub(crate) struct Header {
    pub metadata: BTreeMap<String, Value>,
    pub tensors: BTreeMap<String, TensorInfo>,
}

/// No header in use is a tenth as long.
const LONGEST_HEADER: u64 = 256 << 20;
/// The longest key that the format allows.
const LONGEST_KEY: u64 = 65_535;
/// `GGML_MAX_NAME`, which builds may double.
const LONGEST_NAME: u64 = 128;
/// `GGML_MAX_DIMS`.
const MOST_DIMENSIONS: u32 = 4;
/// Of the tensors' bytes, where the file does not say.
const ALIGNMENT: u64 = 32;
/// The least bytes of an entry: an empty key or name and what follows it.
const LEAST_PAIR: u64 = 8 + 4 + 1;
const LEAST_TENSOR: u64 = 8 + 4 + 8 + 4 + 8;

impl Header {
    /// Reads a header from the beginning of a file of so many bytes.
    pub fn read(source: impl Read, file_length: u64) -> Result<Self, Cause> {
        let mut bytes = Bytes { source, length: file_length.min(LONGEST_HEADER), at: 0 };
        check_magic(&mut bytes)?;
        let (tensors, pairs) = (bytes.u64()?, bytes.u64()?);
        bytes.has_place(tensors, LEAST_TENSOR, "tensors")?;
        bytes.has_place(pairs, LEAST_PAIR, "keys")?;
        let mut metadata = BTreeMap::new();
        for _ in 0..pairs {
            let key = bytes.string(LONGEST_KEY, "a key")?;
            let kind = bytes.u32()?;
            let value = bytes.value(kind, &key)?;
            if metadata.contains_key(&key) {
                return Err(Cause::Wrong(format!("found the key {key} twice")));
            }
            metadata.insert(key, value);
        }
        let mut found: Vec<(String, Description)> = Vec::new();
        for _ in 0..tensors {
            found.push(bytes.tensor()?);
        }
        let alignment = alignment(&metadata)?;
        let start = bytes.at.next_multiple_of(alignment);
        let tensors = place(found, start, alignment, file_length)?;
        Ok(Header { metadata, tensors })
    }
}

fn check_magic<R: Read>(bytes: &mut Bytes<R>) -> Result<(), Cause> {
    if bytes.length < 24 {
        return Err(Cause::Wrong(format!("found {} bytes, expected at least 24", bytes.length)));
    }
    let magic = bytes.array::<4>()?;
    if &magic == b"vers" {
        let reason = "found a Git LFS pointer and not the file itself".into();
        return Err(Cause::With(reason, "fetching it with: git lfs pull"));
    }
    if &magic != b"GGUF" {
        return Err(Cause::Wrong(format!(
            "found the first bytes {:?}, expected \"GGUF\"",
            String::from_utf8_lossy(&magic)
        )));
    }
    match bytes.u32()? {
        2 | 3 => Ok(()),
        version if version.swap_bytes() < 256 && version > 255 => {
            let reason = "found the byte order big endian, expected little endian".into();
            Err(Cause::With(
                reason,
                "a file for little-endian machines, or converting it with gguf-convert-endian",
            ))
        }
        version => {
            let reason = format!("found version {version} of the format, expected 2 or 3");
            Err(Cause::With(reason, "a file that a current llama.cpp has written"))
        }
    }
}

fn alignment(metadata: &BTreeMap<String, Value>) -> Result<u64, Cause> {
    let Some(value) = metadata.get("general.alignment") else { return Ok(ALIGNMENT) };
    let sound = |n: &u64| n.is_power_of_two() && (8..=1 << 20).contains(n);
    value.as_u64().filter(sound).ok_or_else(|| {
        Cause::Wrong(format!("general.alignment: found {value:?}, expected a power of two from 8 to 1048576"))
    })
}

/// A tensor's entry: its offset counts from the beginning of all tensors.
struct Description {
    shape: Vec<usize>,
    kind: TensorType,
    offset: u64,
    bytes: u64,
    numbers: usize,
}

/// Finds each tensor's place in the file, within it and apart from all others.
fn place(
    found: Vec<(String, Description)>,
    start: u64,
    alignment: u64,
    file_length: u64,
) -> Result<BTreeMap<String, TensorInfo>, Cause> {
    let mut spans: Vec<(u64, u64, &str)> = Vec::with_capacity(found.len());
    for (name, tensor) in &found {
        if tensor.offset % alignment != 0 {
            let offset = tensor.offset;
            return Err(Cause::Wrong(format!("{name}: its offset {offset} is no multiple of {alignment}")));
        }
        let begin = start.checked_add(tensor.offset);
        let end = begin.and_then(|begin| begin.checked_add(tensor.bytes)).filter(|end| *end <= file_length);
        let (Some(begin), Some(end)) = (begin, end) else {
            return Err(Cause::Wrong(format!(
                "{name}: it has {} bytes from {} on, and the file ends at {file_length}",
                tensor.bytes,
                start.saturating_add(tensor.offset)
            )));
        };
        spans.push((begin, end, name));
    }
    spans.sort_unstable();
    if let Some(pair) = spans.windows(2).find(|pair| pair[0].1 > pair[1].0) {
        return Err(Cause::Wrong(format!("{} and {} share bytes", pair[0].2, pair[1].2)));
    }
    let mut tensors = BTreeMap::new();
    for (name, Description { shape, kind, offset, bytes, numbers }) in found {
        if tensors.contains_key(&name) {
            return Err(Cause::Wrong(format!("found the tensor {name} twice")));
        }
        tensors.insert(name, TensorInfo { shape, kind, offset: start + offset, bytes, numbers });
    }
    Ok(tensors)
}

/// The bytes of a header, of which none is read beyond `length`.
struct Bytes<R> {
    source: R,
    length: u64,
    at: u64,
}

impl<R: Read> Bytes<R> {
    fn left(&self) -> u64 {
        self.length - self.at
    }

    /// Takes so many bytes, if there are as many.
    fn take(&mut self, count: u64) -> Result<(), Cause> {
        if count > self.left() {
            let (at, left) = (self.at, self.left());
            return Err(Cause::Wrong(format!(
                "its header is cut off: at byte {at} {count} bytes are needed, and {left} follow"
            )));
        }
        self.at += count;
        Ok(())
    }

    /// Refuses a count of things for which there is no place, before memory is reserved for them.
    fn has_place(&self, count: u64, least: u64, what: &str) -> Result<(), Cause> {
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.left() => Ok(()),
            _ => Err(Cause::Wrong(format!("it claims {count} {what}, and {} bytes follow", self.left()))),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Cause> {
        self.take(N as u64)?;
        let mut bytes = [0; N];
        self.source.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn u32(&mut self) -> Result<u32, Cause> {
        self.array().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> Result<u64, Cause> {
        self.array().map(u64::from_le_bytes)
    }

    fn bool(&mut self, key: &str) -> Result<bool, Cause> {
        match self.array::<1>()?[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(Cause::Wrong(format!("{key}: found the truth value {other}, expected 0 or 1"))),
        }
    }

    fn string(&mut self, longest: u64, what: &str) -> Result<String, Cause> {
        let length = self.u64()?;
        if length > longest.min(self.left()) {
            let left = self.left();
            return Err(Cause::Wrong(format!(
                "{what} claims {length} bytes, expected at most {longest}, and {left} bytes follow"
            )));
        }
        let mut text = vec![0; usize::try_from(length).map_err(|_| too_long(what))?];
        self.take(length)?;
        self.source.read_exact(&mut text)?;
        String::from_utf8(text).map_err(|_| Cause::Wrong(format!("{what} is not UTF-8")))
    }

    fn value(&mut self, kind: u32, key: &str) -> Result<Value, Cause> {
        Ok(match kind {
            0 => Value::Unsigned(self.array().map(u8::from_le_bytes)?.into()),
            1 => Value::Signed(self.array().map(i8::from_le_bytes)?.into()),
            2 => Value::Unsigned(self.array().map(u16::from_le_bytes)?.into()),
            3 => Value::Signed(self.array().map(i16::from_le_bytes)?.into()),
            4 => Value::Unsigned(self.u32()?.into()),
            5 => Value::Signed(self.array().map(i32::from_le_bytes)?.into()),
            6 => Value::F32(self.array().map(f32::from_le_bytes)?),
            7 => Value::Bool(self.bool(key)?),
            8 => Value::String(self.string(u64::MAX, key)?),
            9 => Value::Array(self.values(key)?),
            10 => Value::Unsigned(self.u64()?),
            11 => Value::Signed(self.array().map(i64::from_le_bytes)?),
            12 => Value::F64(self.array().map(f64::from_le_bytes)?),
            _ => return Err(no_type(key, kind)),
        })
    }

    fn values(&mut self, key: &str) -> Result<Array, Cause> {
        let (kind, count) = (self.u32()?, self.u64()?);
        Ok(match kind {
            0 => Array::U8(self.numbers(count, key, u8::from_le_bytes)?),
            1 => Array::I8(self.numbers(count, key, i8::from_le_bytes)?),
            2 => Array::U16(self.numbers(count, key, u16::from_le_bytes)?),
            3 => Array::I16(self.numbers(count, key, i16::from_le_bytes)?),
            4 => Array::U32(self.numbers(count, key, u32::from_le_bytes)?),
            5 => Array::I32(self.numbers(count, key, i32::from_le_bytes)?),
            6 => Array::F32(self.numbers(count, key, f32::from_le_bytes)?),
            7 => {
                self.has_place(count, 1, key)?;
                Array::Bool((0..count).map(|_| self.bool(key)).collect::<Result<_, _>>()?)
            }
            8 => {
                self.has_place(count, 8, key)?;
                Array::String((0..count).map(|_| self.string(u64::MAX, key)).collect::<Result<_, _>>()?)
            }
            9 => return Err(Cause::Wrong(format!("{key}: found an array of arrays, which no model has"))),
            10 => Array::U64(self.numbers(count, key, u64::from_le_bytes)?),
            11 => Array::I64(self.numbers(count, key, i64::from_le_bytes)?),
            12 => Array::F64(self.numbers(count, key, f64::from_le_bytes)?),
            _ => return Err(no_type(key, kind)),
        })
    }

    fn numbers<T, const N: usize>(
        &mut self,
        count: u64,
        key: &str,
        from: impl Fn([u8; N]) -> T,
    ) -> Result<Vec<T>, Cause> {
        self.has_place(count, N as u64, key)?;
        (0..count).map(|_| self.array().map(&from)).collect()
    }

    fn tensor(&mut self) -> Result<(String, Description), Cause> {
        let name = self.string(LONGEST_NAME, "a tensor's name")?;
        let dimensions = self.u32()?;
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(Cause::Wrong(format!("{name}: found {dimensions} dimensions, expected 1 to 4")));
        }
        let mut sizes = (0..dimensions).map(|_| self.u64()).collect::<Result<Vec<u64>, _>>()?;
        let number = self.u32()?;
        let offset = self.u64()?;
        let kind = TensorType::of(number).ok_or_else(|| no_type(&name, number))?;
        let (values, bytes) = kind.block();
        let (values, bytes) = (values as u64, bytes as u64);
        let numbers = sizes.iter().try_fold(1u64, |all, size| all.checked_mul(*size));
        // As f32 they must fit the memory's addresses.
        let numbers = numbers.filter(|n| n.checked_mul(8).is_some_and(|n| usize::try_from(n).is_ok()));
        let (Some(numbers), true) = (numbers, sizes[0] > 0 && sizes.iter().all(|size| *size > 0)) else {
            return Err(Cause::Wrong(format!(
                "{name}: found the dimensions {sizes:?}, expected sizes from 1 on"
            )));
        };
        if sizes[0] % values != 0 {
            let found = sizes[0];
            let kind = kind.name();
            return Err(Cause::Wrong(format!(
                "{name}: found rows of {found} numbers of type {kind}, expected a multiple of {values}"
            )));
        }
        // `numbers / values` blocks: their bytes may be more than the numbers, but less than eight times as many.
        let bytes = (numbers / values) * bytes;
        sizes.reverse();
        let size = |n: u64| usize::try_from(n).map_err(|_| too_long(&name));
        let shape = sizes.into_iter().map(size).collect::<Result<_, _>>()?;
        let numbers = size(numbers)?;
        Ok((name, Description { shape, kind, offset, bytes, numbers }))
    }
}

fn too_long(what: &str) -> Cause {
    Cause::Wrong(format!("{what} does not fit the memory"))
}

fn no_type(name: &str, number: u32) -> Cause {
    let reason = format!("{name}: found the type number {number}, which this program does not know");
    Cause::With(reason, "another quantization of the model, such as Q8_0 or Q4_K_M")
}

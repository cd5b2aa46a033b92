//! Reading safetensors, one file or shards with an index, as bytes from a stranger.
//!
//! A header is bounded by the file's length before it is read, its offsets are checked to tile the file exactly (by the
//! safetensors crate), and tensors are read one at a time, so that no memory is reserved for what is not there.

use super::quantized::Codes;
use super::read_json;
use super::tensor_reader::not_finite;
use crate::error::{ModelError, TensorProblem};
use kernels::PackedMatrix;
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

const SINGLE: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
/// The format's own bound on a header.
const LONGEST_HEADER: u64 = 100_000_000;

/// An opened checkpoint: which tensors it has, and where.
#[derive(Debug)]
pub(crate) struct SafetensorsReader {
    path: PathBuf,
    shards: Vec<Shard>,
    /// By name: which shard.
    tensors: BTreeMap<String, usize>,
    /// Of those that are codes of matrices: how they are, and the shape of the matrix.
    quantized: BTreeMap<String, (Codes, Vec<usize>)>,
    /// The tensors that stand beside codes, by their own names: which shard.
    beside: BTreeMap<String, usize>,
}

#[derive(Debug)]
struct Shard {
    path: PathBuf,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    start: u64,
}

impl SafetensorsReader {
    /// Opens `model.safetensors` in `dir`, or the shards that `model.safetensors.index.json` names.
    pub fn open(dir: &Path) -> Result<Self, ModelError> {
        if dir.join(SINGLE).is_file() {
            return Self::open_file(&dir.join(SINGLE));
        }
        if dir.join(INDEX).is_file() {
            return Self::open_index(dir);
        }
        let reason = format!("the folder has neither {SINGLE} nor {INDEX}");
        let remedy = if dir.join("pytorch_model.bin").is_file() {
            "converting pytorch_model.bin once, in Python: transformers.AutoModel.from_pretrained(DIR).save_pretrained(DIR)"
        } else {
            "downloading the model's weights in safetensors form"
        };
        Err(ModelError::NotAModel { path: dir.to_owned(), reason, remedy: remedy.into() })
    }

    /// Opens a single file.
    pub fn open_file(path: &Path) -> Result<Self, ModelError> {
        let shard = Shard::open(path)?;
        let tensors = shard.metadata.offset_keys().into_iter().map(|name| (name, 0)).collect();
        Ok(Self::new(path.to_owned(), vec![shard], tensors))
    }

    fn open_index(dir: &Path) -> Result<Self, ModelError> {
        let path = dir.join(INDEX);
        let broken = |reason: String| ModelError::Broken {
            path: path.clone(),
            reason,
            remedy: "downloading the index and all its shards again".into(),
        };
        let json = read_json(&path)?;
        let map = json.get("weight_map").and_then(|map| map.as_object());
        let map = map.ok_or_else(|| broken("found no \"weight_map\" object".into()))?;
        let mut numbers: BTreeMap<&str, usize> = BTreeMap::new();
        let (mut shards, mut tensors) = (Vec::new(), BTreeMap::new());
        for (name, file) in map {
            let file = file.as_str().filter(|file| is_plain(file)).ok_or_else(|| {
                broken(format!(
                    "weight_map.{name}: found {file}, expected the name of a file beside the index"
                ))
            })?;
            let number = match numbers.get(file) {
                Some(number) => *number,
                None => {
                    shards.push(Shard::open(&dir.join(file))?);
                    numbers.insert(file, shards.len() - 1);
                    shards.len() - 1
                }
            };
            if shards[number].metadata.info(name).is_none() {
                return Err(broken(format!("weight_map.{name}: {file} holds no tensor of that name")));
            }
            tensors.insert(name.clone(), number);
        }
        Ok(Self::new(path, shards, tensors))
    }

    fn new(path: PathBuf, shards: Vec<Shard>, mut tensors: BTreeMap<String, usize>) -> Self {
        let codes = |(name, shard): (&String, &usize)| {
            let info = shards[*shard].metadata.info(name)?;
            let codes = Codes::of_dtype(info.dtype)?;
            let is_there =
                codes == Codes::Int8 || beside(name, codes).any(|(name, _)| tensors.contains_key(&name));
            Some((name.clone(), (codes, codes.shape(&info.shape).filter(|_| is_there)?)))
        };
        let quantized: BTreeMap<String, (Codes, Vec<usize>)> = tensors.iter().filter_map(codes).collect();
        let names = quantized.iter().flat_map(|(name, (codes, _))| beside(name, *codes));
        let beside = names.filter_map(|(name, _)| tensors.remove_entry(&name)).collect();
        Self { path, shards, tensors, quantized, beside }
    }

    /// The shape of a tensor; of codes that of their matrix.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let info = self.info(name)?;
        Some(self.quantized.get(name).map_or(&info.shape, |(_, shape)| shape))
    }

    /// The problem with a tensor's type or shape, if it is there and there is one.
    pub fn problem(&self, name: &str, expected: &[usize]) -> Option<TensorProblem> {
        let info = self.info(name)?;
        match (self.quantized.get(name), expected) {
            (Some((codes, shape)), &[rows, columns]) if shape == expected => {
                let shape = codes.shape_beside([rows, columns]);
                beside(name, *codes).find_map(|(name, dtype)| self.beside_problem(name, dtype, &shape))
            }
            (Some((_, shape)), _) => Some(TensorProblem::Shape {
                name: name.to_owned(),
                found: shape.clone(),
                expected: expected.to_vec(),
            }),
            (None, _) => check(name, info, expected),
        }
    }

    /// The problem with a tensor that stands beside codes.
    fn beside_problem(&self, name: String, dtype: Dtype, expected: &[usize]) -> Option<TensorProblem> {
        match self.beside.get(&name).and_then(|shard| self.shards[*shard].metadata.info(&name)) {
            None => Some(TensorProblem::Missing { name, expected: expected.to_vec() }),
            Some(info) if info.shape == expected && info.dtype != dtype => Some(TensorProblem::Type {
                name,
                found: format!("{:?}", info.dtype),
                expected: format!("{dtype:?}"),
            }),
            Some(info) => check(&name, info, expected),
        }
    }

    /// The matrix that tensors of codes are, one below the other; `None` where they are no codes, or not of one sort and width. They must
    /// have no [`SafetensorsReader::problem`].
    pub fn quantized(
        &self,
        names: &[String],
    ) -> Result<Option<Result<PackedMatrix, TensorProblem>>, ModelError> {
        let of = |name: &String| self.quantized.get(name);
        let Some((first, (codes, shape))) = names.first().and_then(|name| Some((name, of(name)?))) else {
            return Ok(None);
        };
        let is_alike = |name| of(name).is_some_and(|(own, other)| own == codes && other[1] == shape[1]);
        if !names.iter().all(is_alike) {
            return Ok(None);
        }
        let rows = names.iter().filter_map(of).map(|(_, shape)| shape[0]).sum();
        let mut parts = vec![Vec::new(); 1 + codes.beside().len()];
        for name in names {
            let own = std::iter::once(name.clone()).chain(beside(name, *codes).map(|(name, _)| name));
            for (part, name) in parts.iter_mut().zip(own) {
                part.extend(self.raw(&name)?.2);
            }
        }
        let of_codes = parts.remove(0);
        Ok(Some(codes.matrix(first, of_codes, &parts, [rows, shape[1]])))
    }

    /// The file, or the index of shards.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// All tensors' names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Type and shape of a tensor.
    pub fn info(&self, name: &str) -> Option<&TensorInfo> {
        self.shards.get(*self.tensors.get(name)?)?.metadata.info(name)
    }

    /// A tensor as it stands in the file; the name must be one of [`SafetensorsReader::names`].
    pub fn raw(&self, name: &str) -> Result<(Dtype, Vec<usize>, Vec<u8>), ModelError> {
        let found = self.tensors.get(name).or(self.beside.get(name));
        let shard = &self.shards[*found.expect("the name is one of the archive's")];
        let info = shard.metadata.info(name).expect("the archive lists what its shards hold");
        let (from, to) = info.data_offsets;
        let mut file = File::open(&shard.path).map_err(ModelError::io(&shard.path, "read"))?;
        file.seek(SeekFrom::Start(shard.start + from as u64)).map_err(ModelError::io(&shard.path, "read"))?;
        let mut bytes = vec![0; to - from];
        file.read_exact(&mut bytes).map_err(ModelError::io(&shard.path, "read"))?;
        Ok((info.dtype, info.shape.clone(), bytes))
    }

    /// Appends a tensor's numbers as f32. A number that is not finite is a problem and not an error, so that all are
    /// reported at once.
    pub fn append(&self, name: &str, values: &mut Vec<f32>) -> Result<Option<TensorProblem>, ModelError> {
        let first = values.len();
        if let Some(matrix) = self.quantized(&[name.to_owned()])? {
            return Ok(match matrix {
                Ok(matrix) => {
                    values.extend(matrix.rows(0..matrix.shape()[0]));
                    not_finite(name, values, first)
                }
                Err(problem) => Some(problem),
            });
        }
        let (dtype, _, bytes) = self.raw(name)?;
        match dtype {
            Dtype::F32 => values.extend(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b))),
            Dtype::BF16 => {
                values.extend(
                    bytes
                        .as_chunks()
                        .0
                        .iter()
                        .map(|b| f32::from_bits(u32::from(u16::from_le_bytes(*b)) << 16)),
                );
            }
            _ => values.extend(bytes.as_chunks().0.iter().map(|b| half(u16::from_le_bytes(*b)))),
        }
        Ok(not_finite(name, values, first))
    }
}

/// The tensors that stand beside codes, and their types.
fn beside(name: &str, codes: Codes) -> impl Iterator<Item = (String, Dtype)> {
    codes.beside().iter().map(move |(suffix, dtype)| (format!("{name}{suffix}"), *dtype))
}

/// The problem with a tensor's type or shape, if there is one.
pub(crate) fn check(name: &str, info: &TensorInfo, expected: &[usize]) -> Option<TensorProblem> {
    if info.shape != expected {
        let (found, expected) = (info.shape.clone(), expected.to_vec());
        return Some(TensorProblem::Shape { name: name.to_owned(), found, expected });
    }
    let readable = matches!(info.dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16);
    (!readable).then(|| TensorProblem::Type {
        name: name.to_owned(),
        found: format!("{:?}", info.dtype),
        expected: "F32, F16 or BF16".into(),
    })
}

/// Whether a name is that of a file in the same folder: an index may not lead elsewhere.
fn is_plain(file: &str) -> bool {
    let mut parts = Path::new(file).components();
    matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None))
        && !file.contains(['/', '\\', '\0'])
}

impl Shard {
    fn open(path: &Path) -> Result<Self, ModelError> {
        let broken = |reason: String| ModelError::Broken {
            path: path.to_owned(),
            reason,
            remedy: "downloading or copying the file again: it is not a whole safetensors file".into(),
        };
        let mut file = files::open(path).map_err(ModelError::io(path, "read"))?;
        let length = file.metadata().map_err(ModelError::io(path, "read"))?.len();
        let mut count = [0; 8];
        if length < 8 {
            return Err(broken(format!("found {length} bytes, expected at least 8")));
        }
        file.read_exact(&mut count).map_err(ModelError::io(path, "read"))?;
        if &count == b"version " {
            return Err(ModelError::Broken {
                path: path.to_owned(),
                reason: "found a Git LFS pointer and not the file itself".into(),
                remedy: "fetching it with: git lfs pull".into(),
            });
        }
        let header = u64::from_le_bytes(count);
        if header > LONGEST_HEADER.min(length - 8) {
            return Err(broken(format!(
                "it claims a header of {header} bytes, and {} bytes follow",
                length - 8
            )));
        }
        let mut text = vec![
            0;
            usize::try_from(header)
                .map_err(|_| broken("its header does not fit the memory".into()))?
        ];
        file.read_exact(&mut text).map_err(ModelError::io(path, "read"))?;
        let metadata: Metadata =
            serde_json::from_slice(&text).map_err(|error| broken(format!("its header is wrong: {error}")))?;
        let (found, expected) = (length - 8 - header, metadata.data_len() as u64);
        if found != expected {
            return Err(broken(format!("found {found} bytes of tensors, expected {expected}")));
        }
        Ok(Self { path: path.to_owned(), metadata, start: 8 + header })
    }
}

/// An IEEE half-precision number, exactly.
fn half(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f32::from(bits & 1023));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_precision_is_exact() {
        let cases = [
            (0x0000, 0.0),
            (0x8000, -0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 2f32.powi(-24)),
            (0x03ff, 1023.0 * 2f32.powi(-24)),
            (0x0400, 2f32.powi(-14)),
            (0x3555, 0.333_251_95),
            (0x7c00, f32::INFINITY),
            (0xfc00, f32::NEG_INFINITY),
        ];
        for (bits, value) in cases {
            assert_eq!(half(bits).to_bits(), value.to_bits(), "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan());
    }

    #[test]
    fn an_index_may_only_name_files_beside_it() {
        for bad in ["../model.safetensors", "/etc/passwd", "a/b", "a\\b", "", ".", "..", "a\0b"] {
            assert!(!is_plain(bad), "{bad:?}");
        }
        assert!(is_plain("model-00001-of-00002.safetensors"));
    }
}

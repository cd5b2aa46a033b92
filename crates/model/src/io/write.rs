//! Writing tensors to a file in the format of safetensors.

use super::low_rank::stored_entries;
use super::names::{Entry, NameTable};
use super::quantized::Codes;
use crate::backbones::BackboneSpec;
use crate::error::{ModelError, TensorProblem};
use crate::parameters::Parameters;
use kernels::{Int4Matrix, Int8Matrix};
use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::Path;

/// A tensor to be written.
pub(super) struct Tensor<'a> {
    name: String,
    dtype: Dtype,
    shape: Vec<usize>,
    source: Source<'a>,
}

enum Source<'a> {
    /// The part of this number of a parameter.
    Parameter {
        parameters: &'a Parameters,
        index: usize,
        part: usize,
    },
    /// Parameters one after the other.
    Parameters {
        parameters: &'a Parameters,
        indices: Vec<usize>,
    },
    Bytes(&'a [u8]),
    /// Rows of int8 numbers.
    Int8(&'a Int8Matrix, Range<usize>),
    /// The scales of such rows, as f32.
    Scales(&'a [f32]),
    /// bf16.
    Halves(&'a [u16]),
}

impl Tensor<'_> {
    fn length(&self) -> usize {
        match &self.source {
            Source::Bytes(bytes) => bytes.len(),
            Source::Int8(..) => self.shape.iter().product(),
            Source::Halves(halves) => size_of_val(*halves),
            Source::Scales(_) | Source::Parameter { .. } | Source::Parameters { .. } => {
                4 * self.shape.iter().product::<usize>()
            }
        }
    }

    fn write(&self, to: &mut impl Write) -> std::io::Result<()> {
        let mut numbers = |values: &[f32]| {
            let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            to.write_all(&bytes)
        };
        match &self.source {
            Source::Bytes(bytes) => to.write_all(bytes),
            Source::Scales(scales) => numbers(scales),
            Source::Halves(halves) => {
                to.write_all(&halves.iter().flat_map(|half| half.to_le_bytes()).collect::<Vec<u8>>())
            }
            Source::Int8(matrix, rows) => {
                let bytes: Vec<u8> =
                    matrix.numbers(rows.clone()).into_iter().map(i8::cast_unsigned).collect();
                to.write_all(&bytes)
            }
            Source::Parameter { parameters, index, part } => {
                let size = self.length() / 4;
                numbers(&parameters.data(*index)[part * size..(part + 1) * size])
            }
            Source::Parameters { parameters, indices } => {
                indices.iter().try_for_each(|index| numbers(&parameters.data(*index)))
            }
        }
    }

    /// The parameters that it is made of, each counted once among the parts of one.
    fn parameters(&self) -> Vec<usize> {
        match &self.source {
            Source::Parameter { index, part: 0, .. } => vec![*index],
            Source::Parameters { indices, .. } => indices.clone(),
            Source::Parameter { .. }
            | Source::Bytes(_)
            | Source::Int8(..)
            | Source::Scales(_)
            | Source::Halves(_) => Vec::new(),
        }
    }
}

/// A tensor of this shape that parameters make up, one after the other.
pub(super) fn joined<'a>(
    name: String,
    shape: &[usize],
    parameters: &'a Parameters,
    indices: &[usize],
) -> Tensor<'a> {
    let source = Source::Parameters { parameters, indices: indices.to_vec() };
    Tensor { name, dtype: Dtype::F32, shape: shape.to_vec(), source }
}

/// A backbone's parameters under the names of its table, and what it passes through.
pub(super) fn backbone<'a>(spec: &'a BackboneSpec, parameters: &'a Parameters) -> Vec<Tensor<'a>> {
    let mut tensors = named(&spec.names, parameters);
    tensors.extend(spec.passthrough.iter().map(|kept| Tensor {
        name: kept.name.clone(),
        dtype: kept.dtype,
        shape: kept.shape.clone(),
        source: Source::Bytes(&kept.bytes),
    }));
    tensors
}

/// The parameters of a table of names.
pub(super) fn named<'a>(names: &NameTable, parameters: &'a Parameters) -> Vec<Tensor<'a>> {
    let mut tensors = Vec::new();
    for entry in &stored_entries(names, parameters) {
        let index = parameters.find(&entry.name).expect("its network made the parameters in this table");
        if let Some(packed) = parameters.packed(index) {
            if let Some(matrix) = packed.as_int8() {
                tensors.extend(int8_tensors(entry, matrix));
                continue;
            }
            if let Some(matrix) = packed.as_int4() {
                tensors.extend(int4_tensors(entry, matrix));
                continue;
            }
        }
        for (part, name) in entry.hf_names.iter().enumerate() {
            let source = Source::Parameter { parameters, index, part };
            tensors.push(Tensor { name: name.clone(), dtype: Dtype::F32, shape: entry.part_shape(), source });
        }
    }
    tensors
}

/// The parts of an int8 matrix, and the scales of their rows.
fn int8_tensors<'a>(entry: &Entry, matrix: &'a Int8Matrix) -> Vec<Tensor<'a>> {
    let of = |rows: Range<usize>| {
        let scales = Source::Scales(&matrix.scales()[rows.clone()]);
        (Source::Int8(matrix, rows), vec![scales])
    };
    tensors_of_codes(entry, (Codes::Int8, Dtype::I8), |columns| columns, of)
}

/// The parts of a matrix of four bits, and the scales and offsets of their groups.
fn int4_tensors<'a>(entry: &Entry, matrix: &'a Int4Matrix) -> Vec<Tensor<'a>> {
    let of = |rows: Range<usize>| {
        let [scales, offsets] = matrix.grids(rows.clone());
        (Source::Bytes(matrix.codes(rows)), vec![Source::Halves(scales), Source::Halves(offsets)])
    };
    tensors_of_codes(entry, (Codes::Int4, Dtype::U8), |columns| columns / 2, of)
}

/// The codes of each part of a matrix, and what stands beside them; `of` gives both for a range of rows.
fn tensors_of_codes<'a>(
    entry: &Entry,
    (codes, dtype): (Codes, Dtype),
    width: impl Fn(usize) -> usize,
    of: impl Fn(Range<usize>) -> (Source<'a>, Vec<Source<'a>>),
) -> Vec<Tensor<'a>> {
    let &[rows, columns] = &entry.part_shape()[..] else { unreachable!("codes are a matrix's") };
    let mut tensors = Vec::new();
    for (part, name) in entry.hf_names.iter().enumerate() {
        let (source, beside) = of(part * rows..(part + 1) * rows);
        for ((suffix, dtype), source) in codes.beside().iter().zip(beside) {
            let (name, shape) = (format!("{name}{suffix}"), codes.shape_beside([rows, columns]));
            tensors.push(Tensor { name, dtype: *dtype, shape, source });
        }
        tensors.push(Tensor { name: name.clone(), dtype, shape: vec![rows, width(columns)], source });
    }
    tensors
}

/// Writes tensors as one safetensors file; refuses weights that are not finite.
pub(super) fn safetensors(
    path: &Path,
    parameters: &Parameters,
    mut tensors: Vec<Tensor<'_>>,
) -> Result<(), ModelError> {
    let mut problems = Vec::new();
    for index in tensors.iter().flat_map(Tensor::parameters) {
        let values = parameters.data(index);
        if let Some(bad) = values.iter().position(|value| !value.is_finite()) {
            let (name, found) = (parameters.parameter(index).name.clone(), values[bad].to_string());
            problems.push(TensorProblem::NotFinite { name, index: bad, found });
        }
    }
    if !problems.is_empty() {
        let remedy =
            "an earlier checkpoint, then a lower learning rate or clipping: nothing was written".into();
        return Err(ModelError::Weights { path: path.to_owned(), problems, remedy });
    }
    // The format's own order: wide types first, so that every tensor is aligned, then by name.
    tensors.sort_by(|a, b| b.dtype.cmp(&a.dtype).then_with(|| a.name.cmp(&b.name)));
    let mut end = 0;
    let infos = tensors.iter().map(|tensor| {
        let data_offsets = (end, end + tensor.length());
        end = data_offsets.1;
        (tensor.name.clone(), TensorInfo { dtype: tensor.dtype, shape: tensor.shape.clone(), data_offsets })
    });
    // What PyTorch's readers look for.
    let format = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let metadata = Metadata::new(Some(format), infos.collect()).expect("the offsets were laid end to end");
    let mut header = serde_json::to_vec(&metadata).expect("a header of names and numbers is always writable");
    header.resize(header.len().next_multiple_of(8), b' ');

    let fill = |file: &mut File| {
        let mut file = BufWriter::with_capacity(1 << 20, file);
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        tensors.iter().try_for_each(|tensor| tensor.write(&mut file))?;
        file.flush()
    };
    files::replace(path, fill).map_err(ModelError::io(path, "write"))
}

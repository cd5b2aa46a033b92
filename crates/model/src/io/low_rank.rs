//! Matrices that a folder has as two factors: `NAME.up` `[rows, rank]` and `NAME.down` `[rank, columns]` in the place of NAME.
//!
//! config.json names them, `"quantization_config": {"method": "polytask", "low_rank": [["a.weight"], ["q.weight", "k.weight", ..]]}`, so
//! that other programs refuse the folder in place of taking the matrices for missing and drawing them. Tensors that are named together
//! are one matrix of the network, and share the second factor, which is called after the first of them. Readers of a folder get whole
//! matrices, multiplied out; [`load_factors`] puts the factors in their place.

use super::names::{Entry, NameTable};
use super::safetensors_reader::SafetensorsReader;
use super::tensor_reader::{TensorReader, not_finite};
use super::{CONFIG, METHOD, METHOD_KEYS, QUANTIZATION, is_quantized_by_us, read_json};
use crate::error::{ModelError, TensorProblem};
use crate::parameters::{Parameters, multiply};
use burn::tensor::{Device, Tensor, TensorData};
use kernels::Precision;
use safetensors::Dtype;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

const UP: &str = ".up";
const DOWN: &str = ".down";
/// The key below [`QUANTIZATION`].
const LOW_RANK: &str = "low_rank";

/// The names of tensors that are one matrix.
pub(super) type Group = Vec<String>;

/// What config.json says of a folder that was written with codes or factors: `None` of others.
pub(super) fn describe(names: &NameTable, parameters: &Parameters, bits: Option<usize>) -> Option<Value> {
    let is_factorized = |entry: &&Entry| {
        parameters.find(&entry.name).is_some_and(|index| parameters.second_factor(index).is_some())
    };
    let groups: Vec<&Group> =
        names.entries().iter().filter(is_factorized).map(|entry| &entry.hf_names).collect();
    let mut says = json!({ METHOD_KEYS[0]: METHOD });
    if let Some(bits) = bits {
        says["bits"] = bits.into();
    }
    if !groups.is_empty() {
        says[LOW_RANK] = json!(groups);
    }
    (bits.is_some() || !groups.is_empty()).then_some(says)
}

/// The matrices that a config.json names.
pub(super) fn groups(path: &Path, json: &Value) -> Result<Vec<Group>, ModelError> {
    let found = json.get(QUANTIZATION).and_then(|says| says.get(LOW_RANK));
    let (Some(found), true) = (found, is_quantized_by_us(json)) else { return Ok(Vec::new()) };
    let groups: Option<Vec<Group>> = serde_json::from_value(found.clone()).ok();
    let mut names = BTreeSet::new();
    let is_sound = |group: &Group| !group.is_empty() && group.iter().all(|name| names.insert(name.clone()));
    match groups {
        Some(groups) if groups.iter().all(is_sound) => Ok(groups),
        _ => Err(bad_groups(path, found.to_string())),
    }
}

fn bad_groups(path: &Path, found: String) -> ModelError {
    ModelError::Config {
        path: path.to_owned(),
        key: format!("{QUANTIZATION}.{LOW_RANK}"),
        found,
        expected:
            "lists of the names of tensors, each of which is one matrix of the network, every name once"
                .into(),
    }
}

/// The entries of a table as they are in files, with those of both factors in the place of a matrix that is kept as two.
pub(super) fn stored_entries(names: &NameTable, parameters: &Parameters) -> Vec<Entry> {
    let mut entries = Vec::with_capacity(names.entries().len());
    for entry in names.entries() {
        let index = parameters.find(&entry.name).expect("its network made the parameters in this table");
        let Some(down) = parameters.second_factor(index).map(|down| parameters.parameter(down.index()))
        else {
            entries.push(entry.clone());
            continue;
        };
        let ups = entry.hf_names.iter().map(|name| format!("{name}{UP}")).collect();
        let shape = parameters.shape(index);
        entries.push(Entry { hf_names: ups, shape, ..entry.clone() });
        let (name, shape) = (down.name.clone(), down.shape().to_vec());
        let hf_names = vec![format!("{}{DOWN}", entry.hf_names[0])];
        entries.push(Entry { name, hf_names, shape, ..entry.clone() });
    }
    entries
}

/// Whether a folder has matrices as two factors.
///
/// # Errors
/// [`ModelError`]: a config.json that cannot be read.
pub fn is_low_rank(dir: &Path) -> Result<bool, ModelError> {
    let path = dir.join(CONFIG);
    Ok(path.is_file() && !groups(&path, &read_json(&path)?)?.is_empty())
}

/// Puts the factors that a folder has into the place of the matrices of the network that was opened from it; how many these are.
/// [`crate::open`] alone has them multiplied out. Nothing but the network may be in the table.
///
/// # Errors
/// [`ModelError`]: as [`crate::open`].
pub fn load_factors(dir: &Path, names: &NameTable, parameters: &mut Parameters) -> Result<usize, ModelError> {
    let path = dir.join(CONFIG);
    let groups = if path.is_file() { groups(&path, &read_json(&path)?)? } else { Vec::new() };
    if groups.is_empty() {
        return Ok(0);
    }
    // Their numbers were looked at when the network was opened.
    let tensors = LowRankTensors::open(dir, &groups)?;
    for group in &groups {
        let is_it = |entry: &&Entry| entry.hf_names == *group && entry.shape.len() == 2;
        let entry = names.entries().iter().find(is_it);
        let entry = entry.ok_or_else(|| bad_groups(&path, format!("{group:?}")))?;
        let index = parameters.find(&entry.name).expect("its network made the parameters in this table");
        let (mut up, mut down) = (Vec::new(), Vec::new());
        for name in group {
            tensors.of.append(&tensors.factors[name].up, &mut up)?;
        }
        let factors = &tensors.factors[&group[0]];
        tensors.of.append(&factors.down, &mut down)?;
        parameters.factorize(index, up, down, factors.rank);
    }
    Ok(groups.len())
}

/// A folder's tensors, those multiplied out that are two factors.
#[derive(Debug)]
pub(crate) struct LowRankTensors {
    of: SafetensorsReader,
    factors: BTreeMap<String, Factors>,
    plain: BTreeSet<String>,
}

/// A tensor that is two.
#[derive(Debug)]
struct Factors {
    up: String,
    down: String,
    rank: usize,
    shape: [usize; 2],
}

impl LowRankTensors {
    /// Opens a folder in which these matrices are two factors, and checks that these fit each other.
    pub fn open(dir: &Path, groups: &[Group]) -> Result<Self, ModelError> {
        let of = SafetensorsReader::open(dir)?;
        let mut plain: BTreeSet<String> = of.names().map(str::to_owned).collect();
        let mut factors = BTreeMap::new();
        for group in groups {
            let down = format!("{}{DOWN}", group[0]);
            let mut rows = 0;
            for name in group {
                let found = Factors::find(&of, name, &down)?;
                rows += found.shape[0];
                plain.remove(&found.up);
                if plain.contains(name) {
                    return Err(broken(
                        &of,
                        format!("{name} is there whole, and as {} and {down}", found.up),
                    ));
                }
                factors.insert(name.clone(), found);
            }
            plain.remove(&down);
            let Factors { rank, shape: [_, columns], .. } = factors[&group[0]];
            if rank > rows.min(columns) {
                let reason = format!("{down}: found rank {rank} of a matrix of {rows} x {columns}");
                return Err(broken(&of, reason));
            }
        }
        Ok(LowRankTensors { of, factors, plain })
    }

    /// The numbers of a matrix that is two factors, and what is wrong with these.
    fn multiplied(&self, factors: &Factors) -> Result<(Vec<f32>, Option<TensorProblem>), ModelError> {
        let (mut up, mut down) = (Vec::new(), Vec::new());
        let problem = self.of.append(&factors.up, &mut up)?.or(self.of.append(&factors.down, &mut down)?);
        let device = Device::flex();
        let tensor = |values: Vec<f32>, shape: [usize; 2]| {
            Tensor::<2>::from_data(TensorData::new(values, shape), &device)
        };
        let Factors { rank, shape: [rows, columns], .. } = *factors;
        let product = multiply(tensor(up, [rows, rank]), tensor(down, [rank, columns]), Precision::F32);
        Ok((product.into_data().try_into_vec().expect("products are f32"), problem))
    }
}

impl Factors {
    fn find(of: &SafetensorsReader, name: &str, down: &str) -> Result<Self, ModelError> {
        let up = format!("{name}{UP}");
        let shape = |name: &str| match of.shape(name) {
            Some(&[rows, columns]) => Ok([rows, columns]),
            found => {
                let expected = "expected a matrix, which config.json names";
                let found = found.map_or("nothing".to_owned(), |shape| format!("shape {shape:?}"));
                Err(broken(of, format!("{name}: found {found}, {expected}")))
            }
        };
        let ([rows, rank], [inner, columns]) = (shape(&up)?, shape(down)?);
        if rank == 0 || rank != inner {
            let reason = format!(
                "{up}: found shape {:?}, which does not fit the shape {:?} of {down}",
                [rows, rank],
                [inner, columns]
            );
            return Err(broken(of, reason));
        }
        Ok(Factors { up, down: down.to_owned(), rank, shape: [rows, columns] })
    }
}

fn broken(of: &SafetensorsReader, reason: String) -> ModelError {
    let remedy =
        "a config.json and weights that were saved together, by `polytask factorize` or a training".into();
    ModelError::Broken { path: of.path().to_owned(), reason, remedy }
}

impl TensorReader for LowRankTensors {
    fn path(&self) -> &Path {
        self.of.path()
    }

    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.plain.iter().chain(self.factors.keys()).map(String::as_str).collect();
        names.sort_unstable();
        names
    }

    fn shape(&self, name: &str) -> Option<&[usize]> {
        match self.factors.get(name) {
            Some(factors) => Some(&factors.shape),
            None => TensorReader::shape(&self.of, name),
        }
    }

    fn check(&self, name: &str, expected: &[usize]) -> Option<TensorProblem> {
        let Some(factors) = self.factors.get(name) else { return self.of.problem(name, expected) };
        let Factors { up, down, rank, shape: [rows, columns] } = factors;
        if factors.shape != expected {
            let (found, expected) = (factors.shape.to_vec(), expected.to_vec());
            return Some(TensorProblem::Shape { name: name.to_owned(), found, expected });
        }
        self.of.problem(up, &[*rows, *rank]).or_else(|| self.of.problem(down, &[*rank, *columns]))
    }

    fn raw(&self, name: &str) -> Result<(Dtype, Vec<usize>, Vec<u8>), ModelError> {
        let Some(factors) = self.factors.get(name) else { return self.of.raw(name) };
        let (values, _) = self.multiplied(factors)?;
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        Ok((Dtype::F32, factors.shape.to_vec(), bytes))
    }

    fn append(&self, name: &str, values: &mut Vec<f32>) -> Result<Option<TensorProblem>, ModelError> {
        let Some(factors) = self.factors.get(name) else { return self.of.append(name, values) };
        let (product, problem) = self.multiplied(factors)?;
        let first = values.len();
        values.extend(product);
        Ok(problem.or_else(|| not_finite(name, values, first)))
    }
}

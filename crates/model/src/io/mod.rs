//! Folders in Hugging Face layout: `config.json`, `model.safetensors` (or shards with an index), and our `heads.safetensors`; and GGUF
//! files as if they were such folders.

mod adapters;
pub(crate) mod config_reader;
mod fewer_layers;
mod gguf;
#[cfg(feature = "hub")]
pub mod hub;
mod low_rank;
pub(crate) mod names;
mod quantized;
mod safetensors_reader;
mod saved_adapters;
mod saved_tensors;
mod tensor_reader;
mod write;

use crate::backbones::{Backbone, OPENERS, is_decoder, supported};
use crate::error::{ModelError, TensorProblem};
use crate::init::Init;
use crate::parameters::{Parameters, Role};
use crate::trunk::Trunk;
pub use adapters::{adapter_folder, load_adapters, save_adapters};
pub(crate) use fewer_layers::keep_layers;
pub use fewer_layers::kept_layers;
pub(crate) use gguf::GgufModel;
use gguf::GgufReader;
pub use gguf::{GgufQuantization, save_gguf, save_gguf_adapter};
pub(crate) use low_rank::LowRankTensors;
pub use low_rank::{is_low_rank, load_factors};
use names::NameTable;
pub(crate) use safetensors_reader::SafetensorsReader;
pub(crate) use saved_adapters::SavedAdapters;
pub use saved_tensors::SavedTensors;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
pub(crate) use tensor_reader::{TensorReader, Weights, not_finite};

/// A tensor of a checkpoint that the backbone does not use: carried from file to file as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassthroughTensor {
    /// Its name, without the architecture's prefix.
    pub name: String,
    /// The type of its numbers.
    pub dtype: safetensors::Dtype,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its bytes, little-endian.
    pub bytes: Arc<[u8]>,
}

/// The heads' file in a run's `model/`.
const HEADS: &str = "heads.safetensors";
/// The file of a trunk's parameters beside its backbone's.
const SHARING: &str = "sharing.safetensors";
/// The file of a decoder that is not part of a backbone.
const DECODER: &str = "decoder.safetensors";
const CONFIG: &str = "config.json";
/// The key of config.json that says how weights are kept, and what it says of ours: matrices as codes (`quantized.rs`), and as two
/// factors (`low_rank.rs`).
const QUANTIZATION: &str = "quantization_config";
const METHOD: &str = "polytask";
/// The keys below it that name the method: that of today, and that of older folders. Of a `quant_method` that transformers does not know
/// it warns and takes bytes for weights; without one it refuses the folder.
const METHOD_KEYS: [&str; 2] = ["method", "quant_method"];
/// No sensible config.json is longer.
const MAX_JSON_BYTES: u64 = 16 << 20;

/// A folder in Hugging Face layout whose config.json has been read, or a GGUF file whose metadata has.
pub(crate) struct Checkpoint<'a> {
    /// Where its tensors are.
    pub weights: Weights<'a>,
    /// Its config.json, or the GGUF file.
    pub path: &'a Path,
    /// What that says.
    pub json: Value,
    /// A dropout rate in place of what it says.
    pub dropout: Option<f32>,
}

/// As [`open`], with only `layers` of the layers, evenly spread; gives these, too. The network is a smaller one of the same sort: its
/// config.json says so many layers.
///
/// # Errors
/// Those of [`open`]; more layers than there are, or a network whose layers cannot be left out.
pub fn open_layers(
    dir: &Path,
    parameters: &mut Parameters,
    dropout: Option<f32>,
    layers: usize,
) -> Result<(Box<dyn Backbone>, Vec<usize>), ModelError> {
    let (weights, mut json, path) = checkpoint(dir)?;
    if let Weights::LowRank(..) = weights {
        let expected =
            "a model whose matrices are whole: its layers are two factors each; keep all of them".into();
        return Err(ModelError::KeptLayers { found: layers, expected });
    }
    let kept = fewer_layers::reduce_config(&path, &mut json, layers)?;
    let weights = Weights::Layers(Box::new(weights), kept.clone());
    Ok((open_checkpoint(Checkpoint { weights, path: &path, json, dropout }, parameters)?, kept))
}

/// Opens a folder in Hugging Face layout, a GGUF file (`*.gguf`), or a folder without config.json that holds exactly one, and adds its
/// weights to the table as f32. `dropout` overrides what its config.json says. Weights of task heads in the file are left out and told in [`crate::BackboneSpec::notes`].
///
/// # Errors
/// [`ModelError`]: a missing or unreadable file, an unsupported architecture or option, broken bytes, and every tensor that is
/// missing, misshapen, not finite, or where the sizes in config.json leave no place for it. After an error the table may
/// not be used.
pub fn open(
    dir: &Path,
    parameters: &mut Parameters,
    dropout: Option<f32>,
) -> Result<Box<dyn Backbone>, ModelError> {
    let (weights, json, path) = checkpoint(dir)?;
    open_checkpoint(Checkpoint { weights, path: &path, json, dropout }, parameters)
}

/// The weights of a model, its config.json, and the file with the latter.
fn checkpoint(dir: &Path) -> Result<(Weights<'_>, Value, PathBuf), ModelError> {
    let gguf = ::gguf::of_model(dir).map_err(|error| gguf::from_gguf(dir, error))?;
    if let Some(file) = gguf {
        let (reader, json) = GgufReader::open(&file)?;
        return Ok((Weights::Gguf(reader), json, file));
    }
    let path = dir.join(CONFIG);
    if !path.is_file() {
        return Err(no_config(dir));
    }
    let mut json = read_json(&path)?;
    let groups = low_rank::groups(&path, &json)?;
    if is_quantized_by_us(&json)
        && let Some(keys) = json.as_object_mut()
    {
        keys.remove(QUANTIZATION);
    }
    let weights = if groups.is_empty() { Weights::Folder(dir) } else { Weights::LowRank(dir, groups) };
    Ok((weights, json, path))
}

pub(crate) fn open_checkpoint(
    checkpoint: Checkpoint<'_>,
    parameters: &mut Parameters,
) -> Result<Box<dyn Backbone>, ModelError> {
    let json = &checkpoint.json;
    let found = json.get("model_type").and_then(Value::as_str).unwrap_or_default();
    let Some((_, open)) = OPENERS.iter().find(|(types, _)| types.contains(&found)) else {
        let reader = config_reader::ConfigReader { path: checkpoint.path, json };
        return Err(reader.error("model_type", format!("one of {}", supported())));
    };
    open(checkpoint, parameters)
}

/// Keeps the matrices as codes that a folder has as codes, none of which is trained from then on; how many there are. [`open`] alone has
/// them as f32.
///
/// # Errors
/// [`ModelError`]: as [`open`].
pub fn pack_quantized(dir: &Path, trunk: &Trunk, parameters: &mut Parameters) -> Result<usize, ModelError> {
    let path = dir.join(CONFIG);
    if !path.is_file() || !is_quantized_by_us(&read_json(&path)?) {
        return Ok(0);
    }
    let reader = SafetensorsReader::open(dir)?;
    let mut packed = 0;
    for entry in low_rank::stored_entries(&trunk.spec().names, parameters) {
        let index = parameters.find(&entry.name).expect("its network made the parameters in this table");
        let Some(matrix) = reader.quantized(&entry.hf_names)? else { continue };
        let matrix = matrix.map_err(|problem| {
            let remedy = "quantizing the model again".into();
            ModelError::Weights { path: reader.path().to_owned(), problems: vec![problem], remedy }
        })?;
        parameters.set_trainable(index, false);
        parameters.set_packed(index, matrix);
        packed += 1;
    }
    Ok(packed)
}

fn is_quantized_by_us(json: &Value) -> bool {
    let says =
        |key: &str| json.get(QUANTIZATION).and_then(|found| found.get(key)).is_some_and(|by| by == METHOD);
    METHOD_KEYS.iter().any(|key| says(key))
}

fn no_config(dir: &Path) -> ModelError {
    let remedy = "a folder that holds config.json, model.safetensors and tokenizer.json, a GGUF file, or \"hf:owner/name\" for a \
                  model of the Hugging Face Hub"
        .into();
    let reason = if dir.is_dir() { "the folder has no config.json" } else { "there is no such folder" };
    ModelError::NotAModel { path: dir.to_owned(), reason: reason.into(), remedy }
}

/// Whether a folder or a GGUF file holds a network in which a token sees none after it, as far as it says so: [`open`] tells what is wrong
/// with one that cannot be read.
pub fn is_causal(dir: &Path) -> bool {
    if let Ok(Some(_)) = ::gguf::of_model(dir) {
        // There are decoders alone.
        return true;
    }
    let json = read_json(&dir.join(CONFIG)).unwrap_or_default();
    json.get("model_type").and_then(Value::as_str).is_some_and(is_decoder)
}

/// First values that were read, by the names of the parameters.
pub(crate) fn first_values(mut values: HashMap<String, Vec<f32>>) -> impl FnMut(&str, Init) -> Init {
    move |name, _| Init::Data(values.remove(name).expect("every entry of the table was read"))
}

/// Names as they are: no prefix, and every tensor is the network's own.
pub(crate) const PLAIN: TensorNaming = TensorNaming { prefix: "", own: &[""], copies: &[] };

/// What the tensors of a file are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TensorNaming {
    /// What stands before every name when the network was saved inside a larger model.
    pub prefix: &'static str,
    /// Only tensors of the network itself begin with one of these; what else a file holds belongs to somebody's head.
    pub own: &'static [&'static str],
    /// Names of tensors that say nothing new, and are passed over.
    pub copies: &'static [&'static str],
}

/// What a checkpoint holds beside the network's parameters.
#[derive(Default)]
pub(crate) struct UnusedTensors {
    pub passthrough: Vec<PassthroughTensor>,
    pub notes: Vec<String>,
}

/// Reads every parameter of the table; all problems with tensors are reported at once.
pub(crate) fn read(
    reader: &dyn TensorReader,
    names: &NameTable,
    layout: TensorNaming,
) -> Result<(HashMap<String, Vec<f32>>, UnusedTensors), ModelError> {
    let found = Found::resolve(reader, names, layout);
    let mut problems = found.problems;
    // Shapes first, and only then any memory: config.json may claim sizes that the file does not have.
    for entry in names.entries() {
        let expected = entry.part_shape();
        for name in &entry.hf_names {
            match found.real.get(name.as_str()) {
                None => {
                    problems.push(TensorProblem::Missing { name: name.clone(), expected: expected.clone() })
                }
                Some(real) => problems.extend(reader.check(real, &expected)),
            }
        }
    }
    if !problems.is_empty() {
        return Err(weights(reader, names, problems));
    }
    let mut values = HashMap::new();
    for entry in names.entries() {
        let mut stacked = Vec::with_capacity(entry.shape.iter().product());
        for name in &entry.hf_names {
            let real = found.real.get(name.as_str()).expect("missing tensors were reported above");
            problems.extend(reader.append(real, &mut stacked)?);
        }
        values.insert(entry.name.clone(), stacked);
    }
    if !problems.is_empty() {
        return Err(weights(reader, names, problems));
    }
    let mut rest = UnusedTensors::default();
    for (name, real) in found.kept {
        let (dtype, shape, bytes) = reader.raw(&real)?;
        rest.passthrough.push(PassthroughTensor { name, dtype, shape, bytes: bytes.into() });
    }
    if !found.left_out.is_empty() {
        let shown = found.left_out.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        let more = if found.left_out.len() > 4 { ", ..." } else { "" };
        rest.notes.push(format!(
            "{}: left out {} tensors that belong to another head: {shown}{more}",
            reader.path().display(),
            found.left_out.len()
        ));
    }
    Ok((values, rest))
}

fn weights(reader: &dyn TensorReader, names: &NameTable, problems: Vec<TensorProblem>) -> ModelError {
    let damaged = problems.iter().all(|p| matches!(p, TensorProblem::NotFinite { .. }));
    let missing = problems.iter().filter(|p| matches!(p, TensorProblem::Missing { .. })).count();
    let elsewhere = other_prefix(reader, names).filter(|_| missing * 2 > names.hf_names().count());
    let remedy = match elsewhere {
        _ if damaged => {
            "another copy or an earlier checkpoint: training from such weights cannot recover".into()
        }
        Some(prefix) => format!(
            "saving that part alone, in Python: the weights are there under `{prefix}`, inside of a larger model; its attribute of that name has a save_pretrained(DIR)"
        ),
        None => "a config.json and weights that were saved together, by one save_pretrained".into(),
    };
    ModelError::Weights { path: reader.path().to_owned(), problems, remedy }
}

/// The prefix under which a file has every name of the table, where that is none of the architecture's.
fn other_prefix(reader: &dyn TensorReader, names: &NameTable) -> Option<String> {
    let first = names.hf_names().next()?;
    let prefixes =
        reader.names().into_iter().filter_map(|real| modern(real).strip_suffix(first).map(str::to_owned));
    let real: HashSet<String> = reader.names().into_iter().map(modern).collect();
    let has_all = |prefix: &String| names.hf_names().all(|name| real.contains(&format!("{prefix}{name}")));
    prefixes.filter(|prefix| prefix.ends_with('.')).find(has_all)
}

/// Which tensor of the file stands for which name of the table.
struct Found<'a> {
    real: HashMap<&'a str, String>,
    kept: Vec<(String, String)>,
    left_out: Vec<String>,
    problems: Vec<TensorProblem>,
}

impl<'a> Found<'a> {
    fn resolve(reader: &dyn TensorReader, names: &'a NameTable, layout: TensorNaming) -> Self {
        let mut found = Self { real: HashMap::new(), kept: vec![], left_out: vec![], problems: vec![] };
        let wanted: HashMap<&str, &'a str> = names.hf_names().map(|name| (name, name)).collect();
        for real in reader.names() {
            let bare = real.strip_prefix(layout.prefix).unwrap_or(real);
            let modern = modern(bare);
            if let Some(name) = wanted.get(modern.as_str()) {
                // The bare name wins over the same one inside a larger model.
                if bare == real || !found.real.contains_key(name) {
                    found.real.insert(name, real.to_owned());
                }
            } else if bare.starts_with("pooler.") {
                found.kept.push((bare.to_owned(), real.to_owned()));
            } else if bare.ends_with("position_ids") || bare.ends_with("token_type_ids") {
                // Buffers that older versions of transformers saved: 0, 1, 2, ...
            } else if layout.copies.contains(&bare) {
                // Tied to another tensor, which is read.
            } else if layout.own.iter().any(|own| bare.starts_with(own)) {
                let shape = reader.shape(real).unwrap_or_default().to_vec();
                found.problems.push(TensorProblem::Unknown { name: real.to_owned(), found: shape });
            } else {
                found.left_out.push(real.to_owned());
            }
        }
        found
    }
}

/// Norms' weights and biases were called gamma and beta once.
fn modern(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((norm, "gamma")) => format!("{norm}.weight"),
        Some((norm, "beta")) => format!("{norm}.bias"),
        _ => name.to_owned(),
    }
}

/// Writes a trunk into `dir`, which is made if need be: `config.json` and `model.safetensors` with the backbone's parameters under the
/// checkpoint's names, without prefix, in f32, and what the backbone passes through; and in `sharing.safetensors`, where there are
/// any, the parameters that no other library has a place for: those of the sharing scheme, and the dataset embedding. Each file
/// appears whole or not at all.
///
/// # Errors
/// [`ModelError::Io`]; [`ModelError::Weights`] if a weight is not finite: such a model is never written.
pub fn save(dir: &Path, trunk: &Trunk, parameters: &Parameters) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    let mut json = trunk.spec().config_json.clone();
    let bits = (0..parameters.len()).filter_map(|index| parameters.packed(index)?.code_bits()).min();
    if let (Some(says), Some(keys)) =
        (low_rank::describe(&trunk.spec().names, parameters, bits), json.as_object_mut())
    {
        // Who does not know the method must not take bytes for weights, nor miss what is two factors.
        keys.insert(QUANTIZATION.into(), says);
    }
    let mut json = serde_json::to_string_pretty(&json).expect("a JSON value is always writable");
    json.push('\n');
    let tensors = write::backbone(trunk.spec(), parameters);
    write::safetensors(&dir.join("model.safetensors"), parameters, tensors)?;
    let added = plain_names(parameters, |index| trunk.adds(parameters, index));
    if !added.entries().is_empty() {
        write::safetensors(&dir.join(SHARING), parameters, write::named(&added, parameters))?;
    }
    let config = dir.join(CONFIG);
    files::write(&config, json.as_bytes()).map_err(ModelError::io(&config, "write"))
}

/// Reads `sharing.safetensors` in `dir` into the parameters that the trunk has beside its backbone's, where it has some. The file must
/// hold exactly these.
///
/// # Errors
/// [`ModelError`]: as [`open`]. After an error the table is as it was.
pub fn load_sharing(dir: &Path, trunk: &Trunk, parameters: &mut Parameters) -> Result<(), ModelError> {
    let names = plain_names(parameters, |index| trunk.adds(parameters, index));
    if names.entries().is_empty() {
        return Ok(());
    }
    set(parameters, read(&SafetensorsReader::open_file(&dir.join(SHARING))?, &names, PLAIN)?.0)
}

/// Whether a folder holds parameters that [`open`] alone does not read.
pub fn has_sharing(dir: &Path) -> bool {
    dir.join(SHARING).is_file()
}

/// Writes every head's parameters, by their own names, into `heads.safetensors` in `dir`.
///
/// # Errors
/// As [`save`].
pub fn save_heads(dir: &Path, parameters: &Parameters) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    write::safetensors(&dir.join(HEADS), parameters, write::named(&names_of_heads(parameters), parameters))
}

/// Reads `heads.safetensors` in `dir` into the heads' parameters of the table. The file must hold exactly these.
///
/// # Errors
/// [`ModelError`]: as [`open`]. After an error the table is as it was.
pub fn load_heads(dir: &Path, parameters: &mut Parameters) -> Result<(), ModelError> {
    let names = names_of_heads(parameters);
    set(parameters, read(&SafetensorsReader::open_file(&dir.join(HEADS))?, &names, PLAIN)?.0)
}

/// As [`load_heads`], of the heads of some tasks; the file may hold others.
///
/// # Errors
/// [`ModelError`]: as [`open`]. After an error the table is as it was.
pub fn load_heads_of(dir: &Path, tasks: &[&str], parameters: &mut Parameters) -> Result<(), ModelError> {
    let names = plain_names(parameters, |index| {
        let parameter = parameters.parameter(index);
        let is_wanted = parameter.owner.first_task().is_some_and(|task| tasks.contains(&task));
        parameter.role == Role::Head && is_wanted
    });
    let others = TensorNaming { own: &[], ..PLAIN };
    set(parameters, read(&SafetensorsReader::open_file(&dir.join(HEADS))?, &names, others)?.0)
}

fn names_of_heads(parameters: &Parameters) -> NameTable {
    plain_names(parameters, |index| parameters.parameter(index).role == Role::Head)
}

/// Some parameters, called in their file as in the table.
fn plain_names(parameters: &Parameters, wanted: impl Fn(usize) -> bool) -> NameTable {
    let mut names = NameTable::default();
    for index in (0..parameters.len()).filter(|index| wanted(*index)) {
        let parameter = parameters.parameter(index);
        names.push_plain(&parameter.name, parameter.shape());
    }
    names
}

/// Writes the parameters of a decoder that is not part of a backbone, called as in T5, into `decoder.safetensors` in `dir`.
///
/// # Errors
/// As [`save`].
pub fn save_decoder(dir: &Path, names: &NameTable, parameters: &Parameters) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    write::safetensors(&dir.join(DECODER), parameters, write::named(names, parameters))
}

/// Reads `decoder.safetensors` in `dir` into the parameters of a decoder. The file must hold exactly these.
///
/// # Errors
/// [`ModelError`]: as [`open`]. After an error the table is as it was.
pub fn load_decoder(dir: &Path, names: &NameTable, parameters: &mut Parameters) -> Result<(), ModelError> {
    set(parameters, read(&SafetensorsReader::open_file(&dir.join(DECODER))?, names, PLAIN)?.0)
}

/// Gives parameters the values that were read for them.
fn set(parameters: &mut Parameters, values: HashMap<String, Vec<f32>>) -> Result<(), ModelError> {
    for (name, values) in values {
        let index = parameters.find(&name).expect("the names come from this table");
        parameters.set_data(index, values)?;
    }
    Ok(())
}

/// A JSON file of bounded length.
pub(crate) fn read_json(path: &Path) -> Result<Value, ModelError> {
    let file = files::open(path).map_err(ModelError::io(path, "read"))?;
    let mut text = Vec::new();
    file.take(MAX_JSON_BYTES).read_to_end(&mut text).map_err(ModelError::io(path, "read"))?;
    let json = serde_json::from_slice::<Value>(&text).map_err(|error| error.to_string());
    json.and_then(|json| if json.is_object() { Ok(json) } else { Err("found no JSON object".into()) })
        .map_err(|reason| {
            let remedy = "a fresh copy of the file".into();
            ModelError::Broken { path: path.to_owned(), reason: format!("not valid JSON: {reason}"), remedy }
        })
}

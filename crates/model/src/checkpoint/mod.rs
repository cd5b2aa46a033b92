//! Folders in Hugging Face layout: `config.json`, `model.safetensors` (or shards with an index), and our `heads.safetensors`.

mod archive;
mod write;

use crate::backbone::bag::{self, Bag, BagConfig};
use crate::backbone::bert::architecture;
use crate::backbone::bert::{Bert, Settings};
use crate::backbone::t5::{self, T5};
use crate::backbone::{Backbone, corpora};
use crate::decoder::Decoder;
use crate::error::{ModelError, TensorProblem};
use crate::init::Init;
use crate::names::NameTable;
use crate::parameters::{Group, Parameters};
use archive::Archive;
use serde_json::Value;
use std::collections::HashMap;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// A tensor of a checkpoint that the backbone does not use: carried from file to file as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
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
/// The file of the vectors of corpora.
const CORPORA: &str = "corpora.safetensors";
/// The file of a decoder that is not part of a backbone.
const DECODER: &str = "decoder.safetensors";
const CONFIG: &str = "config.json";
/// No sensible config.json is longer.
const LONGEST_JSON: u64 = 16 << 20;

/// What `model_type` may be, for messages.
pub(crate) fn supported() -> String {
    let mut names: Vec<_> = architecture::ALL.iter().map(|a| a.model_type).collect();
    names.extend(t5::MODEL_TYPES);
    names.push(bag::MODEL_TYPE);
    names.join(", ")
}

/// Opens a folder in Hugging Face layout and adds its weights to the table as f32. `dropout` overrides what its
/// config.json says. Weights of task heads in the file are left out and told in [`Backbone::notes`].
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
    let path = dir.join(CONFIG);
    if !path.is_file() {
        let remedy =
            "a folder that holds config.json, model.safetensors and tokenizer.json, or \"hf:owner/name\" \
                      for a model of the Hugging Face Hub"
                .into();
        let reason = if dir.is_dir() { "the folder has no config.json" } else { "there is no such folder" };
        return Err(ModelError::NotAModel { path: dir.to_owned(), reason: reason.into(), remedy });
    }
    let json = read_json(&path)?;
    match json.get("model_type").and_then(Value::as_str).unwrap_or_default() {
        bag::MODEL_TYPE => return open_bag(dir, &path, json, parameters, dropout),
        found if t5::MODEL_TYPES.contains(&found) => return open_t5(dir, &path, json, parameters, dropout),
        _ => {}
    }
    let settings = Settings::from_json(&path, json, dropout)?;
    let names = settings.names();
    let archive = Archive::open(dir)?;
    let (values, rest) = read(&archive, &names, settings.architecture.layout())?;
    let mut first = first_values(values);
    let mut bert = Bert::assemble(settings, names, parameters, &mut first);
    (bert.kept, bert.notes) = (rest.kept, rest.notes);
    Ok(Box::new(bert))
}

/// First values that were read, by the names of the parameters.
fn first_values(mut values: HashMap<String, Vec<f32>>) -> impl FnMut(&str, Init) -> Init {
    move |name, _| Init::Data(values.remove(name).expect("every entry of the table was read"))
}

fn open_t5(
    dir: &Path,
    path: &Path,
    json: Value,
    parameters: &mut Parameters,
    dropout: Option<f32>,
) -> Result<Box<dyn Backbone>, ModelError> {
    let archive = Archive::open(dir)?;
    let output = archive.names().any(|name| name == "lm_head.weight");
    let settings = t5::Settings::from_json(path, json, output, dropout)?;
    let names = settings.names();
    let own = &["encoder.", "decoder.", "shared.", "lm_head."];
    let layout = Layout { prefix: "", own, copies: settings.copies() };
    let (values, rest) = read(&archive, &names, layout)?;
    let mut first = first_values(values);
    let mut t5 = T5::assemble(settings, names, parameters, &mut first);
    (t5.kept, t5.notes) = (rest.kept, rest.notes);
    Ok(Box::new(t5))
}

fn open_bag(
    dir: &Path,
    path: &Path,
    mut json: Value,
    parameters: &mut Parameters,
    dropout: Option<f32>,
) -> Result<Box<dyn Backbone>, ModelError> {
    let wrong = |key: &str, found: String, expected: &str| {
        let expected = expected.to_owned();
        ModelError::Config { path: path.to_owned(), key: key.to_owned(), found, expected }
    };
    let removed = json.as_object_mut().and_then(|map| {
        map.remove("model_type");
        map.remove("vocab_size")
    });
    let vocabulary = removed.as_ref().and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let vocabulary =
        vocabulary.ok_or_else(|| wrong("vocab_size", format!("{removed:?}"), "a whole number"))?;
    let mut config: BagConfig = serde_json::from_value(json)
        .map_err(|error| wrong("the sizes", error.to_string(), "width, window, dropout and max_length"))?;
    config.dropout = dropout.unwrap_or(config.dropout);
    let names = Bag::names(&config, vocabulary)
        .map_err(|error| wrong("the sizes", error.to_string(), "what polytask writes"))?;
    let (values, _) = read(&Archive::open(dir)?, &names, PLAIN)?;
    let mut first = first_values(values);
    Ok(Box::new(Bag::assemble(&config, vocabulary, names, parameters, &mut first)))
}

/// Names as they are: no prefix, and every tensor is the network's own.
const PLAIN: Layout = Layout { prefix: "", own: &[""], copies: &[] };

/// What the tensors of a file are called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// What stands before every name when the network was saved inside a larger model.
    pub prefix: &'static str,
    /// Only tensors of the network itself begin with one of these; what else a file holds belongs to somebody's head.
    pub own: &'static [&'static str],
    /// Names of tensors that say nothing new, and are passed over.
    pub copies: &'static [&'static str],
}

/// What a checkpoint holds beside the network's parameters.
#[derive(Default)]
struct Rest {
    kept: Vec<Kept>,
    notes: Vec<String>,
}

/// Reads every parameter of the table; all problems with tensors are reported at once.
fn read(
    archive: &Archive,
    names: &NameTable,
    layout: Layout,
) -> Result<(HashMap<String, Vec<f32>>, Rest), ModelError> {
    let found = Found::resolve(archive, names, layout);
    let mut problems = found.problems;
    // Shapes first, and only then any memory: config.json may claim sizes that the file does not have.
    for entry in names.entries() {
        let expected = entry.part_shape();
        for name in &entry.theirs {
            match found.real.get(name.as_str()).and_then(|real| archive.info(real).map(|info| (real, info))) {
                None => {
                    problems.push(TensorProblem::Missing { name: name.clone(), expected: expected.clone() })
                }
                Some((real, info)) => problems.extend(archive::check(real, info, &expected)),
            }
        }
    }
    if !problems.is_empty() {
        return Err(weights(archive, problems));
    }
    let mut values = HashMap::new();
    for entry in names.entries() {
        let mut stacked = Vec::with_capacity(entry.shape.iter().product());
        for name in &entry.theirs {
            let real = found.real.get(name.as_str()).expect("missing tensors were reported above");
            problems.extend(archive.append(real, &mut stacked)?);
        }
        values.insert(entry.ours.clone(), stacked);
    }
    if !problems.is_empty() {
        return Err(weights(archive, problems));
    }
    let mut rest = Rest::default();
    for (name, real) in found.kept {
        let (dtype, shape, bytes) = archive.raw(&real)?;
        rest.kept.push(Kept { name, dtype, shape, bytes: bytes.into() });
    }
    if !found.left_out.is_empty() {
        let shown = found.left_out.iter().take(4).cloned().collect::<Vec<_>>().join(", ");
        let more = if found.left_out.len() > 4 { ", ..." } else { "" };
        rest.notes.push(format!(
            "{}: left out {} tensors that belong to another head: {shown}{more}",
            archive.path().display(),
            found.left_out.len()
        ));
    }
    Ok((values, rest))
}

fn weights(archive: &Archive, problems: Vec<TensorProblem>) -> ModelError {
    let damaged = problems.iter().all(|p| matches!(p, TensorProblem::NotFinite { .. }));
    let remedy = if damaged {
        "another copy or an earlier checkpoint: training from such weights cannot recover"
    } else {
        "a config.json and weights that were saved together, by one save_pretrained"
    };
    ModelError::Weights { path: archive.path().to_owned(), problems, remedy: remedy.into() }
}

/// Which tensor of the file stands for which name of the table.
struct Found<'a> {
    real: HashMap<&'a str, String>,
    kept: Vec<(String, String)>,
    left_out: Vec<String>,
    problems: Vec<TensorProblem>,
}

impl<'a> Found<'a> {
    fn resolve(archive: &Archive, names: &'a NameTable, layout: Layout) -> Self {
        let mut found = Self { real: HashMap::new(), kept: vec![], left_out: vec![], problems: vec![] };
        let wanted: HashMap<&str, &'a str> = names.theirs().map(|name| (name, name)).collect();
        for real in archive.names() {
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
                let shape = archive.info(real).map(|info| info.shape.clone()).unwrap_or_default();
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

/// Writes `config.json` and `model.safetensors` into `dir`, which is made if need be: the trunk's parameters under the
/// checkpoint's names, without prefix, in f32, and what the backbone kept. Each file appears whole or not at all.
///
/// # Errors
/// [`ModelError::Io`]; [`ModelError::Weights`] if a weight is not finite: such a model is never written.
pub fn save(dir: &Path, backbone: &dyn Backbone, parameters: &Parameters) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    let mut json =
        serde_json::to_string_pretty(&backbone.config_json()).expect("a JSON value is always writable");
    json.push('\n');
    let tensors = write::trunk(backbone, parameters);
    write::safetensors(&dir.join("model.safetensors"), parameters, tensors)?;
    write::bytes(&dir.join(CONFIG), json.as_bytes())
}

/// Writes every head's parameters, by their own names, into `heads.safetensors` in `dir`.
///
/// # Errors
/// As [`save`].
pub fn save_heads(dir: &Path, parameters: &Parameters) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    write::safetensors(&dir.join(HEADS), parameters, write::heads(parameters))
}

/// Reads `heads.safetensors` in `dir` into the heads' parameters of the table. The file must hold exactly these.
///
/// # Errors
/// [`ModelError`]: as [`open`]. After an error the table is as it was.
pub fn load_heads(dir: &Path, parameters: &mut Parameters) -> Result<(), ModelError> {
    let mut names = NameTable::default();
    for p in parameters.iter().filter(|p| matches!(p.group, Group::Task(_))) {
        names.push(p.name.clone(), [p.name.clone()], p.shape());
    }
    set(parameters, read(&Archive::open_file(&dir.join(HEADS))?, &names, PLAIN)?.0)
}

/// Writes the parameters of a decoder that is not part of a backbone, called as in T5, into `decoder.safetensors` in `dir`.
///
/// # Errors
/// As [`save`].
pub fn save_decoder(dir: &Path, decoder: &Decoder, parameters: &Parameters) -> Result<(), ModelError> {
    std::fs::create_dir_all(dir).map_err(ModelError::io(dir, "create"))?;
    write::safetensors(&dir.join(DECODER), parameters, write::named(&decoder.names(), parameters))
}

/// Reads `decoder.safetensors` in `dir` into the parameters of a decoder. The file must hold exactly these.
///
/// # Errors
/// [`ModelError`]: as [`open`]. After an error the table is as it was.
pub fn load_decoder(dir: &Path, decoder: &Decoder, parameters: &mut Parameters) -> Result<(), ModelError> {
    set(parameters, read(&Archive::open_file(&dir.join(DECODER))?, &decoder.names(), PLAIN)?.0)
}

/// Writes the table of the vectors of corpora into `corpora.safetensors` in `dir`, where the backbone has one: no library that
/// opens `model.safetensors` has a place for it.
///
/// # Errors
/// As [`save`].
pub fn save_corpora(dir: &Path, backbone: &dyn Backbone, parameters: &Parameters) -> Result<(), ModelError> {
    let Some(table) = backbone.corpora() else { return Ok(()) };
    let names = corpora_names(parameters.parameter(table.index()).shape());
    write::safetensors(&dir.join(CORPORA), parameters, write::named(&names, parameters))
}

/// Reads `corpora.safetensors` in `dir` into the table of the vectors of corpora, where the backbone has one. The file must hold
/// exactly this.
///
/// # Errors
/// [`ModelError`]: as [`open`]. After an error the table is as it was.
pub fn load_corpora(
    dir: &Path,
    backbone: &dyn Backbone,
    parameters: &mut Parameters,
) -> Result<(), ModelError> {
    let Some(table) = backbone.corpora() else { return Ok(()) };
    let names = corpora_names(parameters.parameter(table.index()).shape());
    set(parameters, read(&Archive::open_file(&dir.join(CORPORA))?, &names, PLAIN)?.0)
}

/// Whether a folder holds vectors of corpora, which [`open`] alone does not read.
pub fn has_corpora(dir: &Path) -> bool {
    dir.join(CORPORA).is_file()
}

fn corpora_names(shape: &[usize]) -> NameTable {
    let mut names = NameTable::default();
    names.push(corpora::NAME, ["corpora"], shape);
    names
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
    let file = std::fs::File::open(path).map_err(ModelError::io(path, "read"))?;
    let mut text = Vec::new();
    file.take(LONGEST_JSON).read_to_end(&mut text).map_err(ModelError::io(path, "read"))?;
    let json = serde_json::from_slice::<Value>(&text).map_err(|error| error.to_string());
    json.and_then(|json| if json.is_object() { Ok(json) } else { Err("found no JSON object".into()) })
        .map_err(|reason| {
            let remedy = "a fresh copy of the file".into();
            ModelError::Broken { path: path.to_owned(), reason: format!("not valid JSON: {reason}"), remedy }
        })
}

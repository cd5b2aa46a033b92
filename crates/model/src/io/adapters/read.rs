//! Reading an adapter: every tensor of the file must have a place in the scheme, and every module of the adapter all its tensors.

use super::{ADAPTER_CONFIG, ADAPTER_WEIGHTS, OF_MODEL, OF_MODULES, no_adapter, settings};
use crate::error::{ModelError, TensorProblem};
use crate::io::config_reader::{ConfigReader, shortened};
use crate::io::read_json;
use crate::io::safetensors_reader::{SafetensorsReader, check};
use crate::parameters::Parameters;
use crate::sharing::{PeftAdapter, PeftTensor, Site};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;

/// The values of parameters, by their index in the table.
type Values = Vec<(usize, Vec<f32>)>;

/// Reads a folder.
pub(super) fn adapter(
    folder: &Path,
    scheme: &str,
    adapter: &PeftAdapter,
    modules: &BTreeMap<Site, String>,
    parameters: &Parameters,
) -> Result<Values, ModelError> {
    let (config, weights) = (folder.join(ADAPTER_CONFIG), folder.join(ADAPTER_WEIGHTS));
    if !config.is_file() || !weights.is_file() {
        return Err(no_adapter(folder));
    }
    let json = read_json(&config)?;
    let read = ConfigReader { path: &config, json: &json };
    settings::check(&read, scheme, adapter)?;
    let reader = SafetensorsReader::open_file(&weights)?;
    let names = Names::of(&reader, adapter, modules);
    let listed = listed(&json, modules);
    let is_ours = |site: &&Site| adapter.tensors.iter().any(|tensor| tensor.site == Some(**site));
    let left_out = listed.iter().find(|site| !is_ours(site)).map(|site| &modules[site]);
    if let Some(module) = names.strangers.first().or(left_out) {
        return Err(stranger(&read, scheme, module, adapter, modules));
    }
    let wanted = wanted(&listed, &names, adapter);
    let mut problems = Vec::new();
    for tensor in &wanted {
        match names.real.get(&key(tensor)).and_then(|real| Some((real, reader.info(real)?))) {
            Some((real, info)) => problems.extend(check(real, info, &tensor.shape)),
            None => {
                let (name, expected) = (full_name(tensor, modules), tensor.shape.clone());
                problems.push(TensorProblem::Missing { name, expected });
            }
        }
    }
    let wanted = if problems.is_empty() { wanted } else { Vec::new() };
    let mut values = Values::new();
    for tensor in wanted {
        let mut numbers = Vec::new();
        problems.extend(reader.append(&names.real[&key(tensor)], &mut numbers)?);
        for index in &tensor.parameters {
            let rest = numbers.split_off(parameters.parameter(*index).size());
            values.push((*index, std::mem::replace(&mut numbers, rest)));
        }
    }
    if problems.is_empty() {
        return Ok(values);
    }
    let remedy = match problems.iter().all(|problem| matches!(problem, TensorProblem::NotFinite { .. })) {
        true => {
            "another copy or an earlier checkpoint of the adapter: training from such weights cannot recover"
        }
        false => "an adapter of this backbone, whose two files were saved together by one save_pretrained",
    };
    Err(ModelError::Weights { path: weights, problems, remedy: remedy.into() })
}

/// A tensor of the adapter, whatever the file calls it.
type Key = (Option<Site>, String);

fn key(tensor: &PeftTensor) -> Key {
    (tensor.site, tensor.name.clone())
}

fn full_name(tensor: &PeftTensor, modules: &BTreeMap<Site, String>) -> String {
    match tensor.site.and_then(|site| modules.get(&site)) {
        Some(module) => format!("{OF_MODULES}{module}.{}", tensor.name),
        None => format!("{OF_MODEL}{}", tensor.name),
    }
}

/// Which tensors of the file are which of the adapter.
struct Names {
    real: HashMap<Key, String>,
    /// What no map of the scheme has: modules, or whole names.
    strangers: Vec<String>,
}

impl Names {
    /// The encoder may have been part of a larger model, so that all names have one more part in front (`bert.`).
    fn of(reader: &SafetensorsReader, adapter: &PeftAdapter, modules: &BTreeMap<Site, String>) -> Self {
        let inside = reader.names().filter_map(|name| name.strip_prefix(OF_MODULES)?.split_once('.'));
        let prefixes: BTreeSet<String> = inside.map(|(first, _)| format!("{first}.")).collect();
        let all = std::iter::once(String::new()).chain(prefixes);
        let found = all.map(|prefix| Self::with_prefix(&prefix, reader, adapter, modules));
        // The first of those that fit best: the bare names win.
        found
            .reduce(|best, next| if next.real.len() > best.real.len() { next } else { best })
            .unwrap_or(Names { real: HashMap::new(), strangers: Vec::new() })
    }

    fn with_prefix(
        prefix: &str,
        reader: &SafetensorsReader,
        adapter: &PeftAdapter,
        modules: &BTreeMap<Site, String>,
    ) -> Self {
        let mut expected: HashMap<String, Key> = HashMap::new();
        for tensor in &adapter.tensors {
            let name = match tensor.site.and_then(|site| modules.get(&site)) {
                Some(module) => format!("{OF_MODULES}{prefix}{module}.{}", tensor.name),
                None => full_name(tensor, modules),
            };
            expected.insert(name, key(tensor));
        }
        let mut names = Names { real: HashMap::new(), strangers: Vec::new() };
        for real in reader.names() {
            match expected.remove(real) {
                Some(key) => {
                    names.real.insert(key, real.to_owned());
                }
                None => names.strangers.push(module_of(real, prefix, adapter).to_owned()),
            }
        }
        names
    }
}

/// The module that a tensor belongs to, as far as its name tells.
fn module_of<'a>(name: &'a str, prefix: &str, adapter: &PeftAdapter) -> &'a str {
    let Some(name) = name.strip_prefix(OF_MODULES) else { return name };
    let name = name.strip_prefix(prefix).unwrap_or(name);
    let ends = adapter.tensors.iter().map(|tensor| tensor.name.as_str());
    ends.filter_map(|end| name.strip_suffix(end)?.strip_suffix('.')).next().unwrap_or(name)
}

/// An adapter of a module that the scheme does not update.
fn stranger(
    read: &ConfigReader<'_>,
    scheme: &str,
    module: &str,
    adapter: &PeftAdapter,
    modules: &BTreeMap<Site, String>,
) -> ModelError {
    let of_scheme: BTreeSet<&str> =
        adapter.tensors.iter().filter_map(|tensor| Some(tensor.site?.map.name())).collect();
    let of_scheme = of_scheme.into_iter().collect::<Vec<_>>().join(", ");
    let expected = match modules.iter().find(|(_, of)| of.as_str() == module) {
        Some((site, _)) => format!(
            "modules that [sharing.{scheme}] updates: {of_scheme}; it leaves out {site}, so add \"{}\" to sharing.{scheme}.maps, \
             and look at first_layer",
            site.map.name()
        ),
        None => format!(
            "modules of the encoder that [sharing.{scheme}] updates: {of_scheme}; an adapter with other modules cannot be read"
        ),
    };
    ModelError::Config {
        path: read.path.to_owned(),
        key: "target_modules".into(),
        found: shortened(&Value::from(module)),
        expected,
    }
}

/// The modules that `target_modules` lists. Nothing where it is a pattern, or only some layers are chosen: there the file is
/// believed.
fn listed(json: &Value, modules: &BTreeMap<Site, String>) -> BTreeSet<Site> {
    let is_set =
        |key: &str| json.get(key).is_some_and(|value| !value.is_null() && *value != Value::Array(vec![]));
    let chosen = ["exclude_modules", "layers_to_transform"].into_iter().any(is_set);
    let listed = json.get("target_modules").and_then(Value::as_array).filter(|_| !chosen);
    let names: Vec<&str> = listed.into_iter().flatten().filter_map(Value::as_str).collect();
    // As PEFT compares: the whole name, or its end. A listed name may have that of a larger model in front.
    let ends = |whole: &str, end: &str| whole == end || whole.ends_with(&format!(".{end}"));
    let is_listed = |module: &str| names.iter().any(|name| ends(module, name) || ends(name, module));
    modules.iter().filter(|(_, module)| is_listed(module)).map(|(site, _)| *site).collect()
}

/// The tensors that the file must have: all of each module that it has one of, or that is listed.
fn wanted<'a>(listed: &BTreeSet<Site>, names: &Names, adapter: &'a PeftAdapter) -> Vec<&'a PeftTensor> {
    let there: BTreeSet<Option<Site>> = names.real.keys().map(|(site, _)| *site).collect();
    let is_wanted = |tensor: &&PeftTensor| {
        tensor.site.is_none_or(|site| there.contains(&tensor.site) || listed.contains(&site))
    };
    adapter.tensors.iter().filter(is_wanted).collect()
}

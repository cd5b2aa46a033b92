//! The config file: one struct, one table per component, and everything that is wrong with it at once.
//!
//! The way of a file: parsed into a tree whose values know where they stand ([`document`]), `--set` put over it
//! ([`overrides`]), `${NAME}` replaced and paths made absolute ([`interpolate`]), validated against the JSON Schema of
//! [`Config`] ([`validate`]), read by serde ([`read`]), and checked across tables ([`rules`]). Each step reports all it
//! finds.
//!
//! The tables' types live with their owners in the crates below; here is only what holds them together.

mod command_line_keys;
mod default_rates;
mod default_scope;
pub mod diagnostic;
pub mod document;
mod groups_file;
mod interpolate;
mod ordered_map;
mod overrides;
mod read;
mod renamed_keys;
mod rules;
pub mod schema;
mod suggest;
mod validate;
mod wording;

pub use diagnostic::{Diagnostic, Level, Report, SourceFile, Span};
pub use ordered_map::OrderedMap;
pub(crate) use suggest::suggest;
pub(crate) use wording::summary;

use document::Node;
use schema::Schema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{
    collections::BTreeMap,
    io::Read,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// A Polytask config: which model learns which tasks from which corpora, and how.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Polytask config")]
pub struct Config {
    /// Names for `${NAME}` in any string, such as `data = "/mnt/corpora"` for `train = "${data}/train.jsonl"`.
    /// `--define NAME=VALUE` comes first.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub paths: BTreeMap<String, String>,
    /// The network that all tasks share.
    pub model: model::ModelConfig,
    /// How the tasks share the backbone; all of it by default.
    #[serde(default)]
    pub sharing: model::SharingConfig,
    /// The vocabulary of a backbone that is built from scratch, trained from the training texts. A pretrained backbone
    /// brings its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<data::TokenizerConfig>,
    /// How rows are prepared.
    #[serde(default)]
    pub data: DataConfig,
    /// Rows of text with fields, in splits: `[corpus.NAME]` for each.
    #[serde(default)]
    pub corpus: BTreeMap<String, data::CorpusConfig>,
    /// What to learn: `[task.NAME]` for each, with a corpus and exactly one kind.
    #[serde(default)]
    pub task: OrderedMap<train::TaskTable>,
    /// How often each corpus is drawn; proportional by default.
    #[serde(default)]
    pub sampling: data::SamplerConfig,
    /// The parts of a run, one after the other: `[[phase]]` for each. Without any, the whole run is one part with every task.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub phase: Vec<train::PhaseConfig>,
    /// How the tasks' losses are weighted against each other; equal by default.
    #[serde(default)]
    pub balance: balance::BalancerConfig,
    /// What turns gradients into new weights; AdamW by default.
    #[serde(default)]
    pub optimizer: train::OptimizerConfig,
    /// How the learning rate moves; linear by default.
    #[serde(default)]
    pub schedule: train::Schedule,
    /// How long to train, how much at once, how often to evaluate and to save.
    #[serde(default)]
    pub train: train::TrainConfig,
    /// What is cut out of the network little by little while it is trained; nothing by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pruning: Option<train::PruningConfig>,
    /// The teachers that the model learns from, for a student: `polytask distill`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distill: Option<crate::distill::DistillConfig>,
    /// What `polytask sweep` tries; other commands take the config without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<crate::study::SweepConfig>,
}

/// `[data]`: how rows are prepared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DataConfig {
    /// Rows are cut after this many tokens; 128 by default. How many were cut is reported. A task with `windows` reads what is
    /// longer in several sequences of this length.
    #[schemars(range(min = 2, max = 1000000))]
    pub max_length: usize,
    /// A folder that keeps tokenized corpora for the next run, by their content. Default: `polytask` in the user's folder
    /// for caches, of which what was used last is kept, at most 4 GiB.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<String>,
}

impl Default for DataConfig {
    fn default() -> Self {
        DataConfig { max_length: 128, cache: None }
    }
}

/// The schema of [`Config`].
pub static SCHEMA: LazyLock<Schema> = LazyLock::new(Schema::of::<Config>);

/// A config that was read, with its warnings.
#[derive(Debug)]
pub struct Loaded {
    /// The config.
    pub config: Config,
    /// What it probably does not mean; no errors.
    pub warnings: Report,
}

/// What stands beside the file's text.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The file's path as it is shown.
    pub name: &'a str,
    /// The file's folder, absolute.
    pub folder: &'a Path,
    /// The current folder, absolute.
    pub current: &'a Path,
    /// `--set KEY=VALUE`.
    pub set: &'a [String],
    /// `--define NAME=VALUE`.
    pub define: &'a [String],
}

/// Reads a config file, with what the command line says over it: `set` holds `KEY=VALUE`, `define` `NAME=VALUE`.
///
/// # Errors
/// Everything that is wrong with it.
pub fn open(file: &Path, set: &[String], define: &[String]) -> Result<Loaded, Report> {
    let name = file.display().to_string();
    let alone = |text: String, error: Diagnostic| {
        Report::new(vec![SourceFile { name: name.clone(), text, is_file: true }], vec![error])
    };
    let bytes = read_bounded(file).map_err(|e| {
        let error = Diagnostic::error(format!("cannot read {name}: {e}"), None);
        let absent = e.kind() == std::io::ErrorKind::NotFound;
        alone(
            String::new(),
            if absent { error.help("`polytask init` writes a config to start from") } else { error },
        )
    })?;
    let text = String::from_utf8(bytes).map_err(|e| {
        let at = e.utf8_error().valid_up_to();
        let shown = String::from_utf8_lossy(e.as_bytes()).into_owned();
        let span = Span { source: 0, start: at, end: at + 1 };
        alone(shown, Diagnostic::error("this is not UTF-8", Some(span)).help("save the file as UTF-8"))
    })?;
    let current = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    let folder = current.join(file).parent().map_or_else(|| current.clone(), Path::to_path_buf);
    parse(&text, &Context { name: &name, folder: &folder, current: &current, set, define })
}

/// The largest config, in bytes.
const MOST_BYTES: u64 = 16 << 20;

/// The bytes of a config, which may come from a pipe, but not without end.
fn read_bounded(file: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(file)?.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_BYTES {
        let reason = format!("it has more than {MOST_BYTES} bytes, which no config needs");
        return Err(std::io::Error::other(reason));
    }
    Ok(bytes)
}

/// [`open`], with everything as plain text: the config and its warnings.
///
/// # Errors
/// Everything that is wrong with it, as text for people.
pub fn load(file: &Path, set: &[String], define: &[String]) -> Result<(Config, Vec<String>), String> {
    let loaded = open(file, set, define).map_err(|report| report.to_string())?;
    let warnings =
        if loaded.warnings.diagnostics.is_empty() { vec![] } else { vec![loaded.warnings.to_string()] };
    Ok((loaded.config, warnings))
}

/// Reads a config from its text, whatever the file holds.
///
/// # Errors
/// Everything that is wrong with it.
pub fn parse(text: &str, context: &Context<'_>) -> Result<Loaded, Report> {
    let mut sources = vec![SourceFile { name: context.name.into(), text: text.into(), is_file: true }];
    match checked::<Config>(&SCHEMA, context, &mut sources) {
        Ok((mut config, root)) => {
            if let Err(error) = groups_file::read(&mut config, &root) {
                return Err(Report::new(sources, vec![error]));
            }
            let mut found = rules::check(&config, &root);
            found.extend(default_scope::set(&mut config, &root));
            let report = Report::new(sources, found);
            if report.errors() > 0 {
                return Err(report);
            }
            if matches!(config.model.backbone, model::BackboneConfig::FromScratch(_)) {
                config.tokenizer.get_or_insert_default();
            }
            default_rates::set(&mut config.optimizer, &config.model.backbone, &root);
            Ok(Loaded { config, warnings: report })
        }
        Err(errors) => Err(Report::new(sources, errors)),
    }
}

/// Everything up to the value itself: syntax, overrides, names, schema. The first source is the text.
fn checked<T: DeserializeOwned>(
    schema: &Schema,
    context: &Context<'_>,
    sources: &mut Vec<SourceFile>,
) -> Result<(T, Node), Vec<Diagnostic>> {
    let text = sources.first().map(|s| s.text.clone()).unwrap_or_default();
    let mut root = document::parse(&text, 0)?;
    let mut errors = Vec::new();
    errors.extend(overrides::apply(&mut root, context.set, schema, sources).err().into_iter().flatten());
    let folders = interpolate::Folders { config: context.folder, current: context.current };
    let interpolated = interpolate::interpolate(&mut root, context.define, &folders, sources);
    errors.extend(interpolated.err().into_iter().flatten());
    errors.extend(validate::validate(schema, &root));
    if !errors.is_empty() {
        return Err(errors);
    }
    let value = read::read(&root).map_err(|e| vec![e])?;
    Ok((value, root))
}

impl Config {
    /// The part that says how to train.
    pub fn settings(&self) -> train::Settings {
        train::Settings {
            train: self.train.clone(),
            optimizer: self.optimizer.clone(),
            schedule: self.schedule.clone(),
            balance: self.balance.clone(),
            sampling: self.sampling.clone(),
            phases: self.phase.clone(),
            pruning: self.pruning.clone(),
            orders: self.orders(),
            cache_frozen: self.model.freeze.as_ref().is_some_and(|freeze| freeze.cache),
            fresh_decoder: self.model.decoder.is_some(),
        }
    }

    /// The orders of the corpora that name one.
    fn orders(&self) -> BTreeMap<String, data::OrderConfig> {
        let named = self.corpus.iter().filter(|(_, corpus)| !corpus.order.is_default());
        named.map(|(name, corpus)| (name.clone(), corpus.order.clone())).collect()
    }

    /// The config with every default written out and paths absolute, as TOML that reads as the same config.
    pub fn resolved_toml(&self) -> String {
        // Every type below is made of what TOML has; a float that it lacks, or a null, cannot come out of a config.
        let text = toml::to_string(self).unwrap_or_default();
        text.replace("${", "$${")
    }
}

/// The JSON Schema of the config, for editors.
pub fn json_schema() -> String {
    format!("{:#}", SCHEMA.root())
}

/// A commented config to start from.
pub fn starter() -> &'static str {
    include_str!("starter.toml")
}

#[cfg(test)]
mod tests;

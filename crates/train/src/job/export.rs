//! The result of a run, `model/`: in Hugging Face layout, so that other programs can open the trunk, with the heads
//! beside it.
//!
//! ```text
//! config.json, model.safetensors   the backbone, as transformers reads it
//! tokenizer.json                   the vocabulary
//! heads.safetensors                the parameters of every head by name
//! decoder.safetensors              those of a decoder that is not part of the backbone, called as in T5
//! sharing.safetensors              what a sharing scheme adds, and the dataset embedding, where the model has them
//! adapters/TASK/                   the same of a task as PEFT reads it, `adapters/shared/` of all, where PEFT has such a method
//! polytask.json                    the tasks: config, labels, scores ([`ModelManifest`]); lengths and hashes of all files
//! ```
//!
//! What opens the backbone alone, as other programs do, has the states without what `sharing.safetensors` adds.

use crate::{
    checkpoint::{digest::FileDigest, durable},
    config::task_table::TaskTable,
    error::TrainError,
    job::checksums::{self, Checked},
    job::{HeadlessTask, Model, ModelDecoder, TaskSlot},
    run::best::ScoreTable,
};
use burn::tensor::Device;
use data::{InputField, Tokenizer};
use model::{DecoderConfig, Parameters, Precision, SharingConfig, Trunk};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, path::Path};

pub(super) const MANIFEST: &str = "polytask.json";
const TOKENIZER: &str = "tokenizer.json";

/// The format of saved models that this version writes and reads.
const FORMAT: u32 = 2;

/// How matrices are opened that a folder has as two factors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matrices {
    /// As two factors.
    AsSaved,
    /// Multiplied out.
    Whole,
}

/// What a saved model says about itself: `polytask.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelManifest {
    /// The version of this format.
    pub format: u32,
    /// Steps of training behind the weights.
    pub step: usize,
    /// Rows are cut to so many tokens.
    pub max_length: usize,
    /// What its large products were made of in training, and are when it is used.
    #[serde(default)]
    pub precision: Precision,
    /// The table of a decoder that is not part of the backbone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoder: Option<DecoderConfig>,
    /// How the tasks share the trunk.
    #[serde(default)]
    pub sharing: SharingConfig,
    /// The corpora that have a vector, in the order of the dataset embedding.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub datasets: Vec<String>,
    /// Fields of text and fields of words that said the same in every row of training.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub same_text: Vec<[String; 2]>,
    /// The tasks, in the order of the config.
    pub tasks: Vec<TaskManifest>,
    /// Scores on the validation split, where it was evaluated at that step.
    pub validation: ScoreTable,
    /// Lengths and hashes of the files beside it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub files: BTreeMap<String, FileDigest>,
    /// The hash of all else in here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blake3: Option<String>,
}

/// What a saved model says about a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskManifest {
    /// Its name.
    pub name: String,
    /// What it reads: `text`, `words`, `pair` or `marked`, and the field or fields.
    pub input: InputField,
    /// Its table of the config.
    #[serde(rename = "config")]
    pub table: TaskTable,
    /// Its label space.
    pub label_space: serde_json::Value,
}

/// The part of a manifest that every format has.
#[derive(Deserialize)]
struct Version {
    format: u32,
}

impl Model {
    /// Writes the model to `dir`, whole or not at all; a model that was there gives way.
    ///
    /// # Errors
    /// When files cannot be written.
    pub fn save(&self, dir: &Path, step: usize, validation: ScoreTable) -> Result<(), TrainError> {
        let mut manifest = ModelManifest { step, validation, ..self.manifest() };
        let fresh = self.decoder.as_ref().filter(|decoder| decoder.fresh.is_some());
        durable::replace_dir(dir, |place| {
            model::save(place, &self.trunk, &self.parameters)?;
            model::save_adapters(place, &self.trunk, &self.parameters)?;
            model::save_heads(place, &self.parameters)?;
            if let Some(decoder) = fresh {
                model::save_decoder(place, &decoder.network.names(), &self.parameters)?;
            }
            durable::write(&place.join(TOKENIZER), self.tokenizer.to_json().as_bytes())?;
            checksums::seal(place, &mut manifest)?;
            let text = serde_json::to_vec_pretty(&manifest).map_err(|e| TrainError::saved(dir, e))?;
            durable::write(&place.join(MANIFEST), &text)
        })
    }

    /// What the model says about itself, before its first step and without files.
    pub(super) fn manifest(&self) -> ModelManifest {
        let task = |t: &TaskSlot| TaskManifest {
            name: t.name.clone(),
            input: t.kind.input(),
            table: TaskTable { config: t.config.clone(), training: t.training.clone() },
            label_space: t.head.label_space(),
        };
        ModelManifest {
            format: FORMAT,
            step: 0,
            max_length: self.max_length,
            precision: self.trunk.precision(),
            decoder: self.decoder.as_ref().and_then(|decoder| decoder.fresh.clone()),
            sharing: self.trunk.sharing().config(),
            datasets: self.datasets.clone(),
            same_text: self.same_text.clone(),
            tasks: self.tasks.iter().map(task).collect(),
            validation: ScoreTable::default(),
            files: BTreeMap::new(),
            blake3: None,
        }
    }

    /// Reads a model that [`Model::save`] wrote, and says whether its files could be checked. Every task's view is 0, and no split is encoded.
    ///
    /// # Errors
    /// When a file is missing, or is not what it should be.
    pub fn open(dir: &Path, device: &Device) -> Result<(Model, ModelManifest, Checked), TrainError> {
        Model::open_changed(dir, device, |_| ())
    }

    /// As [`Model::open`], with a change of what the model says about itself, such as settings of decoding.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_changed(
        dir: &Path,
        device: &Device,
        change: impl FnOnce(&mut ModelManifest),
    ) -> Result<(Model, ModelManifest, Checked), TrainError> {
        let (mut manifest, checked) = Model::read_manifest(dir)?;
        change(&mut manifest);
        let model = Model::open_with(dir, device, &manifest, Matrices::AsSaved)?;
        Ok((model, manifest, checked))
    }

    /// As [`Model::open`], with whole matrices where the folder has two factors: for what computes with weights and not with states.
    ///
    /// # Errors
    /// As [`Model::open`].
    pub fn open_multiplied_out(
        dir: &Path,
        device: &Device,
    ) -> Result<(Model, ModelManifest, Checked), TrainError> {
        let (manifest, checked) = Model::read_manifest(dir)?;
        let model = Model::open_with(dir, device, &manifest, Matrices::Whole)?;
        Ok((model, manifest, checked))
    }

    fn open_with(
        dir: &Path,
        device: &Device,
        manifest: &ModelManifest,
        matrices: Matrices,
    ) -> Result<Model, TrainError> {
        let mut model = Model::on_backbone(dir, device, manifest, matrices)?;
        model::load_sharing(dir, &model.trunk, &mut model.parameters)?;
        if let Some(ModelDecoder { network, fresh: Some(_) }) = &model.decoder {
            model::load_decoder(dir, &network.names(), &mut model.parameters)?;
        }
        model::load_heads(dir, &mut model.parameters)?;
        // Who asks for gradients gets weights that have some.
        if kernels::can_pack(device) && !device.is_autodiff() {
            model::pack_quantized(dir, &model.trunk, &mut model.parameters)?;
        }
        Ok(model)
    }

    /// What a saved model says about itself, and whether its files could be checked.
    ///
    /// # Errors
    /// When it is missing, is not what it should be, or a file beside it is not the one that was saved.
    pub fn read_manifest(dir: &Path) -> Result<(ModelManifest, Checked), TrainError> {
        durable::recover_dir(dir)?;
        read_manifest(&dir.join(MANIFEST))
    }

    /// The model that a manifest describes, with the backbone and the vocabulary of the saved model in `dir`: heads, decoder and what a
    /// sharing scheme adds have first values.
    ///
    /// # Errors
    /// When a file of the backbone is not what it should be, or the manifest does not fit it.
    pub(crate) fn on_backbone(
        dir: &Path,
        device: &Device,
        manifest: &ModelManifest,
        matrices: Matrices,
    ) -> Result<Model, TrainError> {
        let tokenizer = Tokenizer::from_file(&dir.join(TOKENIZER))?;
        let mut parameters = Parameters::new(device, 0);
        let trunk = Trunk::new(model::open(dir, &mut parameters, None)?);
        if matrices == Matrices::AsSaved {
            model::load_factors(dir, &trunk.spec().names, &mut parameters)?;
        }
        let (found, most) = (tokenizer.vocabulary(), trunk.spec().vocabulary);
        if found > most {
            let reason = format!("its vocabulary has {found} entries, the backbone only knows {most}");
            return Err(TrainError::saved(&dir.join(TOKENIZER), reason));
        }
        Model::on_trunk((trunk, parameters), tokenizer, manifest, &dir.join(MANIFEST))
    }

    /// The model that a manifest describes, on a backbone and with a vocabulary, as [`Model::on_backbone`]; `path` is that of the manifest.
    ///
    /// # Errors
    /// When the manifest does not fit the backbone.
    pub(super) fn on_trunk(
        (mut trunk, mut parameters): (Trunk, Parameters),
        tokenizer: Tokenizer,
        manifest: &ModelManifest,
        path: &Path,
    ) -> Result<Model, TrainError> {
        trunk.set_precision(manifest.precision);
        let (found, most) = (manifest.max_length, trunk.spec().max_length);
        if found > most {
            let reason = format!("max_length: found {found}, the backbone has positions for {most} tokens");
            return Err(TrainError::saved(path, reason));
        }
        if !manifest.datasets.is_empty() {
            trunk.add_dataset_embedding(manifest.datasets.len(), &mut parameters);
        }
        let names: Vec<String> = manifest.tasks.iter().map(|task| task.name.clone()).collect();
        trunk.set_sharing(manifest.sharing.build(), &names, &mut parameters)?;
        let decoder = ModelDecoder::of(&trunk, manifest.decoder.as_ref(), &tokenizer, &mut parameters)?;
        let mut tasks = Vec::with_capacity(manifest.tasks.len());
        for task in &manifest.tasks {
            let mut kind = task.table.build(&task.name)?;
            if trunk.spec().is_causal() {
                let template = match &task.input {
                    InputField::Chat { template, .. } => Some(template),
                    _ => None,
                };
                kind.set_causal(template)?;
            }
            let TaskManifest { name, table, label_space, .. } = task.clone();
            tasks.push(HeadlessTask { name, table, kind, label_space, view: 0 });
        }
        let tasks = HeadlessTask::build_all(tasks, &trunk, decoder.as_ref(), &tokenizer, &mut parameters)
            .map_err(|mut errors| errors.remove(0))?;
        let (max_length, datasets) = (manifest.max_length, manifest.datasets.clone());
        let same_text = manifest.same_text.clone();
        Ok(Model { parameters, trunk, decoder, tokenizer, max_length, datasets, same_text, tasks })
    }
}

fn read_manifest(path: &Path) -> Result<(ModelManifest, Checked), TrainError> {
    let text = durable::read(path)?;
    let version = serde_json::from_slice::<Version>(&text).map_err(|e| TrainError::saved(path, e))?;
    if version.format != FORMAT {
        let found = version.format;
        let reason = format!("found format {found}, this version reads format {FORMAT}");
        return Err(TrainError::saved(path, reason));
    }
    let json = serde_json::from_slice(&text).map_err(|e| TrainError::saved(path, e))?;
    let checked = checksums::check(path, &json)?;
    let manifest = serde_json::from_slice::<ModelManifest>(&text).map_err(|e| TrainError::saved(path, e))?;
    let mut names: Vec<&str> = manifest.tasks.iter().map(|t| t.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
        return Err(TrainError::saved(path, format!("task `{}` is there twice", twice[0])));
    }
    let mut datasets: Vec<&str> = manifest.datasets.iter().map(String::as_str).collect();
    datasets.sort_unstable();
    if let Some(twice) = datasets.windows(2).find(|w| w[0] == w[1]) {
        return Err(TrainError::saved(path, format!("corpus `{}` has a vector twice", twice[0])));
    }
    let without = manifest.tasks.iter().find(|task| !datasets.contains(&task.table.config.corpus.as_str()));
    if let (Some(task), false) = (without, datasets.is_empty()) {
        let (found, corpus) = (datasets.join(", "), &task.table.config.corpus);
        let reason = format!(
            "task `{}`: found vectors for {found}, expected one for its corpus `{corpus}`; take the folder as it was saved",
            task.name
        );
        return Err(TrainError::saved(path, reason));
    }
    Ok((manifest, checked))
}

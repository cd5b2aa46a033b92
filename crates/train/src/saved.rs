//! The result of a run, `model/`: in Hugging Face layout, so that other programs can open the trunk, with the heads
//! beside it.
//!
//! ```text
//! config.json, model.safetensors   the backbone, as transformers reads it
//! tokenizer.json                   the vocabulary
//! heads.safetensors                the parameters of every head by name
//! decoder.safetensors              those of a decoder that is not part of the backbone, called as in T5
//! corpora.safetensors              the vectors of corpora, where the model has them
//! polytask.json                    the tasks: config, labels, scores (a [`Card`])
//! ```
//!
//! What opens the backbone alone, as other programs do, has the states without the vectors of corpora.

use crate::{
    best::ScoreTable,
    durable,
    error::TrainError,
    job::{Model, ModelDecoder, TaskSlot},
};
use burn::tensor::Device;
use data::{InputField, MarkedText, Tokenizer};
use model::{DecoderConfig, Parameters, Precision};
use serde::{Deserialize, Serialize};
use std::path::Path;
use tasks::TaskConfig;

const CARD: &str = "polytask.json";
const TOKENIZER: &str = "tokenizer.json";

/// The format of saved models that this version writes and reads.
const FORMAT: u32 = 1;

/// What a saved model says about itself: `polytask.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
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
    /// The corpora that have a vector, in the order of the table in `corpora.safetensors`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub corpora: Vec<String>,
    /// The tasks, in the order of the config.
    pub tasks: Vec<TaskCard>,
    /// Scores on the validation split, where it was evaluated at that step.
    pub validation: ScoreTable,
}

/// What a saved model says about a task.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskCard {
    /// Its name.
    pub name: String,
    /// What it reads: `text`, `words`, `pair` or `marked`, and the field or fields.
    pub input: InputCard,
    /// Its table of the config.
    pub config: TaskConfig,
    /// Its labels, as its kind keeps them.
    pub space: serde_json::Value,
}

/// What a task reads of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InputCard {
    /// A field of text.
    Text(String),
    /// A field of text and what stands before it.
    Prefixed {
        /// Stands before every text.
        prefix: String,
        /// The field.
        field: String,
    },
    /// A field of words.
    Words(String),
    /// Two fields of text.
    Pair(String, String),
    /// A field of text and one with a list of texts.
    Choices(String, String),
    /// Two fields of text, the second in parts.
    Windows {
        /// Both fields.
        fields: [String; 2],
        /// Tokens that a part shares with the one before it.
        overlap: usize,
        /// The most parts of a text.
        most: usize,
    },
    /// A field of text or words with two spans in it.
    Marked(MarkedText),
}

/// The part of a card that every format has.
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
        let task = |t: &TaskSlot| TaskCard {
            name: t.name.clone(),
            input: match t.kind.input() {
                InputField::Text(field) => InputCard::Text(field),
                InputField::Prefixed { prefix, field } => InputCard::Prefixed { prefix, field },
                InputField::Words(field) => InputCard::Words(field),
                InputField::Pair(first, second) => InputCard::Pair(first, second),
                InputField::Choices(first, second) => InputCard::Choices(first, second),
                InputField::Windows { fields, overlap, most } => InputCard::Windows { fields, overlap, most },
                InputField::Marked(marked) => InputCard::Marked(marked),
            },
            config: t.config.clone(),
            space: t.kind.space(),
        };
        let tasks = self.tasks.iter().map(task).collect();
        let (max_length, precision) = (self.max_length, self.backbone.precision());
        let fresh =
            self.decoder.as_ref().and_then(|decoder| Some((&decoder.network, decoder.fresh.as_ref()?)));
        let decoder = fresh.map(|(_, config)| config.clone());
        let corpora = self.corpora.clone();
        let card = Card { format: FORMAT, step, max_length, precision, decoder, corpora, tasks, validation };
        let text = serde_json::to_vec_pretty(&card).map_err(|e| TrainError::saved(&dir.join(CARD), e))?;
        durable::replace_dir(dir, |place| {
            model::save(place, self.backbone.as_ref(), &self.parameters)?;
            model::save_heads(place, &self.parameters)?;
            model::save_corpora(place, self.backbone.as_ref(), &self.parameters)?;
            if let Some((network, _)) = fresh {
                model::save_decoder(place, network, &self.parameters)?;
            }
            durable::write(&place.join(TOKENIZER), self.tokenizer.to_json().as_bytes())?;
            durable::write(&place.join(CARD), &text)
        })
    }

    /// Reads a model that [`Model::save`] wrote. Every task's view is 0, and no split is attached.
    ///
    /// # Errors
    /// When a file is missing, or is not what it should be.
    pub fn open(dir: &Path, device: &Device) -> Result<(Model, Card), TrainError> {
        durable::recover_dir(dir)?;
        let path = dir.join(CARD);
        let card = read_card(&path)?;
        let tokenizer = Tokenizer::from_file(&dir.join(TOKENIZER))?;
        let mut parameters = Parameters::new(device, 0);
        let mut backbone = model::open(dir, &mut parameters, None)?;
        backbone.set_precision(card.precision);
        if !card.corpora.is_empty() {
            backbone.add_corpora(card.corpora.len(), &mut parameters);
            model::load_corpora(dir, &*backbone, &mut parameters)?;
        }
        if tokenizer.vocabulary() > backbone.vocabulary() {
            let (found, most) = (tokenizer.vocabulary(), backbone.vocabulary());
            let reason = format!("its vocabulary has {found} entries, the backbone only knows {most}");
            return Err(TrainError::saved(&dir.join(TOKENIZER), reason));
        }
        let decoder = ModelDecoder::of(&*backbone, card.decoder.as_ref(), &tokenizer, &mut parameters)?;
        if let Some(ModelDecoder { network, fresh: Some(_) }) = &decoder {
            model::load_decoder(dir, network, &mut parameters)?;
        }
        let mut tasks = Vec::with_capacity(card.tasks.len());
        for task in &card.tasks {
            let mut kind = task.config.build(&task.name)?;
            kind.restore_space(&task.space)?;
            tasks.push(TaskSlot {
                name: task.name.clone(),
                config: task.config.clone(),
                kind,
                view: 0,
                learns: true,
            });
        }
        TaskSlot::build_all(&mut tasks, &*backbone, decoder.as_ref(), &tokenizer, &mut parameters)
            .map_err(|mut faults| faults.remove(0))?;
        model::load_heads(dir, &mut parameters)?;
        let (max_length, corpora) = (card.max_length, card.corpora.clone());
        Ok((Model { parameters, backbone, decoder, tokenizer, max_length, corpora, tasks }, card))
    }
}

fn read_card(path: &Path) -> Result<Card, TrainError> {
    let text = durable::read(path)?;
    let version = serde_json::from_slice::<Version>(&text).map_err(|e| TrainError::saved(path, e))?;
    if version.format != FORMAT {
        let found = version.format;
        let reason = format!("found format {found}, this version reads format {FORMAT}");
        return Err(TrainError::saved(path, reason));
    }
    let card = serde_json::from_slice::<Card>(&text).map_err(|e| TrainError::saved(path, e))?;
    let mut names: Vec<&str> = card.tasks.iter().map(|t| t.name.as_str()).collect();
    names.sort_unstable();
    if let Some(twice) = names.windows(2).find(|w| w[0] == w[1]) {
        return Err(TrainError::saved(path, format!("task `{}` is there twice", twice[0])));
    }
    let mut corpora: Vec<&str> = card.corpora.iter().map(String::as_str).collect();
    corpora.sort_unstable();
    if let Some(twice) = corpora.windows(2).find(|w| w[0] == w[1]) {
        return Err(TrainError::saved(path, format!("corpus `{}` has a vector twice", twice[0])));
    }
    let without = card.tasks.iter().find(|task| !corpora.contains(&task.config.corpus.as_str()));
    if let (Some(task), false) = (without, corpora.is_empty()) {
        let (found, corpus) = (corpora.join(", "), &task.config.corpus);
        let reason = format!(
            "task `{}`: found vectors for {found}, expected one for its corpus `{corpus}`; take the folder as it was saved",
            task.name
        );
        return Err(TrainError::saved(path, reason));
    }
    Ok(card)
}

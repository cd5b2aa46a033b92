//! What is trained: a model with its tasks, and the rows they learn from.

pub(crate) mod checksums;
pub(crate) mod export;
pub(crate) mod factorized;
pub(crate) mod flops;
pub(crate) mod frozen_cache;
pub(crate) mod merge;
mod pruned;
mod task_slot;
pub(crate) mod teacher;

use burn::tensor::Device;
use data::{Pack, Split, Tokenizer, View};
use model::{DecoderConfig, Generator, ModelError, Parameters, Trunk};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
pub use task_slot::{HeadlessTask, TaskSlot};

/// A trunk, a head per task, and what they need to read text. The same value is trained, saved, loaded and used.
pub struct Model {
    /// The weights of trunk and heads; on an autodiff device while training.
    pub parameters: Parameters,
    /// The network that turns tokens into states.
    pub trunk: Trunk,
    /// What writes texts from the states: the backbone's own decoder, or a fresh one on it.
    pub decoder: Option<ModelDecoder>,
    /// The vocabulary.
    pub tokenizer: Tokenizer,
    /// Rows are cut to so many tokens.
    pub max_length: usize,
    /// The corpora that have a vector in the trunk, in the order of its dataset embedding; none where it has no such table.
    pub datasets: Vec<String>,
    /// Fields of text and fields of words that say the same in every row of training: `predict` may read the one for the other.
    pub same_text: Vec<[String; 2]>,
    /// The tasks, in the order of the config.
    pub tasks: Vec<TaskSlot>,
}

/// A decoder, and where it comes from.
#[derive(Debug, Clone)]
pub struct ModelDecoder {
    /// The network.
    pub network: Arc<dyn Generator>,
    /// The table that built it; `None` for one that is part of the backbone.
    pub fresh: Option<DecoderConfig>,
}

impl ModelDecoder {
    /// The decoder of a backbone, or a fresh one on it where the config asks for it; `None` where there is neither.
    ///
    /// # Errors
    /// A size out of its range; a fresh one on a backbone that has its own; a vocabulary without tokens that begin and end a row.
    pub fn of(
        trunk: &Trunk,
        fresh: Option<&DecoderConfig>,
        tokenizer: &Tokenizer,
        parameters: &mut Parameters,
    ) -> Result<Option<ModelDecoder>, ModelError> {
        let Some(config) = fresh else {
            return Ok(trunk.generator().map(|network| ModelDecoder { network, fresh: None }));
        };
        let specials = tokenizer.specials();
        let (Some(bos), Some(eos)) = (specials.bos, specials.eos) else {
            return Err(ModelError::Decoder {
                key: "decoder".into(),
                found: "a vocabulary without tokens that begin and end a row".into(),
                expected: "one that has them, such as [CLS] and [SEP]".into(),
            });
        };
        let network = Arc::new(config.build(trunk, [bos, eos], parameters)?);
        Ok(Some(ModelDecoder { network, fresh: Some(config.clone()) }))
    }
}

/// Tokenized rows by split. The same index means the same corpus and input in each; a corpus that has no such
/// split has a view without rows, or the whole list is empty.
#[derive(Default)]
pub struct Views {
    /// What the weights learn from.
    pub train: Vec<View>,
    /// What decides which checkpoint is best.
    pub validation: Vec<View>,
    /// What is looked at last.
    pub test: Vec<View>,
}

impl Views {
    /// The views of a split.
    pub fn of(&self, split: Split) -> &[View] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// A model and the rows to train it on. The heads have encoded the targets of every split.
pub struct Job {
    /// What is trained.
    pub model: Model,
    /// What it learns from.
    pub views: Views,
}

impl Model {
    /// From now on nothing is trained, and on the processor the trunk's matrices whose numbers bf16 has as they are take half the memory.
    pub fn pack_for_inference(&mut self) {
        if !kernels::can_pack(self.parameters.device()) {
            return;
        }
        (0..self.parameters.len()).for_each(|index| self.parameters.set_trainable(index, false));
        self.trunk.pack(&mut self.parameters, true);
    }

    /// Gives each of the corpora that tasks read a vector in the trunk, in the order of their names; gives these.
    pub fn add_datasets<'a>(
        corpora: impl IntoIterator<Item = &'a String>,
        trunk: &mut Trunk,
        parameters: &mut Parameters,
    ) -> Vec<String> {
        let names: BTreeSet<&String> = corpora.into_iter().collect();
        trunk.add_dataset_embedding(names.len(), parameters);
        names.into_iter().cloned().collect()
    }

    /// For every token of a pack its row of the dataset embedding; empty where there is none.
    ///
    /// # Panics
    /// When the pack has a row of a corpus that no task of the model reads, and corpora have vectors.
    pub(crate) fn datasets_of(&self, pack: &Pack) -> Vec<u32> {
        if self.datasets.is_empty() {
            return Vec::new();
        }
        let mut of_tokens = Vec::with_capacity(pack.tokens());
        for (name, end) in pack.corpora.iter().zip(&pack.offsets[1..]) {
            let dataset = self.datasets.iter().position(|known| **known == **name);
            of_tokens.resize(*end, dataset.expect("rows are of corpora that tasks read") as u32);
        }
        of_tokens
    }

    /// The row of the dataset embedding that a corpus has, where there is such a table.
    pub(crate) fn dataset_of(&self, corpus: &str) -> Option<u32> {
        self.datasets.iter().position(|known| known == corpus).map(|dataset| dataset as u32)
    }

    /// The device of the weights.
    pub fn device(&self) -> &Device {
        self.parameters.device()
    }

    /// Parameters of the trunk, and those that each task has to itself: its head, and what a sharing scheme gives it in the trunk.
    pub fn sizes(&self) -> (usize, BTreeMap<String, usize>) {
        let mut heads: BTreeMap<String, usize> = self.tasks.iter().map(|t| (t.name.clone(), 0)).collect();
        let mut trunk = 0;
        for (i, parameter) in self.parameters.iter().enumerate() {
            let size: usize = self.parameters.shape(i).iter().product();
            match parameter.owner.first_task() {
                None => trunk += size,
                Some(task) => *heads.entry(task.to_owned()).or_default() += size,
            }
        }
        (trunk, heads)
    }
}

/// The corpora of some views in order of appearance, each with the indices of its views.
pub(crate) fn corpora(views: &[View]) -> Vec<(Arc<str>, Vec<usize>)> {
    let mut corpora: Vec<(Arc<str>, Vec<usize>)> = Vec::new();
    for (i, view) in views.iter().enumerate() {
        match corpora.iter_mut().find(|(name, _)| *name == view.corpus) {
            Some((_, indices)) => indices.push(i),
            None => corpora.push((view.corpus.clone(), vec![i])),
        }
    }
    corpora
}

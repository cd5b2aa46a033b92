//! What is trained: a model with its tasks, and the rows they learn from.

use burn::tensor::Device;
use data::{Pack, Split, Tokenizer, View};
use model::{Backbone, Decoder, DecoderConfig, Group, ModelError, Parameters};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tasks::{Kind, TaskConfig, TaskError, Trunk};

/// A trunk, a head per task, and what they need to read text. The same value is trained, saved, loaded and used.
pub struct Model {
    /// The weights of trunk and heads; on an autodiff device while training.
    pub parameters: Parameters,
    /// The network that turns tokens into states.
    pub backbone: Box<dyn Backbone>,
    /// What writes texts from the states: the backbone's own, or a fresh one on it.
    pub decoder: Option<ModelDecoder>,
    /// The vocabulary.
    pub tokenizer: Tokenizer,
    /// Rows are cut to so many tokens.
    pub max_length: usize,
    /// The corpora that have a vector in the trunk, in the order of its table ([`Backbone::corpora`]); none where it has no table.
    pub corpora: Vec<String>,
    /// The tasks, in the order of the config.
    pub tasks: Vec<TaskSlot>,
}

/// A decoder, and where it comes from.
#[derive(Debug, Clone)]
pub struct ModelDecoder {
    /// The network.
    pub network: Arc<Decoder>,
    /// The table that built it; `None` for one that is part of the backbone.
    pub fresh: Option<DecoderConfig>,
}

impl ModelDecoder {
    /// The decoder of a backbone, or a fresh one on it where the config asks for it; `None` where there is neither.
    ///
    /// # Errors
    /// A size out of its range; a fresh one on a backbone that has its own; a vocabulary without tokens that begin and end a row.
    pub fn of(
        backbone: &dyn Backbone,
        fresh: Option<&DecoderConfig>,
        tokenizer: &Tokenizer,
        parameters: &mut Parameters,
    ) -> Result<Option<ModelDecoder>, ModelError> {
        let Some(config) = fresh else {
            let own = |network: &Arc<Decoder>| ModelDecoder { network: network.clone(), fresh: None };
            return Ok(backbone.decoder().map(own));
        };
        let specials = tokenizer.specials();
        let (Some(begin), Some(end)) = (specials.begin, specials.end) else {
            return Err(ModelError::Decoder {
                key: "decoder".into(),
                found: "a vocabulary without tokens that begin and end a row".into(),
                expected: "one that has them, such as [CLS] and [SEP]".into(),
            });
        };
        let network = Arc::new(config.build(backbone, [begin, end], parameters)?);
        Ok(Some(ModelDecoder { network, fresh: Some(config.clone()) }))
    }
}

/// A task in its place.
pub struct TaskSlot {
    /// Its name.
    pub name: String,
    /// Its table of the config.
    pub config: TaskConfig,
    /// Labels, head, loss, decoding, metrics.
    pub kind: Box<dyn Kind>,
    /// The index of its view, the same in every split.
    pub view: usize,
    /// Whether it is trained: not in a phase that leaves it out, nor when it is done. True but within a run.
    pub learns: bool,
}

impl TaskSlot {
    /// The task whose head it has: itself, unless its config names another.
    pub fn head(&self) -> &str {
        self.config.head.as_deref().unwrap_or(&self.name)
    }

    /// Builds all tasks of a model ([`TaskSlot::build`]), those with a head of their own first.
    ///
    /// # Errors
    /// Those of every task that cannot be built.
    pub fn build_all(
        tasks: &mut [TaskSlot],
        backbone: &dyn Backbone,
        decoder: Option<&ModelDecoder>,
        tokenizer: &Tokenizer,
        parameters: &mut Parameters,
    ) -> Result<(), Vec<TaskError>> {
        let mut faults = Vec::new();
        for shares in [false, true] {
            for task in tasks.iter_mut().filter(|task| task.config.head.is_some() == shares) {
                faults.extend(task.build(backbone, decoder, tokenizer, parameters).err());
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Connects the task to a trunk and adds its head to the parameters.
    ///
    /// # Errors
    /// When the trunk lacks what the kind uses, or the head that it shares is another.
    pub fn build(
        &mut self,
        backbone: &dyn Backbone,
        decoder: Option<&ModelDecoder>,
        tokenizer: &Tokenizer,
        parameters: &mut Parameters,
    ) -> Result<(), TaskError> {
        let (hidden, token_table) = (backbone.hidden(), backbone.token_table());
        let decoder = decoder.map(|decoder| &decoder.network);
        self.kind.connect(&Trunk { hidden, tokenizer, token_table, decoder })?;
        let Some(head) = &self.config.head else {
            self.kind.build(parameters, hidden);
            return Ok(());
        };
        let [own, prefix] = [&self.name, head].map(|name| format!("head.{name}."));
        let build = |parameters: &mut Parameters| self.kind.build(parameters, hidden);
        parameters.sharing(&own, &prefix, build).map_err(|fault| TaskError::Setting {
            key: format!("task.{}.head", self.name),
            found: format!("{head:?}: {fault}"),
            expected: "a task with a head of the same kind, labels and settings".into(),
        })
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

/// A model and the rows to train it on. The kinds have learnt their labels, built their heads and attached every
/// split's views.
pub struct Job {
    /// What is trained.
    pub model: Model,
    /// What it learns from.
    pub views: Views,
}

impl Model {
    /// Gives each corpus that a task reads a vector in the trunk, in the order of their names; gives these.
    pub fn add_corpora(
        tasks: &[TaskSlot],
        backbone: &mut dyn Backbone,
        parameters: &mut Parameters,
    ) -> Vec<String> {
        let names: BTreeSet<&String> = tasks.iter().map(|task| &task.config.corpus).collect();
        backbone.add_corpora(names.len(), parameters);
        names.into_iter().cloned().collect()
    }

    /// For every token of a pack the vector of its corpus; empty where corpora have none.
    ///
    /// # Panics
    /// When the pack has a row of a corpus that no task of the model reads, and corpora have vectors.
    pub(crate) fn corpora_of(&self, pack: &Pack) -> Vec<u32> {
        if self.corpora.is_empty() {
            return Vec::new();
        }
        let mut of_tokens = Vec::with_capacity(pack.tokens());
        for (name, end) in pack.corpora.iter().zip(&pack.offsets[1..]) {
            let corpus = self.corpora.iter().position(|known| **known == **name);
            of_tokens.resize(*end, corpus.expect("rows are of corpora that tasks read") as u32);
        }
        of_tokens
    }

    /// The device of the weights.
    pub fn device(&self) -> &Device {
        self.parameters.device()
    }

    /// Parameters of the trunk, and of each task's head.
    pub fn sizes(&self) -> (usize, BTreeMap<String, usize>) {
        let mut heads: BTreeMap<String, usize> = self.tasks.iter().map(|t| (t.name.clone(), 0)).collect();
        let mut trunk = 0;
        for (i, parameter) in self.parameters.iter().enumerate() {
            let size: usize = self.parameters.shape(i).iter().product();
            match &parameter.group {
                Group::Trunk => trunk += size,
                Group::Task(task) => *heads.entry(task.clone()).or_default() += size,
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

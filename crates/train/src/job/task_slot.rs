//! A task in a model, before and after its head is built.

use crate::config::{task_table::TaskTable, task_training::TaskTraining};
use crate::job::ModelDecoder;
use data::Tokenizer;
use model::{Parameters, Trunk};
use serde_json::Value;
use tasks::{Kind, TaskConfig, TaskError, TaskHead, TrunkHandles};

/// A task whose head is not built.
pub struct HeadlessTask {
    /// Its name.
    pub name: String,
    /// Its table of the config.
    pub table: TaskTable,
    /// Input, labels and metrics.
    pub kind: Box<dyn Kind>,
    /// Its label space, from the training rows or from a saved model.
    pub label_space: Value,
    /// The index of its view, the same in every split.
    pub view: usize,
}

/// A task in its place.
pub struct TaskSlot {
    /// Its name.
    pub name: String,
    /// What it is.
    pub config: TaskConfig,
    /// How it is trained.
    pub training: TaskTraining,
    /// Input, labels and metrics.
    pub kind: Box<dyn Kind>,
    /// Targets, loss, decoding and scores.
    pub head: Box<dyn TaskHead>,
    /// The index of its view, the same in every split.
    pub view: usize,
    /// Whether it is trained: not in a phase that leaves it out, nor when it is done. True but within a run.
    pub is_trained: bool,
}

impl TaskSlot {
    /// The name of the task whose head it has: itself, unless its config names another.
    pub fn head_owner(&self) -> &str {
        self.config.head_owner(&self.name)
    }
}

impl HeadlessTask {
    /// Builds the heads of all tasks of a model ([`HeadlessTask::build`]), those of their own first. Keeps the order of the tasks.
    ///
    /// # Errors
    /// Those of every task that cannot be built.
    pub fn build_all(
        tasks: Vec<HeadlessTask>,
        trunk: &Trunk,
        decoder: Option<&ModelDecoder>,
        tokenizer: &Tokenizer,
        parameters: &mut Parameters,
    ) -> Result<Vec<TaskSlot>, Vec<TaskError>> {
        let (mut built, mut errors) = (Vec::with_capacity(tasks.len()), Vec::new());
        let (sharing, own): (Vec<_>, Vec<_>) =
            tasks.into_iter().enumerate().partition(|(_, task)| task.table.config.head.is_some());
        for (place, task) in own.into_iter().chain(sharing) {
            match task.build(trunk, decoder, tokenizer, parameters) {
                Ok(slot) => built.push((place, slot)),
                Err(error) => errors.push(error),
            }
        }
        built.sort_by_key(|(place, _)| *place);
        if errors.is_empty() { Ok(built.into_iter().map(|(_, slot)| slot).collect()) } else { Err(errors) }
    }

    /// Builds the head on a trunk and adds its parameters.
    ///
    /// # Errors
    /// When the labels are not those of the kind, the trunk lacks what the head uses, or the head that it shares is another.
    pub fn build(
        self,
        trunk: &Trunk,
        decoder: Option<&ModelDecoder>,
        tokenizer: &Tokenizer,
        parameters: &mut Parameters,
    ) -> Result<TaskSlot, TaskError> {
        let (hidden, token_embedding) = (trunk.hidden(), trunk.spec().token_embedding);
        let decoder = decoder.map(|decoder| &decoder.network);
        let language_model = trunk.spec().language_model.as_ref();
        let handles = TrunkHandles { hidden, tokenizer, token_embedding, decoder, language_model };
        let init = |parameters: &mut Parameters| self.kind.init_head(&self.label_space, &handles, parameters);
        let head = match &self.table.config.head {
            None => init(parameters)?,
            Some(owner) => {
                parameters.sharing(&self.name, owner, init).map_err(|error| TaskError::Setting {
                    key: format!("task.{}.head", self.name),
                    found: format!("{owner:?}: {error}"),
                    expected: "a task with a head of the same kind, labels and settings".into(),
                })??
            }
        };
        let HeadlessTask { name, table: TaskTable { config, training }, kind, view, .. } = self;
        Ok(TaskSlot { name, config, training, kind, head, view, is_trained: true })
    }
}

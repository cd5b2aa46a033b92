//! The interface of every kind of task before its labels are known.

use data::{ChatTemplate, DataError, InputField, Row};
use model::Parameters;

use crate::{TaskError, TaskHead, TrunkHandles};

/// A configured task whose labels are not known yet.
///
/// [`Kind::fit_labels`] gives its label space as data, which is stored with the weights. From a label space, its own, a joint one
/// ([`crate::joint_label_spaces`]) or a stored one, [`Kind::init_head`] makes the [`TaskHead`].
pub trait Kind: Send + Sync {
    /// The fields of a row that the model reads.
    fn input(&self) -> InputField;

    /// Makes it a task of a network in which a token sees none after it, whose tokenizer has this chat template. Called before anything
    /// else, if at all.
    ///
    /// # Errors
    /// A task that lacks something there.
    fn set_causal(&mut self, _chat_template: Option<&ChatTemplate>) -> Result<(), TaskError> {
        Ok(())
    }

    /// Whether there is such a task only on a network in which a token sees none after it.
    fn needs_causal(&self) -> bool {
        false
    }

    /// Makes a task that needs a teacher ([`crate::TaskConfig::needs_teacher`]) one of a teacher whose states are so wide. Called before
    /// [`Kind::fit_labels`].
    fn set_teacher(&mut self, _hidden: usize) {}

    /// The percentage of each row's tokens that are masked, to be predicted ([`data::TokenMasking`]); `None` for tasks without
    /// masking. A task with masking has a view of its own, so that no other task sees masked rows.
    fn mask_percent(&self) -> Option<u32> {
        None
    }

    /// The names of the scores that may be the primary metric, of which higher is better; the first is the default. A kind may
    /// also report scores of which lower is better.
    fn metrics(&self) -> &'static [&'static str];

    /// The fields of a row that hold its labels.
    fn target_fields(&self) -> Vec<String>;

    /// Whether a text has one right answer, so that rows of one text with different labels contradict each other. A translation and
    /// an answer in own words have many.
    fn has_one_answer(&self) -> bool {
        true
    }

    /// What a user should know of how labels are read, by a label space of this kind; sentences that begin in small letters.
    fn remarks(&self, _label_space: &serde_json::Value) -> Vec<String> {
        Vec::new()
    }

    /// The target texts of a row, which a tokenizer from scratch is also trained on.
    fn target_texts(&self, _row: &Row) -> Vec<String> {
        Vec::new()
    }

    /// The label space of the training rows. Labels are sorted, so that the order of the rows does not matter.
    ///
    /// # Errors
    /// Every row whose label cannot be read; a training split with too few or too many different labels.
    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>>;

    /// Makes the head of a label space and adds its parameters, which the task owns.
    ///
    /// # Errors
    /// When the value is not a label space of this kind, or the trunk lacks a part that the head uses. Then no parameter is added.
    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError>;
}

//! The interface that every kind of task implements, and the types that it exchanges with the trainer.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::Tensor;
use data::{DataError, InputField, Pack, Row, Split, View};
use model::Parameters;
use serde::Serialize;

use crate::{TaskError, TrunkHandles};

/// A task as the trainer sees it.
///
/// The methods are called in this order: [`Kind::fit_labels`] or [`Kind::load_label_space`]; [`Kind::bind_trunk`];
/// [`Kind::init_head`]; [`Kind::encode_targets`] for each split that is trained on or scored; then [`Kind::loss`],
/// [`Kind::predict`] and [`Kind::score`] any number of times; [`Kind::calibrate`] at the end of training. Inference needs no
/// encoded split: it loads the label space, initializes the head, predicts, and calls [`Kind::to_json`].
pub trait Kind: Send + Sync {
    /// The fields of a row that the model reads.
    fn input(&self) -> InputField;

    /// The percentage of each row's tokens that are masked, to be predicted ([`data::TokenMasking`]); `None` for tasks without
    /// masking. A task with masking has a view of its own, so that no other task sees masked rows.
    fn mask_percent(&self) -> Option<u32> {
        None
    }

    /// Builds the label space from the training rows. Labels are sorted, so that the order of the rows does not matter.
    ///
    /// # Errors
    /// Every row whose label cannot be read; a training split with too few or too many different labels.
    fn fit_labels(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>>;

    /// The label space, which is stored with the weights.
    fn label_space(&self) -> serde_json::Value;

    /// Restores a label space from [`Kind::label_space`].
    ///
    /// # Errors
    /// When the value is not a label space of this kind.
    fn load_label_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError>;

    /// The labels in the order of the head's outputs. Empty before they are known, and for a kind without labels.
    fn labels(&self) -> &[String];

    /// Stores the parts of the trunk that the kind uses in addition to the token states. Most kinds use none.
    ///
    /// # Errors
    /// When the trunk has no such part.
    fn bind_trunk(&mut self, _trunk: &TrunkHandles<'_>) -> Result<(), TaskError> {
        Ok(())
    }

    /// Whether [`Kind::loss`] uses rows of the token embedding other than those of the pack's tokens, for example for logits over
    /// the vocabulary. Otherwise a training pass holds only the rows of the pack's tokens.
    fn needs_full_embedding(&self) -> bool {
        false
    }

    /// Adds the head's parameters, which the task owns. `hidden` is the width of the token states.
    fn init_head(&mut self, parameters: &mut Parameters, hidden: usize);

    /// Encodes the targets of a split. A label that does not occur in training is counted in the report, ignored by the loss, and
    /// counted as an error by the scores. A row without a label is ignored by both.
    ///
    /// # Errors
    /// Every row whose label cannot be read.
    fn encode_targets(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>>;

    /// Whether a row of an encoded split has a label of this task. False for a split that is not encoded.
    fn labelled(&self, split: Split, row: usize) -> bool;

    /// Marks in `used` `[tokens]` the tokens of the pack whose states [`Kind::loss`] and [`Kind::predict`] use for the given rows. A
    /// batch may then hold only the marked tokens of its rows.
    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]);

    /// The mean loss over the targets (rows, words or tokens) of the batch; `None` where there are none. Only these go through
    /// the head.
    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss>;

    /// One prediction per row of the batch, in their order, whether labelled or not.
    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction>;

    /// The target texts of a row, which a tokenizer from scratch is also trained on.
    fn target_texts(&self, _row: &Row) -> Vec<String> {
        Vec::new()
    }

    /// Whether there is something to fit after training: [`Kind::calibrate`].
    fn calibrates(&self) -> bool {
        false
    }

    /// Fits decision thresholds to the predictions of an encoded split, given as (row, prediction). Called once, with the exported
    /// weights and the validation split if there is one. The thresholds are part of [`Kind::label_space`], and apply to all later
    /// scores and answers.
    fn calibrate(&mut self, _split: Split, _predictions: &[(u32, Prediction)]) {}

    /// The scores of predictions of an encoded split, given as (row, prediction). Rows without a label do not count.
    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores;

    /// A prediction as the JSON answer that a user gets.
    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value;

    /// The names of the scores that may be the primary metric, of which higher is better; the first is the default. A kind may
    /// also report scores of which lower is better.
    fn metrics(&self) -> &'static [&'static str];
}

/// A task's loss over one batch.
#[derive(Debug)]
pub struct Loss {
    /// `[1]`, the mean over the targets.
    pub mean: Tensor<1>,
    /// The number of targets (rows, words or tokens).
    pub num_targets: usize,
}

/// The token states of a pack, and the rows of it that belong to the task.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// `[tokens, hidden]` states of the pack's tokens.
    pub states: &'a Tensor<2>,
    /// The pack: whole rows, or at least the tokens of each row that the task uses ([`Kind::mark_used_tokens`]).
    pub pack: &'a Pack,
    /// The split of the rows.
    pub split: Split,
    /// The rows of this task's view.
    pub rows: &'a [BatchRow],
    /// The seed of the step's dropout; `None` in evaluation.
    pub dropout_seed: Option<u64>,
    /// The completed fraction of the run, 0 to 1, for schedules; 1 in evaluation.
    pub progress: f64,
}

impl<'a> Batch<'a> {
    /// A batch for evaluation: without dropout.
    pub fn evaluated(states: &'a Tensor<2>, pack: &'a Pack, split: Split, rows: &'a [BatchRow]) -> Self {
        Batch { states, pack, split, rows, dropout_seed: None, progress: 1.0 }
    }
}

/// A row of the task's view inside a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRow {
    /// Its index in the pack.
    pub pack_row: u32,
    /// Its index in the view, and so in the encoded split.
    pub row: u32,
}

impl BatchRow {
    /// The row's sequences in the pack, each as its range of tokens.
    pub(crate) fn sequences(self, pack: &Pack) -> impl Iterator<Item = Range<usize>> {
        pack.sequences_of(self.pack_row as usize).map(|i| pack.sequences[i]..pack.sequences[i + 1])
    }

    /// The row's tokens in the pack.
    pub(crate) fn tokens(self, pack: &Pack) -> Range<usize> {
        pack.offsets[self.pack_row as usize]..pack.offsets[self.pack_row as usize + 1]
    }
}

/// Counts of the targets of a split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelReport {
    /// Rows of the split.
    pub rows: usize,
    /// Rows with a label of this task.
    pub labelled: usize,
    /// Rows without one.
    pub missing: usize,
    /// Labels that do not occur in the training split, and how often each occurs here.
    pub unseen: BTreeMap<String, usize>,
    /// The number of labels outside of the label space, because they are too rare in training, or absent.
    pub rare: usize,
    /// How often each label of the space occurs, in its order; in tagging, in words.
    pub counts: Vec<(String, usize)>,
    /// The distribution of the labels, where they are numbers.
    pub numbers: Option<SummaryStatistics>,
    /// Labels lost to truncation: words whose first token was cut off.
    pub truncated: usize,
    /// Labels of words for which the tokenizer has no token at all, such as a lone control character. Like words lost to
    /// truncation, they are not trained on and are scored as `O`.
    pub without_token: usize,
    /// Labels that the task's settings exclude, such as entities of too many words. They are not trained on, and are scored as
    /// not found.
    pub out_of_reach: usize,
}

/// Summary statistics of some numbers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SummaryStatistics {
    /// Minimum.
    pub min: f64,
    /// Mean.
    pub mean: f64,
    /// Maximum.
    pub max: f64,
    /// Standard deviation of the population.
    pub std: f64,
}

impl SummaryStatistics {
    /// Of some values; `None` where there are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let min = values.iter().copied().reduce(f64::min)?;
        let max = values.iter().copied().reduce(f64::max)?;
        let mean: f64 = values.iter().map(|value| value / n).sum();
        let variance: f64 = values.iter().map(|value| (value - mean).powi(2) / n).sum();
        Some(SummaryStatistics { min, mean, max, std: variance.sqrt() })
    }
}

/// A task's scores on one split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// The name of the primary one: the task's `metric`, or the kind's first.
    pub primary: String,
    /// All scores by name, the primary one first.
    pub values: Vec<(String, f64)>,
}

impl Scores {
    /// Scores by name, of which `primary` is moved to the front.
    pub(crate) fn with_primary(primary: &str, mut values: Vec<(String, f64)>) -> Self {
        if let Some(index) = values.iter().position(|(name, _)| name == primary) {
            values[..=index].rotate_right(1);
        }
        Scores { primary: primary.to_owned(), values }
    }

    /// The score of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }
}

/// The output of a head for one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// The probability of each label, in the order of [`Kind::labels`], or of each choice. They add up to 1.
    Label(Vec<f32>),
    /// The independent probability of each label, in the order of [`Kind::labels`].
    Labels(Vec<f32>),
    /// A number, in the unit of the corpus.
    Number(f64),
    /// A span of a row's second text.
    Span(SpanAnswer),
    /// A generated text.
    Text(TextAnswer),
    /// Entities of a row and the relations between them.
    Graph(EntityGraph),
    /// A tag per word, up to the last word that has a token; `None` for a word without one.
    Tags(Vec<Option<WordTag>>),
    /// The head of each word and the word's relation to it, up to the last word that has a token; `None` for a word without one.
    Tree(Vec<Option<WordArc>>),
    /// The predictions for the masked tokens, in their order.
    Tokens(Vec<FoundToken>),
}

/// The span of a row's second text that answers its first.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SpanAnswer {
    /// The positions of its first and last token in the sequence; `None` where the text has no answer.
    pub tokens: Option<[u32; 2]>,
    /// The index of the sequence in the row.
    pub sequence: u32,
    /// The probability of its start times that of its end, 0 to 1.
    pub probability: f32,
}

/// A generated text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextAnswer {
    /// The text.
    pub text: String,
    /// The geometric mean of its tokens' probabilities, 0 to 1.
    pub probability: f32,
    /// The negative log-likelihood of the reference in nats, and its number of tokens; `None` without a reference.
    pub likelihood: Option<(f64, usize)>,
}

/// Entities of a row and the relations between them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EntityGraph {
    /// The entities, in the order of their first words.
    pub entities: Vec<EntityAnswer>,
    /// The relations.
    pub relations: Vec<RelationAnswer>,
}

/// An entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntityAnswer {
    /// Its words in the row, the end exclusive.
    pub words: [u32; 2],
    /// Its type: an index into the types of entities.
    pub label: u32,
    /// The probability of the type, 0 to 1.
    pub probability: f32,
}

/// A relation from one entity to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelationAnswer {
    /// The index of the head in [`EntityGraph::entities`].
    pub head: u32,
    /// The index of the tail in [`EntityGraph::entities`].
    pub tail: u32,
    /// Its type: an index into the types of relations.
    pub label: u32,
    /// Its probability, 0 to 1.
    pub probability: f32,
}

/// The tag of one word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordTag {
    /// Index into [`Kind::labels`].
    pub label: u32,
    /// Its probability, 0 to 1; with a CRF the marginal probability.
    pub probability: f32,
}

/// The prediction for a masked token.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundToken {
    /// The most probable tokens and their probabilities, in falling order.
    pub best: Vec<(u32, f32)>,
    /// The original token and its log-probability, where it is known.
    pub original: Option<(u32, f32)>,
}

/// The head of one word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordArc {
    /// 0 for the root, else the head's index in its row, counted from 1.
    pub head: u32,
    /// Index into [`Kind::labels`].
    pub relation: u32,
    /// The probability of the head times that of the relation, 0 to 1.
    pub probability: f32,
}

/// The model input that a prediction belongs to.
#[derive(Debug, Clone, Copy)]
pub enum ModelInput<'a> {
    /// Plain text.
    Text {
        /// The text.
        text: &'a str,
        /// The byte ranges of its words, as [`data::split_words`] finds them; may be empty for a task on whole texts.
        words: &'a [Range<usize>],
    },
    /// A text that is already split into words.
    Words(&'a [String]),
    /// Two texts as one row.
    Pair {
        /// The second text.
        second: &'a str,
        /// The byte range of it that each token of each sequence covers ([`data::Encoded::offset_mapping`]).
        offset_mapping: &'a [&'a [[u32; 2]]],
    },
    /// The choices of a multiple-choice question.
    Choices(&'a [String]),
}

impl<'a> ModelInput<'a> {
    /// The words that a token-level task reads.
    pub(crate) fn words(self) -> Vec<&'a str> {
        match self {
            ModelInput::Text { text, words } => {
                words.iter().map(|word| text.get(word.clone()).unwrap_or_default()).collect()
            }
            ModelInput::Words(words) => words.iter().map(String::as_str).collect(),
            ModelInput::Pair { .. } | ModelInput::Choices(_) => Vec::new(),
        }
    }
}

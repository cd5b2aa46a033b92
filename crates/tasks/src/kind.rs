//! What every kind of task can do.

use std::collections::BTreeMap;
use std::ops::Range;

use burn::tensor::Tensor;
use data::{DataError, InputField, Pack, Row, Split, View};
use model::Parameters;
use serde::Serialize;

use crate::{TaskError, Trunk};

/// A task as the trainer sees it.
///
/// The order of calls: [`Kind::learn`] (or [`Kind::restore_space`]), [`Kind::connect`], then [`Kind::build`]; [`Kind::attach`] for each
/// split that is trained or scored; then [`Kind::loss`], [`Kind::predict`] and [`Kind::score`] at will, and at the end of
/// training [`Kind::tune`]. Serving needs no attached split: restore, build, predict, explain.
pub trait Kind: Send + Sync {
    /// What the task reads of a row.
    fn input(&self) -> InputField;

    /// How many percent of the tokens of each row are hidden from the model, to be found again ([`data::Hiding`]). Such a task has
    /// a view of its own, so that no other task sees its rows.
    fn hides(&self) -> Option<u32> {
        None
    }

    /// Learns the label space from the training rows. Labels are sorted, so that the order of the rows does not matter.
    ///
    /// # Errors
    /// Every row whose label cannot be read; a training split with too few or far too many different labels.
    fn learn(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>>;

    /// The label space, to be stored beside the weights.
    fn space(&self) -> serde_json::Value;

    /// Takes back what [`Kind::space`] gave.
    ///
    /// # Errors
    /// When the value is not a label space of this kind.
    fn restore_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError>;

    /// The labels in the order of the head's outputs; empty before they are learned, and for a kind that has none.
    fn labels(&self) -> &[String];

    /// Takes what the kind uses of the trunk beside its states. Most use nothing.
    ///
    /// # Errors
    /// When the trunk lacks it.
    fn connect(&mut self, _trunk: &Trunk<'_>) -> Result<(), TaskError> {
        Ok(())
    }

    /// Whether [`Kind::loss`] uses rows of the trunk's table of token vectors other than those of the pack's tokens, for example
    /// because scores of all tokens are made with it. Else a training pass has only these.
    fn reads_vocabulary(&self) -> bool {
        false
    }

    /// Adds the head to the parameters, in the group of this task. `hidden` is the width of the token states.
    fn build(&mut self, parameters: &mut Parameters, hidden: usize);

    /// Reads the targets of a split. A label that training never showed is counted in the report, masked in the loss,
    /// and wrong in the scores (no model could have found it). A row without a label is masked in both.
    ///
    /// # Errors
    /// Every row whose label cannot be read.
    fn attach(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>>;

    /// Whether a row of an attached split carries a label of this task. False for a split that is not attached.
    fn labelled(&self, split: Split, row: usize) -> bool;

    /// Marks the tokens of the pack whose states [`Kind::loss`] and [`Kind::predict`] read for the given rows, in `read`
    /// `[tokens]`. A batch may then hold only the marked tokens of its rows.
    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]);

    /// The mean loss over the labelled items (rows or words) of the batch; `None` where there are none. Only labelled
    /// items go through the head.
    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss>;

    /// One prediction per row of the batch, in order, labelled or not.
    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction>;

    /// The texts of a row that the task writes: a vocabulary from scratch must hold them.
    fn writes(&self, _row: &Row) -> Vec<String> {
        Vec::new()
    }

    /// Whether there is something to fit when training is over: [`Kind::tune`].
    fn tunes(&self) -> bool {
        false
    }

    /// Fits what stands between predictions and answers, such as decision thresholds, to the predictions of an attached split,
    /// given as (row, prediction). Called once, with the result's weights and the validation split if there is one. What is
    /// fitted belongs to [`Kind::space`], and from then on to every score and answer.
    fn tune(&mut self, _split: Split, _predictions: &[(u32, Prediction)]) {}

    /// Scores predictions, given as (row, prediction), of an attached split. Rows without a label do not count.
    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores;

    /// A prediction as a user reads it.
    fn explain(&self, prediction: &Prediction, source: Source<'_>) -> serde_json::Value;

    /// The names of the scores that may be the main metric, higher being better; the first is the default. A kind may report
    /// errors beside them, of which lower is better.
    fn metrics(&self) -> &'static [&'static str];
}

/// A task's loss over one batch.
#[derive(Debug)]
pub struct Loss {
    /// `[1]`, the mean over the items.
    pub mean: Tensor<1>,
    /// How many labelled rows or words it is the mean of.
    pub items: usize,
}

/// One step's states, and which of its rows belong to the task.
#[derive(Debug, Clone, Copy)]
pub struct Batch<'a> {
    /// `[tokens, hidden]` states of the pack's tokens.
    pub states: &'a Tensor<2>,
    /// The pack: whole rows, or of each row at least the tokens that the task reads ([`Kind::reads`]).
    pub pack: &'a Pack,
    /// Which split the rows are of.
    pub split: Split,
    /// The rows of this task's view.
    pub rows: &'a [BatchRow],
    /// The seed of the step's dropout; `None` in evaluation.
    pub noise_seed: Option<u64>,
    /// How much of the run lies behind, from 0 to 1: what changes over a run goes by it. 1 in evaluation.
    pub progress: f64,
}

impl<'a> Batch<'a> {
    /// Rows outside of training: without dropout.
    pub fn evaluated(states: &'a Tensor<2>, pack: &'a Pack, split: Split, rows: &'a [BatchRow]) -> Self {
        Batch { states, pack, split, rows, noise_seed: None, progress: 1.0 }
    }
}

/// A row of the task's view inside a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRow {
    /// Which row of the pack.
    pub pack_row: u32,
    /// Which row of the view, and so of the attached split.
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

/// What was found while the targets of a split were read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LabelReport {
    /// Rows of the split.
    pub rows: usize,
    /// Rows with a label of this task.
    pub labelled: usize,
    /// Rows without one.
    pub missing: usize,
    /// Labels that the training split never showed, and how often they occur.
    pub unseen: BTreeMap<String, usize>,
    /// Labels that the space leaves out because training has them too seldom, or never.
    pub rare: usize,
    /// How often each label of the space occurs, in its order; in tagging, words.
    pub counts: Vec<(String, usize)>,
    /// What the numbers are like, where the labels are numbers.
    pub numbers: Option<Numbers>,
    /// Labels lost to truncation: words whose first token was cut off.
    pub truncated: usize,
    /// Labels of words for which the tokenizer has no token at all (a lone control character, say). Like words lost to
    /// truncation, they are not trained on and are scored as `O`.
    pub without_token: usize,
    /// Labels that the task's settings leave out of reach, such as entities of too many words. They are not trained on, and
    /// are scored as not found.
    pub out_of_reach: usize,
}

/// What some numbers are like.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Numbers {
    /// The least of them.
    pub least: f64,
    /// Their mean.
    pub mean: f64,
    /// The greatest of them.
    pub most: f64,
    /// Their standard deviation, as of all there are.
    pub deviation: f64,
}

impl Numbers {
    /// Of some values; `None` where there are none.
    pub(crate) fn of(values: &[f64]) -> Option<Self> {
        let n = values.len() as f64;
        let least = values.iter().copied().reduce(f64::min)?;
        let most = values.iter().copied().reduce(f64::max)?;
        let mean: f64 = values.iter().map(|value| value / n).sum();
        let square: f64 = values.iter().map(|value| (value - mean).powi(2) / n).sum();
        Some(Numbers { least, mean, most, deviation: square.sqrt() })
    }
}

/// A task's scores on one split.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Scores {
    /// The name of the main one: the task's `metric`, or the kind's first.
    pub main: String,
    /// All scores by name, the main one first.
    pub values: Vec<(String, f64)>,
}

impl Scores {
    /// Scores by name, of which `main` is moved to the front.
    pub(crate) fn with_main(main: &str, mut values: Vec<(String, f64)>) -> Self {
        if let Some(at) = values.iter().position(|(name, _)| name == main) {
            values[..=at].rotate_right(1);
        }
        Scores { main: main.to_owned(), values }
    }

    /// The score of that name.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.iter().find(|(n, _)| n == name).map(|(_, value)| *value)
    }
}

/// What a head says of one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// The probability of each label, in the order of [`Kind::labels`]; of each text that may be chosen.
    Label(Vec<f32>),
    /// The probability of each label by itself, in the order of [`Kind::labels`].
    Labels(Vec<f32>),
    /// A number, in the unit of the corpus.
    Number(f64),
    /// A part of a row's second text.
    Span(SpanAnswer),
    /// A text that was written.
    Text(TextAnswer),
    /// Entities of a row and the relations between them.
    Graph(EntityGraph),
    /// A tag per word, up to the last word that has a token; `None` for a word without one.
    Tags(Vec<Option<WordTag>>),
    /// A head per word and its relation to it, up to the last word that has a token; `None` for a word without one.
    Tree(Vec<Option<WordArc>>),
    /// What is found for each hidden token, in their order.
    Tokens(Vec<FoundToken>),
}

/// The part of a row's second text that answers its first.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SpanAnswer {
    /// Its first and last token, as places in its sequence; `None` where the text has no answer.
    pub tokens: Option<[u32; 2]>,
    /// Which of the row's sequences.
    pub sequence: u32,
    /// The probability that it begins there times that it ends there, 0 to 1.
    pub probability: f32,
}

/// A text that was written.
#[derive(Debug, Clone, PartialEq)]
pub struct TextAnswer {
    /// The text.
    pub text: String,
    /// The geometric mean of its tokens' probabilities, 0 to 1.
    pub probability: f32,
    /// The negative log-likelihood in nats of the right text, and how many tokens it has; `None` where none is known.
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
    /// Places in [`EntityGraph::entities`].
    pub head: u32,
    /// See `head`.
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
    /// Its probability, 0 to 1; with a CRF the marginal one.
    pub probability: f32,
}

/// What is found for a hidden token.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundToken {
    /// The most probable tokens and their probabilities, the first at the top.
    pub best: Vec<(u32, f32)>,
    /// What it was, and the logarithm of the probability of that, where it is known.
    pub was: Option<(u32, f32)>,
}

/// The head of one word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordArc {
    /// 0 for the root, else the head's place in its row, counted from 1.
    pub head: u32,
    /// Index into [`Kind::labels`].
    pub relation: u32,
    /// The probability of the head times that of the relation, 0 to 1.
    pub probability: f32,
}

/// The text that a prediction is about.
#[derive(Debug, Clone, Copy)]
pub enum Source<'a> {
    /// Plain text.
    Text {
        /// The text.
        text: &'a str,
        /// The byte ranges of its words, as the tagger read them ([`data::split_words`]); may be empty for a task that
        /// reads no words.
        words: &'a [Range<usize>],
    },
    /// Words as they were given.
    Words(&'a [String]),
    /// Two texts as one row.
    Pair {
        /// The second text.
        second: &'a str,
        /// The bytes of it that each token of each sequence stands for ([`data::Encoded::places`]).
        places: &'a [&'a [[u32; 2]]],
    },
    /// Texts of which one is to be chosen.
    Choices(&'a [String]),
}

impl<'a> Source<'a> {
    /// The words that a task on words reads of it.
    pub(crate) fn words(self) -> Vec<&'a str> {
        match self {
            Source::Text { text, words } => {
                words.iter().map(|word| text.get(word.clone()).unwrap_or_default()).collect()
            }
            Source::Words(words) => words.iter().map(String::as_str).collect(),
            Source::Pair { .. } | Source::Choices(_) => Vec::new(),
        }
    }
}

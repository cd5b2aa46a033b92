//! The states that a teacher's trunk has for the tokens of a text: what a student learns of its teacher beside answers. Only in
//! `polytask distill`, of any corpus: no labels are needed.
//!
//! Input: a field of text, two of them (`pair`), or a field of words. Teacher and student have one tokenizer and one `max_length`, so that
//! they see the same tokens. The teacher needs no such task: its states are those of its last layer, as its heads read them.
//!
//! Loss: with `match = "states"` (default) the squared error of `W h` and the teacher's state, the mean over its numbers and over tokens
//! (TinyBERT, equation 8). `W` `[teacher's width, student's width]` is learned, the head's only parameter; where the widths are equal, it is
//! left out. With `match = "relations"` nothing is learned beside the student, and the widths may differ: in each of `heads` parts of
//! the states a token's relations are the softmax of its state's products with those of all tokens of its sequence, divided by the root of
//! the part's width. The loss is the KL divergence of the student's from the teacher's, the mean over parts and over tokens. This is
//! MiniLMv2's loss, of states in the place of queries, keys and values.
//!
//! Scores: none. There is nothing to predict: `evaluate`, `predict` and `export` leave the task out.
//!
//! Cost: of `states` a product `[tokens, student's width] x [student's width, teacher's width]`, of `relations` the products of attention,
//! for student and teacher. In memory while training: 4 bytes for each number of the teacher's states, so 234 MiB for 10,000 rows
//! of 16 tokens and a width of 384.
//!
//! Papers: Jiao et al. 2020, "TinyBERT: distilling BERT for natural language understanding"; Wang et al. 2021, "MiniLMv2: multi-head
//! self-attention relation distillation for compressing pretrained transformers".
//!
//! Example: `hidden_states = { text = "text", match = "relations" }`

use burn::tensor::Tensor;
use data::{DataError, InputField, Pack, Row, Split, TextWindows, View};
use kernels::Precision;
use model::{Init, MatrixId, Parameters};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::distillation::{SoftLoss, SoftOutputs, TaughtRow};
use crate::losses::hidden_states::{relation_divergence, squared_error};
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, Prediction, RowComparison, Scores, TaskError,
    TaskHead, TrunkHandles, input,
};

/// The parts of states whose relations are learned: as many as the attention heads of BERT base.
const HEADS: usize = 12;

/// `hidden_states = { .. }`: the states of a teacher's tokens.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HiddenStatesConfig {
    /// The field with the text to read. Give this or `tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The field with a second text, read together with `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pair: Option<String>,
    /// The field with the words to read, for corpora that come split into words. Give this or `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<String>,
    /// Reads a text longer than `[data] max_length` in several sequences, `{ overlap = 32, most = 8 }` by default with `windows = {}`;
    /// without it such a text is truncated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub windows: Option<TextWindows>,
    /// What is learned of the teacher's states: themselves, or how those of a text's tokens relate to each other.
    #[serde(default, rename = "match")]
    pub matched: MatchedStates,
    /// Of `match = "relations"` the parts of a state, each with relations of its own; a divisor of both widths, 12 by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1024))]
    pub heads: Option<usize>,
}

/// What is learned of a teacher's states.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum MatchedStates {
    /// The states themselves, after a learned projection where the widths differ.
    #[default]
    States,
    /// The relations of a text's tokens.
    Relations,
}

impl HiddenStatesConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let kind = format!("task.{task}.hidden_states");
        let (text, pair, tokens) = (self.text.as_ref(), self.pair.as_ref(), self.tokens.as_ref());
        let input = input::of_row(&kind, text, pair, tokens, self.windows)?;
        if let Some(metric) = metric {
            return Err(TaskError::Setting {
                key: format!("task.{task}.metric"),
                found: format!("{metric:?}"),
                expected: "no metric: there is nothing to predict, and so no score".into(),
            });
        }
        match (self.heads, self.matched) {
            (Some(0), _) => Err(TaskError::Setting {
                key: format!("{kind}.heads"),
                found: "0".into(),
                expected: "at least 1".into(),
            }),
            (Some(heads), MatchedStates::States) => Err(TaskError::Setting {
                key: format!("{kind}.heads"),
                found: format!("{heads} beside match = \"states\""),
                expected: "match = \"relations\", or no `heads`: states are matched as a whole".into(),
            }),
            _ => Ok(Box::new(HiddenStates {
                task: task.to_owned(),
                input,
                matched: self.matched,
                heads: self.heads.unwrap_or(HEADS),
                teacher: None,
            })),
        }
    }
}

/// What the head is made for: its "label space".
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Space {
    /// The width of the teacher's states.
    teacher_hidden: usize,
}

/// A task of hidden states.
struct HiddenStates {
    task: String,
    input: InputField,
    matched: MatchedStates,
    heads: usize,
    /// The width of the teacher's states.
    teacher: Option<usize>,
}

impl HiddenStates {
    /// Refuses parts that are not equally wide.
    fn check_heads(&self, student: usize, teacher: usize) -> Result<(), TaskError> {
        let widths = [("student", student), ("teacher", teacher)];
        let uneven = widths.iter().find(|(_, width)| !width.is_multiple_of(self.heads));
        let Some((whose, width)) = uneven.filter(|_| self.matched == MatchedStates::Relations) else {
            return Ok(());
        };
        Err(TaskError::Setting {
            key: format!("task.{}.hidden_states.heads", self.task),
            found: format!("{}, which does not divide the width {width} of the {whose}", self.heads),
            expected: format!("a divisor of {}", greatest_common_divisor(student, teacher)),
        })
    }
}

fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

impl Kind for HiddenStates {
    fn input(&self) -> InputField {
        self.input.clone()
    }

    fn set_teacher(&mut self, hidden: usize) {
        self.teacher = Some(hidden);
    }

    fn metrics(&self) -> &'static [&'static str] {
        &[]
    }

    fn has_one_answer(&self) -> bool {
        false
    }

    fn target_fields(&self) -> Vec<String> {
        Vec::new()
    }

    fn fit_labels(&self, _rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let Some(teacher_hidden) = self.teacher else {
            return Err(vec![DataError::Setting {
                key: format!("task.{}.hidden_states", self.task),
                found: "no teacher".into(),
                expected: "one in [distill], whose states are learned".into(),
            }]);
        };
        Ok(json!(Space { teacher_hidden }))
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        let refused = || TaskError::Space {
            task: self.task.clone(),
            reason: format!("found {label_space}, expected \"teacher_hidden\", the width of the teacher"),
        };
        let Space { teacher_hidden } = serde_json::from_value(label_space.clone()).map_err(|_| refused())?;
        if !(1..=MOST_HIDDEN).contains(&teacher_hidden) {
            return Err(refused());
        }
        self.check_heads(trunk.hidden, teacher_hidden)?;
        let learned = match self.matched {
            MatchedStates::Relations => Learned::Relations { heads: self.heads },
            MatchedStates::States if teacher_hidden == trunk.hidden => Learned::States { projection: None },
            MatchedStates::States => {
                let bound = Init::Uniform(1.0 / (trunk.hidden as f32).sqrt());
                let mut head = parameters.head(&self.task);
                let shape = [teacher_hidden, trunk.hidden];
                Learned::States { projection: Some(head.matrix("projection.weight", shape, bound)) }
            }
        };
        Ok(EncodedHead::boxed(HiddenStatesHead { teacher_hidden, learned }))
    }
}

/// No network is wider; a label space that says so is damaged.
const MOST_HIDDEN: usize = 1 << 20;

/// What a head learns.
enum Learned {
    /// States, with the projection to the teacher's width where that is another.
    States { projection: Option<MatrixId> },
    /// Relations in so many parts.
    Relations { heads: usize },
}

/// The head of a task of hidden states.
struct HiddenStatesHead {
    teacher_hidden: usize,
    learned: Learned,
}

impl HiddenStatesHead {
    /// The sum of the losses of tokens, whose states are `[n, hidden]`, in sequences of these lengths.
    fn sum(
        &self,
        parameters: &Parameters,
        states: Tensor<2>,
        lengths: &[usize],
        teacher: Vec<f32>,
    ) -> Option<Tensor<1>> {
        match self.learned {
            Learned::Relations { heads } => relation_divergence(&states, lengths, &teacher, heads),
            Learned::States { projection: None } => Some(squared_error(states, teacher)),
            Learned::States { projection: Some(projection) } => {
                let none = Tensor::zeros([self.teacher_hidden], &states.device());
                let outputs = kernels::linear(states, parameters.matrix(projection), none, Precision::F32);
                Some(squared_error(outputs, teacher))
            }
        }
    }
}

impl Head for HiddenStatesHead {
    /// There are none.
    type Targets = ();

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let rows = view.encoded.rows();
        Ok(((), LabelReport { rows, missing: rows, ..Default::default() }))
    }

    fn labelled(_targets: &Self::Targets, _row: usize) -> bool {
        false
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        rows.iter().for_each(|at| used[at.tokens(pack)].fill(true));
    }

    fn loss(&self, _parameters: &Parameters, _batch: &Batch<'_>, _targets: &Self::Targets) -> Option<Loss> {
        None
    }

    /// Those of a trunk, which answers for the task ([`SoftOutputs::states`]).
    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs::states(self.teacher_hidden))
    }

    /// At all tokens of the rows; the temperature is for logits.
    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        _temperature: f32,
    ) -> Option<SoftLoss> {
        let (mut tokens, mut lengths, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for TaughtRow { at, answer, .. } in taught {
            let own = at.tokens(batch.pack);
            // A teacher of the same tokens has answered all of them.
            if answer.len() == own.len() * self.teacher_hidden {
                tokens.extend(own.map(|token| token as u32));
                lengths.extend(at.sequences(batch.pack).map(|sequence| sequence.len()));
                answers.extend(*answer);
            }
        }
        if tokens.is_empty() {
            return None;
        }
        let states = kernels::gather_rows(batch.states.clone(), &tokens);
        let sum = self.sum(parameters, states, &lengths, answers)?;
        Some(SoftLoss { sum, num_targets: tokens.len() })
    }

    /// An answer that says nothing.
    fn predict(
        &self,
        _parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Prediction> {
        vec![Prediction::Labels(Vec::new()); batch.rows.len()]
    }

    fn score(&self, _split: Split, _targets: &Self::Targets, _predictions: &[(u32, Prediction)]) -> Scores {
        Scores::default()
    }

    fn label_space(&self) -> serde_json::Value {
        json!(Space { teacher_hidden: self.teacher_hidden })
    }

    fn to_json(&self, _prediction: &Prediction, _input: ModelInput<'_>) -> serde_json::Value {
        serde_json::Value::Null
    }

    fn compare(
        &self,
        _targets: &Self::Targets,
        _row: usize,
        _source: &Row,
        _prediction: &Prediction,
    ) -> Option<RowComparison> {
        None
    }
}

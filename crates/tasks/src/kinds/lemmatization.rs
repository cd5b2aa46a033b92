//! The lemma of each word, predicted as an edit script that turns the form into the lemma.
//!
//! Input: a field of words. Lemmas: a field with one lemma for each word (a list, or text with single spaces between lemmas). A
//! row without the field is masked, and so is a word whose lemma is null or empty; `_` is a lemma like any other. The defaults are
//! the field names of a `.conllu` file.
//!
//! Labels: the scripts that the training words need at least `min_count` times. A script says which characters to insert and delete
//! at the beginning and at the end of the word, and where the lemma has capitals: `studies` and `Flies` share `↓0;d¦+y---`, `NATO`
//! and `Anna` share `↕;d¦`, the unchanged word. Words that need a rarer script are masked, and counted.
//!
//! Head: each word is represented by the state of its first token; dropout, then a linear layer `[hidden] -> [scripts]`.
//! Loss: cross-entropy, the mean over words with a lemma.
//!
//! Decoding: the most probable script; if it deletes more characters than the word has, the word is not changed.
//!
//! Scores: `lemma_accuracy`, the share of words whose lemma is exactly right. Words lost to truncation are wrong, and so are words
//! whose script is not in the label space, unless another script gives the same lemma.
//!
//! Cost: `[words, hidden] x [hidden, scripts]` a step; English needs about 630 scripts, 260 of them more than once.
//!
//! Papers: Straka 2018, "UDPipe 2.0 prototype at CoNLL 2018 UD shared task"; Kondratyuk and Straka 2019, "75 languages, 1 model:
//! parsing Universal Dependencies universally". As in the latter, scripts do not copy characters inside of changed affixes. The
//! script that keeps the form's capitals is our addition.
//!
//! Example: `lemmatization = { tokens = "tokens", lemmas = "lemma" }`
//!
//! Answer: `{"lemmas": [..], "probabilities": [..]}`, one of each per word, null for truncated words; for plain text also
//! `"words"`.

use std::sync::Arc;

use data::{DataError, InputField, Pack, Row, Split, View};
use model::Parameters;
use model::onnx::{OnnxGraph, Value};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::distillation::{self, SoftLoss, SoftOutputs, TaughtRow};
use crate::heads::head::{self, LinearHead};
use crate::onnx::FIRST_TOKENS;
use crate::row_comparison::{NO_LABEL, WordDifference};
use crate::targets::labels::{self, IGNORE_INDEX, Labels};
use crate::targets::words::{self, WordTargets, first_tokens};
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, Kind, LabelReport, Loss, ModelInput, OnnxHead, Prediction, RowComparison, Scores,
    TaskError, TaskHead, TrunkHandles, WordTag,
};

mod script;

const METRICS: &[&str] = &["lemma_accuracy"];

/// `lemmatization = { .. }`: the lemma of each word.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LemmatizationConfig {
    /// The field with the words: a list, or text with single spaces between words.
    #[serde(default = "tokens")]
    pub tokens: String,
    /// The field with the lemmas, one for each word.
    #[serde(default = "lemma")]
    pub lemmas: String,
    /// Scripts that fewer training words need are left out of the label space.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// The maximum number of different scripts. More are an error, since the field probably holds no lemmas.
    #[serde(default = "ten_thousand")]
    #[schemars(range(min = 2))]
    pub max_labels: usize,
}

fn tokens() -> String {
    "tokens".into()
}

fn lemma() -> String {
    "lemma".into()
}

fn two() -> usize {
    2
}

fn ten_thousand() -> usize {
    10_000
}

impl LemmatizationConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.lemmatization.{name}");
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        if self.min_count == 0 {
            let expected = "1 or more".into();
            return Err(TaskError::Setting { key: key("min_count"), found: "0".into(), expected });
        }
        if self.tokens == self.lemmas {
            let found = format!("{:?}, the same field as `tokens`", self.lemmas);
            let expected = "the field with the lemmas".into();
            return Err(TaskError::Setting { key: key("lemmas"), found, expected });
        }
        Ok(Box::new(Lemmatization {
            task: task.to_owned(),
            config: self.clone(),
            primary: TaskError::metric(task, METRICS, metric)?,
        }))
    }
}

/// A lemmatization task.
#[derive(Clone)]
struct Lemmatization {
    task: String,
    config: LemmatizationConfig,
    primary: &'static str,
}

/// The lemmas of one split.
#[derive(Default)]
struct SplitLemmas {
    rows: Arc<[Row]>,
    scripts: WordTargets,
}

impl Lemmatization {
    /// A row's lemmas, `None` for words without one; `None` for a row without lemmas.
    fn read(&self, row: &Row) -> Result<Option<Vec<Option<String>>>, DataError> {
        words::labels(&self.config.tokens, &self.config.lemmas, row, "lemma")
    }

    /// The script of each word of a row that has a lemma.
    fn scripts(&self, row: &Row) -> Result<Option<Vec<Option<String>>>, DataError> {
        let Some(lemmas) = self.read(row)? else { return Ok(None) };
        let forms = row.words(&self.config.tokens)?.unwrap_or_default();
        let script = |(form, lemma): (&String, Option<String>)| Some(script::script(form, &lemma?));
        Ok(Some(forms.iter().zip(lemmas).map(script).collect()))
    }
}

impl Kind for Lemmatization {
    fn input(&self) -> InputField {
        InputField::Words(self.config.tokens.clone())
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }

    fn target_fields(&self) -> Vec<String> {
        vec![self.config.lemmas.clone()]
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let scripts = |row: &Row| Ok(self.scripts(row)?.into_iter().flatten().flatten());
        let mut counted = labels::count(rows, scripts)?;
        let all = counted.len();
        counted.retain(|_, count| *count >= self.config.min_count);
        let key = |name: &str| format!("task.{}.lemmatization.{name}", self.task);
        if counted.len() < 2 && all >= 2 {
            let found =
                format!("{}, and {} of {all} scripts that often", self.config.min_count, counted.len());
            let expected = "a count that leaves two or more".into();
            return Err(vec![DataError::Setting { key: key("min_count"), found, expected }]);
        }
        let labels = Labels::new(counted);
        labels.check(rows, &self.config.lemmas, self.config.max_labels, key, "lemmas")?;
        Ok(labels.to_json())
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        let labels = Labels::from_json(&self.task, label_space)?;
        let linear = LinearHead::new(parameters, &self.task, trunk.hidden, labels.len());
        Ok(EncodedHead::boxed(LemmatizationHead { kind: self.clone(), labels, linear }))
    }
}

/// The head of a lemmatization task.
struct LemmatizationHead {
    kind: Lemmatization,
    /// The scripts.
    labels: Labels,
    linear: LinearHead,
}

impl LemmatizationHead {
    /// The predicted lemma of a word; `None` for a word without a prediction.
    fn lemma(&self, form: &str, tag: Option<WordTag>) -> Option<String> {
        let script = self.labels.name(tag?.label).unwrap_or_default();
        Some(script::apply(form, script).unwrap_or_else(|| form.to_owned()))
    }
}

impl Head for LemmatizationHead {
    type Targets = SplitLemmas;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let (scripts, mut report) = WordTargets::encode(view, &self.labels, |row| self.kind.scripts(row))?;
        report.rare = std::mem::take(&mut report.unseen).values().sum();
        Ok((SplitLemmas { rows: view.rows.clone(), scripts }, report))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.scripts.row(row).iter().any(|id| *id != IGNORE_INDEX)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        words::mark_first_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let (mut tokens, mut gold) = (Vec::new(), Vec::new());
        for at in batch.rows {
            let scripts = targets.scripts.row(at.row as usize);
            for (token, word) in first_tokens(batch.pack, *at) {
                let script = scripts.get(word as usize).filter(|id| (**id as usize) < self.labels.len());
                if let Some(script) = script {
                    tokens.push(token);
                    gold.push(*script);
                }
            }
        }
        if gold.is_empty() {
            return None;
        }
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        let states = kernels::gather_rows(batch.states.clone(), &tokens);
        let logits = self.linear.logits(parameters, states, dropout);
        Some(Loss { mean: kernels::cross_entropy(logits, &gold, None, 0.0), num_targets: gold.len() })
    }

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs::of(self.labels.names()))
    }

    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let firsts: Vec<Vec<(u32, u32)>> =
            batch.rows.iter().map(|at| first_tokens(batch.pack, *at).collect()).collect();
        let tokens: Vec<u32> = firsts.iter().flatten().map(|(token, _)| *token).collect();
        if tokens.is_empty() {
            return vec![Vec::new(); batch.rows.len()];
        }
        let states = kernels::gather_rows(batch.states.clone(), &tokens);
        let logits = head::to_host_vec(self.linear.logits(parameters, states, None));
        distillation::answers_of_words(&logits, &firsts, self.labels.len())
    }

    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        temperature: f32,
    ) -> Option<SoftLoss> {
        let dropout = head::dropout(self.kind.config.dropout, &self.kind.task, batch.dropout_seed);
        let logits = |states| self.linear.logits(parameters, states, dropout);
        distillation::loss_of_words(batch, taught, self.labels.len(), temperature, logits)
    }

    fn predict(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Prediction> {
        let firsts: Vec<Vec<(u32, u32)>> =
            batch.rows.iter().map(|at| first_tokens(batch.pack, *at).collect()).collect();
        let tokens: Vec<u32> = firsts.iter().flatten().map(|(token, _)| *token).collect();
        if tokens.is_empty() {
            return vec![Prediction::Tags(Vec::new()); batch.rows.len()];
        }
        let states = kernels::gather_rows(batch.states.clone(), &tokens);
        let probabilities = head::probabilities(self.linear.logits(parameters, states, None));
        let mut best = probabilities.chunks_exact(self.labels.len()).map(head::argmax);
        let of_row = |words: &Vec<(u32, u32)>| {
            let mut tags = vec![None; words.last().map_or(0, |(_, word)| *word as usize + 1)];
            for ((_, word), (label, probability)) in words.iter().zip(best.by_ref()) {
                tags[*word as usize] = Some(WordTag { label: label as u32, probability });
            }
            Prediction::Tags(tags)
        };
        firsts.iter().map(of_row).collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut gold, mut predicted) = (Vec::new(), Vec::new());
        for (row, prediction) in predictions {
            let row = targets.rows.get(*row as usize);
            let (Some(row), Prediction::Tags(tags)) = (row, prediction) else { continue };
            let forms = row.words(&self.kind.config.tokens).ok().flatten().unwrap_or_default();
            let lemmas = self.kind.read(row).ok().flatten().unwrap_or_default();
            for (word, (form, lemma)) in forms.iter().zip(lemmas).enumerate() {
                if let Some(lemma) = lemma {
                    gold.push(lemma);
                    predicted.push(self.lemma(form, tags.get(word).copied().flatten()));
                }
            }
        }
        let accuracy = metrics::lemma_accuracy(&gold, &predicted);
        Scores::with_primary(self.kind.primary, vec![("lemma_accuracy".into(), accuracy)])
    }

    fn onnx(&self, graph: &mut OnnxGraph, states: &Value) -> Option<OnnxHead> {
        let logits = self.linear.onnx(graph, states);
        let head = OnnxHead::of_tokens(logits, self.labels.len(), "softmax");
        Some(head.with("word", json!(FIRST_TOKENS)))
    }

    fn label_space(&self) -> serde_json::Value {
        self.labels.to_json()
    }

    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value {
        let Prediction::Tags(tags) = prediction else { return serde_json::Value::Null };
        let forms = input.words();
        let tag = |word: usize| tags.get(word).copied().flatten();
        let lemmas = forms.iter().enumerate().map(|(word, form)| self.lemma(form, tag(word)));
        let probabilities = (0..forms.len()).map(|word| tag(word).map(|tag| tag.probability));
        let mut answer = json!({
            "lemmas": lemmas.collect::<Vec<_>>(),
            "probabilities": probabilities.collect::<Vec<_>>(),
        });
        if let ModelInput::Text { .. } = input {
            answer["words"] = json!(forms);
        }
        answer
    }

    fn compare(
        &self,
        _targets: &Self::Targets,
        _row: usize,
        source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let Prediction::Tags(tags) = prediction else { return None };
        let forms = source.words(&self.kind.config.tokens).ok().flatten()?;
        let lemmas = self.kind.read(source).ok().flatten()?;
        let mut differences = Vec::new();
        for (word, (form, lemma)) in forms.iter().zip(lemmas).enumerate() {
            let tag = tags.get(word).copied().flatten();
            let (Some(gold), answer) = (lemma, self.lemma(form, tag)) else { continue };
            if answer.as_ref() != Some(&gold) {
                let probability = tag.map_or(0.0, |tag| f64::from(tag.probability));
                let (word, answer) = (form.clone(), answer.unwrap_or_else(|| NO_LABEL.to_owned()));
                differences.push(WordDifference { word, gold, answer, probability });
            }
        }
        Some(RowComparison::of_words(differences, Vec::new()))
    }

    fn error_measure(&self) -> &'static str {
        "greatest probability of a wrong lemma"
    }
}

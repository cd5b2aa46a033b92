//! The syntactic head of each word and the word's relation to it: dependency parsing.
//!
//! Input: a field of words. Heads: a field with one number for each word, 0 for the root, else the index of the word's head,
//! counted from 1. Relations: a field with one label for each word. Both may be lists, or text with single spaces. A row without
//! heads is masked, and so is a word whose head is null or `_`. The defaults are the field names of a `.conllu` file; its
//! multiword tokens and empty nodes are ignored, since its words are the syntactic words.
//!
//! Head: each word is represented by the state of its first token, the root by a learned vector. Four layers `[hidden] ->
//! [width]` with leaky ReLU (slope 0.1) and dropout map each word to a dependent and a head, for arcs (`d`, `h`) and for
//! relations (`d'`, `h'`). Within each row an arc has the score `d U h + u h`, and relation `r` of an arc has the score
//! `d' U_r h' + v_r d' + w_r h' + b_r`. All products are initialized to 0.
//!
//! Loss: the cross-entropy of the gold head among the root and the words of the row, plus that of the gold relation given the
//! gold head; the mean over words. A word is not trained on, and is counted, if it or its head lost its token to truncation.
//!
//! Decoding: the tree of highest probability with one word at the root (Chu-Liu/Edmonds); then the most probable relation of each
//! arc. The tree covers every word with a token.
//!
//! Scores: `las` (default), `uas`, `clas` as the CoNLL 2018 script counts them: only the part of a relation before a colon counts.
//! Words lost to truncation are wrong. `relation_accuracy`: correct head and complete relation.
//!
//! Cost: a step multiplies `[words, hidden] x [hidden, 2 (arc_width + relation_width)]`, then about `words x relations x
//! relation_width^2` for relations; decoding takes `n^3` at worst for a row of `n` words.
//!
//! Papers: Dozat and Manning 2017, "Deep biaffine attention for neural dependency parsing"; McDonald et al. 2005, "Non-projective
//! dependency parsing using spanning tree algorithms"; Zeman et al. 2018, "CoNLL 2018 shared task".
//!
//! Example: `dependency_parsing = { tokens = "tokens", heads = "head", relations = "deprel" }`
//!
//! Answer: `{"heads": [..], "relations": [..], "probabilities": [..]}`, one of each per word, null for truncated words; for plain
//! text also `"words"`. A probability is that of the head among all heads, times that of the relation.

use std::ops::Range;

use burn::tensor::Tensor;
use data::{DataError, ErrorList, InputField, Pack, Row, Split, View};
use kernels::Dropout;
use model::Parameters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::distillation::{self, SoftLoss, SoftOutputs, TaughtRow};
use crate::row_comparison::{NO_LABEL, WordDifference};
use crate::targets::labels::{self, IGNORE_INDEX, Labels};
use crate::targets::words::{self, DroppedCounts};
use crate::task_head::{EncodedHead, Head};
use crate::{
    Batch, BatchRow, GoldIssue, Kind, LabelReport, Loss, ModelInput, Prediction, RowComparison, Scores,
    TaskError, TaskHead, TrunkHandles, WordArc,
};

mod answers;
mod arcs;
mod biaffine;
mod decoding;
mod tree;

use arcs::ArcTargets;
use biaffine::{Biaffine, Words, length_groups};
use decoding::PresentWords;

const METRICS: &[&str] = &["las", "uas", "clas", "relation_accuracy"];

/// The maximum width of the four layers.
const MAX_WIDTH: usize = 4096;

/// `dependency_parsing = { .. }`: the syntactic head of each word, and the word's relation to it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DependencyParsingConfig {
    /// The field with the words: a list, or text with single spaces between words.
    #[serde(default = "tokens")]
    pub tokens: String,
    /// The field with the heads, one number for each word, 0 for the root.
    #[serde(default = "heads")]
    pub heads: String,
    /// The field with the relations, one for each word.
    #[serde(default = "relations")]
    pub relations: String,
    /// The width of a word's representations as dependent and as head for the scores of arcs.
    #[serde(default = "default_arc_width")]
    #[schemars(range(min = 1, max = 4096))]
    pub arc_width: usize,
    /// The width of the same representations for the scores of relations.
    #[serde(default = "default_relation_width")]
    #[schemars(range(min = 1, max = 4096))]
    pub relation_width: usize,
    /// Dropout behind the four layers, 0 to below 1.
    #[serde(default = "default_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// The maximum number of different relations. More are an error, since the field probably holds no relations.
    #[serde(default = "labels::default_max_labels")]
    #[schemars(range(min = 2))]
    pub max_labels: usize,
}

fn tokens() -> String {
    "tokens".into()
}

fn heads() -> String {
    "head".into()
}

fn relations() -> String {
    "deprel".into()
}

fn default_arc_width() -> usize {
    500
}

fn default_relation_width() -> usize {
    100
}

fn default_dropout() -> f32 {
    0.33
}

impl DependencyParsingConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.dependency_parsing.{name}");
        TaskError::fraction(|| key("dropout"), self.dropout.into())?;
        for (name, width) in [("arc_width", self.arc_width), ("relation_width", self.relation_width)] {
            if !(1..=MAX_WIDTH).contains(&width) {
                let expected = format!("1 to {MAX_WIDTH}");
                return Err(TaskError::Setting { key: key(name), found: width.to_string(), expected });
            }
        }
        for (name, field, other) in [
            ("heads", &self.heads, &self.tokens),
            ("relations", &self.relations, &self.tokens),
            ("relations", &self.relations, &self.heads),
        ] {
            if field == other {
                let found = format!("{field:?}, which is another setting's field, too");
                let expected = "three different fields".into();
                return Err(TaskError::Setting { key: key(name), found, expected });
            }
        }
        Ok(Box::new(DependencyParsing {
            task: task.to_owned(),
            config: self.clone(),
            primary: TaskError::metric(task, METRICS, metric)?,
        }))
    }
}

/// A dependency parsing task.
#[derive(Clone)]
struct DependencyParsing {
    task: String,
    config: DependencyParsingConfig,
    primary: &'static str,
}

impl Kind for DependencyParsing {
    fn input(&self) -> InputField {
        InputField::Words(self.config.tokens.clone())
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }

    fn target_fields(&self) -> Vec<String> {
        vec![self.config.heads.clone(), self.config.relations.clone()]
    }

    fn fit_labels(&self, rows: &[Row]) -> Result<serde_json::Value, Vec<DataError>> {
        let relation = |arc: arcs::Arc| arc.relation;
        let relations =
            |row: &Row| Ok(arcs::read(&self.config, row)?.into_iter().flatten().flatten().map(relation));
        let counted = labels::count(rows, relations)?;
        let labels = Labels::new(counted);
        let key = |name: &str| format!("task.{}.dependency_parsing.{name}", self.task);
        labels.check(rows, &self.config.relations, self.config.max_labels, key, "relations")?;
        Ok(labels.to_json())
    }

    fn init_head(
        &self,
        label_space: &serde_json::Value,
        trunk: &TrunkHandles<'_>,
        parameters: &mut Parameters,
    ) -> Result<Box<dyn TaskHead>, TaskError> {
        let labels = Labels::from_json(&self.task, label_space)?;
        let widths = [self.config.arc_width, self.config.relation_width];
        let biaffine = Biaffine::new(parameters, &self.task, trunk.hidden, widths, labels.len());
        Ok(EncodedHead::boxed(DependencyParsingHead { kind: self.clone(), labels, biaffine }))
    }
}

/// The head of a dependency parsing task.
struct DependencyParsingHead {
    kind: DependencyParsing,
    /// The relations.
    labels: Labels,
    biaffine: Biaffine,
}

impl DependencyParsingHead {
    /// The words of a batch as dependents and heads.
    fn words(&self, parameters: &Parameters, batch: &Batch<'_>, present: &PresentWords) -> Words {
        let dropout = |layer| {
            let seed = batch.dropout_seed.filter(|_| self.kind.config.dropout > 0.0)?;
            Some(Dropout::new(
                self.kind.config.dropout,
                data::random::derive_seed(seed, &self.kind.task, layer),
            ))
        };
        self.biaffine.words(parameters, kernels::gather_rows(batch.states.clone(), &present.tokens), dropout)
    }
}

impl Head for DependencyParsingHead {
    type Targets = ArcTargets;

    fn encode_targets(&self, view: &View) -> Result<(Self::Targets, LabelReport), Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut targets = ArcTargets::default();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        let mut no_trees = GoldIssue::new(
            "have heads that are no tree (one root, no cycle), which the decoder never gives",
            true,
        );
        let mut no_relations =
            GoldIssue::new("have words with a head and no relation (`_`); these words are masked", false);
        for (i, row) in view.rows.iter().enumerate() {
            match arcs::read(&self.kind.config, row) {
                Ok(arcs) => {
                    let arcs = arcs.unwrap_or_default();
                    if !arcs.is_empty() {
                        no_relations.count(&row.place, arcs::lacks_relation(&self.kind.config, row));
                    }
                    if !arcs.is_empty() && arcs.iter().all(Option::is_some) {
                        no_trees.count(&row.place, !arcs::is_tree(&arcs));
                    }
                    let ends = |(word, arc): (usize, &Option<arcs::Arc>)| {
                        let head = arc.as_ref()?.head as usize;
                        Some([word, head.checked_sub(1).unwrap_or(word)])
                    };
                    let ends = arcs.iter().enumerate().filter_map(ends);
                    let dropped = DroppedCounts::among(ends, arcs.len(), &view.encoded, i);
                    report.truncated += dropped.truncated;
                    report.without_token += dropped.without_token;
                    report.labelled += usize::from(arcs.iter().any(Option::is_some));
                    targets.push_row(&self.labels, &arcs);
                }
                Err(error) => errors.push(error),
            }
        }
        errors.finish(())?;
        report.missing = report.rows - report.labelled;
        [no_trees, no_relations].into_iter().for_each(|issue| report.add_issue(issue));
        (report.counts, report.unseen) = targets.relations.count(&self.labels);
        Ok((targets, report))
    }

    fn labelled(targets: &Self::Targets, row: usize) -> bool {
        targets.row(row).any(|(head, _)| head != IGNORE_INDEX)
    }

    fn mark_used_tokens(&self, pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
        words::mark_first_tokens(pack, rows, used);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>, targets: &Self::Targets) -> Option<Loss> {
        let present = PresentWords::of(batch);
        // Per word the index of its gold head in the row, 0 for the root, and its relation; `None` for words that are not trained on.
        let mut gold: Vec<Option<(u32, u32)>> = vec![None; present.tokens.len()];
        for (i, at) in batch.rows.iter().enumerate() {
            for (word, (head, relation)) in (0..).zip(targets.row(at.row as usize)) {
                let index = |word: u32| present.index(i, word);
                let head = match head {
                    IGNORE_INDEX => None,
                    0 => Some(0),
                    head => index(head - 1).map(|head| head as u32 + 1),
                };
                if let (Some(word), Some(head), true) =
                    (index(word), head, (relation as usize) < self.labels.len())
                {
                    gold[present.rows[i].start + word] = Some((head, relation));
                }
            }
        }
        let num_targets = gold.iter().flatten().count();
        if num_targets == 0 {
            return None;
        }
        let words = self.words(parameters, batch, &present);
        let mut sum: Option<Tensor<1>> = None;
        let (mut arcs, mut relations) = (Vec::with_capacity(num_targets), Vec::with_capacity(num_targets));
        for group in length_groups(&present.rows) {
            let rows: Vec<Range<usize>> = group.iter().map(|row| present.rows[*row].clone()).collect();
            let (mut own, mut heads, mut next) = (Vec::new(), Vec::new(), 0);
            for row in &rows {
                for (word, gold) in (next..).zip(&gold[row.clone()]) {
                    let Some((head, relation)) = *gold else { continue };
                    own.push(word);
                    heads.push(head);
                    let dependent = row.start as u32 + (word - next);
                    arcs.push((dependent, head.checked_sub(1).map(|head| row.start as u32 + head)));
                    relations.push(relation);
                }
                next += row.len() as u32;
            }
            if !own.is_empty() {
                let scores = kernels::gather_rows(self.biaffine.arcs(parameters, &words, &rows), &own);
                let part = kernels::cross_entropy(scores, &heads, None, 0.0) * own.len() as f32;
                sum = Some(sum.map_or(part.clone(), |sum| sum + part));
            }
        }
        let scores = self.biaffine.relations(parameters, &words, &arcs);
        let mean = kernels::cross_entropy(scores, &relations, None, 0.0) + sum? / num_targets as f32;
        Some(Loss { mean, num_targets })
    }

    fn soft_outputs(&self) -> Result<SoftOutputs, String> {
        Ok(SoftOutputs::of(self.labels.names()))
    }

    fn reorder(&self, answer: &mut [f32], order: &[usize]) {
        let words = answers::words_of(answer.len(), self.labels.len());
        let relations = answer.len() - words * self.labels.len();
        distillation::reorder_columns(&mut answer[relations..], order);
    }

    fn teacher_answers(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Vec<f32>> {
        let present = PresentWords::of(batch);
        if present.tokens.is_empty() {
            return vec![Vec::new(); batch.rows.len()];
        }
        let words = self.words(parameters, &Batch { dropout_seed: None, ..*batch }, &present);
        answers::of_rows(&self.biaffine, parameters, &words, &present, self.labels.len())
    }

    fn soft_loss(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
        taught: &[TaughtRow<'_>],
        temperature: f32,
    ) -> Option<SoftLoss> {
        let rows: Vec<BatchRow> = taught.iter().map(|row| row.at).collect();
        let batch = Batch { rows: &rows, ..*batch };
        let present = PresentWords::of(&batch);
        if present.tokens.is_empty() {
            return None;
        }
        let words = self.words(parameters, &batch, &present);
        let answered = answers::Answered { taught, present: &present, relations: self.labels.len() };
        answered.loss(&self.biaffine, parameters, &words, temperature)
    }

    fn predict(
        &self,
        parameters: &Parameters,
        batch: &Batch<'_>,
        _targets: &Self::Targets,
    ) -> Vec<Prediction> {
        let present = PresentWords::of(batch);
        if present.tokens.is_empty() {
            return vec![Prediction::Tree(Vec::new()); batch.rows.len()];
        }
        let words = self.words(parameters, &Batch { dropout_seed: None, ..*batch }, &present);
        let trees = decoding::trees(&self.biaffine, parameters, &words, &present.rows);
        let arc = |(row, word): (&Range<usize>, usize)| {
            (word as u32, trees[word].0.checked_sub(1).map(|head| (row.start + head) as u32))
        };
        let all = present.rows.iter().flat_map(|row| row.clone().map(move |word| (row, word)));
        let arcs: Vec<(u32, Option<u32>)> = all.map(arc).collect();
        let relations = decoding::relations(&self.biaffine, parameters, &words, &arcs);
        let of_row = |row: &Range<usize>| {
            let indices = &present.words[row.clone()];
            let mut arcs = vec![None; indices.last().map_or(0, |last| *last as usize + 1)];
            for (word, index) in row.clone().zip(indices) {
                let ((head, of_head), (relation, of_relation)) = (trees[word], relations[word]);
                let head = head.checked_sub(1).map_or(0, |head| indices[head] + 1);
                let probability = of_head * of_relation;
                arcs[*index as usize] = Some(WordArc { head, relation: relation as u32, probability });
            }
            Prediction::Tree(arcs)
        };
        present.rows.iter().map(of_row).collect()
    }

    fn score(&self, _split: Split, targets: &Self::Targets, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut gold, mut predicted) = (Vec::new(), Vec::new());
        for (row, prediction) in predictions {
            let Prediction::Tree(arcs) = prediction else { continue };
            for (word, (head, relation)) in targets.row(*row as usize).enumerate() {
                if head == IGNORE_INDEX {
                    continue;
                }
                let relation = targets.relations.name(&self.labels, relation).unwrap_or_default();
                gold.push(metrics::Arc { head, relation });
                let found = arcs.get(word).copied().flatten();
                predicted.push(found.map(|arc| metrics::Arc {
                    head: arc.head,
                    relation: self.labels.name(arc.relation).unwrap_or_default(),
                }));
            }
        }
        let same = gold.iter().zip(&predicted).filter(|(gold, found)| found.as_ref() == Some(*gold)).count();
        let values = vec![
            ("las".into(), metrics::las(&gold, &predicted)),
            ("uas".into(), metrics::uas(&gold, &predicted)),
            ("clas".into(), metrics::clas(&gold, &predicted)),
            ("relation_accuracy".into(), same as f64 / gold.len().max(1) as f64),
        ];
        Scores::with_primary(self.kind.primary, values)
    }

    fn label_space(&self) -> serde_json::Value {
        self.labels.to_json()
    }

    fn to_json(&self, prediction: &Prediction, input: ModelInput<'_>) -> serde_json::Value {
        let Prediction::Tree(arcs) = prediction else { return serde_json::Value::Null };
        let words = input.words();
        let arc = |word: usize| arcs.get(word).copied().flatten();
        let each = |value: fn(&Self, WordArc) -> serde_json::Value| -> Vec<serde_json::Value> {
            (0..words.len())
                .map(|word| arc(word).map_or(serde_json::Value::Null, |arc| value(self, arc)))
                .collect()
        };
        let mut answer = json!({
            "heads": each(|_, arc| json!(arc.head)),
            "relations": each(|parsing, arc| json!(parsing.labels.name(arc.relation))),
            "probabilities": each(|_, arc| json!(arc.probability)),
        });
        if let ModelInput::Text { .. } = input {
            answer["words"] = json!(words);
        }
        answer
    }

    fn compare(
        &self,
        targets: &Self::Targets,
        row: usize,
        source: &Row,
        prediction: &Prediction,
    ) -> Option<RowComparison> {
        let Prediction::Tree(arcs) = prediction else { return None };
        let forms = source.words(&self.kind.config.tokens).ok().flatten().unwrap_or_default();
        let form = |word: usize| forms.get(word).map_or("?", String::as_str);
        let end = |head: u32| (head as usize).checked_sub(1).map_or("the root", form);
        let (mut differences, mut labels) = (Vec::new(), Vec::new());
        for (word, (head, relation)) in
            targets.row(row).enumerate().filter(|(_, (head, _))| *head != IGNORE_INDEX)
        {
            let relation = targets.relations.name(&self.labels, relation).unwrap_or_default();
            let found = arcs.get(word).copied().flatten();
            let answered = found.and_then(|arc| self.labels.name(arc.relation)).unwrap_or(NO_LABEL);
            labels.push((relation.to_owned(), answered.to_owned()));
            if found.is_none_or(|arc| arc.head != head) || answered != relation {
                differences.push(WordDifference {
                    word: form(word).to_owned(),
                    gold: format!("{relation} of {}", end(head)),
                    answer: found.map_or_else(
                        || NO_LABEL.to_owned(),
                        |arc| format!("{answered} of {}", end(arc.head)),
                    ),
                    probability: found.map_or(0.0, |arc| arc.probability.into()),
                });
            }
        }
        Some(RowComparison::of_words(differences, labels))
    }

    fn error_measure(&self) -> &'static str {
        "greatest probability of a wrong arc"
    }
}

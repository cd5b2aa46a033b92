//! The lemma of each word, as a script that makes it of the form.
//!
//! Input: a field of words. Lemmas: a field with one lemma for each word (a list, or text with single spaces between lemmas). A
//! row without the field is masked, and so is a word whose lemma is null or empty; `_` is a lemma like any other. The fields of a
//! `.conllu` file have the defaults' names.
//!
//! Labels: the scripts that the training rows need at least `min_count` times. A script says which characters to insert and delete
//! at the beginning and at the end of the word, and where the lemma has capitals: `studies` and `Flies` share `↓0;d¦+y---`, `NATO`
//! and `Anna` `↕;d¦`, the word as it stands. Words that need a rarer script are masked, and counted.
//!
//! Head: each word is represented by the state of its first token; dropout, then a linear map `[hidden] -> [scripts]`.
//! Loss: cross-entropy, the mean over words with a lemma.
//!
//! Decoding: the most probable script; where it deletes more than the word has, the word stays as it is.
//!
//! Scores: `lemma_accuracy`, the share of words whose lemma is right to the letter. Words lost to truncation are wrong, and so are
//! words for which no script is right, unless another gives the same lemma.
//!
//! Cost: `[words, hidden] x [hidden, scripts]` a step; English needs about 630 scripts, 260 of them more than once.
//!
//! Papers: Straka 2018, "UDPipe 2.0 prototype at CoNLL 2018 UD shared task"; Kondratyuk and Straka 2019, "75 languages, 1 model:
//! parsing Universal Dependencies universally". Copies inside of changed affixes are left out, as the latter do;
//! that a lemma keeps the form's capitals is ours.
//!
//! Example: `lemmas = { tokens = "tokens", lemmas = "lemma" }`
//!
//! Answer: `{"lemmas": [..], "probabilities": [..]}`, one of each for a word, null for words that were cut off; for plain text
//! `"words"`, too.

use std::collections::HashMap;
use std::sync::Arc;

use data::{DataError, InputField, Pack, Row, Split, View};
use model::Parameters;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::head::{self, Head};
use crate::labels::{self, Labels, MASKED};
use crate::words::{self, WordTargets, first_tokens};
use crate::{Batch, BatchRow, Kind, LabelReport, Loss, Prediction, Scores, Source, TaskError, WordTag};

mod script;

const METRICS: &[&str] = &["lemma_accuracy"];

/// `lemmas = { .. }`: the lemma of each word.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LemmasConfig {
    /// The field with the words: a list, or text with single spaces between words.
    #[serde(default = "tokens")]
    pub tokens: String,
    /// The field with the lemmas, one for each word.
    #[serde(default = "lemma")]
    pub lemmas: String,
    /// Scripts that fewer training words need are left out.
    #[serde(default = "two")]
    #[schemars(range(min = 1))]
    pub min_count: usize,
    /// Dropout before the last layer, 0 to below 1.
    #[serde(default = "head::usual_dropout")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub dropout: f32,
    /// More different scripts than this are taken for a mistake, such as a field of translations.
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

impl LemmasConfig {
    /// Checks the settings and makes the task.
    pub(crate) fn build(&self, task: &str, metric: Option<&str>) -> Result<Box<dyn Kind>, TaskError> {
        let key = |name: &str| format!("task.{task}.lemmas.{name}");
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
        Ok(Box::new(Lemmas {
            task: task.to_owned(),
            config: self.clone(),
            main: TaskError::metric(task, METRICS, metric)?,
            labels: Labels::default(),
            head: None,
            targets: HashMap::new(),
        }))
    }
}

/// A lemma task.
struct Lemmas {
    task: String,
    config: LemmasConfig,
    main: &'static str,
    /// The scripts.
    labels: Labels,
    head: Option<Head>,
    targets: HashMap<Split, SplitLemmas>,
}

/// The lemmas of one split.
struct SplitLemmas {
    rows: Arc<[Row]>,
    scripts: WordTargets,
}

impl Lemmas {
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

    /// The lemma that was predicted for a word; `None` for a word that was lost.
    fn lemma(&self, form: &str, tag: Option<WordTag>) -> Option<String> {
        let script = self.labels.name(tag?.label).unwrap_or_default();
        Some(script::apply(form, script).unwrap_or_else(|| form.to_owned()))
    }

    fn head(&self) -> Head {
        self.head.expect("the head is built before the first batch")
    }
}

impl Kind for Lemmas {
    fn input(&self) -> InputField {
        InputField::Words(self.config.tokens.clone())
    }

    fn learn(&mut self, rows: &[Row]) -> Result<(), Vec<DataError>> {
        let scripts = |row: &Row| Ok(self.scripts(row)?.into_iter().flatten().flatten());
        let mut counted = labels::count(rows, scripts)?;
        let all = counted.len();
        counted.retain(|_, count| *count >= self.config.min_count);
        let key = |name: &str| format!("task.{}.lemmas.{name}", self.task);
        if counted.len() < 2 && all >= 2 {
            let found =
                format!("{}, and {} of {all} scripts that often", self.config.min_count, counted.len());
            let expected = "a count that leaves two or more".into();
            return Err(vec![DataError::Setting { key: key("min_count"), found, expected }]);
        }
        let labels = Labels::new(counted);
        labels.check(rows, &self.config.lemmas, self.config.max_labels, key, "lemmas")?;
        self.labels = labels;
        Ok(())
    }

    fn space(&self) -> serde_json::Value {
        self.labels.to_json()
    }

    fn restore_space(&mut self, space: &serde_json::Value) -> Result<(), TaskError> {
        self.labels = Labels::from_json(&self.task, space)?;
        Ok(())
    }

    fn labels(&self) -> &[String] {
        self.labels.names()
    }

    fn build(&mut self, parameters: &mut Parameters, hidden: usize) {
        self.head = Some(Head::new(parameters, &self.task, hidden, self.labels.len()));
    }

    fn attach(&mut self, split: Split, view: &View) -> Result<LabelReport, Vec<DataError>> {
        let (scripts, mut report) = WordTargets::attach(view, &self.labels, |row| self.scripts(row))?;
        report.rare = std::mem::take(&mut report.unseen).values().sum();
        self.targets.insert(split, SplitLemmas { rows: view.rows.clone(), scripts });
        Ok(report)
    }

    fn labelled(&self, split: Split, row: usize) -> bool {
        self.targets.get(&split).is_some_and(|t| t.scripts.row(row).iter().any(|id| *id != MASKED))
    }

    fn reads(&self, pack: &Pack, rows: &[BatchRow], read: &mut [bool]) {
        words::mark_first_tokens(pack, rows, read);
    }

    fn loss(&self, parameters: &Parameters, batch: &Batch<'_>) -> Option<Loss> {
        let targets = self.targets.get(&batch.split)?;
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
        let noise = head::noise(self.config.dropout, &self.task, batch.noise_seed);
        let logits = self.head().logits(parameters, kernels::pick(batch.states.clone(), &tokens), noise);
        Some(Loss { mean: kernels::cross_entropy(logits, &gold, None, 0.0), items: gold.len() })
    }

    fn predict(&self, parameters: &Parameters, batch: &Batch<'_>) -> Vec<Prediction> {
        let firsts: Vec<Vec<(u32, u32)>> =
            batch.rows.iter().map(|at| first_tokens(batch.pack, *at).collect()).collect();
        let tokens: Vec<u32> = firsts.iter().flatten().map(|(token, _)| *token).collect();
        if tokens.is_empty() {
            return vec![Prediction::Tags(Vec::new()); batch.rows.len()];
        }
        let states = kernels::pick(batch.states.clone(), &tokens);
        let probabilities = head::probabilities(self.head().logits(parameters, states, None));
        let mut best = probabilities.chunks_exact(self.labels.len()).map(head::largest);
        let of_row = |words: &Vec<(u32, u32)>| {
            let mut tags = vec![None; words.last().map_or(0, |(_, word)| *word as usize + 1)];
            for ((_, word), (label, probability)) in words.iter().zip(best.by_ref()) {
                tags[*word as usize] = Some(WordTag { label: label as u32, probability });
            }
            Prediction::Tags(tags)
        };
        firsts.iter().map(of_row).collect()
    }

    fn score(&self, split: Split, predictions: &[(u32, Prediction)]) -> Scores {
        let (mut gold, mut predicted) = (Vec::new(), Vec::new());
        for (row, prediction) in predictions {
            let row = self.targets.get(&split).and_then(|targets| targets.rows.get(*row as usize));
            let (Some(row), Prediction::Tags(tags)) = (row, prediction) else { continue };
            let forms = row.words(&self.config.tokens).ok().flatten().unwrap_or_default();
            let lemmas = self.read(row).ok().flatten().unwrap_or_default();
            for (word, (form, lemma)) in forms.iter().zip(lemmas).enumerate() {
                if let Some(lemma) = lemma {
                    gold.push(lemma);
                    predicted.push(self.lemma(form, tags.get(word).copied().flatten()));
                }
            }
        }
        let accuracy = metrics::lemma_accuracy(&gold, &predicted);
        Scores::with_main(self.main, vec![("lemma_accuracy".into(), accuracy)])
    }

    fn explain(&self, prediction: &Prediction, source: Source<'_>) -> serde_json::Value {
        let Prediction::Tags(tags) = prediction else { return serde_json::Value::Null };
        let forms = source.words();
        let tag = |word: usize| tags.get(word).copied().flatten();
        let lemmas = forms.iter().enumerate().map(|(word, form)| self.lemma(form, tag(word)));
        let probabilities = (0..forms.len()).map(|word| tag(word).map(|tag| tag.probability));
        let mut answer = json!({
            "lemmas": lemmas.collect::<Vec<_>>(),
            "probabilities": probabilities.collect::<Vec<_>>(),
        });
        if let Source::Text { .. } = source {
            answer["words"] = json!(forms);
        }
        answer
    }

    fn metrics(&self) -> &'static [&'static str] {
        METRICS
    }
}

//! From the config's corpora to tokenized views, and what was found on the way.

use super::token_cache::TokenCache;
use crate::config::Config;
use crate::failure::Failure;
use data::{DataError, InputField, Row, Split, TokenMasking, Tokenizer, View, same_text};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tasks::{LabelReport, SummaryStatistics};
use train::{TaskSlot, Views};

/// The rows of every corpus that some task uses, by split.
pub struct CorpusRows {
    corpora: BTreeMap<String, BTreeMap<Split, Arc<[Row]>>>,
    fingerprints: BTreeMap<(String, Split), String>,
}

impl CorpusRows {
    /// Reads the corpora of the tasks. All corpora are read even if one fails, so that every error is reported at once.
    pub fn read(config: &Config, splits: &[Split]) -> Result<CorpusRows, Failure> {
        let (mut corpora, mut fingerprints) = (BTreeMap::new(), BTreeMap::new());
        let mut errors: Vec<String> = Vec::new();
        for (name, corpus) in &config.corpus {
            if !config.task.values().any(|task| &task.config.corpus == name) {
                continue;
            }
            let mut rows: BTreeMap<Split, Arc<[Row]>> = BTreeMap::new();
            for &split in splits {
                let Some(paths) = corpus.split(split) else { continue };
                match (data::read(paths, corpus), data::content_hash(paths)) {
                    (Ok(found), Ok(hash)) => {
                        rows.insert(split, found.into());
                        fingerprints.insert((name.clone(), split), hash);
                    }
                    (Err(found), _) | (_, Err(found)) => {
                        errors.extend(found.iter().map(|e| in_corpus(name, split, e)));
                    }
                }
            }
            corpora.insert(name.clone(), rows);
        }
        if errors.is_empty() {
            Ok(CorpusRows { corpora, fingerprints })
        } else {
            Err(Failure::refused(errors))
        }
    }

    /// The rows of a corpus's split, if it has that split.
    pub fn rows(&self, corpus: &str, split: Split) -> Option<&Arc<[Row]>> {
        self.corpora.get(corpus)?.get(&split)
    }

    /// Whether a text field says the same as a words field, in every row of every split.
    fn same(&self, corpus: &str, text: &str, words: &str) -> bool {
        let Some(splits) = self.corpora.get(corpus) else { return false };
        splits.values().all(|rows| same_text(rows, text, words))
    }
}

fn in_corpus(corpus: &str, split: Split, error: &DataError) -> String {
    format!("corpus `{corpus}`, {split}: {error}")
}

/// What a task reads of its corpus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewSpec {
    /// The corpus's name.
    pub corpus: String,
    /// The fields.
    pub input: InputField,
    /// How many percent of the tokens are masked.
    pub mask_percent: Option<u32>,
}

/// Which inputs of which corpora the model reads: one view each, the same in every split.
pub struct ViewPlan(Vec<ViewSpec>);

impl ViewPlan {
    /// The inputs that the tasks need, and each task's index into them. Tasks of one corpus that read the same
    /// field share a view, unless tokens are masked for some of them; so do a text field and a words field that say the same
    /// in every row: the words serve both.
    pub fn of(tasks: &[ViewSpec], rows: &CorpusRows) -> (ViewPlan, Vec<usize>) {
        let mut inputs: Vec<ViewSpec> = Vec::new();
        let served = |task: &ViewSpec| -> ViewSpec {
            let InputField::Text(text) = &task.input else { return task.clone() };
            let same =
                |other: &&ViewSpec| other.corpus == task.corpus && other.mask_percent == task.mask_percent;
            let mut words = tasks.iter().filter(same).filter(|other| match &other.input {
                InputField::Words(words) => rows.same(&task.corpus, text, words),
                _ => false,
            });
            words.next().cloned().unwrap_or_else(|| task.clone())
        };
        let indices = tasks
            .iter()
            .map(|task| {
                let input = served(task);
                inputs.iter().position(|known| *known == input).unwrap_or_else(|| {
                    inputs.push(input);
                    inputs.len() - 1
                })
            })
            .collect();
        (ViewPlan(inputs), indices)
    }

    /// The texts of the training rows under every input, for a vocabulary made from scratch.
    pub fn training_texts(&self, rows: &CorpusRows) -> Vec<String> {
        let mut texts = Vec::new();
        for (i, ViewSpec { corpus, input, .. }) in self.0.iter().enumerate() {
            // A field counts once, also if there is a view of it with masked tokens.
            if self.0[..i].iter().any(|known| known.corpus == *corpus && known.input == *input) {
                continue;
            }
            for row in rows.rows(corpus, Split::Train).iter().flat_map(|rows| rows.iter()) {
                texts.extend(input_texts(row, input));
            }
        }
        texts
    }

    /// Tokenizes every view of every split that was read.
    pub fn views(
        &self,
        rows: &CorpusRows,
        tokenizer: &Tokenizer,
        max_length: usize,
        cache: &TokenCache,
    ) -> Result<Views, Failure> {
        let mut errors = Vec::new();
        let mut of = |split: Split| -> Vec<View> {
            let mut views = Vec::new();
            for ViewSpec { corpus, input, mask_percent } in &self.0 {
                let masking = mask_percent.map(|percent| TokenMasking::new(percent, tokenizer)).transpose();
                let masking = match masking {
                    Ok(masking) => masking,
                    Err(error) => {
                        errors.push(in_corpus(corpus, split, &error));
                        continue;
                    }
                };
                let rows = rows.rows(corpus, split).cloned().unwrap_or_default();
                let view = |cache: Option<&Path>| {
                    View::new(corpus.as_str(), input.clone(), rows.clone(), tokenizer, max_length, cache)
                };
                match cache.with(view) {
                    Ok(view) => views.push(View { masking, ..view }),
                    Err(found) => errors.extend(found.iter().map(|e| in_corpus(corpus, split, e))),
                }
            }
            views
        };
        let views =
            Views { train: of(Split::Train), validation: of(Split::Validation), test: of(Split::Test) };
        if errors.is_empty() { Ok(views) } else { Err(Failure::refused(errors)) }
    }
}

/// The texts of a row under an input.
fn input_texts(row: &Row, input: &InputField) -> Vec<String> {
    let text = |field: &str| row.text(field).ok().flatten().map(str::to_string);
    match input {
        InputField::Text(field) => text(field).into_iter().collect(),
        InputField::Prefixed { prefix, field } => {
            text(field).map(|text| format!("{prefix}{text}")).into_iter().collect()
        }
        InputField::Words(field) => {
            row.words(field).ok().flatten().map(|words| words.join(" ")).into_iter().collect()
        }
        InputField::Choices(first, second) => {
            let choices = row.choices(second).ok().flatten().into_iter().flatten();
            text(first).into_iter().chain(choices).collect()
        }
        InputField::Pair(first, second) | InputField::Windows { fields: [first, second], .. } => {
            [text(first), text(second)].into_iter().flatten().collect()
        }
        InputField::Marked(marked) => {
            marked.pieces(row).ok().flatten().map(|pieces| pieces.join(" ")).into_iter().collect()
        }
    }
}

/// What is in the corpora, as `data.json` and `check` report it.
#[derive(Debug, Clone, Serialize)]
pub struct DataReport {
    /// One entry per view and split.
    pub views: Vec<ViewReport>,
    /// One entry per task and split.
    pub labels: Vec<TaskLabels>,
}

/// Rows and tokens of one view in one split.
#[derive(Debug, Clone, Serialize)]
pub struct ViewReport {
    /// The corpus.
    pub corpus: String,
    /// The split.
    pub split: Split,
    /// The field that is read.
    pub field: String,
    /// The tasks that this view serves in one pass.
    pub tasks: Vec<String>,
    /// Rows.
    pub rows: usize,
    /// Tokens after truncation.
    pub tokens: usize,
    /// Shortest, median, 90th, 99th percentile and longest row, in tokens.
    pub lengths: [usize; 5],
    /// Rows that truncation shortened.
    pub truncated_rows: usize,
    /// Tokens that truncation took.
    pub truncated_tokens: usize,
    /// Tokens unknown to the vocabulary.
    pub unknown_tokens: usize,
    /// blake3 of the files' bytes.
    pub fingerprint: String,
}

/// Labels of one task in one split.
#[derive(Debug, Clone, Serialize)]
pub struct TaskLabels {
    /// The task.
    pub task: String,
    /// The split.
    pub split: Split,
    /// Rows with a label.
    pub labelled: usize,
    /// Rows without: masked.
    pub missing: usize,
    /// Labels that training never shows, with counts.
    pub unseen: BTreeMap<String, usize>,
    /// Labels that are left out because training has them too seldom, or never.
    #[serde(skip_serializing_if = "is_zero")]
    pub rare: usize,
    /// Statistics of the labels, where they are numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<SummaryStatistics>,
    /// Labels lost to truncation.
    pub truncated: usize,
    /// Labels of words for which the tokenizer has no token.
    pub without_token: usize,
    /// Labels that the task's settings leave out of reach.
    pub out_of_reach: usize,
    /// How often each label occurs.
    pub counts: Vec<(String, usize)>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// Encodes every task's targets in every split that was read, and reports what was found.
pub fn encode_targets(
    tasks: &mut [TaskSlot],
    views: &Views,
    corpora: &CorpusRows,
) -> Result<DataReport, Failure> {
    let (mut reports, mut labels, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for split in Split::ALL {
        for (index, view) in views.of(split).iter().enumerate() {
            if corpora.rows(&view.corpus, split).is_none() {
                continue;
            }
            let served = tasks.iter().filter(|t| t.view == index).map(|t| t.name.clone()).collect();
            let fingerprint = corpora.fingerprints.get(&(view.corpus.to_string(), split)).cloned();
            reports.push(ViewReport::of(view, split, served, fingerprint.unwrap_or_default()));
            for slot in tasks.iter_mut().filter(|t| t.view == index) {
                match slot.head.encode_targets(split, view) {
                    Ok(found) => labels.push(TaskLabels::of(&slot.name, split, found)),
                    Err(found) => errors.extend(found.iter().map(|e| format!("task `{}`: {e}", slot.name))),
                }
            }
        }
    }
    if errors.is_empty() { Ok(DataReport { views: reports, labels }) } else { Err(Failure::refused(errors)) }
}

impl TaskLabels {
    fn of(task: &str, split: Split, found: LabelReport) -> TaskLabels {
        TaskLabels {
            task: task.into(),
            split,
            labelled: found.labelled,
            missing: found.missing,
            unseen: found.unseen,
            rare: found.rare,
            numbers: found.numbers,
            truncated: found.truncated,
            without_token: found.without_token,
            out_of_reach: found.out_of_reach,
            counts: found.counts,
        }
    }
}

impl ViewReport {
    fn of(view: &View, split: Split, tasks: Vec<String>, fingerprint: String) -> ViewReport {
        let encoded = &view.encoded;
        let mut lengths: Vec<usize> = (0..encoded.rows()).map(|i| encoded.length(i)).collect();
        lengths.sort_unstable();
        let quantile = |q: f64| match lengths.len() {
            0 => 0,
            n => lengths[((n - 1) as f64 * q).round() as usize],
        };
        ViewReport {
            corpus: view.corpus.to_string(),
            split,
            field: view.input.to_string(),
            tasks,
            rows: encoded.rows(),
            tokens: encoded.ids.len(),
            lengths: [0.0, 0.5, 0.9, 0.99, 1.0].map(quantile),
            truncated_rows: encoded.truncated.iter().filter(|truncated| **truncated > 0).count(),
            truncated_tokens: encoded.truncated.iter().map(|truncated| *truncated as usize).sum(),
            unknown_tokens: encoded.unknown,
            fingerprint,
        }
    }
}

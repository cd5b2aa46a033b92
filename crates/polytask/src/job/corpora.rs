//! From the config's corpora to tokenized views, and what was found on the way.

use super::token_cache::TokenCache;
use crate::config::Config;
use crate::failure::Failure;
use data::survey::NormalizedText;
use data::{
    CorpusConfig, DataError, InputField, Paths, Row, Split, TokenMasking, Tokenizer, View, same_text,
};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use tasks::{GoldIssue, LabelReport, SummaryStatistics, label_remarks};
use train::{Job, TaskSlot, Views};

/// The rows of every corpus that some task uses, by split.
pub struct CorpusRows {
    corpora: BTreeMap<String, BTreeMap<Split, Arc<[Row]>>>,
    fingerprints: BTreeMap<(String, Split), String>,
}

impl CorpusRows {
    /// Reads the corpora of the tasks, which read `inputs` of them. All corpora are read even if one fails, so that every error is
    /// reported at once.
    pub fn read(config: &Config, splits: &[Split], inputs: &[ViewSpec]) -> Result<CorpusRows, Failure> {
        let mut all = CorpusRows { corpora: BTreeMap::new(), fingerprints: BTreeMap::new() };
        let mut errors: Vec<String> = Vec::new();
        for (name, corpus) in &config.corpus {
            if !config.task.values().any(|task| &task.config.corpus == name) {
                continue;
            }
            all.corpora.insert(name.clone(), BTreeMap::new());
            let cut = corpus.validation_split.filter(|_| corpus.validation.is_none());
            let is_cut = |split: &Split| cut.is_some() && *split != Split::Test;
            for &split in splits.iter().filter(|split| !is_cut(split)) {
                let Some(paths) = corpus.split(split) else { continue };
                match read_split(paths, corpus) {
                    Ok((rows, hash)) => all.insert(name, split, rows.into(), hash),
                    Err(found) => errors.extend(found.iter().map(|e| in_corpus(name, split, e))),
                }
            }
            if let Some(share) = cut.filter(|_| splits.iter().any(is_cut)) {
                match read_split(&corpus.train, corpus) {
                    Err(found) => errors.extend(found.iter().map(|e| in_corpus(name, Split::Train, e))),
                    Ok((rows, hash)) => {
                        let inputs: Vec<&InputField> = inputs
                            .iter()
                            .filter(|spec| spec.corpus == *name)
                            .map(|spec| &spec.input)
                            .collect();
                        let seed = config.train.seed;
                        let hash = format!("{hash} less {share} by seed {seed}");
                        let [train, validation] = cut_validation(rows, &inputs, share, seed);
                        if validation.is_empty() {
                            errors.push(format!(
                                "corpus `{name}`: validation_split = {share}: all training rows have one text, so that none can be cut off"
                            ));
                        }
                        for (split, rows) in [(Split::Train, train), (Split::Validation, validation)] {
                            if splits.contains(&split) {
                                all.insert(name, split, rows.into(), hash.clone());
                            }
                        }
                    }
                }
            }
        }
        if errors.is_empty() { Ok(all) } else { Err(Failure::refused(said_once(errors))) }
    }

    fn insert(&mut self, corpus: &str, split: Split, rows: Arc<[Row]>, fingerprint: String) {
        self.corpora.entry(corpus.to_owned()).or_default().insert(split, rows);
        self.fingerprints.insert((corpus.to_owned(), split), fingerprint);
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

/// Errors without those of a file that is several splits, after the first.
fn said_once(errors: Vec<String>) -> Vec<String> {
    let of_file = |error: &str| error.split_once(": ").map_or(error, |(_, of_file)| of_file).to_owned();
    let mut seen = HashSet::new();
    errors.into_iter().filter(|error| seen.insert(of_file(error))).collect()
}

/// The rows of some files, and a hash of their bytes.
fn read_split(paths: &Paths, corpus: &CorpusConfig) -> Result<(Vec<Row>, String), Vec<DataError>> {
    Ok((data::read(paths, corpus)?, data::content_hash(paths)?))
}

/// Training rows as rows to train on and rows to validate on; rows whose inputs have one text stay together.
fn cut_validation(rows: Vec<Row>, inputs: &[&InputField], share: f64, seed: u64) -> [Vec<Row>; 2] {
    let texts = |row: &Row| {
        let read = inputs.iter().filter_map(|input| input.read(row).ok().flatten());
        read.flat_map(|input| input.texts()).collect::<Vec<String>>()
    };
    let keys: Vec<Option<NormalizedText>> = rows.iter().map(|row| NormalizedText::of(&texts(row))).collect();
    let cut = data::validation_rows(&keys, share, seed);
    let (mut train, mut validation) = (Vec::new(), Vec::new());
    for (index, row) in rows.into_iter().enumerate() {
        let side = if cut.binary_search(&index).is_ok() { &mut validation } else { &mut train };
        side.push(row);
    }
    [train, validation]
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
            let Some((text, windows)) = task.input.plain_text() else { return task.clone() };
            let same =
                |other: &&ViewSpec| other.corpus == task.corpus && other.mask_percent == task.mask_percent;
            let mut words = tasks.iter().filter(same).filter(|other| match other.input.given_words() {
                Some((words, of_words)) => windows == of_words && rows.same(&task.corpus, text, words),
                None => false,
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

    /// The fields of text that are read as fields of words, since they say the same in every row; `tasks` are what the tasks read.
    pub fn same_text(&self, tasks: &[ViewSpec]) -> Vec<[String; 2]> {
        let mut same = Vec::new();
        for task in tasks.iter().filter(|task| !self.0.contains(task)) {
            let Some((text, windows)) = task.input.plain_text() else { continue };
            let of_corpus = self.0.iter().filter(|view| view.corpus == task.corpus);
            let words = of_corpus.filter_map(|view| view.input.given_words());
            if let Some((words, _)) = words.into_iter().find(|(_, of_words)| *of_words == windows) {
                let pair = [text.to_owned(), words.to_owned()];
                if !same.contains(&pair) {
                    same.push(pair);
                }
            }
        }
        same
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
                texts.extend(input.read(row).ok().flatten().iter().flat_map(|input| input.texts()));
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

/// What is in the corpora, as `data.json` and `check` report it.
#[derive(Debug, Clone, Serialize)]
pub struct DataReport {
    /// One entry per view and split.
    pub views: Vec<ViewReport>,
    /// One entry per task and split.
    pub labels: Vec<TaskLabels>,
    /// Of a run what deserved a look as it began, the gravest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub findings: Vec<String>,
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
    /// Rows without anything to read, which are left out.
    pub blank_rows: usize,
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
    /// Of those rows in training the ones that a teacher answers, and that are trained on.
    #[serde(skip_serializing_if = "is_zero")]
    pub taught: usize,
    /// Whether the task is learned from a teacher alone, so that no row has a label.
    #[serde(skip)]
    pub teacher_alone: bool,
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
    /// Rows with gold that breaks a rule.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub issues: Vec<GoldIssue>,
    /// Of the training split: how labels are read, and labels that are probably not meant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remarks: Vec<String>,
    /// The fields with the labels.
    pub fields: Vec<String>,
    /// The fields of the first row.
    pub fields_found: String,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

impl DataReport {
    /// Counts the rows that are trained on for the answer of a teacher alone.
    pub fn count_taught(&mut self, job: &Job) {
        for found in self.labels.iter_mut().filter(|found| found.split == Split::Train) {
            let slot = job.model.tasks.iter().find(|slot| slot.name == found.task);
            let view = slot.and_then(|slot| job.views.train.get(slot.view));
            let (Some(slot), Some(view)) = (slot, view) else { continue };
            let trained =
                (0..view.encoded.rows()).filter(|row| slot.head.labelled(Split::Train, *row)).count();
            found.taught = trained.saturating_sub(found.labelled);
        }
    }
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
                    Ok(found) => {
                        errors.extend(unlearnable(&slot.name, split, &found));
                        labels.push(TaskLabels::of(slot, split, found, view));
                    }
                    Err(found) => errors.extend(found.iter().map(|e| format!("task `{}`: {e}", slot.name))),
                }
            }
        }
    }
    if errors.is_empty() {
        Ok(DataReport { views: reports, labels, findings: Vec::new() })
    } else {
        Err(Failure::refused(errors))
    }
}

/// The error that the training rows show nothing that could be predicted.
fn unlearnable(task: &str, split: Split, found: &LabelReport) -> Option<String> {
    let all = |issue: &&GoldIssue| issue.unpredictable && issue.rows == issue.of;
    let issue = found.issues.iter().find(all).filter(|_| split == Split::Train)?;
    Some(format!(
        "task `{task}`: all {} training rows with something to predict {}: nothing could ever be right (the first: {})",
        issue.rows,
        issue.what,
        issue.places.join(", ")
    ))
}

/// Kinds whose labels are found by rules and not given, so that remarks on them would help nobody.
const BY_RULE: &[&str] = &["lemmatization"];

impl TaskLabels {
    fn of(slot: &TaskSlot, split: Split, found: LabelReport, view: &View) -> TaskLabels {
        let fields = slot.kind.target_fields();
        let mut remarks = Vec::new();
        if split == Split::Train {
            let space = slot.head.label_space();
            remarks = slot.kind.remarks(&space);
            if slot.config.kind(&slot.name).is_ok_and(|kind| !BY_RULE.contains(&kind)) {
                remarks.extend(label_remarks(&space, &fields));
            }
        }
        let first = view.rows.iter().find(|row| !row.fields.is_empty());
        TaskLabels {
            task: slot.name.clone(),
            split,
            labelled: found.labelled,
            missing: found.missing,
            taught: 0,
            teacher_alone: slot.config.needs_teacher(),
            unseen: found.unseen,
            rare: found.rare,
            numbers: found.numbers,
            truncated: found.truncated,
            without_token: found.without_token,
            out_of_reach: found.out_of_reach,
            counts: found.counts,
            issues: found.issues,
            remarks,
            fields,
            fields_found: first.map(Row::names).unwrap_or_default(),
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
            blank_rows: view.blank_rows().count(),
            fingerprint,
        }
    }
}

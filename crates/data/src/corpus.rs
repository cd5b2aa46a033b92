//! The config of a corpus.

use std::collections::BTreeMap;
use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::OrderConfig;

/// A part of a corpus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Split {
    /// For training.
    Train,
    /// For choices: best checkpoint, early stopping.
    Validation,
    /// For the final scores.
    Test,
}

impl Split {
    /// All splits, in order.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The split's name: `train`, `validation`, `test`.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Files of one split: one path, or several. Each may be a glob (`data/part-*.jsonl`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum Paths {
    /// One path or glob.
    One(String),
    /// Several paths or globs, read in this order.
    Many(Vec<String>),
}

impl Default for Paths {
    fn default() -> Self {
        Paths::Many(Vec::new())
    }
}

impl Paths {
    /// Whether there is no path.
    pub fn is_empty(&self) -> bool {
        matches!(self, Paths::Many(paths) if paths.is_empty())
    }

    /// The paths, one or several.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        match self {
            Paths::One(path) => std::slice::from_ref(path),
            Paths::Many(paths) => paths,
        }
        .iter()
        .map(String::as_str)
    }
}

impl fmt::Display for Paths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, path) in self.iter().enumerate() {
            write!(f, "{}{path}", if i > 0 { ", " } else { "" })?;
        }
        Ok(())
    }
}

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// JSON Lines: one JSON object a line.
    Jsonl,
    /// Comma-separated values; quotes may enclose delimiters and line ends (RFC 4180).
    Csv,
    /// Tab-separated values; quotes mean nothing.
    Tsv,
    /// One word a line with its columns, an empty line after each sentence.
    Conll,
    /// Universal Dependencies' CoNLL-U.
    Conllu,
    /// Apache Parquet.
    Parquet,
    /// fastText: labels `__label__NAME` at the beginning of a line, the text behind them.
    Fasttext,
    /// Files of which each holds one column, one text a line: parallel texts. Each path is a column, named by `columns`.
    Parallel,
}

impl Format {
    /// The format's name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Format::Jsonl => "JSON Lines",
            Format::Csv => "CSV",
            Format::Tsv => "TSV",
            Format::Conll => "CoNLL columns",
            Format::Conllu => "CoNLL-U",
            Format::Parquet => "Parquet",
            Format::Fasttext => "fastText",
            Format::Parallel => "parallel files",
        }
    }
}

/// `[corpus.NAME]`: rows of text with fields, in splits. One corpus may carry labels for several tasks.
///
/// The format follows from the file's extension: `.jsonl`, `.ndjson` or `.json` (JSON Lines), `.csv`, `.tsv`, `.conll`,
/// `.bio` or `.iob` (CoNLL columns), `.conllu`, `.parquet`, `.ft` (fastText). Text may be compressed (`.gz`, `.zst`). A field inside of
/// an object is named by its path: `meta.label`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CorpusConfig {
    /// Files to train on: a path, a glob, or a list of them. Only a corpus that tasks name in `out_of_domain` alone may lack it.
    #[serde(default, skip_serializing_if = "Paths::is_empty")]
    pub train: Paths,
    /// Files to choose the best checkpoint on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub validation: Option<Paths>,
    /// Files to measure on at the end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<Paths>,
    /// The format of the files. Default: by the file's extension.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub format: Option<Format>,
    /// The share of the training rows that is cut off for validation, chosen by `train.seed`; above 0 and below 1. Rows of one text
    /// stay together. Not beside `validation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0.0, max = 1.0))]
    pub validation_split: Option<f64>,
    /// Names of the columns, for CSV and TSV without a header, for CoNLL columns and for parallel files. Default for CoNLL columns: the
    /// first is `tokens`, the last `tags`, those between `column2`, `column3`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub columns: Option<Vec<String>>,
    /// The separator of the columns: of CSV `,` by default, of TSV a tab, of CoNLL columns a tab where the file has
    /// tabs, else any run of spaces.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delimiter: Option<char>,
    /// Whether the first line names the columns. Default of CSV and TSV: true, unless `columns` is given; of CoNLL columns: false.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<bool>,
    /// Whether rows of CSV, TSV and CoNLL columns may have more columns than there are names; the others are left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_extra_columns: bool,
    /// Whether lines of CoNLL columns without a word in the first column are left out; by default they are errors.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub skip_empty_words: bool,
    /// Names of classes that a field holds as numbers from 0 on, by field: `{ ner_tags = ["O", "B-PER", "I-PER"] }`. Parquet files of
    /// Hugging Face's `datasets` carry these names themselves. -1 is no label.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub names: BTreeMap<String, Vec<String>>,
    /// In which order training draws the rows: `"shuffled"` by default; `{ stratified = "FIELD" }`, class proportions kept in any
    /// section; `{ balanced = "FIELD" }`, every class equally often; `{ curriculum = { by = "length" } }`, easy rows first.
    #[serde(default, skip_serializing_if = "OrderConfig::is_default")]
    pub order: OrderConfig,
}

impl CorpusConfig {
    /// A corpus of one training path, everything else by default.
    pub fn of(train: impl Into<String>) -> Self {
        let train = Paths::One(train.into());
        Self {
            train,
            validation: None,
            test: None,
            validation_split: None,
            format: None,
            columns: None,
            delimiter: None,
            header: None,
            ignore_extra_columns: false,
            skip_empty_words: false,
            names: BTreeMap::new(),
            order: OrderConfig::Shuffled,
        }
    }

    /// Whether the corpus has a validation split, of its own files or cut off from training.
    pub fn has_validation(&self) -> bool {
        self.validation.is_some() || self.validation_split.is_some()
    }

    /// The files of a split, if the corpus has some for it alone.
    pub fn split(&self, split: Split) -> Option<&Paths> {
        match split {
            Split::Train => Some(&self.train).filter(|paths| !paths.is_empty()),
            Split::Validation => self.validation.as_ref(),
            Split::Test => self.test.as_ref(),
        }
    }
}

//! Which views are looked at, and what is in each of their splits.

use data::survey::{Lengths, NormalizedText, Vocabulary, row_keys, text_keys};
use data::{InputField, Split, Tokenizer, View};
use serde::Serialize;
use std::collections::BTreeMap;
use train::{TaskSlot, Views};

/// A corpus under one input.
#[derive(Debug, Serialize)]
pub struct ViewSurvey {
    /// The corpus's name, with the fields where others are read of it, too.
    pub name: String,
    /// The corpus.
    pub corpus: String,
    /// The fields that are read.
    pub reads: String,
    /// The maximum number of windows of a text, where it is read in windows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub most_windows: Option<usize>,
    /// The tasks that read it.
    pub tasks: Vec<String>,
    /// Its splits.
    pub splits: Vec<SplitSurvey>,
}

/// One split of it.
#[derive(Debug, Serialize)]
pub struct SplitSurvey {
    /// The split.
    pub split: Split,
    /// Rows, tokens and lengths.
    #[serde(flatten)]
    pub lengths: Lengths,
    /// The share of its tokens that the training split never shows, 0 to 1; `None` for the training split itself.
    pub new_tokens: Option<f64>,
    /// Rows without anything to read, which are left out.
    pub blank_rows: usize,
    /// Places of the first of them.
    pub blank_places: Vec<String>,
}

/// How many places are named.
const PLACES: usize = 3;

impl ViewSurvey {
    /// Every view, in the order of the tasks.
    pub fn all(views: &Views, tasks: &[TaskSlot], special: &[u32]) -> Vec<ViewSurvey> {
        let of = |(index, view): (usize, &View)| {
            let training = Vocabulary::of(&view.encoded, special);
            let splits = Split::ALL.into_iter().filter_map(|split| {
                let view = views.of(split).get(index).filter(|view| !view.rows.is_empty())?;
                let encoded = &view.encoded;
                let known =
                    (split != Split::Train).then(|| training.covers(&Vocabulary::of(encoded, special)));
                let new_tokens = known.flatten().map(|known| 1.0 - known);
                Some(SplitSurvey {
                    split,
                    lengths: Lengths::of(encoded),
                    new_tokens,
                    blank_rows: view.blank_rows().count(),
                    blank_places: view
                        .blank_rows()
                        .take(PLACES)
                        .map(|row| view.rows[row].place.to_string())
                        .collect(),
                })
            });
            ViewSurvey {
                name: name(&views.train, index),
                corpus: view.corpus.to_string(),
                reads: view.input.to_string(),
                most_windows: view.input.most_windows(),
                tasks: tasks.iter().filter(|task| task.view == index).map(|task| task.name.clone()).collect(),
                splits: splits.collect(),
            }
        };
        views.train.iter().enumerate().map(of).collect()
    }

    /// A split, if the corpus has it.
    pub fn split(&self, split: Split) -> Option<&SplitSurvey> {
        self.splits.iter().find(|found| found.split == split)
    }
}

/// The tokens that rows have whatever their text.
pub fn special_tokens(tokenizer: &Tokenizer) -> Vec<u32> {
    let special = tokenizer.specials();
    [special.bos, special.eos, special.pad].into_iter().flatten().collect()
}

/// The corpus, with the fields where others are read of it, too.
fn name(views: &[View], index: usize) -> String {
    let view = &views[index];
    let same = |other: &View| other.corpus != view.corpus || other.input.fields() == view.input.fields();
    if views.iter().all(same) { view.corpus.to_string() } else { format!("{} ({})", view.corpus, view.input) }
}

/// A view whose texts are compared with those of others.
pub struct Side<'a> {
    /// Its name.
    pub name: String,
    /// Its rows, by split.
    pub views: BTreeMap<Split, &'a View>,
    /// The keys of their texts.
    pub texts: BTreeMap<Split, Vec<Option<NormalizedText>>>,
    /// The keys of the rows as tasks read them.
    pub rows: BTreeMap<Split, Vec<Option<NormalizedText>>>,
}

impl<'a> Side<'a> {
    /// Every view, but of those with the same texts (read with a prefix, with masked tokens, by word) the first.
    pub fn all(views: &'a Views, tasks: &[TaskSlot]) -> Vec<Side<'a>> {
        let mut sides: Vec<Side<'a>> = Vec::new();
        for index in (0..views.train.len()).filter(|index| tasks.iter().any(|task| task.view == *index)) {
            let of_split = |split| Some((split, views.of(split).get(index).filter(|v| !v.rows.is_empty())?));
            let found: BTreeMap<Split, &View> = Split::ALL.into_iter().filter_map(of_split).collect();
            let texts: BTreeMap<_, _> = found.iter().map(|(split, view)| (*split, text_keys(view))).collect();
            let rows = match views.train[index].input {
                InputField::Marked(_) => found.iter().map(|(split, view)| (*split, row_keys(view))).collect(),
                _ => texts.clone(),
            };
            let side = Side { name: name(&views.train, index), views: found, texts, rows };
            if !sides.iter().any(|known| known.corpus() == side.corpus() && known.texts == side.texts) {
                sides.push(side);
            }
        }
        sides
    }

    /// The corpus; none without rows.
    pub fn corpus(&self) -> Option<&str> {
        self.views.values().next().map(|view| &*view.corpus)
    }
}

//! Label spaces: built from the training rows, stored with the weights; and the targets that are encoded by them.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use data::{DataError, ErrorList, Row, Value, is_blank};
use serde_json::json;

use crate::heads::head;
use crate::{Prediction, RowComparison, TaskError};

/// The id of a missing label: it is neither trained on nor scored.
pub(crate) const IGNORE_INDEX: u32 = u32::MAX;

/// The number of labels that an answer lists with their probabilities.
const LISTED: usize = 5;

/// The default maximum number of labels of a task.
pub(crate) fn default_max_labels() -> usize {
    1000
}

/// A label space: labels in order (sorted, unless they have a natural order), and the count of each in training.
#[derive(Debug, Clone, Default)]
pub(crate) struct Labels {
    names: Vec<String>,
    counts: Vec<usize>,
    ids: HashMap<String, u32>,
}

impl Labels {
    /// The label space of counted labels.
    pub fn new(counted: BTreeMap<String, usize>) -> Self {
        let ids = counted.keys().enumerate().map(|(i, name)| (name.clone(), i as u32)).collect();
        let (names, counts) = counted.into_iter().unzip();
        Labels { names, counts, ids }
    }

    /// Labels in a given order, without duplicates.
    pub fn in_order(names: Vec<String>, counts: Vec<usize>) -> Self {
        let ids = names.iter().cloned().zip(0..).collect();
        Labels { names, counts, ids }
    }

    /// How many labels.
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// The labels, in order.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// The label of an id.
    pub fn name(&self, id: u32) -> Option<&str> {
        self.names.get(id as usize).map(String::as_str)
    }

    /// The first labels, for a message.
    pub fn some(&self) -> String {
        let shown = self.names.iter().take(20).map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ");
        if self.len() > 20 { format!("{shown} and {} more", self.len() - 20) } else { shown }
    }

    /// Checks that there are at least two labels, and no more than `most`. `field` is the field that they come from, `name` the
    /// setting that names it; `key` gives the full key of a setting.
    pub fn check(
        &self,
        rows: &[Row],
        field: &str,
        most: usize,
        key: impl Fn(&str) -> String,
        name: &str,
    ) -> Result<(), Vec<DataError>> {
        let setting =
            |name, found, expected| Err(vec![DataError::Setting { key: key(name), found, expected }]);
        match self.len() {
            0 | 1 => {
                let found = match self.names.first() {
                    None => format!("no label in field {field:?} of {} training rows", rows.len()),
                    Some(one) => format!("only the label {one:?} in {} training rows", rows.len()),
                };
                setting(
                    name,
                    found,
                    format!("two or more different labels; the first row has the fields {}", fields(rows)),
                )
            }
            n if n > most => {
                let found = format!("{n} different labels in field {field:?}");
                setting(name, found, format!("at most {most}; if they are meant, raise `max_labels`"))
            }
            _ => Ok(()),
        }
    }

    /// The count of each label in training.
    pub fn counts(&self) -> &[usize] {
        &self.counts
    }

    /// The id of a label; `None` if it is not in the label space.
    pub fn id(&self, name: &str) -> Option<u32> {
        self.ids.get(name).copied()
    }

    /// The most probable labels of an answer, in falling order.
    pub fn most_probable(&self, probabilities: &[f32]) -> serde_json::Map<String, serde_json::Value> {
        self.ranked(probabilities).take(LISTED).collect()
    }

    /// All labels of a prediction with their probabilities, in falling order.
    pub fn probabilities(
        &self,
        prediction: &Prediction,
    ) -> Option<serde_json::Map<String, serde_json::Value>> {
        match prediction {
            Prediction::Label(probabilities) | Prediction::Labels(probabilities) => {
                Some(self.ranked(probabilities).collect())
            }
            _ => None,
        }
    }

    fn ranked(&self, probabilities: &[f32]) -> impl Iterator<Item = (String, serde_json::Value)> {
        let mut order: Vec<usize> = (0..probabilities.len().min(self.len())).collect();
        order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]));
        order.into_iter().map(|i| (self.names[i].clone(), json!(probabilities[i])))
    }

    /// The answer `{"label", "probability", "probabilities"}`.
    pub fn answer(&self, prediction: &Prediction) -> serde_json::Value {
        let Prediction::Label(probabilities) = prediction else { return serde_json::Value::Null };
        let (best, probability) = head::argmax(probabilities);
        json!({
            "label": self.name(best as u32).unwrap_or_default(),
            "probability": probability,
            "probabilities": self.most_probable(probabilities),
        })
    }

    /// `{"labels": [..], "counts": [..]}`.
    pub fn to_json(&self) -> serde_json::Value {
        json!({ "labels": self.names, "counts": self.counts })
    }

    /// Reads the output of [`Labels::to_json`] with two or more labels; anything else is an error.
    pub fn from_json(task: &str, space: &serde_json::Value) -> Result<Self, TaskError> {
        let labels = Self::any_from_json(task, space)?;
        if labels.len() < 2 {
            let reason = format!("found {} labels, expected two or more", labels.len());
            return Err(TaskError::Space { task: task.into(), reason });
        }
        Ok(labels)
    }

    /// Reads the output of [`Labels::to_json`] with any number of labels.
    pub fn any_from_json(task: &str, space: &serde_json::Value) -> Result<Self, TaskError> {
        let error = |reason: &str| TaskError::Space { task: task.into(), reason: reason.into() };
        let list = |key: &str| space.get(key).and_then(|v| v.as_array());
        let labels = list("labels").ok_or_else(|| error("there is no list \"labels\""))?;
        let counts = list("counts").ok_or_else(|| error("there is no list \"counts\""))?;
        if labels.len() != counts.len() {
            return Err(error(&format!("found {} labels and {} counts", labels.len(), counts.len())));
        }
        let mut counted = BTreeMap::new();
        for (label, count) in labels.iter().zip(counts) {
            let (Some(label), Some(count)) = (label.as_str(), count.as_u64()) else {
                return Err(error(&format!(
                    "found label {label} with count {count}, expected a text and a whole number"
                )));
            };
            if counted.last_key_value().is_some_and(|(last, _): (&String, _)| last.as_str() >= label) {
                return Err(error(&format!("label {label:?} is out of order or twice there")));
            }
            counted.insert(label.to_owned(), count as usize);
        }
        Ok(Labels::new(counted))
    }
}

/// A value as a label: text unchanged; a number or truth value as its text (`1`, `0.5`, `true`); blank text is no
/// label. Lists and objects are errors.
pub(crate) fn as_label(value: &Value) -> Result<Option<String>, ()> {
    match value {
        Value::Null => Ok(None),
        Value::Text(text) => Ok(Some(text.clone()).filter(|text| !is_blank(text))),
        Value::Bool(value) => Ok(Some(value.to_string())),
        Value::Number(value) => Ok(Some(value.to_string())),
        Value::Integer(digits) => Ok(Some(digits.to_string())),
        Value::List(_) | Value::Record(_) => Err(()),
    }
}

/// The targets of one split as ids. Labels outside the label space get ids behind it: the loss ignores them, and in the scores
/// they are classes of their own.
#[derive(Debug, Clone, Default)]
pub(crate) struct Targets {
    /// Ids, or [`IGNORE_INDEX`].
    pub ids: Vec<u32>,
    /// The labels outside the label space; their ids begin at its size.
    pub unseen: Vec<String>,
}

impl Targets {
    /// Adds a label, or [`IGNORE_INDEX`] for `None`.
    pub fn push(&mut self, labels: &Labels, name: Option<&str>) {
        let id = match name {
            None => IGNORE_INDEX,
            Some(name) => labels.id(name).unwrap_or_else(|| {
                let at = self.unseen.iter().position(|u| u == name).unwrap_or_else(|| {
                    self.unseen.push(name.to_owned());
                    self.unseen.len() - 1
                });
                (labels.len() + at) as u32
            }),
        };
        self.ids.push(id);
    }

    /// The label of an id of this split.
    pub fn name<'a>(&'a self, labels: &'a Labels, id: u32) -> Option<&'a str> {
        labels
            .name(id)
            .or_else(|| self.unseen.get((id as usize).checked_sub(labels.len())?).map(String::as_str))
    }

    /// The gold labels and the most probable labels of the predictions of labelled rows, given as (row, prediction).
    pub fn scored(&self, predictions: &[(u32, Prediction)]) -> (Vec<u32>, Vec<u32>) {
        let pair = |(row, prediction): &(u32, Prediction)| {
            let id = *self.ids.get(*row as usize).filter(|id| **id != IGNORE_INDEX)?;
            let Prediction::Label(probabilities) = prediction else { return None };
            Some((id, head::argmax(probabilities).0 as u32))
        };
        predictions.iter().filter_map(pair).unzip()
    }

    /// The label of a row beside the most probable one of its prediction.
    pub fn compare(&self, labels: &Labels, row: usize, prediction: &Prediction) -> Option<RowComparison> {
        let Prediction::Label(probabilities) = prediction else { return None };
        let gold = self.name(labels, *self.ids.get(row)?)?;
        let (best, probability) = head::argmax(probabilities);
        Some(RowComparison::of_label(gold, labels.name(best as u32)?, probability.into()))
    }

    /// The count of each label of the space, and of each unseen label.
    pub fn count(&self, labels: &Labels) -> (Vec<(String, usize)>, BTreeMap<String, usize>) {
        let mut counts = vec![0; labels.len() + self.unseen.len()];
        self.ids.iter().filter(|id| **id != IGNORE_INDEX).for_each(|id| counts[*id as usize] += 1);
        let unseen = self.unseen.iter().cloned().zip(counts[labels.len()..].iter().copied()).collect();
        (labels.names().iter().cloned().zip(counts).collect(), unseen)
    }
}

/// The label in a field of a row; `None` where there is none.
///
/// Errors: a list or an object.
pub(crate) fn of_row(row: &Row, field: &str, task: &str) -> Result<Option<String>, DataError> {
    let Some(value) = row.get(field) else { return Ok(None) };
    as_label(value).map_err(|()| {
        let expected = format!("one label (text, a number, true or false) for task {task}");
        row.error(field, value.preview(), expected)
    })
}

/// The fields of the first row that has any, for a message.
pub(crate) fn fields(rows: &[Row]) -> String {
    rows.iter().find(|row| !row.fields.is_empty()).map(Row::names).unwrap_or_default()
}

/// The count of each label in some rows; `read` gives the labels of one row.
///
/// Errors: every row that cannot be read.
pub(crate) fn count<I: IntoIterator<Item = String>>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<I, DataError>,
) -> Result<BTreeMap<String, usize>, Vec<DataError>> {
    let mut errors = ErrorList::new();
    let mut counted = BTreeMap::new();
    for row in rows {
        match read(row) {
            Ok(found) => found.into_iter().for_each(|label| *counted.entry(label).or_insert(0) += 1),
            Err(error) => errors.push(error),
        }
    }
    errors.finish(counted)
}

/// The sets of labels of one split, row after row.
#[derive(Debug, Clone, Default)]
pub(crate) struct SetTargets {
    /// The range of each row's labels; `None` for a row that is not labelled, an empty range if no label holds.
    rows: Vec<Option<Range<usize>>>,
    pub labels: Targets,
}

impl SetTargets {
    /// Adds the next row.
    pub fn push_row(&mut self, labels: &Labels, set: Option<&[String]>) {
        let begin = self.labels.ids.len();
        set.into_iter().flatten().for_each(|name| self.labels.push(labels, Some(name)));
        self.rows.push(set.map(|_| begin..self.labels.ids.len()));
    }

    /// The labels of a row; `None` for one that is not labelled, or does not exist.
    pub fn row(&self, row: usize) -> Option<&[u32]> {
        Some(&self.labels.ids[self.rows.get(row)?.clone()?])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_json_and_refuses_others() {
        let labels = Labels::new(BTreeMap::from([("b".into(), 2), ("a".into(), 1), ("喜".into(), 3)]));
        assert_eq!(labels.names(), ["a", "b", "喜"]);
        let back = Labels::from_json("t", &labels.to_json()).unwrap();
        assert_eq!((back.names(), back.counts(), back.id("喜")), (labels.names(), labels.counts(), Some(2)));
        for (space, says) in [
            (json!({}), "no list \"labels\""),
            (json!({ "labels": ["a"], "counts": [1, 2] }), "found 1 labels and 2 counts"),
            (json!({ "labels": ["b", "a"], "counts": [1, 2] }), "\"a\" is out of order"),
            (json!({ "labels": ["a", "a"], "counts": [1, 2] }), "twice"),
            (json!({ "labels": [1], "counts": [1] }), "expected a text"),
            (json!({ "labels": [], "counts": [] }), "found 0 labels, expected two or more"),
        ] {
            let error = Labels::from_json("t", &space).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
        }
    }

    #[test]
    fn numbers_and_truth_values_are_labels_by_their_text() {
        let label = |value| as_label(&value);
        assert_eq!(label(Value::Number(1.0)), Ok(Some("1".into())));
        assert_eq!(label(Value::Number(0.5)), Ok(Some("0.5".into())));
        assert_eq!(label(Value::Bool(true)), Ok(Some("true".into())));
        assert_eq!(label(Value::Text(String::new())), Ok(None));
        assert_eq!(label(Value::List(vec![])), Err(()));
    }

    #[test]
    fn unseen_labels_keep_their_names() {
        let labels = Labels::new(BTreeMap::from([("a".into(), 1), ("b".into(), 1)]));
        let mut targets = Targets::default();
        [Some("b"), Some("x"), None, Some("y"), Some("x")]
            .into_iter()
            .for_each(|name| targets.push(&labels, name));
        assert_eq!(targets.ids, [1, 2, IGNORE_INDEX, 3, 2]);
        assert_eq!(targets.name(&labels, 3), Some("y"));
        let (counts, unseen) = targets.count(&labels);
        assert_eq!(counts, [("a".to_owned(), 0), ("b".to_owned(), 1)]);
        assert_eq!(unseen, BTreeMap::from([("x".to_owned(), 2), ("y".to_owned(), 1)]));
    }
}

//! Gold entities and relations, as a row gives them.

use std::collections::BTreeMap;
use std::ops::Range;

use data::{DataError, Encoded, Row, Value};
use metrics::{Relation, Span};

use super::EntitiesRelationsConfig;
use crate::targets::labels::as_label;

/// The gold entities and relations of one row.
#[derive(Debug, Clone, Default)]
pub(crate) struct Annotation {
    /// The type of each entity, by its words.
    pub entities: BTreeMap<[u32; 2], String>,
    /// The types of relation of each related pair of entities; `None` for a row without the field of relations.
    pub relations: Option<BTreeMap<[[u32; 2]; 2], Vec<String>>>,
    /// Whether an entity lies outside of the row's words, so that the row is no target.
    pub is_outside: bool,
}

/// The formats of the fields, for a message.
const ENTITIES: &str = "a list of {start, end, type}: words from 0 on, `end` exclusive";
const RELATIONS: &str = "a list of {head: [start, end], tail: [start, end], type}";

impl Annotation {
    /// Reads a row; `None` for one without the field of entities.
    ///
    /// Errors: something else in a field; a span with two types; a relation whose argument is no entity.
    pub fn read(config: &EntitiesRelationsConfig, row: &Row) -> Result<Option<Self>, DataError> {
        let Some(entities) = records(row, &config.entities, ENTITIES)? else { return Ok(None) };
        let words = row.words(&config.tokens)?.ok_or_else(|| row.missing(&config.tokens))?.len();
        let mut read = Annotation::default();
        for value in entities {
            let span = Value::List(
                ["start", "end"].map(|n| value.field(n).cloned().unwrap_or(Value::Null)).to_vec(),
            );
            let found = data::span(&span).zip(type_of(value));
            let (span, label) =
                found.ok_or_else(|| row.error(&config.entities, value.preview(), ENTITIES))?;
            if span.end > words {
                return Ok(Some(Annotation { is_outside: true, ..Annotation::default() }));
            }
            let other = read.entities.insert(word_range(&span), label.clone());
            if let Some(other) = other.filter(|other| *other != label) {
                let found =
                    format!("the types {other:?} and {label:?} for words {} to {}", span.start, span.end);
                return Err(row.error(&config.entities, found, "one type for a span"));
            }
        }
        if config.learn.relations()
            && let Some(relations) = records(row, &config.relations, RELATIONS)?
        {
            read.relations = Some(BTreeMap::new());
            relations.iter().try_for_each(|value| read.add_relation(config, row, value))?;
        }
        Ok(Some(read))
    }

    fn add_relation(
        &mut self,
        config: &EntitiesRelationsConfig,
        row: &Row,
        value: &Value,
    ) -> Result<(), DataError> {
        let error = |expected: &str| row.error(&config.relations, value.preview(), expected);
        let end = |name: &str| value.field(name).and_then(data::span).ok_or_else(|| error(RELATIONS));
        let pair = [word_range(&end("head")?), word_range(&end("tail")?)];
        if !pair.iter().all(|end| self.entities.contains_key(end)) {
            return Err(error("`head` and `tail` that are entities of the row"));
        }
        let label = type_of(value).ok_or_else(|| error(RELATIONS))?;
        let types = self.relations.get_or_insert_default().entry(pair).or_default();
        if !types.contains(&label) {
            types.push(label);
        }
        Ok(())
    }

    /// The entities, for the scores.
    pub fn spans(&self) -> Vec<Span> {
        self.entities.iter().map(|(words, label)| span_of(*words, label)).collect()
    }

    /// The relations, for the scores; `None` if they are not known.
    pub fn triples(&self) -> Option<Vec<Relation>> {
        let end = |words: &[u32; 2]| span_of(*words, &self.entities[words]);
        let triple = |([head, tail], types): (&[[u32; 2]; 2], &Vec<String>)| {
            let relation =
                |label: &String| Relation { head: end(head), tail: end(tail), label: label.clone() };
            types.iter().map(relation).collect::<Vec<_>>()
        };
        self.relations.as_ref().map(|relations| relations.iter().flat_map(triple).collect())
    }

    /// The type of each entity.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.entities.values().map(String::as_str)
    }

    /// The type of each relation.
    pub fn relation_types(&self) -> impl Iterator<Item = &str> {
        self.relations.iter().flat_map(BTreeMap::values).flatten().map(String::as_str)
    }

    /// The number of its entities and relations that a model cannot find in row `row` of `encoded`.
    pub fn dropped(&self, config: &EntitiesRelationsConfig, encoded: &Encoded, row: usize) -> DroppedCounts {
        let words = &encoded.word_ids[encoded.row(row)];
        let has_tokens = |[start, end]: &[u32; 2]| words.contains(start) && words.contains(&(end - 1));
        let mut dropped = DroppedCounts::default();
        let mut count = |ends: &[[u32; 2]], settings: bool| {
            if !ends.iter().all(has_tokens) {
                match encoded.truncated[row] {
                    0 => dropped.without_token += 1,
                    _ => dropped.truncated += 1,
                }
            } else if settings {
                dropped.out_of_reach += 1;
            }
        };
        let wide = |[start, end]: &[u32; 2]| (end - start) as usize > config.max_width;
        if config.learn.entities() {
            self.entities.keys().for_each(|words| count(&[*words], wide(words)));
        }
        for (pair, types) in self.relations.iter().flatten() {
            let wide = config.learn.entities() && pair.iter().any(wide);
            types.iter().for_each(|_| count(pair, wide || pair[0] == pair[1]));
        }
        dropped
    }
}

/// Counts of gold entities and relations that a model cannot find, by reason.
#[derive(Debug, Default)]
pub(crate) struct DroppedCounts {
    /// Truncated.
    pub truncated: usize,
    /// Without a token.
    pub without_token: usize,
    /// With more words than the settings allow, or related to itself.
    pub out_of_reach: usize,
}

/// A labelled span of a row.
pub(crate) fn span_of([start, end]: [u32; 2], label: &str) -> Span {
    Span { start: start as usize, end: end as usize, label: label.to_owned() }
}

fn word_range(span: &Range<usize>) -> [u32; 2] {
    [span.start as u32, span.end as u32]
}

/// The objects in a field; `None` for a row without it.
fn records<'a>(row: &'a Row, field: &str, expected: &str) -> Result<Option<&'a [Value]>, DataError> {
    match row.get(field) {
        None => Ok(None),
        Some(Value::List(items)) => Ok(Some(items)),
        Some(other) => Err(row.error(field, other.preview(), expected)),
    }
}

fn type_of(value: &Value) -> Option<String> {
    value.field("type").and_then(|label| as_label(label).ok().flatten())
}

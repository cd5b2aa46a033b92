//! The heads and relations of words: how they are read, and the targets of a split.

use std::ops::Range;

use data::{DataError, Row, Value};

use crate::DependencyParsingConfig;
use crate::targets::labels::{IGNORE_INDEX, Labels, Targets, as_label};

/// The gold arc of a word.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Arc {
    /// 0 for the root, else the head's index in its row, counted from 1.
    pub head: u32,
    pub relation: String,
}

/// A row's arcs, `None` for words without one, or without a relation (`_`); `None` for a row without heads.
///
/// Errors: not one head and one relation for each word; a head that is none of the row's words, or the word itself; a head
/// without a relation.
pub(crate) fn read(
    config: &DependencyParsingConfig,
    row: &Row,
) -> Result<Option<Vec<Option<Arc>>>, DataError> {
    let Some(heads) = items(row, &config.heads)? else { return Ok(None) };
    let relations = items(row, &config.relations)?.ok_or_else(|| row.missing(&config.relations))?;
    let words = row.words(&config.tokens)?.ok_or_else(|| row.missing(&config.tokens))?.len();
    for (field, found) in [(&config.heads, heads.len()), (&config.relations, relations.len())] {
        if found != words {
            let expected = format!("{words}, one for each word of field {:?}", config.tokens);
            return Err(row.error(field, format!("{found} values"), expected));
        }
    }
    let arc = |(at, (head, relation)): (usize, (&Value, &Value))| {
        let word = at + 1;
        let error = |field: &String, found: &Value, expected: String| {
            row.error(field, format!("{} at word {word}", found.preview()), expected)
        };
        let Some(head) = head_index(head, words).map_err(|()| {
            error(&config.heads, head, format!("the number of a word, 1 to {words}, 0 for the root, or null"))
        })?
        else {
            return Ok(None);
        };
        if head as usize == word {
            let own = format!("head {word} at word {word}, itself");
            return Err(row.error(&config.heads, own, "another word, or 0 for the root"));
        }
        match as_label(relation) {
            // CoNLL-U's sign for a value that is not given.
            Ok(Some(none)) if none == "_" => Ok(None),
            Ok(Some(relation)) => Ok(Some(Arc { head, relation })),
            _ => {
                Err(error(&config.relations, relation, "a relation (text) for each word with a head".into()))
            }
        }
    };
    heads.iter().zip(&relations).enumerate().map(arc).collect::<Result<_, _>>().map(Some)
}

/// Whether the field of relations has `_` for some word with a head.
pub(crate) fn lacks_relation(config: &DependencyParsingConfig, row: &Row) -> bool {
    let given = |field: &str| items(row, field).ok().flatten().unwrap_or_default();
    let (heads, relations) = (given(&config.heads), given(&config.relations));
    let has_head = |head: &Value| !matches!(head_index(head, usize::MAX), Ok(None));
    heads.iter().zip(&relations).any(|(head, relation)| {
        has_head(head) && matches!(relation, Value::Text(relation) if relation == "_")
    })
}

/// Whether arcs that all words have are a tree: exactly one word is the root's, and every word comes to it by its heads.
pub(crate) fn is_tree(arcs: &[Option<Arc>]) -> bool {
    let heads: Vec<usize> = arcs.iter().flatten().map(|arc| arc.head as usize).collect();
    let reaches_root = |word: usize| {
        // No way is longer than the sentence, unless it is a cycle.
        let mut at = word + 1;
        (0..=heads.len()).any(|_| {
            at = heads[at - 1];
            at == 0
        })
    };
    heads.iter().filter(|head| **head == 0).count() == 1 && (0..heads.len()).all(reaches_root)
}

/// The values of a field that has one for each word: a list, or text with single spaces between them.
fn items(row: &Row, field: &str) -> Result<Option<Vec<Value>>, DataError> {
    match row.get(field) {
        None => Ok(None),
        Some(Value::List(items)) => Ok(Some(items.clone())),
        Some(Value::Text(text)) if text.is_empty() => Ok(Some(Vec::new())),
        Some(Value::Text(text)) => {
            Ok(Some(text.split(' ').map(|item| Value::Text(item.to_owned())).collect()))
        }
        Some(other) => Err(row.error(field, other.preview(), "a list with one value for each word")),
    }
}

/// A head, at most `words`; `None` for a word that has none.
fn head_index(value: &Value, words: usize) -> Result<Option<u32>, ()> {
    let head = match value {
        Value::Null => return Ok(None),
        Value::Text(text) if text.is_empty() || text == "_" => return Ok(None),
        Value::Text(text) => text.parse().map_err(|_| ())?,
        Value::Number(number) if number.fract() == 0.0 && *number >= 0.0 => *number as u64,
        _ => return Err(()),
    };
    if head <= words as u64 { Ok(Some(head as u32)) } else { Err(()) }
}

/// The arcs of a split, row after row.
pub(crate) struct ArcTargets {
    /// Rows + 1: where each row's words begin. A row without arcs has no words.
    offsets: Vec<usize>,
    /// Per word its head, or [`IGNORE_INDEX`].
    heads: Vec<u32>,
    /// Per word its relation, or [`IGNORE_INDEX`].
    pub relations: Targets,
}

impl Default for ArcTargets {
    fn default() -> Self {
        ArcTargets { offsets: vec![0], heads: Vec::new(), relations: Targets::default() }
    }
}

impl ArcTargets {
    /// Adds the arcs of the next row.
    pub fn push_row(&mut self, labels: &Labels, arcs: &[Option<Arc>]) {
        for arc in arcs {
            self.heads.push(arc.as_ref().map_or(IGNORE_INDEX, |arc| arc.head));
            self.relations.push(labels, arc.as_ref().map(|arc| arc.relation.as_str()));
        }
        self.offsets.push(self.heads.len());
    }

    /// Per word of a row its head and its relation, or twice [`IGNORE_INDEX`]; none for a row that does not exist.
    pub fn row(&self, row: usize) -> impl ExactSizeIterator<Item = (u32, u32)> {
        let words: Range<usize> = match self.offsets.get(row..row + 2) {
            Some(&[start, end]) => start..end,
            _ => 0..0,
        };
        words.map(|word| (self.heads[word], self.relations.ids[word]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_has_one_root_and_no_cycle() {
        for (heads, expected) in
            [(&[2, 0, 2][..], true), (&[0, 0], false), (&[2, 1, 0], false), (&[2, 3, 1], false), (&[0], true)]
        {
            let arc = |head: &u32| Some(Arc { head: *head, relation: "x".into() });
            assert_eq!(is_tree(&heads.iter().map(arc).collect::<Vec<_>>()), expected, "{heads:?}");
        }
    }
}

//! Labels of words: how they are read and encoded, and the words' first tokens in a pack.

use data::{DataError, Encoded, ErrorList, NO_WORD_ID, Pack, Row, Value, View};

use crate::targets::labels::{Labels, Targets, as_label};
use crate::{BatchRow, LabelReport};

/// The labels in `field` of a row, one for each word of `tokens`, `None` for words without one; `None` for a row without labels.
/// `name` is the word for one of them, for a message.
///
/// Errors: a number of labels other than the number of words.
pub(crate) fn labels(
    tokens: &str,
    field: &str,
    row: &Row,
    name: &str,
) -> Result<Option<Vec<Option<String>>>, DataError> {
    let labels: Vec<Option<String>> = match row.get(field) {
        None => return Ok(None),
        Some(Value::Text(text)) if text.is_empty() => Vec::new(),
        Some(Value::Text(text)) => {
            text.split(' ').map(|label| Some(label.to_owned()).filter(|l| !l.is_empty())).collect()
        }
        Some(Value::List(items)) => items
            .iter()
            .map(|item| {
                let is_span = matches!(item, Value::List(_) | Value::Record(_)) && name == "tag";
                let hint = if is_span {
                    "; labelled spans in characters: tagging = { text = .., spans = .. }"
                } else {
                    ""
                };
                let expected = format!("a {name} (text) for each word{hint}");
                as_label(item).map_err(|()| row.error(field, item.preview(), expected))
            })
            .collect::<Result<_, _>>()?,
        Some(other) => {
            return Err(row.error(field, other.preview(), format!("a list of {name}s, one for each word")));
        }
    };
    let words = row.words(tokens)?.ok_or_else(|| row.missing(tokens))?.len();
    if labels.len() != words {
        let expected = format!("{words}, one for each word of field {tokens:?}");
        return Err(row.error(field, format!("{} {name}s", labels.len()), expected));
    }
    Ok(Some(labels))
}

/// The tags of a split, row after row.
pub(crate) struct WordTargets {
    /// `[rows + 1]`: the word offsets of the rows. A row without tags has no words.
    pub offsets: Vec<usize>,
    pub words: Targets,
}

impl Default for WordTargets {
    fn default() -> Self {
        WordTargets { offsets: vec![0], words: Targets::default() }
    }
}

impl WordTargets {
    /// Encodes the tags of a split and counts them; `read` gives the tags of one row.
    ///
    /// Errors: every row that cannot be read.
    pub fn encode(
        view: &View,
        labels: &Labels,
        mut read: impl FnMut(&Row) -> Result<Option<Vec<Option<String>>>, DataError>,
    ) -> Result<(WordTargets, LabelReport), Vec<DataError>> {
        let mut errors = ErrorList::new();
        let mut targets = WordTargets::default();
        let mut report = LabelReport { rows: view.rows.len(), ..Default::default() };
        for (i, row) in view.rows.iter().enumerate() {
            match read(row) {
                Ok(tags) => {
                    let tags = tags.unwrap_or_default();
                    let dropped = DroppedCounts::of(&tags, &view.encoded, i);
                    report.truncated += dropped.truncated;
                    report.without_token += dropped.without_token;
                    report.labelled += usize::from(tags.iter().any(Option::is_some));
                    targets.push_row(labels, &tags);
                }
                Err(error) => errors.push(error),
            }
        }
        errors.finish(())?;
        report.missing = report.rows - report.labelled;
        (report.counts, report.unseen) = targets.words.count(labels);
        Ok((targets, report))
    }

    /// Adds the tags of the next row.
    pub fn push_row(&mut self, labels: &Labels, tags: &[Option<String>]) {
        tags.iter().for_each(|tag| self.words.push(labels, tag.as_deref()));
        self.offsets.push(self.words.ids.len());
    }

    /// The tags of a row; none for a row that does not exist.
    pub fn row(&self, row: usize) -> &[u32] {
        match self.offsets.get(row..row + 2) {
            Some(&[start, end]) => &self.words.ids[start..end],
            _ => &[],
        }
    }
}

/// Counts of a row's labels of words that have no token, by reason.
pub(crate) struct DroppedCounts {
    /// Words behind the last one that has a token, in a truncated row.
    pub truncated: usize,
    /// All other words.
    pub without_token: usize,
}

impl DroppedCounts {
    /// The counts of row `row` of `encoded`, whose words have these tags.
    pub fn of(tags: &[Option<String>], encoded: &Encoded, row: usize) -> Self {
        let tagged = (0..tags.len()).filter(|word| tags[*word].is_some());
        DroppedCounts::among(tagged.map(|word| [word; 2]), tags.len(), encoded, row)
    }

    /// The counts of row `row` of `encoded`, which has `words` words; each label concerns two words, which may be the same.
    pub fn among(
        labels: impl Iterator<Item = [usize; 2]>,
        words: usize,
        encoded: &Encoded,
        row: usize,
    ) -> Self {
        let mut seen = vec![false; words];
        for word in &encoded.word_ids[encoded.row(row)] {
            if let Some(seen) = seen.get_mut(*word as usize) {
                *seen = true;
            }
        }
        let kept = if encoded.truncated[row] > 0 {
            seen.iter().rposition(|seen| *seen).map_or(0, |last| last + 1)
        } else {
            words
        };
        let mut dropped = DroppedCounts { truncated: 0, without_token: 0 };
        for pair in labels.filter(|pair| pair.iter().any(|word| !seen[*word])) {
            let truncated = pair.iter().any(|word| *word >= kept);
            dropped.truncated += usize::from(truncated);
            dropped.without_token += usize::from(!truncated);
        }
        dropped
    }
}

/// Marks the first token of each word of some rows: the tokens that a token-level head uses.
pub(crate) fn mark_first_tokens(pack: &Pack, rows: &[BatchRow], used: &mut [bool]) {
    let tokens = rows.iter().flat_map(|at| first_tokens(pack, *at));
    tokens.for_each(|(token, _)| used[token as usize] = true);
}

/// The first token of each word of a row of the pack, as (token, word).
pub(crate) fn first_tokens(pack: &Pack, at: BatchRow) -> impl Iterator<Item = (u32, u32)> {
    let words = &pack.word_ids;
    let mut last = NO_WORD_ID;
    at.tokens(pack).filter_map(move |token| {
        let word = words[token];
        let first = word != NO_WORD_ID && word != last;
        if first {
            last = word;
        }
        first.then_some((token as u32, word))
    })
}

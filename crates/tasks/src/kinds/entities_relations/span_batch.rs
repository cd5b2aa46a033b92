//! The words of some rows end to end, with candidate spans and pairs of spans.

use std::ops::Range;

use data::{Pack, random};

use crate::BatchRow;
use crate::targets::words::first_tokens;

/// The words and spans of some rows.
#[derive(Debug, Default)]
pub(crate) struct SpanBatch {
    /// The index in the pack of the first token of each word that has one.
    pub tokens: Vec<u32>,
    /// Spans, row after row.
    pub spans: Vec<CandidateSpan>,
}

/// A span that may be an entity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CandidateSpan {
    /// Its first and last word, as indices in [`SpanBatch::tokens`].
    pub at: [u32; 2],
    /// Its words in its row, the end exclusive.
    pub words: [u32; 2],
}

/// Two spans of one row, the first as head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The indices of both in a list of spans.
    pub head: u32,
    pub tail: u32,
}

impl SpanBatch {
    /// Adds the words of a row; gives all its spans of at most `max_width` words, of which none is added yet.
    pub fn add_words(&mut self, pack: &Pack, at: BatchRow, max_width: usize) -> RowSpans {
        let begin = self.tokens.len() as u32;
        let mut words = Vec::new();
        for (token, word) in first_tokens(pack, at) {
            self.tokens.push(token);
            words.push(word);
        }
        RowSpans { begin, words, max_width: max_width as u32 }
    }
}

/// The words of a row in a [`SpanBatch`].
pub(crate) struct RowSpans {
    begin: u32,
    /// The indices of the words, rising.
    words: Vec<u32>,
    max_width: u32,
}

impl RowSpans {
    /// All spans that are not too wide, in the order of their first words, then of their last.
    pub fn all(&self) -> impl Iterator<Item = CandidateSpan> {
        let span = move |first: usize, last: usize| CandidateSpan {
            at: [self.begin + first as u32, self.begin + last as u32],
            words: [self.words[first], self.words[last] + 1],
        };
        (0..self.words.len()).flat_map(move |first| {
            let fits = move |last: &usize| self.words[*last] - self.words[first] < self.max_width;
            (first..self.words.len()).take_while(fits).map(move |last| span(first, last))
        })
    }

    /// The span of given words, however wide; `None` if the first or the last has no token.
    pub fn of(&self, words: [u32; 2]) -> Option<CandidateSpan> {
        let place = |word: u32| Some(self.begin + self.words.binary_search(&word).ok()? as u32);
        Some(CandidateSpan { at: [place(words[0])?, place(words[1] - 1)?], words })
    }
}

/// The candidate arguments of relations: entities as spans with types, and the range of each row among them.
#[derive(Debug, Default)]
pub(crate) struct RelationArguments {
    /// Indices in [`SpanBatch::spans`].
    pub spans: Vec<u32>,
    pub types: Vec<u32>,
    /// The range of each row among them.
    pub rows: Vec<Range<u32>>,
}

impl RelationArguments {
    /// Adds the arguments of the next row, as (span, type).
    pub fn push_row(&mut self, ends: impl IntoIterator<Item = (usize, u32)>) {
        let begin = self.spans.len() as u32;
        for (span, label) in ends {
            self.spans.push(span as u32);
            self.types.push(label);
        }
        self.rows.push(begin..self.spans.len() as u32);
    }

    /// Their spans.
    pub fn of(&self, span_batch: &SpanBatch) -> Vec<CandidateSpan> {
        self.spans.iter().map(|span| span_batch.spans[*span as usize]).collect()
    }
}

/// All ordered pairs of different ones of `spans`.
pub(crate) fn pairs(spans: Range<u32>) -> impl Iterator<Item = Pair> {
    let tails = spans.clone();
    spans.flat_map(move |head| {
        tails.clone().filter(move |tail| *tail != head).map(move |tail| Pair { head, tail })
    })
}

/// The indices of the words between two spans; empty if they touch or overlap.
pub(crate) fn between(a: CandidateSpan, b: CandidateSpan) -> Range<u32> {
    let [first, second] = if a.at[0] <= b.at[0] { [a, b] } else { [b, a] };
    first.at[1] + 1..second.at[0].max(first.at[1] + 1)
}

/// Keeps the items that `must` be kept and at most `most` of the others, sampled from a random stream, in their original order.
pub(crate) fn sample<T>(
    items: Vec<T>,
    must: impl Fn(&T) -> bool,
    most: usize,
    (seed, name, index): (u64, &str, u64),
) -> Vec<T> {
    let mut others: Vec<usize> =
        items.iter().enumerate().filter(|(_, item)| !must(item)).map(|(i, _)| i).collect();
    if others.len() <= most {
        return items;
    }
    random::shuffle(&mut random::stream(seed, name, index), &mut others);
    let mut stays = vec![true; items.len()];
    others[most..].iter().for_each(|i| stays[*i] = false);
    items.into_iter().zip(stays).filter(|(_, stays)| *stays).map(|(item, _)| item).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(words: &[u32], max_width: u32) -> RowSpans {
        RowSpans { begin: 10, words: words.to_vec(), max_width }
    }

    #[test]
    fn spans_count_words_also_those_without_a_token() {
        let found: Vec<[u32; 2]> = row(&[0, 1, 3], 2).all().map(|span| span.words).collect();
        assert_eq!(found, [[0, 1], [0, 2], [1, 2], [3, 4]]);
        let span = row(&[0, 1, 3], 2).of([1, 4]).unwrap();
        assert_eq!((span.at, span.words), ([11, 12], [1, 4]));
        assert_eq!((row(&[0, 1, 3], 2).of([1, 3]), row(&[], 2).of([0, 1])), (None, None));
    }

    #[test]
    fn words_between_two_spans_do_not_depend_on_their_order() {
        let span = |first, last| CandidateSpan { at: [first, last], words: [first, last + 1] };
        for (a, b, expected) in [
            (span(0, 1), span(4, 5), 2..4),
            (span(0, 1), span(2, 5), 2..2),
            (span(0, 5), span(2, 3), 6..6),
            (span(0, 3), span(2, 5), 4..4),
        ] {
            assert_eq!((between(a, b), between(b, a)), (expected.clone(), expected));
        }
    }

    #[test]
    fn a_sample_keeps_what_must_stay_and_its_order() {
        let all: Vec<u32> = (0..100).collect();
        let draw = |seed, most| sample(all.clone(), |i| i % 10 == 0, most, (seed, "t", 3));
        let some = draw(1, 20);
        assert_eq!((some.len(), some.iter().filter(|i| **i % 10 == 0).count()), (30, 10));
        assert!(some.is_sorted() && some == draw(1, 20) && some != draw(2, 20));
        assert_eq!((draw(1, 90), draw(1, 0).len()), (all.clone(), 10));
        // Every other item is drawn about equally often: 20 of 90.
        let mut drawn = [0; 100];
        (0..900).for_each(|seed| draw(seed, 20).iter().for_each(|i| drawn[*i as usize] += 1));
        let others = drawn.iter().enumerate().filter(|(i, _)| i % 10 != 0).map(|(_, n)| *n);
        assert!(others.clone().min().unwrap() > 140 && others.max().unwrap() < 260, "{drawn:?}");
    }

    #[test]
    fn pairs_are_ordered_and_of_different_spans() {
        let found: Vec<[u32; 2]> = pairs(3..6).map(|pair| [pair.head, pair.tail]).collect();
        assert_eq!(found, [[3, 4], [3, 5], [4, 3], [4, 5], [5, 3], [5, 4]]);
    }
}

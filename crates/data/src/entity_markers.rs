//! A text with two marked spans as one row: the input of relation classification.
//!
//! A row is split into pieces at the boundaries of its spans; markers are pieces, too. The pieces are tokenized like given
//! words ([`crate::Input::Words`]), so that no token crosses a boundary and the word index of a token encodes its [`SpanRole`]:
//! the index modulo the number of roles. Empty pieces pad the list up to the next index with the right role.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use crate::cast::{to_u32, whole_part};
use crate::{DataError, NO_WORD_ID, Row, Value};

/// The marker around the head (R-BERT's markers: nearly every vocabulary has a token for them).
const HEAD_MARKER: &str = "$";
/// The marker around the tail.
const TAIL_MARKER: &str = "#";

/// The fields that hold a text and two spans of it, and how they are read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EntityMarkers {
    /// The field of the text.
    pub text: String,
    /// Whether it is a field of words; the spans then count words, otherwise Unicode characters.
    pub words: bool,
    /// The field of the first span, `[start, end]`, end exclusive.
    pub head: String,
    /// The field of the second span.
    pub tail: String,
    /// Whether markers are put around the spans.
    pub markers: bool,
}

/// The role of a piece of a marked text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanRole {
    /// Text outside both spans.
    Outside,
    /// Text of the head alone.
    Head,
    /// Text of the tail alone.
    Tail,
    /// Text of both.
    Both,
    /// The marker before the head.
    HeadMarker,
    /// The marker before the tail.
    TailMarker,
    /// A marker after a span.
    EndMarker,
}

impl SpanRole {
    const ALL: [SpanRole; 7] = [
        SpanRole::Outside,
        SpanRole::Head,
        SpanRole::Tail,
        SpanRole::Both,
        SpanRole::HeadMarker,
        SpanRole::TailMarker,
        SpanRole::EndMarker,
    ];

    /// The role of a token with this word index; `None` for special tokens.
    pub fn of(word_id: u32) -> Option<SpanRole> {
        (word_id != NO_WORD_ID).then(|| SpanRole::ALL[word_id as usize % SpanRole::ALL.len()])
    }

    fn inside(head: bool, tail: bool) -> SpanRole {
        match (head, tail) {
            (false, false) => SpanRole::Outside,
            (true, false) => SpanRole::Head,
            (false, true) => SpanRole::Tail,
            (true, true) => SpanRole::Both,
        }
    }
}

impl EntityMarkers {
    /// The names of the fields.
    pub fn fields(&self) -> [&str; 3] {
        [&self.text, &self.head, &self.tail]
    }

    /// The pieces of a row, some of them empty; `None` for a row without the text.
    ///
    /// # Errors
    /// A field that holds something else; a span that is missing, or not a stretch of the text.
    pub fn pieces(&self, row: &Row) -> Result<Option<Vec<String>>, DataError> {
        let (text, boundary) = if self.words {
            let Some(words) = row.words(&self.text)? else { return Ok(None) };
            (words.join(" "), Boundary::Words(word_ranges(&words)))
        } else {
            let Some(text) = row.text(&self.text)? else { return Ok(None) };
            let begins = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
            (text.into_owned(), Boundary::Characters(begins))
        };
        let span = |field: &str| {
            let value = row.get(field).ok_or_else(|| row.missing(field))?;
            let found = span(value).and_then(|span| boundary.bytes(span));
            found.filter(|bytes| !text[bytes.clone()].trim().is_empty()).ok_or_else(|| {
                let (most, unit) = boundary.max();
                let expected = format!(
                    "[start, end] of a span that is not empty, with end (exclusive) at most {most}, in {unit} of field {:?}",
                    self.text
                );
                row.error(field, value.preview(), expected)
            })
        };
        Ok(Some(pieces(&text, span(&self.head)?, span(&self.tail)?, self.markers)))
    }
}

/// A value that is a span, `[start, end]`: two whole numbers, of which the second is greater.
pub fn span(value: &Value) -> Option<Range<usize>> {
    let Value::List(numbers) = value else { return None };
    let [Value::Number(start), Value::Number(end)] = numbers[..] else { return None };
    let whole = |x: f64| x >= 0.0 && x.fract() == 0.0 && x < u32::MAX.into();
    (whole(start) && whole(end) && start < end).then_some(whole_part(start)..whole_part(end))
}

/// The positions at which a text may be split.
enum Boundary {
    /// The byte at which each character begins, and the end of the text.
    Characters(Vec<usize>),
    /// The bytes of each word.
    Words(Vec<Range<usize>>),
}

impl Boundary {
    /// How many characters or words there are, and the name of the unit.
    fn max(&self) -> (usize, &'static str) {
        match self {
            Boundary::Characters(begins) => (begins.len() - 1, "characters"),
            Boundary::Words(words) => (words.len(), "words"),
        }
    }

    /// The bytes of a span; `None` if it ends behind the text.
    fn bytes(&self, span: Range<usize>) -> Option<Range<usize>> {
        match self {
            Boundary::Characters(begins) => Some(*begins.get(span.start)?..*begins.get(span.end)?),
            Boundary::Words(words) => Some(words.get(span.start)?.start..words.get(span.end - 1)?.end),
        }
    }
}

/// The byte range of each word in the words joined by single spaces.
fn word_ranges(words: &[String]) -> Vec<Range<usize>> {
    let mut next = 0;
    let range = |word: &String| {
        let range = next..next + word.len();
        next = range.end + 1;
        range
    };
    words.iter().map(range).collect()
}

/// Splits a text at the boundaries of its spans, which may overlap.
fn pieces(text: &str, head: Range<usize>, tail: Range<usize>, markers: bool) -> Vec<String> {
    let mut cuts = vec![0, head.start, head.end, tail.start, tail.end, text.len()];
    cuts.sort_unstable();
    cuts.dedup();
    // The longer span first: where both start or end at one position, its markers are the outer ones.
    let mut spans = [(SpanRole::HeadMarker, HEAD_MARKER, &head), (SpanRole::TailMarker, TAIL_MARKER, &tail)];
    if tail.len() > head.len() {
        spans.swap(0, 1);
    }
    let mut out = MarkerTexts(Vec::new());
    for (i, cut) in cuts.iter().enumerate() {
        if markers {
            for (_, marker, _) in spans.iter().rev().filter(|(_, _, span)| span.end == *cut) {
                out.push(SpanRole::EndMarker, marker);
            }
            for (role, marker, _) in spans.iter().filter(|(_, _, span)| span.start == *cut) {
                out.push(*role, marker);
            }
        }
        if let Some(next) = cuts.get(i + 1) {
            out.push(SpanRole::inside(head.contains(cut), tail.contains(cut)), &text[*cut..*next]);
        }
    }
    out.0
}

/// Pieces of which each is at an index that encodes its role.
struct MarkerTexts(Vec<String>);

impl MarkerTexts {
    fn push(&mut self, role: SpanRole, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        while SpanRole::of(to_u32(self.0.len())) != Some(role) {
            self.0.push(String::new());
        }
        self.0.push(text.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Place;
    use std::path::Path;
    use std::sync::Arc;

    /// The pieces that are not empty, with their roles.
    fn cut(text: &str, head: Range<usize>, tail: Range<usize>, markers: bool) -> Vec<(SpanRole, String)> {
        let pieces = pieces(text, head, tail, markers).into_iter().zip(0..);
        pieces
            .filter(|(piece, _)| !piece.is_empty())
            .map(|(piece, i)| (SpanRole::of(i).unwrap(), piece))
            .collect()
    }

    fn shown(pieces: &[(SpanRole, String)]) -> String {
        pieces.iter().map(|(_, piece)| piece.as_str()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn markers_are_around_the_spans_whichever_comes_first() {
        use SpanRole::*;
        let text = "the child was put into the cradle .";
        let found = cut(text, 4..9, 27..33, true);
        assert_eq!(shown(&found), "the|$|child|$|was put into the|#|cradle|#|.");
        let roles: Vec<SpanRole> = found.iter().map(|(role, _)| *role).collect();
        assert_eq!(
            roles,
            [Outside, HeadMarker, Head, EndMarker, Outside, TailMarker, Tail, EndMarker, Outside]
        );
        let found = cut(text, 27..33, 4..9, true);
        assert_eq!(shown(&found), "the|#|child|#|was put into the|$|cradle|$|.");
        assert_eq!((found[1].0, found[2].0, found[5].0, found[6].0), (TailMarker, Tail, HeadMarker, Head));
        assert_eq!(shown(&cut(text, 4..9, 27..33, false)), "the|child|was put into the|cradle|.");
    }

    #[test]
    fn spans_may_touch_nest_and_overlap() {
        use SpanRole::*;
        assert_eq!(shown(&cut("ab", 0..1, 1..2, true)), "$|a|$|#|b|#");
        assert_eq!(shown(&cut("a b c", 0..5, 2..3, true)), "$|a|#|b|#|c|$");
        assert_eq!(shown(&cut("a b c", 0..1, 0..5, true)), "#|$|a|$|b c|#");
        assert_eq!(shown(&cut("a b c", 4..5, 0..5, true)), "#|a b|$|c|$|#");
        assert_eq!(shown(&cut("a b c", 0..3, 2..5, true)), "$|a|#|b|$|c|#");
        assert_eq!(shown(&cut("a", 0..1, 0..1, true)), "$|#|a|#|$");
        let roles = |found: &[(SpanRole, String)]| found.iter().map(|(role, _)| *role).collect::<Vec<_>>();
        assert_eq!(roles(&cut("a b c", 0..3, 2..5, false)), [Head, Both, Tail]);
    }

    #[test]
    fn spans_of_a_row_count_characters_or_words() {
        let list = |a: f64, b: f64| Value::List(vec![Value::Number(a), Value::Number(b)]);
        let texts = |words: &[&str]| Value::List(words.iter().map(|w| Value::Text((*w).into())).collect());
        let row = |text: Value, head: Value, tail: Value| Row {
            place: Place { file: Arc::from(Path::new("a.jsonl")), line: 3 },
            fields: vec![("t".into(), text), ("h".into(), head), ("e".into(), tail)],
        };
        let fields = |words| {
            let [text, head, tail] = ["t", "h", "e"].map(str::to_owned);
            EntityMarkers { text, words, head, tail, markers: true }
        };
        let read = |words: bool, row: &Row| {
            let pieces = fields(words).pieces(row).map_err(|e| e.to_string());
            pieces.map(|p| p.unwrap().into_iter().filter(|p| !p.is_empty()).collect::<Vec<_>>().join("|"))
        };
        let text = || Value::Text("où est 東京 ?".into());
        assert_eq!(
            read(false, &row(text(), list(7.0, 9.0), list(0.0, 2.0))).unwrap(),
            "#|où|#|est|$|東京|$|?"
        );
        let words = || texts(&["où", "est", "東京", "?"]);
        assert_eq!(
            read(true, &row(words(), list(2.0, 4.0), list(0.0, 1.0))).unwrap(),
            "#|où|#|est|$|東京 ?|$"
        );
        let there = "expected [start, end] of a span that is not empty, with end (exclusive) at most";
        for (words, text, head, found, most) in [
            (false, text(), list(7.0, 12.0), "[7, 12]", "11, in characters of field \"t\""),
            (false, text(), list(3.0, 3.0), "[3, 3]", "11, in characters of field \"t\""),
            (false, text(), list(2.0, 3.0), "[2, 3]", "11, in characters of field \"t\""),
            (false, text(), list(0.5, 3.0), "[0.5, 3]", "11, in characters of field \"t\""),
            (false, text(), list(-1.0, 3.0), "[-1, 3]", "11, in characters of field \"t\""),
            (false, text(), Value::Text("x".into()), "\"x\"", "11, in characters of field \"t\""),
            (true, words(), list(4.0, 5.0), "[4, 5]", "4, in words of field \"t\""),
            (true, texts(&[]), list(0.0, 1.0), "[0, 1]", "0, in words of field \"t\""),
        ] {
            let error = read(words, &row(text, head, list(0.0, 1.0))).unwrap_err();
            assert_eq!(error, format!("a.jsonl:3: field \"h\": found {found}, {there} {most}"));
        }
        let missing = read(false, &row(text(), list(0.0, 2.0), Value::Null)).unwrap_err();
        assert_eq!(missing, "a.jsonl:3: no field \"e\"; the row has t, h, e (null)");
        assert_eq!(fields(false).pieces(&row(Value::Null, Value::Null, Value::Null)).unwrap(), None);
    }
}

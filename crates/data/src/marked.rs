//! Two spans of a text and the text around them, as one row: what a model reads that tells how the two are related.
//!
//! A row is cut into pieces at the edges of its spans, and markers may be pieces, too. The pieces are tokenized like given
//! words ([`crate::Input::Words`]), so that no token reaches over an edge and the index of a token's word tells its [`Part`]:
//! where the next piece is not of the part whose turn it is, empty pieces fill the places between.

use serde::{Deserialize, Serialize};
use std::ops::Range;

use crate::{DataError, NO_WORD, Row, Value};

/// Stands around the head (R-BERT's markers: nearly every vocabulary has a token for them).
const HEAD_MARKER: &str = "$";
/// Stands around the tail.
const TAIL_MARKER: &str = "#";

/// The fields that hold a text and two spans of it, and how they are read.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MarkedText {
    /// The field of the text.
    pub text: String,
    /// Whether it is a field of words; the spans then count words, otherwise Unicode characters.
    pub words: bool,
    /// The field of the first span, `[start, end]`, end exclusive.
    pub head: String,
    /// The field of the second span.
    pub tail: String,
    /// Whether markers stand around the spans.
    pub markers: bool,
}

/// What a piece of a marked text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
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

impl Part {
    const ALL: [Part; 7] = [
        Part::Outside,
        Part::Head,
        Part::Tail,
        Part::Both,
        Part::HeadMarker,
        Part::TailMarker,
        Part::EndMarker,
    ];

    /// The part that a token of the word index `word` is of; `None` for special tokens.
    pub fn of(word: u32) -> Option<Part> {
        (word != NO_WORD).then(|| Part::ALL[word as usize % Part::ALL.len()])
    }

    fn inside(head: bool, tail: bool) -> Part {
        match (head, tail) {
            (false, false) => Part::Outside,
            (true, false) => Part::Head,
            (false, true) => Part::Tail,
            (true, true) => Part::Both,
        }
    }
}

impl MarkedText {
    /// The names of the fields.
    pub fn fields(&self) -> [&str; 3] {
        [&self.text, &self.head, &self.tail]
    }

    /// The pieces of a row, some of them empty; `None` for a row without the text.
    ///
    /// # Errors
    /// A field that holds something else; a span that is missing, or not a stretch of the text.
    pub fn pieces(&self, row: &Row) -> Result<Option<Vec<String>>, DataError> {
        let (text, edges) = if self.words {
            let Some(words) = row.words(&self.text)? else { return Ok(None) };
            (words.join(" "), Edges::Words(places(&words)))
        } else {
            let Some(text) = row.text(&self.text)? else { return Ok(None) };
            let begins = text.char_indices().map(|(byte, _)| byte).chain([text.len()]).collect();
            (text.to_owned(), Edges::Characters(begins))
        };
        let span = |field: &str| {
            let value = row.get(field).ok_or_else(|| row.missing(field))?;
            let found = span(value).and_then(|span| edges.bytes(span));
            found.filter(|bytes| !text[bytes.clone()].trim().is_empty()).ok_or_else(|| {
                let (most, unit) = edges.most();
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
    (whole(start) && whole(end) && start < end).then_some(start as usize..end as usize)
}

/// Where a text may be cut.
enum Edges {
    /// The byte at which each character begins, and the end of the text.
    Characters(Vec<usize>),
    /// The bytes of each word.
    Words(Vec<Range<usize>>),
}

impl Edges {
    /// How many characters or words there are, and what they are called.
    fn most(&self) -> (usize, &'static str) {
        match self {
            Edges::Characters(begins) => (begins.len() - 1, "characters"),
            Edges::Words(words) => (words.len(), "words"),
        }
    }

    /// The bytes of a span; `None` if it ends behind the text.
    fn bytes(&self, span: Range<usize>) -> Option<Range<usize>> {
        match self {
            Edges::Characters(begins) => Some(*begins.get(span.start)?..*begins.get(span.end)?),
            Edges::Words(words) => Some(words.get(span.start)?.start..words.get(span.end - 1)?.end),
        }
    }
}

/// Where each word stands in the words joined by single spaces.
fn places(words: &[String]) -> Vec<Range<usize>> {
    let mut next = 0;
    let place = |word: &String| {
        let place = next..next + word.len();
        next = place.end + 1;
        place
    };
    words.iter().map(place).collect()
}

/// Cuts a text at the edges of its spans, which may overlap.
fn pieces(text: &str, head: Range<usize>, tail: Range<usize>, markers: bool) -> Vec<String> {
    let mut cuts = vec![0, head.start, head.end, tail.start, tail.end, text.len()];
    cuts.sort_unstable();
    cuts.dedup();
    // The longer span first: where both begin or end at one place, its markers stand outside.
    let mut spans = [(Part::HeadMarker, HEAD_MARKER, &head), (Part::TailMarker, TAIL_MARKER, &tail)];
    if tail.len() > head.len() {
        spans.swap(0, 1);
    }
    let mut out = Pieces(Vec::new());
    for (i, cut) in cuts.iter().enumerate() {
        if markers {
            for (_, marker, _) in spans.iter().rev().filter(|(_, _, span)| span.end == *cut) {
                out.push(Part::EndMarker, marker);
            }
            for (part, marker, _) in spans.iter().filter(|(_, _, span)| span.start == *cut) {
                out.push(*part, marker);
            }
        }
        if let Some(next) = cuts.get(i + 1) {
            out.push(Part::inside(head.contains(cut), tail.contains(cut)), &text[*cut..*next]);
        }
    }
    out.0
}

/// Pieces of which each stands at an index that tells its part.
struct Pieces(Vec<String>);

impl Pieces {
    fn push(&mut self, part: Part, text: &str) {
        let text = text.trim();
        if text.is_empty() {
            return;
        }
        while Part::of(self.0.len() as u32) != Some(part) {
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

    /// The pieces that are not empty, with their parts.
    fn cut(text: &str, head: Range<usize>, tail: Range<usize>, markers: bool) -> Vec<(Part, String)> {
        let pieces = pieces(text, head, tail, markers).into_iter().zip(0..);
        pieces
            .filter(|(piece, _)| !piece.is_empty())
            .map(|(piece, i)| (Part::of(i).unwrap(), piece))
            .collect()
    }

    fn shown(pieces: &[(Part, String)]) -> String {
        pieces.iter().map(|(_, piece)| piece.as_str()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn markers_stand_around_the_spans_whichever_comes_first() {
        use Part::*;
        let text = "the child was put into the cradle .";
        let found = cut(text, 4..9, 27..33, true);
        assert_eq!(shown(&found), "the|$|child|$|was put into the|#|cradle|#|.");
        let parts: Vec<Part> = found.iter().map(|(part, _)| *part).collect();
        assert_eq!(
            parts,
            [Outside, HeadMarker, Head, EndMarker, Outside, TailMarker, Tail, EndMarker, Outside]
        );
        let found = cut(text, 27..33, 4..9, true);
        assert_eq!(shown(&found), "the|#|child|#|was put into the|$|cradle|$|.");
        assert_eq!((found[1].0, found[2].0, found[5].0, found[6].0), (TailMarker, Tail, HeadMarker, Head));
        assert_eq!(shown(&cut(text, 4..9, 27..33, false)), "the|child|was put into the|cradle|.");
    }

    #[test]
    fn spans_may_touch_nest_and_overlap() {
        use Part::*;
        assert_eq!(shown(&cut("ab", 0..1, 1..2, true)), "$|a|$|#|b|#");
        assert_eq!(shown(&cut("a b c", 0..5, 2..3, true)), "$|a|#|b|#|c|$");
        assert_eq!(shown(&cut("a b c", 0..1, 0..5, true)), "#|$|a|$|b c|#");
        assert_eq!(shown(&cut("a b c", 4..5, 0..5, true)), "#|a b|$|c|$|#");
        assert_eq!(shown(&cut("a b c", 0..3, 2..5, true)), "$|a|#|b|$|c|#");
        assert_eq!(shown(&cut("a", 0..1, 0..1, true)), "$|#|a|#|$");
        let parts = |found: &[(Part, String)]| found.iter().map(|(part, _)| *part).collect::<Vec<_>>();
        assert_eq!(parts(&cut("a b c", 0..3, 2..5, false)), [Head, Both, Tail]);
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
            MarkedText { text, words, head, tail, markers: true }
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
            let fault = read(words, &row(text, head, list(0.0, 1.0))).unwrap_err();
            assert_eq!(fault, format!("a.jsonl:3: field \"h\": found {found}, {there} {most}"));
        }
        let missing = read(false, &row(text(), list(0.0, 2.0), Value::Null)).unwrap_err();
        assert_eq!(missing, "a.jsonl:3: no field \"e\"; the row has t, h, e (null)");
        assert_eq!(fields(false).pieces(&row(Value::Null, Value::Null, Value::Null)).unwrap(), None);
    }
}

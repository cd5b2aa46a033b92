//! From tags, one per word, to labelled spans.
//!
//! The rules are those of seqeval's default ("conlleval") mode: any sequence of tags has spans, valid or not. A span
//! starts at `B` or `S`, at `I` or `E` after `O`, `E` or `S`, and wherever the type changes; it ends before `O`, `B` or
//! `S`, after `E` or `S`, and wherever the type changes. So `O I-PER I-PER` is one span, and `B-PER I-LOC` is two.

/// How spans are written as tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// `B-` begins a span, `I-` continues it, `O` is outside (also called IOB2).
    Bio,
    /// `B-` begins, `I-` continues and `E-` ends a span of several words, `S-` is a span of one word, `O` is outside
    /// (also called IOBES).
    Bioes,
}

impl Scheme {
    /// Whether `tag` is one that this scheme knows: `O`, or one of its letters, a hyphen and a type.
    pub fn knows(self, tag: &str) -> bool {
        let letters = match self {
            Scheme::Bio => "BI",
            Scheme::Bioes => "BIES",
        };
        tag == "O"
            || tag
                .split_once('-')
                .is_some_and(|(l, kind)| l.len() == 1 && letters.contains(l) && !kind.is_empty())
    }

    /// Whether a valid sequence may have the tag `next` right after `previous`. `None` stands for the edge of the
    /// sequence: before the first tag (`previous`) or after the last one (`next`).
    pub fn allows(self, previous: Option<&str>, next: Option<&str>) -> bool {
        let (before, before_type) = split_tag(previous.unwrap_or("O"));
        let (after, after_type) = split_tag(next.unwrap_or("O"));
        let continues = matches!(after, 'I' | 'E');
        let open = matches!(before, 'B' | 'I');
        match self {
            // An open span may always stop; it may be continued only by its own type.
            Scheme::Bio => !continues || (open && before_type == after_type),
            // An open span must be continued, by its own type, until `E` closes it.
            Scheme::Bioes => continues == open && (!continues || before_type == after_type),
        }
    }
}

/// A labelled stretch of words.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// First word.
    pub start: usize,
    /// One past the last word.
    pub end: usize,
    /// Its type, `PER` of `B-PER`; `_` where the tag names none.
    pub label: String,
}

/// A tag's letter and type: `("B-PER")` is `('B', "PER")`, `("B")` is `('B', "_")`, and the empty tag counts as `O`.
pub fn split_tag(tag: &str) -> (char, &str) {
    let mut characters = tag.chars();
    let letter = characters.next().unwrap_or('O');
    let rest = characters.as_str();
    let kind = rest.split_once('-').map_or(rest, |(_, kind)| kind);
    (letter, if kind.is_empty() { "_" } else { kind })
}

/// The spans of one row's tags, in order; equals seqeval's `get_entities` (whose end is inclusive) on that row.
pub fn spans<S: AsRef<str>>(tags: &[S]) -> Vec<Span> {
    let mut found = Vec::new();
    let (mut before, mut before_type, mut start) = ('O', "", 0);
    let closing = tags.iter().map(AsRef::as_ref).chain(std::iter::once("O"));
    for (i, tag) in closing.enumerate() {
        let (letter, kind) = split_tag(tag);
        if ends(before, letter, before_type, kind) {
            found.push(Span { start, end: i, label: before_type.to_owned() });
        }
        if starts(before, letter, before_type, kind) {
            start = i;
        }
        (before, before_type) = (letter, kind);
    }
    found
}

/// The spans of one row's tags that are written as the scheme says; equals seqeval's strict mode (`mode="strict"` with `IOB2` or
/// `IOBES`) on that row: a span begins with `B` (or `S`), goes on with its own type, and in `bioes` ends with `E`. Tags that
/// belong to no such span count for nothing.
pub fn strict_spans<S: AsRef<str>>(tags: &[S], scheme: Scheme) -> Vec<Span> {
    let mut found = Vec::new();
    let mut at = 0;
    while at < tags.len() {
        let (letter, kind) = split_tag(tags[at].as_ref());
        let begins = letter == 'B' || (letter == 'S' && scheme == Scheme::Bioes);
        if !begins {
            at += 1;
            continue;
        }
        let (start, mut last) = (at, letter);
        at += 1;
        while let Some((letter @ ('I' | 'E'), of)) = tags.get(at).map(|tag| split_tag(tag.as_ref())) {
            let goes_on =
                matches!(last, 'B' | 'I') && of == kind && (letter == 'I' || scheme == Scheme::Bioes);
            if !goes_on {
                break;
            }
            (last, at) = (letter, at + 1);
        }
        if scheme == Scheme::Bio || matches!(last, 'E' | 'S') {
            found.push(Span { start, end: at, label: kind.to_owned() });
        }
    }
    found
}

/// Whether a span ends between a tag and the next one.
fn ends(before: char, letter: char, before_type: &str, kind: &str) -> bool {
    matches!((before, letter), ('E' | 'S', _) | ('B' | 'I', 'B' | 'S' | 'O'))
        || (!outside(before) && before_type != kind)
}

/// Whether a span starts at a tag, given the one before.
fn starts(before: char, letter: char, before_type: &str, kind: &str) -> bool {
    matches!((before, letter), (_, 'B' | 'S') | ('E' | 'S' | 'O', 'E' | 'I'))
        || (!outside(letter) && before_type != kind)
}

/// `O`, or the full stop that some old corpora write for it.
fn outside(letter: char) -> bool {
    matches!(letter, 'O' | '.')
}

//! How spans are written as tags: the schemes, how one is recognised, and how all are put into one of two.
//!
//! Heads learn `bio` or `bioes`. The tags of other schemes are converted: those of IOB1, IO, IOE1, IOE2 and bare types to `bio`,
//! BILOU and BMES to `bioes`, which has other letters for the same (Ramshaw and Marcus 1995, "Text Chunking using
//! Transformation-Based Learning"; Tjong Kim Sang and Veenstra 1999, "Representing Text Chunks").

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::decode::answer::OUTSIDE;

/// The scheme that encodes spans as tags.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// The scheme that the training rows follow, of those below with spans.
    #[default]
    Auto,
    /// `B-` begins a span, `I-` continues it, `O` is outside (IOB2).
    Bio,
    /// As `bio`, but a span begins with `I-` unless it follows one of its own type.
    Iob1,
    /// `I-` for every word of a span; spans of one type side by side are one.
    Io,
    /// `I-` for every word of a span, but `E-` for the last one where a span of its own type follows.
    Ioe1,
    /// `E-` ends a span, `I-` stands before it.
    Ioe2,
    /// `B-` begins, `I-` continues and `E-` ends a span of several words, `S-` is a span of one word, `O` is outside (IOBES).
    Bioes,
    /// As `bioes`, with `L-` (last) for `E-` and `U-` (unit) for `S-`; also called BILUO.
    Bilou,
    /// As `bioes`, with `M-` (middle) for `I-`.
    Bmes,
    /// The type of a span alone, `PER`, and `O` outside; spans of one type side by side are one.
    Bare,
    /// Tags without spans, such as parts of speech.
    None,
}

/// What is known of a scheme.
struct Facts {
    scheme: Scheme,
    name: &'static str,
    /// The letters before the hyphen.
    letters: &'static str,
    /// The scheme that a head learns.
    learned: metrics::Scheme,
}

/// Schemes of letters and types. Where several fit the tags alike, the first is taken.
const SCHEMES: [Facts; 8] = [
    Facts { scheme: Scheme::Bio, name: "bio", letters: "BI", learned: metrics::Scheme::Bio },
    Facts { scheme: Scheme::Io, name: "io", letters: "I", learned: metrics::Scheme::Bio },
    Facts { scheme: Scheme::Iob1, name: "iob1", letters: "BI", learned: metrics::Scheme::Bio },
    Facts { scheme: Scheme::Bioes, name: "bioes", letters: "BIES", learned: metrics::Scheme::Bioes },
    Facts { scheme: Scheme::Bilou, name: "bilou", letters: "BILU", learned: metrics::Scheme::Bioes },
    Facts { scheme: Scheme::Bmes, name: "bmes", letters: "BMES", learned: metrics::Scheme::Bioes },
    Facts { scheme: Scheme::Ioe2, name: "ioe2", letters: "IE", learned: metrics::Scheme::Bio },
    Facts { scheme: Scheme::Ioe1, name: "ioe1", letters: "IE", learned: metrics::Scheme::Bio },
];

/// The tags of a row; `None` for a word without one.
pub(crate) type RowTags = [Option<String>];

/// A tag's letter and type, if it has both.
fn parts(tag: &str) -> Option<(char, &str)> {
    let (letter, kind) = tag.split_once('-')?;
    let mut letters = letter.chars();
    let letter = letters.next().filter(|_| letters.next().is_none() && !kind.is_empty())?;
    SCHEMES.iter().any(|facts| facts.letters.contains(letter)).then_some((letter, kind))
}

impl Scheme {
    fn facts(self) -> Option<&'static Facts> {
        SCHEMES.iter().find(|facts| facts.scheme == self)
    }

    /// The scheme's name in a config.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Scheme::Auto => "auto",
            Scheme::Bare => "bare",
            Scheme::None => "none",
            other => other.facts().map_or("", |facts| facts.name),
        }
    }

    /// The scheme of spans that a head learns; `None` without spans.
    pub(crate) fn learned(self) -> Option<metrics::Scheme> {
        match self {
            Scheme::None => None,
            Scheme::Auto | Scheme::Bare => Some(metrics::Scheme::Bio),
            other => other.facts().map(|facts| facts.learned),
        }
    }

    /// Whether a tag is one of the scheme.
    pub(crate) fn knows(self, tag: &str) -> bool {
        match self.facts() {
            Some(facts) => {
                tag == OUTSIDE || parts(tag).is_some_and(|(letter, _)| facts.letters.contains(letter))
            }
            None => true,
        }
    }

    /// The allowed tags, for a message.
    pub(crate) fn allowed(self) -> String {
        let letters = self.facts().map_or("BI", |facts| facts.letters);
        let tags: Vec<String> = letters.chars().map(|letter| format!("{letter}-TYPE")).collect();
        format!("O or {} (scheme = {:?}; tags without spans: \"none\")", tags.join(", "), self.name())
    }

    /// The scheme that the tags of some rows follow: of those that have all their letters the one that the fewest rows break.
    ///
    /// Errors: tags without letters and without `O`; letters that no scheme has together.
    pub(crate) fn recognise<'a>(rows: impl Iterator<Item = &'a RowTags> + Clone) -> Result<Scheme, String> {
        let tags = || rows.clone().flat_map(|row| row.iter().flatten());
        let mut letters = BTreeSet::new();
        let (mut bare, mut has_outside) = (None, false);
        for tag in tags() {
            match parts(tag) {
                _ if tag == OUTSIDE => has_outside = true,
                Some((letter, _)) => {
                    letters.insert(letter);
                }
                None => bare = bare.or(Some(tag)),
            }
        }
        match bare {
            Some(_) if letters.is_empty() && has_outside => return Ok(Scheme::Bare),
            Some(tag) if letters.is_empty() => return Err(format!("tags such as {tag:?} and no \"O\"")),
            // One tag without a letter beside others is a fault of its row.
            _ => {}
        }
        let fits = |facts: &&Facts| letters.iter().all(|letter| facts.letters.contains(*letter));
        let broken = |facts: &&Facts| rows.clone().filter(|row| !facts.scheme.allows(row)).count();
        let best = SCHEMES.iter().filter(fits).min_by_key(broken);
        best.map(|facts| facts.scheme).ok_or_else(|| {
            format!("the letters {}", letters.iter().map(char::to_string).collect::<Vec<_>>().join(", "))
        })
    }

    /// Whether the tags of a row follow the scheme.
    pub(crate) fn allows(self, row: &RowTags) -> bool {
        let at = |word: Option<usize>| {
            let tag = word.and_then(|word| row.get(word)).and_then(|tag| tag.as_deref());
            tag.and_then(parts)
        };
        let inside = |word: usize, kind: &str| {
            let follows = |side: Option<(char, &str)>| side.is_some_and(|(_, other)| other == kind);
            (follows(at(word.checked_sub(1))), follows(at(Some(word + 1))))
        };
        (0..row.len()).all(|word| match (self, at(Some(word))) {
            (Scheme::Iob1, Some(('B', kind))) => inside(word, kind).0,
            (Scheme::Ioe1, Some(('E', kind))) => inside(word, kind).1,
            (Scheme::Ioe2, Some(('I', kind))) => inside(word, kind).1,
            _ => true,
        }) && self.facts().is_none_or(|facts| match self {
            Scheme::Bio | Scheme::Bioes | Scheme::Bilou | Scheme::Bmes => {
                follows(facts.learned, &self.converted(row))
            }
            _ => true,
        })
    }

    /// The tags of a row in the scheme that a head learns ([`Scheme::learned`]).
    pub(crate) fn converted(self, row: &RowTags) -> Vec<Option<String>> {
        let read = |tag: &'_ Option<String>| match tag.as_deref() {
            None | Some(OUTSIDE) => None,
            Some(tag) if self == Scheme::Bare => Some(('I', tag.to_owned())),
            Some(tag) => parts(tag).map(|(letter, kind)| (letter, kind.to_owned())),
        };
        let mut before: Option<(char, String)> = None;
        let mut converted = Vec::with_capacity(row.len());
        for tag in row {
            let now = read(tag);
            let previous = std::mem::replace(&mut before, now.clone());
            let Some((letter, kind)) = now else {
                converted.push(tag.clone());
                continue;
            };
            let continues = previous.as_ref().is_some_and(|(_, other)| *other == kind);
            let ended = previous.is_some_and(|(letter, _)| letter == 'E');
            let letter = match (self, letter) {
                (Scheme::Bilou, 'L') => 'E',
                (Scheme::Bilou, 'U') => 'S',
                (Scheme::Bmes, 'M') => 'I',
                (Scheme::Ioe1 | Scheme::Ioe2, _) if ended => 'B',
                (Scheme::Iob1 | Scheme::Io | Scheme::Bare | Scheme::Ioe1 | Scheme::Ioe2, 'I' | 'E') => {
                    if continues {
                        'I'
                    } else {
                        'B'
                    }
                }
                (_, letter) => letter,
            };
            converted.push(Some(format!("{letter}-{kind}")));
        }
        converted
    }
}

/// Whether the tags of a row are such as a decoder with the constraints of `scheme` may give. A word without a tag may have any.
pub(crate) fn follows(scheme: metrics::Scheme, row: &RowTags) -> bool {
    let tags: Vec<Option<&str>> = row.iter().map(Option::as_deref).collect();
    let edges = [row.first(), row.last()].into_iter().flatten().all(Option::is_some);
    let inner = tags.windows(2).all(|pair| match pair {
        [Some(before), Some(after)] => scheme.allows(Some(before), Some(after)),
        _ => true,
    });
    let first = tags.first().copied().flatten().is_none_or(|tag| scheme.allows(None, Some(tag)));
    let last = tags.last().copied().flatten().is_none_or(|tag| scheme.allows(Some(tag), None));
    inner && (!edges || (first && last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tags: &str) -> Vec<Option<String>> {
        tags.split(' ').map(|tag| (tag != "_").then(|| tag.to_owned())).collect()
    }

    fn converted(scheme: Scheme, tags: &str) -> String {
        let tags = scheme.converted(&row(tags));
        tags.iter().map(|tag| tag.as_deref().unwrap_or("_")).collect::<Vec<_>>().join(" ")
    }

    /// The example of Tjong Kim Sang and Veenstra 1999, table 1: "In early trading in Hong Kong Monday , gold was quoted at ..."
    #[test]
    fn one_sentence_in_every_scheme() {
        let bio = "O B-X I-X O B-X I-X B-X O B-X O O O B-X I-X B-X I-X O";
        for (scheme, tags) in [
            (Scheme::Bio, bio),
            (Scheme::Iob1, "O I-X I-X O I-X I-X B-X O I-X O O O I-X I-X B-X I-X O"),
            (Scheme::Ioe1, "O I-X I-X O I-X E-X I-X O I-X O O O I-X E-X I-X I-X O"),
            (Scheme::Ioe2, "O I-X E-X O I-X E-X E-X O E-X O O O I-X E-X I-X E-X O"),
        ] {
            assert_eq!(converted(scheme, tags), bio, "{scheme:?}");
            assert!(scheme.allows(&row(tags)), "{scheme:?}");
            assert_eq!(Scheme::recognise([&*row(tags)].into_iter()), Ok(scheme));
        }
        let bioes = "O B-X E-X O B-X I-X E-X S-X O";
        for (scheme, tags) in [
            (Scheme::Bioes, bioes),
            (Scheme::Bilou, "O B-X L-X O B-X I-X L-X U-X O"),
            (Scheme::Bmes, "O B-X E-X O B-X M-X E-X S-X O"),
        ] {
            assert_eq!(converted(scheme, tags), bioes, "{scheme:?}");
            assert_eq!(Scheme::recognise([&*row(tags)].into_iter()), Ok(scheme));
        }
        for (scheme, tags) in [(Scheme::Io, "O I-X I-X I-Y"), (Scheme::Bare, "O X X Y")] {
            assert_eq!(converted(scheme, tags), "O B-X I-X B-Y", "{scheme:?}");
            assert_eq!(Scheme::recognise([&*row(tags)].into_iter()), Ok(scheme));
        }
        assert_eq!(converted(Scheme::Iob1, "I-X _ I-X"), "B-X _ B-X");
    }

    #[test]
    fn the_scheme_that_the_fewest_rows_break_is_taken() {
        let rows: Vec<_> = ["B-X O B-Y I-Y", "O B-X", "O I-X O"].map(row).to_vec();
        assert_eq!(Scheme::recognise(rows.iter().map(Vec::as_slice)), Ok(Scheme::Bio));
        let broken = rows.iter().filter(|row| !Scheme::Bio.allows(row)).count();
        assert_eq!(broken, 1);
        for (tags, says) in [("NOUN VERB", "no \"O\""), ("S-X L-X", "letters L, S")] {
            let found = Scheme::recognise([&*row(tags)].into_iter()).unwrap_err();
            assert!(found.contains(says), "{found}");
        }
    }

    #[test]
    fn open_spans_at_the_ends_are_forbidden_in_bioes() {
        for (tags, allowed) in [("B-X E-X", true), ("E-X O", false), ("O B-X", false), ("B-X _ E-X", true)] {
            assert_eq!(follows(metrics::Scheme::Bioes, &row(tags)), allowed, "{tags}");
        }
        assert!(!follows(metrics::Scheme::Bio, &row("I-X O")));
    }
}

//! Texts in the form in which they are compared.

use unicode_normalization_alignments::UnicodeNormalization;

/// Texts of fewer letters and digits recur by chance: greetings, thanks, `lol`.
pub const SHORT: usize = 12;

/// A text, or several, as they are compared: 128 bits of BLAKE3 over their letters and digits, in Unicode's form NFKC and
/// lower case.
///
/// So two texts are equal whatever their spaces, punctuation, case and width of characters, and a corpus of words equals the
/// text that the words are of. `3.5` equals `35` and `:)` is not seen beside words: texts that differ in such signs alone
/// count as the same. A text without any letter or digit is compared by its other signs, without spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NormalizedText {
    hash: [u8; 16],
    letters: u32,
}

impl NormalizedText {
    /// The normalized form of texts that are read together; `None` where all are empty or spaces.
    pub fn of<T: AsRef<str>>(texts: &[T]) -> Option<NormalizedText> {
        let (mut hasher, mut letters, mut any) = (blake3::Hasher::new(), 0, false);
        for text in texts {
            let bare = bare(text.as_ref());
            letters += bare.chars().filter(|sign| sign.is_alphanumeric()).count();
            any |= !bare.is_empty();
            // Where one text ends is part of what is compared.
            hasher.update(&(bare.len() as u64).to_le_bytes());
            hasher.update(bare.as_bytes());
        }
        let mut hash = [0; 16];
        hash.copy_from_slice(&hasher.finalize().as_bytes()[..16]);
        any.then_some(NormalizedText { hash, letters: u32::try_from(letters).unwrap_or(u32::MAX) })
    }

    /// How many letters and digits are compared.
    pub fn letters(&self) -> usize {
        self.letters as usize
    }

    /// Whether there are so few of them that the text recurs by chance ([`SHORT`]); so does a line of dashes, however long.
    pub fn is_short(&self) -> bool {
        self.letters() < SHORT
    }
}

/// The signs of a text that are compared.
fn bare(text: &str) -> String {
    let lower = |(sign, _): (char, isize)| sign.to_lowercase();
    let all = || text.nfkc().flat_map(lower);
    let letters: String = all().filter(|sign| sign.is_alphanumeric()).collect();
    if letters.is_empty() { all().filter(|sign| !sign.is_whitespace()).collect() } else { letters }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<NormalizedText> {
        NormalizedText::of(&[text])
    }

    #[test]
    fn spaces_case_width_and_punctuation_do_not_count() {
        for (one, other) in [
            ("I do n't know .", "I don't know."),
            ("ＡＢＣ ﬁn", "abc fin"),
            ("Straße\t\n", "straße"),
            ("cafe\u{301}", "café"),
            ("東京 タワー", "東京タワー"),
            ("नमस्ते दुनिया।", "नमस्ते दुनिया"),
            (":-)", " : - ) "),
        ] {
            assert_eq!(of(one), of(other), "{one:?} and {other:?}");
        }
    }

    #[test]
    fn other_texts_are_others() {
        for (one, other) in [("go", "went"), (":)", ":("), ("Ada 1", "Ada 2"), ("क", "कि")] {
            assert_ne!(of(one), of(other), "{one:?} and {other:?}");
        }
        let (one, other) = (NormalizedText::of(&["ab", "c"]), NormalizedText::of(&["a", "bc"]));
        assert_ne!(one, other, "the boundary between two texts counts");
    }

    #[test]
    fn nothing_is_not_compared() {
        assert_eq!([NormalizedText::of(&["", " \t\u{a0}"]), NormalizedText::of::<&str>(&[])], [None, None]);
        assert!(NormalizedText::of(&["lol"]).unwrap().is_short());
        assert_eq!(NormalizedText::of(&["A b, 3"]).unwrap().letters(), 3);
        assert!(NormalizedText::of(&["====================="]).unwrap().is_short());
    }
}

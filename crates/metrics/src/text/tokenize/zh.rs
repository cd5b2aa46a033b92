//! sacrebleu's tokenizer for Chinese.

use super::mteval::western;
use crate::text::ngrams::is_space;

/// What counts as a Chinese character, by sacrebleu's list. It compares two ranges beyond U+FFFF as strings of two characters,
/// so that they are U+2001 to U+2A6D and U+2F81 to U+2FA1: scores are compared with its scores, so they are here too.
const RANGES: [(char, char); 22] = [
    ('\u{3400}', '\u{4db5}'),
    ('\u{4e00}', '\u{9fa5}'),
    ('\u{9fa6}', '\u{9fbb}'),
    ('\u{f900}', '\u{fa2d}'),
    ('\u{fa30}', '\u{fa6a}'),
    ('\u{fa70}', '\u{fad9}'),
    ('\u{2001}', '\u{2a6d}'),
    ('\u{2f81}', '\u{2fa1}'),
    ('\u{ff00}', '\u{ffef}'),
    ('\u{2e80}', '\u{2eff}'),
    ('\u{3000}', '\u{303f}'),
    ('\u{31c0}', '\u{31ef}'),
    ('\u{2f00}', '\u{2fdf}'),
    ('\u{2ff0}', '\u{2fff}'),
    ('\u{3100}', '\u{312f}'),
    ('\u{31a0}', '\u{31bf}'),
    ('\u{fe10}', '\u{fe1f}'),
    ('\u{fe30}', '\u{fe4f}'),
    ('\u{2600}', '\u{26ff}'),
    ('\u{2700}', '\u{27bf}'),
    ('\u{3200}', '\u{32ff}'),
    ('\u{3300}', '\u{33ff}'),
];

/// The text with spaces between its words.
pub(super) fn tokenize(text: &str) -> String {
    let mut spaced = String::with_capacity(3 * text.len());
    for c in text.trim_matches(is_space).chars() {
        if RANGES.iter().any(|(first, last)| (*first..=*last).contains(&c)) {
            spaced.extend([' ', c, ' ']);
        } else {
            spaced.push(c);
        }
    }
    western(&spaced)
}

//! What two labels that a person takes for one have in common.

use unicode_normalization_alignments::UnicodeNormalization;

use crate::value::has_no_width;

/// The label in normal form NFC without characters of no width, trimmed, in small letters; of a number its value, so that `1` and
/// `1.0` are one.
pub fn label_key(label: &str) -> String {
    let visible: String = label.nfc().map(|(sign, _)| sign).filter(|sign| !has_no_width(*sign)).collect();
    let words: Vec<&str> = visible.split_whitespace().collect();
    let key = words.join(" ").to_lowercase();
    // Identifiers that a float cannot hold are compared by their digits.
    let number = key.parse::<f64>().ok().filter(|number| number.is_finite() && number.abs() < 9e15);
    number.map_or(key, |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twins_have_one_key() {
        for (a, b) in
            [("Neg", "neg "), ("é", "e\u{301}"), ("a\u{200B}b", "ab"), ("1", "1.0"), ("a  b", "a\u{A0}b")]
        {
            assert_eq!(label_key(a), label_key(b), "{a:?} {b:?}");
        }
        assert_ne!(label_key("123456789012345678901"), label_key("123456789012345678902"));
        assert_ne!(label_key("nan"), label_key("1"));
    }
}

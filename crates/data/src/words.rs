//! Splits plain text into words for tagging, in any script.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// The words of a text as byte ranges, in order.
///
/// Spaces separate words. Letters and digits with their combining marks run together, also across an inner hyphen or
/// underscore (`ad-2500`), a point or comma between digits (`3.5`), and a leading `@` or `#` (`@name`). Every other sign is
/// a word by itself: punctuation, an emoji with its modifiers and joiners, and each character of Chinese and of Japanese
/// kana, which are written without spaces. (So are Thai, Lao and Khmer; there a run of letters stays one word.)
pub fn split_words(text: &str) -> Vec<Range<usize>> {
    let signs: Vec<(Range<usize>, Class)> =
        text.grapheme_indices(true).map(|(at, sign)| (at..at + sign.len(), classify(sign))).collect();
    let mut words: Vec<Range<usize>> = Vec::new();
    let mut joins = false;
    for (i, (range, class)) in signs.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| signs[i].1);
        let after = signs.get(i + 1).map(|(_, class)| *class);
        let sign = &text[range.clone()];
        let run = |class: Option<Class>| matches!(class, Some(Class::Letter | Class::Digit));
        let (joined, joins_next) = match class {
            Class::Space => {
                joins = false;
                continue;
            }
            Class::Letter | Class::Digit => (joins, true),
            Class::Sign if matches!(sign, "-" | "_" | "\u{2010}") && run(before) && run(after) => {
                (joins, true)
            }
            Class::Sign if matches!(sign, "." | ",") && both_digits(before, after) => (joins, true),
            Class::Sign if matches!(sign, "@" | "#") && !run(before) && run(after) => (false, true),
            Class::Sign | Class::Alone => (false, false),
        };
        match words.last_mut() {
            Some(word) if joined => word.end = range.end,
            _ => words.push(range.clone()),
        }
        joins = joins_next;
    }
    words
}

fn both_digits(before: Option<Class>, after: Option<Class>) -> bool {
    before == Some(Class::Digit) && after == Some(Class::Digit)
}

#[derive(Clone, Copy, PartialEq)]
enum Class {
    Space,
    Letter,
    Digit,
    /// Chinese and kana characters.
    Alone,
    Sign,
}

/// The class of a grapheme cluster: that of its first character.
fn classify(sign: &str) -> Class {
    let Some(first) = sign.chars().next() else { return Class::Space };
    match first {
        c if c.is_whitespace() || c.is_control() || matches!(c, '\u{200B}' | '\u{FEFF}') => Class::Space,
        c if is_alone(c) => Class::Alone,
        // A digit with a keycap mark is an emoji.
        c if c.is_numeric() && !sign.contains('\u{20E3}') => Class::Digit,
        c if c.is_alphabetic() || is_mark(c) => Class::Letter,
        _ => Class::Sign,
    }
}

/// Han ideographs, Hiragana and Katakana.
fn is_alone(c: char) -> bool {
    matches!(u32::from(c),
        0x2E80..=0x2FDF          // radicals
        | 0x3005..=0x3007        // 々〆〇
        | 0x3021..=0x3029 | 0x3038..=0x303B
        | 0x3041..=0x3096 | 0x309D..=0x309F          // Hiragana
        | 0x30A1..=0x30FA | 0x30FC..=0x30FF          // Katakana
        | 0x31F0..=0x31FF | 0x3400..=0x4DBF | 0x4E00..=0x9FFF | 0xF900..=0xFAFF
        | 0xFF66..=0xFF9F        // half-width Katakana
        | 0x1AFF0..=0x1B16F | 0x20000..=0x3FFFF)
}

/// A combining mark that begins a cluster of its own (after a line's start or a control character) and the joiners that
/// stand inside words.
fn is_mark(c: char) -> bool {
    matches!(u32::from(c), 0x0300..=0x036F | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x200C..=0x200D)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &[&str]) {
        let found: Vec<&str> = split_words(text).into_iter().map(|range| &text[range]).collect();
        assert_eq!(found, expected, "{text:?}");
    }

    #[test]
    fn spaces_and_punctuation() {
        check("", &[]);
        check(" \t\n", &[]);
        check("Hello, world!", &["Hello", ",", "world", "!"]);
        check("  “Yes”—she said…", &["“", "Yes", "”", "—", "she", "said", "…"]);
        check("ESA's plan", &["ESA", "'", "s", "plan"]);
        check(
            "ad-2500 costs 3.5 or 1,000. -x- a- _",
            &["ad-2500", "costs", "3.5", "or", "1,000", ".", "-", "x", "-", "a", "-", "_"],
        );
        check("@paul #tag a@b.c # 5", &["@paul", "#tag", "a", "@", "b", ".", "c", "#", "5"]);
    }

    #[test]
    fn chinese_and_japanese_stand_one_by_one() {
        check("我爱Rust语言。", &["我", "爱", "Rust", "语", "言", "。"]);
        check("東京タワーへ", &["東", "京", "タ", "ワ", "ー", "へ"]);
        check("か\u{3099}く", &["か\u{3099}", "く"]);
    }

    #[test]
    fn marks_and_emoji_stay_together() {
        check("cafe\u{301} naïve", &["cafe\u{301}", "naïve"]);
        check("नमस्ते दुनिया।", &["नमस्ते", "दुनिया", "।"]);
        check("สวัสดี ครับ", &["สวัสดี", "ครับ"]);
        check("שלום, مرحبا!", &["שלום", ",", "مرحبا", "!"]);
        check("안녕하세요 세계", &["안녕하세요", "세계"]);
        check("ok👩‍👩‍👧‍👦👍🏽🇫🇷 1️⃣", &["ok", "👩‍👩‍👧‍👦", "👍🏽", "🇫🇷", "1️⃣"]);
        check("می\u{200C}خواهم", &["می\u{200C}خواهم"]);
        check("\u{301}a", &["\u{301}a"]);
    }

    #[test]
    fn ranges_are_in_order_and_cover_all_but_spaces() {
        let pool: Vec<char> = "aé\u{301}5.,-_@# \t我か👩\u{200D}👧🏽🇫🇷שाก!\u{0}\u{FEFF}".chars().collect();
        let mut rng = crate::random::stream(1, "words", 0);
        for _ in 0..2_000 {
            let length = crate::random::uniform_below(&mut rng, 12);
            let draw = |_| pool[crate::random::uniform_below(&mut rng, pool.len() as u64) as usize];
            let text: String = (0..length).map(draw).collect();
            let mut at = 0;
            for word in split_words(&text) {
                assert!(word.start >= at && word.end > word.start, "{text:?}");
                assert!(
                    text[at..word.start].graphemes(true).all(|sign| classify(sign) == Class::Space),
                    "{text:?}"
                );
                at = word.end;
            }
            assert!(text[at..].graphemes(true).all(|sign| classify(sign) == Class::Space), "{text:?}");
        }
    }
}

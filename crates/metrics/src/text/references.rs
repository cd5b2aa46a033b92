//! What references are like: how many a row has, and whether their script has spaces between words.

use super::tokenize::BleuTokenizer;

/// How many references the rows have, as sacrebleu's signatures write it.
pub(crate) fn count_of_references(references: &[Vec<&str>]) -> String {
    let mut counts = references.iter().map(|row| row.len().max(1));
    match counts.next() {
        Some(first) if counts.all(|count| count == first) => first.to_string(),
        Some(_) => "var".into(),
        None => "1".into(),
    }
}

/// The tokenizer for the script of most letters of the references: `zh` for Chinese, `char` for other scripts without spaces
/// between words (Japanese, Thai, Lao, Khmer, Burmese), else `13a`.
pub fn tokenizer_of_script<'a>(references: &[Vec<&str>]) -> BleuTokenizer<'a> {
    let (mut han, mut others, mut spaced) = (0_usize, 0_usize, 0_usize);
    for c in references.iter().flatten().flat_map(|text| text.chars()).filter(|c| c.is_alphabetic()) {
        match c {
            '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' => han += 1,
            _ if is_written_without_spaces(c) => others += 1,
            _ => spaced += 1,
        }
    }
    // Japanese has kana between its Chinese characters, Chinese has nearly none.
    match han + others > spaced {
        false => BleuTokenizer::Mteval13a,
        true if 20 * others > han => BleuTokenizer::Characters,
        true => BleuTokenizer::Chinese,
    }
}

/// Whether a letter is of a script without spaces between words.
pub(crate) fn is_written_without_spaces(c: char) -> bool {
    matches!(c,
        '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff66}'..='\u{ff9f}' // Kana.
        | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{3ffff}' // Chinese.
        | '\u{0e00}'..='\u{0eff}' // Thai and Lao.
        | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' // Burmese and Khmer.
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_script_chooses_the_tokenizer() {
        let of = |text: &str| tokenizer_of_script(&[vec![text]]).name().to_owned();
        assert_eq!(of("他昨天在北京买了三本书，OK。"), "zh");
        assert_eq!(of("彼は昨日、東京で本を三冊買った。"), "char");
        assert_eq!(of("ผมซื้อหนังสือสามเล่ม"), "char");
        assert_eq!(of("He bought three books in 北京."), "13a");
        assert_eq!(of("Он купил три книги."), "13a");
        assert_eq!(of("세 권의 책을 샀다."), "13a");
        assert_eq!(of(""), "13a");
        assert_eq!([count_of_references(&[]), count_of_references(&[vec!["a"], vec![]])], ["1", "1"]);
        assert_eq!(count_of_references(&[vec!["a", "b"], vec!["c"]]), "var");
    }
}

//! Answers in words, compared as SQuAD's evaluation script compares them.

/// An answer's words: in lower case, without ASCII punctuation and without the articles a, an and the.
pub(crate) fn words(answer: &str) -> Vec<String> {
    let lower = answer.to_lowercase();
    let plain: String = lower.chars().filter(|c| !c.is_ascii_punctuation()).collect();
    // The script takes articles out of the text at the boundaries of words, then splits it at spaces.
    let plain = without_articles(&plain);
    plain.split_whitespace().map(str::to_owned).collect()
}

/// The text with a space in place of every article that is a word by itself.
fn without_articles(text: &str) -> String {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(begin) = rest.find(inside) {
        let end = rest[begin..].find(|c| !inside(c)).map_or(rest.len(), |length| begin + length);
        out.push_str(&rest[..begin]);
        out.push_str(match &rest[begin..end] {
            "a" | "an" | "the" => " ",
            word => word,
        });
        rest = &rest[end..];
    }
    out + rest
}

/// The best value over the gold answers of a question; a question without any has the empty answer.
pub(crate) fn best(gold: &[String], value: impl Fn(&str) -> f64) -> f64 {
    match gold {
        [] => value(""),
        gold => gold.iter().map(|gold| value(gold)).fold(0.0, f64::max),
    }
}

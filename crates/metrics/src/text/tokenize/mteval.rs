//! mteval's tokenizer 13a.

/// The text with spaces between its words.
pub(super) fn tokenize_13a(text: &str) -> String {
    let text = text.replace("<skipped>", "").replace("-\n", "").replace('\n', " ");
    let text = text.replace("&quot;", "\"").replace("&amp;", "&").replace("&lt;", "<").replace("&gt;", ">");
    western(&format!(" {text} "))
}

/// The rules for Western languages: symbols, points and commas, dashes.
pub(super) fn western(text: &str) -> String {
    let symbol = |c: char| c.is_ascii_punctuation() && !matches!(c, '\'' | ',' | '-' | '.');
    let mut chars = Vec::with_capacity(2 * text.len());
    for c in text.chars() {
        if symbol(c) { chars.extend([' ', c, ' ']) } else { chars.push(c) }
    }
    // Points and commas unless a digit stands before, then unless one stands behind; a dash behind a digit.
    let point = |c: char| matches!(c, '.' | ',');
    let chars = at_pairs(&chars, |a, b| !a.is_ascii_digit() && point(b), |a, b| [a, ' ', b, ' ']);
    let chars = at_pairs(&chars, |a, b| point(a) && !b.is_ascii_digit(), |a, b| [' ', a, ' ', b]);
    let chars = at_pairs(&chars, |a, b| a.is_ascii_digit() && b == '-', |a, b| [a, ' ', b, ' ']);
    chars.into_iter().collect()
}

/// Replaces pairs of neighbours, from the left, each character in one pair at most.
fn at_pairs(
    chars: &[char],
    is_pair: impl Fn(char, char) -> bool,
    spaced: impl Fn(char, char) -> [char; 4],
) -> Vec<char> {
    let mut out = Vec::with_capacity(chars.len() * 2);
    let mut rest = chars;
    while let [a, tail @ ..] = rest {
        rest = match tail {
            [b, tail @ ..] if is_pair(*a, *b) => {
                out.extend(spaced(*a, *b));
                tail
            }
            _ => {
                out.push(*a);
                tail
            }
        };
    }
    out
}

//! Text out of data, configs and files as a terminal may show it: nothing of it commands the terminal.
//!
//! Control characters (with them every escape sequence), and characters that change the direction of writing, are written
//! as `\u001b`: as JSON writes them, so that a JSON text stays what it is.

use std::borrow::Cow;
use std::fmt::Write;

/// A text of lines: line breaks and tabs stay.
pub fn commands(text: &str) -> Cow<'_, str> {
    escape(text, |sign| is_command(sign) && !matches!(sign, '\n' | '\t'))
}

/// A text of one line, for a cell of a table or a name within a sentence.
pub fn one_line(text: &str) -> Cow<'_, str> {
    escape(text, |sign| is_command(sign) || matches!(sign, '\u{2028}' | '\u{2029}'))
}

/// Control characters of C0 and C1, marks of direction, embeddings, overrides, isolates.
fn is_command(sign: char) -> bool {
    sign.is_control()
        || matches!(sign, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(text: &str, escapes: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&escapes) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for sign in text.chars() {
        match escapes(sign) {
            // All of these are below U+10000: four digits, as JSON has them.
            true => write!(out, "\\u{:04x}", u32::from(sign)).expect("a string takes any text"),
            false => out.push(sign),
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_commands_the_terminal() {
        let text = "a\u{1b}[31mb\nc\u{202e}d\u{9b}2J\u{7f} 東京 🎉\t";
        assert_eq!(commands(text), "a\\u001b[31mb\nc\\u202ed\\u009b2J\\u007f 東京 🎉\t");
        assert_eq!(one_line(text), "a\\u001b[31mb\\u000ac\\u202ed\\u009b2J\\u007f 東京 🎉\\u0009");
        assert!(matches!(commands("plain\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn json_stays_the_same_json() {
        let value = serde_json::json!({ "a\u{202e}": ["\u{9b}2J\u{1b}\u{2066}", "\u{7f}"] });
        for text in [value.to_string(), format!("{value:#}")] {
            let shown = commands(&text);
            assert!(shown.is_ascii(), "{shown}");
            assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        }
    }
}

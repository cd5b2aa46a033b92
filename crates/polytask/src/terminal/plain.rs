//! Text out of a corpus as a terminal may show it.

/// The text with control characters and overrides of writing direction as `�`: nothing of it commands the terminal.
pub fn plain(text: &str) -> String {
    let commands =
        |sign: char| sign.is_control() || matches!(sign, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|sign| if commands(sign) { '\u{fffd}' } else { sign }).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn nothing_commands_the_terminal() {
        assert_eq!(super::plain("a\u{1b}[31mb\nc\u{202e}d 東京 🎉"), "a�[31mb�c�d 東京 🎉");
    }
}

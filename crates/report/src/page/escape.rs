//! Text as HTML and SVG may hold it.

/// Escapes the signs that mean something in elements and in quoted attributes. What HTML does not allow (control characters but
/// tab and line end) and what would turn the text around it (bidirectional overrides) becomes `�`.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for sign in text.chars() {
        match sign {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\t' | '\n' => out.push(sign),
            _ if sign.is_control() || turns(sign) => out.push('\u{fffd}'),
            _ => out.push(sign),
        }
    }
    out
}

/// Escaped text in which what stands between backticks is code; a text with an odd number of them is left as it is.
pub(super) fn marked(text: &str) -> String {
    let parts: Vec<String> = text.split('`').map(escape).collect();
    if parts.len().is_multiple_of(2) {
        return parts.join("`");
    }
    let code = |(i, part): (usize, &String)| {
        if i % 2 == 1 { format!("<code>{part}</code>") } else { part.clone() }
    };
    parts.iter().enumerate().map(code).collect()
}

/// Embeddings, overrides and isolates of writing direction; noncharacters.
fn turns(sign: char) -> bool {
    matches!(sign, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{fdd0}'..='\u{fdef}')
        || u32::from(sign) & 0xfffe == 0xfffe
}

/// Text that takes about `most` letters of room, cut with `…` where it is longer.
pub(super) fn short(text: &str, most: usize) -> String {
    let mut room = most;
    let mut out = String::new();
    for sign in text.chars() {
        // Chinese, Japanese and Korean are twice as wide.
        let width = if matches!(u32::from(sign), 0x1100..=0x115f | 0x2e80..=0xd7a3 | 0xf900..=0xfaff | 0xff00..=0xff60 | 0x1f300..=0x3fffd)
        {
            2
        } else {
            1
        };
        if width > room {
            out.push('…');
            return out;
        }
        room -= width;
        out.push(sign);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_markup() {
        assert_eq!(
            escape("<a href=\"x\" b='y'>&amp;"),
            "&lt;a href=&quot;x&quot; b=&#39;y&#39;&gt;&amp;amp;"
        );
        assert_eq!(escape("a\0b\u{1b}[31m\u{202e}c\u{7f}\u{85}\u{ffff}"), "a�b�[31m�c���");
        assert_eq!(escape("tab\tand\nline, 東京 🎉 שלום"), "tab\tand\nline, 東京 🎉 שלום");
    }

    #[test]
    fn code_stands_between_backticks() {
        assert_eq!(marked("`a<b` and ``"), "<code>a&lt;b</code> and <code></code>");
        assert_eq!(marked("one ` < alone"), "one ` &lt; alone");
    }

    #[test]
    fn long_text_is_cut() {
        assert_eq!((short("abc", 3), short("abcd", 3)), ("abc".into(), "abc…".into()));
        assert_eq!((short("東京都", 4), short("", 0)), ("東京…".into(), String::new()));
    }
}

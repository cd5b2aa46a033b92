//! Words in lines.

/// A text in lines of at most `width` columns, a longer word alone. The first begins with `lead`, the others below its text;
/// each ends in a line break.
pub fn wrapped(lead: &str, text: &str, width: usize) -> String {
    let indent = " ".repeat(lead.chars().count());
    let (mut out, mut line, mut empty) = (String::new(), lead.to_owned(), true);
    for word in text.split(' ') {
        if !empty && line.chars().count() + 1 + word.chars().count() > width {
            out += line.trim_end();
            out.push('\n');
            (line, empty) = (indent.clone(), true);
        }
        if !empty {
            line.push(' ');
        }
        line += word;
        empty = false;
    }
    out + line.trim_end() + "\n"
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn lines_are_no_wider_than_asked() {
        assert_eq!(wrapped("1. ", "one two three", 10), "1. one two\n   three\n");
        assert_eq!(wrapped("  ", "averyverylongword so", 8), "  averyverylongword\n  so\n");
        assert_eq!(wrapped("", "", 8), "\n");
    }
}

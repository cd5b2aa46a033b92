//! Names and values as MLflow takes them.

/// The longest key of a parameter, a metric or a tag, in characters.
pub const LONGEST_KEY: usize = 250;
/// The longest value of a parameter in bytes, which every store takes.
pub const LONGEST_PARAM: usize = 6000;
/// The longest value of a tag in bytes, which every store takes.
pub const LONGEST_TAG: usize = 5000;

/// Where the parts of a name that are not ours come from: slashes are only those of the format.
pub fn part(name: &str) -> String {
    let is_valid = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
    let clean: String = name.chars().map(|c| if is_valid(c) { c } else { '_' }).collect();
    // A part of dots alone would be a way to another folder.
    let clean = if clean.chars().all(|c| c == '.') { clean.replace('.', "_") } else { clean };
    distinct(clean, name, LONGEST_KEY / 4)
}

/// The key of a parameter or a tag.
pub fn key(name: &str) -> String {
    let is_valid = |c: char| c.is_alphanumeric() || "_-. ".contains(c);
    let clean: String = name.chars().map(|c| if is_valid(c) { c } else { '_' }).collect();
    distinct(clean, name, LONGEST_KEY)
}

/// A name of at most `longest` characters. One that is not what it was gets a mark of what it was, so that no two names become one.
fn distinct(clean: String, name: &str, longest: usize) -> String {
    if clean == name && clean.chars().count() <= longest {
        return clean;
    }
    let mark = &blake3::hash(name.as_bytes()).to_hex()[..8];
    let kept: String = clean.chars().take(longest - mark.len() - 1).collect();
    format!("{kept}_{mark}")
}

/// A value of at most `longest` bytes, and whether it was cut.
pub fn cut(value: &str, longest: usize) -> (String, bool) {
    if value.len() <= longest {
        return (value.to_owned(), false);
    }
    const MARK: &str = "…";
    (format!("{}{MARK}", &value[..value.floor_char_boundary(longest - MARK.len())]), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stay_or_become_others_that_are_distinct() {
        assert_eq!(
            (part("a-b_c.1 東京"), key("train.epochs")),
            ("a-b_c.1 東京".into(), "train.epochs".into())
        );
        let [first, second] = [part("a&b"), part("a%b")];
        assert!(first.starts_with("a_b_") && second.starts_with("a_b_") && first != second);
        assert!(part("..").starts_with("___") && part("x/y").starts_with("x_y_"));
        let long = "k".repeat(400);
        assert_eq!(key(&long).chars().count(), LONGEST_KEY);
    }

    #[test]
    fn values_are_cut_between_characters() {
        assert_eq!(cut("abc", 3), ("abc".into(), false));
        let (value, is_cut) = cut("東京東京", 10);
        assert!(is_cut && value.len() <= 10 && value == "東京…", "{value}");
    }
}

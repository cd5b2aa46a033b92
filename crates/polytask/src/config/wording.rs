//! Keys, tables and descriptions as they stand in messages.

/// The first sentence of a description, on one line, without its full stop.
pub fn summary(description: &str) -> String {
    let paragraph = description.split("\n\n").next().unwrap_or_default();
    let line = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
    let sentence = line.split_once(". ").map_or(line.as_str(), |(first, _)| first);
    sentence.trim_end_matches('.').to_string()
}

/// A path of keys as one writes it, quoted where TOML requires it; `[3]` is an entry of a list.
pub fn dotted<S: AsRef<str>>(path: &[S]) -> String {
    let mut out = String::new();
    for key in path.iter().map(AsRef::as_ref) {
        let index = key.strip_prefix('[').and_then(|k| k.strip_suffix(']'));
        if index.is_some_and(|i| i.parse::<usize>().is_ok()) {
            out.push_str(key);
            continue;
        }
        if !out.is_empty() {
            out.push('.');
        }
        out.push_str(&bare(key));
    }
    out
}

fn bare(key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if plain { key.into() } else { format!("{key:?}") }
}

/// The header of a table, or of one below it.
pub fn table_name<S: AsRef<str>>(path: &[S], below: Option<&str>) -> String {
    let mut path: Vec<&str> = path.iter().map(AsRef::as_ref).collect();
    path.extend(below);
    if path.is_empty() { "the top level".into() } else { format!("[{}]", dotted(&path)) }
}

//! A config as a tree of values, each of which remembers where it was written.

use super::diagnostic::{Diagnostic, Span};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where the value stands; for a table with a header, the header.
    pub span: Span,
    /// The value.
    pub data: Data,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Data {
    /// A string.
    Text(String),
    /// A whole number.
    Integer(i128),
    /// A number with a point or an exponent; infinite where it is too large.
    Float(f64),
    /// `true` or `false`.
    Bool(bool),
    /// A date or time, as written.
    Date(String),
    /// A list.
    List(Vec<Node>),
    /// A table, in the order of the file.
    Table(Vec<Entry>),
}

/// One key of a table.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key.
    pub key: String,
    /// Where the key stands.
    pub span: Span,
    /// Its value.
    pub node: Node,
}

impl Node {
    /// An empty table.
    pub fn table(span: Span) -> Self {
        Node { span, data: Data::Table(Vec::new()) }
    }

    /// The entries of a table; none for anything else.
    pub fn entries(&self) -> &[Entry] {
        match &self.data {
            Data::Table(entries) => entries,
            _ => &[],
        }
    }

    /// The entry of a key.
    pub fn get(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|e| e.key == key)
    }

    /// The entry at the end of a way of keys.
    pub fn find(&self, path: &[&str]) -> Option<&Entry> {
        let (last, way) = path.split_last()?;
        way.iter().try_fold(self, |node, key| node.get(key).map(|e| &e.node))?.get(last)
    }

    /// Where to point for a way of keys of which perhaps only the beginning exists: at the value at its end,
    /// else at the key of the last table on the way; `None` where not even the first key exists.
    pub fn point(&self, path: &[&str]) -> Option<Span> {
        (1..=path.len()).rev().find_map(|n| {
            let entry = self.find(&path[..n])?;
            let whole = n == path.len() && !matches!(entry.node.data, Data::Table(_));
            Some(if whole { entry.node.span } else { entry.span })
        })
    }

    /// What the value is, in words: `the string "x"`, `the integer 3`, `a table`.
    pub fn found(&self) -> String {
        match &self.data {
            Data::Text(text) => format!("the string {}", quoted(text)),
            Data::Integer(n) => format!("the integer {n}"),
            Data::Float(x) => format!("the number {x:?}"),
            Data::Bool(b) => format!("`{b}`"),
            Data::Date(date) => format!("the date {date}"),
            Data::List(_) => "a list".into(),
            Data::Table(_) => "a table".into(),
        }
    }
}

/// The text in quotes, cut when it is long.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{:?}...", &text[..end]),
        None => format!("{text:?}"),
    }
}

/// Parses the text of a file. Reports every syntax error that is not a mere consequence of one before.
pub fn parse(text: &str, source: usize) -> Result<Node, Vec<Diagnostic>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let root = Node {
        span: Span { source, start: 0, end: 0 },
        data: Data::Table(table_entries(table.get_ref(), source)),
    };
    if errors.is_empty() {
        return Ok(root);
    }
    Err(syntax_errors(text, source, &root, &errors))
}

/// Parses a single value, as after `--set key=`.
pub fn parse_value(text: &str, source: usize, offset: usize) -> Result<Node, String> {
    let value = DeValue::parse(text).map_err(|e| e.message().to_string())?;
    let mut node = node(value.get_ref(), value.span(), source);
    shift(&mut node, offset);
    Ok(node)
}

/// Parses a key that may have dots and quotes into its parts, with the bytes of each.
pub fn parse_key(text: &str) -> Option<Vec<(String, Range<usize>)>> {
    if text.contains(['\n', '\r']) {
        return None;
    }
    let line = format!("{text}=0");
    let table = DeTable::parse(&line).ok()?;
    let mut way = Vec::new();
    let mut at = table.get_ref();
    loop {
        let mut entries = at.iter();
        let (key, value) = entries.next()?;
        way.push((key.get_ref().to_string(), key.span()));
        if entries.next().is_some() {
            return None;
        }
        match value.get_ref() {
            DeValue::Table(inner) => at = inner,
            DeValue::Integer(_) => return Some(way),
            _ => return None,
        }
    }
}

fn shift(node: &mut Node, offset: usize) {
    let moved = |span: &mut Span| {
        span.start += offset;
        span.end += offset;
    };
    moved(&mut node.span);
    match &mut node.data {
        Data::List(items) => items.iter_mut().for_each(|n| shift(n, offset)),
        Data::Table(entries) => entries.iter_mut().for_each(|e| {
            moved(&mut e.span);
            shift(&mut e.node, offset);
        }),
        _ => {}
    }
}

fn table_entries(table: &DeTable<'_>, source: usize) -> Vec<Entry> {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| Entry {
            key: key.get_ref().to_string(),
            span: Span { source, start: key.span().start, end: key.span().end },
            node: node(value.get_ref(), value.span(), source),
        })
        .collect();
    entries.sort_by_key(|e| e.span);
    entries
}

fn node(value: &DeValue<'_>, span: Range<usize>, source: usize) -> Node {
    let data = match value {
        DeValue::String(text) => Data::Text(text.to_string()),
        DeValue::Integer(n) => match i128::from_str_radix(n.as_str(), n.radix()) {
            Ok(n) => Data::Integer(n),
            Err(_) => Data::Float(f64::INFINITY),
        },
        DeValue::Float(x) => Data::Float(x.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(b) => Data::Bool(*b),
        DeValue::Datetime(date) => Data::Date(date.to_string()),
        DeValue::Array(items) => {
            Data::List(items.iter().map(|item| node(item.get_ref(), item.span(), source)).collect())
        }
        DeValue::Table(table) => Data::Table(table_entries(table, source)),
    };
    Node { span: Span { source, start: span.start, end: span.end }, data }
}

/// One forgotten bracket makes the parser complain about everything behind it: of the errors inside one value,
/// and on one line, only the first is of use.
fn syntax_errors(text: &str, source: usize, root: &Node, errors: &[toml::de::Error]) -> Vec<Diagnostic> {
    let mut values = Vec::new();
    multi_line(text, root, &mut values);
    let mut errors: Vec<(Range<usize>, &str)> =
        errors.iter().map(|e| (e.span().unwrap_or(0..0), e.message())).collect();
    errors.sort_by_key(|(span, _)| span.start);
    let mut diagnostics = Vec::new();
    let (mut lines, mut seen) = (Vec::new(), Vec::new());
    let mut doubled = 0;
    for (span, message) in &errors {
        let line = text.as_bytes().iter().take(span.start).filter(|b| **b == b'\n').count();
        let value = values.iter().find(|v| v.start <= span.start && span.start <= v.end);
        if lines.contains(&line) || value.is_some_and(|v| seen.contains(v)) {
            continue;
        }
        // The keys of a table that is there twice are there twice, too.
        if *message == "duplicate key" && span.start < doubled {
            continue;
        }
        let header = text[..text.floor_char_boundary(span.start)].rsplit('\n').next().unwrap_or_default();
        if *message == "duplicate key" && header.trim_start().starts_with('[') {
            let after = text.floor_char_boundary(span.start);
            doubled = text[after..].find("\n[").map_or(text.len(), |at| after + at);
        }
        lines.push(line);
        let at = |r: &Range<usize>| Some(Span { source, start: r.start, end: r.end });
        if let Some(value) = value {
            seen.push(value.clone());
            let unclosed = errors
                .iter()
                .find(|(s, m)| m.starts_with("unclosed") && value.start <= s.start && s.start <= value.end);
            if let Some((_, message)) = unclosed {
                let open = value.start..value.start + 1;
                diagnostics.push(Diagnostic::error(format!("syntax error: {message}"), at(&open)));
                continue;
            }
        }
        diagnostics.push(explained(message, at(span), text.get(span.clone()).unwrap_or_default()));
    }
    diagnostics
}

fn explained(message: &str, span: Option<Span>, found: &str) -> Diagnostic {
    if message.starts_with("string values must be quoted") {
        if found.trim().is_empty() {
            return Diagnostic::error("syntax error: there is no value after `=`", span);
        }
        return Diagnostic::error(format!("syntax error: {} is no value", quoted(found)), span)
            .help("put strings in quotes: \"...\"");
    }
    if message == "duplicate key" {
        return Diagnostic::error("syntax error: this key or table is there twice", span)
            .help("write every key of a table once, and every [table] once");
    }
    let error = Diagnostic::error(format!("syntax error: {message}"), span);
    if message.starts_with("invalid unquoted key") && found.chars().any(char::is_alphanumeric) {
        return error.help(format!("put it in quotes: {found:?}"));
    }
    error
}

/// The outermost lists and inline tables that run over several lines.
fn multi_line(text: &str, node: &Node, out: &mut Vec<Range<usize>>) {
    for entry in node.entries() {
        let span = entry.node.span.start..entry.node.span.end;
        let inside = text.get(span.clone()).unwrap_or_default();
        let header = matches!(entry.node.data, Data::Table(_)) && !inside.starts_with('{');
        if !header && inside.contains('\n') {
            out.push(span);
        } else {
            multi_line(text, &entry.node, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_order_of_the_file() {
        let root = parse("z = 1\n[b.y]\n[b.x]\n[a]\nk.q = 2\n", 0).unwrap();
        let keys = |n: &Node| n.entries().iter().map(|e| e.key.clone()).collect::<Vec<_>>();
        assert_eq!(keys(&root), ["z", "b", "a"]);
        assert_eq!(keys(&root.get("b").unwrap().node), ["y", "x"]);
        assert_eq!(root.find(&["a", "k", "q"]).unwrap().node.data, Data::Integer(2));
    }

    #[test]
    fn points_at_what_exists() {
        let root = parse("[task.a]\ncorpus = 'x'\n", 0).unwrap();
        assert_eq!(root.point(&["task", "a", "corpus"]).unwrap().start, 18);
        assert_eq!(root.point(&["task", "a", "metric"]).unwrap().start, 6);
        assert_eq!(root.point(&["train"]), None);
    }

    #[test]
    fn keys_have_parts() {
        let parts = |text| parse_key(text).map(|k| k.into_iter().map(|p| p.0).collect::<Vec<_>>());
        assert_eq!(parts("a.b-c.\"d.e\""), Some(vec!["a".into(), "b-c".into(), "d.e".into()]));
        for bad in ["", "a b", "a=1\nb", "[a]\nb", "a..b", "a=", "#"] {
            assert_eq!(parts(bad), None, "{bad}");
        }
    }
}

//! `--set KEY=VALUE`: keys of the config given on the command line, over the file's.

use super::{
    diagnostic::{Diagnostic, SourceFile, Span},
    document::{Data, Entry, Node, parse_key, parse_value},
    schema::{Branch, Schema, types},
};

/// Puts every override into the document, later ones over earlier ones. Each becomes a source of its own, so that
/// what is wrong with it is shown as it was typed.
///
/// A value is read as TOML; what is none, and whatever stands where only a string can, is taken as a string. Another
/// variant of an enum (`--set balance.uncertainty={}`) takes the place of the file's.
pub fn apply(
    root: &mut Node,
    overrides: &[String],
    schema: &Schema,
    sources: &mut Vec<SourceFile>,
) -> Result<(), Vec<Diagnostic>> {
    let mut errors = Vec::new();
    for text in overrides {
        let source = sources.len();
        sources.push(SourceFile { name: "--set".into(), text: text.clone(), is_file: false });
        if let Err(error) = apply_one(root, text, schema, source) {
            errors.push(error);
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn apply_one(root: &mut Node, text: &str, schema: &Schema, source: usize) -> Result<(), Diagnostic> {
    let whole = Some(Span { source, start: 0, end: text.len() });
    let Some((key, raw)) = split(text) else {
        return Err(Diagnostic::error("expected KEY=VALUE", whole).help("for example: --set train.epochs=1"));
    };
    let Some(way) = parse_key(key) else {
        let span = Some(Span { source, start: 0, end: key.len() });
        return Err(Diagnostic::error("this is no key", span)
            .help("a key is names with dots between them, for example: train.epochs"));
    };
    let keys: Vec<&str> = way.iter().map(|(name, _)| name.as_str()).collect();
    let offset = text.len() - raw.trim_start().len();
    let raw = raw.trim();
    let span = Span { source, start: offset, end: offset + raw.len() };
    let as_text = Node { span, data: Data::Text(raw.to_string()) };
    let node = match parse_value(raw, source, offset) {
        Ok(node)
            if only_text(schema, &keys)
                && !matches!(node.data, Data::Text(_) | Data::List(_) | Data::Table(_)) =>
        {
            as_text
        }
        Ok(node) => node,
        Err(message) if raw.starts_with(['"', '\'', '[', '{']) => {
            return Err(Diagnostic::error(format!("syntax error: {message}"), Some(span)));
        }
        Err(_) => as_text,
    };

    let (mut at, mut here) = (root, Some(schema.root()));
    for (depth, (name, range)) in way.iter().enumerate() {
        if !matches!(at.data, Data::Table(_)) {
            at.data = Data::Table(Vec::new());
        }
        let variants = here.map(|s| schema.variants(s)).unwrap_or_default();
        here = here.and_then(|s| schema.child(s, name));
        let Data::Table(entries) = &mut at.data else {
            return Err(Diagnostic::error("this is no table", whole));
        };
        if variants.contains(&name.as_str()) {
            entries.retain(|e| e.key == *name);
        }
        let span = Span { source, start: range.start, end: range.end };
        let i = match entries.iter().position(|e| e.key == *name) {
            Some(i) => i,
            None => {
                entries.push(Entry { key: name.clone(), span, node: Node::table(span) });
                entries.len() - 1
            }
        };
        if depth + 1 == way.len() {
            entries[i].span = span;
            entries[i].node = node;
            return Ok(());
        }
        at = &mut entries[i].node;
    }
    Ok(())
}

/// Splits at the first `=` outside quotes.
fn split(text: &str) -> Option<(&str, &str)> {
    let mut quote = None;
    for (i, c) in text.char_indices() {
        match (quote, c) {
            (None, '=') => return Some((&text[..i], &text[i + 1..])),
            (None, '"' | '\'') => quote = Some(c),
            (Some(q), c) if q == c => quote = None,
            _ => {}
        }
    }
    None
}

/// Whether the key takes strings and nothing else that can be written without quotes.
fn only_text(schema: &Schema, keys: &[&str]) -> bool {
    let Some(found) = schema.at(keys) else { return false };
    let types: Vec<&str> = schema
        .branches(found)
        .iter()
        .flat_map(|b| match b {
            Branch::Plain(plain) => types(plain),
            Branch::Variant { .. } => Vec::new(),
        })
        .collect();
    types.contains(&"string") && !types.iter().any(|t| matches!(*t, "integer" | "number" | "boolean"))
}

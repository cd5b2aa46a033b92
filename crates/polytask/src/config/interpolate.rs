//! `${NAME}` in strings, and relative paths.
//!
//! `${NAME}` is replaced by the value of `--define NAME=VALUE`, else by that of the config's `[paths]`, whose values may name
//! each other; `$${` stands for a plain `${`. A relative path is relative to where it was written: in the file, to the file's
//! folder; on the command line (`--set`, or a `--define` that the path begins with), to the current folder.

use super::{
    diagnostic::{Diagnostic, SourceFile, Span},
    document::{Data, Entry, Node, quoted},
    schema::ticked,
    suggest::suggest,
};
use std::{collections::BTreeMap, path::Path};

/// Which keys are paths of files or folders; `*` is any name.
const PATHS: &[&[&str]] = &[
    &["corpus", "*", "train"],
    &["corpus", "*", "validation"],
    &["corpus", "*", "test"],
    &["model", "backbone"],
    &["model", "heads"],
    &["data", "cache"],
    &["distill", "teacher"],
    &["distill", "teachers", "*"],
    &["tokenizer", "file"],
    &["sharing", "*", "init_from"],
    &["sharing", "*", "init_from", "*"],
    &["sharing", "branch", "groups_file"],
    &["sharing", "adapter_fusion", "adapters", "*"],
    &["task", "*", "translation", "metrics", "sentencepiece"],
    &["task", "*", "generation", "metrics", "sentencepiece"],
];

/// The folders that relative paths are relative to; both absolute.
pub struct Folders<'a> {
    /// That of the config.
    pub config: &'a Path,
    /// The current one.
    pub current: &'a Path,
}

/// Replaces every `${NAME}` by its value and makes every path absolute.
pub fn interpolate(
    root: &mut Node,
    define: &[String],
    folders: &Folders<'_>,
    sources: &mut Vec<SourceFile>,
) -> Result<(), Vec<Diagnostic>> {
    let mut errors = Vec::new();
    let mut names = BTreeMap::new();
    if let Some(paths) = root.get("paths") {
        for entry in paths.node.entries() {
            if let Data::Text(text) = &entry.node.data {
                let name =
                    Name { text: text.clone(), span: entry.node.span, typed: from_command_line(&entry.node) };
                names.insert(entry.key.clone(), name);
            }
        }
    }
    for text in define {
        let source = sources.len();
        sources.push(SourceFile { name: "--define".into(), text: text.clone(), is_file: false });
        let span = Span { source, start: 0, end: text.len() };
        match text.split_once('=') {
            Some((name, value)) if is_name(name) => {
                // A value from the shell is taken as it is.
                let text = value.replace("${", "$${");
                names.insert(name.into(), Name { text, span, typed: true });
            }
            Some((name, _)) => {
                let span = Span { end: name.len(), ..span };
                errors.push(
                    Diagnostic::error("this is no name", Some(span))
                        .help("letters, digits, `_`, `-` and `.`"),
                );
            }
            None => errors.push(
                Diagnostic::error("expected NAME=VALUE", Some(span))
                    .help("for example: --define data=/mnt/corpora"),
            ),
        }
    }
    record(root, &names);
    let mut interpolator = Interpolator { names, folders, sources, errors, replaced: BTreeMap::new() };
    interpolator.node(root, &mut Vec::new());
    if interpolator.errors.is_empty() { Ok(()) } else { Err(interpolator.errors) }
}

/// Puts the names of the command line into `[paths]`, so that a resolved config records them.
fn record(root: &mut Node, names: &BTreeMap<String, Name>) {
    let Data::Table(tables) = &mut root.data else { return };
    for (name, value) in names.iter().filter(|(_, value)| value.typed) {
        let node = Node { span: value.span, data: Data::Text(value.text.clone()) };
        let entry = Entry { key: name.clone(), span: value.span, node };
        let i = tables.iter().position(|t| t.key == "paths").unwrap_or_else(|| {
            tables.push(Entry { key: "paths".into(), span: value.span, node: Node::table(value.span) });
            tables.len() - 1
        });
        if let Data::Table(paths) = &mut tables[i].node.data {
            paths.retain(|p| p.key != *name);
            paths.push(entry);
        }
    }
}

/// A name's value, where it was written, and whether on the command line.
struct Name {
    text: String,
    span: Span,
    typed: bool,
}

struct Interpolator<'a> {
    names: BTreeMap<String, Name>,
    folders: &'a Folders<'a>,
    sources: &'a [SourceFile],
    errors: Vec<Diagnostic>,
    /// Values that were replaced before, by name; `None` after an error.
    replaced: BTreeMap<String, Option<Interpolated>>,
}

/// The longest value, in bytes, and how many names may lead from one to the next.
const MOST_BYTES: usize = 64 << 10;
const MOST_DEEP: usize = 1000;

/// A text whose names were replaced.
#[derive(Clone)]
struct Interpolated {
    text: String,
    /// Whether what it begins with was written on the command line.
    typed: bool,
}

impl Interpolator<'_> {
    fn node(&mut self, node: &mut Node, path: &mut Vec<String>) {
        let typed = from_command_line(node);
        let span = node.span;
        match &mut node.data {
            Data::Text(text) => {
                let Some(value) = self.text(text, span, &mut Vec::new()) else { return };
                *text = value.text;
                if is_path(path) && !text.starts_with("hf:") && !text.is_empty() {
                    let folder =
                        if typed || value.typed { self.folders.current } else { self.folders.config };
                    match absolute(folder, text, path.first().is_some_and(|key| key == "corpus")) {
                        Some(absolute) => *text = absolute,
                        None => {
                            let error = format!("{} has a name that is not UTF-8", folder.display());
                            let help = "a path that is relative to it cannot be written down: give an absolute path, or rename the folder";
                            self.errors.push(Diagnostic::error(error, Some(span)).help(help));
                        }
                    }
                }
            }
            Data::List(items) => items.iter_mut().for_each(|item| self.node(item, path)),
            Data::Table(entries) => {
                for entry in entries {
                    path.push(entry.key.clone());
                    self.node(&mut entry.node, path);
                    path.pop();
                }
            }
            _ => {}
        }
    }

    /// The text with every name replaced; `None` after an error. `open` are the names that are being replaced.
    fn text(&mut self, text: &str, span: Span, open: &mut Vec<String>) -> Option<Interpolated> {
        let mut out = Interpolated { text: String::with_capacity(text.len()), typed: false };
        let mut rest = text;
        let mut is_valid = true;
        while let Some(at) = rest.find('$') {
            out.text.push_str(&rest[..at]);
            rest = &rest[at..];
            if let Some(after) = rest.strip_prefix("$${") {
                out.text.push_str("${");
                rest = after;
            } else if let Some(after) = rest.strip_prefix("${") {
                let Some((name, after)) = after.split_once('}') else {
                    let error =
                        Diagnostic::error(format!("`${{` without `}}` in {}", quoted(text)), Some(span));
                    self.errors.push(error.help("write `$${` for a plain `${`"));
                    return None;
                };
                rest = after;
                match self.name(name, span, open) {
                    Some(value) => {
                        out.typed |= out.text.is_empty() && value.typed;
                        out.text.push_str(&value.text);
                        if out.text.len() > MOST_BYTES {
                            let error =
                                format!("with its names replaced this has more than {MOST_BYTES} bytes");
                            self.errors.push(Diagnostic::error(error, Some(span)));
                            return None;
                        }
                    }
                    None => is_valid = false,
                }
            } else {
                out.text.push('$');
                rest = &rest[1..];
            }
        }
        out.text.push_str(rest);
        is_valid.then_some(out)
    }

    fn name(&mut self, name: &str, span: Span, open: &mut Vec<String>) -> Option<Interpolated> {
        let here = self.span_of(name, span);
        let Some(found) = self.names.get(name) else {
            let known: Vec<&str> = self.names.keys().map(String::as_str).collect();
            let mut error = Diagnostic::error(format!("`${{{name}}}` is not defined"), Some(here));
            if let Some(near) = suggest(name, known.iter().copied()) {
                error = error.help(format!("did you mean `${{{near}}}`?"));
            }
            if !known.is_empty() {
                error = error.help(format!("defined: {}", ticked(&known)));
            }
            let example = if is_name(name) { name } else { "NAME" };
            self.errors.push(
                error.help(format!(
                    "define it: --define {example}=VALUE, or `{example} = \"...\"` in [paths]"
                )),
            );
            return None;
        };
        if open.iter().any(|o| o == name) {
            let way = open.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(" -> ");
            self.errors.push(Diagnostic::error(format!("`${{{name}}}` needs itself: {way}"), Some(here)));
            return None;
        }
        if let Some(known) = self.replaced.get(name) {
            return known.clone();
        }
        if open.len() >= MOST_DEEP {
            let error = format!(
                "`${{{name}}}` is reached by more than {MOST_DEEP} names, each in the value of the one before"
            );
            self.errors.push(Diagnostic::error(error, Some(here)));
            return None;
        }
        let (text, inner, typed) = (found.text.clone(), found.span, found.typed);
        open.push(name.into());
        let value = self.text(&text, inner, open);
        open.pop();
        let value = value.map(|value| Interpolated { typed: typed || value.typed, ..value });
        self.replaced.insert(name.into(), value.clone());
        value
    }

    /// Where `${NAME}` stands inside a string, if it is written there as it is.
    fn span_of(&self, name: &str, span: Span) -> Span {
        let source = self.sources.get(span.source).and_then(|s| s.text.get(span.start..span.end));
        let written = format!("${{{name}}}");
        match source.and_then(|text| text.find(&written)) {
            Some(at) => Span { start: span.start + at, end: span.start + at + written.len(), ..span },
            None => span,
        }
    }
}

/// Source 0 is the file; every other one comes from the command line.
fn from_command_line(node: &Node) -> bool {
    node.span.source > 0
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'))
}

fn is_path(path: &[String]) -> bool {
    PATHS
        .iter()
        .any(|p| p.len() == path.len() && p.iter().zip(path).all(|(want, key)| *want == "*" || want == key))
}

/// The path below the folder, without `.` and, where that changes nothing, without `..`. A path that is a pattern stays one, and
/// the folder is taken as it is written. `None` where the folder's name is not UTF-8.
fn absolute(folder: &Path, path: &str, may_be_pattern: bool) -> Option<String> {
    let mut rest = path;
    while let Some(shorter) = rest.strip_prefix("./") {
        rest = shorter.trim_start_matches('/');
    }
    let mut folder = folder;
    // `..` is taken away only where the folder it leaves is no link.
    while let Some(shorter) = rest.strip_prefix("../") {
        match folder.parent() {
            Some(parent) if !folder.ends_with("..") && !folder.is_symlink() => folder = parent,
            _ => break,
        }
        rest = shorter.trim_start_matches('/');
    }
    if Path::new(rest).is_absolute() {
        return Some(rest.to_owned());
    }
    let joined = folder.join(rest);
    if may_be_pattern && rest.contains(['*', '?', '[']) && !joined.exists() {
        let folder = data::escape_pattern(folder.to_str()?);
        return Some(Path::new(&folder).join(rest).to_string_lossy().into_owned());
    }
    joined.into_os_string().into_string().ok()
}

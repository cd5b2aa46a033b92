//! Validates a config against its schema and reports everything that does not fit, with its position.

use super::{
    command_line_keys,
    diagnostic::{Diagnostic, Span},
    document::{Data, Entry, Node, quoted},
    renamed_keys::renamed,
    schema::{self, Branch, Schema, ticked},
    suggest::suggest,
    wording::{dotted, summary, table_name},
};
use serde_json::Value;

/// Everything in the document that the schema does not allow.
pub fn validate(schema: &Schema, root: &Node) -> Vec<Diagnostic> {
    let mut validator = Validator { schema, path: Vec::new(), out: Vec::new() };
    validator.value(root, schema.root(), None);
    validator.out
}

struct Validator<'a> {
    schema: &'a Schema,
    path: Vec<String>,
    out: Vec<Diagnostic>,
}

impl<'a> Validator<'a> {
    /// `head` is the key that the value belongs to.
    fn value(&mut self, node: &Node, schema: &'a Value, head: Option<Span>) {
        if schema.as_bool() == Some(true) {
            return;
        }
        let branches = self.schema.branches(schema);
        let fitting: Vec<&'a Value> = branches.iter().filter_map(|b| plain_for(b, &node.data)).collect();
        let variants: Vec<(&'a str, &'a Value)> = branches
            .iter()
            .filter_map(|b| match b {
                Branch::Variant { name, content, .. } => Some((*name, *content)),
                Branch::Plain(_) => None,
            })
            .collect();
        match &node.data {
            Data::Table(entries) if fitting.is_empty() && !variants.is_empty() => {
                self.variant(entries, &variants, node, head);
            }
            Data::Text(text) if !fitting.is_empty() || !branches.is_empty() => {
                self.text(text, &fitting, &variants, node, schema);
            }
            _ => match fitting.as_slice() {
                [] => self.wrong_type(node, schema),
                [only] => self.plain(node, only, schema, head),
                several => self.best(node, several, schema, head),
            },
        }
    }

    /// Of several ways to read a value, reports on the one with the fewest errors.
    fn best(&mut self, node: &Node, several: &[&'a Value], schema: &'a Value, head: Option<Span>) {
        let mut best: Option<Vec<Diagnostic>> = None;
        for plain in several {
            let mut attempt = Validator { schema: self.schema, path: self.path.clone(), out: Vec::new() };
            attempt.plain(node, plain, schema, head);
            if best.as_ref().is_none_or(|b| attempt.out.len() < b.len()) {
                best = Some(attempt.out);
            }
        }
        self.out.extend(best.unwrap_or_default());
    }

    fn plain(&mut self, node: &Node, plain: &'a Value, schema: &'a Value, head: Option<Span>) {
        match &node.data {
            Data::Table(entries) => self.table(entries, plain, node, head),
            Data::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    if let Some(inner) = plain.get("items") {
                        self.path.push(format!("[{i}]"));
                        self.value(item, inner, Some(item.span));
                        self.path.pop();
                    }
                }
                let least = plain["minItems"].as_u64().unwrap_or(0);
                if (items.len() as u64) < least {
                    let message =
                        format!("`{}` has {} entries, expected at least {least}", self.name(), items.len());
                    self.error(message, Some(node.span));
                }
            }
            Data::Integer(n) => self.number(node, *n as f64, plain, schema),
            Data::Float(x) => self.number(node, *x, plain, schema),
            _ => {}
        }
    }

    fn number(&mut self, node: &Node, x: f64, plain: &Value, schema: &Value) {
        if !x.is_finite() {
            let expected = self.schema.expected(schema);
            let message = format!("`{}` must be {expected}, found {}", self.name(), node.found());
            return self.error(message, Some(node.span));
        }
        let range = schema::range(plain);
        let low = range.least.is_some_and(|(least, outside)| x < least || (outside && x == least));
        let high = range.most.is_some_and(|(most, outside)| x > most || (outside && x == most));
        if low || high {
            let side = if low { "too small" } else { "too large" };
            let found = node.found();
            let found =
                found.split_once(' ').and_then(|(_, rest)| rest.split_once(' ')).map_or("", |(_, n)| n);
            let message =
                format!("`{}` is {found}, {side}: expected {}", self.name(), self.schema.expected(schema));
            return self.error(message, Some(node.span));
        }
        let limits = match plain["format"].as_str() {
            Some("uint8") => (0, u8::MAX.into()),
            Some("uint16") => (0, u16::MAX.into()),
            Some("uint32") => (0, u32::MAX.into()),
            // TOML's integers have 64 bits with a sign.
            Some("uint" | "uint64") => (0, i64::MAX.into()),
            Some("int32") => (i32::MIN.into(), i32::MAX.into()),
            Some("int" | "int64") => (i64::MIN.into(), i64::MAX.into()),
            Some("float") if (x as f32).is_infinite() => {
                let message = format!("`{}` is too large: expected at most {:e}", self.name(), f32::MAX);
                return self.error(message, Some(node.span));
            }
            _ => return,
        };
        if let Data::Integer(n) = node.data
            && !(limits.0..=limits.1).contains(&n)
        {
            let message =
                format!("`{}` is {n}, expected an integer from {} to {}", self.name(), limits.0, limits.1);
            self.error(message, Some(node.span));
        }
    }

    fn text(
        &mut self,
        text: &str,
        fitting: &[&'a Value],
        variants: &[(&str, &Value)],
        node: &Node,
        schema: &Value,
    ) {
        let mut allowed = Vec::new();
        for plain in fitting {
            match schema::constants(plain) {
                Some(names) if names.contains(&text) => return,
                Some(names) => allowed.extend(names),
                None if plain["maxLength"] == 1 && text.chars().count() != 1 => {
                    let message =
                        format!("`{}` must be a single character, found {}", self.name(), quoted(text));
                    return self.error(message, Some(node.span));
                }
                None => return,
            }
        }
        let tables: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
        if tables.contains(&text) {
            let message = format!("`{}` is a table, found the string {}", self.name(), quoted(text));
            let header = table_name(&self.path, Some(text));
            return self.push(
                Diagnostic::error(message, Some(node.span)).help(format!("write {header} on its own line")),
            );
        }
        if allowed.is_empty() {
            return self.wrong_type(node, schema);
        }
        let message = format!("`{}` cannot be {}", self.name(), quoted(text));
        let mut error = Diagnostic::error(message, Some(node.span));
        if let Some(near) = suggest(text, allowed.iter().copied()) {
            error = error.help(format!("did you mean {near:?}?"));
        }
        self.push(error.help(format!("allowed: {}", self.schema.expected(schema))));
    }

    /// A table that must have exactly one key, the name of a variant.
    fn variant(
        &mut self,
        entries: &[Entry],
        variants: &[(&'a str, &'a Value)],
        node: &Node,
        head: Option<Span>,
    ) {
        let names: Vec<&str> = variants.iter().map(|(name, _)| *name).collect();
        let table = table_name(&self.path, None);
        let allowed = names.iter().map(|n| table_name(&self.path, Some(n))).collect::<Vec<_>>().join(", ");
        if entries.is_empty() {
            let message = format!("{table} says nothing: expected one of {allowed}");
            return self.error(message, self.head(node, head));
        }
        let mut known = Vec::new();
        for entry in entries {
            match variants.iter().find(|(name, _)| *name == entry.key) {
                Some((_, content)) => {
                    known.push(entry);
                    self.path.push(entry.key.clone());
                    self.value(&entry.node, content, Some(entry.span));
                    self.path.pop();
                }
                None => {
                    let message = format!("{table} has no `{}`", entry.key);
                    let mut error = Diagnostic::error(message, Some(entry.span));
                    if let Some(new) = renamed(&self.path, &entry.key, &names) {
                        error = error.help(is_now(&entry.key, new));
                    } else if let Some(near) = suggest(&entry.key, names.iter().copied()) {
                        error = error.help(format!("did you mean {}?", table_name(&self.path, Some(near))));
                    } else if let Some((name, _)) = variants
                        .iter()
                        .find(|(_, content)| self.schema.keys(content).iter().any(|(k, _)| *k == entry.key))
                    {
                        error = error.help(format!(
                            "`{}` belongs in {}",
                            entry.key,
                            table_name(&self.path, Some(name))
                        ));
                    }
                    self.push(error.help(format!("allowed: {allowed}")));
                }
            }
        }
        if let [first, others @ ..] = known.as_slice() {
            for other in others {
                let message = format!(
                    "{table} can be only one thing, found {} beside {}",
                    table_name(&self.path, Some(&other.key)),
                    table_name(&self.path, Some(&first.key))
                );
                self.push(Diagnostic::error(message, Some(other.span)).help("keep one of the two"));
            }
        }
    }

    fn table(&mut self, entries: &[Entry], plain: &'a Value, node: &Node, head: Option<Span>) {
        let properties = plain["properties"].as_object();
        let mut proposed = Vec::new();
        for entry in entries {
            let schema = properties.and_then(|p| p.get(&entry.key)).or_else(|| schema::additional(plain));
            match schema {
                Some(schema) => {
                    self.path.push(entry.key.clone());
                    self.value(&entry.node, schema, Some(entry.span));
                    self.path.pop();
                }
                None if properties.is_some() || plain["additionalProperties"] == false => {
                    proposed.extend(self.unknown_key(entry, plain));
                }
                None => {}
            }
        }
        for key in plain["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
            // A misspelt key is not missing as well.
            if proposed.contains(&key) || entries.iter().any(|e| e.key == key) {
                continue;
            }
            let schema = properties.and_then(|p| p.get(key)).unwrap_or(&Value::Null);
            let message = if self.path.is_empty() {
                format!("the table [{key}] is missing")
            } else {
                format!("{} lacks `{key}`, {}", table_name(&self.path, None), self.schema.expected(schema))
            };
            let mut error = Diagnostic::error(message, self.head(node, head));
            if let Some(description) = self.schema.description(schema) {
                error = error.help(format!("`{key}`: {}", summary(description)));
            }
            self.push(error);
        }
    }

    /// Reports the key and returns the one that was probably meant.
    fn unknown_key(&mut self, entry: &Entry, plain: &'a Value) -> Option<&'a str> {
        let known: Vec<&str> =
            plain["properties"].as_object().into_iter().flatten().map(|(k, _)| k.as_str()).collect();
        let table = table_name(&self.path, None);
        let message = match entry.node.data {
            Data::Table(_) if self.path.is_empty() => format!("unknown table [{}]", entry.key),
            _ if self.path.is_empty() => format!("unknown key `{}`", entry.key),
            _ => format!("unknown key `{}` in {table}", entry.key),
        };
        let mut error = Diagnostic::error(message, Some(entry.span));
        let new = renamed(&self.path, &entry.key, &known);
        let meant = new.or_else(|| suggest(&entry.key, known.iter().copied()));
        if let Some(new) = new {
            error = error.help(is_now(&entry.key, new));
        } else if let Some(option) = command_line_keys::option(&self.path, &entry.key) {
            error = error.help(option);
        } else if let Some(near) = meant {
            error = error.help(format!("did you mean `{near}`?"));
        } else if let Some(home) = self.schema.home(&entry.key) {
            error = error.help(format!("`{}` is a key of {home}", entry.key));
        }
        error = error.help(match known.as_slice() {
            [] => format!("{table} has no keys"),
            known => format!("allowed: {}", ticked(known)),
        });
        self.push(error);
        meant
    }

    fn wrong_type(&mut self, node: &Node, schema: &Value) {
        let message =
            format!("`{}` must be {}, found {}", self.name(), self.schema.expected(schema), node.found());
        let mut error = Diagnostic::error(message, Some(node.span));
        let types: Vec<&str> = self
            .schema
            .branches(schema)
            .iter()
            .flat_map(|b| match b {
                Branch::Plain(plain) => schema::types(plain),
                Branch::Variant { .. } => Vec::new(),
            })
            .collect();
        match &node.data {
            Data::Text(text)
                if (types.contains(&"number") && text.parse::<f64>().is_ok())
                    || (types.contains(&"integer") && text.parse::<i64>().is_ok())
                    || (types.contains(&"boolean") && text.parse::<bool>().is_ok()) =>
            {
                error = error.help(format!("without quotes: {text}"));
            }
            Data::Float(x) if types.contains(&"integer") && x.fract() == 0.0 && x.abs() < 1e15 => {
                error = error.help(format!("without a point or exponent: {x:.0}"));
            }
            Data::Integer(_) | Data::Float(_) | Data::Bool(_) if types == ["array"] => {
                error = error.help("put it in brackets: [...]");
            }
            Data::Text(text) if types == ["array"] => {
                error = error.help(format!("put it in brackets: [{text:?}]"))
            }
            _ => {}
        }
        self.push(error);
    }

    /// What to point at for a table as a whole: its key, or the value where it stands in a list.
    fn head(&self, node: &Node, head: Option<Span>) -> Option<Span> {
        head.or_else(|| (!self.path.is_empty()).then_some(node.span))
    }

    fn name(&self) -> String {
        dotted(&self.path)
    }

    fn error(&mut self, message: String, span: Option<Span>) {
        self.push(Diagnostic::error(message, span));
    }

    fn push(&mut self, diagnostic: Diagnostic) {
        self.out.push(diagnostic);
    }
}

/// The remedy for a key that was renamed.
fn is_now(old: &str, new: &str) -> String {
    format!("`{old}` is now called `{new}`")
}

/// The plain schema of a branch, if it takes values of this type.
fn plain_for<'a>(branch: &Branch<'a>, data: &Data) -> Option<&'a Value> {
    let Branch::Plain(plain) = branch else { return None };
    let types = schema::types(plain);
    let wanted: &[&str] = match data {
        Data::Text(_) => &["string"],
        Data::Integer(_) => &["integer", "number"],
        Data::Float(_) => &["number"],
        Data::Bool(_) => &["boolean"],
        Data::List(_) => &["array"],
        Data::Table(_) => &["object"],
        Data::Date(_) => &[],
    };
    (types.is_empty() || types.iter().any(|t| wanted.contains(t))).then_some(*plain)
}

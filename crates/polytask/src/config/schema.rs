//! The JSON Schema of a type, and the few queries that diagnostics and documentation need.
//!
//! Knows what schemars makes of the config's types: `$ref`, objects with `properties`, `required` and
//! `additionalProperties`, lists, `oneOf` for enums (a string or a table with one key), `anyOf` for options and
//! untagged enums, `const` and `enum`, ranges. Not the whole of JSON Schema.

use super::wording::table_name;
use schemars::JsonSchema;
use serde_json::Value;

/// A schema with its definitions.
pub struct Schema {
    root: Value,
}

/// One way to satisfy a schema.
#[derive(Clone, Copy)]
pub enum Branch<'a> {
    /// A value described by a plain schema.
    Plain(&'a Value),
    /// A table with a single key, the name of an enum's variant.
    Variant {
        /// The variant's name.
        name: &'a str,
        /// What belongs below the name.
        content: &'a Value,
        /// The schema of the variant, which holds its description.
        whole: &'a Value,
    },
}

impl Schema {
    /// The schema of a type, as a reader of the config sees it.
    pub fn of<T: JsonSchema>() -> Self {
        Schema { root: schemars::schema_for!(T).to_value() }
    }

    /// The whole of it.
    pub fn root(&self) -> &Value {
        &self.root
    }

    /// Follows `$ref`.
    pub fn resolve<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        // A cycle of bare references cannot come from a Rust type; the bound is there all the same.
        for _ in 0..16 {
            let Some(target) = schema.get("$ref").and_then(Value::as_str) else { break };
            let Some(found) = target.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) else {
                break;
            };
            schema = found;
        }
        schema
    }

    /// All ways to satisfy a schema, apart from null.
    pub fn branches<'a>(&'a self, schema: &'a Value) -> Vec<Branch<'a>> {
        let mut out = Vec::new();
        self.collect(schema, &mut out, 0);
        out
    }

    fn collect<'a>(&'a self, schema: &'a Value, out: &mut Vec<Branch<'a>>, depth: usize) {
        let schema = self.resolve(schema);
        if depth > 16 || schema["type"] == "null" {
            return;
        }
        if let Some(any) = schema["anyOf"].as_array() {
            any.iter().for_each(|s| self.collect(s, out, depth + 1));
        } else if let Some(one) = schema["oneOf"].as_array() {
            for s in one {
                match variant(s) {
                    Some((name, content)) => out.push(Branch::Variant { name, content, whole: s }),
                    None => self.collect(s, out, depth + 1),
                }
            }
        } else {
            out.push(Branch::Plain(schema));
        }
    }

    /// The schema of what lies below a key.
    pub fn child<'a>(&'a self, schema: &'a Value, key: &str) -> Option<&'a Value> {
        self.branches(schema).into_iter().find_map(|branch| match branch {
            Branch::Variant { name, content, .. } => (name == key).then_some(content),
            Branch::Plain(plain) => plain["properties"].get(key).or_else(|| additional(plain)),
        })
    }

    /// The schema at the end of a way of keys.
    pub fn at(&self, path: &[&str]) -> Option<&Value> {
        path.iter().try_fold(&self.root, |schema, key| self.child(schema, key))
    }

    /// The tables that have this key, as headers; `None` if there is none, or too many to be of use.
    pub fn home(&self, key: &str) -> Option<String> {
        let mut homes = Vec::new();
        self.search(&self.root, key, &mut Vec::new(), &mut homes);
        homes.sort();
        homes.dedup();
        if homes.len() > 4 {
            homes = families(homes);
        }
        (!homes.is_empty() && homes.len() <= 4).then(|| homes.join(", "))
    }

    fn search<'a>(&'a self, schema: &'a Value, key: &str, path: &mut Vec<&'a str>, homes: &mut Vec<String>) {
        // No table lies deeper; the bound is for types that hold themselves.
        if path.len() > 4 {
            return;
        }
        let mut inner = Vec::new();
        for branch in self.branches(schema) {
            match branch {
                Branch::Variant { name, content, .. } => inner.push((name, content)),
                Branch::Plain(plain) => {
                    let properties = plain["properties"].as_object();
                    if properties.is_some_and(|p| p.contains_key(key)) {
                        homes.push(table_name(path, None));
                    }
                    inner.extend(properties.into_iter().flatten().map(|(k, s)| (k.as_str(), s)));
                    inner.extend(additional(plain).map(|s| ("NAME", s)));
                }
            }
        }
        for (name, schema) in inner {
            path.push(name);
            self.search(schema, key, path, homes);
            path.pop();
        }
    }

    /// The names of an enum's table variants; empty if the schema is no such enum.
    pub fn variants<'a>(&'a self, schema: &'a Value) -> Vec<&'a str> {
        let names = self.branches(schema).into_iter().filter_map(|b| match b {
            Branch::Variant { name, .. } => Some(name),
            Branch::Plain(_) => None,
        });
        names.collect()
    }

    /// The keys that a table may have, with their schemas, in order.
    pub fn keys<'a>(&'a self, schema: &'a Value) -> Vec<(&'a str, &'a Value)> {
        let mut keys = Vec::new();
        for branch in self.branches(schema) {
            if let Branch::Plain(plain) = branch
                && let Some(properties) = plain["properties"].as_object()
            {
                keys.extend(properties.iter().map(|(key, schema)| (key.as_str(), schema)));
            }
        }
        keys
    }

    /// The description of a key: its own, else that of its type.
    pub fn description<'a>(&'a self, schema: &'a Value) -> Option<&'a str> {
        schema["description"].as_str().or_else(|| self.resolve(schema)["description"].as_str())
    }

    /// What a value may be, in words: `an integer of at least 1`, `a string or a list of strings`.
    pub fn expected(&self, schema: &Value) -> String {
        let (mut words, mut choices, mut tables) = (Vec::new(), Vec::new(), Vec::new());
        for branch in self.branches(schema) {
            match branch {
                Branch::Variant { name, .. } => tables.push(name),
                Branch::Plain(plain) => match constants(plain) {
                    Some(allowed) => choices.extend(allowed.into_iter().map(|s| format!("{s:?}"))),
                    None => types(plain).into_iter().for_each(|t| words.push(self.words(plain, t))),
                },
            }
        }
        if let [only] = choices.as_slice() {
            words.push(only.clone());
        } else if !choices.is_empty() {
            words.push(format!("one of {}", choices.join(", ")));
        }
        if !tables.is_empty() {
            words.push(format!("a table with one of {}", ticked(&tables)));
        }
        words.retain({
            let mut seen = Vec::new();
            move |w| {
                !seen.contains(w) && {
                    seen.push(w.clone());
                    true
                }
            }
        });
        match words.len() {
            0 => "a value".into(),
            _ => words.join(" or "),
        }
    }

    fn words(&self, plain: &Value, kind: &str) -> String {
        match kind {
            "integer" => format!("an integer{}", range_words(plain)),
            "number" => format!("a number{}", range_words(plain)),
            "string" if plain["maxLength"] == 1 => "a single character".into(),
            "string" => "a string".into(),
            "boolean" => "`true` or `false`".into(),
            "array" => match types(self.resolve(&plain["items"])).as_slice() {
                ["string"] => "a list of strings".into(),
                ["integer"] => "a list of integers".into(),
                ["number"] => "a list of numbers".into(),
                _ => "a list".into(),
            },
            "object" => "a table".into(),
            other => format!("a value of type {other}"),
        }
    }
}

/// What an object allows for keys that it does not name.
pub fn additional(plain: &Value) -> Option<&Value> {
    plain.get("additionalProperties").filter(|s| **s != Value::Bool(false))
}

/// The types of a plain schema, apart from null; empty means any.
pub fn types(plain: &Value) -> Vec<&str> {
    match &plain["type"] {
        Value::String(one) => vec![one.as_str()],
        Value::Array(many) => many.iter().filter_map(Value::as_str).filter(|t| *t != "null").collect(),
        _ => Vec::new(),
    }
}

/// The strings that a plain schema is limited to.
pub fn constants(plain: &Value) -> Option<Vec<&str>> {
    match (plain.get("const"), plain["enum"].as_array()) {
        (Some(one), _) => one.as_str().map(|s| vec![s]),
        (None, Some(many)) => Some(many.iter().filter_map(Value::as_str).collect()),
        (None, None) => None,
    }
}

/// The limits of a number: least and most, and whether they themselves are outside.
pub struct Range {
    /// The least, and whether it is outside itself.
    pub least: Option<(f64, bool)>,
    /// The most, and whether it is outside itself.
    pub most: Option<(f64, bool)>,
}

/// The limits that a plain schema names.
pub fn range(plain: &Value) -> Range {
    let limit = |inside: &str, outside: &str| {
        let found = |key: &str, out| plain.get(key).and_then(Value::as_f64).map(|x| (x, out));
        found(outside, true).or_else(|| found(inside, false))
    };
    Range { least: limit("minimum", "exclusiveMinimum"), most: limit("maximum", "exclusiveMaximum") }
}

/// The limits in words, with a blank before them: ` from 0 to 1`; empty without limits.
fn range_words(plain: &Value) -> String {
    let Range { least, most } = range(plain);
    match (least, most) {
        (None, None) => String::new(),
        (Some((a, false)), Some((b, false))) => format!(" from {a} to {b}"),
        (Some((a, true)), Some((b, false))) => format!(" above {a}, at most {b}"),
        (Some((a, false)), Some((b, true))) => format!(" of at least {a}, below {b}"),
        (Some((a, true)), Some((b, true))) => format!(" above {a} and below {b}"),
        (Some((a, false)), None) => format!(" of at least {a}"),
        (Some((a, true)), None) => format!(" above {a}"),
        (None, Some((b, false))) => format!(" of at most {b}"),
        (None, Some((b, true))) => format!(" below {b}"),
    }
}

/// Names in backquotes, with commas.
pub fn ticked<S: AsRef<str>>(names: &[S]) -> String {
    names.iter().map(|n| format!("`{}`", n.as_ref())).collect::<Vec<_>>().join(", ")
}

/// A variant that is a table: an object with a single, required key.
fn variant(schema: &Value) -> Option<(&str, &Value)> {
    let properties = schema["properties"].as_object()?;
    let (name, content) = properties.iter().next()?;
    let closed = schema["additionalProperties"] == false && properties.len() == 1;
    (closed && schema["required"][0] == name.as_str()).then_some((name, content))
}

/// Sorted headers, where more than two of a family (`[balance.cagrad]`, `[balance.famo]`, ..) are one (`[balance.*]`).
fn families(headers: Vec<String>) -> Vec<String> {
    let family = |header: &str| header.split_once('.').map(|(family, _)| family.to_owned());
    let grouped = |header: &String| {
        let of = family(header)?;
        let siblings = headers.iter().filter(|other| family(other).as_ref() == Some(&of)).count();
        (siblings > 2).then(|| format!("{of}.*]"))
    };
    let mut found: Vec<String> =
        headers.iter().map(|header| grouped(header).unwrap_or_else(|| header.clone())).collect();
    found.dedup();
    found
}

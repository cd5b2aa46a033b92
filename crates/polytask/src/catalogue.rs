//! What can be configured: every family with its members, described by their own doc comments and by the config's schema.

use crate::config::{
    SCHEMA,
    schema::{Branch, Schema, ticked},
    suggest, summary,
};
use serde_json::Value;
use std::fmt::Write;

/// A family: its name, what it is, the table whose keys its members are, and the members with their sources.
struct Family {
    name: &'static str,
    what: &'static str,
    table: &'static [&'static str],
    members: &'static [(&'static str, &'static str)],
    /// The names and abbreviations under which papers and other tools know a member.
    aliases: &'static [(&'static str, &'static [&'static str])],
}

/// Those of the kinds.
const KIND_ALIASES: &[(&str, &[&str])] = &[
    ("classification", &["text classification", "sequence classification"]),
    ("dependency_parsing", &["biaffine parsing"]),
    ("entities_relations", &["joint entity and relation extraction", "SpERT"]),
    ("extractive_qa", &["question answering", "QA", "machine reading comprehension", "MRC"]),
    ("generation", &["text generation", "NLG"]),
    ("hidden_states", &["TinyBERT", "MiniLM", "feature distillation"]),
    ("masked_language_model", &["MLM", "masked language modeling"]),
    ("multi_label", &["multi-label classification"]),
    ("ordinal_regression", &["ordinal classification"]),
    ("relation_classification", &["relation extraction", "RE"]),
    ("tagging", &["token classification", "sequence labeling", "NER", "POS"]),
    ("translation", &["machine translation", "NMT"]),
];

/// Those of the backbones.
const BACKBONE_ALIASES: &[(&str, &[&str])] = &[
    ("bag", &["DAN", "deep averaging network"]),
    ("bert", &["RoBERTa", "XLM-R", "XLM-RoBERTa", "DistilBERT", "ELECTRA", "MPNet", "ALBERT"]),
    ("deberta", &["DeBERTa-v2", "DeBERTa-v3", "mDeBERTa", "disentangled attention"]),
    ("modernbert", &["ModernBertModel", "alternating attention"]),
    ("t5", &["Flan-T5", "mT5"]),
];

/// Those of the optimizers.
const OPTIMIZER_ALIASES: &[(&str, &[&str])] =
    &[("schedule_free_adamw", &["ScheduleFree", "AdamWScheduleFree"]), ("sgd", &["momentum", "Nesterov"])];

/// Those of the metrics.
const METRIC_ALIASES: &[(&str, &[&str])] = &[
    ("matthews", &["MCC", "phi coefficient"]),
    ("mean_absolute_error", &["MAE"]),
    ("quadratic_kappa", &["QWK", "quadratic weighted kappa"]),
    ("rmse", &["root mean squared error"]),
    ("exact_match", &["EM"]),
    ("chrf", &["chrF2"]),
    ("rouge", &["ROUGE-L", "ROUGE-1", "ROUGE-2"]),
    ("las", &["labeled attachment score"]),
    ("uas", &["unlabeled attachment score"]),
];

/// Those of the schedules.
const SCHEDULE_ALIASES: &[(&str, &[&str])] = &[
    ("warmup_stable_decay", &["WSD", "trapezoidal"]),
    ("cosine_restarts", &["SGDR", "warm restarts"]),
    ("one_cycle", &["1cycle", "OneCycleLR"]),
    ("inverse_square_root", &["Noam", "inverse_sqrt"]),
];

/// Those of the sharing schemes.
const SHARING_ALIASES: &[(&str, &[&str])] = &[
    ("hard", &["HPS", "shared bottom"]),
    ("lora", &["low-rank adaptation", "rsLoRA", "DoRA"]),
    ("ia3", &["(IA)^3"]),
    ("poly", &["Polytropon", "MHR", "multi-head routing"]),
    ("adapters", &["bottleneck adapters", "Houlsby", "Pfeiffer"]),
    ("hyper_adapters", &["HyperFormer"]),
    ("learn_to_branch", &["LTB"]),
    ("moe", &["mixture of experts", "sparse upcycling"]),
    ("prefix", &["prefix tuning", "P-tuning v2"]),
    ("prompt", &["prompt tuning", "soft prompt"]),
    ("soft", &["trace norm"]),
    ("conditional_norm", &["FiLM", "CA-MTL"]),
];

/// Those of the ways to merge models.
const MERGING_ALIASES: &[(&str, &[&str])] = &[
    ("average", &["model soup", "linear"]),
    ("ties", &["TIES-Merging"]),
    ("dare_linear", &["DARE"]),
    ("della", &["MagPrune"]),
    ("breadcrumbs", &["model breadcrumbs"]),
    ("fisher", &["Fisher merging"]),
];

/// Those of what adapts learning rates.
const LR_ADAPTATION_ALIASES: &[(&str, &[&str])] =
    &[("reduce_lr_on_plateau", &["ReduceLROnPlateau", "plateau"])];

/// Abbreviations of keys.
const KEY_ALIASES: &[(&str, &str)] = &[("LLRD", "optimizer.adamw.layerwise_lr_decay")];

const FAMILIES: &[Family] = &[
    Family {
        name: "kinds",
        what: "what a task learns",
        table: &["task", "NAME"],
        members: tasks::CATALOGUE,
        aliases: KIND_ALIASES,
    },
    Family {
        name: "backbones",
        what: "the network that all tasks share",
        table: &["model", "backbone"],
        members: model::CATALOGUE,
        aliases: BACKBONE_ALIASES,
    },
    Family {
        name: "samplers",
        what: "how often each corpus is drawn",
        table: &["sampling"],
        members: data::sampler::CATALOGUE,
        aliases: data::sampler::ALIASES,
    },
    Family {
        name: "balancers",
        what: "how the tasks' losses are weighted",
        table: &["balance"],
        members: balance::CATALOGUE,
        aliases: balance::ALIASES,
    },
    Family {
        name: "optimizers",
        what: "what turns gradients into new weights",
        table: &["optimizer"],
        members: train::optimizer::CATALOGUE,
        aliases: OPTIMIZER_ALIASES,
    },
    Family {
        name: "schedules",
        what: "how the learning rate moves",
        table: &["schedule"],
        members: train::schedule::CATALOGUE,
        aliases: SCHEDULE_ALIASES,
    },
    Family {
        name: "lr_adaptation",
        what: "what learning rates follow beside a schedule",
        table: &["train"],
        members: train::LR_ADAPTATION_CATALOGUE,
        aliases: LR_ADAPTATION_ALIASES,
    },
    Family {
        name: "sharing",
        what: "how the tasks share the backbone",
        table: &["sharing"],
        members: model::SHARING_CATALOGUE,
        aliases: SHARING_ALIASES,
    },
    Family {
        name: "merging",
        what: "how `polytask merge` makes one model of several",
        table: &[],
        members: model::merging::CATALOGUE,
        aliases: MERGING_ALIASES,
    },
    Family {
        name: "metrics",
        what: "how predictions are scored",
        table: &[],
        members: metrics::CATALOGUE,
        aliases: METRIC_ALIASES,
    },
];

/// Columns of a line.
const WIDTH: usize = 110;

impl Family {
    /// Whether somebody who writes `found` means this family: its name, the singular, or its table in the config.
    fn is(&self, found: &str) -> bool {
        self.name == found || self.name.strip_suffix('s') == Some(found) || self.table == [found]
    }

    /// Whether somebody who writes `found` means this member: its name, or another by which it is known.
    fn names(&self, member: &str, found: &str) -> bool {
        member == found || self.aliases_of(member).any(|alias| alias.eq_ignore_ascii_case(found))
    }

    /// The other names of a member.
    fn aliases_of(&self, member: &str) -> impl Iterator<Item = &'static str> {
        let known = self.aliases.iter().filter(move |(name, _)| *name == member);
        known.flat_map(|(_, known)| *known).copied()
    }

    /// The member's header in a config.
    fn header(&self, member: &str) -> Option<String> {
        (!self.table.is_empty()).then(|| format!("[{}.{member}]", self.table.join(".")))
    }
}

/// Every family's members, a line each, or those of one family.
///
/// # Errors
/// A family that does not exist; the message proposes the nearest and lists all.
pub fn list(family: Option<&str>) -> Result<String, String> {
    let chosen: Vec<&Family> = FAMILIES.iter().filter(|f| family.is_none_or(|name| f.is(name))).collect();
    if chosen.is_empty() {
        let names: Vec<&str> = FAMILIES.iter().map(|f| f.name).collect();
        return Err(unknown("family", family.unwrap_or_default(), &names));
    }
    let width =
        FAMILIES.iter().flat_map(|f| f.members).map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for family in chosen {
        let place = family.header("NAME").map(|h| format!(", {h}")).unwrap_or_default();
        let place = place.replace("NAME.NAME", "NAME.KIND");
        let _ = writeln!(out, "{}: {}{place}", family.name, family.what);
        for (name, source) in family.members {
            let first = documentation(source).lines().next().unwrap_or_default().to_string();
            let line = format!("  {name:width$}  {}", summary(&first));
            let _ = writeln!(out, "{}", line.trim_end());
        }
        out.push('\n');
    }
    out.push_str("`polytask explain NAME` says all about one of them.\n");
    Ok(out)
}

/// All about the members of that name, or about a table or key of the config (`train`, `corpus`, `train.epochs`): its
/// documentation, and its keys with defaults. A name that several families have can be given as `FAMILY.NAME`.
///
/// # Errors
/// A name that does not exist; the message proposes the nearest.
pub fn explain(name: &str) -> Result<String, String> {
    let schema = &*SCHEMA;
    let name =
        KEY_ALIASES.iter().find(|(alias, _)| alias.eq_ignore_ascii_case(name)).map_or(name, |(_, key)| key);
    let (wanted_family, wanted) = match name.rsplit_once(['.', '/']) {
        Some((family, member)) if FAMILIES.iter().any(|f| f.is(family)) => (Some(family), member),
        _ => (None, name),
    };
    let mut out = String::new();
    for family in FAMILIES.iter().filter(|f| wanted_family.is_none_or(|name| f.is(name))) {
        if let Some((member, source)) = family.members.iter().find(|(member, _)| family.names(member, wanted))
        {
            separate(&mut out);
            let _ = writeln!(out, "{member}, one of the {}: {}", family.name, family.what);
            let known: Vec<&str> = family.aliases_of(member).collect();
            if !known.is_empty() {
                let _ = writeln!(out, "also called {}", known.join(", "));
            }
            out.push('\n');
            let _ = writeln!(out, "{}", indented(&plain(&documentation(source)), 2));
            let mut path = family.table.to_vec();
            path.push(member);
            if let (Some(header), Some(found)) = (family.header(member), schema.at(&path)) {
                let _ = writeln!(out, "\n{header}");
                keys(&mut out, schema, found);
            }
        }
    }
    if out.is_empty() {
        out = key(schema, name).ok_or_else(|| {
            let members = FAMILIES.iter().flat_map(|f| f.members).map(|(name, _)| *name);
            let tables = schema.keys(schema.root()).into_iter().map(|(name, _)| name);
            let mut names: Vec<&str> = members.chain(tables).collect();
            names.sort_unstable();
            names.dedup();
            unknown("name", name, &names)
        })?;
    }
    Ok(out)
}

/// All about a key of the config.
fn key(schema: &Schema, name: &str) -> Option<String> {
    let name = name.trim_matches(['[', ']']);
    let path: Vec<&str> = name.split('.').collect();
    let mut found = schema.at(&path)?;
    let (table, last) = path.split_at(path.len() - 1);
    let mut out = String::new();
    let mut header = path.join(".");
    // Tables that have names of the user's own: what is of interest is what belongs in each.
    let plain = schema.resolve(found);
    if let Some(inner) = plain.get("additionalProperties").filter(|s| s.is_object()) {
        let _ = writeln!(out, "{}\n", wrapped(schema.description(found).unwrap_or_default(), 0));
        found = inner;
        header.push_str(".NAME");
    }
    if schema.keys(found).is_empty() && schema.variants(found).is_empty() {
        let parent = schema.at(table)?;
        let mut line = String::new();
        key_line(&mut line, schema, parent, last.first()?, found, last.first()?.len());
        if !table.is_empty() {
            let _ = writeln!(out, "[{}]", table.join("."));
        }
        out.push_str(&line);
        return Some(out);
    }
    if let Some(description) = schema.description(found) {
        let _ = writeln!(out, "{}\n", wrapped(description, 0));
    }
    let _ = writeln!(out, "[{header}]");
    keys(&mut out, schema, found);
    Some(out)
}

/// A line or more for every key of a table, or for every variant.
fn keys(out: &mut String, schema: &Schema, table: &Value) {
    let keys = schema.keys(table);
    let variants: Vec<(&str, &Value)> = schema
        .branches(table)
        .into_iter()
        .filter_map(|b| match b {
            Branch::Variant { name, whole, .. } => Some((name, whole)),
            Branch::Plain(_) => None,
        })
        .collect();
    let width = keys.iter().chain(&variants).map(|(key, _)| key.chars().count()).max().unwrap_or(0);
    for (key, found) in &keys {
        key_line(out, schema, table, key, found, width);
    }
    if !variants.is_empty() {
        out.push_str("  one of\n");
    }
    for (name, whole) in &variants {
        let text = wrapped(whole["description"].as_str().unwrap_or_default(), width + 4);
        let _ = writeln!(out, "  {name:width$}  {}", text.trim_start());
    }
    if keys.is_empty() && variants.is_empty() {
        out.push_str("  no keys\n");
    }
}

fn key_line(out: &mut String, schema: &Schema, table: &Value, key: &str, found: &Value, width: usize) {
    let required = schema.branches(table).iter().any(|b| match b {
        Branch::Plain(plain) => plain["required"].as_array().is_some_and(|r| r.iter().any(|k| k == key)),
        Branch::Variant { .. } => false,
    });
    let mut line = schema.expected(found);
    if required {
        line.push_str("; required");
    } else if let Some(default) = default(schema, found) {
        let _ = write!(line, "; default {default}");
    }
    let indent = width + 4;
    let line = wrapped(&line, indent);
    let _ = writeln!(out, "  {key:width$}  {}", line.trim_start());
    if let Some(description) = schema.description(found) {
        let _ = writeln!(out, "{}", wrapped(description, indent));
    }
}

/// The default of a key as TOML; `None` where it has none, or one that is a table.
fn default(schema: &Schema, found: &Value) -> Option<String> {
    let value = found.get("default")?;
    let float = |s: &Value| s["format"] == "float";
    match value {
        Value::Number(n) if float(found) || float(schema.resolve(found)) => {
            n.as_f64().map(|x| (x as f32).to_string())
        }
        Value::Number(_) | Value::Bool(_) | Value::String(_) => Some(value.to_string()),
        Value::Array(items) if items.is_empty() => Some("[]".into()),
        _ => None,
    }
}

/// The leading `//!` lines of a source.
fn documentation(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.trim_end().strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// The text without the marks around blocks of code, which are indented in their place.
fn plain(markdown: &str) -> String {
    let mut inside = false;
    let mut out = String::new();
    for line in markdown.lines() {
        if line.trim_start().starts_with("```") {
            inside = !inside;
        } else if inside {
            let _ = writeln!(out, "    {line}");
        } else {
            let _ = writeln!(out, "{line}");
        }
    }
    out.trim_end().to_string()
}

fn indented(text: &str, by: usize) -> String {
    text.lines().map(|line| format!("{:by$}{line}", "").trim_end().to_string()).collect::<Vec<_>>().join("\n")
}

/// The text in lines of at most [`WIDTH`] columns, each indented; paragraphs stay apart.
fn wrapped(text: &str, indent: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for (i, paragraph) in text.split("\n\n").enumerate() {
        if i > 0 {
            lines.push(String::new());
        }
        let mut line = String::new();
        for word in paragraph.split_whitespace() {
            if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > WIDTH {
                lines.push(format!("{:indent$}{line}", ""));
                line.clear();
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(word);
        }
        lines.push(format!("{:indent$}{line}", ""));
    }
    lines.join("\n")
}

fn separate(out: &mut String) {
    if !out.is_empty() {
        out.push_str("\n----\n\n");
    }
}

fn unknown(what: &str, found: &str, known: &[&str]) -> String {
    let near = suggest(found, known.iter().copied());
    let near = near.map(|n| format!("; did you mean `{n}`?")).unwrap_or_default();
    format!("there is no {what} `{found}`{near}\n there are: {}", ticked(known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn abbreviations_of_the_field_are_explained() {
        for (abbreviation, member) in [
            ("RLW", "random"),
            ("UW", "uncertainty"),
            ("EW", "equal"),
            ("wsd", "warmup_stable_decay"),
            ("LLRD", "layerwise_lr_decay"),
            ("ReduceLROnPlateau", "reduce_lr_on_plateau"),
            ("MLM", "masked_language_model"),
            ("NER", "tagging"),
            ("MCC", "matthews"),
        ] {
            assert!(explain(abbreviation).unwrap().contains(member), "{abbreviation}");
        }
    }

    #[test]
    fn every_alias_names_a_member() {
        for family in FAMILIES {
            for (member, _) in family.aliases {
                assert!(family.members.iter().any(|(name, _)| name == member), "{}: {member}", family.name);
            }
        }
    }

    #[test]
    fn every_member_is_listed_and_explained_with_its_keys() {
        let all = list(None).unwrap();
        let schema = &*SCHEMA;
        for family in FAMILIES {
            assert!(!family.members.is_empty());
            let one = list(Some(family.name)).unwrap();
            for (name, source) in family.members {
                let line = one.lines().find(|l| l.split_whitespace().next() == Some(name)).unwrap();
                assert!(all.contains(line));
                let text = explain(&format!("{}.{name}", family.name)).unwrap();
                assert!(text.contains(documentation(source).lines().next().unwrap()), "{text}");
                if !family.table.is_empty() {
                    let mut path = family.table.to_vec();
                    path.push(name);
                    let found = schema.at(&path).unwrap_or_else(|| panic!("{name} is not in the config"));
                    assert!(schema.keys(found).iter().all(|(key, _)| text.contains(key)), "{text}");
                }
            }
            // And the other way round: what the config takes is in the catalogue.
            for variant in schema.at(family.table).map(|s| schema.variants(s)).unwrap_or_default() {
                assert!(
                    family.members.iter().any(|(name, _)| *name == variant),
                    "{variant} is not in the catalogue"
                );
            }
        }
    }

    #[test]
    fn explains_defaults_and_ranges() {
        let text = explain("adamw").unwrap();
        assert!(
            text.contains("learning_rate") && text.contains("default 5e-5")
                || text.contains("default 0.00005"),
            "{text}"
        );
        let text = explain("classification").unwrap();
        assert!(text.contains("a string; required") && text.contains("default 0.1\n"), "{text}");
    }

    #[test]
    fn a_name_of_several_families_is_explained_for_each() {
        let text = explain("equal").unwrap();
        assert!(text.contains("samplers") && text.contains("balancers"), "{text}");
        assert!(!explain("balance.equal").unwrap().contains("samplers"));
    }

    #[test]
    fn tables_and_keys_are_explained_too() {
        assert!(explain("train").unwrap().contains("tokens_per_batch"));
        assert!(explain("train.epochs").unwrap().contains("epochs  an integer"));
        assert!(explain("[corpus]").unwrap().contains("[corpus.NAME]"));
        assert!(explain("model.backbone").unwrap().contains("bert"));
        assert!(explain("schedule").unwrap().contains("cosine"));
    }

    #[test]
    fn unknown_names_propose_the_nearest() {
        assert!(list(Some("balancer")).is_ok() && list(Some("balance")).is_ok());
        assert!(list(Some("sampelrs")).unwrap_err().contains("did you mean `samplers`?"));
        assert!(explain("uncertanty").unwrap_err().contains("did you mean `uncertainty`?"));
        assert!(explain("").unwrap_err().contains("`tagging`"));
        assert!(explain("train..x").is_err() && explain("paths.x.y.z").is_err());
    }
}

//! Keys of the config that had another name. An old key is unknown like any other; its error names the new one.

/// A renamed key: the path of its table, in which `*` is any name or index, the old key and the new one.
pub(super) type RenamedKey = (&'static str, &'static str, &'static str);

/// Every renamed key, table by table.
pub(super) const RENAMED_KEYS: &[RenamedKey] = &[
    ("model", "corpus_embeddings", "dataset_embeddings"),
    ("model.decoder", "feed_forward", "intermediate_size"),
    ("model.backbone.*", "feed_forward", "intermediate_size"),
    ("corpus.*.order", "rising", "curriculum"),
    ("corpus.*.order.curriculum", "passes", "curriculum_epochs"),
    ("task.*", "learning_rate", "head_learning_rate"),
    ("task.*", "plateau", "reduce_lr_on_plateau"),
    ("task.*", "lemmas", "lemmatization"),
    ("task.*", "ordinal", "ordinal_regression"),
    ("task.*", "parsing", "dependency_parsing"),
    ("task.*", "relation", "relation_classification"),
    ("task.*", "span", "extractive_qa"),
    ("task.*.entities_relations", "negatives", "negative_samples"),
    ("task.*.entities_relations", "predicted", "scheduled_sampling"),
    ("task.*.entities_relations", "size", "span_dim"),
    ("sampling.conflict", "toward", "prefer"),
    ("sampling.validation", "of", "signal"),
    ("phase.*.sampling.conflict", "toward", "prefer"),
    ("phase.*.sampling.validation", "of", "signal"),
    ("phase.*.until", "reaches", "threshold"),
    ("optimizer.*", "layer_decay", "layerwise_lr_decay"),
    ("optimizer.schedule_free_adamw", "warmup", "warmup_ratio"),
    ("schedule.*", "warmup", "warmup_ratio"),
    ("train", "accumulate", "gradient_accumulation_steps"),
    ("train", "bad_steps", "max_nonfinite_steps"),
    ("train", "best_metric", "metric_for_best_model"),
    ("train", "checkpoint_every", "save_steps"),
    ("train", "clip_norm", "max_grad_norm"),
    ("train", "evaluate_every", "eval_steps"),
    ("train", "keep", "save_total_limit"),
    ("train", "memory_gib", "max_memory_gib"),
    ("train", "packs", "batching"),
    ("train", "plateau", "reduce_lr_on_plateau"),
    ("train", "recompute", "activation_checkpointing"),
    ("train", "result", "export"),
    ("train", "task_rates", "head_lr_balancing"),
    ("train", "tokens_per_step", "tokens_per_batch"),
];

/// The name that an unknown key of the table at `path` has now, if it was renamed to one of the known keys.
pub(super) fn renamed<'a>(path: &[String], key: &str, known: &[&'a str]) -> Option<&'a str> {
    let is_table = |pattern: &str| {
        let parts: Vec<&str> = pattern.split('.').collect();
        parts.len() == path.len() && parts.iter().zip(path).all(|(part, name)| *part == "*" || part == name)
    };
    let mut rows = RENAMED_KEYS.iter().filter(|(table, old, _)| *old == key && is_table(table));
    rows.find_map(|(_, _, new)| known.iter().find(|name| *name == new).copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{Branch, Schema};
    use crate::config::validate::validate;
    use crate::config::{Config, Diagnostic, document};
    use serde_json::Value;

    /// Every table at a pattern, as its path and its schema. `*` stands for each variant, or for any name or index.
    fn tables<'a>(schema: &'a Schema, pattern: &str) -> Vec<(Vec<String>, &'a Value)> {
        let mut found: Vec<(Vec<String>, &'a Value)> = vec![(Vec::new(), schema.root())];
        for part in pattern.split('.') {
            let mut below = Vec::new();
            for (path, table) in found {
                let names: Vec<&str> = match (part, schema.variants(table)) {
                    ("*", variants) if !variants.is_empty() => variants,
                    (part, _) => vec![part],
                };
                for name in names {
                    let inner = schema.child(table, name).or_else(|| items(schema, table));
                    let path = [&path[..], &[name.replace('*', "x")]].concat();
                    below.extend(inner.map(|inner| (path, inner)));
                }
            }
            found = below;
        }
        found
    }

    /// The schema of a list's entries.
    fn items<'a>(schema: &'a Schema, list: &'a Value) -> Option<&'a Value> {
        schema.branches(list).into_iter().find_map(|branch| match branch {
            Branch::Plain(plain) => plain.get("items"),
            Branch::Variant { .. } => None,
        })
    }

    /// The keys and variants of a table.
    fn names<'a>(schema: &'a Schema, table: &'a Value) -> Vec<&'a str> {
        let keys = schema.keys(table).into_iter().map(|(key, _)| key);
        keys.chain(schema.variants(table)).collect()
    }

    /// A config with nothing but one key in one table.
    fn config_with(path: &[String], key: &str) -> String {
        match path {
            [first, _, rest @ ..] if first == "phase" => {
                format!("[[phase]]\n[phase.{}]\n{key} = 0\n", rest.join("."))
            }
            _ => format!("[{}]\n{key} = 0\n", path.join(".")),
        }
    }

    #[test]
    fn the_error_of_every_renamed_key_names_the_new_one() {
        let schema = Schema::of::<Config>();
        for (pattern, old, new) in RENAMED_KEYS {
            let tables = tables(&schema, pattern);
            assert!(!tables.is_empty(), "[{pattern}] does not exist");
            assert!(tables.iter().all(|(_, table)| !names(&schema, table).contains(old)), "{pattern}.{old}");
            let with_new = tables.iter().filter(|(_, table)| names(&schema, table).contains(new));
            let mut tried = 0;
            for (path, _) in with_new {
                let text = config_with(path, old);
                let root = document::parse(&text, 0).unwrap();
                let expected = format!("`{old}` is now called `{new}`");
                let names_it = |error: &Diagnostic| error.help.contains(&expected);
                assert!(
                    validate(&schema, &root).iter().any(names_it),
                    "no error says that {expected}:\n{text}"
                );
                tried += 1;
            }
            assert!(tried > 0, "no [{pattern}] has `{new}`");
        }
    }
}

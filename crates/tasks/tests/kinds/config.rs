//! Settings: what is accepted, and what the user sees when it is not.

use polytask_tasks::{CATALOGUE, ClassWeights, NamedWeights, TaskConfig};
use serde_json::{Value, json};

fn parse(json: Value) -> Result<TaskConfig, String> {
    serde_json::from_value(json).map_err(|e| e.to_string())
}

fn error(json: Value) -> String {
    parse(json).unwrap().build("intent").err().expect("an error").to_string()
}

fn with(kind: &str, table: Value) -> Value {
    json!({ "corpus": "c", kind: table })
}

#[test]
fn a_task_has_exactly_one_kind() {
    let kinds = CATALOGUE.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    assert_eq!(
        error(json!({ "corpus": "c" })),
        format!("task.intent: found no kind, expected one of {kinds}, such as `classification = {{ .. }}`")
    );
    let both = json!({ "corpus": "c", "classification": { "text": "text", "label": "y" }, "tagging": {} });
    assert_eq!(
        error(both),
        "task.intent: found the kinds classification, tagging; a task has exactly one (two tasks may read the same corpus)"
    );
    assert_eq!(parse(with("tagging", json!({}))).unwrap().kind("t"), Ok("tagging"));
}

#[test]
fn settings_out_of_range_name_the_key() {
    let table = |kind: &str, mut table: Value, extra: Value| {
        table.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        with(kind, table)
    };
    let class = |extra| table("classification", json!({ "text": "text", "label": "y" }), extra);
    let sets = |extra| table("multi_label", json!({ "text": "text", "labels": "y" }), extra);
    let number = |extra| table("regression", json!({ "text": "text", "value": "y" }), extra);
    let order =
        |order: Value| with("ordinal_regression", json!({ "text": "text", "label": "y", "order": order }));
    for (config, says) in [
        (class(json!({ "dropout": 1.0 })), "task.intent.classification.dropout: found 1, expected 0 or more"),
        (class(json!({ "label_smoothing": -0.5 })), "task.intent.classification.label_smoothing: found -0.5"),
        (
            class(json!({ "focal": -1 })),
            "classification.focal: found -1, expected a number, 0 or more, such as 2",
        ),
        (
            class(json!({ "focal": 2, "label_smoothing": 0.1 })),
            "classification.label_smoothing: found 0.1, expected 0 beside focal = 2, or no `focal`",
        ),
        (
            class(json!({ "pair": "b", "windows": {} })),
            "classification.windows: found windows beside pair = \"b\", expected one text to read in windows",
        ),
        (sets(json!({ "windows": { "most": 0 } })), "multi_label.windows.most: found 0, expected at least 1"),
        (with("tagging", json!({ "windows": { "most": 0 } })), "task.intent.tagging.windows.most: found 0"),
        (sets(json!({ "focal": -0.5 })), "multi_label.focal: found -0.5"),
        (class(json!({ "pair": "text" })), "classification.pair: found \"text\", the same field as `text`"),
        (
            with("classification", json!({ "tokens": "tokens", "pair": "b", "label": "y" })),
            "classification.pair: found \"b\" beside `tokens`, expected two fields of text",
        ),
        (class(json!({ "tokens": "tokens" })), "task.intent.classification: found both `text` and `tokens`"),
        (with("classification", json!({ "label": "y" })), "found neither `text` nor `tokens`"),
        (class(json!({ "class_weights": { "a": -1 } })), "classification.class_weights.a: found -1"),
        (
            sets(json!({ "thresholds": 1 })),
            "multi_label.thresholds: found 1, expected a number between 0 and 1",
        ),
        (sets(json!({ "positive_weights": { "a": -1 } })), "multi_label.positive_weights.a: found -1"),
        (sets(json!({ "separator": "" })), "multi_label.separator: found an empty text"),
        (number(json!({ "delta": 0 })), "regression.delta: found 0, expected a number above 0"),
        (number(json!({ "dropout": 1 })), "regression.dropout: found 1"),
        (order(json!(["a"])), "ordinal_regression.order: found 1 classes, expected two or more"),
        (
            order(json!(["a", "b", "a"])),
            "ordinal_regression.order: found \"a\" twice, expected every class once",
        ),
        (order(json!(["a", ""])), "ordinal_regression.order: found an empty text"),
        (
            with("extractive_qa", json!({ "max_tokens": 0 })),
            "extractive_qa.max_tokens: found 0, expected 1 or more",
        ),
        (
            with("extractive_qa", json!({ "context": "question" })),
            "extractive_qa.context: found \"question\", the same field",
        ),
        (
            with("lemmatization", json!({ "min_count": 0 })),
            "lemmatization.min_count: found 0, expected 1 or more",
        ),
        (with("lemmatization", json!({ "dropout": 1 })), "lemmatization.dropout: found 1"),
        (
            with("lemmatization", json!({ "lemmas": "tokens" })),
            "lemmatization.lemmas: found \"tokens\", the same field",
        ),
        (
            with("masked_language_model", json!({ "text": "text", "percent": 0 })),
            "masked_language_model.percent: found 0, expected 1 to 100",
        ),
        (
            with("masked_language_model", json!({})),
            "masked_language_model: found neither `text` nor `tokens`",
        ),
        (
            with("dependency_parsing", json!({ "arc_width": 0 })),
            "dependency_parsing.arc_width: found 0, expected 1 to 4096",
        ),
        (
            with("dependency_parsing", json!({ "relation_width": 5000 })),
            "dependency_parsing.relation_width: found 5000",
        ),
        (with("dependency_parsing", json!({ "dropout": 1 })), "dependency_parsing.dropout: found 1"),
        (
            with("dependency_parsing", json!({ "heads": "deprel" })),
            "dependency_parsing.relations: found \"deprel\", which is another setting's field, too",
        ),
        (with("tagging", json!({ "dropout": 2 })), "task.intent.tagging.dropout: found 2"),
        (
            with("tagging", json!({ "crf": true, "label_smoothing": 0.1 })),
            "tagging.label_smoothing: found 0.1",
        ),
        (with("tagging", json!({ "tags": "tokens" })), "tagging.tags: found \"tokens\", the same field"),
        (
            with("tagging", json!({ "scheme": "none", "constrained": true })),
            "tagging.constrained: found true",
        ),
        (
            with("tagging", json!({ "scheme": "none", "span_matching": "strict" })),
            "tagging.span_matching: found \"strict\", expected a scheme with spans",
        ),
    ] {
        let error = error(config);
        assert!(error.contains(says), "{error}");
    }
    let mut config = with("tagging", json!({}));
    config["metric"] = json!("accuracy");
    let allowed = "span_f1, span_precision, span_recall, span_macro_f1, token_accuracy";
    assert_eq!(error(config), format!("task.intent.metric: found \"accuracy\", expected one of {allowed}"));
    let mut config = number(json!({}));
    config["metric"] = json!("rmse");
    assert!(error(config).contains("task.intent.metric: found \"rmse\", expected one of pearson, spearman"));
}

#[test]
fn misspelt_keys_and_values_are_refused() {
    let error = parse(with("classification", json!({ "text": "t", "lable": "y" }))).unwrap_err();
    assert!(error.contains("unknown field `lable`") && error.contains("`label`"), "{error}");
    let error = parse(with("tagging", json!({ "scheme": "iob3" }))).unwrap_err();
    assert!(error.contains("`auto`, `bio`, `iob1`"), "{error}");
    let error = parse(with("classification", json!({ "text": "t", "label": "y", "class_weights": "even" })));
    assert!(error.unwrap_err().contains("expected \"none\", \"balanced\", or a table"));
}

#[test]
fn class_weights_have_three_forms() {
    let weights = |value: Value| {
        let config =
            parse(with("classification", json!({ "text": "t", "label": "y", "class_weights": value })));
        config.unwrap().classification.unwrap().class_weights
    };
    assert_eq!(weights(json!("none")), ClassWeights::default());
    assert_eq!(weights(json!("balanced")), ClassWeights::Named(NamedWeights::Balanced));
    assert_eq!(weights(json!({ "a": 2 })), ClassWeights::Table([("a".to_owned(), 2.0)].into()));
}

#[test]
fn a_resolved_config_reads_the_same_again() {
    let config = parse(with("classification", json!({ "text": "t", "label": "y" }))).unwrap();
    let written = serde_json::to_value(&config).unwrap();
    let expected = json!({ "corpus": "c", "classification": {
        "text": "t", "label": "y", "class_weights": "none", "label_smoothing": 0.0,
        "dropout": 0.1f32, "max_labels": 1000,
    } });
    assert_eq!(written, expected);
    assert_eq!(serde_json::to_value(parse(written).unwrap()).unwrap(), expected);
}

#[test]
fn every_kind_is_documented_and_in_the_schema() {
    let schema = serde_json::to_value(schemars::schema_for!(TaskConfig)).unwrap();
    for (name, source) in CATALOGUE {
        assert!(
            source.starts_with("//! ") && source.contains("//! Example: `"),
            "{name} lacks a leading comment"
        );
        assert!(schema["properties"][*name]["description"].is_string(), "{name} is not in the schema");
    }
}

#[test]
fn two_texts_are_one_input() {
    let tables = [
        ("classification", json!({ "label": "y" })),
        ("multi_label", json!({ "labels": "y" })),
        ("regression", json!({ "value": "y" })),
        ("ordinal_regression", json!({ "label": "y", "order": ["a", "b"] })),
    ];
    for (kind, mut table) in tables {
        table["text"] = json!("premise");
        table["pair"] = json!("hypothesis");
        let input = parse(with(kind, table)).unwrap().build("t").unwrap().input();
        assert_eq!(input, data::InputField::Pair("premise".into(), "hypothesis".into()));
    }
}

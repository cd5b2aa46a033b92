//! Relations from config to answers: between marked spans, and between entities that are found.

use crate::bench::Bench;
use serde_json::{Value, json};
use std::fs;

const CONFIG: &str = r#"[model]
backbone = { bert = { layers = 1, hidden = 16, heads = 2, max_length = 32 } }

[tokenizer]
size = 400

[data]
max_length = 32

[corpus.marked]
train = "marked.jsonl"
validation = "marked.jsonl"

[corpus.whole]
train = "whole.jsonl"
validation = "whole.jsonl"

[task.kin]
corpus = "marked"
relation_classification = { text = "text", label = "relation" }

[task.kin_of_words]
corpus = "whole"
relation_classification = { tokens = "tokens", label = "first", markers = false }

[task.graph]
corpus = "whole"
entities_relations = { max_width = 3, span_dim = 16 }

[optimizer.adamw]
learning_rate = 0.01

[train]
epochs = 25
tokens_per_batch = 128
threads = 1
"#;

const NAMES: [&str; 4] = ["Ann", "Bob", "Cid", "Dee"];

/// A sentence of five words, whose first and last are names: the last likes the first where the verb is "pleases".
fn marked(i: usize) -> Value {
    let (a, b) = (NAMES[i % 4], NAMES[(i / 4 + 1) % 4]);
    let verb = ["likes", "pleases", "and"][i % 3];
    let relation = ["Like(e1,e2)", "Like(e2,e1)", "Other"][i % 3];
    json!({ "text": format!("{a} {verb} {b} ."), "head": [0, 3], "tail": [5 + verb.len(), 8 + verb.len()], "relation": relation })
}

fn whole(i: usize) -> Value {
    let (a, b) = (NAMES[i % 4], NAMES[(i / 4 + 1) % 4]);
    let verb = ["likes", "pleases", "and"][i % 3];
    let entity = |at: usize| json!({ "start": at, "end": at + 1, "type": "person" });
    let relation =
        |head: usize| json!({ "head": [head, head + 1], "tail": [2 - head, 3 - head], "type": "like" });
    let first = ["to", "from", "none"][i % 3];
    let relations = [vec![relation(0)], vec![relation(2)], vec![]][i % 3].clone();
    json!({
        "tokens": [a, verb, b, "."], "head": [0, 1], "tail": [2, 3], "first": first,
        "entities": [entity(0), entity(2)], "relations": relations,
    })
}

#[test]
fn relations_go_from_config_to_answers() {
    let bench = Bench::new();
    let lines = |row: fn(usize) -> Value| (0..96).map(|i| row(i).to_string()).collect::<Vec<_>>().join("\n");
    bench.write("marked.jsonl", lines(marked));
    bench.write("whole.jsonl", lines(whole));
    bench.write("relations.toml", CONFIG);
    let check = bench.run(&["check", "relations.toml"]);
    assert!(check.ok, "{}", check.err);
    assert!(
        check.out.contains("text + head + tail") && check.out.contains("tokens + head + tail"),
        "{}",
        check.out
    );
    let trained = bench.run(&["train", "relations.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);
    let scored = bench.run(&["evaluate", "run", "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    let card: Value =
        serde_json::from_slice(&fs::read(bench.path("run/model/polytask.json")).unwrap()).unwrap();
    for (task, metric) in [("kin", "directed_f1"), ("kin_of_words", "directed_f1"), ("graph", "mean_f1")] {
        let found = scores["tasks"][task]["scores"][metric].as_f64().unwrap();
        let in_the_run = card["validation"][task][metric].as_f64().unwrap();
        assert!((found - in_the_run).abs() < 1e-6, "{task}.{metric}: {found} against {in_the_run}");
        assert!(found > 0.5, "{task}.{metric}: {found}");
    }

    let lines = [
        json!({ "text": "Ann likes Bob .", "head": [0, 3], "tail": [10, 13] }),
        json!({ "tokens": ["Ann", "likes", "Bob", "."], "head": [0, 1], "tail": [2, 3] }),
        json!({ "text": "Ann likes Bob ." }),
        json!({ "text": "Ann likes Bob .", "head": [0, 3] }),
        json!({ "text": "Ann likes Bob .", "head": [0, 3], "tail": [10, 99] }),
    ];
    let lines = lines.map(|line| line.to_string()).join("\n");
    let answered = bench.feed(&["predict", "run"], lines.as_bytes());
    assert_eq!(answered.code, 3, "{}", answered.err);
    let answers: Vec<Value> = answered.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let tasks = |answer: &Value| answer["tasks"].as_object().map_or(0, |tasks| tasks.len());
    assert_eq!(answers.iter().map(tasks).collect::<Vec<_>>(), [3, 3, 3, 3, 3], "{answers:#?}");
    assert_eq!((&answers[0]["text"], &answers[1]["text"]), (&answers[2]["text"], &json!("Ann likes Bob .")));
    // Words and text are the same row, and so are the spans.
    assert_eq!(answers[0]["tasks"]["kin"], answers[1]["tasks"]["kin"]);
    assert!(answers[0]["tasks"]["kin"]["label"].is_string());
    let graph = &answers[2]["tasks"]["graph"];
    for entity in graph["entities"].as_array().unwrap() {
        let [start, end] = ["start", "end"].map(|name| entity[name].as_u64().unwrap() as usize);
        assert_eq!(entity["text"], "Ann likes Bob ."[start..end]);
    }
    assert!(graph["relations"].is_array(), "{graph}");
    assert_eq!(answers[3]["tasks"]["kin"]["error"], "no field `tail`; found text, head");
    let error = answers[4]["tasks"]["kin"]["error"].as_str().unwrap();
    assert!(error.contains("field \"tail\": found [10, 99]"), "{error}");
    let text = bench.feed(&["predict", "run"], b"Ann likes Bob .\n");
    let answer: Value = serde_json::from_str(&text.out).unwrap();
    let error = answer["tasks"]["kin"]["error"].as_str().unwrap();
    assert!(error.starts_with("a line of plain text has no field"), "{error}");
    assert!(answer["tasks"]["graph"]["entities"].is_array(), "{answer}");
}

#[test]
fn bad_spans_and_entities_are_told_with_their_places() {
    let bench = Bench::new();
    let mut rows = [marked(0), marked(1), marked(2)];
    rows[1]["tail"] = json!([5, 500]);
    bench.write("marked.jsonl", rows.map(|row| row.to_string()).join("\n"));
    let mut rows = [whole(0), whole(1), whole(2)];
    rows[2]["entities"][0]["end"] = json!(9);
    bench.write("whole.jsonl", rows.map(|row| row.to_string()).join("\n"));
    bench.write("relations.toml", CONFIG);
    let check = bench.run(&["check", "relations.toml"]);
    assert_eq!(check.code, 2, "{}", check.err);
    assert!(check.err.contains("marked.jsonl:2: field \"tail\": found [5, 500]"), "{}", check.err);
    bench.write("marked.jsonl", [marked(0), marked(1), marked(2)].map(|row| row.to_string()).join("\n"));
    let check = bench.run(&["check", "relations.toml"]);
    let said = check.out.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        check.ok && said.contains("1 of 3 training rows have entities that lie outside"),
        "{said}{}",
        check.err
    );
}

/// What a run proposes to try at its end is answered, also by a model that reads no plain text.
#[test]
fn the_line_to_try_is_answered() {
    let bench = Bench::new();
    bench.write("marked.jsonl", (0..12).map(|i| marked(i).to_string()).collect::<Vec<_>>().join("\n"));
    bench.write("whole.jsonl", (0..12).map(|i| whole(i).to_string()).collect::<Vec<_>>().join("\n"));
    let (before, rest) = CONFIG.split_once("[task.graph]").unwrap();
    let (_, after) = rest.split_once("[optimizer.adamw]").unwrap();
    let only_spans = format!("{before}[optimizer.adamw]{}", after.replace("epochs = 25", "epochs = 1"));
    bench.write("relations.toml", &only_spans);
    let trained = bench.run(&["train", "relations.toml", "--run", "run"]);
    let proposed = trained.out.split_once("echo '").and_then(|(_, rest)| rest.split_once("' | polytask"));
    let (line, _) = proposed.unwrap_or_else(|| panic!("{}", trained.out));
    let answered = bench.feed(&["predict", "run"], line.as_bytes());
    assert!(answered.ok && answered.out.contains("\"kin\""), "{line}: {}", answered.out);
}

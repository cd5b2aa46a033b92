//! Two tasks with one head: labels of both, learned from the rows of both, under methods that look at losses and at gradients.

use crate::bench::Bench;
use serde_json::{Value, json};

const CONFIG: &str = r#"[model]
backbone = { bag = { width = 32 } }

[corpus.zoo]
train = "zoo.jsonl"
validation = "zoo.jsonl"

[corpus.farm]
train = "farm.jsonl"
validation = "farm.jsonl"

[task.farm]
corpus = "farm"
head = "zoo"
classification = { text = "text", label = "sort" }

[task.zoo]
corpus = "zoo"
classification = { text = "animal", label = "class" }

[optimizer.adamw]
learning_rate = 0.02

[train]
epochs = 20
tokens_per_batch = 128
threads = 1
eval_steps = 100000
"#;

/// Animals of both corpora; the farm has no fish.
const ANIMALS: [(&str, &str); 6] = [
    ("owl", "bird"),
    ("duck", "bird"),
    ("cat", "mammal"),
    ("horse", "mammal"),
    ("trout", "fish"),
    ("pike", "fish"),
];

#[test]
fn a_shared_head_knows_what_either_task_has_learned() {
    let bench = Bench::new();
    let lines = |count: usize, text: &str, label: &str| {
        let row = |i: usize| json!({ text: format!("a small {}", ANIMALS[i % count].0), label: ANIMALS[i % count].1 });
        (0..24).map(|i| row(i).to_string()).collect::<Vec<_>>().join("\n")
    };
    bench.write("zoo.jsonl", lines(6, "animal", "class"));
    bench.write("farm.jsonl", lines(4, "text", "sort"));
    bench.write("shared.toml", CONFIG);
    for balance in ["equal", "upgrad"] {
        let chosen = format!("balance={{{balance}={{}}}}");
        let trained = bench.run(&["train", "shared.toml", "--run", balance, "--set", &chosen]);
        assert!(trained.ok, "{}", trained.err);
        // The farm's task was never shown a fish, and its head was.
        let answered = bench.feed(&["predict", balance], b"a small trout\na small duck\n");
        assert!(answered.ok, "{}", answered.err);
        let answers: Vec<Value> =
            answered.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        for (line, expected) in [(0, "fish"), (1, "bird")] {
            let tasks = &answers[line]["tasks"];
            assert_eq!(tasks["farm"]["label"], expected, "{balance}");
            assert_eq!(tasks["farm"], tasks["zoo"], "{balance}");
        }
    }
}

#[test]
fn three_tasks_with_one_head_count_each_row_once_and_keep_the_order_of_a_scale() {
    let bench = Bench::new();
    let stars = ["low", "high"];
    let row = |i: usize| json!({ "text": format!("{} price", stars[i % 2]), "label": stars[i % 2] });
    bench.write("rows.jsonl", (0..8).map(|i| row(i).to_string()).collect::<Vec<_>>().join("\n"));
    let kind = "ordinal_regression = { text = \"text\", label = \"label\", order = [\"low\", \"high\"] }";
    let task = |name: &str, head: &str| format!("[task.{name}]\ncorpus = \"rows\"\n{head}\n{kind}\n");
    let [second, third] = ["second", "third"].map(|name| task(name, "head = \"first\""));
    let head = "[model]\nbackbone = { bag = { width = 16 } }\n[train]\nepochs = 1\nthreads = 1\n[corpus.rows]\ntrain = \"rows.jsonl\"\n";
    bench.write("three.toml", head.to_owned() + &task("first", "") + &second + &third);
    let trained = bench.run(&["train", "three.toml", "--run", "three"]);
    assert!(trained.ok, "{}", trained.err);
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(bench.path("three/model/polytask.json")).unwrap()).unwrap();
    for task in manifest["tasks"].as_array().unwrap() {
        assert_eq!(task["label_space"], json!({ "labels": ["low", "high"], "counts": [12, 12] }));
    }
}

#[test]
fn heads_of_different_sizes_are_refused() {
    let bench = Bench::new();
    let tags = [["B-x", "O"], ["O", "B-y"]];
    let row = |i: usize| json!({ "tokens": ["a", "b"], "tags": tags[i % 2] });
    bench.write("rows.jsonl", (0..8).map(|i| row(i).to_string()).collect::<Vec<_>>().join("\n"));
    let task = |name: &str, more: &str, crf: bool| {
        format!(
            "[task.{name}]\ncorpus = \"rows\"\n{more}\ntagging = {{ tokens = \"tokens\", tags = \"tags\", crf = {crf} }}\n"
        )
    };
    let rest = "[model]\nbackbone = { bag = {} }\n[corpus.rows]\ntrain = \"rows.jsonl\"\n";
    bench.write(
        "rows.toml",
        format!("{rest}{}{}", task("plain", "", false), task("crf", "head = \"plain\"", true)),
    );
    let refused = bench.run(&["check", "rows.toml"]);
    assert!(!refused.ok);
    let says = "task.crf.head: found \"plain\": the shared head has no such parameter head.plain";
    assert!(refused.err.contains(says), "{}", refused.err);
}

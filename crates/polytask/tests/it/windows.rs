//! Texts that are longer than a sequence, read in windows, from config to answers.

use crate::bench::Bench;
use serde_json::{Value, json};
use std::fs;

const CONFIG: &str = r#"[model]
backbone = { bert = { layers = 1, hidden = 32, heads = 2, max_length = 24, dropout = 0.0 } }

[tokenizer]
size = 400

[data]
max_length = 24

[corpus.notes]
train = "notes.jsonl"
validation = "notes.jsonl"

[task.topic]
corpus = "notes"
classification = { text = "text", label = "topic", windows = { overlap = 6, most = 6 } }

[task.names]
corpus = "notes"
tagging = { tokens = "tokens", tags = "tags", windows = { overlap = 6, most = 6 } }

[task.grade]
corpus = "notes"
regression = { text = "text", value = "grade", windows = { overlap = 4, most = 9 }, pooling = "first" }

[optimizer.adamw]
learning_rate = 0.003

[train]
epochs = 25
tokens_per_batch = 512
threads = 1
eval_steps = 100000
"#;

/// Some fifty words, of which those that matter stand behind the first 24 tokens.
fn note(i: usize) -> Value {
    let (topic, word) = [("sport", "goal"), ("money", "shares")][i % 2];
    let name = ["Ada", "Boris", "Chloe"][i % 3];
    let mut words = vec!["and"; 46];
    words[28 + i * 5 % 16] = name;
    words[44] = word;
    let tags: Vec<&str> = words.iter().map(|word| if *word == name { "B-name" } else { "O" }).collect();
    json!({ "text": words.join(" "), "tokens": words, "tags": tags, "topic": topic, "grade": i % 2 })
}

#[test]
fn long_texts_are_read_whole_in_windows() {
    let bench = Bench::new();
    let lines: Vec<String> = (0..48).map(|i| note(i).to_string()).collect();
    bench.write("notes.jsonl", lines.join("\n"));
    bench.write("windows.toml", CONFIG);
    let check = bench.run(&["check", "windows.toml"]);
    assert!(check.ok && !check.out.contains("lost to max_length"), "{}{}", check.out, check.err);
    let trained = bench.run(&["train", "windows.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);
    let scored = bench.run(&["evaluate", "run", "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    let score = |task: &str, metric: &str| scores["tasks"][task]["scores"][metric].as_f64().unwrap();
    assert!(score("topic", "accuracy") > 0.9 && score("names", "span_f1") > 0.9, "{scores:#}");

    let answered = bench.feed(&["predict", "run"], lines.join("\n").as_bytes());
    let answers: Vec<Value> = answered.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 48, "{}", answered.err);
    let mut right = 0;
    let mut squares = 0.0;
    for (i, answer) in answers.iter().enumerate() {
        let (answer, row) = (&answer["tasks"], note(i));
        // Each word has one tag, and an entity lies where it is in the whole text.
        assert_eq!(answer["names"]["tags"].as_array().unwrap().len(), 46);
        for entity in answer["names"]["entities"].as_array().unwrap() {
            let [start, end] = ["start", "end"].map(|key| entity[key].as_u64().unwrap() as usize);
            assert_eq!(row["text"].as_str().unwrap()[start..end], *entity["text"].as_str().unwrap());
        }
        right += usize::from(answer["topic"]["label"] == row["topic"]);
        squares += (answer["grade"]["value"].as_f64().unwrap() - row["grade"].as_f64().unwrap()).powi(2);
    }
    assert!((right as f64 / 48.0 - score("topic", "accuracy")).abs() < 1e-9, "predict and evaluate agree");
    let rmse = (squares / 48.0).sqrt();
    assert!((rmse - score("grade", "rmse")).abs() < 1e-4, "{rmse} {scores:#}");

    // What lies beyond the last window is lost, and said.
    bench.edit("windows.toml", "tags = \"tags\", windows = { overlap = 6, most = 6 }", "tags = \"tags\"");
    let check = bench.run(&["check", "windows.toml"]);
    assert!(check.ok && check.out.contains("labels lost to max_length"), "{}{}", check.out, check.err);
}

/// Texts that fit one window are trained on and answered as without the key, to the bit.
#[test]
fn short_texts_are_what_they_are_without_windows() {
    let bench = Bench::new();
    assert!(bench.run(&["train", "job.toml", "--run", "plain"]).ok);
    bench.edit("job.toml", "label = \"topic\"", "label = \"topic\", windows = {}");
    bench.edit("job.toml", "tags = \"tags\"", "tags = \"tags\", windows = {}");
    let trained = bench.run(&["train", "job.toml", "--run", "windows"]);
    assert!(trained.ok, "{}", trained.err);
    for file in ["model.safetensors", "heads.safetensors"] {
        let read = |run: &str| fs::read(bench.path(run).join("model").join(file)).unwrap();
        assert!(read("plain") == read("windows"), "{file}");
    }
    let rows = fs::read(bench.path("test.jsonl")).unwrap();
    let answers = |run: &str| bench.feed(&["predict", run], &rows).out;
    assert_eq!(answers("plain"), answers("windows"));
}

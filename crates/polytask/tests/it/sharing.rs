//! Sharing schemes from config to answers.

use crate::bench::Bench;
use serde_json::{Value, json};

const CONFIG: &str = r#"[model]
backbone = { bert = { layers = 1, hidden = 32, heads = 2, dropout = 0.0 } }

[corpus.mail]
train = "mail.jsonl"
validation = "mail.jsonl"

[corpus.news]
train = "news.jsonl"
validation = "news.jsonl"

[task.mail]
corpus = "mail"
classification = { text = "text", label = "label" }

[task.news]
corpus = "news"
classification = { text = "text", label = "label" }

[sharing.lora]
rank = 4
freeze_base = false

[optimizer.adamw]
learning_rate = 0.005

[train]
epochs = 30
tokens_per_batch = 128
threads = 1
eval_steps = 100000
"#;

fn written(bench: &Bench) {
    let lines = |labels: [&str; 2]| {
        let row = |i: usize| json!({ "text": format!("a {} day", ["warm", "cold"][i % 2]), "label": labels[i % 2] });
        (0..24).map(|i| row(i).to_string()).collect::<Vec<_>>().join("\n")
    };
    bench.write("mail.jsonl", lines(["good", "bad"]));
    bench.write("news.jsonl", lines(["bad", "good"]));
    bench.write("job.toml", CONFIG);
}

#[test]
fn every_task_answers_with_its_own_update() {
    let bench = Bench::new();
    written(&bench);
    let trained = bench.run(&["train", "job.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);
    assert!(bench.path("run/model/sharing.safetensors").is_file());
    let answered = bench.feed(&["predict", "run"], b"a warm day\na cold day\n");
    assert!(answered.ok, "{}", answered.err);
    let answers: Vec<Value> = answered.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (answer, mail, news) in [(0, "good", "bad"), (1, "bad", "good")] {
        let tasks = &answers[answer]["tasks"];
        assert_eq!([&tasks["mail"]["label"], &tasks["news"]["label"]], [mail, news], "{answers:?}");
    }
}

#[test]
fn hard_sharing_is_the_default_and_schemes_are_explained() {
    let bench = Bench::new();
    written(&bench);
    let hard =
        ["train", "job.toml", "--run", "hard", "--set", "sharing.hard={}", "--set", "train.max_steps=1"];
    let trained = bench.run(&hard);
    assert!(trained.ok, "{}", trained.err);
    assert!(!bench.path("hard/model/sharing.safetensors").exists());
    let listed = bench.run(&["list", "sharing"]);
    assert!(listed.out.contains("hard") && listed.out.contains("lora"), "{}", listed.out);
    let explained = bench.run(&["explain", "lora"]);
    assert!(explained.out.contains("[sharing.lora]") && explained.out.contains("rank"), "{}", explained.out);
    let refused = bench.run(&["check", "job.toml", "--set", "sharing.lora.rank=0"]);
    assert!(refused.code == 2 && refused.err.contains("sharing.lora.rank"), "{}", refused.err);
}

//! Dataset embeddings from config to answers: two corpora with the same texts and contradicting labels, and one head.

use crate::bench::Bench;
use serde_json::{Value, json};

const CONFIG: &str = r#"[model]
backbone = { bert = { layers = 1, hidden = 32, heads = 2, dropout = 0.0 } }
dataset_embeddings = true

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
head = "mail"
classification = { text = "text", label = "label" }

[task.tone]
corpus = "news"
classification = { text = "text", label = "tone" }

[optimizer.adamw]
learning_rate = 0.005

[train]
epochs = 30
tokens_per_batch = 128
threads = 1
eval_steps = 100000
"#;

/// What one corpus calls good the other calls bad; they agree about the tone.
fn written(bench: &Bench) {
    let lines = |labels: [&str; 2]| {
        let row = |i: usize| {
            let [word, tone] = [["warm", "soft"], ["cold", "hard"]][i % 2];
            json!({ "text": format!("a {word} day"), "label": labels[i % 2], "tone": tone })
        };
        (0..24).map(|i| row(i).to_string()).collect::<Vec<_>>().join("\n")
    };
    bench.write("mail.jsonl", lines(["good", "bad"]));
    bench.write("news.jsonl", lines(["bad", "good"]));
    bench.write("job.toml", CONFIG);
}

fn accuracies(bench: &Bench, run: &str) -> [f64; 2] {
    let scored = bench.run(&["evaluate", run, "--split", "validation", "--json"]);
    assert!(scored.ok, "{}", scored.err);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    ["mail", "news"].map(|task| scores["tasks"][task]["scores"]["accuracy"].as_f64().unwrap())
}

#[test]
fn contradictions_are_learned_with_dataset_embeddings_alone() {
    let bench = Bench::new();
    written(&bench);
    let plain =
        bench.run(&["train", "job.toml", "--run", "plain", "--set", "model.dataset_embeddings=false"]);
    assert!(plain.ok, "{}", plain.err);
    // Without dataset embeddings both tasks give the same answer for a text, and one of them is wrong.
    let [mail, news] = accuracies(&bench, "plain");
    assert_eq!(mail + news, 1.0);
    assert!(!bench.path("plain/model/sharing.safetensors").exists());

    for balance in ["equal", "upgrad"] {
        let chosen = format!("balance={{{balance}={{}}}}");
        let trained = bench.run(&["train", "job.toml", "--run", balance, "--set", &chosen]);
        assert!(trained.ok, "{}", trained.err);
        assert_eq!(accuracies(&bench, balance), [1.0, 1.0], "{balance}");
        let answered = bench.feed(&["predict", balance], "a warm day\na cold day\n".as_bytes());
        assert!(answered.ok, "{}", answered.err);
        let answers: Vec<Value> = answered.out.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
        for (answer, mail, news, tone) in [(0, "good", "bad", "soft"), (1, "bad", "good", "hard")] {
            let tasks = &answers[answer]["tasks"];
            let found = ["mail", "news", "tone"].map(|task| tasks[task]["label"].clone());
            assert_eq!(found, [mail, news, tone], "{balance}");
        }
    }
    // As the backbone of another run a result has lost its dataset embeddings, and that is reported.
    for (model, lost) in [("plain/model", false), ("equal/model", true)] {
        let chosen = format!("model.backbone=\"{model}\"");
        let checked = bench.run(&["check", "job.toml", "--set", &chosen]);
        assert!(checked.ok, "{}", checked.err);
        assert_eq!(
            checked.err.contains("its dataset embeddings and sharing scheme are left out"),
            lost,
            "{}",
            checked.err
        );
    }
}

#[test]
fn check_and_plan_count_them_and_what_cannot_be_is_refused() {
    let bench = Bench::new();
    written(&bench);
    let told = |set: &[&str]| {
        let checked = bench.run(&[&["check", "job.toml"], set].concat());
        assert!(checked.ok, "{}", checked.err);
        let line = checked.out.lines().find(|line| line.contains("dataset embeddings"));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(told(&[]).as_deref(), Some("of them dataset embeddings 64 mail, news"));
    assert_eq!(told(&["--set", "model.dataset_embeddings=false"]), None);
    let planned = bench.run(&["plan", "job.toml"]);
    assert!(planned.ok, "{}", planned.err);
    let refused = bench.run(&["train", "job.toml", "--set", "model.freeze={layers=0}"]);
    assert_eq!(refused.code, 2);
    assert!(refused.err.contains("which `model.freeze` leaves as they are"), "{}", refused.err);
    let explained = bench.run(&["explain", "model"]);
    assert!(explained.out.contains("dataset_embeddings"), "{}", explained.out);
    let schema: Value = serde_json::from_str(&bench.run(&["schema"]).out).unwrap();
    assert_eq!(schema["$defs"]["ModelConfig"]["properties"]["dataset_embeddings"]["default"], false);
}

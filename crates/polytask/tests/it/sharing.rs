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

/// The updates of one run are where the next begins, by a folder for each task.
#[test]
fn a_run_begins_with_adapters_of_another() {
    let bench = Bench::new();
    written(&bench);
    let trained = bench.run(&["train", "job.toml", "--run", "run", "--set", "sharing.lora.freeze_base=true"]);
    assert!(trained.ok, "{}", trained.err);
    for task in ["mail", "news"] {
        assert!(bench.path(&format!("run/model/adapters/{task}/adapter_model.safetensors")).is_file());
    }
    // The same backbone, because it is frozen and drawn from the same seed.
    let begun = |name: &str, sets: &[&str]| {
        let train = ["train", "job.toml", "--run", name, "--set", "train.max_steps=1"];
        let frozen =
            ["--set", "sharing.lora.freeze_base=true", "--set", "optimizer.adamw.learning_rate=1e-9"];
        let sets = sets.iter().flat_map(|set| ["--set", *set]);
        bench.run(&train.into_iter().chain(frozen).chain(sets).collect::<Vec<_>>())
    };
    let from =
        "sharing.lora.init_from={ mail = \"run/model/adapters/mail\", news = \"run/model/adapters/news\" }";
    let again = begun("again", &[from]);
    assert!(again.ok, "{}", again.err);
    let close = |name: &str| {
        let [ours, theirs] = ["run", name].map(|run| {
            std::fs::read(bench.path(&format!("{run}/model/adapters/mail/adapter_model.safetensors")))
                .unwrap()
        });
        let numbers = |bytes: &[u8]| -> Vec<f32> {
            let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            bytes[8 + header..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        };
        let [ours, theirs] = [ours, theirs].map(|bytes| numbers(&bytes));
        ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-5)
    };
    assert!(close("again"));
    assert!(begun("anew", &[]).ok && !close("anew"));
    for (set, says) in [
        ("sharing.lora.init_from=\"nowhere\"", "nowhere: no model here: there is no such folder"),
        (
            "sharing.lora.init_from={ other = \"x\" }",
            "sharing.lora.init_from: found other, expected a task: mail, news",
        ),
        ("sharing.lora.rank=2", "set sharing.lora.rank to 4"),
    ] {
        let refused = begun("refused", &[from, set]);
        assert!(refused.code == 2 && refused.err.contains(says), "{}", refused.err);
    }
}

#[test]
fn every_scheme_is_explained() {
    let bench = Bench::new();
    for name in ["lora", "mtl_lora", "vera", "ia3", "poly", "hydra_lora"] {
        let explained = bench.run(&["explain", name]);
        let table = format!("[sharing.{name}]");
        assert!(explained.out.contains(&table) && explained.out.contains("freeze_base"), "{}", explained.out);
    }
    assert!(bench.run(&["explain", "DoRA"]).out.contains("[sharing.lora]"));
}

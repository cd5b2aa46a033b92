//! `polytask prune`: smaller models of what was trained a moment before, which are models as any other.

use crate::bench::{Bench, json, refused, succeed, trained};
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::time::Duration;

const BERT: &str = "{ bert = { layers = 3, hidden = 16, heads = 2, dropout = 0.1 } }";
const LLAMA: &str = "{ llama = { layers = 2, hidden = 32, heads = 4, kv_heads = 2, dropout = 0.0 } }";

/// The scores of all tasks on the validation split.
fn scores(bench: &Bench, run: &str) -> Vec<f64> {
    let ran = succeed(bench, &["evaluate", run, "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&ran).unwrap();
    let tasks = scores["tasks"].as_object().unwrap().values();
    tasks.map(|task| task["scores"][task["primary"].as_str().unwrap()].as_f64().unwrap()).collect()
}

#[test]
fn a_pruned_encoder_is_a_model_that_is_trained_further_with_its_heads() {
    let bench = trained(BERT, &["--set", "train.epochs=6"]);
    let told = succeed(
        &bench,
        &["prune", "whole", "--out", "small", "--ffn", "0.5", "--layers", "2", "--rows", "30"],
    );
    for expected in ["32 of 64 columns", "before any training", "rows per second", "train small/config.toml"]
    {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let config = json(&bench, "small/model/config.json");
    assert_eq!(
        (config["intermediate_size"].as_u64(), config["num_hidden_layers"].as_u64()),
        (Some(32), Some(2))
    );
    let record = json(&bench, "small/prune.json");
    assert_eq!(record["importance"].as_array().unwrap().len(), 2);
    assert!(record["importance"][0]["rows"] == 30 && record["kept"]["layers"].as_array().unwrap().len() == 2);
    let [whole, small] = ["before", "after"].map(|model| record[model]["parameters"].as_u64().unwrap());
    assert!(small < whole, "{record}");
    // Both are scored as `evaluate` scores them.
    for (run, of) in [("whole", "before"), ("small", "after")] {
        let mut found: Vec<f64> = scores(&bench, run);
        let mut told: Vec<f64> =
            record["tasks"].as_array().unwrap().iter().map(|task| task[of].as_f64().unwrap()).collect();
        found.sort_by(f64::total_cmp);
        told.sort_by(f64::total_cmp);
        assert_eq!(found, told, "{run}");
    }
    assert!(bench.feed(&["predict", "small"], b"shares fell on the market\n").ok);
    assert!(refused(&bench, &["train", "--resume", "small"]).contains("is a pruned model"));

    // Hardly a step, with hardly a rate: it begins with trunk, heads and labels of the pruned model.
    let still = [
        "--set",
        "train.epochs=1",
        "--set",
        "train.max_steps=1",
        "--set",
        "optimizer.adamw.learning_rate=1e-12",
    ];
    let head_rate = ["--set", "optimizer.adamw.head_learning_rate=1e-12"];
    succeed(&bench, &[&["train", "small/config.toml", "--run", "still"], &still[..], &head_rate].concat());
    assert_eq!(scores(&bench, "still"), scores(&bench, "small"));
    succeed(&bench, &["train", "small/config.toml", "--run", "tuned", "--set", "train.epochs=6"]);
    let sum = |run: &str| scores(&bench, run).iter().sum::<f64>();
    assert!(sum("tuned") >= sum("small") && sum("tuned") > 1.8, "{} {}", sum("tuned"), sum("small"));
    // The whole model teaches it, and a task that both do not have begins afresh.
    let more = ["--set", "distill.teacher=whole", "--set", "train.epochs=2"];
    let told = succeed(&bench, &[&["distill", "small/config.toml", "--run", "taught"], &more[..]].concat());
    assert!(told.contains("topic learns from") && told.contains("the student has 0."), "{told}");
    let more = [
        "--set",
        "task.second={ corpus = \"news\", classification = { text = \"text\", label = \"topic\" } }",
    ];
    succeed(
        &bench,
        &[&["train", "small/config.toml", "--run", "more"], &more[..], &still, &head_rate].concat(),
    );
    let (of_small, of_more) = (scores(&bench, "small"), scores(&bench, "more"));
    assert!(
        of_more.len() == 3 && of_small.iter().all(|score| of_more.contains(score)),
        "{of_small:?} {of_more:?}"
    );
    // What is left can be cut again.
    succeed(&bench, &["prune", "tuned", "--out", "smaller", "--ffn", "0.5", "--rows", "8", "--json"]);
    assert_eq!(json(&bench, "smaller/model/config.json")["intermediate_size"], 16);
}

#[test]
fn groups_of_heads_of_a_decoder_are_cut() {
    let bench = trained(LLAMA, &[]);
    succeed(&bench, &["prune", "whole", "--out", "same", "--heads", "1.0", "--ffn", "1.0", "--rows", "4"]);
    assert_eq!(scores(&bench, "same"), scores(&bench, "whole"), "all has stayed");
    let told = succeed(
        &bench,
        &[
            "prune", "whole", "--out", "small", "--heads", "0.5", "--ffn", "0.75", "--rows", "20", "--split",
            "test",
        ],
    );
    assert!(told.contains("1 of 2 groups of heads"), "{told}");
    let config = json(&bench, "small/model/config.json");
    let sizes = ["num_attention_heads", "num_key_value_heads", "head_dim"].map(|key| config[key].as_u64());
    assert_eq!(sizes, [Some(2), Some(1), Some(8)]);
    assert_eq!(scores(&bench, "small").len(), 2);
    succeed(&bench, &["export", "small", "--format", "onnx", "--out", "onnx"]);
}

#[test]
fn low_rank_updates_are_folded_into_what_is_cut() {
    let lora = ["--set", "sharing.lora={ rank = 2, shared = true }"];
    let bench = trained(BERT, &lora);
    succeed(&bench, &["prune", "whole", "--out", "same", "--ffn", "1.0", "--rows", "4"]);
    assert_eq!(scores(&bench, "same"), scores(&bench, "whole"));
    assert!(!bench.path("same/model/sharing.safetensors").exists());
    let bench = trained(BERT, &["--set", "sharing.mtl_lora={}"]);
    let told = refused(&bench, &["prune", "whole", "--out", "small", "--ffn", "0.5"]);
    assert!(told.contains("different weights of the trunk"), "{told}");
    assert!(!bench.path("small").exists(), "nothing is written");
}

#[test]
fn layers_go_by_the_losses_without_them() {
    let bench = trained(BERT, &["--set", "train.epochs=3"]);
    let told = succeed(
        &bench,
        &["prune", "whole", "--out", "small", "--layers", "1", "--layers-by", "loss", "--rows", "20"],
    );
    assert!(told.contains("went, in this order"), "{told}");
    let record = json(&bench, "small/prune.json");
    let losses = record["without_layers"]["losses"].as_array().unwrap();
    // The whole, each of three, and each of the two that are left.
    assert_eq!(losses.len(), 6, "{record}");
    let of = |layers: Value| {
        let found =
            losses.iter().find(|found| found["layers"] == layers).unwrap_or_else(|| panic!("{layers}"));
        found["losses"].as_array().unwrap().iter().map(|loss| loss.as_f64().unwrap()).collect::<Vec<f64>>()
    };
    let order: Vec<u64> = record["without_layers"]["order"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| layer.as_u64().unwrap())
        .collect();
    let whole = of(serde_json::json!([]));
    let harm = |layers: &[u64]| {
        let losses = of(serde_json::json!(layers));
        losses.iter().zip(&whole).map(|(loss, whole)| loss / whole).sum::<f64>()
    };
    assert!((0..3).all(|layer| harm(&[order[0]]) <= harm(&[layer])), "{record}");
    let kept: Vec<u64> = (0..3).filter(|layer| !order.contains(layer)).collect();
    assert_eq!(record["kept"]["layers"], serde_json::json!(kept));
}

#[test]
fn the_width_of_states_is_cut_with_what_reads_them() {
    for (backbone, sizes) in [(BERT, [Some(8), Some(1), None]), (LLAMA, [Some(24), Some(4), Some(8)])] {
        let bench = trained(backbone, &["--set", "train.epochs=4"]);
        let hidden = sizes[0].unwrap().to_string();
        let told =
            succeed(&bench, &["prune", "whole", "--out", "small", "--hidden", &hidden, "--rows", "20"]);
        assert!(told.contains("hidden"), "{told}");
        let config = json(&bench, "small/model/config.json");
        let found = ["hidden_size", "num_attention_heads", "head_dim"].map(|key| config[key].as_u64());
        assert_eq!(found, sizes.map(|size| size.map(|size: u64| size)), "{config}");
        assert_eq!(scores(&bench, "small").len(), 2);
        let kept = json(&bench, "small/prune.json")["kept"]["hidden"].as_array().unwrap().len();
        assert_eq!(Some(kept as u64), sizes[0]);
        assert!(bench.feed(&["predict", "small"], b"shares fell on the market\n").ok);
        succeed(&bench, &["train", "small/config.toml", "--run", "tuned", "--set", "train.epochs=4"]);
        let sum = |run: &str| scores(&bench, run).iter().sum::<f64>();
        assert!(sum("tuned") >= sum("small"), "{} {}", sum("tuned"), sum("small"));
    }
}

#[test]
fn a_command_that_was_killed_goes_on_with_what_it_measured() {
    let bench = trained(BERT, &["--set", "train.epochs=1"]);
    let command = |out: &'static str| {
        [
            "prune",
            "whole",
            "--out",
            out,
            "--ffn",
            "0.5",
            "--layers",
            "2",
            "--layers-by",
            "loss",
            "--rows",
            "60",
        ]
    };
    succeed(&bench, &command("whole-way"));
    let mut child =
        bench.command(&command("killed")).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let (kept, done) = (bench.path("killed/measured.json"), bench.path("killed/prune.json"));
    while !kept.exists() && !done.exists() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if done.exists() {
        return; // It was too fast to be killed.
    }
    let again = bench.run(&command("killed"));
    assert!(again.ok && again.err.contains("are not made again"), "{}{}", again.out, again.err);
    assert!(!kept.exists());
    let [a, b] = ["whole-way", "killed"].map(|out| json(&bench, &format!("{out}/prune.json")));
    for key in ["importance", "without_layers", "kept", "tasks"] {
        assert_eq!(a[key], b[key], "{key}");
    }
    let [a, b] = ["whole-way", "killed"]
        .map(|out| fs::read(bench.path(&format!("{out}/model/model.safetensors"))).unwrap());
    assert!(a == b);
    // What is complete is not written over, and what is of another model is not taken.
    assert!(refused(&bench, &command("killed")).contains("killed"));
    let other = bench.path("other/measured.json");
    fs::create_dir_all(other.parent().unwrap()).unwrap();
    fs::write(&other, r#"{"fingerprint": {"version": "0"}, "importance": [], "losses": []}"#).unwrap();
    let told = bench.run(&["prune", "whole", "--out", "other", "--ffn", "0.5", "--rows", "4"]);
    assert!(told.ok && told.err.contains("all is measured again"), "{}{}", told.out, told.err);
    bench.write("stranger/measured.json", "{}");
    bench.write("stranger/file", "x");
    assert!(
        refused(&bench, &["prune", "whole", "--out", "stranger", "--ffn", "0.5"]).contains("is not empty")
    );
}

#[test]
fn a_model_is_pruned_while_it_is_trained() {
    let pruning =
        ["--set", "pruning={ ffn = 0.5, begin = 0.2, end = 0.6, every = 2 }", "--set", "train.epochs=6"];
    let bench = trained(BERT, &pruning);
    assert_eq!(json(&bench, "whole/model/config.json")["intermediate_size"], 32);
    let metrics = fs::read_to_string(bench.path("whole/metrics.jsonl")).unwrap();
    let cuts: Vec<Value> = metrics
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|event| event["event"] == "pruned")
        .collect();
    let last = cuts.last().unwrap();
    assert!(last["ffn"] == 0.5 && last["complete"] == true, "{last}");
    assert_eq!(scores(&bench, "whole").len(), 2);
    assert!(bench.feed(&["predict", "whole"], b"shares fell on the market\n").ok);
    // A student is pruned on the way, too.
    let more = ["--set", "distill.teacher=whole", "--set", "pruning.ffn=0.5"];
    let backbone = format!("model.backbone={BERT}");
    succeed(&bench, &[&["distill", "job.toml", "--run", "taught", "--set", &backbone], &more[..]].concat());
    assert_eq!(json(&bench, "taught/model/config.json")["intermediate_size"], 32);
    let bag = [
        "train",
        "job.toml",
        "--run",
        "none",
        "--set",
        "model.backbone={ bag = { width = 16, window = 1 } }",
        "--set",
        "pruning.ffn=0.5",
    ];
    let told = refused(&bench, &bag);
    assert!(told.contains("pruning.ffn") && told.contains("leave [pruning] out"), "{told}");
}

#[test]
fn what_cannot_be_cut_is_refused_before_anything_is_written() {
    let bench = trained(BERT, &["--set", "train.epochs=1"]);
    let prune = |more: &[&str]| refused(&bench, &[&["prune", "whole", "--out", "small"], more].concat());
    for (more, told) in [
        (&[][..], "nothing to cut"),
        (&["--heads", "0.5"], "hidden_size / num_attention_heads"),
        (&["--heads", "0.5"], "prune --hidden"),
        (&["--hidden", "12"], "a multiple of 8 up to 16"),
        (&["--hidden", "0"], "a multiple of 8 up to 16"),
        (&["--ffn", "0"], "above 0"),
        (&["--ffn", "1.5"], "at most 1"),
        (&["--ffn", "-1"], "above 0"),
        (&["--layers", "4"], "expected 1 to 3"),
        (&["--layers", "0"], "expected 1 to 3"),
        (&["--ffn", "0.5", "--rows", "0"], "1 or more"),
        (&["--ffn", "0.5", "--split", "dev"], "expected train, validation or test"),
        (&["--ffn", "0.5", "--layers-by", "importance"], "--layers"),
    ] {
        let found = prune(more);
        assert!(found.contains(told), "{more:?}: {found}");
        assert!(!bench.path("small").exists(), "{more:?}");
    }
    assert!(refused(&bench, &["prune", "nowhere", "--out", "small", "--ffn", "0.5"]).contains("is no run"));
    bench.write("full/file", "x");
    assert!(refused(&bench, &["prune", "whole", "--out", "full", "--ffn", "0.5"]).contains("full"));
    let bag = trained("{ bag = { width = 16, window = 1 } }", &["--set", "train.epochs=1"]);
    let found = refused(&bag, &["prune", "whole", "--out", "small", "--ffn", "0.5"]);
    assert!(found.contains("config.json could say"), "{found}");
    let found = refused(&bag, &["prune", "whole", "--out", "small", "--layers", "1"]);
    assert!(found.contains("--layers: the backbone"), "{found}");
}

#[test]
fn heads_of_another_model_have_to_fit() {
    let bench = trained(BERT, &["--set", "train.epochs=1"]);
    let with = |more: &[&str]| {
        let heads = [
            "--set",
            "model.backbone=whole/model",
            "--set",
            "model.heads=whole",
            "--set",
            "train.max_steps=1",
        ];
        bench.run(&[&["train", "job.toml", "--run", "again"], &heads[..], more].concat())
    };
    for (more, told) in [
        (&["--set", "model.heads=nowhere"][..], "model.heads"),
        (&["--set", "model.backbone={ bert = { layers = 1, hidden = 24, heads = 2 } }"], "head.topic.weight"),
        (&["--set", "task.tags.tagging.crf=true"], "model.heads"),
    ] {
        let ran = with(more);
        assert!(ran.code == 2 && ran.err.contains(told), "{more:?}: {}{}", ran.out, ran.err);
    }
    let other = fs::read_to_string(bench.path("job.toml")).unwrap().replace("[task.topic]", "[task.subject]");
    bench.write("job.toml", other.replace("[task.tags]", "[task.topic]"));
    let ran = with(&[]);
    assert!(ran.code == 2 && ran.err.contains("classification there and tagging here"), "{}", ran.err);
}

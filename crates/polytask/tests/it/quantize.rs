//! `polytask quantize`: int8 models of what was trained a moment before, which are models as any other.

use crate::bench::{Bench, Ran};
use serde_json::Value;
use std::fs;

const BACKBONES: [&str; 2] = [
    "{ bert = { layers = 2, hidden = 32, heads = 2, dropout = 0.1 } }",
    "{ llama = { layers = 2, hidden = 32, heads = 4, kv_heads = 2, dropout = 0.0 } }",
];

fn succeed(bench: &Bench, arguments: &[&str]) -> String {
    let ran = bench.run(arguments);
    assert!(ran.ok, "{arguments:?}: {}{}", ran.out, ran.err);
    ran.out
}

fn json(bench: &Bench, path: &str) -> Value {
    serde_json::from_slice(&fs::read(bench.path(path)).unwrap()).unwrap()
}

fn bytes(bench: &Bench, path: &str) -> u64 {
    fs::metadata(bench.path(path)).unwrap().len()
}

#[test]
fn an_int8_model_is_smaller_and_answers_nearly_alike() {
    for backbone in BACKBONES {
        let bench = Bench::new();
        let set = format!("model.backbone={backbone}");
        succeed(&bench, &["train", "job.toml", "--run", "whole", "--set", &set, "--set", "train.epochs=6"]);
        let told = succeed(&bench, &["quantize", "whole", "--out", "small"]);
        assert!(told.contains("of the size on disk") && told.contains("rows per second"), "{told}");
        let record = json(&bench, "small/quantize.json");
        for task in record["tasks"].as_array().unwrap() {
            let [before, after] = ["before", "after"].map(|key| task[key].as_f64().unwrap());
            assert!((before - after).abs() < 0.1, "{backbone}: {task}");
        }
        let [f32, int8] =
            ["whole", "small"].map(|run| bytes(&bench, &format!("{run}/model/model.safetensors")));
        assert!(3 * int8 < 2 * f32, "{int8} of {f32}");
        let said = json(&bench, "small/model/config.json")["quantization_config"].clone();
        assert!(
            said["method"] == "polytask" && said.get("quant_method").is_none(),
            "other programs must not take bytes for weights"
        );

        // What was measured is what `evaluate` finds, and `predict` reads the model, too.
        let scored = succeed(&bench, &["evaluate", "small", "--split", "validation", "--json"]);
        let scored: Value = serde_json::from_str(&scored).unwrap();
        let first = &record["tasks"][0];
        let of = &scored["tasks"][first["task"].as_str().unwrap()]["scores"];
        assert_eq!(of[first["metric"].as_str().unwrap()], first["after"]);
        let Ran { ok, out, .. } = bench.feed(&["predict", "small"], b"{\"text\": \"a good day\"}\n");
        assert!(ok && out.contains("tasks"), "{out}");

        // It is quantized once, and trained further in f32.
        let twice = bench.run(&["quantize", "small", "--out", "smaller"]);
        assert!(twice.code == 2 && twice.err.contains("already"), "{}", twice.err);
        succeed(&bench, &["train", "small/config.toml", "--run", "tuned", "--set", "train.epochs=1"]);

        // What other commands read are the weights that the bytes stand for.
        succeed(&bench, &["prune", "small", "--out", "cut", "--ffn", "0.5", "--rows", "20"]);
        for task in json(&bench, "cut/prune.json")["importance"].as_array().unwrap() {
            assert!(
                task["layers"].as_array().unwrap().iter().all(|layer| layer.as_f64() > Some(0.0)),
                "{task}"
            );
        }
    }
}

#[test]
fn parts_stay_f32_where_a_task_would_lose_too_much() {
    let bench = Bench::new();
    let set = format!("model.backbone={}", BACKBONES[0]);
    succeed(&bench, &["train", "job.toml", "--run", "whole", "--set", &set, "--set", "train.epochs=2"]);
    succeed(&bench, &["quantize", "whole", "--out", "near", "--keep-score", "0"]);
    let record = json(&bench, "near/quantize.json");
    // The embeddings and two layers were tried alone.
    assert_eq!(record["sensitivity"].as_array().unwrap().len(), 3);
    for task in record["tasks"].as_array().unwrap() {
        assert!(task["before"].as_f64() <= task["after"].as_f64(), "{task}");
    }
    let refused = bench.run(&["quantize", "whole", "--out", "other", "--keep-score=-1"]);
    assert!(refused.code == 2 && refused.err.contains("0 or more"), "{}", refused.err);
}

#[test]
fn broken_scales_are_refused() {
    let bench = Bench::new();
    let set = format!("model.backbone={}", BACKBONES[0]);
    succeed(&bench, &["train", "job.toml", "--run", "whole", "--set", &set, "--set", "train.epochs=1"]);
    succeed(&bench, &["quantize", "whole", "--out", "small"]);
    let file = bench.path("small/model/model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let name = b".scales\"";
    let at = bytes.windows(name.len()).position(|window| window == name).unwrap();
    bytes[at + 1..at + 7].copy_from_slice(b"scalex");
    fs::write(&file, bytes).unwrap();
    // Without hashes the tensors themselves are looked at.
    let manifest = "small/model/polytask.json";
    let mut unchecked = json(&bench, manifest);
    for key in ["files", "blake3"] {
        unchecked.as_object_mut().unwrap().remove(key);
    }
    bench.write(manifest, unchecked.to_string());
    let checked = bench.run(&["train", "small/config.toml", "--run", "next"]);
    assert!(!checked.ok && checked.err.contains(".scales"), "{}", checked.err);
}

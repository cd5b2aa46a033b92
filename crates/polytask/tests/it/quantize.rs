//! `polytask quantize`: int8 models of what was trained a moment before, which are models as any other.

use crate::bench::{Bench, Ran, json, succeed};
use serde_json::Value;
use std::fs;

const BACKBONES: [&str; 2] = [
    "{ bert = { layers = 2, hidden = 32, heads = 2, dropout = 0.1 } }",
    "{ llama = { layers = 2, hidden = 32, heads = 4, kv_heads = 2, dropout = 0.0 } }",
];

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
fn a_model_of_four_bits_is_smaller_still() {
    for backbone in BACKBONES {
        let bench = Bench::new();
        let set = format!("model.backbone={backbone}");
        succeed(&bench, &["train", "job.toml", "--run", "whole", "--set", &set, "--set", "train.epochs=6"]);
        succeed(&bench, &["quantize", "whole", "--out", "eight"]);
        for rounding in ["hqq", "minmax", "gptq"] {
            let four = format!("four-{rounding}");
            let quantize = ["quantize", "whole", "--out", &four, "--bits", "4", "--rounding", rounding];
            let told = succeed(&bench, &quantize);
            assert!(told.contains("int4 takes"), "{told}");
            let record = json(&bench, &format!("{four}/quantize.json"));
            for task in record["tasks"].as_array().unwrap() {
                let [before, after] = ["before", "after"].map(|key| task[key].as_f64().unwrap());
                assert!((before - after).abs() < 0.2, "{backbone}: {task}");
            }
            let [int8, int4] =
                ["eight", &four].map(|run| bytes(&bench, &format!("{run}/model/model.safetensors")));
            assert!(8 * int4 < 7 * int8, "{int4} of {int8}");
            // What was measured is what `evaluate` finds.
            let scored = succeed(&bench, &["evaluate", &four, "--split", "validation", "--json"]);
            let scored: Value = serde_json::from_str(&scored).unwrap();
            let first = &record["tasks"][0];
            let of = &scored["tasks"][first["task"].as_str().unwrap()]["scores"];
            assert_eq!(of[first["metric"].as_str().unwrap()], first["after"]);
            let Ran { ok, out, .. } = bench.feed(&["predict", &four], b"{\"text\": \"a good day\"}\n");
            assert!(ok && out.contains("tasks"), "{out}");
        }
        let files = ["four-hqq", "four-minmax", "four-gptq"]
            .map(|run| fs::read(bench.path(&format!("{run}/model/model.safetensors"))).unwrap());
        assert!(files[0] != files[1] && files[1] != files[2] && files[2] != files[0]);
        succeed(&bench, &["train", "four-hqq/config.toml", "--run", "tuned", "--set", "train.epochs=1"]);
        let refused = bench.run(&["quantize", "four-hqq", "--out", "other"]);
        assert!(refused.code == 2 && refused.err.contains("already"), "{}", refused.err);
        let refused = bench.run(&["quantize", "whole", "--out", "other", "--rounding", "minmax"]);
        assert!(refused.code == 2 && refused.err.contains("--bits 4"), "{}", refused.err);
    }
}

#[test]
fn parts_get_more_bits_from_four_on() {
    let bench = Bench::new();
    let set = format!("model.backbone={}", BACKBONES[0]);
    succeed(&bench, &["train", "job.toml", "--run", "whole", "--set", &set, "--set", "train.epochs=2"]);
    let told = succeed(&bench, &["quantize", "whole", "--out", "near", "--bits", "4", "--keep-score", "0"]);
    assert!(told.contains("int4 alone"), "{told}");
    let record = json(&bench, "near/quantize.json");
    assert_eq!(record["sensitivity"].as_array().unwrap().len(), 3);
    for task in record["tasks"].as_array().unwrap() {
        assert!(task["before"].as_f64() <= task["after"].as_f64(), "{task}");
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
    for bits in ["8", "4"] {
        broken_scales(bits);
    }
}

fn broken_scales(bits: &str) {
    let bench = Bench::new();
    let set = format!("model.backbone={}", BACKBONES[0]);
    succeed(&bench, &["train", "job.toml", "--run", "whole", "--set", &set, "--set", "train.epochs=1"]);
    succeed(&bench, &["quantize", "whole", "--out", "small", "--bits", bits]);
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

#[test]
fn training_that_knows_of_the_rounding_is_scored_as_it_will_be() {
    let bench = Bench::new();
    let set = format!("model.backbone={}", BACKBONES[0]);
    for (to, quantize) in [("int8", &["--bits", "8"][..]), ("int4", &["--bits", "4", "--rounding", "minmax"])]
    {
        let (run, small) = (format!("aware-{to}"), format!("small-{to}"));
        let aware = format!("model.quantization_aware=\"{to}\"");
        let train =
            ["train", "job.toml", "--run", &run, "--set", &set, "--set", "train.epochs=3", "--set", &aware];
        succeed(&bench, &train);
        let asked = ["quantize", &run, "--out", &small];
        succeed(&bench, &[&asked[..], quantize].concat());
        // The last evaluation of the training saw what the codes stand for.
        let lines = fs::read_to_string(bench.path(&format!("{run}/metrics.jsonl"))).unwrap();
        let seen: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let best = seen
            .iter()
            .rfind(|event| {
                event["event"] == "evaluated" && event["best"] == true && event["split"] == "validation"
            })
            .expect("an evaluation");
        let record = json(&bench, &format!("{small}/quantize.json"));
        for task in record["tasks"].as_array().unwrap() {
            let name = task["task"].as_str().unwrap();
            let scored = &best["scores"][name][task["metric"].as_str().unwrap()];
            let (scored, after) = (scored.as_f64().expect("a score"), task["after"].as_f64().unwrap());
            // Inputs are rounded by int8 products alone.
            assert!(
                (scored - after).abs() < if to == "int8" { 0.1 } else { 1e-6 },
                "{to} {name}: {scored} {after}"
            );
        }
    }
    let refused =
        bench.run(&["train", "job.toml", "--run", "x", "--set", "model.quantization_aware=\"f32\""]);
    assert!(refused.code == 2 && refused.err.contains("not rounded"), "{}", refused.err);
}

#[test]
fn a_command_that_was_killed_is_started_again() {
    let bench = Bench::new();
    let set = format!("model.backbone={}", BACKBONES[0]);
    succeed(&bench, &["train", "job.toml", "--run", "whole", "--set", &set, "--set", "train.epochs=1"]);
    succeed(&bench, &["quantize", "whole", "--out", "right"]);
    // What a process leaves that is killed while it writes: the marker, and a part of the model.
    bench.write("small/unfinished.json", "{}");
    bench.write("small/model/config.json", "{");
    succeed(&bench, &["quantize", "whole", "--out", "small"]);
    assert!(!bench.path("small/unfinished.json").exists());
    let [a, b] = ["right", "small"]
        .map(|run| fs::read(bench.path(&format!("{run}/model/model.safetensors"))).unwrap());
    assert!(a == b);
    // What is complete is not written over, nor what is somebody else's.
    bench.write("other/unfinished.json", "{}");
    bench.write("other/notes.txt", "mine");
    for out in ["small", "other"] {
        let refused = bench.run(&["quantize", "whole", "--out", out]);
        assert!(refused.code == 2, "{}", refused.err);
    }
    // A command that is refused leaves nothing.
    let refused = bench.run(&["quantize", "small", "--out", "none"]);
    assert!(refused.code == 2 && !bench.path("none").exists(), "{}", refused.err);
}

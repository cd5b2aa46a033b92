//! `polytask factorize`: low-rank models of what was trained a moment before, which are models as any other.

use crate::bench::{Bench, json, refused, succeed, trained};
use serde_json::Value;
use std::fs;

const BERT: &str = "{ bert = { layers = 2, hidden = 32, heads = 2, dropout = 0.1 } }";
const LLAMA: &str = "{ llama = { layers = 2, hidden = 32, heads = 4, kv_heads = 2, dropout = 0.0 } }";

fn bytes(bench: &Bench, path: &str) -> Vec<u8> {
    fs::read(bench.path(path)).unwrap()
}

/// The scores of all tasks on the validation split.
fn scores(bench: &Bench, run: &str) -> Vec<f64> {
    let ran = succeed(bench, &["evaluate", run, "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&ran).unwrap();
    let tasks = scores["tasks"].as_object().unwrap().values();
    tasks.map(|task| task["scores"][task["primary"].as_str().unwrap()].as_f64().unwrap()).collect()
}

#[test]
fn a_low_rank_model_is_a_model_that_is_trained_further_with_both_factors() {
    let bench = trained(BERT, &["--set", "train.epochs=6"]);
    let told = succeed(
        &bench,
        &["factorize", "whole", "--out", "small", "--rank", "0.5", "--embeddings", "8", "--rows", "30"],
    );
    for expected in [
        "layer 1 attention",
        "embeddings",
        "before any training",
        "rows per second",
        "train small/config.toml",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let record = json(&bench, "small/factorize.json");
    let matrices = record["matrices"].as_array().unwrap();
    assert_eq!((matrices.len(), record["rows"].as_u64()), (9, Some(30)), "the tasks read rows alike");
    for matrix in matrices {
        let [energy, lost] = ["energy", "lost"].map(|key| matrix[key].as_f64().unwrap());
        assert!(lost > 0.0 && lost < energy, "{matrix}");
        if matrix["part"] != "embeddings" {
            let shape = [0, 1].map(|at| matrix["shape"][at].as_u64().unwrap());
            let factors = matrix["rank"].as_u64().unwrap() * (shape[0] + shape[1]);
            assert!(2 * factors <= shape[0] * shape[1], "{matrix}");
        }
    }
    let [whole, small] = ["before", "after"].map(|model| record[model]["parameters"].as_u64().unwrap());
    assert!(10 * small < 7 * whole, "{small} {whole}");
    for (run, of) in [("whole", "before"), ("small", "after")] {
        let mut found: Vec<f64> = scores(&bench, run);
        let mut told: Vec<f64> =
            record["tasks"].as_array().unwrap().iter().map(|task| task[of].as_f64().unwrap()).collect();
        found.sort_by(f64::total_cmp);
        told.sort_by(f64::total_cmp);
        assert_eq!(found, told, "{run}");
    }
    let said = json(&bench, "small/model/config.json")["quantization_config"].clone();
    assert!(
        said["method"] == "polytask" && said.get("quant_method").is_none(),
        "other programs must not take missing matrices for new ones"
    );
    assert!(bench.feed(&["predict", "small"], b"{\"text\": \"shares fell\"}\n").ok);
    assert!(refused(&bench, &["train", "--resume", "small"]).contains("is a factorized model"));

    // It is trained as it is, and stays two factors.
    succeed(&bench, &["train", "small/config.toml", "--run", "tuned", "--set", "train.epochs=6"]);
    let sum = |run: &str| scores(&bench, run).iter().sum::<f64>();
    assert!(sum("tuned") >= sum("small") && sum("tuned") > 1.8, "{} {}", sum("tuned"), sum("small"));
    assert_eq!(
        json(&bench, "tuned/model/config.json")["quantization_config"],
        json(&bench, "small/model/config.json")["quantization_config"]
    );
    let length = |run: &str| bytes(&bench, &format!("{run}/model/model.safetensors")).len();
    assert!(length("tuned") == length("small") && 10 * length("small") < 7 * length("whole"));

    // Other commands: both factors in int8, or multiplied out.
    let told = succeed(&bench, &["quantize", "tuned", "--out", "int8"]);
    assert!(told.contains("of the memory"), "{told}");
    assert!(length("int8") < length("tuned"));
    assert!((sum("int8") - sum("tuned")).abs() < 0.1);
    succeed(&bench, &["export", "tuned", "--format", "onnx", "--out", "onnx"]);
    assert!(refused(&bench, &["prune", "tuned", "--out", "cut", "--ffn", "0.5"]).contains("two factors"));
    let lora = ["--set", "sharing.lora={ rank = 2, shared = true }"];
    succeed(&bench, &[&["train", "small/config.toml", "--run", "adapted"], &lora[..]].concat());
    let again = ["factorize", "adapted", "--out", "again", "--ffn", "0.5"];
    assert!(refused(&bench, &again).contains("cannot be folded"));
    let soft = ["--set", "sharing.soft={}"];
    let told = refused(&bench, &[&["train", "small/config.toml", "--run", "soft"], &soft[..]].concat());
    assert!(told.contains("two factors"), "{told}");
    assert!(
        refused(&bench, &["factorize", "tuned", "--out", "again", "--ffn", "0.5"])
            .contains("no whole matrix")
    );
}

/// What computes with weights gets products: of runs from a low-rank model whole matrices are merged.
#[test]
fn merged_matrices_are_multiplied_out() {
    let bench = trained(BERT, &["--set", "train.epochs=2"]);
    succeed(&bench, &["factorize", "whole", "--out", "small", "--rank", "0.6", "--embeddings", "20"]);
    for (task, kind) in [
        ("topic", "classification = { text = \"text\", label = \"topic\" }"),
        ("tags", "tagging = { tokens = \"tokens\", tags = \"tags\" }"),
    ] {
        let config = format!(
            "[model]\nbackbone = \"small/model\"\nheads = \"small/model\"\n[corpus.news]\ntrain = \"train.jsonl\"\nvalidation = \
             \"valid.jsonl\"\n[task.{task}]\ncorpus = \"news\"\n{kind}\n[optimizer.adamw]\nlearning_rate = 1e-4\n[data]\nmax_length = \
             32\n[train]\nmax_steps = 4\ntokens_per_batch = 128\nthreads = 1\n"
        );
        bench.write(&format!("{task}.toml"), config);
        succeed(&bench, &["train", &format!("{task}.toml"), "--run", task]);
    }
    for method in ["average", "ties", "fisher"] {
        succeed(&bench, &["merge", "topic", "tags", "--method", method, "--out", method]);
        let config = json(&bench, &format!("{method}/model/config.json"));
        assert!(config.get("quantization_config").is_none(), "{config}");
    }
    // Both have hardly moved, so that their mean is nearly what they began with.
    let (mut small, mut mean) = (scores(&bench, "small"), scores(&bench, "average"));
    small.sort_by(f64::total_cmp);
    mean.sort_by(f64::total_cmp);
    assert!(small.iter().zip(&mean).all(|(a, b)| (a - b).abs() < 0.15), "{small:?} {mean:?}");
    succeed(&bench, &["prune", "average", "--out", "cut", "--ffn", "0.5", "--rows", "4"]);
}

#[test]
fn parts_are_factorized_one_after_the_other() {
    let lora = ["--set", "sharing.lora={ rank = 2, shared = true }"];
    let bench = trained(BERT, &lora);
    succeed(&bench, &["factorize", "whole", "--out", "first", "--embeddings", "32", "--rows", "4"]);
    assert_eq!(scores(&bench, "first"), scores(&bench, "whole"), "a whole rank, and folded updates");
    assert!(!bench.path("first/model/sharing.safetensors").exists());
    let printed =
        succeed(&bench, &["factorize", "first", "--out", "second", "--ffn", "0.4", "--json", "--rows", "9"]);
    let record: Value = serde_json::from_str(&printed).unwrap();
    assert_eq!(record["matrices"].as_array().unwrap().len(), 4);
    assert_eq!(record, json(&bench, "second/factorize.json"));
    let named = &json(&bench, "second/model/config.json")["quantization_config"]["low_rank"];
    assert_eq!(named.as_array().unwrap().len(), 5, "{named}");
}

#[test]
fn a_decoder_writes_with_the_factors_of_its_token_table() {
    let bench = trained(LLAMA, &["--set", "train.epochs=6"]);
    succeed(&bench, &["factorize", "whole", "--out", "same", "--embeddings", "32", "--rows", "20"]);
    let (same, whole) = (scores(&bench, "same"), scores(&bench, "whole"));
    assert!(same.iter().zip(&whole).all(|(a, b)| (a - b).abs() < 1e-3), "{same:?} {whole:?}");
    succeed(&bench, &["factorize", "whole", "--out", "small", "--rank", "0.7", "--split", "test"]);
    succeed(&bench, &["train", "small/config.toml", "--run", "tuned", "--set", "train.epochs=2"]);
    assert_eq!(scores(&bench, "tuned").len(), 2);
    succeed(&bench, &["export", "tuned", "--format", "onnx", "--out", "onnx"]);
}

#[test]
fn what_cannot_be_factorized_is_refused_before_anything_is_written() {
    let bench = trained(BERT, &["--set", "train.epochs=1"]);
    let factorize =
        |more: &[&str]| refused(&bench, &[&["factorize", "whole", "--out", "small"], more].concat());
    for (more, told) in [
        (&[][..], "nothing to factorize"),
        (&["--rank", "0"], "above 0"),
        (&["--ffn", "1.5"], "at most 1"),
        (&["--attention", "-1"], "above 0"),
        (&["--rank", "NaN"], "above 0"),
        (&["--embeddings", "0"], "from 1 to 32"),
        (&["--embeddings", "33"], "from 1 to 32"),
        (&["--rank", "0.5", "--ffn", "0.5"], "cannot be used with"),
        (&["--rank", "0.5", "--rows", "0"], "1 or more"),
        (&["--rank", "0.5", "--split", "dev"], "expected train, validation or test"),
    ] {
        let found = factorize(more);
        assert!(found.contains(told), "{more:?}: {found}");
        assert!(!bench.path("small/model").exists(), "{more:?}");
    }
    assert!(
        refused(&bench, &["factorize", "nowhere", "--out", "small", "--rank", "0.5"]).contains("is no run")
    );
    let bag = trained("{ bag = { width = 16, window = 1 } }", &["--set", "train.epochs=1"]);
    let found = refused(&bag, &["factorize", "whole", "--out", "small", "--rank", "0.5"]);
    assert!(found.contains("no whole matrix of its attention"), "{found}");
    succeed(&bag, &["factorize", "whole", "--out", "small", "--embeddings", "4", "--rows", "8"]);
}

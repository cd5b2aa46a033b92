//! `polytask export`: what is written, and what is refused. That the files compute the same elsewhere is checked by
//! `scripts/check_onnx.py` and `scripts/check_gguf.py`.

use crate::bench::Bench;
use serde_json::{Value, json};
use std::fs;

const HEAD: &str = "[model]\nbackbone = { bag = { width = 16, window = 1 } }\n\n[data]\nmax_length = 32\n\n\
    [corpus.rows]\ntrain = \"rows.jsonl\"\n\n";
const TAIL: &str = "\n[train]\nmax_steps = 2\ntokens_per_batch = 128\nthreads = 1\n";

/// A run `run` with these tasks.
fn run(head: &str, tasks: &[(&str, &str)]) -> Bench {
    let bench = Bench::new();
    let row = |i: usize| {
        let (city, topic) = [("Rome", "a"), ("Oslo", "b")][i % 2];
        let words = ["Ada", "saw", city];
        json!({
            "text": words.join(" "), "tokens": words, "tags": ["B-PER", "O", "B-LOC"], "topic": topic, "score": i,
            "entities": [{"start": 0, "end": 1, "type": "PER"}], "relations": [], "other": "x y",
        })
    };
    let rows: Vec<String> = (0..12).map(|i| row(i).to_string()).collect();
    bench.write("rows.jsonl", rows.join("\n"));
    let tasks: String =
        tasks.iter().map(|(name, kind)| format!("[task.{name}]\ncorpus = \"rows\"\n{kind}\n")).collect();
    bench.write("run.toml", format!("{head}{tasks}{TAIL}"));
    let ran = bench.run(&["train", "run.toml", "--run", "run"]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    bench
}

fn refused(bench: &Bench, arguments: &[&str]) -> String {
    let ran = bench.run(&[&["export"], arguments].concat());
    assert_eq!(ran.code, 2, "{arguments:?}: {}{}", ran.out, ran.err);
    ran.err
}

const TOPIC: (&str, &str) = ("topic", "classification = { text = \"text\", label = \"topic\" }");
const SCORE: (&str, &str) = ("score", "regression = { text = \"text\", value = \"score\" }");
const TAGS: (&str, &str) = ("tags", "tagging = { tokens = \"tokens\", tags = \"tags\", crf = true }");

#[test]
fn a_folder_has_the_graph_the_tokenizer_and_what_outputs_mean() {
    let bench = run(HEAD, &[TOPIC, SCORE, TAGS]);
    for (precision, out) in [("f32", "plain"), ("int8", "bytes"), ("int8_per_token", "tokens")] {
        let ran = bench.run(&["export", "run", "--format", "onnx", "--precision", precision, "--out", out]);
        assert!(ran.ok && ran.out.contains("[batch, length, 3]"), "{}{}", ran.out, ran.err);
        let folder = bench.path(out);
        let about: Value = serde_json::from_slice(&fs::read(folder.join("tasks.json")).unwrap()).unwrap();
        assert_eq!((&about["precision"], &about["max_length"]), (&precision.into(), &32.into()));
        let tasks = &about["tasks"];
        let names: Vec<&String> = tasks.as_object().unwrap().keys().collect();
        assert_eq!(names, ["topic", "score", "tags"]);
        assert_eq!(tasks["topic"]["shape"], json!(["batch", 2]));
        assert_eq!(tasks["topic"]["label_space"]["labels"], json!(["a", "b"]));
        assert_eq!(
            (&tasks["score"]["activation"], &tasks["score"]["kind"]),
            (&"none".into(), &"regression".into())
        );
        assert_eq!(
            (&tasks["tags"]["activation"], &tasks["tags"]["word"]),
            (&"crf".into(), &"first_token".into())
        );
        assert_eq!(tasks["tags"]["crf"]["transitions"].as_array().unwrap().len(), 3);
        assert_eq!(tasks["tags"]["input"], json!({ "words": "tokens" }));
        assert_eq!(
            fs::read(folder.join("tokenizer.json")).unwrap(),
            fs::read(bench.path("run/model/tokenizer.json")).unwrap()
        );
        let graph = fs::read(folder.join("model.onnx")).unwrap();
        let has = |text: &str| graph.windows(text.len()).any(|bytes| bytes == text.as_bytes());
        assert!(has("input_ids") && has("LayerNormalization") && !has("token_type_ids"));
        assert_eq!(has("MatMulInteger"), precision != "f32");
        assert_eq!(has("DynamicQuantizeLinear"), precision == "int8");
    }
    // The run's model folder alone, and one task of it.
    let ran = bench.run(&["export", "run/model", "--format", "onnx", "--task", "score", "--out", "one"]);
    assert!(ran.ok && !ran.out.contains("topic"), "{}{}", ran.out, ran.err);
    let message = refused(&bench, &["run", "--format", "onnx", "--out", "one"]);
    assert!(message.contains("--out one: found a folder with files in it"), "{message}");
    let message = refused(&bench, &["run", "--format", "onnx", "--out", "rows.jsonl"]);
    assert!(message.contains("--out rows.jsonl: found a file"), "{message}");
    let message = refused(&bench, &["run", "--format", "onnx", "--task", "none", "--out", "two"]);
    assert!(message.contains("--task none: the model has the tasks topic, score, tags"), "{message}");
    let message = refused(&bench, &["run", "--format", "onnx", "--quantization", "f16", "--out", "two"]);
    assert!(message.contains("it belongs to --format gguf"), "{message}");
    let message = refused(&bench, &["run", "--format", "gguf", "--out", "two"]);
    assert!(message.contains("the heads of the tasks `topic`, `score`, `tags` have no place"), "{message}");
    assert!(!bench.path("two").exists());
}

#[test]
fn tasks_without_a_fixed_shape_are_refused_by_kind() {
    let graph = ("graph", "entities_relations = { tokens = \"tokens\", learn = \"entities\" }");
    let bench = run(HEAD, &[TOPIC, graph]);
    let message = refused(&bench, &["run", "--format", "onnx", "--out", "out"]);
    assert!(
        message.contains("`graph` (entities_relations)") && message.contains("--task topic"),
        "{message}"
    );
    assert!(!bench.path("out").exists());
}

#[test]
fn vectors_of_corpora_are_those_of_the_tasks() {
    let head = HEAD.replace("[data]", "dataset_embeddings = true\n\n[data]");
    let head = format!("{head}[corpus.others]\ntrain = \"rows.jsonl\"\n\n");
    let bench = run(&head, &[TOPIC, SCORE]);
    let config = fs::read_to_string(bench.path("run.toml")).unwrap();
    bench.write(
        "two.toml",
        config.replacen("[task.score]\ncorpus = \"rows\"", "[task.score]\ncorpus = \"others\"", 1),
    );
    assert!(bench.run(&["train", "two.toml", "--run", "two"]).ok);
    let message = refused(&bench, &["two", "--format", "onnx", "--out", "out"]);
    assert!(message.contains("of the corpora rows, others"), "{message}");
    let ran = bench.run(&["export", "two", "--format", "onnx", "--task", "score", "--out", "out"]);
    assert!(ran.ok, "{}", ran.err);
}

/// A decoder from scratch with a tokenizer.
fn decoder(tokenizer: &str) -> Bench {
    let head = format!(
        "[model]\nbackbone = {{ llama = {{ layers = 2, hidden = 64, heads = 4, kv_heads = 2, max_length = 64 }} }}\n\n\
         [tokenizer]\n{tokenizer}\n\n[data]\nmax_length = 32\n\n[corpus.rows]\ntrain = \"rows.jsonl\"\n\n"
    );
    run(&head, &[("write", "causal_language_model = { text = \"text\" }"), TOPIC])
}

#[test]
fn a_decoder_is_a_gguf_file_that_opens_as_the_same_network() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../data/tests/fixtures/byte_level.json");
    let mut tokenizer: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    let token = |name: &str, id: u32| json!({ "id": name, "ids": [id], "tokens": [name] });
    let part = |name: &str| json!({ "SpecialToken": { "id": name, "type_id": 0 } });
    let text = |name: &str| json!({ "Sequence": { "id": name, "type_id": 0 } });
    tokenizer["post_processor"] = json!({
        "type": "TemplateProcessing", "single": [part("<s>"), text("A"), part("</s>")],
        "pair": [part("<s>"), text("A"), part("</s>"), text("B"), part("</s>")],
        "special_tokens": { "<s>": token("<s>", 0), "</s>": token("</s>", 2) },
    });
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokenizer.json");
    fs::write(&file, tokenizer.to_string()).unwrap();
    let bench = decoder(&format!("file = {file:?}"));
    let message = refused(&bench, &["run", "--format", "gguf", "--out", "model.gguf"]);
    assert!(message.contains("`topic` have no place in the file. Try: --task write"), "{message}");
    let arguments = ["export", "run", "--format", "gguf", "--task", "write", "--quantization"];
    for quantization in ["f32", "f16", "q8_0", "q4_0", "q4_k"] {
        let out = format!("{quantization}.gguf");
        let ran = bench.run(&[&arguments[..], &[quantization, "--out", &out]].concat());
        assert!(ran.ok && ran.out.contains(&out), "{}{}", ran.out, ran.err);
        assert_eq!(&fs::read(bench.path(&out)).unwrap()[..4], b"GGUF");
    }
    let size = |name: &str| fs::metadata(bench.path(name)).unwrap().len();
    assert!(size("q4_0.gguf") < size("q8_0.gguf") && size("q8_0.gguf") < size("f32.gguf"));
    let message = refused(&bench, &["run", "--format", "gguf", "--task", "write", "--out", "f32.gguf"]);
    assert!(message.contains("it is there already"), "{message}");
    // It is a backbone as any other, with its tokenizer.
    let config = fs::read_to_string(bench.path("run.toml")).unwrap();
    let (begin, end) = (config.find("[model]").unwrap(), config.find("[data]").unwrap());
    let again = format!("[model]\nbackbone = \"f32.gguf\"\n\n{}", &config[end..]);
    assert_eq!(begin, 0);
    bench.write("again.toml", again);
    let checked = bench.run(&["check", "again.toml"]);
    assert!(checked.ok, "{}{}", checked.out, checked.err);
}

#[test]
fn a_tokenizer_that_llama_cpp_does_not_know_is_refused() {
    let bench = decoder("size = 300");
    let message = refused(&bench, &["run", "--format", "gguf", "--task", "write", "--out", "model.gguf"]);
    assert!(message.contains("which llama.cpp has no name for"), "{message}");
    assert!(!bench.path("model.gguf").exists());
}

//! What users see when config, data or model are broken: the message says where, what was found, and what to do; the
//! exit code is 2; nothing panics. `cargo test -p polytask --test it broken_inputs -- --nocapture` prints every message.

use crate::bench::Bench;

/// Breaks one thing, runs `check`, and looks for these pieces in what the user reads.
fn broken(name: &str, pieces: &[&str], breaking: impl FnOnce(&Bench)) {
    let bench = Bench::new();
    breaking(&bench);
    let ran = bench.run(&["check", "job.toml"]);
    println!("--- {name}\n{}", ran.err);
    assert_eq!(ran.code, 2, "{name}: {}", ran.err);
    for piece in pieces {
        assert!(ran.err.contains(piece), "{name}: no {piece:?} in\n{}", ran.err);
    }
}

#[test]
fn a_misspelt_key_proposes_the_right_one() {
    broken("misspelt key", &["job.toml:", "epoks", "epochs"], |b| b.edit("job.toml", "epochs", "epoks"));
}

#[test]
fn several_errors_come_at_once() {
    broken("three errors", &["tokens_per_batch", "bagg", "learning_rte", "3 errors"], |b| {
        b.edit("job.toml", "tokens_per_batch = 128", "tokens_per_batch = \"many\"");
        b.edit("job.toml", "bag = {", "bagg = {");
        b.edit("job.toml", "learning_rate", "learning_rte");
    });
}

#[test]
fn a_corpus_that_does_not_exist_is_named() {
    broken("unknown corpus", &["newz", "news"], |b| {
        b.edit("job.toml", "corpus = \"news\"", "corpus = \"newz\"")
    });
}

#[test]
fn broken_toml_shows_its_line() {
    broken("broken TOML", &["job.toml:"], |b| b.edit("job.toml", "[train]", "[train"));
}

#[test]
fn an_undefined_path_variable_says_how_to_define_it() {
    broken("undefined ${data}", &["data", "--define"], |b| {
        b.edit("job.toml", "\"train.jsonl\"", "\"${data}/train.jsonl\"");
    });
}

#[test]
fn a_missing_file_is_named() {
    broken("missing file", &["nowhere.jsonl"], |b| b.edit("job.toml", "train.jsonl", "nowhere.jsonl"));
}

#[test]
fn broken_rows_are_listed_with_file_and_line() {
    broken("broken rows", &["train.jsonl:2", "train.jsonl:4"], |b| {
        let good = std::fs::read_to_string(b.path("train.jsonl")).unwrap();
        let mut lines: Vec<&str> = good.lines().collect();
        lines[1] = "{\"text\": \"cut off";
        lines[3] = "[1, 2]";
        b.write("train.jsonl", lines.join("\n"));
    });
}

#[test]
fn tags_and_words_must_agree() {
    broken("too few tags", &["train.jsonl:1", "tags"], |b| {
        let good = std::fs::read_to_string(b.path("train.jsonl")).unwrap();
        b.write("train.jsonl", good.replacen("\"B-name\",", "", 1));
    });
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    broken("not UTF-8", &["train.jsonl:3", "UTF-8"], |b| {
        let mut bytes = std::fs::read(b.path("train.jsonl")).unwrap();
        let third = bytes.iter().enumerate().filter(|(_, c)| **c == b'\n').nth(1).unwrap().0 + 12;
        bytes[third] = 0xff;
        b.write("train.jsonl", bytes);
    });
}

#[test]
fn a_field_that_no_row_has_is_named() {
    broken("no such field", &["headline"], |b| b.edit("job.toml", "text = \"text\"", "text = \"headline\""));
}

#[test]
fn a_model_that_is_not_there_is_named() {
    broken("no such model", &["models/none"], |b| {
        b.edit(
            "job.toml",
            "backbone = { bag = { width = 16, window = 1, dropout = 0.1 } }",
            "backbone = \"models/none\"",
        );
    });
}

#[test]
fn truncated_weights_are_refused() {
    broken("truncated weights", &["model.safetensors"], |b| {
        let from = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/bert");
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            if let Ok(mut bytes) = std::fs::read(from.join(name)) {
                if name == "model.safetensors" {
                    bytes.truncate(bytes.len() / 2);
                }
                b.write(&format!("model/{name}"), bytes);
            }
        }
        // The fixture has no vocabulary of its own; any will do, the weights are read first or it is small enough.
        assert!(b.run(&["train", "job.toml", "--run", "run"]).ok);
        b.write("model/tokenizer.json", std::fs::read(b.path("run/model/tokenizer.json")).unwrap());
        b.edit(
            "job.toml",
            "backbone = { bag = { width = 16, window = 1, dropout = 0.1 } }",
            "backbone = \"model\"",
        );
    });
}

#[test]
fn overrides_are_checked_like_the_file() {
    let bench = Bench::new();
    let ran = bench.run(&["check", "job.toml", "--set", "train.epoch=1"]);
    println!("--- --set\n{}", ran.err);
    assert_eq!(ran.code, 2);
    assert!(ran.err.contains("--set train.epoch=1") && ran.err.contains("epochs"), "{}", ran.err);
}

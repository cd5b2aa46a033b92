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

#[test]
fn too_many_threads_are_refused_at_once() {
    broken("threads", &["threads: found 100000, expected 1 to 1024"], |b| {
        b.edit("job.toml", "threads = 1", "threads = 100000")
    });
}

#[test]
fn names_in_paths_that_double_forty_times_end_at_a_bound() {
    broken("doubling names", &["with its names replaced this has more than 65536 bytes"], |b| {
        let doubled: String = (1..=40).map(|n| format!("n{n} = \"${{n{0}}}${{n{0}}}\"\n", n - 1)).collect();
        let text = std::fs::read_to_string(b.path("job.toml")).unwrap();
        let text = text.replacen("\"train.jsonl\"", "\"${n40}.jsonl\"", 1);
        b.write("job.toml", format!("[paths]\nn0 = \"x\"\n{doubled}\n{text}"));
    });
    broken("a chain of names", &["is reached by more than 1000 names"], |b| {
        let chain: String = (1..=5000).rev().map(|n| format!("n{n} = \"${{n{}}}\"\n", n - 1)).collect();
        let text = std::fs::read_to_string(b.path("job.toml")).unwrap();
        let text = text.replacen("\"train.jsonl\"", "\"${n5000}.jsonl\"", 1);
        b.write("job.toml", format!("[paths]\nn0 = \"x\"\n{chain}\n{text}"));
    });
}

#[test]
fn of_a_long_line_only_what_is_near_is_shown() {
    let bench = Bench::new();
    bench.edit("job.toml", "epochs = 3", &format!("epochs = \"{}\"", "x".repeat(200_000)));
    let ran = bench.run(&["check", "job.toml"]);
    assert!(ran.code == 2 && ran.err.len() < 3000, "{} bytes", ran.err.len());
}

/// What would command a terminal is written as it is in JSON, wherever it comes from.
#[test]
fn no_escape_sequence_reaches_the_terminal() {
    let bench = Bench::new();
    let rows = std::fs::read_to_string(bench.path("train.jsonl")).unwrap();
    bench.write("train.jsonl", rows.replace("\"money\"", "\"\\u001b]0;owned\\u0007\\u202e\""));
    let ran = bench.run(&["check", "job.toml"]);
    for text in [&ran.out, &ran.err] {
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text:?}");
    }
    assert!((ran.out + &ran.err).contains("\\u001b]0;owned\\u0007\\u202e"));
    for arguments in
        [&["train", "job.toml", "--run", "run"][..], &["inspect", "job.toml"], &["evaluate", "run"]]
    {
        let ran = bench.run(arguments);
        assert!(!(ran.out + &ran.err).contains(['\u{1b}', '\u{7}', '\u{202e}']), "{arguments:?}");
    }
}

#[test]
fn a_file_that_cannot_be_written_is_refused_before_anything_is_computed() {
    let bench = Bench::new();
    for arguments in [
        &["lr-find", "job.toml", "--svg", "none/a.svg"][..],
        &["plan", "job.toml", "--svg", "none/a.svg"],
        &["inspect", "job.toml", "--html", "none/a.html"],
    ] {
        let ran = bench.run(arguments);
        assert!(ran.code == 2 && ran.out.is_empty(), "{arguments:?}: {} {}", ran.code, ran.out);
        assert!(ran.err.contains("cannot write none/a."), "{}", ran.err);
    }
}

#[test]
fn a_folder_with_brackets_is_taken_as_it_is() {
    let bench = Bench::new();
    for name in ["train.jsonl", "valid.jsonl", "test.jsonl", "job.toml"] {
        bench.write(&format!("a[1]/{name}"), std::fs::read(bench.path(name)).unwrap());
    }
    bench.edit("a[1]/job.toml", "\"train.jsonl\"", "\"tr*.jsonl\"");
    let ran = bench.run(&["check", "a[1]/job.toml"]);
    assert!(ran.ok, "{}", ran.err);
}

#[cfg(unix)]
#[test]
fn a_pipe_for_a_corpus_is_told() {
    broken("a device", &["is no regular file but a pipe or device"], |b| {
        b.edit("job.toml", "\"train.jsonl\"", "\"/dev/null\"");
    });
}

//! Inputs as people have them: each either right, or said what is wrong with it, once and with the way out.
//!
//! The folders under `tests/field/` are small files after public bug reports and exports of annotation tools.

use crate::bench::{Bench, Ran};
use serde_json::Value;
use std::path::{Path, PathBuf};

fn folder(case: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/field").join(case)
}

/// A bench with the files of a case.
fn bench(case: &str) -> Bench {
    let bench = Bench::new();
    copy(&folder(case), &folder(case), &bench);
    bench
}

fn copy(from: &Path, root: &Path, bench: &Bench) {
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            copy(&path, root, bench);
        } else {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            bench.write(name, std::fs::read(&path).unwrap());
        }
    }
}

/// What is printed, with single spaces in the place of line ends.
fn said(ran: &Ran) -> String {
    format!("{} {}", ran.out, ran.err).split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Checks a config: case, config, exit code, what must be said.
const CHECKED: [(&str, &str, i32, &[&str]); 34] = [
    (
        "uneven-columns",
        "config",
        2,
        &[
            "found 9 columns, expected 7",
            "`ignore_extra_columns = true` leaves the others out",
            "so are 2 lines in all",
        ],
    ),
    ("uneven-columns", "nohint", 2, &["'\\t' separates its columns; set delimiter = \"\\t\""]),
    (
        "long-integers",
        "config",
        0,
        &[
            "4 of 4",
            "123456789012345678901234567890 10",
            "123456789012345678901234567891 10",
            "9223372036854775808 10",
            "1152921504606846976 10",
        ],
    ),
    ("iob1-crf", "config", 0, &["its tags are io, read as bio"]),
    ("conll-header", "config", 2, &["no field \"tokens\" in any of 30 rows; the first has word, pos, text"]),
    (
        "not-a-tree",
        "config",
        0,
        &[
            "3 of 35 training rows have heads that are no tree",
            "1 of 36 training rows have words with a head and no relation",
            "nolabel.conllu:2",
        ],
    ),
    (
        "validation-unlabelled",
        "config",
        0,
        &[
            "no validation row carries a label in `label`. It has no say in the best checkpoint",
            "the fields text",
        ],
    ),
    (
        "empty-text",
        "config",
        0,
        &["10 of 40 training rows have nothing to read in text (null, empty or blank); they are left out"],
    ),
    ("empty-text", "all-empty", 2, &["field text: nothing to read in any of 40 rows"]),
    ("one-hot", "config", 2, &["found vectors of 2 zeros and ones", "one_hot = [\"label1\", \"label2\"]"]),
    ("one-label", "config", 0, &["it has the one label \"toxic\": a question of yes or no"]),
    (
        "index-or-text",
        "config",
        0,
        &["its labels are read as the index of the choice, in all rows", "choice 0 24"],
    ),
    ("hf-class-names-tags", "config", 0, &["B-LOC"]),
    ("nan-label", "config", 0, &["2 of 2", "32 8 "]),
    ("checkpoint-files", "lfs", 2, &["found a Git LFS pointer and not the file itself", "git lfs pull"]),
    (
        "checkpoint-files",
        "vocabtxt",
        0,
        &["there is no tokenizer.json; it was made of", "vocab.txt, a WordPiece vocabulary"],
    ),
    (
        "checkpoint-files",
        "spm",
        2,
        &["sentencepiece.bpe.model: found no SentencePiece model: the file is not one, or is cut off"],
    ),
    ("checkpoint-files", "prefix", 2, &["the weights are there under `encoder_model.roberta.`"]),
    (
        "blank-after-comma",
        "config",
        2,
        &["train.csv:2: a blank stands between a delimiter and a quote", "lines in all"],
    ),
    ("message-names-the-cause", "semicolon-csv", 2, &["set delimiter = \";\""]),
    ("message-names-the-cause", "tabs-csv", 2, &["set delimiter = \"\\t\""]),
    ("message-names-the-cause", "pipe-csv", 2, &["set delimiter = \"|\""]),
    ("message-names-the-cause", "noheader-csv", 2, &["name the columns with `columns = [..]`"]),
    ("message-names-the-cause", "cr-csv", 2, &["carriage returns alone"]),
    ("message-names-the-cause", "nan-jsonl", 2, &["nan.jsonl:4: NaN and Infinity are no JSON; write null"]),
    ("message-names-the-cause", "comma-jsonl", 2, &["a comma follows the object", "so are 11 lines in all"]),
    ("message-names-the-cause", "array-json", 0, &["neg 6, pos 6"]),
    ("message-names-the-cause", "oneline-json", 0, &["neg 6, pos 6"]),
    (
        "message-names-the-cause",
        "data-json",
        2,
        &["one JSON document with a list \"data\"", "jq -c '.data[]'"],
    ),
    ("message-names-the-cause", "surrogate-jsonl", 2, &["half of a surrogate pair"]),
    (
        "message-names-the-cause",
        "repr-jsonl",
        2,
        &["Python's notation and no JSON", "json.dumps", "so are 12 lines in all"],
    ),
    ("message-names-the-cause", "nested-jsonl", 0, &["can be trained"]),
    (
        "contradicting-labels",
        "config",
        0,
        &["training rows whose text stands earlier with another label: 8 of 48"],
    ),
    (
        "header-as-row",
        "config",
        0,
        &["a label with the name of its own field: \"label\" 1; a header read as a row?"],
    ),
];

#[test]
fn check_says_what_is_the_matter_with_a_file() {
    for (case, config, code, parts) in CHECKED {
        let ran = bench(case).run(&["check", &format!("{config}.toml")]);
        let said = said(&ran);
        assert_eq!(ran.code, code, "{case}/{config}: {said}");
        for part in parts {
            assert!(said.contains(part), "{case}/{config}: {part:?} is not said:\n{said}");
        }
        let errors = said.matches("error: ").count();
        assert!(errors <= 1, "{case}/{config}: one cause is said {errors} times:\n{said}");
    }
    for config in ["config", "null"] {
        let ran = bench("empty-cell-csv").run(&["check", &format!("{config}.toml")]);
        let rows = if config == "null" { "4 of 40" } else { "3 of 30" };
        assert!(
            ran.ok && said(&ran).contains(&format!("{rows} training rows have nothing to read")),
            "{}",
            said(&ran)
        );
    }
}

#[test]
fn iob1_tags_are_learned_with_a_crf() {
    let bench = bench("iob1-crf");
    assert!(bench.run(&["train", "config.toml", "--run", "r"]).ok);
    let scored = bench.run(&["evaluate", "r", "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    let f1 = scores["tasks"]["ents"]["scores"]["span_f1"].as_f64().unwrap();
    assert!(f1 > 0.8, "{scores}");
    // Fixed to what the tags are not, nothing could ever be predicted.
    bench.edit("config.toml", "crf = true", "crf = true, scheme = \"bio\"");
    let ran = bench.run(&["check", "config.toml"]);
    assert_eq!(ran.code, 2);
    assert!(said(&ran).contains("nothing could ever be right"), "{}", said(&ran));
}

#[test]
fn evaluate_with_nothing_to_score_fails() {
    let bench = bench("validation-unlabelled");
    let trained = bench.run(&["train", "config.toml", "--run", "r"]);
    assert!(trained.ok && said(&trained).contains("no validation row carries a label"), "{}", said(&trained));
    let ran = bench.run(&["evaluate", "r", "--split", "validation"]);
    assert_eq!(ran.code, 2);
    assert!(said(&ran).contains("task `mood` reads `label`, the rows have text"), "{}", said(&ran));
}

#[test]
fn predict_strips_the_byte_order_mark() {
    let bench = bench("bom-on-stdin");
    assert!(bench.run(&["train", "config.toml", "--run", "r"]).ok);
    let input = std::fs::read(bench.path("input.jsonl")).unwrap();
    let ran = bench.feed(&["predict", "r"], &input);
    let answer: Value = serde_json::from_str(ran.out.lines().next().unwrap()).unwrap();
    assert!(ran.ok && !answer["text"].as_str().unwrap().contains('{'), "{answer}");
}

#[test]
fn predict_reads_the_field_of_each_task() {
    let bench = bench("text-and-tokens");
    assert!(bench.run(&["train", "config.toml", "--run", "r"]).ok);
    let rows = std::fs::read_to_string(bench.path("train.jsonl")).unwrap();
    let first = rows.lines().next().unwrap();
    let row: Value = serde_json::from_str(first).unwrap();
    let answer = |line: &str| -> Value {
        serde_json::from_str(&bench.feed(&["predict", "r"], line.as_bytes()).out).unwrap()
    };
    let both = answer(first);
    let words = row["tokens"].as_array().unwrap().len();
    assert_eq!(both["tasks"]["ents"]["tags"].as_array().unwrap().len(), words, "{both}");
    assert!(both["tasks"]["mood"]["label"].is_string(), "{both}");
    let one = answer("{\"text\": \"the film was good\"}");
    assert_eq!(one["tasks"]["ents"]["error"], "no field `tokens`; found text", "{one}");
    assert!(one["tasks"]["mood"]["label"].is_string(), "{one}");
}

#[test]
fn predict_reads_files_and_echoes_fields() {
    let bench = bench("empty-cell-csv");
    assert!(bench.run(&["train", "config.toml", "--run", "r"]).ok);
    let lines = |ran: &Ran| -> Vec<Value> {
        ran.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let chosen = ["--task", "mood", "--echo", "label", "--all-probabilities"];
    let of_file = bench.run(&[&["predict", "r", "train.csv"], &chosen[..]].concat());
    let answers = lines(&of_file);
    assert_eq!((of_file.code, answers.len()), (3, 30));
    assert_eq!(answers[0]["error"], "nothing to read in `text`: null, empty or blank");
    assert_eq!((&answers[1]["line"], &answers[1]["label"]), (&3.into(), &"x".into()));
    assert_eq!(answers[1]["tasks"]["mood"]["probabilities"].as_object().unwrap().len(), 2);
    let csv = std::fs::read(bench.path("train.csv")).unwrap();
    let of_stdin = bench.feed(&[&["predict", "r", "--format", "csv"], &chosen[..]].concat(), &csv);
    assert_eq!(of_stdin.out, of_file.out);
    let array = bench.feed(
        &["predict", "r", "--echo", "id"],
        b" [\n{\"text\": \"a b\", \"id\": 12345678901234567},\n{\"text\": \"c\"}]",
    );
    let answers = lines(&array);
    assert_eq!((array.code, answers.len(), &answers[0]["id"]), (0, 2, &12345678901234567_i64.into()));
    // A text may begin with a bracket.
    let text = bench.feed(&["predict", "r"], b"[laughs] the film was good\n");
    assert!(text.ok && lines(&text)[0]["text"] == "[laughs] the film was good", "{}{}", text.out, text.err);
    assert_eq!(bench.run(&["predict", "r", "--task", "other"]).code, 2);
}

//! The binary as a user meets it: train, evaluate, predict, interrupt and resume.

use crate::bench::Bench;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

#[test]
fn a_config_becomes_a_model_that_answers() {
    let bench = Bench::new();
    let check = bench.run(&["check", "job.toml"]);
    assert!(check.ok, "{}", check.err);
    assert!(check.out.contains("topic, tags"), "one pass serves both tasks:\n{}", check.out);

    let trained = bench.run(&["train", "job.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);
    for name in [
        "config.toml",
        "data.json",
        "metrics.jsonl",
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "model/heads.safetensors",
        "model/polytask.json",
    ] {
        assert!(bench.path("run").join(name).is_file(), "{name}");
    }
    let events = fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap();
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(events.first().unwrap()["event"], "started");
    assert_eq!(events.last().unwrap()["event"], "finished");

    let scored = bench.run(&["evaluate", "run", "--split", "test", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    let accuracy = scores["tasks"]["topic"]["scores"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.9, "an easy task is learnt: {scores}");
}

#[test]
fn every_line_gets_its_answer_and_broken_ones_say_why() {
    let bench = Bench::new();
    assert!(bench.run(&["train", "job.toml", "--run", "run"]).ok);
    let lines = concat!(
        "{\"text\": \"the team won in 東京 🎉\"}\n",
        "{\"text\": 7.5}\n",
        "not json\n",
        "{\"tokens\": [\"Zoë\", \"sells\", \"shares\"]}\n",
        "{\"other\": \"x\"}\n",
        "{\"text\": \"   \"}\n",
        "{\"text\": \"שלום world مرحبا\"}",
    );
    let answered = bench.feed(&["predict", "run"], lines.as_bytes());
    assert_eq!(answered.code, 3);
    let answers: Vec<Value> = answered.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(
        answers.iter().map(|a| a["line"].as_u64().unwrap()).collect::<Vec<_>>(),
        [1, 2, 3, 4, 5, 6, 7]
    );
    let broken: Vec<bool> = answers.iter().map(|a| a.get("error").is_some()).collect();
    assert_eq!(broken, [false, true, true, false, true, true, false], "{answers:#?}");
    for answer in answers.iter().filter(|a| a.get("error").is_none()) {
        let probability = answer["tasks"]["topic"]["probability"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&probability), "{answer}");
        assert!(answer["tasks"]["tags"]["entities"].is_array(), "{answer}");
    }
    let texts = bench.feed(&["predict", "run"], b"the team won\n\xff\xfe\nshares fell\n");
    assert_eq!((texts.code, texts.out.lines().count()), (3, 3));
    assert!(texts.out.lines().nth(1).unwrap().contains("not UTF-8"), "{}", texts.out);
}

/// Two texts a row, and every kind that reads them; some rows lack some labels.
const KINDS: &str = r#"[model]
backbone = { bert = { layers = 1, hidden = 16, heads = 2, max_length = 32 } }

[tokenizer]
size = 400

[data]
max_length = 32

[corpus.both]
train = "both.jsonl"
validation = "both.jsonl"
test = "both.jsonl"

[task.same]
corpus = "both"
classification = { text = "first", pair = "second", label = "same" }

[task.words]
corpus = "both"
multi_label = { text = "first", pair = "second", labels = "words" }

[task.likeness]
corpus = "both"
regression = { text = "first", pair = "second", value = "likeness", loss = "huber" }

[task.found]
corpus = "both"
extractive_qa = { question = "first", context = "second", answers = "found" }

[task.grade]
corpus = "both"
ordinal_regression = { text = "second", label = "grade", order = ["low", "middle", "high"] }

[train]
epochs = 1
tokens_per_batch = 128
threads = 1
"#;

#[test]
fn every_kind_on_rows_goes_from_config_to_answers() {
    let bench = Bench::new();
    let words = ["red", "green", "blue"];
    let row = |i: usize| {
        let (a, b) = (i % 3, i / 3 % 3);
        let grade = ["low", "middle", "high"][b];
        let mut row = serde_json::json!({
            "first": format!("it is {}", words[a]), "second": format!("so {} it is", words[b]),
            "same": a == b, "words": [words[a], words[b]], "likeness": format!("{}.5", a.abs_diff(b)),
            "grade": grade, "found": { "text": [words[b]], "answer_start": [3] },
        });
        if i.is_multiple_of(4) {
            row["found"] = serde_json::json!({ "text": [], "answer_start": [] });
        }
        row[["same", "words", "likeness", "grade", "found"][i % 5]] = Value::Null;
        row.to_string()
    };
    bench.write("both.jsonl", (0..90).map(row).collect::<Vec<_>>().join("\n"));
    bench.write("kinds.toml", KINDS);
    let check = bench.run(&["check", "kinds.toml"]);
    assert!(check.ok, "{}", check.err);
    assert!(check.out.contains("first + second") && check.out.contains("0.5 to 2.5"), "{}", check.out);
    let trained = bench.run(&["train", "kinds.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);

    // The validation split is scored in the run with thresholds of its own, and here with those that the model keeps.
    let scored = bench.run(&["evaluate", "run", "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    let card = fs::read_to_string(bench.path("run/model/polytask.json")).unwrap();
    let card: Value = serde_json::from_str(&card).unwrap();
    for (task, metric) in [
        ("same", "accuracy"),
        ("words", "macro_f1"),
        ("likeness", "pearson"),
        ("likeness", "rmse"),
        ("grade", "quadratic_kappa"),
        ("grade", "mean_absolute_error"),
        ("found", "answer_f1"),
    ] {
        let found = scores["tasks"][task]["scores"][metric].as_f64().unwrap();
        let in_the_run = card["validation"][task][metric].as_f64().unwrap();
        assert!((found - in_the_run).abs() < 1e-6, "{task}.{metric}: {found} against {in_the_run}");
    }
    assert_eq!(card["tasks"].as_array().unwrap().len(), 5);
    let thresholds = |t: &Value| t["label_space"].get("thresholds").is_some_and(Value::is_array);
    assert!(card["tasks"].as_array().unwrap().iter().any(thresholds), "{card:#}");

    let lines = concat!(
        "{\"first\": \"it is red\", \"second\": \"so red it is\"}\n",
        "{\"second\": \"so blue it is\"}\n",
        "{\"first\": \"it is red\"}\n",
    );
    let answered = bench.feed(&["predict", "run"], lines.as_bytes());
    assert_eq!(answered.code, 3, "{}", answered.err);
    let answers: Vec<Value> = answered.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let tasks = |answer: &Value| answer["tasks"].as_object().map_or(0, |tasks| tasks.len());
    assert_eq!(answers.iter().map(tasks).collect::<Vec<_>>(), [5, 5, 0], "{answers:#?}");
    assert_eq!(answers[0]["text"], "so red it is");
    assert!(answers[0]["tasks"]["likeness"]["value"].is_number(), "{answers:#?}");
    assert!(answers[0]["tasks"]["words"]["labels"].is_array(), "{answers:#?}");
    let found = &answers[0]["tasks"]["found"];
    let (start, answer) = (found["start"].as_u64(), found["answer"].as_str());
    assert_eq!(start.is_some(), answer.is_some(), "{found}");
    if let (Some(start), Some(answer)) = (start, answer) {
        assert!("so red it is"[start as usize..].starts_with(answer), "{found}");
    }
    assert_eq!(answers[1]["tasks"]["same"]["error"], "no field `first`; found second");
    assert!(answers[1]["tasks"]["grade"]["label"].is_string(), "{answers:#?}");
    assert_eq!(answers[2]["error"], "no field `second`; found first");
    let text = bench.feed(&["predict", "run"], b"so blue it is\n");
    let answer: Value = serde_json::from_str(&text.out).unwrap();
    assert!(answer["tasks"]["grade"]["label"].is_string(), "`grade` reads one text: {answer}");
    assert!(answer["tasks"]["same"]["error"].is_string(), "the others read two: {answer}");
}

#[test]
fn a_terminated_run_resumes_to_the_same_bits() {
    let bench = Bench::new();
    bench.edit("job.toml", "epochs = 3", "epochs = 40\nsave_steps = 7");
    assert!(bench.run(&["train", "job.toml", "--run", "whole"]).ok);

    let mut child =
        bench.command(&["train", "job.toml", "--run", "cut"]).stdout(Stdio::null()).spawn().unwrap();
    let metrics = bench.path("cut/metrics.jsonl");
    let patience = Instant::now();
    while !fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 12) {
        assert!(patience.elapsed() < Duration::from_secs(60), "the run does not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    let killed =
        std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let code = child.wait().unwrap().code();
    if code != Some(0) {
        assert_eq!(code, Some(130), "interrupted, or already done");
        let resumed = bench.run(&["train", "--resume", "cut"]);
        assert!(resumed.ok, "{}", resumed.err);
    }
    for file in ["model/model.safetensors", "model/heads.safetensors"] {
        let (whole, cut) = (fs::read(bench.path("whole").join(file)), fs::read(bench.path("cut").join(file)));
        assert!(whole.unwrap() == cut.unwrap(), "{file} differs after the interruption");
    }
}

#[test]
fn a_run_is_never_overwritten() {
    let bench = Bench::new();
    assert!(bench.run(&["train", "job.toml", "--run", "run"]).ok);
    let again = bench.run(&["train", "job.toml", "--run", "run"]);
    assert_eq!(again.code, 2);
    assert!(again.err.contains("--resume"), "{}", again.err);
}

#[test]
fn predict_survives_a_reader_that_leaves() {
    let bench = Bench::new();
    assert!(bench.run(&["train", "job.toml", "--run", "run"]).ok);
    let mut child = bench
        .command(&["predict", "run"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let _ = child.stdin.take().unwrap().write_all("the team won\n".repeat(3000).as_bytes());
    let out = child.wait_with_output().unwrap();
    assert!(!String::from_utf8_lossy(&out.stderr).contains("panicked"));
}

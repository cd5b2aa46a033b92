//! `watch` and `train --dashboard` without a terminal, of real runs. With one: `scripts/dashboard/check.py`.

use crate::bench::Bench;
use std::fs;

#[test]
fn without_a_terminal_a_run_is_told_once() {
    let bench = Bench::new();
    let ran = bench.run(&["train", "job.toml", "--run", "runs/plain"]);
    assert!(ran.ok, "{}", ran.err);
    let ran = bench.run(&["train", "job.toml", "--run", "runs/shown", "--dashboard"]);
    assert!(ran.ok && ran.err.contains("standard output is no terminal"), "{}", ran.err);
    assert!(ran.out.contains("what each task got") && !ran.out.contains('\u{1b}'), "{}", ran.out);
    let weights = |run: &str| fs::read(bench.path(&format!("runs/{run}/model/model.safetensors"))).unwrap();
    assert_eq!(weights("plain"), weights("shown"));

    let ran = bench.run(&["watch", "runs/plain"]);
    assert!(ran.ok && ran.out.starts_with("  plain: finished\n"), "{}{}", ran.out, ran.err);
    // The last validation scores are those of the history.
    let events = fs::read_to_string(bench.path("runs/plain/metrics.jsonl")).unwrap();
    let events: Vec<serde_json::Value> =
        events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let last = events.iter().rev().find(|event| event["event"] == "evaluated").unwrap();
    for (task, metric) in [("topic", "accuracy"), ("tags", "span_f1")] {
        let line = ran.out.lines().find(|line| line.trim().starts_with(task)).expect("a line");
        let cells: Vec<&str> = line.split_whitespace().collect();
        let score = format!("{:.2}", 100.0 * last["scores"][task][metric].as_f64().unwrap());
        assert_eq!(cells[2..4], [metric, &score], "{}", ran.out);
    }
    let ran = bench.run(&["watch", "runs", "--once"]);
    assert!(ran.ok && ran.out.contains("runs (runs): 2 finished"), "{}{}", ran.out, ran.err);
    for name in ["plain", "shown"] {
        let line = ran.out.lines().find(|line| line.trim().starts_with(name)).expect("a line");
        assert!(line.contains("finished") && line.contains("100 %"), "{line}");
    }
}

#[test]
fn what_cannot_be_watched_is_refused() {
    let bench = Bench::new();
    for path in [".", "missing", "job.toml"] {
        let ran = bench.run(&["watch", path]);
        assert!(ran.code == 2 && ran.err.contains("is no run and has none in it"), "{path}: {}", ran.err);
    }
}

/// What a build without the export says; with it, the tests are in `mlflow/tests.rs`.
#[cfg(not(feature = "mlflow"))]
#[test]
fn a_build_without_mlflow_says_how_to_get_one() {
    let bench = Bench::new();
    let ran = bench.run(&["report", "nowhere", "--mlflow", "http://127.0.0.1:5000"]);
    assert!(ran.code == 2 && ran.err.contains("cargo build --release --features mlflow"), "{}", ran.err);
}

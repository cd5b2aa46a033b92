//! A memory limit: batches that fit into it, and steps that are repeated in chunks where they do not fit.

use crate::bench::Bench;
use serde_json::Value;

/// States are large beside the weights.
const WIDE: &str = "model.backbone={bert={layers=4,hidden=128,heads=4,max_length=128}}";

fn train(bench: &Bench, run: &str, set: &[&str]) -> crate::bench::Ran {
    let large = ["train.tokens_per_batch=2048", "train.save_steps=1", WIDE];
    let chosen: Vec<&str> = large.iter().chain(set).flat_map(|set| ["--set", *set]).collect();
    let trained = bench.run(&[&["train", "job.toml", "--run", run][..], &chosen].concat());
    assert!(trained.ok, "{}", trained.err);
    trained
}

#[test]
fn batches_are_halved_until_they_fit() {
    let bench = Bench::new();
    let step = |name: &str, memory: &str| {
        let trained = train(&bench, name, &["train.max_steps=1", memory]);
        let config = std::fs::read_to_string(bench.path(name).join("config.toml")).unwrap();
        let number = |key: &str| {
            let line = config.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
            line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
        };
        (number("tokens_per_batch"), number("gradient_accumulation_steps"), trained.out)
    };
    let (tokens, batches, out) = step("roomy", "train.max_memory_gib=40");
    assert_eq!((tokens, batches), (2048, 1), "{out}");
    let (tokens, batches, out) = step("tight", "train.max_memory_gib=0.16");
    assert!(tokens < 2048 && tokens * batches == 2048, "{tokens} {batches}: {out}");
    let arguments =
        ["train", "job.toml", "--run", "none", "--set", WIDE, "--set", "train.max_memory_gib=0.01"];
    let found = bench.run(&arguments);
    assert!(!found.ok && found.err.contains("train.max_memory_gib = 0.01: batches of"), "{}", found.err);
    assert!(!bench.path("none").exists());
}

/// The losses of the second step.
fn losses(bench: &Bench, run: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(bench.path(run).join("metrics.jsonl")).unwrap();
    let mut events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let step = events.find(|event| event["event"] == "step" && event["step"] == 2).unwrap();
    step["losses"].as_object().unwrap().values().map(|loss| loss.as_f64().unwrap()).collect()
}

/// A run that is resumed with less memory than it began with.
#[test]
fn a_step_that_does_not_fit_is_repeated_in_chunks_with_the_same_result() {
    let bench = Bench::new();
    let once = std::fs::read_to_string(bench.path("train.jsonl")).unwrap();
    bench.write("train.jsonl", once.repeat(4));
    let large = ["train.max_steps=2", "train.max_memory_gib=40", "train.tokens_per_batch=8192"];
    let began = train(&bench, "run", &large);
    let expected = losses(&bench, "run");
    let most = |out: &str| -> f64 {
        let (_, told) = out.split_once("at most ").unwrap();
        told.split(' ').next().unwrap().parse().unwrap()
    };
    let mib = 0.6 * most(&began.out);
    std::fs::remove_dir_all(bench.path("run/checkpoints/000002")).unwrap();
    std::fs::remove_dir_all(bench.path("run/model")).unwrap();
    bench.edit("run/config.toml", "max_memory_gib = 40.0", &format!("max_memory_gib = {}", mib / 1024.0));
    let went_on = bench.run(&["train", "--resume", "run"]);
    assert!(went_on.ok, "{mib} MiB: {}", went_on.err);
    assert!(went_on.err.contains("no memory left for step 2: it is done again"), "{mib}: {}", went_on.err);
    let found = losses(&bench, "run");
    assert!(found.len() == 2 && found.len() == expected.len());
    found.iter().zip(&expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{a} {b}"));
    assert!(most(&went_on.out) < 1.15 * mib, "{} of {mib} MiB", most(&went_on.out));
}

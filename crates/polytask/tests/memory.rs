//! A bound on memory: packs that fit it, and steps that are done in halves where they do not.
#![cfg(target_os = "linux")]

mod bench;

use bench::Bench;
use serde_json::Value;

/// States are large beside the weights.
const WIDE: &str = "model.backbone={bert={layers=4,hidden=128,heads=4,max_length=128}}";

fn train(bench: &Bench, run: &str, set: &[&str]) -> bench::Ran {
    let large = ["train.tokens_per_step=2048", "train.checkpoint_every=1", WIDE];
    let chosen: Vec<&str> = large.iter().chain(set).flat_map(|set| ["--set", *set]).collect();
    let trained = bench.run(&[&["train", "job.toml", "--run", run][..], &chosen].concat());
    assert!(trained.ok, "{}", trained.err);
    trained
}

#[test]
fn packs_are_as_small_as_the_memory_wants() {
    let bench = Bench::new();
    let step = |name: &str, memory: &str| {
        let trained = train(&bench, name, &["train.max_steps=1", memory]);
        let config = std::fs::read_to_string(bench.path(name).join("config.toml")).unwrap();
        let number = |key: &str| {
            let line = config.lines().find(|line| line.starts_with(&format!("{key} = "))).unwrap();
            line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()
        };
        (number("tokens_per_step"), number("accumulate"), trained.out)
    };
    let (tokens, packs, out) = step("roomy", "train.memory_gib=40");
    assert_eq!((tokens, packs), (2048, 1), "{out}");
    let (tokens, packs, out) = step("tight", "train.memory_gib=0.11");
    assert!(tokens < 2048 && tokens * packs == 2048, "{tokens} {packs}: {out}");
    let arguments = ["train", "job.toml", "--run", "none", "--set", WIDE, "--set", "train.memory_gib=0.01"];
    let found = bench.run(&arguments);
    assert!(!found.ok && found.err.contains("train.memory_gib = 0.01: packs of"), "{}", found.err);
    assert!(!bench.path("none").exists());
}

/// The losses of the second step.
fn losses(bench: &Bench, run: &str) -> Vec<f64> {
    let text = std::fs::read_to_string(bench.path(run).join("metrics.jsonl")).unwrap();
    let mut events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let step = events.find(|event| event["event"] == "step" && event["step"] == 2).unwrap();
    step["losses"].as_object().unwrap().values().map(|loss| loss.as_f64().unwrap()).collect()
}

/// A run that goes on where there is less memory than where it began.
#[test]
fn a_step_without_room_is_done_in_halves_with_the_same_result() {
    let bench = Bench::new();
    let once = std::fs::read_to_string(bench.path("train.jsonl")).unwrap();
    bench.write("train.jsonl", once.repeat(4));
    let large = ["train.max_steps=2", "train.memory_gib=40", "train.tokens_per_step=8192"];
    let began = train(&bench, "run", &large);
    let expected = losses(&bench, "run");
    let most = |out: &str| -> f64 {
        let (_, told) = out.split_once("at most ").unwrap();
        told.split(' ').next().unwrap().parse().unwrap()
    };
    let mib = 0.6 * most(&began.out);
    std::fs::remove_dir_all(bench.path("run/checkpoints/000002")).unwrap();
    std::fs::remove_dir_all(bench.path("run/model")).unwrap();
    bench.edit("run/config.toml", "memory_gib = 40.0", &format!("memory_gib = {}", mib / 1024.0));
    let went_on = bench.run(&["train", "--resume", "run"]);
    assert!(went_on.ok, "{mib} MiB: {}", went_on.err);
    assert!(went_on.err.contains("no memory left for step 2: it is done again"), "{mib}: {}", went_on.err);
    let found = losses(&bench, "run");
    assert!(found.len() == 2 && found.len() == expected.len());
    found.iter().zip(&expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-4, "{a} {b}"));
    assert!(most(&went_on.out) < 1.15 * mib, "{} of {mib} MiB", most(&went_on.out));
}

//! The folder of a run: whom it belongs to, and what is never done to it.

use crate::bench::Bench;
use std::collections::BTreeSet;
use std::fs;
use std::process::{Child, Stdio};

fn spawn(bench: &Bench, arguments: &[&str]) -> Child {
    bench.command(arguments).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn a_folder_with_something_else_is_left_alone() {
    let bench = Bench::new();
    bench.write("mine/model/precious.bin", "x");
    bench.write("mine/data.json", "mine");
    for folder in ["mine", "."] {
        let refused = bench.run(&["train", "job.toml", "--run", folder]);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(refused.err.contains("is not empty"), "{}", refused.err);
    }
    assert_eq!(fs::read_dir(bench.path("mine")).unwrap().count(), 2);
    assert_eq!(fs::read_to_string(bench.path("mine/data.json")).unwrap(), "mine");
    // Refused for its data, a run leaves no folder behind.
    bench.write("train.jsonl", "no json\n");
    assert_eq!(bench.run(&["train", "job.toml"]).code, 2);
    assert!(!bench.path("runs/job").exists());
}

#[test]
fn trainings_that_begin_together_have_folders_of_their_own() {
    let bench = Bench::new();
    let seeds: Vec<String> = (0..4).map(|seed| format!("train.seed={seed}")).collect();
    let children: Vec<Child> =
        seeds.iter().map(|seed| spawn(&bench, &["train", "job.toml", "--set", seed])).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let mut found = BTreeSet::new();
    for number in 1..=4 {
        let name = if number == 1 { "job".into() } else { format!("job-{number}") };
        let config = fs::read_to_string(bench.path("runs").join(&name).join("config.toml")).unwrap();
        let seed = config.lines().find(|line| line.starts_with("seed")).unwrap().to_owned();
        assert!(found.insert(seed.clone()), "{seed} twice");
        // The weights are those of the config: the same seed alone gives the same file.
        let alone = format!("alone{number}");
        let set = format!("train.seed={}", seed.split("= ").nth(1).unwrap());
        assert!(bench.run(&["train", "job.toml", "--set", &set, "--run", &alone]).ok);
        let weights = |run: String| fs::read(bench.path(&run).join("model/model.safetensors")).unwrap();
        assert_eq!(weights(format!("runs/{name}")), weights(alone));
    }
}

#[cfg(unix)]
#[test]
fn a_run_is_trained_by_one_process_at_a_time() {
    let bench = Bench::new();
    let mut first = spawn(&bench, &["train", "job.toml", "--run", "run", "--set", "train.epochs=5000"]);
    while !bench.path("run/metrics.jsonl").exists() {
        assert!(first.try_wait().unwrap().is_none(), "the first ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    for arguments in [&["train", "--resume", "run"][..], &["train", "job.toml", "--run", "run"]] {
        let second = bench.run(arguments);
        assert_eq!(second.code, 2, "{}", second.err);
    }
    let second = bench.run(&["train", "--resume", "run"]);
    assert!(second.err.contains(&format!("is being trained by process {}", first.id())), "{}", second.err);
    // However the first ends, its lock ends with it.
    first.kill().unwrap();
    first.wait().unwrap();
    bench.edit("run/config.toml", "epochs = 5000", "epochs = 1");
    fs::remove_file(bench.path("run/data.json")).unwrap();
    fs::remove_dir_all(bench.path("run/checkpoints")).ok();
    fs::remove_file(bench.path("run/metrics.jsonl")).unwrap();
    let resumed = bench.run(&["train", "--resume", "run"]);
    assert!(resumed.ok, "{}", resumed.err);
    assert!(bench.path("run/data.json").is_file(), "what a kill left out is written");
}

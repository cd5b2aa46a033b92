//! `train --resume RUN --set train.epochs=N`: a run that is trained further.

use crate::bench::Bench;
use serde_json::Value;
use std::fs;

fn last_step(bench: &Bench) -> u64 {
    let text = fs::read_to_string(bench.path("run/metrics.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events
        .filter(|event| event["event"] == "step")
        .map(|event| event["step"].as_u64().unwrap())
        .max()
        .unwrap()
}

#[test]
fn a_finished_run_is_trained_further_and_its_config_says_so() {
    let bench = Bench::new();
    assert!(bench.run(&["train", "job.toml", "--run", "run"]).ok);
    let (config, steps) = (fs::read_to_string(bench.path("run/config.toml")).unwrap(), last_step(&bench));

    let finished = bench.run(&["train", "--resume", "run"]);
    assert!(finished.ok, "{}", finished.err);
    assert!(
        finished.out.contains(&format!("run is finished, after {steps} steps: nothing was done")),
        "{}",
        finished.out
    );
    assert!(finished.out.contains("polytask train --resume run --set train.epochs=6"), "{}", finished.out);

    for (set, reason) in [
        ("optimizer.adamw.learning_rate=1e-4", "a run keeps its settings; only its length can be raised"),
        ("train.epochs=2", "the run has train.epochs = 3, and can become longer, not shorter"),
        ("train.max_steps=400", "the run has no train.max_steps, and a limit does not make it longer"),
    ] {
        let refused = bench.run(&["train", "--resume", "run", "--set", set]);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(refused.err.contains(reason), "{}", refused.err);
        assert_eq!(fs::read_to_string(bench.path("run/config.toml")).unwrap(), config);
    }

    let further = bench.run(&["train", "--resume", "run", "--set", "train.epochs=5"]);
    assert!(further.ok, "{}", further.err);
    assert!(further.out.contains("trained further: "), "{}", further.out);
    assert!(further.out.contains("linear was at its end and begins again over the"), "{}", further.out);
    assert_eq!(last_step(&bench), steps * 5 / 3);
    let longer = fs::read_to_string(bench.path("run/config.toml")).unwrap();
    assert_eq!(longer, config.replace("epochs = 3", "epochs = 5"));

    // The same command again finds a finished run.
    let again = bench.run(&["train", "--resume", "run", "--set", "train.epochs=5"]);
    assert!(again.ok && again.out.contains("is finished"), "{}{}", again.out, again.err);
    assert!(bench.run(&["evaluate", "run"]).ok);

    // A run that was ended before its first checkpoint begins again, with the greater length in its config.
    fs::remove_dir_all(bench.path("run/checkpoints")).unwrap();
    fs::remove_file(bench.path("run/metrics.jsonl")).unwrap();
    let begun = bench.run(&["train", "--resume", "run", "--set", "train.epochs=6"]);
    assert!(begun.ok, "{}", begun.err);
    assert_eq!(
        fs::read_to_string(bench.path("run/config.toml")).unwrap(),
        config.replace("epochs = 3", "epochs = 6")
    );
    let again = bench.run(&["train", "--resume", "run"]);
    assert!(again.ok && again.out.contains("is finished"), "{}{}", again.out, again.err);
}

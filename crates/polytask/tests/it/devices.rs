//! Every device as a user meets it: what this build has trains, scores and answers; what it has not is refused, with what
//! helps.

use crate::bench::Bench;
use model::DeviceName;
use serde_json::Value;

const LINES: &[u8] = "the team won\n\u{200b}\nshares of Ada fell\n".as_bytes();

/// The labels of every line.
fn answers(bench: &Bench, device: &str) -> Vec<Value> {
    let answered = bench.feed(&["predict", "run", "--device", device], LINES);
    let of = |line: &str| {
        let answer: Value = serde_json::from_str(line).unwrap();
        (answer["tasks"]["topic"]["label"].clone(), answer["tasks"]["tags"]["entities"][0]["label"].clone())
    };
    answered.out.lines().map(of).flat_map(|(topic, tag)| [topic, tag]).collect()
}

fn scores(bench: &Bench, device: &[&str]) -> Value {
    let scored = bench.run(&[&["evaluate", "run", "--split", "test", "--json"], device].concat());
    assert!(scored.ok, "{}", scored.err);
    let mut scores: Value = serde_json::from_str(&scored.out).unwrap();
    scores["tasks"].as_object_mut().unwrap().values_mut().for_each(|task| task["loss"] = Value::Null);
    scores
}

fn trains_scores_and_answers(device: DeviceName) {
    let bench = Bench::new();
    let key = format!("train.device={device}");
    let checked = bench.run(&["check", "job.toml", "--set", &key]);
    assert!(checked.out.contains(&format!("computed on {device}")), "{}{}", checked.out, checked.err);
    let trained = bench.run(&["train", "job.toml", "--run", "run", "--set", &key]);
    assert!(trained.ok && trained.out.contains(&format!(", on {device}")), "{}{}", trained.out, trained.err);
    // The device of the run by default, any other by name: the same scores and answers.
    assert_eq!(scores(&bench, &[]), scores(&bench, &["--device", "cpu"]));
    assert_eq!(answers(&bench, device.name()), answers(&bench, "cpu"));
}

fn is_refused(device: DeviceName) {
    let bench = Bench::new();
    assert!(bench.run(&["train", "job.toml", "--run", "run"]).ok);
    let (key, name) = (format!("train.device={device}"), device.name());
    for arguments in [
        &["check", "job.toml", "--set", &key][..],
        &["train", "job.toml", "--run", "other", "--set", &key],
        &["evaluate", "run", "--device", name],
        &["predict", "run", "--device", name],
        &["demo", "--dir", "demo", "--device", name],
    ] {
        let ran = bench.run(arguments);
        assert_eq!(ran.code, 2, "{arguments:?}: {}", ran.err);
        let remedy = format!("cargo build --release --features {device}");
        assert!(ran.err.contains(&remedy) && ran.err.lines().count() == 1, "{arguments:?}: {}", ran.err);
    }
    assert!(!bench.path("other").exists() && !bench.path("demo").exists());
}

#[test]
fn every_device_is_used_or_refused() {
    for device in DeviceName::ALL {
        if DeviceName::BUILT.contains(&device) {
            trains_scores_and_answers(device)
        } else {
            is_refused(device)
        }
    }
}

#[test]
fn a_name_of_no_device_is_answered_with_those_there_are() {
    let bench = Bench::new();
    for arguments in
        [&["check", "job.toml", "--set", "train.device=gpu"][..], &["predict", "run", "--device", "gpu"]]
    {
        let ran = bench.run(arguments);
        assert_eq!(ran.code, 2, "{}", ran.err);
        assert!(["gpu", "cpu", "cuda", "wgpu"].iter().all(|name| ran.err.contains(name)), "{}", ran.err);
    }
}

/// Activation checkpointing is for the processor alone.
#[test]
fn what_a_device_cannot_do_is_refused() {
    let bench = Bench::new();
    let arguments =
        ["check", "job.toml", "--set", "train.activation_checkpointing=true", "--set", "train.device=wgpu"];
    let ran = bench.run(&arguments);
    assert_eq!(ran.code, 2, "{}", ran.err);
    assert!(ran.err.contains("works on the cpu alone, not on wgpu"), "{}", ran.err);
}

#[cfg(feature = "wgpu")]
#[test]
fn a_driver_that_is_missing_is_named() {
    let bench = Bench::new();
    let mut check = bench.command(&["check", "job.toml", "--set", "train.device=wgpu"]);
    // What Vulkan's loader looks for its drivers by.
    let without = check.env("VK_ICD_FILENAMES", "/nowhere").env("VK_DRIVER_FILES", "/nowhere");
    let ran = without.output().unwrap();
    let said = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code(), Some(2), "{said}");
    assert!(said.contains("mesa-vulkan-drivers") && !said.contains("panicked"), "{said}");
}

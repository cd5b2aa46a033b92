//! `polytask lr-find`: a proposal that trains, a drawing, nothing left behind.

use crate::bench::Bench;
use serde_json::Value;
use std::collections::BTreeSet;

/// What lies in the folder, but for the cache.
fn files(bench: &Bench) -> BTreeSet<String> {
    let entries = std::fs::read_dir(bench.path(".")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "cache").collect()
}

#[test]
fn it_proposes_a_rate_that_learns_and_leaves_nothing_behind() {
    let bench = Bench::new();
    let before = files(&bench);
    let told = bench.run(&["lr-find", "job.toml", "--to", "100", "--json"]);
    assert!(told.ok, "{}", told.err);
    assert_eq!(files(&bench), before);
    let told: Value = serde_json::from_str(&told.out).unwrap();
    let tried = told["trials"].as_array().unwrap();
    let number = |value: &Value| value.as_f64().unwrap();
    let rates: Vec<f64> = tried.iter().map(|tried| number(&tried["rate"])).collect();
    assert!((rates[0] - 1e-7).abs() < 1e-15 && rates.windows(2).all(|two| two[1] > two[0]));
    assert!(tried.iter().all(|tried| tried["smoothed"]["topic"].is_number()));

    // It stops where it diverges: at four times the least mean, or at a loss that is no number.
    let means: Vec<f64> = tried.iter().map(|tried| number(&tried["mean"])).collect();
    let diverged = number(&told["diverged"]);
    let least = means.iter().copied().fold(f64::INFINITY, f64::min);
    let last = means[means.len() - 1];
    assert!(rates.len() < 100 && rates.last().is_some_and(|rate| diverged >= *rate), "{diverged}");
    assert!(last > 4.0 * least || diverged > rates[rates.len() - 1], "{last}, least {least}");
    let mut lowest = f64::INFINITY;
    for mean in &means[..means.len() - 1] {
        lowest = lowest.min(*mean);
        assert!(*mean <= 4.0 * lowest, "it goes on only while it has not diverged: {means:?}");
    }

    let (steepest, proposed) = (number(&told["steepest"]), number(&told["proposed"]));
    assert!(rates.contains(&steepest));
    assert_eq!(proposed, steepest.min(diverged / 10.0));
    assert!(least < 0.7 * means[0], "losses fall on the way: {} to {least}", means[0]);
    // The proposal learns what a rate from the beginning of the test does not.
    let loss = |run: &str, rate: f64| {
        let set = format!("optimizer.adamw.learning_rate={rate:e}");
        assert!(bench.run(&["train", "job.toml", "--run", run, "--set", &set]).ok);
        let scored = bench.run(&["evaluate", run, "--json"]);
        let scores: Value = serde_json::from_str(&scored.out).unwrap();
        number(&scores["tasks"]["topic"]["loss"])
    };
    let (good, slow) = (loss("good", proposed), loss("slow", rates[0]));
    assert!(good < 0.5 * slow, "{good}, {slow}");
}

#[test]
fn it_prints_a_table_and_draws() {
    let bench = Bench::new();
    let arguments = ["lr-find", "job.toml", "--steps", "40", "--from", "1e-5", "--svg", "rates.svg"];
    let heads = "optimizer.adamw.head_learning_rate=0.02";
    let told = bench
        .run(&[&arguments[..], &["--set", heads, "--set", "task.tags.head_learning_rate=0.01"]].concat());
    assert!(told.ok, "{}", told.err);
    for part in [
        "learning rate",
        "smoothed loss",
        "topic",
        "tags",
        "steepest descent",
        "1.00e-5",
        "drawn in rates.svg",
    ] {
        assert!(told.out.contains(part), "{part}:\n{}", told.out);
    }
    // The heads had twice the trunk's rate in the test, and so in what is proposed.
    let proposed = |key: &str| {
        let (_, rest) = told.out.split_once(&format!("optimizer.adamw.{key}=")).expect(key);
        rest.split_whitespace().next().unwrap().parse::<f64>().unwrap()
    };
    let ratio = proposed("head_learning_rate") / proposed("learning_rate");
    assert!((ratio - 2.0).abs() < 0.1, "{ratio}");
    assert!(told.out.contains("rate of their own, tags"), "{}", told.out);
    let svg = std::fs::read_to_string(bench.path("rates.svg")).unwrap();
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
    assert_eq!(svg.matches("<polyline").count(), 3, "the mean and two tasks");
    assert!(svg.contains(">weighted mean</text>") && svg.contains(">A: steepest descent</text>"));
}

#[test]
fn ranges_that_make_no_sense_are_refused() {
    let bench = Bench::new();
    let told = bench.run(&["lr-find", "job.toml", "--from", "0.1", "--to", "0.01", "--steps", "3"]);
    assert_eq!(told.code, 2);
    for part in [
        "--steps: found 3, expected 20 to 100000",
        "--to: found 0.01, expected a learning rate above the first",
    ] {
        assert!(told.err.contains(part), "{}", told.err);
    }
}

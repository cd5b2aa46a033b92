//! `compare` and `sweep`: many trainings held against each other.

use crate::bench::{Bench, json};
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// The corpus, with tags on few rows, and a third task.
fn bench() -> Bench {
    let bench = Bench::new();
    let text = fs::read_to_string(bench.path("train.jsonl")).unwrap();
    let few = text.lines().enumerate().map(|(i, line)| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        if i >= 30 {
            row.as_object_mut().unwrap().remove("tags");
        }
        row.to_string() + "\n"
    });
    bench.write("train.jsonl", few.collect::<String>());
    let config = fs::read_to_string(bench.path("job.toml")).unwrap();
    bench.write(
        "job.toml",
        config.replace("threads = 1\n", "")
            + "\n[task.again]\ncorpus = \"news\"\nimportance = 0.5\nclassification = { text = \"text\", label = \"topic\" }\n",
    );
    bench
}

/// The scores of a comparison, without what depends on the machine.
fn scores(comparison: &Value) -> Vec<Value> {
    let contestants = comparison["contestants"].as_array().unwrap();
    contestants.iter().map(|one| serde_json::json!([one["name"], one["scores"], one["delta_m"]])).collect()
}

#[test]
fn one_model_is_held_against_a_model_for_each_task() {
    let bench = bench();
    let ran =
        bench.run(&["compare", "job.toml", "--dir", "all", "--seeds", "2", "--pairs", "--resamples", "50"]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    for says in [
        "14 trainings",
        "alone | together | topic + tags",
        "Delta-m",
        "no difference shown",
        "Two seeds tell little",
    ] {
        assert!(ran.out.contains(says), "{says}: {}", ran.out);
    }
    let comparison = json(&bench, "all/comparison.json");
    assert_eq!(comparison["seeds"], serde_json::json!([17, 18]));
    assert_eq!(comparison["reference"], "alone");
    let tags = comparison["tasks"].as_array().unwrap().iter().find(|task| task["task"] == "tags").unwrap();
    assert_eq!((tags["train_rows"].as_u64(), tags["rows"].as_u64()), (Some(30), Some(30)));

    // Each has as many steps; the model alone sees as many rows of its task.
    let result = |trial: &str| json(&bench, &format!("all/trials/{trial}/result.json"));
    let (together, tags) = (result("together-1"), result("alone-tags-1"));
    assert_eq!(together["steps"], tags["steps"]);
    assert_eq!(tags["tasks"], serde_json::json!(["tags"]));
    let rows = |trial: &str| {
        let text = fs::read_to_string(bench.path(&format!("all/trials/{trial}/metrics.jsonl"))).unwrap();
        let mut events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let usage = events.rfind(|event| event["event"] == "usage_report").unwrap();
        usage["tasks"]["tags"]["rows"].as_u64().unwrap()
    };
    let (among, alone) = (rows("together-1"), rows("alone-tags-1"));
    assert!(alone.abs_diff(among) * 10 <= among, "{alone} rows alone, {among} among all");
    // The model for all begins with the weights and the vocabulary that the models alone begin with.
    let config = fs::read_to_string(bench.path("all/configs/alone-tags-1.toml")).unwrap();
    assert!(config.contains("tokenizer.json"), "{config}");
    assert_eq!(together["trunk_parameters"], tags["trunk_parameters"]);

    // A trial is an ordinary training of its config.
    let again = bench.run(&["train", "all/configs/alone-topic-2.toml", "--run", "again"]);
    assert!(again.ok, "{}", again.err);
    let scored = bench.run(&["evaluate", "again", "--json"]);
    let scored: Value = serde_json::from_str(&scored.out).unwrap();
    let kept = result("alone-topic-2");
    let topic = kept["scores"].as_array().unwrap().iter().find(|score| score["task"] == "topic").unwrap();
    assert_eq!(scored["tasks"]["topic"]["scores"]["accuracy"], topic["value"]);
    assert_eq!(topic["resampled"].as_array().unwrap().len(), 50);
    assert!(fs::read_to_string(bench.path("all/report.html")).unwrap().contains("Did sharing help?"));

    // Done is done: the same again trains nothing.
    let began = Instant::now();
    let done = bench.run(&["compare", "--resume", "all", "--json"]);
    assert!(done.ok, "{}", done.err);
    let repeated: Value = serde_json::from_str(&done.out).unwrap();
    assert_eq!(scores(&repeated), scores(&comparison));
    assert!(began.elapsed() < Duration::from_secs(60));
}

#[test]
fn an_interrupted_comparison_goes_on() {
    let bench = bench();
    let arguments =
        ["--seeds", "2", "--resamples", "50", "--grid", "balance=equal,uncertainty", "--jobs", "2"];
    let whole = bench.run(&[&["compare", "job.toml", "--dir", "whole"], &arguments[..]].concat());
    assert!(whole.ok, "{}{}", whole.out, whole.err);

    let mut command = bench.command(&[&["compare", "job.toml", "--dir", "part"], &arguments[..]].concat());
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let first = bench.path("part/trials/alone-topic-1/result.json");
    let began = Instant::now();
    while !first.exists() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!bench.path("part/comparison.json").exists());

    // Those who trained stop by themselves when nobody waits for them, and are waited for.
    let resumed = bench.run(&["compare", "--resume", "part"]);
    assert!(resumed.ok, "{}{}", resumed.out, resumed.err);
    assert_eq!(scores(&json(&bench, "part/comparison.json")), scores(&json(&bench, "whole/comparison.json")));
}

#[test]
fn other_domains_are_scored_and_never_trained_on() {
    let bench = bench();
    let text = fs::read_to_string(bench.path("test.jsonl")).unwrap();
    bench.write("far.jsonl", text.replace("\"sport\"", "\"weather\""));
    bench.edit(
        "job.toml",
        "[task.topic]\n",
        "[corpus.far]\ntest = \"far.jsonl\"\n\n[task.topic]\nout_of_domain = [\"far\"]\n",
    );
    let ran = bench.run(&[
        "compare",
        "job.toml",
        "--dir",
        "all",
        "--seeds",
        "1",
        "--resamples",
        "50",
        "--budget",
        "compute",
    ]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("topic on far") && ran.out.contains("one seed: no verdict"), "{}", ran.out);
    let comparison = json(&bench, "all/comparison.json");
    let far =
        comparison["tasks"].as_array().unwrap().iter().position(|task| task["corpus"] == "far").unwrap();
    for one in comparison["contestants"].as_array().unwrap() {
        // Half of its labels are no labels of the task: these rows count as wrong.
        assert!(one["scores"][far]["mean"].as_f64().unwrap() <= 0.5, "{one}");
    }
    // The three models together train on as many tokens as the one.
    let tokens =
        |trial: &str| json(&bench, &format!("all/trials/{trial}/result.json"))["tokens"].as_f64().unwrap();
    let alone: f64 =
        ["topic", "tags", "again"].map(|task| tokens(&format!("alone-alone-{task}-1"))).iter().sum();
    let ratio = alone / tokens("together-1");
    assert!((0.85..1.15).contains(&ratio), "{ratio}");
    let scored = bench.run(&["evaluate", "all/trials/together-1"]);
    assert!(scored.ok && scored.out.contains("topic on far"), "{}{}", scored.out, scored.err);

    bench.edit("job.toml", "out_of_domain = [\"far\"]", "out_of_domain = [\"news\"]");
    let refused = bench.run(&["check", "job.toml"]);
    assert!(refused.code == 2 && refused.err.contains("which is its own"), "{}", refused.err);
}

#[test]
fn every_model_is_tuned_alike() {
    let bench = bench();
    let ran = bench.run(&[
        "compare",
        "job.toml",
        "--dir",
        "all",
        "--seeds",
        "2",
        "--resamples",
        "50",
        "--tune",
        "optimizer.adamw.learning_rate=1e-6,1e-2",
    ]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("12 trainings"), "4 models, 2 settings and another seed: {}", ran.out);
    assert!(ran.out.contains("of 2 settings each model has the one that was best"), "{}", ran.out);
    let comparison = json(&bench, "all/comparison.json");
    let tuned = comparison["tuned"].as_array().unwrap();
    assert_eq!(tuned.len(), 4);
    assert!(tuned.iter().all(|one| one["setting"] == "optimizer.adamw.learning_rate=1e-2"), "{tuned:?}");
    let trained =
        fs::read_to_string(bench.path("all/configs/together-optimizer.adamw.learning_rate=1e-2-2.toml"));
    assert!(trained.unwrap().contains("learning_rate = 0.01"));
    // Nothing was trained twice.
    let runs = fs::read_dir(bench.path("all/configs")).unwrap().count();
    assert_eq!(runs, 12);
}

#[test]
fn groups_are_trained_and_compared() {
    let bench = bench();
    bench.write("groups.toml", "groups = [[\"topic\", \"tags\"], [\"again\"]]\n");
    let ran = bench.run(&["train", "job.toml", "--groups", "groups.toml", "--run", "models"]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    assert!(ran.out.contains("model 2 of 2: again"), "{}", ran.out);
    let scored = bench.run(&["evaluate", "models/topic+tags", "--json"]);
    let scored: Value = serde_json::from_str(&scored.out).unwrap();
    assert_eq!(scored["tasks"].as_object().unwrap().keys().collect::<Vec<_>>(), ["topic", "tags"]);
    let again = bench.run(&["train", "job.toml", "--groups", "groups.toml", "--run", "models"]);
    assert!(again.ok && !again.out.contains("epoch"), "{}{}", again.out, again.err);
    bench.write("groups.toml", "groups = [[\"topic\"], [\"tags\", \"again\"]]\n");
    let other = bench.run(&["train", "job.toml", "--groups", "groups.toml", "--run", "models"]);
    assert!(other.code == 2 && other.err.contains("for other groups"), "{}", other.err);

    let ran = bench.run(&["compare", "job.toml", "--groups", "groups.toml", "--dir", "all", "--seeds", "1"]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    let comparison = json(&bench, "all/comparison.json");
    let one = |name: &str| {
        let found = comparison["contestants"].as_array().unwrap();
        found.iter().find(|one| one["name"] == name).unwrap().clone()
    };
    assert_eq!((one("alone")["models"].as_u64(), one("groups")["models"].as_u64()), (Some(3), Some(2)));
    // The model for topic alone is one training for both.
    assert_eq!(one("alone")["scores"][0]["values"], one("groups")["scores"][0]["values"]);
    assert!(!bench.path("all/trials/topic-1").exists());
}

#[test]
fn what_cannot_be_compared_is_refused() {
    let bench = bench();
    bench.write("groups.toml", "groups = [[\"topic\", \"tags\"]]\n");
    bench.write("torn.toml", "groups = [[\"topic\"\n");
    for (arguments, says) in [
        (&["--grid", "train.epochs=1,2"][..], "changes models for one task, too"),
        (&["--grid", "balance"], "expected KEY=VALUE,VALUE"),
        (&["--tune", "train.epoch=1,2"], "epochs"),
        (&["--grid", "balance=nonsense"], "nonsense"),
        (&["--groups", "groups.toml"], "task `again` is in no group"),
        (&["--groups", "torn.toml"], "torn.toml"),
        (&["--set", "train.max_minutes=1"], "train.max_minutes"),
        (&["--set", "task.tags.budget.seconds=1"], "task.tags.budget.seconds"),
        (&["--set", "train.seed=9223372036854775807"], "the seeds after it are too large"),
    ] {
        let refused = bench.run(&[&["compare", "job.toml", "--dir", "none"], arguments].concat());
        assert_eq!(refused.code, 2, "{arguments:?}: {}{}", refused.out, refused.err);
        assert!(refused.err.contains(says), "{arguments:?}: {}", refused.err);
        assert!(!bench.path("none/trials").exists(), "{arguments:?}");
    }
    let nothing = bench.run(&["compare", "--resume", "nowhere"]);
    assert!(nothing.code == 2 && nothing.err.contains("study.json"), "{}", nothing.err);
    let dry = bench.run(&["compare", "job.toml", "--dir", "none", "--dry-run"]);
    assert!(dry.ok && dry.out.contains("12 trainings"), "{}{}", dry.out, dry.err);
    assert!(!bench.path("none").exists());
}

#[test]
fn a_result_that_was_lost_is_made_again() {
    let bench = bench();
    let ran = bench.run(&["compare", "job.toml", "--dir", "all", "--seeds", "1", "--resamples", "50"]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    let (comparison, page) = (json(&bench, "all/comparison.json"), bench.path("all/report.html"));
    let page = (fs::read(&page).unwrap(), page);
    bench.write("all/trials/alone-tags-1/result.json", "{\"name\": \"alone-ta");
    let again = bench.run(&["compare", "--resume", "all"]);
    assert!(again.ok, "{}{}", again.out, again.err);
    assert_eq!(scores(&json(&bench, "all/comparison.json")), scores(&comparison));

    // A study is no run, whose config `train` would go on with, and no place for another.
    bench.write("all/report.html", &page.0);
    let resumed = bench.run(&["train", "--resume", "all"]);
    assert!(resumed.code == 2 && resumed.err.contains("is a study, not a run"), "{}", resumed.err);
    assert_eq!(fs::read(&page.1).unwrap(), page.0);
    let taken = bench.run(&["compare", "job.toml", "--dir", "all"]);
    assert!(taken.code == 2 && taken.err.contains("with --dir"), "{}", taken.err);
    let ignored = bench.run(&["compare", "--resume", "all", "--seeds", "2"]);
    assert!(ignored.code == 2 && ignored.err.contains("--seeds"), "{}", ignored.err);
}

/// The rows of a task, and the steps with such a row, that a trial used.
fn used(bench: &Bench, trial: &str, task: &str) -> (u64, u64) {
    let text = fs::read_to_string(bench.path(&format!("all/trials/{trial}/metrics.jsonl"))).unwrap();
    let mut events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let usage = events.rfind(|event| event["event"] == "usage_report").unwrap();
    let of = |key: &str| usage["tasks"][task][key].as_u64().unwrap();
    (of("rows"), of("steps"))
}

/// Trains a comparison and gives the rows of a task among all and alone.
fn rows_among_and_alone(bench: &Bench, budget: &str, set: &[&str]) -> (u64, u64) {
    let arguments =
        ["compare", "job.toml", "--dir", "all", "--seeds", "1", "--resamples", "50", "--budget", budget];
    let set: Vec<&str> = set.iter().flat_map(|set| ["--set", set]).collect();
    let ran = bench.run(&[&arguments[..], &set].concat());
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    (used(bench, "together-1", "tags").0, used(bench, "alone-tags-1", "tags").0)
}

#[test]
fn a_model_alone_gets_as_many_rows_where_a_limit_or_few_labels_decide() {
    for (budget, set) in [
        // Fewer rows than steps.
        ("steps", &["train.tokens_per_batch=16", "train.epochs=1"][..]),
        ("steps", &["task.tags.budget.tokens=200"]),
        // Steps or tokens end the run before its epochs do.
        ("epochs", &["train.max_steps=8"]),
        ("epochs", &["task.tags.budget.tokens=200"]),
    ] {
        let (among, alone) = rows_among_and_alone(&bench(), budget, set);
        assert!(
            alone.abs_diff(among) * 8 <= among,
            "{budget} {set:?}: {alone} rows alone, {among} among all"
        );
    }
}

#[test]
fn rows_that_are_cut_off_by_seed_are_one_figure() {
    let bench = bench();
    bench.edit("job.toml", "validation = \"valid.jsonl\"\ntest = \"test.jsonl\"", "validation_split = 0.2");
    let ran = bench.run(&["compare", "job.toml", "--dir", "all", "--seeds", "3", "--resamples", "50"]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    let tasks = json(&bench, "all/comparison.json")["tasks"].clone();
    let names: Vec<&str> =
        tasks.as_array().unwrap().iter().map(|task| task["task"].as_str().unwrap()).collect();
    assert_eq!(names, ["topic", "tags", "again"], "each once, whatever the number of its rows");
}

#[test]
fn what_trainings_cannot_be_chosen_by_is_not_swept() {
    let bench = bench();
    let config = fs::read_to_string(bench.path("job.toml")).unwrap();
    for (table, space, says) in [
        ("", "\"task.topic.metric\" = [\"accuracy\"]", "different metrics or rows"),
        ("", "\"corpus.news.validation_split\" = [0.1, 0.2]", "different metrics or rows"),
        ("method = \"successive_halving\"", "\"train.epochs\" = [2, 3]", "take method = "),
        (
            "method = \"grid\"",
            "\"train.epochs\" = { min = 1, max = 9, points = 1000000000000 }",
            "expected 2 to",
        ),
    ] {
        bench.write("sweep.toml", format!("{config}\n[sweep]\n{table}\n[sweep.space]\n{space}\n"));
        let refused = bench.run(&["sweep", "sweep.toml", "--dir", "none"]);
        assert!(refused.code == 2 && refused.err.contains(says), "{space}: {}{}", refused.out, refused.err);
    }
    // The importance of a task that is swept does not weigh the value by which trainings are held against each other.
    let space = "\"task.again.importance\" = [0.5, 1000.0]";
    bench.write("sweep.toml", format!("{config}\n[sweep]\nmethod = \"grid\"\n[sweep.space]\n{space}\n"));
    let ran = bench.run(&["sweep", "sweep.toml", "--dir", "importance", "--set", "train.epochs=1"]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    for trial in json(&bench, "importance/sweep.json")["trials"].as_array().unwrap() {
        let of = |task: &str| trial["validation"][task].as_f64().unwrap();
        let mean = (of("topic") + of("tags") + 0.5 * of("again")) / 2.5;
        assert!((trial["value"].as_f64().unwrap() - mean).abs() < 1e-12, "{trial}");
    }
}

const SWEEP: &str = r#"
[sweep]
method = "grid"

[sweep.space]
"optimizer.adamw.learning_rate" = { min = 1e-5, max = 1e-2, log = true, points = 2 }
balance = ["equal", "uncertainty"]
"#;

#[test]
fn a_sweep_writes_the_config_that_was_best() {
    let bench = bench();
    let config = fs::read_to_string(bench.path("job.toml")).unwrap();
    let refused = bench.run(&["sweep", "job.toml"]);
    assert!(refused.code == 2 && refused.err.contains("[sweep.space]"), "{}", refused.err);
    bench.write("job.toml", config + SWEEP);
    let ran = bench.run(&["sweep", "job.toml", "--dir", "grid"]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    let found = json(&bench, "grid/sweep.json");
    assert_eq!(found["trials"].as_array().unwrap().len(), 4);
    let values: Vec<f64> =
        found["trials"].as_array().unwrap().iter().map(|one| one["value"].as_f64().unwrap()).collect();
    assert!(values.is_sorted_by(|a, b| a >= b), "{values:?}");
    assert_eq!(found["trials"][0]["settings"][0], "0.01", "a rate of 1e-5 learns nothing here");
    let best = bench.run(&["train", "grid/best.toml", "--run", "best"]);
    assert!(best.ok, "{}", best.err);
    let value = format!("{:.2}", 100.0 * values[0]);
    assert!(best.out.contains(&format!("mean {value}")), "{value}: {}", best.out);

    // Halving: four to epoch 1, one to the end; a sweep that goes on does nothing again.
    let ran = bench.run(&[
        "sweep",
        "job.toml",
        "--dir",
        "halving",
        "--set",
        "sweep.method=successive_halving",
        "--set",
        "sweep.trials=4",
    ]);
    assert!(ran.ok, "{}{}", ran.out, ran.err);
    let found = json(&bench, "halving/sweep.json");
    let epochs: Vec<u64> =
        found["trials"].as_array().unwrap().iter().map(|one| one["epochs"].as_u64().unwrap()).collect();
    assert_eq!(epochs, [3, 1, 1, 1]);
    let name = found["trials"][0]["name"].as_str().unwrap();
    assert!(bench.path(&format!("halving/trials/{name}/model/polytask.json")).exists());
    // The one that came to the end was paused and resumed: the same bits as without a pause.
    let plain = bench.run(&["train", &format!("halving/configs/{name}.toml"), "--run", "plain"]);
    assert!(plain.ok, "{}", plain.err);
    let weights = |run: &str| fs::read(bench.path(&format!("{run}/model/model.safetensors"))).unwrap();
    assert!(weights("plain") == weights(&format!("halving/trials/{name}")));
    let again = bench.run(&["sweep", "--resume", "halving", "--json"]);
    assert!(again.ok, "{}", again.err);
    assert_eq!(serde_json::from_str::<Value>(&again.out).unwrap()["trials"], found["trials"]);
}

#[test]
fn ranges_that_are_none_are_refused_before_anything_is_trained() {
    let bench = bench();
    let config = fs::read_to_string(bench.path("job.toml")).unwrap();
    for (space, says) in [
        ("\"train.epoch\" = [1, 2]", "epochs"),
        ("balance = [\"equal\", \"unsure\"]", "unsure"),
        ("\"train.epochs\" = { min = 3, max = 1 }", "min = 3 is not below max = 1"),
        ("\"train.epochs\" = 3", "expected a list of values"),
    ] {
        bench.write("job.toml", format!("{config}\n[sweep.space]\n{space}\n"));
        let refused = bench.run(&["sweep", "job.toml", "--dir", "none"]);
        assert_eq!(refused.code, 2, "{space}: {}{}", refused.out, refused.err);
        assert!(refused.err.contains(says), "{space}: {}", refused.err);
        assert!(!bench.path("none").exists(), "{space}");
    }
}

#[test]
fn models_that_were_trained_before_join_a_comparison() {
    let bench = bench();
    let run = |arguments: &[&str]| {
        let ran = bench.run(arguments);
        assert!(ran.ok, "{arguments:?}: {}{}", ran.out, ran.err);
        ran.out
    };
    run(&["train", "job.toml", "--run", "whole"]);
    run(&["quantize", "whole", "--out", "int8"]);
    run(&["compare", "job.toml", "--dir", "cmp", "--seeds", "1", "--no-alone", "--resamples", "50"]);
    let told = run(&["compare", "--resume", "cmp", "--trained", "small=int8"]);
    assert!(told.contains("small") && told.contains("on disk"), "{told}");
    let found = json(&bench, "cmp/comparison.json");
    let names: Vec<&str> =
        found["contestants"].as_array().unwrap().iter().map(|one| one["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["together", "small"]);
    // The same training, in bytes: scores are near, on the same rows, and the intervals are paired.
    let [together, small] = [0, 1].map(|at| found["contestants"][at].clone());
    assert!(small["bytes"].as_f64() < together["bytes"].as_f64());
    assert!(small["scores"][0]["difference"]["interval"].is_array(), "{small}");

    // Without any training; what has changed since is scored anew.
    let trained = ["--trained", "whole=whole", "--trained", "small=int8"];
    let base = ["compare", "job.toml", "--dir", "of", "--seeds", "1", "--no-training", "--resamples", "50"];
    run(&[&base[..], &trained[..]].concat());
    let found = json(&bench, "of/comparison.json");
    assert_eq!(found["reference"], "whole");
    let first = found["contestants"][1]["bytes"].as_f64().unwrap();
    run(&["compare", "--resume", "of", "--trained", "small=whole"]);
    let again = json(&bench, "of/comparison.json")["contestants"][1]["bytes"].as_f64().unwrap();
    assert!(again > first, "{again} {first}");

    let refused = |arguments: &[&str], reason: &str| {
        let ran = bench.run(arguments);
        assert!(ran.code == 2 && ran.err.contains(reason), "{arguments:?}: {}", ran.err);
    };
    refused(&["compare", "job.toml", "--trained", "small=int8"], "a run for each of 3 seeds");
    refused(&["compare", "job.toml", "--seeds", "1", "--trained", "small"], "NAME=RUN");
    refused(&["compare", "job.toml", "--seeds", "1", "--trained", "alone=int8"], "take another");
    refused(&["compare", "job.toml", "--seeds", "1", "--trained", "x=nowhere"], "nowhere");
}

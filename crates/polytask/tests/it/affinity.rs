//! `polytask affinity`: what it says is what its trainings measured and scored, and it goes on where it was.

use crate::bench::{Bench, json};
use serde_json::Value;
use std::fs;

/// Three tasks on one corpus.
fn bench() -> Bench {
    let bench = Bench::new();
    let third = "[task.copy]\ncorpus = \"news\"\nimportance = 2.0\nclassification = { text = \"text\", label = \"topic\" }\n\n[optimizer.adamw]";
    bench.edit("job.toml", "[optimizer.adamw]", third);
    bench
}

/// The measurements in the metrics of a trial.
fn measured(bench: &Bench, trial: &str) -> Vec<Value> {
    let text = fs::read_to_string(bench.path(trial).join("metrics.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter(|event| event["event"] == "affinity").collect()
}

fn groups(bench: &Bench, dir: &str) -> Vec<Vec<String>> {
    let text = fs::read_to_string(bench.path(dir).join("groups.toml")).unwrap();
    assert!(text.starts_with("# Written by polytask affinity"), "{text}");
    let table: toml::Table = toml::from_str(&text).unwrap();
    table["groups"].clone().try_into().unwrap()
}

#[test]
fn it_tells_what_a_training_measured_and_groups_by_it() {
    let bench = bench();
    let told = bench.run(&["affinity", "job.toml", "--dir", "study", "--measurements", "8"]);
    assert!(told.ok, "{}", told.err);
    for words in [
        "for all tasks",
        "1 training,",
        "Cosine of gradients",
        "Affinity of TAG",
        "topic + copy",
        "in common",
    ] {
        assert!(told.out.contains(words), "{words}:\n{}", told.out);
    }
    let (found, events) = (json(&bench, "study/affinity.json"), measured(&bench, "study/trials/together-1"));
    assert!((8..=10).contains(&events.len()), "{}", events.len());
    assert_eq!(found["measurements"], events.len());
    let names: Vec<&str> =
        found["tasks"].as_array().unwrap().iter().map(|t| t["task"].as_str().unwrap()).collect();
    assert_eq!(names, ["topic", "tags", "copy"]);

    let near = |found: &Value, right: f64| {
        let found = found.as_f64().unwrap();
        assert!((found - right).abs() < 1e-12, "{found} {right}");
    };
    let mean = |values: Vec<f64>| values.iter().sum::<f64>() / values.len() as f64;
    let transfer = |event: &Value, from: &str, to: &str| {
        let all = event["transfers"].as_array().unwrap();
        all.iter().find(|t| t["from"] == from && t["to"] == to).unwrap()["affinity"].as_f64().unwrap()
    };
    for (i, from) in names.iter().enumerate() {
        for (j, to) in names.iter().enumerate() {
            near(
                &found["affinity"][i][j]["mean"],
                mean(events.iter().map(|e| transfer(e, from, to)).collect()),
            );
            let net =
                |e: &Value| transfer(e, from, to) - e["tasks"][to]["without_gradient"].as_f64().unwrap();
            near(&found["net_affinity"][i][j]["mean"], mean(events.iter().map(net).collect()));
            if i == j {
                assert!(found["cosine"][i][j].is_null());
                continue;
            }
            let cosine = |e: &Value| {
                let pairs = e["pairs"].as_array().unwrap();
                let is = |pair: &&Value| {
                    let tasks = pair["tasks"].as_array().unwrap();
                    tasks.iter().any(|t| t == from) && tasks.iter().any(|t| t == to)
                };
                pairs.iter().find(is).unwrap()["cosine"].as_f64().unwrap()
            };
            near(&found["cosine"][i][j]["mean"], mean(events.iter().map(cosine).collect()));
        }
    }
    // Two heads for the same labels agree more than either with the tags.
    let mean = |i: usize, j: usize| found["cosine"][i][j]["mean"].as_f64().unwrap();
    assert!(mean(0, 2) > mean(0, 1).max(mean(1, 2)), "{}", found["cosine"]);
    let mut all: Vec<String> = groups(&bench, "study").into_iter().flatten().collect();
    all.sort();
    assert_eq!(all, ["copy", "tags", "topic"]);
    let page = fs::read_to_string(bench.path("study/report.html")).unwrap();
    assert!(
        page.contains("Over training") && page.contains("How it came about") && page.contains("topic → copy")
    );

    // Grouped anew by something else, nothing is trained.
    let metrics = fs::read(bench.path("study/trials/together-1/metrics.jsonl")).unwrap();
    let again = bench.run(&["affinity", "--resume", "study", "--by", "cosine", "--models", "3", "--json"]);
    assert!(again.ok, "{}", again.err);
    let again: Value = serde_json::from_str(&again.out).unwrap();
    assert_eq!((again["by"].as_str(), &again["cosine"]), (Some("cosine"), &found["cosine"]));
    assert_eq!(fs::read(bench.path("study/trials/together-1/metrics.jsonl")).unwrap(), metrics);
    assert_eq!(again["partitions"].as_array().unwrap().len(), 3);
}

#[test]
fn pairs_and_tasks_one_after_the_other_are_held_against_each_task_alone() {
    let bench = bench();
    let arguments = ["affinity", "job.toml", "--dir", "study", "--pairs", "--intermediate", "--seeds", "2"];
    let told = bench.run(&[&arguments[..], &["--set", "train.max_steps=40"]].concat());
    assert!(told.ok, "{}", told.err);
    // Two seeds of one for all, three alone, three pairs, and six that begin from another.
    assert!(told.out.contains("26 trainings,"), "{}", told.out);
    assert!(told.out.contains("Trained together, in points") && told.out.contains("One after the other"));
    let found = json(&bench, "study/affinity.json");
    let score = |trial: &str, task: &str| {
        let result = json(&bench, &format!("study/trials/{trial}/result.json"));
        let scores = result["scores"].as_array().unwrap();
        let own = scores.iter().find(|score| score["task"] == task).unwrap();
        assert_eq!(own["split"], "validation");
        own["value"].as_f64().unwrap()
    };
    let gain = |trial: &str, task: &str| {
        let of = |seed: &str| {
            score(&format!("{trial}-{seed}"), task) - score(&format!("alone-{task}-{seed}"), task)
        };
        50.0 * (of("1") + of("2"))
    };
    let near = |found: &Value, right: f64| {
        assert!((found["mean"].as_f64().unwrap() - right).abs() < 1e-9, "{found} {right}")
    };
    near(&found["pairs"][0][1], gain("topic+tags", "tags"));
    near(&found["pairs"][1][0], gain("topic+tags", "topic"));
    near(&found["pairs"][2][1], gain("tags+copy", "tags"));
    near(&found["intermediate"][0][1], gain("topic-then-tags", "tags"));
    near(&found["intermediate"][1][0], gain("tags-then-topic", "topic"));
    assert!(found["pairs"][0][0].is_null());
    assert_eq!(found["by"], "pairs");

    // A task begins from the saved trunk of the other with the same seed, and has all else of a training of its own.
    let config = |name: &str| -> toml::Table {
        toml::from_str(&fs::read_to_string(bench.path(&format!("study/configs/{name}.toml"))).unwrap())
            .unwrap()
    };
    let (then, alone) = (config("topic-then-tags-2"), config("alone-tags-2"));
    let trunk = then["model"]["backbone"].as_str().unwrap();
    assert!(trunk.ends_with("study/trials/alone-topic-2/model"), "{trunk}");
    assert_eq!(then["train"], alone["train"]);
    assert_eq!(then["task"], alone["task"]);
    let rate = |of: &toml::Table, key: &str| of["optimizer"]["adamw"][key].as_float().unwrap();
    assert_eq!(rate(&then, "head_learning_rate"), rate(&alone, "learning_rate"));
}

#[test]
fn what_cannot_be_measured_is_refused_and_a_dry_run_leaves_nothing() {
    let bench = Bench::new();
    let dry = bench.run(&["affinity", "job.toml", "--dir", "study", "--pairs", "--seeds", "4", "--dry-run"]);
    assert!(dry.ok && dry.out.contains("16 trainings,"), "{}{}", dry.out, dry.err);
    assert!(!bench.path("study").exists());
    let refused = |arguments: &[&str], words: &str| {
        let told = bench.run(&[&["affinity", "job.toml"], arguments].concat());
        assert!(told.code == 2 && told.err.contains(words), "{arguments:?}: {} {}", told.code, told.err);
    };
    refused(&["--by", "pairs"], "add --pairs");
    refused(&["--set", "train.max_minutes=1"], "max_minutes");
    refused(&["--intermediate", "--set", "sharing.lora={}"], "[sharing]");
    let text = fs::read_to_string(bench.path("job.toml")).unwrap();
    let (from, to) = (text.find("[task.tags]").unwrap(), text.find("[optimizer").unwrap());
    bench.write("job.toml", format!("{}{}", &text[..from], &text[to..]));
    refused(&[], "there is one task");
}

/// Where two tasks are never trained at the same time there is nothing to say of them, and no groups are made up.
#[test]
fn tasks_that_never_meet_have_no_figure_and_no_groups() {
    let bench = bench();
    let text = fs::read_to_string(bench.path("job.toml")).unwrap();
    let phases = "\n[[phase]]\ntasks = [\"topic\", \"tags\"]\nepochs = 2\n\n[[phase]]\ntasks = [\"tags\", \"copy\"]\nepochs = 2\n";
    bench.write("job.toml", text + phases);
    let told = bench.run(&["affinity", "job.toml", "--dir", "study"]);
    assert!(told.ok, "{}", told.err);
    assert!(told.out.contains("No groups by") && told.out.contains("topic -> copy"), "{}", told.out);
    let found = json(&bench, "study/affinity.json");
    assert!(found["cosine"][0][1]["mean"].is_number() && found["cosine"][0][2].is_null());
    assert_eq!(found["partitions"].as_array().unwrap().len(), 0);
    assert!(!bench.path("study/groups.toml").exists() && bench.path("study/report.html").exists());
}

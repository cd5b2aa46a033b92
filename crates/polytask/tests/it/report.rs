//! The page of a run, pages of several runs, and their curves as CSV: all from real runs.

use crate::bench::Bench;
use serde_json::Value;
use std::fs;

/// A run of the small job.
fn trained(name: &str, set: &[&str]) -> (Bench, String) {
    let bench = Bench::new();
    let chosen: Vec<&str> = set.iter().flat_map(|set| ["--set", *set]).collect();
    let ran = bench.run(&[&["train", "job.toml", "--run", name][..], &chosen].concat());
    assert!(ran.ok, "{}", ran.err);
    (bench, ran.out)
}

fn read(bench: &Bench, file: &str) -> String {
    fs::read_to_string(bench.path(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn json(bench: &Bench, file: &str) -> Value {
    serde_json::from_str(&read(bench, file)).unwrap()
}

fn events(bench: &Bench, run: &str) -> Vec<Value> {
    read(bench, &format!("{run}/metrics.jsonl"))
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn every_training_leaves_a_page_and_says_what_each_task_got_and_gave() {
    let (bench, out) = trained("run", &["balance={upgrad={}}"]);
    let table = out.split("what each task got, and what it gave").nth(1).expect("the table");
    let line =
        |task: &str| table.lines().find(|line| line.trim().starts_with(task)).expect("a line").to_owned();
    let evaluations: Vec<Value> =
        events(&bench, "run").into_iter().filter(|event| event["event"] == "evaluated").collect();
    for (task, metric) in [("topic", "accuracy"), ("tags", "span_f1")] {
        let of = |event: &Value| event["scores"][task][metric].as_f64().unwrap();
        let scores: Vec<f64> = evaluations.iter().map(of).collect();
        let best = scores.iter().copied().fold(0.0, f64::max);
        let expected =
            [scores[0], best, *scores.last().unwrap()].map(|score| format!("{:.2}", 100.0 * score));
        let line = line(task);
        let found: Vec<&str> = line.split_whitespace().rev().take(3).collect();
        assert_eq!(found.into_iter().rev().collect::<Vec<_>>(), expected, "{line}");
        assert!(line.contains(metric) && line.contains(" 3.0 "), "three epochs: {line}");
        assert!(line.chars().count() <= 110, "{line}");
    }
    let page = read(&bench, "run/report.html");
    for part in [
        "finished after",
        "topic: loss",
        "data-line=\"training\"",
        "data-line=\"validation\"",
        "tags: scores",
        "weight of each task",
        "mean cosine of the tasks&#39; gradients",
        "pairs of tasks in conflict",
        "share of computation",
        "learning rate of the trunk",
        "topic: gold (rows) and predicted (columns)",
        "train job.toml --run run --set &#39;balance={upgrad={}}&#39;",
        "config.toml, with every default",
    ] {
        assert!(page.contains(part), "{part}");
    }
    // The last training loss of the events is the last of the chart.
    let steps: Vec<Value> =
        events(&bench, "run").into_iter().filter(|event| event["event"] == "step").collect();
    let last = steps.last().unwrap();
    let points = page.split("data-line=\"training\" data-points=\"").nth(1).expect("the first task's");
    let points: Vec<&str> = points.split('"').next().unwrap().split(' ').collect();
    assert_eq!(points[points.len() - 2], last["step"].to_string());
    let (drawn, told): (f64, f64) =
        (points[points.len() - 1].parse().unwrap(), last["losses"]["topic"].as_f64().unwrap());
    assert!((drawn - told).abs() <= 1e-3 * told, "{drawn} and {told}");
    let environment = json(&bench, "run/environment.json");
    let session = &environment["sessions"][0];
    assert_eq!(session["command"][1], "train");
    assert!(session["ended"].as_str().unwrap().ends_with(" UTC") && session["threads"] == 1);
}

#[test]
fn held_out_answers_agree_with_the_scores_of_the_exported_model() {
    let (bench, _) = trained("run", &[]);
    let ran = bench.run(&["evaluate", "run", "--split", "validation", "--json"]);
    assert!(ran.ok, "{}", ran.err);
    let scores: Value = serde_json::from_str(&ran.out).unwrap();
    let found = json(&bench, "run/held_out.json");
    let topic = found["tasks"].as_array().unwrap().iter().find(|task| task["task"] == "topic").unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let accuracy = number(&topic["correct"]) as f64 / number(&topic["rows"]) as f64;
    assert!((accuracy - scores["tasks"]["topic"]["scores"]["accuracy"].as_f64().unwrap()).abs() < 1e-12);
    let counts: Vec<(u64, u64, u64)> = serde_json::from_value(topic["confusion"].clone()).unwrap();
    let diagonal: u64 = counts.iter().filter(|(gold, answer, _)| gold == answer).map(|(.., n)| n).sum();
    assert_eq!(
        (diagonal, counts.iter().map(|(.., n)| n).sum()),
        (number(&topic["correct"]), number(&topic["rows"]))
    );
    // Words by type: their diagonal is no less than the words whose whole tag is right.
    let tags = found["tasks"].as_array().unwrap().iter().find(|task| task["task"] == "tags").unwrap();
    let counts: Vec<(u64, u64, u64)> = serde_json::from_value(tags["confusion"].clone()).unwrap();
    let all: u64 = counts.iter().map(|(.., n)| n).sum();
    let same: u64 = counts.iter().filter(|(gold, answer, _)| gold == answer).map(|(.., n)| n).sum();
    let exact = scores["tasks"]["tags"]["scores"]["token_accuracy"].as_f64().unwrap();
    assert!(same as f64 / all as f64 >= exact - 1e-12);
}

#[test]
fn wrong_answers_are_listed_with_their_places_and_texts() {
    let bench = Bench::new();
    // Validation labels the other way round: what was learned is wrong, and surely so.
    let rows = read(&bench, "valid.jsonl");
    let mut rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let labels: std::collections::BTreeSet<String> =
        rows.iter().map(|row| row["topic"].as_str().unwrap().to_owned()).collect();
    let labels: Vec<String> = labels.into_iter().collect();
    for row in &mut rows {
        let other = if row["topic"] == labels[0] { &labels[1] } else { &labels[0] };
        row["topic"] = other.as_str().into();
    }
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    bench.write("valid.jsonl", lines.join("\n"));
    let ran = bench.run(&["train", "job.toml", "--run", "run", "--set", "train.export=\"last\""]);
    assert!(ran.ok, "{}", ran.err);
    let found = json(&bench, "run/held_out.json");
    let topic = found["tasks"].as_array().unwrap().iter().find(|task| task["task"] == "topic").unwrap();
    let worst = topic["worst"].as_array().unwrap();
    assert!(!worst.is_empty() && worst.len() <= 10);
    let error = |row: &Value| row["error"].as_f64().unwrap();
    assert!(worst.windows(2).all(|two| error(&two[0]) >= error(&two[1])) && error(&worst[0]) > 0.5);
    let page = read(&bench, "run/report.html");
    for row in worst {
        let place = row["place"].as_str().unwrap();
        let number: usize = place.rsplit_once(':').unwrap().1.parse().unwrap();
        let source = &rows[number - 1];
        assert_eq!(
            (row["text"].as_str(), row["gold"].as_str()),
            (source["text"].as_str(), source["topic"].as_str())
        );
        assert_ne!(row["gold"], row["answer"]);
        assert!(page.contains(&format!("valid.jsonl:{number}")), "{place}");
    }
}

#[cfg(unix)]
#[test]
fn a_run_that_is_interrupted_or_fails_has_a_page_too() {
    let bench = Bench::new();
    let arguments = ["train", "job.toml", "--run", "run", "--set", "train.epochs=5000"];
    let mut child = bench.command(&arguments).stdout(std::process::Stdio::null()).spawn().unwrap();
    let has_step =
        || fs::read_to_string(bench.path("run/metrics.jsonl")).is_ok_and(|text| text.contains("evaluated"));
    while !has_step() {
        assert!(child.try_wait().unwrap().is_none(), "it ended");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let killed = std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success() && child.wait().unwrap().code() == Some(130));
    let page = read(&bench, "run/report.html");
    assert!(
        page.contains("interrupted after step")
            && page.contains("topic: loss")
            && !bench.path("run/held_out.json").exists()
    );
    // Gradients that overflow end a run; its page says so.
    let set = ["optimizer={sgd={learning_rate=1e30}}", "train.max_grad_norm=1e30"];
    let failed = bench.run(&["train", "job.toml", "--run", "bad", "--set", set[0], "--set", set[1]]);
    assert_eq!(failed.code, 1, "{}", failed.err);
    assert!(read(&bench, "bad/report.html").contains("not finished"), "{}", failed.err);
}

#[test]
fn every_session_is_recorded_and_one_page_shows_the_whole_run() {
    let (bench, _) = trained("run", &[]);
    let ran = bench.run(&["train", "--resume", "run", "--set", "train.epochs=4"]);
    assert!(ran.ok, "{}", ran.err);
    let sessions = json(&bench, "run/environment.json")["sessions"].clone();
    let commands: Vec<String> = sessions
        .as_array()
        .unwrap()
        .iter()
        .map(|session| session["command"][2].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(commands, ["job.toml", "--resume"]);
    let page = read(&bench, "run/report.html");
    let first = events(&bench, "run").into_iter().find(|event| event["event"] == "evaluated").unwrap();
    let score = first["scores"]["topic"]["accuracy"].as_f64().unwrap();
    assert!(
        page.contains(&format!("<td class=\"n\">{:.2}</td>", 100.0 * score)),
        "the first score is that of the first session"
    );
    assert!(page.contains("resumed after step") && page.contains("--resume run --set train.epochs=4"));
    assert!(ran.out.contains(" 4.0 "), "four epochs in all: {}", ran.out);
}

#[test]
fn several_runs_are_laid_side_by_side() {
    let (bench, _) = trained("one", &[]);
    assert!(
        bench.run(&["train", "job.toml", "--run", "two", "--set", "optimizer.adamw.learning_rate=1e-3"]).ok
    );
    assert!(bench.run(&["evaluate", "two"]).ok);
    let ran = bench.run(&["report", "one", "two", "--csv", "curves.csv"]);
    assert!(ran.ok, "{}", ran.err);
    let page = read(&bench, "report.html");
    assert!(page.contains("data-line=\"one, training\"") && page.contains("data-line=\"two, validation\""));
    assert!(page.contains("<td>optimizer.adamw.learning_rate</td><td>0.01</td><td>0.001</td>"), "{page}");
    assert!(!page.contains("<td>train.epochs</td>"), "what is the same is left out");
    let test = json(&bench, "two/scores.test.json")["tasks"]["topic"]["scores"]["accuracy"].as_f64().unwrap();
    assert!(page.contains(&format!(" / {:.2}</td>", 100.0 * test)));
    // Every loss of the events is a line of the file.
    let csv = read(&bench, "curves.csv");
    let mut lines = csv.lines();
    assert_eq!(lines.next(), Some("run,step,epoch,kind,task,metric,value"));
    let losses: Vec<f64> = lines
        .clone()
        .filter(|line| line.starts_with("one,") && line.contains(",train,topic,loss,"))
        .map(|line| line.rsplit(',').next().unwrap().parse().unwrap())
        .collect();
    let told: Vec<f64> = events(&bench, "one")
        .iter()
        .filter_map(|event| event["losses"]["topic"].as_f64().filter(|_| event["event"] == "step"))
        .collect();
    assert_eq!(losses, told);
    assert!(lines.any(|line| line.starts_with("two,") && line.contains(",validation,tags,span_f1,")));
    // Into a folder: a file for each run.
    assert!(bench.run(&["report", "one", "two", "--html", "other.html", "--csv", "curves"]).ok);
    assert!(
        bench.path("other.html").is_file()
            && bench.path("curves/one.csv").is_file()
            && bench.path("curves/two.csv").is_file()
    );
}

#[test]
fn damage_is_told_and_what_is_no_run_is_refused() {
    let (bench, _) = trained("run", &[]);
    let metrics = read(&bench, "run/metrics.jsonl");
    let mut lines: Vec<&str> = metrics.lines().collect();
    lines[2] = "{\"event\":\"step\", broken";
    bench.write("run/metrics.jsonl", &(lines.join("\n") + "\n{\"event\":\"st"));
    bench.write("run/held_out.json", "{}");
    bench.write("run/environment.json", "no json");
    let ran = bench.run(&["report", "run"]);
    assert!(ran.ok, "{}", ran.err);
    let page = read(&bench, "run/report.html");
    for told in [
        "these lines are damaged and left out: 3",
        "its last line has no end",
        "held_out.json is damaged",
        "environment.json is damaged",
    ] {
        assert!(ran.err.contains(told) && page.contains(told), "{told}: {}", ran.err);
    }
    for (run, told) in [("nowhere", "is no run: it has no config.toml"), ("empty", "has no metrics.jsonl")] {
        if run == "empty" {
            bench.write("empty/config.toml", "");
        }
        let refused = bench.run(&["report", run]);
        assert_eq!(refused.code, 2, "{}", refused.err);
        assert!(refused.err.contains(told), "{}", refused.err);
    }
    let refused = bench.run(&["report", "run", "--html", "no/such/folder/page.html"]);
    assert_eq!(refused.code, 2, "{}", refused.err);
}

#[test]
fn what_deserved_a_look_in_the_data_is_on_the_page() {
    let bench = Bench::new();
    bench.write("valid.jsonl", read(&bench, "train.jsonl"));
    let ran = bench.run(&["train", "job.toml", "--run", "run", "--set", "train.epochs=1"]);
    assert!(ran.ok && ran.out.contains("deserves a look"), "{}", ran.out);
    let findings = json(&bench, "run/data.json")["findings"].clone();
    let told = "validation rows that are in its own training, too: 120 of 120";
    assert!(
        findings.as_array().unwrap().iter().any(|finding| finding.as_str().unwrap().contains(told)),
        "{findings}"
    );
    let page = read(&bench, "run/report.html");
    assert!(page.split("To look at").nth(1).is_some_and(|found| found.contains(told)));
}

#[test]
fn texts_of_rows_and_names_are_no_markup() {
    let bench = Bench::new();
    let hostile = "<script>alert(1)</script>";
    let rows = read(&bench, "valid.jsonl").replace("\"text\":\"", &format!("\"text\":\"{hostile} "));
    assert!(rows.contains(hostile));
    bench.write("valid.jsonl", &rows);
    let config = read(&bench, "job.toml").replace("[task.topic]", "[task.\"<b>topic\"]");
    bench.write("job.toml", &config);
    let ran = bench.run(&["train", "job.toml", "--run", "run", "--set", "train.epochs=1"]);
    if !ran.ok {
        // Names of tasks may be refused; then only the texts are hostile.
        bench.write("job.toml", config.replace("[task.\"<b>topic\"]", "[task.topic]"));
        assert!(bench.run(&["train", "job.toml", "--run", "run", "--set", "train.epochs=1"]).ok);
    }
    let page = read(&bench, "run/report.html");
    assert!(!page.contains(hostile) && !page.contains("<b>topic") && page.contains("&lt;script&gt;alert"));
}

#[test]
fn measurements_of_affinity_are_on_the_page_and_in_the_curves() {
    let bench = Bench::new();
    let ran = bench.run(&["train", "job.toml", "--run", "run", "--set", "train.affinity_steps=2"]);
    assert!(ran.ok, "{}", ran.err);
    let page = std::fs::read_to_string(bench.path("run/report.html")).unwrap();
    for says in
        ["Which tasks help which", "cosine of gradients over training", "affinity, percent of the loss"]
    {
        assert!(page.contains(says), "{says}");
    }
    let told = bench.run(&["report", "run", "--csv", "curves.csv"]);
    assert!(told.ok, "{}", told.err);
    let curves = std::fs::read_to_string(bench.path("curves.csv")).unwrap();
    let lines = |what: &str| curves.lines().filter(|line| line.contains(what)).count();
    let measured = lines(",affinity,topic,cosine with tags,") + lines(",affinity,tags,cosine with topic,");
    assert!(measured >= 5, "{curves}");
    assert_eq!(lines(",affinity,topic,affinity to tags,"), measured);
    let plain = bench.run(&["train", "job.toml", "--run", "plain"]);
    assert!(plain.ok, "{}", plain.err);
    let page = std::fs::read_to_string(bench.path("plain/report.html")).unwrap();
    assert!(!page.contains("Which tasks help which"));
}

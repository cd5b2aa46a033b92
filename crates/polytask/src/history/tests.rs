use super::*;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::Path;

const STARTED: &str = r#"{"event":"started","step":0,"resumed":false,"steps":4,"epochs":[2,2],"tasks":["a","b"],"trunk_parameters":1,"head_parameters":{}}"#;

fn step(step: usize, loss: f64) -> String {
    let gradients = r#"{"norms":{"a":1.0},"cosines":[{"tasks":["a","b"],"cosine":-0.5}],"conflicts":1.0}"#;
    format!(
        r#"{{"event":"step","step":{step},"epoch":1,"losses":{{"a":{loss}}},"weights":{{"a":1.0}},"num_targets":{{"a":2}},"learning_rate":0.1,"gradient_norm":2.0,"task_gradients":{gradients},"rows":2,"tokens":10,"seconds":0.5,"elapsed":{step}.0}}"#
    )
}

fn evaluated(step: usize, score: f64) -> String {
    format!(
        r#"{{"event":"evaluated","step":{step},"epoch":1,"split":"validation","scores":{{"a":{{"accuracy":{score}}}}},"primary":{{"a":"accuracy"}},"losses":{{"a":0.7}},"mean":{score},"value":{score},"best":true,"rows":3,"seconds":0.1,"elapsed":3.5}}"#
    )
}

fn append(path: &Path, text: &str) {
    let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn values(history: &History, kind: CurveKind, metric: &str, task: &str) -> Vec<(usize, f64)> {
    history.curves.get(&kind, metric, task).iter().map(|point| (point.step, point.value)).collect()
}

/// Two steps with a measurement after the second.
#[test]
fn measurements_of_affinity_are_curves() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let task = |without: f64| {
        format!(
            r#"{{"rows":4,"loss":0.5,"gradient_norm":1.0,"reliability":0.75,"without_gradient":{without}}}"#
        )
    };
    let measured = format!(
        r#"{{"event":"affinity","step":2,"tasks":{{"a":{},"b":{}}},"pairs":[{{"tasks":["a","b"],"cosine":0.25,"layers":[],"shared_rows":4}}],"transfers":[{{"from":"a","to":"b","affinity":0.5}},{{"from":"b","to":"a","affinity":-0.125}}],"seconds":0.1}}"#,
        task(0.0625),
        task(0.25)
    );
    append(&path, &format!("{STARTED}\n{}\n{}\n{measured}\n", step(1, 0.75), step(2, 0.5)));
    let mut reader = HistoryReader::new(&path);
    reader.read_more().unwrap();
    let of = |metric: &str, task: &str| values(reader.history(), CurveKind::Affinity, metric, task);
    assert_eq!(of("cosine with b", "a"), [(2, 0.25)]);
    // Less what the step without a gradient does to the loss of the task that is looked at.
    assert_eq!((of("affinity to b", "a"), of("affinity to a", "b")), (vec![(2, 0.25)], vec![(2, -0.1875)]));
    assert_eq!(of("reliability", "b"), [(2, 0.75)]);
}

#[test]
fn what_is_appended_is_read_and_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let mut reader = HistoryReader::new(&path);
    let refused = reader.read_more().unwrap_err();
    assert!(refused.messages[0].contains("has no metrics.jsonl"), "{:?}", refused.messages);
    // A line that is being written is left until it is whole.
    let second = step(2, 0.5);
    append(&path, &format!("{STARTED}\n{}\n{}", step(1, 0.75), &second[..20]));
    assert!(reader.read_more().unwrap());
    assert_eq!(reader.history().tasks(), ["a", "b"]);
    assert_eq!(values(reader.history(), CurveKind::Training, "loss", "a"), [(1, 0.75)]);
    assert!(reader.history().is_torn && !reader.read_more().unwrap());
    append(&path, &format!("{}\n{}\n", &second[20..], evaluated(2, 0.25)));
    assert!(reader.read_more().unwrap() && !reader.read_more().unwrap());
    let history = reader.history();
    assert!(!history.is_torn && history.damaged.is_empty());
    assert_eq!(values(history, CurveKind::Training, "loss", "a"), [(1, 0.75), (2, 0.5)]);
    assert_eq!(values(history, CurveKind::Evaluation("validation".into()), "loss", "a"), [(2, 0.7)]);
    assert_eq!(values(history, CurveKind::Evaluation("validation".into()), "accuracy", "a"), [(2, 0.25)]);
    assert_eq!(values(history, CurveKind::Gradient, "cosine with b", "a"), [(1, -0.5), (2, -0.5)]);
    assert_eq!(values(history, CurveKind::Speed, "tokens_per_second", ""), [(1, 20.0), (2, 20.0)]);
    assert_eq!((history.last.step, history.last.tokens, history.last.elapsed), (2, 20, 3.5));
    // Two of four steps are left, of half a second each; ten tokens a step.
    assert_eq!(
        (history.steps, history.seconds_left(), history.tokens_per_second()),
        (4, Some(1.0), Some(20.0))
    );
    assert_eq!([0, 1, 2, 9].map(|step| history.elapsed_at(step)), [0.0, 1.0, 3.5, 3.5]);
    assert_eq!(history.primary("a"), Some("accuracy"));
    let kind = CurveKind::Evaluation("validation".into());
    let metrics: Vec<&str> = history.curves.metrics(&kind, "a").collect();
    assert_eq!(metrics, ["accuracy", "loss"]);
}

#[test]
fn a_file_that_was_cut_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let mut reader = HistoryReader::new(&path);
    append(&path, &format!("{STARTED}\n{}\n{}\n", step(1, 0.75), step(2, 0.5)));
    reader.read_more().unwrap();
    // Cut after step 1, and grown beyond its former length by a run that went on.
    let resumed = STARTED.replace("\"step\":0,\"resumed\":false", "\"step\":1,\"resumed\":true");
    let lines = [STARTED.to_owned(), step(1, 0.75), resumed.clone(), step(2, 0.125), step(3, 0.0625)];
    fs::write(&path, lines.join("\n") + "\n").unwrap();
    assert!(reader.read_more().unwrap());
    let losses = [(1, 0.75), (2, 0.125), (3, 0.0625)];
    assert_eq!(values(reader.history(), CurveKind::Training, "loss", "a"), losses);
    assert_eq!(reader.history().resumed_after, [1]);
    // Steps that come again replace those of before also where the file was not cut.
    fs::write(
        &path,
        [STARTED.to_owned(), step(1, 0.75), step(2, 9.0), resumed, step(2, 0.5)].join("\n") + "\n",
    )
    .unwrap();
    reader.read_more().unwrap();
    assert_eq!(values(reader.history(), CurveKind::Training, "loss", "a"), [(1, 0.75), (2, 0.5)]);
}

#[test]
fn damaged_lines_are_numbered_and_events_of_other_versions_are_not_damage() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let foreign = r#"{"event":"comet_seen","step":1,"tail":3}"#;
    let half = r#"{"event":"step","step":2}"#;
    append(&path, &format!("{STARTED}\n\0\u{1}garbage\n{}\n{half}\n{foreign}\n\n{foreign}\n", step(1, 0.75)));
    let mut reader = HistoryReader::new(&path);
    reader.read_more().unwrap();
    let history = reader.into_history();
    assert_eq!(history.damaged, [2, 4]);
    assert_eq!(history.unknown.get("comet_seen"), Some(&2));
    assert_eq!(values(&history, CurveKind::Training, "loss", "a"), [(1, 0.75)]);
    assert_eq!(history.state, RunState::Open);
}

//! Exports to a server on the loopback that keeps what it is sent, and refuses what MLflow refuses.

use super::contents::{Contents, ID, metric_key};
use super::upload::{check, export};
use crate::history::{CurveKey, CurveKind};
use crate::run_report::RunFiles;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

/// What the server has, and how it behaves.
#[derive(Default)]
struct Store {
    experiment: bool,
    run: Option<Value>,
    tags: BTreeMap<String, String>,
    params: BTreeMap<String, String>,
    /// By key the steps, values and times.
    metrics: BTreeMap<String, Vec<(i64, f64, i64)>>,
    files: BTreeMap<String, Vec<u8>>,
    /// The calls, and how many values each had.
    calls: Vec<(String, usize)>,
    artifacts: &'static str,
    /// No call is answered as MLflow would.
    is_other: bool,
}

struct Server {
    url: String,
    store: Arc<Mutex<Store>>,
}

impl Server {
    fn new(artifacts: &'static str) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let store = Arc::new(Mutex::new(Store { artifacts, ..Store::default() }));
        let shared = store.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                answer(stream, &mut shared.lock().unwrap());
            }
        });
        Server { url, store }
    }
}

fn answer(mut stream: TcpStream, store: &mut Store) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let mut words = line.split_whitespace();
    let (method, path) =
        (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
    let mut length = 0;
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).unwrap();
        if let Some(value) = header.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if header.trim().is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    let (status, text) = match store.is_other {
        true => (200, "<html>".to_owned()),
        false => store.take(&method, &path, &body),
    };
    let answer =
        format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
    stream.write_all(answer.as_bytes()).unwrap();
}

fn refusal(code: &str, message: &str) -> (u16, String) {
    (400, json!({ "error_code": code, "message": message }).to_string())
}

impl Store {
    fn take(&mut self, method: &str, path: &str, body: &[u8]) -> (u16, String) {
        let path = path.strip_prefix("/api/2.0/").expect("below the interface");
        let json: Value = serde_json::from_slice(body).unwrap_or_default();
        let name = path.split('?').next().unwrap().to_owned();
        let size = ["metrics", "params", "tags"].map(|what| json[what].as_array().map_or(0, Vec::len));
        self.calls.push((name.clone(), size.iter().sum()));
        let done = |value: Value| (200, value.to_string());
        match (method, name.as_str()) {
            ("GET", "mlflow/experiments/get-by-name") if self.experiment => {
                assert!(path.ends_with("?experiment_name=my%20runs"), "{path}");
                done(json!({ "experiment": { "experiment_id": "7", "lifecycle_stage": "active" } }))
            }
            ("GET", "mlflow/experiments/get-by-name") => {
                let (_, text) = refusal("RESOURCE_DOES_NOT_EXIST", "Could not find experiment");
                (404, text)
            }
            ("POST", "mlflow/experiments/create") => {
                assert_eq!(json["name"], "my runs");
                self.experiment = true;
                done(json!({ "experiment_id": "7" }))
            }
            ("POST", "mlflow/runs/search") => {
                let wanted = json["filter"].as_str().unwrap();
                let is_it = self.tags.get(ID).is_some_and(|id| wanted == format!("tags.`{ID}` = '{id}'"));
                done(if is_it { json!({ "runs": [self.shown()] }) } else { json!({}) })
            }
            ("POST", "mlflow/runs/create") => {
                assert_eq!(json["experiment_id"], "7");
                self.run = Some(
                    json!({ "run_id": "r1", "artifact_uri": self.artifacts, "start_time": json["start_time"] }),
                );
                self.keep(&json);
                done(json!({ "run": self.shown() }))
            }
            ("POST", "mlflow/runs/log-batch") => {
                if size[0] > 1000 || size[1] > 100 || size[2] > 100 {
                    return refusal("INVALID_PARAMETER_VALUE", "too many");
                }
                self.keep(&json);
                done(json!({}))
            }
            ("POST", "mlflow/runs/update") => {
                let run = self.run.as_mut().unwrap();
                for key in ["status", "end_time", "run_name"] {
                    run[key] = json[key].clone();
                }
                done(json!({}))
            }
            ("PUT", file) if file.starts_with("mlflow-artifacts/artifacts/") => {
                self.files.insert(file.to_owned(), body.to_vec());
                (200, String::new())
            }
            _ => (404, "<html>no such page</html>".into()),
        }
    }

    fn keep(&mut self, json: &Value) {
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        for tag in json["tags"].as_array().into_iter().flatten() {
            self.tags.insert(text(&tag["key"]), text(&tag["value"]));
        }
        for param in json["params"].as_array().into_iter().flatten() {
            let before = self.params.insert(text(&param["key"]), text(&param["value"]));
            assert!(before.is_none(), "MLflow lets no parameter be changed");
        }
        for metric in json["metrics"].as_array().into_iter().flatten() {
            let point = (
                metric["step"].as_i64().unwrap(),
                metric["value"].as_f64().unwrap(),
                metric["timestamp"].as_i64().unwrap(),
            );
            self.metrics.entry(text(&metric["key"])).or_default().push(point);
        }
    }

    /// The run with the last value of each metric, as MLflow shows it.
    fn shown(&self) -> Value {
        let list = |pairs: &BTreeMap<String, String>| -> Vec<Value> {
            pairs.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
        };
        let last = |(key, points): (&String, &Vec<(i64, f64, i64)>)| json!({ "key": key, "step": points.last().unwrap().0 });
        let metrics: Vec<Value> = self.metrics.iter().map(last).collect();
        json!({ "info": self.run, "data": { "tags": list(&self.tags), "params": list(&self.params), "metrics": metrics } })
    }
}

fn step(step: usize) -> String {
    format!(
        r#"{{"event":"step","step":{step},"epoch":1,"losses":{{"a":{}}},"weights":{{"a":1.0}},"num_targets":{{"a":2}},"learning_rate":0.1,"gradient_norm":2.0,"rows":2,"tokens":10,"seconds":0.5,"elapsed":{}}}"#,
        1.0 / step as f64,
        0.5 * step as f64
    )
}

fn write_run(root: &Path, steps: usize, end: &str, epochs: usize) -> RunFiles {
    let started = r#"{"event":"started","step":0,"resumed":false,"steps":4,"epochs":[4],"tasks":["a"],"trunk_parameters":1,"head_parameters":{}}"#;
    let lines: Vec<String> = std::iter::once(started.to_owned()).chain((1..=steps).map(step)).collect();
    fs::write(root.join("metrics.jsonl"), format!("{}\n{end}", lines.join("\n"))).unwrap();
    let keys: String = (0..250).map(|i| format!("key{i} = [1, 2]\n")).collect();
    let long = "x".repeat(7000);
    let config = format!("[train]\nepochs = {epochs}\n[paths]\nlong = \"{long}\"\n[many]\n{keys}");
    fs::write(root.join("config.toml"), config).unwrap();
    let environment = json!({ "sessions": [{
        "command": ["polytask", "train", "a b.toml"], "folder": "/f", "version": "9", "features": [], "system": "s", "threads": 1,
        "device": "cpu", "began": "2026-03-01 14:05:09 UTC", "ended": "2026-03-01 15:05:09 UTC",
    }] });
    fs::write(root.join("environment.json"), environment.to_string()).unwrap();
    RunFiles::read(root).unwrap()
}

const INTERRUPTED: &str = "{\"event\":\"interrupted\",\"step\":1,\"steps\":4,\"checkpoint\":\"c\"}\n";

#[test]
fn a_run_is_exported_then_skipped_then_updated() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::new("mlflow-artifacts:/7/r1/artifacts");
    let run = write_run(dir.path(), 1500, INTERRUPTED, 1);
    let told = export(std::slice::from_ref(&run), &server.url, "my runs").unwrap();
    assert!(told[0].contains("exported as run r1") && told[0].contains("2 files"), "{told:?}");
    assert!(told[1].contains("cut at MLflow's limit of 6000 bytes: paths.long"), "{told:?}");
    {
        let store = server.store.lock().unwrap();
        let losses = &store.metrics["loss/a"];
        assert_eq!(losses.len(), 1500);
        // 2026-03-01 14:05:09 by `date -u -d ... +%s`, and half a second for each step.
        let began = 1_772_373_909_000;
        assert_eq!((losses[0], losses[1499]), ((1, 1.0, began + 500), (1500, 1.0 / 1500.0, began + 750_000)));
        let keys: Vec<&str> = store.metrics.keys().map(String::as_str).collect();
        let expected =
            ["loss/a", "train/gradient_norm", "train/learning_rate", "train/tokens_per_second", "weight/a"];
        assert_eq!(keys, expected);
        assert_eq!(
            (store.params["train.epochs"].as_str(), store.params["many.key7"].as_str()),
            ("1", "[1, 2]")
        );
        assert!(store.params.len() == 252 && store.params["paths.long"].len() <= 6000);
        assert_eq!(store.tags["polytask.command"], "polytask train 'a b.toml'");
        let info = store.run.as_ref().unwrap();
        assert_eq!((&info["status"], &info["start_time"]), (&json!("KILLED"), &json!(began)));
        assert_eq!(info["end_time"], json!(began + 3_600_000));
        assert!(store.files["mlflow-artifacts/artifacts/7/r1/artifacts/report.html"].starts_with(b"<!"));
        let config = fs::read(dir.path().join("config.toml")).unwrap();
        assert_eq!(store.files["mlflow-artifacts/artifacts/7/r1/artifacts/config.toml"], config);
        let batches: Vec<usize> = store
            .calls
            .iter()
            .filter(|(name, _)| name == "mlflow/runs/log-batch")
            .map(|(_, size)| *size)
            .collect();
        assert_eq!(batches[..3], [100, 100, 52], "{batches:?}");
        assert_eq!(batches.iter().filter(|size| **size == 1000).count(), 7, "{batches:?}");
    }
    let told = export(&[run], &server.url, "my runs").unwrap();
    assert!(told.len() == 1 && told[0].contains("skipped"), "{told:?}");
    // It is trained further, and its config says so.
    let finished = "{\"event\":\"finished\",\"step\":1502,\"result\":1502,\"model\":\"m\",\"tokens\":1,\"elapsed\":2.0}\n";
    let run = write_run(dir.path(), 1502, finished, 2);
    let told = export(&[run], &server.url, "my runs").unwrap();
    assert!(told[0].contains("updated as run r1") && told[0].contains("10 values, 0 parameters"), "{told:?}");
    assert!(told[1].contains("the present ones of: train.epochs"), "{told:?}");
    let store = server.store.lock().unwrap();
    let steps: Vec<i64> = store.metrics["loss/a"].iter().map(|point| point.0).collect();
    assert_eq!(steps, (1..=1502).collect::<Vec<_>>(), "nothing twice");
    assert_eq!(
        (store.tags["changed.train.epochs"].as_str(), store.params["train.epochs"].as_str()),
        ("2", "1")
    );
    assert_eq!(store.run.as_ref().unwrap()["status"], "FINISHED");
}

#[test]
fn files_stay_here_where_the_server_does_not_pass_them_on() {
    let dir = tempfile::tempdir().unwrap();
    let run = write_run(dir.path(), 2, "", 1);
    let server = Server::new("s3://bucket/7/r1/artifacts");
    let told = export(&[run], &server.url, "my runs").unwrap();
    assert!(
        told[0].contains("without report.html and config.toml") && told[0].contains("s3://bucket"),
        "{told:?}"
    );
    let store = server.store.lock().unwrap();
    assert!(store.files.is_empty());
    // Nothing says whose it is or that it ended.
    assert_eq!(store.run.as_ref().unwrap()["status"], "RUNNING");
}

#[test]
fn what_goes_wrong_is_told_with_the_address() {
    let dir = tempfile::tempdir().unwrap();
    let run = [write_run(dir.path(), 2, "", 1)];
    for url in ["127.0.0.1:5000", "ftp://x", "http://", "http:///x"] {
        let refused = check(url).unwrap_err();
        assert!(
            refused.code == 2 && refused.messages[0].contains("expected the address of a server"),
            "{refused:?}"
        );
    }
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let failed = export(&run, &format!("http://{free}"), "my runs").unwrap_err().messages.join("");
    assert!(failed.contains(&format!("http://{free}/api/2.0/mlflow/experiments/get-by-name")), "{failed}");
    let server = Server::new("");
    server.store.lock().unwrap().is_other = true;
    let failed = export(&run, &server.url, "my runs").unwrap_err().messages.join("");
    assert!(failed.contains("is this an MLflow server?"), "{failed}");
    // A message of the server is repeated.
    let server = Server::new("");
    let failed =
        export(&run, &format!("{}/api/2.0/nowhere", server.url), "my runs").unwrap_err().messages.join("");
    assert!(failed.contains("HTTP status 404: <html>no such page</html>"), "{failed}");
    let unbegun = [write_run(dir.path(), 0, "", 1)];
    let refused = export(&unbegun, &server.url, "my runs").unwrap_err();
    assert!(refused.code == 2 && refused.messages[0].contains("no step yet"), "{refused:?}");
}

#[test]
fn curves_have_the_names_of_tensorboard() {
    let of = |kind: CurveKind, metric: &str, task: &str| {
        metric_key(&CurveKey { kind, metric: metric.into(), task: task.into() })
    };
    let split = || CurveKind::Evaluation("validation".into());
    assert_eq!(of(CurveKind::Gradient, "cosine with b", "a"), "cosine/a/b");
    assert_eq!(of(CurveKind::Gradient, "conflicts", ""), "train/conflicts");
    assert_eq!(of(CurveKind::Gradient, "norm", "a"), "gradient_norm/a");
    assert_eq!(of(split(), "f1", "a"), "validation/a/f1");
    assert_eq!(of(split(), "mean", ""), "validation/mean");
    assert_eq!(of(CurveKind::Usage, "compute_share", "a"), "compute_share/a");
    assert_eq!(of(CurveKind::LearningRate, "head_factor", "a"), "head_factor/a");
}

#[test]
fn a_run_is_known_by_its_first_step() {
    let dir = tempfile::tempdir().unwrap();
    let first = Contents::of(&write_run(dir.path(), 2, "", 1)).unwrap();
    let later = Contents::of(&write_run(dir.path(), 3, "", 2)).unwrap();
    assert!(first.id == later.id && first.fingerprint != later.fingerprint);
}

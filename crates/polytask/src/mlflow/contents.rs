//! What a run is in MLflow: parameters out of its config, tags out of its environment, metrics out of its curves.

use super::keys::{LONGEST_PARAM, LONGEST_TAG, cut, key, part};
use crate::commands::evaluate;
use crate::failure::Failure;
use crate::history::{CurveKey, CurveKind, RunState};
use crate::job::run_process::RunProcess;
use crate::run_report::environment::since_1970;
use crate::run_report::{RunFiles, run_page};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

/// The tag by which a run is found again.
pub const ID: &str = "polytask.run_id";
/// The tag that says what of the run was exported, so that the same again is not.
pub const EXPORTED: &str = "polytask.exported";

/// A run as MLflow takes it.
pub struct Contents {
    /// Its name.
    pub name: String,
    /// By what it is found again: the hash of its first step, which tells losses and times.
    pub id: String,
    /// A hash of all that is exported.
    pub fingerprint: String,
    /// `RUNNING`, `FINISHED` or `KILLED`.
    pub status: &'static str,
    /// When it began and ended, in milliseconds since 1970.
    pub began: i64,
    /// See `began`; `None` of one that is trained.
    pub ended: Option<i64>,
    /// The config, key by key.
    pub params: BTreeMap<String, String>,
    /// Version, command and the like.
    pub tags: BTreeMap<String, String>,
    /// All points of all curves.
    pub metrics: Vec<Metric>,
    /// Names and contents of files.
    pub files: Vec<(&'static str, &'static str, Vec<u8>)>,
    /// What is not as it is in the run, in words.
    pub notes: Vec<String>,
}

/// A point of a curve.
#[derive(Debug, Clone, PartialEq)]
pub struct Metric {
    /// The curve.
    pub key: String,
    /// Steps done.
    pub step: usize,
    /// Milliseconds since 1970.
    pub timestamp: i64,
    /// The number.
    pub value: f64,
}

impl Contents {
    /// Of a run.
    ///
    /// # Errors
    /// It has no step yet, by which it could be known again.
    pub fn of(files: &RunFiles) -> Result<Contents, Failure> {
        let id = first_step(files)?;
        let session = files.environment.as_ref().and_then(|found| found.sessions.first());
        let elapsed = Duration::try_from_secs_f64(files.history.last.elapsed).unwrap_or_default();
        // Runs of older versions have no environment: what was written last ended them.
        let began = session.and_then(|session| since_1970(&session.began)).or_else(|| {
            let time = std::fs::metadata(files.run.metrics()).and_then(|found| found.modified()).ok()?;
            time.duration_since(UNIX_EPOCH).ok()?.checked_sub(elapsed)
        });
        let began = milliseconds(began.unwrap_or_default());
        let (params, cut) = params(&files.config);
        let mut notes = Vec::new();
        if !cut.is_empty() {
            notes.push(format!(
                "parameters that are cut at MLflow's limit of {LONGEST_PARAM} bytes: {}; config.toml has them whole",
                cut.join(", ")
            ));
        }
        let mut metrics: Vec<Metric> = Vec::new();
        for (curve, points) in files.history.curves.iter() {
            let key = metric_key(curve);
            metrics.extend(points.iter().map(|point| {
                let elapsed = files.history.elapsed_at(point.step);
                let timestamp = began + (1000.0 * elapsed).round() as i64;
                Metric { key: key.clone(), step: point.step, timestamp, value: point.value }
            }));
        }
        match is_older_than_model(files) {
            true => notes.push(
                "the test scores are older than the model, and left out: `polytask evaluate` computes them again".into(),
            ),
            false => metrics.extend(test_scores(files, began + milliseconds(elapsed))),
        }
        let status = status(files);
        let page = run_page(files).into_bytes();
        let counts = format!("{status} {} {}", files.history.last.step, metrics.len());
        let mut hash = blake3::Hasher::new();
        for bytes in [counts.as_bytes(), files.config_text.as_bytes(), &page] {
            hash.update(bytes).update(&[0]);
        }
        Ok(Contents {
            name: files.name.clone(),
            id,
            fingerprint: format!(
                "{} after step {}, {}",
                status,
                files.history.last.step,
                &hash.finalize().to_hex()[..16]
            ),
            status,
            began,
            ended: (status != "RUNNING").then(|| ended(files, began + milliseconds(elapsed))),
            params,
            tags: tags(files),
            metrics,
            files: vec![
                ("report.html", "text/html", page),
                ("config.toml", "application/toml", files.config_text.clone().into_bytes()),
            ],
            notes,
        })
    }
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// A run is known by the line of its first step, which no resumption changes.
fn first_step(files: &RunFiles) -> Result<String, Failure> {
    let path = files.run.metrics();
    let bytes = files::read(&path).map_err(|error| Failure::io("reading", &path, error))?;
    let is_step = |line: &&[u8]| {
        serde_json::from_slice::<train::Event>(line).is_ok_and(|event| matches!(event, train::Event::Step(_)))
    };
    let line = bytes.split(|byte| *byte == b'\n').find(is_step);
    line.map(|line| blake3::hash(line).to_hex()[..32].to_owned()).ok_or_else(|| {
        Failure::refused([format!(
            "{}: there is no step yet, so that there is nothing to export",
            files.run.root().display()
        )])
    })
}

fn status(files: &RunFiles) -> &'static str {
    match files.history.state {
        RunState::Finished(_) => "FINISHED",
        RunState::Interrupted(_) => "KILLED",
        RunState::Open if RunProcess::of(&files.run) == RunProcess::NotHere => "KILLED",
        RunState::Open => "RUNNING",
    }
}

/// When the last command ended; of one that was killed, when its last event was.
fn ended(files: &RunFiles, last_event: i64) -> i64 {
    let session = files.environment.as_ref().and_then(|found| found.sessions.last());
    let ended = session.and_then(|session| since_1970(session.ended.as_ref()?));
    ended.map_or(last_event, milliseconds)
}

/// The config flat, `train.epochs`; and the keys whose values are cut.
fn params(config: &toml::Table) -> (BTreeMap<String, String>, Vec<String>) {
    let mut params = BTreeMap::new();
    let mut shortened = Vec::new();
    flatten("", &toml::Value::Table(config.clone()), &mut |name, value| {
        let (value, is_cut) = cut(&value, LONGEST_PARAM);
        let name = key(name);
        if is_cut {
            shortened.push(name.clone());
        }
        params.insert(name, value);
    });
    (params, shortened)
}

fn flatten(name: &str, value: &toml::Value, add: &mut dyn FnMut(&str, String)) {
    match value {
        toml::Value::Table(table) if !table.is_empty() => {
            for (inner, value) in table {
                let name = if name.is_empty() { inner.clone() } else { format!("{name}.{inner}") };
                flatten(&name, value, add);
            }
        }
        toml::Value::String(text) => add(name, text.clone()),
        other => add(name, other.to_string()),
    }
}

fn tags(files: &RunFiles) -> BTreeMap<String, String> {
    let mut tags = BTreeMap::from([("polytask.folder".to_owned(), files.run.root().display().to_string())]);
    if let Some(environment) = &files.environment
        && let (Some(first), Some(last)) = (environment.sessions.first(), environment.sessions.last())
    {
        let commands: Vec<String> =
            environment.sessions.iter().map(|session| session.command_line()).collect();
        tags.extend([
            ("polytask.version".to_owned(), last.version.clone()),
            ("polytask.command".to_owned(), commands.join("\n")),
            ("polytask.device".to_owned(), last.device.clone()),
            ("polytask.system".to_owned(), last.system.clone()),
            ("polytask.began".to_owned(), first.began.clone()),
            ("mlflow.source.name".to_owned(), "polytask".to_owned()),
            ("mlflow.source.type".to_owned(), "LOCAL".to_owned()),
        ]);
    }
    tags.into_iter().map(|(name, value)| (name, cut(&value, LONGEST_TAG).0)).collect()
}

/// The name of a curve: TensorBoard's (`event_sinks.rs`), where it has the curve.
pub fn metric_key(curve: &CurveKey) -> String {
    let (task, metric) = (part(&curve.task), curve.metric.as_str());
    match &curve.kind {
        CurveKind::Training => format!("loss/{task}"),
        CurveKind::Balance => format!("weight/{task}"),
        CurveKind::Gradient if curve.task.is_empty() && metric == "norm" => "train/gradient_norm".into(),
        CurveKind::Gradient if metric == "norm" => format!("gradient_norm/{task}"),
        CurveKind::Gradient => match metric.strip_prefix("cosine with ") {
            Some(other) => format!("cosine/{task}/{}", part(other)),
            None => format!("train/{}", part(metric)),
        },
        CurveKind::LearningRate if curve.task.is_empty() => "train/learning_rate".into(),
        CurveKind::LearningRate => format!("head_factor/{task}"),
        CurveKind::Affinity => format!("affinity/{task}/{}", part(metric)),
        CurveKind::Usage => format!("{}/{task}", part(metric)),
        CurveKind::Speed => format!("train/{}", part(metric)),
        CurveKind::Evaluation(split) if curve.task.is_empty() => format!("{}/{}", part(split), part(metric)),
        CurveKind::Evaluation(split) => format!("{}/{task}/{}", part(split), part(metric)),
    }
}

/// Whether the test scores are those of an earlier model: the run was trained further since.
fn is_older_than_model(files: &RunFiles) -> bool {
    let time = |path: &Path| std::fs::metadata(path).and_then(|found| found.modified()).ok();
    let scores = time(&evaluate::scores_path(&files.run, data::Split::Test));
    let model = time(&files.run.model().join("polytask.json"));
    files.test.is_some() && scores.zip(model).is_some_and(|(scores, model)| scores < model)
}

/// The scores of `evaluate` on the test split, at the step of the result.
fn test_scores(files: &RunFiles, timestamp: i64) -> Vec<Metric> {
    let RunState::Finished(end) = &files.history.state else { return Vec::new() };
    let mut metrics = Vec::new();
    for (task, saved) in files.test.iter().flat_map(|found| &found.tasks) {
        for (metric, value) in &saved.scores {
            let key = format!("test/{}/{}", part(task), part(metric));
            metrics.push(Metric { key, step: end.result, timestamp, value: *value });
        }
    }
    metrics
}

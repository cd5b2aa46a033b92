//! Brings runs to a server: new ones are made there, those that are there get what is new.

use super::client::Client;
use super::contents::{Contents, EXPORTED, ID, Metric};
use super::keys::{LONGEST_TAG, cut, key};
use crate::failure::Failure;
use crate::run_report::RunFiles;
use crate::terminal::figures::{count, counted};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};

/// The most metrics, parameters and tags of one call.
const METRICS: usize = 1000;
const PARAMS: usize = 100;
const TAGS: usize = 100;

/// Refuses an address that is none, before anything is written.
pub fn check(url: &str) -> Result<(), Failure> {
    Client::new(url).map(drop)
}

/// Exports runs; says of each what was done.
///
/// # Errors
/// A run has no step, or the server cannot be reached or refuses something.
pub fn export(runs: &[RunFiles], url: &str, experiment: &str) -> Result<Vec<String>, Failure> {
    let client = Client::new(url)?;
    let contents = runs.iter().map(Contents::of).collect::<Result<Vec<Contents>, Failure>>()?;
    let experiment = experiment_id(&client, experiment)?;
    let mut told = Vec::new();
    for run in &contents {
        told.extend(export_run(&client, &experiment, run)?);
    }
    Ok(told)
}

/// What the server knows of a run.
struct Known {
    run: String,
    artifacts: String,
    tags: BTreeMap<String, String>,
    params: BTreeMap<String, String>,
    /// The last step of each metric.
    last: HashMap<String, i64>,
}

impl Known {
    fn of(answer: &Value, client: &Client) -> Result<Known, Failure> {
        let info = &answer["info"];
        let run = info["run_id"].as_str().ok_or_else(|| {
            Failure::failed(format!("{}: the answer names no run: is this an MLflow server?", client.base()))
        })?;
        let pairs = |name: &str| -> BTreeMap<String, String> {
            let found = answer["data"][name].as_array().into_iter().flatten();
            let text = |pair: &Value, key: &str| pair[key].as_str().unwrap_or_default().to_owned();
            found.map(|pair| (text(pair, "key"), text(pair, "value"))).collect()
        };
        let metrics = answer["data"]["metrics"].as_array().into_iter().flatten();
        Ok(Known {
            run: run.to_owned(),
            artifacts: info["artifact_uri"].as_str().unwrap_or_default().to_owned(),
            tags: pairs("tags"),
            params: pairs("params"),
            last: metrics
                .filter_map(|metric| Some((metric["key"].as_str()?.to_owned(), integer(&metric["step"]))))
                .collect(),
        })
    }
}

/// A number of 64 bits, which JSON may have as a text; 0 where it is left out.
fn integer(value: &Value) -> i64 {
    value.as_i64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0)
}

/// The experiment of a name, which is made where there is none.
fn experiment_id(client: &Client, name: &str) -> Result<String, Failure> {
    let id = |answer: &Value| answer.as_str().map(str::to_owned);
    let found = match client.get("mlflow/experiments/get-by-name", &[("experiment_name", name)]) {
        Ok(found) if found["experiment"]["lifecycle_stage"] == "deleted" => {
            return Err(Failure::refused([format!(
                "{}: the experiment {name:?} is deleted there; restore it, or give another with --experiment",
                client.base()
            )]));
        }
        Ok(found) => id(&found["experiment"]["experiment_id"]),
        Err(refusal) if refusal.code == "RESOURCE_DOES_NOT_EXIST" => {
            id(&client.post("mlflow/experiments/create", &json!({ "name": name }))?["experiment_id"])
        }
        Err(refusal) => return Err(refusal.into()),
    };
    found.ok_or_else(|| {
        Failure::failed(format!(
            "{}: the answer names no experiment: is this an MLflow server?",
            client.base()
        ))
    })
}

/// Exports a run; gives what there is to say of it.
fn export_run(client: &Client, experiment: &str, contents: &Contents) -> Result<Vec<String>, Failure> {
    let found = client.post(
        "mlflow/runs/search",
        &json!({
            "experiment_ids": [experiment],
            "filter": format!("tags.`{ID}` = '{}'", contents.id),
            "run_view_type": "ACTIVE_ONLY",
            "max_results": 1,
        }),
    )?;
    let known = found["runs"].get(0).map(|run| Known::of(run, client)).transpose()?;
    if let Some(known) =
        known.as_ref().filter(|known| known.tags.get(EXPORTED) == Some(&contents.fingerprint))
    {
        return Ok(vec![format!("{}: skipped, MLflow has all of it as run {}", contents.name, known.run)]);
    }
    let is_new = known.is_none();
    let known = known.map_or_else(|| create(client, experiment, contents), Ok)?;
    let (params, changed) = new_params(contents, &known);
    log(client, &known.run, "params", PARAMS, &pairs(&params))?;
    let mut tags = contents.tags.clone();
    for name in &changed {
        tags.insert(key(&format!("changed.{name}")), cut(&contents.params[name], LONGEST_TAG).0);
    }
    log(client, &known.run, "tags", TAGS, &pairs(&tags))?;
    let metrics: Vec<Value> = contents
        .metrics
        .iter()
        .filter(|metric| known.last.get(&metric.key).is_none_or(|last| metric.step as i64 > *last))
        .map(metric_json)
        .collect();
    log(client, &known.run, "metrics", METRICS, &metrics)?;
    let mut update = json!({ "run_id": known.run, "status": contents.status, "run_name": contents.name });
    if let Some(ended) = contents.ended {
        update["end_time"] = ended.into();
    }
    client.post("mlflow/runs/update", &update)?;
    let files = upload(client, &known.artifacts, contents)?;
    // Last of all: an export that was interrupted is no export.
    let exported = BTreeMap::from([(EXPORTED.to_owned(), contents.fingerprint.clone())]);
    log(client, &known.run, "tags", TAGS, &pairs(&exported))?;

    let done = if is_new { "exported" } else { "updated" };
    let mut told = vec![format!(
        "{}: {done} as run {} of {}: {}, {}, {files}",
        contents.name,
        known.run,
        client.base(),
        counted(metrics.len(), "value"),
        counted(params.len(), "parameter"),
    )];
    if !changed.is_empty() {
        told.push(format!(
            "  MLflow keeps the first values of parameters; tags `changed.KEY` have the present ones of: {}",
            changed.join(", ")
        ));
    }
    told.extend(contents.notes.iter().map(|note| format!("  {note}")));
    Ok(told)
}

fn create(client: &Client, experiment: &str, contents: &Contents) -> Result<Known, Failure> {
    let answer = client.post(
        "mlflow/runs/create",
        &json!({
            "experiment_id": experiment,
            "run_name": contents.name,
            "start_time": contents.began,
            "tags": [{ "key": ID, "value": contents.id }],
        }),
    )?;
    Known::of(&answer["run"], client)
}

/// The parameters that the server does not have, and the names of those of which it has another value.
fn new_params(contents: &Contents, known: &Known) -> (BTreeMap<String, String>, Vec<String>) {
    let new = contents.params.iter().filter(|(name, _)| !known.params.contains_key(*name));
    let is_changed =
        |(name, value): &(&String, &String)| known.params.get(*name).is_some_and(|found| found != *value);
    let changed = contents.params.iter().filter(is_changed).map(|(name, _)| name.clone()).collect();
    (new.map(|(name, value)| (name.clone(), value.clone())).collect(), changed)
}

fn pairs(pairs: &BTreeMap<String, String>) -> Vec<Value> {
    pairs.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect()
}

fn metric_json(metric: &Metric) -> Value {
    json!({ "key": metric.key, "value": metric.value, "timestamp": metric.timestamp, "step": metric.step })
}

/// Sends values, as many at once as a call takes.
fn log(client: &Client, run: &str, what: &str, most: usize, values: &[Value]) -> Result<(), Failure> {
    for some in values.chunks(most) {
        let mut body = json!({ "run_id": run });
        body[what] = some.into();
        client.post("mlflow/runs/log-batch", &body)?;
    }
    Ok(())
}

/// Sends the files where the server passes them on to its store; says what was done.
fn upload(client: &Client, artifacts: &str, contents: &Contents) -> Result<String, Failure> {
    let names: Vec<&str> = contents.files.iter().map(|(name, ..)| *name).collect();
    let Some(folder) = proxied(artifacts) else {
        return Ok(format!(
            "without {}, because the server's clients keep files themselves, in {artifacts}",
            names.join(" and ")
        ));
    };
    for (name, content_type, bytes) in &contents.files {
        let path = format!("mlflow-artifacts/artifacts/{folder}/{name}");
        match client.put(&path, content_type, bytes) {
            Ok(_) => {}
            Err(refusal) if [404, 405, 501, 503].contains(&refusal.status) => {
                return Ok(format!(
                    "without {}, because the server takes no files: {}",
                    names.join(" and "),
                    refusal.failure.messages.join("; ").trim_start_matches("error: ")
                ));
            }
            Err(refusal) => return Err(refusal.into()),
        }
    }
    Ok(format!("{}: {}", count(names.len()) + " files", names.join(", ")))
}

/// The folder of a run below the server's own store: of `mlflow-artifacts:/0/RUN/artifacts` and `mlflow-artifacts://host:port/0/RUN/artifacts`
/// it is `0/RUN/artifacts`.
fn proxied(artifacts: &str) -> Option<&str> {
    let rest = artifacts.strip_prefix("mlflow-artifacts:")?;
    let path = match rest.strip_prefix("//") {
        Some(with_host) => with_host.split_once('/')?.1,
        None => rest,
    };
    Some(path.trim_matches('/')).filter(|path| !path.is_empty())
}

#[cfg(test)]
mod tests {
    #[test]
    fn folders_of_proxied_stores_are_found() {
        for (uri, folder) in [
            ("mlflow-artifacts:/0/abc/artifacts", Some("0/abc/artifacts")),
            ("mlflow-artifacts://host:5000/0/abc/artifacts", Some("0/abc/artifacts")),
            ("s3://bucket/0/abc/artifacts", None),
            ("/tmp/mlruns/0/abc/artifacts", None),
        ] {
            assert_eq!(super::proxied(uri), folder, "{uri}");
        }
    }
}

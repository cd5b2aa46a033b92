//! Dataset embeddings in a run: trained and kept in checkpoints and exported models, by the names of the corpora.

use crate::job::{bag, bert, bits, job, record, settings};
use data::{Split, View};
use polytask_train::{Event, Job, Model, Outcome, RunDir, Settings, Start, TrainError, evaluate, predict};
use serde_json::{Value as Json, json};
use std::sync::atomic::AtomicBool;

/// The job of two corpora, each with a vector.
fn with_vectors(backbone: Json) -> Job {
    let mut job = job(backbone, 17);
    let model = &mut job.model;
    let corpora = model.tasks.iter().map(|task| &task.config.corpus);
    model.datasets = Model::add_datasets(corpora, &mut model.trunk, &mut model.parameters);
    assert_eq!(model.datasets, ["chat", "reviews"]);
    job
}

fn some_steps(balance: Json) -> Settings {
    settings(json!({
        "train": {"epochs": 10, "max_steps": 20, "tokens_per_batch": 100, "gradient_accumulation_steps": 2,
                  "seed": 11},
        "balance": balance,
    }))
}

fn run(job: &mut Job, settings: &Settings, dir: &tempfile::TempDir) -> Vec<Event> {
    let (outcome, events) = record(job, settings, dir.path(), Start::Fresh, None);
    assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
    events
}

fn table(model: &Model) -> Vec<f32> {
    model.parameters.data(model.trunk.dataset_embedding().unwrap().index())
}

#[test]
fn each_corpus_moves_its_own_vector() {
    // No weight decay, so that only a gradient moves a number.
    for balance in [json!({"equal": {}}), json!({"upgrad": {}})] {
        let mut settings = settings(json!({
            "train": {"max_steps": 3, "tokens_per_batch": 100, "seed": 11},
            "optimizer": {"sgd": {"learning_rate": 0.05}}, "balance": balance,
        }));
        let mut job = with_vectors(bert());
        run(&mut job, &settings, &tempfile::tempdir().unwrap());
        let moved = table(&job.model);
        assert!(moved.chunks(16).all(|vector| vector.iter().any(|x| *x != 0.0)), "{balance}");
        assert_ne!(moved[..16], moved[16..]);
        // A phase with the tasks of one corpus leaves the other's vector alone.
        settings.phases = serde_json::from_value(json!([{"tasks": ["polarity"]}])).unwrap();
        let mut job = with_vectors(bert());
        run(&mut job, &settings, &tempfile::tempdir().unwrap());
        let moved = table(&job.model);
        assert!(moved[..16].iter().all(|x| *x == 0.0) && moved[16..].iter().any(|x| *x != 0.0), "{balance}");
    }
}

#[test]
fn going_on_gives_the_same_bits() {
    for (backbone, balance) in [(bag(), json!({"upgrad": {}})), (bert(), json!({"equal": {}}))] {
        let settings = some_steps(balance);
        let (whole_dir, parts_dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut whole = with_vectors(backbone.clone());
        run(&mut whole, &settings, &whole_dir);
        let mut first = with_vectors(backbone.clone());
        let (outcome, _) = record(&mut first, &settings, parts_dir.path(), Start::Fresh, Some(7));
        assert!(matches!(outcome.unwrap(), Outcome::Interrupted { step: 7, .. }));
        let mut rest = with_vectors(backbone);
        let (outcome, _) = record(&mut rest, &settings, parts_dir.path(), Start::Resume, None);
        assert!(matches!(outcome.unwrap(), Outcome::Finished { .. }));
        assert!(bits(&whole.model) == bits(&rest.model));
        assert!(table(&whole.model).iter().any(|x| *x != 0.0));
    }
}

#[test]
fn a_checkpoint_belongs_to_its_corpora_in_their_order() {
    let (dir, settings) = (tempfile::tempdir().unwrap(), some_steps(json!({"equal": {}})));
    let (outcome, _) = record(&mut with_vectors(bag()), &settings, dir.path(), Start::Fresh, Some(5));
    outcome.unwrap();
    let mut other = with_vectors(bag());
    other.model.datasets.reverse();
    let (outcome, _) = record(&mut other, &settings, dir.path(), Start::Resume, None);
    let error = outcome.unwrap_err().to_string();
    let says =
        "corpora with an embedding: [\"chat\",\"reviews\"] in the checkpoint, [\"reviews\",\"chat\"] now";
    assert!(error.contains(says), "{error}");
    let (outcome, _) = record(&mut job(bag(), 17), &settings, dir.path(), Start::Resume, None);
    let error = outcome.unwrap_err().to_string();
    assert!(
        error.contains("corpora with an embedding: [\"chat\",\"reviews\"] in the checkpoint, nothing now"),
        "{error}"
    );
}

#[test]
fn a_corpus_without_a_vector_is_refused() {
    let mut job = with_vectors(bag());
    job.model.datasets[1] = "mails".into();
    let dir = tempfile::tempdir().unwrap();
    let (outcome, _) = record(&mut job, &some_steps(json!({"equal": {}})), dir.path(), Start::Fresh, None);
    let error = outcome.unwrap_err();
    assert!(matches!(error, TrainError::NoVector { .. }));
    let says = "rows of corpus `reviews`, for which the model has no vector; it has one for chat, mails:";
    assert!(error.to_string().contains(says), "{error}");
}

/// A saved model says the same, and what says otherwise in its folder is refused.
#[test]
fn a_result_has_its_vectors() {
    let mut job = with_vectors(bert());
    let dir = tempfile::tempdir().unwrap();
    run(&mut job, &some_steps(json!({"equal": {}})), &dir);
    let folder = RunDir::new(dir.path()).model();
    let device = job.model.device().clone().inner();
    let (mut opened, manifest, _) = Model::open(&folder, &device).unwrap();
    assert_eq!((&manifest.datasets, &opened.datasets), (&job.model.datasets, &job.model.datasets));
    assert_eq!(table(&opened), table(&job.model));
    for (task, view) in opened.tasks.iter_mut().zip([0, 0, 1]) {
        task.view = view;
        task.head.encode_targets(Split::Validation, &job.views.validation[view]).unwrap();
    }
    let scores = |model: &Model| {
        let never = AtomicBool::new(false);
        let found = evaluate(model, Split::Validation, &job.views.validation, 100, &never).unwrap();
        found.tasks.iter().map(|task| task.loss.unwrap()).collect::<Vec<f64>>()
    };
    let own = scores(&opened);
    assert_eq!(own, scores(&job.model));
    // The vector is that of the view's corpus: under another name the rows are read otherwise.
    let view = &job.views.validation[1];
    let as_chat = View { corpus: "chat".into(), ..view.clone() };
    let of = |view| format!("{:?}", predict(&opened, &[2], view, 100));
    assert_eq!(of(view), of(view));
    assert_ne!(of(view), of(&as_chat));
    // So are those of the other views.
    opened.datasets.reverse();
    let swapped = scores(&opened);
    assert!(own.iter().zip(&swapped).all(|(own, swapped)| own != swapped), "{own:?} {swapped:?}");

    let file = folder.join("polytask.json");
    let mut manifest: Json = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for hashes in ["files", "blake3"] {
        manifest.as_object_mut().unwrap().remove(hashes).unwrap();
    }
    for (datasets, says) in [
        (
            json!(["chat", "mails"]),
            "task `polarity`: found vectors for chat, mails, expected one for its corpus `reviews`",
        ),
        (json!(["chat", "chat"]), "corpus `chat` has a vector twice"),
        (json!(["chat", "mails", "reviews"]), "embeddings.corpus: found shape [2, 16], expected [3, 16]"),
    ] {
        let mut changed = manifest.clone();
        changed["datasets"] = datasets;
        std::fs::write(&file, changed.to_string()).unwrap();
        let error = Model::open(&folder, &device).err().unwrap().to_string();
        assert!(error.contains(says), "{error}");
    }
    std::fs::write(&file, manifest.to_string()).unwrap();
    std::fs::remove_file(folder.join("sharing.safetensors")).unwrap();
    let error = Model::open(&folder, &device).err().unwrap().to_string();
    assert!(error.contains("sharing.safetensors"), "{error}");
}

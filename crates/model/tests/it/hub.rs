//! The Hub's protocol and cache against a server of our own on this machine.

use crate::fixture::{folder, opened};
use polytask_model::hub::fetch;
use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
/// SHA-256 of the file that the server gives as large.
type Answer = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// A Hub with one model, `team/model`, in two revisions' names, and a count of what was asked.
struct Hub {
    endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Hub {
    /// Serves these answers by path; everything else is 404.
    fn start(answers: HashMap<String, Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let log = asked.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(stream.unwrap(), &answers, &log);
            }
        });
        Self { endpoint, asked }
    }

    /// The paths asked for since the last time.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.asked.lock().unwrap())
    }
}

fn serve(mut stream: TcpStream, answers: &HashMap<String, Answer>, log: &Mutex<Vec<String>>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let Some(Ok(first)) = lines.next() else { return };
    let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
    while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
    let missing = (404, vec![], vec![]);
    let (status, headers, body) = answers.get(&path).unwrap_or(&missing);
    log.lock().unwrap().push(path);
    let mut head = format!("HTTP/1.1 {status} X\r\nConnection: close\r\n");
    if !headers.iter().any(|(name, _)| *name == "Content-Length") {
        head += &format!("Content-Length: {}\r\n", body.len());
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(b"\r\n"))
        .and_then(|()| stream.write_all(body));
}

fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn git_hash(file: &str) -> String {
    // Any forty hexadecimal digits do for a small file.
    sha256(file.as_bytes())[..40].to_owned()
}

/// The answers of a Hub that holds a fixture: small files straight, safetensors by a redirection with their SHA-256.
fn model(fixture: &str, revision: &str) -> HashMap<String, Answer> {
    let mut answers = HashMap::new();
    let mut names = vec!["README.md".to_owned()];
    let mut file = |name: &str, body: Vec<u8>| {
        let path = format!("/team/model/resolve/{COMMIT}/{name}");
        if name.ends_with(".safetensors") {
            let etag = format!("\"{}\"", sha256(&body));
            let cdn = format!("/cdn/{name}?signature=x");
            answers.insert(path, (302, vec![("X-Linked-Etag", etag), ("Location", cdn.clone())], vec![]));
            answers.insert(cdn, (200, vec![("ETag", "\"of-the-cdn\"".into())], body));
        } else {
            answers.insert(path, (200, vec![("ETag", format!("\"{}\"", git_hash(name)))], body));
        }
        names.push(name.to_owned());
    };
    file("tokenizer.json", b"{}".to_vec());
    for entry in std::fs::read_dir(folder(fixture)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if name != "states.safetensors" {
            file(&name, std::fs::read(entry.path()).unwrap());
        }
    }
    let siblings: Vec<_> = names.iter().map(|name| serde_json::json!({ "rfilename": name })).collect();
    let json = serde_json::json!({ "sha": COMMIT, "siblings": siblings });
    let path = format!("/api/models/team/model/revision/{revision}");
    answers.insert(path, (200, vec![], json.to_string().into_bytes()));
    answers
}

fn blobs(cache: &Path) -> Vec<String> {
    let dir = std::fs::read_dir(cache.join("models--team--model/blobs")).unwrap();
    let mut names: Vec<String> = dir.map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_model_is_fetched_into_the_standard_layout_once() {
    let (hub, cache) = (Hub::start(model("bert", "main")), tempfile::tempdir().unwrap());
    let dir = fetch("hf:team/model", cache.path(), &hub.endpoint).unwrap();
    let root = cache.path().join("models--team--model");
    assert_eq!(dir, root.join("snapshots").join(COMMIT));
    assert_eq!(std::fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    let weights = std::fs::read(folder("bert/model.safetensors")).unwrap();
    let mut expected = vec![sha256(&weights), git_hash("config.json"), git_hash("tokenizer.json")];
    expected.sort();
    assert_eq!(blobs(cache.path()), expected, "the README is not needed, and nothing temporary is left");
    #[cfg(unix)]
    assert_eq!(
        std::fs::read_link(dir.join("model.safetensors")).unwrap(),
        Path::new("../../blobs").join(sha256(&weights))
    );
    assert_eq!(opened(&dir).0.hidden(), 32);

    // Again: the revision is asked for, nothing is downloaded. By commit: nothing is asked at all.
    hub.asked();
    assert_eq!(fetch("team/model@main", cache.path(), &hub.endpoint).unwrap(), dir);
    assert_eq!(hub.asked(), ["/api/models/team/model/revision/main"]);
    assert_eq!(fetch(&format!("team/model@{COMMIT}"), cache.path(), &hub.endpoint).unwrap(), dir);
    assert!(hub.asked().is_empty());
    // Without a connection the last commit of the revision serves.
    assert_eq!(fetch("team/model", cache.path(), "http://127.0.0.1:9").unwrap(), dir);
    let error = fetch("team/model@other", cache.path(), "http://127.0.0.1:9").unwrap_err().to_string();
    assert!(error.contains("hf:team/model@other") && error.contains("Try: the connection"), "{error}");
}

#[test]
fn shards_and_odd_revisions_are_fetched() {
    let (hub, cache) = (Hub::start(model("xlm-roberta", "refs%2Fpr%2F3")), tempfile::tempdir().unwrap());
    let dir = fetch("team/model@refs/pr/3", cache.path(), &hub.endpoint).unwrap();
    assert_eq!(opened(&dir).0.spec().max_length, 38);
    assert_eq!(
        std::fs::read_to_string(cache.path().join("models--team--model/refs/refs/pr/3")).unwrap(),
        COMMIT
    );
    // A shard that was lost is fetched again, and it alone.
    hub.asked();
    let shard = dir.join("model-00002-of-00003.safetensors");
    std::fs::remove_file(std::fs::canonicalize(&shard).unwrap()).unwrap();
    fetch("team/model@refs/pr/3", cache.path(), &hub.endpoint).unwrap();
    assert!(shard.is_file());
    assert_eq!(hub.asked().len(), 3, "the revision, the redirection, the file");
}

#[test]
fn damage_on_the_way_is_noticed_and_leaves_nothing_behind() {
    let spoil = |change: fn(&mut Answer)| {
        let mut answers = model("bert", "main");
        change(answers.get_mut("/cdn/model.safetensors?signature=x").unwrap());
        let (hub, cache) = (Hub::start(answers), tempfile::tempdir().unwrap());
        let error = fetch("team/model", cache.path(), &hub.endpoint).unwrap_err().to_string();
        assert_eq!(blobs(cache.path()).len(), 2, "only the two whole files");
        assert!(!cache.path().join("models--team--model/refs/main").exists());
        error
    };
    let error = spoil(|(_, _, body)| body[5000] ^= 1);
    assert!(error.contains("SHA-256") && error.contains("Try: again"), "{error}");
    let error = spoil(|(_, headers, body)| headers.push(("Content-Length", (body.len() + 10).to_string())));
    assert!(error.contains("model.safetensors"), "{error}");
    let error = spoil(|answer| answer.0 = 500);
    assert!(error.contains("HTTP 500"), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    let with = |status: u16| {
        let path = "/api/models/team/model/revision/main".to_owned();
        let (hub, cache) =
            (Hub::start(HashMap::from([(path, (status, vec![], vec![]))])), tempfile::tempdir().unwrap());
        fetch("team/model", cache.path(), &hub.endpoint).unwrap_err().to_string()
    };
    for (status, parts) in [
        (401, ["HTTP 401", "hf auth login"]),
        (403, ["HTTP 403", "hf download"]),
        (404, ["HTTP 404", "the spelling of owner/name and of the revision"]),
        (429, ["HTTP 429", "in a few minutes"]),
        (503, ["HTTP 503", "again later"]),
        (200, ["no description of a model", "endpoint"]),
    ] {
        let error = with(status);
        assert!(
            error.starts_with("hf:team/model@main: ") && parts.iter().all(|p| error.contains(p)),
            "{error}"
        );
    }
}

#[test]
fn a_hostile_server_cannot_lead_out_of_the_cache() {
    let path = "/api/models/team/model/revision/main";
    let describe = |json: serde_json::Value| (200, vec![], json.to_string().into_bytes());
    let run = |answers| {
        let (hub, cache) = (Hub::start(answers), tempfile::tempdir().unwrap());
        let error = fetch("team/model", cache.path(), &hub.endpoint).unwrap_err().to_string();
        (error, cache)
    };
    let mut answers = model("bert", "main");
    answers.insert(path.into(), describe(serde_json::json!({ "sha": "../../../../tmp/x", "siblings": [] })));
    assert!(run(answers).0.contains("no description"));

    let mut answers = model("bert", "main");
    let weights = format!("/team/model/resolve/{COMMIT}/model.safetensors");
    answers.insert(weights.clone(), (302, vec![("Location", "file:///etc/passwd".into())], vec![]));
    assert!(run(answers).0.contains("leads to no address"));

    let mut answers = model("bert", "main");
    answers.insert(weights.clone(), (302, vec![("Location", weights)], vec![]));
    assert!(run(answers).0.contains("in circles"));

    let mut answers = model("xlm-roberta", "main");
    let index = format!("/team/model/resolve/{COMMIT}/model.safetensors.index.json");
    answers.get_mut(&index).unwrap().2 = br#"{"weight_map": {"a": "../../../x.safetensors"}}"#.to_vec();
    assert!(run(answers).0.contains("does not name safetensors files beside it"));

    // An entity tag is no file name unless it is a checksum.
    let mut answers = model("bert", "main");
    answers.get_mut(&format!("/team/model/resolve/{COMMIT}/config.json")).unwrap().1 =
        vec![("ETag", "\"../../x\"".into())];
    let (hub, cache) = (Hub::start(answers), tempfile::tempdir().unwrap());
    fetch("team/model", cache.path(), &hub.endpoint).unwrap();
    assert_eq!(std::fs::read_dir(cache.path()).unwrap().count(), 1);
    assert!(blobs(cache.path()).iter().all(|name| matches!(name.len(), 40 | 64)));
}

#[test]
fn models_without_what_is_needed_are_refused() {
    let without = |remove: &'static str| {
        let mut answers = model("bert", "main");
        let describe = answers.get_mut("/api/models/team/model/revision/main").unwrap();
        let json = String::from_utf8(describe.2.clone()).unwrap().replace(remove, "other.bin");
        describe.2 = json.into_bytes();
        let (hub, cache) = (Hub::start(answers), tempfile::tempdir().unwrap());
        fetch("team/model", cache.path(), &hub.endpoint).unwrap_err().to_string()
    };
    assert!(without("tokenizer.json").contains("the model has no tokenizer.json"));
    assert!(without("config.json").contains("the model has no config.json"));
    assert!(without("model.safetensors").contains("the model has no weights as safetensors"));
    let error = fetch("not a name", Path::new("x"), "http://127.0.0.1:9").unwrap_err().to_string();
    assert!(error.contains("expected owner/name@revision"), "{error}");
}

#[test]
fn the_files_of_another_tokenizer_are_fetched_where_there_is_no_tokenizer_json() {
    let mut answers = model("bert", "main");
    let describe = answers.get_mut("/api/models/team/model/revision/main").unwrap();
    let names = "vocab.txt\"},{\"rfilename\":\"tokenizer_config.json";
    describe.2 = String::from_utf8(describe.2.clone()).unwrap().replace("tokenizer.json", names).into_bytes();
    for name in ["vocab.txt", "tokenizer_config.json"] {
        let answer = (200, vec![("ETag", format!("\"{}\"", git_hash(name)))], b"{}".to_vec());
        answers.insert(format!("/team/model/resolve/{COMMIT}/{name}"), answer);
    }
    let (hub, cache) = (Hub::start(answers), tempfile::tempdir().unwrap());
    let dir = fetch("team/model", cache.path(), &hub.endpoint).unwrap();
    assert!(["vocab.txt", "tokenizer_config.json"].iter().all(|name| dir.join(name).is_file()));
    drop(hub);
    assert_eq!(
        fetch("team/model", cache.path(), "http://127.0.0.1:9").unwrap(),
        dir,
        "it is whole without the Hub"
    );
}

//! The readers against what Python's writers lay down, and against files made wrong on purpose.
//! The fixtures are made by scripts/make_reader_fixtures.py.

use std::path::{Path, PathBuf};

use polytask_data::{CorpusConfig, Format, Paths, Row, Value, content_hash, files, read};
use serde_json::Value as Json;

pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn one(path: &Path) -> Paths {
    Paths::One(path.to_str().unwrap().to_owned())
}

pub fn read_one(path: &Path) -> Result<Vec<Row>, Vec<String>> {
    read(&one(path), &CorpusConfig::of("")).map_err(|errors| errors.iter().map(ToString::to_string).collect())
}

fn expected(name: &str) -> Vec<Json> {
    let all: Json = serde_json::from_str(&std::fs::read_to_string(fixture("rows.json")).unwrap()).unwrap();
    all[name].as_array().unwrap().clone()
}

pub fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(b) => (*b).into(),
        Value::Number(n) => (*n).into(),
        Value::Integer(digits) => serde_json::from_str(digits).unwrap(),
        Value::Text(t) => t.clone().into(),
        Value::List(items) => items.iter().map(json).collect(),
        Value::Record(fields) => fields.iter().map(|(name, value)| (name.to_string(), json(value))).collect(),
    }
}

fn integer(number: &serde_json::Number) -> Option<i128> {
    number.as_i64().map(i128::from).or(number.as_u64().map(i128::from))
}

/// Equality that takes 1 and 1.0 for the same.
pub fn same(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => match (integer(a), integer(b)) {
            (Some(a), Some(b)) => a == b,
            _ => a.as_f64() == b.as_f64(),
        },
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        _ => a == b,
    }
}

#[test]
fn csv_holds_what_python_wrote() {
    let rows = read_one(&fixture("rows.csv")).unwrap();
    let expected = expected("csv");
    assert_eq!(rows.len(), expected.len());
    for (row, expected) in rows.iter().zip(&expected) {
        for (name, value) in expected.as_object().unwrap() {
            // Spaces around a cell without quotes are dropped, which Python keeps.
            let (found, expected) = (row.text(name).unwrap().unwrap_or_default(), value.as_str().unwrap());
            assert!(found == expected || found == expected.trim(), "{}: {found:?}", row.place);
        }
    }
    let lines: Vec<usize> = rows.iter().take(5).map(|row| row.place.line).collect();
    assert_eq!(lines, [2, 3, 4, 6, 9]);
}

#[test]
fn parquet_holds_what_pyarrow_wrote() {
    for name in ["none", "snappy", "zstd", "gzip", "lz4"] {
        let rows = read_one(&fixture(&format!("rows_{name}.parquet"))).unwrap();
        let expected = expected("parquet");
        assert_eq!(rows.len(), expected.len());
        for (i, (row, expected)) in rows.iter().zip(&expected).enumerate() {
            assert_eq!(row.place.line, i + 1);
            assert_eq!(row.fields.len(), expected.as_object().unwrap().len());
            assert_eq!(row.text("day").unwrap().as_deref(), Some("2020-02-29"));
            for (name, expected) in expected.as_object().unwrap().iter().filter(|(name, _)| *name != "day") {
                let found = row.get(name).map_or(Json::Null, json);
                assert!(same(&found, expected), "row {i} {name}: found {found}, expected {expected}");
            }
        }
    }
}

#[test]
fn several_files_globs_and_names_with_brackets() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, n: u32| {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("{{\"n\": {n}}}\n")).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (b, a) = (write("part-b.jsonl", 2), write("part-a.jsonl", 1));
    let bracket = write("x[1].jsonl", 3);
    let glob = folder.path().join("part-*.jsonl").to_str().unwrap().to_owned();
    let numbers = |paths: &Paths| -> Vec<f64> {
        let rows = read(paths, &CorpusConfig::of("")).unwrap();
        rows.iter().map(|row| row.number("n").unwrap().unwrap()).collect()
    };
    assert_eq!(numbers(&Paths::One(glob.clone())), [1.0, 2.0]);
    assert_eq!(numbers(&Paths::Many(vec![bracket, b.clone(), a.clone()])), [3.0, 2.0, 1.0]);
    assert_eq!(files(&Paths::One(glob.clone())).unwrap().len(), 2);

    let missing = Paths::Many(vec!["no/such-*.jsonl".into(), "nor/this.jsonl".into(), "[".into()]);
    let errors: Vec<String> = files(&missing).unwrap_err().iter().map(ToString::to_string).collect();
    assert!(errors[0].starts_with("no file matches \"no/such-*.jsonl\""), "{errors:?}");
    assert_eq!(errors.len(), 3);
    let error = files(&one(folder.path())).unwrap_err()[0].to_string();
    assert!(error.contains("is a folder; name its files"), "{error}");

    let hash = content_hash(&Paths::One(glob.clone())).unwrap();
    assert_eq!(hash.len(), 64);
    assert_eq!(content_hash(&Paths::Many(vec![a.clone(), b.clone()])).unwrap(), hash);
    assert_ne!(content_hash(&Paths::Many(vec![b.clone(), a])).unwrap(), hash);
    std::fs::write(&b, "{\"n\": 3}\n").unwrap();
    assert_ne!(content_hash(&Paths::One(glob)).unwrap(), hash);
}

#[test]
fn the_format_comes_from_the_extension_or_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.data");
    std::fs::write(&path, "a\tO\nb\tB-x\n").unwrap();
    assert!(read_one(&path).unwrap_err()[0].contains("set the corpus's `format`"));
    let corpus = CorpusConfig { format: Some(Format::Conll), ..CorpusConfig::of("") };
    let rows = read(&one(&path), &corpus).unwrap();
    assert_eq!(rows[0].words("tokens").unwrap().unwrap(), ["a", "b"]);
}

#[test]
fn files_without_rows_are_named() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.jsonl", ""),
        ("b.csv", "text,label\n"),
        ("c.conll", "\n\n"),
        ("d.conllu", "# x\n"),
        ("e.tsv", ""),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let errors = read_one(&path).unwrap_err();
        assert!(errors.len() == 1 && errors[0].contains("holds no rows"), "{errors:?}");
    }
    // An empty file beside a full one is no error.
    std::fs::write(folder.path().join("f.jsonl"), "\u{FEFF}{\"a\": 1}\r\n").unwrap();
    let rows = read(&one(&folder.path().join("*.jsonl")), &CorpusConfig::of("")).unwrap();
    assert_eq!(rows.len(), 1);
}

#[test]
fn many_errors_are_reported_at_once_over_several_files() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("a.jsonl"), "{\"b\"\n".repeat(15)).unwrap();
    std::fs::write(folder.path().join("b.jsonl"), "{\"a\": }\n".repeat(1000)).unwrap();
    let errors = read_one(&folder.path().join("*.jsonl")).unwrap_err();
    assert_eq!(errors.len(), 21);
    assert!(errors[15].contains("b.jsonl:1: is not JSON"), "{}", errors[15]);
    assert_eq!(errors[20], "and 995 more like these");
}

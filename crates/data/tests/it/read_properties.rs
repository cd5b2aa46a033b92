//! What holds for every input of a reader: rows come back as they were written, and no bytes make it panic.

use std::path::PathBuf;

use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use serde_json::{Value as Json, json};

use crate::read::{fixture, json, read_one, same};

/// As many cases as each property is tried on; a failed case is made smaller by itself and printed.
fn cases(count: u32) -> ProptestConfig {
    ProptestConfig { cases: count, failure_persistence: None, ..ProptestConfig::default() }
}

/// A file of these bytes, in a folder that goes away with the guard.
fn file(extension: &str, bytes: &[u8]) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(format!("x.{extension}"));
    std::fs::write(&path, bytes).unwrap();
    (folder, path)
}

fn json_value() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        any::<f64>().prop_filter("JSON has no such number", |x| x.is_finite()).prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Json::from),
            btree_map("[a-zé]{1,4}", inner, 0..4).prop_map(|fields| fields.into_iter().collect()),
        ]
    })
}

/// A cell of a table: quotes, delimiters, line ends, and letters of several bytes.
const CELL: &str = "[ a-c0-9é我,;\"\n\t]{0,8}";

/// Pieces of the formats' own syntax.
const PIECES: &[&[u8]] = &[
    b"\n",
    b"\r\n",
    b"\t",
    b",",
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b":",
    b"1",
    b"2",
    b"_",
    b"#",
    b" ",
    b"=",
    b"-",
    b".",
    b"# text = x\n",
    b"1\ta\tb\tc\td\te\t0\tf\tg\th\n",
    b"{\"a\": 1}\n",
    b"-DOCSTART-",
    b"\xEF\xBB\xBF",
    b"\xFF",
    "é我👩\u{200D}".as_bytes(),
    b"\0",
    b"PAR1",
    b"null",
    b"1e999",
    b"\\u",
    b"\xF0\x9F",
];

fn piece() -> impl Strategy<Value = Vec<u8>> {
    proptest::sample::select(PIECES).prop_map(<[u8]>::to_vec)
}

proptest! {
    #![proptest_config(cases(64))]

    #[test]
    fn json_lines_hold_what_was_written(
        rows in vec(btree_map("[a-z]{1,4}", json_value(), 1..5), 1..6)
    ) {
        let rows: Vec<Json> = rows.into_iter().map(|fields| fields.into_iter().collect()).collect();
        let text: String = rows.iter().map(|row| format!("{row}\n")).collect();
        let (_folder, path) = file("jsonl", text.as_bytes());
        let read = read_one(&path).unwrap();
        prop_assert_eq!(read.len(), rows.len());
        for (row, right) in read.iter().zip(&rows) {
            let fields: Json = row.fields.iter().map(|(name, value)| (name.to_string(), json(value))).collect();
            prop_assert!(same(&fields, right), "{} for {}", fields, right);
        }
    }

    #[test]
    fn csv_holds_what_was_written(
        (names, rows) in btree_set("[a-z]{1,4}", 1..4).prop_flat_map(|names| {
            let cells = vec(CELL, names.len());
            (Just(Vec::from_iter(names)), vec(cells, 1..5))
        })
    ) {
        let quoted = |cell: &String| format!("\"{}\"", cell.replace('"', "\"\""));
        let line = |cells: &Vec<String>| cells.iter().map(quoted).collect::<Vec<_>>().join(",") + "\r\n";
        let text: String = std::iter::once(&names).chain(&rows).map(line).collect();
        let (_folder, path) = file("csv", text.as_bytes());
        let read = read_one(&path).unwrap();
        prop_assert_eq!(read.len(), rows.len());
        for (row, cells) in read.iter().zip(&rows) {
            for ((name, value), (right_name, cell)) in row.fields.iter().zip(names.iter().zip(cells)) {
                let right = if cell.is_empty() { Json::Null } else { json!(cell) };
                prop_assert_eq!((&**name, json(value)), (right_name.as_str(), right));
            }
        }
    }

    #[test]
    fn no_bytes_make_a_reader_panic(
        bytes in prop_oneof![vec(any::<u8>(), 0..100), vec(piece(), 0..30).prop_map(|all| all.concat())]
    ) {
        for extension in ["jsonl", "csv", "tsv", "conll", "conllu", "parquet"] {
            let (_folder, path) = file(extension, &bytes);
            let _ = read_one(&path);
        }
    }

    #[test]
    fn no_damage_makes_a_reader_panic(
        name in proptest::sample::select(&["rows_none.parquet", "rows_snappy.parquet", "rows_zstd.parquet", "rows.csv"][..]),
        changes in vec((any::<proptest::sample::Index>(), any::<u8>()), 1..5),
        end in proptest::option::weighted(0.25, any::<proptest::sample::Index>()),
    ) {
        let mut bytes = std::fs::read(fixture(name)).unwrap();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Some(end) = end {
            bytes.truncate(end.index(bytes.len()));
        }
        let extension = name.rsplit('.').next().unwrap();
        let (_folder, path) = file(extension, &bytes);
        let _ = read_one(&path);
    }
}

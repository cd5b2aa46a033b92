//! Corpora in the formats that people have, each from its file to labelled rows.

use crate::bench::{Bench, Ran};
use serde_json::{Value, json};
use std::io::Write;

/// A config of one corpus and one task.
fn config(corpus: &str, task: &str) -> String {
    format!(
        "[model]\nbackbone = {{ bag = {{ width = 8 }} }}\n[tokenizer]\nsize = 300\n[data]\nmax_length = 32\n[corpus.c]\n{corpus}\n\
         [task.t]\ncorpus = \"c\"\n{task}\n[train]\nepochs = 1\nthreads = 1\n"
    )
}

/// Checks files under a config of one corpus and one task; what is printed, with single spaces.
fn check(files: &[(&str, &[u8])], corpus: &str, task: &str) -> (Ran, String) {
    let bench = Bench::new();
    files.iter().for_each(|(name, bytes)| bench.write(name, bytes));
    bench.write("config.toml", config(corpus, task));
    let ran = bench.run(&["check", "config.toml"]);
    let said = format!("{} {}", ran.out, ran.err).split_whitespace().collect::<Vec<_>>().join(" ");
    (ran, said)
}

fn lines(rows: &[Value]) -> Vec<u8> {
    rows.iter().map(|row| format!("{row}\n")).collect::<String>().into_bytes()
}

const TEXTS: [&str; 4] = ["Ann met Bob in Oslo.", "Bob left.", "We saw Ann.", "Oslo is cold."];

/// Ann, Bob, Oslo by character, as a list of `[start, end, label]`.
fn spans(i: usize) -> Vec<(usize, usize, &'static str)> {
    [
        vec![(0, 3, "PER"), (8, 11, "PER"), (15, 19, "LOC")],
        vec![(0, 3, "PER")],
        vec![(7, 10, "PER")],
        vec![(0, 4, "LOC")],
    ][i]
        .clone()
}

#[test]
fn entities_of_annotation_tools_are_tags_of_words() {
    let rows = |row: &dyn Fn(usize) -> Value| lines(&(0..4).map(row).collect::<Vec<_>>());
    let list = |i: usize| -> Value { spans(i).iter().map(|(s, e, l)| json!([s, e, l])).collect() };
    let doccano = rows(&|i| json!({ "id": i, "text": TEXTS[i], "label": list(i) }));
    let offsets = rows(&|i| {
        let span =
            |(s, e, l): &(usize, usize, &str)| json!({ "start_offset": s, "end_offset": e, "label": l });
        json!({ "text": TEXTS[i], "entities": spans(i).iter().map(span).collect::<Value>() })
    });
    let prodigy = rows(&|i| {
        let span =
            |(s, e, l): &(usize, usize, &str)| json!({ "start": s, "end": e, "label": l, "token_start": 0 });
        json!({ "text": TEXTS[i], "spans": spans(i).iter().map(span).collect::<Value>(), "answer": "accept" })
    });
    let spacy: Value = (0..4).map(|i| json!([TEXTS[i], { "entities": list(i) }])).collect();
    for (name, bytes, field) in [
        ("doccano.jsonl", doccano, "label"),
        ("offsets.jsonl", offsets, "entities"),
        ("prodigy.jsonl", prodigy, "spans"),
        ("spacy.json", spacy.to_string().into_bytes(), "entities"),
    ] {
        let task = format!("tagging = {{ text = \"text\", spans = \"{field}\" }}");
        let (ran, said) = check(&[(name, &bytes)], &format!("train = \"{name}\""), &task);
        assert!(ran.ok && said.contains("B-PER 4, B-LOC 2"), "{name}: {said}");
    }
    // spaCy's older format has tags.
    let token = |(word, tag): (&str, &str)| json!({ "orth": word, "ner": tag });
    let tokens = [("New", "B-LOC"), ("Oslo", "L-LOC"), ("saw", "O"), ("Ann", "U-PER")].map(token);
    let sentence = json!({ "tokens": tokens });
    let old = json!([{ "id": 0, "paragraphs": [{ "raw": "New Oslo saw Ann", "sentences": [sentence] }] }]);
    let (ran, said) = check(
        &[("old.json", old.to_string().as_bytes())],
        "train = \"old.json\"",
        "tagging = { crf = true }",
    );
    assert!(
        ran.ok && said.contains("its tags are bilou, read as bioes") && said.contains("B-LOC 1, E-LOC 1"),
        "{said}"
    );
}

#[test]
fn spans_that_tags_cannot_hold_are_counted() {
    let rows = lines(&[
        json!({ "text": "Ann met Bob.", "label": [[0, 3, "PER"]] }),
        json!({ "text": "Ann met Bob.", "label": [[0, 3, "PER"], [0, 7, "X"], [90, 95, "PER"], [9, 10, "X"]] }),
    ]);
    let task = "tagging = { text = \"text\", spans = \"label\" }";
    let (ran, said) = check(&[("a.jsonl", &rows)], "train = \"a.jsonl\"", task);
    for part in [
        "1 of 2 training rows have spans that overlap",
        "that lie outside of their text",
        "begin or end inside of a word",
    ] {
        assert!(ran.ok && said.contains(part), "{part}: {said}");
    }
}

#[test]
fn answers_and_entities_that_are_not_where_they_should_be_are_left_out() {
    let context = "Zoë lives in Oslo";
    let answer = |start: usize| json!({ "question": "where?", "context": context, "answers": { "text": ["Oslo"], "answer_start": [start] } });
    let rows = lines(&[answer(13), answer(14), answer(2)]);
    let (ran, said) = check(&[("a.jsonl", &rows)], "train = \"a.jsonl\"", "extractive_qa = {}");
    for part in [
        "1 of 3 training rows have an answer that is not at its start in the context and is left out: its start counts bytes of UTF-8",
        "is left out: it stands elsewhere in the context",
        "t train 1 2 ",
    ] {
        assert!(ran.ok && said.contains(part), "{part}: {said}");
    }
    let squad = json!({ "version": "1.1", "data": [{ "title": "x", "paragraphs": [{ "context": context, "qas": [
        { "id": "1", "question": "where?", "answers": [{ "text": "Oslo", "answer_start": 13 }] },
        { "id": "2", "question": "who?", "answers": [], "is_impossible": true }] }] }] });
    let (ran, said) =
        check(&[("dev.json", squad.to_string().as_bytes())], "train = \"dev.json\"", "extractive_qa = {}");
    assert!(ran.ok && said.contains("an answer 1, no answer 1"), "{said}");
    let row = |end: usize| json!({ "tokens": ["Ann", "left"], "entities": [{ "start": 0, "end": end, "type": "PER" }], "relations": [] });
    let rows = lines(&[row(1), row(5)]);
    let task = "entities_relations = { learn = \"entities\" }";
    let (ran, said) = check(&[("a.jsonl", &rows)], "train = \"a.jsonl\"", task);
    assert!(
        ran.ok && said.contains("1 of 2 training rows have entities that lie outside of their words"),
        "{said}"
    );
}

#[test]
fn several_labels_stand_in_lists_vectors_or_columns() {
    let rows = |i: usize| format!("text {i},{},{}\n", i % 2, u8::from(i.is_multiple_of(3)));
    let csv: String = "text,toxic,insult\n".to_owned() + &(0..12).map(rows).collect::<String>();
    let of_columns = "multi_label = { text = \"text\", labels = [\"toxic\", \"insult\"] }";
    let (ran, said) = check(&[("a.csv", csv.as_bytes())], "train = \"a.csv\"", of_columns);
    assert!(ran.ok && said.contains("toxic 6, insult 4"), "{said}");
    let vector =
        |i: usize| json!({ "text": format!("text {i}"), "labels": [i % 2, u8::from(i.is_multiple_of(3))] });
    let vectors = lines(&(0..12).map(vector).collect::<Vec<_>>());
    let of_vectors =
        "multi_label = { text = \"text\", labels = \"labels\", one_hot = [\"toxic\", \"insult\"] }";
    let (ran, said) = check(&[("a.jsonl", &vectors)], "train = \"a.jsonl\"", of_vectors);
    assert!(ran.ok && said.contains("toxic 6, insult 4"), "{said}");
    let names = "train = \"a.csv\"\nnames = { toxic = [\"kind\", \"toxic\"] }";
    let (ran, said) =
        check(&[("a.csv", csv.as_bytes())], names, "classification = { text = \"text\", label = \"toxic\" }");
    assert!(ran.ok && said.contains("kind 6, toxic 6"), "{said}");
}

#[test]
fn compressed_fasttext_and_parallel_files_are_read() {
    let fasttext: String = (0..8).map(|i| format!("__label__{} text {i}\n", ["a", "b"][i % 2])).collect();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    gzip.write_all(fasttext.as_bytes()).unwrap();
    let gzip = gzip.finish().unwrap();
    let task = "classification = { text = \"text\", label = \"label\" }";
    for (name, bytes) in [("a.ft", fasttext.as_bytes()), ("a.ft.gz", &gzip)] {
        let (ran, said) = check(&[(name, bytes)], &format!("train = \"{name}\""), task);
        assert!(ran.ok && said.contains("a 4, b 4"), "{name}: {said}");
    }
    let files: [(&str, &[u8]); 2] = [("a.en", b"one\ntwo\n\nfour\n"), ("a.de", b"eins\nzwei\ndrei\nvier\n")];
    let corpus = "train = [\"a.en\", \"a.de\"]\nformat = \"parallel\"\ncolumns = [\"en\", \"de\"]";
    let task = "translation = { source = \"en\", target = \"de\" }\n[model.decoder]\nlayers = 1";
    let (ran, said) = check(&files, corpus, &format!("{task}\n"));
    assert!(ran.ok && said.contains("1 of 4 training rows have nothing to read in en"), "{said}");
    let uneven: [(&str, &[u8]); 2] = [("a.en", b"one\ntwo\n"), ("a.de", b"eins\n")];
    let (ran, said) = check(&uneven, corpus, task);
    assert!(ran.code == 2 && said.contains("found 1 lines, expected 2, as many as"), "{said}");
    let (ran, said) = check(&[("a.jsonl", b"{}\n")], "train = \"a.jsonl\"\nheader = true", task);
    assert!(
        ran.code == 2 && said.contains("header: found a value, and") && said.contains("is JSON Lines"),
        "{said}"
    );
}

#[test]
fn a_share_of_training_is_cut_off_for_validation() {
    let bench = Bench::new();
    let row = |i: usize| json!({ "text": format!("text {} of it", i % 40), "label": i % 2 });
    bench.write("a.jsonl", lines(&(0..50).map(row).collect::<Vec<_>>()));
    let task = "classification = { text = \"text\", label = \"label\" }";
    bench.write("config.toml", config("train = \"a.jsonl\"\nvalidation_split = 0.2", task));
    let trained = bench.run(&["train", "config.toml", "--run", "r"]);
    assert!(trained.ok && !trained.out.contains("that are in its own training"), "{}", trained.out);
    let data: Value = serde_json::from_slice(&std::fs::read(bench.path("r/data.json")).unwrap()).unwrap();
    let rows: Vec<u64> =
        data["views"].as_array().unwrap().iter().map(|v| v["rows"].as_u64().unwrap()).collect();
    assert!(rows.len() == 2 && rows[0] + rows[1] == 50 && (10..=12).contains(&rows[1]), "{rows:?}");
    let scored = bench.run(&["evaluate", "r", "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    assert_eq!(scores["tasks"]["t"]["rows"], rows[1], "the same rows are cut off again");
    bench.write(
        "config.toml",
        config("train = \"a.jsonl\"\nvalidation = \"a.jsonl\"\nvalidation_split = 0.2", task),
    );
    let ran = bench.run(&["check", "config.toml"]);
    assert!(ran.code == 2 && ran.err.contains("validation_split"), "{}", ran.err);
}

#[test]
fn a_file_with_data_alone_gets_its_fields_and_a_config() {
    let bench = Bench::new();
    let excel: String =
        (0..20).map(|i| format!("\"Es war schön; Tag {i}\";{}\r\n", ["gut", "schlecht"][i % 2])).collect();
    bench.write("excel.csv", "\u{FEFF}text;label\r\n".to_owned() + &excel);
    let doccano = |i: usize| json!({ "text": TEXTS[i % 4], "label": spans(i % 4) });
    bench.write("doccano.jsonl", lines(&(0..20).map(doccano).collect::<Vec<_>>()));
    for (file, task) in [
        (
            "excel.csv",
            "delimiter = \";\"\nvalidation_split = 0.1\n\n[task.first]\ncorpus = \"data\"\nclassification = { text = \"text\", label = \"label\" }",
        ),
        ("doccano.jsonl", "tagging = { text = \"text\", spans = \"label\" }"),
    ] {
        let shown = bench.run(&["check", file]);
        assert!(shown.ok && shown.out.contains(task), "{}{}", shown.out, shown.err);
        // What is proposed is a config that works.
        let (_, config) = shown.out.split_once("polytask check:\n\n").unwrap();
        bench.write("proposed.toml", config);
        let checked = bench.run(&["check", "proposed.toml"]);
        assert!(checked.ok, "{}", checked.err);
    }
    bench.write("latin.csv", b"text,label\nsch\xf6n,a\n".repeat(9));
    let refused = bench.run(&["check", "latin.csv"]);
    assert!(
        refused.code == 2
            && refused.err.contains("iconv -f WINDOWS-1252")
            && refused.err.contains("and 6 more like this"),
        "{}",
        refused.err
    );
}

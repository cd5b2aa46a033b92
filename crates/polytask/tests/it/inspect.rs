//! `polytask inspect` finds what was planted in corpora, names it, and finds nothing else.

use crate::bench::Bench;
use serde_json::{Value, json};

const CONFIG: &str = r#"[model]
backbone = { bag = { width = 8 } }

[tokenizer]
size = 400

[data]
max_length = 24

[corpus.mail]
train = "mail/train.jsonl"
validation = "mail/validation.jsonl"
test = "mail/test.jsonl"

[corpus.news]
train = "news/train.conll"
test = "news/test.conll"

[task.sort]
corpus = "mail"
classification = { text = "text", label = "sort" }

[task.worth]
corpus = "mail"
regression = { text = "text", value = "worth" }

[task.names]
corpus = "news"
tagging = { tokens = "tokens", tags = "tags" }

[train]
threads = 1
"#;

const COLOURS: [&str; 5] = ["red", "green", "blue", "brown", "grey"];
const THINGS: [&str; 7] = ["boat", "house", "apple", "letter", "window", "garden", "clock"];

/// A text that no other number has.
fn text(corpus: &str, i: usize) -> String {
    format!("The {corpus} number {i} has a {} {}.", COLOURS[i % 5], THINGS[i / 5 % 7])
}

fn mail(i: usize) -> Value {
    json!({ "text": text("mail", i), "sort": (["work", "home"][i % 2]), "worth": i % 10 })
}

fn lines(rows: impl IntoIterator<Item = Value>) -> String {
    rows.into_iter().map(|row| row.to_string() + "\n").collect()
}

/// Words and tags, with punctuation by itself as such corpora have it.
fn conll(texts: impl IntoIterator<Item = String>) -> String {
    let sentence = |text: String| {
        let words = text.replace('.', " .");
        let tagged = words.split_whitespace().map(|word| {
            let tag = if THINGS.contains(&word) { "B-THING" } else { "O" };
            format!("{word}\t{tag}\n")
        });
        tagged.collect::<String>() + "\n"
    };
    texts.into_iter().map(sentence).collect()
}

fn planted() -> Bench {
    let bench = Bench::new();
    bench.write("data.toml", CONFIG);
    let mut train: Vec<Value> = (0..200).map(mail).collect();
    // Three rows twice, in other case, spacing and punctuation.
    for i in [3, 30, 31] {
        let mut row = mail(i);
        row["text"] = text("mail", i).to_uppercase().replace('.', " !").replace(' ', "  ").into();
        train.push(row);
    }
    // One label 150 times rarer than the others, and rows without any.
    train.push(json!({ "text": text("mail", 500), "sort": "rare", "worth": 3 }));
    train.push(json!({ "text": text("mail", 501), "worth": null }));
    bench.write("mail/train.jsonl", lines(train));
    bench.write("mail/validation.jsonl", lines((600..620).map(mail)));
    // Of the test rows two are training rows of their own corpus, one has a label that training never shows.
    let mut test: Vec<Value> = (700..738).map(mail).collect();
    test.extend([mail(12), mail(13)]);
    test[0]["sort"] = "alien".into();
    test[1]["worth"] = 99.into();
    bench.write("mail/test.jsonl", lines(test));
    // Of the mail's test rows five are in training of the other corpus, word by word.
    let news = (0..90).map(|i| text("news", i)).chain((710..715).map(|i| text("mail", i)));
    bench.write("news/train.conll", conll(news));
    let long = format!("A long one of {} words.", "many and many ".repeat(12));
    bench.write("news/test.conll", conll((100..119).map(|i| text("news", i)).chain([long])));
    bench
}

fn survey(bench: &Bench, arguments: &[&str]) -> Value {
    let ran = bench.run(&[&["inspect", "data.toml", "--json"], arguments].concat());
    assert!(ran.ok, "{}", ran.err);
    serde_json::from_str(&ran.out).unwrap()
}

#[test]
fn what_was_planted_is_named_and_nothing_else() {
    let found = survey(&planted(), &[]);
    let repeated: Vec<_> = found["repeated"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| {
            let place =
                |p: &Value| format!("{} {}", p["corpus"].as_str().unwrap(), p["split"].as_str().unwrap());
            (
                place(&r["rows_of"]),
                place(&r["found_in"]),
                r["rows"].as_u64().unwrap(),
                r["of"].as_u64().unwrap(),
            )
        })
        .collect();
    let expected = [
        ("mail train", "mail train", 3, 205),
        ("mail test", "mail train", 2, 40),
        ("mail test", "news train", 5, 40),
    ];
    assert_eq!(repeated, expected.map(|(a, b, rows, of)| (a.to_owned(), b.to_owned(), rows, of)));
    let example = &found["repeated"][2]["examples"][0];
    let ends = |key: &str, end: &str| example[key].as_str().unwrap().ends_with(end);
    // Of the planted texts this is the longest.
    assert!(ends("row", "mail/test.jsonl:12") && ends("elsewhere", "news/train.conll:911"), "{example}");
    assert_eq!(example["text"], text("mail", 711));
    assert_eq!(found["repeated"][2]["examples"].as_array().unwrap().len(), 3);

    let findings: Vec<&str> =
        found["findings"].as_array().unwrap().iter().map(|f| f["text"].as_str().unwrap()).collect();
    let expected = [
        "`mail`: test rows that are in its own training, too: 2 of 40 (5.0 %).",
        "`mail`: test rows that are in training of `news`, too: 5 of 40 (12.5 %).",
        "task `sort`: test labels that training never shows: 1 (`alien` 1).",
        "`news`: test rows longer than data.max_length = 24, which are cut: 1 of 20 (5.0 %).",
        "task `names`: test labels that are cut off by data.max_length: ",
        "`mail`: rows that repeat an earlier one: 3 of 205 (1.5 %) of the train split.",
        "task `sort`: labels with fewer than 5 training examples: 1 of 3 (`rare` 1). `home`, the most frequent,",
        "task `worth`: numbers of its test split go from 0 to 99, those of training only from 0 to 9.",
        "`news` has no validation split",
    ];
    for begin in expected {
        assert!(findings.iter().any(|text| text.starts_with(begin)), "{begin}\n{findings:#?}");
    }
    assert_eq!(findings.len(), expected.len(), "{findings:#?}");
}

#[test]
fn labels_lengths_and_distances_are_counted() {
    let found = survey(&planted(), &["--no-states"]);
    let sort = &found["labels"][0];
    assert_eq!((&sort["task"], &sort["kind"]), (&json!("sort"), &json!("classification")));
    let train = &sort["splits"][0];
    assert_eq!(
        (&train["labelled"], &train["missing"], &train["balance"]["labels"]),
        (&json!(204), &json!(1), &json!(3))
    );
    assert_eq!(sort["splits"][1]["absent"], json!(["rare"]));
    assert_eq!(sort["splits"][2]["unseen"], json!({ "alien": 1 }));
    let numbers = &found["labels"][1]["splits"][0]["numbers"];
    assert_eq!((&numbers["min"], &numbers["max"]), (&json!(0.0), &json!(9.0)));
    assert!((numbers["std"].as_f64().unwrap() - 2.87).abs() < 0.05, "{numbers}");
    let tags = &found["labels"][2]["splits"][0];
    assert_eq!(tags["balance"]["labels"], 1, "the tag O is left out: {tags}");

    let splits = |corpus: usize| found["corpora"][corpus]["splits"].as_array().unwrap();
    assert_eq!((splits(0).len(), splits(1).len()), (3, 2), "a split that is not there is no fault");
    let test = &splits(1)[1];
    assert_eq!((&test["cut_rows"], &test["rows"]), (&json!(1), &json!(20)));
    assert!(test["most"].as_u64().unwrap() > 24, "lengths before cutting: {test}");

    assert_eq!((&found["features"], found["pairs"].as_array().unwrap().len()), (&json!("tokens"), 1));
    let pair = &found["pairs"][0];
    let distance = pair["distance"].as_f64().unwrap();
    assert!((1.0..=2.0).contains(&distance), "`mail` and `news` stand in nearly every row: {pair}");
    let share = |key: &str| pair[key].as_f64().unwrap();
    assert!(share("jaccard") > 0.3 && share("first_covers") > 0.8, "{pair}");
}

#[test]
fn people_read_the_findings_first_and_the_page_is_whole() {
    let bench = planted();
    let ran = bench.run(&["inspect", "data.toml", "--html", "page.html"]);
    assert!(ran.ok, "{}", ran.err);
    assert!(
        ran.out
            .trim_start()
            .starts_with("9 things to look at\n\n   1. `mail`: test rows that are in training of `news`"),
        "{}",
        ran.out
    );
    for part in ["mail/test.jsonl:12 = ", "side by side", "±", "leak", "page.html"] {
        assert!(ran.out.contains(part), "{part}:\n{}", ran.out);
    }
    let page = std::fs::read_to_string(bench.path("page.html")).unwrap();
    for part in [
        "<svg",
        "sort, labels in training",
        "mail, training rows by length",
        "Distance of texts",
        "prefers-color-scheme",
    ] {
        assert!(page.contains(part), "{part}");
    }
    assert!(
        page.contains("<code>mail</code>: test rows that are in training of <code>news</code>, too"),
        "{page}"
    );
}

#[test]
fn hostile_texts_and_small_corpora_are_no_fault() {
    let bench = Bench::new();
    let hostile = "<script>alert('x')</script> \u{1b}[31mred\u{0}\u{202e} & \"quoted\" `tick`";
    let row = |text: &str, label: &str| json!({ "text": text, "other": "x", "label": label });
    let train =
        [row(hostile, "<b>"), row(":-)", "a&b"), row("", "a&b"), row("\u{1b}", "a&b"), row("🎉", "a&b")];
    bench.write("odd.jsonl", lines(train));
    bench.write("odd-test.jsonl", lines([row(hostile, "\u{1b}[2J<i>")]));
    bench.write("one.jsonl", lines([row("alone", "a")]));
    bench.write(
        "data.toml",
        r#"[model]
backbone = { bag = { width = 8 } }
[tokenizer]
size = 300
[corpus.odd]
train = "odd.jsonl"
test = "odd-test.jsonl"
[corpus.one]
train = "one.jsonl"
[task.label]
corpus = "odd"
classification = { text = "text", label = "label" }
[task.again]
corpus = "odd"
classification = { text = "text", pair = "other", label = "label" }
[task.hidden]
corpus = "one"
masked_language_model = { text = "text" }
[train]
threads = 1
"#,
    );
    let ran = bench.run(&["inspect", "data.toml", "--html", "page.html"]);
    assert!(ran.ok, "{}", ran.err);
    assert!(!ran.out.contains(['\u{1b}', '\0', '\u{202e}']), "{}", ran.out);
    assert!(ran.out.contains("too few rows") && ran.out.contains("odd (text + other)"), "{}", ran.out);
    let page = std::fs::read_to_string(bench.path("page.html")).unwrap();
    assert!(!page.contains("<script") && !page.contains("<i>") && page.contains("&lt;script&gt;"), "{page}");
    assert!(!page.contains(['\u{1b}', '\0', '\u{202e}']));
    let found = survey(&bench, &[]);
    assert_eq!(found["pairs"][0]["distance"], Value::Null);
}

#[test]
fn every_input_is_surveyed() {
    let bench = Bench::new();
    let row = |i: usize| {
        json!({ "text": text("row", i), "other": format!("the other {i}"), "choices": ["one", format!("two {i}")],
            "right": i % 2, "head": [0, 3], "tail": [4, 7], "relation": (["a", "b"][i % 2]),
            "context": format!("row {i} answers {}", "and so on ".repeat(30)), "answers": [{ "text": "answers", "answer_start": format!("row {i} ").len() }] })
    };
    bench.write("rows.jsonl", lines((0..40).map(row)));
    bench.write("test.jsonl", lines((39..60).map(row)));
    bench.write(
        "data.toml",
        r#"[model]
backbone = { bert = { layers = 1, hidden = 16, heads = 2, max_length = 32 } }
[tokenizer]
size = 400
[data]
max_length = 32
[corpus.rows]
train = "rows.jsonl"
test = "test.jsonl"
[task.pair]
corpus = "rows"
classification = { text = "text", pair = "other", label = "relation" }
[task.choice]
corpus = "rows"
multiple_choice = { text = "text", choices = "choices", label = "right" }
[task.marked]
corpus = "rows"
relation_classification = { text = "text", head = "head", tail = "tail", label = "relation" }
[task.answer]
corpus = "rows"
extractive_qa = { question = "text", context = "context", answers = "answers", overlap = 4 }
[task.masked]
corpus = "rows"
masked_language_model = { text = "text" }
[train]
threads = 1
"#,
    );
    let found = survey(&bench, &[]);
    assert_eq!(found["corpora"].as_array().unwrap().len(), 5, "{:#}", found["corpora"]);
    let leaks = found["repeated"].as_array().unwrap();
    assert!(leaks.iter().all(|leak| leak["rows"] == 1 && leak["of"] == 21), "{leaks:#?}");
    assert_eq!(leaks.len(), 4, "the marked text and the masked one are the same: {leaks:#?}");
    assert!(found["pairs"].as_array().unwrap().is_empty(), "one corpus has nothing beside it");
}

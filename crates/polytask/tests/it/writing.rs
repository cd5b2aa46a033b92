//! Texts from config to answers: two tasks that write, told apart by prefixes, and a class of the same rows, on an encoder with a
//! fresh decoder.

use crate::bench::Bench;
use serde_json::{Value, json};

const CONFIG: &str = r#"[model]
backbone = { bert = { layers = 1, hidden = 32, heads = 2, max_length = 32, dropout = 0.0 } }
decoder = { layers = 1, heads = 2, dropout = 0.0 }

[tokenizer]
size = 400
spaces = true

[data]
max_length = 32

[corpus.pairs]
train = "pairs.jsonl"
validation = "pairs.jsonl"

[task.other]
corpus = "pairs"
translation = { source = "en", target = "xx", prefix = "other: ", decoding = { beams = 3, max_length = 24 } }

[task.act]
corpus = "pairs"
generation = { source = "en", target = "said", slots = "act", prefix = "say: ", decoding = { max_length = 24 } }

[task.animal]
corpus = "pairs"
classification = { text = "en", label = "animal" }

[optimizer.adamw]
learning_rate = 0.005

[train]
epochs = 120
tokens_per_batch = 128
threads = 1
eval_steps = 100000
"#;

const ANIMALS: [(&str, &str); 4] = [("duck", "kiva"), ("cat", "nolo"), ("horse", "tarune"), ("owl", "bisu")];
const COLOURS: [(&str, &str); 3] = [("red", "ma"), ("blue", "lo"), ("white", "pen")];

fn pair(i: usize) -> Value {
    let ((animal, kind), (colour, how)) = (ANIMALS[i % 4], COLOURS[i / 4 % 3]);
    json!({
        "en": format!("A {colour} {animal}."), "xx": [format!("{kind} {how} na sero!"), format!("{kind}, {how} na sero!")],
        "act": format!("inform(what={animal};colour={colour})"), "said": format!("the {animal} is {colour}"),
        "animal": animal,
    })
}

#[test]
fn texts_go_from_config_to_answers() {
    let bench = Bench::new();
    let lines = |count: usize| (0..count).map(|i| pair(i).to_string()).collect::<Vec<_>>().join("\n");
    bench.write("pairs.jsonl", lines(48));
    bench.write("writing.toml", CONFIG);
    let check = bench.run(&["check", "writing.toml"]);
    assert!(check.ok, "{}", check.err);
    let trained = bench.run(&["train", "writing.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);
    let scored = bench.run(&["evaluate", "run", "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    for (task, metric) in [("other", "bleu"), ("act", "slot_accuracy"), ("animal", "accuracy")] {
        let found = scores["tasks"][task]["scores"][metric].as_f64().unwrap();
        assert!(found > 0.8, "{task}.{metric}: {found} of {scores:#}");
    }
    let signatures = &scores["tasks"]["other"]["signatures"];
    assert_eq!(signatures["bleu"], "nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp");
    assert!(scores["tasks"]["animal"]["signatures"].as_object().unwrap().is_empty());
    let scored = bench.run(&["evaluate", "run", "--split", "validation"]);
    for part in
        ["bleu of other: nrefs:2|case:mixed|", "bleu of act: nrefs:1|case:mixed|", "rouge_lsum", "chrf of"]
    {
        assert!(scored.out.contains(part), "{part}: {}", scored.out);
    }
    let answered = bench.feed(&["predict", "run"], b"{\"en\": \"A blue owl.\"}\nA red duck.\n");
    assert_eq!(answered.code, 3, "{}", answered.err);
    let answered = bench.feed(&["predict", "run"], b"A blue owl.\nA red duck.\n");
    assert!(answered.ok, "{}", answered.err);
    let answers: Vec<Value> = answered.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let text = |line: usize, task: &str| answers[line]["tasks"][task]["text"].as_str().unwrap().to_owned();
    assert_eq!((text(0, "other"), text(1, "other")), ("bisu lo na sero!".into(), "kiva ma na sero!".into()));
    assert_eq!((text(0, "act"), text(1, "act")), ("the owl is blue".into(), "the duck is red".into()));
    assert!(answers[0]["tasks"]["other"]["probability"].as_f64().unwrap() > 0.5);
    assert_eq!(answers[1]["tasks"]["animal"]["label"], "duck");
    // Settings of decoding may be given to `predict`.
    let decoded = |setting: &str| {
        bench.feed(&["predict", "run", "--task", "act", "--decoding", setting], b"A blue owl.\n")
    };
    let short: Value = serde_json::from_str(&decoded("max_length=2").out).unwrap();
    let text = short["tasks"]["act"]["text"].as_str().unwrap();
    assert!(text.len() < "the owl is blue".len() && short["tasks"]["other"].is_null(), "{short}");
    for (setting, says) in
        [("beam=2", "unknown field `beam`"), ("beams=0", "beams"), ("beams", "expected KEY=VALUE")]
    {
        let refused = decoded(setting);
        assert!(refused.code == 2 && refused.err.contains(says), "{setting}: {}", refused.err);
    }
}

/// What cannot write, or has nothing to write, is refused before anything is trained.
#[test]
fn what_cannot_write_is_refused() {
    let bench = Bench::new();
    bench.write("pairs.jsonl", (0..8).map(|i| pair(i).to_string()).collect::<Vec<_>>().join("\n"));
    let refused = |from: &str, to: &str, says: &str| {
        assert!(CONFIG.contains(from), "{from}");
        bench.write("broken.toml", CONFIG.replace(from, to));
        let check = bench.run(&["check", "broken.toml"]);
        assert!(!check.ok && check.err.contains(says), "{says}: {}", check.err);
    };
    refused("decoder = { layers = 1, heads = 2, dropout = 0.0 }", "", "a backbone without a decoder");
    refused(
        "heads = 2, dropout = 0.0 }\n\n",
        "heads = 5, dropout = 0.0 }\n\n",
        "model.decoder.heads: found 5",
    );
    refused("beams = 3", "beams = 0", "beams");
    refused("target = \"xx\"", "target = \"yy\"", "no text in any row");
    refused("target = \"xx\"", "target = \"en\"", "the same field as the source");
}

/// The settings of BLEU are those of the scores; a SentencePiece model is looked for beside the config, and is needed for scores only.
#[test]
fn bleu_counts_as_its_settings_say() {
    let bench = Bench::new();
    bench.write("pairs.jsonl", (0..8).map(|i| pair(i).to_string()).collect::<Vec<_>>().join("\n"));
    let model = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../data/tests/fixtures/sentencepiece_unigram.model");
    let with = "metrics = { tokenizer = \"flores200\", sentencepiece = \"pieces.model\", lowercase = true, ter = true }";
    let config = CONFIG.replace("decoding = { beams = 3, max_length = 24 } }", &format!("{with} }}"));
    bench.write("writing.toml", config.replace("epochs = 120", "epochs = 1"));
    let check = bench.run(&["check", "writing.toml"]);
    assert!(!check.ok && check.err.contains("pieces.model"), "{}", check.err);
    std::fs::copy(model, bench.path("pieces.model")).unwrap();
    let trained = bench.run(&["train", "writing.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);
    let scored = bench.run(&["evaluate", "run", "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    let other = &scores["tasks"]["other"];
    assert_eq!(other["signatures"]["bleu"], "nrefs:2|case:lc|eff:no|tok:flores200|smooth:exp");
    assert!(other["scores"]["ter"].as_f64().unwrap() > 0.0);
    std::fs::remove_file(bench.path("pieces.model")).unwrap();
    assert!(bench.feed(&["predict", "run"], b"A red duck.\n").ok);
    assert!(!bench.run(&["evaluate", "run", "--split", "validation"]).ok);
}

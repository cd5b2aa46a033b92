//! Rows of several sequences from config to answers: a choice among texts, and answers in contexts that are longer than a row
//! may be, beside a class.

use crate::bench::Bench;
use serde_json::{Value, json};

const CONFIG: &str = r#"[model]
backbone = { bert = { layers = 2, hidden = 32, heads = 2, max_length = 24, dropout = 0.0 } }

[tokenizer]
size = 400

[data]
max_length = 24

[corpus.sounds]
train = "sounds.jsonl"
validation = "sounds.jsonl"

[corpus.names]
train = "names.jsonl"
validation = "names.jsonl"

[task.sound]
corpus = "sounds"
multiple_choice = { text = "question", choices = "answers", label = "right" }

[task.name]
corpus = "names"
extractive_qa = { overlap = 4 }

[task.animal]
corpus = "sounds"
classification = { text = "question", label = "animal" }

[optimizer.adamw]
learning_rate = 0.003

[train]
epochs = 40
tokens_per_batch = 256
threads = 1
eval_steps = 100000
"#;

const SOUNDS: [(&str, &str); 4] = [("duck", "quack"), ("cat", "miaow"), ("horse", "neigh"), ("owl", "hoot")];

/// A question with two to four sounds, the right one in changing places.
fn sound(i: usize) -> Value {
    let (animal, sound) = SOUNDS[i % 4];
    let others = SOUNDS.iter().map(|(_, other)| *other).filter(|other| *other != sound);
    let mut answers: Vec<&str> = others.take(1 + i / 4 % 3).collect();
    let right = i / 3 % (answers.len() + 1);
    answers.insert(right, sound);
    json!({ "question": format!("what says the {animal}?"), "answers": answers, "right": right, "animal": animal })
}

/// A context of some fifty tokens with a name in it, or without one.
fn name(i: usize) -> Value {
    let (before, name) = (i * 7 % 30, ["Ada", "Grace", "Emmy", "Sofja"][i % 4]);
    let start = "and so on ".repeat(before / 3);
    let (told, rest) = (!i.is_multiple_of(5), "and so on ".repeat(14 - before / 3));
    let context = if told { format!("{start}called {name} {rest}") } else { format!("{start}{rest}") };
    let answers = if told { json!([{ "text": name, "answer_start": start.len() + 7 }]) } else { json!([]) };
    json!({ "question": "who?", "context": context, "answers": answers })
}

#[test]
fn choices_and_long_contexts_go_from_config_to_answers() {
    let bench = Bench::new();
    let lines = |row: fn(usize) -> Value, count: usize| {
        (0..count).map(|i| row(i).to_string()).collect::<Vec<_>>().join("\n")
    };
    bench.write("sounds.jsonl", lines(sound, 48));
    bench.write("names.jsonl", lines(name, 60));
    bench.write("sequences.toml", CONFIG);
    let check = bench.run(&["check", "sequences.toml"]);
    assert!(check.ok && !check.out.contains("truncated"), "{}{}", check.out, check.err);
    let trained = bench.run(&["train", "sequences.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);
    let scored = bench.run(&["evaluate", "run", "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    for (task, metric) in [("sound", "accuracy"), ("name", "exact_match"), ("animal", "accuracy")] {
        let found = scores["tasks"][task]["scores"][metric].as_f64().unwrap();
        assert!(found > 0.9, "{task}.{metric}: {found} of {scores:#}");
    }
    let context = format!("{}called Emmy {}", "and so on ".repeat(10), "and so on ".repeat(5));
    let lines = format!(
        "{}\n{}\n{}\n",
        json!({ "question": "what says the owl?", "answers": ["miaow", "quack", "hoot"] }),
        json!({ "question": "who?", "context": context }),
        json!({ "text": "what says the cat?", "choices": ["miaow", "neigh"] }),
    );
    let answered = bench.feed(&["predict", "run"], lines.as_bytes());
    assert!(answered.ok, "{}", answered.err);
    let answers: Vec<Value> = answered.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let choice =
        |line: usize| (&answers[line]["tasks"]["sound"]["choice"], &answers[line]["tasks"]["sound"]["index"]);
    assert_eq!(choice(0), (&json!("hoot"), &json!(2)));
    assert_eq!(choice(2), (&json!("miaow"), &json!(0)));
    let name = &answers[1]["tasks"]["name"];
    assert_eq!((&name["answer"], &name["start"], &name["end"]), (&json!("Emmy"), &json!(107), &json!(111)));
    assert_eq!(answers[1]["truncated_tokens"], Value::Null);
}

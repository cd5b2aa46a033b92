//! Decoders from config to answers: a chat by a template, texts from texts, plain text and a class in one model; and what is refused.

use crate::bench::Bench;
use serde_json::{Value, json};

const CONFIG: &str = r#"[model]
backbone = { llama = { layers = 2, hidden = 48, heads = 4, kv_heads = 2, max_length = 64 } }

[tokenizer]
size = 400
spaces = true

[data]
max_length = 64

[corpus.pairs]
train = "pairs.jsonl"
validation = "pairs.jsonl"

[task.answer]
corpus = "pairs"
chat = { messages = "messages", decoding = { max_length = 12 }, template = "{% for m in messages %}{% if m.role == 'assistant' %}bot: {{ m.content }} [SEP] {% else %}you: {{ m.content }} {% endif %}{% endfor %}{% if add_generation_prompt %}bot:{% endif %}", end_of_turn = "[SEP]" }

[task.other]
corpus = "pairs"
translation = { source = "en", target = "xx", separator = " = ", decoding = { beams = 2, max_length = 12 } }

[task.text]
corpus = "pairs"
causal_language_model = { text = "en", decoding = { max_length = 4, stop = ["duck"] } }

[task.animal]
corpus = "pairs"
classification = { text = "en", label = "animal" }

[optimizer.adamw]
learning_rate = 0.01

[train]
epochs = 60
tokens_per_batch = 256
threads = 1
eval_steps = 100000
"#;

const ANIMALS: [(&str, &str); 4] = [("duck", "kiva"), ("cat", "nolo"), ("horse", "tarune"), ("owl", "bisu")];
const COLOURS: [(&str, &str); 3] = [("red", "ma"), ("blue", "lo"), ("white", "pen")];

fn pair(i: usize) -> Value {
    let ((animal, other), (colour, how)) = (ANIMALS[i % 4], COLOURS[i / 4 % 3]);
    let message = |role: &str, content: String| json!({"role": role, "content": content});
    json!({
        "en": format!("a {colour} {animal}"), "xx": format!("{other} {how}"), "animal": animal,
        "messages": [
            message("user", format!("what is {other} ?")), message("assistant", animal.to_owned()),
            message("user", format!("and {how} ?")), message("assistant", colour.to_owned()),
        ],
    })
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.write("pairs.jsonl", (0..36).map(|i| pair(i).to_string()).collect::<Vec<_>>().join("\n"));
    bench
}

#[test]
fn one_decoder_answers_translates_goes_on_and_classifies() {
    let bench = bench();
    bench.write("job.toml", CONFIG);
    let check = bench.run(&["check", "job.toml"]);
    assert!(check.ok, "{}", check.err);
    let trained = bench.run(&["train", "job.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);
    let scored = bench.run(&["evaluate", "run", "--split", "validation", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    for (task, metric) in [("answer", "exact_text"), ("other", "exact_text"), ("animal", "accuracy")] {
        let found = scores["tasks"][task]["scores"][metric].as_f64().unwrap();
        assert!(found > 0.8, "{task}.{metric}: {found} of {scores:#}");
    }
    // Colour and animal are drawn by lot, all else is known.
    let perplexity = scores["tasks"]["text"]["scores"]["perplexity"].as_f64().unwrap();
    assert!(perplexity < 3.0, "{perplexity}");
    let row = r#"{"en": "a blue cat", "messages": [{"role": "user", "content": "what is bisu ?"}]}"#;
    let answer = bench.feed(&["predict", "run"], row.as_bytes());
    let answer: Value = serde_json::from_str(&answer.out).unwrap_or_else(|_| panic!("{}", answer.err));
    let tasks = &answer["tasks"];
    assert_eq!(tasks["answer"]["text"], "owl", "{answer:#}");
    assert_eq!(tasks["other"]["text"], "nolo lo", "{answer:#}");
    assert_eq!(tasks["animal"]["label"], "cat", "{answer:#}");
    assert!(tasks["text"]["text"].is_string(), "{answer:#}");
}

#[test]
fn what_a_decoder_cannot_do_is_refused_with_the_reason() {
    let bench = bench();
    let error = |from: &str, to: &str| {
        assert!(CONFIG.contains(from), "{from}");
        bench.write("job.toml", CONFIG.replace(from, to));
        let found = bench.run(&["check", "job.toml"]);
        assert!(!found.ok, "{from} -> {to}: {}", found.out);
        found.err
    };
    let classification = "classification = { text = \"en\", label = \"animal\" }";
    let found = error(classification, "masked_language_model = { text = \"en\" }");
    assert!(found.contains("a token sees none after it") && found.contains("task.animal"), "{found}");
    let found =
        error(classification, "classification = { text = \"en\", label = \"animal\", pooling = \"first\" }");
    assert!(found.contains("\"first\" on a decoder"), "{found}");
    let found = error(classification, "chat = { user = \"en\", assistant = \"xx\" }");
    assert!(found.contains("task.animal.chat.template"), "{found}");
    let found = error("separator = \" = \"", "start_vector = true");
    assert!(found.contains("start_vector: found true on a decoder"), "{found}");
    let found = error(
        "llama = { layers = 2, hidden = 48, heads = 4, kv_heads = 2, max_length = 64 }",
        "bert = { max_length = 64 }",
    );
    assert!(found.contains("only on a decoder"), "{found}");
    let found = error("kv_heads = 2", "kv_heads = 3");
    assert!(found.contains("llama.kv_heads: found 3"), "{found}");
    let found = error("[optimizer.adamw]", "[sharing.mmoe]\ngate = \"row\"\n\n[optimizer.adamw]");
    assert!(found.contains("sharing.mmoe.gate"), "{found}");
}

/// Gradients of a decoder are compared over its last layer where nothing else is said.
#[test]
fn the_scope_of_gradients_is_said() {
    let bench = bench();
    bench.write("job.toml", format!("{CONFIG}\n[balance.upgrad]\n"));
    let found = bench.run(&["check", "job.toml"]);
    assert!(found.ok && found.err.contains("over the last layer, the default on a decoder"), "{}", found.err);
    bench.write("job.toml", format!("{CONFIG}gradient_scope = \"all_shared\"\n[balance.upgrad]\n"));
    let found = bench.run(&["check", "job.toml"]);
    assert!(found.ok && !found.err.contains("the default on a decoder"), "{}", found.err);
}

#[test]
fn weights_that_are_not_trained_may_be_bf16_in_memory() {
    let bench = bench();
    let short = CONFIG.replace("epochs = 60", "max_steps = 6");
    bench.write("whole.toml", &short);
    assert!(bench.run(&["train", "whole.toml", "--run", "whole"]).ok);
    let of = |base: &str, dtype: &str| {
        let own =
            "backbone = { llama = { layers = 2, hidden = 48, heads = 4, kv_heads = 2, max_length = 64 } }";
        let model = format!("backbone = \"{base}/model\"\ndtype = \"{dtype}\"");
        let config = short.replace(own, &model).replace("[tokenizer]\nsize = 400\nspaces = true\n", "");
        config + "\n[sharing.lora]\nrank = 4\n"
    };
    let losses = |run: &str| -> Vec<f64> {
        let events = std::fs::read_to_string(bench.path(&format!("{run}/metrics.jsonl"))).unwrap();
        let events = events.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        events
            .filter(|event| event["event"] == "step")
            .map(|step| step["losses"]["text"].as_f64().unwrap())
            .collect()
    };
    // The first of these rounds the weights; the two after it begin from the rounded ones.
    for (base, dtype, run) in
        [("whole", "bf16", "rounded"), ("rounded", "f32", "f32"), ("rounded", "bf16", "bf16")]
    {
        bench.write("job.toml", of(base, dtype));
        let trained = bench.run(&["train", "job.toml", "--run", run]);
        assert!(trained.ok, "{run}: {}", trained.err);
    }
    let (a, b) = (losses("f32"), losses("bf16"));
    assert_eq!(a.len(), 6);
    assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-4), "{a:?} {b:?}");
    let base = |run: &str| std::fs::read(bench.path(&format!("{run}/model/model.safetensors"))).unwrap();
    assert_eq!(base("bf16"), base("rounded"), "the base stays as it is");
    let answer = bench.feed(&["predict", "bf16"], b"{\"en\": \"a red duck\"}\n");
    assert!(answer.out.contains("animal"), "{}{}", answer.out, answer.err);

    // What a scheme compares with its copies stays as it is; then nothing is left to round.
    bench.write("job.toml", of("whole", "bf16").replace("[sharing.lora]\nrank = 4\n", "[sharing.soft]\n"));
    let copied = bench.run(&["train", "job.toml", "--run", "soft"]);
    assert!(!copied.ok && copied.err.contains("not trained"), "{}", copied.err);

    bench.write("job.toml", short.replace("[tokenizer]", "dtype = \"bf16\"\n\n[tokenizer]"));
    let refused = bench.run(&["check", "job.toml"]);
    assert!(!refused.ok && refused.err.contains("not trained"), "{}", refused.err);
}

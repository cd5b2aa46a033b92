//! `polytask merge`: single-task runs from one checkpoint become one model.

use crate::bench::Bench;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

const METHODS: [&str; 12] = [
    "average",
    "task_arithmetic",
    "ties",
    "dare_linear",
    "dare_ties",
    "della",
    "della_linear",
    "breadcrumbs",
    "breadcrumbs_ties",
    "sce",
    "model_stock",
    "fisher",
];

const BAG: &str = "{ bag = { width = 16, window = 1, dropout = 0.1 } }";
const BERT: &str = "{ bert = { layers = 1, hidden = 32, heads = 2, dropout = 0.1 } }";

const TOPIC: &str = "classification = { text = \"text\", label = \"topic\" }";
const TAGS: &str = "tagging = { tokens = \"tokens\", tags = \"tags\" }";
const LEAD: &str = "classification = { tokens = \"tokens\", label = \"topic\" }";

/// A config for some tasks, by name and kind, on a backbone.
fn config(backbone: &str, tasks: &[(&str, &str)], more: &str) -> String {
    let tasks: String =
        tasks.iter().map(|(name, kind)| format!("[task.{name}]\ncorpus = \"news\"\n{kind}\n\n")).collect();
    format!(
        "[model]\nbackbone = {backbone}\n\n[corpus.news]\ntrain = \"train.jsonl\"\nvalidation = \"valid.jsonl\"\ntest = \"test.jsonl\"\n\n\
         {tasks}[optimizer.adamw]\nlearning_rate = 5e-3\n\n[data]\nmax_length = 32\n\n[train]\nmax_steps = 12\ntokens_per_batch = 128\n\
         threads = 1\n\n{more}"
    )
}

fn train(bench: &Bench, name: &str, config: &str, more: &[&str]) {
    let file = format!("{name}.toml");
    bench.write(&file, config);
    let ran = bench.run(&[&["train", &file, "--run", name], more].concat());
    assert!(ran.ok, "{name}: {}{}", ran.out, ran.err);
}

/// A checkpoint `start/model`, and two runs from it for a task each: `topic` and `tags`.
fn two_runs(backbone: &str) -> Bench {
    let bench = Bench::new();
    train(&bench, "start", &config(backbone, &[("lead", LEAD)], ""), &["--set", "train.max_steps=2"]);
    train(&bench, "topic", &config("\"start/model\"", &[("topic", TOPIC)], ""), &[]);
    train(&bench, "tags", &config("\"start/model\"", &[("tags", TAGS)], ""), &[]);
    bench
}

fn merged(bench: &Bench, arguments: &[&str]) -> Value {
    let ran = bench.run(&[&["merge", "--json"], arguments].concat());
    assert!(ran.ok, "{arguments:?}: {}{}", ran.out, ran.err);
    serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
}

/// What a merge is refused for.
fn refused(bench: &Bench, arguments: &[&str]) -> String {
    let ran = bench.run(&[&["merge"], arguments].concat());
    assert_eq!(ran.code, 2, "{arguments:?}: {}{}", ran.out, ran.err);
    ran.err
}

/// The tensors of a safetensors file with f32 alone.
fn tensors(path: &Path) -> BTreeMap<String, Vec<f32>> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let entries = json.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    let of = |(name, info): (&String, &Value)| {
        let at = |i: usize| 8 + header + info["data_offsets"][i].as_u64().unwrap() as usize;
        let values = bytes[at(0)..at(1)].chunks(4).map(|b| f32::from_le_bytes(b.try_into().unwrap()));
        (name.clone(), values.collect())
    };
    entries.map(of).collect()
}

fn trunk(bench: &Bench, run: &str) -> BTreeMap<String, Vec<f32>> {
    tensors(&bench.path(run).join("model/model.safetensors"))
}

fn assert_close(found: &[f32], expected: impl Iterator<Item = f64>, told: &str) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(*found) - expected).abs() < 1e-6, "{told} {at}: {found} {expected}");
    }
}

fn loss(bench: &Bench, run: &str) -> f64 {
    let scored = bench.run(&["evaluate", run, "--split", "train", "--json"]);
    assert!(scored.ok, "{}", scored.err);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    ["topic", "tags"].iter().map(|task| scores["tasks"][task]["loss"].as_f64().unwrap()).sum()
}

#[test]
fn every_method_makes_a_model_of_two_runs() {
    for backbone in [BAG, BERT] {
        let bench = two_runs(backbone);
        for method in METHODS {
            let found = merged(&bench, &["topic", "tags", "--method", method, "--out", method]);
            for task in found["tasks"].as_array().unwrap() {
                for score in ["own", "merged"] {
                    let value = task[score].as_f64().unwrap();
                    assert!((0.0..=1.0).contains(&value), "{method}: {task}");
                }
            }
            assert_eq!(found["tasks"].as_array().unwrap().len(), 2, "{method}");
            let kept: Value =
                serde_json::from_slice(&fs::read(bench.path(method).join("merge.json")).unwrap()).unwrap();
            assert_eq!((&kept["method"], &kept), (&method.into(), &found["merge"]));
        }
        let [start, topic, tags] = ["start", "topic", "tags"].map(|run| trunk(&bench, run));
        let [average, sum] = ["average", "task_arithmetic"].map(|method| trunk(&bench, method));
        assert_eq!(average.keys().collect::<Vec<_>>(), topic.keys().collect::<Vec<_>>());
        for (name, base) in &start {
            let all = || base.iter().zip(&topic[name]).zip(&tags[name]);
            let wide = |value: &f32| f64::from(*value);
            assert_close(&average[name], all().map(|((_, a), b)| (wide(a) + wide(b)) / 2.0), name);
            let change = |((base, a), b): ((&f32, &f32), &f32)| {
                wide(base) + 0.4 * (wide(a) - wide(base) + wide(b) - wide(base))
            };
            assert_close(&sum[name], all().map(change), name);
        }
        // It is a model as any other.
        let scored = bench.run(&["evaluate", "ties", "--json"]);
        assert!(
            scored.ok && scored.out.contains("\"topic\"") && scored.out.contains("\"tags\""),
            "{}",
            scored.err
        );
        let answered = bench.feed(&["predict", "ties"], b"shares of Ada fell on the market\n");
        let answer: Value = serde_json::from_str(&answered.out).unwrap();
        assert!(
            answer["tasks"]["topic"]["label"].is_string() && answer["tasks"]["tags"].is_object(),
            "{answer}"
        );
        let checked = bench.run(&["check", "ties/config.toml"]);
        assert!(checked.ok, "{}", checked.err);
        // Heads are those of the models.
        let heads = |run: &str| tensors(&bench.path(run).join("model/heads.safetensors"));
        let both: BTreeMap<String, Vec<f32>> = heads("topic").into_iter().chain(heads("tags")).collect();
        assert_eq!(heads("ties"), both);
    }
}

#[test]
fn the_order_of_the_runs_changes_no_mask() {
    let bench = two_runs(BAG);
    let options = ["--method", "dare_linear", "--no-evaluate", "--out"];
    for (out, runs, seed) in [
        ("one", ["topic", "tags"], "17"),
        ("two", ["tags", "topic"], "17"),
        ("three", ["topic", "tags"], "18"),
    ] {
        merged(&bench, &[&runs[..], &options, &[out, "--seed", seed]].concat());
    }
    assert_eq!(trunk(&bench, "one"), trunk(&bench, "two"));
    assert_ne!(trunk(&bench, "one"), trunk(&bench, "three"));
}

#[test]
fn weights_go_by_name_or_order() {
    let bench = two_runs(BAG);
    let of = |out: &str, weights: &str| {
        merged(&bench, &["topic", "tags", "--out", out, "--no-evaluate", "--weights", weights]);
        trunk(&bench, out)
    };
    assert_eq!(of("all", "1,0"), trunk(&bench, "topic"));
    assert_eq!(of("named", "tags=0.5,topic=1"), of("ordered", "2,1"));
}

#[test]
fn refitted_heads_fit_the_training_rows_no_worse_on_the_same_trunk() {
    for backbone in [BAG, BERT] {
        let bench = two_runs(backbone);
        let found = merged(
            &bench,
            &["topic", "tags", "--method", "ties", "--out", "m", "--refit", "--refit-steps", "40"],
        );
        assert!(found["tasks"][0]["refitted"].is_f64() && found["refit"] == "m/refit", "{found}");
        assert_eq!(trunk(&bench, "m"), trunk(&bench, "m/refit"), "the trunk stays as it is");
        let [before, after] = ["m", "m/refit"].map(|run| loss(&bench, run));
        assert!(after <= before, "{before} {after}");
        assert!(after < 0.9 * before, "something was learned: {before} {after}");
    }
}

#[test]
fn tables_say_what_was_merged_and_what_came_of_it() {
    let bench = two_runs(BAG);
    let ran = bench.run(&["merge", "topic", "tags", "--method", "della", "--split", "test"]);
    assert!(ran.ok, "{}", ran.err);
    for says in [
        "2 models merged by della (density 0.7, epsilon 0.07, lambda 1.1",
        "start/model",
        "test split",
        "own model",
        "accuracy",
        "span_f1",
        "runs/merged",
    ] {
        assert!(ran.out.contains(says), "{says}: {}", ran.out);
    }
    let again = bench.run(&["merge", "topic", "tags", "--no-evaluate"]);
    assert!(
        again.ok && again.out.contains("runs/merged-2") && !again.out.contains("own model"),
        "{}",
        again.out
    );
}

#[test]
fn low_rank_updates_are_merged_as_whole_products() {
    let bench = two_runs(BERT);
    let lora = "[sharing.lora]\nrank = 4\nalpha = 8\n";
    let tasks = [("first", LEAD), ("second", TOPIC)];
    train(&bench, "lora", &config("\"start/model\"", &tasks, lora), &[]);
    let found = merged(&bench, &["lora", "tags", "--out", "m"]);
    let names: Vec<&str> =
        found["tasks"].as_array().unwrap().iter().filter_map(|task| task["task"].as_str()).collect();
    assert_eq!(names, ["first", "second", "tags"]);
    assert_eq!(
        found["merge"]["models"].as_array().unwrap().len(),
        3,
        "each task of the lora run has weights of its own"
    );
    assert!(!bench.path("m/model/sharing.safetensors").exists());
    let (start, tags, m) = (trunk(&bench, "start"), trunk(&bench, "tags"), trunk(&bench, "m"));
    let added = tensors(&bench.path("lora/model/sharing.safetensors"));
    for (map, name) in [("query", "self.query"), ("value", "self.value")] {
        let name = format!("encoder.layer.0.attention.{name}.weight");
        let product = |task: &str, at: usize| {
            let [a, b] =
                ["a", "b"].map(|factor| &added[&format!("sharing.lora.{task}.layer.0.{map}.{factor}")]);
            let (row, column) = (at / 32, at % 32);
            (0..4).map(|r| f64::from(b[row * 4 + r]) * f64::from(a[r * 32 + column])).sum::<f64>() * 2.0
        };
        let mean = |at: usize| {
            let base = f64::from(start[&name][at]);
            (base + product("first", at) + base + product("second", at) + f64::from(tags[&name][at])) / 3.0
        };
        assert_close(&m[&name], (0..m[&name].len()).map(mean), &name);
        assert!((0..m[&name].len()).any(|at| product("first", at).abs() > 1e-4), "something was learned");
    }
    merged(
        &bench,
        &["lora", "tags", "--method", "fisher", "--fisher-rows", "5", "--out", "f", "--no-evaluate"],
    );
    merged(
        &bench,
        &["lora", "tags", "--method", "ties", "--out", "t", "--weights", "first=1,second=0,tags=1"],
    );
    let shared = "[sharing.lora]\nrank = 2\nshared = true\n";
    train(&bench, "shared", &config("\"start/model\"", &tasks, shared), &[]);
    let found = merged(&bench, &["shared", "tags", "--out", "s", "--method", "sce"]);
    assert_eq!(found["merge"]["models"].as_array().unwrap().len(), 2);
}

#[test]
fn backbones_from_scratch_begin_alike_by_seed_and_vocabulary() {
    let bench = two_runs(BAG);
    let vocabulary = "[tokenizer]\nfile = \"start/model/tokenizer.json\"\n";
    train(&bench, "a", &config(BAG, &[("topic", TOPIC)], vocabulary), &[]);
    train(&bench, "b", &config(BAG, &[("tags", TAGS)], vocabulary), &[]);
    train(&bench, "c", &config(BAG, &[("tags", TAGS)], vocabulary), &["--set", "train.seed=18"]);
    train(&bench, "d", &config(BAG, &[("tags", TAGS)], "[tokenizer]\nsize = 300\n"), &[]);
    train(
        &bench,
        "never",
        &config(BAG, &[("lead", LEAD)], vocabulary),
        &["--set", "train.max_steps=1", "--set", "optimizer.adamw.learning_rate=1e-12"],
    );
    let found = merged(&bench, &["a", "b", "--method", "task_arithmetic", "--lambda", "1", "--out", "m"]);
    assert_eq!(found["merge"]["base"], "a bag backbone from scratch, seed 17");
    // The first values as another run with the seed has them.
    let [start, a, b, m] = ["never", "a", "b", "m"].map(|run| trunk(&bench, run));
    for (name, base) in &start {
        let all = base.iter().zip(&a[name]).zip(&b[name]);
        assert_close(
            &m[name],
            all.map(|((base, a), b)| f64::from(*a) + f64::from(*b) - f64::from(*base)),
            name,
        );
    }
    for (other, says) in [("c", "began with different weights"), ("d", "vocabular")] {
        for method in ["ties", "average"] {
            let error = refused(&bench, &["a", other, "--method", method, "--out", "no"]);
            assert!(error.contains(says), "{error}");
        }
    }
    assert!(!bench.path("no").exists());
}

#[test]
fn models_without_their_runs_can_be_averaged() {
    let bench = two_runs(BAG);
    for run in ["topic", "tags"] {
        fs::create_dir(bench.path(&format!("{run}-alone"))).unwrap();
        fs::rename(bench.path(run).join("model"), bench.path(&format!("{run}-alone/weights"))).unwrap();
    }
    let runs = ["topic-alone/weights", "tags-alone/weights"];
    let ran = bench.run(&[&["merge"], &runs[..], &["--out", "m"]].concat());
    assert!(ran.ok && ran.err.contains("without its run's config.toml"), "{}{}", ran.out, ran.err);
    assert!(!bench.path("m/config.toml").exists());
    assert!(bench.feed(&["predict", "m"], b"a goal\n").ok);
    for (more, says) in [
        (&["--method", "ties"][..], "name the common checkpoint with --base FOLDER"),
        (&["--refit"], "--refit needs the training rows of all runs"),
        (&["--method", "fisher"], "which names the training rows"),
    ] {
        let error = refused(&bench, &[&runs[..], &["--out", "no"], more].concat());
        assert!(error.contains(says), "{error}");
    }
    let with_base = ["--method", "ties", "--base", "start", "--out", "t"];
    merged(&bench, &[&runs[..], &with_base].concat());
}

#[test]
fn corpora_of_one_name_are_told_apart() {
    let bench = two_runs(BAG);
    fs::copy(bench.path("valid.jsonl"), bench.path("other.jsonl")).unwrap();
    let other =
        config("\"start/model\"", &[("again", TOPIC)], "").replace("\"test.jsonl\"", "\"other.jsonl\"");
    train(&bench, "again", &other, &[]);
    let ran = bench.run(&["merge", "topic", "again", "tags", "--out", "m"]);
    assert!(ran.ok && ran.err.contains("it is called `news-2` in the result"), "{}", ran.err);
    let text = fs::read_to_string(bench.path("m/config.toml")).unwrap();
    assert!(text.contains("[corpus.news-2]") && !text.contains("news-3"), "{text}");
    assert!(bench.run(&["evaluate", "m"]).ok);
}

#[test]
fn validation_rows_that_a_seed_cuts_off_stay_out_of_training() {
    let bench = two_runs(BAG);
    let cut = |task: (&str, &str)| {
        config("\"start/model\"", &[task], "")
            .replace("validation = \"valid.jsonl\"", "validation_split = 0.2")
    };
    train(&bench, "a", &cut(("first", TOPIC)), &[]);
    train(&bench, "b", &cut(("second", TOPIC)), &["--set", "train.seed=18"]);
    train(&bench, "c", &cut(("third", TOPIC)), &[]);
    merged(&bench, &["a", "c", "--out", "same", "--refit", "--refit-steps", "2"]);
    let ran = bench.run(&["merge", "a", "b", "--out", "m"]);
    assert!(ran.ok && ran.err.contains("`validation_split`, which depends on train.seed"), "{}", ran.err);
    assert!(
        ran.out.contains("first") && ran.out.contains("second"),
        "each is scored on its own rows: {}",
        ran.out
    );
    assert!(!bench.path("m/config.toml").exists());
    let error = refused(&bench, &["a", "b", "--out", "no", "--refit"]);
    assert!(error.contains("--refit needs the training rows"), "{error}");
}

#[test]
fn vectors_of_corpora_are_merged_by_corpus() {
    let bench = two_runs(BERT);
    let two = |first: &str, second: &str| {
        let corpus = |name: &str| {
            format!(
                "[corpus.{name}]\ntrain = \"train.jsonl\"\nvalidation = \"valid.jsonl\"\n\n[task.{first}-{name}]\ncorpus = \"{name}\"\n{TOPIC}\n\n"
            )
        };
        config("\"start/model\"", &[(first, TOPIC)], &corpus(second))
            .replace("[corpus.news]", "dataset_embeddings = true\n\n[corpus.news]")
    };
    train(&bench, "a", &two("a", "mail"), &[]);
    train(&bench, "b", &two("b", "talk"), &[]);
    merged(&bench, &["a", "b", "--out", "m", "--refit", "--refit-steps", "3"]);
    let of = |run: &str| {
        let all = tensors(&bench.path(run).join("model/sharing.safetensors"));
        let vectors: Vec<Vec<f32>> =
            all["backbone.embeddings.corpus"].chunks(32).map(<[f32]>::to_vec).collect();
        vectors
    };
    // In the order of the names: mail, news; news, talk; mail, news, talk.
    let (a, b, m) = (of("a"), of("b"), of("m"));
    assert_eq!((&m[0], &m[2]), (&a[0], &b[1]));
    assert_close(&m[1], a[1].iter().zip(&b[0]).map(|(a, b)| (f64::from(*a) + f64::from(*b)) / 2.0), "news");
    assert_eq!(of("m/refit"), m);
    // A corpus of the same name and other rows has a vector of its own.
    fs::copy(bench.path("valid.jsonl"), bench.path("other.jsonl")).unwrap();
    train(&bench, "c", &two("c", "talk").replace("\"test.jsonl\"", "\"other.jsonl\""), &[]);
    merged(&bench, &["a", "c", "--out", "own", "--method", "fisher", "--fisher-rows", "3"]);
    let (c, own) = (of("c"), of("own"));
    assert_eq!(own, [&a[0], &a[1], &c[0], &c[1]].map(Vec::clone), "mail, news, news-2, talk");
    let ran = bench.run(&["merge", "a", "tags", "--out", "n"]);
    assert!(
        ran.ok && ran.err.contains("backbone.embeddings.corpus: not in all models, tags had no say in it"),
        "{}",
        ran.err
    );
    assert!(!bench.path("n/model/sharing.safetensors").exists());
}

#[test]
fn what_cannot_be_merged_is_refused_before_anything_is_written() {
    let bench = two_runs(BAG);
    let wide = BAG.replace("16", "24");
    let vocabulary = "[tokenizer]\nfile = \"start/model/tokenizer.json\"\n";
    train(&bench, "wide", &config(&wide, &[("wide", TOPIC)], vocabulary), &["--set", "train.max_steps=1"]);
    train(&bench, "bert", &config(BERT, &[("bert", TOPIC)], vocabulary), &["--set", "train.max_steps=1"]);
    let both = ["topic", "tags"];
    let cases: &[(&[&str], &str)] = &[
        (&["topic"], "one model alone is not merged"),
        (&["topic", "topic"], "task `topic` is in topic and in topic: names of tasks must differ"),
        (&["topic", "wide"], "in config.json"),
        (&["topic", "bert"], "the backbone is bag and bert"),
        (&["topic", "nothing"], "nothing has no trained model"),
        (&["topic", "tags", "--method", "tiess"], "did you mean `ties`?"),
        (
            &["topic", "tags", "--method", "ties", "--density", "1.5"],
            "--density: found 1.5, expected a number above 0 and at most 1",
        ),
        (&["topic", "tags", "--method", "ties", "--density", "0"], "--density: found 0"),
        (&["topic", "tags", "--method", "ties", "--lambda", "NaN"], "--lambda: expected a finite number"),
        (
            &["topic", "tags", "--method", "ties", "--gamma", "0.1"],
            "--gamma: the method `ties` has no such setting; it has --lambda, --density",
        ),
        (&["topic", "tags", "--density", "0.1"], "the method `average` has no such setting; it has none"),
        (&["topic", "tags", "--method", "della", "--epsilon", "0.5"], "--epsilon: found 0.5"),
        (
            &["topic", "tags", "--method", "sce", "--weights", "1,2"],
            "--weights: the method `sce` makes its own",
        ),
        (&["topic", "tags", "--weights", "1"], "found 1 weights, expected 2"),
        (
            &["topic", "tags", "--weights", "topic=1,other=1"],
            "no model is called `other`: there are `topic`, `tags`",
        ),
        (&["topic", "tags", "--weights", "0,0"], "all weights are 0"),
        (&["topic", "tags", "--split", "all"], "--split all"),
        (&["topic", "tags", "--base", "nowhere"], "there is no such folder"),
        (&["topic", "tags", "--base", "wide"], "topic was not trained from it: in config.json"),
        (&["topic", "tags", "--method", "task_arithmetic", "--lambda", "1e300"], "beyond f32"),
    ];
    for (arguments, says) in cases {
        let error = refused(&bench, &[arguments, &["--out", "no"][..]].concat());
        assert!(error.contains(says), "{arguments:?}: {error}");
        assert!(!bench.path("no").exists(), "{arguments:?}");
    }
    let error = refused(&bench, &[&both[..], &["--out", "topic"]].concat());
    assert!(error.contains("--out"), "{error}");
    // Damage is told by the hashes; without these by the numbers.
    let path = bench.path("tags/model/model.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 4;
    bytes[last..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, bytes).unwrap();
    assert!(
        refused(&bench, &[&both[..], &["--out", "no"]].concat())
            .contains("it is not the file that was saved")
    );
    let manifest = bench.path("tags/model/polytask.json");
    let mut json: Value = serde_json::from_slice(&fs::read(&manifest).unwrap()).unwrap();
    for key in ["files", "blake3"] {
        json.as_object_mut().unwrap().remove(key);
    }
    fs::write(&manifest, json.to_string()).unwrap();
    assert!(refused(&bench, &[&both[..], &["--out", "no"]].concat()).contains("NaN"));
    assert!(!bench.path("no").exists());
}

#[test]
fn decoders_are_merged_where_all_have_them_and_kept_where_one_has() {
    let bench = two_runs(BERT);
    let vocabulary = "[tokenizer]\nfile = \"words.json\"\n";
    let write = "generation = { source = \"text\", target = \"topic\", decoding = { max_length = 8 } }";
    let back = "generation = { source = \"topic\", target = \"text\", decoding = { max_length = 8 } }";
    let words = config(BAG, &[("words", write)], "[tokenizer]\nsize = 400\nspaces = true\n")
        .replace("[corpus.news]", "decoder = { layers = 1, heads = 2 }\n\n[corpus.news]");
    train(&bench, "words", &words, &["--set", "train.max_steps=1"]);
    fs::copy(bench.path("words/model/tokenizer.json"), bench.path("words.json")).unwrap();
    let fresh = |task: (&str, &str)| {
        config(BERT, &[task], vocabulary)
            .replace("[corpus.news]", "decoder = { layers = 1, heads = 2, dropout = 0.0 }\n\n[corpus.news]")
    };
    train(&bench, "a", &fresh(("write", write)), &[]);
    train(&bench, "b", &fresh(("back", back)), &[]);
    train(&bench, "plain", &config(BERT, &[("topic", TOPIC)], vocabulary), &[]);
    merged(&bench, &["a", "b", "--out", "m"]);
    merged(&bench, &["a", "b", "--method", "ties", "--out", "t"]);
    let error = refused(&bench, &["a", "b", "--out", "no", "--refit"]);
    assert!(error.contains("no task has parameters above the trunk"), "{error}");
    let of = |run: &str| tensors(&bench.path(run).join("model/decoder.safetensors"));
    let (a, b, m) = (of("a"), of("b"), of("m"));
    assert!(!a.is_empty() && a != b);
    for (name, values) in &m {
        let mean = a[name].iter().zip(&b[name]).map(|(a, b)| (f64::from(*a) + f64::from(*b)) / 2.0);
        assert_close(values, mean, name);
    }
    let refit = ["--refit", "--refit-steps", "20"];
    let ran = bench.run(&[&["merge", "plain", "a", "--method", "ties", "--out", "k"], &refit[..]].concat());
    assert!(
        ran.ok && ran.err.contains("more: not in all models, topic had no say in it"),
        "{}{}",
        ran.out,
        ran.err
    );
    assert_eq!(of("k"), a);
    assert_eq!(of("k/refit"), a, "the decoder is of the trunk, and stays");
    let heads = |run: &str| tensors(&bench.path(run).join("model/heads.safetensors"));
    assert_ne!(heads("k/refit"), heads("k"), "the class has a head that is fitted again");
    train(&bench, "c", &fresh(("other", back)), &["--set", "train.seed=18"]);
    let error = refused(&bench, &["a", "c", "--out", "no", "--base", "a"]);
    assert!(error.contains("decoders that were not trained from the same first values"), "{error}");
    // T5's own decoder is part of the backbone.
    let t5 = "{ t5 = { layers = 1, decoder_layers = 1, hidden = 32, heads = 2 } }";
    train(&bench, "t5a", &config(t5, &[("write", write)], vocabulary), &[]);
    train(&bench, "t5b", &config(t5, &[("back", back)], vocabulary), &[]);
    merged(&bench, &["t5a", "t5b", "--method", "della", "--out", "t5"]);
    assert!(bench.feed(&["predict", "t5"], b"a goal\n").ok);
}

#[test]
fn a_merged_model_is_no_run_to_go_on_with() {
    let bench = two_runs(BAG);
    merged(&bench, &["topic", "tags", "--out", "m", "--no-evaluate"]);
    let ran = bench.run(&["train", "--resume", "m"]);
    assert!(ran.code == 2 && ran.err.contains("polytask train m/config.toml"), "{}", ran.err);
    let further = bench.run(&["train", "m/config.toml", "--run", "further", "--set", "train.max_steps=2"]);
    assert!(further.ok, "{}", further.err);
}

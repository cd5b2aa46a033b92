//! Sharing schemes from config to answers.

use crate::bench::Bench;
use serde_json::{Value, json};

const CONFIG: &str = r#"[model]
backbone = { bert = { layers = 1, hidden = 32, heads = 2, dropout = 0.0 } }

[corpus.mail]
train = "mail.jsonl"
validation = "mail.jsonl"

[corpus.news]
train = "news.jsonl"
validation = "news.jsonl"

[task.mail]
corpus = "mail"
classification = { text = "text", label = "label" }

[task.news]
corpus = "news"
classification = { text = "text", label = "label" }

[sharing.lora]
rank = 4
freeze_base = false

[optimizer.adamw]
learning_rate = 0.005

[train]
epochs = 30
tokens_per_batch = 128
threads = 1
eval_steps = 100000
"#;

const SCHEMES: &[&str] = &[
    "hard",
    "lora",
    "mtl_lora",
    "vera",
    "ia3",
    "poly",
    "hydra_lora",
    "adapters",
    "adapter_fusion",
    "hyper_adapters",
    "prefix",
    "prompt",
    "bitfit",
    "conditional_norm",
    "task_embedding",
    "pals",
    "branch",
    "soft",
    "cross_stitch",
    "sluice",
    "learn_to_branch",
    "scalar_mix",
    "mtan",
    "mmoe",
    "cgc",
    "ple",
    "dselect_k",
    "moe",
    "mix_lora",
];

fn written(bench: &Bench) {
    let lines = |labels: [&str; 2]| {
        let row = |i: usize| json!({ "text": format!("a {} day", ["warm", "cold"][i % 2]), "label": labels[i % 2] });
        (0..24).map(|i| row(i).to_string()).collect::<Vec<_>>().join("\n")
    };
    bench.write("mail.jsonl", lines(["good", "bad"]));
    bench.write("news.jsonl", lines(["bad", "good"]));
    bench.write("job.toml", CONFIG);
}

#[test]
fn every_task_answers_with_its_own_update() {
    let bench = Bench::new();
    written(&bench);
    let trained = bench.run(&["train", "job.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);
    assert!(bench.path("run/model/sharing.safetensors").is_file());
    let answered = bench.feed(&["predict", "run"], b"a warm day\na cold day\n");
    assert!(answered.ok, "{}", answered.err);
    let answers: Vec<Value> = answered.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for (answer, mail, news) in [(0, "good", "bad"), (1, "bad", "good")] {
        let tasks = &answers[answer]["tasks"];
        assert_eq!([&tasks["mail"]["label"], &tasks["news"]["label"]], [mail, news], "{answers:?}");
    }
}

#[test]
fn hard_sharing_is_the_default_and_schemes_are_explained() {
    let bench = Bench::new();
    written(&bench);
    let hard =
        ["train", "job.toml", "--run", "hard", "--set", "sharing.hard={}", "--set", "train.max_steps=1"];
    let trained = bench.run(&hard);
    assert!(trained.ok, "{}", trained.err);
    assert!(!bench.path("hard/model/sharing.safetensors").exists());
    let listed = bench.run(&["list", "sharing"]);
    assert!(listed.out.contains("hard") && listed.out.contains("lora"), "{}", listed.out);
    let explained = bench.run(&["explain", "lora"]);
    assert!(explained.out.contains("[sharing.lora]") && explained.out.contains("rank"), "{}", explained.out);
    let refused = bench.run(&["check", "job.toml", "--set", "sharing.lora.rank=0"]);
    assert!(refused.code == 2 && refused.err.contains("sharing.lora.rank"), "{}", refused.err);
}

/// The updates of one run are where the next begins, by a folder for each task.
#[test]
fn a_run_begins_with_adapters_of_another() {
    let bench = Bench::new();
    written(&bench);
    let trained = bench.run(&["train", "job.toml", "--run", "run", "--set", "sharing.lora.freeze_base=true"]);
    assert!(trained.ok, "{}", trained.err);
    for task in ["mail", "news"] {
        assert!(bench.path(&format!("run/model/adapters/{task}/adapter_model.safetensors")).is_file());
    }
    // The same backbone, because it is frozen and drawn from the same seed.
    let begun = |name: &str, sets: &[&str]| {
        let train = ["train", "job.toml", "--run", name, "--set", "train.max_steps=1"];
        let frozen =
            ["--set", "sharing.lora.freeze_base=true", "--set", "optimizer.adamw.learning_rate=1e-9"];
        let sets = sets.iter().flat_map(|set| ["--set", *set]);
        bench.run(&train.into_iter().chain(frozen).chain(sets).collect::<Vec<_>>())
    };
    let from =
        "sharing.lora.init_from={ mail = \"run/model/adapters/mail\", news = \"run/model/adapters/news\" }";
    let again = begun("again", &[from]);
    assert!(again.ok, "{}", again.err);
    let close = |name: &str| {
        let [ours, theirs] = ["run", name].map(|run| {
            std::fs::read(bench.path(&format!("{run}/model/adapters/mail/adapter_model.safetensors")))
                .unwrap()
        });
        let numbers = |bytes: &[u8]| -> Vec<f32> {
            let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
            bytes[8 + header..].as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
        };
        let [ours, theirs] = [ours, theirs].map(|bytes| numbers(&bytes));
        ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < 1e-5)
    };
    assert!(close("again"));
    assert!(begun("anew", &[]).ok && !close("anew"));
    for (set, says) in [
        ("sharing.lora.init_from=\"nowhere\"", "nowhere: no model here: there is no such folder"),
        (
            "sharing.lora.init_from={ other = \"x\" }",
            "sharing.lora.init_from: found other, expected a task: mail, news",
        ),
        ("sharing.lora.rank=2", "set sharing.lora.rank to 4"),
    ] {
        let refused = begun("refused", &[from, set]);
        assert!(refused.code == 2 && refused.err.contains(says), "{}", refused.err);
    }
}

fn with(scheme: &str, steps: &str) -> Vec<String> {
    let train = ["--set", scheme, "--set", steps].map(str::to_owned);
    train.to_vec()
}

fn train(bench: &Bench, run: &str, sets: &[String]) -> crate::bench::Ran {
    let mut all: Vec<&str> = vec!["train", "plain.toml", "--run", run];
    all.extend(sets.iter().map(String::as_str));
    bench.run(&all)
}

/// The same config without a sharing scheme.
fn plain(bench: &Bench) {
    written(bench);
    let (before, after) = CONFIG.split_once("[sharing.lora]").unwrap();
    let after = after.split_once("[optimizer").unwrap().1;
    let deeper = before.replace("layers = 1", "layers = 3");
    bench.write("plain.toml", format!("{deeper}[optimizer{after}"));
}

/// The branches that a search finds train again, and so do groups from a file, which the run does not need any more.
#[test]
fn branches_are_found_and_trained() {
    let bench = Bench::new();
    plain(&bench);
    let search = train(&bench, "search", &with("sharing.learn_to_branch={}", "train.max_steps=12"));
    assert!(search.ok, "{}", search.err);
    let found = std::fs::read_to_string(bench.path("search/branches.toml"));
    match &found {
        Ok(text) => {
            let config = std::fs::read_to_string(bench.path("plain.toml")).unwrap();
            bench.write("branches.toml", format!("{config}\n{text}"));
            let again =
                bench.run(&["train", "branches.toml", "--run", "again", "--set", "train.max_steps=2"]);
            assert!(again.ok, "{}", again.err);
            assert!(search.out.contains("branches from layer"), "{}", search.out);
        }
        Err(_) => assert!(search.out.contains("branches: none"), "{}", search.out),
    }
    bench.write("groups.toml", "groups = [[\"news\"], [\"mail\"]]\n");
    let by_file = with("sharing.branch.groups_file=groups.toml", "train.max_steps=2");
    let grouped = train(&bench, "grouped", &by_file);
    assert!(grouped.ok, "{}", grouped.err);
    std::fs::remove_file(bench.path("groups.toml")).unwrap();
    let config = std::fs::read_to_string(bench.path("grouped/config.toml")).unwrap();
    assert!(config.contains("news") && !config.contains("groups_file"), "{config}");
    assert!(bench.feed(&["predict", "grouped"], b"a warm day\n").ok);
    for (text, says) in [
        ("groups = [[\"news\"]]", "sharing.branch.groups: found no group with \"mail\""),
        ("groups = 3", "a file of groups says"),
    ] {
        bench.write("groups.toml", text);
        let refused = train(&bench, "refused", &by_file);
        assert!(refused.code == 2 && refused.err.contains(says), "{}", refused.err);
    }
    std::fs::remove_file(bench.path("groups.toml")).unwrap();
    let refused = train(&bench, "refused", &by_file);
    assert!(refused.code == 2 && refused.err.contains("cannot read"), "{}", refused.err);
}

/// Adapters of one run are weighted in another, which has them in its own model then.
#[test]
fn trained_adapters_are_fused() {
    let bench = Bench::new();
    plain(&bench);
    let first = train(&bench, "first", &with("sharing.adapters={bottleneck=4}", "train.max_steps=30"));
    assert!(first.ok, "{}", first.err);
    let fusion = with("sharing.adapter_fusion.adapters=[\"first/model\"]", "train.max_steps=4");
    let fused = train(&bench, "fused", &fusion);
    assert!(fused.ok, "{}", fused.err);
    let saved = std::fs::read_to_string(bench.path("fused/model/polytask.json")).unwrap();
    let saved: Value = serde_json::from_str(&saved).unwrap();
    let names: Vec<&Value> = saved["sharing"]["adapter_fusion"]["fused"]
        .as_array()
        .unwrap()
        .iter()
        .map(|of| &of["name"])
        .collect();
    assert_eq!(names, ["mail", "news"]);
    let before = bench.feed(&["predict", "fused"], b"a warm day\na cold day\n");
    assert!(before.ok, "{}", before.err);
    // The adapters are not trained any more: they are what the first run made of them.
    let numbers = |run: &str, name: &str| -> Vec<u8> {
        let bytes = std::fs::read(bench.path(&format!("{run}/model/sharing.safetensors"))).unwrap();
        let end = 8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..end]).unwrap();
        let at = |i: usize| header[name]["data_offsets"][i].as_u64().unwrap() as usize;
        bytes[end + at(0)..end + at(1)].to_vec()
    };
    let one = numbers("first", "sharing.adapters.news.layer.2.feed_forward.up.weight");
    assert_eq!(one, numbers("fused", "sharing.adapter_fusion..adapter.1.layer.2.up.weight"));
    std::fs::remove_dir_all(bench.path("first")).unwrap();
    let after = bench.feed(&["predict", "fused"], b"a warm day\na cold day\n");
    assert_eq!(before.out, after.out);
    let refused = train(&bench, "refused", &fusion);
    assert!(refused.code == 2 && refused.err.contains("first/model"), "{}", refused.err);
    let hard = train(&bench, "hard", &["--set".into(), "train.max_steps=1".into()]);
    assert!(hard.ok, "{}", hard.err);
    let other = with("sharing.adapter_fusion.adapters=[\"hard/model\"]", "train.max_steps=1");
    let refused = train(&bench, "refused", &other);
    assert!(refused.code == 2, "{}", refused.err);
    let none = train(&bench, "refused", &with("sharing.adapter_fusion={}", "train.max_steps=1"));
    assert!(
        none.code == 2 && none.err.contains("sharing.adapter_fusion.adapters: found none"),
        "{}",
        none.err
    );
}

/// What a scheme adds, freezes and gives tasks for themselves is in the plan.
#[test]
fn a_plan_says_what_is_shared_and_what_is_not() {
    let bench = Bench::new();
    plain(&bench);
    for (set, says) in [
        (
            "sharing.adapters={bottleneck=4}",
            &["in the trunk for mail", "not trained", "by sharing.adapters"][..],
        ),
        ("sharing.mmoe={experts=2}", &["of them added", "sharing.mmoe", "in the trunk for news"]),
        ("sharing.branch={groups=[[\"mail\", \"news\"]]}", &["in the trunk for mail, news"]),
        ("sharing.soft={}", &["in the trunk for mail", "in the trunk for news"]),
    ] {
        let checked = bench.run(&["check", "plain.toml", "--set", set]);
        assert!(checked.ok, "{}", checked.err);
        for part in says {
            assert!(checked.out.contains(part), "{set}: {part} in {}", checked.out);
        }
    }
}

#[test]
fn every_scheme_is_explained() {
    let bench = Bench::new();
    let listed = bench.run(&["list", "sharing"]);
    let names: Vec<&str> = listed.out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    for name in SCHEMES {
        assert!(names.contains(name), "{name}: {}", listed.out);
        let explained = bench.run(&["explain", name]);
        assert!(explained.out.contains(&format!("[sharing.{name}]")), "{}", explained.out);
    }
    assert!(bench.run(&["explain", "DoRA"]).out.contains("[sharing.lora]"));
}

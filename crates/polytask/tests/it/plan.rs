//! `polytask plan` says beforehand what a run then gives its tasks: to the row, token and step.

use crate::bench::Bench;
use serde_json::{Value, json};

const CONFIG: &str = r#"[model]
backbone = { bert = { layers = 2, hidden = 16, heads = 2, max_length = 128 } }

[corpus.zoo]
train = "zoo.jsonl"
validation = "zoo.jsonl"

[corpus.farm]
train = "farm.jsonl"
validation = "farm.jsonl"

[task.class]
corpus = "zoo"
classification = { text = "text", label = "class" }

[task.size]
corpus = "zoo"
classification = { text = "text", label = "size" }

[task.sort]
corpus = "farm"
classification = { text = "text", label = "class" }

[train]
epochs = 2
tokens_per_batch = 128
threads = 1
export = "last"
"#;

/// Animals of two corpora of different sizes; a third of the zoo has no size.
fn bench() -> Bench {
    let bench = Bench::new();
    let animals =
        [("owl", "bird"), ("duck", "bird"), ("cat", "mammal"), ("horse", "mammal"), ("trout", "fish")];
    let row = |i: usize| {
        let (animal, class) = animals[i * 7 % 5];
        let mut row = json!({ "text": format!("the {}{animal}", "very ".repeat(i % 6)), "class": class });
        if !i.is_multiple_of(3) {
            row["size"] = if i.is_multiple_of(2) { "small".into() } else { "large".into() };
        }
        row.to_string()
    };
    bench.write("zoo.jsonl", (0..150).map(row).collect::<Vec<_>>().join("\n"));
    bench.write("farm.jsonl", (0..20).map(row).collect::<Vec<_>>().join("\n"));
    bench.write("job.toml", CONFIG);
    bench
}

/// What the plan says, and what the run tells at its end.
fn planned_and_given(bench: &Bench, name: &str, set: &[&str]) -> (Value, Value) {
    let chosen: Vec<&str> = set.iter().flat_map(|set| ["--set", *set]).collect();
    let plan = bench.run(&[&["plan", "job.toml", "--json", "--no-timing"][..], &chosen].concat());
    assert!(plan.ok, "{}", plan.err);
    let trained = bench.run(&[&["train", "job.toml", "--run", name][..], &chosen].concat());
    assert!(trained.ok, "{}", trained.err);
    assert!(trained.out.contains("what each task got"), "{}", trained.out);
    let metrics = std::fs::read_to_string(bench.path(name).join("metrics.jsonl")).unwrap();
    let mut events = metrics.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told = events.rfind(|event| event["event"] == "usage_report").unwrap();
    (serde_json::from_str(&plan.out).unwrap(), told)
}

#[test]
fn what_is_planned_is_what_comes() {
    let bench = bench();
    let cases: [(&str, &[&str]); 6] = [
        ("plain", &[]),
        ("equal", &["sampling={equal={}}", "train.gradient_accumulation_steps=3"]),
        (
            "phases",
            &[
                "phase=[{tasks=[\"sort\"],epochs=3},{sampling={sqrt={}},steps=9,freeze=1},{tasks=[\"class\",\"size\"]}]",
            ],
        ),
        ("budget", &["task.sort.budget={tokens=150}", "task.class.budget={steps=5}"]),
        ("share", &["task.sort.budget={share=0.4}", "train.batching=\"single_corpus\""]),
        ("cut", &["train.max_tokens=900", "task.size.budget={steps=3}"]),
    ];
    for (name, set) in cases {
        let (plan, told) = planned_and_given(&bench, name, set);
        assert_eq!(plan["steps"], told["step"], "{name}");
        for task in ["class", "size", "sort"] {
            for key in ["rows", "tokens", "steps"] {
                // Within its last step a budget of steps is exact in the run; the plan stops counting at its end, too.
                assert_eq!(plan["tasks"][task][key], told["tasks"][task][key], "{name}: {task}.{key}");
            }
            let [planned, given] = [&plan, &told].map(|of| of["shares"][task].as_f64().unwrap_or(0.0));
            assert!((planned - given).abs() < 1e-9, "{name}: {task} {planned} {given}");
        }
        for corpus in ["zoo", "farm"] {
            assert_eq!(
                plan["corpora"][corpus]["draws"], told["corpora"][corpus]["draws"],
                "{name}: {corpus}"
            );
        }
    }
}

/// Few steps of many rows: the tokens of a step are those of these steps.
#[test]
fn a_step_has_no_more_tokens_than_its_batches() {
    let bench = bench();
    for (set, most) in [("train.max_steps=2", 128), ("train.gradient_accumulation_steps=3", 3 * 128)] {
        let check = bench.run(&["check", "job.toml", "--set", set]);
        assert!(check.ok, "{}", check.err);
        let (_, rest) = check.out.split_once(", about ").unwrap_or_else(|| panic!("{}", check.out));
        let tokens: usize = rest.split_once(' ').unwrap().0.replace(',', "").parse().unwrap();
        assert!((most / 2..=most).contains(&tokens), "{set}: {tokens}");
    }
}

/// A task without validation rows has no say in the best checkpoint: `check` and `train` say so, and refuse what waits for it.
#[test]
fn a_task_that_is_not_evaluated_is_named() {
    let bench = bench();
    let config =
        CONFIG.replace("train = \"farm.jsonl\"\nvalidation = \"farm.jsonl\"", "train = \"farm.jsonl\"");
    bench.write("job.toml", &config);
    let told = "without a labelled validation row: sort; the best checkpoint is chosen by the other tasks";
    for command in [&["check", "job.toml"][..], &["train", "job.toml", "--run", "run"]] {
        let ran = bench.run(command);
        assert!(ran.ok && ran.out.contains(told), "{}{}", ran.out, ran.err);
    }
    let check = bench.run(&["check", "job.toml", "--set", "task.sort.early_stopping={patience=1}"]);
    assert!(
        !check.ok && check.err.contains("`early_stopping` of task `sort` needs a validation split"),
        "{}",
        check.err
    );
    let until = "phase=[{until={metric=\"sort.accuracy\",threshold=0.9}},{}]";
    let check = bench.run(&["check", "job.toml", "--set", until]);
    assert!(!check.ok && check.err.contains("phase 1: until: found sort.accuracy"), "{}", check.err);
}

#[test]
fn the_plan_is_read_by_people() {
    let bench = bench();
    let plan = bench.run(&["plan", "job.toml", "--svg", "plan.svg", "--set", "sampling={exp3={}}"]);
    assert!(plan.ok, "{}", plan.err);
    for part in [
        "steps in 2 epochs",
        "forward",
        "times through",
        "learning rate",
        "the sampler exp3 moves the shares",
    ] {
        assert!(plan.out.contains(part), "{part}: {}", plan.out);
    }
    let svg = std::fs::read_to_string(bench.path("plan.svg")).unwrap();
    assert!(
        svg.starts_with("<svg")
            && ["class", "size", "sort", "learning rate"].iter().all(|name| svg.contains(name))
    );
    assert!(!bench.path("runs").exists(), "nothing is trained");
}

#[test]
fn what_cannot_be_is_refused_with_its_place() {
    let bench = bench();
    let refused = |set: &str| {
        let found = bench.run(&["plan", "job.toml", "--set", set]);
        assert!(!found.ok);
        found.err
    };
    let told = refused("phase=[{tasks=[\"clas\"]}]");
    assert!(
        told.contains("phase 1 names the task `clas`") && told.contains("did you mean `class`?"),
        "{told}"
    );
    let told = refused("task.size.budget={share=0.5,steps=3}");
    assert!(told.contains("exactly one of share, tokens, steps, seconds"), "{told}");
    let told = refused("sampling={conflict={}}");
    assert!(told.contains("[sampling.conflict] looks at the gradients of the tasks"), "{told}");
    let told = refused("corpus.zoo.order={balanced=\"size\"}");
    assert!(told.contains("zoo.jsonl:1: no field \"size\""), "{told}");
}

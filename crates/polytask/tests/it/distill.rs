//! `polytask distill`: students of teachers that were trained a moment before.

use crate::bench::{Bench, succeed};
use serde_json::Value;
use std::fs;
use std::process::Stdio;
use std::time::{Duration, Instant};

const BAG: &str = "{ bag = { width = 16, window = 1, dropout = 0.1 } }";
const BERT: &str = "{ bert = { layers = 3, hidden = 16, heads = 2, dropout = 0.1 } }";
const TOPIC: &str = "classification = { text = \"text\", label = \"topic\" }";
const TAGS: &str = "tagging = { tokens = \"tokens\", tags = \"tags\" }";
const BOTH: [(&str, &str); 2] = [("topic", TOPIC), ("tags", TAGS)];
const TEACHERS: &str = "[distill]\nteachers = { topic = \"topic\", tags = \"tags\" }\n";

/// A config for some tasks, by name and kind, on a backbone and training rows.
fn config(backbone: &str, rows: &str, tasks: &[(&str, &str)], more: &str) -> String {
    let tasks: String =
        tasks.iter().map(|(name, kind)| format!("[task.{name}]\ncorpus = \"news\"\n{kind}\n\n")).collect();
    format!(
        "[model]\nbackbone = {backbone}\n\n[corpus.news]\ntrain = \"{rows}\"\nvalidation = \"valid.jsonl\"\ntest = \"test.jsonl\"\n\n\
         {tasks}[optimizer.adamw]\nlearning_rate = 1e-2\n\n[data]\nmax_length = 32\n\n[train]\nepochs = 4\ntokens_per_batch = 128\n\
         threads = 1\n\n{more}"
    )
}

fn train(bench: &Bench, name: &str, config: &str) {
    let file = format!("{name}.toml");
    bench.write(&file, config);
    succeed(bench, &["train", &file, "--run", name]);
}

/// What a config is refused for.
fn refused(bench: &Bench, command: &str, config: &str) -> String {
    bench.write("refused.toml", config);
    let ran = bench.run(&[command, "refused.toml"]);
    assert_eq!(ran.code, 2, "{}{}", ran.out, ran.err);
    ran.err
}

/// A teacher for each task, and `few.jsonl`: the training rows, of which only the first two have labels.
fn taught() -> Bench {
    let bench = Bench::new();
    for task in BOTH {
        train(&bench, task.0, &config(BAG, "train.jsonl", &[task], ""));
    }
    let text = fs::read_to_string(bench.path("train.jsonl")).unwrap();
    let without_labels = |(i, line): (usize, &str)| {
        let mut row: Value = serde_json::from_str(line).unwrap();
        if i > 1 {
            row["topic"] = Value::Null;
            row["tags"] = Value::Null;
        }
        row.to_string() + "\n"
    };
    bench.write("few.jsonl", text.lines().enumerate().map(without_labels).collect::<String>());
    bench
}

/// The score of a task on the test split.
fn score(bench: &Bench, run: &str, task: &str, metric: &str) -> f64 {
    let scores: Value = serde_json::from_str(&succeed(bench, &["evaluate", run, "--json"])).unwrap();
    scores["tasks"][task]["scores"][metric].as_f64().unwrap()
}

#[test]
fn rows_without_labels_teach_a_student_what_its_teachers_know() {
    let bench = taught();
    train(&bench, "alone", &config(BAG, "few.jsonl", &BOTH, ""));
    bench.write("student.toml", config(BAG, "few.jsonl", &BOTH, TEACHERS));
    let checked = succeed(&bench, &["check", "student.toml"]);
    assert!(checked.contains("topic learns from") && checked.contains("polytask distill"), "{checked}");
    let told = succeed(&bench, &["distill", "student.toml", "--run", "student"]);
    for expected in ["has answered 120 rows", "of the teacher", "teachers together", "the student has 0."] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let [alone, student] = ["alone", "student"].map(|run| score(&bench, run, "topic", "accuracy"));
    assert!(student > 0.95 && student > alone + 0.1, "{student} with teachers, {alone} without");
    let [alone, student] = ["alone", "student"].map(|run| score(&bench, run, "tags", "span_f1"));
    assert!(student > 0.9 && student > alone + 0.1, "{student} with teachers, {alone} without");

    let found: Value =
        serde_json::from_slice(&fs::read(bench.path("student/distill.json")).unwrap()).unwrap();
    assert_eq!(
        (found["tasks"].as_array().unwrap().len(), found["teachers"].as_array().unwrap().len()),
        (2, 2)
    );
    for (task, name) in found["tasks"].as_array().unwrap().iter().zip(["topic", "tags"]) {
        assert_eq!((task["task"].as_str(), task["rows"].as_u64()), (Some(name), Some(30)));
        let own: Value =
            serde_json::from_str(&succeed(&bench, &["evaluate", name, "--split", "validation", "--json"]))
                .unwrap();
        let metric = task["metric"].as_str().unwrap();
        let expected = own["tasks"][name]["scores"][metric].as_f64().unwrap();
        assert!((task["of_teacher"].as_f64().unwrap() - expected).abs() < 1e-9, "{task}");
    }
    assert!(found["student"]["rows"].as_u64() == Some(60), "{found}");
    // Rows that a teacher alone answers are trained on.
    let data: Value = serde_json::from_slice(&fs::read(bench.path("student/data.json")).unwrap()).unwrap();
    let label =
        data["labels"].as_array().unwrap().iter().find(|l| l["task"] == "topic" && l["split"] == "train");
    assert_eq!([&label.unwrap()["labelled"], &label.unwrap()["taught"]], [2, 118]);
    assert!(told.contains("  480     4.0  "), "four epochs of 120 rows: {told}");
    // It is a run as any other.
    let answered = bench.feed(&["predict", "student"], b"shares of Ada fell on the market\n");
    let answer: Value = serde_json::from_str(&answered.out).unwrap();
    assert_eq!(answer["tasks"]["topic"]["label"], "money", "{answer}");
}

/// Begins the run `cut` of `student.toml` and interrupts it after some steps; its exit code.
fn interrupt(bench: &Bench) -> Option<i32> {
    let mut child =
        bench.command(&["distill", "student.toml", "--run", "cut"]).stdout(Stdio::null()).spawn().unwrap();
    let metrics = bench.path("cut/metrics.jsonl");
    let patience = Instant::now();
    while !fs::read_to_string(&metrics).is_ok_and(|text| text.lines().count() > 12) {
        assert!(patience.elapsed() < Duration::from_secs(60), "the run does not begin");
        std::thread::sleep(Duration::from_millis(2));
    }
    std::process::Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    child.wait().unwrap().code()
}

#[test]
fn an_interrupted_student_ends_with_the_same_bits_and_asks_no_teacher_again() {
    let bench = taught();
    let config = config(BAG, "few.jsonl", &BOTH, &format!("{TEACHERS}annealing = true\ntemperature = 2.0\n"));
    bench.write("student.toml", config.replace("epochs = 4", "epochs = 60\nsave_steps = 7"));
    succeed(&bench, &["distill", "student.toml", "--run", "whole"]);
    let code = interrupt(&bench);
    if code != Some(0) {
        assert_eq!(code, Some(130), "interrupted, or already done");
        // A teacher whose answers are damaged is asked again.
        let path = bench.path("cut/teachers/tags.answers");
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 5]).unwrap();
        let resumed = bench.run(&["distill", "--resume", "cut"]);
        assert!(resumed.ok, "{}", resumed.err);
        assert!(
            resumed.out.contains("its answers to 120 rows are in the run's directory"),
            "{}",
            resumed.out
        );
        assert!(resumed.out.contains("has answered 120 rows"), "{}", resumed.out);
        assert_eq!(fs::read(&path).unwrap(), whole);
    }
    for file in ["model/model.safetensors", "model/heads.safetensors"] {
        let (whole, cut) = (fs::read(bench.path("whole").join(file)), fs::read(bench.path("cut").join(file)));
        assert!(whole.unwrap() == cut.unwrap(), "{file} differs after the interruption");
    }
}

#[test]
fn a_student_begins_with_some_layers_of_its_teacher() {
    let bench = Bench::new();
    train(&bench, "all", &config(BERT, "train.jsonl", &BOTH, ""));
    let distill = "[distill]\nteacher = \"all\"\nweight = 0.7\nlayers = 2\n";
    bench.write("student.toml", config("\"all/model\"", "train.jsonl", &BOTH, distill));
    let ran = bench.run(&["distill", "student.toml", "--run", "student"]);
    assert!(ran.ok, "{}", ran.err);
    let told = "the student begins with the embeddings and 2 layers of all/model: 0, 1\n";
    assert!(ran.err.contains(told), "{}", ran.err);
    let json: Value =
        serde_json::from_slice(&fs::read(bench.path("student/model/config.json")).unwrap()).unwrap();
    assert_eq!(json["num_hidden_layers"], 2);
    assert!(score(&bench, "student", "topic", "accuracy") > 0.9);
    let found: Value =
        serde_json::from_slice(&fs::read(bench.path("student/distill.json")).unwrap()).unwrap();
    assert_eq!(found["teachers"].as_array().unwrap().len(), 1, "one teacher of both tasks: {found}");
    let size = |of: &Value| of["parameters"].as_u64().unwrap();
    assert!(size(&found["student"]) < size(&found["teachers"][0]), "{found}");
    // Other commands know teachers, too.
    assert!(succeed(&bench, &["plan", "student.toml", "--no-timing"]).contains("topic"));
    succeed(&bench, &["lr-find", "student.toml", "--steps", "20"]);
    let told = refused(
        &bench,
        "check",
        &config("\"all/model\"", "train.jsonl", &BOTH, &distill.replace("= 2", "= 4")),
    );
    assert!(told.contains("distill.layers: layers: found 4, expected 1 to 3"), "{told}");
}

#[test]
fn teachers_that_do_not_fit_are_refused_with_the_reason() {
    let bench = taught();
    let topic = |kind: &str, distill: &str| config(BAG, "train.jsonl", &[("topic", kind)], distill);
    let named = |teacher: &str| format!("[distill]\nteachers = {{ topic = \"{teacher}\" }}\n");
    for command in ["check", "distill"] {
        let told = refused(&bench, command, &topic(TOPIC, &named("tags")));
        assert!(told.contains("it is of the kind tagging, the student of the kind classification"), "{told}");
        let told = refused(&bench, command, &topic(TOPIC, &named("nobody")));
        assert!(told.contains("nobody") && told.contains("no trained model"), "{told}");
    }
    // Other labels.
    let text = fs::read_to_string(bench.path("train.jsonl")).unwrap();
    bench.write("train.jsonl", text.replace("\"sport\"", "\"games\""));
    let told = refused(&bench, "check", &topic(TOPIC, &named("topic")));
    assert!(
        told.contains("the labels differ: the teacher lacks games; only the teacher has sport"),
        "{told}"
    );
    bench.write("train.jsonl", text);
    // A student that cannot learn from answers, and a kind that has none.
    let crf = TAGS.replace("tags = \"tags\" }", "tags = \"tags\", crf = true }");
    let of_tags = "[distill]\nteachers = { tags = \"tags\" }\n";
    let told = refused(&bench, "check", &config(BAG, "train.jsonl", &[("tags", &crf)], of_tags));
    assert!(
        told.contains("tagging has no answers to learn from: a CRF learns from whole sequences"),
        "{told}"
    );
    // No teachers at all.
    let told = refused(&bench, "distill", &topic(TOPIC, ""));
    assert!(told.contains("names no teachers") && told.contains("polytask train refused.toml"), "{told}");
    for (distill, expected) in [
        ("[distill]\ntemperature = 2.0\n", "[distill] names no teacher"),
        (
            "[distill]\nteacher = \"topic\"\nteachers = { topic = \"topic\" }\n",
            "both `teacher` and `teachers`",
        ),
        ("[distill]\nteachers = { topics = \"topic\" }\n", "did you mean `topic`?"),
        ("[distill]\nteacher = \"topic\"\nweight = 0.5\nannealing = true\n", "remove one"),
        ("[distill]\nteacher = \"topic\"\nlayers = 2\n", "this one is from scratch"),
        ("[distill]\nteacher = \"topic\"\ntemperature = 0.0\n", "temperature"),
    ] {
        let told = refused(&bench, "check", &topic(TOPIC, distill));
        assert!(told.contains(expected), "{expected}: {told}");
    }
    // A teacher for all tasks that has none of them.
    let told = refused(&bench, "check", &topic(TOPIC, "[distill]\nteacher = \"tags\"\n"));
    assert!(told.contains("has none of the tasks topic; it has tags"), "{told}");
}

/// A task that writes, and one of plain text on a decoder, on a network from scratch.
fn writing(network: &str, tasks: &str, more: &str) -> String {
    format!(
        "[model]\n{network}\n\n[tokenizer]\nsize = 300\nspaces = true\n\n[data]\nmax_length = 32\n\n[corpus.pairs]\n\
         train = \"pairs.jsonl\"\nvalidation = \"six.jsonl\"\n\n{tasks}\n[optimizer.adamw]\nlearning_rate = 0.02\n\n\
         [train]\nepochs = 80\ntokens_per_batch = 128\nthreads = 1\neval_steps = 100000\n\n{more}"
    )
}

/// With the teacher's answers alone (`weight = 1.0`) a student writes what its teacher writes, which no label has told it.
#[test]
fn written_tokens_are_learned_from_a_teacher() {
    let bench = Bench::new();
    let row = |i: usize| {
        let (animal, colour) = (["duck", "cat", "horse"][i % 3], ["red", "blue"][i / 3 % 2]);
        serde_json::json!({ "from": format!("{colour} {animal}"), "to": format!("the {animal} is {colour}") })
            .to_string()
    };
    for (file, rows) in [("pairs.jsonl", 24), ("six.jsonl", 6)] {
        bench.write(file, (0..rows).map(row).collect::<Vec<_>>().join("\n"));
    }
    let generation = "[task.say]\ncorpus = \"pairs\"\ngeneration = { source = \"from\", target = \"to\", decoding = { max_length = 16 } }\n";
    let beside = "backbone = { bert = { layers = 1, hidden = 16, heads = 2, max_length = 32, dropout = 0.0 } }\n\
                  decoder = { layers = 1, heads = 2, dropout = 0.0 }";
    let alone = "backbone = { llama = { layers = 1, hidden = 16, heads = 2, max_length = 64 } }";
    let text = "[task.text]\ncorpus = \"pairs\"\ncausal_language_model = { text = \"to\" }\n";
    for (name, network, tasks) in
        [("beside", beside, generation.to_owned()), ("alone", alone, format!("{generation}\n{text}"))]
    {
        let (teacher, student) = (format!("{name}-teacher"), format!("{name}-student"));
        train(&bench, &teacher, &writing(network, &tasks, ""));
        let distill = format!("[distill]\nteacher = \"{teacher}\"\nweight = 1.0\n");
        bench.write("student.toml", writing(network, &tasks, &distill));
        let checked = succeed(&bench, &["check", "student.toml"]);
        assert!(checked.contains("say learns from"), "{checked}");
        succeed(&bench, &["distill", "student.toml", "--run", &student]);
        let written = |run: &str| -> f64 {
            let scored = succeed(&bench, &["evaluate", run, "--split", "validation", "--json"]);
            let scores: Value = serde_json::from_str(&scored).unwrap();
            scores["tasks"]["say"]["scores"]["rouge_l"].as_f64().unwrap()
        };
        let (of_teacher, of_student) = (written(&teacher), written(&student));
        // Without a text of the teacher a student writes nothing that is right.
        assert!(of_teacher > 0.7 && of_student > 0.5, "{name}: {of_teacher} {of_student}");
    }
    // Answers about tokens need the same tokens.
    let other = writing(beside, generation, "[distill]\nteacher = \"beside-teacher\"\n")
        .replace("max_length = 32\n\n[corpus", "max_length = 24\n\n[corpus");
    let told = refused(&bench, "check", &other);
    assert!(
        told.contains("its answers are about tokens, and it has data.max_length = 32 and not 24"),
        "{told}"
    );
}

#[test]
fn what_is_measured_of_a_pruned_student_is_what_was_written() {
    let bench = Bench::new();
    let rows = "train.jsonl";
    train(&bench, "topic", &config(BERT, rows, &BOTH[..1], ""));
    train(&bench, "tags", &config(BERT, rows, &BOTH[1..], ""));
    let parameters = |name: &str, more: &str| {
        bench.write(&format!("{name}.toml"), config(BERT, rows, &BOTH, &format!("{TEACHERS}{more}")));
        succeed(&bench, &["distill", &format!("{name}.toml"), "--run", name]);
        let told: Value =
            serde_json::from_slice(&fs::read(bench.path(&format!("{name}/distill.json"))).unwrap()).unwrap();
        told["student"]["parameters"].as_u64().unwrap()
    };
    let whole = parameters("whole", "");
    // Of 64 columns of each of three layers half, with two weights of 16 numbers and a bias.
    assert_eq!(whole - parameters("half", "[pruning]\nffn = 0.5\n"), 3 * 32 * (2 * 16 + 1));
}

/// A task that learns states, as a config names it.
fn states(more: &str) -> String {
    format!("hidden_states = {{ text = \"text\"{more} }}")
}

/// The losses of a task by step.
fn losses(bench: &Bench, run: &str, task: &str) -> Vec<f64> {
    let text = fs::read_to_string(bench.path(run).join("metrics.jsonl")).unwrap();
    let events = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    events.filter_map(|event| event["losses"][task].as_f64()).collect()
}

const SMALL: &str = "{ bert = { layers = 2, hidden = 8, heads = 2, dropout = 0.0 } }";
const SAME: &str = "{ bert = { layers = 2, hidden = 16, heads = 2, dropout = 0.0 } }";
const TOKENS: &str = "[tokenizer]\nfile = \"teacher/model/tokenizer.json\"\n\n";

/// A run `teacher` of two tasks.
fn of_two_tasks() -> Bench {
    let bench = Bench::new();
    train(&bench, "teacher", &config(BERT, "train.jsonl", &BOTH, ""));
    bench
}

#[test]
fn states_of_a_teacher_are_learned_without_labels() {
    let bench = of_two_tasks();
    let distill = format!("{TOKENS}[distill]\nteacher = \"teacher\"\n");
    for (name, backbone, more) in [
        ("same", SAME, ""),
        ("projected", SMALL, ", match = \"states\""),
        ("related", SMALL, ", match = \"relations\", heads = 2"),
    ] {
        let learned = states(more);
        let both = [("states", learned.as_str()), ("topic", TOPIC)];
        // The first without any other task.
        let tasks = if name == "same" { &both[..1] } else { &both[..] };
        let more = distill.clone() + if name == "same" { "" } else { "weight = 1.0\n" };
        bench.write(
            "student.toml",
            config(backbone, "train.jsonl", tasks, &more).replace("epochs = 4", "epochs = 12"),
        );
        let checked = succeed(&bench, &["check", "student.toml"]);
        assert!(checked.contains("states learns from teacher: the states of"), "{checked}");
        assert!(!checked.contains("It learns nothing"), "{checked}");
        let told = succeed(&bench, &["distill", "student.toml", "--run", name]);
        assert!(told.contains("states learns from teacher, which has answered 120 rows"), "{told}");
        let losses = losses(&bench, name, "states");
        let (first, last) = (losses[0], losses[losses.len() - 1]);
        assert!(last < first * 0.5, "{name}: {first} and in the end {last}");
        let answered = fs::metadata(bench.path(name).join("teachers/states.answers")).unwrap().len();
        assert!(answered > 120 * 16 * 4, "{answered}");
        let told = bench.run(&["predict", name, "--task", "states"]);
        assert!(told.code == 2 && told.err.contains("has learned the states of a teacher"), "{}", told.err);
        if name == "same" {
            let told = bench.run(&["predict", name]);
            assert!(told.code == 2 && told.err.contains("answers nothing"), "{}", told.err);
            let told = bench.run(&["evaluate", name]);
            assert!(told.code == 2 && told.err.contains("and has no score"), "{}", told.err);
            continue;
        }
        // Other tasks are scored and answer as ever.
        assert!(score(&bench, name, "topic", "accuracy") > 0.9);
        let scores: Value = serde_json::from_str(&succeed(&bench, &["evaluate", name, "--json"])).unwrap();
        assert!(scores["tasks"].get("states").is_none(), "{scores}");
        let answered = bench.feed(&["predict", name], b"shares of Ada fell on the market\n");
        let answer: Value = serde_json::from_str(&answered.out).unwrap();
        assert_eq!(answer["tasks"].as_object().unwrap().len(), 1, "{answer}");
        let (pruned, exported) = (format!("{name}-pruned"), format!("{name}-onnx"));
        succeed(&bench, &["prune", name, "--layers", "1", "--out", &pruned]);
        // The projection is cut with the states that it reads; relations have no part as wide as half a number.
        let ran = bench.run(&["prune", name, "--hidden", "4", "--out", &format!("{name}-narrow")]);
        assert!(
            ran.ok || ran.code == 2 && ran.err.contains("hidden_states.heads"),
            "{name}: {}{}",
            ran.out,
            ran.err
        );
        assert!(ran.ok || name != "projected", "{}", ran.err);
        succeed(&bench, &["export", name, "--format", "onnx", "--out", &exported]);
    }
}

#[test]
fn a_student_of_states_is_resumed_with_the_same_bits() {
    let bench = of_two_tasks();
    let both = [("states", &*states("")), ("topic", TOPIC)];
    let more = format!("{TOKENS}[distill]\nteacher = \"teacher\"\n");
    let config = config(SMALL, "train.jsonl", &both, &more);
    bench.write("student.toml", config.replace("epochs = 4", "epochs = 20\nsave_steps = 7"));
    succeed(&bench, &["distill", "student.toml", "--run", "whole"]);
    let code = interrupt(&bench);
    if code != Some(0) {
        assert_eq!(code, Some(130), "interrupted, or already done");
        let resumed = succeed(&bench, &["distill", "--resume", "cut"]);
        assert!(resumed.contains("states learns from teacher: its answers to 120 rows are in"), "{resumed}");
    }
    for file in ["model/model.safetensors", "model/heads.safetensors", "teachers/states.answers"] {
        let (whole, cut) = (fs::read(bench.path("whole").join(file)), fs::read(bench.path("cut").join(file)));
        assert!(whole.unwrap() == cut.unwrap(), "{file} differs after the interruption");
    }
}

#[test]
fn teachers_whose_states_do_not_fit_are_refused() {
    let bench = of_two_tasks();
    let of = |more: &str, distill: &str| config(SMALL, "train.jsonl", &[("states", &*states(more))], distill);
    let teacher = format!("{TOKENS}[distill]\nteacher = \"teacher\"\n");
    for command in ["check", "train"] {
        let told = refused(&bench, command, &of("", ""));
        assert!(told.contains("task `states` learns the states of a teacher, and has none"), "{told}");
        assert!(told.contains("polytask distill"), "{told}");
    }
    let told = refused(&bench, "check", &of(", match = \"relations\"", &teacher));
    assert!(
        told.contains("12, which does not divide the width 8 of the student, expected a divisor of 8"),
        "{told}"
    );
    let told =
        refused(&bench, "check", &of("", "[tokenizer]\nsize = 300\n\n[distill]\nteacher = \"teacher\"\n"));
    assert!(told.contains("its answers are about tokens, and it has another tokenizer"), "{told}");
    let longer = of("", &teacher).replace("max_length = 32", "max_length = 24");
    assert!(refused(&bench, "check", &longer).contains("data.max_length = 32 and not 24"));
    let told = refused(&bench, "check", &of("", &teacher.replace("= \"teacher\"", "= \"nobody\"")));
    assert!(told.contains("nobody has no trained model"), "{told}");
    // Tasks with states of their own.
    let lanes = "[sharing.lora]\nrank = 2\n";
    train(&bench, "lanes", &config(BERT, "train.jsonl", &BOTH, lanes));
    let told = refused(&bench, "check", &of("", &teacher.replace("= \"teacher\"", "= \"lanes\"")));
    assert!(told.contains("each of its 2 tasks has states of its own"), "{told}");
}

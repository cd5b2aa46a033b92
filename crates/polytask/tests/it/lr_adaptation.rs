//! Learning rates that follow evaluations and tasks, a focal loss and an optimizer without a schedule, from a config to a model.

use crate::bench::Bench;
use serde_json::Value;

fn events(bench: &Bench, run: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(bench.path(run).join("metrics.jsonl")).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn of<'a>(events: &'a [Value], name: &str) -> Vec<&'a Value> {
    events.iter().filter(|event| event["event"] == name).collect()
}

#[test]
fn rates_follow_and_the_model_learns() {
    let bench = Bench::new();
    bench.edit(
        "job.toml",
        "[optimizer.adamw]\nlearning_rate = 1e-2",
        "[optimizer.schedule_free_adamw]\nlearning_rate = 3e-2",
    );
    bench.edit(
        "job.toml",
        "label = \"topic\" }",
        "label = \"topic\", focal = 2.0 }\nreduce_lr_on_plateau = { patience = 0, threshold = 0.0 }",
    );
    bench.edit(
        "job.toml",
        "epochs = 3",
        "epochs = 6\neval_steps = 4\nhead_lr_balancing = { most = 3.0 }\nreduce_lr_on_plateau = { patience = 3 }",
    );
    let trained = bench.run(&["train", "job.toml", "--run", "run"]);
    assert!(trained.ok, "{}", trained.err);

    let events = events(&bench, "run");
    let falls = of(&events, "learning_rate_reduced");
    let of_topic: Vec<_> = falls.iter().filter(|fall| fall["task"] == "topic").collect();
    assert!(!of_topic.is_empty(), "an easy task is soon as good as it gets");
    assert!(
        trained.out.contains("the head of topic from now on with 0.5 of the learning rate"),
        "{}",
        trained.out
    );
    let steps = of(&events, "step");
    let first = of_topic[0]["step"].as_u64().unwrap() as usize;
    let factor = |step: usize, task: &str| steps[step]["head_factors"][task].as_f64().unwrap();
    assert_eq!((factor(0, "topic"), factor(0, "tags")), (1.0, 1.0));
    // Half of what its progress gives, which moves little within a step.
    let before = factor(first - 1, "topic");
    assert!((factor(first, "topic") / before - 0.5).abs() < 0.1, "{before}, {}", factor(first, "topic"));
    // The other has no plateau, so that what moves it is its progress.
    let furthest = (0..steps.len()).map(|step| (factor(step, "tags") - 1.0).abs()).fold(0.0, f64::max);
    assert!(furthest > 0.05, "{furthest}");

    let scored = bench.run(&["evaluate", "run", "--json"]);
    let scores: Value = serde_json::from_str(&scored.out).unwrap();
    let accuracy = scores["tasks"]["topic"]["scores"]["accuracy"].as_f64().unwrap();
    assert!(accuracy > 0.9, "an easy task is learnt: {scores}");
    // The config of the run reads as the same config, warm-up and all.
    let again = bench.run(&["train", "--resume", "run"]);
    assert!(again.ok, "{}", again.err);
}

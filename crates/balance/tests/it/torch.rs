//! Uncertainty weighting against PyTorch's autograd and Adam (`scripts/make_balance_fixtures.py`).

use polytask_balance::{BalancerConfig, Uncertainty};
use serde_json::Value;

fn close(what: &str, ours: f64, theirs: f64) {
    assert!((ours - theirs).abs() <= 1e-12 * theirs.abs().max(1.0), "{what}: {ours}, PyTorch says {theirs}");
}

#[test]
fn every_step_equals_pytorch() {
    let cases: Value = serde_json::from_str(include_str!("../fixtures/uncertainty.json")).expect("JSON");
    let list = |v: &Value| v.as_array().expect("a list").clone();
    let number = |v: &Value| v.as_f64().expect("a number");
    for (c, case) in list(&cases).iter().enumerate() {
        let method = BalancerConfig::Uncertainty(Uncertainty {
            initial: number(&case["initial"]),
            learning_rate: number(&case["learning_rate"]),
        });
        let names: Vec<String> = (0..list(&case["s"]).len()).map(|i| format!("t{i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let mut balancer = method.build(&names, &vec![1.0; names.len()]).expect("valid");
        for (step, (losses, expected)) in list(&case["losses"]).iter().zip(list(&case["weights"])).enumerate()
        {
            let losses: Vec<Option<f64>> = list(losses).iter().map(Value::as_f64).collect();
            let weights = balancer.weights_from_losses(&losses);
            for (task, (ours, theirs)) in weights.iter().zip(list(&expected)).enumerate() {
                close(&format!("case {c}, step {step}, task {task}"), *ours, number(&theirs));
            }
        }
        let state = balancer.state();
        for (task, theirs) in list(&case["s"]).iter().enumerate() {
            close(&format!("case {c}, s of task {task}"), number(&state["tasks"][task]["s"]), number(theirs));
        }
    }
}

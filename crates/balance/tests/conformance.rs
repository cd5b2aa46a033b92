//! What every balancing method must do: one row a method, every property for every row.

use polytask_balance::{BalanceError, Balancer, Balancing, CATALOGUE, Equal, Static, Uncertainty};
use serde_json::{Value, json};

const TASKS: [&str; 4] = ["intent", "slots", "polarity", "品詞"];

fn methods() -> Vec<Balancing> {
    let weights = [("slots".to_owned(), 0.5), ("品詞".to_owned(), 3.0)].into();
    vec![
        Balancing::Equal(Equal::default()),
        Balancing::Static(Static { weights }),
        Balancing::Uncertainty(Uncertainty::default()),
        Balancing::Uncertainty(Uncertainty { initial: -0.5, learning_rate: 0.3 }),
    ]
}

fn build(method: &Balancing) -> Box<dyn Balancer> {
    method.build(&TASKS, &[1.0, 2.0, 0.5, 1.0]).expect("valid")
}

/// Losses of many sizes, some absent, from a fixed rule.
fn losses(step: usize) -> [Option<f64>; 4] {
    std::array::from_fn(|task| {
        let phase = (step * 7 + task * 3) % 11;
        (phase != 0).then(|| 10f64.powi(phase as i32 - 6) * (1.0 + 1.0 / (step + task + 1) as f64))
    })
}

fn bits(weights: &[f64]) -> Vec<u64> {
    weights.iter().map(|w| w.to_bits()).collect()
}

#[test]
fn the_catalogue_is_the_family() {
    let mut names: Vec<&str> = methods().iter().map(Balancing::name).collect();
    names.dedup();
    assert_eq!(names, CATALOGUE.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, source) in CATALOGUE {
        let first = source.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 20, "{name}: {first}");
        for part in ["Formula", "Defaults", "Cost", "State", "When to use"] {
            assert!(source.contains(part), "{name} has no {part}");
        }
    }
}

#[test]
fn weights_are_finite_and_an_absent_task_has_none() {
    for method in methods() {
        let mut balancer = build(&method);
        for step in 0..300 {
            let losses = losses(step);
            for (weight, loss) in balancer.weights(&losses).iter().zip(losses) {
                assert!(weight.is_finite() && *weight >= 0.0, "{method:?}: {weight}");
                assert_eq!(*weight == 0.0, loss.is_none(), "{method:?}");
            }
        }
    }
}

/// A task that is absent, or whose loss is no number, neither moves nor is seen by the others.
#[test]
fn absent_and_broken_losses_change_nothing() {
    for method in methods() {
        for broken in [None, Some(f64::NAN), Some(f64::INFINITY), Some(f64::NEG_INFINITY)] {
            let (mut with, mut without) = (build(&method), build(&method));
            with.weights(&losses(1));
            without.weights(&losses(1));
            let before = with.state();
            assert_eq!(with.weights(&[broken; 4]), [0.0; 4], "{method:?}");
            assert_eq!(with.state(), before, "{method:?}, {broken:?}");
            let mixed = with.weights(&[Some(2.0), broken, Some(3.0), broken]);
            assert_eq!(mixed, without.weights(&[Some(2.0), None, Some(3.0), None]), "{method:?}");
            assert_eq!(with.state(), without.state(), "{method:?}");
        }
    }
}

#[test]
fn losses_of_any_size_leave_weights_and_state_usable() {
    for method in methods() {
        for extreme in [0.0, -0.0, f64::MIN_POSITIVE, 1e-300, 1e15, 1e300, f64::MAX, -1.0, f64::MIN] {
            let mut balancer = build(&method);
            for _ in 0..2000 {
                let weights = balancer.weights(&[Some(extreme), Some(1.0), None, Some(extreme)]);
                assert!(
                    weights.iter().all(|w| w.is_finite() && *w >= 0.0),
                    "{method:?}, {extreme}: {weights:?}"
                );
            }
            let text = balancer.state().to_string();
            let state = serde_json::from_str(&text).expect("JSON");
            build(&method).restore(&state).unwrap_or_else(|e| panic!("{method:?}, {extreme}: {e}\n{text}"));
        }
    }
}

/// Saved as JSON text and restored into a fresh balancer at every step, the weights are the same bits.
#[test]
fn a_restored_method_goes_on_bit_for_bit() {
    for method in methods() {
        let mut whole = build(&method);
        let mut parts = build(&method);
        for step in 0..200 {
            let text = parts.state().to_string();
            parts = build(&method);
            parts.restore(&serde_json::from_str(&text).expect("JSON")).expect("its own state");
            let losses = losses(step);
            assert_eq!(
                bits(&whole.weights(&losses)),
                bits(&parts.weights(&losses)),
                "{method:?}, step {step}"
            );
        }
        assert_eq!(whole.state(), parts.state());
    }
}

/// Tasks in another order get the same weights in that order.
#[test]
fn the_order_of_the_tasks_does_not_matter() {
    for method in methods() {
        let order = [2, 0, 3, 1];
        let importance = [1.0, 2.0, 0.5, 1.0];
        let mut straight = build(&method);
        let mut turned =
            method.build(&order.map(|i| TASKS[i]), &order.map(|i| importance[i])).expect("valid");
        for step in 0..50 {
            let losses = losses(step);
            let expected = straight.weights(&losses);
            assert_eq!(turned.weights(&order.map(|i| losses[i])), order.map(|i| expected[i]), "{method:?}");
        }
    }
}

#[test]
fn one_task_is_enough_and_none_is_an_error() {
    for method in [Balancing::default(), Balancing::Uncertainty(Uncertainty::default())] {
        let mut balancer = method.build(&["only"], &[1.0]).expect("valid");
        assert!(balancer.weights(&[Some(0.3)])[0] > 0.0);
        assert_eq!(method.build(&[], &[]).err(), Some(BalanceError::NoTask));
    }
}

#[test]
fn a_foreign_state_is_refused_and_changes_nothing() {
    let check = |method: &Balancing, state: Value, expected: &str| {
        let mut balancer = build(method);
        balancer.weights(&losses(3));
        let before = balancer.state();
        let error = balancer.restore(&state).expect_err("a foreign state").to_string();
        assert!(error.contains(expected), "{error}\nlacks: {expected}");
        assert_eq!(balancer.state(), before);
    };
    for method in methods() {
        check(&method, json!({ "method": "other" }), "it was saved by `other`");
        for state in [json!(null), json!([]), json!("equal"), json!({ "method": 3 })] {
            check(&method, state, "it names no method");
        }
    }
    let uncertainty = Balancing::Uncertainty(Uncertainty::default());
    let good = build(&uncertainty).state();
    let edit = |change: fn(&mut Value)| {
        let mut state = good.clone();
        change(&mut state);
        state
    };
    check(&uncertainty, json!({ "method": "uncertainty" }), "`tasks`");
    check(&uncertainty, edit(|s| s["tasks"][0]["s"] = json!(null)), "`tasks`");
    check(&uncertainty, edit(|s| s["tasks"][0]["s"] = json!(31.0)), "task intent has a number out of range");
    check(&uncertainty, edit(|s| s["tasks"][1]["adam"]["square"] = json!(-1.0)), "task slots has a number");
    check(
        &uncertainty,
        edit(|s| s["tasks"][1]["task"] = json!("slot")),
        "expected intent, slots, polarity, 品詞",
    );
    let last = edit(|s| drop(s["tasks"].as_array_mut().and_then(Vec::pop)));
    check(&uncertainty, last, "it is of the tasks intent, slots, polarity, expected");
}

#[test]
fn settings_outside_their_range_name_their_key() {
    let check = |method: Balancing, importance: &[f64], expected: &str| {
        let error = method.build(&["a", "b"], importance).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some(expected));
    };
    let uncertainty = |initial, learning_rate| Balancing::Uncertainty(Uncertainty { initial, learning_rate });
    check(
        uncertainty(f64::NAN, 0.1),
        &[1.0, 1.0],
        "balance.uncertainty.initial = NaN, expected a number from -30 to 30",
    );
    check(
        uncertainty(0.0, -0.1),
        &[1.0, 1.0],
        "balance.uncertainty.learning_rate = -0.1, expected a number from 0 to 1",
    );
    check(
        Balancing::default(),
        &[1.0, f64::INFINITY],
        "task.b.importance = inf, expected a number from 0 to 1000000000",
    );
    check(
        Balancing::default(),
        &[0.0, 0.0],
        "task.*.importance: every task has weight 0, so nothing would be learned; give at least one a weight above 0",
    );
    check(Balancing::default(), &[1.0], "1 importances for 2 tasks, expected one each");
}

#[test]
fn the_config_reads_as_one_table_a_method() {
    let check = |json: Value, expected: Balancing| {
        assert_eq!(serde_json::from_value::<Balancing>(json.clone()).expect("valid"), expected);
        assert_eq!(serde_json::to_value(&expected).expect("JSON")["static"], json["static"]);
    };
    check(json!({ "equal": {} }), Balancing::default());
    check(json!({ "uncertainty": {} }), Balancing::Uncertainty(Uncertainty::default()));
    check(
        json!({ "uncertainty": { "initial": -0.5 } }),
        Balancing::Uncertainty(Uncertainty { initial: -0.5, learning_rate: 0.01 }),
    );
    let weights = [("a".to_owned(), 2.0)].into();
    check(json!({ "static": { "weights": { "a": 2.0 } } }), Balancing::Static(Static { weights }));
    for bad in [json!({ "equals": {} }), json!({ "equal": { "x": 1 } }), json!({ "static": {} })] {
        serde_json::from_value::<Balancing>(bad.clone()).expect_err(&bad.to_string());
    }
}

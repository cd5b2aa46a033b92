//! What every balancing method must do: every property for every method, with its default settings and with others.

use polytask_balance::{
    ALIASES, BalanceError, Balancer, BalancerConfig, CATALOGUE, CrossGramian, Gramian, Needs, Static,
    StepStatistics, Uncertainty,
};
use serde_json::{Value, json};

const TASKS: [&str; 4] = ["intent", "slots", "polarity", "品詞"];
const IMPORTANCE: [f64; 4] = [1.0, 2.0, 0.5, 1.0];

/// Methods whose documentation says that weights may be negative.
const SIGNED: &[&str] = &["aligned_mtl", "config", "cosmos", "imtl", "imtl_g", "pbi"];
/// Methods that give every task that is present a weight above 0.
const NEVER_ZERO: &[&str] =
    &["equal", "static", "random", "uncertainty", "imtl_l", "gls", "famo", "fairgrad", "nash_mtl", "db_mtl"];

/// Other settings than the default ones, as they are written in a config, so that reading is tested with them.
fn other_settings() -> Vec<BalancerConfig> {
    let rows = [
        json!({ "static": { "weights": { "slots": 0.5, "品詞": 3.0 } } }),
        json!({ "random": { "on": "gradients", "seed": 4294967295u32 } }),
        json!({ "uncertainty": { "initial": -0.5, "learning_rate": 0.3 } }),
        json!({ "imtl_l": { "learning_rate": 0.3 } }),
        json!({ "dwa": { "temperature": 0.01 } }),
        json!({ "stch": { "mu": 0.01, "ideal": -1.0 } }),
        json!({ "stch": { "warmup_epochs": 1 } }),
        json!({ "famo": { "gamma": 0.0, "learning_rate": 1.0 } }),
        json!({ "cosmos": { "lambda": 100.0 } }),
        json!({ "gradnorm": { "alpha": 0.0, "learning_rate": 1.0 } }),
        json!({ "mgda": { "normalize": "l2" } }),
        json!({ "mgda": { "normalize": "loss" } }),
        json!({ "mgda": { "normalize": "loss_l2" } }),
        json!({ "pcgrad": { "seed": 7 } }),
        json!({ "gradvac": { "beta": 0.01, "seed": 3 } }),
        json!({ "cagrad": { "c": 0.0, "rescale": "linear" } }),
        json!({ "cagrad": { "c": 1.5, "rescale": "none" } }),
        json!({ "nash_mtl": { "max_norm": 100.0 } }),
        json!({ "fairgrad": { "alpha": 0.1 } }),
        json!({ "fairgrad": { "alpha": 20.0 } }),
        json!({ "aligned_mtl": { "scale": "median" } }),
        json!({ "aligned_mtl": { "scale": "rmse" } }),
        json!({ "upgrad": { "regularization": 0.0001 } }),
        json!({ "dualproj": { "regularization": 0.01 } }),
        json!({ "db_mtl": { "log_losses": false } }),
        json!({ "db_mtl": { "beta": 0.9, "sigma": 0.5 } }),
        json!({ "modo": { "gamma": 1.0, "rho": 0.0 } }),
        json!({ "sdmgrad": { "lambda": 0.0, "iterations": 1, "momentum": 0.0 } }),
        json!({ "auto_lambda": { "learning_rate": 1.0 } }),
        json!({ "graddrop": { "leak": 0.5, "seed": 2 } }),
        json!({ "moco": { "beta": 1.0, "rho": 1.0 } }),
        json!({ "excess_mtl": { "eta": 100.0 } }),
        json!({ "cr_mogm": { "method": { "uncertainty": {} }, "alpha": 0.5 } }),
        json!({ "cr_mogm": { "method": { "moco": {} } } }),
    ];
    rows.into_iter()
        .map(|row| serde_json::from_value(row.clone()).unwrap_or_else(|e| panic!("{row}: {e}")))
        .collect()
}

fn methods() -> Vec<BalancerConfig> {
    BalancerConfig::all().into_iter().chain(other_settings()).collect()
}

fn build(method: &BalancerConfig) -> Box<dyn Balancer> {
    method.build(&TASKS, &IMPORTANCE).expect("valid")
}

/// Losses of many sizes, some absent, from a fixed rule.
fn losses(step: usize) -> [Option<f64>; 4] {
    std::array::from_fn(|task| {
        let phase = (step * 7 + task * 3) % 11;
        (phase != 0).then(|| 10f64.powi(phase as i32 - 6) * (1.0 + 1.0 / (step + task + 1) as f64))
    })
}

/// Gradients of six numbers a task, in every step others, from a fixed rule; the second is the longest.
fn rows(step: usize) -> [[f64; 6]; 4] {
    let number = |task: usize, k: usize| {
        ((step * 31 + task * 17 + k * 7) as f64 * 1.7).sin() * (1 + task % 2 * 9) as f64
    };
    std::array::from_fn(|task| std::array::from_fn(|k| number(task, k)))
}

/// The weights of a step with all statistics that any method needs, computed from the rows. Buffers start at 0 in every step.
fn one_step(balancer: &mut dyn Balancer, losses: &[Option<f64>], rows: &[[f64; 6]]) -> Vec<f64> {
    let mut own: Vec<Vec<f64>> = rows.iter().map(|row| row.to_vec()).collect();
    if let Some(transform) = balancer.gradient_transform() {
        let mut single: Vec<[f32; 6]> = rows.iter().map(|row| row.map(|x| x as f32)).collect();
        let mut buffers = vec![[0.0; 6]; rows.len()];
        for first in [0, 2, 4] {
            let mut chunk: Vec<&mut [f32]> =
                single.iter_mut().map(|row| &mut row[first..first + 2]).collect();
            let mut kept: Vec<&mut [f32]> =
                buffers.iter_mut().map(|row| &mut row[first..first + 2]).collect();
            transform.transform_chunk(first as u64, losses, &mut chunk, &mut kept);
        }
        own = single.iter().map(|row| row.iter().map(|&x| x.into()).collect()).collect();
    }
    let other: Vec<[f64; 6]> =
        rows.iter().map(|row| std::array::from_fn(|k| 0.8 * row[k] + 0.3 * row[(k + 1) % 6])).collect();
    let own: Vec<&[f64]> = own.iter().map(Vec::as_slice).collect();
    let other: Vec<&[f64]> = other.iter().map(|row| row.as_slice()).collect();
    let validation = [0.7, -0.2, 0.4, -1.0, 0.1, 0.3];
    let products: Vec<f64> =
        rows.iter().map(|row| row.iter().zip(validation).map(|(x, v)| x * v).sum()).collect();
    balancer.weights(&StepStatistics {
        losses,
        gramian: Some(&Gramian::of_rows(&own)),
        cross_gramian: Some(&CrossGramian::of_rows(&own, &other)),
        lookahead: Some(&products),
    })
}

fn weights(balancer: &mut dyn Balancer, losses: &[Option<f64>], index: usize) -> Vec<f64> {
    one_step(balancer, losses, &rows(index)[..losses.len()])
}

fn bits(weights: &[f64]) -> Vec<u64> {
    weights.iter().map(|w| w.to_bits()).collect()
}

/// The method whose weights these are: for a wrapper, the wrapped one.
fn source(method: &BalancerConfig) -> &'static str {
    match method {
        BalancerConfig::CrMogm(wrapper) => source(&wrapper.method),
        plain => plain.name(),
    }
}

#[test]
fn the_catalogue_is_the_family() {
    let names: Vec<&str> = BalancerConfig::all().iter().map(BalancerConfig::name).collect();
    assert_eq!(names, CATALOGUE.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert_eq!(names, ALIASES.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    for (name, source) in CATALOGUE {
        let first = source.lines().next().unwrap_or_default();
        assert!(first.starts_with("//! ") && first.len() > 20, "{name}: {first}");
        for part in ["Formula", "Defaults", "mportance", "Cost", "State", "When to use"] {
            assert!(source.contains(part), "{name} has no {part}");
        }
    }
}

#[test]
fn settings_read_back_as_they_were_written() {
    for method in methods() {
        let json = serde_json::to_value(&method).expect("JSON");
        let keys: Vec<_> = json.as_object().expect("a table").keys().collect();
        assert_eq!(keys, [method.name()], "one table, named after the method");
        assert_eq!(serde_json::from_value::<BalancerConfig>(json).expect("valid"), method);
    }
}

#[test]
fn weights_are_finite_and_an_absent_task_has_none() {
    for method in methods() {
        let mut balancer = build(&method);
        let (signed, never_zero) = (SIGNED.contains(&source(&method)), NEVER_ZERO.contains(&source(&method)));
        for step in 0..300 {
            let losses = losses(step);
            for (weight, loss) in weights(&mut *balancer, &losses, step).iter().zip(losses) {
                assert!(weight.is_finite() && (signed || *weight >= 0.0), "{method:?}: {weight}");
                assert!(loss.is_some() || *weight == 0.0, "{method:?}");
                assert!(loss.is_none() || !never_zero || *weight != 0.0, "{method:?}");
            }
            if step % 40 == 39 {
                balancer.epoch_end();
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
            weights(&mut *with, &losses(1), 1);
            weights(&mut *without, &losses(1), 1);
            let before = with.state();
            assert_eq!(weights(&mut *with, &[broken; 4], 2), [0.0; 4], "{method:?}");
            assert_eq!(with.state(), before, "{method:?}, {broken:?}");
            let mixed = weights(&mut *with, &[Some(2.0), broken, Some(3.0), broken], 3);
            assert_eq!(mixed, weights(&mut *without, &[Some(2.0), None, Some(3.0), None], 3), "{method:?}");
            assert_eq!(with.state(), without.state(), "{method:?}");
        }
    }
}

/// The gradient of an absent task is not looked at, and a broken gradient is an absent one; to the Gramian, zero too.
#[test]
fn absent_and_broken_gradients_change_nothing() {
    for method in methods() {
        let broken = match build(&method).needs() {
            // Only steps whose gradients are finite may go through a method that sees them.
            Needs::Losses | Needs::GradientTransform => continue,
            Needs::Gramian => [f64::NAN, f64::INFINITY, 1e200, 0.0, 1e-170].as_slice(),
            Needs::IndependentHalves => &[f64::NAN, f64::INFINITY, 1e200],
            Needs::Lookahead => &[f64::NAN, f64::INFINITY],
        };
        for &broken in broken {
            let (mut with, mut without) = (build(&method), build(&method));
            weights(&mut *with, &losses(1), 1);
            weights(&mut *without, &losses(1), 1);
            let before = with.state();
            let zeros = one_step(&mut *with, &[Some(1.0); 4], &[[broken; 6]; 4]);
            assert_eq!(zeros, [0.0; 4], "{method:?}");
            assert_eq!(with.state(), before, "{method:?}, {broken}");
            let mut rows = rows(3);
            rows[1] = [broken; 6];
            rows[3] = [broken; 6];
            let found = one_step(&mut *with, &[Some(2.0); 4], &rows);
            let expected = weights(&mut *without, &[Some(2.0), None, Some(2.0), None], 3);
            assert_eq!(found, expected, "{method:?}, {broken}");
            assert_eq!(with.state(), without.state(), "{method:?}");
        }
    }
}

#[test]
fn losses_and_gradients_of_any_size_leave_weights_and_state_usable() {
    for method in methods() {
        let signed = SIGNED.contains(&source(&method));
        for extreme in [0.0, -0.0, f64::MIN_POSITIVE, 1e-300, 1e15, 1e300, f64::MAX, -1.0, f64::MIN] {
            for size in [1.0, 1e-100, 1e-10, 1e15, 1e120] {
                let mut balancer = build(&method);
                for step in 0..60 {
                    let mut rows = rows(step);
                    rows[step % 4] = rows[step % 4].map(|x| x * size);
                    let losses = [Some(extreme), Some(1.0), None, Some(extreme)];
                    let weights = one_step(&mut *balancer, &losses, &rows);
                    assert!(
                        weights.iter().all(|w| w.is_finite() && (signed || *w >= 0.0)),
                        "{method:?}, {extreme}, {size}: {weights:?}"
                    );
                    if step % 20 == 19 {
                        balancer.epoch_end();
                    }
                }
                let text = balancer.state().to_string();
                let state = serde_json::from_str(&text).expect("JSON");
                build(&method)
                    .restore(&state)
                    .unwrap_or_else(|e| panic!("{method:?}, {extreme}: {e}\n{text}"));
            }
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
                bits(&weights(&mut *whole, &losses, step)),
                bits(&weights(&mut *parts, &losses, step)),
                "{method:?}, step {step}"
            );
            if step % 20 == 19 {
                whole.epoch_end();
                parts.epoch_end();
            }
        }
        assert_eq!(whole.state(), parts.state());
    }
}

/// Tasks in another order get the same weights in that order, to the last bit.
#[test]
fn the_order_of_the_tasks_does_not_matter() {
    for method in methods() {
        let order = [2, 0, 3, 1];
        let mut straight = build(&method);
        let mut turned =
            method.build(&order.map(|i| TASKS[i]), &order.map(|i| IMPORTANCE[i])).expect("valid");
        for step in 0..50 {
            let losses = losses(step);
            let expected = weights(&mut *straight, &losses, step);
            let found = one_step(&mut *turned, &order.map(|i| losses[i]), &order.map(|i| rows(step)[i]));
            assert_eq!(found, order.map(|i| expected[i]), "{method:?}");
            if step % 20 == 19 {
                straight.epoch_end();
                turned.epoch_end();
            }
        }
    }
}

#[test]
fn one_task_is_enough_and_none_is_an_error() {
    for method in methods() {
        assert_eq!(method.build(&[], &[]).err(), Some(BalanceError::NoTask));
        if let BalancerConfig::Static(_) = method {
            continue; // Its row names tasks that are not there.
        }
        let mut balancer = method.build(&["only"], &[1.0]).expect("valid");
        for step in 0..50 {
            let weights = weights(&mut *balancer, &[Some(0.3)], step);
            assert!(weights.len() == 1 && weights[0] > 0.0, "{method:?}: {weights:?}");
        }
    }
}

/// A task of importance 0 beside one of importance 1: evaluated, not trained.
#[test]
fn no_importance_is_no_weight() {
    for method in methods() {
        let mut balancer = method.build(&TASKS, &[1.0, 0.0, 2.0, 1.0]).expect("valid");
        for step in 0..30 {
            let weights = weights(&mut *balancer, &[Some(1.0); 4], step);
            assert!(weights[1] == 0.0 && weights.iter().any(|&w| w != 0.0), "{method:?}: {weights:?}");
        }
    }
}

#[test]
fn a_foreign_state_is_refused_and_changes_nothing() {
    let check = |method: &BalancerConfig, state: Value, expected: &str| {
        let mut balancer = build(method);
        weights(&mut *balancer, &losses(3), 3);
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
        let good = build(&method).state();
        if let Some(saved) = good.get("state") {
            let mut other = good.clone();
            other["tasks"][1] = json!("slot");
            check(&method, other, "expected intent, slots, polarity, 品詞");
            for bad in [json!("x"), json!([1]), json!({ "steps": -1 })] {
                let mut other = good.clone();
                other["state"] = bad;
                check(&method, other, "`state`");
            }
            if !saved.is_null() {
                let mut other = good.clone();
                other["state"] = json!(null);
                check(&method, other, "`state`");
            }
        }
    }
    let uncertainty = BalancerConfig::Uncertainty(Uncertainty::default());
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
fn a_number_out_of_range_in_a_state_is_refused() {
    let check = |method: Value, pointer: &str, bad: Value, expected: &str| {
        let method: BalancerConfig = serde_json::from_value(method).expect("valid");
        let mut balancer = build(&method);
        weights(&mut *balancer, &[Some(1.0); 4], 0);
        balancer.epoch_end();
        let mut state = balancer.state();
        *state.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer} in {}", balancer.state())) = bad;
        let error = balancer.restore(&state).expect_err("out of range").to_string();
        assert!(error.contains(expected), "{error}\nlacks: {expected}");
    };
    check(json!({ "gradvac": {} }), "/state/cosines/0/1", json!(1.5), "out of range");
    check(json!({ "gradvac": {} }), "/state/cosines/3", json!([0.0]), "too few");
    check(json!({ "pcgrad": {} }), "/state", json!(-1), "`state`");
    check(json!({ "imtl_l": {} }), "/state/0/value", json!(31.0), "out of range");
    check(json!({ "imtl": {} }), "/state", json!([]), "too few");
    check(json!({ "modo": {} }), "/state/0", json!(0.9), "out of range");
    check(json!({ "moco": {} }), "/state/shares", json!([1.0]), "too few");
    check(json!({ "excess_mtl": {} }), "/state/first/0", json!(-1.0), "out of range");
    check(json!({ "excess_mtl": {} }), "/state/logarithms", json!([0.0]), "too few");
    check(json!({ "sdmgrad": {} }), "/state", json!([1.0]), "too few");
    check(json!({ "auto_lambda": {} }), "/state/0/value", json!(-31.0), "out of range");
    check(json!({ "dwa": {} }), "/state/0/steps", json!(-1), "`state`");
    check(json!({ "dwa": {} }), "/state", json!([]), "too few");
    check(json!({ "stch": {} }), "/state/means", json!([1.0]), "too few");
    check(json!({ "famo": {} }), "/state/last", json!([1.0]), "too few");
    check(json!({ "famo": {} }), "/state/xi/2/adam/square", json!(-1.0), "out of range");
    check(json!({ "gradnorm": {} }), "/state/first_loss/0", json!(0.0), "out of range");
    let wrapped = json!({ "cr_mogm": { "method": { "pcgrad": {} } } });
    check(wrapped.clone(), "/means/0", json!("x"), "`means`");
    check(wrapped.clone(), "/means", json!([1.0]), "too few");
    check(wrapped.clone(), "/tasks/0", json!("x"), "expected intent");
    check(wrapped, "/inner/method", json!("mgda"), "it was saved by `mgda`");
}

#[test]
fn settings_outside_their_range_name_their_key() {
    let check = |method: Value, expected: &str| {
        let method: BalancerConfig = serde_json::from_value(method).expect("readable");
        let error = method.build(&["a", "b"], &[1.0, 1.0]).err().map(|e| e.to_string());
        assert_eq!(error.as_deref(), Some(expected));
    };
    let bad = |name: &str, setting: &str, found: f64, range: &str| {
        let expected = format!("balance.{name}.{setting} = {found}, expected a number {range}");
        check(json!({ name: { setting: found } }), &expected);
    };
    bad("uncertainty", "initial", -31.0, "from -30 to 30");
    bad("uncertainty", "learning_rate", -0.1, "from 0 to 1");
    bad("imtl_l", "learning_rate", 2.0, "from 0 to 1");
    bad("dwa", "temperature", 0.0, "from 0.01 to 1000");
    bad("stch", "mu", 0.0, "from 0.000001 to 1000000");
    bad("stch", "ideal", 1e7, "from -1000000 to 1000000");
    bad("famo", "gamma", -1.0, "from 0 to 1");
    bad("famo", "learning_rate", 2.0, "from 0 to 1");
    bad("cosmos", "lambda", -1.0, "from 0 to 1000000");
    bad("pbi", "theta", -1.0, "from 0 to 1000000");
    bad("gradnorm", "alpha", 11.0, "from 0 to 10");
    bad("gradnorm", "learning_rate", 2.0, "from 0 to 1");
    bad("imtl", "learning_rate", -2.0, "from 0 to 1");
    bad("gradvac", "beta", 1.5, "from 0 to 1");
    bad("cagrad", "c", -0.5, "from 0 to 100");
    bad("nash_mtl", "max_norm", 0.0, "from 0.000001 to 1000000");
    bad("fairgrad", "alpha", 0.0, "from 0.1 to 20");
    bad("upgrad", "regularization", 2.0, "from 0 to 1");
    bad("graddrop", "leak", 2.0, "from 0 to 1");
    bad("moco", "beta", 2.0, "from 0 to 1");
    bad("moco", "gamma", -1.0, "from 0 to 1000");
    bad("moco", "rho", -1.0, "from 0 to 1000");
    bad("excess_mtl", "eta", -1.0, "from 0 to 100");
    bad("db_mtl", "beta", 1.0, "from 0 to 0.9999");
    bad("db_mtl", "sigma", -1.0, "from 0 to 10");
    bad("modo", "gamma", -1.0, "from 0 to 1000");
    bad("modo", "rho", -1.0, "from 0 to 1000");
    bad("sdmgrad", "lambda", -1.0, "from 0 to 1000");
    bad("sdmgrad", "learning_rate", -1.0, "from 0 to 1000");
    bad("sdmgrad", "momentum", 1.0, "from 0 to 0.99");
    bad("auto_lambda", "learning_rate", 2.0, "from 0 to 1");
    bad("dualproj", "regularization", -1.0, "from 0 to 1");
    let wrapped = json!({ "cr_mogm": { "method": { "equal": {} }, "alpha": 1.5 } });
    check(wrapped, "balance.cr_mogm.alpha = 1.5, expected a number from 0 to 1");
    let unknown = json!({ "cr_mogm": { "method": { "static": { "weights": { "c": 1.0 } } } } });
    check(
        unknown,
        "balance.cr_mogm.method.static.weights.c: there is no task of that name, expected one of: a, b",
    );
    let nan = BalancerConfig::Uncertainty(Uncertainty { initial: f64::NAN, ..Uncertainty::default() });
    let error = nan.build(&["a"], &[1.0]).err().map(|e| e.to_string());
    assert_eq!(error.as_deref(), Some("balance.uncertainty.initial = NaN, expected a number from -30 to 30"));
    let importance = |importance: &[f64]| {
        let built = BalancerConfig::default().build(&["a", "b"], importance);
        built.err().map(|e| e.to_string()).unwrap_or_default()
    };
    assert_eq!(
        importance(&[1.0, f64::INFINITY]),
        "task.b.importance = inf, expected a number from 0 to 1000000000"
    );
    assert_eq!(
        importance(&[0.0, 0.0]),
        "task.*.importance: every task has weight 0, so nothing would be learned; give at least one a weight above 0"
    );
    assert_eq!(importance(&[1.0]), "1 importances for 2 tasks, expected one each");
}

#[test]
fn the_config_reads_as_one_table_a_method() {
    let check = |json: Value, expected: BalancerConfig| {
        assert_eq!(serde_json::from_value::<BalancerConfig>(json.clone()).expect("valid"), expected);
        assert_eq!(serde_json::to_value(&expected).expect("JSON")["static"], json["static"]);
    };
    check(json!({ "equal": {} }), BalancerConfig::default());
    check(json!({ "uncertainty": {} }), BalancerConfig::Uncertainty(Uncertainty::default()));
    check(
        json!({ "uncertainty": { "initial": -0.5 } }),
        BalancerConfig::Uncertainty(Uncertainty { initial: -0.5, learning_rate: 0.01 }),
    );
    let weights = [("a".to_owned(), 2.0)].into();
    check(json!({ "static": { "weights": { "a": 2.0 } } }), BalancerConfig::Static(Static { weights }));
    for bad in [
        json!({ "equals": {} }),
        json!({ "equal": { "x": 1 } }),
        json!({ "static": {} }),
        json!({ "cr_mogm": {} }),
        json!({ "random": { "seed": -1 } }),
        json!({ "mgda": { "normalize": "l3" } }),
    ] {
        serde_json::from_value::<BalancerConfig>(bad.clone()).expect_err(&bad.to_string());
    }
}

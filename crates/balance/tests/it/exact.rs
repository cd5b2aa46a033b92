//! Methods against solutions in many digits (`scripts/make_balance_exact_fixtures.py`).

use polytask_balance::{BalancerConfig, Gramian, StepStatistics};
use serde::Deserialize;
use serde_json::{Value, json};

/// Gradients, and FairGrad's answer to them for some alphas.
#[derive(Deserialize)]
struct Problem {
    name: String,
    rows: Vec<Vec<f64>>,
    answers: Vec<Answer>,
}

#[derive(Deserialize)]
struct Answer {
    alpha: f64,
    weights: Vec<f64>,
    direction: Vec<f64>,
}

/// The steps of a run of ExcessMTL.
#[derive(Deserialize)]
struct Run {
    eta: f64,
    steps: Vec<Step>,
}

#[derive(Deserialize)]
struct Step {
    rows: Vec<Vec<f32>>,
    weights: Vec<f64>,
}

fn build(config: Value, tasks: usize) -> Box<dyn polytask_balance::Balancer> {
    let names: Vec<String> = (0..tasks).map(|task| format!("t{task}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let config: BalancerConfig = serde_json::from_value(config).expect("a method");
    config.build(&names, &vec![1.0; tasks]).expect("valid settings")
}

/// `J^T w` of the method's first step.
fn direction(config: Value, rows: &[Vec<f64>]) -> (Vec<f64>, Vec<f64>) {
    let losses = vec![Some(1.0); rows.len()];
    let gramian = Gramian::of_rows(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>());
    let step = StepStatistics { losses: &losses, gramian: Some(&gramian), ..StepStatistics::default() };
    let weights = build(config, rows.len()).weights(&step);
    let entry = |k: usize| rows.iter().zip(&weights).map(|(row, weight)| weight * row[k]).sum();
    let direction = (0..rows[0].len()).map(entry).collect();
    (weights, direction)
}

fn norm(x: impl IntoIterator<Item = f64>) -> f64 {
    x.into_iter().map(|x| x * x).sum::<f64>().sqrt()
}

/// The length of the difference, relative to the exact one; for weights, of their ratios.
fn distance(ours: &[f64], exact: &[f64]) -> f64 {
    norm(ours.iter().zip(exact).map(|(a, b)| a - b)) / norm(exact.iter().copied())
}

/// Where gradients nearly cancel, the direction is what is left of weights many times as long, and with it their rounding.
#[test]
fn fairgrad_is_exact_for_every_alpha() {
    let problems: Vec<Problem> =
        serde_json::from_str(include_str!("../fixtures/fairgrad.json")).expect("problems");
    assert!(problems.len() > 8);
    let mut wrong = Vec::new();
    for Problem { name, rows, answers } in problems {
        for Answer { alpha, weights, direction: exact } in answers {
            let (ours, direction) = direction(json!({"fairgrad": {"alpha": alpha}}), &rows);
            let ratios = norm(ours.iter().zip(&weights).map(|(a, b)| a / b - 1.0));
            let apart = distance(&direction, &exact);
            let most =
                if name.contains("cancel") { if name.contains("1e-4") { 1e-5 } else { 2e-9 } } else { 1e-9 };
            if !(apart < most && ratios < most) {
                wrong.push(format!("{name}, alpha {alpha}: direction {apart:.1e}, weights {ratios:.1e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn excess_mtl_equals_libmtl_step_by_step() {
    let runs: Vec<Run> = serde_json::from_str(include_str!("../fixtures/excess_mtl.json")).expect("runs");
    for Run { eta, steps } in runs {
        let (tasks, length) = (steps[0].rows.len(), steps[0].rows[0].len());
        let mut balancer = build(json!({"excess_mtl": {"eta": eta}}), tasks);
        let mut buffers = vec![vec![0.0f32; length]; tasks];
        for (at, Step { mut rows, weights }) in steps.into_iter().enumerate() {
            let losses = vec![Some(1.0); tasks];
            let mut chunk: Vec<&mut [f32]> = rows.iter_mut().map(Vec::as_mut_slice).collect();
            let mut kept: Vec<&mut [f32]> = buffers.iter_mut().map(Vec::as_mut_slice).collect();
            let transform = balancer.gradient_transform().expect("it sees the gradients");
            transform.transform_chunk(0, &losses, &mut chunk, &mut kept);
            let ours = balancer.weights_from_losses(&losses);
            // The sums of squares are kept in f32.
            let apart = distance(&ours, &weights);
            assert!(apart < 2e-7, "eta {eta}, step {at}: {ours:?}, exactly {weights:?}");
        }
    }
}

/// UPGrad and DualProj promise a direction against no task, however short its gradient is beside the others.
#[test]
fn no_task_is_worked_against_whatever_the_lengths() {
    let problems: Vec<Problem> =
        serde_json::from_str(include_str!("../fixtures/fairgrad.json")).expect("problems");
    for method in ["upgrad", "dualproj"] {
        for Problem { name, rows, .. } in &problems {
            for ratio in [1.0, 30.0, 100.0, 1e3, 1e4] {
                let scaled: Vec<Vec<f64>> = rows
                    .iter()
                    .enumerate()
                    .map(|(task, row)| {
                        row.iter().map(|x| if task % 2 == 0 { x * ratio } else { *x }).collect()
                    })
                    .collect();
                let (_, direction) = direction(json!({method: {}}), &scaled);
                let longest = scaled.iter().map(|row| norm(row.iter().copied())).fold(0.0, f64::max);
                for (task, row) in scaled.iter().enumerate() {
                    let product: f64 = row.iter().zip(&direction).map(|(a, b)| a * b).sum();
                    // Rounding of the projection of the longest gradient.
                    let least = -1e-9 * norm(row.iter().copied()) * norm(direction.iter().copied())
                        - 1e-14 * norm(row.iter().copied()) * longest;
                    assert!(product >= least, "{method}, {name}, ratio {ratio}, task {task}: {product:e}");
                }
            }
        }
    }
}

//! What a step of every method costs, for 8 and for 32 tasks whose gradients are random: the mean over 20 of them, of
//! the fastest of 20 times each, since other programs only ever make a step slower.
//!
//! ```text
//! cargo run --release -p polytask-balance --example timing
//! ```

use polytask_balance::{BalancerConfig, CrossGramian, Gramian, StepStatistics};
use std::time::Instant;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:12} {:>10} {:>10}   microseconds a step, K = 8 and K = 32", "method", 8, 32);
    for method in BalancerConfig::all() {
        let mut micros = Vec::new();
        for tasks in [8, 32] {
            let names: Vec<String> = (0..tasks).map(|i| i.to_string()).collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            let mut balancer = method.build(&names, &vec![1.0; tasks])?;
            let gramians: Vec<Gramian> = (0..20).map(|seed| gramian(seed, tasks)).collect();
            let losses = vec![Some(1.0); tasks];
            let lookahead: Vec<f64> = (0..tasks).map(|i| (i as f64).sin()).collect();
            let products = (0..tasks * tasks).map(|at| gramians[0].at(at / tasks, at % tasks)).collect();
            let cross_gramian = CrossGramian::new(tasks, products).ok_or("not square")?;
            let mut fastest = |gramian| {
                let step = StepStatistics {
                    losses: &losses,
                    gramian: Some(gramian),
                    cross_gramian: Some(&cross_gramian),
                    lookahead: Some(&lookahead),
                };
                let mut time = || {
                    let start = Instant::now();
                    balancer.weights(&step);
                    start.elapsed().as_secs_f64() * 1e6
                };
                (0..20).map(|_| time()).fold(f64::INFINITY, f64::min)
            };
            micros.push(gramians.iter().map(&mut fastest).sum::<f64>() / gramians.len() as f64);
        }
        println!("{:12} {:10.1} {:10.1}", method.name(), micros[0], micros[1]);
    }
    Ok(())
}

/// Of gradients of 64 numbers that conflict in about half of the pairs.
fn gramian(seed: usize, tasks: usize) -> Gramian {
    let number =
        |i: usize, k: usize| (((seed * 8191 + i * 131 + k * 17) as f64 * 12.9898).sin() * 43758.5453).fract();
    let rows: Vec<Vec<f64>> = (0..tasks).map(|i| (0..64).map(|k| number(i, k)).collect()).collect();
    Gramian::of_rows(&rows.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

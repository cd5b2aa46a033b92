//! Every method against TorchJD, or against its formula in PyTorch where TorchJD lacks it
//! (`scripts/make_balance_fixtures.py`).

use polytask_balance::{Balancer, BalancerConfig, CATALOGUE, CrossGramian, Gramian, StepStatistics};
use serde::Deserialize;
use serde_json::Value;

/// Methods without a peer to compare with, and why.
const WITHOUT_PEER: &[(&str, &str)] = &[
    ("random", "every implementation draws other random numbers"),
    ("graddrop", "every implementation draws other random numbers"),
    ("imtl", "TorchJD has its two parts only, `imtl_l` and `imtl_g`"),
    ("auto_lambda", "TorchJD lacks it; the authors and LibMTL estimate the products that it gets here"),
];

#[derive(Deserialize)]
struct Peer {
    name: String,
    method: Value,
    importance: Option<Vec<f64>>,
    tolerance: f64,
    steps: Vec<PeerStep>,
}

/// The input of a step and the peer's result.
#[derive(Deserialize)]
struct PeerStep {
    losses: Option<Vec<f64>>,
    rows: Option<Vec<Vec<f64>>>,
    second: Option<Vec<Vec<f64>>>,
    #[serde(default)]
    epoch_end: bool,
    weights: Option<Vec<f64>>,
    direction: Option<Vec<f64>>,
}

fn peers() -> Vec<Peer> {
    serde_json::from_str(include_str!("../fixtures/peers.json")).expect("peers")
}

fn method(peer: &Peer) -> BalancerConfig {
    serde_json::from_value(peer.method.clone()).unwrap_or_else(|error| panic!("{}: {error}", peer.name))
}

/// The method and the buffers that a trainer keeps for it.
struct OurSide {
    balancer: Box<dyn Balancer>,
    buffers: Vec<Vec<f32>>,
}

impl OurSide {
    fn of(peer: &Peer) -> OurSide {
        let first = &peer.steps[0];
        let tasks = first.rows.as_ref().map_or(first.losses.as_ref().map_or(0, Vec::len), Vec::len);
        let length = first.rows.as_ref().map_or(0, |rows| rows[0].len());
        let names: Vec<String> = (0..tasks).map(|task| format!("t{task}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let importance = peer.importance.clone().unwrap_or(vec![1.0; tasks]);
        let balancer = method(peer).build(&names, &importance).expect("valid settings");
        OurSide { balancer, buffers: vec![vec![0.0; length]; tasks] }
    }

    /// The weights, and the direction if there are gradients.
    fn step(&mut self, input: &PeerStep) -> (Vec<f64>, Vec<f64>) {
        let tasks = self.buffers.len();
        let losses: Vec<Option<f64>> =
            input.losses.clone().unwrap_or(vec![1.0; tasks]).into_iter().map(Some).collect();
        let rows = self.transformed(&losses, input.rows.clone().unwrap_or(vec![Vec::new(); tasks]));
        let second = input.second.clone().unwrap_or(rows.clone());
        let weights = self.balancer.weights(&StepStatistics {
            losses: &losses,
            gramian: Some(&Gramian::of_rows(&slices(&rows))),
            cross_gramian: Some(&CrossGramian::of_rows(&slices(&rows), &slices(&second))),
            lookahead: None,
        });
        if input.epoch_end {
            self.balancer.epoch_end();
        }
        let entry = |k: usize| rows.iter().zip(&weights).map(|(row, weight)| weight * row[k]).sum();
        let direction = (0..rows[0].len()).map(entry).collect();
        (weights, direction)
    }

    /// The gradients after the method's transform, where it has one.
    fn transformed(&mut self, losses: &[Option<f64>], rows: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
        let Some(transform) = self.balancer.gradient_transform() else { return rows };
        let mut single: Vec<Vec<f32>> =
            rows.iter().map(|row| row.iter().map(|&x| x as f32).collect()).collect();
        let mut chunk: Vec<&mut [f32]> = single.iter_mut().map(Vec::as_mut_slice).collect();
        let mut kept: Vec<&mut [f32]> = self.buffers.iter_mut().map(Vec::as_mut_slice).collect();
        transform.transform_chunk(0, losses, &mut chunk, &mut kept);
        single.iter().map(|row| row.iter().map(|&x| x.into()).collect()).collect()
    }
}

fn slices(rows: &[Vec<f64>]) -> Vec<&[f64]> {
    rows.iter().map(Vec::as_slice).collect()
}

/// How far apart they are, relative to the largest of the peer's numbers.
fn relative_difference(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0.0, |largest: f64, x| largest.max(x.abs()));
    ours.iter().zip(theirs).map(|(o, t)| (o - t).abs() / largest).fold(0.0, f64::max)
}

#[test]
fn every_step_equals_its_peer() {
    for peer in peers() {
        let mut our_side = OurSide::of(&peer);
        for (at, step) in peer.steps.iter().enumerate() {
            let (weights, direction) = our_side.step(step);
            let results = [(&step.weights, weights), (&step.direction, direction)];
            assert!(results.iter().any(|(theirs, _)| theirs.is_some()), "{}", peer.name);
            for (theirs, ours) in results {
                let Some(theirs) = theirs else { continue };
                let apart = relative_difference(&ours, theirs);
                assert!(
                    apart <= peer.tolerance,
                    "{}, step {at}: {ours:?}, the peer says {theirs:?}, {apart} apart",
                    peer.name
                );
            }
        }
    }
}

/// So that a new method cannot be forgotten.
#[test]
fn every_method_has_a_peer_or_a_reason() {
    let peers: Vec<&str> = peers().iter().map(|peer| method(peer).name()).collect();
    for (name, _) in CATALOGUE {
        let reason = WITHOUT_PEER.iter().find(|(without, _)| without == name);
        assert_ne!(peers.contains(name), reason.is_some(), "{name}");
    }
}

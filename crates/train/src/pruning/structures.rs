//! The scores of the structures of a matrix, and which of them are still there.

use super::config::PruningScore;
use model::pruning::ColumnGates;
use serde::{Deserialize, Serialize};

/// How much of the moving mean of [`PruningScore::Taylor`] a step leaves as it was: a mean over about twenty steps.
const MEMORY: f64 = 0.95;

/// The structures whose outputs are columns of one matrix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Structures {
    /// Of each its score; that of one which is gone stays what it was.
    pub(crate) scores: Vec<f64>,
    /// Whether each is still there.
    pub(crate) there: Vec<bool>,
}

impl Structures {
    /// All are there, without scores.
    pub(crate) fn new(count: usize) -> Self {
        Structures { scores: vec![0.0; count], there: vec![true; count] }
    }

    /// Takes a step's weights and gradient, before the weights move. With `s` the sum of weight times gradient over a structure's
    /// weights, which is the derivative of the loss by its gate, movement adds `-s` (Sanh et al. 2020, "Movement pruning", section 4, its
    /// learning rate of scores 1; Lagunas et al. 2021, "Block pruning for faster transformers", for the structure as one), and Taylor
    /// moves the mean towards `|s|` (Molchanov et al. 2019, "Importance estimation for neural network pruning", section 3).
    pub(crate) fn observe(
        &mut self,
        score: PruningScore,
        gates: ColumnGates,
        weights: &[f32],
        gradient: &[f32],
        scale: f64,
    ) {
        let found = gates.derivatives(weights, gradient);
        for ((own, there), derivative) in self.scores.iter_mut().zip(&self.there).zip(found) {
            if !there {
                continue;
            }
            let derivative = scale * derivative;
            *own = match score {
                PruningScore::Movement => *own - derivative,
                PruningScore::Taylor => MEMORY * *own + (1.0 - MEMORY) * derivative.abs(),
            };
        }
    }

    /// How many are still there.
    pub(crate) fn left(&self) -> usize {
        self.there.iter().filter(|there| **there).count()
    }

    /// The places of those that are there, rising.
    pub(crate) fn kept(&self) -> Vec<usize> {
        (0..self.there.len()).filter(|at| self.there[*at]).collect()
    }

    /// Lets those with the least scores go until `left` are there; of equal ones the last.
    pub(crate) fn cut(&mut self, left: usize) {
        let mut places = self.kept();
        places.sort_by(|a, b| self.scores[*b].total_cmp(&self.scores[*a]).then(a.cmp(b)));
        for gone in places.into_iter().skip(left) {
            self.there[gone] = false;
        }
    }

    /// Whether it can be the state of so many structures.
    pub(crate) fn fits(&self, count: usize) -> bool {
        let finite = self.scores.iter().all(|score| score.is_finite());
        self.scores.len() == count && self.there.len() == count && self.left() > 0 && finite
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Fixture {
        count: usize,
        width: usize,
        weights: Vec<Vec<f32>>,
        gradients: Vec<Vec<f32>>,
        movement: Vec<f64>,
        taylor: Vec<f64>,
        least: Vec<usize>,
    }

    /// Of `scripts/make_pruning_fixture.py`, which trains a layer with PyTorch.
    #[test]
    fn scores_are_those_of_pytorch() {
        let text = include_str!("../../tests/fixtures/pruning.json");
        let fixture: Fixture = serde_json::from_str(text).unwrap();
        let gates = ColumnGates { parameter: 0, count: fixture.count, width: fixture.width };
        for (score, expected) in
            [(PruningScore::Movement, &fixture.movement), (PruningScore::Taylor, &fixture.taylor)]
        {
            let mut found = Structures::new(fixture.count);
            for (weights, gradient) in fixture.weights.iter().zip(&fixture.gradients) {
                found.observe(score, gates, weights, gradient, 1.0);
            }
            for (found, expected) in found.scores.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6 * expected.abs().max(1e-3), "{found} {expected}");
            }
            if score == PruningScore::Movement {
                found.cut(fixture.count - fixture.least.len());
                let gone: Vec<usize> = (0..fixture.count).filter(|at| !found.there[*at]).collect();
                assert_eq!(gone, fixture.least);
            }
        }
    }

    #[test]
    fn what_is_gone_stays_gone() {
        let gates = ColumnGates { parameter: 0, count: 3, width: 1 };
        let mut of = Structures::new(3);
        of.observe(PruningScore::Movement, gates, &[1.0, 1.0, 1.0], &[1.0, -1.0, 0.0], 0.5);
        assert_eq!(of.scores, [-0.5, 0.5, 0.0]);
        of.cut(2);
        assert_eq!((of.kept(), of.left()), (vec![1, 2], 2));
        of.observe(PruningScore::Movement, gates, &[1.0, 1.0, 1.0], &[-9.0, 2.0, 0.0], 1.0);
        assert_eq!(of.scores, [-0.5, -1.5, 0.0]);
        of.cut(2);
        assert_eq!(of.kept(), [1, 2]);
        of.cut(1);
        assert_eq!(of.kept(), [2]);
        assert!(of.fits(3) && !of.fits(2));
    }
}

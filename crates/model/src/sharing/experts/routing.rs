//! Sparse routing: each token goes through the few experts that a router scores highest.

use crate::cast::{to_f32, to_u32};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use std::ops::Range;

/// Which tokens go through which expert, and how their outputs are put together.
pub(in super::super) struct Routing {
    /// The token of each pair of token and expert, expert after expert.
    pub(in super::super) tokens: Vec<u32>,
    /// The pairs of each expert.
    pub(in super::super) experts: Vec<Range<usize>>,
    /// For each token, and in it for each of its experts, the place of the pair.
    places: Vec<u32>,
    /// `[n, top_k]`: the softmax over the scores of a token's experts.
    weights: Tensor<2>,
}

impl Routing {
    /// Sends each token to the `top_k` experts with the highest of its scores `[n, experts]`, the lower expert where two are equal. With
    /// `balance` above 0 the scores get the gradient of the load-balancing loss too ([`balance_gradient`]).
    pub(in super::super) fn new(
        scores: Tensor<2>,
        top_k: usize,
        balance: f64,
        context: &LayerContext<'_>,
    ) -> Self {
        let [n, experts] = scores.dims();
        let plain = if scores.is_autodiff() { scores.clone().inner() } else { scores.clone() };
        let values: Vec<f32> = plain.into_data().iter::<f32>().collect();
        let chosen: Vec<Vec<usize>> =
            values.chunks(experts.max(1)).map(|scores| highest(scores, top_k)).collect();
        let strength = balance * context.share();
        let scores = match strength > 0.0 && scores.is_autodiff() {
            true => kernels::add_gradient(scores, balance_gradient(&values, &chosen, experts, strength)),
            false => scores,
        };

        let mut of_expert = vec![Vec::new(); experts];
        for (token, experts) in chosen.iter().enumerate() {
            experts.iter().enumerate().for_each(|(slot, expert)| of_expert[*expert].push((token, slot)));
        }
        let (mut tokens, mut places, mut ranges) = (Vec::new(), vec![0; n * top_k], Vec::new());
        for pairs in &of_expert {
            let start = tokens.len();
            for (token, slot) in pairs {
                places[token * top_k + slot] = to_u32(tokens.len());
                tokens.push(to_u32(*token));
            }
            ranges.push(start..tokens.len());
        }
        let picked: Vec<u32> = (0..)
            .zip(&chosen)
            .flat_map(|(token, of)| of.iter().map(move |expert| to_u32(token * experts + expert)))
            .collect();
        let picked = kernels::gather_rows(scores.reshape([n * experts, 1]), &picked).reshape([n, top_k]);
        Routing { tokens, experts: ranges, places, weights: kernels::softmax(picked) }
    }

    /// The weighted sum, for each token, of what its experts gave: `of_pairs` `[pairs, width]`, result `[n, width]`.
    pub(in super::super) fn combine(self, of_pairs: Tensor<2>) -> Tensor<2> {
        let ([n, top_k], width) = (self.weights.dims(), of_pairs.dims()[1]);
        let sorted = kernels::gather_rows(of_pairs, &self.places).reshape([n, top_k * width]);
        kernels::mix(sorted, self.weights, top_k)
    }
}

/// The places of the `k` largest numbers, the largest first, the lower place where two are equal.
fn highest(scores: &[f32], k: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]).then(a.cmp(b)));
    places.truncate(k);
    places
}

/// The load-balancing loss `strength E sum_e f_e P_e` (Fedus et al. 2022, "Switch transformers"): f_e the share of tokens that go
/// through expert e (they add up to `top_k`), P_e the mean of its probability. Its value is least, `strength top_k`, where all are equal.
fn balance(scores: &[f32], chosen: &[Vec<usize>], experts: usize) -> (Vec<f64>, Vec<f64>) {
    let n = chosen.len().max(1) as f64;
    let mut share = vec![0.0; experts];
    chosen.iter().flatten().for_each(|expert| share[*expert] += 1.0 / n);
    (share, scores.chunks(experts.max(1)).flat_map(probabilities).collect())
}

fn probabilities(scores: &[f32]) -> Vec<f64> {
    let most = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = scores.iter().map(|score| f64::from(score - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// The gradient of the load-balancing loss by the scores, where the shares f are taken as constant:
/// `strength E / n p_j (f_j - sum_e f_e p_e)`.
fn balance_gradient(scores: &[f32], chosen: &[Vec<usize>], experts: usize, strength: f64) -> Vec<f32> {
    let (share, probabilities) = balance(scores, chosen, experts);
    let factor = strength * experts as f64 / chosen.len().max(1) as f64;
    let of_token = |p: &[f64]| {
        let mean: f64 = p.iter().zip(&share).map(|(p, f)| p * f).sum();
        p.iter().zip(&share).map(|(p, f)| to_f32(factor * p * (f - mean))).collect::<Vec<f32>>()
    };
    probabilities.chunks(experts.max(1)).flat_map(of_token).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: [f32; 16] =
        [2.0, 1.0, 0.0, -1.0, 0.5, 0.2, 0.1, 0.0, -1.0, 0.0, 3.0, 1.0, 1.0, 1.5, -0.5, 0.0];

    fn chosen(scores: &[f32]) -> Vec<Vec<usize>> {
        scores.chunks(4).map(|scores| highest(scores, 2)).collect()
    }

    fn loss(scores: &[f32], chosen: &[Vec<usize>]) -> f64 {
        let (share, p) = balance(scores, chosen, 4);
        let mean = |expert: usize| p.iter().skip(expert).step_by(4).sum::<f64>() / chosen.len() as f64;
        4.0 * share.iter().enumerate().map(|(expert, f)| f * mean(expert)).sum::<f64>()
    }

    /// MixLoRA's loss in NumPy, checked against the authors' code.
    #[test]
    fn the_loss_is_that_of_the_reference() {
        let chosen = chosen(&SCORES);
        assert_eq!(chosen, [[0, 1], [0, 1], [2, 3], [1, 0]]);
        assert_eq!(balance(&SCORES, &chosen, 4).0, [0.75, 0.75, 0.25, 0.25]);
        assert!((loss(&SCORES, &chosen) - 2.165_918).abs() < 1e-5);
    }

    #[test]
    fn its_gradient_is_that_of_finite_differences() {
        let chosen = chosen(&SCORES);
        let gradient = balance_gradient(&SCORES, &chosen, 4, 1.0);
        for place in 0..SCORES.len() {
            let moved = |by: f32| {
                let mut scores = SCORES;
                scores[place] += by;
                loss(&scores, &chosen)
            };
            let slope = (moved(1e-2) - moved(-1e-2)) / 2e-2;
            assert!((slope - f64::from(gradient[place])).abs() < 1e-4, "{place}");
        }
    }
}

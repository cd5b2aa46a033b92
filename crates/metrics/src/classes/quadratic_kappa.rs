//! Cohen's kappa with quadratic weights: agreement on ordered classes beyond chance; 1 perfect, 0 chance, below worse.
//!
//! Formula: `1 - sum w_ij O_ij / sum w_ij E_ij`, with `w_ij = (i - j)^2`, `O_ij` how often gold class i met predicted
//! class j, and `E_ij = gold(i) predicted(j) / rows` how often it would have by chance. 0 where the denominator is 0:
//! both sides name one and the same class only.
//!
//! When to use: ordered classes where a near miss is better than a wide one (essay scores, ratings).
//!
//! Reference: scikit-learn's `cohen_kappa_score(weights="quadratic")`; Cohen 1968, "Weighted kappa".

/// Quadratic weighted kappa, at most 1; 0 when there are no rows or both sides name the same class only. Classes are their
/// places in the order.
///
/// # Panics
/// When the two differ in length.
pub fn quadratic_kappa(gold: &[u32], predicted: &[u32]) -> f64 {
    assert_eq!(gold.len(), predicted.len(), "one prediction a gold label");
    // sum w_ij E_ij = sum over all pairs of a gold and a predicted row of (g - p)^2 / rows, which takes only sums and squares.
    let sum = |classes: &[u32]| classes.iter().map(|c| i128::from(*c)).sum::<i128>();
    let squares = |classes: &[u32]| classes.iter().map(|c| i128::from(*c).pow(2)).sum::<i128>();
    let rows = gold.len() as i128;
    let by_chance = rows * (squares(gold) + squares(predicted)) - 2 * sum(gold) * sum(predicted);
    let found =
        gold.iter().zip(predicted).map(|(g, p)| (i128::from(*g) - i128::from(*p)).pow(2)).sum::<i128>();
    if by_chance == 0 { 0.0 } else { 1.0 - (rows * found) as f64 / by_chance as f64 }
}

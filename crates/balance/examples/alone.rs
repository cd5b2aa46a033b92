//! Balancing by itself: two least-squares tasks share one parameter; their losses differ by a factor of a hundred.
//!
//! ```text
//! cargo run -p polytask-balance --example alone
//! ```

use polytask_balance::{BalanceError, BalancerConfig, Gramian, NashMtl, StepStatistics, Uncertainty};

const UNIT: f64 = 100.0;

fn main() -> Result<(), BalanceError> {
    let methods = [
        BalancerConfig::default(),
        BalancerConfig::Uncertainty(Uncertainty::default()),
        BalancerConfig::NashMtl(NashMtl::default()),
    ];
    for method in methods {
        let mut balancer = method.build(&["small", "large"], &[1.0, 1.0])?;
        let mut x = 0.0;
        for _ in 0..10_000 {
            // One task wants x = 1, the other x = 2 and measures its error in a smaller unit. The 1.0 is noise that
            // neither can remove.
            let losses = [(x - 1.0f64).powi(2) + 1.0, UNIT * ((x - 2.0f64).powi(2) + 1.0)].map(Some);
            let gradients = [2.0 * (x - 1.0), UNIT * 2.0 * (x - 2.0)];
            // Methods that need losses only ignore the Gramian.
            let gramian = Gramian::of_rows(&gradients.each_ref().map(std::slice::from_ref));
            let weights = balancer.weights(&StepStatistics {
                losses: &losses,
                gramian: Some(&gramian),
                ..StepStatistics::default()
            });
            let direction = weights[0] * gradients[0] + weights[1] * gradients[1];
            x -= 0.01 * direction / (weights[0] + UNIT * weights[1]);
        }
        // Equal weights side with the larger numbers (x near 2), uncertainty weighting finds the middle (x = 1.5), and
        // bargaining stops as soon as one task could only gain what the other loses: anywhere from 1 to 2.
        println!("{:12} x = {x:.3}", method.name());
    }
    Ok(())
}

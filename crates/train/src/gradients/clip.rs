//! Clipping by the global norm: a gradient that is too long is scaled down to the allowed length.

/// The factor that brings a gradient of norm `norm` down to `max_norm`: `min(1, max_norm / (norm + 1e-6))`, as
/// `torch.nn.utils.clip_grad_norm_` has it. `max_norm` = 0 switches clipping off.
/// Paper: Pascanu et al., *On the difficulty of training recurrent neural networks*, ICML 2013.
pub fn factor(norm: f64, max_norm: f64) -> f64 {
    if max_norm > 0.0 { (max_norm / (norm + 1e-6)).min(1.0) } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::factor;

    #[test]
    fn only_long_gradients_are_scaled() {
        assert_eq!(factor(0.5, 1.0), 1.0);
        assert_eq!(factor(4.0, 0.0), 1.0);
        assert!((factor(4.0, 1.0) - 0.25).abs() < 1e-6);
        assert_eq!(factor(0.0, 1.0), 1.0);
    }
}

//! Perplexity: the exponential of the mean negative log-likelihood per token.
//!
//! Formula: `exp(total / tokens)`, where `total` is the negative log-likelihood in nats, summed over all predicted
//! tokens (not a mean of row means). 1 is certainty, the vocabulary size a uniform guess; without predicted tokens it
//! is 1, and where the likelihood is 0 or not a number it is the largest finite number, not infinity. Lower is better.
//!
//! When to use: language models and decoders, always with the same vocabulary: another one splits the same text into
//! other tokens, and the perplexities are not comparable.
//!
//! Reference: Jelinek et al., *Perplexity, a measure of the difficulty of speech recognition tasks*, 1977.

/// The perplexity of `tokens` tokens whose negative log-likelihoods in nats add up to `total`.
pub fn perplexity(total: f64, tokens: usize) -> f64 {
    if tokens == 0 {
        return 1.0;
    }
    let perplexity = (total / tokens as f64).exp();
    if perplexity.is_nan() { f64::MAX } else { perplexity.min(f64::MAX) }
}

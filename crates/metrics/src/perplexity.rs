//! Perplexity: how many tokens a language model hesitates between, on average.
//!
//! Formula: `exp(total / tokens)` of the negative log-likelihood in nats, summed over all tokens that are predicted, not a mean of
//! rows' means. 1 is certain, the size of the vocabulary is a guess; where nothing is predicted it is 1, and where
//! the likelihood is 0 or no number it is the largest number there is, not infinity. Lower is better.
//!
//! When to use: language models and decoders, always with the same vocabulary: another one splits the same text into other tokens,
//! and their perplexities cannot be compared.
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

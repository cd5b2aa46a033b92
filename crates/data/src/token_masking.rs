//! Token masking for masked language models: some tokens of a row are chosen, and most of them are replaced before the model
//! reads the row.
//!
//! Of the `n` tokens of a row that are not special, `n percent / 100` are chosen, rounded, at least one. On average, of ten
//! chosen tokens eight become the mask token, one becomes a token drawn uniformly from the vocabulary, and one stays as it is.
//!
//! Paper: Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers", section 3.1 and appendix A.1.

use rand_chacha::ChaCha8Rng;

use crate::cast::{to_u32, to_usize, whole_part};
use crate::{DataError, NO_WORD_ID, Tokenizer, random};

/// In [`crate::Pack::masked_labels`], a token that was not chosen.
pub const NOT_MASKED: u32 = u32::MAX;

/// The names of mask tokens.
const MASKS: [&str; 2] = ["[MASK]", "<mask>"];

/// How the tokens of a view are masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenMasking {
    percent: u32,
    mask: u32,
    vocabulary: u64,
}

impl TokenMasking {
    /// Masks `percent` of the tokens of each row, with the mask token of the tokenizer.
    ///
    /// # Errors
    /// When the tokenizer has no mask token.
    pub fn new(percent: u32, tokenizer: &Tokenizer) -> Result<TokenMasking, DataError> {
        let mask = tokenizer.mask().ok_or_else(|| DataError::Tokenizer {
            path: None,
            reason: format!("has no mask token ({}), which masking needs", MASKS.join(" or ")),
        })?;
        Ok(TokenMasking { percent, mask, vocabulary: tokenizer.vocabulary() as u64 })
    }

    /// Masks tokens of a row in `ids`, and returns the original id of each chosen token, [`NOT_MASKED`] for the others. Tokens
    /// without a word id are special and never chosen.
    pub(crate) fn mask(&self, ids: &mut [u32], word_ids: &[u32], rng: &mut ChaCha8Rng) -> Vec<u32> {
        let mut labels = vec![NOT_MASKED; ids.len()];
        let mut chosen: Vec<usize> = (0..ids.len()).filter(|token| word_ids[*token] != NO_WORD_ID).collect();
        random::shuffle(rng, &mut chosen);
        let count = chosen.len() as f64 * f64::from(self.percent) / 100.0;
        chosen.truncate(whole_part(count.round()).max(1));
        chosen.sort_unstable();
        for token in chosen {
            labels[token] = ids[token];
            match random::uniform_below(rng, 10) {
                0..8 => ids[token] = self.mask,
                8 => ids[token] = to_u32(to_usize(random::uniform_below(rng, self.vocabulary))),
                _ => {}
            }
        }
        labels
    }
}

impl Tokenizer {
    /// The id of the mask token, if there is one.
    pub fn mask(&self) -> Option<u32> {
        MASKS.iter().find_map(|token| self.id_of(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: u32 = 4;

    fn mask(percent: u32, tokens: usize, seed: u64) -> (Vec<u32>, Vec<u32>) {
        let mut ids: Vec<u32> = (0..tokens as u32).map(|i| 100 + i).collect();
        // The first and the last token are special.
        let last = tokens - 1;
        let word_ids: Vec<u32> =
            (0..tokens).map(|i| if i == 0 || i == last { NO_WORD_ID } else { i as u32 - 1 }).collect();
        let masking = TokenMasking { percent, mask: MASK, vocabulary: 50 };
        let labels = masking.mask(&mut ids, &word_ids, &mut random::stream(seed, "hidden tokens", 0));
        (ids, labels)
    }

    #[test]
    fn the_percentage_is_chosen_and_none_is_special() {
        for (percent, tokens, expected) in
            [(15, 102, 15), (15, 12, 2), (15, 3, 1), (100, 7, 5), (1, 20, 1), (15, 2, 0)]
        {
            let (ids, labels) = mask(percent, tokens, 1);
            assert_eq!(
                labels.iter().filter(|token| **token != NOT_MASKED).count(),
                expected,
                "{percent} {tokens}"
            );
            assert_eq!([labels[0], labels[tokens - 1]], [NOT_MASKED; 2]);
            for (i, (id, label)) in ids.iter().zip(&labels).enumerate() {
                let was = 100 + i as u32;
                assert!(*label == was || (*label == NOT_MASKED && *id == was), "what was not chosen stays");
            }
        }
    }

    #[test]
    fn eight_of_ten_are_masked_one_is_another_and_one_stays() {
        let (mut masked, mut stayed, mut all) = (0, 0, 0);
        let mut positions = vec![0; 102];
        for seed in 0..1000 {
            let (ids, labels) = mask(15, 102, seed);
            let chosen = ids.iter().zip(labels).enumerate().filter(|(_, (_, label))| *label != NOT_MASKED);
            for (i, (id, label)) in chosen {
                masked += usize::from(*id == MASK);
                stayed += usize::from(*id == label);
                all += 1;
                positions[i] += 1;
                assert!(*id < 50 || *id == label);
            }
        }
        assert_eq!(all, 15_000);
        // 12,000 + 30 (of 50 random tokens one is the mask) and 1,500 expected; standard deviations 49 and 37.
        assert!((11_830..12_230).contains(&masked) && (1_350..1_650).contains(&stayed), "{masked} {stayed}");
        // 150 each expected, standard deviation 11.
        assert!(positions[1..101].iter().all(|n| (100..200).contains(n)), "{positions:?}");
    }

    #[test]
    fn a_seed_masks_the_same_again() {
        assert_eq!(mask(15, 50, 3), mask(15, 50, 3));
        assert_ne!(mask(15, 50, 3).1, mask(15, 50, 4).1);
    }
}

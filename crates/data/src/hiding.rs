//! Tokens that a masked language model has to find: some tokens of a row are chosen, and most of them are replaced before the
//! model reads the row.
//!
//! Of the `n` tokens of a row that are not special, `n percent / 100` are chosen, rounded, at least one. Of ten chosen tokens on
//! average eight become the mask token, one a token drawn from the whole vocabulary, and one stays as it is.
//!
//! Paper: Devlin et al. 2019, "BERT: pre-training of deep bidirectional transformers", section 3.1 and appendix A.1.

use rand_chacha::ChaCha8Rng;

use crate::{DataError, NO_WORD, Tokenizer, random};

/// In [`crate::Pack::hidden`], a token that was not chosen.
pub const SHOWN: u32 = u32::MAX;

/// The names that mask tokens have.
const MASKS: [&str; 2] = ["[MASK]", "<mask>"];

/// How the tokens of a view are hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hiding {
    percent: u32,
    mask: u32,
    vocabulary: u64,
}

impl Hiding {
    /// Hides so many percent of the tokens, with the mask token of the tokenizer.
    ///
    /// # Errors
    /// When the tokenizer has no mask token.
    pub fn new(percent: u32, tokenizer: &Tokenizer) -> Result<Hiding, DataError> {
        let mask = tokenizer.mask().ok_or_else(|| DataError::Tokenizer {
            path: None,
            reason: format!("has no mask token ({}), with which tokens could be hidden", MASKS.join(" or ")),
        })?;
        Ok(Hiding { percent, mask, vocabulary: tokenizer.vocabulary() as u64 })
    }

    /// Hides tokens of a row: changes `ids`, and gives for each token what it was, or [`SHOWN`]. `words` tells special tokens.
    pub(crate) fn hide(&self, ids: &mut [u32], words: &[u32], rng: &mut ChaCha8Rng) -> Vec<u32> {
        let mut hidden = vec![SHOWN; ids.len()];
        let mut chosen: Vec<usize> = (0..ids.len()).filter(|token| words[*token] != NO_WORD).collect();
        random::shuffle(rng, &mut chosen);
        let share = chosen.len() as f64 * f64::from(self.percent) / 100.0;
        chosen.truncate((share.round() as usize).max(1));
        chosen.sort_unstable();
        for token in chosen {
            hidden[token] = ids[token];
            match random::below(rng, 10) {
                0..8 => ids[token] = self.mask,
                8 => ids[token] = random::below(rng, self.vocabulary) as u32,
                _ => {}
            }
        }
        hidden
    }
}

impl Tokenizer {
    /// The token that stands for hidden ones, if there is one.
    pub fn mask(&self) -> Option<u32> {
        MASKS.iter().find_map(|token| self.id(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MASK: u32 = 4;

    fn hide(percent: u32, tokens: usize, seed: u64) -> (Vec<u32>, Vec<u32>) {
        let mut ids: Vec<u32> = (0..tokens as u32).map(|i| 100 + i).collect();
        // The first and the last token are special.
        let last = tokens - 1;
        let words: Vec<u32> =
            (0..tokens).map(|i| if i == 0 || i == last { NO_WORD } else { i as u32 - 1 }).collect();
        let hiding = Hiding { percent, mask: MASK, vocabulary: 50 };
        let hidden = hiding.hide(&mut ids, &words, &mut random::stream(seed, "hidden tokens", 0));
        (ids, hidden)
    }

    #[test]
    fn as_many_are_chosen_as_the_share_says_and_none_is_special() {
        for (percent, tokens, expected) in
            [(15, 102, 15), (15, 12, 2), (15, 3, 1), (100, 7, 5), (1, 20, 1), (15, 2, 0)]
        {
            let (ids, hidden) = hide(percent, tokens, 1);
            assert_eq!(
                hidden.iter().filter(|token| **token != SHOWN).count(),
                expected,
                "{percent} {tokens}"
            );
            assert_eq!([hidden[0], hidden[tokens - 1]], [SHOWN; 2]);
            for (i, (id, hidden)) in ids.iter().zip(&hidden).enumerate() {
                let was = 100 + i as u32;
                assert!(*hidden == was || (*hidden == SHOWN && *id == was), "what is shown stays");
            }
        }
    }

    #[test]
    fn eight_of_ten_are_masked_one_is_another_and_one_stays() {
        let (mut masked, mut stayed, mut all) = (0, 0, 0);
        let mut places = vec![0; 102];
        for seed in 0..1000 {
            let (ids, hidden) = hide(15, 102, seed);
            for (i, (id, hidden)) in ids.iter().zip(hidden).enumerate().filter(|(_, (_, h))| *h != SHOWN) {
                masked += usize::from(*id == MASK);
                stayed += usize::from(*id == hidden);
                all += 1;
                places[i] += 1;
                assert!(*id < 50 || *id == hidden);
            }
        }
        assert_eq!(all, 15_000);
        // 12,000 + 30 (of 50 random tokens one is the mask) and 1,500 expected; standard deviations 49 and 37.
        assert!((11_830..12_230).contains(&masked) && (1_350..1_650).contains(&stayed), "{masked} {stayed}");
        // 150 each expected, standard deviation 11.
        assert!(places[1..101].iter().all(|n| (100..200).contains(n)), "{places:?}");
    }

    #[test]
    fn a_seed_hides_the_same_again() {
        assert_eq!(hide(15, 50, 3), hide(15, 50, 3));
        assert_ne!(hide(15, 50, 3).1, hide(15, 50, 4).1);
    }
}

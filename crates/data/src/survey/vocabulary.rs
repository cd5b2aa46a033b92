//! Which tokens occur, and how many of another corpus's tokens that covers.

use crate::Encoded;

/// How often each token occurs in some rows, special tokens aside.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    counts: Vec<usize>,
}

impl Vocabulary {
    /// The tokens of all rows but those in `special`, which every row has.
    pub fn of(encoded: &Encoded, special: &[u32]) -> Vocabulary {
        let mut counts = vec![0; encoded.ids.iter().max().map_or(0, |id| *id as usize + 1)];
        encoded.ids.iter().for_each(|id| counts[*id as usize] += 1);
        special.iter().for_each(|id| counts.get_mut(*id as usize).into_iter().for_each(|count| *count = 0));
        Vocabulary { counts }
    }

    /// Different tokens.
    pub fn types(&self) -> usize {
        self.counts.iter().filter(|count| **count > 0).count()
    }

    /// Tokens in all.
    pub fn tokens(&self) -> usize {
        self.counts.iter().sum()
    }

    /// Jaccard's index: of the different tokens of either, the share that both have, 0 to 1; 0 where there are none.
    pub fn jaccard(&self, other: &Vocabulary) -> f64 {
        let both = self.counts.iter().zip(&other.counts).filter(|(a, b)| **a > 0 && **b > 0).count();
        both as f64 / (self.types() + other.types() - both).max(1) as f64
    }

    /// The share of another's tokens, each as often as it occurs there, that occur here, too, 0 to 1; `None` where the other
    /// has none.
    pub fn covers(&self, other: &Vocabulary) -> Option<f64> {
        let known = |(id, _): &(usize, &usize)| self.counts.get(*id).is_some_and(|count| *count > 0);
        let covered: usize = other.counts.iter().enumerate().filter(known).map(|(_, count)| count).sum();
        let tokens = other.tokens();
        (tokens > 0).then(|| covered as f64 / tokens as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vocabulary(ids: &[u32]) -> Vocabulary {
        let encoded = Encoded { ids: ids.to_vec(), ..Encoded::default() };
        Vocabulary::of(&encoded, &[0, 9])
    }

    #[test]
    fn types_and_tokens_that_two_have() {
        let (a, b) = (vocabulary(&[0, 1, 1, 2, 9]), vocabulary(&[0, 2, 2, 2, 3, 9]));
        assert_eq!((a.types(), a.tokens(), b.types(), b.tokens()), (2, 3, 2, 4));
        assert!((a.jaccard(&b) - 1.0 / 3.0).abs() < 1e-12);
        assert_eq!((a.covers(&b), b.covers(&a)), (Some(0.75), Some(1.0 / 3.0)));
        assert_eq!((a.jaccard(&a), a.covers(&a)), (1.0, Some(1.0)));
    }

    #[test]
    fn nothing_covers_nothing() {
        let (none, some) = (vocabulary(&[]), vocabulary(&[4]));
        assert_eq!((none.jaccard(&none), none.covers(&none), some.covers(&none)), (0.0, None, None));
        assert_eq!((none.jaccard(&some), none.covers(&some)), (0.0, Some(0.0)));
        assert_eq!(vocabulary(&[0, 9]).types(), 0);
    }
}

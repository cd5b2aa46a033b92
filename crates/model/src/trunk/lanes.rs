//! Lanes: which tokens of a pack go through the trunk with which task's private parameters.
//!
//! With hard sharing there are none. A sharing scheme with private parameters ([`crate::LanePolicy::PerTask`]) gets a pack whose rows
//! are ordered by task; a row that several tasks label is there once for each. Products with shared weights run over all tokens
//! at once, those with private weights over the tokens of their lane.

use std::ops::Range;

/// The tokens of one task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The task.
    pub task: String,
    /// Its tokens in the pack.
    pub tokens: Range<usize>,
}

/// The lanes of a pack, one after the other. Empty: no token has private parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lanes(Vec<Lane>);

impl Lanes {
    /// No lanes.
    pub const NONE: &'static Lanes = &Lanes(Vec::new());

    /// Lanes of these tasks, one after the other from token 0 on, with so many tokens each. Empty ones are left out.
    pub fn new(lengths: impl IntoIterator<Item = (String, usize)>) -> Self {
        let mut end = 0;
        let lane = |(task, length): (String, usize)| {
            end += length;
            Lane { task, tokens: end - length..end }
        };
        Lanes(lengths.into_iter().filter(|(_, length)| *length > 0).map(lane).collect())
    }

    /// The lanes, in the order of their tokens.
    pub fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.0.iter()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lanes of a chunk: tokens `range` of the pack, counted from its beginning.
    pub fn chunk(&self, range: &Range<usize>) -> Lanes {
        let clip = |token: usize| token.clamp(range.start, range.end) - range.start;
        self.map(|tokens| clip(tokens.start)..clip(tokens.end))
    }

    /// The lanes among selected tokens, given by their rising indices in the pack.
    pub fn select(&self, tokens: &[u32]) -> Lanes {
        let at = |token: usize| tokens.partition_point(|selected| (*selected as usize) < token);
        self.map(|lane| at(lane.start)..at(lane.end))
    }

    fn map(&self, to: impl Fn(&Range<usize>) -> Range<usize>) -> Lanes {
        let lane = |lane: &Lane| Lane { task: lane.task.clone(), tokens: to(&lane.tokens) };
        Lanes(self.0.iter().map(lane).filter(|lane| !lane.tokens.is_empty()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(lanes: &Lanes) -> Vec<(&str, Range<usize>)> {
        lanes.iter().map(|lane| (lane.task.as_str(), lane.tokens.clone())).collect()
    }

    #[test]
    fn lanes_lie_end_to_end_and_follow_chunks_and_selections() {
        let lanes = Lanes::new([("a".into(), 3), ("b".into(), 0), ("c".into(), 4)]);
        assert_eq!(ranges(&lanes), [("a", 0..3), ("c", 3..7)]);
        assert_eq!(ranges(&lanes.chunk(&(2..5))), [("a", 0..1), ("c", 1..3)]);
        assert_eq!(ranges(&lanes.chunk(&(4..6))), [("c", 0..2)]);
        assert_eq!(ranges(&lanes.select(&[1, 2, 3, 6])), [("a", 0..2), ("c", 2..4)]);
        assert_eq!(ranges(&lanes.select(&[6])), [("c", 0..1)]);
    }
}

//! The lattice of all segmentations of a word.

use std::collections::HashMap;

use super::Token;
use crate::cast::to_u32;

/// The tokens by their characters.
pub(super) struct Trie {
    children: HashMap<(u32, char), u32>,
    /// The token that ends at a node.
    ends: Vec<Option<u32>>,
}

impl Trie {
    pub(super) fn of(pieces: &[Token]) -> Self {
        let mut trie = Trie { children: HashMap::new(), ends: vec![None] };
        for (id, piece) in pieces.iter().enumerate() {
            let mut node = 0;
            for c in &piece.text {
                let next = to_u32(trie.ends.len());
                node = *trie.children.entry((node, *c)).or_insert(next);
                if node == next {
                    trie.ends.push(None);
                }
            }
            trie.ends[node as usize] = Some(to_u32(id));
        }
        trie
    }

    /// The tokens that are prefixes of a text, and their lengths, the shortest first.
    fn prefixes(&self, text: &[char]) -> impl Iterator<Item = (usize, u32)> {
        let walk = text.iter().scan(0, |node, c| {
            *node = *self.children.get(&(*node, *c))?;
            Some(self.ends[*node as usize])
        });
        walk.enumerate().filter_map(|(i, id)| Some((i + 1, id?)))
    }
}

/// A token at a position in a word.
#[derive(Debug, Clone, Copy)]
struct Edge {
    from: usize,
    to: usize,
    id: u32,
    score: f64,
}

/// The lattice of a word: the tokens that it can be segmented into. Each of its characters is a token.
pub(super) struct Segmentation {
    length: usize,
    /// Sorted by start position.
    edges: Vec<Edge>,
}

impl Segmentation {
    pub(super) fn of(trie: &Trie, pieces: &[Token], word: &[char]) -> Self {
        let mut edges = Vec::new();
        for from in 0..word.len() {
            let here = trie.prefixes(&word[from..]);
            edges.extend(here.map(|(length, id)| Edge {
                from,
                to: from + length,
                id,
                score: pieces[id as usize].score,
            }));
        }
        Segmentation { length: word.len(), edges }
    }

    /// Adds the expected count of each token in `n` occurrences of the word (forward-backward), and returns the logarithm of the
    /// word's probability.
    pub(super) fn expected_counts(&self, n: f64, mut add: impl FnMut(u32, f64)) -> f64 {
        let mut forward = vec![f64::NEG_INFINITY; self.length + 1];
        let mut backward = forward.clone();
        (forward[0], backward[self.length]) = (0.0, 0.0);
        for edge in &self.edges {
            forward[edge.to] = log_add_exp(forward[edge.to], forward[edge.from] + edge.score);
        }
        for edge in self.edges.iter().rev() {
            backward[edge.from] = log_add_exp(backward[edge.from], edge.score + backward[edge.to]);
        }
        let whole = forward[self.length];
        for edge in &self.edges {
            add(edge.id, n * (forward[edge.from] + edge.score + backward[edge.to] - whole).exp());
        }
        whole
    }

    /// The tokens of the most likely segmentation (Viterbi), without one of them if given; among equals the one with the shorter
    /// tokens at the end.
    pub(super) fn best(&self, without: Option<u32>) -> Vec<u32> {
        let mut best: Vec<Option<(f64, Edge)>> = vec![None; self.length + 1];
        for edge in self.edges.iter().filter(|edge| Some(edge.id) != without) {
            let prefix = best[edge.from].map_or(0.0, |(score, _)| score);
            let score = prefix + edge.score;
            if best[edge.to].is_none_or(|(most, _)| score >= most) {
                best[edge.to] = Some((score, *edge));
            }
        }
        let mut ids = Vec::new();
        let mut end = self.length;
        while let Some((_, edge)) = best[end] {
            ids.push(edge.id);
            end = edge.from;
        }
        ids.reverse();
        ids
    }
}

/// `ln(exp(x) + exp(y))`.
fn log_add_exp(x: f64, y: f64) -> f64 {
    let (less, more) = if x < y { (x, y) } else { (y, x) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}

//! All ways to split a word into pieces.

use std::collections::HashMap;

use super::Piece;

/// The pieces by their characters.
pub(super) struct Trie {
    children: HashMap<(u32, char), u32>,
    /// The piece that ends at a node.
    ends: Vec<Option<u32>>,
}

impl Trie {
    pub(super) fn of(pieces: &[Piece]) -> Self {
        let mut trie = Trie { children: HashMap::new(), ends: vec![None] };
        for (id, piece) in pieces.iter().enumerate() {
            let mut node = 0;
            for c in &piece.text {
                let next = trie.ends.len() as u32;
                node = *trie.children.entry((node, *c)).or_insert(next);
                if node == next {
                    trie.ends.push(None);
                }
            }
            trie.ends[node as usize] = Some(id as u32);
        }
        trie
    }

    /// The pieces that a text begins with, and their lengths, the shortest first.
    fn prefixes(&self, text: &[char]) -> impl Iterator<Item = (usize, u32)> {
        let walk = text.iter().scan(0, |node, c| {
            *node = *self.children.get(&(*node, *c))?;
            Some(self.ends[*node as usize])
        });
        walk.enumerate().filter_map(|(i, id)| Some((i + 1, id?)))
    }
}

/// A piece at a place in a word.
#[derive(Debug, Clone, Copy)]
struct Edge {
    from: usize,
    to: usize,
    id: u32,
    score: f64,
}

/// The pieces that a word can be split into. Every one of its characters is a piece.
pub(super) struct Split {
    length: usize,
    /// By where they begin, rising.
    edges: Vec<Edge>,
}

impl Split {
    pub(super) fn of(trie: &Trie, pieces: &[Piece], word: &[char]) -> Self {
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
        Split { length: word.len(), edges }
    }

    /// Tells how often each piece is expected in `n` words, and gives the logarithm of the word's probability.
    pub(super) fn expect(&self, n: f64, mut add: impl FnMut(u32, f64)) -> f64 {
        let mut before = vec![f64::NEG_INFINITY; self.length + 1];
        let mut behind = before.clone();
        (before[0], behind[self.length]) = (0.0, 0.0);
        for edge in &self.edges {
            before[edge.to] = plus(before[edge.to], before[edge.from] + edge.score);
        }
        for edge in self.edges.iter().rev() {
            behind[edge.from] = plus(behind[edge.from], edge.score + behind[edge.to]);
        }
        let whole = before[self.length];
        for edge in &self.edges {
            add(edge.id, n * (before[edge.from] + edge.score + behind[edge.to] - whole).exp());
        }
        whole
    }

    /// The pieces of the likeliest split, without one of them if asked; of equals the one with the shorter pieces at the end.
    pub(super) fn best(&self, without: Option<u32>) -> Vec<u32> {
        let mut best: Vec<Option<(f64, Edge)>> = vec![None; self.length + 1];
        for edge in self.edges.iter().filter(|edge| Some(edge.id) != without) {
            let before = best[edge.from].map_or(0.0, |(score, _)| score);
            let score = before + edge.score;
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
fn plus(x: f64, y: f64) -> f64 {
    let (less, more) = if x < y { (x, y) } else { (y, x) };
    if less == f64::NEG_INFINITY { more } else { more + (less - more).exp().ln_1p() }
}

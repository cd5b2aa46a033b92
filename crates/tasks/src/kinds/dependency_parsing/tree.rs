//! The dependency tree with the highest score: a maximum spanning arborescence with a single root (Chu and Liu 1965;
//! Edmonds 1967; McDonald et al. 2005).

/// The lower bound of scores; NaN counts as this.
const LEAST: f64 = -1e4;

/// The heads of words `1..=n` in the tree of highest score, in which the root, node 0, has exactly one dependent.
///
/// `scores` is `[n, n + 1]`: row `d - 1` holds, for word `d`, the score of each head, at most 0 (logarithms of
/// probabilities). `O(n^3)` at worst, `O(n^2)` memory; every tie is broken in favour of the lower head.
pub(crate) fn heads(scores: &[f64], n: usize) -> Vec<usize> {
    Graph::new(scores, n).solve()
}

/// The arcs that are left to choose from. Where a cycle of chosen arcs is found, its nodes become one, which goes by the number
/// of the first of them.
struct Graph {
    /// Nodes, the root among them.
    nodes: usize,
    /// `[dependent, head]`
    scores: Vec<f64>,
    /// Which nodes still stand for themselves, or for a cycle.
    alive: Vec<bool>,
    cycles: Vec<Cycle>,
}

/// A cycle that became one node.
struct Cycle {
    node: usize,
    /// Its nodes, each with its head inside the cycle.
    members: Vec<(usize, usize)>,
    /// Per node outside: which member takes the arc that comes from there.
    enter: Vec<usize>,
    /// Per node outside: which member the arc to there comes from.
    leave: Vec<usize>,
}

impl Graph {
    fn new(scores: &[f64], n: usize) -> Self {
        let nodes = n + 1;
        assert_eq!(scores.len(), n * nodes, "a score for each word and head");
        // A second arc from the root costs more than any other choice could gain. So the best tree has one.
        let fine = (LEAST.abs() + 1.0) * nodes as f64;
        let score = |dependent: usize, head: usize| {
            let score = scores[(dependent - 1) * nodes + head];
            let score = if score.is_nan() { LEAST } else { score.clamp(LEAST, 0.0) };
            match head {
                0 => score - fine,
                _ if head == dependent => f64::NEG_INFINITY,
                _ => score,
            }
        };
        let mut all = vec![f64::NEG_INFINITY; nodes * nodes];
        for dependent in 1..nodes {
            (0..nodes).for_each(|head| all[dependent * nodes + head] = score(dependent, head));
        }
        Graph { nodes, scores: all, alive: vec![true; nodes], cycles: Vec::new() }
    }

    fn score(&self, dependent: usize, head: usize) -> f64 {
        self.scores[dependent * self.nodes + head]
    }

    fn solve(mut self) -> Vec<usize> {
        let mut heads = self.best_heads();
        while let Some(members) = self.cycle(&heads) {
            self.contract(members, &heads);
            heads = self.best_heads();
        }
        for Cycle { node, members, enter, leave } in self.cycles.into_iter().rev() {
            let above = heads[node];
            let entered = enter[above];
            let outside: Vec<usize> =
                (1..self.nodes).filter(|v| self.alive[*v] && *v != node && heads[*v] == node).collect();
            outside.into_iter().for_each(|v| heads[v] = leave[v]);
            for (member, head) in members {
                self.alive[member] = true;
                heads[member] = if member == entered { above } else { head };
            }
        }
        heads.drain(1..).collect()
    }

    /// The best head of each node that is there, by itself.
    fn best_heads(&self) -> Vec<usize> {
        let best = |dependent: usize| {
            let others = (0..self.nodes).filter(|head| self.alive[*head] && *head != dependent);
            let best = |best: Option<usize>, head: usize| match best {
                Some(known) if self.score(dependent, head) <= self.score(dependent, known) => Some(known),
                _ => Some(head),
            };
            others.fold(None, best).unwrap_or(0)
        };
        (0..self.nodes).map(|node| if node > 0 && self.alive[node] { best(node) } else { 0 }).collect()
    }

    /// The nodes of a cycle, if there is one, from its lowest on.
    fn cycle(&self, heads: &[usize]) -> Option<Vec<usize>> {
        // Which walk came by a node last; 0 stands for none, and the root ends every walk.
        let mut walk_of = vec![0; self.nodes];
        for start in (1..self.nodes).filter(|node| self.alive[*node]) {
            let mut at = start;
            while at != 0 && walk_of[at] == 0 {
                walk_of[at] = start;
                at = heads[at];
            }
            if at != 0 && walk_of[at] == start {
                let mut members = vec![at];
                while heads[members[members.len() - 1]] != at {
                    members.push(heads[members[members.len() - 1]]);
                }
                members.sort_unstable();
                return Some(members);
            }
        }
        None
    }

    /// Makes one node of a cycle. Its arcs from outside cost what they make the cycle give up.
    fn contract(&mut self, members: Vec<usize>, heads: &[usize]) {
        let node = members[0];
        let mut cycle =
            Cycle { node, members: Vec::new(), enter: vec![node; self.nodes], leave: vec![node; self.nodes] };
        let inner: Vec<f64> = members.iter().map(|member| self.score(*member, heads[*member])).collect();
        members.iter().for_each(|member| self.alive[*member] = false);
        let outside: Vec<usize> = (0..self.nodes).filter(|v| self.alive[*v]).collect();
        for v in outside {
            let (mut enter, mut leave) = ((node, f64::NEG_INFINITY), (node, f64::NEG_INFINITY));
            for (member, inner) in members.iter().zip(&inner) {
                let (from, to) = (self.score(*member, v) - inner, self.score(v, *member));
                enter = if from > enter.1 { (*member, from) } else { enter };
                leave = if to > leave.1 { (*member, to) } else { leave };
            }
            (cycle.enter[v], cycle.leave[v]) = (enter.0, leave.0);
            self.scores[node * self.nodes + v] = enter.1;
            self.scores[v * self.nodes + node] = leave.1;
        }
        self.alive[node] = true;
        cycle.members = members.iter().map(|member| (*member, heads[*member])).collect();
        self.cycles.push(cycle);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The highest sum of any tree with one root, by trying every head of every word.
    fn best_of_all(scores: &[f64], n: usize) -> f64 {
        let (mut best, mut heads) = (f64::NEG_INFINITY, vec![0; n]);
        loop {
            if is_tree(&heads) {
                best = best.max(sum(scores, &heads));
            }
            let Some(next) = heads.iter().position(|head| *head < n) else { return best };
            heads[..next].fill(0);
            heads[next] += 1;
        }
    }

    fn sum(scores: &[f64], heads: &[usize]) -> f64 {
        heads.iter().enumerate().map(|(d, head)| scores[d * (heads.len() + 1) + head]).sum()
    }

    /// One word at the root, and every word leads there.
    fn is_tree(heads: &[usize]) -> bool {
        let leads = |word: usize| {
            let ends =
                (0..heads.len()).try_fold(word, |at, _| if at == 0 { None } else { Some(heads[at - 1]) });
            ends.is_none_or(|at| at == 0)
        };
        heads.iter().filter(|head| **head == 0).count() == 1 && (1..=heads.len()).all(leads)
    }

    #[test]
    fn no_tree_scores_higher() {
        let mut rng = data::random::stream(1, "trees", 0);
        let mut greedy = 0;
        for case in 0..600 {
            let n = 1 + case % 6;
            // Whole numbers make ties.
            let coarse = case % 3 == 0;
            let draw = |_| {
                let score = -10.0 * data::random::uniform01(&mut rng);
                if coarse { score.round() } else { score }
            };
            let scores: Vec<f64> = (0..n * (n + 1)).map(draw).collect();
            let found = heads(&scores, n);
            assert!(is_tree(&found), "{n} words, {found:?}");
            let best = best_of_all(&scores, n);
            assert!((sum(&scores, &found) - best).abs() < 1e-8, "{n} words, {found:?}: {best}");
            let alone = |d: usize| {
                (0..=n)
                    .filter(|h| *h != d + 1)
                    .max_by(|a, b| scores[d * (n + 1) + a].total_cmp(&scores[d * (n + 1) + b]))
            };
            let alone: Vec<usize> = (0..n).filter_map(alone).collect();
            greedy += usize::from(is_tree(&alone));
        }
        assert!(
            greedy < 400,
            "the best heads by themselves are seldom a tree, or this tests nothing: {greedy}"
        );
    }

    #[test]
    fn cycles_within_cycles_are_broken() {
        // Word 1 and 2 hold each other, 3 and the pair, 4 and the three; the root is far from all.
        let scores = [
            [-50.0, 0.0, -1.0, -9.0, -9.0],
            [-60.0, -1.0, 0.0, -5.0, -9.0],
            [-70.0, -2.0, -9.0, 0.0, -4.0],
            [-80.0, -9.0, -3.0, -9.0, 0.0],
        ];
        let found = heads(scores.as_flattened(), 4);
        assert!(is_tree(&found));
        assert!((sum(scores.as_flattened(), &found) - best_of_all(scores.as_flattened(), 4)).abs() < 1e-9);
    }

    #[test]
    fn what_is_no_number_still_gives_a_tree() {
        for score in [f64::NAN, f64::NEG_INFINITY, f64::INFINITY, 0.0] {
            for n in [0, 1, 2, 40] {
                let found = heads(&vec![score; n * (n + 1)], n);
                assert!(found.len() == n && (n == 0 || is_tree(&found)), "{score}: {found:?}");
            }
        }
    }

    #[test]
    fn long_rows_are_decoded_too() {
        let n = 300;
        let mut rng = data::random::stream(2, "trees", 0);
        let scores: Vec<f64> = (0..n * (n + 1)).map(|_| -10.0 * data::random::uniform01(&mut rng)).collect();
        assert!(is_tree(&heads(&scores, n)));
    }
}

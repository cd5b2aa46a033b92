//! The order of the rows of one corpus in each pass over it.

mod config;

use std::collections::BTreeMap;

pub use config::{Curriculum, Difficulty, OrderConfig};

use crate::cast::{to_u32, to_usize};
use crate::random;

/// The order of a corpus's rows. Each row comes once a pass, except under [`Order::Balanced`].
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Order {
    /// Shuffled anew for each pass.
    #[default]
    Shuffled,
    /// Curriculum learning (Bengio et al., Curriculum Learning, ICML 2009): in the first passes rows come by increasing
    /// difficulty, rows of equal difficulty in random order; later passes are shuffled.
    Curriculum {
        /// `[candidates]` the difficulty of each row.
        difficulty: Vec<f64>,
        /// How many passes are sorted by difficulty.
        passes: u64,
    },
    /// Any section of the pass has the class proportions of the corpus, to within one or two rows.
    Stratified {
        /// `[candidates]` the class of each row.
        classes: Vec<u32>,
    },
    /// Every class equally often: any section has the same number of rows of each, to within one or two. Rows of small classes
    /// come several times a pass; of large classes some rows come in the next pass only.
    Balanced {
        /// `[candidates]` the class of each row.
        classes: Vec<u32>,
    },
}

impl Order {
    /// `[rows]` the rows of one pass over a corpus, as indices of its candidates. A function of its arguments.
    pub(crate) fn of_pass(&self, rows: usize, seed: u64, corpus: &str, pass: u64) -> Vec<u32> {
        let name = format!("pass over corpus {corpus}");
        let shuffled = || {
            let mut order: Vec<u32> = (0..to_u32(rows)).collect();
            random::shuffle(&mut random::stream(seed, &name, pass), &mut order);
            order
        };
        match self {
            Order::Curriculum { difficulty, passes } if pass < *passes => {
                let mut order = shuffled();
                order.sort_by(|&a, &b| difficulty[a as usize].total_cmp(&difficulty[b as usize]));
                order
            }
            Order::Shuffled | Order::Curriculum { .. } => shuffled(),
            Order::Stratified { classes } => stratified(&shuffled(), classes, seed, &name, pass),
            Order::Balanced { classes } => balanced(classes, rows, seed, &name, pass),
        }
    }

    /// Whether the order is not random, so that the draws of an epoch have to keep it.
    pub(crate) fn matters(&self) -> bool {
        *self != Order::Shuffled
    }

    /// Adds the order to the fingerprint of a stream.
    pub(crate) fn describe(&self, into: &mut blake3::Hasher) {
        let mut numbers = |name: &str, numbers: &mut dyn Iterator<Item = u64>| {
            into.update(name.as_bytes());
            numbers.for_each(|number| {
                into.update(&number.to_le_bytes());
            });
        };
        let mut classes =
            |name: &str, classes: &[u32]| numbers(name, &mut classes.iter().map(|class| u64::from(*class)));
        match self {
            Order::Shuffled => {}
            Order::Stratified { classes: of } => classes("stratified", of),
            Order::Balanced { classes: of } => classes("balanced", of),
            Order::Curriculum { difficulty, passes } => {
                let bits = difficulty.iter().map(|difficulty| difficulty.to_bits());
                numbers("curriculum", &mut bits.chain([*passes]));
            }
        }
    }
}

/// The rows of each class spread evenly over the pass: the k-th of n is at position (k + u) / n, where u is drawn for each class.
fn stratified(shuffled: &[u32], classes: &[u32], seed: u64, name: &str, pass: u64) -> Vec<u32> {
    let members = by_class(shuffled, classes);
    let mut rng = random::stream(seed, &format!("{name}, places of classes"), pass);
    let mut placed: Vec<(f64, u32)> = Vec::with_capacity(shuffled.len());
    for rows in members.values() {
        let start = random::uniform01(&mut rng);
        let position = |k: usize| (k as f64 + start) / rows.len() as f64;
        placed.extend(rows.iter().enumerate().map(|(k, row)| (position(k), *row)));
    }
    placed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    placed.into_iter().map(|(_, row)| row).collect()
}

/// Rounds in which every class comes once, in a new random order each round; the rows of a class come in a random order that is
/// drawn anew when all of them have come. Rounds continue from pass to pass.
fn balanced(classes: &[u32], rows: usize, seed: u64, name: &str, pass: u64) -> Vec<u32> {
    let all: Vec<u32> = (0..to_u32(rows)).collect();
    let members: Vec<(u32, Vec<u32>)> = by_class(&all, classes).into_iter().collect();
    let count = members.len() as u64;
    let mut orders: BTreeMap<(usize, u64), Vec<u32>> = BTreeMap::new();
    let mut round: Option<(u64, Vec<u32>)> = None;
    let first = pass * rows as u64;
    let mut row_at = |draw: u64| {
        let number = draw / count;
        let fresh = || {
            let mut order: Vec<u32> = (0..to_u32(to_usize(count))).collect();
            random::shuffle(
                &mut random::stream(seed, &format!("{name}, rounds of classes"), number),
                &mut order,
            );
            (number, order)
        };
        if round.as_ref().is_none_or(|(of, _)| *of != number) {
            round = Some(fresh());
        }
        let class = round.as_ref().map_or(0, |(_, order)| order[to_usize(draw % count)] as usize);
        let (label, own) = &members[class];
        let (cycle, at) = (number / own.len() as u64, to_usize(number % own.len() as u64));
        let order = orders.entry((class, cycle)).or_insert_with(|| {
            let mut order = own.clone();
            random::shuffle(&mut random::stream(seed, &format!("{name}, class {label}"), cycle), &mut order);
            order
        });
        order[at]
    };
    (first..first + rows as u64).map(&mut row_at).collect()
}

/// The rows of each class, in the order given.
fn by_class(rows: &[u32], classes: &[u32]) -> BTreeMap<u32, Vec<u32>> {
    let mut members: BTreeMap<u32, Vec<u32>> = BTreeMap::new();
    for row in rows {
        members.entry(classes[*row as usize]).or_default().push(*row);
    }
    members
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 60 rows of class 0, 30 of class 1, 10 of class 2, in blocks.
    fn classes() -> Vec<u32> {
        [vec![0; 60], vec![1; 30], vec![2; 10]].concat()
    }

    fn counts(rows: &[u32], classes: &[u32]) -> [usize; 3] {
        let mut counts = [0; 3];
        rows.iter().for_each(|row| counts[classes[*row as usize] as usize] += 1);
        counts
    }

    fn is_permutation(order: &[u32]) -> bool {
        let mut sorted = order.to_vec();
        sorted.sort_unstable();
        sorted.into_iter().eq(0..order.len() as u32)
    }

    #[test]
    fn a_curriculum_is_sorted_and_then_shuffled() {
        let difficulty: Vec<f64> = (0..100).map(|row| f64::from(row * 37 % 10)).collect();
        let order = Order::Curriculum { difficulty: difficulty.clone(), passes: 2 };
        let passes: Vec<Vec<u32>> = (0..3).map(|pass| order.of_pass(100, 5, "c", pass)).collect();
        let rises = |pass: &[u32]| pass.is_sorted_by_key(|row| difficulty[*row as usize]);
        assert_eq!([0, 1, 2].map(|i| rises(&passes[i])), [true, true, false]);
        assert!(passes.iter().all(|pass| is_permutation(pass)) && passes[0] != passes[1]);
    }

    #[test]
    fn any_stretch_of_a_stratified_pass_has_its_share_of_every_class() {
        let order = Order::Stratified { classes: classes() };
        for pass in 0..5 {
            let rows = order.of_pass(100, 5, "c", pass);
            assert!(is_permutation(&rows));
            for start in 0..90 {
                for length in [10, 20, 50] {
                    let stretch = &rows[start..(start + length).min(100)];
                    let expected = [0.6, 0.3, 0.1].map(|share| share * stretch.len() as f64);
                    for (found, expected) in counts(stretch, &classes()).into_iter().zip(expected) {
                        assert!((found as f64 - expected).abs() <= 1.0 + 1e-9, "{found} {expected}");
                    }
                }
            }
        }
        assert_ne!(order.of_pass(100, 5, "c", 0), order.of_pass(100, 5, "c", 1));
    }

    #[test]
    fn a_balanced_pass_has_every_class_alike_and_no_row_more_often_than_another_of_its_class() {
        let order = Order::Balanced { classes: classes() };
        let mut times = [0; 100];
        for pass in 0..6 {
            let rows = order.of_pass(100, 5, "c", pass);
            for stretch in rows.chunks(10) {
                assert!(counts(stretch, &classes()).iter().all(|n| (2..=5).contains(n)));
            }
            rows.iter().for_each(|row| times[*row as usize] += 1);
            for own in [&times[..60], &times[60..90], &times[90..]] {
                let (least, most) = (own.iter().min(), own.iter().max());
                assert!(most.unwrap_or(&0) - least.unwrap_or(&0) <= 1, "{times:?}");
            }
        }
        assert_eq!(times.iter().sum::<usize>(), 600);
        assert_eq!(times[..60].iter().sum::<usize>(), 200);
    }
}

//! The initial tokens of training.

use std::collections::{BTreeMap, HashMap};

use super::{Token, Word};
use crate::cast::to_u32;

/// The maximum length of a token, in characters.
const MAX_LENGTH: usize = 16;
/// The minimum number of occurrences of a token.
const MIN_COUNT: f64 = 2.0;

/// A run of characters that occurs in words.
#[derive(Default)]
struct Run {
    count: f64,
    /// Its first occurrence: the word and the position in it.
    first: (u32, u32),
    /// The run without its last character.
    parent: u32,
    /// Whether the same character follows at every occurrence.
    inside_longer: bool,
}

/// All characters, and of the runs of two characters or more that occur at least twice the `most` that cover the most
/// text. A run that the same character follows everywhere is left to the longer one.
pub(super) fn of(words: &[Word], characters: &BTreeMap<char, u64>, most: usize) -> Vec<Token> {
    let mut found: Vec<(f64, Vec<char>)> = Vec::new();
    let mut runs = vec![Run::default()];
    // The occurrences of all runs of one length: the word, the position in it, and the run.
    let positions =
        (0..).zip(words).flat_map(|(word, (text, _))| (0..to_u32(text.len())).map(move |at| (word, at, 0)));
    let mut positions: Vec<(u32, u32, u32)> = positions.collect();
    for length in 1..=MAX_LENGTH {
        let mut longer: Vec<Run> = Vec::new();
        let mut numbers: HashMap<(u32, char), u32> = HashMap::new();
        positions.retain_mut(|(word, at, run)| {
            let (text, n) = &words[*word as usize];
            let Some(next) = text.get(*at as usize + length - 1) else { return false };
            let number = *numbers.entry((*run, *next)).or_insert_with(|| {
                longer.push(Run { first: (*word, *at), parent: *run, ..Run::default() });
                to_u32(longer.len()) - 1
            });
            longer[number as usize].count += n;
            *run = number;
            true
        });
        for run in &longer {
            let parent = &mut runs[run.parent as usize];
            parent.inside_longer |= parent.count == run.count;
        }
        take(&mut found, &runs, length - 1, words);
        runs = longer;
        positions.retain(|(_, _, run)| runs[*run as usize].count >= MIN_COUNT);
    }
    take(&mut found, &runs, MAX_LENGTH, words);
    found.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    found.truncate(most);
    let singles = characters.iter().map(|(c, n)| ((*n as f64).max(0.5), vec![*c]));
    let all: Vec<(f64, Vec<char>)> = singles.chain(found).collect();
    let whole = all.iter().map(|(n, _)| n).sum::<f64>().ln();
    all.into_iter().map(|(n, text)| Token { text, score: n.ln() - whole }).collect()
}

/// Adds the runs of one length that are tokens, with how many characters of text they cover.
fn take(found: &mut Vec<(f64, Vec<char>)>, runs: &[Run], length: usize, words: &[Word]) {
    if length < 2 {
        return;
    }
    for run in runs.iter().filter(|run| run.count >= MIN_COUNT && !run.inside_longer) {
        let (word, at) = (run.first.0 as usize, run.first.1 as usize);
        found.push((run.count * length as f64, words[word].0[at..at + length].to_vec()));
    }
}

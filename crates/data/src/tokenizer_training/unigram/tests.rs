//! The parts of the trainer against what can be counted by hand, and the whole against the library's trainer.

use super::*;
use crate::TokenizerKind;

fn pieces(of: &[(&str, f64)]) -> Vec<Token> {
    of.iter().map(|(text, score)| Token { text: text.chars().collect(), score: *score }).collect()
}

fn word(text: &str) -> Vec<char> {
    text.chars().collect()
}

/// Every segmentation of a word, with its probability.
fn all_segmentations(pieces: &[Token], word: &[char]) -> Vec<(Vec<u32>, f64)> {
    if word.is_empty() {
        return vec![(Vec::new(), 1.0)];
    }
    let mut all = Vec::new();
    for (id, piece) in pieces.iter().enumerate().filter(|(_, piece)| word.starts_with(&piece.text)) {
        for (rest, p) in all_segmentations(pieces, &word[piece.text.len()..]) {
            all.push(([vec![id as u32], rest].concat(), p * piece.score.exp()));
        }
    }
    all
}

fn some_pieces() -> Vec<Token> {
    let scores =
        [("a", -3.1), ("b", -2.9), ("n", -3.3), ("an", -2.2), ("na", -2.4), ("ana", -2.7), ("ban", -4.0)];
    pieces(&scores)
}

#[test]
fn expected_counts_are_those_over_all_segmentations() {
    let pieces = some_pieces();
    let trie = Trie::of(&pieces);
    for text in ["banana", "a", "nab", "bananaban"] {
        let word = word(text);
        let all = all_segmentations(&pieces, &word);
        let whole: f64 = all.iter().map(|(_, p)| p).sum();
        let mut expected = vec![0.0; pieces.len()];
        for (ids, p) in &all {
            ids.iter().for_each(|id| expected[*id as usize] += 3.0 * p / whole);
        }
        let mut found = vec![0.0; pieces.len()];
        let lattice = Segmentation::of(&trie, &pieces, &word);
        let log = lattice.expected_counts(3.0, |id, n| found[id as usize] += n);
        assert!((log - whole.ln()).abs() < 1e-12, "{text}");
        assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?} {expected:?}");
    }
}

#[test]
fn the_best_segmentation_is_the_most_likely_of_all() {
    let pieces = some_pieces();
    let trie = Trie::of(&pieces);
    for text in ["banana", "nab", "bananaban", "anan"] {
        let word = word(text);
        for without in [None, Some(3), Some(5)] {
            let mut all = all_segmentations(&pieces, &word);
            all.retain(|(ids, _)| without.is_none_or(|id| !ids.contains(&id)));
            let best = all.iter().max_by(|a, b| a.1.total_cmp(&b.1)).unwrap();
            assert_eq!(Segmentation::of(&trie, &pieces, &word).best(without), best.0, "{text}");
        }
    }
}

/// scipy.special.digamma.
#[test]
fn digamma_equals_scipys() {
    let theirs = [
        (0.5, -1.9635100260214235),
        (1.0, -0.5772156649015329),
        (1.7, 0.20854787487349394),
        (6.9, 1.857310951331687),
        (42.0, 3.725717617937282),
        (1e6, 13.81551005796419),
    ];
    for (x, y) in theirs {
        assert!((digamma(x) - y).abs() < 1e-9, "digamma({x}): {}, scipy says {y}", digamma(x));
    }
}

#[test]
fn seeds_are_the_runs_that_occur_twice_and_are_not_always_in_one_longer() {
    let words = vec![(word("▁banana"), 1.0), (word("▁band"), 1.0)];
    let counts = BTreeMap::from([('a', 4), ('b', 2), ('n', 3), ('d', 1), ('▁', 2)]);
    let seeds = of_text(&seeds::of(&words, &counts, 100));
    // "▁b" and "▁ba" are always in "▁ban", "ba" in "ban"; most text first.
    assert_eq!(seeds[..5], ["a", "b", "d", "n", "▁"]);
    assert_eq!(seeds[5..], ["▁ban", "an", "ana", "ban", "na"]);
    assert_eq!(of_text(&seeds::of(&words, &counts, 2)).len(), 7);
}

fn of_text(pieces: &[Token]) -> Vec<String> {
    pieces.iter().map(|piece| piece.text.iter().collect()).collect()
}

fn texts() -> Vec<String> {
    let all = include_str!("../../../tests/fixtures/tokenizer_texts.json");
    let sources = [include_str!("../unigram.rs"), include_str!("../bpe.rs"), include_str!("../../stream.rs")];
    let lines = sources.iter().flat_map(|text| text.lines()).map(str::to_owned);
    serde_json::from_str::<Vec<String>>(all).unwrap().into_iter().chain(lines).collect()
}

/// The library's trainer over the same words: not the same vocabulary, since it gives up characters on the way and adds them again at
/// the end, but text must not take more tokens.
#[test]
fn texts_take_no_more_tokens_than_with_the_librarys_trainer() {
    use tokenizers::models::unigram::{Unigram, UnigramTrainer};
    let config =
        TokenizerConfig { kind: TokenizerKind::Unigram, size: 1000, min_count: 1, ..Default::default() };
    let texts: Vec<String> = texts().into_iter().filter(|text| text.is_ascii()).collect();
    let counts = count_pieces(&Tokenizer::from_json(&to_json(&[], &config)).unwrap(), &texts).unwrap();
    let size = 600;
    let characters = characters(&counts, size, 1);
    let words = words(&counts, &characters);
    let ours = fit(seeds::of(&words, &characters, 100_000), &words, size);
    let trie = Trie::of(&ours);
    let tokens = |word: &str| Segmentation::of(&trie, &ours, &self::word(word)).best(None).len();
    let trainer = UnigramTrainer::builder()
        .show_progress(false)
        .vocab_size(size as u32)
        .initial_alphabet(characters.keys().copied().collect())
        .unk_token(Some("<unk>".into()))
        .build()
        .unwrap();
    let mut theirs = Unigram::default();
    let sentences = counts.iter().map(|(word, n)| (word.clone(), *n as u32)).collect();
    trainer.do_train(sentences, &mut theirs).unwrap();
    let (mut mine, mut others) = (0, 0);
    for (word, n) in &counts {
        mine += *n as usize * tokens(word);
        others += *n as usize * theirs.encode(word).unwrap().len();
    }
    assert_eq!((ours.len(), theirs.iter().count()), (size, size));
    let ratio = mine as f64 / others as f64;
    assert!((0.8..1.0).contains(&ratio), "{mine} tokens, with the library's trainer {others}");
}

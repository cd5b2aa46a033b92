//! The chain against enumeration of all rows of tags.

use super::*;

/// Numbers without a pattern, in -2..2 (a linear congruential generator).
fn numbers(seed: &mut u64, n: usize) -> Vec<f64> {
    let mut next = || {
        *seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (*seed >> 11) as f64 / (1u64 << 51) as f64 - 2.0
    };
    (0..n).map(|_| next()).collect()
}

fn chain(seed: &mut u64, tags: usize) -> LinearChainCrf {
    LinearChainCrf::new(numbers(seed, tags), numbers(seed, tags * tags), numbers(seed, tags))
}

/// All rows of tags.
fn paths(tags: usize, words: usize) -> Vec<Vec<u32>> {
    let all = (0..tags.pow(words as u32)).map(|mut code| {
        (0..words)
            .map(|_| {
                let tag = (code % tags) as u32;
                code /= tags;
                tag
            })
            .collect()
    });
    all.collect()
}

fn close(a: f64, b: f64) {
    assert!((a - b).abs() <= 1e-10 * (1.0 + a.abs().max(b.abs())), "{a} against {b}");
}

#[test]
fn partition_function_is_the_sum_over_all_paths() {
    let mut seed = 1;
    for tags in 1..=4 {
        for words in 1..=6 {
            let chain = chain(&mut seed, tags);
            let emissions = numbers(&mut seed, words * tags);
            let sum: f64 = paths(tags, words).iter().map(|p| chain.score(&emissions, p).exp()).sum();
            close(chain.log_partition(&emissions), sum.ln());
        }
    }
}

#[test]
fn marginals_are_sums_over_the_paths_through_a_tag() {
    let mut seed = 2;
    let chain = chain(&mut seed, 3);
    let emissions = numbers(&mut seed, 15);
    let marginals = chain.marginals(&emissions).unwrap();
    let z = chain.log_partition(&emissions);
    for word in 0..5 {
        for tag in 0..3 {
            let through = paths(3, 5).into_iter().filter(|p| p[word] == tag as u32);
            let sum: f64 = through.map(|p| (chain.score(&emissions, &p) - z).exp()).sum();
            close(marginals[word * 3 + tag], sum);
        }
    }
}

#[test]
fn viterbi_finds_the_best_of_all_paths() {
    let mut seed = 3;
    for tags in 1..=4 {
        for words in 1..=6 {
            let chain = chain(&mut seed, tags);
            let emissions = numbers(&mut seed, words * tags);
            let score = |p: &Vec<u32>| chain.score(&emissions, p);
            let best = paths(tags, words).into_iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
            let (path, found) = chain.viterbi(&emissions).unwrap();
            assert_eq!(path, best);
            close(found, score(&best));
        }
    }
}

#[test]
fn constraints_leave_the_allowed_paths_only() {
    let mut seed = 4;
    let allowed = |from: Option<usize>, to: Option<usize>| match (from, to) {
        (None, Some(tag)) => tag != 2,
        (Some(from), Some(to)) => to != 2 || from == 1,
        (Some(tag), None) => tag != 1,
        (None, None) => true,
    };
    let chain = chain(&mut seed, 3).constrained(allowed);
    let emissions = numbers(&mut seed, 12);
    let valid = |path: &Vec<u32>| {
        let edge = |t: usize| path.get(t).map(|tag| *tag as usize);
        (0..=path.len()).all(|t| allowed(t.checked_sub(1).and_then(edge), edge(t)))
    };
    let score = |p: &Vec<u32>| chain.score(&emissions, p);
    let kept: Vec<_> = paths(3, 4).into_iter().filter(valid).collect();
    assert!(kept.len() > 3);
    close(chain.log_partition(&emissions), kept.iter().map(|p| score(p).exp()).sum::<f64>().ln());
    let best = kept.iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
    assert_eq!(&chain.viterbi(&emissions).unwrap().0, best);
    let marginals = chain.marginals(&emissions).unwrap();
    assert_eq!(marginals[2], 0.0);
    marginals.chunks(3).for_each(|row| close(row.iter().sum(), 1.0));

    let nothing = chain.constrained(|_, _| false);
    assert_eq!((nothing.viterbi(&emissions), nothing.marginals(&emissions)), (None, None));
}

/// Loss of three rows (one of a single word, one with unknown words, one empty) by enumeration.
fn by_enumeration(chain: &LinearChainCrf, emissions: &[f64], rows: &[usize], gold: &[u32]) -> f64 {
    let row = |start: usize, end: usize| -> f64 {
        if start == end {
            return 0.0;
        }
        let (emissions, gold) = (&emissions[start * 3..end * 3], &gold[start..end]);
        let agrees = |p: &Vec<u32>| p.iter().zip(gold).all(|(a, g)| *g == IGNORE_INDEX || a == g);
        let sum = |keep: &dyn Fn(&Vec<u32>) -> bool| -> f64 {
            paths(3, end - start).iter().filter(|p| keep(p)).map(|p| chain.score(emissions, p).exp()).sum()
        };
        sum(&|_| true).ln() - sum(&agrees).ln()
    };
    rows.windows(2).map(|w| row(w[0], w[1])).sum()
}

#[test]
fn gradients_equal_finite_differences() {
    let mut seed = 5;
    let (start, transitions, end) = (numbers(&mut seed, 3), numbers(&mut seed, 9), numbers(&mut seed, 3));
    let emissions = numbers(&mut seed, 10 * 3);
    let rows = [0, 4, 4, 5, 10];
    let gold = [0, 2, 1, 1, 2, 1, IGNORE_INDEX, 0, IGNORE_INDEX, IGNORE_INDEX];
    let chain = LinearChainCrf::new(start.clone(), transitions.clone(), end.clone());
    let loss = chain.loss(&emissions, &rows, &gold);
    close(loss.sum, by_enumeration(&chain, &emissions, &rows, &gold));

    let all = [emissions, start, transitions, end];
    let gradients = [&loss.emissions, &loss.start, &loss.transitions, &loss.end];
    let value = |all: &[Vec<f64>; 4]| {
        let chain = LinearChainCrf::new(all[1].clone(), all[2].clone(), all[3].clone());
        by_enumeration(&chain, &all[0], &rows, &gold)
    };
    let step = 1e-5;
    for (which, gradient) in gradients.iter().enumerate() {
        assert_eq!(gradient.len(), all[which].len());
        for (i, g) in gradient.iter().enumerate() {
            let mut moved = all.clone();
            moved[which][i] += step;
            let above = value(&moved);
            moved[which][i] -= 2.0 * step;
            let difference = (above - value(&moved)) / (2.0 * step);
            assert!((g - difference).abs() < 1e-8, "gradient {which}, {i}: {g} against {difference}");
        }
    }
}

#[test]
fn long_rows_and_large_scores_stay_finite() {
    let mut seed = 6;
    let large = |numbers: Vec<f64>| numbers.into_iter().map(|x| x * 200.0).collect::<Vec<_>>();
    let (start, transitions) = (large(numbers(&mut seed, 5)), large(numbers(&mut seed, 25)));
    let chain = LinearChainCrf::new(start, transitions, vec![0.0; 5]);
    let emissions = large(numbers(&mut seed, 5 * 2000));
    let (path, best) = chain.viterbi(&emissions).unwrap();
    let loss = chain.loss(&emissions, &[0, 2000], &path);
    assert!(loss.sum >= -1e-6 && loss.sum < 20.0, "{} of {best}", loss.sum);
    assert!(loss.transitions.iter().chain(&loss.emissions).all(|g| g.is_finite()));
}

#[test]
fn sums_do_not_depend_on_the_number_of_threads() {
    let mut seed = 7;
    let chain = chain(&mut seed, 6);
    let rows: Vec<usize> = (0..=100).map(|i| i * 3).collect();
    let emissions = numbers(&mut seed, 300 * 6);
    let gold: Vec<u32> = (0..300).map(|i| i % 6).collect();
    let with = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| chain.loss(&emissions, &rows, &gold))
    };
    assert_eq!(with(1), with(3));
}

#[test]
fn a_nan_comes_through() {
    let chain = LinearChainCrf::neutral(2);
    assert!(chain.loss(&[0.0, f64::NAN, 1.0, 0.0], &[0, 2], &[0, 1]).sum.is_nan());
}

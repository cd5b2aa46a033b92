//! Groups of tasks: by hand, and against a search of another kind.

use polytask_metrics::{EXACT_TASKS, Grouping, best_grouping, predicted_gains};

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-9
}

/// Numbers between -1 and 1, the same in every run.
fn numbers(seed: u64) -> impl FnMut() -> f64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }
}

fn table(tasks: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut next = numbers(seed);
    (0..tasks).map(|_| (0..tasks).map(|_| next()).collect()).collect()
}

/// The weighted sum of the gains of a group, written out.
fn value(gains: &[Vec<f64>], importance: &[f64], group: usize) -> f64 {
    let tasks: Vec<usize> = (0..gains.len()).filter(|task| group & (1 << task) != 0).collect();
    let mut sum = 0.0;
    for j in &tasks {
        let others: Vec<f64> = tasks.iter().filter(|i| *i != j).map(|i| gains[*i][*j]).collect();
        if !others.is_empty() {
            sum += importance[*j] * others.iter().sum::<f64>() / others.len() as f64;
        }
    }
    sum
}

/// The greatest sum over divisions into at most so many groups, by dynamic programming over sets: a group with the lowest task, and the
/// best of the rest.
fn best_value(gains: &[Vec<f64>], importance: &[f64], models: usize) -> f64 {
    let sets = 1 << gains.len();
    let values: Vec<f64> = (0..sets).map(|group| value(gains, importance, group)).collect();
    let mut best = vec![f64::NEG_INFINITY; sets];
    best[0] = 0.0;
    for _ in 0..models {
        let fewer = best.clone();
        for set in 1..sets {
            let lowest = set & set.wrapping_neg();
            let mut group = set;
            while group > 0 {
                if group & lowest != 0 {
                    best[set] = best[set].max(values[group] + fewer[set ^ group]);
                }
                group = (group - 1) & set;
            }
        }
    }
    best[sets - 1]
}

#[test]
fn tasks_that_help_each_other_are_together() {
    // 0 and 1 help each other, as do 2 and 3; across, they hurt.
    let across = -1.0;
    let gains = vec![
        vec![9.0, 2.0, across, across],
        vec![1.0, 9.0, across, across],
        vec![across, across, 9.0, 0.5],
        vec![across, across, 0.5, 9.0],
    ];
    let found = best_grouping(&gains, &[1.0; 4], 2).unwrap();
    let expected = Grouping {
        groups: vec![vec![0, 1], vec![2, 3]],
        gains: vec![1.0, 2.0, 0.5, 0.5],
        gain: 1.0,
        is_proven: true,
    };
    assert_eq!(found, expected);
    // In one model, task 0 gains the mean of 1, -1 and -1.
    let one = best_grouping(&gains, &[1.0; 4], 1).unwrap();
    assert_eq!(one.groups, [[0, 1, 2, 3]]);
    assert!(near(one.gains[0], -1.0 / 3.0) && near(one.gains[1], 0.0) && near(one.gains[2], -0.5));
    // More models than two are of no use.
    assert_eq!(best_grouping(&gains, &[1.0; 4], 4).unwrap().groups, expected.groups);
}

#[test]
fn importance_decides_whom_a_one_sided_pair_is_for() {
    // 0 helps 1 as much as 1 hurts 0.
    let gains = vec![vec![0.0, 1.0], vec![-1.0, 0.0]];
    let groups = |importance: [f64; 2]| best_grouping(&gains, &importance, 2).unwrap().groups;
    assert_eq!(groups([1.0, 2.0]), [[0, 1]]);
    assert_eq!(groups([2.0, 1.0]), [[0], [1]]);
    assert_eq!(groups([1.0, 1.0]), [[0, 1]], "of equals, the fewer models");
}

#[test]
fn where_all_hurt_each_is_alone_as_far_as_models_go() {
    let gains = vec![vec![-1.0; 3]; 3];
    assert_eq!(best_grouping(&gains, &[1.0; 3], 3).unwrap().groups, [[0], [1], [2]]);
    let two = best_grouping(&gains, &[1.0; 3], 2).unwrap();
    assert_eq!(two.groups.len(), 2);
    assert!(near(two.gain, -2.0 / 3.0));
}

#[test]
fn what_is_no_table_has_no_grouping() {
    let fine = vec![vec![0.0, 1.0], vec![1.0, 0.0]];
    assert!(best_grouping(&fine, &[1.0, 1.0], 1).is_some());
    assert_eq!(best_grouping(&fine, &[1.0, 1.0], 0), None);
    assert_eq!(best_grouping(&fine, &[1.0], 1), None);
    assert_eq!(best_grouping(&fine, &[0.0, 0.0], 1), None);
    assert_eq!(best_grouping(&fine, &[1.0, -1.0], 1), None);
    assert_eq!(best_grouping(&[], &[], 1), None);
    assert_eq!(best_grouping(&[vec![0.0, f64::NAN], vec![1.0, 0.0]], &[1.0, 1.0], 1), None);
    assert_eq!(best_grouping(&[vec![0.0], vec![1.0, 0.0]], &[1.0, 1.0], 1), None);
    // What a task does to itself is not read.
    let itself = [vec![f64::NAN, 1.0], vec![1.0, f64::NAN]];
    assert_eq!(best_grouping(&itself, &[1.0, 1.0], 1).unwrap().gain, 1.0);
}

#[test]
fn a_given_division_is_valued_by_the_same_rule() {
    let gains = table(5, 3);
    let found = best_grouping(&gains, &[1.0; 5], 3).unwrap();
    let again = predicted_gains(&gains, &[1.0; 5], &found.groups).unwrap();
    assert_eq!((again.gain, &again.gains), (found.gain, &found.gains));
    for broken in
        [vec![vec![0, 1]], vec![vec![0, 1, 2, 3, 4], vec![4]], vec![vec![0, 1, 2, 3, 9]], vec![vec![]]]
    {
        assert_eq!(predicted_gains(&gains, &[1.0; 5], &broken), None, "{broken:?}");
    }
}

#[test]
fn every_budget_has_the_best_division() {
    for tasks in 1..=7 {
        for seed in 1..=4 {
            let gains = table(tasks, seed * 31 + tasks as u64);
            let mut next = numbers(seed);
            let importance: Vec<f64> = (0..tasks).map(|_| 1.5 + next()).collect();
            let total: f64 = importance.iter().sum();
            for models in 1..=tasks + 1 {
                let found = best_grouping(&gains, &importance, models).unwrap();
                let right = best_value(&gains, &importance, models) / total;
                assert!(found.is_proven && found.groups.len() <= models);
                assert!(near(found.gain, right), "{tasks} tasks, {models} models: {} {right}", found.gain);
            }
        }
    }
    let gains = table(EXACT_TASKS, 5);
    let found = best_grouping(&gains, &[1.0; EXACT_TASKS], 4).unwrap();
    assert!(near(found.gain, best_value(&gains, &[1.0; EXACT_TASKS], 4) / EXACT_TASKS as f64));
}

/// Beyond ten tasks groups come from a local search, which says so. Where tasks belong together clearly it finds them.
#[test]
fn many_tasks_are_grouped_by_local_search() {
    for tasks in [12, 30, 64] {
        let gains: Vec<Vec<f64>> = (0..tasks)
            .map(|i| (0..tasks).map(|j| if i % 3 == j % 3 { 1.0 } else { -1.0 }).collect())
            .collect();
        let found = best_grouping(&gains, &vec![1.0; tasks], 5).unwrap();
        let right: Vec<Vec<usize>> = (0..3).map(|rest| (rest..tasks).step_by(3).collect()).collect();
        assert_eq!((found.groups, found.gain, found.is_proven), (right, 1.0, false));
    }
    // On random tables it comes near the best.
    let mut ratio = 0.0;
    for seed in 1..=6 {
        let gains = table(11, seed);
        let found = best_grouping(&gains, &[1.0; 11], 3).unwrap();
        let best = best_value(&gains, &[1.0; 11], 3) / 11.0;
        assert!(found.gain <= best + 1e-9 && found.groups.len() <= 3);
        ratio += found.gain / best / 6.0;
    }
    assert!(ratio > 0.9, "{ratio}");
    assert_eq!(best_grouping(&table(65, 1), &[1.0; 65], 3), None);
}

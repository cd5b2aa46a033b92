//! Divisions of many tasks by local search: from several beginnings, the best move of one task, exchange of two or merger of two groups
//! is made as long as there is one that gains. Without randomness. What it finds may not be the best.

use super::{GainTable, members};
use std::collections::HashMap;

/// The values of groups, each computed once: a change concerns two groups of all.
struct Values<'a> {
    table: &'a GainTable<'a>,
    known: HashMap<u64, f64>,
}

impl Values<'_> {
    fn of(&mut self, groups: &[u64]) -> f64 {
        let table = self.table;
        groups.iter().map(|group| *self.known.entry(*group).or_insert_with(|| table.value(*group))).sum()
    }
}

/// A good division into at most `models` groups.
pub(super) fn local_search(table: &GainTable<'_>, models: usize) -> Vec<u64> {
    let tasks = table.tasks();
    let all = if tasks == 64 { u64::MAX } else { (1 << tasks) - 1 };
    let alone: Vec<u64> = (0..tasks).map(|task| 1 << task).collect();
    let (mut values, tolerance) = (Values { table, known: HashMap::new() }, table.tolerance());
    let mut found = improved(&mut values, vec![all], models);
    for beginning in [merged(&mut values, alone, models), in_turn(tasks, models)] {
        let other = improved(&mut values, beginning, models);
        let (value, best) = (values.of(&other), values.of(&found));
        if value > best + tolerance || (value >= best - tolerance && other.len() < found.len()) {
            found = other;
        }
    }
    found
}

/// One task after the other in the next group.
fn in_turn(tasks: usize, models: usize) -> Vec<u64> {
    let mut groups = vec![0; models.min(tasks)];
    let count = groups.len();
    (0..tasks).for_each(|task| groups[task % count] |= 1 << task);
    groups
}

/// Merges the two groups that gain most, or lose least, until there are few enough.
fn merged(values: &mut Values<'_>, mut groups: Vec<u64>, models: usize) -> Vec<u64> {
    while groups.len() > models {
        let mut best = (f64::NEG_INFINITY, 0, 1);
        for a in 0..groups.len() {
            for b in a + 1..groups.len() {
                let gain = values.of(&[groups[a] | groups[b]]) - values.of(&[groups[a], groups[b]]);
                if gain > best.0 {
                    best = (gain, a, b);
                }
            }
        }
        let other = groups.remove(best.2);
        groups[best.1] |= other;
    }
    groups
}

/// Makes the best change as long as one gains, or needs fewer groups and loses nothing.
fn improved(values: &mut Values<'_>, mut groups: Vec<u64>, models: usize) -> Vec<u64> {
    let (tasks, tolerance) = (values.table.tasks(), values.table.tolerance());
    loop {
        let before = values.of(&groups);
        let mut best: Option<(f64, Vec<u64>)> = None;
        for other in neighbours(tasks, &groups, models) {
            let gain = values.of(&other) - before;
            let gains = gain > tolerance || (gain >= -tolerance && other.len() < groups.len());
            if gains && best.as_ref().is_none_or(|(most, _)| gain > most + tolerance) {
                best = Some((gain, other));
            }
        }
        let Some((_, other)) = best else { return groups };
        groups = other;
    }
}

/// Every division that is one move, exchange or merger away.
fn neighbours(tasks: usize, groups: &[u64], models: usize) -> Vec<Vec<u64>> {
    let group_of = |task: usize| groups.iter().position(|group| group >> task & 1 == 1);
    let mut found = Vec::new();
    for task in 0..tasks {
        let Some(from) = group_of(task) else { continue };
        for to in 0..(groups.len() + 1).min(models) {
            let mut other = groups.to_vec();
            other.resize(groups.len().max(to + 1), 0);
            other[from] &= !(1 << task);
            other[to] |= 1 << task;
            other.retain(|group| *group != 0);
            if to != from {
                found.push(other);
            }
        }
        for with in members(!groups[from]).filter(|with| *with > task && *with < tasks) {
            let Some(to) = group_of(with) else { continue };
            let mut other = groups.to_vec();
            let both = 1 << task | 1 << with;
            other[from] ^= both;
            other[to] ^= both;
            found.push(other);
        }
    }
    for a in 0..groups.len() {
        for b in a + 1..groups.len() {
            let mut other = groups.to_vec();
            other[a] |= other[b];
            other.remove(b);
            found.push(other);
        }
    }
    found
}

//! Every division of a few tasks, by restricted growth strings: the task at place `k` is in a group that an earlier task is in, or in
//! the next new one (Knuth, *The Art of Computer Programming*, 7.2.1.5, algorithm H).

use super::GainTable;

/// The best division into at most `models` groups; of equally good ones the first with the fewest groups.
pub(super) fn best_partition(table: &GainTable<'_>, models: usize) -> Vec<u64> {
    let values: Vec<f64> = (0..1u64 << table.tasks()).map(|group| table.value(group)).collect();
    let mut search = Search { values, models, tolerance: table.tolerance(), best: None };
    search.assign(0, table.tasks(), &mut Vec::new());
    search.best.map_or(Vec::new(), |(_, groups)| groups)
}

struct Search {
    /// By group.
    values: Vec<f64>,
    models: usize,
    tolerance: f64,
    best: Option<(f64, Vec<u64>)>,
}

impl Search {
    /// Tries every group for a task, and all that comes of it.
    fn assign(&mut self, task: usize, tasks: usize, groups: &mut Vec<u64>) {
        if task == tasks {
            return self.compare(groups);
        }
        let bit = 1 << task;
        for at in 0..groups.len() {
            groups[at] |= bit;
            self.assign(task + 1, tasks, groups);
            groups[at] &= !bit;
        }
        if groups.len() < self.models {
            groups.push(bit);
            self.assign(task + 1, tasks, groups);
            groups.pop();
        }
    }

    fn compare(&mut self, groups: &[u64]) {
        let value: f64 = groups.iter().map(|group| self.values[*group as usize]).sum();
        let is_better = self.best.as_ref().is_none_or(|(best, other)| {
            value > best + self.tolerance || (value >= best - self.tolerance && groups.len() < other.len())
        });
        if is_better {
            self.best = Some((value, groups.to_vec()));
        }
    }
}

//! Which tasks to train together in a given number of models.

mod local_search;
mod partitions;

use local_search::local_search;
use partitions::best_partition;

/// Up to so many tasks every partition is tried: of ten there are 115,975.
pub const EXACT_TASKS: usize = 10;
/// The most tasks for which groups are looked for: a group is a set of bits.
pub const MOST_TASKS: usize = 64;

/// A division of tasks into groups, each of which is one model.
#[derive(Debug, Clone, PartialEq)]
pub struct Grouping {
    /// The tasks of each group, rising; groups in the order of their first tasks.
    pub groups: Vec<Vec<usize>>,
    /// What each task is predicted to gain over being trained alone, in the unit of the table.
    pub gains: Vec<f64>,
    /// The mean of the gains, weighted by importance.
    pub gain: f64,
    /// Whether every other division was compared. Otherwise it is the best that a local search found, and there may be a better one.
    pub is_proven: bool,
}

/// The division of tasks into at most `models` groups with the greatest mean gain; of equally good ones one with the fewest groups.
///
/// `gains[i][j]` is what training with task `i` does for task `j`, in any unit in which more is better and 0 is what `j` is alone;
/// `gains[j][j]` is not read. Within a group, task `j` is predicted to gain the mean of `gains[i][j]` over the other tasks `i` of
/// the group, and 0 where it is alone. This is the rule of TAG: it takes what several tasks do together for the mean of what each does,
/// which nothing but training them together can check.
///
/// Sources: Fifty et al., *Efficiently Identifying Task Groupings for Multi-Task Learning*, NeurIPS 2021 (the rule); Standley et al.,
/// *Which Tasks Should Be Learned Together in Multi-task Learning?*, ICML 2020 (a budget of networks). In both a task may be trained
/// in several networks and be used from one of them; here each is in one group.
///
/// `None` where the table is not square, has a number that is not finite, the weights are fewer or more than the tasks, negative
/// or all 0, or there is no task, no model, or more than [`MOST_TASKS`] tasks.
pub fn best_grouping(gains: &[Vec<f64>], importance: &[f64], models: usize) -> Option<Grouping> {
    let table = GainTable::new(gains, importance)?;
    if models == 0 {
        return None;
    }
    let is_proven = gains.len() <= EXACT_TASKS;
    let masks = if is_proven { best_partition(&table, models) } else { local_search(&table, models) };
    Some(table.grouping(&masks, is_proven))
}

/// What a given division is predicted to gain, by the rule of [`best_grouping`]. `None` where that has none, or `groups` are no division
/// of the tasks.
pub fn predicted_gains(gains: &[Vec<f64>], importance: &[f64], groups: &[Vec<usize>]) -> Option<Grouping> {
    let table = GainTable::new(gains, importance)?;
    let mut seen = 0u64;
    let mut masks = Vec::new();
    for group in groups {
        let mask = group.iter().try_fold(0u64, |mask, task| {
            let bit = 1u64.checked_shl(u32::try_from(*task).ok()?)?;
            (*task < gains.len() && mask & bit == 0).then_some(mask | bit)
        })?;
        if mask == 0 || seen & mask != 0 {
            return None;
        }
        seen |= mask;
        masks.push(mask);
    }
    let all = seen.count_ones() as usize == gains.len();
    all.then(|| table.grouping(&masks, false))
}

/// The gains of pairs, and what they mean for groups. A group is a set of bits.
struct GainTable<'a> {
    gains: &'a [Vec<f64>],
    importance: &'a [f64],
}

impl<'a> GainTable<'a> {
    /// `None` where the numbers are not those of [`best_grouping`].
    fn new(gains: &'a [Vec<f64>], importance: &'a [f64]) -> Option<Self> {
        let tasks = gains.len();
        let fits = (1..=MOST_TASKS).contains(&tasks)
            && importance.len() == tasks
            && importance.iter().all(|weight| weight.is_finite() && *weight >= 0.0)
            && gains.iter().all(|row| row.len() == tasks)
            && (0..tasks).all(|i| (0..tasks).all(|j| i == j || gains[i][j].is_finite()));
        let total: f64 = importance.iter().sum();
        (fits && total > 0.0 && total.is_finite()).then_some(GainTable { gains, importance })
    }

    fn tasks(&self) -> usize {
        self.gains.len()
    }

    /// The predicted gain of a task of a group.
    fn gain(&self, task: usize, group: u64) -> f64 {
        let others = members(group & !(1 << task));
        let (sum, count) = others.fold((0.0, 0.0), |(sum, n), i| (sum + self.gains[i][task], n + 1.0));
        if count > 0.0 { sum / count } else { 0.0 }
    }

    /// The gains of a group, weighted and added up.
    fn value(&self, group: u64) -> f64 {
        members(group).map(|task| self.importance[task] * self.gain(task, group)).sum()
    }

    /// Values that are further apart than this are different ones.
    fn tolerance(&self) -> f64 {
        let largest = (0..self.tasks())
            .flat_map(|i| (0..self.tasks()).filter(move |j| *j != i).map(move |j| (i, j)))
            .map(|(i, j)| self.gains[i][j].abs() * self.importance[j])
            .fold(0.0, f64::max);
        1e-12 * largest * self.tasks() as f64
    }

    fn grouping(&self, groups: &[u64], is_proven: bool) -> Grouping {
        let mut gains = vec![0.0; self.tasks()];
        for group in groups {
            members(*group).for_each(|task| gains[task] = self.gain(task, *group));
        }
        let total: f64 = self.importance.iter().sum();
        let gain = gains.iter().zip(self.importance).map(|(gain, weight)| gain * weight).sum::<f64>() / total;
        let mut groups: Vec<Vec<usize>> = groups.iter().map(|group| members(*group).collect()).collect();
        groups.sort_unstable();
        Grouping { groups, gains, gain, is_proven }
    }
}

/// The tasks of a group, rising.
fn members(group: u64) -> impl Iterator<Item = usize> {
    (0..64usize).filter(move |task| group >> task & 1 == 1)
}

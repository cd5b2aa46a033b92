//! What each task has got of a run: rows, tokens, steps, operations, seconds; and which tasks are done.

use crate::{cost, evaluate::rows_labelled, job::Model};
use data::{Pack, Split};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a task has got.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spent {
    /// Rows that carried its label, repeated ones each time.
    pub rows: u64,
    /// Tokens of these rows.
    pub tokens: u64,
    /// Steps that had such a row.
    pub steps: u64,
    /// Floating-point operations of the products with the trunk's weights; those of a row with labels of several tasks are shared
    /// out evenly.
    pub operations: f64,
    /// Seconds of these steps, shared out by operations.
    pub seconds: f64,
}

/// Why a task is trained no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its score has not improved for a while; its head is that of the step given.
    Stopped {
        /// The step of its best evaluation.
        best: usize,
    },
    /// Its budget is used up.
    Budget,
}

/// The standing of one task with early stopping of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskStanding {
    /// The best main score, and its step.
    pub(crate) best: f64,
    pub(crate) step: usize,
    /// Evaluations since then.
    pub(crate) since: usize,
}

/// What all tasks have got, and which are done.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Allotment {
    /// By task.
    pub(crate) spent: BTreeMap<String, Spent>,
    /// Tasks that are trained no more.
    pub(crate) done: BTreeMap<String, Reason>,
    /// Tasks with early stopping of their own that have been evaluated.
    pub(crate) standing: BTreeMap<String, TaskStanding>,
}

impl Allotment {
    /// Takes in a step of so many seconds.
    pub(crate) fn take(&mut self, model: &Model, packs: &[Pack], seconds: f64) {
        let per_token = cost::of_a_token(model, &[]);
        let mut step: BTreeMap<&str, Spent> = BTreeMap::new();
        for pack in packs {
            let of_tasks: Vec<_> =
                model.tasks.iter().map(|task| rows_labelled(pack, task, Split::Train)).collect();
            let mut sharers = vec![0u32; pack.len()];
            of_tasks.iter().flatten().for_each(|row| sharers[row.pack_row as usize] += 1);
            for (task, rows) in model.tasks.iter().zip(&of_tasks) {
                let spent = step.entry(&task.name).or_default();
                for row in rows {
                    let at = row.pack_row as usize;
                    let tokens = pack.offsets[at + 1] - pack.offsets[at];
                    spent.rows += 1;
                    spent.tokens += tokens as u64;
                    spent.operations += per_token * tokens as f64 / f64::from(sharers[at]);
                }
            }
        }
        let all: f64 = step.values().map(|spent| spent.operations).sum();
        for (task, found) in step.into_iter().filter(|(_, found)| found.rows > 0) {
            let spent = self.spent.entry(task.into()).or_default();
            spent.rows += found.rows;
            spent.tokens += found.tokens;
            spent.steps += 1;
            spent.operations += found.operations;
            // Without maps in the trunk nothing is counted, and time is shared out by nothing.
            spent.seconds += if all > 0.0 { seconds * found.operations / all } else { 0.0 };
        }
    }

    /// The tasks that have used their budgets up just now.
    pub(crate) fn out_of_budget(&self, model: &Model) -> Vec<String> {
        let over = |task: &&crate::job::TaskSlot| {
            let (Some(budget), Some(spent)) = (task.config.budget, self.spent.get(&task.name)) else {
                return false;
            };
            budget.tokens.is_some_and(|most| spent.tokens >= most)
                || budget.steps.is_some_and(|most| spent.steps >= most)
                || budget.seconds.is_some_and(|most| spent.seconds >= most)
        };
        let open = |task: &&crate::job::TaskSlot| !self.done.contains_key(&task.name);
        model.tasks.iter().filter(open).filter(over).map(|task| task.name.clone()).collect()
    }

    /// Takes in the main score of a task with early stopping: whether it is the task's best, and whether the task is done.
    pub(crate) fn judge(&mut self, task: &str, score: f64, step: usize, patience: usize) -> (bool, bool) {
        let fresh = TaskStanding { best: score, step, since: 0 };
        let Some(standing) = self.standing.get_mut(task) else {
            self.standing.insert(task.into(), fresh);
            return (true, false);
        };
        if score > standing.best {
            *standing = fresh;
            return (true, false);
        }
        standing.since += 1;
        (false, standing.since >= patience)
    }

    /// The share of all operations that each task has got; by tokens where none are counted.
    pub fn shares(&self) -> BTreeMap<String, f64> {
        shares(&self.spent)
    }
}

/// The share of all operations that each task has got; by tokens where none are counted.
pub fn shares(spent: &BTreeMap<String, Spent>) -> BTreeMap<String, f64> {
    let counted = spent.values().any(|spent| spent.operations > 0.0);
    let of = |spent: &Spent| if counted { spent.operations } else { spent.tokens as f64 };
    let all: f64 = spent.values().map(of).sum();
    spent.iter().map(|(task, spent)| (task.clone(), if all > 0.0 { of(spent) / all } else { 0.0 })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_counted_task_by_task() {
        let mut allotment = Allotment::default();
        let scores = [0.5, 0.6, 0.6, 0.1];
        let found: Vec<_> =
            (1..).zip(scores).map(|(step, score)| allotment.judge("a", score, step, 2)).collect();
        assert_eq!(found, [(true, false), (true, false), (false, false), (false, true)]);
        assert_eq!(allotment.judge("b", 0.1, 9, 1), (true, false));
        assert_eq!(allotment.standing["a"], TaskStanding { best: 0.6, step: 2, since: 2 });
    }

    #[test]
    fn shares_are_of_operations_or_tokens() {
        let spent = |tokens, operations| Spent { tokens, operations, ..Spent::default() };
        let found = shares(&[("a".into(), spent(10, 30.0)), ("b".into(), spent(90, 10.0))].into());
        assert_eq!((found["a"], found["b"]), (0.75, 0.25));
        let found = shares(&[("a".into(), spent(10, 0.0)), ("b".into(), spent(90, 0.0))].into());
        assert_eq!((found["a"], found["b"]), (0.1, 0.9));
    }
}

//! What each task has used of a run: rows, tokens, steps, operations, seconds; and which tasks are trained no more.

use crate::{forward::evaluate::rows_labelled, job::Model, job::flops};
use data::{Pack, Split};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a task has used.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TaskUsage {
    /// Rows that carried its label, repeated ones each time.
    pub rows: u64,
    /// Tokens of these rows.
    pub tokens: u64,
    /// Steps that had such a row.
    pub steps: u64,
    /// Floating-point operations of the products with the trunk's weights; those of a row with labels of several tasks are divided
    /// evenly among them.
    pub operations: f64,
    /// Seconds of these steps, divided in proportion to the operations.
    pub seconds: f64,
}

/// Why a task is trained no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// Its score has not improved for a while; its head is that of the step given.
    Stopped {
        /// The step of its best evaluation.
        best: usize,
    },
    /// Its budget is used up.
    Budget,
}

/// The best evaluation of one task with early stopping of its own.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TaskBest {
    /// The best primary score, and its step.
    pub(crate) best: f64,
    pub(crate) step: usize,
    /// Evaluations since then.
    pub(crate) since: usize,
}

/// What all tasks have used, and which are trained no more.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct UsageLedger {
    /// By task.
    pub(crate) tasks: BTreeMap<String, TaskUsage>,
    /// Tasks that are trained no more.
    pub(crate) stopped: BTreeMap<String, StopReason>,
    /// Tasks with early stopping of their own that have been evaluated.
    pub(crate) best: BTreeMap<String, TaskBest>,
}

impl UsageLedger {
    /// Adds a step of so many seconds.
    pub(crate) fn add_step(&mut self, model: &Model, packs: &[Pack], seconds: f64) {
        let per_token = flops::flops_per_token(model, None);
        let mut step: BTreeMap<&str, TaskUsage> = BTreeMap::new();
        for pack in packs {
            let of_tasks: Vec<_> =
                model.tasks.iter().map(|task| rows_labelled(pack, task, Split::Train)).collect();
            let mut readers = vec![0u32; pack.len()];
            of_tasks.iter().flatten().for_each(|row| readers[row.pack_row as usize] += 1);
            for (task, rows) in model.tasks.iter().zip(&of_tasks) {
                let used = step.entry(&task.name).or_default();
                for row in rows {
                    let at = row.pack_row as usize;
                    let tokens = pack.offsets[at + 1] - pack.offsets[at];
                    used.rows += 1;
                    used.tokens += tokens as u64;
                    used.operations += per_token * tokens as f64 / f64::from(readers[at]);
                }
            }
        }
        let all: f64 = step.values().map(|used| used.operations).sum();
        for (task, found) in step.into_iter().filter(|(_, found)| found.rows > 0) {
            let used = self.tasks.entry(task.into()).or_default();
            used.rows += found.rows;
            used.tokens += found.tokens;
            used.steps += 1;
            used.operations += found.operations;
            // Without linear layers in the trunk no operations are counted, and time cannot be divided by them.
            used.seconds += if all > 0.0 { seconds * found.operations / all } else { 0.0 };
        }
    }

    /// The tasks that have just exceeded their budgets.
    pub(crate) fn out_of_budget(&self, model: &Model) -> Vec<String> {
        let over = |task: &&crate::job::TaskSlot| {
            let (Some(budget), Some(used)) = (task.training.budget, self.tasks.get(&task.name)) else {
                return false;
            };
            budget.tokens.is_some_and(|max| used.tokens >= max)
                || budget.steps.is_some_and(|max| used.steps >= max)
                || budget.seconds.is_some_and(|max| used.seconds >= max)
        };
        let open = |task: &&crate::job::TaskSlot| !self.stopped.contains_key(&task.name);
        model.tasks.iter().filter(open).filter(over).map(|task| task.name.clone()).collect()
    }

    /// Adds the primary score of a task with early stopping: whether it is the task's best, and whether the task is done.
    pub(crate) fn record(&mut self, task: &str, score: f64, step: usize, patience: usize) -> (bool, bool) {
        let fresh = TaskBest { best: score, step, since: 0 };
        let Some(best) = self.best.get_mut(task) else {
            self.best.insert(task.into(), fresh);
            return (true, false);
        };
        if score > best.best {
            *best = fresh;
            return (true, false);
        }
        best.since += 1;
        (false, best.since >= patience)
    }

    /// The fraction of all operations that each task has used; of tokens where none are counted.
    pub fn shares(&self) -> BTreeMap<String, f64> {
        shares(&self.tasks)
    }
}

/// The fraction of all operations that each task has used; of tokens where none are counted.
pub fn shares(usage: &BTreeMap<String, TaskUsage>) -> BTreeMap<String, f64> {
    let counted = usage.values().any(|used| used.operations > 0.0);
    let of = |used: &TaskUsage| if counted { used.operations } else { used.tokens as f64 };
    let all: f64 = usage.values().map(of).sum();
    usage.iter().map(|(task, used)| (task.clone(), if all > 0.0 { of(used) / all } else { 0.0 })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patience_is_counted_task_by_task() {
        let mut ledger = UsageLedger::default();
        let scores = [0.5, 0.6, 0.6, 0.1];
        let found: Vec<_> =
            (1..).zip(scores).map(|(step, score)| ledger.record("a", score, step, 2)).collect();
        assert_eq!(found, [(true, false), (true, false), (false, false), (false, true)]);
        assert_eq!(ledger.record("b", 0.1, 9, 1), (true, false));
        assert_eq!(ledger.best["a"], TaskBest { best: 0.6, step: 2, since: 2 });
    }

    #[test]
    fn shares_are_of_operations_or_tokens() {
        let used = |tokens, operations| TaskUsage { tokens, operations, ..TaskUsage::default() };
        let found = shares(&[("a".into(), used(10, 30.0)), ("b".into(), used(90, 10.0))].into());
        assert_eq!((found["a"], found["b"]), (0.75, 0.25));
        let found = shares(&[("a".into(), used(10, 0.0)), ("b".into(), used(90, 0.0))].into());
        assert_eq!((found["a"], found["b"]), (0.1, 0.9));
    }
}

//! What most methods share: which tasks take part in a step, where their weights go, how their memory is kept.
//!
//! A method is a [`Rule`], which sees the tasks that are present, nothing else; [`AtWork`] makes a
//! [`Balancer`](crate::Balancer) of it. Rules see the tasks sorted by name, so the order in a config changes no bit.

use crate::error::in_range;
use crate::{BalanceError, Balancer, Gramian, Halves, Needs, Rows, Step, restore_nothing};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// No weight is further from 0, so that weights stay within f32's range.
const FURTHEST: f64 = 1e30;

/// A method: its settings, and what they make of a step.
pub(crate) trait Rule: Send + Sized + 'static {
    /// As in `[balance.NAME]`.
    const NAME: &'static str;
    /// Whether the rule looks at the importances itself; otherwise its weights are multiplied by them.
    const PREFERS: bool = false;
    /// What it keeps from step to step.
    type Memory: Memory;

    /// What it looks at.
    fn needs(&self) -> Needs;

    /// Whether the settings fit.
    fn check(&self) -> Result<(), BalanceError> {
        Ok(())
    }

    /// One weight a task that is present; there is at least one.
    fn weigh(&self, memory: &mut Self::Memory, present: &Present<'_>) -> Vec<f64>;

    /// The weights of the trial step, one a task that is present; 1 each unless the rule needs a lookahead.
    fn trial(&self, _memory: &Self::Memory, at: &[usize]) -> Vec<f64> {
        vec![1.0; at.len()]
    }

    /// An epoch is over.
    fn epoch_end(&self, _memory: &mut Self::Memory) {}

    /// How it sees the gradients themselves.
    fn sees_rows(&self) -> SeesRows {
        SeesRows::Not
    }

    /// One chunk of the gradients, where it sees them.
    fn pass(&self, _memory: &mut Self::Memory, _chunk: Chunk<'_, '_, '_>) {}

    /// Checks one of the settings.
    fn setting(&self, name: &str, found: f64, least: f64, most: f64) -> Result<(), BalanceError> {
        in_range(format!("balance.{}.{name}", Self::NAME), found, least, most)
    }

    /// The method at work.
    fn build(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError>
    where
        Self: Clone,
    {
        self.check()?;
        let mut order: Vec<usize> = (0..tasks.len()).collect();
        order.sort_by_key(|&task| tasks[task]);
        Ok(Box::new(AtWork {
            rule: self.clone(),
            names: tasks.iter().map(|&task| task.to_owned()).collect(),
            importance: importance.to_vec(),
            order,
            memory: Self::Memory::of_start(tasks.len()),
        }))
    }
}

/// Whether a rule sees the gradients themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SeesRows {
    Not,
    WithoutBuffers,
    WithBuffers,
}

/// A chunk of the gradients.
pub(crate) struct Chunk<'a, 'r, 'b> {
    /// The place of its first parameter among all.
    pub first: u64,
    /// The places of the tasks that are present, sorted by name.
    pub at: Vec<usize>,
    /// Their losses.
    pub losses: Vec<f64>,
    /// Of all tasks.
    pub rows: &'a mut [&'r mut [f32]],
    /// Of all tasks, where the rule keeps them.
    pub buffers: &'a mut [&'b mut [f32]],
}

/// What a rule keeps from step to step.
pub(crate) trait Memory: Serialize + DeserializeOwned + Send {
    /// Before the first step of so many tasks.
    fn of_start(tasks: usize) -> Self;

    /// Whether it is one that the rule can have reached with so many tasks.
    fn is_sound(&self, tasks: usize) -> bool;
}

/// Nothing.
impl Memory for () {
    fn of_start(_tasks: usize) {}

    fn is_sound(&self, _tasks: usize) -> bool {
        true
    }
}

/// How many steps there were.
impl Memory for u64 {
    fn of_start(_tasks: usize) -> u64 {
        0
    }

    fn is_sound(&self, _tasks: usize) -> bool {
        true
    }
}

/// The tasks that take part in a step, sorted by name.
pub(crate) struct Present<'a> {
    /// Their places among all tasks.
    pub at: Vec<usize>,
    /// The places of all tasks, sorted by name.
    pub order: &'a [usize],
    /// Their names.
    pub names: Vec<&'a str>,
    /// Their losses, finite.
    pub losses: Vec<f64>,
    /// Their importances.
    pub importance: Vec<f64>,
    /// Their Gramian, divided by `scale^2` so that the largest norm is 1; no norm is 0. Without tasks, where the rule
    /// needs losses only.
    pub gramian: Gramian,
    /// The largest norm among their gradients.
    pub scale: f64,
    /// Between the halves of the rows, of these tasks. Without tasks, where the rule does not need it.
    pub halves: Halves,
    /// One inner product each. Empty, where the rule does not need them.
    pub lookahead: Vec<f64>,
}

impl Present<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.at.len()
    }

    /// Their importances, divided by how many there are.
    pub fn shares(&self) -> Vec<f64> {
        self.importance.iter().map(|importance| importance / self.len() as f64).collect()
    }
}

/// A rule, the tasks it is for, and what it remembers.
struct AtWork<R: Rule> {
    rule: R,
    names: Vec<String>,
    importance: Vec<f64>,
    order: Vec<usize>,
    memory: R::Memory,
}

impl<R: Rule> AtWork<R> {
    fn present(&self, step: &Step<'_>) -> Present<'_> {
        assert_eq!(step.losses.len(), self.names.len(), "one loss, or None, a task");
        let has_loss = |&task: &usize| step.losses[task].is_some_and(f64::is_finite);
        let mut at: Vec<usize> = self.order.iter().copied().filter(has_loss).collect();
        let (mut gramian, mut scale) = (Gramian::of_rows::<f64>(&[]), 0.0);
        let (mut halves, mut lookahead) = (Halves::of_rows::<f64>(&[], &[]), Vec::new());
        match self.rule.needs() {
            Needs::Losses | Needs::Rows => {}
            Needs::Gramian => {
                let all = step.gramian.unwrap_or_else(|| panic!("{} needs the Gramian", R::NAME));
                assert_eq!(all.tasks(), self.names.len(), "a Gramian of all tasks");
                let is_some = |square: f64| square.is_finite() && square >= f64::MIN_POSITIVE;
                at.retain(|&i| is_some(all.at(i, i)) && self.importance[i] > 0.0);
                let largest = at.iter().map(|&i| all.at(i, i)).fold(0.0, f64::max);
                // A gradient 140 orders of magnitude below another is as good as 0; its square is no normal number.
                at.retain(|&i| all.at(i, i) / largest >= 1e-280);
                scale = largest.sqrt();
                gramian = all.of(&at).scaled(&vec![1.0 / scale; at.len()]);
            }
            Needs::TwoHalves => {
                let all = step.halves.unwrap_or_else(|| panic!("{} needs the two halves", R::NAME));
                assert_eq!(all.tasks(), self.names.len(), "halves of all tasks");
                at.retain(|&i| all.is_sound(i) && self.importance[i] > 0.0);
                halves = all.of(&at);
            }
            Needs::Lookahead => {
                let all = step.lookahead.unwrap_or_else(|| panic!("{} needs the lookahead", R::NAME));
                assert_eq!(all.len(), self.names.len(), "one inner product a task");
                at.retain(|&i| all[i].is_finite());
                lookahead = at.iter().map(|&i| all[i]).collect();
            }
        }
        Present {
            names: at.iter().map(|&task| self.names[task].as_str()).collect(),
            losses: at.iter().filter_map(|&task| step.losses[task]).collect(),
            importance: at.iter().map(|&task| self.importance[task]).collect(),
            order: &self.order,
            gramian,
            scale,
            halves,
            lookahead,
            at,
        }
    }

    fn wrong(reason: String) -> BalanceError {
        BalanceError::State { method: R::NAME, reason }
    }
}

impl<R: Rule> Rows for AtWork<R> {
    fn keeps_buffers(&self) -> bool {
        self.rule.sees_rows() == SeesRows::WithBuffers
    }

    fn pass(
        &mut self,
        first: u64,
        losses: &[Option<f64>],
        rows: &mut [&mut [f32]],
        buffers: &mut [&mut [f32]],
    ) {
        let tasks = self.names.len();
        assert!(losses.len() == tasks && rows.len() == tasks, "one loss, or None, and one row a task");
        assert!(!self.keeps_buffers() || buffers.len() == tasks, "one buffer a task");
        let length = rows.first().map_or(0, |row| row.len());
        let lengths = rows.iter().chain(buffers.iter()).map(|slice| slice.len());
        assert!(lengths.into_iter().all(|of| of == length), "rows and buffers of one length");
        let is_present =
            |&task: &usize| losses[task].is_some_and(f64::is_finite) && self.importance[task] > 0.0;
        let at: Vec<usize> = self.order.iter().copied().filter(is_present).collect();
        let losses = at.iter().filter_map(|&task| losses[task]).collect();
        self.rule.pass(&mut self.memory, Chunk { first, at, losses, rows, buffers });
    }
}

impl<R: Rule> Balancer for AtWork<R> {
    fn needs(&self) -> Needs {
        self.rule.needs()
    }

    fn weigh(&mut self, step: &Step<'_>) -> Vec<f64> {
        let mut weights = vec![0.0; self.names.len()];
        // The memory leaves `self` while the present tasks borrow their names from it.
        let mut memory = std::mem::replace(&mut self.memory, R::Memory::of_start(0));
        let present = self.present(step);
        if present.len() > 0 {
            let found = self.rule.weigh(&mut memory, &present);
            for ((&task, weight), importance) in present.at.iter().zip(found).zip(&present.importance) {
                let weight = if R::PREFERS { weight } else { weight * importance };
                weights[task] = weight.clamp(-FURTHEST, FURTHEST);
            }
        }
        self.memory = memory;
        weights
    }

    fn trial(&self, losses: &[Option<f64>]) -> Vec<f64> {
        let is_present = |&task: &usize| losses[task].is_some_and(f64::is_finite);
        let at: Vec<usize> = self.order.iter().copied().filter(is_present).collect();
        let mut weights = vec![0.0; self.names.len()];
        for (&task, weight) in at.iter().zip(self.rule.trial(&self.memory, &at)) {
            weights[task] = weight * if R::PREFERS { 1.0 } else { self.importance[task] };
        }
        weights
    }

    fn rows(&mut self) -> Option<&mut dyn Rows> {
        match self.rule.sees_rows() {
            SeesRows::Not => None,
            SeesRows::WithoutBuffers | SeesRows::WithBuffers => Some(self),
        }
    }

    fn epoch_end(&mut self) {
        self.rule.epoch_end(&mut self.memory);
    }

    fn state(&self) -> Value {
        json!({ "method": R::NAME, "tasks": self.names, "memory": self.memory })
    }

    fn restore(&mut self, state: &Value) -> Result<(), BalanceError> {
        restore_nothing(R::NAME, state)?;
        let tasks = state.get("tasks").unwrap_or(&Value::Null);
        if *tasks != json!(self.names) {
            let expected = self.names.join(", ");
            return Err(Self::wrong(format!("it is of the tasks {tasks}, expected {expected}")));
        }
        let memory = state.get("memory").cloned().unwrap_or(Value::Null);
        let memory: R::Memory =
            serde_json::from_value(memory).map_err(|error| Self::wrong(format!("`memory`: {error}")))?;
        if !memory.is_sound(self.names.len()) {
            return Err(Self::wrong("`memory` has a number out of range, or too few or too many".to_owned()));
        }
        self.memory = memory;
        Ok(())
    }
}

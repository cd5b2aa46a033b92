//! The base of most methods: which tasks take part in a step, where their weights go, how state is kept.
//!
//! A method is a [`MethodImpl`], which sees the active tasks only; [`Stateful`] makes a [`Balancer`](crate::Balancer) of it.
//! Methods see the tasks sorted by name, so the order of tasks in a config does not change a bit.

use crate::error::in_range;
use crate::{BalanceError, Balancer, CrossGramian, GradientTransform, Gramian, Needs, StepStatistics};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

/// The largest absolute weight, so that weights stay within f32's range.
const MAX_WEIGHT: f64 = 1e30;

/// The settings of a method as [`BalancerConfig`](crate::BalancerConfig) uses them.
pub(crate) trait Method {
    /// The method for `tasks`.
    fn build_method(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError>;
}

impl<R: MethodImpl + Clone> Method for R {
    fn build_method(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError> {
        self.build(tasks, importance)
    }
}

/// The weight of every task with a finite loss, 0 for the others: the weights of the methods without state.
pub(crate) fn fixed_weights(weights: &[f64], losses: &[Option<f64>]) -> Vec<f64> {
    assert_eq!(losses.len(), weights.len(), "one loss, or None, per task");
    let active = losses.iter().map(|loss| loss.is_some_and(f64::is_finite));
    weights.iter().zip(active).map(|(&weight, active)| if active { weight } else { 0.0 }).collect()
}

/// Refuses a state that another method saved.
pub(crate) fn check_method_name(method: &'static str, state: &Value) -> Result<(), BalanceError> {
    match state.get("method").and_then(Value::as_str) {
        Some(name) if name == method => Ok(()),
        Some(name) => Err(BalanceError::State { method, reason: format!("it was saved by `{name}`") }),
        None => Err(BalanceError::State { method, reason: "it names no method".to_owned() }),
    }
}

/// A method: its settings, and the weights that they give for a step.
pub(crate) trait MethodImpl: Send + Sized + 'static {
    /// The name, as in `[balance.NAME]`.
    const NAME: &'static str;
    /// Whether the method uses the importances itself, as preferences; otherwise its weights are multiplied by them.
    const USES_PREFERENCES: bool = false;
    /// The state that it keeps from step to step.
    type State: State;

    /// The statistics that it needs.
    fn needs(&self) -> Needs;

    /// Checks the settings.
    fn check(&self) -> Result<(), BalanceError> {
        Ok(())
    }

    /// One weight per active task; there is at least one.
    fn weights(&self, state: &mut Self::State, active: &ActiveTasks<'_>) -> Vec<f64>;

    /// The weights of the trial step, one per active task; 1 each unless the method needs a lookahead.
    fn trial(&self, _state: &Self::State, active: &[usize]) -> Vec<f64> {
        vec![1.0; active.len()]
    }

    /// Marks the end of an epoch.
    fn epoch_end(&self, _state: &mut Self::State) {}

    /// How it accesses the gradients themselves.
    fn gradient_access(&self) -> GradientAccess {
        GradientAccess::None
    }

    /// Transforms one chunk of the gradients, where the method accesses them.
    fn transform_chunk(&self, _state: &mut Self::State, _chunk: Chunk<'_, '_, '_>) {}

    /// Checks the range of one setting.
    fn setting(&self, name: &str, found: f64, least: f64, most: f64) -> Result<(), BalanceError> {
        in_range(format!("balance.{}.{name}", Self::NAME), found, least, most)
    }

    /// The method for `tasks`.
    fn build(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError>
    where
        Self: Clone,
    {
        self.check()?;
        let mut order: Vec<usize> = (0..tasks.len()).collect();
        order.sort_by_key(|&task| tasks[task]);
        Ok(Box::new(Stateful {
            settings: self.clone(),
            names: tasks.iter().map(|&task| task.to_owned()).collect(),
            importance: importance.to_vec(),
            order,
            state: Self::State::initial(tasks.len()),
        }))
    }
}

/// Whether a method accesses the gradients themselves.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum GradientAccess {
    None,
    WithoutBuffers,
    WithBuffers,
}

/// A chunk of the gradients.
pub(crate) struct Chunk<'a, 'r, 'b> {
    /// The index of its first parameter.
    pub offset: u64,
    /// The indices of the active tasks, sorted by name.
    pub indices: Vec<usize>,
    /// Their losses.
    pub losses: Vec<f64>,
    /// The gradients of all tasks.
    pub rows: &'a mut [&'r mut [f32]],
    /// The buffers of all tasks, where the method keeps them.
    pub buffers: &'a mut [&'b mut [f32]],
}

/// The state of a method.
pub(crate) trait State: Serialize + DeserializeOwned + Send {
    /// The state before the first step of `tasks` tasks.
    fn initial(tasks: usize) -> Self;

    /// Whether the method can have reached this state with `tasks` tasks.
    fn is_valid(&self, tasks: usize) -> bool;
}

/// No state.
impl State for () {
    fn initial(_tasks: usize) {}

    fn is_valid(&self, _tasks: usize) -> bool {
        true
    }
}

/// The number of steps so far.
impl State for u64 {
    fn initial(_tasks: usize) -> u64 {
        0
    }

    fn is_valid(&self, _tasks: usize) -> bool {
        true
    }
}

/// The tasks that take part in a step, sorted by name.
pub(crate) struct ActiveTasks<'a> {
    /// Their indices among all tasks.
    pub indices: Vec<usize>,
    /// The indices of all tasks, sorted by name.
    pub order: &'a [usize],
    /// Their names.
    pub names: Vec<&'a str>,
    /// Their losses, finite.
    pub losses: Vec<f64>,
    /// Their importances.
    pub importance: Vec<f64>,
    /// Their Gramian, divided by `scale^2` so that the largest norm is 1; no norm is 0. Empty where the method needs losses
    /// only.
    pub gramian: Gramian,
    /// The largest norm among their gradients.
    pub scale: f64,
    /// Their cross-Gramian between the halves of the rows. Empty where the method does not need it.
    pub cross_gramian: CrossGramian,
    /// One inner product each. Empty where the method does not need them.
    pub lookahead: Vec<f64>,
}

impl ActiveTasks<'_> {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Their importances, divided by their number: the preferences of methods that average.
    pub fn preferences(&self) -> Vec<f64> {
        self.importance.iter().map(|importance| importance / self.len() as f64).collect()
    }
}

/// A method with its tasks and its state.
struct Stateful<R: MethodImpl> {
    settings: R,
    names: Vec<String>,
    importance: Vec<f64>,
    order: Vec<usize>,
    state: R::State,
}

impl<R: MethodImpl> Stateful<R> {
    fn active(&self, step: &StepStatistics<'_>) -> ActiveTasks<'_> {
        assert_eq!(step.losses.len(), self.names.len(), "one loss, or None, per task");
        let has_loss = |&task: &usize| step.losses[task].is_some_and(f64::is_finite);
        let mut indices: Vec<usize> = self.order.iter().copied().filter(has_loss).collect();
        let (mut gramian, mut scale) = (Gramian::of_rows::<f64>(&[]), 0.0);
        let (mut cross_gramian, mut lookahead) = (CrossGramian::of_rows::<f64>(&[], &[]), Vec::new());
        match self.settings.needs() {
            Needs::Losses | Needs::GradientTransform => {}
            Needs::Gramian => {
                let all = step.gramian.unwrap_or_else(|| panic!("{} needs the Gramian", R::NAME));
                assert_eq!(all.tasks(), self.names.len(), "a Gramian of all tasks");
                let is_normal = |square: f64| square.is_finite() && square >= f64::MIN_POSITIVE;
                indices.retain(|&i| is_normal(all.at(i, i)) && self.importance[i] > 0.0);
                let largest = indices.iter().map(|&i| all.at(i, i)).fold(0.0, f64::max);
                // A gradient 140 orders of magnitude below another counts as 0; its square would be subnormal.
                indices.retain(|&i| all.at(i, i) / largest >= 1e-280);
                scale = largest.sqrt();
                gramian = all.of(&indices).scaled(&vec![1.0 / scale; indices.len()]);
            }
            Needs::IndependentHalves => {
                let all = step.cross_gramian.unwrap_or_else(|| panic!("{} needs the cross-Gramian", R::NAME));
                assert_eq!(all.tasks(), self.names.len(), "a cross-Gramian of all tasks");
                indices.retain(|&i| all.is_valid(i) && self.importance[i] > 0.0);
                cross_gramian = all.of(&indices);
            }
            Needs::Lookahead => {
                let all = step.lookahead.unwrap_or_else(|| panic!("{} needs the lookahead", R::NAME));
                assert_eq!(all.len(), self.names.len(), "one inner product per task");
                indices.retain(|&i| all[i].is_finite());
                lookahead = indices.iter().map(|&i| all[i]).collect();
            }
        }
        ActiveTasks {
            names: indices.iter().map(|&task| self.names[task].as_str()).collect(),
            losses: indices.iter().filter_map(|&task| step.losses[task]).collect(),
            importance: indices.iter().map(|&task| self.importance[task]).collect(),
            order: &self.order,
            gramian,
            scale,
            cross_gramian,
            lookahead,
            indices,
        }
    }

    fn wrong(reason: String) -> BalanceError {
        BalanceError::State { method: R::NAME, reason }
    }
}

impl<R: MethodImpl> GradientTransform for Stateful<R> {
    fn keeps_buffers(&self) -> bool {
        self.settings.gradient_access() == GradientAccess::WithBuffers
    }

    fn transform_chunk(
        &mut self,
        offset: u64,
        losses: &[Option<f64>],
        rows: &mut [&mut [f32]],
        buffers: &mut [&mut [f32]],
    ) {
        let tasks = self.names.len();
        assert!(losses.len() == tasks && rows.len() == tasks, "one loss, or None, and one row per task");
        assert!(!self.keeps_buffers() || buffers.len() == tasks, "one buffer per task");
        let length = rows.first().map_or(0, |row| row.len());
        let lengths = rows.iter().chain(buffers.iter()).map(|slice| slice.len());
        assert!(lengths.into_iter().all(|of| of == length), "rows and buffers of one length");
        let is_active =
            |&task: &usize| losses[task].is_some_and(f64::is_finite) && self.importance[task] > 0.0;
        let indices: Vec<usize> = self.order.iter().copied().filter(is_active).collect();
        let losses = indices.iter().filter_map(|&task| losses[task]).collect();
        self.settings.transform_chunk(&mut self.state, Chunk { offset, indices, losses, rows, buffers });
    }
}

impl<R: MethodImpl> Balancer for Stateful<R> {
    fn needs(&self) -> Needs {
        self.settings.needs()
    }

    fn weights(&mut self, step: &StepStatistics<'_>) -> Vec<f64> {
        let mut weights = vec![0.0; self.names.len()];
        // The state is moved out of `self` while the active tasks borrow their names from it.
        let mut state = std::mem::replace(&mut self.state, R::State::initial(0));
        let active = self.active(step);
        if active.len() > 0 {
            let found = self.settings.weights(&mut state, &active);
            for ((&task, weight), importance) in active.indices.iter().zip(found).zip(&active.importance) {
                let weight = if R::USES_PREFERENCES { weight } else { weight * importance };
                weights[task] = weight.clamp(-MAX_WEIGHT, MAX_WEIGHT);
            }
        }
        self.state = state;
        weights
    }

    fn trial(&self, losses: &[Option<f64>]) -> Vec<f64> {
        let is_active = |&task: &usize| losses[task].is_some_and(f64::is_finite);
        let indices: Vec<usize> = self.order.iter().copied().filter(is_active).collect();
        let mut weights = vec![0.0; self.names.len()];
        for (&task, weight) in indices.iter().zip(self.settings.trial(&self.state, &indices)) {
            weights[task] = weight * if R::USES_PREFERENCES { 1.0 } else { self.importance[task] };
        }
        weights
    }

    fn gradient_transform(&mut self) -> Option<&mut dyn GradientTransform> {
        match self.settings.gradient_access() {
            GradientAccess::None => None,
            GradientAccess::WithoutBuffers | GradientAccess::WithBuffers => Some(self),
        }
    }

    fn epoch_end(&mut self) {
        self.settings.epoch_end(&mut self.state);
    }

    fn state(&self) -> Value {
        json!({ "method": R::NAME, "tasks": self.names, "state": self.state })
    }

    fn restore(&mut self, state: &Value) -> Result<(), BalanceError> {
        check_method_name(R::NAME, state)?;
        let tasks = state.get("tasks").unwrap_or(&Value::Null);
        if *tasks != json!(self.names) {
            let expected = self.names.join(", ");
            return Err(Self::wrong(format!("it is of the tasks {tasks}, expected {expected}")));
        }
        let state = state.get("state").cloned().unwrap_or(Value::Null);
        let state: R::State =
            serde_json::from_value(state).map_err(|error| Self::wrong(format!("`state`: {error}")))?;
        if !state.is_valid(self.names.len()) {
            return Err(Self::wrong("`state` has a number out of range, or too few or too many".to_owned()));
        }
        self.state = state;
        Ok(())
    }
}

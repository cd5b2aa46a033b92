//! Steps on rows that are chosen by hand, to measure what a step costs.

use crate::{
    config::{Settings, validate},
    error::TrainError,
    gradients::buffers::Buffers,
    job::Job,
    optimizer::{LearningRates, OptimizerState},
    run::step::{self, StepContext, StepPosition},
};
use balance::{Balancer, Needs};
use data::{Pack, RowRef};
use std::{collections::BTreeMap, sync::atomic::AtomicBool};

/// A job that is trained on chosen rows of its training views, without schedule, evaluation or files.
pub struct ChosenSteps<'a> {
    job: &'a mut Job,
    settings: &'a Settings,
    balancer: Box<dyn Balancer>,
    buffers: Buffers,
    optimizer_state: OptimizerState,
    rates: LearningRates,
    done: usize,
}

impl<'a> ChosenSteps<'a> {
    /// At the beginning of the training.
    ///
    /// # Errors
    /// A job that cannot be trained with these settings, or a balancing method that looks ahead at validation rows: there are none here.
    pub fn new(job: &'a mut Job, settings: &'a Settings) -> Result<Self, TrainError> {
        validate::check(job, settings)?;
        let balancer = validate::balancer(job, settings)?;
        if balancer.needs() == Needs::Lookahead {
            let reason = "it looks ahead at validation rows, and steps on chosen rows have none".into();
            return Err(TrainError::Balancer { method: settings.balance.name(), reason });
        }
        let heads = job.model.tasks.iter().map(|t| (t.name.clone(), t.training.head_learning_rate));
        let rates = settings.rates(heads);
        let optimizer_state = OptimizerState::new(job.model.parameters.len());
        Ok(ChosenSteps {
            job,
            settings,
            balancer,
            buffers: Buffers::default(),
            optimizer_state,
            rates,
            done: 0,
        })
    }

    /// A step of the trainer on these rows, a pack each; the loss of every task. `None` where a loss or gradient was not finite:
    /// nothing has moved then.
    pub fn step(&mut self, packs: &[Vec<RowRef>]) -> Option<BTreeMap<String, f64>> {
        let views = &self.job.views;
        let drawn = |rows: &Vec<RowRef>| Pack::drawn(&views.train, rows, self.settings.train.seed);
        let packs: Vec<Pack> = packs.iter().map(drawn).collect();
        let context = StepContext {
            settings: self.settings,
            balancer: self.balancer.as_mut(),
            buffers: &mut self.buffers,
            validation: None,
            optimizer_state: &mut self.optimizer_state,
            rates: &self.rates,
            factor: 1.0,
            pruning: None,
            memory_limit: None,
            stop: &AtomicBool::new(false),
        };
        let position = StepPosition { index: self.done, progress: 0.0, chunk_tokens: None };
        let below = packs.iter().map(|_| None).collect();
        self.done += 1;
        let found = step::step(&mut self.job.model, &self.job.views, &packs, below, position, context);
        Some(found.ok()?.losses)
    }
}

//! Pruning while a model is trained: structures with the least scores have their weights set to zero, a few at a time, and are cut out of the
//! model that is saved.
//!
//! The scores come from the gradients of the steps ([`structures`]), so that they cost no pass of their own. What is gone does not come back:
//! its weights, and what an optimizer keeps of them, are zero and stay so, because the gradient of a structure whose inputs and outputs are
//! zero is zero; the weights are set to zero again after each step all the same.

pub(crate) mod check;
pub(crate) mod config;
mod structures;

use crate::{gradients::Gradients, optimizer::OptimizerState};
use config::PruningConfig;
use model::pruning::{
    ColumnGates, Cut, CutWeights, CuttableSizes, LayerGates, cut_weights, gates, kept_columns,
};
use model::{Parameters, Trunk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use structures::Structures;

/// What a run remembers of its pruning: by the name of the matrix out of the structures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PruningState {
    ffn: BTreeMap<String, Structures>,
    heads: BTreeMap<String, Structures>,
}

/// A sort of structures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sort {
    Ffn,
    Heads,
}

impl PruningState {
    fn of(&self, sort: Sort) -> &BTreeMap<String, Structures> {
        match sort {
            Sort::Ffn => &self.ffn,
            Sort::Heads => &self.heads,
        }
    }

    fn of_mut(&mut self, sort: Sort) -> &mut BTreeMap<String, Structures> {
        match sort {
            Sort::Ffn => &mut self.ffn,
            Sort::Heads => &mut self.heads,
        }
    }
}

/// The shares that are there of each sort of structures; `None` of one that is not pruned.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Shares {
    pub(crate) ffn: Option<f64>,
    pub(crate) heads: Option<f64>,
}

/// The pruning of a run.
pub(crate) struct GradualPruning {
    config: PruningConfig,
    sizes: CuttableSizes,
    /// Of each layer.
    gates: Vec<LayerGates>,
    /// The names of parameters that gates are made of, by index.
    names: BTreeMap<usize, String>,
    state: PruningState,
    /// What is zero.
    zeros: Vec<CutWeights>,
}

impl GradualPruning {
    /// At the beginning, of a network that can be pruned so ([`check`]).
    pub(crate) fn new(config: &PruningConfig, trunk: &Trunk, parameters: &Parameters) -> Self {
        let mut pruning = GradualPruning {
            config: config.clone(),
            sizes: trunk.cuttable(),
            gates: gates(trunk),
            names: BTreeMap::new(),
            state: PruningState::default(),
            zeros: Vec::new(),
        };
        for (sort, gates) in pruning.all_gates() {
            let name = parameters.parameter(gates.parameter).name.clone();
            pruning.names.insert(gates.parameter, name.clone());
            pruning.state.of_mut(sort).insert(name, Structures::new(gates.count));
        }
        pruning
    }

    /// The gates of what is pruned, layer by layer; those of layers with the same weights are there once.
    fn all_gates(&self) -> Vec<(Sort, ColumnGates)> {
        let mut found: Vec<(Sort, ColumnGates)> = Vec::new();
        for layer in &self.gates {
            let ffn = layer.ffn.filter(|_| self.config.ffn.is_some()).map(|gates| (Sort::Ffn, gates));
            let heads = layer.heads.filter(|_| self.config.heads.is_some()).map(|gates| (Sort::Heads, gates));
            for gates in ffn.into_iter().chain(heads) {
                if !found.contains(&gates) {
                    found.push(gates);
                }
            }
        }
        found
    }

    /// Takes the gradients of a step, which are multiplied by `scale`, before the weights move.
    pub(crate) fn observe(&mut self, parameters: &Parameters, gradients: &Gradients, scale: f64) {
        for (sort, gates) in self.all_gates() {
            let Some(gradient) = gradients.get(gates.parameter) else { continue };
            let (weights, gradient) = (parameters.data(gates.parameter), gradient.clone().values());
            let Some(structures) = self.state.of_mut(sort).get_mut(&self.names[&gates.parameter]) else {
                continue;
            };
            structures.observe(self.config.score, gates, &weights, &gradient, scale);
        }
    }

    /// Sets the weights of what is gone to zero.
    pub(crate) fn hold(&self, parameters: &mut Parameters) {
        for cut in &self.zeros {
            let weight = parameters.take(cut.parameter);
            parameters.put(cut.parameter, weight.changed(|values, width| cut.zero(values, width)));
        }
    }

    /// Whether a cut is due after so many steps, when so much of the training lies behind.
    pub(crate) fn is_due(&self, step: usize, progress: f64) -> bool {
        self.config.is_due(step, progress) && !self.is_complete()
    }

    /// Cuts down to the share of the schedule. The shares that are left; `None` where that is as many as before.
    pub(crate) fn cut(
        &mut self,
        progress: f64,
        trunk: &Trunk,
        parameters: &mut Parameters,
        optimizer: &mut OptimizerState,
    ) -> Option<Shares> {
        let before = self.shares();
        for sort in [Sort::Ffn, Sort::Heads] {
            let left = |count: usize| self.left(sort, count, progress);
            let counts: Vec<usize> = self.state.of(sort).values().map(|of| left(of.scores.len())).collect();
            self.state.of_mut(sort).values_mut().zip(counts).for_each(|(of, left)| of.cut(left));
        }
        let after = self.shares();
        if after == before {
            return None;
        }
        self.set_zeros(trunk);
        self.hold(parameters);
        for cut in &self.zeros {
            optimizer.change(cut.parameter, parameters.parameter(cut.parameter).shape(), |values, width| {
                cut.zero(values, width);
            });
        }
        Some(after)
    }

    fn set_zeros(&mut self, trunk: &Trunk) {
        self.zeros =
            cut_weights(trunk, &self.keep()).expect("as many stay in every layer, of what can be cut");
    }

    /// How many of `count` structures are to be there; on the way as many as the share, at the end those of [`crate::pruning`]'s cut.
    fn left(&self, sort: Sort, count: usize, progress: f64) -> usize {
        let last = self.last(sort, count);
        let share = self.config.share(last as f64 / count as f64, progress);
        ((share * count as f64 - 1e-9).ceil() as usize).clamp(last, count)
    }

    /// How many of `count` structures are there at the end.
    fn last(&self, sort: Sort, count: usize) -> usize {
        match (sort, self.config.ffn, self.config.heads, self.sizes.heads) {
            (Sort::Ffn, Some(share), ..) => kept_columns(count, share),
            (Sort::Heads, _, Some(share), Ok(heads)) => heads.kept(share),
            _ => count,
        }
    }

    /// Whether the last share is reached.
    pub(crate) fn is_complete(&self) -> bool {
        [Sort::Ffn, Sort::Heads]
            .into_iter()
            .all(|sort| self.state.of(sort).values().all(|of| of.left() <= self.last(sort, of.scores.len())))
    }

    /// The shares that are there.
    pub(crate) fn shares(&self) -> Shares {
        let share = |sort| {
            let structures = self.state.of(sort).values().next()?;
            Some(structures.left() as f64 / structures.scores.len() as f64)
        };
        Shares { ffn: share(Sort::Ffn), heads: share(Sort::Heads) }
    }

    /// What is there.
    pub(crate) fn keep(&self) -> Cut {
        let kept = |sort: Sort, gates: fn(&LayerGates) -> Option<ColumnGates>| {
            let of_layer = |layer: &LayerGates| {
                let name = gates(layer).and_then(|gates| self.names.get(&gates.parameter));
                name.and_then(|name| self.state.of(sort).get(name)).map_or_else(Vec::new, Structures::kept)
            };
            self.gates.iter().map(of_layer).collect::<Vec<_>>()
        };
        Cut {
            layers: None,
            hidden: None,
            ffn: self.config.ffn.map(|_| kept(Sort::Ffn, |layer| layer.ffn)),
            head_groups: self.config.heads.map(|_| kept(Sort::Heads, |layer| layer.heads)),
        }
    }

    /// What is to be remembered.
    pub(crate) fn state(&self) -> PruningState {
        self.state.clone()
    }

    /// Takes back what was remembered.
    ///
    /// # Errors
    /// Why it is not of this network.
    pub(crate) fn restore(
        &mut self,
        state: Option<&PruningState>,
        trunk: &Trunk,
    ) -> Result<(), &'static str> {
        let Some(state) = state else { return Err("state.json has no scores and masks of [pruning]") };
        for sort in [Sort::Ffn, Sort::Heads] {
            let (own, found) = (self.state.of(sort), state.of(sort));
            let fits = |(name, of): (&String, &Structures)| {
                found.get(name).is_some_and(|found| found.fits(of.scores.len()))
            };
            let mut lefts = found.values().map(Structures::left);
            let first = lefts.next();
            if own.len() != found.len() || !own.iter().all(fits) || !lefts.all(|left| Some(left) == first) {
                return Err("state.json has scores and masks of [pruning] that are not of this network");
            }
        }
        self.state = state.clone();
        if self.state.ffn.values().chain(self.state.heads.values()).any(|of| of.there.contains(&false)) {
            self.set_zeros(trunk);
        }
        Ok(())
    }
}

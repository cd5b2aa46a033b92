//! DSelect-k: experts over the states of the trunk, of which each task selects at most k, smoothly while it is trained.
//!
//! ```text
//! w_t = sum_i softmax(a_t)_i r(z_t,i)             i = 1..k selectors, each of m = log2(experts) numbers z
//! r_e = prod over the bits of e: S(z) or 1 - S(z)     the highest bit first
//! S(z) = 0 below -g / 2, 1 above g / 2, and -2 z^3 / g^3 + 3 z / (2 g) + 1/2 between
//! ```
//!
//! h_t = sum_e w_t,e f_e(x), with the experts f of `mmoe`. z and a are numbers of the task with `gate = "task"`, and linear in the mean
//! state of the row with `gate = "row"`. Weights sum to 1 and all experts begin as the identity: hard sharing.
//! Defaults: 4 experts, `select = 2`, g 1, gates by task. z begins within g / 100, a within 0.05.
//! Parameters: experts (2 width hidden + width + hidden), and k (m + 1) for each task, by row k (m + 1) hidden.
//! Cost: as `mmoe`; with gates by task an expert that no task selects any more is not computed.
//! When to use: `mmoe` whose gates should decide: which experts a task uses can be read off.
//! Errors: experts that are no power of 2 (their weights would not sum to 1), `select` above the experts, gates by token.
//! Paper: Hazimeh et al. 2021, "DSelect-k: differentiable selection in the mixture of experts with applications to multi-task learning".

use super::build::{SchemeParameters, owners};
use super::experts::{GateInput, StateExperts, split};
use super::targets::refused;
use super::{Sharing, SharingConfig, TrunkShape};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use kernels::RowOffsets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.dselect_k]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DselectKConfig {
    /// How many experts, a power of 2.
    #[schemars(range(min = 1, max = 1024))]
    pub experts: usize,
    /// How many of them a task selects at most: the k of the name.
    #[schemars(range(min = 1, max = 1024))]
    pub select: usize,
    /// Width inside an expert. Left out: that of a state.
    #[schemars(range(min = 1, max = 65536))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub width: Option<usize>,
    /// The width of the range in which a selector is undecided: g.
    #[schemars(range(min = 0.0))]
    pub gamma: f64,
    /// What gates look at: `task` or `row`.
    pub gate: GateInput,
}

impl Default for DselectKConfig {
    fn default() -> Self {
        Self { experts: 4, select: 2, width: None, gamma: 1.0, gate: GateInput::Task }
    }
}

/// The gate of a task: z `[1 or hidden, k m]` and a `[1 or hidden, k]`.
#[derive(Debug, Clone, Copy)]
struct Selectors {
    bits: MatrixId,
    weights: MatrixId,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct DselectK {
    config: DselectKConfig,
    experts: StateExperts,
    gates: BTreeMap<String, Selectors>,
}

const NAME: &str = "dselect_k";

impl DselectK {
    pub(super) fn new(config: DselectKConfig) -> Self {
        DselectK { config, experts: StateExperts::default(), gates: BTreeMap::new() }
    }

    fn bits(&self) -> usize {
        self.config.experts.trailing_zeros() as usize
    }

    /// The weights of the experts `[rows, experts]`, from z `[rows, k m]` and a `[rows, k]`.
    fn weights(&self, z: Tensor<2>, a: Tensor<2>) -> Tensor<2> {
        let (k, m, gamma) = (self.config.select, self.bits(), self.config.gamma);
        let rows = a.dims()[0];
        if m == 0 {
            return Tensor::ones([rows, 1], &a.device());
        }
        let z = z.clamp(-gamma / 2.0, gamma / 2.0);
        let cube = z.clone() * z.clone() * z.clone();
        let on = cube * (-2.0 / gamma.powi(3)) + z * (1.5 / gamma) + 0.5;
        let weights = kernels::softmax(a);
        let column = |x: &Tensor<2>, at: usize| x.clone().slice([0..rows, at..at + 1]);
        let expert = |expert: usize| {
            let selector = |i: usize| {
                let bit = |bit: usize| {
                    let set = expert >> (m - 1 - bit) & 1 == 1;
                    let on = column(&on, i * m + bit);
                    if set { on } else { on * -1.0 + 1.0 }
                };
                (0..m).map(bit).fold(column(&weights, i), |product, factor| product * factor)
            };
            (1..k).map(selector).fold(selector(0), |sum, part| sum + part)
        };
        Tensor::cat((0..self.config.experts).map(expert).collect(), 1)
    }

    /// Whether some task selects an expert: where gates are the tasks', the others get no gradient any more either.
    fn selected(&self, context: &LayerContext<'_>) -> Vec<bool> {
        let experts = self.config.experts;
        if self.config.gate != GateInput::Task {
            return vec![true; experts];
        }
        let mut selected = vec![false; experts];
        for gate in self.gates.values() {
            let weights =
                self.weights(context.matrix(gate.bits).inner(), context.matrix(gate.weights).inner());
            for (selected, weight) in selected.iter_mut().zip(weights.into_data().iter::<f32>()) {
                *selected |= weight != 0.0;
            }
        }
        selected
    }
}

impl Sharing for DselectK {
    fn config(&self) -> SharingConfig {
        SharingConfig::DselectK(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let DselectKConfig { experts, select, width, gamma, gate } = self.config;
        if !experts.is_power_of_two() || experts > 1024 {
            return Err(refused(NAME, "experts", experts, "a power of 2 up to 1024"));
        }
        if select == 0 || select > experts {
            return Err(refused(NAME, "select", select, format!("from 1 to {experts}, the experts")));
        }
        if !(gamma.is_finite() && gamma > 0.0) {
            return Err(refused(NAME, "gamma", gamma, "a number above 0"));
        }
        if gate == GateInput::Token {
            return Err(refused(NAME, "gate", "token", "task or row"));
        }
        let sizes = [trunk.hidden, width.unwrap_or(trunk.hidden)];
        self.experts = StateExperts::build((NAME, "expert"), &None, experts, sizes, parameters)?;
        let (k, m) = (select, self.bits());
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for owner in owners(tasks, false) {
            let Some(task) = &owner else { continue };
            let at = (Role::Gate, Level::Output);
            // By row the sums of so many terms are as large as the numbers of a task.
            let (inputs, shrink) = match gate {
                GateInput::Row => (trunk.hidden, (trunk.hidden as f64).powf(-0.5)),
                GateInput::Task | GateInput::Token => (1, 1.0),
            };
            let first = |bound: f64| Init::Uniform(to_f32(bound * shrink));
            let bits = make.matrix((&owner, "bits"), [inputs, (k * m).max(1)], at, first(gamma / 100.0));
            let weights = make.matrix((&owner, "weights"), [inputs, k], at, first(0.05));
            self.gates.insert(task.clone(), Selectors { bits, weights });
        }
        Ok(())
    }

    fn reads_all_tokens(&self) -> bool {
        self.config.gate == GateInput::Row
    }

    /// The states, and what every expert makes of them that some task selects.
    fn finish(&self, context: &LayerContext<'_>, states: Tensor<2>, _rows: &RowOffsets) -> Tensor<2> {
        self.experts.beside(context, states, &self.selected(context))
    }

    fn reads_out(&self) -> bool {
        true
    }

    fn readout(
        &self,
        task: Option<&str>,
        context: &LayerContext<'_>,
        states: Tensor<2>,
        rows: &RowOffsets,
    ) -> Tensor<2> {
        let experts = self.config.experts;
        let [x, of_experts] = split(states, experts);
        let Some(gate) = task.and_then(|task| self.gates.get(task)) else { return x };
        let (bits, weights) = (context.matrix(gate.bits), context.matrix(gate.weights));
        let weights = match self.config.gate {
            GateInput::Task | GateInput::Token => self.weights(bits, weights),
            GateInput::Row => {
                let means = kernels::segment_mean(x, rows);
                let of_rows = self.weights(means.clone().matmul(bits), means.matmul(weights));
                super::experts::by_token(of_rows, rows)
            }
        };
        kernels::mix(of_experts, weights, experts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    /// NumPy in f64 by the paper's formulas.
    #[test]
    fn weights_are_those_of_the_formulas() {
        let scheme = DselectK::new(DselectKConfig::default());
        let z = Tensor::<2>::from_floats([[0.3, -0.2, -0.1, 0.6]], &Device::flex());
        let a = Tensor::<2>::from_floats([[0.5, -0.5]], &Device::flex());
        let found: Vec<f32> = scheme.weights(z, a).into_data().iter::<f32>().collect();
        let expected = [0.059_608, 0.190_697, 0.513_542, 0.236_154];
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?}");
    }

    #[test]
    fn decided_selectors_leave_the_others_out() {
        let scheme = DselectK::new(DselectKConfig { select: 1, ..Default::default() });
        let z = Tensor::<2>::from_floats([[0.7, -0.9]], &Device::flex());
        let a = Tensor::<2>::from_floats([[0.1]], &Device::flex());
        let found: Vec<f32> = scheme.weights(z, a).into_data().iter::<f32>().collect();
        assert_eq!(found, [0.0, 0.0, 1.0, 0.0]);
    }
}

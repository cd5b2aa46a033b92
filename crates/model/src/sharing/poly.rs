//! Polytropon, and multi-head routing: low-rank updates that each task mixes of an inventory of skills.
//!
//! ```text
//! z_t = sigmoid(r_t)                            r_t: a number for each skill; in training sigmoid(r_t + log(u / (1 - u)))
//! w_t = z_t / sum z_t                           t is the task of the row
//! y = W x + (1 / rank) (sum_s w_ts B_s) (sum_s w_ts A_s) x
//! ```
//!
//! A product of mixtures, not a mixture of products. u is uniform in 0 .. 1 for each skill, task, map and step (a relaxed Bernoulli
//! variable of temperature 1), a pure function of the step's dropout seed; the code of PEFT draws it anew for each row. With `splits`
//! above 1 (multi-head routing) the inputs and the outputs are cut into as many parts, and each part has its own skills and weights.
//! Shapes: A_s `[rank, in]`, B_s `[out, rank]` of all tasks, r_t `[splits skills]` of each, for every map of every layer that `maps` and
//! `first_layer` name. A_s begins uniform in +-1 / sqrt(in / splits), r_t in +-0.001, B_s as zeros: the network begins as it was without.
//! Parameters: `skills rank (in + out)` for each map, and of each task `splits skills`.
//! Defaults: rank 8, 4 skills, 1 split, the queries and values of all layers, `freeze_base` true.
//! Cost: as LoRA with a pair for each task; beside it 2 skills rank (in + out) operations a map, task and pass.
//! PEFT: a saved model has `adapters/shared/`, a `POLY` adapter with the tasks in the order of the config as `task_ids`; `init_from` begins
//! with such a folder.
//! When to use: many tasks that have skills in common, or that have few rows each. Balancing methods that compare gradients compare those
//! of the skills.
//! Errors: as LoRA; no skills; splits that do not divide the inputs and outputs of a map.
//! Papers: Ponti et al. 2023, "Combining parameter-efficient modules for task-level generalisation"; Caccia et al. 2023, "Multi-head adapter
//! routing for cross-task generalization".

use super::low_rank::{At, FactorBuilder, Factors, LowRank, LowRankSettings, Sites, kaiming};
use super::targets::refused;
use super::{InitFrom, Map, PeftAdapter, PeftTensor, SharingConfig, Site};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{MatrixId, Parameters, VectorId};
use burn::tensor::{Tensor, TensorData};
use kernels::MixtureWeights;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};

/// `[sharing.poly]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolyConfig {
    /// Rank of the updates; their scale is `1 / rank`.
    #[schemars(range(min = 1, max = 65536))]
    pub rank: usize,
    /// How many skills each map has; 4 by default.
    #[schemars(range(min = 1, max = 1024))]
    pub skills: usize,
    /// Into how many parts inputs and outputs are cut, each with its own skills and weights; 1 by default.
    #[schemars(range(min = 1, max = 65536))]
    pub splits: usize,
    /// Share of the numbers that A reads set to 0 in training; 0 by default.
    #[schemars(range(min = 0.0, max = 0.95))]
    pub dropout: f32,
    /// Which linear maps are updated; queries and values by default. Where a backbone has none of them: all that it has.
    pub maps: Option<BTreeSet<Map>>,
    /// The lowest layer that is updated, from 0; all by default.
    pub first_layer: usize,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
    /// An adapter in PEFT's layout to begin with: a folder, whose `task_ids` are the tasks in the order of the config.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub init_from: Option<InitFrom>,
}

impl Default for PolyConfig {
    fn default() -> Self {
        Self {
            rank: 8,
            skills: 4,
            splits: 1,
            dropout: 0.0,
            maps: None,
            first_layer: 0,
            freeze_base: true,
            init_from: None,
        }
    }
}

/// Polytropon on a trunk: see the module.
pub type Poly = LowRank<PolyFactors>;

/// See the module.
#[derive(Debug, Clone)]
pub struct PolyFactors {
    config: PolyConfig,
    tasks: Vec<String>,
    of: BTreeMap<Site, Skills>,
}

#[derive(Debug, Clone)]
struct Skills {
    /// `[splits skills in / splits, rank]`, row-major as PEFT's `[splits, skills, in / splits, rank]`.
    a: MatrixId,
    /// `[splits skills rank, out / splits]`
    b: MatrixId,
    /// Of each task, in their order.
    logits: Vec<VectorId>,
}

/// Keeps the division finite, as in PEFT.
const EPS: f32 = 1e-12;

impl PolyFactors {
    /// The weights `[splits, skills]` of a task from its logits, with the logits of uniform noise in training.
    fn weights(&self, logits: Tensor<1>, noise: Option<Vec<f32>>) -> Tensor<2> {
        let PolyConfig { skills, splits, .. } = self.config;
        let logits = logits.reshape([splits, skills]);
        let logits = match noise {
            Some(noise) => {
                let noise = Tensor::from_data(TensorData::new(noise, [splits, skills]), &logits.device());
                logits + noise
            }
            None => logits,
        };
        kernels::mixture_weights(logits, MixtureWeights::Sigmoid { eps: EPS })
    }

    /// `log(u / (1 - u))` for each split and skill of a task.
    fn noise(&self, seed: u64, task: usize) -> Vec<f32> {
        let seed = kernels::splitmix(seed.wrapping_add((task as u64) << 32));
        let uniform = |i: usize| {
            let bits = kernels::splitmix(seed.wrapping_add(i as u64)) >> 11;
            (bits as f64 + 0.5) / (1u64 << 53) as f64
        };
        let logit = |u: f64| to_f32((u / (1.0 - u)).ln());
        (0..self.config.splits * self.config.skills).map(|i| logit(uniform(i))).collect()
    }
}

impl Factors for PolyFactors {
    type Config = PolyConfig;
    const NAME: &'static str = "poly";

    fn new(config: PolyConfig) -> Self {
        PolyFactors { config, tasks: Vec::new(), of: BTreeMap::new() }
    }

    fn table(&self) -> SharingConfig {
        SharingConfig::Poly(self.config.clone())
    }

    fn settings(&self) -> LowRankSettings<'_> {
        let PolyConfig { rank, dropout, ref maps, first_layer, freeze_base, .. } = self.config;
        LowRankSettings {
            rank,
            any_rank: false,
            alpha: None,
            scale: 1.0 / rank as f64,
            dropout,
            maps: maps.as_ref(),
            first_layer,
            freeze_base,
            shared: false,
        }
    }

    fn build(
        &mut self,
        sites: &Sites,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let PolyConfig { rank, skills, splits, .. } = self.config;
        if skills == 0 {
            return Err(refused(Self::NAME, "skills", skills, "1 or more"));
        }
        if let Some(from) = &self.config.init_from {
            // PEFT keeps what all tasks have in one adapter.
            from.check(Self::NAME, true, tasks)?;
        }
        self.tasks = tasks.to_vec();
        let mut make = FactorBuilder { scheme: Self::NAME, parameters };
        for (site, weight) in sites {
            let (outputs, inputs) = (weight.rows.len(), weight.inputs);
            if splits == 0 || !inputs.is_multiple_of(splits) || !outputs.is_multiple_of(splits) {
                let expected = format!("a divisor of {inputs} and {outputs}, the sizes of {site}");
                return Err(refused(Self::NAME, "splits", splits, expected));
            }
            let shape = [skills * inputs, rank];
            let a = make.matrix(*site, None, "a", shape, kaiming(inputs / splits));
            let b = make.matrix(*site, None, "b", [splits * skills * rank, outputs / splits], Init::Zeros);
            let mut of_task =
                |task: &String| make.gate(*site, Some(task), "logits", splits * skills, Init::Uniform(1e-3));
            let logits = tasks.iter().map(&mut of_task).collect();
            self.of.insert(*site, Skills { a, b, logits });
        }
        Ok(())
    }

    fn factors(&self, at: &At<'_>) -> Option<[Tensor<2>; 2]> {
        let Skills { a, b, logits } = self.of.get(&at.site)?;
        let task = self.tasks.iter().position(|task| Some(task.as_str()) == at.task)?;
        let noise = at.seed.map(|seed| self.noise(seed, task));
        let weights = self.weights(at.parameters.vector(logits[task]), noise);
        let skills = self.config.skills;
        let parts = |stacked: Tensor<2>| -> Vec<Tensor<2>> {
            let [rows, columns] = stacked.dims();
            let of = rows / self.config.splits;
            let part = |split: usize| {
                let weights = weights.clone().slice([split..split + 1, 0..skills]).reshape([skills]);
                kernels::weighted_mix(
                    weights,
                    stacked.clone().slice([split * of..(split + 1) * of, 0..columns]),
                )
            };
            (0..self.config.splits).map(part).collect()
        };
        // [in, rank] of the parts of the inputs above one another, [rank, out] of those of the outputs side by side.
        let a = Tensor::cat(parts(at.parameters.matrix(*a)), 0);
        let b = Tensor::cat(parts(at.parameters.matrix(*b)), 1);
        Some([a.transpose(), b.transpose()])
    }

    fn adapters(&self, sites: &Sites) -> Vec<PeftAdapter> {
        let PolyConfig { rank, skills, splits, .. } = self.config;
        let mut tensors = Vec::new();
        for (site, Skills { a, b, logits }) in &self.of {
            let Some(weight) = sites.get(site) else { continue };
            let (outputs, inputs) = (weight.rows.len() / splits, weight.inputs / splits);
            let mut add = |name: &str, shape: &[usize], of: Vec<usize>| {
                tensors.push(PeftTensor::of_map(*site, name, shape, of));
            };
            add("poly_lora_A", &[splits, skills, inputs, rank], vec![a.index()]);
            add("poly_lora_B", &[splits, skills, rank, outputs], vec![b.index()]);
            let of = logits.iter().map(|logits| logits.index()).collect();
            add("poly_router.module_logits", &[logits.len(), splits * skills], of);
        }
        let config = json!({
            "peft_type": "POLY",
            "poly_type": "poly",
            "r": rank,
            "n_tasks": self.tasks.len(),
            "n_skills": skills,
            "n_splits": splits,
            "init_weights": true,
        });
        vec![PeftAdapter::new(None, config, tensors)]
    }

    fn init_from(&self) -> Option<&InitFrom> {
        self.config.init_from.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(skills: usize) -> PolyFactors {
        PolyFactors::new(PolyConfig { skills, ..PolyConfig::default() })
    }

    /// `RelaxedBernoulli(temperature=1, logits=[1, 0.5])` of PyTorch at u = .3, .6, and the weights of PEFT's `PolyRouter`.
    #[test]
    fn weights_are_those_of_a_relaxed_bernoulli_variable() {
        let logits = Tensor::from_floats([1.0, 0.5], &Default::default());
        let noise = [0.3f32, 0.6].map(|u| (u / (1.0 - u)).ln()).to_vec();
        for (noise, expected) in [(None, [0.540_117, 0.459_883]), (Some(noise), [0.430_422, 0.569_578])] {
            let found = of(2).weights(logits.clone(), noise).into_data().try_into_vec::<f32>().unwrap();
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?}");
        }
    }

    #[test]
    fn noise_is_a_pure_function_of_seed_and_task() {
        let skills = of(1000);
        assert_eq!(skills.noise(7, 1), skills.noise(7, 1));
        assert!(skills.noise(7, 1) != skills.noise(7, 0) && skills.noise(7, 1) != skills.noise(8, 1));
        // Logits of uniform numbers: mean 0, deviation pi / sqrt(3).
        let noise = skills.noise(7, 1);
        let mean = noise.iter().sum::<f32>() / 1000.0;
        let deviation = (noise.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / 1000.0).sqrt();
        assert!(mean.abs() < 0.3 && (deviation - 1.814).abs() < 0.2, "{mean} {deviation}");
    }
}

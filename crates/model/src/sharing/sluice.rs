//! Sluice networks: a trunk for each task, learned sums between subspaces of their states, and of each task's layers.
//!
//! ```text
//! x_(t,s) = sum_(u,r) a[(t,s), (u,r)] h_(u,r)                 what enters a layer: subspace s of task t, from those of all tasks
//! h_t     = sum_l b[t, l] h_t,l                               what task t reads, l from what enters the lowest column to the last layer
//! loss   += orthogonality sum |G1^T G2|_F^2                   G1, G2: the rows of a map that make the first and the second subspace
//! ```
//!
//! Shapes: a `[tasks subspaces, tasks subspaces]` for each layer above the lowest, b `[layers + 1]` for each task. A subspace begins with
//! `own` of itself, and the rest from the same subspace of the other tasks; b begins with `last` for the last layer, and the rest for
//! the others. All trunks begin as the checkpoint: with `last = 1` the network begins as hard sharing.
//! Defaults: columns from the first layer of the upper half on, 2 subspaces, own 0.9, last 0.9, no orthogonality (0).
//! Parameters: (tasks - 1) times those of the layers from `first_layer` on; (tasks subspaces)^2 a layer; layers + 1 a task.
//! Cost: as `cross_stitch`, and the states of all layers are kept. The penalty multiplies the maps that end each half of a layer with
//! themselves, once a step.
//! When to use: as `cross_stitch`, where it is not known which layers, and which parts of them, tasks share.
//! Errors: as `cross_stitch`; subspaces that do not divide the width of a state.
//! Paper: Ruder et al. 2019, "Latent multi-task architecture learning".

use super::build::{SchemeParameters, owners};
use super::columns::{Columns, half_of_the_layers};
use super::targets::refused;
use super::{Map, Penalty, Sharing, SharingConfig, TrunkShape, WeightCopies};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, ParameterTensor, Parameters, Role};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use kernels::RowOffsets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.sluice]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct SluiceConfig {
    /// The lowest layer that each task has for itself, from 0. Left out: the first of the upper half.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_layer: Option<usize>,
    /// Into how many equal parts the states of a task are cut.
    #[schemars(range(min = 1, max = 64))]
    pub subspaces: usize,
    /// The weight of a subspace in itself at the beginning, 0 to 1.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub own: f64,
    /// The weight of the last layer in what a task reads, at the beginning.
    pub last: f64,
    /// What the penalty on overlapping subspaces is multiplied by; 0 for none. It needs two subspaces.
    #[schemars(range(min = 0.0))]
    pub orthogonality: f64,
}

impl Default for SluiceConfig {
    fn default() -> Self {
        Self { first_layer: None, subspaces: 2, own: 0.9, last: 0.9, orthogonality: 0.0 }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Sluice {
    config: SluiceConfig,
    columns: Columns,
    hidden: usize,
    /// `[1, (tasks subspaces)^2]`, by the layer that they stand before.
    units: BTreeMap<usize, MatrixId>,
    /// `[1, layers + 1]`, by task.
    layers: BTreeMap<String, MatrixId>,
    /// The maps of all columns whose outputs are states.
    output_maps: Vec<usize>,
}

const NAME: &str = "sluice";

impl Sluice {
    pub(super) fn new(config: SluiceConfig) -> Self {
        Sluice {
            config,
            columns: Columns::default(),
            hidden: 0,
            units: BTreeMap::new(),
            layers: BTreeMap::new(),
            output_maps: Vec::new(),
        }
    }

    fn check(&self, trunk: &TrunkShape) -> Result<(), ModelError> {
        let SluiceConfig { subspaces, own, last, orthogonality, .. } = self.config;
        if subspaces == 0 || subspaces > 64 || !trunk.hidden.is_multiple_of(subspaces) {
            let expected = format!("from 1 to 64, a divisor of {}, the width of a state", trunk.hidden);
            return Err(refused(NAME, "subspaces", subspaces, expected));
        }
        if !(0.0..=1.0).contains(&own) {
            return Err(refused(NAME, "own", own, "a weight from 0 to 1"));
        }
        if !last.is_finite() {
            return Err(refused(NAME, "last", last, "a finite number"));
        }
        if !(orthogonality.is_finite() && orthogonality >= 0.0) {
            return Err(refused(NAME, "orthogonality", orthogonality, "a number, 0 or more"));
        }
        if orthogonality > 0.0 && subspaces != 2 {
            return Err(refused(NAME, "orthogonality", orthogonality, "0, or two subspaces"));
        }
        Ok(())
    }
}

/// `own` for each subspace, and the rest for the same one of the other tasks.
fn first_weights(tasks: usize, subspaces: usize, own: f64) -> Init {
    let n = tasks * subspaces;
    let (own, other) = if tasks > 1 { (own, (1.0 - own) / (tasks - 1) as f64) } else { (1.0, 0.0) };
    let weight = |at: usize| {
        let (to, from) = (at / n, at % n);
        let same_subspace = to % subspaces == from % subspaces;
        to_f32(match (same_subspace, to == from) {
            (_, true) => own,
            (true, false) => other,
            (false, false) => 0.0,
        })
    };
    Init::Data((0..n * n).map(weight).collect())
}

impl Sharing for Sluice {
    fn config(&self) -> SharingConfig {
        SharingConfig::Sluice(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        self.check(trunk)?;
        let SluiceConfig { subspaces, own, last, orthogonality, .. } = self.config;
        let first = self.config.first_layer.unwrap_or_else(|| half_of_the_layers(trunk));
        self.columns = Columns::build(NAME, first, trunk, tasks, parameters)?;
        self.hidden = trunk.hidden;
        if orthogonality > 0.0 {
            let ends = |map: Map| matches!(map, Map::AttentionOutput | Map::FfnOut);
            let maps = trunk.sites().filter(|(site, _)| site.layer >= first && ends(site.map));
            for (_, weight) in maps {
                self.output_maps.push(weight.weight.index());
                self.output_maps.extend(
                    tasks.iter().filter_map(|task| self.columns.copies.get(task, weight.weight.index())),
                );
            }
        }
        let mut make = SchemeParameters { scheme: NAME, parameters };
        let n = tasks.len() * subspaces;
        for layer in first + 1..trunk.layers.len() {
            let at = (Role::Gate, Level::layer(layer));
            let init = first_weights(tasks.len(), subspaces, own);
            self.units.insert(layer, make.matrix((&None, &format!("layer.{layer}")), [1, n * n], at, init));
        }
        let mixed = trunk.layers.len() - first + 1;
        let mut weights = vec![to_f32((1.0 - last) / (mixed - 1) as f64); mixed];
        weights[mixed - 1] = to_f32(last);
        for owner in owners(tasks, false) {
            let Some(task) = &owner else { continue };
            let at = (Role::Gate, Level::Output);
            let of = make.matrix((&owner, "layers"), [1, mixed], at, Init::Data(weights.clone()));
            self.layers.insert(task.clone(), of);
        }
        Ok(())
    }

    fn first_layer(&self) -> usize {
        self.columns.first_layer
    }

    fn columns(&self) -> &[String] {
        &self.columns.tasks
    }

    fn keeps_layers(&self) -> bool {
        true
    }

    fn copies(&self) -> Option<&WeightCopies> {
        Some(&self.columns.copies)
    }

    fn enter(&self, layer: usize, context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        match self.units.get(&layer) {
            Some(unit) => {
                kernels::mix(x, context.matrix(*unit), self.columns.tasks.len() * self.config.subspaces)
            }
            None => self.columns.begin(layer, x),
        }
    }

    fn reads_out(&self) -> bool {
        true
    }

    fn readout(
        &self,
        task: Option<&str>,
        context: &LayerContext<'_>,
        states: Tensor<2>,
        _rows: &RowOffsets,
    ) -> Tensor<2> {
        let of_layer = self.hidden * self.columns.tasks.len();
        let layers = states.dims()[1] / of_layer;
        let own = |layer: usize| {
            let all = kernels::take_columns(states.clone(), layer * of_layer..(layer + 1) * of_layer);
            self.columns.of_task(task, all)
        };
        match task.and_then(|task| self.layers.get(task)) {
            Some(weights) => {
                let own = kernels::join_columns((0..layers).map(own).collect());
                kernels::mix(own, context.matrix(*weights), layers)
            }
            None => own(layers - 1),
        }
    }

    fn penalty(&self, parameters: &Parameters) -> Option<Penalty> {
        let strength = self.config.orthogonality;
        if strength == 0.0 {
            return None;
        }
        let mut penalty = Penalty { value: 0.0, gradients: Vec::new() };
        for index in &self.output_maps {
            let ParameterTensor::Matrix(map) = parameters.parameter(*index).value() else { continue };
            let (value, gradient) = overlap(&map.clone().inner());
            penalty.value += strength * value;
            penalty.gradients.push((*index, ParameterTensor::Matrix(gradient * strength)));
        }
        Some(penalty)
    }
}

/// `|G1^T G2|_F^2` of the upper and the lower half of a matrix, and its gradient, with P = G1^T G2: `2 G2 P^T` above
/// `2 G1 P`.
fn overlap(map: &Tensor<2>) -> (f64, Tensor<2>) {
    let [outputs, inputs] = map.dims();
    let half = outputs / 2;
    let [one, other] = [0..half, half..outputs].map(|rows| map.clone().slice([rows, 0..inputs]));
    let product = one.clone().transpose().matmul(other.clone());
    let d_one = other.clone().matmul(product.clone().transpose());
    let d_other = one.matmul(product.clone());
    let value = (product.clone() * product).sum().into_scalar::<f32>();
    (f64::from(value), Tensor::cat(vec![d_one * 2.0, d_other * 2.0], 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    #[test]
    fn overlap_is_the_norm_of_the_product() {
        let map = Tensor::<2>::from_floats(
            [[1.0, 0.5, 0.0], [0.0, 1.0, -1.0], [0.5, 1.0, 1.0], [2.0, 0.0, 0.5]],
            &Device::flex(),
        );
        assert!((overlap(&map).0 - 12.8125).abs() < 1e-6);
    }
}

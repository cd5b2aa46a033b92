//! Task embeddings: a vector of the task is added to the states of its tokens.
//!
//! ```text
//! x <- x + v_t                 where layer `first_layer` begins
//! ```
//!
//! v begins as zeros: hard sharing. Default: below the first layer.
//! Parameters: hidden for each task.
//! Cost: a row that several tasks read goes through the trunk once for each of them.
//! When to use: the least that lets a network know which task it works for; with many tasks of one kind on texts of different sorts.
//! Errors: a layer that the backbone does not have.
//! Papers: Pilault et al. 2021, "Conditionally adaptive multi-task learning"; as language embeddings in Conneau and Lample 2019,
//! "Cross-lingual language model pretraining".

use super::build::{SchemeParameters, check_first_layer, owners};
use super::{LanePolicy, Sharing, SharingConfig, TrunkShape};
use crate::cast::to_u32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.task_embedding]`
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TaskEmbeddingConfig {
    /// The layer below which the vector is added, from 0.
    pub first_layer: usize,
}

/// See the module.
#[derive(Debug, Clone)]
pub struct TaskEmbedding {
    config: TaskEmbeddingConfig,
    /// `[1, hidden]`, by task.
    vectors: BTreeMap<String, MatrixId>,
}

const NAME: &str = "task_embedding";

impl TaskEmbedding {
    pub(super) fn new(config: TaskEmbeddingConfig) -> Self {
        TaskEmbedding { config, vectors: BTreeMap::new() }
    }
}

impl Sharing for TaskEmbedding {
    fn config(&self) -> SharingConfig {
        SharingConfig::TaskEmbedding(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let first_layer = self.config.first_layer;
        check_first_layer(NAME, first_layer, trunk)?;
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for owner in owners(tasks, false) {
            let Some(task) = &owner else { continue };
            let at = (Role::Gate, Level::layer(first_layer));
            let vector = make.matrix((&owner, "vector"), [1, trunk.hidden], at, Init::Zeros);
            self.vectors.insert(task.clone(), vector);
        }
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        LanePolicy::PerTask
    }

    fn first_layer(&self) -> usize {
        self.config.first_layer
    }

    fn enter(&self, layer: usize, context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        if layer != self.config.first_layer || context.lanes().is_empty() {
            return x;
        }
        let (mut vectors, mut index) = (Vec::new(), Vec::with_capacity(x.dims()[0]));
        for lane in context.lanes().iter() {
            let Some(vector) = self.vectors.get(&lane.task) else { continue };
            index.extend(vec![to_u32(vectors.len()); lane.tokens.len()]);
            vectors.push(context.matrix(*vector));
        }
        kernels::add(x, kernels::gather_rows(Tensor::cat(vectors, 0), &index))
    }
}

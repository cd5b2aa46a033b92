//! Prompt tuning: trained vectors, of each task or of all, go through the layers before the states of a row.
//!
//! ```text
//! x <- [P_t; x]               P_t: `length` trained rows; no head sees what becomes of them
//! ```
//!
//! Shapes: P `[length, hidden]`. They begin at random (0.02): there is no setting that begins as hard
//! sharing. They have no positions: a text keeps its own, and rows may be as long as without.
//! Defaults: length 16, for each task, nothing else of the network is trained (`freeze_base`).
//! Parameters: length hidden, once with `shared`, else for each task.
//! Cost: `length` tokens more in every row. With a prompt for each task, a row that several tasks read goes through the trunk once for each.
//! When to use: very large frozen networks; on small ones it learns slowly and reaches less than LoRA.
//! Errors: a backbone without layers; `gradient_scope = "last_layer"`, whose states would have the prompts among them.
//! Paper: Lester et al. 2021, "The power of scale for parameter-efficient prompt tuning".

use super::build::{OfTask, SchemeParameters, check_first_layer, owners};
use super::targets::{freeze_base, refused};
use super::{LanePolicy, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.prompt]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PromptConfig {
    /// How many vectors stand before a row.
    #[schemars(range(min = 1, max = 65536))]
    pub length: usize,
    /// One prompt for all tasks in place of one for each.
    pub shared: bool,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
}

impl Default for PromptConfig {
    fn default() -> Self {
        Self { length: 16, shared: false, freeze_base: true }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Prompt {
    config: PromptConfig,
    prompts: BTreeMap<OfTask, MatrixId>,
}

const NAME: &str = "prompt";

impl Prompt {
    pub(super) fn new(config: PromptConfig) -> Self {
        Prompt { config, prompts: BTreeMap::new() }
    }
}

impl Sharing for Prompt {
    fn config(&self) -> SharingConfig {
        SharingConfig::Prompt(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let PromptConfig { length, shared, freeze_base: frozen } = self.config;
        check_first_layer(NAME, 0, trunk)?;
        if length == 0 || length > 65_536 {
            return Err(refused(NAME, "length", length, "from 1 to 65536"));
        }
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for owner in owners(tasks, shared) {
            let at = (Role::Adapter, Level::layer(0));
            let prompt = make.matrix((&owner, "prompt"), [length, trunk.hidden], at, Init::Normal(0.02));
            self.prompts.insert(owner, prompt);
        }
        if frozen {
            freeze_base(make.parameters);
        }
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        if self.config.shared { LanePolicy::Shared } else { LanePolicy::PerTask }
    }

    fn first_layer(&self) -> usize {
        0
    }

    fn prompt_length(&self) -> usize {
        self.config.length
    }

    fn prompt(&self, task: Option<&str>, context: &LayerContext<'_>) -> Option<Tensor<2>> {
        let owner = task.filter(|_| !self.config.shared).map(str::to_owned);
        Some(context.matrix(*self.prompts.get(&owner)?))
    }

    /// No token is multiplied with what is put beside it.
    fn used_share(&self, parameters: &Parameters, index: usize) -> f64 {
        if parameters.parameter(index).is_base() { 1.0 } else { 0.0 }
    }
}

//! Prefix tuning: in every layer trained keys and values, of each task or of all, stand before those of a row.
//!
//! ```text
//! attention(q, [K_t; k], [V_t; v])            K_t, V_t: `length` trained rows of the layer, for each task
//! ```
//!
//! Shapes: K and V side by side `[length, 2 hidden]` for each layer. They begin at random (0.02): there is no setting that begins as hard
//! sharing, because every query spends some of its attention on them.
//! Defaults: length 16, for each task, all layers, nothing else of the network is trained (`freeze_base`). No network makes them from
//! smaller ones (PEFT's `prefix_projection`).
//! Parameters: 2 length hidden a layer, once with `shared`, else for each task.
//! Cost: attention over `length` more keys. With a prefix for each task, a row that several tasks read goes through the trunk once for each.
//! When to use: as LoRA, which usually learns faster; where the weights must stay as they are.
//! Errors: a backbone whose attention knows distances (T5) or without attention (bag), a layer that the backbone does not have.
//! Paper: Li and Liang 2021, "Prefix-tuning: optimizing continuous prompts for generation"; Liu et al. 2022, "P-tuning v2".

use super::build::{OfTask, SchemeParameters, check_first_layer, owners};
use super::targets::{freeze_base, refused};
use super::{LanePolicy, Map, Sharing, SharingConfig, TrunkShape};
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{Level, MatrixId, Parameters, Role};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// `[sharing.prefix]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PrefixConfig {
    /// How many keys and values stand before those of a row.
    #[schemars(range(min = 1, max = 65536))]
    pub length: usize,
    /// The lowest layer that has them, from 0; all by default.
    pub first_layer: usize,
    /// One prefix for all tasks in place of one for each.
    pub shared: bool,
    /// Train nothing of the network itself. True by default.
    pub freeze_base: bool,
}

impl Default for PrefixConfig {
    fn default() -> Self {
        Self { length: 16, first_layer: 0, shared: false, freeze_base: true }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub struct Prefix {
    config: PrefixConfig,
    prefixes: BTreeMap<(usize, OfTask), MatrixId>,
}

const NAME: &str = "prefix";

impl Prefix {
    pub(super) fn new(config: PrefixConfig) -> Self {
        Prefix { config, prefixes: BTreeMap::new() }
    }
}

impl Sharing for Prefix {
    fn config(&self) -> SharingConfig {
        SharingConfig::Prefix(self.config.clone())
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let PrefixConfig { length, first_layer, shared, freeze_base: frozen } = self.config;
        check_first_layer(NAME, first_layer, trunk)?;
        if length == 0 || length > 65_536 {
            return Err(refused(NAME, "length", length, "from 1 to 65536"));
        }
        if !trunk.takes_prefixes {
            let expected = "another scheme: the attention of this backbone knows distances, or there is none";
            return Err(refused(NAME, "length", length, expected));
        }
        let owners = owners(tasks, shared);
        let mut make = SchemeParameters { scheme: NAME, parameters };
        for layer in first_layer..trunk.layers.len() {
            let width =
                trunk.layers[layer].iter().find(|site| site.map == Map::Key).map(|key| key.rows.len());
            for owner in &owners {
                let at = (Role::Adapter, Level::layer(layer));
                let shape = [length, 2 * width.unwrap_or(trunk.hidden)];
                let name = format!("layer.{layer}");
                let prefix = make.matrix((owner, &name), shape, at, Init::Normal(0.02));
                self.prefixes.insert((layer, owner.clone()), prefix);
            }
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
        self.config.first_layer
    }

    fn prefix(&self, layer: usize, task: Option<&str>, context: &LayerContext<'_>) -> Option<Tensor<2>> {
        let owner = task.filter(|_| !self.config.shared).map(str::to_owned);
        Some(context.matrix(*self.prefixes.get(&(layer, owner))?))
    }

    /// No token is multiplied with what is put beside it.
    fn used_share(&self, parameters: &Parameters, index: usize) -> f64 {
        if parameters.parameter(index).is_base() { 1.0 } else { 0.0 }
    }
}

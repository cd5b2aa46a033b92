//! Sharing schemes: how the tasks share the trunk. One file each; its leading comment is its documentation.

mod hard;
mod hydra_lora;
mod ia3;
mod lora;
mod low_rank;
mod mtl_lora;
mod peft;
mod poly;
mod targets;
mod vera;

pub use hard::{Hard, HardConfig};
pub use hydra_lora::{HydraLora, HydraLoraConfig};
pub use ia3::{Ia3, Ia3Config};
pub use lora::{Lora, LoraConfig};
pub use mtl_lora::{MtlLora, MtlLoraConfig, Transform};
pub use peft::{InitFrom, PeftAdapter, PeftTensor};
pub use poly::{Poly, PolyConfig};
pub use vera::{Vera, VeraConfig};

use crate::error::ModelError;
use crate::parameters::{MatrixId, ParameterTensor, Parameters, VectorId};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// Makes, of `Scheme(Config), "name", "file"` lines, the table `[sharing.NAME]` and [`CATALOGUE`].
macro_rules! schemes {
    ($($(#[$doc:meta])* $scheme:ident($config:ty), $name:literal, $file:literal;)+) => {
        /// How the tasks share the trunk, a table `[sharing.NAME]`. Default: `hard`.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum SharingConfig {
            $($(#[$doc])* #[serde(rename = $name)] $scheme($config),)+
        }

        /// Every scheme: its name and the source whose leading comment documents it.
        pub const CATALOGUE: &[(&str, &str)] = &[$(($name, include_str!($file)),)+];

        impl SharingConfig {
            /// The scheme's name, as in `[sharing.NAME]`.
            pub fn name(&self) -> &'static str {
                match self { $(SharingConfig::$scheme(_) => $name,)+ }
            }

            /// The scheme, to be put on a trunk ([`crate::Trunk::set_sharing`]).
            pub fn build(&self) -> Box<dyn Sharing> {
                match self { $(SharingConfig::$scheme(config) => Box::new(<$scheme>::new(config.clone())),)+ }
            }

            /// Every scheme with its default settings.
            pub fn all() -> Vec<SharingConfig> {
                vec![$(SharingConfig::$scheme(<$config>::default()),)+]
            }
        }
    };
}

schemes! {
    /// The same trunk for all tasks.
    Hard(HardConfig), "hard", "hard.rs";
    /// A low-rank update of linear maps, for each task or for all (Hu et al. 2022).
    Lora(LoraConfig), "lora", "lora.rs";
    /// A low-rank update whose first factor all tasks share, with a transform and a mixture of second factors for each task
    /// (Yang et al. 2024).
    MtlLora(MtlLoraConfig), "mtl_lora", "mtl_lora.rs";
    /// Low-rank updates by random factors that are not trained, with two trained vectors for each map (Kopiczko et al. 2024).
    Vera(VeraConfig), "vera", "vera.rs";
    /// Trained scales of keys, values and the states inside feed-forward blocks (Liu et al. 2022).
    Ia3(Ia3Config), "ia3", "ia3.rs";
    /// Low-rank updates mixed for each task of an inventory of skills (Ponti et al. 2023).
    Poly(PolyConfig), "poly", "poly.rs";
    /// A low-rank update with several second factors, mixed for each token (Tian et al. 2024).
    HydraLora(HydraLoraConfig), "hydra_lora", "hydra_lora.rs";
}

impl Default for SharingConfig {
    fn default() -> Self {
        SharingConfig::Hard(HardConfig::default())
    }
}

/// A linear map inside a layer, by what it makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Map {
    /// Queries of the self-attention.
    Query,
    /// Keys of the self-attention.
    Key,
    /// Values of the self-attention.
    Value,
    /// The output of the self-attention.
    AttentionOutput,
    /// Into the feed-forward block.
    FfnIn,
    /// The gate of the feed-forward block.
    FfnGate,
    /// Out of the feed-forward block.
    FfnOut,
}

/// A linear map of a layer of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// The layer, from 0.
    pub layer: usize,
    /// Which of its maps.
    pub map: Map,
}

impl Map {
    /// Its name in a config.
    pub fn name(self) -> &'static str {
        match self {
            Map::Query => "query",
            Map::Key => "key",
            Map::Value => "value",
            Map::AttentionOutput => "attention_output",
            Map::FfnIn => "ffn_in",
            Map::FfnGate => "ffn_gate",
            Map::FfnOut => "ffn_out",
        }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "layer.{}.{}", self.layer, self.map.name())
    }
}

/// Which rows of a weight a site's map is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteWeight {
    /// The map.
    pub map: Map,
    /// The weight, `[out, in]`; several maps may be parts of one.
    pub weight: MatrixId,
    /// The bias of the layer, of whose numbers the map has those of its rows; `None` for a layer without.
    pub bias: Option<VectorId>,
    /// Its rows that are this map.
    pub rows: Range<usize>,
    /// Its columns.
    pub inputs: usize,
}

/// What a sharing scheme is told of the trunk that it is built on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrunkShape {
    /// Width of a state.
    pub hidden: usize,
    /// For each layer its linear maps.
    pub layers: Vec<Vec<SiteWeight>>,
}

impl TrunkShape {
    /// Every linear map of every layer.
    pub fn sites(&self) -> impl Iterator<Item = (Site, &SiteWeight)> {
        let of = |(layer, maps): (usize, &'_ Vec<SiteWeight>)| -> Vec<(Site, usize)> {
            maps.iter().enumerate().map(|(i, w)| (Site { layer, map: w.map }, i)).collect()
        };
        let sites: Vec<(Site, usize)> = self.layers.iter().enumerate().flat_map(of).collect();
        sites.into_iter().map(move |(site, i)| (site, &self.layers[site.layer][i]))
    }
}

/// Which rows go through the trunk by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LanePolicy {
    /// None: all tasks have the same states.
    #[default]
    Shared,
    /// Each task's: a lane a task, with a copy of a row for every task that reads it.
    PerTask,
}

/// How the tasks share the trunk. Every method but `config` has a default, and the defaults are hard sharing, to the bit.
pub trait Sharing: Send + Sync + fmt::Debug {
    /// Its table in a config.
    fn config(&self) -> SharingConfig;

    /// Adds the scheme's parameters, with owners, roles and depths, and freezes what it freezes. Called once, when the backbone's
    /// parameters are there.
    ///
    /// # Errors
    /// When its settings do not fit the trunk.
    fn build(
        &mut self,
        _trunk: &TrunkShape,
        _tasks: &[String],
        _parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        Ok(())
    }

    /// Which rows go through the trunk by themselves.
    fn lanes(&self) -> LanePolicy {
        LanePolicy::Shared
    }

    /// The lowest layer that the scheme touches: what is below may be frozen without dropout, and its states kept.
    fn first_layer(&self) -> usize {
        usize::MAX
    }

    /// Whether [`Sharing::input`] or [`Sharing::linear`] changes what a linear map reads or gives. Where neither does, fused
    /// operations stay fused.
    fn hooks(&self, _site: Site) -> bool {
        false
    }

    /// What a linear map reads in place of `x` `[n, in]`. Not asked where several maps are one product, as queries, keys and values
    /// of a BERT are: these read the same.
    fn input(&self, _site: Site, _context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        x
    }

    /// The output of a linear map on `x` `[n, in]`, whose shared weights gave `y` `[n, out..]`, of which the map's are `columns`.
    fn linear(
        &self,
        _site: Site,
        _context: &LayerContext<'_>,
        _x: &Tensor<2>,
        y: Tensor<2>,
        _columns: Range<usize>,
    ) -> Tensor<2> {
        y
    }

    /// A task's weights with the scheme folded in, as whole tensors by their index in the table; `None` where that cannot be.
    fn merged(&self, _task: &str, _parameters: &Parameters) -> Option<Vec<(usize, ParameterTensor)>> {
        Some(Vec::new())
    }

    /// What PEFT reads of it, an adapter each; none where PEFT has no such method.
    fn adapters(&self) -> Vec<PeftAdapter> {
        Vec::new()
    }

    /// The adapters in PEFT's layout that it begins with.
    fn init_from(&self) -> Option<&InitFrom> {
        None
    }
}

//! Sharing schemes: how the tasks share the trunk. One file each; its leading comment is its documentation.

mod adapter_fusion;
mod adapters;
mod bitfit;
mod branch;
mod build;
mod cgc;
mod columns;
mod conditional_norm;
mod copies;
mod cross_stitch;
mod dselect_k;
mod experts;
mod hard;
mod hydra_lora;
mod hyper_adapters;
mod ia3;
mod learn_to_branch;
mod lora;
mod low_rank;
mod mix_lora;
mod mmoe;
mod moe;
mod mtan;
mod mtl_lora;
mod pals;
mod peft;
mod ple;
mod poly;
mod prefix;
mod prompt;
mod scalar_mix;
mod sluice;
mod soft;
mod targets;
mod task_embedding;
mod vera;

pub use adapter_fusion::{AdapterFusion, AdapterFusionConfig, FusedAdapter};
pub use adapters::{Adapters, AdaptersConfig};
pub use bitfit::{Bitfit, BitfitConfig};
pub use branch::{Branch, BranchConfig, BranchLevel};
pub use cgc::{Cgc, CgcConfig};
pub use conditional_norm::{ConditionalNorm, ConditionalNormConfig};
pub use copies::WeightCopies;
pub use cross_stitch::{CrossStitch, CrossStitchConfig};
pub use dselect_k::{DselectK, DselectKConfig};
pub use experts::{GateInput, RouterInput};
pub use hard::{Hard, HardConfig};
pub use hydra_lora::{HydraLora, HydraLoraConfig};
pub use hyper_adapters::{HyperAdapters, HyperAdaptersConfig};
pub use ia3::{Ia3, Ia3Config};
pub use learn_to_branch::{LearnToBranch, LearnToBranchConfig};
pub use lora::{Lora, LoraConfig};
pub use mix_lora::{MixLora, MixLoraConfig};
pub use mmoe::{Mmoe, MmoeConfig};
pub use moe::{Moe, MoeConfig};
pub use mtan::{Mtan, MtanConfig};
pub use mtl_lora::{MtlLora, MtlLoraConfig, Transform};
pub use pals::{Pals, PalsConfig};
pub use peft::{InitFrom, PeftAdapter, PeftTensor};
pub use ple::{Ple, PleConfig};
pub use poly::{Poly, PolyConfig};
pub use prefix::{Prefix, PrefixConfig};
pub use prompt::{Prompt, PromptConfig};
pub use scalar_mix::{ScalarMix, ScalarMixConfig};
pub use sluice::{Sluice, SluiceConfig};
pub use soft::{Soft, SoftConfig, SoftPenalty};
pub use task_embedding::{TaskEmbedding, TaskEmbeddingConfig};
pub use vera::{Vera, VeraConfig};

use crate::error::ModelError;
use crate::parameters::{Level, MatrixId, ParameterTensor, Parameters, VectorId};
use crate::trunk::{EncoderInput, FeedForwardId, LayerContext, TokenSelection};
use burn::tensor::Tensor;
use kernels::RowOffsets;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

/// Whether a scheme's settings have `freeze_base = true`.
fn says_freeze_base(config: &impl Serialize) -> bool {
    serde_json::to_value(config).is_ok_and(|config| config["freeze_base"] == true)
}

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

            /// Whether it says that nothing of the network itself is trained.
            pub fn freezes_base(&self) -> bool {
                match self {
                    $(SharingConfig::$scheme(config) => says_freeze_base(config),)+
                }
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
    /// Layers of their own for groups of tasks, from a layer on (Lu et al. 2017).
    Branch(BranchConfig), "branch", "branch.rs";
    /// A sum of the states of all layers for each task (Peters et al. 2018).
    ScalarMix(ScalarMixConfig), "scalar_mix", "scalar_mix.rs";
    /// Masks of each task over the states of all layers (Liu et al. 2019).
    Mtan(MtanConfig), "mtan", "mtan.rs";
    /// A trunk for each task, drawn together by a penalty (Duong et al. 2015).
    Soft(SoftConfig), "soft", "soft.rs";
    /// A trunk for each task and learned sums between their layers (Misra et al. 2016).
    CrossStitch(CrossStitchConfig), "cross_stitch", "cross_stitch.rs";
    /// Cross-stitch between subspaces, and a sum of layers for each task (Ruder et al. 2019).
    Sluice(SluiceConfig), "sluice", "sluice.rs";
    /// A trunk for each task, and a search for the tree that they share (Guo et al. 2020).
    LearnToBranch(LearnToBranchConfig), "learn_to_branch", "learn_to_branch.rs";
    /// Experts over the states, weighted by a gate for each task (Ma et al. 2018).
    Mmoe(MmoeConfig), "mmoe", "mmoe.rs";
    /// Shared experts beside those of each task, over the states (Tang et al. 2020).
    Cgc(CgcConfig), "cgc", "cgc.rs";
    /// Levels of shared experts and those of each task, with a shared path (Tang et al. 2020).
    Ple(PleConfig), "ple", "ple.rs";
    /// Experts over the states of which each task selects at most k (Hazimeh et al. 2021).
    DselectK(DselectKConfig), "dselect_k", "dselect_k.rs";
    /// Feed-forward blocks of which a token goes through some, upcycled (Komatsuzaki et al. 2023).
    Moe(MoeConfig), "moe", "moe.rs";
    /// Low-rank experts of the feed-forward block, of which a token goes through some (Li et al. 2024).
    MixLora(MixLoraConfig), "mix_lora", "mix_lora.rs";
    /// A small attention of each task beside every layer (Stickland and Murray 2019).
    Pals(PalsConfig), "pals", "pals.rs";
    /// A bottleneck in every layer, for each task or for all (Houlsby et al. 2019).
    Adapters(AdaptersConfig), "adapters", "adapters.rs";
    /// Trained adapters weighted by an attention of each task (Pfeiffer et al. 2021).
    AdapterFusion(AdapterFusionConfig), "adapter_fusion", "adapter_fusion.rs";
    /// Bottleneck adapters whose weights a shared network makes (Karimi Mahabadi et al. 2021).
    HyperAdapters(HyperAdaptersConfig), "hyper_adapters", "hyper_adapters.rs";
    /// A low-rank update of linear maps, for each task or for all (Hu et al. 2022).
    Lora(LoraConfig), "lora", "lora.rs";
    /// A low-rank update whose first factor all tasks share, with a transform and a mixture of second factors for each task
    /// (Yang et al. 2024).
    MtlLora(MtlLoraConfig), "mtl_lora", "mtl_lora.rs";
    /// A low-rank update with several second factors, mixed for each token (Tian et al. 2024).
    HydraLora(HydraLoraConfig), "hydra_lora", "hydra_lora.rs";
    /// Low-rank updates by random factors that are not trained, with two trained vectors for each map (Kopiczko et al. 2024).
    Vera(VeraConfig), "vera", "vera.rs";
    /// Trained scales of keys, values and the states inside feed-forward blocks (Liu et al. 2022).
    Ia3(Ia3Config), "ia3", "ia3.rs";
    /// Low-rank updates mixed for each task of an inventory of skills (Ponti et al. 2023).
    Poly(PolyConfig), "poly", "poly.rs";
    /// Trained keys and values before those of a row, in every layer (Li and Liang 2021).
    Prefix(PrefixConfig), "prefix", "prefix.rs";
    /// Trained states before those of a row (Lester et al. 2021).
    Prompt(PromptConfig), "prompt", "prompt.rs";
    /// Biases of their own for each task, and nothing else trained (Ben Zaken et al. 2022).
    Bitfit(BitfitConfig), "bitfit", "bitfit.rs";
    /// A vector of the task added to its states (Pilault et al. 2021).
    TaskEmbedding(TaskEmbeddingConfig), "task_embedding", "task_embedding.rs";
    /// Scales and shifts of norms for each task (Perez et al. 2018).
    ConditionalNorm(ConditionalNormConfig), "conditional_norm", "conditional_norm.rs";
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
    /// Whether keys and values may stand before those of a sequence ([`Sharing::prefix`]).
    pub takes_prefixes: bool,
    /// Whether a token sees none after it.
    pub causal: bool,
}

impl TrunkShape {
    /// How many numbers a map of a layer reads; `None` where the layer has none.
    pub fn inputs_of(&self, layer: usize, map: Map) -> Option<usize> {
        self.layers.get(layer)?.iter().find(|site| site.map == map).map(|site| site.inputs)
    }

    /// In how many layers a weight stands: more than one where layers have the same (ALBERT).
    pub fn uses(&self, weight: usize) -> usize {
        self.layers.iter().filter(|maps| maps.iter().any(|map| map.weight.index() == weight)).count()
    }

    /// Whether a weight stands both below a layer, and in it or above.
    pub fn repeats_across(&self, layer: usize) -> bool {
        let (below, above) = self.layers.split_at(layer.min(self.layers.len()));
        let below: BTreeSet<usize> = below.iter().flatten().map(|map| map.weight.index()).collect();
        above.iter().flatten().any(|map| below.contains(&map.weight.index()))
    }

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
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum LanePolicy {
    /// None: all tasks have the same states.
    #[default]
    Shared,
    /// Each task's: a lane a task, with a copy of a row for every task that reads it.
    PerTask,
    /// Those of each group of tasks: a lane a group, with a copy of a row for every group of which a task reads it. Every task is in
    /// one group; a lane is called by the first task of its group.
    PerGroup(Vec<Vec<String>>),
}

/// How the tokens of a pack go through a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LayerPass {
    /// All at once, with the backbone's weights.
    #[default]
    Joint,
    /// Lane by lane, with the weights that the lane has for itself ([`Sharing::copies`]).
    PerLane,
    /// All of them once for each task, with the task's weights: a state has a column for each task ([`Sharing::columns`]).
    PerColumn,
}

/// A half of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Half {
    /// The attention.
    Attention,
    /// The feed-forward block.
    FeedForward,
}

/// A term of the loss that is a function of the weights alone.
#[derive(Debug, Clone)]
pub struct Penalty {
    /// Its value.
    pub value: f64,
    /// The gradient of some parameters, by index.
    pub gradients: Vec<(usize, ParameterTensor)>,
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

    /// How tokens go through a layer, or through what follows the last one ([`Level::Output`]).
    fn layer_pass(&self, _level: Level) -> LayerPass {
        if self.columns().is_empty() { LayerPass::Joint } else { LayerPass::PerColumn }
    }

    /// The copies of the backbone's weights that stand for these in the lane or column of a task ([`LayerPass`]).
    fn copies(&self) -> Option<&WeightCopies> {
        None
    }

    /// The tasks whose columns a state has, from the first layer with [`LayerPass::PerColumn`] on; empty without columns.
    fn columns(&self) -> &[String] {
        &[]
    }

    /// The states that enter a layer from [`Sharing::first_layer`] on: `x` `[n, width]`, where the width is that of the backbone, or
    /// of all columns. The first layer with columns gets the width of the backbone and returns that of all columns.
    fn enter(&self, _layer: usize, _context: &LayerContext<'_>, x: Tensor<2>) -> Tensor<2> {
        x
    }

    /// Whether [`Sharing::after_half`] changes what a half of a layer gives.
    fn hooks_half(&self, _layer: usize, _half: Half) -> bool {
        false
    }

    /// What a half of a layer gives, before it is added to the states: `y` `[n, hidden]` after dropout, of the input `x`
    /// `[n, hidden]` of its maps.
    fn after_half(
        &self,
        _layer: usize,
        _half: Half,
        _context: &LayerContext<'_>,
        _x: &Tensor<2>,
        y: Tensor<2>,
    ) -> Tensor<2> {
        y
    }

    /// Keys and values `[length, 2 h]` that stand before those of every sequence of a task in a layer, of as many for every task; the task is
    /// `None` where tokens are in no lane. `None` without any.
    fn prefix(&self, _layer: usize, _task: Option<&str>, _context: &LayerContext<'_>) -> Option<Tensor<2>> {
        None
    }

    /// How many states stand before those of every sequence from the first layer on; 0 for none.
    fn prompt_length(&self) -> usize {
        0
    }

    /// These states `[length, hidden]` for the sequences of a task; the task is `None` where tokens are in no lane.
    fn prompt(&self, _task: Option<&str>, _context: &LayerContext<'_>) -> Option<Tensor<2>> {
        None
    }

    /// What is added to the output of the feed-forward half of a layer, from the states `x` `[n, hidden]` that enter the layer: of the
    /// selected tokens, where there is a selection.
    fn beside_layer(
        &self,
        _layer: usize,
        _context: &LayerContext<'_>,
        _x: &Tensor<2>,
        _input: &EncoderInput<'_>,
        _selection: Option<&TokenSelection<'_>>,
    ) -> Option<Tensor<2>> {
        None
    }

    /// What stands in place of a feed-forward block: its output `[n, hidden]` from `x` `[n, hidden]`; `None`: the block itself.
    fn feed_forward(
        &self,
        _layer: usize,
        _context: &LayerContext<'_>,
        _x: &Tensor<2>,
        _block: &FeedForwardId,
    ) -> Option<Tensor<2>> {
        None
    }

    /// Whether the trunk gives the states of all layers side by side, from those that enter [`Sharing::first_layer`] to the last.
    fn keeps_layers(&self) -> bool {
        false
    }

    /// Whether the scheme looks at all tokens of a row, also at those whose states no head reads.
    fn reads_all_tokens(&self) -> bool {
        false
    }

    /// Whether the scheme lets tokens of a row attend to each other by itself, so that what it makes of a token needs those before it.
    fn attends(&self) -> bool {
        false
    }

    /// What the trunk gives, computed once for all tasks: `[n, any width]` of its states `[n, width]`. `rows` are the offsets of the
    /// sequences.
    fn finish(&self, _context: &LayerContext<'_>, states: Tensor<2>, _rows: &RowOffsets) -> Tensor<2> {
        states
    }

    /// Whether each task reads something else of what the trunk gives ([`Sharing::readout`]).
    fn reads_out(&self) -> bool {
        false
    }

    /// What a task reads of what the trunk gives: `[n, hidden]` of `[n, any width]`, of the rows of the task alone. `None` for
    /// what no task reads: the network's own states.
    fn readout(
        &self,
        _task: Option<&str>,
        _context: &LayerContext<'_>,
        states: Tensor<2>,
        _rows: &RowOffsets,
    ) -> Tensor<2> {
        states
    }

    /// A term of the loss that is a function of the weights alone, and its gradients by parameter; `None` without one.
    fn penalty(&self, _parameters: &Parameters) -> Option<Penalty> {
        None
    }

    /// The branches that a search for them has found, as `[[sharing.branch.levels]]`; `None` for what searches none.
    fn branches(&self, _parameters: &Parameters) -> Option<Vec<BranchLevel>> {
        None
    }

    /// How often a token is multiplied with a parameter of the tasks that it is of: less than 1 for experts of which it goes through
    /// some. For counts of operations.
    fn used_share(&self, _parameters: &Parameters, _index: usize) -> f64 {
        1.0
    }

    /// A task's weights with the scheme folded in, as whole matrices; `None` where that cannot be.
    /// A task's weights with the scheme folded in, as whole tensors by their index in the table; `None` where that cannot be.
    fn merged(&self, _task: &str, _parameters: &Parameters) -> Option<Vec<(usize, ParameterTensor)>> {
        None
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

//! What the schemes have in common whose update of a linear map is a product of two small matrices: `y = W x + scale B_t A_t x`.
//!
//! Each says what the factors of a task are ([`Factors`]); where they apply, how tokens of many tasks get theirs in one pass, dropout,
//! and folding the update into the weights are the same for all.

use super::targets::{Targets, freeze_base, positive, rank_fits, refused};
use super::{InitFrom, LanePolicy, Map, PeftAdapter, Sharing, SharingConfig, Site, SiteWeight, TrunkShape};
use crate::cast::to_f32;
use crate::error::ModelError;
use crate::init::Init;
use crate::parameters::{
    Depth, Level, MatrixId, Owner, ParameterSpec, ParameterTensor, Parameters, Role, VectorId,
};
use crate::trunk::LayerContext;
use burn::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::ops::Range;

/// The settings that all low-rank schemes have.
pub struct LowRankSettings<'a> {
    /// `rank`
    pub rank: usize,
    /// Whether the rank may exceed the sizes of a map.
    pub any_rank: bool,
    /// What `alpha` is, where the scheme has it.
    pub alpha: Option<f64>,
    /// What updates are multiplied by.
    pub scale: f64,
    /// Dropout of what the first factor reads.
    pub dropout: f32,
    /// `maps`
    pub maps: Option<&'a BTreeSet<Map>>,
    /// `first_layer`
    pub first_layer: usize,
    /// `freeze_base`
    pub freeze_base: bool,
    /// One update for all tasks.
    pub shared: bool,
}

/// Whose factors of which map are wanted.
pub struct At<'a> {
    /// The map.
    pub site: Site,
    /// Its weight.
    pub weight: &'a SiteWeight,
    /// The task; `None` where all have the same.
    pub task: Option<&'a str>,
    /// The table.
    pub parameters: &'a Parameters,
    /// In training a seed of this map and step, for noise.
    pub seed: Option<u64>,
}

/// The maps that are updated, by site.
pub type Sites = BTreeMap<Site, SiteWeight>;

/// What a low-rank scheme says about itself.
pub trait Factors: Debug + Send + Sync {
    /// Its table in a config.
    type Config;
    /// Its name in a config.
    const NAME: &'static str;

    /// With these settings.
    fn new(config: Self::Config) -> Self;

    /// Its table in a config.
    fn table(&self) -> SharingConfig;

    /// The settings that all have.
    fn settings(&self) -> LowRankSettings<'_>;

    /// Adds its parameters of these maps.
    fn build(
        &mut self,
        sites: &Sites,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError>;

    /// A `[rank, in]` and B `[out, rank]`; `None` for a task that has none.
    fn factors(&self, at: &At<'_>) -> Option<[Tensor<2>; 2]>;

    /// What each output of the updated map is multiplied by, the bias apart, `[out]`; `None` for 1.
    fn output_factor(&self, _at: &At<'_>, _factors: &[Tensor<2>; 2]) -> Option<Tensor<1>> {
        None
    }

    /// As [`Sharing::adapters`].
    fn adapters(&self, _sites: &Sites) -> Vec<PeftAdapter> {
        Vec::new()
    }

    /// As [`Sharing::init_from`].
    fn init_from(&self) -> Option<&InitFrom> {
        None
    }
}

/// A low-rank scheme on a trunk: see the module.
#[derive(Debug, Clone)]
pub struct LowRank<F> {
    factors: F,
    sites: Sites,
}

impl<F: Factors> LowRank<F> {
    pub(super) fn new(config: F::Config) -> Self {
        LowRank { factors: F::new(config), sites: BTreeMap::new() }
    }

    /// The factors of a map, and with them what its outputs are multiplied by.
    fn at(&self, at: &At<'_>) -> Option<([Tensor<2>; 2], Option<Tensor<1>>)> {
        let factors = self.factors.factors(at)?;
        let factor = self.factors.output_factor(at, &factors);
        Some((factors, factor))
    }

    fn targets(&self) -> Targets<'_> {
        let LowRankSettings { maps, first_layer, .. } = self.factors.settings();
        Targets { scheme: F::NAME, maps, usual: &[Map::Query, Map::Value], first_layer }
    }
}

/// Dropout sites of the schemes lie above those of any backbone: 16 for the maps of each layer, of noise again as many.
const DROPOUT_SITES: u64 = 1 << 32;
const NOISE_SITES: u64 = 1 << 33;

fn number(site: Site) -> u64 {
    16 * site.layer as u64 + site.map as u64
}

impl<F: Factors> Sharing for LowRank<F> {
    fn config(&self) -> SharingConfig {
        self.factors.table()
    }

    fn build(
        &mut self,
        trunk: &TrunkShape,
        tasks: &[String],
        parameters: &mut Parameters,
    ) -> Result<(), ModelError> {
        let sites = self.targets().choose(trunk)?;
        let settings = self.factors.settings();
        if let Some(alpha) = settings.alpha {
            positive(F::NAME, "alpha", alpha)?;
        }
        if !(0.0..=0.95).contains(&settings.dropout) {
            return Err(refused(F::NAME, "dropout", settings.dropout, "a rate from 0 to 0.95"));
        }
        if !settings.any_rank {
            rank_fits(F::NAME, settings.rank, &sites)?;
        } else if settings.rank == 0 {
            return Err(refused(F::NAME, "rank", 0, "1 or more"));
        }
        if let Some(from) = self.factors.init_from() {
            from.check(F::NAME, settings.shared, tasks)?;
        }
        let frozen = settings.freeze_base;
        self.factors.build(&sites, tasks, parameters)?;
        self.sites = sites;
        if frozen {
            freeze_base(parameters);
        }
        Ok(())
    }

    fn lanes(&self) -> LanePolicy {
        if self.factors.settings().shared { LanePolicy::Shared } else { LanePolicy::PerTask }
    }

    fn first_layer(&self) -> usize {
        self.factors.settings().first_layer
    }

    fn hooks(&self, site: Site) -> bool {
        self.sites.contains_key(&site)
    }

    fn linear(
        &self,
        site: Site,
        context: &LayerContext<'_>,
        x: &Tensor<2>,
        y: Tensor<2>,
        columns: Range<usize>,
    ) -> Tensor<2> {
        let Some(weight) = self.sites.get(&site) else { return y };
        let settings = self.factors.settings();
        let seed = context.dropout(1.0, NOISE_SITES + number(site)).map(|noise| noise.seed);
        let groups: Vec<(Range<usize>, Option<&str>)> = match settings.shared {
            true => vec![(0..x.dims()[0], None)],
            false => context.lanes().iter().map(|l| (l.tokens.clone(), Some(l.task.as_str()))).collect(),
        };
        let (mut updates, mut scales) = (Vec::new(), Vec::new());
        for (rows, task) in groups {
            let at = At { site, weight, task, parameters: context.parameters(), seed };
            let Some((factors, factor)) = self.at(&at) else { continue };
            scales.extend(factor.map(|factor| (rows.clone(), factor)));
            updates.push((rows, factors));
        }
        let read =
            kernels::dropout(x.clone(), context.dropout(settings.dropout, DROPOUT_SITES + number(site)));
        let y = kernels::grouped_low_rank(y, read, updates, columns.clone(), to_f32(settings.scale));
        // What is multiplied is the product: the bias is not.
        let bias = weight.bias.map(|bias| (context.vector(bias), weight.rows.start));
        kernels::grouped_scale(y, scales, columns, bias)
    }

    fn merged(&self, task: &str, parameters: &Parameters) -> Option<Vec<(usize, ParameterTensor)>> {
        let settings = self.factors.settings();
        let mut merged: BTreeMap<usize, Tensor<2>> = BTreeMap::new();
        for (site, weight) in &self.sites {
            let task = (!settings.shared).then_some(task);
            let at = At { site: *site, weight, task, parameters, seed: None };
            let ([a, b], factor) = self.at(&at)?;
            let whole =
                merged.entry(weight.weight.index()).or_insert_with(|| parameters.matrix(weight.weight));
            let place = [weight.rows.clone(), 0..weight.inputs];
            let part = whole.clone().slice(place.clone()) + b.matmul(a) * settings.scale;
            let part = match factor {
                Some(factor) => kernels::scale_rows(part, factor),
                None => part,
            };
            *whole = whole.clone().slice_assign(place, part);
        }
        Some(merged.into_iter().map(|(index, whole)| (index, ParameterTensor::Matrix(whole))).collect())
    }

    fn adapters(&self) -> Vec<PeftAdapter> {
        self.factors.adapters(&self.sites)
    }

    fn init_from(&self) -> Option<&InitFrom> {
        self.factors.init_from()
    }
}

/// Adds the parameters of a low-rank scheme.
pub(super) struct FactorBuilder<'a> {
    pub scheme: &'static str,
    pub parameters: &'a mut Parameters,
}

impl FactorBuilder<'_> {
    fn spec<'s>(
        &self,
        site: Site,
        task: Option<&str>,
        part: &str,
        shape: &'s [usize],
        init: Init,
    ) -> ParameterSpec<'s> {
        ParameterSpec {
            name: super::build::parameter_name(self.scheme, task, &format!("{site}.{part}")).into(),
            shape,
            owner: task.map_or(Owner::Trunk, Owner::task),
            role: Role::Adapter,
            depth: Some(Depth::encoder(Level::layer(site.layer))),
            init,
        }
    }

    /// A matrix of a map, of a task or of all.
    pub fn matrix(
        &mut self,
        site: Site,
        task: Option<&str>,
        part: &str,
        shape: [usize; 2],
        init: Init,
    ) -> MatrixId {
        let spec = self.spec(site, task, part, &shape, init);
        self.parameters.add_matrix(spec)
    }

    /// A vector of a map.
    pub fn vector(&mut self, site: Site, task: Option<&str>, part: &str, len: usize, init: Init) -> VectorId {
        let shape = [len];
        let spec = self.spec(site, task, part, &shape, init);
        self.parameters.add_vector(spec)
    }

    /// A vector of a map that something is mixed by.
    pub fn gate(&mut self, site: Site, task: Option<&str>, part: &str, len: usize, init: Init) -> VectorId {
        let shape = [len];
        let spec = ParameterSpec { role: Role::Gate, ..self.spec(site, task, part, &shape, init) };
        self.parameters.add_vector(spec)
    }
}

/// Evenly between -1 / sqrt(inputs) and +1 / sqrt(inputs): Kaiming uniform with `a = sqrt(5)`, as in PEFT.
pub(super) fn kaiming(inputs: usize) -> Init {
    Init::Uniform((inputs as f32).powf(-0.5))
}

//! The balancing methods: one file each, and one line each in [`BalancerConfig`].

mod aligned_mtl;
mod auto_lambda;
mod cagrad;
mod conflict_free;
mod cosmos;
mod cr_mogm;
mod db_mtl;
mod dualproj;
mod dwa;
mod equal;
mod excess_mtl;
mod fairgrad;
mod famo;
mod gls;
mod graddrop;
mod gradnorm;
mod gradvac;
mod imtl;
mod imtl_g;
mod imtl_l;
mod mgda;
mod moco;
mod modo;
mod nash_mtl;
mod pbi;
mod pcgrad;
mod random_weights;
mod sdmgrad;
mod static_weights;
mod stch;
mod uncertainty;
mod upgrad;

pub use aligned_mtl::{AlignedMtl, Scale};
pub use auto_lambda::AutoLambda;
pub use cagrad::{CaGrad, Rescale};
pub use conflict_free::ConFig;
pub use cosmos::Cosmos;
pub use cr_mogm::CrMogm;
pub use db_mtl::DbMtl;
pub use dualproj::DualProj;
pub use dwa::Dwa;
pub use equal::Equal;
pub use excess_mtl::ExcessMtl;
pub use fairgrad::FairGrad;
pub use famo::Famo;
pub use gls::Gls;
pub use graddrop::GradDrop;
pub use gradnorm::GradNorm;
pub use gradvac::GradVac;
pub use imtl::Imtl;
pub use imtl_g::ImtlG;
pub use imtl_l::ImtlL;
pub use mgda::{Mgda, Normalize};
pub use moco::MoCo;
pub use modo::MoDo;
pub use nash_mtl::NashMtl;
pub use pbi::Pbi;
pub use pcgrad::PcGrad;
pub use random_weights::{On, Random};
pub use sdmgrad::SdmGrad;
pub use static_weights::Static;
pub use stch::Stch;
pub use uncertainty::Uncertainty;
pub use upgrad::UpGrad;

use crate::error::in_range;
use crate::method_impl::Method;
use crate::{BalanceError, Balancer, LARGEST_WEIGHT};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Generates [`BalancerConfig`], [`CATALOGUE`] and [`ALIASES`] from one line per method: documentation, variant with its settings,
/// name in the config, source file, the other names of the method, and settings for tests where there are no default ones.
macro_rules! methods {
    (@settings $settings:ty) => {
        <$settings>::default()
    };
    (@settings $settings:ty, $sample:expr) => {
        $sample
    };
    ($($(#[$doc:meta])*
        $variant:ident($settings:ty), $name:tt, $file:tt, [$($alias:tt),*] $(, $sample:expr)?;)+) => {
        /// How the tasks' losses are weighted against each other, a table `[balance.METHOD]`. Default: `equal`.
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
        pub enum BalancerConfig {
            $($(#[$doc])* #[serde(rename = $name)] $variant($settings),)+
        }

        /// Every method's name and the source whose leading `//!` lines are its documentation.
        pub const CATALOGUE: &[(&str, &str)] = &[$(($name, include_str!($file)),)+];

        /// The names by which papers and other tools know each method, beside its own.
        pub const ALIASES: &[(&str, &[&str])] = &[$(($name, &[$($alias),*]),)+];

        impl BalancerConfig {
            /// Every method with its default settings, or with a sample of settings where it has no default ones.
            pub fn all() -> Vec<BalancerConfig> {
                vec![$(BalancerConfig::$variant(methods!(@settings $settings $(, $sample)?)),)+]
            }

            /// The method's name, as in `[balance.NAME]` and [`CATALOGUE`].
            pub fn name(&self) -> &'static str {
                match self {
                    $(BalancerConfig::$variant(_) => $name,)+
                }
            }

            fn method(&self) -> &dyn Method {
                match self {
                    $(BalancerConfig::$variant(settings) => settings,)+
                }
            }
        }
    };
}

methods! {
    /// Every task's loss is weighted by its importance.
    Equal(Equal), "equal", "equal.rs", ["EW", "LS", "linear scalarization"];
    /// Fixed weights, set in the config.
    Static(Static), "static", "static_weights.rs", ["fixed weights"];
    /// Random weights, drawn anew in every step (Lin et al. 2022).
    Random(Random), "random", "random_weights.rs", ["RLW", "RGW", "random loss weighting"];
    /// Weights learned from the homoscedastic uncertainty of each task (Kendall et al. 2018).
    Uncertainty(Uncertainty), "uncertainty", "uncertainty.rs", ["UW", "uncertainty weighting"];
    /// Scales learned so that all losses are equal (Liu et al. 2021).
    ImtlL(ImtlL), "imtl_l", "imtl_l.rs", ["IMTL-L"];
    /// Weights by the rate of change of the losses between epochs (Liu et al. 2019).
    Dwa(Dwa), "dwa", "dwa.rs", ["DWA", "dynamic weight average"];
    /// The geometric mean of the losses (Chennupati et al. 2019).
    Gls(Gls), "gls", "gls.rs", ["GLS", "geometric loss strategy"];
    /// A smooth maximum of the losses (Lin et al. 2024).
    Stch(Stch), "stch", "stch.rs", ["STCH", "smooth Tchebycheff scalarization"];
    /// Weights learned from the change of the losses (Liu et al. 2023).
    Famo(Famo), "famo", "famo.rs", ["FAMO"];
    /// Weighted losses in a chosen proportion (Ruchte and Grabocka 2021).
    Cosmos(Cosmos), "cosmos", "cosmos.rs", ["COSMOS"];
    /// Along the ray of the preferences, with a penalty for the distance to it (Zhang and Li 2007).
    Pbi(Pbi), "pbi", "pbi.rs", ["PBI", "penalty boundary intersection"];
    /// Equal norms of the weighted gradients, larger for tasks that train slowly (Chen et al. 2018).
    GradNorm(GradNorm), "gradnorm", "gradnorm.rs", ["GradNorm"];
    /// The minimum-norm convex combination of the gradients (Desideri 2012; Sener and Koltun 2018).
    Mgda(Mgda), "mgda", "mgda.rs", ["MGDA", "multiple-gradient descent"];
    /// Conflicting components of gradients are projected out pair by pair (Yu et al. 2020).
    PcGrad(PcGrad), "pcgrad", "pcgrad.rs", ["PCGrad", "gradient surgery"];
    /// Gradients are aligned up to the moving average of their cosine similarity (Wang et al. 2021).
    GradVac(GradVac), "gradvac", "gradvac.rs", ["GradVac", "gradient vaccine"];
    /// Near the mean gradient, best for the worst-off task (Liu et al. 2021).
    CaGrad(CaGrad), "cagrad", "cagrad.rs", ["CAGrad"];
    /// Equal projections onto all gradients (Liu et al. 2021).
    ImtlG(ImtlG), "imtl_g", "imtl_g.rs", ["IMTL-G"];
    /// Equal losses, and equal projections onto their gradients (Liu et al. 2021).
    Imtl(Imtl), "imtl", "imtl.rs", ["IMTL"];
    /// The Nash bargaining solution (Navon et al. 2022).
    NashMtl(NashMtl), "nash_mtl", "nash_mtl.rs", ["Nash-MTL"];
    /// Alpha-fair decreases of the losses (Ban and Ji 2024).
    FairGrad(FairGrad), "fairgrad", "fairgrad.rs", ["FairGrad"];
    /// Gradients made orthogonal and of equal norm (Senushkin et al. 2023).
    AlignedMtl(AlignedMtl), "aligned_mtl", "aligned_mtl.rs", ["Aligned-MTL"];
    /// The mean of the gradients, each projected onto the dual cone (Quinton and Rey 2024).
    UpGrad(UpGrad), "upgrad", "upgrad.rs", ["UPGrad", "Jacobian descent"];
    /// The mean gradient, projected onto the dual cone (Lopez-Paz and Ranzato 2017).
    DualProj(DualProj), "dualproj", "dualproj.rs", ["DualProj", "GEM"];
    /// Equal cosine similarities with all gradients (Liu et al. 2025).
    ConFig(ConFig), "config", "conflict_free.rs", ["ConFIG", "conflict-free gradients"];
    /// Logarithms of the losses, whose gradients have equal norms (Lin et al. 2023).
    DbMtl(DbMtl), "db_mtl", "db_mtl.rs", ["DB-MTL"];
    /// MGDA by stochastic steps with double sampling (Chen et al. 2023).
    MoDo(MoDo), "modo", "modo.rs", ["MoDo"];
    /// The minimum-norm combination, regularized towards the mean (Xiao et al. 2023).
    SdmGrad(SdmGrad), "sdmgrad", "sdmgrad.rs", ["SDMGrad"];
    /// Weights that lower the validation losses (Liu et al. 2022).
    AutoLambda(AutoLambda), "auto_lambda", "auto_lambda.rs", ["Auto-Lambda"];
    /// Gradients of one sign per parameter (Chen et al. 2020).
    GradDrop(GradDrop), "graddrop", "graddrop.rs", ["GradDrop", "gradient sign dropout"];
    /// MGDA with moving averages of gradients and weights (Fernando et al. 2023).
    MoCo(MoCo), "moco", "moco.rs", ["MoCo"];
    /// Weights by the excess risk of each task (He et al. 2024).
    ExcessMtl(ExcessMtl), "excess_mtl", "excess_mtl.rs", ["ExcessMTL"];
    /// A moving average of another method's weights (Zhou et al. 2022).
    CrMogm(CrMogm), "cr_mogm", "cr_mogm.rs", ["CR-MOGM"],
        CrMogm { method: Box::new(BalancerConfig::CaGrad(CaGrad::default())), alpha: 0.9 };
}

impl Default for BalancerConfig {
    fn default() -> Self {
        BalancerConfig::Equal(Equal::default())
    }
}

impl BalancerConfig {
    /// The method for `tasks`, whose order is that of the losses and weights from then on. A task's importance (same order, 1 = no
    /// change) multiplies its weight, or enters as the method's documentation says.
    ///
    /// # Errors
    /// When there is no task, when an importance is not in `0..=1e9`, when all are 0, or when the method's settings do not
    /// fit; the error names the config key.
    pub fn build(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError> {
        if tasks.is_empty() {
            return Err(BalanceError::NoTask);
        }
        if tasks.len() != importance.len() {
            return Err(BalanceError::ImportanceCount { tasks: tasks.len(), found: importance.len() });
        }
        for (task, &found) in tasks.iter().zip(importance) {
            in_range(format!("task.{task}.importance"), found, 0.0, LARGEST_WEIGHT)?;
        }
        if importance.iter().all(|&importance| importance == 0.0) {
            return Err(BalanceError::NothingLearned { key: "task.*.importance".to_owned() });
        }
        self.method().build_method(tasks, importance)
    }
}

//! Balancing: K task losses, or the Gramian of their gradients, in; K weights out. No tensors, no input or output; usable by
//! itself.
//!
//! Each step the trainer hands a [`Balancer`] what it [`Needs`] as a [`Step`], gets a weight for each task, and goes along
//! the gradient of the weighted sum. What a method has learned is a value ([`Balancer::state`]) that a checkpoint keeps;
//! restored, the method goes on bit for bit as if nothing had happened.
//!
//! ```
//! use polytask_balance::{Balancing, Uncertainty};
//!
//! let method = Balancing::Uncertainty(Uncertainty::default());
//! let mut balancer = method.build(&["intent", "slots", "polarity"], &[1.0, 1.0, 1.0])?;
//! // `polarity` has no labels in this step: it gets no weight and nothing about it changes.
//! let weights = balancer.weights(&[Some(1.2), Some(3.4), None]);
//! assert_eq!(weights, [0.5, 0.5, 0.0]);
//! // From now on `slots`, whose loss is further above 1, is weighted less.
//! let weights = balancer.weights(&[Some(1.2), Some(3.4), None]);
//! assert!(weights[1] < 0.5);
//! # Ok::<(), polytask_balance::BalanceError>(())
//! ```
//!
//! Gradient methods need only the K x K inner products of the task gradients:
//!
//! ```
//! use polytask_balance::{Balancing, Gramian, Step, UpGrad};
//!
//! let mut balancer = Balancing::UpGrad(UpGrad::default()).build(&["intent", "slots"], &[1.0, 1.0])?;
//! let gradients: [&[f32]; 2] = [&[-4.0, 1.0, 1.0], &[6.0, 1.0, 1.0]];
//! let gramian = Gramian::of_rows(&gradients);
//! let weights = balancer.weigh(&Step { losses: &[Some(1.2), Some(3.4)], gramian: Some(&gramian), ..Step::default() });
//! // The gradients conflict; the direction does not go against either.
//! let direction: Vec<f64> =
//!     (0..3).map(|k| (0..2).map(|i| weights[i] * f64::from(gradients[i][k])).sum()).collect();
//! assert!((direction[0] - 0.2929).abs() < 1e-4 && (direction[1] - 1.9004).abs() < 1e-4);
//! # Ok::<(), polytask_balance::BalanceError>(())
//! ```
//!
//! A few methods see the gradients themselves, chunk by chunk ([`Balancer::rows`], [`Rows`]), or look at two halves of a
//! step's rows or at a validation gradient ([`Needs`]).
//!
//! `examples/alone.rs` balances a small least-squares problem without any engine.
//!
//! # Where a method goes
//! A file whose leading lines document it and whose settings are a `Rule`, a variant of [`Balancing`] with its line
//! in `Balancing::method`, a line in [`CATALOGUE`], a row in `tests/conformance.rs`, a peer or a reason in `tests/peers.rs`.

mod adam;
mod aligned_mtl;
mod auto_lambda;
mod balancer;
mod cagrad;
mod config;
mod cosmos;
mod cr_mogm;
mod db_mtl;
mod dualproj;
mod dwa;
mod equal;
mod error;
mod excess_mtl;
mod fairgrad;
mod famo;
mod gls;
#[cfg(test)]
mod golden;
mod graddrop;
mod gradnorm;
mod gradvac;
mod gramian;
mod halves;
mod imtl;
mod imtl_g;
mod imtl_l;
mod mgda;
mod moco;
mod modo;
mod nash_mtl;
mod pbi;
mod pcgrad;
mod random;
mod random_weights;
mod rule;
mod sdmgrad;
mod softmax;
mod solve;
mod static_weights;
mod stch;
mod uncertainty;
mod upgrad;

pub use aligned_mtl::{AlignedMtl, Scale};
pub use auto_lambda::AutoLambda;
pub use balancer::{Balancer, Needs, Rows, Step};
pub use cagrad::{CaGrad, Rescale};
pub use config::ConFig;
pub use cosmos::Cosmos;
pub use cr_mogm::CrMogm;
pub use db_mtl::DbMtl;
pub use dualproj::DualProj;
pub use dwa::Dwa;
pub use equal::Equal;
pub use error::BalanceError;
pub use excess_mtl::ExcessMtl;
pub use fairgrad::FairGrad;
pub use famo::Famo;
pub use gls::Gls;
pub use graddrop::GradDrop;
pub use gradnorm::GradNorm;
pub use gradvac::GradVac;
pub use gramian::Gramian;
pub use halves::Halves;
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

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Every method's name and the source whose leading `//!` lines are its documentation.
pub const CATALOGUE: &[(&str, &str)] = &[
    ("equal", include_str!("equal.rs")),
    ("static", include_str!("static_weights.rs")),
    ("random", include_str!("random_weights.rs")),
    ("uncertainty", include_str!("uncertainty.rs")),
    ("imtl_l", include_str!("imtl_l.rs")),
    ("dwa", include_str!("dwa.rs")),
    ("gls", include_str!("gls.rs")),
    ("stch", include_str!("stch.rs")),
    ("famo", include_str!("famo.rs")),
    ("cosmos", include_str!("cosmos.rs")),
    ("pbi", include_str!("pbi.rs")),
    ("gradnorm", include_str!("gradnorm.rs")),
    ("mgda", include_str!("mgda.rs")),
    ("pcgrad", include_str!("pcgrad.rs")),
    ("gradvac", include_str!("gradvac.rs")),
    ("cagrad", include_str!("cagrad.rs")),
    ("imtl_g", include_str!("imtl_g.rs")),
    ("imtl", include_str!("imtl.rs")),
    ("nash_mtl", include_str!("nash_mtl.rs")),
    ("fairgrad", include_str!("fairgrad.rs")),
    ("aligned_mtl", include_str!("aligned_mtl.rs")),
    ("upgrad", include_str!("upgrad.rs")),
    ("dualproj", include_str!("dualproj.rs")),
    ("config", include_str!("config.rs")),
    ("db_mtl", include_str!("db_mtl.rs")),
    ("modo", include_str!("modo.rs")),
    ("sdmgrad", include_str!("sdmgrad.rs")),
    ("auto_lambda", include_str!("auto_lambda.rs")),
    ("graddrop", include_str!("graddrop.rs")),
    ("moco", include_str!("moco.rs")),
    ("excess_mtl", include_str!("excess_mtl.rs")),
    ("cr_mogm", include_str!("cr_mogm.rs")),
];

/// The largest importance, or weight of `static`, that is taken: beyond it weighted losses would leave f32's range.
pub const LARGEST_WEIGHT: f64 = 1e9;

/// How the tasks' losses are weighted against each other, a table `[balance.METHOD]`. Default: `equal`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub enum Balancing {
    /// Every task's loss counts with its importance, nothing else.
    #[serde(rename = "equal")]
    Equal(Equal),
    /// Weights written in the config.
    #[serde(rename = "static")]
    Static(Static),
    /// Weights drawn anew in every step (Lin et al. 2022).
    #[serde(rename = "random")]
    Random(Random),
    /// Weights learned from the noise of each task (Kendall et al. 2018).
    #[serde(rename = "uncertainty")]
    Uncertainty(Uncertainty),
    /// Scales learned so that all losses are equally large (Liu et al. 2021).
    #[serde(rename = "imtl_l")]
    ImtlL(ImtlL),
    /// Weights by how fast losses fell from one epoch to the next (Liu et al. 2019).
    #[serde(rename = "dwa")]
    Dwa(Dwa),
    /// The geometric mean of the losses (Chennupati et al. 2019).
    #[serde(rename = "gls")]
    Gls(Gls),
    /// The largest loss, smoothly (Lin et al. 2024).
    #[serde(rename = "stch")]
    Stch(Stch),
    /// Weights learned from how the losses change (Liu et al. 2023).
    #[serde(rename = "famo")]
    Famo(Famo),
    /// Weighted losses in a chosen proportion (Ruchte and Grabocka 2021).
    #[serde(rename = "cosmos")]
    Cosmos(Cosmos),
    /// Along the line of the preferences, with a penalty for leaving it (Zhang and Li 2007).
    #[serde(rename = "pbi")]
    Pbi(Pbi),
    /// Equally long weighted gradients, longer for tasks that lag behind (Chen et al. 2018).
    #[serde(rename = "gradnorm")]
    GradNorm(GradNorm),
    /// The shortest weighted mean of the gradients (Desideri 2012; Sener and Koltun 2018).
    #[serde(rename = "mgda")]
    Mgda(Mgda),
    /// Conflicting parts of gradients are removed pair by pair (Yu et al. 2020).
    #[serde(rename = "pcgrad")]
    PcGrad(PcGrad),
    /// Gradients are turned towards each other up to their usual cosine (Wang et al. 2021).
    #[serde(rename = "gradvac")]
    GradVac(GradVac),
    /// Near the mean gradient, best for the worst-off task (Liu et al. 2021).
    #[serde(rename = "cagrad")]
    CaGrad(CaGrad),
    /// Equal projections onto all gradients (Liu et al. 2021).
    #[serde(rename = "imtl_g")]
    ImtlG(ImtlG),
    /// Equal losses, and equal projections onto their gradients (Liu et al. 2021).
    #[serde(rename = "imtl")]
    Imtl(Imtl),
    /// Nash's bargaining solution (Navon et al. 2022).
    #[serde(rename = "nash_mtl")]
    NashMtl(NashMtl),
    /// Decreases that are fair in the sense of a chosen alpha (Ban and Ji 2024).
    #[serde(rename = "fairgrad")]
    FairGrad(FairGrad),
    /// Gradients made orthogonal and equally long (Senushkin et al. 2023).
    #[serde(rename = "aligned_mtl")]
    AlignedMtl(AlignedMtl),
    /// The mean of the gradients, each freed of its conflicts (Quinton and Rey 2024).
    #[serde(rename = "upgrad")]
    UpGrad(UpGrad),
    /// The mean gradient, freed of its conflicts (Lopez-Paz and Ranzato 2017).
    #[serde(rename = "dualproj")]
    DualProj(DualProj),
    /// Equal cosines with all gradients (Liu et al. 2025).
    #[serde(rename = "config")]
    ConFig(ConFig),
    /// Log-losses whose gradients are equally long (Lin et al. 2023).
    #[serde(rename = "db_mtl")]
    DbMtl(DbMtl),
    /// The shortest mean of the gradients, followed step by step (Chen et al. 2023).
    #[serde(rename = "modo")]
    MoDo(MoDo),
    /// The shortest mean near the plain mean (Xiao et al. 2023).
    #[serde(rename = "sdmgrad")]
    SdmGrad(SdmGrad),
    /// What lowers the validation losses (Liu et al. 2022).
    #[serde(rename = "auto_lambda")]
    AutoLambda(AutoLambda),
    /// Gradients of one sign at a time (Chen et al. 2020).
    #[serde(rename = "graddrop")]
    GradDrop(GradDrop),
    /// Smoothed gradients and weights (Fernando et al. 2023).
    #[serde(rename = "moco")]
    MoCo(MoCo),
    /// Weights by how far each task still has to go (He et al. 2024).
    #[serde(rename = "excess_mtl")]
    ExcessMtl(ExcessMtl),
    /// A moving mean of another method's weights (Zhou et al. 2022).
    #[serde(rename = "cr_mogm")]
    CrMogm(CrMogm),
}

impl Default for Balancing {
    fn default() -> Self {
        Balancing::Equal(Equal::default())
    }
}

/// What [`Balancing`] asks of the settings of a method.
trait Method {
    fn name(&self) -> &'static str;
    fn at_work(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError>;
}

impl<R: rule::Rule + Clone> Method for R {
    fn name(&self) -> &'static str {
        R::NAME
    }

    fn at_work(&self, tasks: &[&str], importance: &[f64]) -> Result<Box<dyn Balancer>, BalanceError> {
        self.build(tasks, importance)
    }
}

impl Balancing {
    fn method(&self) -> &dyn Method {
        match self {
            Balancing::Equal(settings) => settings,
            Balancing::Static(settings) => settings,
            Balancing::Random(settings) => settings,
            Balancing::Uncertainty(settings) => settings,
            Balancing::ImtlL(settings) => settings,
            Balancing::Dwa(settings) => settings,
            Balancing::Gls(settings) => settings,
            Balancing::Stch(settings) => settings,
            Balancing::Famo(settings) => settings,
            Balancing::Cosmos(settings) => settings,
            Balancing::Pbi(settings) => settings,
            Balancing::GradNorm(settings) => settings,
            Balancing::Mgda(settings) => settings,
            Balancing::PcGrad(settings) => settings,
            Balancing::GradVac(settings) => settings,
            Balancing::CaGrad(settings) => settings,
            Balancing::ImtlG(settings) => settings,
            Balancing::Imtl(settings) => settings,
            Balancing::NashMtl(settings) => settings,
            Balancing::FairGrad(settings) => settings,
            Balancing::AlignedMtl(settings) => settings,
            Balancing::UpGrad(settings) => settings,
            Balancing::DualProj(settings) => settings,
            Balancing::ConFig(settings) => settings,
            Balancing::DbMtl(settings) => settings,
            Balancing::MoDo(settings) => settings,
            Balancing::SdmGrad(settings) => settings,
            Balancing::AutoLambda(settings) => settings,
            Balancing::GradDrop(settings) => settings,
            Balancing::MoCo(settings) => settings,
            Balancing::ExcessMtl(settings) => settings,
            Balancing::CrMogm(settings) => settings,
        }
    }

    /// The method's name, as in `[balance.NAME]` and [`CATALOGUE`].
    pub fn name(&self) -> &'static str {
        self.method().name()
    }

    /// The method at work for `tasks`, whose order is that of the losses and weights from then on. A task's importance (same
    /// order, 1 = no change) multiplies its weight, or enters as the method's documentation says.
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
            error::in_range(format!("task.{task}.importance"), found, 0.0, LARGEST_WEIGHT)?;
        }
        if importance.iter().all(|&importance| importance == 0.0) {
            return Err(BalanceError::NothingLearned { key: "task.*.importance".to_owned() });
        }
        self.method().at_work(tasks, importance)
    }
}

/// The importance of every task that is present with a finite loss, 0 for the others: the weights of the methods that
/// learn nothing.
fn fixed_weights(weights: &[f64], losses: &[Option<f64>]) -> Vec<f64> {
    assert_eq!(losses.len(), weights.len(), "one loss, or None, a task");
    let present = losses.iter().map(|loss| loss.is_some_and(f64::is_finite));
    weights.iter().zip(present).map(|(&weight, present)| if present { weight } else { 0.0 }).collect()
}

/// The state of the methods that learn nothing: their name.
fn restore_nothing(method: &'static str, state: &serde_json::Value) -> Result<(), BalanceError> {
    match state.get("method").and_then(|name| name.as_str()) {
        Some(name) if name == method => Ok(()),
        Some(name) => Err(BalanceError::State { method, reason: format!("it was saved by `{name}`") }),
        None => Err(BalanceError::State { method, reason: "it names no method".to_owned() }),
    }
}

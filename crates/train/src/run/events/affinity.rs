//! How tasks agree at one point of a run (`[train] affinity_steps`).

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What was measured between two steps, without dropout, on rows of the training split that are drawn for it. It changes nothing of the
/// run. Tasks whose loss or gradient is no finite number are left out and named.
///
/// All gradients are those of a task's mean loss over its rows of the draw, with respect to the parameters that tasks share: the
/// trunk's that are trained, and heads of several tasks. Balancing weights and `importance` are not in them.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Affinity {
    /// Steps done.
    pub step: usize,
    /// Why nothing was measured; `None` where something was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unmeasured: Option<String>,
    /// By task that is trained at present.
    #[serde(default)]
    pub tasks: BTreeMap<String, TaskAffinity>,
    /// Tasks that are trained, but had a loss or gradient that is not finite.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub nonfinite: Vec<String>,
    /// Every pair of the tasks, once.
    #[serde(default)]
    pub pairs: Vec<PairAffinity>,
    /// Every ordered pair, a task with itself included.
    #[serde(default)]
    pub transfers: Vec<Transfer>,
    /// How long it took.
    pub seconds: f64,
}

/// One task in a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TaskAffinity {
    /// Its rows in the draw.
    pub rows: usize,
    /// Its mean loss over them.
    pub loss: f64,
    /// The norm of its gradient.
    pub gradient_norm: f64,
    /// The cosine between the gradients of two halves of its rows. Near 1, the gradient is the task's; near 0, it is that of the rows
    /// that happened to be drawn, and no cosine with another task says anything. `None` with one row or a gradient of 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reliability: Option<f64>,
    /// [`Transfer::affinity`] of the step that the optimizer would make if the gradient were 0: what its momentum and weight decay do
    /// to this task's loss. 0 for SGD without either. `None` where the loss is not above 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub without_gradient: Option<f64>,
}

/// Two tasks and the angle between their gradients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PairAffinity {
    /// The two.
    pub tasks: (String, String),
    /// The cosine over all shared parameters, -1 to 1; `None` where a gradient is 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cosine: Option<f64>,
    /// The cosine over the shared parameters of each part of the network, from the bottom up; parts where a gradient is 0 are left out.
    pub layers: Vec<LayerCosine>,
    /// How many rows of the corpus both tasks have in the draw. Gradients of the same rows have their noise in common.
    pub shared_rows: usize,
}

/// The cosine over one part of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerCosine {
    /// `embeddings`, `layer N` from 0 on, `decoder`, or `rest`.
    pub layer: String,
    /// The cosine.
    pub cosine: f64,
}

/// What a step on one task does to the loss of another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transfer {
    /// The task whose gradient makes the step, i.
    pub from: String,
    /// The task whose loss is looked at, j.
    pub to: String,
    /// `Z[i -> j] = 1 - L_j(theta_s|i, theta_j) / L_j(theta_s, theta_j)`: by what fraction a step of the shared parameters on `L_i` alone
    /// lowers the loss of j on the same rows. Above 0 it helps. Source: Fifty et al., *Efficiently Identifying Task Groupings for
    /// Multi-Task Learning* (TAG), NeurIPS 2021, arXiv 2109.04617, equation 1.
    ///
    /// What differs from the paper: the step is that of the run's optimizer with its state, learning rates and clipping, where the
    /// paper's is one of gradient descent. So momentum, which has all tasks in it, moves the parameters too; see
    /// [`TaskAffinity::without_gradient`]. The rows are drawn for the measurement and have labels of each task; the paper takes the
    /// batch of the step. There is no dropout. Measured every so many steps, where the paper measures at every step.
    pub affinity: f64,
}

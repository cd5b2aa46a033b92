//! The trunk as an ONNX graph: one set of weights for all tasks.

use super::Trunk;
use crate::error::ModelError;
use crate::onnx::{OnnxGraph, OnnxPrecision, Value};
use crate::parameters::{ParameterTensor, Parameters};

impl Trunk {
    /// A graph with the trunk as these tasks see it, and its states `[batch, length, hidden]`. `dataset` is the corpus of the rows, a row of the
    /// dataset embedding, where there is one.
    ///
    /// A sharing scheme takes part by the weights that it makes of the backbone's ([`crate::Sharing::merged`]), where these are the same for all of
    /// the tasks.
    ///
    /// # Errors
    /// [`ModelError::NoOnnx`] for a scheme that does more than change weights, or gives tasks different ones; for a backbone without a
    /// graph.
    pub fn onnx(
        &self,
        parameters: &Parameters,
        tasks: &[&str],
        dataset: Option<usize>,
        precision: OnnxPrecision,
    ) -> Result<(OnnxGraph, Value), ModelError> {
        let mut weights = parameters.clone();
        for (index, weight) in self.merged_for_all(parameters, tasks)? {
            weights.put(index, weight);
        }
        let table = self.dataset_embedding.map(|table| parameters.data(table.index()));
        let vector =
            |(table, row): (Vec<f32>, usize)| table.chunks(self.hidden()).nth(row).map(<[f32]>::to_vec);
        let mut graph = OnnxGraph::new(weights, precision, table.zip(dataset).and_then(vector));
        let states = self.backbone.onnx(&mut graph)?;
        Ok((graph, states))
    }

    /// The weights that the sharing scheme makes, the same for all of some tasks.
    fn merged_for_all(
        &self,
        parameters: &Parameters,
        tasks: &[&str],
    ) -> Result<Vec<(usize, ParameterTensor)>, ModelError> {
        let scheme = self.sharing.config().name();
        let mut first: Option<(&str, Vec<(usize, ParameterTensor)>)> = None;
        for task in tasks {
            let found = self.sharing.merged(task, parameters).ok_or_else(|| ModelError::NoOnnx {
                reason: format!("[sharing.{scheme}] does more than change weights of the trunk"),
                remedy:
                    "a model with another scheme: hard, lora and its relatives, ia3, bitfit, branch, soft"
                        .into(),
            })?;
            match &first {
                None => first = Some((task, found)),
                Some((other, weights)) if !equal(weights, &found) => {
                    return Err(ModelError::NoOnnx {
                        reason: format!(
                            "[sharing.{scheme}] gives the tasks `{other}` and `{task}` different weights, and a file has one trunk"
                        ),
                        remedy: format!("a file for each task: --task {other}, then --task {task}"),
                    });
                }
                Some(_) => {}
            }
        }
        Ok(first.map(|(_, weights)| weights).unwrap_or_default())
    }
}

fn equal(a: &[(usize, ParameterTensor)], b: &[(usize, ParameterTensor)]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((i, a), (j, b))| i == j && a.values() == b.values())
}

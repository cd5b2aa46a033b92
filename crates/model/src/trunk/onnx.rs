//! The trunk as an ONNX graph: one set of weights for all tasks.

use super::Trunk;
use crate::error::ModelError;
use crate::onnx::{OnnxGraph, OnnxPrecision, Value};
use crate::parameters::Parameters;

impl Trunk {
    /// A graph with the trunk as these tasks see it, and its states `[batch, length, hidden]`. `dataset` is the corpus of the rows, a row of the
    /// dataset embedding, where there is one.
    ///
    /// A sharing scheme takes part by the weights that it makes of the backbone's ([`crate::Sharing::merged`]), where these are the same for all of
    /// the tasks.
    ///
    /// # Errors
    /// [`ModelError::NoExport`] for a scheme that does more than change weights, or gives tasks different ones; for a backbone without a
    /// graph.
    pub fn onnx(
        &self,
        parameters: &Parameters,
        tasks: &[&str],
        dataset: Option<usize>,
        precision: OnnxPrecision,
    ) -> Result<(OnnxGraph, Value), ModelError> {
        let weights = self.weights_of_all(parameters, tasks, "ONNX")?;
        let table = self.dataset_embedding.map(|table| parameters.data(table.index()));
        let vector =
            |(table, row): (Vec<f32>, usize)| table.chunks(self.hidden()).nth(row).map(<[f32]>::to_vec);
        let mut graph = OnnxGraph::new(weights, precision, table.zip(dataset).and_then(vector));
        let states = self.backbone.onnx(&mut graph)?;
        Ok((graph, states))
    }
}

//! One set of weights for all tasks, for formats that have no sharing schemes.

use super::Trunk;
use crate::error::ModelError;
use crate::parameters::{ParameterTensor, Parameters};

impl Trunk {
    /// The parameters with those weights of the backbone that the sharing scheme makes of them, the same for all of some tasks.
    pub(crate) fn weights_of_all(
        &self,
        parameters: &Parameters,
        tasks: &[&str],
        format: &'static str,
    ) -> Result<Parameters, ModelError> {
        let mut weights = parameters.clone();
        for (index, weight) in self.merged_for_all(parameters, tasks, format)? {
            weights.put(index, weight);
        }
        Ok(weights)
    }

    /// The weights that the sharing scheme makes, the same for all of some tasks.
    fn merged_for_all(
        &self,
        parameters: &Parameters,
        tasks: &[&str],
        format: &'static str,
    ) -> Result<Vec<(usize, ParameterTensor)>, ModelError> {
        let scheme = self.sharing.config().name();
        let mut first: Option<(&str, Vec<(usize, ParameterTensor)>)> = None;
        for task in tasks {
            let found = self.sharing.merged(task, parameters).ok_or_else(|| ModelError::NoExport {
                format,
                reason: format!("[sharing.{scheme}] does more than change weights of the trunk"),
                remedy:
                    "a model with hard, lora, mtl_lora, vera, poly, ia3, bitfit, branch, soft or conditional_norm"
                        .into(),
            })?;
            match &first {
                None => first = Some((task, found)),
                Some((other, weights)) if !equal(weights, &found) => {
                    return Err(ModelError::NoExport {
                        format,
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

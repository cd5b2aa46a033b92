//! Matrices that are kept as the product of two: a first factor in the place of the matrix, and a second one of its own.

use super::{MatrixId, ParameterSpec, ParameterTensor, Parameters, Role, Weight, multiply};
use crate::init::Init;
use burn::tensor::{Tensor, TensorData};
use kernels::Precision;

/// What the name of a second factor ends with, after that of the matrix.
const DOWN: &str = ".down";

impl Parameters {
    /// Puts two factors in the place of a matrix `[rows, columns]`: `up` `[rows, rank]`, which has its name, handle, role and depth, and
    /// `down` `[rank, columns]`, a parameter of its own with the role of a linear layer. Both are trained where the matrix is, and are
    /// parameters as all others. Gives the handle of the second.
    ///
    /// # Panics
    /// If the parameter is no matrix or a factor already, or if the sizes do not fit it: mistakes of the calling code, not of input.
    pub fn factorize(&mut self, index: usize, up: Vec<f32>, down: Vec<f32>, rank: usize) -> MatrixId {
        let parameter = self.table[index].clone();
        let (&[rows, columns], None) = (&parameter.shape[..], parameter.second_factor) else {
            panic!("{} is no matrix that could have factors", parameter.name);
        };
        assert!(
            rank > 0 && up.len() == rows * rank && down.len() == rank * columns,
            "the factors of {} must fit it",
            parameter.name
        );
        let second = self.add_matrix(ParameterSpec {
            name: format!("{}{DOWN}", parameter.name).into(),
            shape: &[rank, columns],
            owner: parameter.owner,
            role: Role::Linear,
            depth: parameter.depth,
            init: Init::Data(down),
        });
        if !parameter.trainable {
            self.set_trainable(second.0, false);
        }
        let first = &mut self.table[index];
        first.shape = vec![rows, rank];
        first.second_factor = Some(second);
        self.put(index, ParameterTensor::from_values(up, &[rows, rank], &self.device.clone()));
        second
    }

    /// The second factor of a matrix that is kept as two, given the index of the first.
    pub fn second_factor(&self, index: usize) -> Option<MatrixId> {
        self.table[index].second_factor
    }

    /// Whether a matrix is kept as two factors.
    pub fn has_factors(&self) -> bool {
        self.table.iter().any(|parameter| parameter.second_factor.is_some())
    }

    /// Whether a parameter is the second factor of a matrix.
    pub fn is_second_factor(&self, index: usize) -> bool {
        self.table.iter().any(|parameter| parameter.second_factor == Some(MatrixId(index)))
    }

    /// The rows `ids` of a table, `[ids, columns]`, of which `weight` are the numbers: those behind its handle, or a task's own.
    pub(crate) fn rows_of(
        &self,
        weight: Weight,
        table: MatrixId,
        ids: &[u32],
        precision: Precision,
    ) -> Tensor<2> {
        match weight {
            Weight::Dense(rows) => kernels::embed(rows, &self.local_row_indices(table, ids)),
            Weight::Packed(rows) => {
                let data = TensorData::new(rows.gather(ids), [ids.len(), rows.shape()[1]]);
                Tensor::from_data(data, &self.device)
            }
            Weight::Product(factors) => {
                let [up, down] = *factors;
                let rows = self.rows_of(up, table, ids, precision);
                multiply(rows, down.into_dense(&self.device), precision)
            }
        }
    }

    /// Rows and columns of a matrix, whether or not it is kept as two factors.
    pub fn matrix_shape(&self, handle: MatrixId) -> [usize; 2] {
        let last = self.second_factor(handle.0).unwrap_or(handle);
        [self.table[handle.0].shape[0], self.table[last.0].shape[1]]
    }
}

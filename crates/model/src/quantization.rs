//! Matrices of a trained network as codes of eight or four bits.
//!
//! Eight bits: a scale for each row, `w = s q`, `q` in -127..=127; inputs are quantized when they come, and products are those of
//! integers. Four bits: a scale and an offset for each group of 64 or 32 numbers of a row; inputs stay f32.

use crate::calibration::Gram;
use crate::parameters::Parameters;
use crate::trunk::Trunk;
use kernels::{CodeType, InputErrors, Int4Matrix, Int8Matrix};
pub use kernels::{Int4Rounding, PackedMatrix};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What the numbers of a matrix are stored as, from the fewest bits to the most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum WeightType {
    /// Codes of four bits.
    Int4,
    /// Codes of eight bits.
    Int8,
    /// The numbers themselves.
    F32,
}

impl WeightType {
    /// As it is written.
    pub const fn name(self) -> &'static str {
        match self {
            WeightType::Int4 => "int4",
            WeightType::Int8 => "int8",
            WeightType::F32 => "f32",
        }
    }

    /// The next with more bits.
    pub const fn next(self) -> Option<WeightType> {
        match self {
            WeightType::Int4 => Some(WeightType::Int8),
            WeightType::Int8 => Some(WeightType::F32),
            WeightType::F32 => None,
        }
    }

    /// The type of a matrix of the parameters that shall have this one: int8 in place of int4 where its rows do not fall into groups.
    pub fn of_matrix(self, parameters: &Parameters, index: usize) -> WeightType {
        match (self, parameters.parameter(index).shape()) {
            (WeightType::Int4, &[_, columns]) if Int4Matrix::group_size(columns).is_none() => {
                WeightType::Int8
            }
            (own, _) => own,
        }
    }
}

/// Has a trunk's layers see its matrices rounded to codes while they are trained: those that can be codes later. How many there are.
pub fn train_rounded(trunk: &Trunk, parameters: &mut Parameters, to: WeightType) -> usize {
    let candidates = trunk.int8_candidates(parameters);
    for index in &candidates {
        let to = match to.of_matrix(parameters, *index) {
            WeightType::F32 => None,
            WeightType::Int8 => Some(CodeType::Int8),
            WeightType::Int4 => Some(CodeType::Int4),
        };
        parameters.set_rounded_to(*index, to);
    }
    candidates.len()
}

/// A matrix of the parameters as codes of four bits that lose least on inputs like those of a layer: [`Int4Matrix::gptq`]. All layers are rounded
/// for the inputs that they have in the network as it was. `None` where the inputs are not the matrix's own, its rows do not fall into
/// groups, or their Gram matrix is none.
pub fn gptq(parameters: &Parameters, index: usize, inputs: &Gram) -> Option<PackedMatrix> {
    let &[rows, columns] = parameters.parameter(index).shape() else { return None };
    if inputs.inputs != columns || Int4Matrix::group_size(columns).is_none() {
        return None;
    }
    let errors = InputErrors::of_gram(&inputs.sum, columns)?;
    Some(PackedMatrix::int4(Int4Matrix::gptq(&parameters.data(index), [rows, columns], &errors)))
}

/// A matrix of the parameters, rounded to a type that it can have ([`WeightType::of_matrix`]); `None` for f32, and for what is no matrix.
pub fn rounded(
    parameters: &Parameters,
    index: usize,
    to: WeightType,
    rounding: Int4Rounding,
) -> Option<PackedMatrix> {
    let &[rows, columns] = parameters.parameter(index).shape() else { return None };
    let shape = [rows, columns];
    match to {
        WeightType::F32 => None,
        WeightType::Int8 => Some(PackedMatrix::int8(Int8Matrix::quantize(&parameters.data(index), shape))),
        WeightType::Int4 => {
            Some(PackedMatrix::int4(Int4Matrix::quantize(&parameters.data(index), shape, rounding)))
        }
    }
}

//! How quantized matrices stand in a safetensors file: codes under the matrix's own name, and what codes are multiplied with under names
//! beside it.

use crate::error::TensorProblem;
use crate::trunk::MOST_INT8_INPUTS;
use kernels::{Int4Matrix, Int8Matrix, PackedMatrix};
use safetensors::Dtype;

/// Codes of a matrix `[rows, columns]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codes {
    /// `I8` `[rows, columns]`; `NAME.scales`, `F32` `[rows]`.
    Int8,
    /// `U8` `[rows, columns / 2]`, as in [`Int4Matrix`]; `NAME.scales` and `NAME.offsets`, `BF16` `[rows, groups]`.
    Int4,
}

impl Codes {
    /// Those whose tensor has this type. Tensors of this type without the others beside them are no codes.
    pub fn of_dtype(dtype: Dtype) -> Option<Codes> {
        match dtype {
            Dtype::I8 => Some(Codes::Int8),
            Dtype::U8 => Some(Codes::Int4),
            _ => None,
        }
    }

    /// What is put behind the name for the tensors beside, and their type.
    pub fn beside(self) -> &'static [(&'static str, Dtype)] {
        match self {
            Codes::Int8 => &[(".scales", Dtype::F32)],
            Codes::Int4 => &[(".scales", Dtype::BF16), (".offsets", Dtype::BF16)],
        }
    }

    /// The shape of the matrix, of that of its codes; `None` for codes that are no matrix's.
    pub fn shape(self, codes: &[usize]) -> Option<Vec<usize>> {
        let &[rows, columns] = codes else { return None };
        let columns = match self {
            // Sums of more could leave their integers: no product is made of such codes, and no file of ours has them.
            Codes::Int8 => Some(columns).filter(|columns| *columns <= MOST_INT8_INPUTS)?,
            Codes::Int4 => {
                columns.checked_mul(2).filter(|columns| Int4Matrix::group_size(*columns).is_some())?
            }
        };
        Some(vec![rows, columns])
    }

    /// The shape of each tensor beside, of that of the matrix.
    pub fn shape_beside(self, [rows, columns]: [usize; 2]) -> Vec<usize> {
        match self {
            Codes::Int8 => vec![rows],
            Codes::Int4 => vec![rows, columns / Int4Matrix::group_size(columns).unwrap_or(columns.max(1))],
        }
    }

    /// The matrix of the bytes of its tensors, which have been checked for their sizes: its codes, and what stands beside in the order of
    /// [`Codes::beside`].
    pub fn matrix(
        self,
        name: &str,
        codes: Vec<u8>,
        beside: &[Vec<u8>],
        shape: [usize; 2],
    ) -> Result<PackedMatrix, TensorProblem> {
        match (self, beside) {
            (Codes::Int8, [scales]) => {
                let codes: Vec<i8> = codes.into_iter().map(u8::cast_signed).collect();
                if codes.contains(&i8::MIN) {
                    let (found, expected) = ("I8 with -128".into(), "I8 from -127 to 127".into());
                    return Err(TensorProblem::Type { name: name.into(), found, expected });
                }
                let scales = scales.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect();
                Ok(PackedMatrix::int8(Int8Matrix::new(&codes, scales, shape)))
            }
            (Codes::Int4, [scales, offsets]) => {
                let halves =
                    |bytes: &[u8]| bytes.as_chunks().0.iter().map(|b| u16::from_le_bytes(*b)).collect();
                Ok(PackedMatrix::int4(Int4Matrix::new(codes, [halves(scales), halves(offsets)], shape)))
            }
            _ => unreachable!("as many tensors as the codes have beside them"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_that_no_product_takes_are_no_matrix() {
        assert_eq!(Codes::Int8.shape(&[2, MOST_INT8_INPUTS]), Some(vec![2, MOST_INT8_INPUTS]));
        assert_eq!(Codes::Int8.shape(&[2, MOST_INT8_INPUTS + 1]), None);
        assert_eq!(Codes::Int4.shape(&[2, 32]), Some(vec![2, 64]));
        for odd in [[2, 0], [2, 33], [2, usize::MAX]] {
            assert_eq!(Codes::Int4.shape(&odd), None, "{odd:?}");
        }
        assert_eq!((Codes::Int8.shape(&[2]), Codes::Int4.shape(&[2, 32, 1])), (None, None));
    }
}

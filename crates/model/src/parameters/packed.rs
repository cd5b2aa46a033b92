//! How matrices lie in memory: f32, packed in fewer bytes where they are not trained, or as two factors.

use super::{MatrixId, ParameterTensor, Parameters};
use burn::tensor::{Device, Tensor, TensorData};
use kernels::{CodeType, PackedMatrix, Precision};
use std::ops::Range;
use std::sync::Arc;

/// Rows that are looked at together, when it is asked whether bf16 has all numbers.
const ROWS: usize = 64;

/// A matrix as it is in memory.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "the large variant is the usual one, and lives for one product"
)]
pub enum Weight {
    /// f32, with a graph where it is trained.
    Dense(Tensor<2>),
    /// Packed, and not trained.
    Packed(Arc<PackedMatrix>),
    /// The product of two matrices `[rows, rank]` and `[rank, columns]`, which are kept in its place ([`Parameters::factorize`]).
    Product(Box<[Weight; 2]>),
}

impl Weight {
    /// Rows and columns.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Weight::Dense(tensor) => tensor.dims(),
            Weight::Packed(packed) => packed.shape(),
            Weight::Product(factors) => [factors[0].dims()[0], factors[1].dims()[1]],
        }
    }

    /// A linear layer with some rows of the weight and of the bias: `x` `[n, in]`, result `[n, rows]`; see [`kernels::linear_rows`].
    pub fn linear_rows(
        self,
        x: Tensor<2>,
        b: Tensor<1>,
        rows: Range<usize>,
        precision: Precision,
    ) -> Tensor<2> {
        match self {
            Weight::Dense(w) => kernels::linear_rows(x, w, b, rows, precision),
            Weight::Packed(w) => kernels::packed_linear(x, &w, b, rows, precision),
            Weight::Product(factors) => {
                let [up, down] = *factors;
                let inner = down.linear_without_bias(x, precision);
                up.linear_rows(inner, b, rows, precision)
            }
        }
    }

    /// As [`Weight::linear`], without a bias.
    pub fn linear_without_bias(self, x: Tensor<2>, precision: Precision) -> Tensor<2> {
        let zeros = Tensor::zeros([self.dims()[0]], &x.device());
        self.linear(x, zeros, precision)
    }

    /// The matrix as f32 in a tensor, with a graph where it is trained; a product multiplied out.
    pub fn into_dense(self, device: &Device) -> Tensor<2> {
        match self {
            Weight::Dense(tensor) => tensor,
            Weight::Packed(packed) => {
                let [rows, columns] = packed.shape();
                Tensor::from_data(TensorData::new(packed.rows(0..rows), [rows, columns]), device)
            }
            Weight::Product(factors) => {
                let [up, down] = factors.map(|factor| factor.into_dense(device));
                multiply(up, down, Precision::F32)
            }
        }
    }

    /// A linear layer: `x` `[n, in]`, result `[n, out]`.
    pub fn linear(self, x: Tensor<2>, b: Tensor<1>, precision: Precision) -> Tensor<2> {
        let rows = 0..self.dims()[0];
        self.linear_rows(x, b, rows, precision)
    }
}

/// The product of matrices `[n, inner]` and `[inner, m]`.
pub(crate) fn multiply(a: Tensor<2>, b: Tensor<2>, precision: Precision) -> Tensor<2> {
    Weight::Dense(b.transpose()).linear_without_bias(a, precision)
}

impl Parameters {
    /// Rounds a matrix that is not trained to bf16, and from then on keeps it in half the memory; one that is packed stays as it is.
    ///
    /// # Panics
    /// If it is trained, or no matrix.
    pub fn pack(&mut self, index: usize) {
        if self.table[index].packed.is_none() {
            self.pack_by(index, PackedMatrix::bf16);
        }
    }

    /// Keeps a matrix that is not trained as what is made of its numbers and its shape.
    ///
    /// # Panics
    /// As [`Parameters::pack`].
    pub fn pack_by(&mut self, index: usize, of: impl FnOnce(&[f32], [usize; 2]) -> PackedMatrix) {
        let parameter = &self.table[index];
        let &[rows, columns] = &parameter.shape[..] else { panic!("{} is no matrix", parameter.name) };
        let packed = of(&self.data(index), [rows, columns]);
        self.set_packed(index, packed);
    }

    /// Replaces a matrix that is not trained by a packed one.
    ///
    /// # Panics
    /// If it is trained, or of another shape.
    pub fn set_packed(&mut self, index: usize, packed: PackedMatrix) {
        let parameter = &mut self.table[index];
        assert!(
            parameter.shape == packed.shape() && !parameter.trainable,
            "{} is no matrix of this shape that stays as it is",
            parameter.name
        );
        parameter.packed = Some(Arc::new(packed));
        self.take(index);
    }

    /// A parameter as it is packed, where it is.
    pub fn packed(&self, index: usize) -> Option<&PackedMatrix> {
        self.table[index].packed.as_deref()
    }

    /// Whether bf16 has all numbers of a matrix as they are.
    pub fn is_exactly_bf16(&self, index: usize) -> bool {
        let parameter = &self.table[index];
        let ParameterTensor::Matrix(matrix) = &parameter.value else { return false };
        let is_exact = |first: usize| {
            let rows = first..(first + ROWS).min(parameter.shape[0]);
            let values = kernels::take_rows(matrix.clone().inner(), rows);
            ParameterTensor::Matrix(values)
                .values()
                .iter()
                .all(|value| value.to_bits().trailing_zeros() >= 16)
        };
        // Most matrices that have other numbers have them in the first rows, and are not read to their end.
        parameter.packed.is_some() || (0..parameter.shape[0]).step_by(ROWS).all(is_exact)
    }

    /// The weight behind a handle, as it is in memory.
    pub fn weight(&self, handle: MatrixId) -> Weight {
        let own = self.own_weight(handle);
        match self.second_factor(handle.0) {
            Some(down) => Weight::Product(Box::new([own, self.own_weight(down)])),
            None => own,
        }
    }

    /// A parameter by itself, whatever it is a factor of.
    pub(super) fn own_weight(&self, handle: MatrixId) -> Weight {
        let parameter = &self.table[handle.0];
        match (&parameter.packed, &parameter.value) {
            (Some(packed), _) => Weight::Packed(packed.clone()),
            (None, ParameterTensor::Matrix(tensor)) => Weight::Dense(match parameter.rounded_to {
                Some(to) => kernels::fake_quantize(tensor.clone(), to),
                None => tensor.clone(),
            }),
            (None, ParameterTensor::Vector(_)) => unreachable!("a matrix handle is only made with a matrix"),
        }
    }

    /// From now on layers multiply with what the codes of a matrix stand for, and train the matrix itself ([`kernels::fake_quantize`]).
    pub fn set_rounded_to(&mut self, index: usize, to: Option<CodeType>) {
        self.table[index].rounded_to = to;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init::Init;
    use crate::parameters::{Owner, ParameterSpec, Role};
    use crate::quantization::{Int4Rounding, WeightType, rounded};

    fn frozen(values: Vec<f32>) -> (Parameters, usize) {
        let mut parameters = Parameters::new(&Device::flex().autodiff(), 0);
        let shape = [values.len() / 2, 2];
        let (name, owner, init) = ("w".into(), Owner::Trunk, Init::Data(values));
        let spec = ParameterSpec { name, shape: &shape, owner, role: Role::Linear, depth: None, init };
        let index = parameters.add_matrix(spec).index();
        parameters.set_trainable(index, false);
        (parameters, index)
    }

    #[test]
    fn a_packed_matrix_keeps_its_rounded_numbers_until_it_gets_others() {
        let (mut parameters, index) = frozen(vec![1.0, -0.5, 0.1, 3.0]);
        assert!(!parameters.is_exactly_bf16(index));
        parameters.pack(index);
        let rounded = parameters.data(index);
        assert!(rounded != [1.0, -0.5, 0.1, 3.0] && parameters.is_exactly_bf16(index));
        // A graph that is given up takes no numbers along.
        parameters.renew_leaves();
        assert_eq!(parameters.data(index), rounded);
        let (mut exact, same) = frozen(rounded.clone());
        assert!(exact.is_exactly_bf16(same));
        // Merged weights stand in the place of packed ones.
        let ParameterTensor::Matrix(new) = exact.take(same) else { unreachable!() };
        parameters.put(index, ParameterTensor::Matrix(new * 2.0));
        assert_eq!(parameters.data(index), rounded.iter().map(|x| 2.0 * x).collect::<Vec<f32>>());
        assert_eq!(parameters.parameter(index).bytes(), 16);
    }

    #[test]
    fn layers_see_rounded_numbers_and_train_the_others() {
        let device = Device::flex().autodiff();
        let mut parameters = Parameters::new(&device, 0);
        let values: Vec<f32> = (0..64).map(|i| (i as f32 * 0.37).sin()).collect();
        let (shape, owner, init) = ([2, 32], Owner::Trunk, Init::Data(values.clone()));
        let spec =
            ParameterSpec { name: "w".into(), shape: &shape, owner, role: Role::Linear, depth: None, init };
        let handle = parameters.add_matrix(spec);
        for (to, weight_type) in [(CodeType::Int8, WeightType::Int8), (CodeType::Int4, WeightType::Int4)] {
            parameters.set_rounded_to(handle.index(), Some(to));
            let Weight::Dense(seen) = parameters.weight(handle) else { panic!("trained") };
            let codes = rounded(&parameters, handle.index(), weight_type, Int4Rounding::MinMax).unwrap();
            assert_eq!(seen.clone().inner().into_data().try_to_vec::<f32>().unwrap(), codes.rows(0..2));
            assert_eq!(parameters.data(handle.index()), values);
            // d/dw of sum(3 rounded(w)) is 3 everywhere.
            let gradients = (seen * 3.0).sum().backward();
            let ParameterTensor::Matrix(leaf) = parameters.parameter(handle.index()).value() else {
                panic!()
            };
            let gradient = leaf.grad(&gradients).unwrap().into_data().try_to_vec::<f32>().unwrap();
            assert!(gradient.iter().all(|g| *g == 3.0));
        }
    }

    #[test]
    fn numbers_in_late_rows_are_seen() {
        let mut values = vec![0.5; 400];
        values[399] = 0.1;
        let (parameters, index) = frozen(values);
        assert!(!parameters.is_exactly_bf16(index));
    }
}

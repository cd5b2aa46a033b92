//! The types of a tensor's numbers, and how many bytes they take.

use crate::{dequantize, quantize};

/// Writes, of `Name number values bytes dequantize quantize` lines, [`TensorType`] and its properties. A block of so many values takes so many
/// bytes (`GGML_QUANT_SIZES` in gguf-py's constants.py).
macro_rules! tensor_types {
    ($($name:ident $number:literal $values:literal $bytes:literal $read:expr, $write:expr;)+) => {
        /// The type of a tensor's numbers, by its name in ggml.
        #[allow(non_camel_case_types, missing_docs)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum TensorType { $($name,)+ }

        impl TensorType {
            const ALL: &[TensorType] = &[$(TensorType::$name,)+];

            /// The type of a number in the file.
            pub(crate) fn of(number: u32) -> Option<Self> {
                match number { $($number => Some(TensorType::$name),)+ _ => None }
            }

            /// Its number in the file.
            pub(crate) fn number(self) -> u32 {
                match self { $(TensorType::$name => $number,)+ }
            }

            /// Its name in ggml.
            pub fn name(self) -> &'static str {
                match self { $(TensorType::$name => stringify!($name),)+ }
            }

            /// The values of a block, and its bytes.
            pub fn block(self) -> (usize, usize) {
                match self { $(TensorType::$name => ($values, $bytes),)+ }
            }

            /// What turns blocks into numbers; `None` where this crate does not.
            pub(crate) fn read(self) -> Option<dequantize::Read> {
                match self { $(TensorType::$name => $read,)+ }
            }

            /// What turns numbers into blocks; `None` where this crate does not.
            pub(crate) fn write(self) -> Option<quantize::Write> {
                match self { $(TensorType::$name => $write,)+ }
            }
        }
    };
}

tensor_types! {
    F32 0 1 4 Some(dequantize::f32), Some(quantize::f32);
    F16 1 1 2 Some(dequantize::f16), Some(quantize::f16);
    Q4_0 2 32 18 Some(dequantize::q4_0), Some(quantize::q4_0);
    Q4_1 3 32 20 Some(dequantize::q4_1), None;
    Q5_0 6 32 22 Some(dequantize::q5_0), Some(quantize::q5_0);
    Q5_1 7 32 24 Some(dequantize::q5_1), None;
    Q8_0 8 32 34 Some(dequantize::q8_0), Some(quantize::q8_0);
    Q8_1 9 32 36 None, None;
    Q2_K 10 256 84 None, None;
    Q3_K 11 256 110 None, None;
    Q4_K 12 256 144 Some(dequantize::q4_k), Some(quantize::q4_k);
    Q5_K 13 256 176 Some(dequantize::q5_k), None;
    Q6_K 14 256 210 Some(dequantize::q6_k), None;
    Q8_K 15 256 292 None, None;
    IQ2_XXS 16 256 66 None, None;
    IQ2_XS 17 256 74 None, None;
    IQ3_XXS 18 256 98 None, None;
    IQ1_S 19 256 50 None, None;
    IQ4_NL 20 32 18 None, None;
    IQ3_S 21 256 110 None, None;
    IQ2_S 22 256 82 None, None;
    IQ4_XS 23 256 136 None, None;
    I8 24 1 1 None, None;
    I16 25 1 2 None, None;
    I32 26 1 4 None, None;
    I64 27 1 8 None, None;
    F64 28 1 8 None, None;
    IQ1_M 29 256 56 None, None;
    BF16 30 1 2 Some(dequantize::bf16), None;
    TQ1_0 34 256 54 None, None;
    TQ2_0 35 256 66 None, None;
    MXFP4 39 32 17 None, None;
    NVFP4 40 64 36 None, None;
}

impl TensorType {
    /// Whether [`crate::Gguf::read_f32`] reads it.
    pub fn is_readable(self) -> bool {
        self.read().is_some()
    }

    /// Whether [`crate::Writer`] writes rows of so many numbers in it.
    pub fn takes_rows_of(self, numbers: usize) -> bool {
        self.write().is_some() && numbers.is_multiple_of(self.block().0)
    }

    /// The names of those that are read, for messages.
    pub fn readable() -> String {
        let names: Vec<&str> =
            Self::ALL.iter().filter(|one| one.is_readable()).map(|one| one.name()).collect();
        names.join(", ")
    }
}

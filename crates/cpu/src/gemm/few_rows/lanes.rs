//! Vectors of an instruction set, for loops that the compiler would not keep in registers by itself.
//!
//! The instructions must be there where these are called: only functions compiled for them may be instantiated with the types of this file.

/// Numbers that one instruction works on.
pub trait Lanes: Copy {
    /// How many.
    const COUNT: usize;

    fn zero() -> Self;

    /// The same number everywhere.
    fn splat(number: f32) -> Self;

    /// The first numbers of a slice, which has enough.
    fn load(from: &[f32]) -> Self;

    /// The first numbers of a slice of bf16, which has enough.
    fn load_bf16(from: &[u16]) -> Self;

    /// The low halves of the first bytes of a slice, which has enough, and the high halves.
    fn load_nibbles(from: &[u8]) -> (Self, Self);

    /// `self * factor + sum`
    fn multiply_add(self, factor: Self, sum: Self) -> Self;

    /// The sum of all numbers.
    fn sum(self) -> f32;
}

/// On any processor.
impl Lanes for [f32; 4] {
    const COUNT: usize = 4;

    #[inline(always)]
    fn zero() -> Self {
        [0.0; 4]
    }

    #[inline(always)]
    fn splat(number: f32) -> Self {
        [number; 4]
    }

    #[inline(always)]
    fn load(from: &[f32]) -> Self {
        *from.first_chunk().expect("a whole vector")
    }

    #[inline(always)]
    fn load_bf16(from: &[u16]) -> Self {
        let bits: [u16; 4] = *from.first_chunk().expect("a whole vector");
        bits.map(|bits| f32::from_bits(u32::from(bits) << 16))
    }

    #[inline(always)]
    fn load_nibbles(from: &[u8]) -> (Self, Self) {
        let bytes: [u8; 4] = *from.first_chunk().expect("a whole vector");
        (bytes.map(|byte| f32::from(byte & 15)), bytes.map(|byte| f32::from(byte >> 4)))
    }

    #[inline(always)]
    fn multiply_add(self, factor: Self, sum: Self) -> Self {
        std::array::from_fn(|i| self[i] * factor[i] + sum[i])
    }

    #[inline(always)]
    fn sum(self) -> f32 {
        (self[0] + self[2]) + (self[1] + self[3])
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    /// A register of AVX-512.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    impl Lanes for Avx512 {
        const COUNT: usize = 16;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: only in functions compiled for AVX-512, see the module.
            Avx512(unsafe { _mm512_setzero_ps() })
        }

        #[inline(always)]
        fn splat(number: f32) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_set1_ps(number) })
        }

        #[inline(always)]
        fn load(from: &[f32]) -> Self {
            let from: &[f32; 16] = from.first_chunk().expect("a whole vector");
            // SAFETY: as above; 16 numbers are read of as many.
            Avx512(unsafe { _mm512_loadu_ps(from.as_ptr()) })
        }

        #[inline(always)]
        fn load_bf16(from: &[u16]) -> Self {
            let from: &[u16; 16] = from.first_chunk().expect("a whole vector");
            // SAFETY: as above; 16 numbers of two bytes are read of as many.
            Avx512(unsafe {
                let bits = _mm256_loadu_si256(from.as_ptr().cast());
                _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_cvtepu16_epi32(bits)))
            })
        }

        #[inline(always)]
        fn load_nibbles(from: &[u8]) -> (Self, Self) {
            let from: &[u8; 16] = from.first_chunk().expect("a whole vector");
            // SAFETY: as above; 16 bytes are read of as many.
            unsafe {
                let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(from.as_ptr().cast()));
                let low = _mm512_and_si512(bytes, _mm512_set1_epi32(15));
                let high = _mm512_srli_epi32::<4>(bytes);
                (Avx512(_mm512_cvtepi32_ps(low)), Avx512(_mm512_cvtepi32_ps(high)))
            }
        }

        #[inline(always)]
        fn multiply_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: as above.
            Avx512(unsafe { _mm512_fmadd_ps(self.0, factor.0, sum.0) })
        }

        #[inline(always)]
        fn sum(self) -> f32 {
            // SAFETY: as above.
            unsafe { _mm512_reduce_add_ps(self.0) }
        }
    }

    /// A register of AVX2.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    impl Lanes for Avx2 {
        const COUNT: usize = 8;

        #[inline(always)]
        fn zero() -> Self {
            // SAFETY: only in functions compiled for AVX2 and FMA, see the module.
            Avx2(unsafe { _mm256_setzero_ps() })
        }

        #[inline(always)]
        fn splat(number: f32) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_set1_ps(number) })
        }

        #[inline(always)]
        fn load(from: &[f32]) -> Self {
            let from: &[f32; 8] = from.first_chunk().expect("a whole vector");
            // SAFETY: as above; eight numbers are read of as many.
            Avx2(unsafe { _mm256_loadu_ps(from.as_ptr()) })
        }

        #[inline(always)]
        fn load_bf16(from: &[u16]) -> Self {
            let from: &[u16; 8] = from.first_chunk().expect("a whole vector");
            // SAFETY: as above; eight numbers of two bytes are read of as many.
            Avx2(unsafe {
                let bits = _mm_loadu_si128(from.as_ptr().cast());
                _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(bits)))
            })
        }

        #[inline(always)]
        fn load_nibbles(from: &[u8]) -> (Self, Self) {
            let from: &[u8; 8] = from.first_chunk().expect("a whole vector");
            // SAFETY: as above; eight bytes are read of as many.
            unsafe {
                let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(from.as_ptr().cast()));
                let low = _mm256_and_si256(bytes, _mm256_set1_epi32(15));
                let high = _mm256_srli_epi32::<4>(bytes);
                (Avx2(_mm256_cvtepi32_ps(low)), Avx2(_mm256_cvtepi32_ps(high)))
            }
        }

        #[inline(always)]
        fn multiply_add(self, factor: Self, sum: Self) -> Self {
            // SAFETY: as above.
            Avx2(unsafe { _mm256_fmadd_ps(self.0, factor.0, sum.0) })
        }

        #[inline(always)]
        fn sum(self) -> f32 {
            // SAFETY: as above.
            unsafe {
                let half = _mm_add_ps(_mm256_castps256_ps128(self.0), _mm256_extractf128_ps::<1>(self.0));
                let quarter = _mm_add_ps(half, _mm_movehl_ps(half, half));
                _mm_cvtss_f32(_mm_add_ss(quarter, _mm_movehdup_ps(quarter)))
            }
        }
    }
}

//! Registers of x86-64. The instructions must be there where these are called: each type is used by functions alone that are compiled
//! for them.

use super::{Accumulator, PANELS, QUAD, Quads, Sums, tiles};
use std::arch::x86_64::*;

#[target_feature(enable = "avx512f,avx512vnni")]
pub(super) fn avx512_vnni(x: &[u8], rows: usize, panels: &[Quads], sums: &mut Sums) {
    tiles::<Zmm, PANELS>(x, rows, panels, sums);
}

#[target_feature(enable = "avx2,avxvnni")]
pub(super) fn avx_vnni(x: &[u8], rows: usize, panels: &[Quads], sums: &mut Sums) {
    tiles::<YmmVnni, 1>(x, rows, panels, sums);
}

#[target_feature(enable = "avx2")]
pub(super) fn avx2(x: &[u8], rows: usize, panels: &[Quads], sums: &mut Sums) {
    tiles::<Ymm, 1>(x, rows, panels, sums);
}

#[derive(Clone, Copy)]
struct Zmm(__m512i);

impl Accumulator for Zmm {
    const COUNT: usize = 16;
    type Weights = __m512i;
    type Inputs = __m512i;

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: the instructions are there, see the module.
        Zmm(unsafe { _mm512_setzero_si512() })
    }
    #[inline(always)]
    fn weights(from: &[i8]) -> __m512i {
        let from: &[i8; 64] = from.first_chunk().expect("a whole vector");
        // SAFETY: as above; 64 bytes are read of as many.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }
    #[inline(always)]
    fn inputs(four: [u8; QUAD]) -> __m512i {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(i32::from_le_bytes(four)) }
    }
    #[inline(always)]
    fn plus(self, x: __m512i, w: __m512i) -> Self {
        // SAFETY: as above.
        Zmm(unsafe { _mm512_dpbusd_epi32(self.0, x, w) })
    }
    #[inline(always)]
    fn store(self, to: &mut [i32]) {
        let to: &mut [i32; 16] = to.first_chunk_mut().expect("a whole vector");
        // SAFETY: as above; 16 numbers are written to as many.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), self.0) }
    }
}

/// Eight sums, with the instruction for them.
#[derive(Clone, Copy)]
struct YmmVnni(__m256i);

impl Accumulator for YmmVnni {
    const COUNT: usize = 8;
    type Weights = __m256i;
    type Inputs = __m256i;

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: as above.
        YmmVnni(unsafe { _mm256_setzero_si256() })
    }
    #[inline(always)]
    fn weights(from: &[i8]) -> __m256i {
        load(from)
    }
    #[inline(always)]
    fn inputs(four: [u8; QUAD]) -> __m256i {
        // SAFETY: as above.
        unsafe { _mm256_set1_epi32(i32::from_le_bytes(four)) }
    }
    #[inline(always)]
    fn plus(self, x: __m256i, w: __m256i) -> Self {
        // SAFETY: as above.
        YmmVnni(unsafe { _mm256_dpbusd_avx_epi32(self.0, x, w) })
    }
    #[inline(always)]
    fn store(self, to: &mut [i32]) {
        store(self.0, to);
    }
}

/// Eight sums, by products in 16 bits that do not saturate.
#[derive(Clone, Copy)]
struct Ymm(__m256i);

/// Signed bytes and their absolute values.
#[derive(Clone, Copy)]
struct SignedBytes {
    bytes: __m256i,
    absolute: __m256i,
}

impl Accumulator for Ymm {
    const COUNT: usize = 8;
    type Weights = __m256i;
    type Inputs = SignedBytes;

    #[inline(always)]
    fn zero() -> Self {
        // SAFETY: as above.
        Ymm(unsafe { _mm256_setzero_si256() })
    }
    #[inline(always)]
    fn weights(from: &[i8]) -> __m256i {
        load(from)
    }
    #[inline(always)]
    fn inputs(four: [u8; QUAD]) -> SignedBytes {
        // SAFETY: as above. The absolute value of -128 is 128 as an unsigned byte, as which it is used.
        unsafe {
            let bytes = _mm256_set1_epi32(i32::from_le_bytes(four));
            SignedBytes { bytes, absolute: _mm256_abs_epi8(bytes) }
        }
    }
    #[inline(always)]
    fn plus(self, x: SignedBytes, w: __m256i) -> Self {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm256_maddubs_epi16(x.absolute, _mm256_sign_epi8(w, x.bytes));
            let fours = _mm256_madd_epi16(pairs, _mm256_set1_epi16(1));
            Ymm(_mm256_add_epi32(self.0, fours))
        }
    }
    #[inline(always)]
    fn store(self, to: &mut [i32]) {
        store(self.0, to);
    }
}

#[inline(always)]
fn load(from: &[i8]) -> __m256i {
    let from: &[i8; 32] = from.first_chunk().expect("a whole vector");
    // SAFETY: as above; 32 bytes are read of as many.
    unsafe { _mm256_loadu_si256(from.as_ptr().cast()) }
}

#[inline(always)]
fn store(sums: __m256i, to: &mut [i32]) {
    let to: &mut [i32; 8] = to.first_chunk_mut().expect("a whole vector");
    // SAFETY: as above; eight numbers are written to as many.
    unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), sums) }
}

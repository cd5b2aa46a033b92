//! Loops that vectorise, compiled for several instruction sets and chosen at run time.

/// The instruction sets that loops are compiled for.
#[cfg(target_arch = "x86_64")]
#[derive(Clone, Copy)]
pub(crate) enum IsaLevel {
    Avx512,
    Avx2,
    Baseline,
}

/// The best set that this machine has. The standard library looks once and remembers.
#[cfg(target_arch = "x86_64")]
#[inline]
pub(crate) fn detected_isa() -> IsaLevel {
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
    {
        IsaLevel::Avx512
    } else if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
        IsaLevel::Avx2
    } else {
        IsaLevel::Baseline
    }
}

/// Defines a function whose body is compiled for AVX-512, for AVX2 and for the target's baseline, and which calls
/// the best of them. Everything that the body calls must be `#[inline(always)]` to be compiled along with it.
macro_rules! simd {
    ($($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block)*) => {$(
        $(#[$meta])*
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $type),*) $(-> $out)? {
            #[inline(always)]
            fn body($($arg: $type),*) $(-> $out)? $body
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
                fn avx512($($arg: $type),*) $(-> $out)? { body($($arg),*) }
                #[target_feature(enable = "avx2,fma")]
                fn avx2($($arg: $type),*) $(-> $out)? { body($($arg),*) }
                match $crate::simd::detected_isa() {
                    // SAFETY: `detected_isa` has found these instructions on this machine.
                    $crate::simd::IsaLevel::Avx512 => return unsafe { avx512($($arg),*) },
                    // SAFETY: `detected_isa` has found these instructions on this machine.
                    $crate::simd::IsaLevel::Avx2 => return unsafe { avx2($($arg),*) },
                    $crate::simd::IsaLevel::Baseline => {}
                }
            }
            body($($arg),*)
        }
    )*};
}
pub(crate) use simd;

/// `e^x` to about 2 units in the last place; the argument is held within -87..=88, where the result is normal.
///
/// `2^n e^r` with `|r| <= ln 2 / 2` and the polynomial of Cephes' `expf`. Adding and taking away 1.5 * 2^23 rounds
/// to the nearest integer, which then stands in the low bits: no instruction beyond the baseline is needed.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let mut p = 1.987_569_1e-4;
    for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5] {
        p = p * r + c;
    }
    let power = f32::from_bits(shifted.to_bits().wrapping_add(127) << 23);
    (p * (r * r) + r + 1.0) * power
}

/// Sum of a slice, in 32 lanes.
#[inline(always)]
pub(crate) fn sum(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<32>();
    let mut lanes = [0.0; 32];
    for chunk in chunks {
        for i in 0..32 {
            lanes[i] += chunk[i];
        }
    }
    fold(lanes) + rest.iter().sum::<f32>()
}

/// Dot product of two slices of one length, in 32 lanes.
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<32>(), b.as_chunks::<32>());
    let mut lanes = [0.0; 32];
    for (a, b) in a.iter().zip(b) {
        for i in 0..32 {
            lanes[i] += a[i] * b[i];
        }
    }
    fold(lanes) + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f32>()
}

/// The largest value; NaN is passed over.
#[inline(always)]
pub(crate) fn max(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<16>();
    let mut lanes = [f32::NEG_INFINITY; 16];
    for chunk in chunks {
        for i in 0..16 {
            lanes[i] = if chunk[i] > lanes[i] { chunk[i] } else { lanes[i] };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |a, &b| a.max(b))
}

/// Adds up 32 lanes, halving them.
#[inline(always)]
fn fold(lanes: [f32; 32]) -> f32 {
    let mut eight = [0.0; 8];
    for i in 0..8 {
        eight[i] = (lanes[i] + lanes[i + 8]) + (lanes[i + 16] + lanes[i + 24]);
    }
    ((eight[0] + eight[1]) + (eight[2] + eight[3])) + ((eight[4] + eight[5]) + (eight[6] + eight[7]))
}

simd! {
    /// `total += part`
    pub(crate) fn add(total: &mut [f32], part: &[f32]) {
        for (total, part) in total.iter_mut().zip(part) {
            *total += part;
        }
    }

    /// `total += factor part`
    pub(crate) fn add_scaled(total: &mut [f32], factor: f32, part: &[f32]) {
        for (total, part) in total.iter_mut().zip(part) {
            *total += factor * part;
        }
    }

    /// `x *= factor`
    pub(crate) fn scale(x: &mut [f32], factor: f32) {
        for x in x {
            *x *= factor;
        }
    }

    /// Sum of squares in f64.
    pub(crate) fn squares(values: &[f32]) -> f64 {
        let (chunks, rest) = values.as_chunks::<16>();
        let mut lanes = [0.0f64; 16];
        for chunk in chunks {
            for i in 0..16 {
                let x = f64::from(chunk[i]);
                lanes[i] += x * x;
            }
        }
        lanes.iter().sum::<f64>() + rest.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_close_over_its_range() {
        for i in -870_000..=880_000 {
            let x = i as f32 * 1e-4;
            let right = f64::from(x).exp();
            let error = (f64::from(exp(x)) - right).abs() / right;
            assert!(error < 2.5e-7, "exp({x}): {error:e}");
        }
        assert!(exp(f32::NAN).is_nan());
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(1e30) > 1e38);
    }

    #[test]
    fn reductions_of_all_lengths() {
        for len in 0..100 {
            let a: Vec<f32> = (0..len).map(|i| (i as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..len).map(|i| (i as f32 * 0.3).cos()).collect();
            let right: f64 = a.iter().zip(&b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
            assert!((f64::from(dot(&a, &b)) - right).abs() < 1e-5);
            assert!((f64::from(sum(&a)) - a.iter().map(|&x| f64::from(x)).sum::<f64>()).abs() < 1e-5);
            assert_eq!(max(&a), a.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            assert!((squares(&a) - a.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>()).abs() < 1e-12);
        }
    }
}

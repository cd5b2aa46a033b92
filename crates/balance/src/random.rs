//! Random numbers by argument: a function of a seed, a step and names, so that there is no generator to keep.

/// 64 bits that look random and depend on every argument.
pub(crate) fn draw(seed: u32, step: u64, names: &[&str]) -> u64 {
    // FNV-1a over everything, each name ended by a byte that no UTF-8 text holds; then the finalizer of SplitMix64.
    let numbers = u64::from(seed).to_le_bytes().into_iter().chain(step.to_le_bytes());
    let names = names.iter().flat_map(|name| name.bytes().chain([0xff]));
    let hash = numbers.chain(names).fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    mix(hash)
}

/// The finalizer of SplitMix64: every bit depends on every bit.
pub(crate) fn mix(bits: u64) -> u64 {
    let mixed = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// A number within 0 and 1, never 0, from 64 random bits.
pub(crate) fn uniform(bits: u64) -> f64 {
    ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64
}

/// A number of the standard normal distribution (Box and Muller 1958).
pub(crate) fn normal(seed: u32, step: u64, name: &str) -> f64 {
    let uniform = |part| uniform(draw(seed, step, &[name, part]));
    (-2.0 * uniform("radius").ln()).sqrt() * (std::f64::consts::TAU * uniform("angle")).cos()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_argument_counts() {
        let all = [
            draw(0, 0, &["a"]),
            draw(1, 0, &["a"]),
            draw(0, 1, &["a"]),
            draw(0, 0, &["b"]),
            draw(0, 0, &["a", ""]),
        ];
        for (i, a) in all.iter().enumerate() {
            assert!(all[..i].iter().all(|b| a != b), "{all:?}");
        }
    }

    #[test]
    fn normal_numbers_have_their_moments() {
        let count = 20_000;
        let drawn: Vec<f64> = (0..count).map(|step| normal(3, step, "task")).collect();
        let moment = |power: i32| drawn.iter().map(|x| x.powi(power)).sum::<f64>() / count as f64;
        assert!(moment(1).abs() < 0.03, "{}", moment(1));
        assert!((moment(2) - 1.0).abs() < 0.04, "{}", moment(2));
        assert!((moment(4) - 3.0).abs() < 0.3, "{}", moment(4));
    }
}

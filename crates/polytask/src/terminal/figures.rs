//! How figures are written for people.

use std::time::Duration;

/// `1234567` as `1,234,567`.
pub fn count(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// A number of things: `1 epoch`, `1,234 epochs`.
pub fn counted(n: usize, thing: &str) -> String {
    format!("{} {thing}{}", count(n), if n == 1 { "" } else { "s" })
}

/// Parameters and the like: `950`, `12.3 k`, `22.7 M`, `1.2 G`.
pub fn short(n: usize) -> String {
    match n as f64 {
        x if x >= 1e9 => format!("{:.1} G", x / 1e9),
        x if x >= 1e6 => format!("{:.1} M", x / 1e6),
        x if x >= 1e4 => format!("{:.1} k", x / 1e3),
        _ => count(n),
    }
}

/// Bytes in binary units: `512 KiB`, `1.5 GiB`.
pub fn bytes(n: usize) -> String {
    match n as f64 {
        x if x >= 1073741824. => format!("{:.1} GiB", x / 1073741824.),
        x if x >= 1048576. => format!("{:.0} MiB", x / 1048576.),
        x => format!("{:.0} KiB", x / 1024.),
    }
}

/// `8.2 s`, `3:07`, `1:02:45`.
pub fn duration(time: Duration) -> String {
    let seconds = time.as_secs();
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, _) => format!("{:.1} s", time.as_secs_f64()),
        (0, m, s) => format!("{m}:{s:02}"),
        (h, m, s) => format!("{h}:{m:02}:{s:02}"),
    }
}

/// A score, a fraction, in points of a hundred: `98.86`.
pub fn points(score: f64) -> String {
    format!("{:.2}", 100. * score)
}

/// A change of a score in points, with its sign: `+0.43`.
pub fn change(by: f64) -> String {
    format!("{:+.2}", 100. * by)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well() {
        assert_eq!((count(7), count(1234567)), ("7".into(), "1,234,567".into()));
        assert_eq!((short(950), short(22_713_216)), ("950".into(), "22.7 M".into()));
        assert_eq!(bytes(1_610_612_736), "1.5 GiB");
        assert_eq!(duration(Duration::from_secs(3765)), "1:02:45");
        assert_eq!((points(0.98857), change(-0.0043)), ("98.86".into(), "-0.43".into()));
    }
}

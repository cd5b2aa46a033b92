//! An axis of a plot: what it spans, where a value lies on it, and which values are written beside it.

/// How values lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// At distances by their differences.
    Linear,
    /// At distances by their ratios; only values above 0 have a place.
    Log,
}

/// An axis that spans some values.
#[derive(Debug)]
pub(crate) struct Axis {
    scale: Scale,
    /// In the scale's own unit: the value, or its logarithm to base 10.
    low: f64,
    high: f64,
}

impl Axis {
    /// The axis of all values that have a place on it; from 0 to 1 (1 to 10) where none has.
    pub fn over(scale: Scale, values: impl Iterator<Item = f64>) -> Axis {
        let placed = values.filter_map(|value| position(scale, value));
        let (low, high) =
            placed.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), at| (low.min(at), high.max(at)));
        if low > high {
            return Axis { scale, low: 0.0, high: 1.0 };
        }
        if low < high {
            return Axis { scale, low, high };
        }
        // One value alone stands in the middle.
        let by = if scale == Scale::Log || low == 0.0 { 0.5 } else { low.abs() / 10.0 };
        Axis { scale, low: low - by, high: high + by }
    }

    /// Its ends moved out to round values.
    pub fn rounded(mut self) -> Axis {
        if self.scale == Scale::Linear {
            let step = step(self.high - self.low);
            (self.low, self.high) = ((self.low / step).floor() * step, (self.high / step).ceil() * step);
        }
        self
    }

    /// Where a value lies, from 0 to 1 within the axis; `None` where it has no place.
    pub fn position(&self, value: f64) -> Option<f64> {
        position(self.scale, value).map(|at| (at - self.low) / (self.high - self.low))
    }

    /// Its ends in the scale's own unit, and whether that is the logarithm: `LOW HIGH 1`, for a script.
    pub fn ends(&self) -> String {
        format!("{} {} {}", self.low, self.high, u8::from(self.scale == Scale::Log))
    }

    /// Round values on the axis and how they are written, rising.
    pub fn ticks(&self) -> Vec<(f64, String)> {
        match self.scale {
            Scale::Log if self.high - self.low >= 1.5 => self.powers(),
            Scale::Log => self.within_decades(),
            Scale::Linear => {
                let step = step(self.high - self.low);
                let (first, last) = ((self.low / step).ceil() as i64, (self.high / step).floor() as i64);
                // By whole steps, so that no rounding adds up.
                (first..=last).map(|i| (i as f64 * step, written(i as f64 * step, step))).collect()
            }
        }
    }

    /// Powers of ten, not more than ten of them.
    fn powers(&self) -> Vec<(f64, String)> {
        let (first, last) = (self.low.ceil() as i32, self.high.floor() as i32);
        let every = (last - first) / 10 + 1;
        (first..=last)
            .step_by(every as usize)
            .map(|power| (10f64.powi(power), format!("1e{power}")))
            .collect()
    }

    /// One, two and five times each power of ten.
    fn within_decades(&self) -> Vec<(f64, String)> {
        let powers = self.low.floor() as i32..=self.high.ceil() as i32;
        let all = powers
            .flat_map(|power| [1, 2, 5].map(|digit| (f64::from(digit) * 10f64.powi(power), digit, power)));
        let within =
            all.filter(|(value, ..)| self.position(*value).is_some_and(|at| (0.0..=1.0).contains(&at)));
        within.map(|(value, digit, power)| (value, format!("{digit}e{power}"))).collect()
    }
}

fn position(scale: Scale, value: f64) -> Option<f64> {
    let at = match scale {
        Scale::Linear => value,
        Scale::Log if value > 0.0 => value.log10(),
        Scale::Log => return None,
    };
    at.is_finite().then_some(at)
}

/// One, two or five times a power of ten, of which four to nine are in a span.
fn step(span: f64) -> f64 {
    let rough = span / 6.0;
    let power = 10f64.powf(rough.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0].into_iter().find(|times| times * power >= rough * 0.75);
    times.unwrap_or(10.0) * power
}

/// A multiple of a step, with as many decimals as the step has.
fn written(value: f64, step: f64) -> String {
    let (most, decimals) = (value.abs().max(step), (-step.log10().floor()).max(0.0) as usize);
    let value = if value == 0.0 { 0.0 } else { value };
    if decimals > 6 || most >= 1e7 { format!("{value:e}") } else { format!("{value:.decimals$}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ticks(scale: Scale, low: f64, high: f64) -> Vec<String> {
        let axis = Axis::over(scale, [low, high].into_iter()).rounded();
        axis.ticks().into_iter().map(|(_, written)| written).collect()
    }

    #[test]
    fn ticks_are_round() {
        assert_eq!(ticks(Scale::Linear, 0.0, 1.0), ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(ticks(Scale::Linear, 0.13, 4.21), ["0", "1", "2", "3", "4", "5"]);
        assert_eq!(ticks(Scale::Linear, -3.0, 3.0), ["-3", "-2", "-1", "0", "1", "2", "3"]);
        assert_eq!(ticks(Scale::Log, 1e-4, 1.0), ["1e-4", "1e-3", "1e-2", "1e-1", "1e0"]);
        assert_eq!(ticks(Scale::Log, 0.9, 6.0), ["1e0", "2e0", "5e0"]);
        assert_eq!(ticks(Scale::Log, 1e-40, 1.0).len(), 9);
    }

    #[test]
    fn every_span_has_some_ticks_within_it() {
        for power in -12..12 {
            for times in [1.0, 1.3, 1.9, 2.4, 3.7, 5.1, 7.7, 9.9] {
                let span = times * 10f64.powi(power);
                let axis = Axis::over(Scale::Linear, [-0.3 * span, 0.7 * span].into_iter());
                let ticks = axis.ticks();
                assert!((3..=11).contains(&ticks.len()), "{span}: {ticks:?}");
                assert!(ticks.iter().all(|(value, _)| {
                    axis.position(*value).is_some_and(|at| (-1e-9..=1.0 + 1e-9).contains(&at))
                }));
            }
        }
    }

    #[test]
    fn values_have_their_places() {
        let log = Axis::over(Scale::Log, [1e-4, 1.0, 0.0, -1.0, f64::NAN].into_iter());
        let places = [1e-4, 1e-2, 1.0].map(|value| log.position(value).unwrap());
        assert!(places.iter().zip([0.0, 0.5, 1.0]).all(|(a, b)| (a - b).abs() < 1e-12), "{places:?}");
        assert_eq!((log.position(0.0), log.position(f64::NAN)), (None, None));
        assert_eq!(Axis::over(Scale::Linear, [3.0].into_iter()).position(3.0), Some(0.5));
        assert_eq!(Axis::over(Scale::Linear, std::iter::empty()).position(0.5), Some(0.5));
    }
}

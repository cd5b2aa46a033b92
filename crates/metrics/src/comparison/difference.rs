//! `Difference`: how far two ways of training are apart, with a confidence interval over seeds and rows.
//!
//! Both are trained with the same seeds and scored on the same rows. The difference of a seed on a row is modelled as
//! `d + seed + row + seed x row`: seeds and rows are crossed, because all seeds are scored on the same rows. The variance of the mean
//! difference is then `var(seeds)/S + var(rows) - var(seeds x rows)/S`, in which the interaction, which both of the first two hold, is
//! taken away once (Owen, 2007, The pigeonhole bootstrap). The variance over seeds is the sample's; those that rows have a part in come
//! from a paired bootstrap: scores of both models on the same resampled rows (Efron, 1979; Koehn, 2004). The interval is Student's, with
//! the degrees of freedom of Welch and Satterthwaite, since a few seeds tell little of their own variance.

use statrs::distribution::{ContinuousCDF, StudentsT};

/// A figure of one way of training, `S` seeds: measured on all rows, and on bootstrap samples of the rows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Replicates {
    /// `[S]`, on all rows.
    pub values: Vec<f64>,
    /// `[S][samples]`; sample `b` of all figures that are compared holds the same rows.
    pub resampled: Vec<Vec<f64>>,
}

impl Replicates {
    /// The mean over the seeds.
    pub fn mean(&self) -> f64 {
        mean(&self.values)
    }

    /// The standard deviation over the seeds, with `S - 1`; `None` of a single seed.
    pub fn deviation(&self) -> Option<f64> {
        (self.values.len() > 1).then(|| variance(&self.values).sqrt())
    }

    /// The combination `sum_k factor_k figure_k` of figures of the same seeds and samples.
    pub fn combine(parts: &[(f64, &Replicates)]) -> Replicates {
        let Some((_, first)) = parts.first() else { return Replicates::default() };
        let at =
            |get: &dyn Fn(&Replicates) -> f64| parts.iter().map(|(factor, part)| factor * get(part)).sum();
        let seeds = parts.iter().map(|(_, part)| part.values.len()).min().unwrap_or(0);
        let samples = |seed: usize| {
            let least = parts.iter().filter_map(|(_, part)| Some(part.resampled.get(seed)?.len())).min();
            least.filter(|_| first.resampled.len() > seed).unwrap_or(0)
        };
        Replicates {
            values: (0..seeds).map(|s| at(&|part| part.values[s])).collect(),
            resampled: (0..seeds)
                .map(|s| (0..samples(s)).map(|b| at(&|part| part.resampled[s][b])).collect())
                .collect(),
        }
    }
}

/// The difference of two figures, the first less the second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// Its mean over the seeds.
    pub mean: f64,
    /// Its standard error over seeds and rows; over rows alone of a single seed.
    pub standard_error: f64,
    /// The degrees of freedom of the interval.
    pub degrees_of_freedom: f64,
    /// The 95 % confidence interval.
    pub interval: [f64; 2],
    /// The probability of a difference as great as this or greater, to either side, where there is none.
    pub p_value: f64,
    /// Seeds.
    pub seeds: usize,
}

/// What a difference says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The interval lies above 0.
    Helps,
    /// The interval lies below 0.
    Hurts,
    /// The interval holds 0: there may be a difference that so many seeds and rows do not show.
    NotShown,
    /// One seed says nothing about others.
    OneSeed,
}

impl Verdict {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Verdict::Helps => "helps",
            Verdict::Hurts => "hurts",
            Verdict::NotShown => "no difference shown",
            Verdict::OneSeed => "one seed: no verdict",
        }
    }
}

impl Difference {
    /// Of a figure that is itself a difference, such as `Replicates::combine(&[(1.0, a), (-1.0, b)])`; `rows` is how many rows it was
    /// measured on. `None` without a seed.
    pub fn of(figure: &Replicates, rows: usize) -> Option<Difference> {
        let seeds = figure.values.len();
        if seeds == 0 {
            return None;
        }
        let difference = figure.mean();
        let over_rows = row_variances(&figure.resampled);
        let (total, degrees_of_freedom) = if seeds == 1 {
            (over_rows.of_mean, rows.saturating_sub(1).max(1) as f64)
        } else {
            let over_seeds = variance(&figure.values) / seeds as f64;
            let interaction = ((over_rows.mean - over_rows.of_mean) / (seeds - 1) as f64).max(0.0);
            let total = (over_seeds + over_rows.of_mean - interaction).max(over_seeds).max(over_rows.of_mean);
            (total, satterthwaite(total, over_seeds, seeds, rows))
        };
        let standard_error = total.sqrt();
        let (t, p_value) = student(difference, standard_error, degrees_of_freedom);
        let interval = [difference - t * standard_error, difference + t * standard_error];
        Some(Difference { mean: difference, standard_error, degrees_of_freedom, interval, p_value, seeds })
    }

    /// What it says.
    pub fn verdict(&self) -> Verdict {
        match self.interval {
            _ if self.seeds < 2 => Verdict::OneSeed,
            [low, _] if low > 0.0 => Verdict::Helps,
            [_, high] if high < 0.0 => Verdict::Hurts,
            _ => Verdict::NotShown,
        }
    }
}

/// Variances over bootstrap samples of the rows.
struct RowVariances {
    /// Of the mean over the seeds: `var(rows) + var(seeds x rows) / S`.
    of_mean: f64,
    /// Of each seed, averaged: `var(rows) + var(seeds x rows)`.
    mean: f64,
}

fn row_variances(resampled: &[Vec<f64>]) -> RowVariances {
    let samples = resampled.iter().map(Vec::len).min().unwrap_or(0);
    let means: Vec<f64> = (0..samples)
        .map(|b| resampled.iter().map(|seed| seed[b]).sum::<f64>() / resampled.len() as f64)
        .collect();
    let each: Vec<f64> = resampled.iter().map(|seed| variance(&seed[..samples])).collect();
    RowVariances { of_mean: variance(&means), mean: mean(&each) }
}

/// The degrees of freedom of a sum of a variance over seeds and one over rows.
fn satterthwaite(total: f64, over_seeds: f64, seeds: usize, rows: usize) -> f64 {
    let of_rows = total - over_seeds;
    let spread = over_seeds * over_seeds / (seeds - 1) as f64
        + of_rows * of_rows / rows.saturating_sub(1).max(1) as f64;
    if spread > 0.0 { total * total / spread } else { (seeds - 1) as f64 }
}

/// The 97.5 % quantile of Student's distribution, and the p-value of a difference.
pub(super) fn student(difference: f64, standard_error: f64, degrees_of_freedom: f64) -> (f64, f64) {
    let Ok(student) = StudentsT::new(0.0, 1.0, degrees_of_freedom) else { return (f64::INFINITY, 1.0) };
    let t = student.inverse_cdf(0.975);
    let p_value = match (difference, standard_error) {
        (0.0, _) => 1.0,
        (_, 0.0) => 0.0,
        _ => 2.0 * student.cdf(-(difference / standard_error).abs()),
    };
    (t, p_value)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// The sample's variance, with `n - 1`; 0 of fewer than two values.
pub(super) fn variance(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

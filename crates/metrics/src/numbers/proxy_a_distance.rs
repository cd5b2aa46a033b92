//! Proxy A-distance: how well a linear classifier separates the points of two sets; 0 not at all, 2 perfectly.
//!
//! Formula: `2 (1 - 2 e)`, where `e` is the test error of a logistic regression, and 0 where the error is above chance.
//! The sets are sampled to the same size and split into two folds; a classifier is fitted on each fold and tested on
//! the other, so that every point counts once. Points are centred on the mean of the training fold and divided by its
//! root mean square norm; the penalty is `c` = 10.
//!
//! When to use: to estimate the distance between the texts of two corpora in the representation of a model. The value
//! depends on the features, on the classifier and, for small sets, on the number of points: compare distances within
//! one table only. It does not depend on labels: near corpora may still interfere with each other, and distant ones
//! help.
//!
//! Reference: Ben-David, Blitzer, Crammer and Pereira 2007, Analysis of Representations for Domain Adaptation, NIPS;
//! the classifier is checked against scikit-learn.

use crate::Logistic;

/// The minimum number of points of a set for a meaningful distance.
pub const FEWEST_POINTS: usize = 20;
/// Inverse strength of the penalty.
const C: f64 = 10.0;

/// How far apart two sets are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProxyADistance {
    /// 0 to 2.
    pub distance: f64,
    /// The classifier's error on points that it was not fitted to, 0 to 1.
    pub error: f64,
    /// The standard error of the distance, as far as it comes from the number of points.
    pub uncertainty: f64,
    /// How many points of each set were compared.
    pub points: usize,
}

/// The distance of two sets of points `[points][features]`, each in random order: of the longer set the first are taken.
/// `None` where a set has fewer than [`FEWEST_POINTS`] points, or a number is not finite.
///
/// # Panics
/// When a point has other features than the first.
pub fn proxy_a_distance(first: &[Vec<f32>], second: &[Vec<f32>]) -> Option<ProxyADistance> {
    let points = first.len().min(second.len());
    let finite = |set: &[Vec<f32>]| set.iter().flatten().all(|x| x.is_finite());
    if points < FEWEST_POINTS || !finite(first) || !finite(second) {
        return None;
    }
    let half = |from: usize, to: usize| {
        let of = |set: &[Vec<f32>]| -> Vec<Vec<f64>> {
            set[from..to].iter().map(|point| point.iter().map(|x| f64::from(*x)).collect()).collect()
        };
        (of(first), of(second))
    };
    let halves = [half(0, points / 2), half(points / 2, points)];
    let wrong = wrong(&halves[0], &halves[1]) + wrong(&halves[1], &halves[0]);
    let error = wrong as f64 / (2 * points) as f64;
    Some(ProxyADistance {
        distance: (2.0 * (1.0 - 2.0 * error)).max(0.0),
        error,
        uncertainty: 4.0 * (error * (1.0 - error) / (2 * points) as f64).sqrt(),
        points,
    })
}

/// Points of each set.
type Half = (Vec<Vec<f64>>, Vec<Vec<f64>>);

/// How many points of one half a classifier gets wrong that was fitted to the other.
fn wrong(fitted: &Half, judged: &Half) -> usize {
    let mut points: Vec<Vec<f64>> = fitted.0.iter().chain(&fitted.1).cloned().collect();
    let scale = Scale::of(&points);
    points.iter_mut().for_each(|point| scale.apply(point));
    let classes: Vec<bool> = (0..points.len()).map(|at| at < fitted.0.len()).collect();
    let plane = Logistic::fit(&points, &classes, C);
    let score = |point: &Vec<f64>| {
        let mut point = point.clone();
        scale.apply(&mut point);
        plane.score(&point)
    };
    let missed = judged.0.iter().filter(|point| score(point) <= 0.0).count();
    missed + judged.1.iter().filter(|point| score(point) > 0.0).count()
}

/// Moves points to a mean of zero and a mean square norm of one.
struct Scale {
    mean: Vec<f64>,
    norm: f64,
}

impl Scale {
    fn of(points: &[Vec<f64>]) -> Scale {
        let count = points.len().max(1) as f64;
        let mut mean = vec![0.0; points.first().map_or(0, Vec::len)];
        for point in points {
            mean.iter_mut().zip(point).for_each(|(mean, x)| *mean += x / count);
        }
        let square = |point: &Vec<f64>| point.iter().zip(&mean).map(|(x, m)| (x - m).powi(2)).sum::<f64>();
        let norm = (points.iter().map(square).sum::<f64>() / count).sqrt();
        // Points that are all the same have nothing to be divided by.
        Scale { mean, norm: if norm > 0.0 { norm } else { 1.0 } }
    }

    fn apply(&self, point: &mut [f64]) {
        point.iter_mut().zip(&self.mean).for_each(|(x, mean)| *x = (*x - mean) / self.norm);
    }
}

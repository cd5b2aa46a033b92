//! Logistic regression: a linear classifier of two classes, fitted to points of real numbers.
//!
//! Minimizes `|w|^2 / 2 + c sum log(1 + exp(-y (w x + b)))` over `w` and `b`, with `y` 1 or -1; `b` is not penalized.
//! The problem is convex: Newton's method, whose steps are found by conjugate gradients (Lin, Weng and Keerthi 2008,
//! JMLR 9), reaches its only minimum.
//!
//! Reference: scikit-learn's `LogisticRegression(C=c)`.

/// The maximum number of Newton steps; ten are typical.
const STEPS: usize = 100;
/// The relative gradient norm at which the minimum is reached, compared with the one at zero.
const TOLERANCE: f64 = 1e-9;

/// A plane between two classes.
#[derive(Debug, Clone, PartialEq)]
pub struct Logistic {
    /// `[features]`
    pub weights: Vec<f64>,
    /// What is added to the weighted sum of a point.
    pub intercept: f64,
}

impl Logistic {
    /// Fits points `[points][features]` of finite numbers to their classes `[points]`. `c` above 0 is the inverse strength of the
    /// penalty. Without points, or with one class alone, the plane is far from all of them, with weights near 0.
    ///
    /// # Panics
    /// When there are not as many classes as points, or a point has other features than the first.
    pub fn fit(points: &[Vec<f64>], classes: &[bool], c: f64) -> Logistic {
        assert_eq!(points.len(), classes.len(), "one class a point");
        let features = points.first().map_or(0, Vec::len);
        assert!(points.iter().all(|point| point.len() == features), "as many features in every point");
        let problem = Problem { points, classes, c, features };
        // The intercept stands behind the weights.
        let mut at = vec![0.0; features + 1];
        let (mut value, mut gradient, mut curvature) = problem.at(&at);
        let enough = TOLERANCE * norm(&gradient);
        for _ in 0..STEPS {
            if norm(&gradient) <= enough {
                break;
            }
            let step = problem.newton(&gradient, &curvature);
            let descent = dot(&gradient, &step);
            let moved =
                |length: f64| -> Vec<f64> { at.iter().zip(&step).map(|(x, s)| x + length * s).collect() };
            // Halved until the value falls by a share of what the slope promises (Armijo's rule).
            let lengths = (0..40).map(|halvings| 0.5f64.powi(halvings));
            let found = lengths.map(|length| (length, moved(length))).find_map(|(length, to)| {
                let there = problem.at(&to);
                (there.0 <= value + 1e-4 * length * descent).then_some((to, there))
            });
            let Some((to, there)) = found else { break };
            at = to;
            (value, gradient, curvature) = there;
        }
        let intercept = at.pop().unwrap_or_default();
        Logistic { weights: at, intercept }
    }

    /// Above 0 for a point of the class `true`.
    ///
    /// # Panics
    /// When the point has other features than those it was fitted to.
    pub fn score(&self, point: &[f64]) -> f64 {
        assert_eq!(point.len(), self.weights.len(), "as many features as there are weights");
        dot(&self.weights, point) + self.intercept
    }
}

struct Problem<'a> {
    points: &'a [Vec<f64>],
    classes: &'a [bool],
    c: f64,
    features: usize,
}

impl Problem<'_> {
    /// The value and gradient at weights and intercept, and each point's second derivative.
    fn at(&self, at: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
        let (weights, intercept) = (&at[..self.features], at[self.features]);
        let mut value = dot(weights, weights) / 2.0;
        let mut gradient = weights.to_vec();
        gradient.push(0.0);
        let mut curvature = Vec::with_capacity(self.points.len());
        for (point, class) in self.points.iter().zip(self.classes) {
            let score = dot(weights, point) + intercept;
            let margin = if *class { score } else { -score };
            // log(1 + exp(-margin)) and the probability of the wrong class, without overflow.
            let small = (-margin.abs()).exp();
            value += self.c * ((-margin).max(0.0) + small.ln_1p());
            let wrong = if margin > 0.0 { small / (1.0 + small) } else { 1.0 / (1.0 + small) };
            let slope = self.c * if *class { -wrong } else { wrong };
            add(&mut gradient, slope, point);
            curvature.push(self.c * wrong * (1.0 - wrong));
        }
        (value, gradient, curvature)
    }

    /// The step to the minimum of the second-order model, by conjugate gradients.
    fn newton(&self, gradient: &[f64], curvature: &[f64]) -> Vec<f64> {
        let mut step = vec![0.0; gradient.len()];
        let mut residual: Vec<f64> = gradient.iter().map(|g| -g).collect();
        let mut direction = residual.clone();
        let mut square = dot(&residual, &residual);
        // Rough at first, and the more exact the nearer the minimum is.
        let enough = square.sqrt() * square.sqrt().sqrt().min(0.1);
        for _ in 0..gradient.len() {
            if square.sqrt() <= enough {
                break;
            }
            let curved = self.curved(&direction, curvature);
            let bend = dot(&direction, &curved);
            if bend <= 0.0 {
                break;
            }
            let length = square / bend;
            step.iter_mut().zip(&direction).for_each(|(s, d)| *s += length * d);
            residual.iter_mut().zip(&curved).for_each(|(r, c)| *r -= length * c);
            let next = dot(&residual, &residual);
            direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + next / square * *d);
            square = next;
        }
        step
    }

    /// The second derivative times a direction.
    fn curved(&self, direction: &[f64], curvature: &[f64]) -> Vec<f64> {
        let (weights, intercept) = (&direction[..self.features], direction[self.features]);
        let mut out = weights.to_vec();
        out.push(0.0);
        for (point, bend) in self.points.iter().zip(curvature) {
            add(&mut out, bend * (dot(weights, point) + intercept), point);
        }
        out
    }
}

/// Adds a multiple of a point, whose intercept is 1.
fn add(sum: &mut [f64], times: f64, point: &[f64]) {
    sum.iter_mut().zip(point.iter().chain([&1.0])).for_each(|(sum, x)| *sum += times * x);
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

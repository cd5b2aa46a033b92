//! Differences with their intervals against numpy and scipy (`scripts/make_comparison_fixtures.py`), and how often they find one where
//! there is none.

use polytask_metrics::{Difference, Replicates, Verdict, mean_ranks};
use serde_json::{Value, from_value};

fn fixture() -> Value {
    serde_json::from_str(include_str!("../fixtures/differences.json")).expect("the fixture is JSON")
}

fn close(ours: f64, theirs: &Value, what: &str) {
    let theirs = theirs.as_f64().unwrap();
    assert!((ours - theirs).abs() <= 1e-8 * (1.0 + theirs.abs()), "{what}: {ours}, scipy says {theirs}");
}

#[test]
fn intervals_equal_scipy() {
    let fixture = fixture();
    let cases = fixture["cases"].as_array().unwrap();
    assert_eq!(cases.len(), 15);
    for (i, case) in cases.iter().enumerate() {
        let figure = Replicates {
            values: from_value(case["values"].clone()).unwrap(),
            resampled: from_value(case["resampled"].clone()).unwrap(),
        };
        let rows = case["rows"].as_u64().unwrap() as usize;
        let (found, expected) = (Difference::of(&figure, rows).unwrap(), &case["expected"]);
        close(found.mean, &expected["mean"], &format!("case {i}, mean"));
        close(found.standard_error, &expected["standard_error"], &format!("case {i}, error"));
        close(found.degrees_of_freedom, &expected["degrees_of_freedom"], &format!("case {i}, freedom"));
        close(found.interval[0], &expected["interval"][0], &format!("case {i}, low"));
        close(found.interval[1], &expected["interval"][1], &format!("case {i}, high"));
        close(found.p_value, &expected["p_value"], &format!("case {i}, p"));
    }
}

#[test]
fn ranks_equal_scipy() {
    let fixture = fixture();
    let scores: Vec<Vec<f64>> = from_value(fixture["ranks"]["scores"].clone()).unwrap();
    let expected: Vec<f64> = from_value(fixture["ranks"]["expected"].clone()).unwrap();
    for (ours, theirs) in mean_ranks(&scores).iter().zip(&expected) {
        assert!((ours - theirs).abs() < 1e-12, "{ours}, scipy says {theirs}");
    }
}

/// A linear congruential generator, enough for samples (Knuth's MMIX).
struct Random(u64);

impl Random {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        let (radius, angle) = ((-2.0 * (1.0 - self.uniform()).ln()).sqrt(), self.uniform());
        radius * (std::f64::consts::TAU * angle).cos()
    }
}

/// Means of a table [seeds][rows] on all rows and on bootstrap samples of the rows, the same for every seed.
fn bootstrapped(cells: &[Vec<f64>], samples: usize, random: &mut Random) -> Replicates {
    let rows = cells[0].len();
    let draws: Vec<Vec<usize>> = (0..samples)
        .map(|_| (0..rows).map(|_| (random.uniform() * rows as f64) as usize).collect())
        .collect();
    let mean_at =
        |seed: &Vec<f64>, draw: &Vec<usize>| draw.iter().map(|row| seed[*row]).sum::<f64>() / rows as f64;
    Replicates {
        values: cells.iter().map(|seed| seed.iter().sum::<f64>() / rows as f64).collect(),
        resampled: cells.iter().map(|seed| draws.iter().map(|draw| mean_at(seed, draw)).collect()).collect(),
    }
}

/// The variance from the bootstrap is that of the analysis of variance of a table with crossed seeds and rows.
#[test]
fn the_variance_is_that_of_a_crossed_table() {
    for (i, table) in fixture()["tables"].as_array().unwrap().iter().enumerate() {
        let cells: Vec<Vec<f64>> = from_value(table["cells"].clone()).unwrap();
        let found = Difference::of(&bootstrapped(&cells, 4000, &mut Random(5)), cells[0].len()).unwrap();
        let (ours, theirs) = (found.standard_error.powi(2), table["variance"].as_f64().unwrap());
        // A mean of n rows varies over bootstrap samples (n - 1) / n times as much as over samples.
        assert!((ours / theirs - 1.0).abs() < 0.1, "table {i}: {ours}, the mean squares say {theirs}");
    }
}

/// Where there is no difference, one is named in about a twentieth of the cases, whatever varies: seeds, rows or both.
#[test]
fn no_difference_is_called_one_at_the_nominal_rate() {
    let mut random = Random(11);
    let mut all = 0;
    for seeds in [3, 5] {
        for [of_seeds, of_rows, of_both] in
            [[0.1, 1.0, 1.0], [0.05, 0.0, 1.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]]
        {
            let mut named = 0;
            for _ in 0..250 {
                let row_parts: Vec<f64> = (0..100).map(|_| of_rows * random.normal()).collect();
                let cells: Vec<Vec<f64>> = (0..seeds)
                    .map(|_| {
                        let seed = of_seeds * random.normal();
                        row_parts.iter().map(|row| seed + row + of_both * random.normal()).collect()
                    })
                    .collect();
                let found = Difference::of(&bootstrapped(&cells, 60, &mut random), 100).unwrap();
                named += usize::from(matches!(found.verdict(), Verdict::Helps | Verdict::Hurts));
            }
            assert!(named <= 30, "{seeds} seeds, {of_seeds} {of_rows} {of_both}: {named} of 250");
            all += named;
        }
    }
    // 5 % of 2000 are 100.
    assert!((60..=140).contains(&all), "{all} of 2000");
}

#[test]
fn figures_of_the_same_samples_combine() {
    let a = Replicates { values: vec![1.0, 2.0], resampled: vec![vec![1.0, 3.0], vec![2.0, 2.0]] };
    let b = Replicates { values: vec![0.5, 0.5], resampled: vec![vec![0.0, 1.0], vec![1.0, 0.0]] };
    let found = Replicates::combine(&[(2.0, &a), (-1.0, &b)]);
    assert_eq!(found.values, [1.5, 3.5]);
    assert_eq!(found.resampled, [vec![2.0, 5.0], vec![3.0, 4.0]]);
    assert_eq!(Difference::of(&Replicates::default(), 10), None);
    let alone =
        Difference::of(&Replicates { values: vec![0.5], resampled: vec![vec![0.4, 0.6]] }, 9).unwrap();
    assert_eq!(alone.verdict(), Verdict::OneSeed);
}

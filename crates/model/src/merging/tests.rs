//! The methods against numbers that others computed, and what holds of all of them.
//!
//! The golden values were printed by a program in NumPy, float64, written from the papers' formulas and run beside mergekit (of June 2026),
//! PEFT (of August 2026) and the authors' code of TIES and DELLA on the same three task vectors.

use super::model_stock::factor;
use super::*;

const D1: [f32; 6] = [1.0, -2.0, 0.5, 0.0, 3.0, -0.1];
const D2: [f32; 6] = [-0.5, -1.0, 2.0, 0.3, -0.8, 0.2];
const D3: [f32; 6] = [0.4, 1.5, 1.0, -0.6, 0.5, 0.0];
const ZEROS: [f32; 6] = [0.0; 6];

fn voters<'a>(values: &[&'a [f32]], weights: &[f64]) -> Vec<Voter<'a>> {
    let names = ["one", "two", "three"];
    let of = |((values, weight), model): ((&&'a [f32], &f64), &'static str)| Voter {
        model,
        values,
        weight: *weight,
        importance: None,
    };
    values.iter().zip(weights).zip(names).map(of).collect()
}

/// The merged change of the three, as one row.
fn merged(method: &Merging, weights: &[f64]) -> Vec<f32> {
    let voters = voters(&[&D1, &D2, &D3], weights);
    method.merge(&TensorVote { name: "w", columns: 6, base: Some(&ZEROS), voters: &voters })
}

fn close(found: &[f32], expected: &[f64]) {
    let near = |(found, expected): (&f32, &f64)| (f64::from(*found) - expected).abs() < 2e-6;
    assert!(found.len() == expected.len() && found.iter().zip(expected).all(near), "{found:?} {expected:?}");
}

const ONES: [f64; 3] = [1.0; 3];

#[test]
fn the_average_and_task_arithmetic() {
    let arithmetic = |lambda| Merging::TaskArithmetic(TaskArithmetic { lambda });
    close(&merged(&arithmetic(0.4), &ONES), &[0.36, -0.6, 1.4, -0.12, 1.08, 0.04]);
    close(&merged(&arithmetic(1.0), &[1.0, 0.5, 0.25]), &[0.85, -2.125, 1.75, 0.0, 2.725, 0.0]);
    let average = merged(&Merging::Average(Average {}), &[1.0, 0.5, 0.25]);
    close(&average, &[0.485714, -1.214286, 1.0, 0.0, 1.557143, 0.0]);
}

#[test]
fn ties_trims_elects_and_averages() {
    let ties = |density| Merging::Ties(Ties { density, lambda: 1.0 });
    close(&merged(&ties(0.5), &ONES), &[1.0, -1.5, 1.5, -0.6, 3.0, 0.0]);
    close(&merged(&ties(0.5), &[1.0, 0.5, 0.25]), &[1.0, -1.666667, 1.666667, -0.6, 3.0, 0.0]);
    close(&merged(&ties(1.0), &ONES), &[0.7, -1.5, 1.166667, -0.6, 1.75, 0.2]);
    // Each tensor by itself, and not both as one vector.
    let values: [&[f32]; 2] = [&[10.0, 9.0, 8.0], &[1.0, 2.0, 3.0]];
    for (values, kept) in values.into_iter().zip([[10.0, 0.0, 0.0], [0.0, 0.0, 3.0]]) {
        let voters = voters(&[values], &[1.0]);
        let vote = TensorVote { name: "w", columns: 3, base: Some(&ZEROS[..3]), voters: &voters };
        // A third, where the authors' count of half of three is one.
        close(&ties(1.0 / 3.0).merge(&vote), &kept);
    }
}

/// The three task vectors under given masks, divided by the probabilities.
fn masked(keep: impl Fn(usize, usize) -> f64) -> Vec<Vec<f64>> {
    let masks = [[1, 0, 1, 1, 0, 1], [0, 1, 1, 0, 1, 0], [1, 1, 0, 0, 0, 1]];
    let of = |(t, (d, mask)): (usize, ([f32; 6], [u8; 6]))| {
        let d: Vec<f64> = d.iter().map(|d| f64::from(*d)).collect();
        mask::rescaled(&d, |i| keep(t, i), |i, _| mask[i] == 1)
    };
    [D1, D2, D3].into_iter().zip(masks).enumerate().map(of).collect()
}

fn narrow(values: Vec<f64>) -> Vec<f32> {
    values.into_iter().map(to_f32).collect()
}

#[test]
fn dare_divides_what_is_kept_by_the_density() {
    let kept = masked(|_, _| 0.5);
    close(&narrow(task_vectors::weighted_sum(&kept, &ONES)), &[2.8, 1.0, 5.0, 0.0, -1.6, -0.2]);
    close(&narrow(consensus::elected_mean(&kept, &ONES, &ONES)), &[1.4, 3.0, 2.5, 0.0, -1.6, -0.2]);
}

#[test]
fn della_keeps_large_changes_more_often() {
    let of = |d: [f32; 6]| della::probabilities(&d.map(f64::from), 6, 0.5, 0.15);
    close(&narrow(of(D1)), &[0.53, 0.59, 0.47, 0.35, 0.65, 0.41]);
    close(&narrow(of(D3)), &[0.41, 0.65, 0.59, 0.53, 0.47, 0.35]);
    let keep = of(D1);
    close(&narrow(masked(|_, i| keep[i])[0].clone()), &[1.886792, 0.0, 1.063830, 0.0, 0.0, -0.243902]);
    // Rows of one number, and equal magnitudes.
    assert_eq!(della::probabilities(&[1.0, 2.0], 1, 0.5, 0.15), [0.5, 0.5]);
    close(&narrow(della::probabilities(&[1.0, -1.0, 1.0], 3, 0.5, 0.1)), &[0.6, 0.5, 0.4]);
}

#[test]
fn breadcrumbs_drops_the_largest_and_the_smallest() {
    let sum = |gamma| merged(&Merging::Breadcrumbs(Breadcrumbs { density: 0.5, gamma, lambda: 1.0 }), &ONES);
    close(&sum(0.2), &[0.5, -3.0, 1.5, -0.6, -0.3, 0.0]);
    close(&sum(0.4), &[0.9, 0.0, 0.5, -0.3, -0.3, -0.1]);
    close(&sum(0.6), &[-0.1, 0.0, 0.5, 0.3, 0.5, 0.1]);
    close(&sum(0.01), &[1.0, -1.5, 3.0, -0.6, 2.2, 0.0]);
    // Without any to drop, and with the signs of TIES, it is TIES.
    let as_ties = BreadcrumbsTies { density: 0.5, gamma: 0.01, lambda: 1.0 };
    close(&merged(&Merging::BreadcrumbsTies(as_ties), &ONES), &[1.0, -1.5, 1.5, -0.6, 3.0, 0.0]);
}

#[test]
fn sce_weighs_models_by_their_change() {
    let all = |share| {
        let sce = Sce { share };
        let d = [D1, D2, D3].map(|d| d.iter().map(|d| f64::from(*d)).collect()).to_vec();
        (narrow(Sce::weights(&sce.selected(d))), merged(&Merging::Sce(sce), &ONES))
    };
    let (weights, values) = all(1.0);
    close(&weights, &[0.586831, 0.247737, 0.165432]);
    close(&values, &[0.868053, -1.703156, 0.954321, -0.6, 2.450219, 0.2]);
    let (weights, values) = all(0.5);
    close(&weights, &[0.591782, 0.251898, 0.156320]);
    close(&values, &[0.0, -1.701429, 0.956007, 0.0, 2.477612, 0.0]);
}

#[test]
fn model_stock_goes_by_the_angle() {
    let [d1, d2, d3] = [D1, D2, D3].map(|d| d.map(f64::from));
    let (k, c) = factor(&[&d1, &d2]);
    close(&narrow(vec![k, c]), &[0.017121, 0.008634]);
    // The formula alone gives -0.139379.
    let (k, c) = factor(&[&d1, &d2, &d3]);
    close(&narrow(vec![k, c]), &[0.0, -0.042510]);
    let stock = Merging::ModelStock(ModelStock::default());
    let of = |values: &[&[f32]]| {
        let (voters, n) = (voters(values, &ONES), values[0].len());
        stock.merge(&TensorVote { name: "w", columns: n, base: Some(&ZEROS[..n]), voters: &voters })
    };
    close(&of(&[&D1, &D2]), &[0.004280, -0.025681, 0.021401, 0.002568, 0.018833, 0.000856]);
    close(&of(&[&[1.0, 0.0, 1.0], &[1.0, 1.0, 0.0]]), &[0.666667, 0.333333, 0.333333]);
    // By rows: of the same, and of opposites.
    let voters = voters(&[&[1.0, 2.0, 1.0, 1.0], &[1.0, 2.0, -1.0, -1.0]], &ONES);
    let vote = TensorVote { name: "w", columns: 2, base: Some(&ZEROS[..4]), voters: &voters };
    let by_rows = Merging::ModelStock(ModelStock { per_row: true });
    close(&by_rows.merge(&vote), &[1.0, 2.0, 0.0, 0.0]);
}

#[test]
fn fisher_follows_who_depends_on_a_number() {
    let of = |values: &'static [f32], importance: &'static [f32], weight, model| Voter {
        model,
        values,
        weight,
        importance: Some(importance),
    };
    let voters = [
        of(&[1.0, 1.0, 1.0, 1.0], &[1.0, 3.0, 0.0, 1e-30], 1.0, "one"),
        of(&[3.0, 3.0, 3.0, 3.0], &[1.0, 1.0, 0.0, 0.0], 2.0, "two"),
    ];
    let vote = TensorVote { name: "w", columns: 4, base: None, voters: &voters };
    // (1 + 6) / 3, (3 + 6) / 5, the mean where nobody depends on it, and who alone does.
    close(&Merging::Fisher(Fisher::default()).merge(&vote), &[2.333333, 1.8, 2.333333, 1.0]);
}

/// A tensor of several rows, equal magnitudes among them.
fn larger() -> [Vec<f32>; 4] {
    let of = |t: usize| (0..60).map(|i| ((i * (t + 3) * 7 + t) % 11) as f32 / 4.0 - 1.25).collect();
    [of(0), of(1), of(2), of(5)]
}

#[test]
fn the_order_of_the_models_changes_nothing_but_rounding() {
    let [base, one, two, three] = larger();
    let gradients: Vec<f32> = (0..60).map(|i| (i % 7) as f32).collect();
    for method in Merging::all() {
        let voter = |model, values, weight| Voter { model, values, weight, importance: Some(&gradients) };
        let weights = if method.takes_weights() { [1.0, 0.5, 2.0] } else { ONES };
        let mut voters =
            [voter("a", &one, weights[0]), voter("b", &two, weights[1]), voter("c", &three, weights[2])];
        let first = method.merge(&TensorVote { name: "w", columns: 6, base: Some(&base), voters: &voters });
        voters.rotate_left(1);
        let second = method.merge(&TensorVote { name: "w", columns: 6, base: Some(&base), voters: &voters });
        close(&first, &second.into_iter().map(f64::from).collect::<Vec<_>>());
        assert!(first.iter().all(|value| value.is_finite()), "{}", method.name());
    }
}

#[test]
fn models_that_have_not_changed_give_the_checkpoint() {
    let [base, ..] = larger();
    let gradients = vec![1.0; 60];
    for method in Merging::all() {
        let of = |model| Voter { model, values: &base, weight: 1.0, importance: Some(&gradients) };
        let voters = [of("a"), of("b")];
        let vote = TensorVote { name: "w", columns: 6, base: Some(&base), voters: &voters };
        assert_eq!(method.merge(&vote), base, "{}", method.name());
    }
}

#[test]
fn of_equal_magnitudes_the_lower_index_is_kept() {
    let voters = voters(&[&[1.0, -1.0, 1.0, 1.0]], &[1.0]);
    let vote = TensorVote { name: "w", columns: 4, base: Some(&ZEROS[..4]), voters: &voters };
    let half = Merging::Ties(Ties { density: 0.5, lambda: 1.0 });
    assert_eq!(half.merge(&vote), [1.0, -1.0, 0.0, 0.0]);
    assert_eq!(magnitude::keep_ranks(vec![2.0, -2.0, 2.0, 1.0], 1, 2), [0.0, -2.0, 2.0, 0.0]);
}

#[test]
fn small_tensors_keep_something() {
    let voters = voters(&[&[0.5, -2.0]], &[1.0]);
    let vote = TensorVote { name: "w", columns: 2, base: Some(&ZEROS[..2]), voters: &voters };
    let seldom = Merging::Ties(Ties { density: 0.01, lambda: 1.0 });
    assert_eq!(seldom.merge(&vote), [0.0, -2.0]);
    assert_eq!((magnitude::count(0.29, 100), magnitude::count(0.1, 0)), (29, 0));
}

#[test]
fn masks_go_by_names_and_seed_and_keep_the_mean() {
    let values: Vec<f64> = vec![1.0; 40_000];
    let mask = |seed, model, tensor| mask::dropped(&values, |_| 0.3, (seed, model, tensor));
    let first = mask(17, "a", "w");
    assert_eq!(first, mask(17, "a", "w"));
    for other in [mask(18, "a", "w"), mask(17, "b", "w"), mask(17, "a", "v"), mask(17, "aw", "")] {
        assert_ne!(first, other);
    }
    let mean = first.iter().sum::<f64>() / 40_000.0;
    // The standard deviation of the mean is sqrt(0.7 / 0.3 / 40000) = 0.0076.
    assert!((mean - 1.0).abs() < 0.03, "{mean}");
}

#[test]
fn settings_out_of_range_are_named() {
    for (method, says) in [
        (r#"{"ties": {"density": 0}}"#, "density: found 0, expected a number above 0 and at most 1"),
        (r#"{"ties": {"density": 1.5}}"#, "density: found 1.5"),
        (r#"{"ties": {"lambda": -1}}"#, "lambda: found -1, expected a number above 0"),
        (r#"{"della": {"density": 0.9, "epsilon": 0.2}}"#, "epsilon: found 0.2"),
        (r#"{"della_linear": {"density": 0.1, "epsilon": 0.1}}"#, "epsilon: found 0.1"),
        (r#"{"breadcrumbs": {"gamma": 1}}"#, "gamma: found 1, expected a number from 0 to below 1"),
        (r#"{"sce": {"share": -0.5}}"#, "share: found -0.5"),
        (r#"{"fisher": {"rows": 0}}"#, "rows: found 0, expected at least 1"),
    ] {
        let error = serde_json::from_str::<Merging>(method).unwrap().check().unwrap_err().to_string();
        assert!(error.starts_with(says), "{error}");
    }
    assert!(Merging::all().iter().all(|method| method.check().is_ok()));
    assert!(serde_json::from_str::<Merging>(r#"{"ties": {"gamma": 0.1}}"#).is_err());
    let names: Vec<&str> = Merging::all().iter().map(Merging::name).collect();
    assert_eq!(names, CATALOGUE.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    assert!(CATALOGUE.iter().all(|(_, source)| source.starts_with("//! ")));
}

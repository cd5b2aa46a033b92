//! Fewer points for the same picture.

/// Stretches that a long line is cut into; of each stay the least and the greatest value, and one gap.
const STRETCHES: usize = 200;

/// The points of a line that are drawn: all of them, or of every stretch of a long line its extremes. A point that is no number
/// stands for a gap and stays one. The first and the last point stay.
pub(super) fn thinned(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= 2 * STRETCHES {
        return points.to_vec();
    }
    let long = points.len().div_ceil(STRETCHES);
    let last = points.len() - 1;
    let mut kept = Vec::with_capacity(3 * STRETCHES + 2);
    for (stretch, points) in points.chunks(long).enumerate() {
        let finite = || points.iter().enumerate().filter(|(_, (x, y))| x.is_finite() && y.is_finite());
        let least = finite().min_by(|(_, a), (_, b)| a.1.total_cmp(&b.1)).map(|(i, _)| i);
        let most = finite().max_by(|(_, a), (_, b)| a.1.total_cmp(&b.1)).map(|(i, _)| i);
        let gap = points.iter().position(|(x, y)| !(x.is_finite() && y.is_finite()));
        let first = (stretch == 0).then_some(0);
        let end = (stretch * long + points.len() > last).then_some(points.len() - 1);
        let mut of_stretch: Vec<usize> = [first, least, most, gap, end].into_iter().flatten().collect();
        of_stretch.sort_unstable();
        of_stretch.dedup();
        kept.extend(of_stretch.into_iter().filter_map(|i| points.get(i).copied()));
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_ends_and_gaps_stay() {
        let mut points: Vec<(f64, f64)> =
            (0..100_000).map(|i| (f64::from(i), (f64::from(i) / 900.0).sin())).collect();
        (points[777].1, points[50_001].1, points[70_000].1) = (9.0, -7.0, f64::NAN);
        let kept = thinned(&points);
        assert!(kept.len() < 800, "{}", kept.len());
        assert!(kept.contains(&(777.0, 9.0)) && kept.contains(&(50_001.0, -7.0)));
        assert_eq!((kept.first(), kept.last()), (points.first(), points.last()));
        assert_eq!(kept.iter().filter(|(_, y)| y.is_nan()).map(|(x, _)| *x).collect::<Vec<_>>(), [70_000.0]);
        assert!(kept.windows(2).all(|two| two[0].0 < two[1].0), "in their order");
    }

    #[test]
    fn a_short_line_stays_whole() {
        let points: Vec<(f64, f64)> = (0..400).map(|i| (f64::from(i), 1.0)).collect();
        assert_eq!(thinned(&points), points);
        assert!(thinned(&[]).is_empty());
    }
}

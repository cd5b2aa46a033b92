//! Linear equations with a symmetric matrix that has no negative eigenvalue.

/// No pivot is smaller, relative to its diagonal entry: what is below is rounding.
const SMALLEST_PIVOT: f64 = 1e-14;

/// `x` with `A x = b` by Cholesky's method; `a` holds A (n x n) row by row and is used up. Along directions in which A is
/// 0 up to rounding, `x` is one of the many answers if b has an answer at all.
pub(crate) fn solve(mut a: Vec<f64>, mut b: Vec<f64>) -> Vec<f64> {
    let n = b.len();
    for j in 0..n {
        let (above, row) = a.split_at_mut(j * n);
        let floor = (SMALLEST_PIVOT * row[j]).max(f64::MIN_POSITIVE);
        for k in 0..j {
            let other = &above[k * n..k * n + n];
            let known: f64 = (0..k).map(|i| row[i] * other[i]).sum();
            row[k] = (row[k] - known) / other[k];
        }
        let known: f64 = row[..j].iter().map(|l| l * l).sum();
        row[j] = (row[j] - known).max(floor).sqrt();
        let known: f64 = (0..j).map(|k| row[k] * b[k]).sum();
        b[j] = (b[j] - known) / row[j];
    }
    for j in (0..n).rev() {
        let known: f64 = (j + 1..n).map(|k| a[k * n + j] * b[k]).sum();
        b[j] = (b[j] - known) / a[j * n + j];
    }
    b
}

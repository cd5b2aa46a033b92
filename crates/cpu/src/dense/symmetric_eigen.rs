//! Eigenvalues and eigenvectors of a symmetric matrix: Householder's reduction to a tridiagonal one, and implicit QL steps on that
//! (Golub and Van Loan, "Matrix Computations", 8.3; the routines tred2 and tql2 of EISPACK). Eigenvectors are kept as rows, so that every
//! rotation runs over neighbours in memory.

use super::{axpy, dot};
use rayon::prelude::*;

/// QL steps for one eigenvalue before it is given up. LAPACK allows 30 on average.
const MOST_STEPS: usize = 60;

/// Rows that one parallel task takes at least.
const ROWS: usize = 32;

/// The greatest eigenvalues of a symmetric matrix, and their vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct SymmetricEigen {
    /// All `n` eigenvalues, falling.
    pub values: Vec<f64>,
    /// The orthonormal eigenvectors of the first `count` of them, `[count, n]`: one a row.
    pub vectors: Vec<f64>,
}

/// All eigenvalues of a symmetric `a` `[n, n]`, and the vectors of the `count` greatest (at most `n`). `None` where the steps do not
/// converge, which finite numbers have not been seen to do, or where a number is not finite. About `6 n^3` operations.
///
/// # Panics
/// If `a` is not of this size.
pub fn symmetric_eigen(mut a: Vec<f64>, n: usize, count: usize) -> Option<SymmetricEigen> {
    assert_eq!(a.len(), n * n, "dense::symmetric_eigen: size");
    if a.iter().any(|number| !number.is_finite()) {
        return None;
    }
    let Tridiagonal { mut diagonal, mut off, reflections } = tridiagonal(&mut a, n);
    // The rows are the eigenvectors of the tridiagonal matrix, once the rotations are through.
    let mut vectors = Blocks::unit(n);
    implicit_ql(&mut diagonal, &mut off, &mut vectors)?;
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|a, b| diagonal[*b].total_cmp(&diagonal[*a]));
    let values = order.iter().map(|at| diagonal[*at]).collect();
    let of_one = |at: &usize| {
        let mut vector = vectors.row(n, *at);
        for Reflection { first, vector: v, beta } in reflections.iter().rev() {
            let part = &mut vector[*first..];
            axpy(-beta * dot(part, v), v, part);
        }
        vector
    };
    let vectors: Vec<Vec<f64>> = order[..count.min(n)].par_iter().map(of_one).collect();
    Some(SymmetricEigen { values, vectors: vectors.concat() })
}

/// `1 - beta v v^T` on the coordinates from `first` on.
struct Reflection {
    first: usize,
    vector: Vec<f64>,
    beta: f64,
}

/// A symmetric tridiagonal matrix `T`, and the reflections with `a = H_1 H_2 .. T .. H_2 H_1`.
struct Tridiagonal {
    diagonal: Vec<f64>,
    /// `off[i]` is beside the diagonal in rows `i` and `i + 1`; the last is 0.
    off: Vec<f64>,
    reflections: Vec<Reflection>,
}

/// Reduces a symmetric matrix, which is spent.
fn tridiagonal(a: &mut [f64], n: usize) -> Tridiagonal {
    let (mut diagonal, mut off, mut reflections) = (vec![0.0; n], vec![0.0; n], Vec::new());
    for at in 0..n {
        diagonal[at] = a[at * n + at];
        let first = at + 1;
        if first >= n {
            break;
        }
        let mut v: Vec<f64> = a[at * n + first..(at + 1) * n].to_vec();
        // Divided by the largest, so that squares neither overflow nor vanish.
        let scale = v.iter().fold(0.0, |most: f64, x| most.max(x.abs()));
        let rest = v[1..].iter().any(|x| *x != 0.0);
        if !rest {
            off[at] = v[0];
            continue;
        }
        v.iter_mut().for_each(|x| *x /= scale);
        let norm = dot(&v, &v).sqrt();
        let alpha = if v[0] > 0.0 { -norm } else { norm };
        v[0] -= alpha;
        let beta = 2.0 / dot(&v, &v);
        off[at] = alpha * scale;
        reflect(&mut a[first * n..], n, first, &v, beta);
        reflections.push(Reflection { first, vector: v, beta });
    }
    Tridiagonal { diagonal, off, reflections }
}

/// Applies a reflection from both sides to the lower right part of a matrix, of which `rows` are the rows from `first` on.
fn reflect(rows: &mut [f64], n: usize, first: usize, v: &[f64], beta: f64) {
    let mut w: Vec<f64> =
        rows.par_chunks(n).with_min_len(ROWS).map(|row| beta * dot(&row[first..], v)).collect();
    let half = 0.5 * beta * dot(&w, v);
    axpy(-half, v, &mut w);
    rows.par_chunks_mut(n).with_min_len(ROWS).enumerate().for_each(|(at, row)| {
        let (of_v, of_w) = (v[at], w[at]);
        for ((x, v), w) in row[first..].iter_mut().zip(v).zip(&w) {
            *x -= of_v * w + of_w * v;
        }
    });
}

/// Makes a symmetric tridiagonal matrix diagonal, and applies the rotations to the rows of `vectors`. `None` without convergence.
fn implicit_ql(d: &mut [f64], e: &mut [f64], vectors: &mut Blocks) -> Option<()> {
    let n = d.len();
    for l in 0..n {
        for step in 0.. {
            // The first place from `l` on where the matrix falls in two.
            let is_small = |m: &usize| e[*m].abs() <= f64::EPSILON * (d[*m].abs() + d[*m + 1].abs());
            let m = (l..n - 1).find(is_small).unwrap_or(n - 1);
            if m == l {
                break;
            }
            if step == MOST_STEPS {
                return None;
            }
            // Wilkinson's shift.
            let g = (d[l + 1] - d[l]) / (2.0 * e[l]);
            let r = g.hypot(1.0);
            let mut g = d[m] - d[l] + e[l] / (g + r.copysign(g));
            let (mut s, mut c, mut p) = (1.0, 1.0, 0.0);
            let mut rotations = Vec::with_capacity(m - l);
            let mut i = m;
            while i > l {
                i -= 1;
                let (f, b) = (s * e[i], c * e[i]);
                let r = f.hypot(g);
                e[i + 1] = r;
                if r == 0.0 {
                    // It has fallen in two by underflow.
                    d[i + 1] -= p;
                    e[m] = 0.0;
                    break;
                }
                (s, c) = (f / r, g / r);
                g = d[i + 1] - p;
                let r = (d[i] - g) * s + 2.0 * c * b;
                p = s * r;
                d[i + 1] = g + p;
                g = c * r - b;
                rotations.push((i, s, c));
            }
            vectors.rotate(n, &rotations);
            if rotations.len() == m - l {
                d[l] -= p;
                e[l] = g;
                e[m] = 0.0;
            }
        }
    }
    Some(())
}

/// Rows of numbers, cut into blocks of columns that stay in the processor's cache while rows are rotated: each block has its part of every
/// row, one after the other.
struct Blocks(Vec<Vec<f64>>);

/// Columns of a block.
const COLUMNS: usize = 64;

impl Blocks {
    /// The unit matrix `[n, n]`.
    fn unit(n: usize) -> Self {
        let of_block = |first: usize| {
            let width = COLUMNS.min(n - first);
            let mut block = vec![0.0; n * width];
            (0..width).for_each(|at| block[(first + at) * width + at] = 1.0);
            block
        };
        Blocks((0..n).step_by(COLUMNS).map(of_block).collect())
    }

    /// Rotates pairs of a row and the next, one pair after the other: row, sine, cosine.
    fn rotate(&mut self, n: usize, rotations: &[(usize, f64, f64)]) {
        self.0.par_iter_mut().for_each(|block| {
            let width = block.len() / n;
            for (row, s, c) in rotations {
                let (low, high) = block[row * width..(row + 2) * width].split_at_mut(width);
                for (x, y) in low.iter_mut().zip(high) {
                    (*y, *x) = (s * *x + c * *y, c * *x - s * *y);
                }
            }
        });
    }

    /// A row.
    fn row(&self, n: usize, row: usize) -> Vec<f64> {
        let of_block = |block: &Vec<f64>| {
            let width = block.len() / n;
            block[row * width..(row + 1) * width].to_vec()
        };
        self.0.iter().flat_map(of_block).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::{product, product_transposed};
    use super::*;

    /// A symmetric matrix of numbers without a pattern.
    fn symmetric(n: usize) -> Vec<f64> {
        let number = |at: u64| {
            let bits = crate::splitmix(at + 1);
            (bits >> 11) as f64 / (1u64 << 53) as f64 - 0.5
        };
        let mut a = vec![0.0; n * n];
        for row in 0..n {
            for column in 0..=row {
                let x = number((row * n + column) as u64);
                (a[row * n + column], a[column * n + row]) = (x, x);
            }
        }
        a
    }

    fn check(a: &[f64], n: usize) -> SymmetricEigen {
        let eigen = symmetric_eigen(a.to_vec(), n, n).unwrap();
        let scale = a.iter().fold(1e-300, |most: f64, x| most.max(x.abs())) * n as f64;
        assert!(eigen.values.windows(2).all(|two| two[0] >= two[1]), "{:?}", eigen.values);
        let image = product(&eigen.vectors, a, [n, n, n]);
        for (row, (image, vector)) in image.chunks(n).zip(eigen.vectors.chunks(n)).enumerate() {
            for (found, x) in image.iter().zip(vector) {
                assert!((found - eigen.values[row] * x).abs() < 1e-13 * scale, "{n}: row {row}");
            }
        }
        let unit = product_transposed(&eigen.vectors, &eigen.vectors, [n, n, n]);
        for (at, x) in unit.iter().enumerate() {
            assert!((x - f64::from(u8::from(at % (n + 1) == 0))).abs() < 1e-12, "{n}");
        }
        eigen
    }

    #[test]
    fn vectors_are_orthonormal_and_are_multiplied_by_their_values() {
        for n in [1, 2, 3, 7, 64, 65, 130] {
            check(&symmetric(n), n);
        }
        // A matrix of rank 2 with values that are the same; one that is diagonal; zeros; huge and tiny numbers.
        let (u, v) = ([1.0, 0.0, 2.0, -1.0], [0.0, 3.0, 1.0, 2.0]);
        let low: Vec<f64> = (0..16).map(|at| u[at / 4] * u[at % 4] + v[at / 4] * v[at % 4]).collect();
        let found = check(&low, 4).values;
        assert!((found[0] - 14.0).abs() < 1e-12 && (found[1] - 6.0).abs() < 1e-12 && found[3].abs() < 1e-12);
        let found = check(&[2.0, 0.0, 0.0, 0.0, -1.0, 0.0, 0.0, 0.0, 5.0], 3).values;
        assert_eq!(found, [5.0, 2.0, -1.0]);
        check(&[0.0; 25], 5);
        for factor in [1e150, 1e-150] {
            check(&symmetric(20).iter().map(|x| factor * x).collect::<Vec<f64>>(), 20);
        }
    }

    #[test]
    fn only_so_many_vectors_are_made_and_broken_numbers_have_none() {
        let (all, some) =
            (symmetric_eigen(symmetric(9), 9, 9).unwrap(), symmetric_eigen(symmetric(9), 9, 2).unwrap());
        assert_eq!((&some.values, &some.vectors[..]), (&all.values, &all.vectors[..18]));
        assert!(symmetric_eigen(vec![f64::NAN], 1, 1).is_none());
        assert_eq!(symmetric_eigen(vec![], 0, 0).unwrap().values, Vec::<f64>::new());
    }
}

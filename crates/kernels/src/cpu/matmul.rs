//! Matrix products: a checked door to the `gemm` crate, which chooses its kernels at run time.

use super::fresh::fresh;
use gemm::Parallelism;

/// A matrix over a slice, transposed without moving anything.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    shape: [usize; 2],
    steps: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// The whole slice, as rows of `columns` numbers.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(data.len(), rows * columns, "a matrix must fill its slice");
        Matrix { data, shape: [rows, columns], steps: [columns, 1] }
    }

    /// A block of columns: `columns` numbers at the beginning of every `stride`.
    pub fn block(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            columns <= stride && extent(rows, columns, stride) <= data.len(),
            "a block must lie in its slice"
        );
        Matrix { data, shape: [rows, columns], steps: [stride, 1] }
    }

    /// Rows and columns.
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// `rows` rows from row `first` on.
    pub(crate) fn rows(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.shape[0], "rows must lie in their matrix");
        Matrix { data: &self.data[first * self.steps[0]..], shape: [rows, self.shape[1]], steps: self.steps }
    }

    /// An element.
    #[cfg(test)]
    pub(crate) fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.steps[0] + column * self.steps[1]]
    }

    /// Whether the elements of a column lie beside each other.
    #[inline(always)]
    pub(crate) fn columns_lie_whole(&self) -> bool {
        self.steps[0] == 1
    }

    /// Some elements of a column, which must lie beside each other.
    #[inline(always)]
    pub(crate) fn column(&self, column: usize, first: usize, rows: usize) -> &'a [f32] {
        &self.data[first + column * self.steps[1]..][..rows]
    }

    /// Transposed.
    pub fn t(self) -> Self {
        let Matrix { data, shape: [r, c], steps: [rs, cs] } = self;
        Matrix { data, shape: [c, r], steps: [cs, rs] }
    }
}

/// How much of a slice a block reaches over.
fn extent(rows: usize, columns: usize, stride: usize) -> usize {
    if rows == 0 { 0 } else { (rows - 1) * stride + columns }
}

/// Who works on a product.
#[derive(Clone, Copy)]
pub enum Threads {
    /// The whole pool.
    All,
    /// The calling thread: for products inside a parallel loop.
    Own,
}

/// `a b` in a new buffer, by all threads.
pub(crate) fn product(a: Matrix, b: Matrix) -> Vec<f32> {
    let [m, n] = [a.shape[0], b.shape[1]];
    // SAFETY: `raw` writes all of `out` before anything reads it: `m` rows of `n` without gaps.
    unsafe { fresh(m * n, |out| raw(out.as_mut_ptr().cast(), n, false, a, b, 1.0, Threads::All)).0 }
}

/// `out = factor a b`, where the rows of `out` begin every `stride` numbers.
pub fn product_into(out: &mut [f32], stride: usize, a: Matrix, b: Matrix, factor: f32, threads: Threads) {
    let [m, n] = [a.shape[0], b.shape[1]];
    assert!(n <= stride && extent(m, n, stride) <= out.len(), "a product must fit its place");
    // SAFETY: the assertion above; `out` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe { raw(out.as_mut_ptr(), stride, false, a, b, factor, threads) }
}

/// `out = (add ? out : 0) + factor a b`
///
/// # Safety
/// `out` must be valid for writing `m` rows of `n` numbers every `stride`, and for reading where `add` is set, and
/// overlap neither `a` nor `b`.
unsafe fn raw(out: *mut f32, stride: usize, add: bool, a: Matrix, b: Matrix, factor: f32, threads: Threads) {
    let ([m, k], [k_b, n]) = (a.shape, b.shape);
    assert_eq!(k, k_b, "the factors of a product must fit");
    let threads = match threads {
        Threads::All => Parallelism::Rayon(0),
        Threads::Own => Parallelism::None,
    };
    let [[a_row, a_column], [b_row, b_column]] = [a.steps, b.steps].map(|s| s.map(|step| step as isize));
    // SAFETY: the constructors of `Matrix` have checked that shape and steps stay inside the slices; `out` is the
    // caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            stride as isize,
            add,
            a.data.as_ptr(),
            a_column,
            a_row,
            b.data.as_ptr(),
            b_column,
            b_row,
            1.0,
            factor,
            false,
            false,
            false,
            threads,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(len: usize, seed: f32) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * seed).sin()).collect()
    }

    fn slow(a: Matrix, b: Matrix) -> Vec<f64> {
        let at = |x: &Matrix, i: usize, j: usize| f64::from(x.data[i * x.steps[0] + j * x.steps[1]]);
        let element = |i, j| (0..a.shape[1]).map(|k| at(&a, i, k) * at(&b, k, j)).sum();
        (0..a.shape[0])
            .flat_map(|i| (0..b.shape[1]).map(move |j| (i, j)))
            .map(|(i, j)| element(i, j))
            .collect()
    }

    #[test]
    fn products_of_all_orientations_and_sizes() {
        for (m, n, k) in
            [(1, 1, 1), (3, 5, 7), (1, 33, 17), (65, 1, 31), (70, 90, 130), (4, 4, 0), (0, 3, 2), (3, 0, 2)]
        {
            let (a, b) = (numbers(m * k, 0.37), numbers(k * n, 0.91));
            for (a, b) in [
                (Matrix::new(&a, m, k), Matrix::new(&b, k, n)),
                (Matrix::new(&a, k, m).t(), Matrix::new(&b, k, n)),
                (Matrix::new(&a, m, k), Matrix::new(&b, n, k).t()),
            ] {
                let right = slow(a, b);
                let got = product(a, b);
                assert_eq!(got.len(), right.len());
                assert!(got.iter().zip(&right).all(|(&x, y)| (f64::from(x) - y).abs() < 1e-4), "{m} {n} {k}");
                let mut wide = vec![7.0; m * (n + 3)];
                product_into(&mut wide, n + 3, a, b, 0.5, Threads::Own);
                for (row, right) in wide.chunks(n + 3).zip(right.chunks(n.max(1))) {
                    assert!(row[..n].iter().zip(right).all(|(&x, y)| (f64::from(x) - y / 2.0).abs() < 1e-4));
                    assert!(row[n..].iter().all(|&x| x == 7.0));
                }
            }
        }
    }
}

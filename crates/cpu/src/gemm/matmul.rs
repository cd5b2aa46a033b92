//! Matrix products: a checked interface to the `gemm` crate, which chooses its kernels at run time.

use crate::uninit::alloc_uninit;

/// A matrix over a slice, transposed without moving anything.
#[derive(Clone, Copy)]
pub struct MatRef<'a> {
    data: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> MatRef<'a> {
    /// The whole slice, as rows of `columns` numbers.
    pub fn new(data: &'a [f32], rows: usize, columns: usize) -> Self {
        assert_eq!(rows.checked_mul(columns), Some(data.len()), "a matrix must fill its slice");
        MatRef { data, shape: [rows, columns], strides: [columns, 1] }
    }

    /// A block of columns: `columns` numbers at the beginning of every `stride`.
    pub fn block(data: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        assert!(
            columns <= stride && required_len(rows, columns, stride).is_some_and(|len| len <= data.len()),
            "a block must lie in its slice"
        );
        MatRef { data, shape: [rows, columns], strides: [stride, 1] }
    }

    /// Rows and columns.
    pub(crate) fn shape(&self) -> [usize; 2] {
        self.shape
    }

    /// `rows` rows from row `first` on.
    pub(crate) fn rows(self, first: usize, rows: usize) -> Self {
        assert!(first + rows <= self.shape[0], "rows must lie in their matrix");
        MatRef {
            data: &self.data[first * self.strides[0]..],
            shape: [rows, self.shape[1]],
            strides: self.strides,
        }
    }

    /// The numbers row by row, where they lie in memory like this without gaps.
    pub(crate) fn rows_in_order(&self) -> Option<&'a [f32]> {
        let [rows, columns] = self.shape;
        (self.strides == [columns, 1]).then(|| &self.data[..rows * columns])
    }

    /// An element.
    #[cfg(test)]
    pub(crate) fn at(&self, row: usize, column: usize) -> f32 {
        self.data[row * self.strides[0] + column * self.strides[1]]
    }

    /// Whether the elements of a column lie beside each other.
    #[inline(always)]
    pub(crate) fn is_column_major(&self) -> bool {
        self.strides[0] == 1
    }

    /// Some elements of a column, which must lie beside each other.
    #[inline(always)]
    pub(crate) fn column(&self, column: usize, first: usize, rows: usize) -> &'a [f32] {
        &self.data[first + column * self.strides[1]..][..rows]
    }

    /// Transposed.
    pub fn t(self) -> Self {
        let MatRef { data, shape: [r, c], strides: [rs, cs] } = self;
        MatRef { data, shape: [c, r], strides: [cs, rs] }
    }
}

/// How much of a slice a block reaches over; `None` where no slice is so long.
fn required_len(rows: usize, columns: usize, stride: usize) -> Option<usize> {
    match rows {
        0 => Some(0),
        _ => (rows - 1).checked_mul(stride)?.checked_add(columns),
    }
}

/// Who works on a product.
#[derive(Clone, Copy)]
pub enum Parallelism {
    /// The whole pool.
    Parallel,
    /// The calling thread: for products inside a parallel loop.
    Serial,
}

/// `a b` in a new buffer, by all threads.
pub(crate) fn product(a: MatRef, b: MatRef) -> Vec<f32> {
    let [m, n] = [a.shape[0], b.shape[1]];
    let len = m.checked_mul(n).expect("a product must fit into memory");
    // SAFETY: `raw` writes all of `out` before anything reads it: `m` rows of `n` without gaps.
    unsafe {
        alloc_uninit(len, |out| raw(out.as_mut_ptr().cast(), n, false, a, b, 1.0, Parallelism::Parallel)).0
    }
}

/// `out = alpha a b`, where the rows of `out` begin every `stride` numbers.
pub fn product_into(out: &mut [f32], stride: usize, a: MatRef, b: MatRef, alpha: f32, threads: Parallelism) {
    let [m, n] = [a.shape[0], b.shape[1]];
    let fits = required_len(m, n, stride).is_some_and(|len| len <= out.len());
    assert!(n <= stride && fits, "a product must fit its buffer");
    // SAFETY: the assertion above; `out` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe { raw(out.as_mut_ptr(), stride, false, a, b, alpha, threads) }
}

/// `out += alpha a b`, where the rows of `out` begin every `stride` numbers.
pub(crate) fn add_product(
    out: &mut [f32],
    stride: usize,
    a: MatRef,
    b: MatRef,
    alpha: f32,
    threads: Parallelism,
) {
    let [m, n] = [a.shape[0], b.shape[1]];
    let fits = required_len(m, n, stride).is_some_and(|len| len <= out.len());
    assert!(n <= stride && fits, "a product must fit its buffer");
    // SAFETY: as in `product_into`; `out` is a slice of numbers, which may be read.
    unsafe { raw(out.as_mut_ptr(), stride, true, a, b, alpha, threads) }
}

/// `out = (accumulate ? out : 0) + alpha a b`
///
/// # Safety
/// `out` must be valid for writing `m` rows of `n` numbers every `stride`, and for reading where `accumulate` is set, and
/// overlap neither `a` nor `b`.
unsafe fn raw(
    out: *mut f32,
    stride: usize,
    accumulate: bool,
    a: MatRef,
    b: MatRef,
    alpha: f32,
    threads: Parallelism,
) {
    let ([m, k], [k_b, n]) = (a.shape, b.shape);
    assert_eq!(k, k_b, "the factors of a product must fit");
    let threads = match threads {
        Parallelism::Parallel => gemm::Parallelism::Rayon(0),
        Parallelism::Serial => gemm::Parallelism::None,
    };
    let [[a_row, a_column], [b_row, b_column]] = [a.strides, b.strides].map(|s| s.map(|step| step as isize));
    // SAFETY: the constructors of `MatRef` have checked that shape and steps stay inside the slices; `out` is the
    // caller's promise.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out,
            1,
            stride as isize,
            accumulate,
            a.data.as_ptr(),
            a_column,
            a_row,
            b.data.as_ptr(),
            b_column,
            b_row,
            1.0,
            alpha,
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

    #[test]
    #[should_panic(expected = "a matrix must fill its slice")]
    fn sizes_whose_product_wraps_are_refused() {
        MatRef::new(&[], 1 << 33, 1 << 31);
    }

    #[test]
    #[should_panic(expected = "a block must lie in its slice")]
    fn blocks_whose_extent_wraps_are_refused() {
        MatRef::block(&[], (1 << 33) + 1, 0, 1 << 31);
    }

    fn numbers(len: usize, seed: f32) -> Vec<f32> {
        (0..len).map(|i| (i as f32 * seed).sin()).collect()
    }

    fn slow(a: MatRef, b: MatRef) -> Vec<f64> {
        let at = |x: &MatRef, i: usize, j: usize| f64::from(x.data[i * x.strides[0] + j * x.strides[1]]);
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
                (MatRef::new(&a, m, k), MatRef::new(&b, k, n)),
                (MatRef::new(&a, k, m).t(), MatRef::new(&b, k, n)),
                (MatRef::new(&a, m, k), MatRef::new(&b, n, k).t()),
            ] {
                let right = slow(a, b);
                let got = product(a, b);
                assert_eq!(got.len(), right.len());
                let mut sum = vec![2.0; m * n];
                add_product(&mut sum, n, a, b, 0.5, Parallelism::Serial);
                assert!(sum.iter().zip(&right).all(|(&x, y)| (f64::from(x) - 2.0 - y / 2.0).abs() < 1e-4));
                assert!(got.iter().zip(&right).all(|(&x, y)| (f64::from(x) - y).abs() < 1e-4), "{m} {n} {k}");
                let mut wide = vec![7.0; m * (n + 3)];
                product_into(&mut wide, n + 3, a, b, 0.5, Parallelism::Serial);
                for (row, right) in wide.chunks(n + 3).zip(right.chunks(n.max(1))) {
                    assert!(row[..n].iter().zip(right).all(|(&x, y)| (f64::from(x) - y / 2.0).abs() < 1e-4));
                    assert!(row[n..].iter().all(|&x| x == 7.0));
                }
            }
        }
    }
}

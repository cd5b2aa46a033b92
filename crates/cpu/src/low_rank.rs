//! Low-rank updates of groups of rows: `y[rows, columns] += scale (x[rows] A^T) B^T`, with an A and a B for each group.

use crate::matmul::{MatRef, Parallelism, add_product, product, product_into};
use crate::{ROWS, simd, uninit::zeros};
use rayon::prelude::*;
use std::ops::Range;

/// What low-rank updates need besides tensors.
#[derive(Clone, Debug)]
pub struct LowRankGroups {
    /// The rows of each group.
    pub rows: Vec<Range<usize>>,
    /// The columns that are updated.
    pub columns: Range<usize>,
    /// Columns of all.
    pub width: usize,
    /// Columns of the input.
    pub inputs: usize,
    /// Rank of an update.
    pub rank: usize,
    /// What updates are multiplied by.
    pub scale: f32,
}

impl LowRankGroups {
    /// How many columns are updated.
    pub fn outputs(&self) -> usize {
        self.columns.len()
    }
}

/// Group `g` of matrices that are stacked `[groups rows, columns]`.
fn part(stacked: &[f32], g: usize, rows: usize, columns: usize) -> MatRef<'_> {
    MatRef::new(&stacked[g * rows * columns..][..rows * columns], rows, columns)
}

/// The Euclidean length of each row of `w + scale b a`: `w` `[out, in]`, `b` `[out, rank]`, `a` `[rank, in]`. Added up in f64.
pub fn row_norms(
    w: &[f32],
    [a, b]: [&[f32]; 2],
    [outputs, inputs, rank]: [usize; 3],
    scale: f32,
) -> Vec<f32> {
    let mut sum = product(MatRef::new(b, outputs, rank), MatRef::new(a, rank, inputs));
    simd::scale(&mut sum, scale);
    simd::add(&mut sum, w);
    sum.chunks_exact(inputs).map(|row| simd::squares(row).sqrt() as f32).collect()
}

/// Some rows of a group that one thread takes at a time.
struct Piece {
    group: usize,
    rows: Range<usize>,
}

/// The rows of all groups in pieces of fixed size, in the order of the rows. Groups are apart from each other.
fn pieces(groups: &[Range<usize>]) -> Vec<Piece> {
    let of_group = |(group, rows): (usize, &Range<usize>)| {
        let (from, end) = (rows.start, rows.end);
        (from..end).step_by(ROWS).map(move |start| Piece { group, rows: start..end.min(start + ROWS) })
    };
    let mut pieces: Vec<Piece> = groups.iter().enumerate().flat_map(of_group).collect();
    pieces.sort_by_key(|piece| piece.rows.start);
    pieces
}

/// The rows of each piece, of a matrix of so many columns.
fn rows_of_pieces<'a>(mut matrix: &'a mut [f32], columns: usize, pieces: &[Piece]) -> Vec<&'a mut [f32]> {
    let mut at = 0;
    let mut take = |piece: &Piece| {
        let (_, rest) = std::mem::take(&mut matrix).split_at_mut((piece.rows.start - at) * columns);
        let (own, rest) = rest.split_at_mut(piece.rows.len() * columns);
        (matrix, at) = (rest, piece.rows.end);
        own
    };
    pieces.iter().map(&mut take).collect()
}

impl Piece {
    /// Its rows of the input.
    fn input<'a>(&self, x: &'a [f32], s: &LowRankGroups) -> MatRef<'a> {
        let own = self.rows.start * s.inputs..self.rows.end * s.inputs;
        MatRef::new(&x[own], self.rows.len(), s.inputs)
    }
}

/// Updates `y` and returns `x A^T` `[n, rank]`, zeros for rows of no group.
pub fn forward(y: &mut [f32], [x, a, b]: [&[f32]; 3], s: &LowRankGroups) -> Vec<f32> {
    if s.outputs() == 0 || s.inputs == 0 {
        return zeros(y.len() / s.width.max(1) * s.rank);
    }
    let pieces = pieces(&s.rows);
    let mut inner = zeros(y.len() / s.width * s.rank);
    let y = rows_of_pieces(y, s.width, &pieces);
    let inner_rows = rows_of_pieces(&mut inner, s.rank, &pieces);
    let all: Vec<_> = pieces.iter().zip(y).zip(inner_rows).collect();
    all.into_par_iter().for_each(|((piece, y), t)| {
        let a = part(a, piece.group, s.rank, s.inputs).t();
        product_into(t, s.rank, piece.input(x, s), a, 1.0, Parallelism::Serial);
        let (t, b) =
            (MatRef::new(t, piece.rows.len(), s.rank), part(b, piece.group, s.outputs(), s.rank).t());
        add_product(&mut y[s.columns.start..], s.width, t, b, s.scale, Parallelism::Serial);
    });
    inner
}

/// The gradients of `x`, A and B from that of the result, `d`, where they are wanted. `inner` is what [`forward`] returned.
pub fn backward(
    d: &[f32],
    [x, a, b]: [&[f32]; 3],
    inner: &[f32],
    s: &LowRankGroups,
    wanted: [bool; 3],
) -> [Option<Vec<f32>>; 3] {
    let (of_a, of_b) = (s.rank * s.inputs, s.outputs() * s.rank);
    let mut d_x = if wanted[0] { zeros(x.len()) } else { Vec::new() };
    let (mut d_a, mut d_b) = (zeros(s.rows.len() * of_a), zeros(s.rows.len() * of_b));
    if s.outputs() > 0 && s.inputs > 0 {
        let pieces = pieces(&s.rows);
        let d_x_rows: Vec<Option<&mut [f32]>> = match wanted[0] {
            true => rows_of_pieces(&mut d_x, s.inputs, &pieces).into_iter().map(Some).collect(),
            false => pieces.iter().map(|_| None).collect(),
        };
        let all: Vec<_> = pieces.iter().zip(d_x_rows).collect();
        let sums: Vec<[Vec<f32>; 2]> = all
            .into_par_iter()
            .map(|(piece, d_x)| {
                let d = MatRef::block(
                    &d[piece.rows.start * s.width + s.columns.start..],
                    piece.rows.len(),
                    s.outputs(),
                    s.width,
                );
                piece_backward(d, piece, [x, a, b], inner, s, d_x, [wanted[1], wanted[2]])
            })
            .collect();
        for (piece, [of_piece_a, of_piece_b]) in pieces.iter().zip(&sums) {
            simd::add(&mut d_a[piece.group * of_a..][..of_piece_a.len()], of_piece_a);
            simd::add(&mut d_b[piece.group * of_b..][..of_piece_b.len()], of_piece_b);
        }
    }
    let [x, a, b] = wanted;
    [x.then_some(d_x), a.then_some(d_a), b.then_some(d_b)]
}

/// Writes the gradient of a piece's rows of `x`, and returns its part of those of A and B, where they are wanted.
fn piece_backward(
    d: MatRef<'_>,
    piece: &Piece,
    [x, a, b]: [&[f32]; 3],
    inner: &[f32],
    s: &LowRankGroups,
    d_x: Option<&mut [f32]>,
    [wants_a, wants_b]: [bool; 2],
) -> [Vec<f32>; 2] {
    let (n, group, scale) = (piece.rows.len(), piece.group, s.scale);
    let scaled = |shape: [usize; 2], a: MatRef<'_>, b: MatRef<'_>| {
        let mut out = vec![0.0; shape[0] * shape[1]];
        product_into(&mut out, shape[1], a, b, scale, Parallelism::Serial);
        out
    };
    let d_b = wants_b.then(|| {
        let t = MatRef::new(&inner[piece.rows.start * s.rank..piece.rows.end * s.rank], n, s.rank);
        scaled([s.outputs(), s.rank], d.t(), t)
    });
    let mut d_a = Vec::new();
    if wants_a || d_x.is_some() {
        let d_t = scaled([n, s.rank], d, part(b, group, s.outputs(), s.rank));
        let d_t = MatRef::new(&d_t, n, s.rank);
        if wants_a {
            d_a = vec![0.0; s.rank * s.inputs];
            product_into(&mut d_a, s.inputs, d_t.t(), piece.input(x, s), 1.0, Parallelism::Serial);
        }
        if let Some(d_x) = d_x {
            product_into(d_x, s.inputs, d_t, part(a, group, s.rank, s.inputs), 1.0, Parallelism::Serial);
        }
    }
    [d_a, d_b.unwrap_or_default()]
}

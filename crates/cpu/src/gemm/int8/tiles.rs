//! Tiles of sums by the instructions of a processor.
//!
//! A tile is written over [`Accumulator`]. Sums of integers are exact, so that all of them give the same: `vpdpbusd` multiplies
//! unsigned bytes with signed ones and adds four products to a sum. Without it `vpmaddubsw` adds two products in 16 bits, which
//! saturate; it gets the absolute values of signed bytes and weights with their signs, of which two products are at most 2 x 128 x 127.

/// Outputs of a panel.
pub(super) const LANES: usize = 16;
/// Neighbours along `k` that lie together.
pub(super) const QUAD: usize = 4;
/// Rows of a tile: with six the compiler would run out of registers for broadcast inputs, and keep sums in memory.
pub(super) const TILE_ROWS: usize = 5;
/// Panels of a tile.
pub(super) const PANELS: usize = 4;

/// Four weights of each output of a panel.
#[derive(Debug, Clone, Copy, PartialEq)]
#[repr(C, align(64))]
pub(super) struct Quads(pub [i8; LANES * QUAD]);

impl Quads {
    pub const ZERO: Quads = Quads([0; LANES * QUAD]);
}

/// The sums of a tile.
pub(super) type Sums = [[i32; PANELS * LANES]; TILE_ROWS];

/// By which instructions bytes are multiplied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Int8Backend {
    /// `vpdpbusd` of 16 sums.
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// `vpdpbusd` of eight sums.
    #[cfg(target_arch = "x86_64")]
    AvxVnni,
    /// `vpmaddubsw` and `vpmaddwd`.
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// Plain arithmetic, on any processor.
    Plain,
}

impl Int8Backend {
    /// The best that this processor has. The standard library looks once and remembers.
    pub fn detect() -> Int8Backend {
        Int8Backend::best_first().next().unwrap_or(Int8Backend::Plain)
    }

    /// All that this processor has, the best first.
    pub fn best_first() -> impl Iterator<Item = Int8Backend> {
        #[cfg(target_arch = "x86_64")]
        let found = [
            (
                Int8Backend::Avx512Vnni,
                is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512f"),
            ),
            (Int8Backend::AvxVnni, is_x86_feature_detected!("avxvnni") && is_x86_feature_detected!("avx2")),
            (Int8Backend::Avx2, is_x86_feature_detected!("avx2")),
            (Int8Backend::Plain, true),
        ];
        #[cfg(not(target_arch = "x86_64"))]
        let found = [(Int8Backend::Plain, true)];
        found.into_iter().filter(|(_, here)| *here).map(|(unit, _)| unit)
    }

    /// What is flipped of every byte of the inputs: 128 where they are to be signed.
    pub(super) fn shift(self) -> u8 {
        match self {
            #[cfg(target_arch = "x86_64")]
            Int8Backend::Avx2 => 128,
            _ => 0,
        }
    }

    /// The sums of `rows` rows of bytes (at most [`TILE_ROWS`]) and some panels, four or one.
    pub(super) fn tile(self, x: &[u8], rows: usize, panels: &[Quads], sums: &mut Sums) {
        match self {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: `best_first` has seen these instructions on this machine.
            Int8Backend::Avx512Vnni => unsafe { x86::avx512_vnni(x, rows, panels, sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Int8Backend::AvxVnni => unsafe { x86::avx_vnni(x, rows, panels, sums) },
            #[cfg(target_arch = "x86_64")]
            // SAFETY: as above.
            Int8Backend::Avx2 => unsafe { x86::avx2(x, rows, panels, sums) },
            Int8Backend::Plain => tiles::<Plain, 1>(x, rows, panels, sums),
        }
    }
}

/// Some sums, and what adds products of four neighbours to each.
trait Accumulator: Copy {
    /// How many.
    const COUNT: usize;
    /// Four weights for each of them.
    type Weights: Copy;
    /// The same four inputs for each of them.
    type Inputs: Copy;

    fn zero() -> Self;
    /// The first weights of a slice, which has enough.
    fn weights(from: &[i8]) -> Self::Weights;
    fn inputs(four: [u8; QUAD]) -> Self::Inputs;
    fn plus(self, x: Self::Inputs, w: Self::Weights) -> Self;
    fn store(self, to: &mut [i32]);
}

/// All sums, `MOST` panels at a time where there are four. To be compiled into a function that has the instructions of `L`.
#[inline(always)]
fn tiles<L: Accumulator, const MOST: usize>(x: &[u8], rows: usize, panels: &[Quads], sums: &mut Sums) {
    let (stride, rest) = (x.len() / rows, rows);
    let quads = stride / QUAD;
    if quads == 0 {
        return *sums = [[0; PANELS * LANES]; TILE_ROWS];
    }
    let at_once = if panels.len() / quads == PANELS { MOST } else { 1 };
    for (i, panels) in panels.chunks_exact(at_once * quads).enumerate() {
        let first = i * at_once * LANES;
        if at_once == 1 {
            of_rows::<L, 1>(x, rest, quads, panels, sums, first);
        } else {
            of_rows::<L, MOST>(x, rest, quads, panels, sums, first);
        }
    }
}

/// One group of panels by as many rows as there are.
#[inline(always)]
fn of_rows<L: Accumulator, const N: usize>(
    x: &[u8],
    rows: usize,
    quads: usize,
    panels: &[Quads],
    sums: &mut Sums,
    first: usize,
) {
    match rows {
        1 => tile::<L, 1, N>(x, quads, panels, sums, first),
        2 => tile::<L, 2, N>(x, quads, panels, sums, first),
        3 => tile::<L, 3, N>(x, quads, panels, sums, first),
        4 => tile::<L, 4, N>(x, quads, panels, sums, first),
        _ => tile::<L, 5, N>(x, quads, panels, sums, first),
    }
}

/// `R` rows by `N` panels.
#[inline(always)]
fn tile<L: Accumulator, const R: usize, const N: usize>(
    x: &[u8],
    quads: usize,
    panels: &[Quads],
    sums: &mut Sums,
    first: usize,
) {
    // Registers of a panel: one or two, or four of four sums. No closures, which would not be built for the caller's instruction set.
    const MOST_REGISTERS: usize = 4;
    let registers = LANES / L::COUNT;
    let (x, _) = x.as_chunks::<QUAD>();
    let x: [&[[u8; QUAD]]; R] = std::array::from_fn(|i| &x[i * quads..][..quads]);
    let panels: [&[Quads]; N] = std::array::from_fn(|i| &panels[i * quads..][..quads]);
    let mut lanes = [[[L::zero(); MOST_REGISTERS]; N]; R];
    for q in 0..quads {
        let mut weights = [[L::weights(&Quads::ZERO.0); MOST_REGISTERS]; N];
        for (weights, panel) in weights.iter_mut().zip(&panels) {
            for (r, weights) in weights.iter_mut().take(registers).enumerate() {
                *weights = L::weights(&panel[q].0[r * L::COUNT * QUAD..]);
            }
        }
        for (x, lanes) in x.iter().zip(&mut lanes) {
            let inputs = L::inputs(x[q]);
            for (lanes, weights) in lanes.iter_mut().zip(&weights) {
                for (lanes, weights) in lanes.iter_mut().zip(weights).take(registers) {
                    *lanes = lanes.plus(inputs, *weights);
                }
            }
        }
    }
    for (lanes, sums) in lanes.iter().zip(sums.iter_mut()) {
        for (lanes, sums) in lanes.iter().zip(sums[first..].chunks_mut(LANES)) {
            for (lanes, sums) in lanes.iter().zip(sums.chunks_mut(L::COUNT)) {
                lanes.store(sums);
            }
        }
    }
}

/// On any processor.
type Plain = [i32; 4];

impl Accumulator for Plain {
    const COUNT: usize = 4;
    type Weights = [i8; 16];
    type Inputs = [u8; QUAD];

    #[inline(always)]
    fn zero() -> Self {
        [0; 4]
    }
    #[inline(always)]
    fn weights(from: &[i8]) -> [i8; 16] {
        *from.first_chunk().expect("a whole vector")
    }
    #[inline(always)]
    fn inputs(four: [u8; QUAD]) -> [u8; QUAD] {
        four
    }
    #[inline(always)]
    fn plus(mut self, x: [u8; QUAD], w: [i8; 16]) -> Self {
        for (i, sum) in self.iter_mut().enumerate() {
            for (k, x) in x.iter().enumerate() {
                *sum += i32::from(*x) * i32::from(w[QUAD * i + k]);
            }
        }
        self
    }
    #[inline(always)]
    fn store(self, to: &mut [i32]) {
        to.copy_from_slice(&self);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86;

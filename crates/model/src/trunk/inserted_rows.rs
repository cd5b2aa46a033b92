//! Rows that a sharing scheme puts before the tokens of every sequence: keys and values of a prefix, states of a prompt.

use super::context::LayerContext;
use super::input::{EncoderInput, PackOffset, TokenSelection};
use crate::cast::to_u32;
use burn::tensor::Tensor;
use kernels::RowOffsets;

/// `x` `[n, width]` with `length` rows before those of each sequence: those that `of` gives for the task whose lane the sequence is in,
/// or for `None` where there are no lanes; and the offsets of the longer sequences. `None` where nothing is put anywhere.
pub(super) fn insert(
    context: &LayerContext<'_>,
    x: Tensor<2>,
    offsets: &RowOffsets,
    of: impl Fn(Option<&str>) -> Option<Tensor<2>>,
) -> Option<(Tensor<2>, RowOffsets, usize)> {
    let lanes: Vec<(Option<&str>, usize)> = match context.lanes().is_empty() {
        true => vec![(None, x.dims()[0])],
        false => context.lanes().iter().map(|lane| (Some(lane.task.as_str()), lane.tokens.end)).collect(),
    };
    let rows: Vec<Tensor<2>> = lanes.iter().filter_map(|(task, _)| of(*task)).collect();
    if rows.len() != lanes.len() {
        return None;
    }
    let (length, n) = (rows.first()?.dims()[0], x.dims()[0]);
    let (mut lane, mut index) = (0, Vec::with_capacity(n + length * (offsets.len() - 1)));
    for sequence in offsets.windows(2) {
        while lane + 1 < lanes.len() && sequence[0] >= lanes[lane].1 {
            lane += 1;
        }
        let first = n + lane * length;
        index.extend((first..first + length).map(to_u32));
        index.extend((sequence[0]..sequence[1]).map(to_u32));
    }
    let longer = kernels::gather_rows_concat(x, Tensor::cat(rows, 0), &index);
    Some((longer, longer_offsets(offsets, length), length))
}

/// The offsets of sequences that are longer by so many rows each.
pub(super) fn longer_offsets(offsets: &[usize], length: usize) -> RowOffsets {
    offsets.iter().enumerate().map(|(sequence, offset)| offset + sequence * length).collect()
}

/// Where the tokens of sequences stand among those of the longer ones.
pub(super) fn token_indices(offsets: &[usize], length: usize) -> Vec<u32> {
    let of = |(sequence, bounds): (usize, &[usize])| {
        (bounds[0]..bounds[1]).map(move |token| to_u32(token + (sequence + 1) * length)).collect::<Vec<u32>>()
    };
    offsets.windows(2).enumerate().flat_map(of).collect()
}

/// An input whose sequences have a prompt of `length` rows before them, as layers read it.
pub(super) struct PromptedInput {
    ids: Vec<u32>,
    positions: Vec<u32>,
    segments: Vec<u32>,
    offsets: RowOffsets,
    offset: PackOffset,
}

impl PromptedInput {
    pub(super) fn new(input: &EncoderInput<'_>, length: usize) -> Self {
        let offsets = longer_offsets(input.offsets, length);
        let tokens = offsets.last().copied().unwrap_or(0);
        let positions =
            offsets.windows(2).flat_map(|sequence| 0..to_u32(sequence[1] - sequence[0])).collect();
        let PackOffset { tokens: before, scores, sequences } = input.offset;
        let offset = PackOffset {
            tokens: before + length * sequences,
            scores: scores + 2 * length * before + length * length * sequences,
            sequences,
        };
        // No layer reads the ids and segments of a token.
        let unread = vec![0; tokens];
        PromptedInput { ids: unread.clone(), positions, segments: unread, offsets, offset }
    }

    pub(super) fn input(&self) -> EncoderInput<'_> {
        EncoderInput {
            ids: &self.ids,
            positions: &self.positions,
            segments: &self.segments,
            offsets: &self.offsets,
            datasets: &[],
            offset: self.offset,
        }
    }
}

/// What is selected of the tokens, where these stand among those of prompted sequences.
pub(super) fn prompted_tokens(
    selection: &TokenSelection<'_>,
    offsets: &[usize],
    length: usize,
) -> (Vec<u32>, PackOffset) {
    let indices = token_indices(offsets, length);
    let tokens = selection.tokens.iter().map(|token| indices[*token as usize]).collect();
    let offset = selection.offset;
    (tokens, PackOffset { scores: offset.scores + length * offset.tokens, ..offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_stand_behind_the_prompts_of_their_sequences() {
        assert_eq!(&*longer_offsets(&[0, 2, 3], 4), [0, 6, 11]);
        assert_eq!(token_indices(&[0, 2, 3], 4), [4, 5, 10]);
    }
}

//! Windows of a text that is longer than a sequence may be.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `windows = { overlap = 32, most = 8 }`: a text longer than `[data] max_length` is read in several sequences, one for each window of
/// its tokens, in place of being truncated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct TextWindows {
    /// Tokens that a window shares with the one before it, at most half a window; 32 by default.
    pub overlap: usize,
    /// The maximum number of windows of a text; 8 by default. The rest of the text is truncated.
    #[schemars(range(min = 1))]
    pub most: usize,
}

impl Default for TextWindows {
    fn default() -> Self {
        TextWindows { overlap: 32, most: 8 }
    }
}

impl TextWindows {
    /// The windows of so many tokens, each `width` tokens at most, as their first token and the one behind their last. There is one
    /// where there are no tokens.
    pub(crate) fn split(self, tokens: usize, width: usize) -> Vec<[usize; 2]> {
        let width = width.max(1);
        let step = width - self.overlap.min(width / 2);
        let mut windows = vec![[0, width.min(tokens)]];
        while let Some([begin, end]) = windows.last().copied()
            && end < tokens
            && windows.len() < self.most.max(1)
        {
            windows.push([begin + step, (begin + step + width).min(tokens)]);
        }
        windows
    }
}

/// The window in which a token has the most context on its nearer side: the first of those where that is the same.
pub(crate) fn window_of(token: usize, windows: &[[usize; 2]]) -> Option<usize> {
    let nearer_side = |[begin, end]: [usize; 2]| {
        (begin <= token && token < end).then(|| (token - begin).min(end - 1 - token))
    };
    let sides = windows.iter().enumerate().filter_map(|(i, window)| Some((i, nearer_side(*window)?)));
    sides.reduce(|best, next| if next.1 > best.1 { next } else { best }).map(|(window, _)| window)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_overlap_and_cover_the_text() {
        let windows = |overlap, most| TextWindows { overlap, most };
        assert_eq!(windows(2, 9).split(0, 5), [[0, 0]]);
        assert_eq!(windows(2, 9).split(5, 5), [[0, 5]]);
        assert_eq!(windows(2, 9).split(9, 5), [[0, 5], [3, 8], [6, 9]]);
        assert_eq!(windows(2, 2).split(9, 5), [[0, 5], [3, 8]]);
        assert_eq!(windows(99, 9).split(7, 4), [[0, 4], [2, 6], [4, 7]], "half a window at most");
        assert_eq!(windows(0, 0).split(9, 5), [[0, 5]]);
    }

    #[test]
    fn a_token_is_of_the_window_that_has_the_most_around_it() {
        let windows = [[0, 10], [6, 16], [12, 18]];
        let found: Vec<Option<usize>> = (0..19).map(|token| window_of(token, &windows)).collect();
        let expected = [[0; 8].as_slice(), &[1; 6], &[2; 4]].concat();
        assert_eq!(found[..18], expected.into_iter().map(Some).collect::<Vec<_>>());
        assert_eq!(found[18], None);
    }
}

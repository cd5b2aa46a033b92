//! How sacrebleu splits a text into words before it counts n-grams.

mod intl;
mod mteval;
mod zh;

use std::fmt;

use super::ngrams::{is_space, split};

/// A tokenizer of BLEU, by sacrebleu's names.
#[derive(Clone, Copy, Default)]
pub enum BleuTokenizer<'a> {
    /// `13a`, mteval's: ASCII punctuation and symbols are split off, points and commas only where they are not between digits.
    #[default]
    Mteval13a,
    /// `intl`, mteval's for all scripts: Unicode's punctuation and symbols are split off.
    International,
    /// `zh`: each Chinese character is a word; the rest as `13a`.
    Chinese,
    /// `char`: each character is a word.
    Characters,
    /// `none`: the text is split at spaces alone.
    Spaces,
    /// Another one, by its name and what it does.
    Other(&'a str, &'a dyn Fn(&str) -> Vec<String>),
}

impl BleuTokenizer<'_> {
    /// The name in sacrebleu's signature.
    pub fn name(&self) -> &str {
        match self {
            BleuTokenizer::Mteval13a => "13a",
            BleuTokenizer::International => "intl",
            BleuTokenizer::Chinese => "zh",
            BleuTokenizer::Characters => "char",
            BleuTokenizer::Spaces => "none",
            BleuTokenizer::Other(name, _) => name,
        }
    }

    /// The words of a text.
    pub fn words(&self, text: &str) -> Vec<String> {
        let text = text.trim_end_matches(is_space);
        match self {
            BleuTokenizer::Mteval13a => words(&mteval::tokenize_13a(text)),
            BleuTokenizer::International => words(&intl::tokenize(text)),
            BleuTokenizer::Chinese => words(&zh::tokenize(text)),
            BleuTokenizer::Characters => text.chars().filter(|c| !is_space(*c)).map(String::from).collect(),
            BleuTokenizer::Spaces => words(text),
            BleuTokenizer::Other(_, tokenize) => {
                tokenize(text).iter().flat_map(|piece| split(piece)).map(str::to_owned).collect()
            }
        }
    }
}

impl fmt::Debug for BleuTokenizer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn words(text: &str) -> Vec<String> {
    split(text).map(str::to_owned).collect()
}

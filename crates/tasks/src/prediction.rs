//! The output of a head for one row, and the input that it belongs to.

use std::ops::Range;

/// The output of a head for one row.
#[derive(Debug, Clone, PartialEq)]
pub enum Prediction {
    /// The probability of each label, in the order of the label space, or of each choice. They add up to 1.
    Label(Vec<f32>),
    /// The independent probability of each label, in the order of the label space.
    Labels(Vec<f32>),
    /// A number, in the unit of the corpus.
    Number(f64),
    /// A span of a row's second text.
    Span(SpanAnswer),
    /// A generated text.
    Text(TextAnswer),
    /// Entities of a row and the relations between them.
    Graph(EntityGraph),
    /// A tag per word, up to the last word that has a token; `None` for a word without one.
    Tags(Vec<Option<WordTag>>),
    /// The head of each word and the word's relation to it, up to the last word that has a token; `None` for a word without one.
    Tree(Vec<Option<WordArc>>),
    /// The predictions for the masked tokens, in their order.
    Tokens(Vec<FoundToken>),
    /// How well each next token of a row was predicted.
    NextTokens {
        /// The negative log-likelihood of all of them.
        nats: f64,
        /// How many had the greatest logit.
        right: usize,
        /// How many there are.
        tokens: usize,
    },
}

impl Prediction {
    /// Whether all scores behind it are numbers. Where they are not, weights have overflowed, and it means nothing.
    pub fn is_finite(&self) -> bool {
        match self {
            Prediction::Label(probabilities) | Prediction::Labels(probabilities) => {
                probabilities.iter().all(|probability| probability.is_finite())
            }
            Prediction::Number(number) | Prediction::NextTokens { nats: number, .. } => number.is_finite(),
            Prediction::Span(answer) => answer.probability.is_finite(),
            Prediction::Text(answer) => {
                answer.probability.is_finite() && answer.likelihood.is_none_or(|(nats, _)| nats.is_finite())
            }
            Prediction::Graph(graph) => !graph.nonfinite,
            Prediction::Tags(tags) => tags.iter().flatten().all(|tag| tag.probability.is_finite()),
            Prediction::Tree(arcs) => arcs.iter().flatten().all(|arc| arc.probability.is_finite()),
            Prediction::Tokens(tokens) => tokens
                .iter()
                .all(|token| token.best.iter().chain(&token.original).all(|(_, score)| score.is_finite())),
        }
    }
}

/// The span of a row's second text that answers its first.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct SpanAnswer {
    /// The positions of its first and last token in the sequence; `None` where the text has no answer.
    pub tokens: Option<[u32; 2]>,
    /// The index of the sequence in the row.
    pub sequence: u32,
    /// The probability of its start times that of its end, 0 to 1.
    pub probability: f32,
}

/// A generated text.
#[derive(Debug, Clone, PartialEq)]
pub struct TextAnswer {
    /// The text.
    pub text: String,
    /// The geometric mean of its tokens' probabilities, 0 to 1.
    pub probability: f32,
    /// The negative log-likelihood of the reference in nats, and its number of tokens; `None` without a reference.
    pub likelihood: Option<(f64, usize)>,
}

/// Entities of a row and the relations between them.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct EntityGraph {
    /// The entities, in the order of their first words.
    pub entities: Vec<EntityAnswer>,
    /// The relations.
    pub relations: Vec<RelationAnswer>,
    /// Whether a score was not finite, so that entities or relations may be missing.
    pub nonfinite: bool,
}

/// An entity.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EntityAnswer {
    /// Its words in the row, the end exclusive.
    pub words: [u32; 2],
    /// Its type: an index into the types of entities.
    pub label: u32,
    /// The probability of the type, 0 to 1.
    pub probability: f32,
}

/// A relation from one entity to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RelationAnswer {
    /// The index of the head in [`EntityGraph::entities`].
    pub head: u32,
    /// The index of the tail in [`EntityGraph::entities`].
    pub tail: u32,
    /// Its type: an index into the types of relations.
    pub label: u32,
    /// Its probability, 0 to 1.
    pub probability: f32,
}

/// The tag of one word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordTag {
    /// Index into the labels of the label space.
    pub label: u32,
    /// Its probability, 0 to 1; with a CRF the marginal probability.
    pub probability: f32,
}

/// The prediction for a masked token.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundToken {
    /// The most probable tokens and their probabilities, in falling order.
    pub best: Vec<(u32, f32)>,
    /// The original token and its log-probability, where it is known.
    pub original: Option<(u32, f32)>,
}

/// The head of one word.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordArc {
    /// 0 for the root, else the head's index in its row, counted from 1.
    pub head: u32,
    /// Index into the labels of the label space.
    pub relation: u32,
    /// The probability of the head times that of the relation, 0 to 1.
    pub probability: f32,
}

/// The model input that a prediction belongs to.
#[derive(Debug, Clone, Copy)]
pub enum ModelInput<'a> {
    /// Plain text.
    Text {
        /// The text.
        text: &'a str,
        /// The byte ranges of its words, as [`data::split_words`] finds them; may be empty for a task on whole texts.
        words: &'a [Range<usize>],
    },
    /// A text that is already split into words.
    Words(&'a [String]),
    /// Two texts as one row.
    Pair {
        /// The second text.
        second: &'a str,
        /// The byte range of it that each token of each sequence covers ([`data::Encoded::offset_mapping`]).
        offset_mapping: &'a [&'a [[u32; 2]]],
    },
    /// The choices of a multiple-choice question.
    Choices(&'a [String]),
}

impl<'a> ModelInput<'a> {
    /// The words that a token-level task reads.
    pub(crate) fn words(self) -> Vec<&'a str> {
        match self {
            ModelInput::Text { text, words } => {
                words.iter().map(|word| text.get(word.clone()).unwrap_or_default()).collect()
            }
            ModelInput::Words(words) => words.iter().map(String::as_str).collect(),
            ModelInput::Pair { .. } | ModelInput::Choices(_) => Vec::new(),
        }
    }
}

//! Labelled spans: from tags to spans, and the scores of spans and of relations between them.

mod relation_f1;
mod span_f1;
mod tags;

pub use relation_f1::{Relation, RelationScores, relation_scores};
pub use span_f1::{SpanScores, span_scores};
pub use tags::{Scheme, Span, spans, split_tag, strict_spans};

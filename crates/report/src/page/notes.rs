//! Facts and long texts.

use super::escape::{escape, marked};

/// Names and what they are.
pub(super) fn facts(facts: &[(&str, String)]) -> String {
    let fact =
        |(name, value): &(&str, String)| format!("<dt>{}</dt><dd>{}</dd>\n", escape(name), marked(value));
    format!("<dl>\n{}</dl>\n", facts.iter().map(fact).collect::<String>())
}

/// A text as it is, folded below what it is called.
pub(super) fn folded(name: &str, text: &str) -> String {
    format!(
        "<details class=\"text\"><summary>{}</summary><pre>{}</pre></details>\n",
        escape(name),
        escape(text)
    )
}

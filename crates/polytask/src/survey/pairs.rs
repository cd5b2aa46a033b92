//! Corpora side by side: which tokens they share, and how far apart their texts are.

use super::splits::{Side, special_tokens};
use crate::config::Config;
use data::survey::{Vocabulary, bag_of_tokens, sample};
use data::{Encoded, InputField, Split, View};
use metrics::proxy_a_distance;
use model::BackboneConfig;
use rayon::prelude::*;
use serde::Serialize;
use std::borrow::Cow;
use train::{Model, mean_pooled_states};

/// The most rows of a corpus that distances look at.
pub const SAMPLE: usize = 500;
/// Tokens that a bag counts.
const BAG: usize = 2000;

/// What the distances are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Features {
    /// The mean of the backbone's states of a row, before any training.
    States,
    /// How often each token stands in a row.
    Tokens,
}

impl Features {
    /// States if they are wanted and mean something: those of a backbone from scratch are random before it is trained.
    pub fn of(config: &Config, states: bool) -> Features {
        match &config.model.backbone {
            BackboneConfig::Pretrained(_) if states => Features::States,
            _ => Features::Tokens,
        }
    }
}

/// Two corpora.
#[derive(Debug, Serialize)]
pub struct Pair {
    /// The one.
    pub first: String,
    /// The other.
    pub second: String,
    /// Of the different tokens of both training splits the fraction that both have, 0 to 1.
    pub jaccard: f64,
    /// The share of the second's training tokens that the first's training split shows, 0 to 1.
    pub first_covers: Option<f64>,
    /// The share of the first's training tokens that the second's training split shows, 0 to 1.
    pub second_covers: Option<f64>,
    /// Proxy A-distance, 0 to 2; `None` where a corpus has too few different texts.
    pub distance: Option<f64>,
    /// Its standard error.
    pub uncertainty: Option<f64>,
    /// How many rows of each were compared.
    pub rows: usize,
}

/// Every two sides of different corpora, by their training rows.
pub fn compare(sides: &[Side<'_>], model: &Model, config: &Config, features: Features) -> Vec<Pair> {
    let special = special_tokens(&model.tokenizer);
    let trained: Vec<&Side<'_>> =
        sides.iter().filter(|side| side.views.contains_key(&Split::Train)).collect();
    let pairs = |at: usize| (at + 1..trained.len()).map(move |other| (at, other));
    let apart = |(a, b): &(usize, usize)| trained[*a].corpus() != trained[*b].corpus();
    let pairs: Vec<(usize, usize)> = (0..trained.len()).flat_map(pairs).filter(apart).collect();
    if pairs.is_empty() {
        return Vec::new();
    }
    let views: Vec<Cow<'_, View>> =
        trained.iter().map(|side| unmarked(side.views[&Split::Train], model)).collect();
    let vocabularies: Vec<Vocabulary> =
        views.iter().map(|view| Vocabulary::of(&view.encoded, &special)).collect();
    let points = points(&trained, &views, model, config, features, &special);
    let pair = |(a, b): &(usize, usize)| {
        let found = proxy_a_distance(&points[*a], &points[*b]);
        Pair {
            first: trained[*a].name.clone(),
            second: trained[*b].name.clone(),
            jaccard: vocabularies[*a].jaccard(&vocabularies[*b]),
            first_covers: vocabularies[*a].covers(&vocabularies[*b]),
            second_covers: vocabularies[*b].covers(&vocabularies[*a]),
            distance: found.map(|found| found.distance),
            uncertainty: found.map(|found| found.uncertainty),
            rows: found.map_or(0, |found| found.points),
        }
    };
    pairs.par_iter().map(pair).collect()
}

/// A view without what tasks put into texts, prefixes and marks: by these any corpus could be distinguished from all others.
fn unmarked<'a>(view: &'a View, model: &Model) -> Cow<'a, View> {
    let input = match &view.input {
        InputField::Prefixed { field, .. } => InputField::Text(field.clone()),
        InputField::Completion { prompt, .. } => InputField::Text(prompt.fields().concat()),
        InputField::Marked(marked) if marked.words => InputField::Words(marked.text.clone()),
        InputField::Marked(marked) => InputField::Text(marked.text.clone()),
        _ => return Cow::Borrowed(view),
    };
    let rows = view.rows.clone();
    let found = View::new(view.corpus.clone(), input, rows, &model.tokenizer, model.max_length, None);
    // The rows have been read before; a tokenizer that fails on them now leaves them as they were.
    found.map_or(Cow::Borrowed(view), Cow::Owned)
}

/// Some different texts of each side as points, in random order.
fn points(
    sides: &[&Side<'_>],
    views: &[Cow<'_, View>],
    model: &Model,
    config: &Config,
    features: Features,
    special: &[u32],
) -> Vec<Vec<Vec<f32>>> {
    let drawn = |side: &Side<'_>| sample(&side.texts[&Split::Train], SAMPLE, config.train.seed, &side.name);
    let rows: Vec<Vec<usize>> = sides.iter().map(|side| drawn(side)).collect();
    let views = views.iter();
    match features {
        Features::States => {
            let tokens = config.train.evaluation_tokens();
            views.zip(&rows).map(|(view, rows)| mean_pooled_states(model, view, rows, tokens)).collect()
        }
        Features::Tokens => {
            let rows: Vec<(&Encoded, &[usize])> =
                views.map(|view| &view.encoded).zip(rows.iter().map(Vec::as_slice)).collect();
            bag_of_tokens(&rows, BAG, special)
        }
    }
}

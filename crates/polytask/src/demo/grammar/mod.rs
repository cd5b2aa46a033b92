//! The demo's corpus: a seeded grammar that writes sentences with three labels each.
//!
//! A sentence says something that happened (its topic), gives a verdict on it (its sentiment), and mentions people,
//! places and organisations (its entities). Everything is drawn from tables: `topics/` holds what happens and what it is
//! called, `verdict.rs` the sentence frames and the judgements, `names.rs` the names, `expand.rs` the small template
//! language they are written in.
//!
//! Three things keep it honest. Words mislead: `Jordan` is a person, a place or a company, a court plays tennis or hears
//! cases, "not bad" is praise, and asides come from other topics. Validation and test sentences come from frames, events
//! and verdicts that training never uses, and a good part of their names and words is new too. And no sentence stands twice.

mod expand;
mod names;
#[cfg(test)]
mod tests;
mod topics;
mod verdict;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use data::random::{shuffle, stream, uniform_below};
use expand::{Entry, Expander, Side};
pub use topics::TOPICS;

/// The sentiment labels: first the bad, then the good.
pub const SENTIMENTS: [&str; 2] = ["negative", "positive"];

/// Sentences per split: train, validation, test.
const SIZES: [usize; 3] = [4000, 600, 600];

/// One in so many sentences has names and asides in other scripts.
const WORLD_EVERY: u64 = 50;

/// One sentence and its three labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sentence {
    /// The words in order, punctuation marks being words of their own. The text is these joined by single spaces.
    pub words: Vec<String>,
    /// One BIO tag a word: `O`, or `B-` and `I-` with `PER`, `LOC` or `ORG`.
    pub tags: Vec<String>,
    /// What it is about: one of [`TOPICS`].
    pub topic: &'static str,
    /// How it judges: one of [`SENTIMENTS`].
    pub sentiment: &'static str,
}

impl Sentence {
    /// The words joined by single spaces.
    pub fn text(&self) -> String {
        self.words.join(" ")
    }
}

/// The three splits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Corpus {
    /// 4000 sentences.
    pub train: Vec<Sentence>,
    /// 600 sentences from templates and partly names that training does not show.
    pub validation: Vec<Sentence>,
    /// 600 more of the same.
    pub test: Vec<Sentence>,
}

/// Writes the corpus of a seed: the same seed gives the same sentences, everywhere and always.
///
/// Every pair of topic and sentiment is equally frequent in each split.
pub fn corpus(seed: u64) -> Corpus {
    let mut seen = HashSet::new();
    let mut split = |index: usize, side| {
        let mut expander = Expander::new(stream(seed, "demo grammar", index as u64), side);
        let mut sentences: Vec<_> =
            (0..SIZES[index]).map(|i| new_sentence(&mut expander, i, &mut seen)).collect();
        shuffle(&mut expander.rng, &mut sentences);
        sentences
    };
    Corpus { train: split(0, Side::Train), validation: split(1, Side::Held), test: split(2, Side::Held) }
}

/// The next sentence that no split has yet, its labels by turns.
fn new_sentence(expander: &mut Expander, index: usize, seen: &mut HashSet<String>) -> Sentence {
    let topic = index % TOPICS.len();
    let good = (index / TOPICS.len()) % 2 == 1;
    loop {
        let sentence = sentence(expander, topic, good);
        if seen.insert(sentence.text()) {
            return sentence;
        }
    }
}

fn sentence(expander: &mut Expander, topic: usize, good: bool) -> Sentence {
    let world = uniform_below(&mut expander.rng, WORLD_EVERY) == 0;
    let shift = uniform_below(&mut expander.rng, TOPICS.len() as u64 - 1) as usize;
    let away = (topic + 1 + shift) % TOPICS.len();
    let mut tables: Vec<&[Entry]> = if world { vec![names::WORLD] } else { Vec::new() };
    tables.extend([topics::TABLES[topic], verdict::TABLE, names::TABLE]);
    let (words, tags) = expander.expand_template("{frame}", &tables, topics::TABLES[away], good);
    Sentence { words, tags, topic: TOPICS[topic], sentiment: SENTIMENTS[usize::from(good)] }
}

/// Training sentences with entities: to mark names costs most, so that a corpus has few such rows.
pub const WITH_ENTITIES: usize = 300;

/// Writes `train.jsonl`, `validation.jsonl` and `test.jsonl` into `dir`, which is made if it is not there. Each line is
/// an object with `text`, `tokens`, `tags`, `topic` and `sentiment`; the training sentences after the first [`WITH_ENTITIES`] have
/// no `tags`.
pub fn write(dir: &Path, corpus: &Corpus) -> io::Result<()> {
    std::fs::create_dir_all(dir)?;
    let splits = [("train", &corpus.train), ("validation", &corpus.validation), ("test", &corpus.test)];
    for (name, sentences) in splits {
        let mut out = BufWriter::new(File::create(dir.join(format!("{name}.jsonl")))?);
        for (index, s) in sentences.iter().enumerate() {
            let mut line = serde_json::json!({
                "text": s.text(), "tokens": s.words, "tags": s.tags, "topic": s.topic, "sentiment": s.sentiment,
            });
            if let Some(fields) = line.as_object_mut().filter(|_| name == "train" && index >= WITH_ENTITIES) {
                fields.remove("tags");
            }
            writeln!(out, "{line}")?;
        }
        out.into_inner()?.sync_all()?;
    }
    Ok(())
}

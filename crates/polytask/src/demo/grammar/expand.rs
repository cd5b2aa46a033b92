//! The template language of the demo's grammar.
//!
//! Words stand as they are. `{name}` is replaced by an alternative of that entry, `a|b` is one or the other, `(a|b)` the
//! same inside a template, `[a]` stands there half of the time. `{right ...}` and `{wrong ...}` are the entries
//! `good ...` and `bad ...`, or the other way round where the sentence's sentiment is negative; `{away ...}` looks in
//! another topic's table.

use data::random::uniform_below;
use rand_chacha::ChaCha8Rng;

/// Which split a sentence is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Train,
    /// Validation and test.
    Held,
}

/// How the second list of an entry is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Use {
    /// Outside training, alternatives come from the second list only.
    Instead,
    /// Outside training, so many in a hundred come from the second list.
    Besides(u64),
}

/// A named list of alternatives, and the list that training never sees.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    pub name: &'static str,
    /// The entity type that what it expands to has.
    pub tag: Option<&'static str>,
    pub seen: &'static str,
    pub unseen: &'static str,
    held: Use,
}

impl Entry {
    /// Templates: validation and test have their own.
    pub const fn rule(name: &'static str, seen: &'static str, unseen: &'static str) -> Self {
        Self { name, tag: None, seen, unseen, held: Use::Instead }
    }

    /// Vocabulary: a seventh of the words of validation and test are new.
    pub const fn word(name: &'static str, seen: &'static str, unseen: &'static str) -> Self {
        Self { name, tag: None, seen, unseen, held: Use::Besides(15) }
    }

    /// Parts of names: a third of those of validation and test are new.
    pub const fn name(name: &'static str, seen: &'static str, unseen: &'static str) -> Self {
        Self { name, tag: None, seen, unseen, held: Use::Besides(30) }
    }

    /// A whole entity, in the same patterns everywhere.
    pub const fn entity(name: &'static str, tag: &'static str, patterns: &'static str) -> Self {
        Self { name, tag: Some(tag), seen: patterns, unseen: "", held: Use::Besides(0) }
    }

    /// The alternatives of one side's own list.
    #[cfg(test)]
    pub fn alternatives(&self, side: Side) -> Vec<&'static str> {
        let list = if side == Side::Train { self.seen } else { self.unseen };
        if list.is_empty() { Vec::new() } else { alternatives(list) }
    }

    /// Whether training and the other splits share no alternative.
    #[cfg(test)]
    pub fn is_rule(&self) -> bool {
        self.held == Use::Instead
    }
}

/// Expands templates for one split.
pub struct Expander {
    pub rng: ChaCha8Rng,
    side: Side,
}

/// What one sentence draws from, and what it has become.
struct PartialSentence<'a> {
    tables: &'a [&'a [Entry]],
    away: &'a [Entry],
    good: bool,
    /// Whether names are looked up in the other topic's table first.
    outside: bool,
    words: Vec<String>,
    tags: Vec<String>,
}

impl PartialSentence<'_> {
    fn entry(&self, name: &str) -> Entry {
        let mut tables = [self.away].into_iter().filter(|_| self.outside).chain(self.tables.iter().copied());
        let found = tables.find_map(|table| table.iter().find(|entry| entry.name == name));
        *found.unwrap_or_else(|| panic!("the grammar names {{{name}}}, which no table has"))
    }

    /// `right` and `wrong` in terms of good and bad.
    fn resolve(&self, name: &str) -> String {
        let (good, bad) = if self.good { ("good", "bad") } else { ("bad", "good") };
        let (first, rest) = name.split_at(name.find(' ').unwrap_or(name.len()));
        match first {
            "right" => format!("{good}{rest}"),
            "wrong" => format!("{bad}{rest}"),
            _ => name.to_owned(),
        }
    }
}

impl Expander {
    pub fn new(rng: ChaCha8Rng, side: Side) -> Self {
        Self { rng, side }
    }

    /// Words and BIO tags of one expansion. The first table that has an entry provides it.
    pub fn expand_template(
        &mut self,
        template: &'static str,
        tables: &[&[Entry]],
        away: &[Entry],
        good: bool,
    ) -> (Vec<String>, Vec<String>) {
        let (words, tags) = (Vec::new(), Vec::new());
        let mut partial = PartialSentence { tables, away, good, outside: false, words, tags };
        self.expand(template, &mut partial);
        polish(&mut partial.words);
        (partial.words, partial.tags)
    }

    fn pick(&mut self, list: &'static str) -> &'static str {
        let all = alternatives(list);
        all[uniform_below(&mut self.rng, all.len() as u64) as usize]
    }

    fn percent(&mut self, chance: u64) -> bool {
        uniform_below(&mut self.rng, 100) < chance
    }

    fn expand(&mut self, list: &'static str, partial: &mut PartialSentence<'_>) {
        let mut rest = self.pick(list).trim_start();
        while let Some(first) = rest.chars().next() {
            let end = match first {
                '{' | '(' | '[' => closing(rest),
                _ => rest.find([' ', '{', '(', '[']).unwrap_or(rest.len()),
            };
            let inside = rest.get(1..end.saturating_sub(1)).unwrap_or("");
            match first {
                '{' => self.expand_entry(inside, partial),
                '(' => self.expand(inside, partial),
                '[' if self.percent(50) => self.expand(inside, partial),
                '[' => {}
                _ => {
                    // A mark after a comma takes its place.
                    if [",", ".", "!", ";", ":"].contains(&&rest[..end])
                        && partial.words.last().is_some_and(|w| w == ",")
                    {
                        partial.words.pop();
                        partial.tags.pop();
                    }
                    partial.words.push(rest[..end].to_owned());
                    partial.tags.push("O".to_owned());
                }
            }
            rest = rest[end..].trim_start();
        }
    }

    fn expand_entry(&mut self, name: &str, partial: &mut PartialSentence<'_>) {
        let before = partial.outside;
        let inner = name.strip_prefix("away ");
        partial.outside |= inner.is_some();
        let entry = partial.entry(&partial.resolve(inner.unwrap_or(name)));
        let unseen = self.side == Side::Held
            && match entry.held {
                Use::Instead => true,
                Use::Besides(percent) => !entry.unseen.is_empty() && self.percent(percent),
            };
        let begun = partial.words.len();
        self.expand(if unseen { entry.unseen } else { entry.seen }, partial);
        partial.outside = before;
        if let Some(kind) = entry.tag {
            for (i, tag) in partial.tags[begun..].iter_mut().enumerate() {
                *tag = format!("{}-{kind}", if i == 0 { "B" } else { "I" });
            }
        }
    }
}

/// The parts between the bars that stand in no bracket.
fn alternatives(list: &'static str) -> Vec<&'static str> {
    let (mut parts, mut depth, mut begun) = (Vec::new(), 0, 0);
    for (at, c) in list.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            '|' if depth == 0 => {
                parts.push(list[begun..at].trim());
                begun = at + 1;
            }
            _ => {}
        }
    }
    parts.push(list[begun..].trim());
    parts
}

/// The byte after the bracket that closes the one that `template` begins with.
fn closing(template: &str) -> usize {
    let mut depth = 0;
    for (at, c) in template.char_indices() {
        match c {
            '{' | '(' | '[' => depth += 1,
            '}' | ')' | ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at + c.len_utf8();
        }
    }
    panic!("the grammar opens a bracket and does not close it: {template}")
}

/// "a" before a vowel becomes "an", and sentences begin with a capital.
fn polish(words: &mut [String]) {
    for i in 1..words.len() {
        let next = words[i].to_lowercase();
        let vowel = next.starts_with(['a', 'e', 'i', 'o', 'u'])
            && !["uni", "use", "one", "eu"].iter().any(|sound| next.starts_with(sound));
        if vowel && words[i - 1] == "a" {
            words[i - 1] = "an".to_owned();
        }
    }
    for i in 0..words.len() {
        if i == 0 || words[i - 1] == "." {
            let mut letters = words[i].chars();
            words[i] = letters.next().map(|c| c.to_uppercase().chain(letters).collect()).unwrap_or_default();
        }
    }
}

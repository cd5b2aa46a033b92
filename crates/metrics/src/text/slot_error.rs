//! Slot error rate: the rate of slot values of a dialogue act that a generated text omits or adds.
//!
//! Formula: `(missing + redundant) / slots`, over all rows together. It may be above 1; lower is better.
//!
//! An act is written `inform(name='eros 94';type=television;hasusbport=true)`. Definitions:
//!
//! - **A slot** is a pair `slot=value`. Slots without a value (`?request(area)`) and `type` do not count, and neither do
//!   the acts `?select` and `suggest`, which offer alternatives.
//! - **A value is missing** if its words do not occur in the text one after the other. Case, punctuation, hyphens and an
//!   ending `-s` or `-es` of the last word are ignored, and parts joined by `and` or `or` may be in any order. Long values
//!   are matched first, and matched words are not matched again.
//! - **A value is redundant** if it occurs in the rest of the text: a second occurrence of one of the act's own values, or
//!   a value of another act of the same corpus. Values of one letter or digit are not counted here: `a` is an energy class
//!   and an article.
//! - **Yes, no, true, false, none and dontcare** do not occur in the text literally. For the slots of RNNLG's list
//!   (`hasusbport`: usb; `hasinternet`: internet, wifi; and so on) the words of the list are counted, as by its code: fewer
//!   than slots are missing, more are redundant. Whether the text says yes or no is not checked. For other slots these
//!   values do not count at all.
//!
//! When to use: generation from dialogue acts, beside `bleu`. Human texts have errors, too: the references of RNNLG's
//! television test split score 0.016.
//!
//! Paper: Wen et al., *Semantically Conditioned LSTM-based Natural Language Generation*, EMNLP 2015. Its code (RNNLG,
//! `GentScorer.py`) counts the slot tokens of delexicalized texts; this is the same for texts with values.

use std::collections::BTreeSet;

/// What errors are made of, over all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotErrors {
    /// The number of slots of the acts.
    pub slots: usize,
    /// The number of missing values.
    pub missing: usize,
    /// The number of redundant values.
    pub redundant: usize,
}

impl SlotErrors {
    /// The slot error rate; 0 where there are no slots.
    pub fn rate(&self) -> f64 {
        (self.missing + self.redundant) as f64 / self.slots.max(1) as f64
            * f64::from(u8::from(self.slots > 0))
    }
}

/// Slot errors of a corpus: one dialogue act and one text a row.
///
/// # Panics
/// When the two differ in length.
pub fn slot_errors(acts: &[&str], texts: &[&str]) -> SlotErrors {
    assert_eq!(acts.len(), texts.len(), "one text an act");
    let acts: Vec<Act> = acts.iter().map(|act| Act::parse(act)).collect();
    let values = acts.iter().flat_map(|act| &act.values);
    let known: BTreeSet<(usize, Vec<String>)> = values
        .filter(|value| value.iter().map(|word| word.chars().count()).sum::<usize>() > 1)
        .map(|value| (usize::MAX - value.len(), value.clone()))
        .collect();
    let mut errors = SlotErrors::default();
    for (act, text) in acts.iter().zip(texts).filter(|(act, _)| !act.alternatives) {
        let mut words: Vec<Option<String>> = words(text).into_iter().map(Some).collect();
        for (slot, keywords) in KEYWORDS {
            let asked = act.yes_or_no.iter().filter(|asked| *asked == slot).count();
            let said = words.iter().flatten().filter(|word| keywords.contains(&word.as_str())).count();
            errors.slots += asked;
            errors.missing += asked.saturating_sub(said);
            errors.redundant += said.saturating_sub(asked);
        }
        errors.slots += act.values.len();
        let found = |value: &&Vec<String>| orders(value).iter().any(|order| take(&mut words, order));
        errors.missing += act.values.len() - act.values.iter().filter(found).count();
        for (_, value) in &known {
            while take(&mut words, value) {
                errors.redundant += 1;
            }
        }
    }
    errors
}

/// Words by which RNNLG's code (`resource/detect.pair`) knows a slot whose value is yes or no.
const KEYWORDS: [(&str, &[&str]); 6] = [
    ("kidsallowed", &["child", "kid", "kids", "children"]),
    ("dogsallowed", &["dog", "dogs", "puppy"]),
    ("hasinternet", &["internet", "wifi"]),
    ("acceptscreditcards", &["card", "cards"]),
    ("isforbusinesscomputing", &["business", "nonbusiness", "home", "personal", "general"]),
    ("hasusbport", &["usb"]),
];

/// Values that do not stand in a text as they are.
const SPECIAL: [&str; 8] = ["none", "yes", "true", "no", "false", "dontcare", "dont_care", "?"];

/// A dialogue act.
struct Act {
    /// Whether it offers alternatives, of which a text need not say all.
    alternatives: bool,
    /// The words of each value that has any, those with the most words first.
    values: Vec<Vec<String>>,
    /// The slots whose value is one of `SPECIAL`.
    yes_or_no: Vec<String>,
}

impl Act {
    fn parse(act: &str) -> Act {
        let (name, slots) = act.split_once('(').unwrap_or((act, ""));
        let slots = slots.trim_end().strip_suffix(')').unwrap_or(slots);
        let mut parsed = Act {
            alternatives: matches!(name.trim(), "?select" | "suggest"),
            values: Vec::new(),
            yes_or_no: Vec::new(),
        };
        for (slot, value) in slots.split(';').filter_map(|pair| pair.split_once('=')) {
            let slot: String = slot.chars().filter(|c| !matches!(c, '_' | ' ' | '\'' | '"')).collect();
            let value = value.trim().trim_matches(['\'', '"']);
            let words = words(value);
            if slot == "type" {
                continue;
            }
            if SPECIAL.contains(&value.to_lowercase().as_str()) {
                parsed.yes_or_no.push(slot);
            } else if !words.is_empty() {
                parsed.values.push(words);
            }
        }
        parsed.values.sort_by_key(|value| std::cmp::Reverse(value.len()));
        parsed
    }
}

/// Runs of letters, digits and `+`, and points between digits, in lower case.
fn words(text: &str) -> Vec<String> {
    let lower: Vec<char> = text.to_lowercase().chars().collect();
    let digit = |i: Option<usize>| i.and_then(|i| lower.get(i)).is_some_and(char::is_ascii_digit);
    let inside = |i: usize| match lower[i] {
        '.' => digit(i.checked_sub(1)) && digit(Some(i + 1)),
        c => c.is_alphanumeric() || c == '+',
    };
    let spaced = lower.iter().enumerate().map(|(i, c)| if inside(i) { *c } else { ' ' });
    spaced.collect::<String>().split(' ').filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The value with its parts, joined by `and` or `or`, in every order, and joined by either; its own order first. Of more than four
/// parts only their own.
fn orders(value: &[String]) -> Vec<Vec<String>> {
    let parts: Vec<&[String]> = value.split(|word| word == "and" || word == "or").collect();
    if parts.len() == 1 || parts.len() > 4 {
        return vec![value.to_vec()];
    }
    let mut orders: Vec<Vec<usize>> = vec![Vec::new()];
    for _ in 0..parts.len() {
        let longer = |order: &Vec<usize>| {
            let left = (0..parts.len()).filter(|part| !order.contains(part));
            left.map(|part| [&order[..], &[part]].concat()).collect::<Vec<_>>()
        };
        orders = orders.iter().flat_map(longer).collect();
    }
    let joined = |order: &Vec<usize>| {
        let order: Vec<&[String]> = order.iter().map(|part| parts[*part]).collect();
        ["and", "or"].map(|by| order.join(&[by.to_owned()][..]))
    };
    let mut orders: Vec<Vec<String>> = orders.iter().flat_map(joined).collect();
    orders.insert(0, value.to_vec());
    orders
}

/// Takes the first place where the words stand out of the text, if there is one.
fn take(text: &mut [Option<String>], words: &[String]) -> bool {
    let Some((last, before)) = words.split_last() else { return false };
    let same = |place: &[Option<String>]| {
        let Some((Some(end), begin)) = place.split_last() else { return false };
        let ending = end.strip_prefix(last.as_str());
        matches!(ending, Some("" | "s" | "es"))
            && begin.iter().zip(before).all(|(a, b)| a.as_ref() == Some(b))
    };
    let Some(at) = text.windows(words.len()).position(same) else { return false };
    text[at..at + words.len()].fill(None);
    true
}

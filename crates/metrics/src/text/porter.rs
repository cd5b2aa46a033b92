//! Porter's stemmer for English with NLTK's extensions, as rouge-score uses it (Porter 1980, *An algorithm for suffix stripping*).

/// Irregular forms and their stems.
const IRREGULAR: [(&str, &str); 16] = [
    ("sky", "sky"),
    ("skies", "sky"),
    ("dying", "die"),
    ("lying", "lie"),
    ("tying", "tie"),
    ("news", "news"),
    ("innings", "inning"),
    ("inning", "inning"),
    ("outings", "outing"),
    ("outing", "outing"),
    ("cannings", "canning"),
    ("canning", "canning"),
    ("howe", "howe"),
    ("proceed", "proceed"),
    ("exceed", "exceed"),
    ("succeed", "succeed"),
];

/// Steps 2 to 4: endings, what takes their place, and the least measure of the stem. The first ending that fits decides.
const STEP_2: [(&str, &str); 21] = [
    ("ational", "ate"),
    ("tional", "tion"),
    ("enci", "ence"),
    ("anci", "ance"),
    ("izer", "ize"),
    ("bli", "ble"),
    ("alli", "al"),
    ("entli", "ent"),
    ("eli", "e"),
    ("ousli", "ous"),
    ("ization", "ize"),
    ("ation", "ate"),
    ("ator", "ate"),
    ("alism", "al"),
    ("iveness", "ive"),
    ("fulness", "ful"),
    ("ousness", "ous"),
    ("aliti", "al"),
    ("iviti", "ive"),
    ("biliti", "ble"),
    ("fulli", "ful"),
];
const STEP_3: [(&str, &str); 7] = [
    ("icate", "ic"),
    ("ative", ""),
    ("alize", "al"),
    ("iciti", "ic"),
    ("ical", "ic"),
    ("ful", ""),
    ("ness", ""),
];
const STEP_4: [&str; 19] = [
    "al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent", "ion", "ou", "ism",
    "ate", "iti", "ous", "ive", "ize",
];

/// The stem of a word in lower case, of ASCII letters and digits.
pub(crate) fn stem(word: &str) -> String {
    if let Some((_, stem)) = IRREGULAR.iter().find(|(form, _)| *form == word) {
        return (*stem).to_owned();
    }
    if word.len() <= 2 {
        return word.to_owned();
    }
    let word = step_1c(step_1b(step_1a(word.to_owned())));
    step_5(step_4(replace_first(step_2(word), &STEP_3)))
}

/// For every letter whether it is a consonant: `y` is one unless a consonant stands before it.
fn consonants(word: &str) -> Vec<bool> {
    let mut flags: Vec<bool> = Vec::with_capacity(word.len());
    for letter in word.bytes() {
        flags.push(match letter {
            b'a' | b'e' | b'i' | b'o' | b'u' => false,
            b'y' => flags.last().is_none_or(|before| !before),
            _ => true,
        });
    }
    flags
}

/// How often a vowel is followed by a consonant.
fn measure(stem: &str) -> usize {
    consonants(stem).windows(2).filter(|two| !two[0] && two[1]).count()
}

fn ends_in_double_consonant(word: &str) -> bool {
    let bytes = word.as_bytes();
    matches!(bytes, [.., a, b] if a == b) && consonants(word).last() == Some(&true)
}

/// Whether a word ends in consonant, vowel, consonant, the last not w, x or y; or is a vowel and a consonant.
fn ends_in_cvc(word: &str) -> bool {
    match consonants(word)[..] {
        [false, true] => true,
        [.., true, false, true] => !word.ends_with(['w', 'x', 'y']),
        _ => false,
    }
}

/// The word with the first ending that fits replaced, if something with a vowel before a consonant is left of it.
fn replace_first(word: String, rules: &[(&str, &str)]) -> String {
    let found = rules.iter().find_map(|(ending, by)| Some((word.strip_suffix(ending)?, by)));
    match found {
        Some((stem, by)) if measure(stem) > 0 => format!("{stem}{by}"),
        _ => word,
    }
}

fn step_1a(word: String) -> String {
    let endings =
        [("ies", if word.len() == 4 { "ie" } else { "i" }), ("sses", "ss"), ("ss", "ss"), ("s", "")];
    let found = endings.iter().find_map(|(ending, by)| Some(format!("{}{by}", word.strip_suffix(ending)?)));
    found.unwrap_or(word)
}

fn step_1b(word: String) -> String {
    if let Some(stem) = word.strip_suffix("ied") {
        return format!("{stem}{}", if word.len() == 4 { "ie" } else { "i" });
    }
    if let Some(stem) = word.strip_suffix("eed") {
        return if measure(stem) > 0 { format!("{stem}ee") } else { word };
    }
    let has_vowel = |stem: &&str| consonants(stem).contains(&false);
    let endings = ["ed", "ing"].into_iter();
    let Some(stem) = endings.filter_map(|ending| word.strip_suffix(ending)).find(has_vowel) else {
        return word;
    };
    if ["at", "bl", "iz"].iter().any(|ending| stem.ends_with(ending)) {
        format!("{stem}e")
    } else if ends_in_double_consonant(stem) {
        let doubled = stem.ends_with(['l', 's', 'z']);
        if doubled { stem.to_owned() } else { stem[..stem.len() - 1].to_owned() }
    } else if measure(stem) == 1 && ends_in_cvc(stem) {
        format!("{stem}e")
    } else {
        stem.to_owned()
    }
}

fn step_1c(word: String) -> String {
    match word.strip_suffix('y') {
        Some(stem) if stem.len() > 1 && consonants(stem).last() == Some(&true) => format!("{stem}i"),
        _ => word,
    }
}

fn step_2(word: String) -> String {
    match word.strip_suffix("alli") {
        Some(stem) if measure(stem) > 0 => return step_2(format!("{stem}al")),
        _ => {}
    }
    if STEP_2.iter().any(|(ending, _)| word.ends_with(ending)) {
        return replace_first(word, &STEP_2);
    }
    match word.strip_suffix("logi") {
        // The l counts as part of the stem.
        Some(stem) if measure(&word[..word.len() - 3]) > 0 => format!("{stem}log"),
        _ => word,
    }
}

fn step_4(word: String) -> String {
    let Some((ending, stem)) = STEP_4.iter().find_map(|ending| Some((ending, word.strip_suffix(ending)?)))
    else {
        return word;
    };
    let fits = measure(stem) > 1 && (*ending != "ion" || stem.ends_with(['s', 't']));
    if fits { stem.to_owned() } else { word }
}

fn step_5(word: String) -> String {
    let word = match word.strip_suffix('e') {
        Some(stem) if measure(stem) > 1 || (measure(stem) == 1 && !ends_in_cvc(stem)) => stem.to_owned(),
        _ => word,
    };
    if word.ends_with("ll") && measure(&word[..word.len() - 1]) > 1 {
        word[..word.len() - 1].to_owned()
    } else {
        word
    }
}

//! Edit scripts that turn a form into its lemma, as text (Straka 2018, section 2.4): few scripts cover most words of a language.
//!
//! A script is `CASING;EDIT`. CASING is `↕` if the lemma keeps the form's capitals; else it gives the indices from which on the
//! characters of the lemma are capitals (`↑`) or not (`↓`), separated by `¦`; indices in the second half count from the end. EDIT
//! applies to form and lemma in lower case: `dPREFIX¦SUFFIX` keeps the longest common substring and changes what precedes and
//! follows it, each by inserting (`+c`) and then deleting (`-`) characters; `aLEMMA` is the whole lemma, if there is no common
//! substring. `=LEMMA` is used if none of these gives the lemma.
//!
//! UDPipe has no `↕`. With an uncased vocabulary the model cannot see whether a name is written `Nato` or `NATO`; with `↕` it
//! need not know. A lemma without capitals is always `↓0`, so that words at the beginning of a sentence get the same scripts as others.

/// Longer words get the script `aLEMMA` or `=LEMMA`, unless form and lemma differ only in capitals: the search for the common substring
/// takes the product of both lengths.
const MAX_LENGTH: usize = 200;

/// The script that turns `form` into `lemma`.
pub(crate) fn script(form: &str, lemma: &str) -> String {
    let (casing, edit) = (casing(lemma), edit(&form.to_lowercase(), &lemma.to_lowercase()));
    let as_form = (casing != "↓0").then(|| format!("↕;{edit}"));
    let scripts = as_form.into_iter().chain([format!("{casing};{edit}")]);
    // Some letters are not restored by upper-casing their lower case, such as the dotted capital I.
    let right = |script: &String| apply(form, script).as_deref() == Some(lemma);
    scripts.into_iter().find(right).unwrap_or_else(|| format!("={lemma}"))
}

/// The lemma of a form by a script; `None` if it deletes more characters than the form has, or is no script.
pub(crate) fn apply(form: &str, script: &str) -> Option<String> {
    if let Some(lemma) = script.strip_prefix('=') {
        return Some(lemma.to_owned());
    }
    let (casing, edit) = script.split_once(';')?;
    if casing == "↕" {
        return edited(form, edit);
    }
    let lemma: Vec<char> = edited(&form.to_lowercase(), edit)?.chars().collect();
    let mut large = vec![false; lemma.len()];
    for part in casing.split('¦').filter(|part| !part.is_empty()) {
        let (place, capitals) = turn(part, lemma.len())?;
        large[place..].fill(capitals);
    }
    let mut cased = String::new();
    for (character, large) in lemma.into_iter().zip(large) {
        if large { cased.extend(character.to_uppercase()) } else { cased.push(character) }
    }
    Some(cased)
}

/// Where capitals begin and end.
fn casing(lemma: &str) -> String {
    let characters: Vec<char> = lemma.chars().collect();
    let (mut parts, mut before) = (Vec::new(), None);
    for (i, character) in characters.iter().enumerate() {
        let large = !character.to_lowercase().eq([*character]);
        if before != Some(large) {
            let place = if i <= characters.len() / 2 { i as i64 } else { i as i64 - characters.len() as i64 };
            parts.push(format!("{}{place}", if large { '↑' } else { '↓' }));
        }
        before = Some(large);
    }
    parts.join("¦")
}

/// The index from which on the `length` characters are capitals, or not.
fn turn(part: &str, length: usize) -> Option<(usize, bool)> {
    let large = part.starts_with('↑');
    let place: i64 = part.strip_prefix(['↑', '↓'])?.parse().ok()?;
    let from_start = if place < 0 { (length as i64).checked_add(place)?.max(0) } else { place };
    Some((length.min(from_start as usize), large))
}

/// The edit that turns a form into a lemma, both in lower case.
fn edit(form: &str, lemma: &str) -> String {
    if form == lemma {
        return "d¦".into();
    }
    let (form, lemma): (Vec<char>, Vec<char>) = (form.chars().collect(), lemma.chars().collect());
    match common(&form, &lemma) {
        None => format!("a{}", lemma.into_iter().collect::<String>()),
        Some((f, l, length)) => {
            let before = change(&form[..f], &lemma[..l]);
            format!("d{before}¦{}", change(&form[f + length..], &lemma[l + length..]))
        }
    }
}

/// Inserts the new characters and deletes the old ones.
fn change(old: &[char], new: &[char]) -> String {
    let inserted = new.iter().flat_map(|character| ['+', *character]);
    inserted.chain(old.iter().map(|_| '-')).collect()
}

/// The start of the longest common substring in form and lemma, and its length; among equals the first in the lemma, then the
/// first in the form.
fn common(form: &[char], lemma: &[char]) -> Option<(usize, usize, usize)> {
    if form.len() > MAX_LENGTH || lemma.len() > MAX_LENGTH {
        return None;
    }
    let mut best = (0, 0, 0);
    // `lengths[f]`: the length of the common substring that ends before `f` in the form and at `l` in the lemma.
    let mut lengths = vec![0; form.len() + 1];
    for (l, character) in lemma.iter().enumerate() {
        for f in (0..form.len()).rev() {
            lengths[f + 1] = if form[f] == *character { lengths[f] + 1 } else { 0 };
        }
        for f in 0..form.len() {
            let length = lengths[f + 1];
            if length > best.2 {
                best = (f + 1 - length, l + 1 - length, length);
            }
        }
    }
    (best.2 > 0).then_some(best)
}

/// Applies `d..¦..` or `a..`.
fn edited(form: &str, edit: &str) -> Option<String> {
    if let Some(lemma) = edit.strip_prefix('a') {
        return Some(lemma.to_owned());
    }
    let mut rest = edit.strip_prefix('d')?.chars();
    let prefix = changed(&mut rest, true)?;
    let suffix = changed(&mut rest, false)?;
    let form: Vec<char> = form.chars().collect();
    let end = form.len().checked_sub(suffix.1).filter(|end| *end >= prefix.1)?;
    let kept: String = form[prefix.1..end].iter().collect();
    Some(format!("{}{kept}{}", prefix.0, suffix.0))
}

/// The inserted text and the number of deleted characters; the first of two changes ends with `¦`.
fn changed(rest: &mut std::str::Chars<'_>, first: bool) -> Option<(String, usize)> {
    let mut change = (String::new(), 0);
    loop {
        match rest.next() {
            Some('+') => change.0.push(rest.next()?),
            Some('-') => change.1 += 1,
            Some('¦') if first => return Some(change),
            None if !first => return Some(change),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use data::random::uniform_below;
    use serde_json::Value;

    #[test]
    fn scripts_equal_those_of_another_implementation() {
        let cases: Value = serde_json::from_str(include_str!("../../../tests/fixtures/lemmas.json")).unwrap();
        let cases = cases.as_array().unwrap();
        assert!(cases.len() >= 300);
        for case in cases {
            let [form, lemma, expected] = [0, 1, 2].map(|i| case[i].as_str().unwrap());
            assert_eq!(script(form, lemma), expected, "{form} {lemma}");
            assert_eq!(apply(form, expected).as_deref(), Some(lemma), "{form} {expected}");
        }
    }

    #[test]
    fn a_script_serves_other_words() {
        for (form, lemma, other, expected) in [
            ("forces", "force", "Trees", "tree"),
            ("studies", "study", "FLIES", "fly"),
            ("gesehen", "sehen", "gegangen", "gangen"),
            ("Anna", "Anna", "NATO", "NATO"),
            ("Berliners", "Berliner", "CDs", "CD"),
            ("anna", "Anna", "berlin", "Berlin"),
            ("nato", "NATO", "un", "UN"),
            ("is", "be", "are", "be"),
        ] {
            assert_eq!(
                apply(other, &script(form, lemma)).as_deref(),
                Some(expected),
                "{form} {lemma} {other}"
            );
        }
        assert_eq!(apply("ab", &script("walked", "wa")), None, "four characters to delete of two");
    }

    #[test]
    fn every_lemma_comes_back() {
        let pool: Vec<char> = "aAbBéÉßẞİıǅΣςσ東+-¦;=↑↓→ _'\u{301}👍🏽".chars().collect();
        let mut rng = data::random::stream(1, "lemmas", 0);
        for _ in 0..20_000 {
            let mut draw = |least: u64| -> String {
                let length = least + uniform_below(&mut rng, 7);
                (0..length).map(|_| pool[uniform_below(&mut rng, pool.len() as u64) as usize]).collect()
            };
            let (form, lemma) = (draw(0), draw(1));
            let script = script(&form, &lemma);
            assert_eq!(apply(&form, &script).as_deref(), Some(lemma.as_str()), "{form:?} {script:?}");
        }
    }

    #[test]
    fn what_is_no_script_gives_nothing() {
        for script in [
            "",
            ";",
            "d",
            "↓0;",
            "↓0;x",
            "↓0;d",
            "↓0;d+",
            "↓0;d¦+",
            "↓0;d¦¦",
            "x0;d¦",
            "↓;d¦",
            "↓z;d¦",
            "↕0;d¦",
            "↕;d",
        ] {
            assert_eq!(apply("word", script), None, "{script:?}");
        }
        assert_eq!(apply("word", "↑99;d¦").as_deref(), Some("word"));
        assert_eq!(apply("word", "↑-99;d¦").as_deref(), Some("WORD"));
    }

    #[test]
    fn long_words_take_no_long_time() {
        let long = "ab".repeat(50_000);
        assert_eq!(script(&long, &long.to_uppercase()), "↑0;d¦");
        assert_eq!(script(&long.to_uppercase(), &long.to_uppercase()), "↕;d¦");
        assert!(script(&long, "a").starts_with("↓0;aa"));
    }
}

//! Scripts that make a lemma of a form, as text (Straka 2018, section 2.4): few scripts serve most words of a language.
//!
//! `CASING;EDIT`. CASING is `↕` where the lemma has the form's capitals, else it says from which character on the lemma is in capitals (`↑`) or not (`↓`), in parts between `¦`; places in
//! the second half are counted from the end. EDIT is about form and lemma without capitals: `dPREFIX¦SUFFIX` keeps what is
//! longest in common and changes what stands before and behind, each by inserting (`+c`) and then deleting (`-`) characters;
//! `aLEMMA` is the whole lemma, where nothing is in common. `=LEMMA` stands where none of these gives the lemma back.
//!
//! UDPipe has no `↕`. A vocabulary without capitals hides from the model whether a name is written `Nato` or `NATO`; with `↕` it
//! need not know. A lemma without capitals is always `↓0`, so that words at the beginning of a sentence are like others.

/// Longer words get a script of their own, unless form and lemma are the same but for capitals: looking for what they have in
/// common takes the product of both lengths.
const LONGEST: usize = 200;

/// The script that makes `lemma` of `form`.
pub(crate) fn script(form: &str, lemma: &str) -> String {
    let (casing, edit) = (casing(lemma), edit(&form.to_lowercase(), &lemma.to_lowercase()));
    let as_form = (casing != "↓0").then(|| format!("↕;{edit}"));
    let scripts = as_form.into_iter().chain([format!("{casing};{edit}")]);
    // Some letters do not come back from small to large, such as the dotted capital I.
    let right = |script: &String| apply(form, script).as_deref() == Some(lemma);
    scripts.into_iter().find(right).unwrap_or_else(|| format!("={lemma}"))
}

/// The lemma that a script makes of a form; `None` where it deletes more than there is, or is no script.
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

/// From which of `length` characters on there are capitals, or none.
fn turn(part: &str, length: usize) -> Option<(usize, bool)> {
    let large = part.starts_with('↑');
    let place: i64 = part.strip_prefix(['↑', '↓'])?.parse().ok()?;
    let from_start = if place < 0 { (length as i64).checked_add(place)?.max(0) } else { place };
    Some((length.min(from_start as usize), large))
}

/// What makes a lemma of a form, neither with capitals.
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

/// Insert the new characters, delete the old.
fn change(old: &[char], new: &[char]) -> String {
    let inserted = new.iter().flat_map(|character| ['+', *character]);
    inserted.chain(old.iter().map(|_| '-')).collect()
}

/// Where the longest common part begins in form and lemma, and how long it is; of equals the first in the lemma, then the first
/// in the form.
fn common(form: &[char], lemma: &[char]) -> Option<(usize, usize, usize)> {
    if form.len() > LONGEST || lemma.len() > LONGEST {
        return None;
    }
    let mut best = (0, 0, 0);
    // `lengths[f]`: how far the part goes that ends before `f` in the form and at the place in the lemma.
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

/// What is inserted, and how many characters are deleted; the first of two changes ends with `¦`.
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
    use serde_json::Value;

    #[test]
    fn scripts_equal_those_of_another_implementation() {
        let cases: Value = serde_json::from_str(include_str!("../../tests/fixtures/lemmas.json")).unwrap();
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
                let length = least + data::random::below(&mut rng, 7);
                (0..length).map(|_| pool[data::random::below(&mut rng, pool.len() as u64) as usize]).collect()
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

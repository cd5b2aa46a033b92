//! What somebody may have meant who wrote an unknown name.

/// The most similar of the known names, if any is similar enough to be worth proposing.
pub fn nearest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |name: &str| name.to_lowercase().replace(['-', ' '], "_");
    let found = plain(found);
    known
        .into_iter()
        .map(|name| {
            let distance = strsim::damerau_levenshtein(&found, &plain(name));
            (distance, name)
        })
        .filter(|(distance, name)| {
            *distance <= 1.max(name.chars().count() / 3) && *distance < found.chars().count()
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn proposes_only_what_is_near() {
        let known = ["epochs", "tokens_per_step", "seed", "keep"];
        assert_eq!(nearest("epoch", known), Some("epochs"));
        assert_eq!(nearest("Tokens-Per-Step", known), Some("tokens_per_step"));
        assert_eq!(nearest("tokens", known), None);
        assert_eq!(nearest("sede", known), Some("seed"));
        assert_eq!(nearest("x", known), None);
        assert_eq!(nearest("", known), None);
    }
}

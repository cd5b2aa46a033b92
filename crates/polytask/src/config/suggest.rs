//! The known name that an unknown one probably stands for.

/// The most similar of the known names, if any is similar enough to be worth proposing.
pub fn suggest<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
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
    use super::suggest;

    #[test]
    fn proposes_only_similar_names() {
        let known = ["epochs", "tokens_per_batch", "seed", "export"];
        assert_eq!(suggest("epoch", known), Some("epochs"));
        assert_eq!(suggest("Tokens-Per-Batch", known), Some("tokens_per_batch"));
        assert_eq!(suggest("tokens", known), None);
        assert_eq!(suggest("sede", known), Some("seed"));
        assert_eq!(suggest("x", known), None);
        assert_eq!(suggest("", known), None);
    }
}

//! What a folder without `tokenizer.json` has in its place, and how one is made of it.

use std::path::Path;

/// Files of other tokenizers, by their names or endings, and what they are.
const OTHERS: [(&str, &str); 6] = [
    ("vocab.txt", "a WordPiece vocabulary"),
    ("vocab.json", "the vocabulary of a BPE"),
    (".bpe.model", "a SentencePiece model"),
    ("spiece.model", "a SentencePiece model"),
    ("tokenizer.model", "a SentencePiece model"),
    ("tekken.json", "a Tekken vocabulary"),
];

/// The reason that a folder has no `tokenizer.json`, with the way out, where it has the file of another tokenizer.
pub fn reason(tokenizer: &Path) -> Option<String> {
    let dir = tokenizer.parent()?;
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .ok()?
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let (name, what) = names.iter().find_map(|name| {
        OTHERS.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, what)| (name, what))
    })?;
    Some(format!(
        "there is no such file, but {name}, {what}; make it once, in Python: transformers.AutoTokenizer.from_pretrained(DIR).save_pretrained(DIR)"
    ))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_file_that_is_there_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tokenizer.json");
        assert_eq!(super::reason(&file), None);
        std::fs::write(dir.path().join("sentencepiece.bpe.model"), "").unwrap();
        let reason = super::reason(&file).unwrap();
        assert!(reason.contains("sentencepiece.bpe.model, a SentencePiece model; make it once"), "{reason}");
    }
}

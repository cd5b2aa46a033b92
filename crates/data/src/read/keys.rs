//! Which settings of a corpus which format reads. A setting that the format of a file does not read is refused.

use std::path::Path;

use crate::{CorpusConfig, DataError, Format};

/// A setting: its key, whether a corpus gives it, and the formats that read it.
struct Key {
    name: &'static str,
    is_given: fn(&CorpusConfig) -> bool,
    formats: &'static [Format],
}

const KEYS: [Key; 5] = [
    Key {
        name: "columns",
        is_given: |corpus| corpus.columns.is_some(),
        formats: &[Format::Csv, Format::Tsv, Format::Conll, Format::Parallel],
    },
    Key {
        name: "delimiter",
        is_given: |corpus| corpus.delimiter.is_some(),
        formats: &[Format::Csv, Format::Tsv, Format::Conll],
    },
    Key {
        name: "header",
        is_given: |corpus| corpus.header.is_some(),
        formats: &[Format::Csv, Format::Tsv, Format::Conll],
    },
    Key {
        name: "ignore_extra_columns",
        is_given: |corpus| corpus.ignore_extra_columns,
        formats: &[Format::Csv, Format::Tsv, Format::Conll],
    },
    Key { name: "skip_empty_words", is_given: |corpus| corpus.skip_empty_words, formats: &[Format::Conll] },
];

/// Checks that the format of a file reads every setting that is given.
pub fn check(path: &Path, format: Format, corpus: &CorpusConfig) -> Result<(), Vec<DataError>> {
    let ignored = |key: &&Key| (key.is_given)(corpus) && !key.formats.contains(&format);
    let error = |key: &Key| DataError::Setting {
        key: key.name.into(),
        found: format!("a value, and {} is {}", path.display(), format.name()),
        expected: format!("none, since only {} have it", names(key.formats)),
    };
    let errors: Vec<DataError> = KEYS.iter().filter(ignored).map(error).collect();
    if errors.is_empty() { Ok(()) } else { Err(errors) }
}

fn names(formats: &[Format]) -> String {
    let names: Vec<&str> = formats.iter().map(|format| format.name()).collect();
    match names.split_last() {
        Some((last, [])) => (*last).into(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_the_format_does_not_read_is_refused() {
        let corpus = CorpusConfig { header: Some(true), delimiter: Some(';'), ..CorpusConfig::of("a") };
        assert!(check(Path::new("a.csv"), Format::Csv, &corpus).is_ok());
        assert!(check(Path::new("a.conll"), Format::Conll, &corpus).is_ok());
        let said: Vec<String> = check(Path::new("a.jsonl"), Format::Jsonl, &corpus)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        let expected = "found a value, and a.jsonl is JSON Lines, expected none, since only CSV, TSV and CoNLL columns have it";
        assert_eq!(said, [format!("delimiter: {expected}"), format!("header: {expected}")]);
    }
}

//! The tokenizer against the ids that the Python package gives, and what it promises beyond that.
//! The fixtures are made by scripts/make_tokenizer_fixtures.py.

use std::path::{Path, PathBuf};

use polytask_data::{
    Completion, Encoded, Input, NO_WORD_ID, RenderedChat, TextWindows, Tokenizer, TokenizerConfig,
    TokenizerKind, encode_cached,
};
use serde::Deserialize;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn tokenizer(name: &str) -> Tokenizer {
    Tokenizer::from_file(&fixture(&format!("{name}.json"))).unwrap()
}

/// A WordPiece and a byte-level vocabulary as those of BERT and RoBERTa, and what our own trainers make of the texts.
const NAMES: [&str; 5] = ["wordpiece", "byte_level", "trained", "trained_spaces", "trained_unigram"];

/// The settings of those that our own trainers make.
fn of_our_own() -> [(&'static str, TokenizerConfig); 3] {
    let config = TokenizerConfig { size: 700, ..TokenizerConfig::default() };
    [
        ("trained", config.clone()),
        ("trained_spaces", TokenizerConfig { spaces: true, ..config.clone() }),
        ("trained_unigram", TokenizerConfig { kind: TokenizerKind::Unigram, ..config }),
    ]
}

fn texts() -> Vec<String> {
    serde_json::from_str(&std::fs::read_to_string(fixture("tokenizer_texts.json")).unwrap()).unwrap()
}

#[derive(Deserialize)]
struct Case {
    tokenizer: String,
    text: Option<String>,
    split: Option<Vec<String>>,
    ids: Vec<u32>,
    words: Vec<Option<u32>>,
}

impl Case {
    fn input(&self) -> Input<'_> {
        match (&self.text, &self.split) {
            (Some(text), None) => Input::Text(text),
            (None, Some(words)) => Input::Words(words),
            _ => panic!("a case has text or split"),
        }
    }
}

fn cases() -> Vec<Case> {
    serde_json::from_str(&std::fs::read_to_string(fixture("tokenizer_cases.json")).unwrap()).unwrap()
}

#[test]
fn ids_and_words_equal_pythons() {
    let cases = cases();
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let own: Vec<&Case> = cases.iter().filter(|case| case.tokenizer == name).collect();
        assert!(own.len() > 50, "{name}: {} cases", own.len());
        let inputs: Vec<Input<'_>> = own.iter().map(|case| case.input()).collect();
        let encoded = tokenizer.encode(&inputs, 10_000).unwrap();
        for (i, case) in own.iter().enumerate() {
            let words: Vec<u32> = case.words.iter().map(|word| word.unwrap_or(NO_WORD_ID)).collect();
            assert_eq!(encoded.ids[encoded.row(i)], case.ids, "{name} {:?}", case.input());
            assert_eq!(encoded.word_ids[encoded.row(i)], words, "{name} {:?}", case.input());
        }
        assert!(encoded.truncated.iter().all(|&cut| cut == 0));
        assert!(encoded.ids.iter().all(|&id| (id as usize) < tokenizer.vocabulary()));
    }
}

#[test]
fn truncation_keeps_the_special_tokens_and_counts() {
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let texts = texts();
        let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text(text)).collect();
        let whole = tokenizer.encode(&inputs, usize::MAX).unwrap();
        for max_length in [3, 4, 7, 20] {
            let cut = tokenizer.encode(&inputs, max_length).unwrap();
            for i in 0..cut.rows() {
                let (all, kept) = (&whole.ids[whole.row(i)], &cut.ids[cut.row(i)]);
                assert_eq!(kept.len() + cut.truncated[i] as usize, all.len());
                // What the reference does: ids[:max-1] + ids[-1:].
                let mut expected = all.to_vec();
                if all.len() > max_length {
                    expected.truncate(max_length - 1);
                    expected.extend(all.last());
                }
                assert_eq!(kept, expected);
            }
        }
        let error = tokenizer.encode(&inputs, 2).unwrap_err().to_string();
        assert_eq!(error, "max_length: found 2, expected more than the 2 special tokens of every row");
    }
}

#[test]
fn unknown_tokens_are_counted() {
    let tokenizer = tokenizer("wordpiece");
    let words = ["ŁÓDŹ".to_owned(), "hello".to_owned(), "ქართული".to_owned()];
    assert_eq!(tokenizer.encode(&[Input::Words(&words)], 20).unwrap().unknown, 2);
    assert_eq!(self::tokenizer("trained").encode(&[Input::Words(&words)], 200).unwrap().unknown, 0);
}

#[test]
fn a_row_without_tokens_gets_one() {
    let mut json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("wordpiece.json")).unwrap()).unwrap();
    json["post_processor"] = serde_json::Value::Null;
    let tokenizer = Tokenizer::from_json(&json.to_string()).unwrap();
    let encoded = tokenizer.encode(&[Input::Text(""), Input::Words(&[]), Input::Text("hello")], 1).unwrap();
    assert_eq!(tokenizer.tokens(&encoded.ids[..2]), ["[UNK]", "[UNK]"]);
    assert_eq!((encoded.rows(), &encoded.word_ids[..2]), (3, &[NO_WORD_ID; 2][..]));
}

/// An unknown id becomes the only token of an empty row, so it must be a row of the embedding table.
#[test]
fn an_unknown_id_beyond_the_vocabulary_is_refused() {
    let mut json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("trained.json")).unwrap()).unwrap();
    let vocabulary = tokenizer("trained").vocabulary();
    for id in [vocabulary as u64, u64::from(u32::MAX), u64::MAX] {
        json["model"]["unk_id"] = id.into();
        let error = Tokenizer::from_json(&json.to_string()).unwrap_err().to_string();
        assert_eq!(
            error,
            format!(
                "tokenizer: model.unk_id is {id}, expected an id below {vocabulary}, the vocabulary size"
            )
        );
    }
    json["model"]["unk_id"] = (vocabulary - 1).into();
    json["post_processor"] = serde_json::Value::Null;
    let tokenizer = Tokenizer::from_json(&json.to_string()).unwrap();
    assert_eq!(tokenizer.encode(&[Input::Text("")], 8).unwrap().ids, [vocabulary as u32 - 1]);
}

#[test]
fn dropout_of_the_file_is_switched_off() {
    let mut json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(fixture("trained.json")).unwrap()).unwrap();
    json["model"]["dropout"] = 0.9.into();
    let random = Tokenizer::from_json(&json.to_string()).unwrap();
    let input = [Input::Text("play the newest song by The Beatles on Spotify")];
    assert_eq!(random.encode(&input, 99).unwrap(), tokenizer("trained").encode(&input, 99).unwrap());
}

#[test]
fn order_is_kept_over_many_rows() {
    let tokenizer = tokenizer("trained");
    let texts: Vec<String> = (0..5_000).map(|i| format!("row {i}")).collect();
    let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text(text)).collect();
    let encoded = tokenizer.encode(&inputs, 64).unwrap();
    assert_eq!(encoded.rows(), texts.len());
    for i in (0..texts.len()).step_by(487) {
        let alone = tokenizer.encode(&inputs[i..=i], 64).unwrap();
        assert_eq!(encoded.ids[encoded.row(i)], alone.ids);
    }
    assert_eq!(tokenizer.encode(&[], 64).unwrap(), Encoded { offsets: vec![0], ..Encoded::default() });
}

#[test]
fn training_gives_the_same_vocabulary_every_time() {
    for (name, config) in of_our_own() {
        let file = fixture(&format!("{name}.json"));
        let mut texts = texts();
        let first = Tokenizer::train(&texts, &config).unwrap();
        if std::env::var_os("WRITE_FIXTURES").is_some() {
            std::fs::write(&file, format!("{}\n", first.to_json())).unwrap();
        }
        texts.reverse();
        for threads in [1, 2, 5] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let again = pool.install(|| Tokenizer::train(&texts, &config)).unwrap();
            assert_eq!(again.to_json(), first.to_json(), "{name}, {threads} threads");
        }
        assert_eq!(first.to_json(), std::fs::read_to_string(&file).unwrap().trim_end(), "{name}");
    }
}

#[test]
fn trained_vocabularies_know_every_script() {
    let trained = Tokenizer::train(&["only ascii here"], &TokenizerConfig::default()).unwrap();
    assert!(trained.vocabulary() < 300);
    for text in texts() {
        let encoded = trained.encode(&[Input::Text(&text)], 10_000).unwrap();
        assert_eq!(encoded.unknown, 0);
        assert!(!trained.tokens(&encoded.ids).iter().any(|token| token == "[UNK]"));
    }
    for (name, config) in of_our_own() {
        let trained = Tokenizer::train(&["only ascii here"], &config).unwrap();
        let texts = texts();
        let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text(text)).collect();
        assert_eq!(trained.encode(&inputs, 10_000).unwrap().unknown, 0, "{name}");
    }
    // Frequent words are one token; a Chinese character is a word by itself, wherever it stands.
    let chinese =
        Tokenizer::train(&["我喜欢北京", "我喜欢上海", "Play play PLAY"], &TokenizerConfig::default())
            .unwrap();
    let encoded =
        chinese.encode(&[Input::Text("我喜欢 play"), Input::Words(&["喜".to_owned()])], 100).unwrap();
    assert_eq!(encoded.length(0), 6);
    assert_eq!(encoded.word_ids[encoded.row(0)], [NO_WORD_ID, 0, 1, 2, 3, NO_WORD_ID]);
    assert_eq!(encoded.ids[encoded.row(1)][1], encoded.ids[2]);
    // Composed and decomposed spellings are the same.
    let both = chinese.encode(&[Input::Text("Cre\u{300}me"), Input::Text("crème")], 100).unwrap();
    assert_eq!(both.ids[both.row(0)], both.ids[both.row(1)]);
}

#[test]
fn training_settings_have_ranges() {
    let error = |config: TokenizerConfig| Tokenizer::train(&["a"], &config).unwrap_err().to_string();
    let small = TokenizerConfig { size: 100, ..TokenizerConfig::default() };
    assert_eq!(error(small), "tokenizer.size: found 100, expected 300 to 1000000");
    let zero = TokenizerConfig { min_count: 0, ..TokenizerConfig::default() };
    assert_eq!(error(zero), "tokenizer.min_count: found 0, expected 1 or more");
    let unigram = TokenizerConfig { size: 300, kind: TokenizerKind::Unigram, ..TokenizerConfig::default() };
    let expected = "tokenizer.size: found 300, expected 400 to 1000000 with kind \"unigram\"";
    assert_eq!(error(unigram), expected);
    for (_, config) in of_our_own() {
        let none = Tokenizer::train::<&str>(&[], &config).unwrap();
        // With unigram 94 characters of ASCII and the mark of a space.
        let own = if config.kind == TokenizerKind::Unigram { 95 } else { 0 };
        assert_eq!(none.vocabulary(), 261 + own);
    }
}

#[test]
fn broken_tokenizers_are_errors() {
    for json in ["", "[]", "{}", "{\"model\": 3}", "nonsense"] {
        assert!(Tokenizer::from_json(json).unwrap_err().to_string().starts_with("tokenizer: "), "{json}");
    }
    let error = Tokenizer::from_file(Path::new("no/such/tokenizer.json")).unwrap_err().to_string();
    assert!(error.starts_with("no/such/tokenizer.json: "), "{error}");
}

#[test]
fn the_cache_returns_what_was_encoded_and_heals() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("made/when/missing");
    let tokenizer = tokenizer("wordpiece");
    let texts = texts();
    let inputs: Vec<Input<'_>> = texts.iter().map(|text| Input::Text(text)).collect();
    let encode = |max_length| encode_cached(Some(&dir), &tokenizer, &inputs, max_length).unwrap();
    let files =
        || -> Vec<PathBuf> { std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path()).collect() };
    let expected = tokenizer.encode(&inputs, 32).unwrap();
    assert_eq!(encode(32), expected);
    assert_eq!(files().len(), 1);
    assert_eq!(encode(32), expected);
    assert_eq!(files().len(), 1, "read, and not written again");
    encode(16);
    assert_eq!(files().len(), 2, "another max_length is another entry");
    for path in files() {
        let mut bytes = std::fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&path, bytes).unwrap();
    }
    assert_eq!(encode(32), expected);
    assert_eq!(encode(32), expected);
    // The same characters as text and as words are different inputs.
    let words = ["ab".to_owned()];
    let text = encode_cached(Some(&dir), &tokenizer, &[Input::Text("ab")], 32).unwrap();
    let split = encode_cached(Some(&dir), &tokenizer, &[Input::Words(&words)], 32).unwrap();
    assert_eq!((text.ids, files().len()), (split.ids, 4));
}

#[test]
fn a_cache_that_cannot_be_written_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "x").unwrap();
    let error = encode_cached(Some(&file), &tokenizer("trained"), &[Input::Text("a")], 32).unwrap_err();
    assert!(error.to_string().contains("file"), "{error}");
}

/// The library itself stops tokenizing a text that is longer than the whole row, and then takes both for equally long where
/// they are not; so its own truncation gets whole texts here.
#[test]
fn pairs_equal_those_of_the_tokenizers_library() {
    use tokenizers::{TruncationParams, utils::truncation::truncate_encodings};
    let texts: Vec<String> = texts().into_iter().filter(|text| text.len() < 2_000).collect();
    // Each text with itself, with a short one before it, and with the one seven places on.
    let pairs: Vec<(&str, &str)> = (0..texts.len())
        .flat_map(|i| [(i, i), (0, i), (i, (i + 7) % texts.len())])
        .map(|(i, j)| (texts[i].as_str(), texts[j].as_str()))
        .collect();
    let inputs: Vec<Input<'_>> = pairs.iter().map(|(a, b)| Input::Pair(a, b)).collect();
    for name in NAMES {
        let mut theirs = tokenizers::Tokenizer::from_file(fixture(&format!("{name}.json"))).unwrap();
        theirs.with_padding(None).with_truncation(None).unwrap();
        let special_tokens = theirs.encode(("", ""), true).unwrap().len();
        let encode = |text| theirs.encode_char_offsets(text, false).unwrap();
        for max_length in [10, 11, 24, 4_000] {
            let truncation =
                TruncationParams { max_length: max_length - special_tokens, ..Default::default() };
            let encoded = tokenizer(name).encode(&inputs, max_length).unwrap();
            for (i, (a, b)) in pairs.iter().enumerate() {
                let whole = theirs.encode((*a, *b), true).unwrap();
                let (a, b) = truncate_encodings(encode(*a), Some(encode(*b)), &truncation).unwrap();
                let expected = theirs.post_process(a, b, true).unwrap();
                if expected.is_empty() {
                    let lengths = (encoded.length(i), encoded.first_segment_len[i]);
                    assert_eq!(lengths, (1, 1), "one token for an empty row");
                    continue;
                }
                let what = format!("{name}, {max_length}: {:?}", pairs[i]);
                assert_eq!(&encoded.ids[encoded.row(i)], expected.get_ids(), "{what}");
                let second = expected.get_type_ids().iter().filter(|type_id| **type_id == 1).count();
                assert_eq!(encoded.length(i) - encoded.first_segment_len[i] as usize, second, "{what}");
                assert_eq!(encoded.truncated[i] as usize, whole.len() - expected.len(), "{what}");
                let is_whole = whole.get_type_ids() == expected.get_type_ids();
                assert!(encoded.truncated[i] > 0 || is_whole, "{what}");
            }
        }
    }
}

#[test]
fn pairs_need_more_than_their_special_tokens() {
    let tokenizer = tokenizer("wordpiece");
    assert!(tokenizer.encode(&[Input::Text("a")], 3).is_ok());
    let error = tokenizer.encode(&[Input::Pair("a", "b")], 3).unwrap_err().to_string();
    assert!(error.contains("more than the 3 special tokens"), "{error}");
}

#[test]
fn tokens_of_a_second_text_have_byte_ranges() {
    let (first, second) = ("where is it?", " It lies in the naïve 東京 — twice  over");
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let encoded = tokenizer.encode(&[Input::Pair(first, second)], 128).unwrap();
        // As the library tells them of the second text by itself.
        let mut library = tokenizers::Tokenizer::from_file(fixture(&format!("{name}.json"))).unwrap();
        library.with_padding(None);
        let alone = library.encode(second, false).unwrap();
        let expected: Vec<[u32; 2]> =
            alone.get_offsets().iter().map(|(a, b)| [*a as u32, *b as u32]).collect();
        let own: Vec<usize> = (0..encoded.ids.len()).filter(|i| encoded.word_ids[*i] != NO_WORD_ID).collect();
        let found: Vec<[u32; 2]> = own.iter().map(|i| encoded.offset_mapping[*i]).collect();
        assert_eq!(found, expected, "{name}");
        let ids: Vec<u32> = own.iter().map(|i| encoded.ids[*i]).collect();
        assert_eq!(ids, alone.get_ids(), "{name}");
        assert!(found.iter().all(|[a, b]| second.get(*a as usize..*b as usize).is_some()), "{name}");
    }
    let tokenizer = tokenizer("wordpiece");
    let encoded = tokenizer.encode(&[Input::Text("one text")], 128).unwrap();
    assert!(encoded.offset_mapping(0).is_empty());
    let mixed = tokenizer.encode(&[Input::Text("one text"), Input::Pair(first, second)], 128).unwrap();
    let alone = tokenizer.encode(&[Input::Pair(first, second)], 128).unwrap();
    assert_eq!(mixed.first_segment_len, [mixed.length(0) as u32, alone.first_segment_len[0]]);
    assert_eq!(mixed.offset_mapping(1), alone.offset_mapping(0));
}

#[test]
fn choices_are_sequences_of_one_row() {
    let choices = ["home".to_owned(), "to the station".to_owned()];
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let one = |text: &str| tokenizer.encode(&[Input::Pair("where does it go?", text)], 24).unwrap();
        let inputs = [Input::Choices("where does it go?", &choices), Input::Text("a text")];
        let encoded = tokenizer.encode(&inputs, 24).unwrap();
        assert_eq!((encoded.rows(), encoded.sequences(0).count(), encoded.sequences(1).count()), (2, 2, 1));
        for ((tokens, first), text) in encoded.sequences(0).zip(&choices) {
            let alone = one(text);
            assert_eq!(encoded.ids[tokens], alone.ids, "{name}");
            assert_eq!(first, alone.first_segment_len[0] as usize, "{name}");
        }
        let (tokens, first) = encoded.sequences(1).next().unwrap();
        assert_eq!((tokens.len(), tokens.end), (first, encoded.ids.len()));
    }
}

#[test]
fn windows_share_tokens_and_leave_none_out() {
    let long = (0..60).map(|i| format!("word{i}")).collect::<Vec<_>>().join(" ");
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let window = |second, most| Input::Windows { first: "where?", second, overlap: 4, most };
        let whole = tokenizer.encode(&[Input::Pair("where?", &long)], 4_000).unwrap();
        let inputs = [window(&long, 1_000), window("short", 1_000), window(&long, 2), window("", 3)];
        let encoded = tokenizer.encode(&inputs, 24).unwrap();
        let of = |i: usize| -> Vec<Vec<[u32; 2]>> {
            let tokens = |ranges: &[[u32; 2]]| ranges.iter().copied().filter(|[a, b]| a < b).collect();
            encoded.offset_mapping(i).into_iter().map(tokens).collect()
        };
        let parts = of(0);
        assert!(parts.len() > 2 && encoded.sequences(0).all(|(tokens, _)| tokens.len() <= 24), "{name}");
        // Without the tokens that a part repeats it is the text.
        let mut joined = parts[0].clone();
        for part in &parts[1..] {
            let shared = part.iter().filter(|range| joined.contains(range)).count();
            assert!(shared >= 1, "{name}: {part:?}");
            joined.extend(part.iter().filter(|range| !joined.contains(range)).copied().collect::<Vec<_>>());
        }
        let all: Vec<[u32; 2]> = whole.offset_mapping.iter().copied().filter(|[a, b]| a < b).collect();
        assert_eq!((joined, encoded.truncated[0]), (all.clone(), 0), "{name}");
        let short = tokenizer.encode(&[Input::Pair("where?", "short")], 24).unwrap();
        assert_eq!(&encoded.ids[encoded.row(1)], &short.ids[..], "{name}");
        // The rest of a text that has too many parts is cut off, and counted.
        let kept = of(2).concat();
        let most = kept.iter().max().unwrap();
        let left = all.iter().filter(|range| *range > most).count();
        assert_eq!((of(2).len(), encoded.truncated[2] as usize), (2, left), "{name}");
        assert_eq!(encoded.sequences(3).count(), 1);
    }
}

/// A text in windows: a short one is what it is without them; of a long one each word has its id once, where the most is around it.
#[test]
fn one_text_in_windows_is_stitched_word_by_word() {
    let words: Vec<String> = (0..60).map(|i| format!("Word{i}")).collect();
    let text = words.join(" ");
    let windows = |overlap, most| TextWindows { overlap, most };
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let all = tokenizer.encode(&[Input::Words(&words), Input::Text(&text)], 4_000).unwrap();
        for (short, long) in [
            (Input::Text("a short text"), Input::LongText("a short text", windows(4, 9))),
            (Input::Words(&words[..3]), Input::LongWords(&words[..3], windows(4, 9))),
            (Input::Text(""), Input::LongText("", windows(4, 9))),
        ] {
            let (short, long) =
                (tokenizer.encode(&[short], 24).unwrap(), tokenizer.encode(&[long], 24).unwrap());
            assert_eq!(long.sequences, short.offsets, "{name}");
            assert_eq!(Encoded { sequences: Vec::new(), ..long }, short, "{name}");
        }
        // A limit that the text just fits.
        let exact = tokenizer.encode(&[Input::LongWords(&words, windows(4, 9))], all.length(0)).unwrap();
        assert_eq!((&exact.ids[..], exact.sequences.len()), (&all.ids[all.row(0)], 2), "{name}");

        let inputs = [Input::LongWords(&words, windows(8, 99)), Input::LongText(&text, windows(8, 99))];
        let encoded = tokenizer.encode(&inputs, 24).unwrap();
        assert_eq!(encoded.truncated, [0, 0], "{name}");
        for row in 0..2 {
            let of = |encoded: &Encoded, tokens: std::ops::Range<usize>| -> Vec<(u32, u32)> {
                tokens
                    .map(|at| (encoded.word_ids[at], encoded.ids[at]))
                    .filter(|(word, _)| *word != NO_WORD_ID)
                    .collect()
            };
            let expected = of(&all, all.row(row));
            let found = of(&encoded, encoded.row(row));
            let first = |tokens: &[(u32, u32)]| {
                let mut first = tokens.to_vec();
                first.dedup_by_key(|(word, _)| *word);
                first
            };
            // Every word once, in its order, with the token that it begins with.
            assert_eq!(first(&found), first(&expected), "{name}");
            let mut once: Vec<u32> = found.iter().map(|(word, _)| *word).collect();
            once.dedup();
            assert!(once.windows(2).all(|pair| pair[0] < pair[1]), "{name}: {once:?}");
            let sequences: Vec<_> = encoded.sequences(row).collect();
            assert!(sequences.len() > 2 && sequences.iter().all(|(tokens, _)| tokens.len() <= 24), "{name}");
            // Inside of the row no word is tagged at the border of its window, where it has nothing around it.
            let special = all.length(row) - expected.len();
            for (tokens, _) in &sequences[1..] {
                let before =
                    encoded.word_ids[tokens.clone()].iter().take_while(|word| **word == NO_WORD_ID).count();
                assert!(before >= 3 + special / 2, "{name}: {before}");
            }
            // Each window is framed as a text is.
            let frame = tokenizer.encode(&[Input::Text("")], 24).unwrap().ids;
            for (tokens, first_segment) in sequences {
                assert_eq!(first_segment, tokens.len());
                let ids = &encoded.ids[tokens];
                assert!(special == 0 || (ids[0] == frame[0] && ids.last() == frame.last()), "{name}");
            }
        }
        // Beyond the maximum number of windows a text is truncated, and that is counted.
        let cut = tokenizer.encode(&[Input::LongWords(&words, windows(0, 2))], 24).unwrap();
        let special =
            all.length(0) - all.word_ids[all.row(0)].iter().filter(|word| **word != NO_WORD_ID).count();
        assert_eq!(cut.sequences(0).count(), 2);
        assert_eq!(cut.truncated[0] as usize, all.length(0) - special - 2 * (24 - special), "{name}");
        // The cache gives the same, and does not take other windows for these.
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            assert_eq!(encode_cached(Some(folder.path()), &tokenizer, &inputs, 24).unwrap(), encoded);
        }
        let others = [Input::LongWords(&words, windows(0, 2))];
        assert_eq!(encode_cached(Some(folder.path()), &tokenizer, &others, 24).unwrap(), cut);
    }
}

/// A long text gives the tokens that all of it gives, by the tokenizers crate itself; only its beginning is tokenized.
#[test]
fn of_a_long_text_the_first_tokens_are_those_of_the_whole() {
    let texts = texts();
    let long: String = texts.iter().cycle().take(5_000).map(|text| format!("{text} ")).collect();
    assert!(long.len() > 120_000, "{}", long.len());
    let words: Vec<String> = long.split_whitespace().map(str::to_owned).collect();
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let mut whole: tokenizers::Tokenizer = tokenizer.to_json().parse().unwrap();
        whole.with_padding(None).with_truncation(None).unwrap();
        let all = whole.encode_fast(long.as_str(), true).unwrap();
        for max_length in [8, 200] {
            let inputs = [Input::Text(&long), Input::Pair("one", &long)];
            let [text, pair] = inputs.map(|input| tokenizer.encode(&[input], max_length).unwrap());
            let tail =
                all.get_special_tokens_mask().iter().rev().take_while(|special| **special == 1).count();
            let kept = max_length - tail;
            assert_eq!(text.ids[..kept], all.get_ids()[..kept], "{name} {max_length}");
            assert_eq!(text.ids[kept..], all.get_ids()[all.len() - tail..]);
            // The estimate of what is lost is right to a few in a hundred of a text that is the same all over.
            let (lost, exact) = (f64::from(text.truncated[0]), (all.len() - max_length) as f64);
            assert!((lost / exact - 1.0).abs() < 0.05, "{name} {max_length}: {lost} of {exact}");
            let short = &long[..long[..60_000].rfind(' ').unwrap()];
            let same = tokenizer.encode(&[Input::Pair("one", short)], max_length).unwrap();
            assert_eq!(
                (&pair.ids, &pair.offset_mapping),
                (&same.ids, &same.offset_mapping),
                "{name} {max_length}"
            );
            assert!(pair.truncated[0] > same.truncated[0]);
            let of_words = tokenizer.encode(&[Input::Words(&words)], max_length).unwrap();
            let few = tokenizer.encode(&[Input::Words(&words[..5000])], max_length).unwrap();
            assert_eq!((&of_words.ids, &of_words.word_ids), (&few.ids, &few.word_ids), "{name} {max_length}");
            assert!(of_words.truncated[0] > few.truncated[0]);
        }
    }
}

#[test]
fn a_long_text_of_next_to_no_tokens_is_refused() {
    let tokenizer = tokenizer("wordpiece");
    let spaces = " ".repeat(5 << 20);
    let error = tokenizer.encode(&[Input::Text("fine"), Input::Text(&spaces)], 16).unwrap_err().to_string();
    assert!(
        error.contains("row 2: a text of 5242880 bytes, of which the first 4194303 give only 2 tokens"),
        "{error}"
    );
    let word = ["x".repeat(5 << 20)];
    let error = tokenizer.encode(&[Input::Words(&word)], 16).unwrap_err().to_string();
    assert!(error.contains("row 1: a word of 5242881 bytes"), "{error}");
    // Half a megabyte of spaces is read to its end.
    let spaces = " ".repeat(1 << 19) + "fine";
    assert_eq!(
        tokenizer.encode(&[Input::Text(&spaces)], 16).unwrap().ids,
        tokenizer.encode(&[Input::Text("fine")], 16).unwrap().ids
    );
}

type Change<'a> = Box<dyn Fn(&mut serde_json::Value) + 'a>;

/// What panics in the tokenizers crate, or takes all memory, is refused with a reason.
#[test]
fn hostile_tokenizers_are_refused() {
    let json = std::fs::read_to_string(fixture("wordpiece.json")).unwrap();
    let good: serde_json::Value = serde_json::from_str(&json).unwrap();
    let largest = Tokenizer::from_json(&json).unwrap().vocabulary();
    let with = |change: &dyn Fn(&mut serde_json::Value)| {
        let mut json = good.clone();
        change(&mut json);
        Tokenizer::from_json(&json.to_string())
    };
    let template = |id: usize, known: &str| {
        serde_json::json!({
            "type": "TemplateProcessing",
            "single": [{"SpecialToken": {"id": "[X]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {known: {"id": known, "ids": [id], "tokens": [known]}},
        })
    };
    let replace = |pattern: &str, content: &str| serde_json::json!({"type": "Replace", "pattern": {"String": pattern}, "content": content});
    with(&|json| json["post_processor"] = template(largest - 1, "[X]")).unwrap();
    let hundred = "e".repeat(100);
    let refused: [(&str, Change<'_>); 5] = [
        ("frames rows with the id", Box::new(|json| json["post_processor"] = template(largest, "[X]"))),
        (
            "frames rows with the id",
            Box::new(|json| {
                json["post_processor"] = serde_json::json!({"type": "BertProcessing", "sep": ["[SEP]", 4_000_000_000u32], "cls": ["[CLS]", 1]});
            }),
        ),
        ("", Box::new(|json| json["post_processor"] = template(1, "[Y]"))),
        (
            "",
            Box::new(|json| {
                json["normalizer"] =
                    serde_json::json!({"type": "Precompiled", "precompiled_charsmap": "AAAA"})
            }),
        ),
        (
            "can make a text",
            Box::new(|json| {
                let all = vec![replace("e", &hundred); 4];
                json["normalizer"] = serde_json::json!({"type": "Sequence", "normalizers": all});
            }),
        ),
    ];
    for (reason, change) in refused {
        let error = with(&*change).unwrap_err().to_string();
        assert!(error.contains(reason), "{error}");
    }
}

/// The tokens with a word id are the target's; what comes before is the same where the target is not known; a long prompt is cut at its end, so
/// that the separator and the target stay.
#[test]
fn a_completion_is_a_prompt_and_a_target_in_one_row() {
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let ids = |text: &str| tokenizer.ids(text).unwrap();
        let prompt = "the quick brown fox jumps over the lazy dog and the small cat";
        let completion =
            |target, max_target_length| Completion { prompt, separator: " = ", target, max_target_length };
        let encode =
            |completion, max_length| tokenizer.encode(&[Input::Completion(completion)], max_length).unwrap();
        let target = "a slow red hen";
        let [known, unknown] = [Some(target), None].map(|target| encode(completion(target, 99), 200));
        let (before, after) = known.ids.split_at(unknown.ids.len());
        assert_eq!((before, after), (&unknown.ids[..], &ids(target)[..]), "{name}");
        assert!(known.word_ids[..before.len()].iter().all(|word_id| *word_id == NO_WORD_ID), "{name}");
        assert!(known.word_ids[before.len()..].iter().all(|word_id| *word_id == 0), "{name}");
        assert!(before.ends_with(&ids(" = ")), "{name}");
        assert_eq!(known.truncated, [0]);

        // Room for two tokens of the target.
        let cut = encode(completion(Some(target), 2), before.len());
        assert_eq!(cut.ids.len(), before.len(), "{name}");
        let (before, after) = cut.ids.split_at(cut.ids.len() - 2);
        assert_eq!(after, &ids(target)[..2], "{name}");
        assert!(
            before.ends_with(&ids(" = "))
                && unknown.ids.starts_with(&before[..before.len() - ids(" = ").len()])
        );
        assert_eq!(cut.truncated[0] as usize, 2 + ids(target).len() - 2, "{name}");
    }
}

/// What the assistant says has the number of its turn as word ids; of a long conversation the end is kept.
#[test]
fn a_conversation_is_one_row() {
    let tokenizer = tokenizer("byte_level");
    let text = "user: hello bot: good day user: again bot: yes".to_owned();
    let said = |part: &str| text.find(part).unwrap()..text.find(part).unwrap() + part.len();
    let chat = RenderedChat { assistant: vec![said("good day"), said("yes")], text: text.clone() };
    let encoded = tokenizer.encode(&[Input::Chat(&chat)], 100).unwrap();
    let of_turn = |turn: u32| -> String {
        let tokens = encoded.ids.iter().zip(&encoded.word_ids).filter(|(_, word_id)| **word_id == turn);
        tokenizer.decode(&tokens.map(|(id, _)| *id).collect::<Vec<u32>>())
    };
    assert_eq!((of_turn(0), of_turn(1)), ("good day".into(), "yes".into()));
    assert_eq!(tokenizer.decode(&encoded.ids), text);
    let cut = tokenizer.encode(&[Input::Chat(&chat)], 5).unwrap();
    assert_eq!(cut.ids, encoded.ids[encoded.ids.len() - 5..]);
    assert_eq!(cut.truncated[0] as usize, encoded.ids.len() - 5);
}

//! Views and packs: what a task finds in them.

use std::path::Path;
use std::sync::Arc;

use polytask_data::{
    Encoded, Hiding, Input, InputField, NO_WORD, Pack, Place, Row, RowRef, SHOWN, Tokenizer, Value, View,
    random, same_text,
};

fn tokenizer() -> Tokenizer {
    Tokenizer::from_file(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/trained.json")).unwrap()
}

fn words(words: &[&str]) -> Value {
    Value::List(words.iter().map(|word| Value::Text((*word).into())).collect())
}

fn rows(all: Vec<Vec<(&str, Value)>>) -> Arc<[Row]> {
    let file: Arc<Path> = Path::new("rows.jsonl").into();
    let row = |(i, fields): (usize, Vec<(&str, Value)>)| Row {
        place: Place { file: file.clone(), line: i + 1 },
        fields: fields.into_iter().map(|(name, value)| (name.into(), value)).collect(),
    };
    all.into_iter().enumerate().map(row).collect()
}

fn sample() -> Arc<[Row]> {
    rows(vec![
        vec![("text", Value::Text("hello world".into())), ("tokens", words(&["hello", "world"]))],
        vec![("text", Value::Text("我 爱 👩‍👩‍👧‍👦".into())), ("tokens", words(&["我", "爱", "👩‍👩‍👧‍👦"]))],
        vec![("text", Value::Text(String::new())), ("tokens", words(&[]))],
        vec![
            ("text", Value::Text("مرحبا שלום e\u{301}".into())),
            ("tokens", words(&["مرحبا", "שלום", "e\u{301}"])),
        ],
    ])
}

#[test]
fn a_view_of_words_and_one_of_the_same_text_agree() {
    let rows = sample();
    let view = |input| View::new("c", input, rows.clone(), &tokenizer(), 64, None).unwrap();
    let (text, split) = (view(InputField::Text("text".into())), view(InputField::Words("tokens".into())));
    assert_eq!((&text.encoded, text.input.fields()), (&split.encoded, vec!["text"]));
    assert_eq!(text.encoded.rows(), 4);
    assert!(same_text(&rows, "text", "tokens"));
}

#[test]
fn same_text_is_strict() {
    let one =
        |text: &str, tokens: Value| rows(vec![vec![("text", Value::Text(text.into())), ("tokens", tokens)]]);
    assert!(same_text(&one("a  b", words(&["a", "", "b"])), "text", "tokens"));
    for (text, tokens) in [
        ("a b", words(&["a", "b", ""])),
        ("a b ", words(&["a", "b"])),
        ("ab", words(&["a", "b"])),
        ("a b", words(&["a"])),
        ("a b", Value::Number(1.0)),
        ("a b", Value::Null),
    ] {
        assert!(!same_text(&one(text, tokens), "text", "tokens"));
    }
}

#[test]
fn every_row_without_its_input_is_named() {
    let text = |value| vec![("text", value), ("id", Value::Number(1.0))];
    let rows = rows(vec![text(Value::Text("a".into())), text(Value::Null), text(Value::Number(3.0))]);
    let errors =
        View::new("c", InputField::Text("text".into()), rows.clone(), &tokenizer(), 64, None).unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "rows.jsonl:2: no field \"text\"; the row has text (null), id",
            "rows.jsonl:3: field \"text\": found 3, expected text",
        ]
    );
}

#[test]
fn a_field_that_no_row_has_is_one_error() {
    let rows = sample();
    let errors = View::new("c", InputField::Words("token".into()), rows, &tokenizer(), 64, None).unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["rows.jsonl:1: no field \"token\" in any of 4 rows; the first has text, tokens"]);
}

#[test]
fn packs_lay_rows_end_to_end() {
    let rows = sample();
    let tokenizer = tokenizer();
    let view = |corpus: &str, input| View::new(corpus, input, rows.clone(), &tokenizer, 7, None).unwrap();
    let views = [view("c", InputField::Text("text".into())), view("d", InputField::Words("tokens".into()))];
    let mut rng = random::stream(2, "packs", 0);
    for _ in 0..200 {
        let count = random::below(&mut rng, 6);
        let draw =
            |_| RowRef { view: random::below(&mut rng, 2) as u32, row: random::below(&mut rng, 4) as u32 };
        let refs: Vec<RowRef> = (0..count).map(draw).collect();
        let pack = Pack::of(&views, &refs);
        assert_eq!(
            (pack.rows.as_slice(), pack.len(), pack.is_empty()),
            (refs.as_slice(), refs.len(), refs.is_empty())
        );
        assert_eq!((pack.offsets.len(), pack.corpora.len()), (refs.len() + 1, refs.len()));
        let last: Vec<usize> = (0..refs.len()).rev().take(2).collect();
        let some = pack.some(&last);
        assert_eq!(some, Pack::of(&views, &last.iter().map(|at| refs[*at]).collect::<Vec<_>>()));
        assert_eq!(pack.only(&[]).corpora, pack.corpora);
        assert_eq!((pack.offsets[0], *pack.offsets.last().unwrap()), (0, pack.tokens()));
        assert_eq!((pack.positions.len(), pack.words.len()), (pack.tokens(), pack.tokens()));
        for (i, row) in refs.iter().enumerate() {
            let encoded = &views[row.view as usize].encoded;
            let (range, own) = (pack.offsets[i]..pack.offsets[i + 1], encoded.row(row.row as usize));
            assert!(!range.is_empty() && range.len() <= 7);
            assert_eq!(pack.ids[range.clone()], encoded.ids[own.clone()]);
            assert_eq!(pack.words[range.clone()], encoded.words[own]);
            assert_eq!(&*pack.corpora[i], ["c", "d"][row.view as usize]);
            assert!(pack.positions[range].iter().copied().eq(0..encoded.length(row.row as usize) as u32));
        }
    }
}

#[test]
fn a_pack_of_an_encoding_has_all_its_rows() {
    let encoded = tokenizer().encode(&[Input::Text("hello"), Input::Text("")], 16).unwrap();
    let pack = Pack::of_encoded(&encoded, 3);
    assert_eq!(pack.ids, encoded.ids);
    assert_eq!(pack.offsets.to_vec(), encoded.offsets);
    assert_eq!(pack.rows, [RowRef { view: 3, row: 0 }, RowRef { view: 3, row: 1 }]);
    assert_eq!(pack.words.last(), Some(&NO_WORD));
    assert_eq!(Pack::of(&[], &[]).offsets.to_vec(), [0]);
}

#[test]
fn pairs_have_two_segments_in_view_cache_and_pack() {
    let row = |a: &str, b: &str| vec![("a", Value::Text(a.into())), ("b", Value::Text(b.into()))];
    let rows_of_pairs = rows(vec![row("one two", "three"), row("", "four")]);
    let input = InputField::Pair("a".into(), "b".into());
    assert_eq!(input.to_string(), "a + b");
    let cache = tempfile::tempdir().unwrap();
    let view = |cache| View::new("c", input.clone(), rows_of_pairs.clone(), &tokenizer(), 64, cache).unwrap();
    let plain = view(None);
    for _ in 0..2 {
        assert_eq!(view(Some(cache.path())).encoded, plain.encoded);
    }
    let whole = [RowRef { view: 0, row: 1 }, RowRef { view: 0, row: 0 }];
    let pack = Pack::of(std::slice::from_ref(&plain), &whole);
    assert_eq!(pack.segments.len(), pack.tokens());
    for (at, row) in [(0, 1), (1, 0)] {
        let segments = &pack.segments[pack.offsets[at]..pack.offsets[at + 1]];
        let (_, first) = plain.encoded.sequences(row).next().unwrap();
        assert!(first > 1 && first < segments.len());
        assert!(segments[..first].iter().all(|s| *s == 0) && segments[first..].iter().all(|s| *s == 1));
    }
    let missing = rows(vec![vec![("a", Value::Text("x".into()))]]);
    let faults = View::new("c", input.clone(), missing, &tokenizer(), 64, None).unwrap_err();
    assert_eq!(faults[0].to_string(), "rows.jsonl:1: no field \"b\"; the row has a");
}

#[test]
fn tokens_are_hidden_in_the_rows_of_their_view_alone() {
    let tokenizer = tokenizer();
    let view = View::new("c", InputField::Text("text".into()), sample(), &tokenizer, 64, None).unwrap();
    let hiding = Some(Hiding::new(50, &tokenizer).unwrap());
    let views = [view.clone(), View { hiding, ..view }];
    let refs: Vec<RowRef> =
        [(0, 0), (1, 0), (0, 3), (1, 1), (1, 3), (1, 2)].map(|(view, row)| RowRef { view, row }).into();
    let plain = Pack::of(&views[..1], &refs.iter().map(|r| RowRef { view: 0, ..*r }).collect::<Vec<_>>());
    assert!(plain.hidden.is_empty());
    let (one, same, other) =
        (Pack::drawn(&views, &refs, 1), Pack::drawn(&views, &refs, 1), Pack::drawn(&views, &refs, 2));
    assert_eq!(one, same);
    assert_ne!(one.hidden, other.hidden);
    for pack in [&one, &other, &Pack::of(&views, &refs)] {
        assert_eq!(
            (&pack.words, &pack.offsets, pack.hidden.len()),
            (&plain.words, &plain.offsets, pack.tokens())
        );
        for (at, row) in refs.iter().enumerate() {
            let tokens = pack.offsets[at]..pack.offsets[at + 1];
            let hidden = tokens.clone().filter(|token| pack.hidden[*token] != SHOWN).count();
            let words = tokens.clone().filter(|token| pack.words[*token] != NO_WORD).count();
            let expected = if row.view == 0 { 0 } else { (words as f64 / 2.0).round() as usize };
            assert_eq!(hidden, expected, "row {at}");
            for token in tokens {
                let shown = pack.hidden[token] == SHOWN;
                let was = if shown { pack.ids[token] } else { pack.hidden[token] };
                assert_eq!(was, plain.ids[token]);
            }
        }
    }
    // What is scored is hidden the same way, whatever is beside it.
    let alone = Pack::of(&views, &refs[4..5]);
    assert_eq!(alone, Pack::of(&views, &refs).some(&[4]));
    // A part of a pack has the same tokens hidden.
    let part = one.some(&[4, 1]);
    assert_eq!(part.rows, [refs[4], refs[1]]);
    let tokens = (one.offsets[4]..one.offsets[5]).chain(one.offsets[1]..one.offsets[2]);
    let of = |values: &[u32]| tokens.clone().map(|token| values[token]).collect::<Vec<_>>();
    assert_eq!(
        (&part.ids, &part.hidden, &part.positions),
        (&of(&one.ids), &of(&one.hidden), &of(&one.positions))
    );
    assert_eq!(part.offsets[1..], [one.offsets[5] - one.offsets[4], part.tokens()]);
    // Without anything hidden, a part is the pack of its rows.
    let refs: Vec<RowRef> = (0..4).map(|row| RowRef { view: 0, row }).collect();
    assert_eq!(Pack::of(&views, &refs).some(&[1, 3]), Pack::of(&views, &[refs[1], refs[3]]));
}

#[test]
fn marked_texts_tell_their_parts_through_view_cache_and_pack() {
    use polytask_data::{MarkedText, Part};
    let span = |a: f64, b: f64| Value::List(vec![Value::Number(a), Value::Number(b)]);
    let row = |text: &str, head, tail| vec![("t", Value::Text(text.into())), ("h", head), ("e", tail)];
    let marked = rows(vec![
        row("one two three", span(4.0, 7.0), span(8.0, 13.0)),
        row("one two three", span(8.0, 13.0), span(0.0, 3.0)),
    ]);
    let [text, head, tail] = ["t", "h", "e"].map(str::to_owned);
    let input = InputField::Marked(MarkedText { text, words: false, head, tail, markers: true });
    assert_eq!(input.to_string(), "t + h + e");
    let cache = tempfile::tempdir().unwrap();
    let tokenizer = tokenizer();
    let view = |cache| View::new("c", input.clone(), marked.clone(), &tokenizer, 64, cache).unwrap();
    let plain = view(None);
    for _ in 0..2 {
        assert_eq!(view(Some(cache.path())).encoded, plain.encoded);
    }
    let whole = [RowRef { view: 0, row: 1 }, RowRef { view: 0, row: 0 }];
    let pack = Pack::of(std::slice::from_ref(&plain), &whole);
    // The tokens of each part are those of its text alone.
    let plain_ids = |text: &str| {
        let encoded = tokenizer.encode(&[Input::Text(text)], 64).unwrap();
        encoded
            .ids
            .iter()
            .zip(&encoded.words)
            .filter(|(_, word)| **word != NO_WORD)
            .map(|(id, _)| *id)
            .collect()
    };
    for (at, part, text) in [
        (0, Part::Head, "three"),
        (0, Part::Tail, "one"),
        (0, Part::Outside, "two"),
        (1, Part::Head, "two"),
        (1, Part::Tail, "three"),
        (1, Part::HeadMarker, "$"),
        (1, Part::TailMarker, "#"),
    ] {
        let tokens = pack.offsets[at]..pack.offsets[at + 1];
        let of_part = tokens.filter(|token| Part::of(pack.words[*token]) == Some(part));
        let ids: Vec<u32> = of_part.map(|token| pack.ids[token]).collect();
        let expected: Vec<u32> = plain_ids(text);
        assert!(!expected.is_empty() && ids == expected, "{part:?} of row {at}");
    }
    let absent = rows(vec![row("a b", Value::Null, span(0.0, 1.0)), row("c", Value::Null, span(0.0, 1.0))]);
    let faults = View::new("c", input.clone(), absent, &tokenizer, 64, None).unwrap_err();
    let said: Vec<String> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["rows.jsonl:1: no field \"h\" in any of 2 rows; the first has t, h (null), e"]);
}

#[test]
fn rows_of_several_sequences_stay_together() {
    let text = |ids: std::ops::Range<u32>| ids.collect::<Vec<u32>>();
    let encoded =
        data_of(&[&[text(0..3), text(3..4)], &[text(4..6)], &[text(6..7), text(7..9), text(9..12)]]);
    let pack = Pack::of_encoded(&encoded, 0);
    assert_eq!(pack.offsets.to_vec(), [0, 4, 6, 12]);
    assert_eq!(pack.sequences.to_vec(), [0, 3, 4, 6, 7, 9, 12]);
    assert_eq!(pack.first_sequences.to_vec(), [0, 2, 3, 6]);
    assert_eq!(pack.positions, [0, 1, 2, 0, 0, 1, 0, 0, 1, 0, 1, 2]);
    let some = pack.some(&[2, 0]);
    assert_eq!(some.ids, [6, 7, 8, 9, 10, 11, 0, 1, 2, 3]);
    assert_eq!(some.sequences.to_vec(), [0, 1, 3, 6, 9, 10]);
    assert_eq!((some.sequences_of(0), some.sequences_of(1)), (0..3, 3..5));
    // Of the last row only its second sequence is read.
    let only = pack.only(&[0, 7, 8]);
    assert_eq!(
        (only.offsets.to_vec(), only.sequences.to_vec()),
        (vec![0, 1, 1, 3], vec![0, 1, 1, 1, 1, 3, 3])
    );
    assert_eq!(only.sequences_of(2), 3..6);
}

/// Rows of sequences of ids.
fn data_of(rows: &[&[Vec<u32>]]) -> Encoded {
    let mut encoded =
        Encoded { offsets: vec![0], sequences: vec![0], cut: vec![0; rows.len()], ..Default::default() };
    for row in rows {
        for ids in *row {
            encoded.ids.extend(ids);
            encoded.sequences.push(encoded.ids.len());
        }
        encoded.words.resize(encoded.ids.len(), NO_WORD);
        encoded.offsets.push(encoded.ids.len());
    }
    encoded
}

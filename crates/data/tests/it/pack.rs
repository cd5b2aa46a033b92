//! Views and packs: what a task finds in them.

use std::path::Path;
use std::sync::Arc;

use polytask_data::{
    Encoded, Input, InputField, NO_WORD_ID, NOT_MASKED, Pack, Place, Row, RowRef, TokenMasking, Tokenizer,
    Value, View, random, same_text,
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
fn every_row_with_another_value_is_named() {
    let text = |value| vec![("text", value), ("id", Value::Number(1.0))];
    let rows = rows(vec![text(Value::Text("a".into())), text(Value::Null), text(Value::Number(3.5))]);
    let errors =
        View::new("c", InputField::Text("text".into()), rows.clone(), &tokenizer(), 64, None).unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["rows.jsonl:3: field \"text\": found 3.5, expected text",]);
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
        let count = random::uniform_below(&mut rng, 6);
        let mut below = |bound| random::uniform_below(&mut rng, bound) as u32;
        let draw = |_| RowRef { view: below(2), row: below(4) };
        let refs: Vec<RowRef> = (0..count).map(draw).collect();
        let pack = Pack::of(&views, &refs);
        assert_eq!(
            (pack.rows.as_slice(), pack.len(), pack.is_empty()),
            (refs.as_slice(), refs.len(), refs.is_empty())
        );
        assert_eq!((pack.offsets.len(), pack.corpora.len()), (refs.len() + 1, refs.len()));
        let last: Vec<usize> = (0..refs.len()).rev().take(2).collect();
        let selected = pack.select_rows(&last);
        assert_eq!(selected, Pack::of(&views, &last.iter().map(|at| refs[*at]).collect::<Vec<_>>()));
        assert_eq!(pack.select_tokens(&[]).corpora, pack.corpora);
        assert_eq!((pack.offsets[0], *pack.offsets.last().unwrap()), (0, pack.tokens()));
        assert_eq!((pack.positions.len(), pack.word_ids.len()), (pack.tokens(), pack.tokens()));
        for (i, row) in refs.iter().enumerate() {
            let encoded = &views[row.view as usize].encoded;
            let (range, own) = (pack.offsets[i]..pack.offsets[i + 1], encoded.row(row.row as usize));
            assert!(!range.is_empty() && range.len() <= 7);
            assert_eq!(pack.ids[range.clone()], encoded.ids[own.clone()]);
            assert_eq!(pack.word_ids[range.clone()], encoded.word_ids[own]);
            assert_eq!(&*pack.corpora[i], ["c", "d"][row.view as usize]);
            assert!(pack.positions[range].iter().copied().eq(0..encoded.length(row.row as usize) as u32));
        }
    }
}

#[test]
fn a_pack_of_all_rows_is_their_encoding() {
    let encoded = tokenizer().encode(&[Input::Text("hello"), Input::Text("")], 16).unwrap();
    let pack = pack_of_all(encoded.clone());
    assert_eq!(pack.ids, encoded.ids);
    assert_eq!(pack.offsets.to_vec(), encoded.offsets);
    assert_eq!(pack.rows, [RowRef { view: 0, row: 0 }, RowRef { view: 0, row: 1 }]);
    assert_eq!(pack.word_ids.last(), Some(&NO_WORD_ID));
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
    let errors = View::new("c", input.clone(), missing, &tokenizer(), 64, None).unwrap_err();
    assert_eq!(errors[0].to_string(), "rows.jsonl:1: no field \"b\"; the row has a");
}

#[test]
fn tokens_are_masked_in_the_rows_of_their_view_only() {
    let tokenizer = tokenizer();
    let view = View::new("c", InputField::Text("text".into()), sample(), &tokenizer, 64, None).unwrap();
    let masking = Some(TokenMasking::new(50, &tokenizer).unwrap());
    let views = [view.clone(), View { masking, ..view }];
    let refs: Vec<RowRef> =
        [(0, 0), (1, 0), (0, 3), (1, 1), (1, 3), (1, 2)].map(|(view, row)| RowRef { view, row }).into();
    let plain = Pack::of(&views[..1], &refs.iter().map(|r| RowRef { view: 0, ..*r }).collect::<Vec<_>>());
    assert!(plain.masked_labels.is_empty());
    let (one, same, other) =
        (Pack::drawn(&views, &refs, 1), Pack::drawn(&views, &refs, 1), Pack::drawn(&views, &refs, 2));
    assert_eq!(one, same);
    assert_ne!(one.masked_labels, other.masked_labels);
    for pack in [&one, &other, &Pack::of(&views, &refs)] {
        assert_eq!(
            (&pack.word_ids, &pack.offsets, pack.masked_labels.len()),
            (&plain.word_ids, &plain.offsets, pack.tokens())
        );
        for (at, row) in refs.iter().enumerate() {
            let tokens = pack.offsets[at]..pack.offsets[at + 1];
            let masked = tokens.clone().filter(|token| pack.masked_labels[*token] != NOT_MASKED).count();
            let words = tokens.clone().filter(|token| pack.word_ids[*token] != NO_WORD_ID).count();
            let expected = if row.view == 0 { 0 } else { (words as f64 / 2.0).round() as usize };
            assert_eq!(masked, expected, "row {at}");
            for token in tokens {
                let unchanged = pack.masked_labels[token] == NOT_MASKED;
                let was = if unchanged { pack.ids[token] } else { pack.masked_labels[token] };
                assert_eq!(was, plain.ids[token]);
            }
        }
    }
    // Packs without a seed mask the same tokens of a row, whatever other rows there are.
    let alone = Pack::of(&views, &refs[4..5]);
    assert_eq!(alone, Pack::of(&views, &refs).select_rows(&[4]));
    // Selected rows have the same tokens masked.
    let part = one.select_rows(&[4, 1]);
    assert_eq!(part.rows, [refs[4], refs[1]]);
    let tokens = (one.offsets[4]..one.offsets[5]).chain(one.offsets[1]..one.offsets[2]);
    let of = |values: &[u32]| tokens.clone().map(|token| values[token]).collect::<Vec<_>>();
    assert_eq!(
        (&part.ids, &part.masked_labels, &part.positions),
        (&of(&one.ids), &of(&one.masked_labels), &of(&one.positions))
    );
    assert_eq!(part.offsets[1..], [one.offsets[5] - one.offsets[4], part.tokens()]);
    // Without masking, selected rows are the pack of these rows.
    let refs: Vec<RowRef> = (0..4).map(|row| RowRef { view: 0, row }).collect();
    assert_eq!(Pack::of(&views, &refs).select_rows(&[1, 3]), Pack::of(&views, &[refs[1], refs[3]]));
}

#[test]
fn word_ids_of_marked_texts_are_roles_in_view_cache_and_pack() {
    use polytask_data::{EntityMarkers, SpanRole};
    let span = |a: f64, b: f64| Value::List(vec![Value::Number(a), Value::Number(b)]);
    let row = |text: &str, head, tail| vec![("t", Value::Text(text.into())), ("h", head), ("e", tail)];
    let marked = rows(vec![
        row("one two three", span(4.0, 7.0), span(8.0, 13.0)),
        row("one two three", span(8.0, 13.0), span(0.0, 3.0)),
    ]);
    let [text, head, tail] = ["t", "h", "e"].map(str::to_owned);
    let input = InputField::Marked(EntityMarkers { text, words: false, head, tail, markers: true });
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
    // The tokens of each role are those of its text alone.
    let plain_ids = |text: &str| {
        let encoded = tokenizer.encode(&[Input::Text(text)], 64).unwrap();
        encoded
            .ids
            .iter()
            .zip(&encoded.word_ids)
            .filter(|(_, word)| **word != NO_WORD_ID)
            .map(|(id, _)| *id)
            .collect()
    };
    for (at, role, text) in [
        (0, SpanRole::Head, "three"),
        (0, SpanRole::Tail, "one"),
        (0, SpanRole::Outside, "two"),
        (1, SpanRole::Head, "two"),
        (1, SpanRole::Tail, "three"),
        (1, SpanRole::HeadMarker, "$"),
        (1, SpanRole::TailMarker, "#"),
    ] {
        let tokens = pack.offsets[at]..pack.offsets[at + 1];
        let of_role = tokens.filter(|token| SpanRole::of(pack.word_ids[*token]) == Some(role));
        let ids: Vec<u32> = of_role.map(|token| pack.ids[token]).collect();
        let expected: Vec<u32> = plain_ids(text);
        assert!(!expected.is_empty() && ids == expected, "{role:?} of row {at}");
    }
    let absent = rows(vec![row("a b", Value::Null, span(0.0, 1.0)), row("c", Value::Null, span(0.0, 1.0))]);
    let errors = View::new("c", input.clone(), absent, &tokenizer, 64, None).unwrap_err();
    let said: Vec<String> = errors.iter().map(ToString::to_string).collect();
    assert_eq!(said, ["rows.jsonl:1: no field \"h\" in any of 2 rows; the first has t, h (null), e"]);
}

#[test]
fn rows_of_several_sequences_stay_together() {
    let text = |ids: std::ops::Range<u32>| ids.collect::<Vec<u32>>();
    let encoded =
        encoded_of(&[&[text(0..3), text(3..4)], &[text(4..6)], &[text(6..7), text(7..9), text(9..12)]]);
    let pack = pack_of_all(encoded);
    assert_eq!(pack.offsets.to_vec(), [0, 4, 6, 12]);
    assert_eq!(pack.sequences.to_vec(), [0, 3, 4, 6, 7, 9, 12]);
    assert_eq!(pack.row_sequence_offsets.to_vec(), [0, 2, 3, 6]);
    assert_eq!(pack.positions, [0, 1, 2, 0, 0, 1, 0, 0, 1, 0, 1, 2]);
    let selected = pack.select_rows(&[2, 0]);
    assert_eq!(selected.ids, [6, 7, 8, 9, 10, 11, 0, 1, 2, 3]);
    assert_eq!(selected.sequences.to_vec(), [0, 1, 3, 6, 9, 10]);
    assert_eq!((selected.sequences_of(0), selected.sequences_of(1)), (0..3, 3..5));
    // Of the last row only its second sequence is selected.
    let selected = pack.select_tokens(&[0, 7, 8]);
    assert_eq!(
        (selected.offsets.to_vec(), selected.sequences.to_vec()),
        (vec![0, 1, 1, 3], vec![0, 1, 1, 1, 1, 3, 3])
    );
    assert_eq!(selected.sequences_of(2), 3..6);
}

/// The pack of all rows of an encoding.
fn pack_of_all(encoded: Encoded) -> Pack {
    let rows: Vec<RowRef> = (0..encoded.rows() as u32).map(|row| RowRef { view: 0, row }).collect();
    let input = InputField::Text("text".into());
    Pack::of(&[View { corpus: "c".into(), input, rows: [].into(), encoded, masking: None }], &rows)
}

/// Rows of sequences of ids.
fn encoded_of(rows: &[&[Vec<u32>]]) -> Encoded {
    let truncated = vec![0; rows.len()];
    let mut encoded = Encoded { offsets: vec![0], sequences: vec![0], truncated, ..Default::default() };
    for row in rows {
        for ids in *row {
            encoded.ids.extend(ids);
            encoded.sequences.push(encoded.ids.len());
        }
        encoded.word_ids.resize(encoded.ids.len(), NO_WORD_ID);
        encoded.offsets.push(encoded.ids.len());
    }
    encoded
}

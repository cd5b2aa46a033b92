//! Settings of text metrics against sacrebleu, rouge-score, NLTK, seqeval and SQuAD's script
//! (`scripts/make_text_metric_fixtures.py`).

use polytask_metrics::{
    BleuOptions, BleuTokenizer, Scheme, Smoothing, Span, answer_f1, bleu, chrf_signature, exact_match, rouge,
    span_scores, strict_spans, ter, ter_signature, tokenizer_of_script,
};
use serde_json::Value;

use crate::text_cases::{cases, close, texts};

fn tokenizer(name: &str) -> BleuTokenizer<'static> {
    match name {
        "13a" => BleuTokenizer::Mteval13a,
        "intl" => BleuTokenizer::International,
        "zh" => BleuTokenizer::Chinese,
        "char" => BleuTokenizer::Characters,
        "none" => BleuTokenizer::Spaces,
        other => panic!("{other}"),
    }
}

fn options(of: &Value) -> BleuOptions<'static> {
    let value = |default: f64| of["smooth_value"].as_f64().unwrap_or(default);
    BleuOptions {
        tokenizer: tokenizer(of["tokenize"].as_str().unwrap_or("13a")),
        lowercase: of["lowercase"] == true,
        smoothing: match of["smooth_method"].as_str().unwrap_or("exp") {
            "exp" => Smoothing::Exp,
            "none" => Smoothing::None,
            "floor" => Smoothing::Floor(value(0.1)),
            "add-k" => Smoothing::AddK(value(1.0)),
            other => panic!("{other}"),
        },
    }
}

/// The signature without sacrebleu's version.
fn without_version(signature: &Value) -> String {
    let signature = signature.as_str().expect("a signature");
    signature.rsplit_once("|version:").expect("a version").0.to_owned()
}

#[test]
fn every_setting_scores_as_the_reference_says() {
    let cases = cases(include_str!("../fixtures/text_options.json"));
    assert!(cases.len() >= 40, "{} cases", cases.len());
    for case in &cases {
        let (hypotheses, references) = texts(case);
        let what = format!("{hypotheses:?}, {references:?}");
        for theirs in case["bleu"].as_array().expect("a list") {
            let options = options(&theirs["options"]);
            let ours = bleu(&hypotheses, &references, &options);
            let what = format!("BLEU {} of {what}", theirs["options"]);
            assert_eq!(
                Value::from(vec![ours.hypothesis_length, ours.reference_length]),
                theirs["lengths"],
                "lengths, {what}"
            );
            close(ours.score, &theirs["score"], &what);
            assert_eq!(options.signature(&references), without_version(&theirs["signature"]), "{what}");
        }
        for theirs in case["ter"].as_array().expect("a list") {
            let tokenizer = theirs["tokenizer"].as_str().map(tokenizer);
            close(
                ter(&hypotheses, &references, tokenizer.as_ref()),
                &theirs["score"],
                &format!("TER {what}"),
            );
            if tokenizer.is_none() {
                assert_eq!(ter_signature(&references, None), without_version(&theirs["signature"]));
            }
        }
        assert_eq!(chrf_signature(&references, 0), without_version(&case["chrf_signature"]));
        // Other scripts have words of their own here.
        let letters = references.iter().flatten().flat_map(|text| text.chars()).filter(|c| c.is_alphabetic());
        if letters.clone().filter(char::is_ascii).count() * 2 < letters.count() {
            continue;
        }
        for (key, stemmer) in [("rouge", false), ("rouge_stemmed", true)] {
            let ours = rouge(&hypotheses, &references, stemmer);
            for (name, ours) in [
                ("rouge1", ours.rouge1),
                ("rouge2", ours.rouge2),
                ("rougeL", ours.rouge_l),
                ("rougeLsum", ours.rouge_lsum),
            ] {
                for (ours, theirs) in
                    [ours.precision, ours.recall, ours.f1].iter().zip(case[key][name].as_array().unwrap())
                {
                    close(*ours, theirs, &format!("{key} {name} of {what}"));
                }
            }
        }
    }
}

/// Stems as ROUGE counts them: two texts of one word are equal exactly if their stems are.
#[test]
fn stems_are_those_of_nltk() {
    let stems: Vec<(String, String)> =
        serde_json::from_str(include_str!("../fixtures/stems.json")).expect("pairs");
    for (a, of_a) in &stems {
        for (b, of_b) in &stems {
            let plain = |word: &str| word.len() > 3 && word.bytes().all(|c| c.is_ascii_alphanumeric());
            if plain(a) && plain(b) {
                let equal = rouge(&[a], &[vec![b]], true).rouge1.f1 == 1.0;
                assert_eq!(equal, of_a == of_b, "{a} ({of_a}), {b} ({of_b})");
            }
        }
    }
}

/// A nearly right sentence in a language without spaces has a score near 1, by the tokenizer of its script.
#[test]
fn languages_without_spaces_are_not_scored_by_spaces() {
    for (text, reference, name) in [
        ("他昨天在北京买了三本很好的书。", "他昨天在北京买了三本很好的旧书。", "zh"),
        ("彼は昨日、東京でラーメンを食べました。", "彼は昨日、東京でラーメンを食べた。", "char"),
        ("ผมชอบอ่านหนังสือมาก", "ผมชอบอ่านหนังสือมากๆ", "char"),
    ] {
        let references = [vec![reference]];
        let tokenizer = tokenizer_of_script(&references);
        assert_eq!(tokenizer.name(), name);
        let by_spaces = bleu(&[text], &references, &BleuOptions::default());
        let found = bleu(&[text], &references, &BleuOptions { tokenizer, ..BleuOptions::default() });
        assert!(by_spaces.score < 0.5 && found.score > 0.6, "{} {}", by_spaces.score, found.score);
        assert!(ter(&[text], &references, Some(&tokenizer)) < 0.3);
        assert!(rouge(&[text], &references, false).rouge_l.f1 > 0.8);
    }
    let russian = [vec!["Вчера он купил три книги."]];
    let found = rouge(&["Вчера он купил книги."], &russian, false).rouge_l;
    assert!((found.recall - 0.8).abs() < 1e-12 && found.precision == 1.0, "{found:?}");
}

#[test]
fn strict_spans_are_those_of_seqeval() {
    let cases = cases(include_str!("../fixtures/strict_spans.json"));
    assert!(cases.len() >= 80);
    for (i, case) in cases.iter().enumerate() {
        let scheme = if case["scheme"] == "bio" { Scheme::Bio } else { Scheme::Bioes };
        let mut found = Vec::new();
        for side in ["gold", "predicted"] {
            let tags: Vec<Vec<String>> = serde_json::from_value(case[side].clone()).expect("tags");
            let expected: Vec<Vec<(String, usize, usize)>> =
                serde_json::from_value(case[format!("{side}_spans")].clone()).expect("spans");
            let span = |(label, start, end): (String, usize, usize)| Span { start, end, label };
            let expected: Vec<Vec<Span>> =
                expected.into_iter().map(|row| row.into_iter().map(span).collect()).collect();
            let ours: Vec<Vec<Span>> = tags.iter().map(|row| strict_spans(row, scheme)).collect();
            assert_eq!(ours, expected, "case {i}: {tags:?}");
            found.push(ours);
        }
        if let Some(theirs) = case["scores"].as_array() {
            let ours = span_scores(&found[0], &found[1]);
            for (ours, theirs) in [ours.precision, ours.recall, ours.f1].into_iter().zip(theirs) {
                close(ours, theirs, &format!("case {i}"));
            }
        }
    }
}

#[test]
fn answers_of_all_scripts_are_normalized_as_by_squad() {
    for case in cases(include_str!("../fixtures/answers_unicode.json")) {
        let text = |key: &str| case[key].as_str().expect("text").to_owned();
        let (gold, predicted) = ([vec![text("gold")]], [text("predicted")]);
        let what = format!("{:?} and {:?}", gold[0][0], predicted[0]);
        close(exact_match(&gold, &predicted), &case["exact"], &what);
        close(answer_f1(&gold, &predicted), &case["f1"], &what);
        let normalized = [text("normalized")];
        assert_eq!(exact_match(&gold, &normalized), 1.0, "{what}");
    }
}

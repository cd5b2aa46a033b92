//! Metrics of generated texts against those of sacrebleu, rouge-score and RNNLG's code
//! (`scripts/make_generation_fixtures.py`).

use polytask_metrics::{
    BleuOptions, Score, SlotErrors, bleu, chrf, exact_text, perplexity, rouge, slot_errors,
};
use serde_json::Value;

use crate::text_cases::{cases, close, texts};

#[test]
fn texts_score_as_sacrebleu_and_rouge_score_say() {
    let cases = cases(include_str!("../fixtures/generation.json"));
    assert!(cases.len() >= 50, "{} cases", cases.len());
    for case in &cases {
        let (hypotheses, references) = texts(case);
        let what = format!("{hypotheses:?}, {references:?}");
        let ours = bleu(&hypotheses, &references, &BleuOptions::default());
        close(ours.score, &case["bleu"], &format!("BLEU of {what}"));
        close(ours.brevity_penalty, &case["brevity_penalty"], &format!("brevity penalty of {what}"));
        let lengths = [ours.hypothesis_length, ours.reference_length];
        assert_eq!(Value::from(lengths.to_vec()), case["lengths"], "lengths of {what}");
        for (ours, theirs) in ours.precisions.iter().zip(case["precisions"].as_array().expect("four")) {
            close(*ours, theirs, &format!("precisions of {what}"));
        }
        close(chrf(&hypotheses, &references, 0), &case["chrf"], &format!("chrF of {what}"));
        close(chrf(&hypotheses, &references, 2), &case["chrf++"], &format!("chrF++ of {what}"));
        // Where most letters are not Latin, words are others here than for rouge-score, which would find none.
        let letters = references.iter().flatten().flat_map(|text| text.chars()).filter(|c| c.is_alphabetic());
        if letters.clone().filter(|c| *c < '\u{250}').count() * 2 < letters.count() {
            continue;
        }
        let ours = rouge(&hypotheses, &references, false);
        for (name, Score { precision, recall, f1, support }) in
            [("rouge1", ours.rouge1), ("rouge2", ours.rouge2), ("rougeL", ours.rouge_l)]
        {
            for (ours, theirs) in [precision, recall, f1].iter().zip(case["rouge"][name].as_array().unwrap())
            {
                close(*ours, theirs, &format!("{name} of {what}"));
            }
            assert_eq!(support, hypotheses.len());
        }
    }
}

#[test]
fn rows_without_references_have_the_empty_text() {
    for text in ["", "a text of a few words"] {
        let (with, without) = ([vec![""]], [vec![]]);
        let options = BleuOptions::default();
        assert_eq!(bleu(&[text], &without, &options), bleu(&[text], &with, &options));
        assert_eq!(chrf(&[text], &without, 2), chrf(&[text], &with, 2));
        assert_eq!(rouge(&[text], &without, false), rouge(&[text], &with, false));
    }
    let nothing = bleu(&[], &[], &BleuOptions::default()).score;
    assert_eq!((nothing, chrf(&[], &[], 0), rouge(&[], &[], false).rouge_l.f1), (0.0, 0.0, 0.0));
}

#[test]
fn slot_errors_are_those_of_the_same_texts_with_slots_in_place_of_values() {
    let cases = cases(include_str!("../fixtures/slots.json"));
    let mut wrong = 0;
    for case in &cases {
        let acts: Vec<&str> = case["acts"].as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect();
        let texts: Vec<&str> =
            case["texts"].as_array().unwrap().iter().map(|x| x.as_str().unwrap()).collect();
        assert!(acts.len() > 30);
        let ours = slot_errors(&acts, &texts);
        let theirs = (case["slots"].as_u64().unwrap(), case["wrong"].as_u64().unwrap());
        assert_eq!((ours.slots as u64, (ours.missing + ours.redundant) as u64), theirs);
        wrong += theirs.1;
    }
    assert!(cases.len() == 8 && wrong > 100);
}

fn errors(rows: &[(&str, &str)]) -> (usize, usize, usize) {
    let (acts, texts): (Vec<&str>, Vec<&str>) = rows.iter().copied().unzip();
    let SlotErrors { slots, missing, redundant } = slot_errors(&acts, &texts);
    (slots, missing, redundant)
}

#[test]
fn what_counts_as_a_value_in_a_text() {
    let act = "inform(name='eros 94';type=television;screensize=32 inch;pricerange=cheap;hasusbport=true)";
    let errors_of = |text: &str| errors(&[(act, text)]);
    assert_eq!(errors_of("The EROS 94 is a cheap, 32-inch television with USB ports."), (4, 0, 0));
    assert_eq!(errors_of("the eros 94's screen has 32 inches ; cheap , usb"), (4, 0, 0));
    assert_eq!(errors_of("the eros 9 4 has 32 inchesque cheapness"), (4, 4, 0));
    assert_eq!(errors_of(""), (4, 4, 0));
    assert_eq!(errors_of("cheap cheap eros 94 , 32 inch , usb and usb"), (4, 0, 2));
    // Values of other acts, but not those of one letter, nor what stands inside the act's own values.
    let others =
        [(act, "eros 94 cheap 32 inch usb , a 720p eros"), ("inform(ecorating=a;name=eros)", "an a , eros")];
    assert_eq!(errors(&others), (6, 0, 1));
    assert_eq!(errors(&[(act, "eros 94 cheap 32 inch usb 720p"), ("inform(x=720p)", "720p")]), (5, 0, 1));
}

#[test]
fn what_does_not_count_at_all() {
    assert_eq!(
        errors(&[("?request(area)", "which area ?"), ("goodbye()", "bye"), ("?reqmore()", "")]),
        (0, 0, 0)
    );
    assert_eq!(errors(&[("?select(family=l5;family=w1)", "l5 ?"), ("suggest(family=l6)", "")]), (0, 0, 0));
    assert_eq!(errors(&[("inform(color=none;near=dont_care;type=tv)", "nothing")]), (0, 0, 0));
    assert_eq!(SlotErrors::default().rate(), 0.0);
    let broken = [
        "",
        "(",
        ")",
        "inform",
        "inform(",
        "inform(=;=;;)",
        "inform(a='';b=\"\")",
        "x(y=z)w(",
        "inform(y=;)",
    ];
    for act in broken {
        let (slots, missing, redundant) = errors(&[(act, "some words and more")]);
        assert_eq!((slots, redundant), (missing, 0), "{act}");
    }
}

#[test]
fn parts_may_stand_in_any_order() {
    let act = "inform(accessories=remote control and active 3d glasses and european warranty)";
    assert_eq!(errors(&[(act, "a european warranty and remote control and active 3d glasses")]), (1, 0, 0));
    assert_eq!(errors(&[(act, "remote control or active 3d glasses or european warranty")]), (1, 0, 0));
    assert_eq!(errors(&[(act, "remote control and european warranty")]), (1, 1, 0));
    assert_eq!(errors(&[("inform(x=a and a)", "a and a"), ("inform(x=and)", "and")]), (2, 0, 0));
}

#[test]
fn rates_and_perplexities_are_numbers() {
    assert_eq!(SlotErrors { slots: 4, missing: 1, redundant: 5 }.rate(), 1.5);
    assert_eq!(perplexity(0.0, 0), 1.0);
    // A guess among eight, three times.
    assert!((perplexity(3.0 * 8.0_f64.ln(), 3) - 8.0).abs() < 1e-12);
    assert_eq!([perplexity(f64::INFINITY, 2), perplexity(f64::NAN, 2)], [f64::MAX; 2]);
}

#[test]
fn one_of_the_right_texts_is_enough() {
    let references = [vec!["Vete.", "Ve."], vec!["No"], vec![]];
    assert_eq!(exact_text(&["Ve. ", "no", ""], &references), 1.0 / 3.0);
    assert_eq!(exact_text(&[], &[]), 0.0);
}

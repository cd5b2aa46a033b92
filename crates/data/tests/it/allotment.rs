//! The draws of each corpus: budgets, packs of one corpus, adaptive samplers, disabled corpora.

use polytask_data::sampler::{SamplerFeedback, ValidationScore, ValidationSignal};
use polytask_data::{CorpusRows, Draw, Order, PackStream, Packing, SamplerConfig, random};

const EPOCHS: usize = 4;

fn corpus(name: &str, rows: u32, longest: u64) -> CorpusRows {
    let mut rng = random::stream(3, name, 0);
    let tokens = (0..rows).map(|_| 2 + random::uniform_below(&mut rng, longest) as u32).collect();
    CorpusRows::new(name, (0..rows).map(|i| 2 * i).collect(), tokens)
}

fn three() -> Vec<CorpusRows> {
    vec![corpus("large", 700, 30), corpus("long", 90, 200), corpus("small", 40, 10)]
}

fn mixed(tokens: usize) -> Packing {
    Packing { tokens, one_corpus: false }
}

fn epoch(stream: &mut PackStream) -> Vec<Vec<Draw>> {
    std::iter::from_fn(|| stream.next()).collect()
}

fn tokens(corpora: &[CorpusRows], draw: &Draw) -> f64 {
    f64::from(corpora[draw.corpus as usize].tokens[draw.row as usize / 2])
}

/// At any moment every corpus with a budget has had its share of all tokens, to within the longest row.
#[test]
fn budgets_hold_at_any_moment() {
    let mut rng = random::stream(8, "budgets", 0);
    for case in 0..12 {
        let mut corpora = three();
        let shares: Vec<f64> = (0..2).map(|_| 0.05 + 0.4 * random::uniform01(&mut rng)).collect();
        corpora[case % 3].budget = Some(shares[0]);
        corpora[(case + 1) % 3].budget = Some(shares[1]);
        let sampling = [SamplerConfig::default(), SamplerConfig::Equal(Default::default())][case % 2].clone();
        let mut stream = PackStream::new(corpora.clone(), &sampling, EPOCHS, mixed(250), 17);
        let (mut spent, mut all) = ([0.0; 3], 0.0);
        for draw in (0..2).flat_map(|_| epoch(&mut stream).concat()) {
            let cost = tokens(&corpora, &draw);
            spent[draw.corpus as usize] += cost;
            all += cost;
            for (corpus, spent) in corpora.iter().zip(spent) {
                let Some(share) = corpus.budget else { continue };
                // Two epochs, each exact to within one row of any account.
                assert!((spent - share * all).abs() <= 4.0 * 202.0, "{spent} of {all}, {share}");
            }
        }
        for (corpus, spent) in corpora.iter().zip(spent) {
            let Some(share) = corpus.budget else { continue };
            assert!((spent / all - share).abs() < 0.02, "{} of {share}", spent / all);
        }
    }
}

#[test]
fn budgets_are_of_what_rows_cost() {
    let mut corpora = three();
    corpora[2].budget = Some(0.5);
    for (corpus, cost) in corpora.iter_mut().zip([1.0, 1.0, 9.0]) {
        corpus.costs = vec![cost; corpus.candidates.len()];
    }
    let mut stream = PackStream::new(corpora, &SamplerConfig::default(), EPOCHS, mixed(250), 17);
    let draws = epoch(&mut stream).concat();
    let small = draws.iter().filter(|draw| draw.corpus == 2).count();
    assert_eq!((draws.len(), small), (830, 83));
}

#[test]
fn budgets_of_all_corpora_are_made_to_sum_to_one() {
    let mut corpora = three();
    corpora.iter_mut().for_each(|corpus| corpus.budget = Some(0.2));
    let mut stream = PackStream::new(corpora.clone(), &SamplerConfig::default(), EPOCHS, mixed(250), 17);
    let draws = epoch(&mut stream).concat();
    assert_eq!(draws.len(), 830);
    let spent = |c| draws.iter().filter(|d| d.corpus == c).map(|d| tokens(&corpora, d)).sum::<f64>();
    assert!((spent(0) - spent(1)).abs() < 203.0 && (spent(0) - spent(2)).abs() < 203.0);
}

#[test]
fn packs_of_one_corpus_have_all_rows_and_no_others() {
    let packing = Packing { tokens: 250, one_corpus: true };
    let mut stream = PackStream::new(three(), &SamplerConfig::default(), EPOCHS, packing, 17);
    let expected: Vec<usize> = stream.packs_by_epoch().take(2).collect();
    for expected in expected {
        let packs = epoch(&mut stream);
        assert_eq!(packs.len(), expected);
        assert!(packs.iter().all(|pack| pack.iter().all(|draw| draw.corpus == pack[0].corpus)));
        let mut rows = packs.concat();
        rows.sort_unstable();
        rows.dedup();
        assert_eq!(rows.len(), 830);
        let changes = packs.windows(2).filter(|two| two[0][0].corpus != two[1][0].corpus).count();
        assert!(changes > 10, "corpora alternate: {changes}");
    }
}

#[test]
fn an_order_survives_the_mixture() {
    let mut corpora = three();
    let hard = |row: u32| f64::from((row * 7) % 40);
    corpora[0].order = Order::Curriculum { difficulty: (0..700).map(hard).collect(), passes: 1 };
    corpora[2].order = Order::Balanced { classes: (0..40).map(|row| u32::from(row == 0)).collect() };
    let mut stream = PackStream::new(corpora, &SamplerConfig::default(), EPOCHS, mixed(100), 17);
    let rows = |stream: &mut PackStream, corpus| {
        let draws = epoch(stream).concat();
        draws.into_iter().filter(|d| d.corpus == corpus).map(|d| d.row / 2).collect::<Vec<u32>>()
    };
    let first = stream.clone();
    assert!(rows(&mut stream, 0).is_sorted_by_key(|row| hard(*row) as u32));
    assert!(!rows(&mut stream, 0).is_sorted_by_key(|row| hard(*row) as u32));
    assert_eq!(rows(&mut first.clone(), 2).into_iter().filter(|row| *row == 0).count(), 20);
    // Other classes are another stream.
    let mut other = three();
    other[2].order = Order::Stratified { classes: vec![0; 40] };
    let mut other = PackStream::new(other, &SamplerConfig::default(), EPOCHS, mixed(100), 17);
    assert!(other.restore(first.state()).is_err());
}

#[test]
fn a_disabled_corpus_is_skipped_and_may_be_enabled_again() {
    let mut stream = PackStream::new(three(), &SamplerConfig::default(), EPOCHS, mixed(100), 17);
    let whole = stream.clone();
    (0..5).for_each(|_| drop(stream.next()));
    let early = stream.drawn_counts()[0];
    stream.set_disabled(0, true);
    let rest = epoch(&mut stream).concat();
    assert!(rest.iter().all(|draw| draw.corpus != 0) && stream.drawn_counts()[0] == early);
    assert_eq!((stream.drawn_counts()[1], stream.drawn_counts()[2]), (90, 40));
    stream.set_disabled(0, false);
    let next = epoch(&mut stream).concat();
    let mut second = whole.clone();
    epoch(&mut second);
    // Its planned draws are skipped, so that the next epoch is what it would have been.
    assert_eq!(next, epoch(&mut second).concat());
    (0..3).for_each(|corpus| stream.set_disabled(corpus, true));
    assert!(stream.at_end() && stream.next().is_none());
}

fn adaptive() -> Vec<SamplerConfig> {
    let by_loss = ValidationScore { signal: ValidationSignal::Loss, ..ValidationScore::default() };
    let all = SamplerConfig::all().into_iter().filter(|sampler| sampler.adaptive().is_some());
    all.chain([SamplerConfig::Validation(by_loss)]).collect()
}

/// Whether the sampler needs packs of one corpus each.
fn needs_one_corpus(sampler: &SamplerConfig) -> bool {
    sampler.adaptive().is_some_and(|sampler| sampler.one_corpus())
}

/// Feedback as training might give it after a pack.
fn feedback(step: usize, pack: &[Draw]) -> SamplerFeedback {
    let falling = [0.999, 0.9, 0.99].map(|rate: f64| 3.0 * rate.powi(step as i32));
    let in_pack = |c: u32| pack.iter().any(|draw| draw.corpus == c).then(|| falling[c as usize]);
    SamplerFeedback {
        loss: (0..3).map(in_pack).collect(),
        validation_loss: falling.iter().map(|loss| step.is_multiple_of(20).then_some(*loss)).collect(),
        gap: falling.iter().map(|loss| step.is_multiple_of(20).then_some(loss / 3.0)).collect(),
        agreement: vec![Some(0.2), Some(-0.1), None],
    }
}

#[test]
fn draws_match_the_current_shares() {
    for sampling in adaptive() {
        let one_corpus = needs_one_corpus(&sampling);
        let packing = Packing { tokens: 400, one_corpus };
        let mut stream = PackStream::new(three(), &sampling, 60, packing, 17);
        let steps: Vec<usize> = stream.packs_by_epoch().take(2).collect();
        let (mut drawn, mut expected, mut step, mut moved) = ([0.0; 3], [0.0; 3], 0, false);
        for number in 0..60 {
            let mut packs = 0;
            loop {
                let shares = stream.shares_now();
                let Some(pack) = stream.next() else { break };
                assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-12);
                moved |= (shares[0] - shares[1]).abs() > 0.05;
                // Of a pack of one corpus the corpus is drawn, else that of every row.
                let drawn_ones = if one_corpus { &pack[..1] } else { &pack[..] };
                drawn_ones.iter().for_each(|draw| drawn[draw.corpus as usize] += 1.0);
                for (expected, share) in expected.iter_mut().zip(&shares) {
                    *expected += share * drawn_ones.len() as f64;
                }
                stream.observe(&feedback(step, &pack));
                packs += 1;
                step += 1;
            }
            assert_eq!(
                (packs, number + 1),
                (steps[number % 2], stream.epoch()),
                "epochs are as long as was said"
            );
        }
        assert!(moved, "{sampling:?} draws all corpora equally");
        let all: f64 = drawn.iter().sum();
        for (drawn, expected) in drawn.iter().zip(expected) {
            // Five standard deviations. Between a row's draw and the pack that it opens, shares move.
            let slack = 5.0 * (all * 0.25).sqrt() + if one_corpus { 0.0 } else { 0.002 * all };
            assert!((drawn - expected).abs() < slack, "{sampling:?}: {drawn} {expected} of {all}");
        }
    }
}

/// Corpora with rows of 15 and of 400 tokens: what is drawn is the share, however few of the long rows a pack has space for.
#[test]
fn corpora_with_long_rows_get_their_share() {
    let rows = |name: &str, tokens: u32| CorpusRows::new(name, (0..300).collect(), vec![tokens; 300]);
    for sampling in SamplerConfig::all() {
        for (tokens, one_corpus) in [128, 512, 700, 4096].into_iter().flat_map(|t| [(t, false), (t, true)]) {
            if needs_one_corpus(&sampling) {
                continue; // Draws packs, not rows.
            }
            let packing = Packing { tokens, one_corpus };
            let corpora = vec![rows("long", 400), rows("short", 15)];
            let mut stream = PackStream::new(corpora, &sampling, 40, packing, 17);
            let share = stream.shares_now()[0];
            let draws = (0..40).flat_map(|_| epoch(&mut stream).concat());
            let (mut long, mut all) = (0.0, 0.0);
            draws.for_each(|draw| (long, all) = (long + f64::from(draw.corpus == 0), all + 1.0));
            // Whole packs are what is drawn where they are of one corpus: the deviation is that of their number.
            let packs = if one_corpus { all / (tokens / 15) as f64 } else { all };
            let slack = match sampling.adaptive() {
                Some(_) => 2.5 / packs.sqrt(),
                None => 1.0 / all,
            };
            assert!(
                (long / all - share).abs() <= slack,
                "{}, packs of {tokens}, of one corpus: {one_corpus}: {} of {all}, told {share}",
                sampling.name(),
                long / all
            );
        }
    }
}

#[test]
fn an_adaptive_stream_continues_bit_for_bit() {
    for (sampling, one_corpus) in adaptive().into_iter().flat_map(|s| [(s.clone(), false), (s, true)]) {
        let packing = Packing { tokens: 200, one_corpus: one_corpus || needs_one_corpus(&sampling) };
        let fresh = PackStream::new(three(), &sampling, EPOCHS, packing, 17);
        let mut stream = fresh.clone();
        let mut calls = Vec::new();
        while stream.epoch() < 2 {
            let state = serde_json::to_string(&stream.state()).unwrap();
            let pack = stream.next();
            if let Some(pack) = &pack {
                stream.observe(&feedback(calls.len(), pack));
            }
            calls.push((state, pack));
        }
        for at in (0..calls.len()).step_by(7) {
            let mut again = fresh.clone();
            again.restore(serde_json::from_str(&calls[at].0).unwrap()).unwrap();
            for (i, (state, pack)) in calls.iter().enumerate().skip(at).take(5) {
                assert_eq!(&serde_json::to_string(&again.state()).unwrap(), state);
                assert_eq!(&again.next(), pack, "{sampling:?}, restored at {at}, call {i}");
                pack.iter().for_each(|pack| again.observe(&feedback(i, pack)));
            }
        }
        let another = PackStream::new(three(), &SamplerConfig::default(), EPOCHS, mixed(200), 17);
        assert!(another.clone().restore(stream.state()).is_err());
        assert!(stream.restore(another.state()).is_err());
    }
}

#[test]
fn a_stream_can_continue_another() {
    let mut first = PackStream::new(three(), &SamplerConfig::Equal(Default::default()), 1, mixed(100), 17);
    let early = epoch(&mut first).concat();
    let second = PackStream::new(three(), &SamplerConfig::default(), 2, mixed(100), 17);
    let mut second = second.continuing(first.drawn_counts());
    let large =
        |draws: Vec<Draw>| draws.into_iter().filter(|d| d.corpus == 0).map(|d| d.row).collect::<Vec<_>>();
    let (early, late) = (large(early), large(epoch(&mut second).concat()));
    // 277 rows of the first pass came; the other 423 come before any comes again.
    let seen: std::collections::BTreeSet<u32> = early.iter().chain(&late[..0]).copied().collect();
    assert_eq!(seen.len(), 277);
    let fresh = late.iter().filter(|row| !seen.contains(row)).count();
    assert!(fresh >= 423, "{fresh}");
    assert_eq!(second.drawn_counts()[0], 977);
}

//! The guarantees of the stream of draws: shares, no repetition, exact counts, restoring at every position.

use std::collections::{BTreeMap, BTreeSet};

use polytask_data::sampler::{Equal, Importance, Smoothing, Temperature};
use polytask_data::{CorpusDraws, CorpusRows, Draw, PackStream, Packing, SamplerConfig, StreamState, random};

fn corpus(name: &str, rows: u32, seed: u64) -> CorpusRows {
    let mut rng = random::stream(seed, name, 0);
    let tokens = (0..rows).map(|_| 2 + random::uniform_below(&mut rng, 40) as u32).collect();
    // Row numbers with gaps: not every row is worth drawing.
    let candidates = (0..rows).map(|i| 3 * i + 1).collect();
    CorpusRows { importance: 1.0 + seed as f64, ..CorpusRows::new(name, candidates, tokens) }
}

/// Packs of at most `tokens` tokens, with rows of all corpora.
fn most(tokens: usize) -> Packing {
    Packing { tokens, one_corpus: false }
}

/// Epochs of the runs here.
const EPOCHS: usize = 5;

fn three() -> Vec<CorpusRows> {
    vec![corpus("large", 230, 1), corpus("none", 0, 1), corpus("small", 17, 1), corpus("middle", 61, 1)]
}

/// Every sampler whose shares are known before training, and some with other settings.
fn samplers() -> Vec<SamplerConfig> {
    let others = [
        SamplerConfig::Temperature(Temperature { temperature: 5.0, scale: 1.0, cap: Some(20.0) }),
        SamplerConfig::Smoothing(Smoothing { alpha: 0.3 }),
        SamplerConfig::Importance(Importance { alpha: 0.2 }),
    ];
    let all = SamplerConfig::all().into_iter().filter(|sampler| sampler.adaptive().is_none());
    all.chain(others).collect()
}

fn epoch(stream: &mut PackStream) -> Vec<Vec<Draw>> {
    std::iter::from_fn(|| stream.next()).collect()
}

#[test]
fn draws_match_the_shares_and_counts_are_exact() {
    for sampler in samplers() {
        draws_match(three(), &sampler);
    }
}

#[test]
fn draws_match_whatever_the_sizes() {
    let mut rng = random::stream(6, "sizes", 0);
    for case in 0..10 {
        let corpora: Vec<CorpusRows> = (0..random::uniform_below(&mut rng, 6))
            .map(|i| {
                let most = [2, 40, 900][random::uniform_below(&mut rng, 3) as usize];
                corpus(&format!("corpus {i}"), random::uniform_below(&mut rng, most) as u32, case + i)
            })
            .collect();
        for sampler in samplers() {
            draws_match(corpora.clone(), &sampler);
        }
    }
}

/// Every epoch has the announced number of draws, divided by the shares, and none of a corpus without rows.
fn draws_match(corpora: Vec<CorpusRows>, sampler: &SamplerConfig) {
    let total: usize = corpora.iter().map(|corpus| corpus.candidates.len()).sum();
    let mut stream = PackStream::new(corpora.clone(), sampler, EPOCHS, most(128), 17);
    assert_eq!(stream.draws_in_epoch(), total);
    let packs_before: Vec<usize> = stream.packs_by_epoch().take(EPOCHS).collect();
    for (number, packs_before) in packs_before.into_iter().enumerate() {
        assert_eq!(stream.epoch(), number);
        let told: Vec<CorpusDraws> = stream.draws_by_corpus(number);
        let packs = epoch(&mut stream);
        assert_eq!(packs.len(), packs_before);
        let mut drawn = vec![0u64; corpora.len()];
        packs.iter().flatten().for_each(|draw| drawn[draw.corpus as usize] += 1);
        assert_eq!(drawn.iter().sum::<u64>(), total as u64);
        for ((n, told), corpus) in drawn.iter().zip(&told).zip(&corpora) {
            let expected = told.share * total as f64;
            assert!((*n as f64 - expected).abs() < 1.0 + 1e-9, "{sampler:?} {drawn:?} {told:?}");
            assert_eq!((*n, told.rows), (told.draws, corpus.candidates.len()));
            assert!(told.rows > 0 || *n == 0);
        }
    }
}

#[test]
fn proportional_draws_every_row_once_an_epoch_in_another_order() {
    let mut stream = PackStream::new(three(), &SamplerConfig::default(), EPOCHS, most(128), 17);
    let draws: Vec<Vec<Draw>> = (0..3).map(|_| epoch(&mut stream).concat()).collect();
    for draws in &draws {
        let different: BTreeSet<&Draw> = draws.iter().collect();
        assert_eq!((draws.len(), different.len()), (308, 308));
        assert!(draws.iter().all(|draw| draw.row % 3 == 1));
    }
    assert!(draws[0] != draws[1] && draws[1] != draws[2]);
}

#[test]
fn no_row_comes_twice_within_one_pass_over_its_corpus() {
    let sizes: BTreeMap<u32, usize> = [(0, 230), (2, 17), (3, 61)].into();
    for sampler in samplers() {
        let mut stream = PackStream::new(three(), &sampler, EPOCHS, most(100), 5);
        // An epoch's draws are shuffled together, so passes are only seen as counts: after n draws of a corpus of size s,
        // at epoch ends, each row was drawn floor(n/s) or ceil(n/s) times.
        let mut times: BTreeMap<Draw, usize> = BTreeMap::new();
        for _ in 0..5 {
            epoch(&mut stream).concat().into_iter().for_each(|draw| *times.entry(draw).or_default() += 1);
            for (&corpus, &size) in &sizes {
                let own: Vec<usize> =
                    times.iter().filter(|(draw, _)| draw.corpus == corpus).map(|(_, &n)| n).collect();
                let drawn: usize = own.iter().sum();
                assert!(own.iter().all(|&n| n == drawn / size || n == drawn.div_ceil(size)), "{sampler:?}");
                assert!(own.len() == size || drawn < size);
            }
        }
    }
}

#[test]
fn packs_are_as_full_as_their_order_allows() {
    let corpora = three();
    let tokens = |draw: &Draw| corpora[draw.corpus as usize].tokens[(draw.row / 3) as usize] as usize;
    for limit in [0, 1, 30, 41, 200, 100_000] {
        let mut stream = PackStream::new(corpora.clone(), &SamplerConfig::default(), EPOCHS, most(limit), 9);
        let packs = epoch(&mut stream);
        for (i, pack) in packs.iter().enumerate() {
            let sum: usize = pack.iter().map(tokens).sum();
            assert!(!pack.is_empty() && (sum <= limit || pack.len() == 1));
            if let Some(next) = packs.get(i + 1) {
                assert!(sum + tokens(&next[0]) > limit, "the next row would have fitted");
            }
        }
    }
}

#[test]
fn restoring_at_every_position_continues_the_same() {
    for sampler in samplers() {
        let mut stream = PackStream::new(three(), &sampler, EPOCHS, most(300), 17);
        let mut states: Vec<StreamState> = Vec::new();
        let mut calls: Vec<Option<Vec<Draw>>> = Vec::new();
        while stream.epoch() < 3 {
            states.push(stream.state());
            calls.push(stream.next());
        }
        for (at, state) in states.iter().enumerate() {
            let text = serde_json::to_string(state).unwrap();
            let mut again = PackStream::new(three(), &sampler, EPOCHS, most(300), 17);
            again.restore(serde_json::from_str(&text).unwrap()).unwrap();
            assert_eq!(&again.state(), state);
            for (i, expected) in calls.iter().enumerate().skip(at).take(8) {
                assert_eq!(again.state(), states[i]);
                assert_eq!(&again.next(), expected, "{sampler:?}, restored at call {at}, call {i}");
            }
        }
    }
}

#[test]
fn a_state_of_another_stream_is_refused() {
    let stream = |corpora: Vec<CorpusRows>, limit: usize, seed: u64| {
        PackStream::new(corpora, &SamplerConfig::default(), EPOCHS, most(limit), seed)
    };
    let state = stream(three(), 100, 1).state();
    let mut other = three();
    other[0].tokens[3] += 1;
    for mut wrong in [stream(three(), 100, 2), stream(three(), 101, 1), stream(other, 100, 1)] {
        let before = wrong.state();
        assert!(wrong.restore(state.clone()).unwrap_err().to_string().contains("does not fit"));
        assert_eq!(wrong.state(), before);
    }
    for (epoch, good) in [(EPOCHS as u64, true), (EPOCHS as u64 + 1, false), (u64::MAX, false)] {
        let found = stream(three(), 100, 1).restore(StreamState { epoch, ..state.clone() });
        let told = format!("epoch {epoch}, counted from 0, of a run that has 5");
        assert!(found.map_or_else(|error| !good && error.to_string().contains(&told), |()| good));
    }
    let beyond = StreamState { drawn: 309, ..state };
    assert!(stream(three(), 100, 1).restore(beyond).unwrap_err().to_string().contains("309 rows drawn"));
}

#[test]
fn the_seed_decides_and_nothing_else() {
    let run = |seed| epoch(&mut PackStream::new(three(), &SamplerConfig::default(), EPOCHS, most(100), seed));
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

#[test]
fn without_rows_an_epoch_has_no_packs() {
    for corpora in [vec![], vec![corpus("none", 0, 1)]] {
        let mut stream = PackStream::new(corpora, &SamplerConfig::Equal(Equal {}), EPOCHS, most(100), 1);
        assert_eq!(stream.packs_by_epoch().take(3).sum::<usize>(), 0);
        assert_eq!((stream.next(), stream.next(), stream.epoch()), (None, None, 2));
    }
}

#[test]
fn draws_are_the_same_for_ever() {
    // A changed value here changes every run that users have made: their checkpoints would not go on.
    let samplers = [
        SamplerConfig::default(),
        SamplerConfig::Equal(Equal {}),
        SamplerConfig::Temperature(Temperature::default()),
        SamplerConfig::Temperature(Temperature { temperature: 5.0, scale: 1.0, cap: Some(20.0) }),
    ];
    let found: Vec<(String, String)> = samplers
        .into_iter()
        .map(|sampler| {
            let mut stream = PackStream::new(three(), &sampler, EPOCHS, most(128), 17);
            let mut hasher = blake3::Hasher::new();
            for draw in (0..3).flat_map(|_| epoch(&mut stream).concat()) {
                hasher.update(&draw.corpus.to_le_bytes());
                hasher.update(&draw.row.to_le_bytes());
            }
            let short = |hash: &str| hash[..16].to_owned();
            (short(&hasher.finalize().to_hex()), short(&stream.state().fingerprint))
        })
        .collect();
    let expected = [
        ("45ff8e9ecf24152d", "cdc22127da148d21"),
        ("76ae2b7c89c13fac", "8a738825a03a2284"),
        ("0ed7e887c3326827", "cd8cf023bf3fb6b7"),
        ("3fda0f1d4160f2ac", "aee165f89febd081"),
    ];
    assert_eq!(found, expected.map(|(draws, state)| (draws.to_owned(), state.to_owned())));
}

#[test]
fn the_number_of_epochs_matters_where_epochs_differ() {
    let stream = |sampling: &SamplerConfig, epochs| PackStream::new(three(), sampling, epochs, most(100), 1);
    for sampling in samplers() {
        let refused = stream(&sampling, 8).restore(stream(&sampling, 3).state()).is_err();
        assert_eq!(refused, sampling.goes_by_epochs(), "{sampling:?}");
    }
}

//! Decoded texts equal those of transformers with the same weights, and those of an exhaustive search.

use super::decoding::{Decoding, Sampling};
use super::search::{Hypothesis, Prompt, search};
use burn::tensor::{Device, Tensor, TensorData};
use model::{EncoderInput, PackOffset, Parameters, Trunk, TrunkPass};
use std::path::Path;

/// What scripts/make_backbone_fixtures.py wrote for a small T5.
struct Fixture {
    parameters: Parameters,
    trunk: Trunk,
    ids: Vec<u32>,
    rows: kernels::RowOffsets,
    bytes: Vec<u8>,
}

impl Fixture {
    fn read(name: &str) -> Self {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures").join(name);
        let mut parameters = Parameters::new(&Device::flex(), 1);
        let trunk = Trunk::new(model::open(&dir, &mut parameters, None).unwrap());
        let states = std::fs::read(dir.join("states.safetensors")).unwrap();
        let bytes = std::fs::read(dir.join("scores.safetensors")).unwrap();
        let (ids, rows) = (ints(&states, "ids"), ints(&states, "offsets"));
        let rows = rows.into_iter().map(|at| at as usize).collect();
        Fixture { parameters, trunk, ids, rows, bytes }
    }

    /// The texts of that name, without the token that ends them.
    fn texts(&self, name: &str) -> Vec<Vec<u32>> {
        let (ids, offsets) = (ints(&self.bytes, name), ints(&self.bytes, &format!("{name}_offsets")));
        let text = |at: &[u32]| {
            let text = &ids[at[0] as usize..at[1] as usize];
            text.strip_suffix(&[1]).unwrap_or(text).to_vec()
        };
        offsets.windows(2).map(text).collect()
    }

    fn decoded(&self, settings: &Decoding) -> Vec<Hypothesis> {
        let positions: Vec<u32> = self.rows.windows(2).flat_map(|row| 0..(row[1] - row[0]) as u32).collect();
        let segments = vec![0; self.ids.len()];
        let input = EncoderInput {
            ids: &self.ids,
            positions: &positions,
            segments: &segments,
            offsets: &self.rows,
            datasets: &[],
            offset: PackOffset::default(),
        };
        let parameters = &self.parameters;
        let pass = TrunkPass::evaluation(parameters, input);
        let states = self.trunk.states(&pass);
        let generator = self.trunk.generator().unwrap();
        let mut cache = generator.start(parameters, &states, &self.rows);
        search(prompts(5), settings, &[1], &|_| false, |from, ids| {
            let logits = generator.step(parameters, &mut cache, from, ids, None);
            logits.into_data().try_into_vec().unwrap()
        })
    }
}

/// So many texts that begin after token 0.
fn prompts(count: u64) -> Vec<Prompt> {
    (0..count).map(|row| Prompt { row, tokens: vec![0] }).collect()
}

/// Whole numbers of a safetensors file.
fn ints(bytes: &[u8], name: &str) -> Vec<u32> {
    let header = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let json: serde_json::Value = serde_json::from_slice(&bytes[8..8 + header]).unwrap();
    let at = |i: usize| 8 + header + json[name]["data_offsets"][i].as_u64().unwrap() as usize;
    bytes[at(0)..at(1)].as_chunks().0.iter().map(|four| u32::from_le_bytes(*four)).collect()
}

#[test]
fn texts_are_those_of_transformers() {
    let greedy = Decoding { max_length: 12, ..Decoding::default() };
    let beams = Decoding { beams: 4, length_penalty: 0.8, ..greedy.clone() };
    let strict =
        Decoding { beams: 3, length_penalty: 1.3, min_length: 6, no_repeat_ngram: 2, ..greedy.clone() };
    for name in ["t5", "t5-gated"] {
        let fixture = Fixture::read(name);
        for (what, settings) in [("greedy", &greedy), ("beams", &beams), ("strict", &strict)] {
            let found = fixture.decoded(settings).into_iter().map(|text| text.tokens);
            let found: Vec<Vec<u32>> = found.collect();
            assert_eq!(found, fixture.texts(what), "{name}, {what}");
        }
    }
}

#[test]
fn a_decoder_writes_after_a_prompt_what_transformers_writes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../model/tests/fixtures/llama");
    for name in ["plain", "linear", "llama3", "yarn", "mistral", "qwen2", "qwen3", "gemma3"] {
        let dir = folder.join(name);
        writes_as_transformers(&dir, &dir.join("states.safetensors"));
    }
}

#[test]
#[ignore = "needs a decoder: set POLYTASK_DECODER to its folder or file, and POLYTASK_EXPECTED to what make_llama_fixtures.py --model wrote"]
fn a_real_decoder_writes_what_transformers_writes() {
    let path = |name: &str| std::env::var(name).unwrap_or_else(|_| panic!("{name} names a path"));
    let (model, expected) = (path("POLYTASK_DECODER"), path("POLYTASK_EXPECTED"));
    writes_as_transformers(Path::new(&model), Path::new(&expected));
}

fn writes_as_transformers(model: &Path, expected: &Path) {
    let greedy = Decoding { max_length: 12, ..Decoding::default() };
    let beams = Decoding { beams: 4, length_penalty: 0.8, ..greedy.clone() };
    let strict =
        Decoding { beams: 3, length_penalty: 1.3, min_length: 6, no_repeat_ngram: 2, ..greedy.clone() };
    let mut parameters = Parameters::new(&Device::flex(), 1);
    let trunk = Trunk::new(model::open(model, &mut parameters, None).unwrap());
    let ends = trunk.spec().language_model.as_ref().unwrap().eos_token_ids.clone();
    let bytes = std::fs::read(expected).unwrap();
    let rows = |name: &str, offsets: &str| -> Vec<Vec<u32>> {
        let (ids, offsets) = (ints(&bytes, name), ints(&bytes, offsets));
        offsets.windows(2).map(|at| ids[at[0] as usize..at[1] as usize].to_vec()).collect()
    };
    let read = rows("ids", "offsets");
    for (what, settings) in [("greedy", &greedy), ("beams", &beams), ("strict", &strict)] {
        let mut writer = trunk.write(&parameters, "text", None, read.clone());
        let prompts = (0..).zip(&read).map(|(row, tokens)| Prompt { row, tokens: tokens.clone() });
        let found = search(prompts.collect(), settings, &ends, &|_| false, |from, ids| {
            writer.step(from, ids).into_data().try_into_vec().unwrap()
        });
        let written = rows(what, &format!("{what}_offsets"));
        for (row, (found, written)) in found.iter().zip(&written).enumerate() {
            // `generate` pads what ends early.
            let end = written.iter().position(|token| ends.contains(token)).unwrap_or(written.len());
            assert_eq!(found.tokens, written[..end], "{}, {what}, row {row}", model.display());
        }
    }
}

/// The log-probabilities of four tokens after each of four, 1 being the end.
fn table() -> Vec<f32> {
    let numbers: Vec<f32> = (0..16).map(|i| ((i * 7 + 3) % 11) as f32 * 0.4).collect();
    let device = Device::flex();
    let scores = Tensor::<2>::from_data(TensorData::new(numbers, [4, 4]), &device);
    burn::tensor::activation::log_softmax(scores, 1).into_data().try_into_vec().unwrap()
}

/// All texts of at most `left` tokens more, with their log-probabilities and steps.
fn all(table: &[f32], begun: &[u32], sum: f32, left: usize, found: &mut Vec<Hypothesis>) {
    let last = *begun.last().unwrap() as usize;
    for token in 0..4u32 {
        let log_probability = sum + table[last * 4 + token as usize];
        let mut text = begun.to_vec();
        if token != 1 {
            text.push(token);
        }
        if token == 1 || left == 1 {
            found.push(Hypothesis { tokens: text[1..].to_vec(), log_probability, steps: begun.len() });
        } else {
            all(table, &text, log_probability, left - 1, found);
        }
    }
}

#[test]
fn many_beams_find_the_best_of_all_texts() {
    let table = table();
    for length_penalty in [0.0, 1.0, 2.0] {
        let rules = Decoding { beams: 64, length_penalty, max_length: 4, ..Decoding::default() };
        let mut last = vec![0u32; 2];
        let found = search(prompts(2), &rules, &[1], &|_| false, |from, ids| {
            assert!(from.iter().all(|text| (*text as usize) < last.len()));
            last = ids.to_vec();
            ids.iter().flat_map(|id| &table[*id as usize * 4..][..4]).copied().collect()
        });
        let mut texts = Vec::new();
        all(&table, &[0], 0.0, 4, &mut texts);
        let score = |text: &Hypothesis| text.log_probability / (text.steps as f32).powf(length_penalty);
        let best = texts.iter().max_by(|a, b| score(a).total_cmp(&score(b))).unwrap();
        for found in found {
            assert!((score(&found) - score(best)).abs() < 1e-5, "{length_penalty}: {found:?}, {best:?}");
            assert_eq!(found.tokens, best.tokens, "{length_penalty}");
        }
    }
}

/// Greedily token 2 follows 0, then 3, then 2 again and again: the text ends where it has both.
#[test]
fn what_is_written_can_end_a_text() {
    let next = |ids: &[u32]| -> Vec<f32> {
        ids.iter().flat_map(|id| if *id == 2 { [0.0, 0.0, 0.0, 9.0] } else { [0.0, 0.0, 9.0, 0.0] }).collect()
    };
    for settings in [
        Decoding { max_length: 9, ..Decoding::default() },
        Decoding { max_length: 9, beams: 2, ..Decoding::default() },
        Decoding {
            max_length: 9,
            sample: Some(Sampling { top_k: 1, ..Sampling::default() }),
            ..Decoding::default()
        },
    ] {
        let stops = |tokens: &[u32]| tokens.ends_with(&[2, 3]);
        let found = search(prompts(2), &settings, &[1], &stops, |_, ids| next(ids));
        assert!(found.iter().all(|text| text.tokens == [2, 3]), "{found:?}");
        let whole = search(prompts(1), &settings, &[1], &|_| false, |_, ids| next(ids));
        assert_eq!(whole[0].tokens, [2, 3, 2, 3, 2, 3, 2, 3, 2]);
    }
}

#[test]
fn drawn_tokens_are_as_frequent_as_they_are_probable() {
    // Tokens 2 and 3 with probabilities 0.25 and 0.75; one token a text.
    let scores = [f32::NEG_INFINITY, f32::NEG_INFINITY, 0.0, 3f32.ln()];
    let share = |sampling: Sampling| {
        let rules = Decoding { max_length: 1, sample: Some(sampling), ..Decoding::default() };
        let numbers: Vec<u64> = (0..4000).collect();
        let found = search(
            numbers.iter().map(|row| Prompt { row: *row, tokens: vec![0] }).collect(),
            &rules,
            &[1],
            &|_| false,
            |_, ids| ids.iter().flat_map(|_| scores).collect(),
        );
        found.iter().filter(|text| text.tokens == [3]).count() as f64 / 4000.0
    };
    let plain = Sampling { seed: 5, ..Sampling::default() };
    assert!((share(plain.clone()) - 0.75).abs() < 0.025);
    assert_eq!(share(plain.clone()), share(plain.clone()));
    // Half the temperature squares the odds: 9 to 1.
    assert!((share(Sampling { temperature: 0.5, ..plain.clone() }) - 0.9).abs() < 0.02);
    assert_eq!(share(Sampling { top_k: 1, ..plain.clone() }), 1.0);
    assert_eq!(share(Sampling { top_p: 0.7, ..plain.clone() }), 1.0);
    assert!(share(Sampling { top_p: 0.8, ..plain }) < 0.8);
}

//! Dataset embeddings: nothing while they are zeros, then a part of every token's embedding, with the right gradient; saved beside
//! the backbone.

use crate::fixture::{devices, folder, pass, positions};
use burn::tensor::{Device, Tensor, TensorData};
use polytask_model::{
    BagConfig, BertConfig, EncoderInput, Freeze, FromScratch, MatrixId, PackOffset, Parameters, T5Config,
    Trunk, build, has_sharing, load_sharing, open, save,
};
use std::path::Path;
use std::sync::Arc;

/// Three rows, the last without tokens of a second text; the corpora of the rows are 1, 0 and 2.
const IDS: [u32; 8] = [4, 8, 49, 0, 7, 7, 3, 21];
const OFFSETS: [usize; 4] = [0, 4, 6, 8];
const SEGMENTS: [u32; 8] = [0, 0, 1, 1, 0, 1, 0, 0];
const DATASETS: [u32; 8] = [1, 1, 1, 1, 0, 0, 2, 2];

/// Every backbone: without segments (DistilBERT), with one (RoBERTa), with two; from scratch and opened.
const FAMILIES: [&str; 7] =
    ["bag", "window", "bert from scratch", "t5 from scratch", "distilbert", "roberta", "t5-gated"];

fn make(family: &str, device: &Device) -> (Trunk, Parameters) {
    let mut parameters = Parameters::new(device, 5);
    let bag = |window| FromScratch::Bag(BagConfig { width: 16, window, ..Default::default() });
    let scratch = match family {
        "bag" => bag(0),
        "window" => bag(2),
        "bert from scratch" => FromScratch::Bert(BertConfig {
            layers: 2,
            hidden: 16,
            heads: 2,
            max_length: 20,
            ..Default::default()
        }),
        "t5 from scratch" => {
            FromScratch::T5(T5Config { layers: 2, hidden: 16, heads: 2, ..Default::default() })
        }
        _ => {
            let backbone = open(&folder(family), &mut parameters, None).unwrap();
            return (Trunk::new(backbone), parameters);
        }
    };
    let backbone = build(&scratch, 50, [0, 1], &mut parameters).unwrap();
    (Trunk::new(backbone), parameters)
}

fn with_table(family: &str, device: &Device) -> (Trunk, Parameters, MatrixId) {
    let (mut trunk, mut parameters) = make(family, device);
    trunk.add_dataset_embedding(3, &mut parameters);
    let table = trunk.dataset_embedding().unwrap();
    (trunk, parameters, table)
}

fn states(trunk: &Trunk, parameters: &Parameters, datasets: &[u32], dropout_seed: Option<u64>) -> Tensor<2> {
    let offsets: kernels::RowOffsets = Arc::from(OFFSETS);
    let input = EncoderInput {
        ids: &IDS,
        positions: &positions(&offsets),
        segments: &SEGMENTS,
        offsets: &offsets,
        datasets,
        offset: PackOffset::default(),
    };
    trunk.states(&pass(parameters, input, dropout_seed))
}

fn values(x: Tensor<2>) -> Vec<f32> {
    x.into_data().try_into_vec().unwrap()
}

/// Numbers within -1..1 that look random.
fn numbers(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i as f32 * 2.4).sin()).collect()
}

#[test]
fn zeros_change_no_bit() {
    for (device, family) in devices().iter().flat_map(|d| FAMILIES.map(|f| (d.clone(), f))) {
        let ((plain, without), (trunk, with, _)) = (make(family, &device), with_table(family, &device));
        for dropout_seed in [None, Some(3)] {
            let before = values(states(&plain, &without, &[], dropout_seed));
            let after = values(states(&trunk, &with, &DATASETS, dropout_seed));
            let bits = |x: Vec<f32>| x.into_iter().map(f32::to_bits).collect::<Vec<_>>();
            assert!(bits(before) == bits(after), "{family}, {dropout_seed:?}");
        }
    }
}

#[test]
fn the_vector_is_a_part_of_the_embedding() {
    let (trunk, mut parameters, table) = with_table("bag", &Device::flex());
    parameters.set_data(table.index(), numbers(48)).unwrap();
    let (words, vectors) = (parameters.data(0), numbers(48));
    let row = |table: &[f32], row: u32| table[16 * row as usize..][..16].to_vec();
    let sum = |(id, corpus): (&u32, &u32)| {
        row(&words, *id).into_iter().zip(row(&vectors, *corpus)).map(|(w, c)| w + c).collect::<Vec<f32>>()
    };
    let expected: Vec<f32> = IDS.iter().zip(&DATASETS).flat_map(sum).collect();
    assert_eq!(values(states(&trunk, &parameters, &DATASETS, None)), expected);
    // And a row of another corpus leaves the others as they are, in every backbone.
    for family in FAMILIES {
        let (trunk, mut parameters, table) = with_table(family, &Device::flex());
        let width = trunk.hidden();
        parameters.set_data(table.index(), numbers(3 * width)).unwrap();
        let mut other = DATASETS;
        other[4..6].fill(2);
        let of = |datasets: &[u32]| values(states(&trunk, &parameters, datasets, None));
        let (a, b) = (of(&DATASETS), of(&other));
        let changed: Vec<bool> = a.chunks(width).zip(b.chunks(width)).map(|(a, b)| a != b).collect();
        assert_eq!(changed, [false, false, false, false, true, true, false, false], "{family}");
    }
}

/// In BERT the vector stands beside that of the segment, also where there are no segments: as if it were part of the word's.
#[test]
fn datasets_and_segments_add_up() {
    for family in ["bert from scratch", "distilbert", "roberta"] {
        let (trunk, mut parameters, table) = with_table(family, &Device::flex());
        let width = trunk.hidden();
        let vector = numbers(width);
        parameters
            .set_data(table.index(), [vec![0.0; width], vector.clone(), vec![0.0; width]].concat())
            .unwrap();
        let found = values(states(&trunk, &parameters, &[1; 8], None));
        let words = trunk.spec().token_embedding.index();
        let moved = parameters
            .data(words)
            .chunks(width)
            .flat_map(|w| w.iter().zip(&vector).map(|(w, v)| w + v).collect::<Vec<_>>())
            .collect();
        parameters.set_data(words, moved).unwrap();
        let expected = values(states(&trunk, &parameters, &[0; 8], None));
        assert!(crate::fixture::largest_difference(&found, &expected) < 1e-5, "{family}");
    }
}

/// Of the sum of all states, each times a number, by every number of the table; against differences of second order.
#[test]
fn the_gradient_is_the_one_of_finite_differences() {
    const STEP: f32 = 5e-3;
    for (device, family) in devices().iter().flat_map(|d| FAMILIES.map(|f| (d.clone(), f))) {
        let device = device.autodiff();
        let (trunk, mut parameters, table) = with_table(family, &device);
        let width = trunk.hidden();
        let at: Vec<f32> = numbers(3 * width).into_iter().map(|x| 0.3 * x).collect();
        let weights = Tensor::<2>::from_data(TensorData::new(numbers(8 * width), [8, width]), &device);
        parameters.set_data(table.index(), at.clone()).unwrap();
        let loss = |parameters: &Parameters| {
            (states(&trunk, parameters, &DATASETS, Some(3)) * weights.clone()).sum()
        };
        let gradients = loss(&parameters).backward();
        let gradient = values(parameters.matrix(table).grad(&gradients).expect("the table is trained"));
        let size = gradient.iter().map(|g| g.abs()).fold(0.0, f32::max);
        assert!(size > 0.0, "{family}");
        for index in (0..3 * width).step_by(7) {
            let mut side = |step: f32| {
                let mut moved = at.clone();
                moved[index] += step;
                parameters.set_data(table.index(), moved).unwrap();
                f64::from(loss(&parameters).into_scalar::<f32>())
            };
            let difference = (side(STEP) - side(-STEP)) / f64::from(2.0 * STEP);
            let (found, tolerance) = (f64::from(gradient[index]), 0.01 * f64::from(size));
            assert!(
                (found - difference).abs() < tolerance,
                "{family}, {index}: {found} against {difference}"
            );
        }
    }
}

#[test]
fn what_would_freeze_them_is_refused() {
    for family in FAMILIES {
        let (mut trunk, mut parameters, _) = with_table(family, &Device::flex());
        let error = Freeze { layers: 0, cache: false }.apply(&mut trunk, &mut parameters).unwrap_err();
        assert_eq!(
            error.to_string(),
            "model.freeze: the embeddings are to be frozen, and the vectors of corpora with them; leave out `freeze` or `dataset_embeddings`"
        );
        assert!(trunk.frozen().is_none() && parameters.iter().all(|p| p.trainable));
    }
}

#[test]
fn they_are_saved_beside_the_backbone() {
    let opened = |dir: &Path| {
        let mut parameters = Parameters::new(&Device::flex(), 1);
        let backbone = open(dir, &mut parameters, None).unwrap();
        (Trunk::new(backbone), parameters)
    };
    for family in FAMILIES {
        let (trunk, mut parameters, table) = with_table(family, &Device::flex());
        let values = numbers(3 * trunk.hidden());
        parameters.set_data(table.index(), values.clone()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &trunk, &parameters).unwrap();
        assert!(has_sharing(dir.path()), "{family}");
        // The backbone's own file says nothing of them.
        let (mut again, mut others) = opened(dir.path());
        assert!(again.dataset_embedding().is_none() && others.len() + 1 == parameters.len());
        load_sharing(dir.path(), &again, &mut others).unwrap();
        again.add_dataset_embedding(3, &mut others);
        load_sharing(dir.path(), &again, &mut others).unwrap();
        assert_eq!(others.data(again.dataset_embedding().unwrap().index()), values, "{family}");
    }
    let (mut trunk, mut parameters) = make("bag", &Device::flex());
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &trunk, &parameters).unwrap();
    assert!(!has_sharing(dir.path()), "without a table there is no file");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2);
    trunk.add_dataset_embedding(3, &mut parameters);
    let error = load_sharing(dir.path(), &trunk, &mut parameters).unwrap_err().to_string();
    assert!(error.contains("sharing.safetensors"), "{error}");
    save(dir.path(), &trunk, &parameters).unwrap();
    let (mut other, mut others) = make("bag", &Device::flex());
    other.add_dataset_embedding(2, &mut others);
    let error = load_sharing(dir.path(), &other, &mut others).unwrap_err().to_string();
    assert!(error.contains("corpus: found shape [3, 16], expected [2, 16]"), "{error}");
}

//! States equal those of transformers: small random checkpoints of every architecture, and MiniLM.

use crate::fixture::{
    CHECKPOINTS, Expected, copy, devices, folder, largest_difference, opened, opened_on, pass, positions,
    states,
};
use polytask_model::{EncoderInput, PackOffset, Parameters, Trunk};
use std::path::Path;

#[test]
fn a_pack_of_rows_has_the_states_that_transformers_computes_row_by_row() {
    for device in devices() {
        for name in CHECKPOINTS {
            let (trunk, parameters) = opened_on(&device, &folder(name));
            let expected = Expected::read(&folder(name).join("states.safetensors"));
            let found = states(&trunk, &parameters, &expected.ids, &expected.offsets, None);
            let difference = largest_difference(&found, &expected.states);
            println!("{name} on {device:?}: largest difference {difference:.1e}");
            assert!(difference < 1e-5, "{name} on {device:?}: {difference}");
        }
    }
}

#[test]
fn the_second_text_of_a_pair_has_the_second_type() {
    for device in devices() {
        let (trunk, parameters) = opened_on(&device, &folder("bert"));
        let expected = Expected::read(&folder("bert/pairs.safetensors"));
        assert!(expected.segments.contains(&1));
        let positions = positions(&expected.offsets);
        let input = EncoderInput {
            ids: &expected.ids,
            positions: &positions,
            segments: &expected.segments,
            offsets: &expected.offsets,
            datasets: &[],
            offset: PackOffset::default(),
        };
        let found = trunk.states(&pass(&parameters, input, None));
        let found: Vec<f32> = found.into_data().try_into_vec().unwrap();
        let difference = largest_difference(&found, &expected.states);
        assert!(difference < 1e-5, "{device:?}: {difference}");
        // RoBERTa has one type only.
        let (trunk, parameters) = opened_on(&device, &folder("roberta"));
        let of = |segments: &[u32]| -> Vec<f32> {
            let input = EncoderInput { segments, ..input };
            trunk.states(&pass(&parameters, input, None)).into_data().try_into_vec().unwrap()
        };
        assert_eq!(of(&expected.segments), of(&vec![0; expected.ids.len()]));
    }
}

#[test]
fn keys_of_transformers_4_mean_the_same() {
    let dir = tempfile::tempdir().unwrap();
    copy(&folder("modernbert"), dir.path());
    std::fs::copy(folder("modernbert/old-config.json"), dir.path().join("config.json")).unwrap();
    let (trunk, parameters) = opened(dir.path());
    let expected = Expected::read(&folder("modernbert/states.safetensors"));
    let found = states(&trunk, &parameters, &expected.ids, &expected.offsets, None);
    assert!(largest_difference(&found, &expected.states) < 1e-5);
}

#[test]
fn sizes_come_from_the_config() {
    let sizes = |name: &str| {
        let (trunk, parameters) = opened(&folder(name));
        (trunk.hidden(), trunk.spec().max_length, trunk.spec().vocabulary, parameters.size())
    };
    // 60 x 32 words, 40 x 32 positions, 2 x 32 types, norm; three layers of 4 (32 x 32 + 32) + 2 (32 x 48) + 48 + 32 + norms.
    let layer = 4 * (32 * 32 + 32) + 2 * 32 * 48 + 48 + 32 + 4 * 32;
    assert_eq!(sizes("bert"), (32, 40, 60, 102 * 32 + 64 + 3 * layer));
    assert_eq!(sizes("distilbert"), (32, 40, 60, 100 * 32 + 64 + 3 * layer));
    // Positions begin after the padding id, 1.
    assert_eq!(sizes("roberta"), (32, 38, 60, 101 * 32 + 64 + 2 * layer));
}

#[test]
fn weights_of_other_heads_are_left_out_and_told() {
    let (trunk, _) = opened(&folder("bert-inside"));
    let notes = trunk.spec().notes.join("\n");
    assert!(notes.contains("left out") && notes.contains("cls.predictions.bias"), "{notes}");
    assert_eq!(
        trunk.spec().passthrough.iter().map(|k| k.name.as_str()).collect::<Vec<_>>(),
        ["pooler.dense.bias", "pooler.dense.weight"]
    );
    assert!(opened(&folder("bert")).0.spec().notes.is_empty());
}

#[test]
fn dropout_is_a_function_of_the_seed_and_can_be_overridden() {
    let expected = Expected::read(&folder("bert/states.safetensors"));
    let run = |dropout, seed| {
        let mut parameters = Parameters::new(&burn::tensor::Device::flex(), 1);
        let trunk = Trunk::new(polytask_model::open(&folder("bert"), &mut parameters, dropout).unwrap());
        states(&trunk, &parameters, &expected.ids, &expected.offsets, seed)
    };
    assert_eq!(run(None, Some(3)), run(None, Some(3)));
    assert!(largest_difference(&run(None, Some(3)), &run(None, Some(4))) > 0.1);
    assert_eq!(run(Some(0.0), Some(3)), run(None, None));
}

#[test]
#[ignore = "needs all-MiniLM-L6-v2: set POLYTASK_MINILM to its folder"]
fn minilm_has_the_states_that_transformers_computes() {
    let dir = std::env::var("POLYTASK_MINILM").expect("POLYTASK_MINILM names the folder of all-MiniLM-L6-v2");
    let (trunk, parameters) = opened(Path::new(&dir));
    let expected = Expected::read(&folder("minilm-states.safetensors"));
    let found = states(&trunk, &parameters, &expected.ids, &expected.offsets, None);
    let difference = largest_difference(&found, &expected.states);
    println!("MiniLM-L6: largest difference {difference:.1e}");
    assert!(difference < 1e-5, "{difference}");
}

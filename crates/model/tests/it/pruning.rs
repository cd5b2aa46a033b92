//! A network of which something was cut computes what the whole one does where the same is multiplied by zero, and is saved as a network
//! of its own.

use crate::fixture::{Expected, copy, folder, largest_difference, opened, states};
use burn::tensor::Device;
use polytask_model::pruning::{Cut, WidthOfHeads, cut, gates};
use polytask_model::{Map, ModelError, Parameters, Trunk, save};
use serde_json::Value;
use std::path::Path;

const ENCODERS: [&str; 8] =
    ["bert", "bert-inside", "distilbert", "albert", "mpnet", "deberta", "modernbert", "modernbert-biases"];
const DECODERS: [&str; 5] = ["llama/plain", "llama/mistral", "llama/qwen2", "llama/qwen3", "llama/gemma3"];

/// The network that is left.
fn cut_out(of: (&Trunk, &Parameters), keep: &Cut) -> Result<(Trunk, Parameters), ModelError> {
    let mut parameters = Parameters::new(&Device::flex(), 3);
    let backbone = cut(of, keep, Path::new("nowhere/config.json"), &mut parameters)?;
    Ok((Trunk::new(backbone), parameters))
}

/// `left` of `count` for each of some layers, others in each but where layers have the same weights.
fn some(layers: usize, count: usize, left: usize, same: bool) -> Vec<Vec<usize>> {
    let of_layer = |layer: usize| {
        let first = if same { 1 } else { layer + 1 };
        let mut kept: Vec<usize> = (0..count).map(|at| (at * 7 + first) % count).collect();
        assert_eq!(kept.iter().collect::<std::collections::BTreeSet<_>>().len(), count, "7 and {count}");
        kept.truncate(left);
        kept.sort_unstable();
        kept
    };
    (0..layers).map(of_layer).collect()
}

/// Multiplies by zero what `keep` leaves out of columns of `width` of matrices.
fn zero(parameters: &mut Parameters, matrix: usize, kept: &[usize], width: usize) {
    let columns = parameters.shape(matrix)[1];
    let mut values = parameters.data(matrix);
    for (at, value) in values.iter_mut().enumerate() {
        if !kept.contains(&(at % columns / width)) {
            *value = 0.0;
        }
    }
    parameters.set_data(matrix, values).unwrap();
}

/// The states of the whole network with zeros and of the one that is left are equal; so are those of the latter once it was saved.
fn compare(name: &str, zeroed: (&Trunk, &Parameters), left: (&Trunk, &Parameters)) -> Value {
    let expected = Expected::read(&folder(name).join("states.safetensors"));
    let of = |(trunk, parameters): (&Trunk, &Parameters)| {
        states(trunk, parameters, &expected.ids, &expected.offsets, None)
    };
    let found = of(left);
    let difference = largest_difference(&of(zeroed), &found);
    println!("{name}: {difference:.1e}");
    assert!(difference < 1e-5, "{name}: {difference}");
    assert!(largest_difference(&found, &expected.states) > 1e-3, "{name}: nothing has changed");
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), left.0, left.1).unwrap();
    let (trunk, parameters) = opened(dir.path());
    assert_eq!(of((&trunk, &parameters)), found, "{name}: as saved");
    serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap()
}

#[test]
fn columns_that_are_cut_are_columns_of_zeros() {
    for name in ENCODERS.into_iter().chain(DECODERS) {
        let (trunk, mut parameters) = opened(&folder(name));
        let gates = gates(&trunk);
        let ffn = gates[0].ffn.unwrap();
        let left = ffn.count / 2;
        let keep = some(gates.len(), ffn.count, left, name == "albert");
        let cut = Cut { ffn: Some(keep.clone()), ..Cut::default() };
        let (small, fewer) = cut_out((&trunk, &parameters), &cut).unwrap();
        assert_eq!(small.spec().passthrough, trunk.spec().passthrough, "{name}");
        for (gates, kept) in gates.iter().zip(&keep) {
            zero(&mut parameters, gates.ffn.unwrap().parameter, kept, 1);
        }
        let json = compare(name, (&trunk, &parameters), (&small, &fewer));
        let key = if name == "distilbert" { "hidden_dim" } else { "intermediate_size" };
        assert_eq!(json[key], left, "{name}");
        assert!(fewer.size() < parameters.size(), "{name}");
    }
}

#[test]
fn groups_of_heads_that_are_cut_are_groups_of_zeros() {
    for name in DECODERS {
        let (trunk, mut parameters) = opened(&folder(name));
        let gates = gates(&trunk);
        let heads = trunk.cuttable().heads.unwrap();
        let keep: Vec<Vec<usize>> = (0..gates.len()).map(|layer| vec![layer % heads.kv_heads]).collect();
        let cut = Cut { head_groups: Some(keep.clone()), ..Cut::default() };
        let (small, fewer) = cut_out((&trunk, &parameters), &cut).unwrap();
        for (gates, kept) in gates.iter().zip(&keep) {
            let heads = gates.heads.unwrap();
            zero(&mut parameters, heads.parameter, kept, heads.width);
        }
        let json = compare(name, (&trunk, &parameters), (&small, &fewer));
        let sizes = ["num_attention_heads", "num_key_value_heads", "head_dim"].map(|key| json[key].as_u64());
        let expected = [heads.heads_per_group(), 1, heads.head_dim].map(|size| Some(size as u64));
        assert_eq!(sizes, expected, "{name}");
    }
}

#[test]
fn a_layer_that_is_cut_adds_nothing_to_the_states() {
    for name in ["llama/plain", "llama/mistral", "llama/qwen2", "llama/qwen3", "llama/gemma3", "modernbert"] {
        let (trunk, mut parameters) = opened(&folder(name));
        let gates = gates(&trunk);
        let gone = gates.len() - 1;
        for (parameter, offset) in &gates[gone].layer {
            let zeros = vec![-*offset as f32; parameters.data(*parameter).len()];
            parameters.set_data(*parameter, zeros).unwrap();
        }
        let kept: Vec<usize> = (0..gates.len()).filter(|layer| *layer != gone).collect();
        let cut = Cut { layers: Some(kept.clone()), ..Cut::default() };
        let (small, fewer) = cut_out((&trunk, &parameters), &cut).unwrap();
        let json = compare(name, (&trunk, &parameters), (&small, &fewer));
        assert_eq!(json["num_hidden_layers"], kept.len(), "{name}");
    }
    // Files that say the sorts of layers by their places alone are pruned to one that names them.
    let dir = tempfile::tempdir().unwrap();
    copy(&folder("modernbert"), dir.path());
    std::fs::rename(dir.path().join("old-config.json"), dir.path().join("config.json")).unwrap();
    let (trunk, parameters) = opened(dir.path());
    let cut = Cut { layers: Some(vec![0, 3]), ..Cut::default() };
    let (small, _) = cut_out((&trunk, &parameters), &cut).unwrap();
    assert_eq!(
        small.spec().config_json["layer_types"],
        serde_json::json!(["full_attention", "full_attention"])
    );
    // Any may go, where layers are alike.
    let (trunk, parameters) = opened(&folder("bert"));
    let cut = Cut { layers: Some(vec![1]), ..Cut::default() };
    let (small, fewer) = cut_out((&trunk, &parameters), &cut).unwrap();
    let norm = |parameters: &Parameters, layer: usize| {
        let name = format!("backbone.layer.{layer}.attention.qkv.weight");
        parameters.data(parameters.find(&name).unwrap())
    };
    assert_eq!(small.layers(), 1);
    assert_eq!(norm(&fewer, 0), norm(&parameters, 1));
}

/// Makes the dimensions of `copies` copies of those of `kept`, in their order, which nothing reads: norms see as many of each, so that they
/// are what they would be without the copies.
fn double(trunk: &Trunk, parameters: &mut Parameters, kept: &[usize], copies: &[usize]) {
    let spec = trunk.spec();
    let sites: Vec<_> = spec.layers.iter().flatten().cloned().collect();
    let writes = |map: Map| matches!(map, Map::AttentionOutput | Map::FfnOut);
    let mut change = |index: usize, change: &dyn Fn(&mut [f32], usize)| {
        let columns = parameters.shape(index).get(1).copied().unwrap_or(1);
        let mut values = parameters.data(index);
        change(&mut values, columns);
        parameters.set_data(index, values).unwrap();
    };
    let pairs = || kept.iter().copied().zip(copies.iter().copied());
    let copy_rows = |values: &mut [f32], columns: usize| {
        for (from, to) in pairs() {
            values.copy_within(from * columns..(from + 1) * columns, to * columns);
        }
    };
    let copy_columns = |values: &mut [f32], columns: usize| {
        for row in values.chunks_mut(columns) {
            pairs().for_each(|(from, to)| row[to] = row[from]);
        }
    };
    let mut done: Vec<usize> = Vec::new();
    for site in &sites {
        done.extend([Some(site.weight.index()), site.bias.map(|bias| bias.index())].into_iter().flatten());
        match writes(site.map) {
            true => {
                change(site.weight.index(), &copy_rows);
                if let Some(bias) = site.bias {
                    change(bias.index(), &copy_rows);
                }
            }
            false => change(site.weight.index(), &|values, columns| {
                for row in values.chunks_mut(columns) {
                    copies.iter().for_each(|copy| row[*copy] = 0.0);
                }
            }),
        }
    }
    let names: Vec<String> = spec.names.entries().iter().map(|entry| entry.name.clone()).collect();
    for name in names.iter().filter(|name| !name.ends_with("q_norm") && !name.ends_with("k_norm")) {
        let index = parameters.find(name).unwrap();
        if !done.contains(&index) {
            let is_table = parameters.shape(index).len() == 2;
            let columns = parameters.shape(index).get(1).copied().unwrap_or(1);
            let mut values = parameters.data(index);
            if is_table {
                copy_columns(&mut values, columns)
            } else {
                copy_rows(&mut values, columns)
            }
            parameters.set_data(index, values).unwrap();
        }
    }
}

/// Half of the dimensions are copies that nothing reads: cut out, they leave the states of the others as they are. In BERT's family half of
/// the heads are zeros, which go with them.
#[test]
fn dimensions_that_nothing_reads_are_cut_without_a_change_of_the_others() {
    for name in [
        "bert",
        "bert-inside",
        "distilbert",
        "roberta",
        "llama/plain",
        "llama/mistral",
        "llama/qwen2",
        "llama/qwen3",
    ] {
        let (trunk, mut parameters) = opened(&folder(name));
        let width = trunk.cuttable().hidden.unwrap();
        let (copies, kept): (Vec<usize>, Vec<usize>) =
            (0..width.width).partition(|at| at % 4 == 1 || at % 4 == 2);
        double(&trunk, &mut parameters, &kept, &copies);
        let gates = gates(&trunk);
        let heads = match width.of_heads {
            WidthOfHeads::Follow(_, heads) => {
                let all = (0..gates.len()).map(|layer| vec![layer % 2, 2 + layer % 2]).collect::<Vec<_>>();
                for (gates, kept) in gates.iter().zip(&all) {
                    let heads = gates.heads.unwrap();
                    zero(&mut parameters, heads.parameter, kept, heads.width);
                }
                assert_eq!(heads.heads, 4, "{name}");
                Some(all)
            }
            WidthOfHeads::Free(_) => None,
        };
        let cut = Cut { hidden: Some(kept.clone()), head_groups: heads, ..Cut::default() };
        let (small, fewer) = cut_out((&trunk, &parameters), &cut).unwrap();
        assert_eq!(small.hidden(), width.width / 2);
        assert!(small.spec().passthrough.iter().all(|kept| !kept.shape.contains(&width.width)), "{name}");
        let expected = Expected::read(&folder(name).join("states.safetensors"));
        let of = |trunk: &Trunk, parameters: &Parameters| {
            states(trunk, parameters, &expected.ids, &expected.offsets, None)
        };
        let whole = of(&trunk, &parameters);
        let whole: Vec<f32> =
            whole.chunks(width.width).flat_map(|row| kept.iter().map(|at| row[*at])).collect();
        let found = of(&small, &fewer);
        let difference = largest_difference(&whole, &found);
        println!("{name}: {difference:.1e}");
        assert!(difference < 1e-5, "{name}: {difference}");
        let dir = tempfile::tempdir().unwrap();
        save(dir.path(), &small, &fewer).unwrap();
        let (again, parameters) = opened(dir.path());
        assert_eq!(of(&again, &parameters), found, "{name}: as saved");
        let json: Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("config.json")).unwrap()).unwrap();
        assert_eq!(json[width.key], width.width / 2, "{name}");
    }
}

#[test]
fn layers_heads_and_columns_are_cut_together() {
    let name = "llama/qwen3";
    let (trunk, mut parameters) = opened(&folder(name));
    let gates = gates(&trunk);
    let columns = some(2, 40, 24, false);
    let cut = Cut {
        layers: Some(vec![0]),
        ffn: Some(columns.clone()),
        head_groups: Some(vec![vec![1], vec![0]]),
        ..Cut::default()
    };
    let (small, fewer) = cut_out((&trunk, &parameters), &cut).unwrap();
    zero(&mut parameters, gates[0].ffn.unwrap().parameter, &columns[0], 1);
    let heads = gates[0].heads.unwrap();
    zero(&mut parameters, heads.parameter, &[1], heads.width);
    for (parameter, _) in &gates[1].layer {
        let zeros = vec![0.0; parameters.data(*parameter).len()];
        parameters.set_data(*parameter, zeros).unwrap();
    }
    compare(name, (&trunk, &parameters), (&small, &fewer));
}

#[test]
fn what_cannot_be_cut_is_refused() {
    let refused = |name: &str, cut: Cut| {
        let (trunk, parameters) = opened(&folder(name));
        cut_out((&trunk, &parameters), &cut).err().unwrap().to_string()
    };
    let layers = |kept: &[usize]| Cut { layers: Some(kept.to_vec()), ..Cut::default() };
    let ffn = |kept: &[&[usize]]| Cut {
        ffn: Some(kept.iter().map(|kept| kept.to_vec()).collect()),
        ..Cut::default()
    };
    let heads = |kept: &[&[usize]]| Cut {
        head_groups: Some(kept.iter().map(|kept| kept.to_vec()).collect()),
        ..Cut::default()
    };
    for (name, cut, told) in [
        ("bert", heads(&[&[0], &[0], &[0]]), "hidden_size / num_attention_heads"),
        ("t5", ffn(&[&[0], &[0]]), "config.json could say"),
        ("t5", layers(&[0]), "config.json could say"),
        ("bert", layers(&[0, 3]), "at least one of 3"),
        ("bert", layers(&[]), "at least one of 3"),
        ("bert", layers(&[1, 0]), "rising"),
        ("bert", ffn(&[&[0], &[0]]), "found 2 layers, the network has 3"),
        ("bert", ffn(&[&[0], &[0], &[0, 1]]), "as many columns in every layer"),
        ("bert", ffn(&[&[0], &[0], &[48]]), "at least one of 48"),
        ("albert", ffn(&[&[0], &[0], &[1], &[1]]), "the same columns"),
        ("albert", layers(&[0, 1]), "layers have the same weights"),
        ("modernbert", layers(&[1, 2]), "the first layer"),
        ("llama/plain", heads(&[&[0], &[2]]), "at least one of 2"),
    ] {
        let found = refused(name, cut);
        assert!(found.contains(told), "{name}: {found}");
    }
    let hidden = |count: usize| Cut { hidden: Some((0..count).collect()), ..Cut::default() };
    let with_heads =
        |count: usize, groups: &[usize]| Cut { head_groups: Some(vec![groups.to_vec(); 3]), ..hidden(count) };
    for (name, cut, told) in [
        ("bert", hidden(20), "a multiple of 8 up to 32"),
        ("bert", hidden(16), "16 dimensions are those of 2 heads"),
        ("bert", with_heads(16, &[0]), "16 dimensions are those of 2 heads"),
        ("bert", with_heads(16, &[0, 4]), "at least one of 4"),
        ("bert", hidden(33), "at least one of 32"),
        ("albert", hidden(16), "layers of their own"),
        ("mpnet", hidden(16), "layers of their own"),
        ("deberta", hidden(16), "layers of their own"),
        ("modernbert", hidden(16), "layers of their own"),
        ("t5", hidden(16), "config.json could say"),
        ("llama/gemma3", hidden(16), "the root of the width"),
        ("llama/plain", hidden(0), "at least one of"),
    ] {
        let found = refused(name, cut);
        assert!(found.contains(told), "{name}: {found}");
    }
    // Of three groups of one head each of a network of 32 columns: transformers takes one or two.
    let sizes = polytask_model::pruning::HeadSizes { heads: 3, kv_heads: 3, head_dim: 8, divide: Some(32) };
    assert_eq!(sizes.group_counts(), [1, 2]);
}

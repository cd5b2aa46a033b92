//! Networks whose matrices are two factors: they compute what the products compute, forwards and backwards, and come back from their files
//! to the bit; what a trunk reads is summed up as it is.

use crate::fixture::{Expected, copy, folder, largest_difference, opened, pass, positions, states};
use burn::tensor::{Device, Tensor, TensorData};
use polytask_model::factorization::{Factorizable, factorizable, low_rank::of_weight};
use polytask_model::{
    BertConfig, EncoderInput, FromScratch, InputGrams, LayerContext, LinearId, LoraConfig, PackOffset,
    ParameterTensor, Parameters, Precision, SharingConfig, SoftConfig, Trunk, TrunkPass, build, is_low_rank,
    load_factors, open, open_layers, pack_quantized,
    quantization::{Int4Rounding, WeightType, rounded},
    save,
};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

const NETWORKS: [&str; 14] = [
    "bert",
    "distilbert",
    "roberta",
    "electra",
    "mpnet",
    "albert",
    "albert-groups",
    "deberta",
    "modernbert",
    "t5",
    "llama/plain",
    "llama/qwen2",
    "llama/qwen3",
    "llama/gemma3",
];

/// Puts factors in the place of all matrices, of ranks that `rank` gives.
fn factorize(trunk: &Trunk, parameters: &mut Parameters, rank: impl Fn(&Factorizable) -> usize) -> usize {
    let found = factorizable(trunk, parameters);
    for matrix in &found {
        let mut unit = vec![0.0; matrix.shape[1] * matrix.shape[1]];
        unit.iter_mut().step_by(matrix.shape[1] + 1).for_each(|x| *x = 1.0);
        let factors = of_weight(&parameters.data(matrix.index), matrix.shape, &unit, rank(matrix)).unwrap();
        parameters.factorize(matrix.index, factors.up, factors.down, factors.rank);
    }
    found.len()
}

fn whole(matrix: &Factorizable) -> usize {
    matrix.shape[0].min(matrix.shape[1])
}

fn half(matrix: &Factorizable) -> usize {
    (whole(matrix) / 2).max(1)
}

/// A folder with its factors in their place.
fn opened_low_rank(dir: &Path, device: &Device) -> (Trunk, Parameters) {
    let mut parameters = Parameters::new(device, 17);
    let trunk = Trunk::new(open(dir, &mut parameters, None).unwrap_or_else(|error| panic!("{error}")));
    assert!(load_factors(dir, &trunk.spec().names, &mut parameters).unwrap() > 0);
    (trunk, parameters)
}

#[test]
fn factors_of_the_whole_rank_give_the_states_of_transformers() {
    for name in NETWORKS {
        let expected = Expected::read(&folder(name).join("states.safetensors"));
        let (trunk, mut parameters) = opened(&folder(name));
        let of = |parameters: &Parameters| states(&trunk, parameters, &expected.ids, &expected.offsets, None);
        let before = of(&parameters);
        let matrices = factorize(&trunk, &mut parameters, whole);
        let far = largest_difference(&of(&parameters), &before);
        println!("{name}: {matrices} matrices, {far:.1e}");
        assert!(matrices > 4 && far < 1e-4, "{name}: {far}");
    }
}

/// What is written with a token table that is two factors: by T5's decoder, which looks its tokens up in it, and by a decoder alone.
#[test]
fn logits_of_a_factorized_token_table_are_those_of_the_whole() {
    for name in ["t5", "t5-gated", "llama/plain", "llama/gemma3"] {
        let (trunk, mut parameters) = opened(&folder(name));
        let logits = |parameters: &Parameters| {
            let states = tensor(numbers(5 * trunk.hidden(), 3), [5, trunk.hidden()], parameters.device());
            let (rows, text): (kernels::RowOffsets, kernels::RowOffsets) =
                (Arc::from([0, 3, 5]), Arc::from([0, 2, 5]));
            let found = match trunk.generator() {
                Some(decoder) => {
                    decoder.logits(parameters, (&[0, 9, 0, 3, 9], &text), (states, &rows), None, None)
                }
                None => trunk.logits(parameters, states).unwrap(),
            };
            values(found)
        };
        let before = logits(&parameters);
        factorize(&trunk, &mut parameters, whole);
        assert!(parameters.second_factor(trunk.spec().token_embedding.index()).is_some());
        let (after, largest) = (logits(&parameters), before.iter().fold(0.0, |m: f32, x| m.max(x.abs())));
        let far = largest_difference(&after, &before);
        println!("{name}: {far:.1e} of {largest:.1}");
        assert!(far < 1e-4 * largest.max(1.0), "{name}: {far}");
    }
}

#[test]
fn files_come_back_to_the_bit_and_multiplied_out() {
    for name in NETWORKS {
        let expected = Expected::read(&folder(name).join("states.safetensors"));
        let of = |(trunk, parameters): (&Trunk, &Parameters)| {
            states(trunk, parameters, &expected.ids, &expected.offsets, None)
        };
        let (trunk, mut parameters) = opened(&folder(name));
        let whole = of((&trunk, &parameters));
        factorize(&trunk, &mut parameters, half);
        let before = of((&trunk, &parameters));
        assert!(largest_difference(&whole, &before) > 1e-3, "{name}: nothing has changed");

        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        save(dirs[0].path(), &trunk, &parameters).unwrap();
        let (again, same) = opened_low_rank(dirs[0].path(), &Device::flex());
        assert_eq!(of((&again, &same)), before, "{name}");
        assert_eq!(
            again.spec().config_json,
            trunk.spec().config_json,
            "{name}: config.json is of the network"
        );
        save(dirs[1].path(), &again, &same).unwrap();
        for file in ["config.json", "model.safetensors"] {
            let [first, second] = dirs.each_ref().map(|dir| std::fs::read(dir.path().join(file)).unwrap());
            assert!(first == second, "{name}: {file}");
        }
        assert!(is_low_rank(dirs[0].path()).unwrap() && !is_low_rank(&folder(name)).unwrap());
        // transformers warns of a `quant_method` that it does not know, and draws what it misses; without one it refuses the folder.
        let config: Value =
            serde_json::from_slice(&std::fs::read(dirs[0].path().join("config.json")).unwrap()).unwrap();
        assert!(config["quantization_config"].get("quant_method").is_none(), "{config}");

        // Who knows of no factors has their products, and writes whole matrices.
        let (dense, products) = opened(dirs[0].path());
        assert!(!products.has_factors());
        let far = largest_difference(&of((&dense, &products)), &before);
        assert!(far < 1e-4, "{name}: {far}");
        save(dirs[1].path(), &dense, &products).unwrap();
        assert!(!is_low_rank(dirs[1].path()).unwrap());
        assert_eq!(opened(dirs[1].path()).1.size(), opened(&folder(name)).1.size(), "{name}");
    }
}

fn tensor(values: Vec<f32>, shape: [usize; 2], device: &Device) -> Tensor<2> {
    Tensor::from_data(TensorData::new(values, shape), device)
}

fn values(tensor: Tensor<2>) -> Vec<f32> {
    tensor.inner().into_data().try_into_vec().unwrap()
}

fn numbers(count: usize, seed: u64) -> Vec<f32> {
    (0..count as u64).map(|i| (kernels::splitmix(seed + i) >> 40) as f32 / (1 << 23) as f32 - 1.0).collect()
}

/// A small BERT with `rank` in one linear layer and in the token table.
fn small(device: &Device) -> (Trunk, Parameters, LinearId) {
    let mut parameters = Parameters::new(device, 5);
    let config = BertConfig { layers: 2, hidden: 16, heads: 2, max_length: 20, ..Default::default() };
    let backbone = build(&FromScratch::Bert(config), 50, [0, 1], &mut parameters).unwrap();
    let trunk = Trunk::new(backbone);
    factorize(&trunk, &mut parameters, |matrix| if matrix.layer == Some(1) { whole(matrix) } else { 5 });
    let site = &trunk.spec().layers[0][0];
    let linear = LinearId { weight: site.weight, bias: site.bias };
    (trunk, parameters, linear)
}

/// Forwards and backwards a linear layer of two factors is two plain products, also where some of its rows alone are computed.
#[test]
fn gradients_are_those_of_two_plain_products() {
    let device = Device::flex().autodiff();
    let (trunk, parameters, linear) = small(&device);
    let context = LayerContext::plain(&parameters, Precision::F32, None);
    let down_index = parameters.second_factor(linear.weight.index()).unwrap().index();
    let factor = |index: usize| {
        let shape = parameters.shape(index);
        tensor(parameters.data(index), [shape[0], shape[1]], &device).set_require_grad(true)
    };
    let matrix = |index: usize| match parameters.parameter(index).value() {
        ParameterTensor::Matrix(tensor) => tensor.clone(),
        ParameterTensor::Vector(_) => unreachable!(),
    };
    let close = |found: Tensor<2>, expected: Tensor<2>| {
        let far = largest_difference(&values(found), &values(expected));
        assert!(far < 1e-5, "{far}");
    };
    for rows in [0..48, 16..48] {
        let x = tensor(numbers(7 * 16, 3), [7, 16], &device).set_require_grad(true);
        let (up, down, same_x) = (
            factor(linear.weight.index()),
            factor(down_index),
            tensor(values(x.clone()), [7, 16], &device).set_require_grad(true),
        );
        let found = context.linear_part(None, &[], x.clone(), linear, rows.clone());
        let bias = parameters.vector(linear.bias.unwrap()).slice([rows.clone()]).unsqueeze::<2>();
        let inner = same_x.clone().matmul(down.clone().transpose());
        let expected = inner.matmul(up.clone().slice([rows.clone(), 0..5]).transpose()) + bias;
        close(found.clone(), expected.clone());
        let weights = tensor(numbers(7 * rows.len(), 9), [7, rows.len()], &device);
        let of_found = (found * weights.clone()).sum().backward();
        let of_expected = (expected * weights).sum().backward();
        close(x.grad(&of_found).unwrap(), same_x.grad(&of_expected).unwrap());
        for (index, plain) in [(linear.weight.index(), up), (down_index, down)] {
            close(matrix(index).grad(&of_found).unwrap(), plain.grad(&of_expected).unwrap());
        }
    }
    // Token vectors, of all rows of the first factor and of those alone that occur.
    let (table, ids) = (trunk.spec().token_embedding, [7, 3, 7, 49]);
    let second = parameters.second_factor(table.index()).unwrap().index();
    let (up, down) = (factor(table.index()), factor(second));
    let expected = up
        .clone()
        .matmul(down.clone())
        .select(0, Tensor::from_data(TensorData::new(ids.map(|id| id as i64).to_vec(), [4]), &device));
    let weights = tensor(numbers(64, 21), [4, 16], &device);
    let of_expected = (expected.clone() * weights.clone()).sum().backward();
    let few = parameters.with_row_subset(table, &[3, 7, 49]);
    for (parameters, rows) in [(&parameters, None), (&few, Some([3, 7, 49]))] {
        let context = LayerContext::plain(parameters, Precision::F32, None);
        let found = context.token_vectors(table, &ids);
        close(found.clone(), expected.clone());
        let gradients = (found * weights.clone()).sum().backward();
        let of = |index: usize| match parameters.parameter(index).value() {
            ParameterTensor::Matrix(tensor) => tensor.grad(&gradients).unwrap(),
            ParameterTensor::Vector(_) => unreachable!(),
        };
        close(of(second), down.grad(&of_expected).unwrap());
        let all = values(up.grad(&of_expected).unwrap());
        let expected = match rows {
            None => all,
            Some(rows) => rows.iter().flat_map(|row| all[row * 5..(row + 1) * 5].to_vec()).collect(),
        };
        assert!(largest_difference(&values(of(table.index())), &expected) < 1e-5);
        assert_eq!(values(context.token_table(table, &ids).0).len(), 64, "a table of these tokens alone");
    }
    assert_eq!(parameters.matrix_shape(table), [50, 16]);
}

/// What is summed up are the inputs of the layers, whichever way a layer computes, and nothing that was not asked for.
#[test]
fn inputs_of_layers_are_summed_up() {
    for name in ["bert", "albert", "deberta", "modernbert", "llama/plain"] {
        let (trunk, parameters) = opened(&folder(name));
        let expected = Expected::read(&folder(name).join("states.safetensors"));
        let positions = positions(&expected.offsets);
        let input = EncoderInput {
            ids: &expected.ids,
            positions: &positions,
            segments: &expected.segments,
            offsets: &expected.offsets,
            datasets: &[],
            offset: PackOffset::default(),
        };
        let plain = pass(&parameters, input, None);
        let matrices: Vec<Factorizable> =
            factorizable(&trunk, &parameters).into_iter().filter(|one| one.layer.is_some()).collect();
        let grams = InputGrams::of(matrices.iter().map(|matrix| matrix.index));
        let listening = TrunkPass { grams: Some(&grams), ..plain };
        let far = largest_difference(&values(trunk.states(&listening)), &values(trunk.states(&plain)));
        assert!(far < 1e-5, "{name}: listening changes nothing: {far}");
        let sums = grams.into_sums();
        assert_eq!(sums.len(), matrices.len(), "{name}");
        for matrix in &matrices {
            let gram = &sums[&matrix.index];
            assert!(gram.inputs == matrix.shape[1] && gram.sum.len() == gram.inputs * gram.inputs);
            let uses = trunk.spec().shape().uses(matrix.index).max(1);
            if name != "deberta" {
                assert_eq!(gram.tokens, (expected.ids.len() * uses) as f64, "{name}");
            }
            for (at, x) in gram.sum.iter().enumerate() {
                let mirrored = gram.sum[at % gram.inputs * gram.inputs + at / gram.inputs];
                assert!((x - mirrored).abs() <= 1e-4 * (1.0 + x.abs()), "{name}: it is symmetric");
            }
        }
        // The first layer of a BERT reads what the embeddings give.
        if name == "bert" {
            let x = trunk.lower(&plain);
            let [tokens, width] = x.dims();
            let x: Vec<f64> = values(x).into_iter().map(f64::from).collect();
            let of_rows = kernels::dense::transposed(&x, [tokens, width]);
            let expected = kernels::dense::product(&of_rows, &x, [width, tokens, width]);
            let found = &sums[&trunk.spec().layers[0][0].weight.index()].sum;
            assert!(found.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4 * (1.0 + b.abs())));
        }
        let none = InputGrams::of([]);
        trunk.states(&TrunkPass { grams: Some(&none), ..plain });
        assert!(none.into_sums().is_empty());
    }
}

/// Both factors in int8, as `quantize` writes them.
#[test]
fn int8_factors_are_saved_and_packed_again() {
    let (trunk, mut parameters) = opened(&folder("bert"));
    factorize(&trunk, &mut parameters, half);
    let expected = Expected::read(&folder("bert").join("states.safetensors"));
    let of = |(trunk, parameters): (&Trunk, &Parameters)| {
        states(trunk, parameters, &expected.ids, &expected.offsets, None)
    };
    let before = of((&trunk, &parameters));
    let candidates = trunk.int8_candidates(&parameters);
    assert_eq!(
        candidates.len(),
        2 * factorizable(&opened(&folder("bert")).0, &opened(&folder("bert")).1).len()
    );
    for index in candidates {
        parameters.set_trainable(index, false);
        let int8 = rounded(&parameters, index, WeightType::Int8, Int4Rounding::Hqq).unwrap();
        parameters.set_packed(index, int8);
    }
    let packed = of((&trunk, &parameters));
    let far = largest_difference(&packed, &before);
    assert!(far > 0.0 && far < 0.2, "{far}");
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &trunk, &parameters).unwrap();
    let (again, mut same) = opened_low_rank(dir.path(), &Device::flex());
    assert!(pack_quantized(dir.path(), &again, &mut same).unwrap() > 0);
    assert_eq!(of((&again, &same)), packed);
    let (dense, products) = opened(dir.path());
    assert!(largest_difference(&of((&dense, &products)), &packed) < 0.2);
}

#[test]
fn schemes_that_copy_matrices_are_refused_and_others_work() {
    let (mut trunk, mut parameters, _) = small(&Device::flex());
    let tasks = ["a".to_owned(), "b".to_owned()];
    let soft = SharingConfig::Soft(SoftConfig::default()).build();
    let error = trunk.set_sharing(soft, &tasks, &mut parameters).unwrap_err().to_string();
    assert!(error.contains("sharing.soft") && error.contains("two factors"), "{error}");
    let (mut trunk, mut parameters, _) = small(&Device::flex());
    let before = states(&trunk, &parameters, &[3, 4, 5], &[0, 3], None);
    trunk.set_sharing(SharingConfig::Lora(LoraConfig::default()).build(), &tasks, &mut parameters).unwrap();
    assert_eq!(states(&trunk, &parameters, &[3, 4, 5], &[0, 3], None), before, "it begins as hard sharing");
}

type Tensors = BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>;

/// The error that a spoilt folder of factors gives.
fn error_of(spoil: impl FnOnce(&mut Value, &mut Tensors)) -> String {
    let (trunk, mut parameters) = opened(&folder("bert"));
    factorize(&trunk, &mut parameters, half);
    let dir = tempfile::tempdir().unwrap();
    copy(&folder("bert"), dir.path());
    save(dir.path(), &trunk, &parameters).unwrap();
    let (config, weights) = (dir.path().join("config.json"), dir.path().join("model.safetensors"));
    let mut json: Value = serde_json::from_slice(&std::fs::read(&config).unwrap()).unwrap();
    let bytes = std::fs::read(&weights).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let mut all: Tensors = file
        .iter()
        .map(|(n, v)| (n.to_owned(), (v.dtype(), v.shape().to_vec(), v.data().to_vec())))
        .collect();
    spoil(&mut json, &mut all);
    std::fs::write(&config, json.to_string()).unwrap();
    let views = all.iter().map(|(name, (d, s, b))| (name, TensorView::new(*d, s.clone(), b).unwrap()));
    std::fs::write(&weights, safetensors::serialize(views, None).unwrap()).unwrap();
    let mut parameters = Parameters::new(&Device::flex(), 1);
    let loaded = open(dir.path(), &mut parameters, None)
        .and_then(|backbone| load_factors(dir.path(), &backbone.spec().names, &mut parameters));
    let error = loaded.map(|_| ()).expect_err("it is broken").to_string();
    assert!(error.contains(dir.path().to_str().unwrap()), "names the file: {error}");
    error
}

const OUTPUT: &str = "encoder.layer.0.attention.output.dense.weight";

#[test]
fn broken_factors_are_refused() {
    let reshape = |name: String, shape: Vec<usize>| {
        error_of(move |_, all| {
            let (_, old, bytes) = all.get_mut(&name).unwrap();
            let size: usize = shape.iter().product();
            bytes.resize(4 * size, 0);
            *old = shape;
        })
    };
    let (up, down) = (format!("{OUTPUT}.up"), format!("{OUTPUT}.down"));
    let width = opened(&folder("bert")).0.hidden();
    for (error, told) in [
        (reshape(up.clone(), vec![width, 0]), "does not fit"),
        (reshape(up.clone(), vec![width, width / 2 + 1]), "does not fit"),
        (reshape(up.clone(), vec![width - 1, width / 2]), "found shape"),
        (reshape(down.clone(), vec![width / 2, width + 1]), "found shape"),
        (reshape(down.clone(), vec![width / 2 * width]), "expected a matrix"),
        (error_of(|_, all| drop(all.remove(&up))), "found nothing, expected a matrix"),
        (error_of(|_, all| drop(all.remove(&down))), "found nothing, expected a matrix"),
        (
            error_of(|_, all| {
                let zeros = (Dtype::F32, vec![width, width], vec![0; 4 * width * width]);
                all.insert(OUTPUT.to_owned(), zeros);
            }),
            "is there whole",
        ),
        (error_of(|_, all| all.get_mut(&up).unwrap().2[..4].copy_from_slice(&f32::NAN.to_le_bytes())), "NaN"),
        (error_of(|_, all| all.get_mut(&down).unwrap().0 = Dtype::I32), "I32"),
        (error_of(|json, _| json["quantization_config"]["low_rank"] = json!("all")), "low_rank"),
        (error_of(|json, _| json["quantization_config"]["low_rank"] = json!([[]])), "low_rank"),
        (
            error_of(|json, _| json["quantization_config"]["low_rank"] = json!([[OUTPUT], [OUTPUT]])),
            "every name once",
        ),
        // The factors of what is not named belong to nobody.
        (error_of(|json, _| json["quantization_config"]["low_rank"] = json!([[OUTPUT]])), "leave no place"),
    ] {
        assert!(error.contains(told), "{told}: {error}");
    }
    // A rank beyond the sizes of both.
    let error = error_of(|_, all| {
        for (name, shape) in [(&up, vec![width, width + 1]), (&down, vec![width + 1, width])] {
            let (_, old, bytes) = all.get_mut(name).unwrap();
            bytes.resize(4 * width * (width + 1), 0);
            *old = shape;
        }
    });
    assert!(error.contains(&format!("found rank {}", width + 1)), "{error}");
    // Queries, keys and values are one matrix, and not each by itself.
    let error = error_of(|json, all| {
        let groups = json["quantization_config"]["low_rank"].as_array_mut().unwrap();
        let at = groups.iter().position(|group| group.as_array().unwrap().len() == 3).unwrap();
        let names = groups.remove(at).as_array().unwrap().clone();
        let name = |name: &Value| name.as_str().unwrap().to_owned();
        let shared = all[&format!("{}.down", name(&names[0]))].clone();
        for one in &names {
            groups.push(json!([one]));
            all.insert(format!("{}.down", name(one)), shared.clone());
        }
    });
    assert!(error.contains("is one matrix of the network") || error.contains("found rank"), "{error}");
    // Fewer layers are taken of whole matrices.
    let (trunk, mut parameters) = opened(&folder("bert"));
    factorize(&trunk, &mut parameters, half);
    let dir = tempfile::tempdir().unwrap();
    save(dir.path(), &trunk, &parameters).unwrap();
    let error = open_layers(dir.path(), &mut Parameters::new(&Device::flex(), 1), None, 1).err().unwrap();
    assert!(error.to_string().contains("two factors"), "{error}");
}

//! Rows, views and packs in a few words, and the numbers that `scripts/make_task_fixtures.py` wrote.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Tensor, TensorData};
use data::{
    Encoded, InputField, NO_WORD, Pack, Place, Row, RowRef, Split, Tokenizer, TokenizerConfig, Value, View,
};
use model::{DeviceName, Group, Init, Parameters, Weight};
use polytask_tasks::{Batch, BatchRow, Kind, Prediction, TaskConfig, Trunk};
use serde_json::{Value as Json, json};

/// The config of a task `[task.t]` with the given kind table.
pub fn config(kind: &str, table: Json) -> TaskConfig {
    serde_json::from_value(json!({ "corpus": "c", kind: table })).expect("a good config")
}

pub fn kind(name: &str, table: Json) -> Box<dyn Kind> {
    config(name, table).build("t").expect("a good config")
}

/// Rows of `data.jsonl`, one for each object.
pub fn rows(objects: Json) -> Vec<Row> {
    let objects = objects.as_array().expect("a list of rows");
    let row = |(i, object): (usize, &Json)| {
        let place = Place { file: Arc::from(Path::new("data.jsonl")), line: i + 1 };
        let fields = object.as_object().expect("a row").iter().map(|(k, v)| (k.as_str().into(), value(v)));
        Row { place, fields: fields.collect() }
    };
    objects.iter().enumerate().map(row).collect()
}

fn value(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => Value::Number(n.as_f64().unwrap()),
        Json::String(s) => Value::Text(s.clone()),
        Json::Array(items) => Value::List(items.iter().map(value).collect()),
        Json::Object(fields) => {
            Value::Record(fields.iter().map(|(k, v)| (k.as_str().into(), value(v))).collect())
        }
    }
}

/// A view in which each row has the given words per token (`None`: a special token); `cut[i]` tokens were lost.
pub fn view(input: InputField, rows: Vec<Row>, words: &[Vec<Option<u32>>], cut: &[u32]) -> View {
    let mut encoded = Encoded { offsets: vec![0], cut: cut.to_vec(), ..Default::default() };
    for row in words {
        encoded.words.extend(row.iter().map(|word| word.unwrap_or(NO_WORD)));
        encoded.ids.resize(encoded.words.len(), 1);
        encoded.offsets.push(encoded.words.len());
    }
    assert_eq!((rows.len(), words.len()), (cut.len(), cut.len()));
    View { corpus: "c".into(), input, rows: rows.into(), encoded, hiding: None }
}

/// The pack of all rows of a view.
pub fn pack(view: &View) -> Pack {
    let rows: Vec<RowRef> = (0..view.rows.len() as u32).map(|row| RowRef { view: 0, row }).collect();
    Pack::of(std::slice::from_ref(view), &rows)
}

/// Rows of the pack that are the same rows of the view.
pub fn same(rows: &[u32]) -> Vec<BatchRow> {
    rows.iter().map(|row| BatchRow { pack_row: *row, row: *row }).collect()
}

/// Predictions of classes by probability 1, and of tags.
pub fn label(labels: usize, best: usize) -> Prediction {
    Prediction::Label((0..labels).map(|i| if i == best { 1.0 } else { 0.0 }).collect())
}

pub fn floats(json: &Json) -> Vec<f32> {
    json.as_array().expect("a list").iter().map(|x| x.as_f64().expect("a number") as f32).collect()
}

pub fn near(found: &[f32], expected: &[f32], what: &str) {
    assert_eq!(found.len(), expected.len(), "{what}");
    for (i, (f, e)) in found.iter().zip(expected).enumerate() {
        assert!((f - e).abs() <= 2e-6 * (1.0 + e.abs()), "{what}[{i}]: {f} against {e}");
    }
}

/// A vocabulary of bytes; its mask token is 4.
pub fn tokenizer() -> Tokenizer {
    Tokenizer::train(&["a text"], &TokenizerConfig::default()).unwrap()
}

/// The numbers from PyTorch.
pub struct Heads {
    pub json: Json,
    pub states: Vec<f32>,
    pub hidden: usize,
    /// Word of each token of each row.
    pub words: Vec<Vec<Option<u32>>>,
}

/// The devices that are built in, the processor first.
pub fn devices() -> Vec<Device> {
    DeviceName::BUILT.iter().map(|name| name.open().unwrap()).collect()
}

impl Heads {
    pub fn read() -> Self {
        Heads::of(include_str!("../fixtures/heads.json"))
    }

    /// From the text of a fixture.
    pub fn of(text: &str) -> Self {
        let json: Json = serde_json::from_str(text).unwrap();
        Heads {
            states: floats(&json["inputs"]["states"]),
            hidden: json["hidden"].as_u64().unwrap() as usize,
            words: serde_json::from_value(json["words"].clone()).unwrap(),
            json,
        }
    }

    pub fn input(&self, name: &str) -> Vec<f32> {
        floats(&self.json["inputs"][name])
    }

    /// Token states `[tokens, hidden]`.
    pub fn states(&self, device: &Device) -> Tensor<2> {
        let shape = [self.states.len() / self.hidden, self.hidden];
        Tensor::from_data(TensorData::new(self.states.clone(), shape), device)
    }

    /// Builds the head of task `t` with PyTorch's weights, of a smaller head the first of them.
    pub fn build(&self, kind: &mut dyn Kind, device: &Device) -> Parameters {
        let mut parameters = Parameters::new(device, 1);
        if let Ok(shape) = serde_json::from_value(self.json["table"].clone()) {
            // The kind uses the trunk's token vectors, too.
            let token_table = parameters.matrix(&Group::Trunk, "head.t.table", shape, Init::Zeros);
            let tokenizer = tokenizer();
            kind.connect(&Trunk { hidden: self.hidden, tokenizer: &tokenizer, token_table, decoder: None })
                .unwrap();
        }
        kind.build(&mut parameters, self.hidden);
        for name in self.json["inputs"].as_object().expect("inputs by name").keys() {
            if let Some(index) = parameters.find(&format!("head.t.{name}")) {
                let size = parameters.shape(index).iter().product::<usize>();
                parameters.set_data(index, self.input(name)[..size].to_vec()).unwrap();
            }
        }
        parameters
    }

    /// Loss and all gradients of the task, on every device, against those of a case; from whole rows, and from the tokens
    /// alone that the task says it reads.
    pub fn compare(&self, kind: &mut dyn Kind, pack: &Pack, rows: &[u32], items: usize, case: &Json) {
        for device in devices() {
            self.compare_on(&device.autodiff(), kind, pack, rows, items, case);
        }
    }

    fn compare_on(
        &self,
        device: &Device,
        kind: &mut dyn Kind,
        pack: &Pack,
        rows: &[u32],
        items: usize,
        case: &Json,
    ) {
        let rows = same(rows);
        self.build(kind, device);
        let mut read = vec![false; pack.tokens()];
        kind.reads(pack, &rows, &mut read);
        let read: Vec<u32> = (0..).zip(read).filter_map(|(token, read)| read.then_some(token)).collect();
        let all: Vec<u32> = (0..pack.tokens() as u32).collect();
        for tokens in [all, read] {
            let parameters = self.build(kind, device);
            let states = self.states(device).require_grad();
            let (part, seen) = (pack.only(&tokens), kernels::pick(states.clone(), &tokens));
            let batch = Batch::evaluated(&seen, &part, Split::Train, &rows);
            let loss = kind.loss(&parameters, &batch).expect("rows with labels");
            assert_eq!(loss.items, items);
            let value: Vec<f32> = loss.mean.clone().into_data().try_into_vec().unwrap();
            near(&value, &[case["loss"].as_f64().unwrap() as f32], "loss");
            let gradients = loss.mean.backward();
            let vec = |data: TensorData| data.try_into_vec::<f32>().unwrap();
            let expected = case["gradients"].as_object().unwrap();
            for (name, expected) in expected {
                let parameter = parameters.find(&format!("head.t.{name}"));
                let found = match parameter.map(|i| parameters.parameter(i).value()) {
                    None => vec(states.grad(&gradients).unwrap().into_data()),
                    Some(Weight::Matrix(w)) => vec(w.grad(&gradients).unwrap().into_data()),
                    Some(Weight::Vector(w)) => vec(w.grad(&gradients).unwrap().into_data()),
                };
                near(&found, &floats(expected), name);
            }
            assert_eq!(expected.len(), parameters.len() + 1, "a gradient for each parameter and the states");
        }
    }
}

//! Rows, views and packs in a few words, and the numbers that `scripts/make_task_fixtures.py` wrote.

use std::path::Path;
use std::sync::{Arc, LazyLock};

use burn::tensor::{Device, Tensor, TensorData};
use data::{
    Encoded, InputField, NO_WORD_ID, Pack, Place, Row, RowRef, Split, Tokenizer, TokenizerConfig, Value, View,
};
use model::{DeviceName, Init, Owner, ParameterSpec, ParameterTensor, Parameters, Role};
use polytask_tasks::{Batch, BatchRow, Kind, Prediction, TaskConfig, TaskError, TaskHead, TrunkHandles};
use serde_json::{Value as Json, json};

/// The config of a task `[task.t]` with the given kind table.
pub fn config(kind: &str, table: Json) -> TaskConfig {
    serde_json::from_value(json!({ "corpus": "c", kind: table })).expect("a good config")
}

pub fn kind(name: &str, table: Json) -> Box<dyn Kind> {
    config(name, table).build("t").expect("a good config")
}

/// A task whose labels are known.
pub struct Learnt {
    pub kind: Box<dyn Kind>,
    pub label_space: Json,
}

impl Learnt {
    /// The task with the labels of some training rows.
    pub fn of(kind: Box<dyn Kind>, rows: &[Row]) -> Self {
        let label_space = kind.fit_labels(rows).expect("labels");
        Learnt { kind, label_space }
    }

    /// Another task with the label space of a head, as one that was saved and opened again.
    pub fn opened(kind: Box<dyn Kind>, head: &dyn TaskHead) -> Self {
        Learnt { kind, label_space: head.label_space() }
    }

    /// A head with weights that do not matter.
    pub fn head(&self) -> Box<dyn TaskHead> {
        init_head(&*self.kind, &self.label_space, 4, &mut Parameters::new(&Device::flex(), 1)).unwrap()
    }

    /// The labels, in their order.
    pub fn labels(&self) -> &Json {
        &self.label_space["labels"]
    }
}

/// Initializes the head of a kind that uses the token states alone.
pub fn init_head(
    kind: &dyn Kind,
    label_space: &Json,
    hidden: usize,
    parameters: &mut Parameters,
) -> Result<Box<dyn TaskHead>, TaskError> {
    let mut others = Parameters::new(&Device::flex(), 1);
    let token_embedding = others.add_matrix(token_embedding("table", &[1, hidden]));
    let handles =
        TrunkHandles { hidden, tokenizer: &TOKENIZER, token_embedding, decoder: None, language_model: None };
    kind.init_head(label_space, &handles, parameters)
}

/// The error of a label space that is not one of this kind.
pub fn refused(kind: &dyn Kind, label_space: &Json) -> String {
    let mut parameters = Parameters::new(&Device::flex(), 1);
    let error = init_head(kind, label_space, 4, &mut parameters).err().expect("an error");
    assert_eq!(parameters.len(), 0);
    error.to_string()
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

/// A view in which each row has the given words per token (`None`: a special token); of row `i` `truncated[i]` tokens were cut off.
pub fn view(input: InputField, rows: Vec<Row>, words: &[Vec<Option<u32>>], truncated: &[u32]) -> View {
    let mut encoded = Encoded { offsets: vec![0], truncated: truncated.to_vec(), ..Default::default() };
    for row in words {
        encoded.word_ids.extend(row.iter().map(|word| word.unwrap_or(NO_WORD_ID)));
        encoded.ids.resize(encoded.word_ids.len(), 1);
        encoded.offsets.push(encoded.word_ids.len());
    }
    assert_eq!((rows.len(), words.len()), (truncated.len(), truncated.len()));
    View { corpus: "c".into(), input, rows: rows.into(), encoded, masking: None }
}

/// The pack of all rows of a view.
pub fn pack(view: &View) -> Pack {
    let rows: Vec<RowRef> = (0..view.rows.len() as u32).map(|row| RowRef { view: 0, row }).collect();
    Pack::of(std::slice::from_ref(view), &rows)
}

/// The tokens of a pack that a task uses for some rows.
pub fn used_tokens(head: &dyn TaskHead, pack: &Pack, rows: &[BatchRow]) -> Vec<u32> {
    let mut used = vec![false; pack.tokens()];
    head.mark_used_tokens(pack, rows, &mut used);
    (0..).zip(used).filter_map(|(token, used)| used.then_some(token)).collect()
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
pub static TOKENIZER: LazyLock<Tokenizer> =
    LazyLock::new(|| Tokenizer::train(&["a text"], &TokenizerConfig::default()).unwrap());

/// The numbers from PyTorch.
pub struct Heads {
    pub json: Json,
    pub states: Vec<f32>,
    pub hidden: usize,
    /// Word of each token of each row.
    pub words: Vec<Vec<Option<u32>>>,
}

/// A trunk's token embedding.
pub fn token_embedding<'a>(name: &'a str, shape: &'a [usize]) -> ParameterSpec<'a> {
    let (owner, role, init) = (Owner::Trunk, Role::Embedding, Init::Zeros);
    ParameterSpec { name: name.into(), shape, owner, role, depth: None, init }
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
    pub fn build(&self, task: &Learnt, device: &Device) -> (Parameters, Box<dyn TaskHead>) {
        let mut parameters = Parameters::new(device, 1);
        let (hidden, space) = (self.hidden, &task.label_space);
        let head = match serde_json::from_value::<[usize; 2]>(self.json["table"].clone()) {
            // The kind also uses the trunk's token embedding.
            Ok(shape) => {
                let token_embedding = parameters.add_matrix(token_embedding("head.t.table", &shape));
                let handles = TrunkHandles {
                    hidden,
                    tokenizer: &TOKENIZER,
                    token_embedding,
                    decoder: None,
                    language_model: None,
                };
                task.kind.init_head(space, &handles, &mut parameters)
            }
            Err(_) => init_head(&*task.kind, space, hidden, &mut parameters),
        };
        for name in self.json["inputs"].as_object().expect("inputs by name").keys() {
            if let Some(index) = parameters.find(&format!("head.t.{name}")) {
                let size = parameters.shape(index).iter().product::<usize>();
                parameters.set_data(index, self.input(name)[..size].to_vec()).unwrap();
            }
        }
        (parameters, head.unwrap())
    }

    /// Loss and all gradients of the task, on every device, against those of a case; from whole rows, and from only the tokens
    /// that the task marks as used. `view` is the training split.
    pub fn compare(&self, task: &Learnt, view: &View, rows: &[u32], num_targets: usize, case: &Json) {
        self.compare_packed(task, view, &pack(view), rows, num_targets, case);
    }

    /// The same with a pack that differs from the view.
    pub fn compare_packed(
        &self,
        task: &Learnt,
        view: &View,
        pack: &Pack,
        rows: &[u32],
        num_targets: usize,
        case: &Json,
    ) {
        for device in devices() {
            self.compare_on(&device.autodiff(), task, view, pack, (rows, num_targets, case));
        }
        self.overflow(task, view, pack, rows);
    }

    /// Weights whose products overflow give no prediction that looks like one.
    fn overflow(&self, task: &Learnt, view: &View, pack: &Pack, rows: &[u32]) {
        let device = DeviceName::Cpu.open().unwrap();
        let (mut parameters, mut head) = self.build(task, &device);
        head.encode_targets(Split::Train, view).unwrap();
        for index in 0..parameters.len() {
            let size = parameters.data(index).len();
            let values = (0..size).map(|i| if i % 2 == 0 { 3e38 } else { -3e38 }).collect();
            parameters.set_data(index, values).unwrap();
        }
        let (states, rows) = (self.states(&device), same(rows));
        let batch = Batch::evaluated(&states, pack, Split::Train, &rows);
        let found = head.predict(&parameters, &batch);
        assert!(found.iter().any(|prediction| !prediction.is_finite()), "{found:?}");
    }

    fn compare_on(
        &self,
        device: &Device,
        task: &Learnt,
        view: &View,
        pack: &Pack,
        (rows, num_targets, case): (&[u32], usize, &Json),
    ) {
        let rows = same(rows);
        let used = used_tokens(&*self.build(task, device).1, pack, &rows);
        let all: Vec<u32> = (0..pack.tokens() as u32).collect();
        for tokens in [all, used] {
            let (parameters, mut head) = self.build(task, device);
            head.encode_targets(Split::Train, view).unwrap();
            let states = self.states(device).require_grad();
            let (part, seen) = (pack.select_tokens(&tokens), kernels::gather_rows(states.clone(), &tokens));
            let batch = Batch::evaluated(&seen, &part, Split::Train, &rows);
            let loss = head.loss(&parameters, &batch).expect("rows with labels");
            assert_eq!(loss.num_targets, num_targets);
            let value: Vec<f32> = loss.mean.clone().into_data().try_into_vec().unwrap();
            near(&value, &[case["loss"].as_f64().unwrap() as f32], "loss");
            let gradients = loss.mean.backward();
            let vec = |data: TensorData| data.try_into_vec::<f32>().unwrap();
            let expected = case["gradients"].as_object().unwrap();
            for (name, expected) in expected {
                let parameter = parameters.find(&format!("head.t.{name}"));
                let found = match parameter.map(|i| parameters.parameter(i).value()) {
                    None => vec(states.grad(&gradients).unwrap().into_data()),
                    Some(ParameterTensor::Matrix(w)) => vec(w.grad(&gradients).unwrap().into_data()),
                    Some(ParameterTensor::Vector(w)) => vec(w.grad(&gradients).unwrap().into_data()),
                };
                near(&found, &floats(expected), name);
            }
            assert_eq!(expected.len(), parameters.len() + 1, "a gradient for each parameter and the states");
        }
    }
}

//! A graph that grows value by value.

use crate::proto::{
    AttributeProto, DimensionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto,
    TensorShapeProto, TensorTypeProto, TypeProto, ValueInfoProto, attribute_type,
};
use prost::Message;
use std::collections::HashMap;
use std::sync::Arc;

/// The version of the operators.
const OPERATOR_SET: i64 = 17;
/// The version of the format that came with it.
const IR_VERSION: i64 = 8;
/// Readers of protobuf take no longer messages.
const LONGEST_FILE: usize = i32::MAX as usize;

/// Something that a node reads or makes, by its name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Value(Arc<str>);

impl Value {
    /// What stands for an input that is left out.
    pub fn none() -> Self {
        Value("".into())
    }

    /// Its name in the file.
    pub fn name(&self) -> &str {
        &self.0
    }
}

/// The type of a tensor's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Element {
    /// 32-bit floating point.
    F32,
    /// Unsigned bytes.
    U8,
    /// Signed bytes.
    I8,
    /// 64-bit integers.
    I64,
    /// Truth values.
    Bool,
}

impl Element {
    /// Its number in the format (`TensorProto.DataType`).
    pub fn number(self) -> i32 {
        match self {
            Element::F32 => 1,
            Element::U8 => 2,
            Element::I8 => 3,
            Element::I64 => 7,
            Element::Bool => 9,
        }
    }
}

/// A dimension of what enters or leaves a graph.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    /// Always of this size.
    Size(usize),
    /// Of any size, the same wherever the name stands.
    Any(&'static str),
}

/// A setting of an operator.
#[derive(Debug, Clone, PartialEq)]
pub enum Attribute {
    /// A whole number.
    Int(i64),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// A number.
    Float(f32),
}

/// A file that nobody could read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TooLarge {
    /// How many bytes it would have.
    pub bytes: usize,
    /// How many it may have.
    pub most: usize,
}

/// A graph. See the crate.
#[derive(Debug, Default)]
pub struct Graph {
    graph: GraphProto,
    /// Small weights by content, so that each is there once.
    constants: HashMap<(Element, Vec<usize>, Vec<u8>), Value>,
}

impl Graph {
    /// A graph without anything.
    pub fn new(name: &str) -> Self {
        let graph = GraphProto { name: Some(name.into()), ..GraphProto::default() };
        Graph { graph, constants: HashMap::new() }
    }

    /// Adds an input. Its name must be new.
    pub fn input(&mut self, name: &str, element: Element, shape: &[Dim]) -> Value {
        self.graph.input.push(value_info(name, element, shape));
        Value(name.into())
    }

    /// Gives a value out under a name, which must be new.
    pub fn output(&mut self, name: &str, value: &Value, element: Element, shape: &[Dim]) {
        self.push("Identity", &[value], &[], vec![name.into()]);
        self.graph.output.push(value_info(name, element, shape));
    }

    /// Whether something that enters or leaves has this name.
    pub fn has_name(&self, name: &str) -> bool {
        let both = self.graph.input.iter().chain(&self.graph.output);
        both.filter_map(|info| info.name.as_deref()).any(|taken| taken == name)
    }

    /// Adds a weight under a name, which must be new: `bytes` little endian, row-major.
    pub fn weight(&mut self, name: &str, element: Element, shape: &[usize], bytes: Vec<u8>) -> Value {
        self.graph.initializer.push(TensorProto {
            dims: shape.iter().map(|size| *size as i64).collect(),
            data_type: Some(element.number()),
            name: Some(name.into()),
            raw_data: Some(bytes),
        });
        Value(name.into())
    }

    /// The same of numbers.
    pub fn f32_weight(&mut self, name: &str, shape: &[usize], values: &[f32]) -> Value {
        self.weight(name, Element::F32, shape, f32_bytes(values))
    }

    /// A small tensor of numbers, without a name of its own.
    pub fn f32_constant(&mut self, shape: &[usize], values: &[f32]) -> Value {
        self.constant(Element::F32, shape, f32_bytes(values))
    }

    /// A number.
    pub fn number(&mut self, value: f32) -> Value {
        self.f32_constant(&[], &[value])
    }

    /// A small tensor of whole numbers: a shape, indices, axes.
    pub fn i64_constant(&mut self, shape: &[usize], values: &[i64]) -> Value {
        self.constant(Element::I64, shape, values.iter().flat_map(|value| value.to_le_bytes()).collect())
    }

    /// A list of whole numbers.
    pub fn integers(&mut self, values: &[i64]) -> Value {
        self.i64_constant(&[values.len()], values)
    }

    fn constant(&mut self, element: Element, shape: &[usize], bytes: Vec<u8>) -> Value {
        let key = (element, shape.to_vec(), bytes);
        if let Some(known) = self.constants.get(&key) {
            return known.clone();
        }
        let name = format!("/constant_{}", self.constants.len());
        let value = self.weight(&name, element, shape, key.2.clone());
        self.constants.insert(key, value.clone());
        value
    }

    /// Adds an operator with one result.
    pub fn node(&mut self, op: &str, inputs: &[&Value], attributes: &[(&str, Attribute)]) -> Value {
        let name = format!("/{op}_{}", self.graph.node.len());
        self.push(op, inputs, attributes, vec![name.clone()]);
        Value(name.into())
    }

    /// Adds an operator with several results.
    pub fn node_with<const N: usize>(
        &mut self,
        op: &str,
        inputs: &[&Value],
        attributes: &[(&str, Attribute)],
    ) -> [Value; N] {
        let name = |i: usize| format!("/{op}_{}.{i}", self.graph.node.len());
        let names: [String; N] = std::array::from_fn(name);
        self.push(op, inputs, attributes, names.to_vec());
        names.map(|name| Value(name.into()))
    }

    fn push(&mut self, op: &str, inputs: &[&Value], attributes: &[(&str, Attribute)], output: Vec<String>) {
        self.graph.node.push(NodeProto {
            input: inputs.iter().map(|value| value.name().into()).collect(),
            name: Some(format!("{op}_{}", self.graph.node.len())),
            output,
            op_type: Some(op.into()),
            attribute: attributes.iter().map(|(name, value)| attribute(name, value)).collect(),
        });
    }

    /// The bytes of a file with the graph.
    ///
    /// # Errors
    /// [`TooLarge`] beyond 2 GiB, the most that a protobuf message may have.
    pub fn into_bytes(self, producer: &str, version: &str) -> Result<Vec<u8>, TooLarge> {
        let operators = OperatorSetIdProto { domain: Some(String::new()), version: Some(OPERATOR_SET) };
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some(producer.into()),
            producer_version: Some(version.into()),
            graph: Some(self.graph),
            opset_import: vec![operators],
        };
        let bytes = model.encoded_len();
        if bytes > LONGEST_FILE {
            return Err(TooLarge { bytes, most: LONGEST_FILE });
        }
        Ok(model.encode_to_vec())
    }
}

fn f32_bytes(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn attribute(name: &str, value: &Attribute) -> AttributeProto {
    let mut proto = AttributeProto { name: Some(name.into()), ..AttributeProto::default() };
    proto.r#type = Some(match value {
        Attribute::Int(value) => {
            proto.i = Some(*value);
            attribute_type::INT
        }
        Attribute::Ints(values) => {
            proto.ints.clone_from(values);
            attribute_type::INTS
        }
        Attribute::Float(value) => {
            proto.f = Some(*value);
            attribute_type::FLOAT
        }
    });
    proto
}

fn value_info(name: &str, element: Element, shape: &[Dim]) -> ValueInfoProto {
    let dim = |dim: &Dim| match dim {
        Dim::Size(size) => DimensionProto { dim_value: Some(*size as i64), dim_param: None },
        Dim::Any(name) => DimensionProto { dim_value: None, dim_param: Some((*name).into()) },
    };
    let shape = TensorShapeProto { dim: shape.iter().map(dim).collect() };
    let tensor_type = TensorTypeProto { elem_type: Some(element.number()), shape: Some(shape) };
    ValueInfoProto { name: Some(name.into()), r#type: Some(TypeProto { tensor_type: Some(tensor_type) }) }
}

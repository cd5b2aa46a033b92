//! One state for a whole row.

use super::{Attribute, Element, OnnxGraph, Value};

impl OnnxGraph {
    /// The mean state of the row's tokens: `[batch, length, hidden]` to `[batch, hidden]`.
    pub fn mean(&mut self, states: &Value) -> Value {
        let mask = self.mask();
        self.mean_where(states, &mask)
    }

    /// The mean state of the tokens that an input of the graph has a 1 for; zeros for a row without any.
    pub fn mean_of(&mut self, states: &Value, input: &'static str) -> Value {
        let mask = self.token_input(input);
        let mask = self.node("Cast", &[&mask], &[("to", Attribute::Int(Element::F32.number().into()))]);
        self.mean_where(states, &mask)
    }

    fn mean_where(&mut self, states: &Value, mask: &Value) -> Value {
        let axes = self.graph.integers(&[2]);
        let mask = self.node("Unsqueeze", &[mask, &axes], &[]);
        let masked = self.multiply(states, &mask);
        let axes = self.graph.integers(&[1]);
        let [sum, count] =
            [masked, mask].map(|x| self.node("ReduceSum", &[&x, &axes], &[("keepdims", Attribute::Int(0))]));
        let one = self.graph.number(1.0);
        let count = self.node("Max", &[&count, &one], &[]);
        self.node("Div", &[&sum, &count], &[])
    }

    /// The state of the row's first token.
    pub fn first(&mut self, states: &Value) -> Value {
        let zero = self.graph.i64_constant(&[], &[0]);
        self.node("Gather", &[states, &zero], &[("axis", Attribute::Int(1))])
    }

    /// The state of the row's last token.
    pub fn last(&mut self, states: &Value) -> Value {
        let (mask, positions) = (self.token_input("attention_mask"), self.positions());
        let places = self.multiply(&mask, &positions);
        let last = [("axes", Attribute::Ints(vec![1])), ("keepdims", Attribute::Int(1))];
        let last = self.node("ReduceMax", &[&places], &last);
        self.node("GatherND", &[states, &last], &[("batch_dims", Attribute::Int(1))])
    }
}

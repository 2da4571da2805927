//! Small models by hand, on the messages of `narae_testing::onnx`.

pub use narae_testing::onnx::{Dim, Message, varint};

/// A node without attributes.
pub fn node(name: &str, op: &str, inputs: &[&str], outputs: &[&str]) -> Message {
    let message = inputs.iter().fold(Message::default(), |message, input| message.bytes(1, input));
    outputs.iter().fold(message, |message, output| message.bytes(2, output)).bytes(3, name).bytes(4, op)
}

/// A declared input or output with a shape; `kind` is the ONNX data type.
pub fn value(name: &str, kind: i64, dims: &[Dim<'_>]) -> Message {
    narae_testing::onnx::value(name, kind, Some(dims))
}

/// An f32 initializer with its bytes inside.
pub fn initializer(name: &str, dims: &[i64], values: &[f32]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    dims.iter().fold(Message::default(), |tensor, dim| tensor.number(1, *dim)).number(2, 1).bytes(8, name).bytes(9, raw)
}

/// An f32 initializer whose bytes lie in another file.
pub fn external(name: &str, dims: &[i64], location: &str) -> Message {
    let entry = Message::default().bytes(1, "location").bytes(2, location);
    dims.iter()
        .fold(Message::default(), |tensor, dim| tensor.number(1, *dim))
        .number(2, 1)
        .bytes(8, name)
        .message(13, entry)
        .number(14, 1)
}

/// The parts of a graph.
#[derive(Default)]
pub struct Graph {
    /// Nodes in order.
    pub nodes: Vec<Message>,
    /// Initializers.
    pub initializers: Vec<Message>,
    /// Declared inputs.
    pub inputs: Vec<Message>,
    /// Declared outputs.
    pub outputs: Vec<Message>,
}

impl Graph {
    /// The GraphProto.
    pub fn message(self) -> Message {
        let add = |message: Message, field: u32, parts: Vec<Message>| {
            parts.into_iter().fold(message, |m, part| m.message(field, part))
        };
        let message = add(Message::default(), 1, self.nodes).bytes(2, "g");
        let message = add(message, 5, self.initializers);
        add(add(message, 11, self.inputs), 12, self.outputs)
    }

    /// The bytes of a model of ai.onnx opset 17 with this graph.
    pub fn model(self) -> Vec<u8> {
        let opset = Message::default().bytes(1, "").number(2, 17);
        Message::default().number(1, 8).bytes(2, "tests").message(7, self.message()).message(8, opset).0
    }
}

/// y = x + x over f32 [2, 3]: the smallest model that is all right.
pub fn doubling() -> Graph {
    Graph {
        nodes: vec![node("double", "Add", &["x", "x"], &["y"])],
        inputs: vec![value("x", 1, &[Dim::Is(2), Dim::Is(3)])],
        outputs: vec![value("y", 1, &[Dim::Is(2), Dim::Is(3)])],
        ..Graph::default()
    }
}

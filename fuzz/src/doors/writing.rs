//! Writing small ONNX files: the protobuf wire format, as much of it as the doors need.

use crate::random::Random;

/// A message under construction.
#[derive(Clone, Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// A field that holds a number.
    pub fn number(mut self, field: u32, value: i64) -> Self {
        varint(&mut self.0, u64::from(field) << 3);
        varint(&mut self.0, value as u64);
        self
    }

    /// A field that holds bytes, a text or a message.
    pub fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        varint(&mut self.0, u64::from(field) << 3 | 2);
        varint(&mut self.0, value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    /// A field that holds a float.
    pub fn float(mut self, field: u32, value: f32) -> Self {
        varint(&mut self.0, u64::from(field) << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A dim: a number, or a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim {
    /// A number.
    Is(i64),
    /// A length that a call decides.
    Named(&'static str),
}

/// A declared input or output.
pub fn value(name: &str, kind: u32, dims: Option<&[Dim]>) -> Message {
    let mut tensor = Message::default().number(1, kind.into());
    if let Some(dims) = dims {
        let shape = dims.iter().fold(Message::default(), |shape, dim| {
            let dim = match dim {
                Dim::Is(number) => Message::default().number(1, *number),
                Dim::Named(name) => Message::default().bytes(2, name),
            };
            shape.bytes(1, dim.0)
        });
        tensor = tensor.bytes(2, shape.0);
    }
    Message::default().bytes(1, name).bytes(2, Message::default().bytes(1, tensor.0).0)
}

/// Bytes of an element of an ONNX type, as raw data has them.
pub fn element_bytes(kind: u32) -> usize {
    match kind {
        1 | 6 | 12 => 4,
        7 | 11 | 13 | 14 => 8,
        4 | 5 | 10 | 16 => 2,
        15 => 16,
        _ => 1,
    }
}

/// A tensor with small numbers as raw data.
pub fn tensor(random: &mut Random, name: &str, kind: u32, dims: &[i64]) -> Message {
    let count = dims.iter().product::<i64>().clamp(0, 4096) as usize;
    let message = dims.iter().fold(Message::default(), |message, dim| message.number(1, *dim));
    message.number(2, kind.into()).bytes(8, name).bytes(9, raw(random, kind, count))
}

/// Elements of small numbers.
pub fn raw(random: &mut Random, kind: u32, count: usize) -> Vec<u8> {
    (0..count)
        .flat_map(|_| {
            let small = random.below(7) as i64 - if matches!(kind, 3 | 5 | 6 | 7) { 2 } else { 0 };
            let eight = match kind {
                1 => (small as f32 / 2.0).to_bits().into(),
                11 => (small as f64 / 2.0).to_bits(),
                9 => small as u64 & 1,
                10 => 0x3800 + 0x100 * small as u64,
                16 => 0x3f00 + 0x20 * small as u64,
                _ => small as u64,
            };
            eight.to_le_bytes()[..element_bytes(kind).min(8)].to_vec()
        })
        .collect()
}

/// A model of one graph.
pub fn model(graph: Message, opsets: &[(&str, i64)]) -> Vec<u8> {
    let message = Message::default().number(1, 10).bytes(2, "fuzz").bytes(7, graph.0);
    let opset = |message: Message, (domain, version): &(&str, i64)| {
        message.bytes(8, Message::default().bytes(1, domain).number(2, *version).0)
    };
    opsets.iter().fold(message, opset).0
}

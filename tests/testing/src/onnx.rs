//! ONNX files by hand: the protobuf wire format, just enough for small, odd or broken models.
//!
//! In: names, numbers, dims. Out: messages. Always holds: nothing is checked; what is written may be nonsense on purpose.

/// A protobuf message under construction.
#[derive(Clone, Debug, Default)]
pub struct Message(pub Vec<u8>);

impl Message {
    /// A field of wire type 0.
    pub fn number(mut self, field: u32, value: i64) -> Self {
        varint(&mut self.0, u64::from(field) << 3);
        varint(&mut self.0, value as u64);
        self
    }

    /// A field of wire type 2: bytes, a string or a message.
    pub fn bytes(mut self, field: u32, value: impl AsRef<[u8]>) -> Self {
        varint(&mut self.0, u64::from(field) << 3 | 2);
        varint(&mut self.0, value.as_ref().len() as u64);
        self.0.extend_from_slice(value.as_ref());
        self
    }

    /// Another message as a field.
    pub fn message(self, field: u32, value: Message) -> Self {
        self.bytes(field, value.0)
    }

    /// A field of wire type 5: a float.
    pub fn float(mut self, field: u32, value: f32) -> Self {
        varint(&mut self.0, u64::from(field) << 3 | 5);
        self.0.extend_from_slice(&value.to_le_bytes());
        self
    }
}

/// Writes a base-128 number.
pub fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A dim of a declared shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dim<'a> {
    /// A number.
    Is(i64),
    /// A symbol: a length that a call decides.
    Named(&'a str),
}

/// A declared input or output, with or without a shape; `kind` is the ONNX data type (1 f32, 7 i64, 8 string, 9 bool, 10 f16).
pub fn value(name: &str, kind: i64, dims: Option<&[Dim<'_>]>) -> Message {
    let dim = |dim: &Dim<'_>| match dim {
        Dim::Is(number) => Message::default().number(1, *number),
        Dim::Named(symbol) => Message::default().bytes(2, symbol),
    };
    let mut tensor = Message::default().number(1, kind);
    if let Some(dims) = dims {
        let shape = dims.iter().fold(Message::default(), |shape, one| shape.message(1, dim(one)));
        tensor = tensor.message(2, shape);
    }
    Message::default().bytes(1, name).message(2, Message::default().message(1, tensor))
}

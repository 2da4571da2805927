//! A small writer of protobuf bytes, right or wrong on purpose.

/// A number of variable length.
pub fn number(mut value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
    out
}

/// A tag.
pub fn tag(field: u64, wire: u64) -> Vec<u8> {
    number(field << 3 | wire)
}

/// A field that is a number.
pub fn varint(field: u64, value: u64) -> Vec<u8> {
    [tag(field, 0), number(value)].concat()
}

/// A field that is bytes, text or a message.
pub fn bytes(field: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [tag(field, 2), number(content.len() as u64), content.to_vec()].concat()
}

/// A field that claims to be `claim` bytes long.
pub fn claim(field: u64, claim: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    [tag(field, 2), number(claim), content.as_ref().to_vec()].concat()
}

/// A model around the fields of a graph.
pub fn model(graph: impl AsRef<[u8]>) -> Vec<u8> {
    [varint(1, 8), bytes(8, varint(2, 17)), bytes(7, graph)].concat()
}

/// A model with one node that has these fields besides its operator.
pub fn node(fields: impl AsRef<[u8]>) -> Vec<u8> {
    model(bytes(1, [bytes(4, "Relu"), fields.as_ref().to_vec()].concat()))
}

/// A model with one initializer that has these fields.
pub fn initializer(fields: impl AsRef<[u8]>) -> Vec<u8> {
    model(bytes(5, fields))
}

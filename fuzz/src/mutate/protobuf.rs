//! ONNX files as trees of protobuf messages: fields dropped, repeated, moved between messages of one kind; numbers, names and operators
//! replaced. What is no protobuf is changed as bytes.

use narae::compiler::onnx::ops;

use super::{bytes, changes, seed, text};
use crate::random::Random;

/// The messages of an ONNX file that are looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// ModelProto.
    Model,
    /// GraphProto.
    Graph,
    /// NodeProto.
    Node,
    /// AttributeProto.
    Attribute,
    /// TensorProto.
    Tensor,
    /// SparseTensorProto.
    Sparse,
    /// ValueInfoProto.
    ValueInfo,
    /// TypeProto.
    Type,
    /// TypeProto.Tensor and what wraps types.
    TensorType,
    /// TensorShapeProto.
    Shape,
    /// A message of numbers and texts only.
    Flat,
    /// FunctionProto.
    Function,
}

/// What a field of a message holds, if it is a message.
fn inner(message: Message, field: u32) -> Option<Message> {
    use Message::*;
    Some(match (message, field) {
        (Model, 7) => Graph,
        (Model, 8) | (Function, 9) | (Tensor, 3 | 13) | (Shape, 1) => Flat,
        (Model, 25) => Function,
        (Graph, 1) | (Function, 7) => Node,
        (Graph, 5) | (Attribute, 5 | 10) | (Sparse, 1 | 2) => Tensor,
        (Graph, 11..=13) => ValueInfo,
        (Graph, 15) | (Attribute, 22 | 23) => Sparse,
        (Node, 5) | (Function, 11) => Attribute,
        (Attribute, 6 | 11) => Graph,
        (Attribute, 14 | 15) | (ValueInfo, 2) | (TensorType, 3) => Type,
        (Type, 1 | 4 | 5 | 8 | 9) => TensorType,
        (TensorType, 2) => Shape,
        _ => return None,
    })
}

/// One field.
#[derive(Clone, Debug)]
struct Field {
    number: u32,
    content: Content,
}

#[derive(Clone, Debug)]
enum Content {
    Varint(u64),
    Fixed64([u8; 8]),
    Fixed32([u8; 4]),
    Bytes(Vec<u8>),
    Message(Message, Vec<Field>),
}

/// A changed seed.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let Some(mut fields) = parse(Message::Model, seed(random, seeds), 0) else {
        return bytes::mutate(random, seeds);
    };
    let other = parse(Message::Model, seed(random, seeds), 0).unwrap_or_default();
    for _ in 0..changes(random) {
        change(random, Message::Model, &mut fields, &other);
    }
    let mut out = Vec::new();
    write(&fields, &mut out);
    if random.chance(12) {
        bytes::change(random, &mut out, seeds);
    }
    out.truncate(1 << 17);
    out
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn take<'a>(bytes: &mut &'a [u8], count: u64) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(usize::try_from(count).ok()?)?;
    *bytes = rest;
    Some(taken)
}

fn parse(message: Message, mut bytes: &[u8], depth: usize) -> Option<Vec<Field>> {
    let mut fields = Vec::new();
    while !bytes.is_empty() {
        let tag = varint(&mut bytes)?;
        let number = u32::try_from(tag >> 3).ok()?;
        let content = match tag & 7 {
            0 => Content::Varint(varint(&mut bytes)?),
            1 => Content::Fixed64(take(&mut bytes, 8)?.try_into().ok()?),
            5 => Content::Fixed32(take(&mut bytes, 4)?.try_into().ok()?),
            2 => {
                let length = varint(&mut bytes)?;
                let piece = take(&mut bytes, length)?;
                let nested = inner(message, number).filter(|_| depth < 40);
                match nested.and_then(|nested| Some((nested, parse(nested, piece, depth + 1)?))) {
                    Some((nested, fields)) => Content::Message(nested, fields),
                    None => Content::Bytes(piece.to_vec()),
                }
            }
            _ => return None,
        };
        fields.push(Field { number, content });
    }
    Some(fields)
}

fn write_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn write(fields: &[Field], out: &mut Vec<u8>) {
    for field in fields {
        let mut tagged = |wire: u64| write_varint(out, u64::from(field.number) << 3 | wire);
        match &field.content {
            Content::Varint(value) => {
                tagged(0);
                write_varint(out, *value);
            }
            Content::Fixed64(bytes) => {
                tagged(1);
                out.extend_from_slice(bytes);
            }
            Content::Fixed32(bytes) => {
                tagged(5);
                out.extend_from_slice(bytes);
            }
            Content::Bytes(bytes) => {
                tagged(2);
                write_varint(out, bytes.len() as u64);
                out.extend_from_slice(bytes);
            }
            Content::Message(_, fields) => {
                tagged(2);
                let mut inside = Vec::new();
                write(fields, &mut inside);
                write_varint(out, inside.len() as u64);
                out.extend_from_slice(&inside);
            }
        }
    }
}

/// Fields in all, those of inner messages included.
fn count(fields: &[Field]) -> usize {
    let inside = |field: &Field| match &field.content {
        Content::Message(_, fields) => count(fields),
        _ => 0,
    };
    fields.iter().map(|field| 1 + inside(field)).sum()
}

/// All lists of fields of messages of this kind.
fn alike<'a>(kind: Message, own: Message, fields: &'a [Field], found: &mut Vec<&'a [Field]>) {
    if own == kind {
        found.push(fields);
    }
    for field in fields {
        if let Content::Message(inside, fields) = &field.content {
            alike(kind, *inside, fields, found);
        }
    }
}

/// All texts and bytes of a tree that are short.
fn texts<'a>(fields: &'a [Field], found: &mut Vec<&'a [u8]>) {
    for field in fields {
        match &field.content {
            Content::Bytes(bytes) if bytes.len() < 40 => found.push(bytes),
            Content::Message(_, fields) => texts(fields, found),
            _ => {}
        }
    }
}

/// One change of a field somewhere in the tree; `other` is a tree to take things from.
fn change(random: &mut Random, message: Message, fields: &mut Vec<Field>, other: &[Field]) {
    let total = count(fields);
    if total == 0 {
        fields
            .push(Field { number: random.below(30) as u32 + 1, content: Content::Varint(random.odd_number() as u64) });
        return;
    }
    let own = fields.clone();
    let mut target = random.below(total);
    walk(random, message, fields, &mut target, &own, other);
}

fn walk(
    random: &mut Random,
    message: Message,
    fields: &mut Vec<Field>,
    target: &mut usize,
    own: &[Field],
    other: &[Field],
) -> bool {
    for at in 0..fields.len() {
        if *target == 0 {
            change_field(random, message, fields, at, own, other);
            return true;
        }
        *target -= 1;
        if let Content::Message(inside, inner) = &mut fields[at].content
            && walk(random, *inside, inner, target, own, other)
        {
            return true;
        }
    }
    false
}

fn change_field(
    random: &mut Random,
    message: Message,
    fields: &mut Vec<Field>,
    at: usize,
    own: &[Field],
    other: &[Field],
) {
    match random.below(12) {
        0 => drop(fields.remove(at)),
        1 => fields.insert(at, fields[at].clone()),
        2 => {
            let with = random.below(fields.len());
            fields.swap(at, with);
        }
        3 | 4 => {
            // A field of another message of the same kind.
            let from = if random.chance(3) { other } else { own };
            let mut found = Vec::new();
            alike(message, Message::Model, from, &mut found);
            let donors: Vec<&Field> = found.into_iter().flatten().collect();
            if !donors.is_empty() {
                let donor = (*random.pick(&donors)).clone();
                if random.chance(2) { fields[at] = donor } else { fields.push(donor) }
            }
        }
        5 => fields[at].number = random.below(27) as u32 + 1,
        _ => change_content(random, message, &mut fields[at], own),
    }
}

fn change_content(random: &mut Random, message: Message, field: &mut Field, own: &[Field]) {
    let operator = message == Message::Node && field.number == 4;
    match &mut field.content {
        Content::Varint(value) => {
            *value = match random.below(5) {
                0 => value.wrapping_add(1),
                1 => value.wrapping_sub(1),
                2 | 3 => random.below(24) as u64,
                _ => random.odd_number() as u64,
            }
        }
        Content::Fixed64(bytes) => *bytes = random.next().to_le_bytes(),
        Content::Fixed32(bytes) => {
            let floats = [0.0, -0.0, 1.0, -1.0, 0.5, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE, 1e-45, f32::MAX, 1e10];
            *bytes = random.pick(&floats).to_le_bytes();
        }
        Content::Bytes(content) if operator => {
            let rows: Vec<&str> = ops::rows().map(|row| row.name).collect();
            *content = random.pick(&rows).as_bytes().to_vec();
        }
        Content::Bytes(content) => change_bytes(random, content, own),
        Content::Message(_, fields) => drop(fields.drain(random.below(fields.len() + 1)..)),
    }
}

fn change_bytes(random: &mut Random, content: &mut Vec<u8>, own: &[Field]) {
    match random.below(5) {
        0 => content.clear(),
        1 | 2 => {
            let mut found = Vec::new();
            texts(own, &mut found);
            if !found.is_empty() {
                *content = random.pick(&found).to_vec();
            }
        }
        3 if std::str::from_utf8(content).is_ok() => {
            let string = String::from_utf8_lossy(content).into_owned();
            *content = text::change(random, &string, &[]).into_bytes();
        }
        _ => bytes::change(random, content, &[]),
    }
}

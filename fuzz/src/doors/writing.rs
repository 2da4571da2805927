//! Small ONNX files with random numbers, on the messages of `narae_testing::onnx`.

pub use narae_testing::onnx::Message;

use crate::random::Random;

/// A dim: a number, or a length that a call decides.
pub type Dim = narae_testing::onnx::Dim<'static>;

/// A declared input or output.
pub fn value(name: &str, kind: u32, dims: Option<&[Dim]>) -> Message {
    narae_testing::onnx::value(name, kind.into(), dims)
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

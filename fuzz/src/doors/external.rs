//! External data: a model whose tensors lie in other files, places and sizes of every kind.
//!
//! In: choices. Out: what opening and importing says; weights that were accepted are read. Always holds: nothing outside of the scratch
//! folder is accepted.

use narae::compiler::graph::eval::evaluate;
use narae::compiler::onnx::{Limits, Model, import};

use super::writing::{Dim, Message, element_bytes, model, value};
use crate::random::{Choices, Random};
use crate::{Outcome, scratch};

/// Where tensors may say that they lie.
const PLACES: &[&str] = &[
    "data.bin",
    "data.bin",
    "data.bin",
    "sub/data.bin",
    "./data.bin",
    "sub/../data.bin",
    "../outside.bin",
    "link.bin",
    "sub",
    "missing",
    "/etc/passwd",
    "/dev/zero",
    "",
    ".",
    "..",
    "data.bin/",
    "out.bin",
    "data.bin\0x",
    "sub//data.bin",
    "hard.bin",
    "pipe",
    "DATA.BIN",
    "m.onnx",
    "daté.bin",
];

/// Those of them that must never be read.
const OUTSIDE: &[&str] = &["../outside.bin", "/etc/passwd", "/dev/zero", "out.bin", "hard.bin"];

/// New choices.
pub fn mutate(random: &mut Random, _: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = random.bytes(48);
    bytes.extend((0..16).map(|_| random.next() as u8));
    bytes
}

fn odd(choices: &mut Choices<'_>, near: u64) -> String {
    match choices.below(10) {
        0..=3 => near.to_string(),
        4 => "0".to_string(),
        5 => near.wrapping_add(1).to_string(),
        6 => near.wrapping_sub(1).to_string(),
        7 => choices
            .pick(&["-1", "", "x", "1e3", " 4", "18446744073709551615", "9223372036854775807", "4096", "١"])
            .to_string(),
        8 => u64::MAX.wrapping_sub(near).to_string(),
        _ => choices.below(64).to_string(),
    }
}

fn tensor(choices: &mut Choices<'_>, name: &str) -> Message {
    let kind = *choices.pick(&[1u32, 1, 7, 10, 9, 3, 11, 16, 22, 8, 21]);
    let dims: Vec<i64> = (0..choices.below(4)).map(|_| *choices.pick(&[1, 2, 3, 4, 8, 0, -1, 1 << 40])).collect();
    let count = dims.iter().try_fold(1i64, |product, dim| product.checked_mul(*dim)).unwrap_or(0).max(0) as u64;
    let message = dims.iter().fold(Message::default(), |message, dim| message.number(1, *dim));
    let mut message = message.number(2, kind.into()).bytes(8, name);
    let entry = |message: Message, key: &str, value: &str| {
        message.bytes(13, Message::default().bytes(1, key).bytes(2, value).0)
    };
    message = entry(message, "location", choices.word(PLACES));
    if choices.chance(2) {
        message = entry(message, "offset", &odd(choices, 0));
    }
    if choices.chance(2) {
        message = entry(message, "length", &odd(choices, count.wrapping_mul(element_bytes(kind) as u64)));
    }
    if choices.chance(5) {
        message =
            entry(message, "checksum", choices.word(&["", "00", "da39a3ee5e6b4b0d3255bfef95601890afd80709", "zz"]));
    }
    if choices.chance(8) {
        message = entry(message, choices.word(&["location", "offset", "nonsense", ""]), "1");
    }
    if choices.chance(10) {
        message = message.bytes(9, [0; 8]);
    }
    message.number(14, if choices.chance(12) { 2 } else { 1 })
}

/// The model of these choices.
pub fn export(bytes: &[u8]) -> Vec<u8> {
    let mut choices = Choices::new(bytes);
    let mut graph = Message::default().bytes(2, "g");
    for index in 0..1 + choices.below(2) {
        let (weight, result) = (format!("w{index}"), format!("y{index}"));
        let node = Message::default().bytes(1, &weight).bytes(2, &result).bytes(4, "Identity");
        graph = graph.bytes(1, node.0).bytes(5, tensor(&mut choices, &weight).0);
        graph = graph.bytes(12, value(&result, 1, Some(&[Dim::Is(2)])).0);
    }
    model(graph, &[("", 17)])
}

/// The files around the model; made when they are not there.
fn folder() {
    let root = scratch::folder();
    if root.join("sub/data.bin").exists() {
        return;
    }
    let data: Vec<u8> = (0..64).collect();
    let _ = std::fs::create_dir_all(root.join("sub"));
    for name in ["data.bin", "sub/data.bin", "daté.bin", "out.bin"] {
        scratch::file(name, &data);
    }
    let _ = std::os::unix::fs::symlink("data.bin", root.join("link.bin"));
    let _ = std::fs::rename(root.join("out.bin"), root.join("twin.bin"));
    let _ = std::fs::hard_link(root.join("twin.bin"), root.join("hard.bin"));
    let _ = std::os::unix::fs::symlink("/etc/passwd", root.join("out.bin"));
}

/// Opens, imports, evaluates.
pub fn run(bytes: &[u8]) -> Outcome {
    folder();
    let file = export(bytes);
    let path = scratch::file("m.onnx", &file);
    let graph = import(&Model::open(&path, &Limits::default())?)?;
    let leaves = OUTSIDE.iter().find(|place| file.windows(place.len()).any(|window| window == place.as_bytes()));
    assert!(leaves.is_none(), "external data outside of the folder was accepted: {leaves:?}");
    evaluate(&graph, &std::collections::BTreeMap::new())?;
    Ok(())
}

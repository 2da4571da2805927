//! `.npz` files whose checksums are right, so that what is changed is read: names, headers, elements, sizes, methods.
//!
//! In: seeds that are archives as numpy or Narae writes them. Out: archives of stored entries. What is no archive is changed as bytes.

use super::{bytes, changes, seed, text};
use crate::random::Random;

/// One file of the archive.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its name.
    pub name: Vec<u8>,
    /// Its bytes.
    pub content: Vec<u8>,
    /// What the archive says that its size is, if that is a lie.
    pub claimed: Option<u32>,
    /// The compression method that the archive says.
    pub method: u16,
}

impl Entry {
    /// A file that is what it says.
    pub fn new(name: &str, content: Vec<u8>) -> Entry {
        Entry { name: name.as_bytes().to_vec(), content, claimed: None, method: 0 }
    }
}

/// The header and elements of an array as numpy writes it.
pub fn array(descr: &str, order: &str, shape: &str, elements: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n");
    let mut out = b"\x93NUMPY\x01\x00".to_vec();
    out.extend_from_slice(&(text.len() as u16).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
    out.extend_from_slice(elements);
    out
}

/// A changed seed.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let Some(mut entries) = stored(seed(random, seeds)).filter(|_| !random.chance(8)) else {
        return bytes::mutate(random, seeds);
    };
    for _ in 0..changes(random) {
        change(random, &mut entries, seeds);
    }
    let mut out = pack(&entries);
    if random.chance(16) {
        bytes::change(random, &mut out, seeds);
    }
    out
}

fn change(random: &mut Random, entries: &mut Vec<Entry>, seeds: &[Vec<u8>]) {
    if entries.is_empty() {
        entries.push(Entry::new("x.npy", random.bytes(100)));
        return;
    }
    let at = random.below(entries.len());
    match random.below(10) {
        0 => entries.push(entries[at].clone()),
        1 => drop(entries.remove(at)),
        2 => bytes::change(random, &mut entries[at].name, &[]),
        3 => entries[at].claimed = Some(random.odd_number() as u32),
        4 if random.chance(4) => entries[at].method = *random.pick(&[1, 8, 9, 12, 14, 93, 99]),
        5 => bytes::change(random, &mut entries[at].content, seeds),
        _ => entries[at].content = other_header(random, &entries[at].content),
    }
}

/// The array with another header, whose length is right (mostly).
fn other_header(random: &mut Random, content: &[u8]) -> Vec<u8> {
    if random.chance(2) {
        let number = |random: &mut Random| random.odd_number().to_string();
        let shape: Vec<String> = (0..random.below(5)).map(|_| number(random)).collect();
        let descr = *random.pick(&[
            "'<f4'",
            "'>i8'",
            "'|b1'",
            "'<U3'",
            "'|O'",
            "'<c8'",
            "[('a','<f4')]",
            "'|S0'",
            "'<f16'",
            "'|V2'",
        ]);
        return array(
            descr,
            random.word(&["False", "True", "None"]),
            &format!("({},)", shape.join(",")),
            &random.bytes(64),
        );
    }
    let (Some(head), Some(length)) = (content.get(..8), content.get(8..10)) else { return content.to_vec() };
    let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
    let body = content.get(10 + length..).unwrap_or_default();
    let header = String::from_utf8_lossy(content.get(10..10 + length).unwrap_or_default()).into_owned();
    let header = text::change(random, &header, &[]).into_bytes();
    let claimed = if random.chance(10) { random.next() as u16 } else { header.len() as u16 };
    [head, &claimed.to_le_bytes(), &header, body].concat()
}

/// The entries of an archive, if they are stored and whole: local headers one behind the other.
fn stored(bytes: &[u8]) -> Option<Vec<Entry>> {
    let mut entries = Vec::new();
    let mut rest = bytes;
    while let Some(head) = rest.get(..30).filter(|head| head.starts_with(b"PK\x03\x04")) {
        let short = |at: usize| usize::from(u16::from_le_bytes([head[at], head[at + 1]]));
        let size = u32::from_le_bytes([head[18], head[19], head[20], head[21]]) as usize;
        let (name, extra) = (short(26), short(28));
        let content = rest.get(30 + name + extra..30 + name + extra + size).filter(|_| short(8) == 0)?;
        entries.push(Entry { name: rest[30..30 + name].to_vec(), content: content.to_vec(), claimed: None, method: 0 });
        rest = &rest[30 + name + extra + size..];
    }
    (!entries.is_empty()).then_some(entries)
}

/// An archive of these entries.
pub fn pack(entries: &[Entry]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = out.len() as u32;
        let common = common(entry);
        out.extend_from_slice(b"PK\x03\x04");
        out.extend_from_slice(&common);
        out.extend_from_slice(&entry.name);
        out.extend_from_slice(&entry.content);
        directory.extend_from_slice(b"PK\x01\x02\x14\x00");
        directory.extend_from_slice(&common);
        directory.extend_from_slice(&[0; 10]);
        directory.extend_from_slice(&offset.to_le_bytes());
        directory.extend_from_slice(&entry.name);
    }
    let start = out.len() as u32;
    out.extend_from_slice(&directory);
    out.extend_from_slice(b"PK\x05\x06\0\0\0\0");
    let count = (entries.len() as u16).to_le_bytes();
    out.extend_from_slice(&[count, count].concat());
    out.extend_from_slice(&(directory.len() as u32).to_le_bytes());
    out.extend_from_slice(&start.to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

/// The fields that local header and directory share: version, flags, method, time, checksum, sizes, lengths of name and extra.
fn common(entry: &Entry) -> Vec<u8> {
    let size = (entry.content.len() as u32).to_le_bytes();
    let claimed = entry.claimed.map_or(size, u32::to_le_bytes);
    let mut out = vec![20, 0, 0, 0];
    out.extend_from_slice(&entry.method.to_le_bytes());
    out.extend_from_slice(&[0, 0, 0x21, 0]);
    out.extend_from_slice(&checksum(&entry.content).to_le_bytes());
    out.extend_from_slice(&size);
    out.extend_from_slice(&claimed);
    out.extend_from_slice(&(entry.name.len() as u16).to_le_bytes());
    out.extend_from_slice(&[0, 0]);
    out
}

/// CRC-32 as zip has it.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32, byte: &u8| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 })
    };
    !bytes.iter().fold(!0, step)
}

//! Each refusal of [`super::open`]: files whose hashes are right, but whose parts are not.

use super::tests::{content, write};
use super::*;
use crate::descriptor::Memory;

/// Bytes of weights in these images.
const WEIGHTS: usize = 2000;

/// Where the header of a section is: hash, meta, text, desc, debug, weights.
fn header(bytes: &[u8], section: usize) -> usize {
    let table = u64::from_le_bytes(*bytes[0x28..].first_chunk().unwrap()) as usize;
    table + 64 * (section + 1)
}

fn number(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().unwrap())
}

fn put(bytes: &mut [u8], at: usize, value: u64) {
    bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
}

const ADDRESS: usize = 16;
const OFFSET: usize = 24;
const SIZE: usize = 32;

/// What opening says of an image that was changed and hashed again.
fn opened(change: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut bytes = write(&content(WEIGHTS as u64)).unwrap();
    change(&mut bytes);
    let hash = number(&bytes, header(&bytes, 0) + OFFSET) as usize;
    let weights = number(&bytes, header(&bytes, 5) + OFFSET) as usize;
    if hash + 48 <= weights && weights <= bytes.len() {
        bytes[hash + ROOT_OFFSET..hash + ROOT_OFFSET + HASH_BYTES].fill(0);
        let root = blake3::hash(&bytes[..weights]);
        bytes[hash + ROOT_OFFSET..hash + ROOT_OFFSET + HASH_BYTES].copy_from_slice(root.as_bytes());
    }
    match Image::from_bytes("m.narae", bytes) {
        Ok(_) => "opens".to_string(),
        Err(problems) => problems.0[0].message.clone(),
    }
}

fn hash_at(bytes: &[u8]) -> usize {
    number(bytes, header(bytes, 0) + OFFSET) as usize
}

#[test]
fn the_section_of_hashes_must_fit_the_weights() {
    assert_eq!(opened(|_| {}), "opens");
    let wrong = "the number of hashes does not fit the weights";
    assert_eq!(
        opened(|b| {
            let at = hash_at(b) + 12;
            b[at] ^= 1
        }),
        wrong,
        "bytes under one hash"
    );
    assert_eq!(
        opened(|b| {
            let at = hash_at(b) + 48;
            b[at] ^= 2
        }),
        wrong,
        "the number of hashes"
    );
    assert_eq!(
        opened(|b| {
            let at = hash_at(b) + 52;
            b[at] ^= 1
        }),
        wrong,
        "its upper half"
    );
    assert_eq!(
        opened(|b| {
            let at = header(b, 0) + SIZE;
            put(b, at, HASH_HEAD as u64)
        }),
        wrong,
        "no hash at all"
    );
    let foreign = "the section `.narae.hash` is not one of Narae's";
    assert_eq!(
        opened(|b| {
            let at = hash_at(b);
            b[at] ^= 1
        }),
        foreign
    );
    assert_eq!(
        opened(|b| {
            let at = header(b, 0) + SIZE;
            put(b, at, HASH_HEAD as u64 - 1)
        }),
        foreign
    );
    assert!(
        opened(|b| {
            let at = hash_at(b) + 8;
            b[at] = 2
        })
        .contains("format version 2")
    );
}

#[test]
fn weights_are_the_last_section_and_as_long_as_the_memory_map_says() {
    let last = "the weights are not the last section of the file";
    assert_eq!(opened(|b| b.push(0)), last);
    assert_eq!(
        opened(|b| {
            let at = header(b, 5) + SIZE;
            put(b, at, WEIGHTS as u64 - 1)
        }),
        last
    );
    let disagree = "the memory map and the section of the weights disagree";
    assert_eq!(
        opened(|b| {
            let at = header(b, 5) + ADDRESS;
            put(b, at, 0x20000)
        }),
        disagree
    );
    // A section that begins later is shorter than its region.
    let later = |b: &mut Vec<u8>| {
        let at = header(b, 5);
        let offset = number(b, at + OFFSET);
        put(b, at + OFFSET, offset + 8);
        put(b, at + SIZE, WEIGHTS as u64 - 8);
    };
    assert_eq!(opened(later), disagree);
    let truncated = "section `.text` ends beyond the file; the file is truncated";
    assert_eq!(
        opened(|b| {
            let at = header(b, 2) + SIZE;
            put(b, at, 1 << 40)
        }),
        truncated
    );
    assert_eq!(
        opened(|b| {
            let at = header(b, 2) + OFFSET;
            put(b, at, u64::MAX - 8)
        }),
        truncated
    );
    assert!(
        opened(|b| {
            let at = header(b, 3);
            b[at] ^= 1
        })
        .contains("the file has no section")
    );
}

#[test]
fn an_image_without_weights_needs_no_address_for_them() {
    let mut content = content(0);
    content.rows[0] = crate::Row::parse("tensor sram f32 [4] at 0x0").unwrap();
    let mut bytes = write(&content).unwrap();
    let weights = header(&bytes, 5);
    put(&mut bytes, weights + ADDRESS, 0);
    let (hash, end) = (hash_at(&bytes), bytes.len());
    bytes[hash + ROOT_OFFSET..hash + ROOT_OFFSET + HASH_BYTES].fill(0);
    let root = blake3::hash(&bytes[..end]);
    bytes[hash + ROOT_OFFSET..hash + ROOT_OFFSET + HASH_BYTES].copy_from_slice(root.as_bytes());
    assert!(Image::from_bytes("m", bytes).unwrap().weights_range().is_empty());
}

#[test]
fn code_and_rows_are_whole() {
    let shorter = |section: usize, by: u64| {
        move |b: &mut Vec<u8>| {
            let at = header(b, section) + SIZE;
            let size = number(b, at);
            put(b, at, size - by);
        }
    };
    assert_eq!(opened(shorter(2, 1)), "the code does not consist of whole instructions");
    assert_eq!(opened(shorter(3, 1)), "the descriptor section does not consist of whole rows");
    assert!(opened(shorter(2, 16)).contains("wrong size"), "an instruction less than the region");
    assert!(
        opened(|b| {
            let at = number(b, header(b, 2) + OFFSET) as usize;
            b[at] = 0xff
        })
        .contains("opcode 0xff")
    );
    assert!(
        opened(|b| {
            let at = number(b, header(b, 3) + OFFSET) as usize;
            b[at] = 0x77
        })
        .contains("descriptor row 0")
    );
    for section in [1, 4] {
        let broken = |b: &mut Vec<u8>| {
            let at = number(b, header(b, section) + OFFSET) as usize;
            b[at] = b'!'
        };
        assert!(opened(broken).contains("metadata cannot be read"));
    }
}

#[test]
fn weights_are_handed_out_where_they_are() {
    let content = content(2 * CHUNK_BYTES + 10);
    let good = write(&content).unwrap();
    let image = Image::from_bytes("m", good.clone()).unwrap();
    let (start, end) = (image.weights_range().start, image.weights_range().end);
    assert_eq!((start, end), (0x10000, 0x10000 + 2 * CHUNK_BYTES + 10));
    assert_eq!(image.weights_at(end - 10, 10).unwrap().len(), 10);
    assert!(image.weights_at(end, 0).unwrap().is_empty());
    let panics = |address: u64, length: usize| {
        let image = &image;
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| image.weights_at(address, length).is_ok())).is_err()
    };
    assert!(panics(start - 1, 1) && panics(end - 10, 11) && panics(end + 1, 0) && panics(start, usize::MAX));
    // Only the chunks that are asked for are verified.
    let mut bytes = good;
    let damaged = bytes.len() - 10 - CHUNK_BYTES as usize;
    bytes[damaged] ^= 1;
    let image = Image::from_bytes("m", bytes).unwrap();
    assert!(image.weights_at(start, CHUNK_BYTES as usize).is_ok() && image.weights_at(end - 10, 10).is_ok());
    assert!(image.weights_at(start, CHUNK_BYTES as usize + 1).is_err());
    let problem = image.weights_at(start + CHUNK_BYTES, 1).unwrap_err();
    assert!(
        problem.message.contains("chunk 1")
            && problem.place == Some(crate::Place::Byte { file: "m".to_string(), offset: damaged as u64 })
    );
    assert_eq!(image.verify().unwrap_err().0.len(), 1);
}

#[test]
fn an_image_for_timing_has_only_its_pieces() {
    let pieces = [(64u64, vec![1u8, 2, 3, 4])].into_iter().collect();
    let image = Image::without_weights("m", content(WEIGHTS as u64), pieces).unwrap();
    assert_eq!(image.weights_range(), 0x10000..0x10000 + WEIGHTS as u64);
    assert_eq!(image.weights_at(0x10000 + 64, 4).unwrap(), [1, 2, 3, 4]);
    assert_eq!(image.weights_at(0x10000 + 65, 2).unwrap(), [2, 3]);
    for (offset, length) in [(63, 2), (64, 5), (68, 1), (0, 1)] {
        assert_eq!(image.weights_at(0x10000 + offset, length).unwrap_err().code.id, "E0511");
    }
    assert_eq!(image.verify(), Ok(()));
    let mut bad = content(WEIGHTS as u64);
    bad.metadata.regions[0].memory = Memory::Sram;
    assert!(Image::without_weights("m", bad, Default::default()).is_err());
}

#[test]
fn another_chip_of_the_same_name_is_another_chip() {
    let image = Image::from_bytes("m", write(&content(WEIGHTS as u64)).unwrap()).unwrap();
    let mut chip = image.chip().clone();
    assert!(image.check_chip(&chip).is_ok());
    chip.dram.capacity_bytes += 1;
    assert!(image.check_chip(&chip).unwrap_err().message.contains("another version of the chip"));
    chip.chip.name = "other".to_string();
    let problem = image.check_chip(&chip).unwrap_err();
    assert!(problem.message.contains("for the chip `narae-edge`, not `other`"), "{}", problem.message);
    assert_eq!(image.name(), "m");
    assert!(format!("{image:?}").contains("\"m\""));
}

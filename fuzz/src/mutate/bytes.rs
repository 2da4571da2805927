//! Bytes without a meaning: flipped, cut, repeated, overwritten with numbers that programs get wrong.

use super::{changes, seed};
use crate::random::Random;

/// Longest result.
const LONGEST: usize = 1 << 16;

/// A changed seed.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = seed(random, seeds).to_vec();
    for _ in 0..changes(random) {
        change(random, &mut bytes, seeds);
    }
    bytes.truncate(LONGEST);
    bytes
}

/// One change.
pub fn change(random: &mut Random, bytes: &mut Vec<u8>, seeds: &[Vec<u8>]) {
    let at = random.below(bytes.len() + 1);
    match random.below(9) {
        0 => flip(random, bytes, at),
        1 => overwrite(bytes, at, &[random.next() as u8]),
        2 => overwrite_number(random, bytes, at),
        3 => bytes.truncate(at),
        4 => drop(bytes.drain(at..(at + 1 + random.below(32)).min(bytes.len()).max(at))),
        5 => insert(bytes, at, &random.bytes(16)),
        6 => repeat(random, bytes, at),
        7 => splice(random, bytes, at, seeds),
        _ => {
            let from = random.below(bytes.len());
            let piece = bytes.get(from..(from + 1 + random.below(64)).min(bytes.len())).unwrap_or_default().to_vec();
            overwrite(bytes, at, &piece);
        }
    }
}

fn flip(random: &mut Random, bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << random.below(8);
    }
}

fn overwrite(bytes: &mut [u8], at: usize, with: &[u8]) {
    for (to, from) in bytes.iter_mut().skip(at).zip(with) {
        *to = *from;
    }
}

fn overwrite_number(random: &mut Random, bytes: &mut [u8], at: usize) {
    let number = random.odd_number().to_le_bytes();
    let size = *random.pick(&[1, 2, 4, 8]);
    overwrite(bytes, at, &number[..size]);
}

/// Puts bytes in between.
pub fn insert(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let at = at.min(bytes.len());
    bytes.splice(at..at, piece.iter().copied());
}

fn repeat(random: &mut Random, bytes: &mut Vec<u8>, at: usize) {
    let piece = bytes.get(at..(at + 1 + random.below(64)).min(bytes.len())).unwrap_or_default().to_vec();
    let times = if random.chance(8) { 64 } else { 1 };
    insert(bytes, at, &piece.repeat(times));
}

/// The beginning of these bytes and the end of another seed.
fn splice(random: &mut Random, bytes: &mut Vec<u8>, at: usize, seeds: &[Vec<u8>]) {
    let other = seed(random, seeds);
    bytes.truncate(at);
    bytes.extend_from_slice(&other[random.below(other.len() + 1)..]);
}

//! Changing bytes by what they mean. In: a generator of numbers, bytes that a door accepts. Out: bytes that are nearly the same.
//!
//! [`bytes`] knows nothing · [`text`] knows words, numbers and lines · [`json`] and [`protobuf`] know trees · [`archive`] keeps checksums of
//! `.npz` files right · [`image`] keeps the hashes of images right. Always holds: what comes out is bounded by a few times what went in.

pub mod archive;
pub mod bytes;
pub mod image;
pub mod json;
pub mod protobuf;
pub mod text;

use crate::random::Random;

/// How many changes a run makes: mostly one or two, seldom many.
pub fn changes(random: &mut Random) -> usize {
    let mut count = 1;
    while count < 12 && random.chance(2) {
        count += 1;
    }
    count
}

/// One of the seeds; empty where there are none.
pub fn seed<'a>(random: &mut Random, seeds: &'a [Vec<u8>]) -> &'a [u8] {
    match seeds {
        [] => &[],
        seeds => random.pick(seeds).as_slice(),
    }
}

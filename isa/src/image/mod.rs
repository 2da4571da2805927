//! The image: an ELF64 file with everything that a program needs to run.
//!
//! In (writing): instructions, descriptor rows, metadata, and the weights as a stream. In (opening): the bytes of a file.
//! Out: an [`Image`] in which every address, branch, length and format is in bounds, or every problem of the file.
//!
//! | section | content |
//! |---|---|
//! | `.narae.hash` | `NARAEIMG`, format version u32, chunk size u32, root hash (32 bytes), number of chunks u64, a BLAKE3 hash per chunk of weights |
//! | `.narae.meta` | [`Metadata`] as JSON |
//! | `.text` | instructions, 16 bytes each |
//! | `.narae.desc` | descriptor rows, 128 bytes each |
//! | `.narae.debug` | [`DebugInfo`] as JSON |
//! | `.shstrtab` | section names |
//! | `.narae.weights` | initial contents of the weights region, page-aligned, last |
//!
//! The root hash is the BLAKE3 hash of all bytes before the weights with the root itself taken as zeros, so that it covers
//! headers, padding, all other sections and the chunk hashes; together they cover every byte of the file.
//!
//! Always: the same content gives the same bytes. Opening verifies everything but the weights, whose chunks are verified
//! when they are first touched; [`Image::verify`] verifies them all.

mod check;
mod debug;
mod metadata;
mod open;
pub mod plan;
mod write;

pub use debug::{BufferInfo, BufferKind, DebugInfo, Origin};
pub use metadata::{Entry, Metadata, Region, RegionKind, Slot, StateBuffer, TensorInfo};
pub use open::Image;
pub use plan::Plan;
pub use write::{ImageContent, ImageWriter, write_file_atomically};

/// The format version that this crate reads and writes.
pub const FORMAT_VERSION: u32 = 1;
/// Bytes of weights under one hash.
pub const CHUNK_BYTES: u64 = 1 << 20;
/// Alignment of the weights in the file.
pub const PAGE_BYTES: u64 = 4096;

const MAGIC: &[u8; 8] = b"NARAEIMG";
const HASH_BYTES: usize = 32;
/// Offset of the root hash in `.narae.hash`.
const ROOT_OFFSET: usize = 16;
/// Bytes of `.narae.hash` before the chunk hashes.
const HASH_HEAD: usize = 56;

const SECTION_HASH: &str = ".narae.hash";
const SECTION_META: &str = ".narae.meta";
const SECTION_TEXT: &str = ".text";
const SECTION_DESC: &str = ".narae.desc";
const SECTION_DEBUG: &str = ".narae.debug";
const SECTION_WEIGHTS: &str = ".narae.weights";

#[cfg(test)]
mod bounds_tests;
#[cfg(test)]
mod open_tests;
#[cfg(test)]
mod plan_tests;
#[cfg(test)]
mod tests;

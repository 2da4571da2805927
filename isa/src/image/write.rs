//! Writing images: the head at once, the weights as a stream.
//!
//! In: [`ImageContent`] and the bytes of the weights in order. Out: a file. Always: the bytes depend on the content alone; a
//! file appears under its name only when it is complete.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use object::write::StringId;
use object::write::elf::{FileHeader, SectionHeader, Writer};
use object::{Endianness, elf};

use super::{
    CHUNK_BYTES, DebugInfo, FORMAT_VERSION, HASH_BYTES, HASH_HEAD, MAGIC, Metadata, PAGE_BYTES, ROOT_OFFSET,
    RegionKind, SECTION_DEBUG, SECTION_DESC, SECTION_HASH, SECTION_META, SECTION_TEXT, SECTION_WEIGHTS, check,
};
use crate::codes;
use crate::descriptor::Row;
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::output::Output;
use crate::table::Word;

/// Everything in an image but the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageContent {
    /// Metadata; its regions say where code, descriptors and weights lie and how many bytes of weights will come.
    pub metadata: Metadata,
    /// Instructions.
    pub words: Vec<Word>,
    /// Descriptor rows.
    pub rows: Vec<Row>,
    /// Where instructions come from.
    pub debug: DebugInfo,
}

/// The head of a file: all bytes before the weights, with places to fill in.
struct Head {
    bytes: Vec<u8>,
    /// Offset of `.narae.hash`.
    hash: usize,
}

/// Takes the weights in order and completes the file.
pub struct ImageWriter<W: Write + Seek> {
    out: W,
    start: u64,
    head: Head,
    hasher: blake3::Hasher,
    hashes: Vec<[u8; HASH_BYTES]>,
    expected: u64,
    written: u64,
}

impl<W: Write + Seek> ImageWriter<W> {
    /// Checks the content and writes a preliminary head.
    pub fn new(content: &ImageContent, mut out: W) -> Result<ImageWriter<W>, Diagnostics> {
        Diagnostics::check(check::content(content), ())?;
        let expected = content.metadata.region(RegionKind::Weights).map_or(0, |region| region.bytes);
        let head = build_head(content, expected);
        let whole = head.bytes.len() as u64 + expected;
        let fail = |error| needs(cannot_write(&error), whole);
        let start = out.stream_position().map_err(fail)?;
        out.write_all(&head.bytes).map_err(fail)?;
        Ok(ImageWriter { out, start, head, hasher: blake3::Hasher::new(), hashes: Vec::new(), expected, written: 0 })
    }

    /// Bytes of the whole image.
    pub fn bytes(&self) -> u64 {
        self.head.bytes.len() as u64 + self.expected
    }

    /// Bytes of weights written so far.
    pub fn position(&self) -> u64 {
        self.written
    }

    /// Writes the next bytes of the weights.
    pub fn write_weights(&mut self, mut bytes: &[u8]) -> Result<(), Diagnostic> {
        assert!(self.written + bytes.len() as u64 <= self.expected, "more weights than the memory map says");
        let whole = self.bytes();
        self.out.write_all(bytes).map_err(|error| needs(cannot_write(&error), whole))?;
        while !bytes.is_empty() {
            let room = (CHUNK_BYTES - self.written % CHUNK_BYTES).min(bytes.len() as u64) as usize;
            let (now, later) = bytes.split_at(room);
            self.hasher.update(now);
            self.written += room as u64;
            bytes = later;
            if self.written.is_multiple_of(CHUNK_BYTES) {
                self.finish_chunk();
            }
        }
        Ok(())
    }

    /// Writes zeros up to a position, such as the aligned start of the next weight.
    pub fn pad_to(&mut self, position: u64) -> Result<(), Diagnostic> {
        assert!(position >= self.written, "weights are written in ascending order");
        const ZEROS: [u8; 4096] = [0; 4096];
        while self.written < position {
            let count = (position - self.written).min(ZEROS.len() as u64) as usize;
            self.write_weights(&ZEROS[..count])?;
        }
        Ok(())
    }

    fn finish_chunk(&mut self) {
        self.hashes.push(*self.hasher.finalize().as_bytes());
        self.hasher.reset();
    }

    /// Fills in the hashes; fails if weights are missing (a bug of ours).
    pub fn finish(mut self) -> Result<W, Diagnostic> {
        assert_eq!(self.written, self.expected, "fewer weights than the memory map says");
        if !self.written.is_multiple_of(CHUNK_BYTES) {
            self.finish_chunk();
        }
        let whole = self.bytes();
        let fail = |error| needs(cannot_write(&error), whole);
        let Head { bytes, hash } = &mut self.head;
        for (index, chunk) in self.hashes.iter().enumerate() {
            let at = *hash + HASH_HEAD + index * HASH_BYTES;
            bytes[at..at + HASH_BYTES].copy_from_slice(chunk);
        }
        let root = blake3::hash(bytes);
        let at = *hash + ROOT_OFFSET;
        bytes[at..at + HASH_BYTES].copy_from_slice(root.as_bytes());
        let end = self.out.stream_position().map_err(fail)?;
        self.out.seek(SeekFrom::Start(self.start)).map_err(fail)?;
        self.out.write_all(bytes).map_err(fail)?;
        self.out.seek(SeekFrom::Start(end)).map_err(fail)?;
        Ok(self.out)
    }
}

fn cannot_write(error: &io::Error) -> Diagnostic {
    Diagnostic::new(&codes::E0510, format!("the image cannot be written: {error}"))
}

/// The same error, with the size of the whole image.
fn needs(problem: Diagnostic, whole: u64) -> Diagnostic {
    problem.note(format!("the image needs {}", crate::diagnostic::sized(whole))).bytes(whole)
}

/// Serialises metadata or debug info; maps inside are ordered, so the bytes are reproducible.
fn to_json<T: serde::Serialize>(value: &T) -> Vec<u8> {
    match serde_json::to_vec(value) {
        Ok(json) => json,
        Err(error) => unreachable!("metadata has string keys and finite numbers only: {error}"),
    }
}

fn hash_section(weights: u64) -> Vec<u8> {
    let chunks = weights.div_ceil(CHUNK_BYTES);
    let mut hash = vec![0u8; HASH_HEAD + chunks as usize * HASH_BYTES];
    hash[..8].copy_from_slice(MAGIC);
    hash[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
    hash[12..16].copy_from_slice(&(CHUNK_BYTES as u32).to_le_bytes());
    hash[48..56].copy_from_slice(&chunks.to_le_bytes());
    hash
}

/// A section of the head: name, address in the chip's DRAM (0: not loaded), content.
struct Section {
    name: &'static str,
    address: u64,
    bytes: Vec<u8>,
    align: u64,
}

fn sections(content: &ImageContent, weights: u64) -> [Section; 5] {
    let address = |kind| content.metadata.region(kind).map_or(0, |region| region.address);
    let section = |name, address, align, bytes| Section { name, address, bytes, align };
    let code = content.words.iter().flat_map(Word::to_bytes).collect();
    let rows = content.rows.iter().flat_map(Row::encode).collect();
    [
        section(SECTION_HASH, 0, 8, hash_section(weights)),
        section(SECTION_META, 0, 1, to_json(&content.metadata)),
        section(SECTION_TEXT, address(RegionKind::Code), 16, code),
        section(SECTION_DESC, address(RegionKind::Descriptors), 128, rows),
        section(SECTION_DEBUG, 0, 1, to_json(&content.debug)),
    ]
}

fn build_head(content: &ImageContent, weights: u64) -> Head {
    let sections = sections(content, weights);
    let weights_address = content.metadata.region(RegionKind::Weights).map_or(0, |region| region.address);
    let mut bytes = Vec::new();
    let mut writer = Writer::new(Endianness::Little, true, &mut bytes);
    writer.reserve_file_header();
    let names: Vec<StringId> =
        sections.iter().map(|section| writer.add_section_name(section.name.as_bytes())).collect();
    let weights_name = writer.add_section_name(SECTION_WEIGHTS.as_bytes());
    for _ in 0..=sections.len() {
        writer.reserve_section_index();
    }
    writer.reserve_shstrtab_section_index();
    let offsets: Vec<u64> =
        sections.iter().map(|section| writer.reserve(section.bytes.len() as u64, section.align)).collect();
    reserved(writer.reserve_shstrtab());
    writer.reserve_section_headers();
    let weights_offset = writer.reserve(0, PAGE_BYTES);

    let header = FileHeader {
        e_type: elf::ET_EXEC,
        e_entry: sections[2].address + content.metadata.entries.first().map_or(0, |entry| u64::from(entry.pc) * 16),
        ..FileHeader::default()
    };
    reserved(writer.write_file_header(&header));
    for (section, offset) in sections.iter().zip(&offsets) {
        writer.pad_until(*offset);
        writer.write(&section.bytes);
    }
    writer.write_shstrtab();
    writer.write_null_section_header();
    for ((section, &offset), name) in sections.iter().zip(&offsets).zip(names) {
        let header =
            header_of(writer.section_name_offset(Some(name)), section.address, offset, section.bytes.len() as u64);
        let executable = if section.name == SECTION_TEXT { elf::SHF_EXECINSTR } else { elf::SectionFlags::default() };
        let flags = header.sh_flags | executable;
        writer.write_section_header(&SectionHeader { sh_addralign: section.align, sh_flags: flags, ..header });
    }
    let header = header_of(writer.section_name_offset(Some(weights_name)), weights_address, weights_offset, weights);
    writer.write_section_header(&SectionHeader { sh_addralign: PAGE_BYTES, ..header });
    writer.write_shstrtab_section_header();
    writer.pad_until(weights_offset);
    Head { bytes, hash: offsets[0] as usize }
}

fn header_of(name: u32, address: u64, offset: u64, size: u64) -> SectionHeader {
    let flags = if address == 0 { elf::SectionFlags::default() } else { elf::SHF_ALLOC };
    SectionHeader {
        sh_name: name,
        sh_type: elf::SHT_PROGBITS,
        sh_flags: flags,
        sh_addr: address,
        sh_offset: offset,
        sh_size: size,
        ..SectionHeader::default()
    }
}

/// The crate `object` fails on tables beyond 32 bits only; a handful of sections never are.
fn reserved<T>(result: object::write::Result<T>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => unreachable!("a head of a few sections always fits: {error}"),
    }
}

/// Writes a file so that there is never a partial one under the name (see [`crate::output`]).
pub fn write_file_atomically(
    path: &Path,
    write: impl FnOnce(&mut File) -> Result<(), Diagnostics>,
) -> Result<(), Diagnostics> {
    let fail = |error: io::Error| cannot_write(&error).at_file(path.display().to_string());
    let mut output = Output::reserve(path).map_err(fail)?;
    let placed = |problem: Diagnostic| match problem.place {
        None => problem.at_file(path.display().to_string()),
        Some(_) => problem,
    };
    write(output.file()).map_err(|problems| Diagnostics(problems.0.into_iter().map(placed).collect()))?;
    Ok(output.commit().map_err(fail)?)
}

//! Opening images.
//!
//! In: bytes, mapped or in memory. Out: [`Image`], or what is wrong with the file. Always: nothing of the head is used before its
//! hash is verified; weights are handed out only after their chunks' hashes are; nothing here panics on any bytes.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use object::read::elf::ElfFile64;
use object::{Endianness, Object as _, ObjectSection as _};

use super::{
    CHUNK_BYTES, DebugInfo, Entry, FORMAT_VERSION, HASH_BYTES, HASH_HEAD, ImageContent, MAGIC, Metadata, ROOT_OFFSET,
    RegionKind, SECTION_DEBUG, SECTION_DESC, SECTION_HASH, SECTION_META, SECTION_TEXT, SECTION_WEIGHTS, check,
};
use crate::chip::Chip;
use crate::codes;
use crate::descriptor::{ROW_BYTES, Row};
use crate::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::magic;
use crate::map::MappedFile;
use crate::table::{WORD_BYTES, Word};

/// A verified image.
pub struct Image {
    name: String,
    bytes: Arc<dyn AsRef<[u8]> + Send + Sync>,
    content: ImageContent,
    chip: Chip,
    weights: Range<usize>,
    weights_address: u64,
    hashes: Vec<[u8; HASH_BYTES]>,
    /// Chunks whose hash was found right; verifying one twice is harmless.
    verified: Vec<AtomicBool>,
    /// Without weights: the pieces that there are, by their offset.
    pieces: Option<BTreeMap<u64, Vec<u8>>>,
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Image").field("name", &self.name).field("weights", &self.weights.len()).finish_non_exhaustive()
    }
}

impl Image {
    /// Opens a file by mapping it.
    pub fn open(path: &Path) -> Result<Image, Diagnostics> {
        let name = path.display().to_string();
        let file = MappedFile::open(path).map_err(|error| {
            Diagnostic::new(&codes::E0508, format!("the image cannot be read: {error}")).at_file(&name)
        })?;
        Image::from_bytes(&name, file)
    }

    /// Opens an image that is in memory; `name` is used in messages.
    pub fn from_bytes(name: &str, bytes: impl AsRef<[u8]> + Send + Sync + 'static) -> Result<Image, Diagnostics> {
        let bytes: Arc<dyn AsRef<[u8]> + Send + Sync> = Arc::new(bytes);
        let at = |diagnostic: Diagnostic| match diagnostic.place {
            Some(_) => diagnostic,
            None => diagnostic.at_file(name),
        };
        let parsed = Parsed::new((*bytes).as_ref())
            .and_then(|parsed| Diagnostics::check(check::content(&parsed.content), parsed))
            .map_err(|problems| Diagnostics(problems.0.into_iter().map(at).collect()))?;
        let Parsed { content, weights, weights_address, hashes } = parsed;
        let chip = Chip::parse(name, &content.metadata.chip)?;
        let verified = hashes.iter().map(|_| AtomicBool::new(false)).collect();
        let name = name.to_string();
        Ok(Image { name, bytes, content, chip, weights, weights_address, hashes, verified, pieces: None })
    }

    /// An image whose weights were never made, to be timed only. Of the weights there are the `pieces` (page tables, lengths), by their
    /// offset; asking for any other byte is an error.
    pub fn without_weights(
        name: &str,
        content: ImageContent,
        pieces: BTreeMap<u64, Vec<u8>>,
    ) -> Result<Image, Diagnostics> {
        let content = Diagnostics::check(check::content(&content), content)?;
        let chip = Chip::parse(name, &content.metadata.chip)?;
        let region = content.metadata.region(RegionKind::Weights);
        let (weights_address, length) = region.map_or((0, 0), |region| (region.address, region.bytes as usize));
        Ok(Image {
            name: name.to_string(),
            bytes: Arc::new([0u8; 0]),
            content,
            chip,
            weights: 0..length,
            weights_address,
            hashes: Vec::new(),
            verified: Vec::new(),
            pieces: Some(pieces),
        })
    }

    /// The name for messages: the path it was opened by.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Metadata.
    pub fn metadata(&self) -> &Metadata {
        &self.content.metadata
    }

    /// Everything but the weights.
    pub fn content(&self) -> &ImageContent {
        &self.content
    }

    /// Instructions.
    pub fn words(&self) -> &[Word] {
        &self.content.words
    }

    /// Descriptor rows.
    pub fn rows(&self) -> &[Row] {
        &self.content.rows
    }

    /// Where instructions come from.
    pub fn debug_info(&self) -> &DebugInfo {
        &self.content.debug
    }

    /// The chip that it was compiled for.
    pub fn chip(&self) -> &Chip {
        &self.chip
    }

    /// Refuses to run on another chip.
    pub fn check_chip(&self, chip: &Chip) -> Result<(), Diagnostic> {
        if *chip == self.chip {
            return Ok(());
        }
        let message = if chip.chip.name == self.chip.chip.name {
            format!("the image is for another version of the chip `{}`", chip.chip.name)
        } else {
            format!("the image is for the chip `{}`, not `{}`", self.chip.chip.name, chip.chip.name)
        };
        Err(Diagnostic::new(&codes::E0504, message)
            .at_file(&self.name)
            .help(format!("compile the model with --chip {}", chip.chip.name)))
    }

    /// The entry of this name.
    pub fn entry(&self, name: &str) -> Result<&Entry, Diagnostic> {
        let entries = &self.content.metadata.entries;
        entries.iter().find(|entry| entry.name == name).ok_or_else(|| {
            let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            Diagnostic::new(&codes::E0509, format!("the image has no entry `{name}`"))
                .at_file(&self.name)
                .help(format!("its entries are: {}", names.join(", ")))
        })
    }

    /// The DRAM addresses that the weights fill.
    pub fn weights_range(&self) -> Range<u64> {
        self.weights_address..self.weights_address + self.weights.len() as u64
    }

    /// Weights at a DRAM address, verified. Panics when the range is not inside [`Image::weights_range`].
    pub fn weights_at(&self, address: u64, length: usize) -> Result<&[u8], Diagnostic> {
        let start = address.checked_sub(self.weights_address).and_then(|offset| usize::try_from(offset).ok());
        let range = start.and_then(|start| Some(start..start.checked_add(length)?));
        let range = range.filter(|range| range.end <= self.weights.len());
        let Some(range) = range else { panic!("{length} bytes at {address:#x} are not weights of the image") };
        if let Some(pieces) = &self.pieces {
            return self.piece(pieces, range);
        }
        if !range.is_empty() {
            let chunk = CHUNK_BYTES as usize;
            (range.start / chunk..=(range.end - 1) / chunk).try_for_each(|index| self.verify_chunk(index))?;
        }
        Ok(&self.weight_bytes()[range])
    }

    /// Bytes of an image without weights.
    fn piece<'a>(&self, pieces: &'a BTreeMap<u64, Vec<u8>>, range: Range<usize>) -> Result<&'a [u8], Diagnostic> {
        let found = pieces.range(..=range.start as u64).next_back().and_then(|(offset, piece)| {
            let start = range.start - *offset as usize;
            piece.get(start..start + range.len())
        });
        found.ok_or_else(|| {
            let message = "the model was compiled for timing only, this needs its weights";
            Diagnostic::new(&codes::E0511, message).at_file(&self.name)
        })
    }

    fn weight_bytes(&self) -> &[u8] {
        &(*self.bytes).as_ref()[self.weights.clone()]
    }

    fn verify_chunk(&self, index: usize) -> Result<(), Diagnostic> {
        if self.verified[index].load(Ordering::Acquire) {
            return Ok(());
        }
        let start = index * CHUNK_BYTES as usize;
        let bytes = self.weight_bytes();
        let chunk = &bytes[start..bytes.len().min(start + CHUNK_BYTES as usize)];
        if *blake3::hash(chunk).as_bytes() != self.hashes[index] {
            let offset = (self.weights.start + start) as u64;
            return Err(
                damaged(format!("the weights in chunk {index} differ from their hash")).at_byte(&self.name, offset)
            );
        }
        self.verified[index].store(true, Ordering::Release);
        Ok(())
    }

    /// Verifies all weights; everything else was verified when the image was opened.
    pub fn verify(&self) -> Result<(), Diagnostics> {
        let problems = (0..self.hashes.len()).filter_map(|index| self.verify_chunk(index).err()).collect();
        Diagnostics::check(problems, ())
    }
}

fn damaged(message: String) -> Diagnostic {
    Diagnostic::new(&codes::E0502, message).help("copy the file again, or compile the model again")
}

fn wrong(code: &'static Code, message: impl Into<String>) -> Diagnostics {
    Diagnostic::new(code, message).into()
}

/// What the bytes of a file say, hash of the head verified, bounds not yet.
struct Parsed {
    content: ImageContent,
    weights: Range<usize>,
    weights_address: u64,
    hashes: Vec<[u8; HASH_BYTES]>,
}

/// A section of the file.
struct Section {
    range: Range<usize>,
    address: u64,
}

fn find_section(elf: &ElfFile64<'_, Endianness>, name: &str, length: usize) -> Result<Section, Diagnostics> {
    let missing = || wrong(&codes::E0501, format!("the file has no section `{name}`"));
    let section = elf.section_by_name(name).ok_or_else(missing)?;
    let (offset, size) = section.file_range().ok_or_else(missing)?;
    let end = offset.checked_add(size).filter(|&end| end <= length as u64);
    let end = end.ok_or_else(|| damaged(format!("section `{name}` ends beyond the file; the file is truncated")))?;
    Ok(Section { range: offset as usize..end as usize, address: section.address() })
}

impl Parsed {
    fn new(bytes: &[u8]) -> Result<Parsed, Diagnostics> {
        let elf = ElfFile64::<Endianness>::parse(bytes).map_err(|error| not_an_image(bytes, &error))?;
        let section = |name| find_section(&elf, name, bytes.len());
        let (hash, weights) = (section(SECTION_HASH)?, section(SECTION_WEIGHTS)?);
        let hashes = read_hashes(bytes, &hash.range, &weights.range)?;
        let content = read_content(bytes, section)?;
        let region = content.metadata.region(RegionKind::Weights);
        let matches = region.is_some_and(|region| {
            region.bytes == weights.range.len() as u64 && (region.address == weights.address || region.bytes == 0)
        });
        if !matches {
            return Err(wrong(&codes::E0505, "the memory map and the section of the weights disagree"));
        }
        let weights_address = region.map_or(0, |region| region.address);
        Ok(Parsed { content, weights: weights.range, weights_address, hashes })
    }
}

/// The error for a file that is no ELF file; it may be something that is known.
fn not_an_image(bytes: &[u8], error: &object::Error) -> Diagnostics {
    let start = &bytes[..bytes.len().min(magic::LENGTH)];
    match magic::instead_of_image(start) {
        Some(format) => {
            let what = format!("the file is {}, not an image", format.name);
            Diagnostic::new(&codes::E0501, what).help(format.advice).into()
        }
        None => wrong(&codes::E0501, format!("not an ELF64 file: {error}")),
    }
}

/// Checks magic, version and the hash of the head; gives the hashes of the chunks.
fn read_hashes(
    bytes: &[u8],
    section: &Range<usize>,
    weights: &Range<usize>,
) -> Result<Vec<[u8; HASH_BYTES]>, Diagnostics> {
    let hash = &bytes[section.clone()];
    if hash.len() < HASH_HEAD || &hash[..8] != MAGIC {
        return Err(wrong(&codes::E0501, "the section `.narae.hash` is not one of Narae's"));
    }
    let number = |at: usize| u32::from_le_bytes([hash[at], hash[at + 1], hash[at + 2], hash[at + 3]]);
    if number(8) != FORMAT_VERSION {
        let message = format!("the image has format version {}, this Narae reads {FORMAT_VERSION}", number(8));
        return Err(wrong(&codes::E0503, message));
    }
    if weights.end != bytes.len() || section.end > weights.start {
        return Err(damaged("the weights are not the last section of the file".to_string()).into());
    }
    let root = section.start + ROOT_OFFSET..section.start + ROOT_OFFSET + HASH_BYTES;
    let mut hasher = blake3::Hasher::new();
    hasher.update(&bytes[..root.start]).update(&[0; HASH_BYTES]).update(&bytes[root.end..weights.start]);
    if hasher.finalize().as_bytes() != &bytes[root] {
        return Err(damaged("code, descriptors or metadata differ from their hash".to_string()).into());
    }
    let chunks = (weights.len() as u64).div_ceil(CHUNK_BYTES);
    let (stored, _) = hash[HASH_HEAD..].as_chunks::<HASH_BYTES>();
    let count = u64::from(number(48)) | u64::from(number(52)) << 32;
    let sizes =
        number(12) as u64 == CHUNK_BYTES && count == chunks && hash.len() as u64 == HASH_HEAD as u64 + 32 * chunks;
    if !sizes {
        return Err(wrong(&codes::E0505, "the number of hashes does not fit the weights"));
    }
    Ok(stored.to_vec())
}

fn read_content(
    bytes: &[u8],
    section: impl Fn(&'static str) -> Result<Section, Diagnostics>,
) -> Result<ImageContent, Diagnostics> {
    let json = |error: serde_json::Error| wrong(&codes::E0505, format!("metadata cannot be read: {error}"));
    let slice = |name| section(name).map(|section| &bytes[section.range]);
    let metadata = serde_json::from_slice(slice(SECTION_META)?).map_err(json)?;
    let debug = serde_json::from_slice(slice(SECTION_DEBUG)?).map_err(json)?;
    let words = read_words(slice(SECTION_TEXT)?)?;
    let rows = read_rows(slice(SECTION_DESC)?)?;
    Ok(ImageContent { metadata, words, rows, debug })
}

fn read_words(bytes: &[u8]) -> Result<Vec<Word>, Diagnostics> {
    let (words, rest) = bytes.as_chunks::<WORD_BYTES>();
    if !rest.is_empty() {
        return Err(wrong(&codes::E0506, "the code does not consist of whole instructions"));
    }
    let decode = |(pc, bytes): (usize, &[u8; WORD_BYTES])| {
        Word::from_bytes(*bytes).map_err(|error| {
            Diagnostic::new(&codes::E0506, error.to_string()).at_instruction(SECTION_TEXT, pc as u32).into()
        })
    };
    words.iter().enumerate().map(decode).collect()
}

fn read_rows(bytes: &[u8]) -> Result<Vec<Row>, Diagnostics> {
    let (rows, rest) = bytes.as_chunks::<ROW_BYTES>();
    if !rest.is_empty() {
        return Err(wrong(&codes::E0507, "the descriptor section does not consist of whole rows"));
    }
    let decode = |(index, bytes): (usize, &[u8; ROW_BYTES])| {
        Row::decode(bytes).map_err(|error| wrong(&codes::E0507, format!("descriptor row {index}: {error}")))
    };
    rows.iter().enumerate().map(decode).collect()
}

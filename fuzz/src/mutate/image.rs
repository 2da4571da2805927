//! Images whose hashes are right, so that what is changed is read: instructions, descriptor rows, metadata, debug info, weights, headers.
//!
//! In: seeds that are images. Out: images of the same sections, hashed again. What is no image is changed as bytes.

use serde_json::Value;

use super::{bytes, changes, json, seed};
use crate::random::Random;

const FILE_HEADER: usize = 64;
const SECTION_HEADER: usize = 64;
/// Bytes of weights under one hash, and where hashes lie in `.narae.hash`.
const CHUNK: usize = 1 << 20;
const ROOT: usize = 16;
const HASHES: usize = 56;

/// One section.
#[derive(Clone, Debug)]
struct Section {
    header: [u8; SECTION_HEADER],
    name: String,
    content: Vec<u8>,
}

/// A file as its sections, in the order of the file.
#[derive(Clone, Debug)]
struct Elf {
    header: Vec<u8>,
    sections: Vec<Section>,
}

/// A changed seed, hashed again.
pub fn mutate(random: &mut Random, seeds: &[Vec<u8>]) -> Vec<u8> {
    let Some(mut elf) = Elf::parse(seed(random, seeds)) else { return bytes::mutate(random, seeds) };
    for _ in 0..changes(random) {
        change(random, &mut elf);
    }
    elf.write(random.chance(32))
}

/// One change of a section that has a meaning.
fn change(random: &mut Random, elf: &mut Elf) {
    let names = [
        ".narae.meta",
        ".narae.meta",
        ".text",
        ".text",
        ".narae.desc",
        ".narae.desc",
        ".narae.debug",
        ".narae.weights",
        "*",
    ];
    let name = *random.pick(&names);
    if name == "*" {
        return change_headers(random, elf);
    }
    let Some(section) = elf.sections.iter_mut().find(|section| section.name == name) else { return };
    match name {
        ".narae.meta" | ".narae.debug" => change_json(random, &mut section.content),
        ".text" => change_rows(random, &mut section.content, 16),
        ".narae.desc" => change_rows(random, &mut section.content, 128),
        _ => {
            let length = section.content.len();
            bytes::change(random, &mut section.content, &[]);
            section.content.resize(length, 0);
        }
    }
}

fn change_headers(random: &mut Random, elf: &mut Elf) {
    let at = random.below(elf.sections.len());
    match random.below(3) {
        0 => elf.header[random.below(FILE_HEADER)] = random.next() as u8,
        1 => elf.sections[at].header[random.below(SECTION_HEADER)] = random.next() as u8,
        _ => bytes::change(random, &mut elf.sections[at].content, &[]),
    }
}

fn change_json(random: &mut Random, content: &mut Vec<u8>) {
    let Ok(mut value) = serde_json::from_slice::<Value>(content) else { return };
    if random.chance(8)
        && let Some(Value::String(chip)) = value.get_mut("chip")
    {
        *chip = super::text::change(random, chip, &[]);
    } else {
        json::change(random, &mut value, &[]);
    }
    *content = serde_json::to_vec(&value).unwrap_or_default();
}

/// Instructions or descriptor rows: bits of fields, whole rows moved, dropped, repeated.
fn change_rows(random: &mut Random, content: &mut Vec<u8>, size: usize) {
    let count = content.len() / size;
    if count == 0 {
        return;
    }
    let (a, b) = (random.below(count) * size, random.below(count) * size);
    let row = content[a..a + size].to_vec();
    match random.below(8) {
        0 => content[b..b + size].copy_from_slice(&row),
        1 => drop(content.drain(a..a + size)),
        2 => drop(content.splice(b..b, row)),
        3 | 4 => content[a + random.below(size)] ^= 1 << random.below(8),
        5 => content[a + random.below(size)] = random.next() as u8,
        6 => content[a + random.below(size)] = random.below(4) as u8,
        _ => {
            let number = random.odd_number().to_le_bytes();
            let at = a + random.below(size / 8) * 8;
            let width = *random.pick(&[2, 4, 8]);
            content[at..at + width].copy_from_slice(&number[..width]);
        }
    }
}

fn long(bytes: &[u8], at: usize) -> Option<usize> {
    let eight: [u8; 8] = bytes.get(at..at + 8)?.try_into().ok()?;
    usize::try_from(u64::from_le_bytes(eight)).ok()
}

impl Elf {
    fn parse(bytes: &[u8]) -> Option<Elf> {
        let header = bytes.get(..FILE_HEADER).filter(|header| header.starts_with(b"\x7fELF"))?.to_vec();
        let (table, count) = (long(bytes, 40)?, usize::from(u16::from_le_bytes([header[60], header[61]])));
        let names = usize::from(u16::from_le_bytes([header[62], header[63]]));
        let mut sections = Vec::new();
        for index in 0..count {
            let at = table.checked_add(index * SECTION_HEADER)?;
            let header: [u8; SECTION_HEADER] = bytes.get(at..at + SECTION_HEADER)?.try_into().ok()?;
            let (offset, size) = (long(&header, 24)?, long(&header, 32)?);
            let content = bytes.get(offset..offset.checked_add(size)?)?.to_vec();
            sections.push(Section { header, name: String::new(), content });
        }
        let strings = sections.get(names)?.content.clone();
        for section in &mut sections {
            let at = u32::from_le_bytes(section.header[..4].try_into().ok()?) as usize;
            let name = strings.get(at..)?.split(|byte| *byte == 0).next()?;
            section.name = String::from_utf8_lossy(name).into_owned();
        }
        Some(Elf { header, sections })
    }

    /// The bytes of the file; hashes are made new unless they are to be wrong.
    fn write(mut self, stale: bool) -> Vec<u8> {
        let weights = self.sections.iter().find(|section| section.name == ".narae.weights");
        let chunks: Vec<[u8; 32]> = weights.map_or(Vec::new(), |section| {
            section.content.chunks(CHUNK).map(|chunk| *blake3::hash(chunk).as_bytes()).collect()
        });
        let hash = self.sections.iter_mut().find(|section| section.name == ".narae.hash");
        if let Some(Section { content, .. }) = hash.filter(|hash| hash.content.len() >= HASHES) {
            content.truncate(HASHES);
            content.extend(chunks.iter().flatten());
            content[48..56].copy_from_slice(&(chunks.len() as u64).to_le_bytes());
            content[ROOT..ROOT + 32].fill(0);
        }
        let (mut out, hash, end) = self.lay_out();
        if let Some(hash) = hash.filter(|_| !stale && end <= out.len()) {
            let root = blake3::hash(&out[..end]);
            out[hash + ROOT..hash + ROOT + 32].copy_from_slice(root.as_bytes());
        }
        out
    }

    /// The file with the root hash zero, where `.narae.hash` lies, and where the head ends.
    fn lay_out(&self) -> (Vec<u8>, Option<usize>, usize) {
        let mut out = self.header.clone();
        let mut headers: Vec<[u8; SECTION_HEADER]> = Vec::new();
        let (mut hash, mut end) = (None, 0);
        let (weights, others): (Vec<&Section>, Vec<&Section>) =
            self.sections.iter().partition(|section| section.name == ".narae.weights");
        let mut place = |out: &mut Vec<u8>, section: &Section| {
            let mut header = section.header;
            header[24..32].copy_from_slice(&(out.len() as u64).to_le_bytes());
            header[32..40].copy_from_slice(&(section.content.len() as u64).to_le_bytes());
            if section.name == ".narae.hash" && section.content.len() >= HASHES {
                hash = Some(out.len());
            }
            out.extend_from_slice(&section.content);
            headers.push(header);
        };
        for section in &others {
            out.resize(out.len().next_multiple_of(128), 0);
            place(&mut out, section);
        }
        let table = out.len().next_multiple_of(8);
        out.resize((table + self.sections.len() * SECTION_HEADER).next_multiple_of(4096), 0);
        for section in &weights {
            end = out.len();
            place(&mut out, section);
        }
        // The headers stand in the order of the original file, weights where they were.
        let order =
            |section: &&Section| self.sections.iter().position(|own| std::ptr::eq(own, *section)).unwrap_or_default();
        for (section, header) in others.iter().chain(&weights).zip(&headers) {
            let at = table + order(section) * SECTION_HEADER;
            out[at..at + SECTION_HEADER].copy_from_slice(header);
        }
        out[40..48].copy_from_slice(&(table as u64).to_le_bytes());
        (out, hash, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Taking apart and putting together leaves an image that opens: what later runs refuse is the change, not the writer.
    #[test]
    fn an_unchanged_image_opens() {
        for bytes in crate::corpus::images() {
            let elf = Elf::parse(bytes).expect("an image of ours has sections");
            let image = narae::isa::Image::from_bytes("again", elf.write(false)).expect("the hashes are right");
            image.verify().expect("the weights are right");
        }
    }
}

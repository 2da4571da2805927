//! The memory map in assembly: what a disassembled image says of its places, so that its text assembles.
//!
//! In: lines `.model`, `.sheet`, `.region`, `.state`, `.buffer`; names are words, or quoted when they are not. Out: a [`Map`], and back. Always:
//! what is printed reads back to the same; weights are not in the text, they are zeros.

use std::fmt::Write as _;

use super::contents::words;
use crate::chip::Chip;
use crate::descriptor::Memory;
use crate::dim::DimExpr;
use crate::element::Element;
use crate::image::{BufferInfo, BufferKind, Entry, Image, Region, RegionKind, StateBuffer, TensorInfo};
use crate::operand::parse_integer;

/// The most bytes of weights that a text may ask for.
const MOST_WEIGHTS: u64 = 1 << 30;

/// What the directives of this module declare.
#[derive(Clone, Debug, Default)]
pub(super) struct Map {
    pub model: Option<String>,
    /// The chip sheet, where it is not a built-in one.
    pub sheet: String,
    pub regions: Vec<Region>,
    pub state: Vec<StateBuffer>,
    pub buffers: Vec<BufferInfo>,
}

/// A word as it stands, or in quotes: letters, digits, `_`, `.`, `-` and `/` need none.
pub(super) fn quote(name: &str) -> String {
    let plain = super::assemble::is_name(name) && name.is_ascii() && !name.contains("//");
    if plain {
        return name.to_string();
    }
    let mut out = String::from("\"");
    for character in name.chars() {
        if character.is_ascii_alphanumeric() || "_.-".contains(character) {
            out.push(character);
        } else {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out.push('"');
    out
}

/// The name that a word stands for.
pub(super) fn unquote(word: &str) -> Result<String, String> {
    match word.starts_with('"') {
        true => serde_json::from_str(word).map_err(|_| format!("{word} is not a name in quotes")),
        false => Ok(word.to_string()),
    }
}

pub(super) fn number(word: &str) -> Result<u64, String> {
    let value = parse_integer(word).and_then(|value| u64::try_from(value).ok());
    value.ok_or_else(|| format!("`{word}` is not an address or a size"))
}

fn memory(word: &str) -> Result<Memory, String> {
    Memory::from_name(word).ok_or_else(|| format!("`{word}` is not a memory"))
}

/// A value that is written as one word of JSON.
fn kind<T: serde::de::DeserializeOwned>(word: &str, what: &str) -> Result<T, String> {
    serde_json::from_value(serde_json::Value::String(word.to_string())).map_err(|_| format!("`{word}` is not {what}"))
}

fn kind_text<T: serde::Serialize>(kind: &T) -> String {
    serde_json::to_value(kind).ok().and_then(|value| value.as_str().map(str::to_string)).unwrap_or_default()
}

impl Map {
    /// Handles a directive; `None` when it is not one of the map.
    pub fn directive(&mut self, name: &str, argument: &str) -> Option<Result<(), String>> {
        Some(match name {
            "model" => unquote(argument).map(|name| self.model = Some(name)),
            "sheet" => unquote(argument).map(|line| {
                self.sheet.push_str(&line);
                self.sheet.push('\n');
            }),
            "region" => self.region(argument),
            "state" => self.state(argument),
            "buffer" => self.buffer(argument),
            _ => return None,
        })
    }

    fn region(&mut self, argument: &str) -> Result<(), String> {
        let [name, word, place, address, bytes] = words(argument)?;
        let region = Region {
            name: unquote(name)?,
            kind: kind(word, "a kind of region")?,
            memory: memory(place)?,
            address: number(address)?,
            bytes: number(bytes)?,
        };
        if region.kind == RegionKind::Weights && region.bytes > MOST_WEIGHTS {
            return Err(format!("a text has at most {MOST_WEIGHTS} bytes of weights"));
        }
        self.regions.push(region);
        Ok(())
    }

    fn state(&mut self, argument: &str) -> Result<(), String> {
        let wrong = || "expected `.state NAME ELEMENT [dims] at ADDRESS BYTES`".to_string();
        let (head, rest) = argument.split_once('[').ok_or_else(wrong)?;
        let (dims, tail) = rest.split_once(']').ok_or_else(wrong)?;
        let ([name, element], ["at", address, bytes]) = (words(head)?, words(tail)?) else { return Err(wrong()) };
        let dims = dims.split(',').map(str::trim).filter(|dim| !dim.is_empty()).map(number);
        self.state.push(StateBuffer {
            name: unquote(name)?,
            element: Element::from_name(element).ok_or_else(|| format!("`{element}` is not an element type"))?,
            dims: dims.collect::<Result<_, _>>()?,
            address: number(address)?,
            bytes: number(bytes)?,
        });
        Ok(())
    }

    fn buffer(&mut self, argument: &str) -> Result<(), String> {
        let [name, word, place, address, bytes, "used", first, last] = words(argument)? else {
            return Err("expected `.buffer NAME KIND MEMORY ADDRESS BYTES used FIRST LAST`".to_string());
        };
        let instruction = |word: &str| word.parse::<u32>().map_err(|_| format!("`{word}` is not an instruction"));
        self.buffers.push(BufferInfo {
            name: unquote(name)?,
            kind: kind::<BufferKind>(word, "a kind of buffer")?,
            memory: memory(place)?,
            address: number(address)?,
            bytes: number(bytes)?,
            used: (instruction(first)?, instruction(last)?),
        });
        Ok(())
    }
}

/// The chip, the regions, state and buffers of an image as directives.
pub(super) fn print(image: &Image, out: &mut String) {
    let metadata = image.metadata();
    let mut line = |text: String| out.extend([text.as_str(), "\n"]);
    line(format!(".model {}", quote(&metadata.model)));
    let name = &image.chip().chip.name;
    match Chip::built_in(name).is_some_and(|chip| chip == *image.chip()) {
        true => line(format!(".chip {name}")),
        false => metadata.chip.lines().for_each(|text| line(format!(".sheet {}", quote_always(text)))),
    }
    for Region { name, kind, memory, address, bytes } in &metadata.regions {
        line(format!(".region {} {} {memory} {address:#x} {bytes}", quote(name), kind_text(kind)));
    }
    for StateBuffer { name, element, dims, address, bytes } in &metadata.state {
        line(format!(".state {} {element} {dims:?} at {address:#x} {bytes}", quote(name)));
    }
    for BufferInfo { name, kind, memory, address, bytes, used } in &image.debug_info().buffers {
        let (first, last) = used;
        let kind = kind_text(kind);
        line(format!(".buffer {} {kind} {memory} {address:#x} {bytes} used {first} {last}", quote(name)));
    }
}

fn quote_always(text: &str) -> String {
    let quoted = quote(text);
    if quoted.starts_with('"') { quoted } else { format!("\"{quoted}\"") }
}

/// What stands behind `.entry`: lengths, equations, inputs and outputs.
pub(super) fn print_entry(entry: &Entry, out: &mut String) {
    let mut line = |text: String| out.extend([text.as_str(), "\n"]);
    for slot in &entry.slots {
        let computed = if slot.computed { " computed" } else { "" };
        let (name, address) = (quote(&slot.name), slot.address);
        line(format!(".slot {name} max {} min {}{computed} at {address:#x}", slot.max, slot.min));
    }
    let dim = |dim: &DimExpr| dim.named(&|index| format!("#{index}"));
    for (left, right) in &entry.equations {
        line(format!(".equal {} = {}", dim(left), dim(right)));
    }
    let tensors = entry.inputs.iter().map(|tensor| ("input", tensor));
    for (directive, tensor) in tensors.chain(entry.outputs.iter().map(|tensor| ("output", tensor))) {
        let TensorInfo { name, element, dims, memory: _, address, capacity_bytes } = tensor;
        let dims: Vec<String> = dims.iter().map(dim).collect();
        line(format!(".{directive} {} {element} [{}] at {address:#x} {capacity_bytes}", quote(name), dims.join(", ")));
    }
}

//! Assembly text to an image that runs: what `narae asm` does.
//!
//! In: text with instructions, rows, memory and entries. Out: the bytes of an image. The directives beyond those of
//! [`super::assemble_program`]:
//!
//! ```text
//! .chip narae-1                          the chip (this one when absent)
//! .dram NAME BYTES   .sram NAME BYTES    a buffer; rows use its name as an address: `at NAME`
//! .data NAME ELEMENT                     a constant; `.values 1 2.5 0*6` lines follow
//! .weight NAME FORMAT [N, K]             a packed weight; `.values`, or `.codes`, `.scales` and `.zeros` lines follow
//! .slot NAME max N                       behind `.entry`: a length; NAME is also the address of its i64
//! .input NAME ELEMENT [dims] at BUFFER   behind `.entry`: an input; dims are numbers, slots or expressions of slots
//! .output NAME ELEMENT [dims] at BUFFER
//! .equal LENGTH = LENGTH                 behind `.entry`: expressions of slots that must be equal
//! ```
//!
//! DRAM is laid out as code, descriptor rows, weights and constants, buffers; SRAM buffers follow each other from 0. A disassembled image
//! says where everything lies instead ([`super::map`]); then nothing is laid out, and weights are zeros:
//!
//! ```text
//! .region NAME KIND MEMORY ADDRESS BYTES .state NAME ELEMENT [dims] at ADDRESS BYTES
//! .slot NAME max N min N [computed] at ADDRESS
//! .input NAME ELEMENT [dims] at ADDRESS BYTES     dims may name slots by their number: `#0`
//! ```

use std::io::Cursor;

use super::contents::{ALIGNMENT, Buffer, Contents, Places, words};
use super::map::{Map, number, unquote};
use super::{Line, assemble_program, split_lines};
use crate::chip::Chip;
use crate::codes;
use crate::descriptor::{Memory, ROW_BYTES};
use crate::diagnostic::{Diagnostic, Diagnostics};
use crate::dim::DimExpr;
use crate::element::Element;
use crate::image::{
    DebugInfo, Entry, ImageContent, ImageWriter, Metadata, Origin, Region, RegionKind, Slot, TensorInfo,
};
use crate::table::WORD_BYTES;

/// Assembles a text; `file` is its name for messages.
pub fn assemble(file: &str, text: &str) -> Result<Vec<u8>, Diagnostics> {
    let lines = split_lines(text);
    let at = |line: u32, message: String| {
        Diagnostics::from(Diagnostic::new(&codes::E0521, message).at_line(file, line as usize, None))
    };
    let Declared { contents, chip, map } = read_memory(file, &lines)?;
    let layout = Layout::new(&lines, &contents, &map).map_err(|message| at(1, message))?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut other =
        |_: &Line<'_>, name: &str, argument: &str| entry_directive(&mut entries, &layout.places, name, argument);
    let program = assemble_program(file, &lines, &|row| layout.places.rewrite(row), &mut other)?;
    for (entry, (_, pc)) in entries.iter_mut().zip(&program.entries) {
        entry.pc = *pc;
    }
    let mut debug = DebugInfo { buffers: map.buffers, ..DebugInfo::default() };
    for (pc, number) in program.lines.iter().enumerate() {
        let line = text.lines().nth(*number as usize - 1).unwrap_or("").trim();
        debug.push(pc as u32, &Origin { tile: format!("{file}:{number}: {line}"), ..Origin::default() });
    }
    let metadata = Metadata {
        producer: format!("narae {} (assembler)", env!("CARGO_PKG_VERSION")),
        model: map.model.unwrap_or_else(|| file.to_string()),
        chip: chip.to_toml(),
        entries,
        state: map.state,
        regions: layout.regions,
        decisions: serde_json::Value::Null,
        wide: serde_json::Value::Null,
    };
    let rows = program.rows.into_iter().map(|(_, row)| row).collect();
    let content = ImageContent { metadata, words: program.words, rows, debug };
    write(file, &content, &contents)
}

fn write(file: &str, content: &ImageContent, contents: &Contents) -> Result<Vec<u8>, Diagnostics> {
    let mut writer = ImageWriter::new(content, Cursor::new(Vec::new())).map_err(|problems| {
        let at = |problem: Diagnostic| if problem.place.is_some() { problem } else { problem.at_file(file) };
        Diagnostics(problems.0.into_iter().map(at).collect())
    })?;
    for piece in &contents.pieces {
        let bytes = piece
            .pack()
            .map_err(|message| Diagnostic::new(&codes::E0521, message).at_line(file, piece.line as usize, None))?;
        writer.write_weights(&bytes)?;
        let position = writer.position();
        writer.pad_to(position.next_multiple_of(ALIGNMENT))?;
    }
    let whole = content.metadata.region(RegionKind::Weights).map_or(0, |region| region.bytes);
    writer.pad_to(whole)?;
    Ok(writer.finish()?.into_inner())
}

/// What the first pass finds.
struct Declared {
    contents: Contents,
    chip: Chip,
    map: Map,
}

/// First pass: memory directives, slots (each has its i64 in DRAM) and the chip.
fn read_memory(file: &str, lines: &[Line<'_>]) -> Result<Declared, Diagnostics> {
    let (mut contents, mut map) = (Contents::default(), Map::default());
    let mut chip = (1, "narae-1");
    for line in lines {
        let Some((name, argument)) = line.directive() else { continue };
        let result = match name {
            "chip" => {
                chip = (line.number, argument);
                Ok(())
            }
            "slot" => parse_slot(argument).map(|slot| {
                if slot.address.is_none() && !contents.dram.iter().any(|buffer| buffer.name == slot.name) {
                    contents.dram.push(Buffer { name: slot.name, bytes: 8 });
                }
            }),
            _ => map
                .directive(name, argument)
                .or_else(|| contents.directive(line.number, name, argument))
                .unwrap_or(Ok(())),
        };
        result.map_err(|message| wrong_line(file, line.number, message))?;
    }
    let chip = match map.sheet.is_empty() {
        true => Chip::built_in(chip.1)
            .ok_or_else(|| wrong_line(file, chip.0, format!("`{}` is not a built-in chip", chip.1)))?,
        false => Chip::parse(&format!("{file} (.sheet)"), &map.sheet)?,
    };
    Ok(Declared { contents, chip, map })
}

fn wrong_line(file: &str, line: u32, message: String) -> Diagnostic {
    Diagnostic::new(&codes::E0521, message).at_line(file, line as usize, None)
}

/// The memory map.
struct Layout {
    places: Places,
    regions: Vec<Region>,
}

impl Layout {
    fn new(lines: &[Line<'_>], contents: &Contents, map: &Map) -> Result<Layout, String> {
        if !map.regions.is_empty() {
            // Everything has its place already.
            let own = contents.pieces.first().map(|piece| &piece.name);
            let own = own.or(contents.dram.first().or(contents.sram.first()).map(|buffer| &buffer.name));
            return match own {
                Some(name) => Err(format!("with `.region` every address is given, but `{name}` has none")),
                None => Ok(Layout { places: contents.place(0, 0, 0)?, regions: map.regions.clone() }),
            };
        }
        let instructions = lines.iter().filter(|line| line.is_instruction()).count();
        let row_count = lines.iter().filter(|line| matches!(line.directive(), Some(("row", _)))).count();
        let sizes = [(instructions * WORD_BYTES) as u64, (row_count * ROW_BYTES) as u64, contents.piece_bytes()];
        const PAGE: u64 = crate::image::PAGE_BYTES;
        let code = PAGE;
        let rows = (code + sizes[0]).next_multiple_of(PAGE);
        let weights = (rows + sizes[1]).next_multiple_of(PAGE);
        let buffers = (weights + sizes[2]).next_multiple_of(PAGE);
        let places = contents.place(weights, buffers, 0)?;
        let region =
            |name: &str, kind, memory, address, bytes| Region { name: name.to_string(), kind, memory, address, bytes };
        let regions = vec![
            region("code", RegionKind::Code, Memory::Dram, code, sizes[0]),
            region("descriptors", RegionKind::Descriptors, Memory::Dram, rows, sizes[1]),
            region("weights", RegionKind::Weights, Memory::Dram, weights, sizes[2]),
            region("buffers", RegionKind::Io, Memory::Dram, buffers, places.dram_end - buffers),
            region("sram", RegionKind::Scratch, Memory::Sram, 0, places.sram_end),
        ];
        Ok(Layout { places, regions })
    }
}

fn entry_directive(entries: &mut Vec<Entry>, places: &Places, name: &str, argument: &str) -> Result<(), String> {
    if name == "entry" {
        let (inputs, outputs, slots, equations) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        entries.push(Entry { name: unquote(argument)?, pc: 0, inputs, outputs, slots, equations });
        return Ok(());
    }
    let entry = |entries: &mut Vec<Entry>| entries.pop().ok_or_else(|| format!("`.{name}` belongs behind an `.entry`"));
    match name {
        "slot" => {
            let mut entry = entry(entries)?;
            let slot = parse_slot(argument)?;
            let placed = places.addresses.get(&slot.name).map_or(0, |(address, _)| *address);
            let SlotLine { name, max, min, computed, address } = slot;
            entry.slots.push(Slot { name, address: address.unwrap_or(placed), min, max, computed });
            entries.push(entry);
        }
        "equal" => {
            let mut entry = entry(entries)?;
            let (left, right) = argument.split_once('=').ok_or("expected `.equal LENGTH = LENGTH`")?;
            entry.equations.push((parse_dim(&entry, left)?, parse_dim(&entry, right)?));
            entries.push(entry);
        }
        "input" | "output" => {
            let mut entry = entry(entries)?;
            let tensor = parse_tensor(&entry, places, argument)?;
            if name == "input" { &mut entry.inputs } else { &mut entry.outputs }.push(tensor);
            entries.push(entry);
        }
        "model" | "sheet" | "region" | "state" | "buffer" => {}
        "chip" | "data" | "weight" | "values" | "codes" | "scales" | "zeros" | "dram" | "sram" => {}
        _ => return Err(format!("`.{name}` is not a directive")),
    }
    Ok(())
}

/// A `.slot` line.
struct SlotLine {
    name: String,
    max: i64,
    min: i64,
    computed: bool,
    address: Option<u64>,
}

fn parse_slot(argument: &str) -> Result<SlotLine, String> {
    let wrong = || "expected `.slot NAME max N [min N] [computed] [at ADDRESS]`".to_string();
    let mut words = argument.split_whitespace();
    let (Some(name), Some("max"), Some(max)) = (words.next(), words.next(), words.next()) else { return Err(wrong()) };
    let integer = |word: &str| word.parse::<i64>().map_err(|_| format!("`{word}` is not a number"));
    let mut slot = SlotLine { name: unquote(name)?, max: integer(max)?, min: 0, computed: false, address: None };
    while let Some(word) = words.next() {
        match word {
            "min" => slot.min = integer(words.next().ok_or_else(wrong)?)?,
            "computed" => slot.computed = true,
            "at" => slot.address = Some(number(words.next().ok_or_else(wrong)?)?),
            _ => return Err(wrong()),
        }
    }
    Ok(slot)
}

fn parse_tensor(entry: &Entry, places: &Places, argument: &str) -> Result<TensorInfo, String> {
    let wrong = || "expected `NAME ELEMENT [dims] at BUFFER`".to_string();
    let (head, rest) = argument.split_once('[').ok_or_else(wrong)?;
    let (dims, tail) = rest.split_once(']').ok_or_else(wrong)?;
    let [name, element] = words(head)?;
    let element = Element::from_name(element).ok_or_else(|| format!("`{element}` is not an element type"))?;
    let (address, bytes) = match tail.split_whitespace().collect::<Vec<_>>().as_slice() {
        ["at", address, bytes] => (number(address)?, number(bytes)?),
        ["at", buffer] => *places.addresses.get(*buffer).ok_or_else(|| format!("there is no buffer `{buffer}`"))?,
        _ => return Err(wrong()),
    };
    let dims = dims.split(',').map(str::trim).filter(|dim| !dim.is_empty()).map(|dim| parse_dim(entry, dim));
    Ok(TensorInfo {
        name: unquote(name)?,
        element,
        dims: dims.collect::<Result<_, _>>()?,
        memory: Memory::Dram,
        address,
        capacity_bytes: bytes,
    })
}

/// A length expression in which slots have their names, or their numbers behind `#`.
fn parse_dim(entry: &Entry, text: &str) -> Result<DimExpr, String> {
    let mut replaced = String::new();
    let mut word = String::new();
    for character in text.chars().chain([' ']) {
        if character.is_alphanumeric() || character == '_' || (character == '#' && word.is_empty()) {
            word.push(character);
            continue;
        }
        if let Some(number) = word.strip_prefix('#') {
            replaced.push_str(&format!("s{number}{character}"));
            word.clear();
            continue;
        }
        match entry.slots.iter().position(|slot| slot.name == word) {
            Some(index) => replaced.push_str(&format!("s{index}")),
            None => replaced.push_str(&word),
        }
        word.clear();
        replaced.push(character);
    }
    DimExpr::parse(replaced.trim()).map_err(|error| error.to_string())
}

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
//! DRAM is laid out as code, descriptor rows, weights and constants, buffers; SRAM buffers follow each other from 0.

use std::io::Cursor;

use super::contents::{ALIGNMENT, Buffer, Contents, Places, words};
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
    let (contents, chip) = read_memory(&lines).map_err(|(line, message)| at(line, message))?;
    let layout = Layout::new(&lines, &contents).map_err(|message| at(1, message))?;
    let mut entries: Vec<Entry> = Vec::new();
    let mut other =
        |_: &Line<'_>, name: &str, argument: &str| entry_directive(&mut entries, &layout.places, name, argument);
    let program = assemble_program(file, &lines, &|row| layout.places.rewrite(row), &mut other)?;
    for (entry, (_, pc)) in entries.iter_mut().zip(&program.entries) {
        entry.pc = *pc;
    }
    let mut debug = DebugInfo::default();
    for (pc, number) in program.lines.iter().enumerate() {
        let line = text.lines().nth(*number as usize - 1).unwrap_or("").trim();
        debug.push(pc as u32, &Origin { tile: format!("{file}:{number}: {line}"), ..Origin::default() });
    }
    let metadata = Metadata {
        producer: format!("narae {} (assembler)", env!("CARGO_PKG_VERSION")),
        model: file.to_string(),
        chip: chip.to_toml(),
        entries,
        state: Vec::new(),
        regions: layout.regions(),
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
    Ok(writer.finish()?.into_inner())
}

/// First pass: memory directives, slots (each has its i64 in DRAM) and the chip.
fn read_memory(lines: &[Line<'_>]) -> Result<(Contents, Chip), (u32, String)> {
    let mut contents = Contents::default();
    let mut chip = "narae-1";
    for line in lines {
        let Some((name, argument)) = line.directive() else { continue };
        let result = match name {
            "chip" => {
                chip = argument;
                Ok(())
            }
            "slot" => parse_slot(argument).map(|(name, _)| {
                if !contents.dram.iter().any(|buffer| buffer.name == name) {
                    contents.dram.push(Buffer { name: name.to_string(), bytes: 8 });
                }
            }),
            _ => contents.directive(line.number, name, argument).unwrap_or(Ok(())),
        };
        result.map_err(|message| (line.number, message))?;
    }
    let found = Chip::built_in(chip).ok_or_else(|| (1, format!("`{chip}` is not a built-in chip")))?;
    Ok((contents, found))
}

/// The memory map.
struct Layout {
    code: u64,
    rows: u64,
    weights: u64,
    buffers: u64,
    sizes: [u64; 3],
    places: Places,
}

impl Layout {
    fn new(lines: &[Line<'_>], contents: &Contents) -> Result<Layout, String> {
        let instructions = lines.iter().filter(|line| line.is_instruction()).count();
        let row_count = lines.iter().filter(|line| matches!(line.directive(), Some(("row", _)))).count();
        let sizes = [(instructions * WORD_BYTES) as u64, (row_count * ROW_BYTES) as u64, contents.piece_bytes()];
        const PAGE: u64 = crate::image::PAGE_BYTES;
        let code = PAGE;
        let rows = (code + sizes[0]).next_multiple_of(PAGE);
        let weights = (rows + sizes[1]).next_multiple_of(PAGE);
        let buffers = (weights + sizes[2]).next_multiple_of(PAGE);
        let places = contents.place(weights, buffers, 0)?;
        Ok(Layout { code, rows, weights, buffers, sizes, places })
    }

    fn regions(&self) -> Vec<Region> {
        let region =
            |name: &str, kind, memory, address, bytes| Region { name: name.to_string(), kind, memory, address, bytes };
        vec![
            region("code", RegionKind::Code, Memory::Dram, self.code, self.sizes[0]),
            region("descriptors", RegionKind::Descriptors, Memory::Dram, self.rows, self.sizes[1]),
            region("weights", RegionKind::Weights, Memory::Dram, self.weights, self.sizes[2]),
            region("buffers", RegionKind::Io, Memory::Dram, self.buffers, self.places.dram_end - self.buffers),
            region("sram", RegionKind::Scratch, Memory::Sram, 0, self.places.sram_end),
        ]
    }
}

fn entry_directive(entries: &mut Vec<Entry>, places: &Places, name: &str, argument: &str) -> Result<(), String> {
    if name == "entry" {
        let (inputs, outputs, slots, equations) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        entries.push(Entry { name: argument.to_string(), pc: 0, inputs, outputs, slots, equations });
        return Ok(());
    }
    let entry = |entries: &mut Vec<Entry>| entries.pop().ok_or_else(|| format!("`.{name}` belongs behind an `.entry`"));
    match name {
        "slot" => {
            let mut entry = entry(entries)?;
            let (name, max) = parse_slot(argument)?;
            let address = places.addresses.get(name).map_or(0, |(address, _)| *address);
            entry.slots.push(Slot { name: name.to_string(), address, min: 0, max, computed: false });
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
        "chip" | "data" | "weight" | "values" | "codes" | "scales" | "zeros" | "dram" | "sram" => {}
        _ => return Err(format!("`.{name}` is not a directive")),
    }
    Ok(())
}

fn parse_slot(argument: &str) -> Result<(&str, i64), String> {
    let [name, "max", max] = words(argument)? else { return Err("expected `.slot NAME max N`".to_string()) };
    max.parse().map(|max| (name, max)).map_err(|_| format!("`{max}` is not a number"))
}

fn parse_tensor(entry: &Entry, places: &Places, argument: &str) -> Result<TensorInfo, String> {
    let wrong = || "expected `NAME ELEMENT [dims] at BUFFER`".to_string();
    let (head, rest) = argument.split_once('[').ok_or_else(wrong)?;
    let (dims, tail) = rest.split_once(']').ok_or_else(wrong)?;
    let [name, element] = words(head)?;
    let ["at", buffer] = words(tail)? else { return Err(wrong()) };
    let element = Element::from_name(element).ok_or_else(|| format!("`{element}` is not an element type"))?;
    let (address, bytes) = places.addresses.get(buffer).ok_or_else(|| format!("there is no buffer `{buffer}`"))?;
    let dims = dims.split(',').map(str::trim).filter(|dim| !dim.is_empty()).map(|dim| parse_dim(entry, dim));
    Ok(TensorInfo {
        name: name.to_string(),
        element,
        dims: dims.collect::<Result<_, _>>()?,
        memory: Memory::Dram,
        address: *address,
        capacity_bytes: *bytes,
    })
}

/// A length expression in which slots have their names.
fn parse_dim(entry: &Entry, text: &str) -> Result<DimExpr, String> {
    let mut replaced = String::new();
    let mut word = String::new();
    for character in text.chars().chain([' ']) {
        if character.is_alphanumeric() || character == '_' {
            word.push(character);
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

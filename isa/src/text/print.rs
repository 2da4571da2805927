//! Programs and images to text.
//!
//! In: [`Program`] or [`Image`]. Out: assembly that gives the same instructions, or a summary for people. Always: the text depends
//! on the content alone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::{Program, map};
use crate::image::{Image, Metadata, Origin};
use crate::instructions::Inst;
use crate::operand::Target;
use crate::table::{WORD_BYTES, Word};

/// Names for all branch targets of a code section: `L` and the index of the instruction.
pub fn labels_of(words: &[Word]) -> BTreeMap<u32, String> {
    let targets = words.iter().filter_map(|word| word.inst.target());
    targets.map(|Target(index)| (index, format!("L{index}"))).collect()
}

/// One instruction, with names in place of numbers for its branch target and its row.
pub fn disassemble_word(
    word: &Word,
    labels: &BTreeMap<u32, String>,
    row_name: &dyn Fn(u32) -> Option<String>,
) -> String {
    let text = word.inst.to_string();
    let number = |index: u32| format!(", {index}");
    let replace = |index: u32, name: &str| match text.rfind(&number(index)) {
        Some(at) => format!("{}, {name}{}", &text[..at], &text[at + number(index).len()..]),
        None => text.replacen(&format!(" {index}"), &format!(" {name}"), 1),
    };
    let named = match word.inst {
        Inst::LoadDescriptor(load) => match row_name(load.row.0) {
            Some(name) => replace(load.row.0, &name),
            None => text.clone(),
        },
        inst => match inst.target().and_then(|target| labels.get(&target.0).map(|label| (target.0, label))) {
            Some((index, label)) => replace(index, label),
            None => text.clone(),
        },
    };
    format!("{named}{}", word.sync)
}

impl Program {
    /// Text that assembles to the same instructions, rows and entries.
    pub fn to_text(&self) -> String {
        let mut out = String::new();
        for (name, row) in &self.rows {
            writeln!(out, ".row {name} {row}").ok();
        }
        let labels = labels_of(&self.words);
        let row_name = |index: u32| self.rows.get(index as usize).map(|(name, _)| name.clone());
        for (pc, word) in self.words.iter().enumerate() {
            let pc = pc as u32;
            for (name, _) in self.entries.iter().filter(|(_, start)| *start == pc) {
                writeln!(out, ".entry {name}").ok();
            }
            if let Some(label) = labels.get(&pc) {
                writeln!(out, "{label}:").ok();
            }
            writeln!(out, "    {}", disassemble_word(word, &labels, &row_name)).ok();
        }
        out
    }
}

/// The code, the rows and the memory map of an image as assembly, which assembles to the same image with zeros for weights; comments name
/// where instructions come from.
pub fn disassemble_image(image: &Image) -> String {
    let name = image.name().replace('\n', " ");
    let mut out = format!("// {name}: {} instructions, {} rows\n", image.words().len(), image.rows().len());
    map::print(image, &mut out);
    let row_name = |index: u32| ((index as usize) < image.rows().len()).then(|| format!("row{index}"));
    for (index, row) in image.rows().iter().enumerate() {
        writeln!(out, ".row row{index} {row}").ok();
    }
    let labels = labels_of(image.words());
    let mut previous = None;
    for (pc, word) in image.words().iter().enumerate() {
        let pc = pc as u32;
        for entry in image.metadata().entries.iter().filter(|entry| entry.pc == pc) {
            writeln!(out, "\n.entry {}", map::quote(&entry.name)).ok();
            map::print_entry(entry, &mut out);
        }
        let origin = image.debug_info().origin(pc);
        if origin != previous
            && let Some(Origin { tile, graph, nodes }) = origin
        {
            let nodes: Vec<String> = nodes.iter().map(|(name, op)| format!("{name} ({op})")).collect();
            let parts = [tile.clone(), graph.clone(), nodes.join(", ")];
            let text: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
            writeln!(out, "    // {}", text.join(" <- ").replace('\n', " ")).ok();
            previous = origin;
        }
        if let Some(label) = labels.get(&pc) {
            writeln!(out, "{label}:").ok();
        }
        writeln!(out, "    {}", disassemble_word(word, &labels, &row_name)).ok();
    }
    out
}

/// What is in an image, for people.
pub fn inspect_image(image: &Image) -> String {
    let Metadata { producer, model, entries, state, regions, .. } = image.metadata();
    let mut out = format!("model      {model}\nproducer   {producer}\nchip       {}\n", image.chip().chip.name);
    writeln!(out, "code       {} instructions, {} bytes", image.words().len(), image.words().len() * WORD_BYTES).ok();
    writeln!(out, "rows       {}", image.rows().len()).ok();
    writeln!(out, "weights    {} bytes", image.weights_range().end - image.weights_range().start).ok();
    for entry in entries {
        writeln!(out, "\nentry {} at instruction {}", entry.name, entry.pc).ok();
        for (index, slot) in entry.slots.iter().enumerate() {
            let from = if slot.computed { "computed" } else { "given" };
            writeln!(out, "  slot   s{index} = {} ({from}, at most {})", slot.name, slot.max).ok();
        }
        for (left, right) in &entry.equations {
            writeln!(out, "  equal  {left} = {right}").ok();
        }
        let tensors = entry.inputs.iter().map(|tensor| ("input ", tensor));
        for (direction, tensor) in tensors.chain(entry.outputs.iter().map(|tensor| ("output", tensor))) {
            let dims: Vec<String> = tensor.dims.iter().map(|dim| dim.to_string()).collect();
            writeln!(out, "  {direction} {}: {}[{}]", tensor.name, tensor.element, dims.join(", ")).ok();
        }
    }
    for buffer in state {
        writeln!(out, "\nstate {}: {}{:?}, {} bytes", buffer.name, buffer.element, buffer.dims, buffer.bytes).ok();
    }
    out.push_str("\nmemory map\n");
    for region in regions {
        let end = region.address.saturating_add(region.bytes);
        writeln!(out, "  {} {:#014x}..{end:#014x} {:>12} {}", region.memory, region.address, region.bytes, region.name)
            .ok();
    }
    out
}

//! Bounds of everything in an image, used before writing and after reading.
//!
//! Invariants of a valid image: the chip sheet parses; regions lie in their memories and do not overlap; code, descriptors and
//! weights have one region each of exactly their size; every entry starts inside the code; every branch target and every row
//! number is in bounds; the last instruction cannot run off the end; every address that does not depend on a register lies in
//! a region; every tensor fits its place at the greatest lengths; debug info names existing origins and places its
//! buffers inside their memories, those that are in use at one time apart.

use std::collections::BTreeSet;

use super::{BufferInfo, BufferKind, Entry, ImageContent, Region, RegionKind, TensorInfo};
use crate::chip::Chip;
use crate::codes;
use crate::descriptor::{Descriptor, Memory, ROW_BYTES, Row};
use crate::diagnostic::Diagnostic;
use crate::dim::DimExpr;
use crate::instructions::Inst;
use crate::operand::ScalarRegister;
use crate::table::WORD_BYTES;

/// Instructions that a report names of those that are not as planned.
const MOST_PLAN_PROBLEMS: usize = 5;

/// All problems of the content.
pub(super) fn content(content: &ImageContent) -> Vec<Diagnostic> {
    let chip = match Chip::parse("chip sheet of the image", &content.metadata.chip) {
        Ok(chip) => chip,
        Err(problems) => return problems.0,
    };
    let mut checker = Checker { content, chip: &chip, problems: Vec::new() };
    checker.regions();
    checker.entries();
    checker.state();
    checker.code();
    checker.rows();
    checker.debug();
    checker.problems
}

struct Checker<'a> {
    content: &'a ImageContent,
    chip: &'a Chip,
    problems: Vec<Diagnostic>,
}

impl<'a> Checker<'a> {
    fn metadata(&mut self, message: String) {
        self.problems.push(Diagnostic::new(&codes::E0505, message));
    }

    fn capacity(&self, memory: Memory) -> u64 {
        match memory {
            Memory::Dram => self.chip.dram_bytes(),
            Memory::Sram => self.chip.sram_bytes(),
        }
    }

    fn regions(&mut self) {
        let content: &'a ImageContent = self.content;
        let regions = &content.metadata.regions;
        for region in regions {
            let end = region.address.checked_add(region.bytes);
            if end.is_none_or(|end| end > self.capacity(region.memory)) {
                self.metadata(format!("region `{}` ends beyond the {} of the chip", region.name, region.memory));
            }
        }
        let mut sorted: Vec<&Region> = regions.iter().filter(|region| region.bytes > 0).collect();
        sorted.sort_by_key(|region| (region.memory, region.address));
        for pair in sorted.windows(2) {
            if pair[0].memory == pair[1].memory && pair[0].address.saturating_add(pair[0].bytes) > pair[1].address {
                self.metadata(format!("regions `{}` and `{}` overlap", pair[0].name, pair[1].name));
            }
        }
        self.single_region(RegionKind::Code, Some((content.words.len() * WORD_BYTES) as u64));
        self.single_region(RegionKind::Descriptors, Some((content.rows.len() * ROW_BYTES) as u64));
        self.single_region(RegionKind::Weights, None);
    }

    fn single_region(&mut self, kind: RegionKind, bytes: Option<u64>) {
        let content: &'a ImageContent = self.content;
        let mut found = content.metadata.regions.iter().filter(|region| region.kind == kind);
        match (found.next(), found.next()) {
            (Some(region), None) => {
                if region.memory != Memory::Dram || bytes.is_some_and(|bytes| bytes != region.bytes) {
                    self.metadata(format!("region `{}` is not in DRAM or has the wrong size", region.name));
                }
            }
            _ => self.metadata(format!("there must be exactly one region of the kind {kind:?}")),
        }
    }

    /// Whether bytes lie in a mapped region (DRAM) or in the SRAM.
    fn is_mapped(&self, memory: Memory, address: u64, bytes: u64) -> bool {
        match memory {
            Memory::Sram => address.checked_add(bytes).is_some_and(|end| end <= self.chip.sram_bytes()),
            Memory::Dram => {
                let mut dram = self.content.metadata.regions.iter().filter(|region| region.memory == Memory::Dram);
                dram.any(|region| region.contains(address, bytes))
            }
        }
    }

    fn entries(&mut self) {
        let content: &'a ImageContent = self.content;
        let mut names = BTreeSet::new();
        if content.metadata.entries.is_empty() {
            self.metadata("there is no entry".to_string());
        }
        for entry in &content.metadata.entries {
            if !names.insert(&entry.name) {
                self.metadata(format!("the entry `{}` exists twice", entry.name));
            }
            if entry.pc as usize >= content.words.len() {
                self.metadata(format!("entry `{}` starts at instruction {}, beyond the code", entry.name, entry.pc));
            }
            self.slots(entry);
            let mut tensors = BTreeSet::new();
            for (direction, tensor) in entry
                .inputs
                .iter()
                .map(|tensor| ("input", tensor))
                .chain(entry.outputs.iter().map(|tensor| ("output", tensor)))
            {
                if !tensors.insert((direction, &tensor.name)) {
                    self.metadata(format!("entry `{}` has two {direction}s `{}`", entry.name, tensor.name));
                }
                self.tensor(entry, tensor);
            }
        }
    }

    fn slots(&mut self, entry: &Entry) {
        for slot in &entry.slots {
            if slot.address % 8 != 0 || !self.is_mapped(Memory::Dram, slot.address, 8) {
                self.metadata(format!("slot `{}` of entry `{}` lies outside of the memory map", slot.name, entry.name));
            }
            if slot.max < 0 {
                self.metadata(format!("slot `{}` of entry `{}` has a negative maximum", slot.name, entry.name));
            }
        }
        let sides = entry.equations.iter().flat_map(|(left, right)| [left, right]);
        if sides.filter_map(DimExpr::highest_slot).any(|slot| usize::from(slot) >= entry.slots.len()) {
            self.metadata(format!("an equation of entry `{}` uses a slot that does not exist", entry.name));
        }
    }

    fn tensor(&mut self, entry: &Entry, tensor: &TensorInfo) {
        let name = format!("tensor `{}` of entry `{}`", tensor.name, entry.name);
        if tensor.dims.iter().filter_map(|dim| dim.highest_slot()).any(|slot| usize::from(slot) >= entry.slots.len()) {
            return self.metadata(format!("{name} uses a slot that does not exist"));
        }
        if !self.is_mapped(tensor.memory, tensor.address, tensor.capacity_bytes) {
            self.metadata(format!("{name} lies outside of the memory map"));
        }
        // Lengths that the program computes depend on each other: the dims that they give are checked when the run ends.
        let computed = |dim: &DimExpr| dim.slots().iter().any(|&slot| entry.slots[usize::from(slot)].computed);
        if tensor.dims.iter().any(computed) {
            return;
        }
        let greatest: Vec<i64> = entry.slots.iter().map(|slot| slot.max).collect();
        // Where lengths bind each other (a picture has as many patches as there are positions), not all of them are greatest at once: what
        // is given is held against the place when it is given.
        let equal = |(left, right): &(DimExpr, DimExpr)| left.eval(&greatest).ok() == right.eval(&greatest).ok();
        if !entry.equations.iter().all(equal) {
            return;
        }
        let Ok(dims) = tensor.dims_at(&greatest) else {
            return self.metadata(format!("{name} has no dims at its maximum"));
        };
        let bytes = crate::tensor::element_count(&dims).and_then(|count| count.checked_mul(tensor.element.bytes()));
        if bytes.is_none_or(|bytes| bytes as u64 > tensor.capacity_bytes) {
            self.metadata(format!("{name} does not fit its {} bytes at its maximum", tensor.capacity_bytes));
        }
    }

    fn state(&mut self) {
        let content: &'a ImageContent = self.content;
        for state in &content.metadata.state {
            if !self.is_mapped(Memory::Dram, state.address, state.bytes) {
                self.metadata(format!("state `{}` lies outside of the memory map", state.name));
            }
        }
    }

    fn code(&mut self) {
        let content: &'a ImageContent = self.content;
        let place = |pc: usize, message: String| {
            Diagnostic::new(&codes::E0506, message).at_instruction(super::SECTION_TEXT, pc as u32)
        };
        for (pc, word) in content.words.iter().enumerate() {
            if let Some(target) = word.inst.target()
                && target.0 as usize >= content.words.len()
            {
                self.problems.push(place(pc, format!("`{}` branches beyond the code", word.inst)));
            }
            if let Inst::LoadDescriptor(load) = word.inst
                && load.row.0 as usize >= content.rows.len()
            {
                self.problems.push(place(pc, format!("`{}` loads a row that does not exist", word.inst)));
            }
        }
        let runs_off = |inst: &Inst| !matches!(inst, Inst::Halt(_) | Inst::Jump(_));
        match content.words.last() {
            Some(last) if runs_off(&last.inst) => {
                let message = "the last instruction is neither `halt` nor `jump`, so the program could run off its end";
                self.problems.push(place(content.words.len() - 1, message.to_string()));
            }
            Some(_) => {}
            None => self.problems.push(Diagnostic::new(&codes::E0506, "there are no instructions")),
        }
    }

    fn rows(&mut self) {
        let content: &'a ImageContent = self.content;
        for (index, row) in content.rows.iter().enumerate() {
            if let Err(reason) = self.row(row) {
                let message = format!("descriptor row {index} ({row}): {reason}");
                self.problems.push(Diagnostic::new(&codes::E0507, message));
            }
        }
    }

    fn row(&self, row: &Row) -> Result<(), String> {
        let (memory, base) = match row {
            Row::Tensor(row) => (row.memory, row.base),
            Row::Weight(row) => (Memory::Dram, row.base),
            Row::Window(_) | Row::Resize(_) => return Ok(()),
        };
        if base > self.capacity(memory) {
            return Err(format!("the base lies beyond the {memory} of the chip"));
        }
        // A row with registers can only be judged when it is loaded.
        if !row.registers().is_empty() {
            return Ok(());
        }
        let none = [0; ScalarRegister::COUNT];
        let range = match row.resolve(&none).map_err(|error| error.to_string())? {
            Descriptor::Tensor(view) => view.byte_range(),
            Descriptor::Weight(view) => view.byte_range(),
            Descriptor::Parameters(_) => return Ok(()),
        };
        let empty = range.is_empty();
        if empty || self.is_mapped(memory, range.start, range.end - range.start) {
            return Ok(());
        }
        Err(format!("bytes {:#x}..{:#x} lie outside of the memory map", range.start, range.end))
    }

    fn debug(&mut self) {
        let debug = &self.content.debug;
        let ascending = debug.runs.windows(2).all(|pair| pair[0].0 < pair[1].0);
        let known = debug.runs.iter().all(|(_, origin)| (*origin as usize) < debug.origins.len());
        if !ascending || !known {
            self.metadata("the debug info is not in order".to_string());
        }
        for buffer in &debug.buffers {
            let end = buffer.address.checked_add(buffer.bytes);
            let (first, last) = (buffer.used.0 as usize, buffer.used.1 as usize);
            let exists = first <= last && last < self.content.words.len();
            if end.is_none_or(|end| end > self.capacity(buffer.memory)) || !exists {
                self.metadata(format!("the debug info places the buffer `{}` where nothing is", buffer.name));
            }
        }
        self.buffers_in_use_are_apart();
        self.plans();
    }

    /// Instructions are what their operations are made of.
    fn plans(&mut self) {
        let content: &'a ImageContent = self.content;
        let (plans, entries) = (&content.debug.plans, &content.metadata.entries);
        if !plans.is_empty() && plans.len() != entries.len() {
            self.metadata("the debug info has plans for some entries only".to_string());
        }
        for (plan, entry) in plans.iter().zip(entries) {
            let begins = (plan.code.0 != entry.pc)
                .then(|| (entry.pc, format!("the plan of entry `{}` begins at {}", entry.name, plan.code.0)));
            let problems = plan.problems(entry.slots.len(), &content.words, &content.debug.buffers);
            for (pc, reason) in begins.into_iter().chain(problems).take(MOST_PLAN_PROBLEMS) {
                self.problems.push(Diagnostic::new(&codes::E0506, reason).at_instruction(&entry.name, pc));
            }
        }
    }

    /// Scratch may share bytes only with scratch that is not in use between the same instructions.
    fn buffers_in_use_are_apart(&mut self) {
        let content: &'a ImageContent = self.content;
        let scratch = content.debug.buffers.iter().filter(|buffer| buffer.kind == BufferKind::Scratch);
        let mut sorted: Vec<&BufferInfo> = scratch.collect();
        sorted.sort_by_key(|buffer| (buffer.memory, buffer.address));
        for (at, one) in sorted.iter().enumerate() {
            let end = one.address.saturating_add(one.bytes);
            let behind = sorted[at + 1..].iter().take_while(|other| other.memory == one.memory && other.address < end);
            for other in behind.filter(|other| one.used.0 <= other.used.1 && other.used.0 <= one.used.1) {
                let user = |buffer: &BufferInfo| {
                    let text = |pc: u32| content.words.get(pc as usize).map_or(String::new(), ToString::to_string);
                    let (first, last) = buffer.used;
                    let (from, to) = (text(first), text(last));
                    format!("`{}` from instruction {first} `{from}` to instruction {last} `{to}`", buffer.name)
                };
                self.metadata(format!(
                    "two buffers share bytes from {} {:#x} while both are in use: {} and {}",
                    one.memory,
                    other.address,
                    user(one),
                    user(other)
                ));
            }
        }
    }
}

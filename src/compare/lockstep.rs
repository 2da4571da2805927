//! The encoded instructions in step with the placed program: each instruction that an engine executes must be the one that the program
//! says, on the same operands, with the same bytes before and after.
//!
//! In: a [`Recording`] of the interpreted program; the machine, as a recorder. Out: the first instruction that differs, and why: another
//! instruction, a wrong length in a register, a descriptor that points elsewhere, bytes that something else overwrote, or a result.
//! Always holds: numbers are written, so the comparison is by bits; what engines do is compared in the order of each engine.

use std::collections::{BTreeMap, VecDeque};

use narae_compiler::lower::tile_to_isa::Addresses;
use narae_compiler::tile::{Buffer, Cause, Home, Program};
use narae_isa::image::{ImageContent, Origin};
use narae_isa::instructions::Inst;
use narae_isa::operand::DescriptorRegister;
use narae_isa::table::{Access, Word};
use narae_isa::{Descriptor, Memory, View};
use narae_sim::checker::AGENTS;
use narae_sim::execute::Context;
use narae_sim::machine::Recorder;
use narae_sim::state::{Fault, Space};

use super::Values;
use super::recording::{Expected, Operand, Recording, bare, compares, operands, scalars, writes};
use crate::interpreter::tensor;

/// What is wrong with an instruction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its number.
    pub pc: u32,
    /// Its text.
    pub text: String,
    /// What it does, and what the program says: the rest of a sentence that begins with "it".
    pub reason: String,
    /// Further facts.
    pub notes: Vec<String>,
    /// Where it comes from. Inside of a loop of alike layers, the nodes are those of all layers.
    pub origin: Option<Origin>,
    /// The nodes of the layer in which it went wrong; all nodes, if that is not known.
    pub nodes: Vec<(String, String)>,
}

impl Wrong {
    /// With one more fact.
    #[must_use]
    pub fn note(mut self, note: String) -> Wrong {
        self.notes.push(note);
        self
    }
}

/// Follows a machine along a recording.
pub(super) struct Follower<'a> {
    recording: &'a Recording,
    program: &'a Program,
    addresses: &'a Addresses,
    content: &'a ImageContent,
    /// The steps that each engine has yet to execute.
    queues: [VecDeque<usize>; AGENTS],
    /// The step that each engine executes.
    current: [Option<usize>; AGENTS],
    executed: usize,
    dispatched: usize,
    /// Which instruction executed each step.
    at: BTreeMap<usize, u32>,
    /// The instruction that last loaded each descriptor register.
    loads: [Option<u32>; DescriptorRegister::COUNT],
    /// `loads` as they were when the instructions in each queue were dispatched.
    captured: [VecDeque<[Option<u32>; DescriptorRegister::COUNT]>; AGENTS],
    /// What instructions wrote, in order: where, and which one.
    writes: Vec<(Space, u64, u64, u32)>,
    held: VecDeque<(usize, u32, Buffer, View)>,
    values: Values,
    wrong: Option<Wrong>,
}

impl<'a> Follower<'a> {
    /// A recorder that follows a machine along this recording.
    pub(super) fn new(
        recording: &'a Recording,
        program: &'a Program,
        addresses: &'a Addresses,
        content: &'a ImageContent,
    ) -> Follower<'a> {
        let mut queues: [VecDeque<usize>; AGENTS] = Default::default();
        for (number, step) in recording.steps.iter().enumerate() {
            queues[usize::from(step.inst.engine().code())].push_back(number);
        }
        Follower {
            recording,
            program,
            addresses,
            content,
            queues,
            current: [None; AGENTS],
            executed: 0,
            dispatched: 0,
            at: BTreeMap::new(),
            loads: [None; DescriptorRegister::COUNT],
            captured: Default::default(),
            writes: Vec::new(),
            held: recording.held.clone(),
            values: Values::new(),
            wrong: None,
        }
    }
}

impl Recorder for Follower<'_> {
    fn step(&mut self, pc: u32, word: &Word, context: &Context<'_>) -> Result<(), Fault> {
        if let Inst::LoadDescriptor(row) = word.inst {
            self.loads[row.dd.index()] = Some(pc);
        }
        if !compares(&word.inst) && !matches!(word.inst, Inst::Halt(_)) {
            return Ok(());
        }
        if self.executed == self.dispatched {
            self.read_held(context);
        }
        if compares(&word.inst) {
            self.dispatched += 1;
            self.captured[usize::from(word.inst.engine().code())].push_back(self.loads);
        }
        Ok(())
    }

    fn before(&mut self, pc: u32, word: &Word, context: &Context<'_>) {
        if !compares(&word.inst) {
            return;
        }
        let engine = usize::from(word.inst.engine().code());
        let loads = self.captured[engine].pop_front().unwrap_or([None; DescriptorRegister::COUNT]);
        self.current[engine] = self.queues[engine].pop_front();
        if self.wrong.is_some() {
            return;
        }
        self.wrong = match self.current[engine] {
            None => Some(self.wrong_at(
                pc,
                "is one too many: the program has no further instruction for this engine".to_string(),
                None,
            )),
            Some(step) => {
                self.at.insert(step, pc);
                self.check_before(step, pc, &word.inst, context, &loads)
            }
        };
    }

    fn after(&mut self, pc: u32, word: &Word, context: &Context<'_>) {
        if !compares(&word.inst) {
            return;
        }
        self.executed += 1;
        let engine = usize::from(word.inst.engine().code());
        let found = operands(&word.inst, context, writes);
        for operand in &found {
            if let Descriptor::Tensor(view) = &operand.descriptor
                && let Some((start, end)) = narae_sim::state::View::of(view).extent()
            {
                self.writes.push((space(view.memory), start, end, pc));
            }
        }
        if let (None, Some(step)) = (&self.wrong, self.current[engine]) {
            self.wrong = self.check_after(step, pc, &found);
        }
    }
}

impl Follower<'_> {
    /// How many instructions ran, the first wrong one, and the tensors that the machine held.
    pub(super) fn finish(mut self) -> (usize, Option<Wrong>, Values) {
        let left = self.queues.iter().filter_map(|queue| queue.front()).min().copied();
        if let (None, Some(step)) = (&self.wrong, left) {
            let last = self.at.values().max().copied().unwrap_or(0);
            let next = &self.recording.steps[step];
            let reason = format!("is the last, but the program goes on with `{}`", next.template);
            self.wrong = Some(self.wrong_at(last, reason, Some(step)));
        }
        (self.executed, self.wrong, self.values)
    }

    /// Reads the tensors that the program holds after the steps that were executed so far.
    fn read_held(&mut self, context: &Context<'_>) {
        while let Some((_, number, buffer, view)) = self.held.pop_front_if(|held| held.0 <= self.executed) {
            let Some((memory, address)) = self.address(buffer) else { continue };
            let place = View::strided(memory, view.element, view.dims(), view.strides(), address + view.base);
            if let Ok(value) = tensor(context.memory, &place) {
                self.values.insert(number, value);
            }
        }
    }

    /// Where a buffer lies.
    fn address(&self, buffer: Buffer) -> Option<(Memory, u64)> {
        let memory = match self.program.buffers[buffer].home {
            Home::Sram => Memory::Sram,
            _ => Memory::Dram,
        };
        Some((memory, *self.addresses.buffers.get(&buffer)?))
    }

    fn check_before(
        &self,
        step: usize,
        pc: u32,
        inst: &Inst,
        context: &Context<'_>,
        loads: &[Option<u32>; DescriptorRegister::COUNT],
    ) -> Option<Wrong> {
        let want = &self.recording.steps[step];
        if bare(inst) != want.inst {
            let reason = format!("is not what the program says, `{}` (registers aside)", want.template);
            return Some(self.wrong_at(pc, reason, Some(step)));
        }
        let found = scalars(inst, context);
        if found != want.scalars {
            let reason = format!("has the register operands {found:?}, the program says {:?}", want.scalars);
            return Some(self.wrong_at(pc, reason, Some(step)));
        }
        // All operands, to look at where they are; the bytes only of those that are read.
        let found = operands(inst, context, |_| true);
        for (operand, field) in found.iter().zip(&want.fields) {
            if let Some(reason) = self.misplaced(operand, want, *field) {
                return Some(self.wrong_load(step, pc, operand, loads, reason));
            }
        }
        let read = found.iter().zip(&want.fields).filter(|(operand, _)| operand.access != Access::Write);
        for ((operand, field), expected) in read.zip(&want.before) {
            if operand.bytes != expected.bytes {
                return Some(self.wrong_bytes(step, pc, operand, *field));
            }
        }
        None
    }

    fn check_after(&self, step: usize, pc: u32, found: &[Operand]) -> Option<Wrong> {
        let want = &self.recording.steps[step];
        let (operand, _) = found.iter().zip(&want.after).find(|(operand, want)| operand.bytes != want.bytes)?;
        let reason = format!("computes another `{}` than the program does from the same operands", operand.name);
        Some(self.wrong_at(pc, reason, Some(step)))
    }

    /// Why an operand is not the one of the program; `None` if it is.
    fn misplaced(&self, operand: &Operand, want: &Expected, field: usize) -> Option<String> {
        let Some(&(buffer, offset)) = want.places.get(field) else {
            let expected = want.before.iter().find(|expected| expected.name == operand.name)?;
            let same = operand.descriptor == expected.descriptor;
            return (!same).then(|| format!("its parameters `{}` are others than the program's", operand.name));
        };
        let (memory, address) = self.address(buffer)?;
        let base = address.wrapping_add_signed(offset);
        let name = &self.program.buffers[buffer].name;
        let expected = want.before.iter().chain(&want.after).find(|expected| expected.name == operand.name)?;
        let place = |memory: Memory, base: u64| format!("{} {base:#x}", memory.name());
        match (&operand.descriptor, &expected.descriptor) {
            (Descriptor::Tensor(found), Descriptor::Tensor(wanted)) => {
                let shape = |view: &View| format!("{}{:?}", view.element, view.dims());
                if shape(found) != shape(wanted) {
                    return Some(format!(
                        "its operand `{}` is {}, the program says {} (`{name}`)",
                        operand.name,
                        shape(found),
                        shape(wanted)
                    ));
                }
                let same = (found.memory, found.base) == (memory, base) || found.is_empty();
                (!same).then(|| {
                    format!(
                        "its operand `{}` begins at {}, the program says {} (`{name}`)",
                        operand.name,
                        place(found.memory, found.base),
                        place(memory, base)
                    )
                })
            }
            (Descriptor::Weight(found), Descriptor::Weight(wanted)) => {
                let text = |format, outputs, inputs, base| {
                    format!("{format} [{outputs}, {inputs}] at {}", place(memory, base))
                };
                let (found, wanted) = (
                    text(found.format.to_string(), found.outputs, found.inputs, found.base),
                    text(wanted.format.to_string(), wanted.outputs, wanted.inputs, base),
                );
                (found != wanted).then(|| format!("its weight is {found}, the program says {wanted} (`{name}`)"))
            }
            _ => Some(format!("its operand `{}` is of another kind than the program's", operand.name)),
        }
    }

    /// The descriptor is wrong, so the instruction that loaded it is.
    fn wrong_load(
        &self,
        step: usize,
        pc: u32,
        operand: &Operand,
        loads: &[Option<u32>; DescriptorRegister::COUNT],
        reason: String,
    ) -> Wrong {
        let Some(load) = loads[operand.register.index()] else { return self.wrong_at(pc, reason, Some(step)) };
        let user = format!("instruction {pc} `{}`", self.text(pc));
        let reason = format!("loads another descriptor than the program's for {user}: {reason}");
        let nodes = self.nodes(pc, Some(step));
        Wrong { origin: self.origin(pc), nodes, ..self.wrong_at(load, reason, Some(step)) }
    }

    /// An operand holds other bytes than the program's: something else was written there, or never the right thing.
    fn wrong_bytes(&self, step: usize, pc: u32, operand: &Operand, field: usize) -> Wrong {
        let want = &self.recording.steps[step];
        let name = want.places.get(field).map_or("", |(buffer, _)| self.program.buffers[*buffer].name.as_str());
        let writer = want.writers.get(field).copied().flatten().and_then(|writer| self.at.get(&writer).copied());
        let last = self.last_write(&operand.descriptor);
        match (last, writer) {
            (Some(last), Some(writer)) if last != writer => {
                let reason = format!(
                    "writes over `{name}`, which instruction {writer} `{}` had put there and instruction {pc} `{}` still needs",
                    self.text(writer),
                    self.text(pc)
                );
                self.wrong_at(last, reason, None)
            }
            (Some(last), None) => {
                let reason = format!("writes over `{name}`, which instruction {pc} `{}` still needs", self.text(pc));
                self.wrong_at(last, reason, None)
            }
            _ => {
                let reason = format!("finds other bytes than the program in its operand `{}` (`{name}`)", operand.name);
                self.wrong_at(pc, reason, Some(step))
            }
        }
    }

    /// The instruction that last wrote to some byte of a view.
    fn last_write(&self, descriptor: &Descriptor) -> Option<u32> {
        let Descriptor::Tensor(view) = descriptor else { return None };
        let (start, end) = narae_sim::state::View::of(view).extent()?;
        let overlaps =
            |write: &&(Space, u64, u64, u32)| write.0 == space(view.memory) && write.1 < end && start < write.2;
        self.writes.iter().rev().find(overlaps).map(|write| write.3)
    }

    fn wrong_at(&self, pc: u32, reason: String, step: Option<usize>) -> Wrong {
        let origin = self.origin(pc);
        let own = |cause: &&Cause| {
            !cause.graph_op.is_empty() && origin.as_ref().is_none_or(|own| *own.graph != *cause.graph_op)
        };
        let cause = step.map(|step| &self.recording.steps[step].cause).filter(own);
        let mut notes: Vec<String> = cause
            .map(|cause| format!("the program's instruction implements `{}`", cause.graph_op))
            .into_iter()
            .collect();
        if let Some((layer, count)) = step.and_then(|step| self.recording.steps[step].layer) {
            notes.push(format!("in layer {layer} of {count} (counted from 0)"));
        }
        let nodes = self.nodes(pc, step);
        Wrong { pc, text: self.text(pc), reason, notes, origin, nodes }
    }

    fn text(&self, pc: u32) -> String {
        self.content.words.get(pc as usize).map_or_else(String::new, ToString::to_string)
    }

    /// The nodes that an instruction implements in the layer of a step: a loop's body lists those of one layer after the other.
    fn nodes(&self, pc: u32, step: Option<usize>) -> Vec<(String, String)> {
        let all = self.origin(pc).map(|origin| origin.nodes).unwrap_or_default();
        let layer = step.and_then(|step| self.recording.steps[step].layer);
        match layer.map(|(layer, count)| (layer as usize, count as usize)) {
            Some((layer, count)) if count > 1 && !all.is_empty() && all.len().is_multiple_of(count) => {
                let each = all.len() / count;
                all[layer * each..(layer + 1) * each].to_vec()
            }
            _ => all,
        }
    }

    fn origin(&self, pc: u32) -> Option<Origin> {
        self.content.debug.origin(pc).cloned()
    }
}

fn space(memory: Memory) -> Space {
    match memory {
        Memory::Dram => Space::Dram,
        Memory::Sram => Space::Sram,
    }
}

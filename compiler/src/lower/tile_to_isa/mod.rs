//! Tile to instructions: one placed program becomes the words of one entry.
//!
//! In: a placed [`Program`], the address of every buffer. Out: instructions with semaphores, descriptor rows, and for every
//! instruction where it comes from. Dims become values in scalar registers, views become rows that `ldd` loads; both are
//! kept in their registers as long as there is room, so that straight code loads each of them once. Always: the same
//! program gives the same words; registers at a loop's start hold what they hold at its end.

mod control;
mod descriptors;
mod file;
mod finish;
mod plan;
mod rows;
mod scalars;

use std::collections::BTreeMap;

use narae_isa::descriptor::Memory;
use narae_isa::instructions::{self as isa, Inst};
use narae_isa::operand::{DescriptorRegister, Engine, MarkKind, ScalarRegister};
use narae_isa::table::{Access, MemoryRule, Word};
use narae_isa::{Diagnostic, codes};

use self::file::File;
use self::plan::Draft;
pub use self::plan::plan;
pub use self::rows::Rows;
use crate::ir::{Dim, Symbol};
use crate::passes::hazards::Touch;
use crate::tile::{Buffer, Cause, Compute, Home, Op, Program, View};

/// Where everything lies.
#[derive(Clone, Debug, Default)]
pub struct Addresses {
    /// Byte address of each buffer in its memory.
    pub buffers: BTreeMap<Buffer, u64>,
    /// Address in LPDDR of the block of slots, eight bytes each.
    pub slots: u64,
    /// Address in LPDDR of the page table of all KV caches.
    pub page_table: u64,
    /// The slot of each symbol whose value the host or the program stores.
    pub slot_of: BTreeMap<Symbol, u32>,
}

/// Where an instruction comes from.
#[derive(Clone, Debug, PartialEq)]
pub struct Origin {
    /// The graph op and ONNX nodes; none for code that only moves or counts.
    pub cause: Cause,
    /// The number of the tile op in program order.
    pub tile_op: u32,
}

/// The code of one entry.
#[derive(Clone, Debug, Default)]
pub struct Code {
    /// The instructions; branch targets count from the first one.
    pub words: Vec<Word>,
    /// One per instruction.
    pub origins: Vec<u32>,
    /// The table that `origins` numbers.
    pub origin_table: Vec<Origin>,
    /// The first and the last instruction that touches each buffer.
    pub uses: BTreeMap<Buffer, (u32, u32)>,
    /// What instructions were made from, for [`plan()`].
    drafts: Vec<(u32, Draft)>,
}

impl Code {
    /// What instructions were made from; taken once.
    pub fn take_drafts(&mut self) -> Drafts {
        Drafts(std::mem::take(&mut self.drafts))
    }
}

/// What the instructions of an entry were made from.
#[derive(Clone, Debug, Default)]
pub struct Drafts(Vec<(u32, Draft)>);

/// The instruction that copies: the vector engine inside of SRAM, the engine that moves data everywhere else.
pub fn copy_instruction(program: &Program, to: &View, from: &View, cause: &Cause) -> Compute {
    let views = View::simplify_together(&[to, from]);
    let in_sram = views.iter().all(|view| program.buffers[view.buffer].home == Home::Sram);
    let (out, a) = (crate::lower::graph_to_tile::d(0), crate::lower::graph_to_tile::d(1));
    let inst: Inst = if in_sram { isa::Copy { out, a }.into() } else { isa::Transfer { out, a }.into() };
    Compute { inst, views, scalars: vec![], parameters: None, cause: cause.clone() }
}

/// SRAM addresses are told apart from LPDDR addresses in hazard ranges by this bit.
const SRAM_RANGE: u64 = 1 << 60;

/// The label of the end of the program.
const STOP: u32 = 0;

/// Emits one program. `rows` is shared by all entries of an image.
pub fn emit(program: &Program, addresses: &Addresses, rows: &mut Rows) -> Result<Code, Diagnostic> {
    let mut emitter = Emitter {
        program,
        addresses,
        rows: std::mem::take(rows),
        state: State { scalars: File::new(ScalarRegister::COUNT), descriptors: File::new(DescriptorRegister::COUNT) },
        lines: Vec::new(),
        labels: STOP + 1,
        origin: 0,
        origin_table: vec![Origin { cause: Cause::default(), tile_op: 0 }],
        tile_op: 0,
    };
    emitter.inst(isa::Mark { kind: MarkKind::Token, value: 0, ri: None }, vec![]);
    let done = emitter.block(&program.body);
    emitter.push(Line::Label(STOP));
    emitter.push(Line::Barrier);
    emitter.push(Line::Step(Draft::Halt));
    emitter.inst(isa::Halt {}, vec![]);
    *rows = emitter.rows;
    done?;
    Ok(finish::finish(&emitter.lines, emitter.origin_table))
}

/// What may be known about registers at a point of the program.
#[derive(Clone)]
struct State {
    scalars: File<Dim>,
    descriptors: File<Key>,
}

/// What a descriptor register holds.
#[derive(Clone, Debug, PartialEq)]
enum Key {
    /// A view of a tensor.
    View(View),
    /// A packed weight.
    Weight(Buffer),
    /// A parameters row by its index; its registers are part of its text.
    Parameters(crate::tile::Parameters),
    /// The block of slots.
    Slots,
}

/// One line of the code before synchronisation.
#[derive(Clone, Debug)]
enum Line {
    /// An instruction; a branch's target is the number of a label.
    Inst { inst: Inst, touches: Vec<Touch>, origin: u32 },
    /// The next instruction touches these buffers; for the image's debug info.
    Uses(Vec<Buffer>),
    /// What the next instruction does; for the image's debug info.
    Step(Draft),
    /// Where branches to this label arrive.
    Label(u32),
    /// All engines are idle here.
    Barrier,
    /// A loop's code starts here.
    LoopBegin,
    /// A loop's code ended here.
    LoopEnd,
}

struct Emitter<'a> {
    program: &'a Program,
    addresses: &'a Addresses,
    rows: Rows,
    state: State,
    lines: Vec<Line>,
    labels: u32,
    origin: u32,
    origin_table: Vec<Origin>,
    tile_op: u32,
}

type Emitted = Result<(), Diagnostic>;

impl Emitter<'_> {
    fn push(&mut self, line: Line) {
        self.lines.push(line);
    }

    fn inst(&mut self, inst: impl Into<Inst>, touches: Vec<Touch>) {
        let origin = self.origin;
        self.push(Line::Inst { inst: inst.into(), touches, origin });
    }

    fn label(&mut self) -> u32 {
        self.labels += 1;
        self.labels - 1
    }

    fn block(&mut self, ops: &[Op]) -> Emitted {
        ops.iter().try_for_each(|op| self.op(op))
    }

    /// Instructions that follow come from this op.
    fn comes_from(&mut self, cause: &Cause) {
        let same = self.origin_table.last().is_some_and(|last| last.cause == *cause);
        if !same || self.origin as usize + 1 != self.origin_table.len() {
            self.origin_table.push(Origin { cause: cause.clone(), tile_op: self.tile_op });
        }
        self.origin = u32::try_from(self.origin_table.len() - 1).unwrap_or(u32::MAX);
    }

    fn op(&mut self, op: &Op) -> Emitted {
        self.tile_op += u32::from(!matches!(op, Op::Holds { .. }));
        match op {
            Op::Compute(compute) => {
                self.comes_from(&compute.cause);
                self.compute(compute).map_err(|problem| compute.cause.provenance.locate(problem))
            }
            Op::Copy { to, from, cause } => {
                self.comes_from(cause);
                self.copy(to, from, cause).map_err(|problem| cause.provenance.locate(problem))
            }
            Op::For { index, trip, condition, body, layers } => {
                self.for_loop(*index, trip, condition.as_ref(), body, *layers)
            }
            Op::If { condition, then_body, else_body } => self.conditional(condition, then_body, else_body),
            Op::Read { symbol, from } => self.read(*symbol, from),
            Op::Let { symbol, value } => self.set(*symbol, value),
            Op::Write { to, values } => self.write(to, values),
            Op::Holds { .. } => Ok(()),
        }
    }

    fn copy(&mut self, to: &View, from: &View, cause: &Cause) -> Emitted {
        self.compute(&copy_instruction(self.program, to, from, cause))
    }

    /// Loads the operands of a template and emits the instruction.
    fn compute(&mut self, compute: &Compute) -> Emitted {
        let mut touches = Vec::new();
        let mut weights = vec![false; compute.views.len()];
        for operand in compute.inst.operands() {
            if operand.access == Access::Parameters {
                continue;
            }
            let index = operand.register.index();
            weights[index] = matches!(operand.place, MemoryRule::Fifo) || compute.inst.engine() == Engine::Dmaw;
            let write = matches!(operand.access, Access::Write | Access::ReadWrite);
            if operand.place != MemoryRule::Fifo {
                self.touches(compute.views[index].buffer, write, &mut touches);
            }
        }
        let mut scalars = Vec::new();
        for dim in &compute.scalars {
            scalars.push(self.locked_scalar(dim)?);
        }
        let mut descriptors = Vec::new();
        for (view, is_weight) in compute.views.iter().zip(&weights) {
            let register = if *is_weight { self.weight(view)? } else { self.view(view)? };
            self.state.descriptors.lock(register.index());
            descriptors.push(register);
        }
        if let Some(parameters) = &compute.parameters {
            let register = self.parameters(parameters)?;
            self.state.descriptors.lock(register.index());
            descriptors.push(register);
        }
        let mut inst = compute.inst;
        inst.map_descriptors(|register| descriptors[register.index()]);
        inst.map_registers(|register| scalars[register.index()]);
        self.uses(compute.views.iter().map(|view| view.buffer));
        self.push(Line::Step(self.draft(compute, &weights)));
        self.inst(inst, touches);
        descriptors.iter().for_each(|register| self.state.descriptors.unlock(register.index()));
        scalars.iter().for_each(|register| self.state.scalars.unlock(register.index()));
        Ok(())
    }

    /// Notes the buffers of the next instruction: those of a table are used in turn, so all of them count.
    fn uses(&mut self, buffers: impl Iterator<Item = Buffer>) {
        let buffers = buffers.flat_map(|buffer| self.program.members(buffer)).collect();
        self.push(Line::Uses(buffers));
    }

    fn memory(&self, buffer: Buffer) -> Memory {
        self.program.buffers[buffer].home.memory()
    }

    fn address(&self, buffer: Buffer) -> u64 {
        let address = self.addresses.buffers.get(&buffer);
        *address.unwrap_or_else(|| panic!("{buffer} is used, so it has an address"))
    }

    /// The bytes that an operand may touch: its whole buffer, or all buffers of its table. What nobody ever writes
    /// cannot be a hazard.
    fn touches(&self, buffer: Buffer, write: bool, touches: &mut Vec<Touch>) {
        let data = &self.program.buffers[buffer];
        match &data.home {
            Home::Constant(_) | Home::Weight(_) => {}
            Home::Table { members, .. } => members.iter().for_each(|&member| self.touches(member, write, touches)),
            Home::Sram | Home::Dram | Home::Input(_) | Home::Output(_) | Home::State(_) | Home::Scratch => {
                let bit = if self.memory(buffer) == Memory::Sram { SRAM_RANGE } else { 0 };
                let start = self.address(buffer) | bit;
                touches.push(Touch { start, end: start + data.capacity, write });
            }
        }
    }
}

/// A limit of the machine that a program exceeds.
fn limit(message: String) -> Diagnostic {
    Diagnostic::new(&codes::E0403, message)
}

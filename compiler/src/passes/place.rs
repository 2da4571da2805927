//! Placement: every operand of every instruction lies in a memory that the instruction can reach.
//!
//! In: a program with scratch buffers and operands in LPDDR that engines can only read from SRAM. Out: the same program
//! in which scratch is in SRAM (or, if too large, in LPDDR), and explicit copies bring operands in and results out. What
//! does not fit whole is cut along an axis whose pieces are independent, in a loop (`cut.rs`), and rows that are still too long are
//! taken apart (`rows.rs`). Inputs and constants that are small
//! enough are brought in once, before their first use; what differs by layer is brought in by the layer's loop.

mod chunk;
mod cut;
mod life;
mod pieces;
mod rows;

use std::collections::{BTreeMap, BTreeSet};

use narae_isa::descriptor::Memory;
use narae_isa::diagnostic::sized;
use narae_isa::operand::Engine;
use narae_isa::table::{Access, MemoryRule};
use narae_isa::{Diagnostic, codes};

pub use self::life::{Life, lives, requests};
use crate::ir::{Dim, Symbol, Symbols};
use crate::passes::arena;
use crate::tile::{Buffer, BufferData, Cause, Compute, Home, Op, Program, View};

/// Alignment of buffers in SRAM and LPDDR, in bytes: one burst of a channel.
pub const ALIGNMENT: u64 = 64;

/// Places a program in `sram` bytes. The result's buffers are all `Sram`, `Dram` or at home in LPDDR; those in SRAM have
/// their offsets.
pub fn place(program: &Program, sram: u64) -> Result<Program, Diagnostic> {
    let mut choice = Choice::default();
    loop {
        let (placed, twins) = Placer::run(program, sram, &choice)?;
        let lives = lives(&placed);
        let in_sram: Vec<(Buffer, Life)> =
            lives.into_iter().filter(|(buffer, _)| matches!(placed.buffers[*buffer].home, Home::Sram)).collect();
        let requests = requests(&placed, &in_sram);
        let plan = arena::plan(&requests, ALIGNMENT, sram);
        if plan.bytes <= sram {
            let offsets = in_sram.iter().map(|(buffer, _)| *buffer).zip(plan.offsets).collect();
            return Ok(Program { placed: true, sram: offsets, ..placed });
        }
        // Give up the buffer that takes the most room for the longest time, and try again.
        let worst = in_sram.iter().filter(|(buffer, _)| choice.can_give_up(*buffer, program, &twins)).max_by_key(
            |(buffer, life)| {
                let bytes = u128::from(placed.buffers[*buffer].capacity);
                (bytes * (life.last - life.first + 1) as u128, std::cmp::Reverse(*buffer))
            },
        );
        let Some((buffer, _)) = worst else {
            let message = format!("working memory needs {} of SRAM, the chip has {}", sized(plan.bytes), sized(sram));
            return Err(Diagnostic::new(&codes::E0402, message)
                .bytes(plan.bytes)
                .help("lower the maxima of the dynamic dims"));
        };
        choice.give_up(*buffer, &twins);
    }
}

/// What was decided against in earlier attempts.
#[derive(Default)]
struct Choice {
    /// Scratch that stays in LPDDR.
    in_dram: BTreeSet<Buffer>,
    /// Buffers at home in LPDDR that are not kept in SRAM but brought in for each use.
    not_kept: BTreeSet<Buffer>,
}

impl Choice {
    /// Whether another attempt without the buffer in SRAM differs from this one.
    fn can_give_up(&self, buffer: Buffer, original: &Program, twins: &BTreeMap<Buffer, Buffer>) -> bool {
        match twins.get(&buffer) {
            Some(source) => !self.not_kept.contains(source),
            None => {
                let scratch = |data: &BufferData| data.home == Home::Scratch;
                original.buffers.get(buffer).is_some_and(scratch) && !self.in_dram.contains(&buffer)
            }
        }
    }

    fn give_up(&mut self, buffer: Buffer, twins: &BTreeMap<Buffer, Buffer>) {
        match twins.get(&buffer) {
            Some(&source) => self.not_kept.insert(source),
            None => self.in_dram.insert(buffer),
        };
    }
}

struct Placer<'a> {
    program: Program,
    choice: &'a Choice,
    /// An operand up to this size is brought in whole.
    whole: u64,
    /// A piece of an operand that is too large gets about so many bytes.
    piece: u64,
    /// Per nesting level: copies to put before the current op of that level.
    preludes: Vec<Level>,
    /// SRAM twin to the buffer it holds.
    twins: BTreeMap<Buffer, Buffer>,
    written: BTreeSet<Buffer>,
}

/// One open block.
struct Level {
    /// The index of the loop whose body this is; `None` for the program's own block.
    index: Option<Symbol>,
    /// Copies to put before the op of this block that is being placed.
    prelude: Vec<Op>,
    /// Twins that are valid in this block.
    twins: BTreeMap<Buffer, Buffer>,
}

impl Placer<'_> {
    fn run(original: &Program, sram: u64, choice: &Choice) -> Result<(Program, BTreeMap<Buffer, Buffer>), Diagnostic> {
        let mut program = Program { body: Vec::new(), ..original.clone() };
        let whole = sram / 8;
        for (buffer, data) in program.buffers.iter_mut() {
            if data.home == Home::Scratch {
                let large = data.capacity > sram / 4 || choice.in_dram.contains(&buffer);
                data.home = if large { Home::Dram } else { Home::Sram };
            }
        }
        let written = written_buffers(original);
        let mut placer =
            Placer { program, choice, whole, piece: sram / 64, preludes: Vec::new(), twins: BTreeMap::new(), written };
        let body = placer.block(&original.body, None)?;
        placer.program.body = body;
        Ok((placer.program, placer.twins))
    }

    fn block(&mut self, ops: &[Op], index: Option<Symbol>) -> Result<Vec<Op>, Diagnostic> {
        self.preludes.push(Level { index, prelude: Vec::new(), twins: BTreeMap::new() });
        let mut out = Vec::with_capacity(ops.len());
        for op in ops {
            let mut placed = Vec::new();
            self.op(op, &mut placed)?;
            let level = self.preludes.last_mut().expect("a block has a level");
            out.append(&mut level.prelude);
            // The weight of a product that was cut into pieces is streamed once per piece, inside of the loop.
            let cut = placed.iter().any(|op| matches!(op, Op::For { layers: false, .. }));
            if cut && streams_weight(op) {
                // Copies that bring other operands in may stand between the two.
                let load = out.iter().rposition(is_load_weight);
                out.remove(load.expect("a streamed product follows its weight's load"));
            }
            out.append(&mut placed);
        }
        self.preludes.pop();
        Ok(out)
    }

    fn op(&mut self, op: &Op, out: &mut Vec<Op>) -> Result<(), Diagnostic> {
        match op {
            Op::Compute(compute) => self.compute(compute, out),
            Op::For { index, trip, condition, body, layers } => {
                let body = self.block(body, Some(*index))?;
                let condition = condition.clone();
                out.push(Op::For { index: *index, trip: trip.clone(), condition, body, layers: *layers });
                Ok(())
            }
            Op::If { condition, then_body, else_body } => {
                let then_body = self.block(then_body, None)?;
                let else_body = self.block(else_body, None)?;
                out.push(Op::If { condition: condition.clone(), then_body, else_body });
                Ok(())
            }
            Op::Copy { .. } | Op::Read { .. } | Op::Write { .. } | Op::Let { .. } | Op::Holds { .. } => {
                out.push(op.clone());
                Ok(())
            }
        }
    }

    fn compute(&mut self, compute: &Compute, out: &mut Vec<Op>) -> Result<(), Diagnostic> {
        let operands = compute.inst.operands();
        let misplaced: Vec<usize> = operands
            .iter()
            .filter(|operand| operand.place == MemoryRule::Sram)
            .map(|operand| operand.register.index())
            .filter(|&index| !self.in_sram(compute.views[index].buffer))
            .collect();
        if misplaced.is_empty() {
            out.push(Op::Compute(compute.clone()));
            return Ok(());
        }
        let sizes: Vec<u64> = misplaced.iter().map(|&index| self.staged_bytes(&compute.views[index])).collect();
        if sizes.iter().all(|&bytes| bytes <= self.whole) {
            return self.stage(compute, &misplaced, out);
        }
        self.cut(compute, &misplaced, out)
    }

    fn in_sram(&self, buffer: Buffer) -> bool {
        self.program.buffers[buffer].home.memory() == Memory::Sram
    }

    /// Bytes of a view in working memory: repeated elements are held once.
    fn staged_bytes(&self, view: &View) -> u64 {
        let symbols = &self.program.symbols;
        let extents = view.dims.iter().zip(&view.strides).filter(|(_, stride)| !stride.is(0));
        extents.fold(view.element.bytes() as u64, |bytes, (dim, _)| bytes.saturating_mul(upper(dim, symbols)))
    }

    /// Brings operands in and takes results out, whole.
    fn stage(&mut self, compute: &Compute, misplaced: &[usize], out: &mut Vec<Op>) -> Result<(), Diagnostic> {
        let mut placed = compute.clone();
        let mut after = Vec::new();
        for &index in misplaced {
            let access = access(compute, index);
            if access == Access::Read {
                self.bring_in(&mut placed, index, out);
                continue;
            }
            let (inside, compact) = self.staging(&mut placed.views[index]);
            if access == Access::ReadWrite {
                out.push(copy(inside.clone(), compact.clone(), &compute.cause));
            }
            after.push(copy(compact, inside, &compute.cause));
        }
        out.push(Op::Compute(placed));
        out.append(&mut after);
        Ok(())
    }

    /// Brings an operand in that is only read.
    fn bring_in(&mut self, compute: &mut Compute, index: usize, out: &mut Vec<Op>) {
        match self.twin(&compute.views[index]) {
            Some(twin) => compute.views[index].buffer = twin,
            None => {
                let (inside, compact) = self.staging(&mut compute.views[index]);
                out.push(copy(inside, compact, &compute.cause));
            }
        }
    }

    /// Moves a view to working memory of its own; gives back both places without repeated elements, the new one and the old one.
    fn staging(&mut self, view: &mut View) -> (View, View) {
        let mut compact = view.clone();
        for axis in 0..view.rank() {
            if view.strides[axis].is(0) {
                compact.dims[axis] = Dim::ONE;
            }
        }
        let capacity = self.staged_bytes(view);
        let name = format!("{} (staged)", self.program.buffers[view.buffer].name);
        let data = BufferData { home: Home::Sram, capacity, element: view.element, dims: compact.dims.clone(), name };
        let buffer = self.program.buffers.push(data);
        let inside = View::dense(buffer, view.element, &compact.dims);
        *view = inside.broadcast(&view.dims);
        (inside, compact)
    }

    /// The copy in SRAM of a buffer that only inputs or constants fill, brought in before its first use.
    fn twin(&mut self, view: &View) -> Option<Buffer> {
        let data = self.program.buffers[view.buffer].clone();
        if self.written.contains(&view.buffer)
            || self.choice.not_kept.contains(&view.buffer)
            || data.capacity > self.whole
            || view.element.bytes() != data.element.bytes()
        {
            return None;
        }
        let level = match data.home {
            Home::Input(_) | Home::Constant(_) => 0,
            Home::Table { index, .. } => self.preludes.iter().rposition(|level| level.index == Some(index))?,
            _ => return None,
        };
        if let Some(&twin) = self.preludes[level].twins.get(&view.buffer) {
            return Some(twin);
        }
        let name = format!("{} (in SRAM)", data.name);
        let held = BufferData { home: Home::Sram, name, ..data.clone() };
        let twin = self.program.buffers.push(held);
        let to = View::dense(twin, data.element, &data.dims);
        let from = View::dense(view.buffer, data.element, &data.dims);
        self.preludes[level].prelude.push(copy(to, from, &Cause::default()));
        self.preludes[level].twins.insert(view.buffer, twin);
        self.twins.insert(twin, view.buffer);
        Some(twin)
    }
}

/// What an instruction does with an operand.
fn access(compute: &Compute, index: usize) -> Access {
    let operands = compute.inst.operands();
    let operand = operands.iter().find(|operand| operand.register.index() == index);
    operand.map(|operand| operand.access).expect("a misplaced view is an operand")
}

/// The weight that an instruction takes from the FIFO.
fn streamed_weight(compute: &Compute) -> Option<View> {
    let operands = compute.inst.operands();
    let weight = operands.iter().find(|operand| operand.place == MemoryRule::Fifo)?;
    Some(compute.views[weight.register.index()].clone())
}

fn streams_weight(op: &Op) -> bool {
    matches!(op, Op::Compute(compute) if streamed_weight(compute).is_some())
}

fn is_load_weight(op: &Op) -> bool {
    matches!(op, Op::Compute(compute) if compute.inst.engine() == Engine::Dmaw)
}

fn copy(to: View, from: View, cause: &Cause) -> Op {
    Op::Copy { to, from, cause: cause.clone() }
}

/// The greatest value of a dim that has a bound; lowering has checked that all have.
fn upper(dim: &Dim, symbols: &Symbols) -> u64 {
    let (_, upper) = dim.bounds(symbols);
    upper.and_then(|bound| u64::try_from(bound).ok()).unwrap_or(if dim.as_const().is_some() { 0 } else { u64::MAX })
}

/// All buffers that some op writes.
fn written_buffers(program: &Program) -> BTreeSet<Buffer> {
    fn visit(ops: &[Op], written: &mut BTreeSet<Buffer>) {
        for op in ops {
            match op {
                Op::Compute(compute) => written.extend(
                    compute
                        .inst
                        .operands()
                        .iter()
                        .filter(|operand| matches!(operand.access, Access::Write | Access::ReadWrite))
                        .map(|operand| compute.views[operand.register.index()].buffer),
                ),
                Op::Copy { to, .. } | Op::Write { to, .. } => {
                    written.insert(to.buffer);
                }
                Op::For { .. } | Op::If { .. } | Op::Read { .. } | Op::Let { .. } | Op::Holds { .. } => {}
            }
            op.bodies().into_iter().for_each(|body| visit(body, written));
        }
    }
    let mut written = BTreeSet::new();
    visit(&program.body, &mut written);
    written
}

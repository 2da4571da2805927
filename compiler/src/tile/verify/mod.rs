//! The verifier of programs. What holds of every program after lowering, and of what is left of it after placement:
//!
//! Buffers
//! - A table has members; they are no tables themselves, stand before it, and have elements of its width. It is used only inside of
//!   the loop of its index.
//! - Scratch, outputs and working memory are written before they are read; every output is written.
//! - Inputs, constants and weights are never written.
//! - After placement no buffer in use is `scratch`, and those in SRAM have an offset.
//!
//! Views
//! - Dims and strides have one length; an operand has at most 8 axes (a copy after neighbouring axes were merged).
//! - A view lies inside of its buffer at all corners of the bounds of its symbols, and reads elements of the buffer's width.
//! - A view that is written does not repeat elements.
//!
//! Instructions
//! - Descriptor fields number the views, and the parameters behind them; register fields number the scalars; each once at least.
//! - Dims and elements of the operands agree as the instruction's row demands (`operands`).
//! - After placement every operand lies where the row wants it.
//! - In every block, weights are streamed in the order in which products take them, and none is left at its end.
//!
//! Symbols
//! - Every symbol of a dim belongs to the program, was not replaced, and was defined before: by the shape of an input, `read`, `let` or
//!   as the index of an enclosing loop.
//! - No two loops have one index, and nothing else sets it.
//!
//! Corners are points at which every symbol has its least or greatest value, as far as the trips of the enclosing loops and the
//! assumptions allow; so nothing right is refused. A violation is a bug of ours, found together with all others: code E0999.

mod corners;
mod operands;
#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, VecDeque};

use narae_isa::operand::Engine;
use narae_isa::table::{Access, MemoryRule, Operand};
use narae_isa::{Diagnostic, Diagnostics, codes};

use self::corners::{Corners, Point};
use super::text::summary;
use super::{Buffer, Cause, Compute, Home, Op, Parameters, Program, View};
use crate::ir::{Dim, Symbol, SymbolDefinition};
use crate::lower::graph_to_tile::MAXIMUM_RANK;

/// Checks what must hold of a program, placed or not.
pub fn verify(program: &Program) -> Result<(), Diagnostics> {
    if program.placed { placed(program) } else { lowered(program) }
}

/// Checks what must hold after lowering.
pub fn lowered(program: &Program) -> Result<(), Diagnostics> {
    Verifier::new(program, false).run()
}

/// Checks what must hold after placement.
pub fn placed(program: &Program) -> Result<(), Diagnostics> {
    Verifier::new(program, true).run()
}

/// Enough to see what is wrong.
const MAXIMUM_ERRORS: usize = 50;

struct Verifier<'a> {
    program: &'a Program,
    placed: bool,
    /// The loops around the current op, outermost first.
    loops: Vec<(Symbol, Dim)>,
    indices: BTreeSet<Symbol>,
    defined: BTreeSet<Symbol>,
    written: BTreeSet<Buffer>,
    errors: Vec<Diagnostic>,
}

impl<'a> Verifier<'a> {
    fn new(program: &'a Program, placed: bool) -> Verifier<'a> {
        let inputs = program.symbols.iter().filter(|(_, row)| matches!(row.definition, SymbolDefinition::Input { .. }));
        Verifier {
            program,
            placed,
            loops: Vec::new(),
            indices: BTreeSet::new(),
            defined: inputs.map(|(symbol, _)| symbol).collect(),
            written: BTreeSet::new(),
            errors: Vec::new(),
        }
    }

    fn run(mut self) -> Result<(), Diagnostics> {
        self.buffers();
        self.block(&self.program.body);
        for (buffer, data) in &self.program.buffers {
            if matches!(data.home, Home::Output(_)) && !self.written.contains(&buffer) {
                self.report(None, format!("output {buffer} `{}` is never written", data.name));
            }
        }
        Diagnostics::check(self.errors, ())
    }

    fn report(&mut self, op: Option<&Op>, message: String) {
        if self.errors.len() >= MAXIMUM_ERRORS {
            return;
        }
        let stage = if self.placed { "placed" } else { "lowered" };
        let message = format!("{stage} program `{}`: {message}", self.program.name);
        let mut problem = Diagnostic::new(&codes::E0999, message);
        if let Some(op) = op {
            problem = problem.note(summary(self.program, op));
            if let Some(cause) = cause(op) {
                problem = cause.provenance.locate(problem);
            }
        }
        self.errors.push(problem);
    }

    fn buffers(&mut self) {
        for (buffer, data) in &self.program.buffers {
            for dim in &data.dims {
                self.known(None, dim);
            }
            let Home::Table { index, members } = &data.home else { continue };
            if !self.program.symbols.contains(*index) {
                self.report(None, format!("the index of table {buffer} is no symbol"));
            }
            let fits = |&member: &Buffer| {
                member < buffer && {
                    let inner = &self.program.buffers[member];
                    !matches!(inner.home, Home::Table { .. }) && inner.element.bytes() == data.element.bytes()
                }
            };
            if members.is_empty() || !members.iter().all(fits) {
                self.report(
                    None,
                    format!("the members of table {buffer} are not buffers before it of its element's width"),
                );
            }
        }
    }

    fn block(&mut self, ops: &[Op]) {
        let mut fifo = VecDeque::new();
        for op in ops {
            if matches!(op, Op::For { .. } | Op::If { .. }) && !fifo.is_empty() {
                self.report(Some(op), "a weight is in the queue where control flow starts".into());
            }
            self.op(op, &mut fifo);
        }
        if let Some(weight) = fifo.front() {
            self.report(None, format!("weight {weight} is streamed, but no product of the block takes it"));
        }
    }

    fn op(&mut self, op: &Op, fifo: &mut VecDeque<Buffer>) {
        let before = self.errors.len();
        op.views().into_iter().for_each(|view| self.view(op, view));
        if self.errors.len() > before {
            return self.pass_over(op, fifo);
        }
        match op {
            Op::Compute(compute) => self.compute(op, compute, fifo),
            Op::Copy { to, from, .. } => {
                let axes = (to.rank() == from.rank()).then(|| View::simplify_together(&[to, from])[0].rank());
                if axes.is_none_or(|axes| axes > MAXIMUM_RANK) {
                    self.report(
                        Some(op),
                        format!("a copy has sides of different ranks, or more than {MAXIMUM_RANK} axes"),
                    );
                }
                self.same_dims(op, to, from);
                self.read(op, from);
                self.write(op, to);
                if to.element.bytes() != from.element.bytes() {
                    self.report(Some(op), "the sides of a copy have elements of different widths".into());
                }
            }
            Op::For { index, trip, condition, body, layers: _ } => {
                self.used(op, trip);
                condition.iter().for_each(|view| self.flag(op, view));
                if !self.indices.insert(*index) || self.defined.contains(index) {
                    self.report(Some(op), format!("the index {index} of a loop has another meaning already"));
                }
                self.defined.insert(*index);
                self.loops.push((*index, trip.clone()));
                self.block(body);
                self.loops.pop();
                self.defined.remove(index);
            }
            Op::If { condition, then_body, else_body } => {
                self.flag(op, condition);
                let start = self.defined.clone();
                self.block(then_body);
                let after_then = std::mem::replace(&mut self.defined, start);
                self.block(else_body);
                self.defined.retain(|symbol| after_then.contains(symbol));
            }
            Op::Read { symbol, from } => {
                if !from.element.is_integer() && from.element != narae_isa::Element::Bool {
                    self.report(Some(op), "a symbol is read from an element that is no integer".into());
                }
                self.flag(op, from);
                self.set(op, *symbol);
            }
            Op::Let { symbol, value } => {
                self.used(op, value);
                self.set(op, *symbol);
            }
            Op::Write { to, values } => {
                values.iter().for_each(|value| self.used(op, value));
                let count = i64::try_from(values.len()).unwrap_or(i64::MAX);
                if !to.is_dense() || !to.len().is(count) {
                    self.report(
                        Some(op),
                        "numbers are written to a view that is not dense, or not of their number".into(),
                    );
                }
                self.write(op, to);
            }
            Op::Holds { view, tensors: _ } => {
                self.view(op, view);
                if self.program.buffers.is_valid(view.buffer) {
                    self.read(op, view);
                }
            }
        }
    }

    /// What an op with wrong views would have done, so that only its own errors are reported.
    fn pass_over(&mut self, op: &Op, fifo: &mut VecDeque<Buffer>) {
        let known: Vec<Buffer> =
            op.views().iter().map(|view| view.buffer).filter(|&buffer| self.program.buffers.is_valid(buffer)).collect();
        let members: Vec<Buffer> = known.into_iter().flat_map(|buffer| self.program.members(buffer)).collect();
        self.written.extend(members);
        match op {
            Op::Compute(compute) if compute.inst.engine() == Engine::Dmaw => {
                fifo.extend(compute.views.first().map(|view| view.buffer));
            }
            Op::Compute(compute) => {
                let takes = compute.inst.operands().iter().any(|operand| operand.place == MemoryRule::Fifo);
                if takes {
                    fifo.pop_front();
                }
            }
            Op::Read { symbol, .. } | Op::For { index: symbol, .. } => {
                self.defined.insert(*symbol);
            }
            Op::Copy { .. } | Op::If { .. } | Op::Let { .. } | Op::Write { .. } | Op::Holds { .. } => {}
        }
        op.bodies().into_iter().for_each(|body| self.block(body));
    }

    /// A one-element tensor that is read.
    fn flag(&mut self, op: &Op, view: &View) {
        if !view.len().is(1) {
            self.report(Some(op), "one element is expected".into());
        }
        self.read(op, view);
    }

    fn set(&mut self, op: &Op, symbol: Symbol) {
        if !self.program.symbols.contains(symbol) {
            return self.report(Some(op), format!("the symbol {symbol} does not exist"));
        }
        if self.indices.contains(&symbol) {
            self.report(Some(op), "the index of a loop is set".into());
        }
        self.defined.insert(symbol);
    }

    /// Checks that a dim is made of symbols of the program.
    fn known(&mut self, op: Option<&Op>, dim: &Dim) -> bool {
        if dim.is_invalid() {
            self.report(op, "a dim is invalid".into());
            return false;
        }
        for symbol in dim.symbols() {
            if !self.program.symbols.contains(symbol) {
                self.report(op, format!("the symbol {symbol} does not exist"));
                return false;
            }
        }
        true
    }

    /// Checks that the value of a dim is known here.
    fn used(&mut self, op: &Op, dim: &Dim) {
        if !self.known(Some(op), dim) {
            return;
        }
        for symbol in dim.symbols() {
            let row = self.program.symbols.data(symbol);
            if row.replacement.is_some() {
                self.report(Some(op), format!("the symbol `{}` was replaced, but is still used", row.name));
            } else if !self.defined.contains(&symbol) {
                self.report(Some(op), format!("the symbol `{}` is used before it is defined", row.name));
            }
        }
    }

    fn view(&mut self, op: &Op, view: &View) {
        let Some(data) = self.program.buffers.get(view.buffer) else {
            return self.report(Some(op), format!("buffer {} does not exist", view.buffer));
        };
        if view.dims.len() != view.strides.len() {
            return self.report(Some(op), "a view has more dims than strides, or fewer".into());
        }
        let before = self.errors.len();
        numbers(view).into_iter().for_each(|dim| self.used(op, dim));
        if self.errors.len() > before {
            return;
        }
        if self.placed && data.home == Home::Scratch {
            self.report(Some(op), format!("{} has no memory", view.buffer));
        }
        if self.placed && data.home == Home::Sram && !self.program.sram.contains_key(&view.buffer) {
            self.report(Some(op), format!("{} is in SRAM, but has no offset there", view.buffer));
        }
        if view.element.bytes() != data.element.bytes() {
            self.report(Some(op), format!("{} is viewed with elements of another width", view.buffer));
        }
        if let Home::Table { index, .. } = &data.home
            && !self.loops.iter().any(|(enclosing, _)| enclosing == index)
        {
            self.report(Some(op), format!("table {} is used outside of the loop that selects from it", view.buffer));
        }
        if !self.is_weight(view.buffer) {
            self.inside(op, view);
        }
    }

    /// Packed weights are streamed whole: their views have no addresses.
    fn is_weight(&self, buffer: Buffer) -> bool {
        self.program.members(buffer).iter().all(|&member| matches!(self.program.buffers[member].home, Home::Weight(_)))
    }

    fn corners(&self) -> Corners<'_> {
        Corners { symbols: &self.program.symbols, loops: &self.loops }
    }

    /// Whether only the run can tell if a view is inside: a start counted from the end of a length that other lengths only equal when the
    /// model runs, a start that the run decides, or several extents that it decides (a part and the rest are together the whole).
    fn depends_on_the_run(&self, view: &View) -> bool {
        let decided = |symbol: &Symbol| {
            let row = self.program.symbols.data(*symbol);
            let counts = self.loops.iter().any(|(index, _)| index == symbol);
            !counts && !matches!(row.definition, SymbolDefinition::Input { .. })
        };
        let (least, _) = view.offset.bounds(&self.program.symbols);
        let start = view.offset.symbols();
        let from_end = start.len() > 1 && least.is_none_or(|least| least < 0);
        let extents: BTreeSet<Symbol> = view.dims.iter().flat_map(|dim| dim.symbols()).filter(decided).collect();
        from_end || start.iter().any(decided) || extents.len() > 1
    }

    fn inside(&mut self, op: &Op, view: &View) {
        if self.depends_on_the_run(view) {
            return;
        }
        let members = self.program.members(view.buffer);
        let room = members.iter().map(|&member| self.program.buffers[member].capacity).min().unwrap_or(0);
        let bytes = view.element.bytes() as i128;
        let outside = self.corners().points(&numbers(view)).into_iter().find_map(|point| {
            let (low, high) = corners::reach(view, &point)?;
            let fits = low >= 0 && (high + 1) * bytes <= i128::from(room);
            (!fits).then(|| format!("elements {low} to {high} at {}", self.corners().display(&point)))
        });
        if let Some(outside) = outside {
            let message = format!("a view reaches out of {} ({room} bytes): {outside}", view.buffer);
            self.report(Some(op), message);
        }
    }

    fn read(&mut self, op: &Op, view: &View) {
        let members = self.program.members(view.buffer);
        let filled = |&member: &Buffer| match self.program.buffers[member].home {
            Home::Input(_) | Home::Constant(_) | Home::Weight(_) | Home::State(_) => true,
            Home::Sram | Home::Dram | Home::Scratch | Home::Output(_) | Home::Table { .. } => {
                self.written.contains(&member)
            }
        };
        if !members.iter().all(filled) {
            self.report(Some(op), format!("{} is read before anything is written to it", view.buffer));
        }
    }

    fn write(&mut self, op: &Op, view: &View) {
        for member in self.program.members(view.buffer) {
            if matches!(self.program.buffers[member].home, Home::Input(_) | Home::Constant(_) | Home::Weight(_)) {
                self.report(Some(op), format!("{member} is written, but it is not ours to write"));
            }
            self.written.insert(member);
        }
        let repeats = |point: &Point| {
            corners::reach(view, point).is_some()
                && view.dims.iter().zip(&view.strides).any(|(dim, stride)| {
                    corners::eval(stride, point) == Some(0) && corners::eval(dim, point).is_some_and(|dim| dim > 1)
                })
        };
        if self.corners().points(&numbers(view)).iter().any(repeats) {
            self.report(Some(op), "a view that is written repeats elements".into());
        }
    }

    fn same_dims(&mut self, op: &Op, a: &View, b: &View) {
        let same = a.rank() == b.rank() && a.dims.iter().zip(&b.dims).all(|(a, b)| self.corners().may_equal(a, b));
        if !same {
            self.report(Some(op), "the sides of a copy have different dims".into());
        }
    }

    fn compute(&mut self, op: &Op, compute: &Compute, fifo: &mut VecDeque<Buffer>) {
        compute.scalars.iter().for_each(|scalar| self.used(op, scalar));
        if let Some(Parameters::Window(window)) = &compute.parameters {
            window.numbers().for_each(|number| self.used(op, number));
        }
        if compute.views.iter().any(|view| view.rank() > MAXIMUM_RANK) {
            self.report(Some(op), format!("an operand has more than {MAXIMUM_RANK} axes"));
        }
        let operands = compute.inst.operands();
        if let Some(message) = operands::numbering(compute, &operands) {
            return self.report(Some(op), message.into());
        }
        let problems = operands::check(&compute.inst, &operands, &compute.views, &self.corners());
        problems.into_iter().for_each(|problem| self.report(Some(op), problem));
        for operand in &operands {
            if operand.access != Access::Parameters {
                self.operand(op, compute, operand, fifo);
            }
        }
        for operand in operands.iter().filter(|operand| matches!(operand.access, Access::Write | Access::ReadWrite)) {
            self.write(op, &compute.views[operand.register.index()]);
        }
    }

    /// Where an operand lies, and whether it holds anything.
    fn operand(&mut self, op: &Op, compute: &Compute, operand: &Operand, fifo: &mut VecDeque<Buffer>) {
        let view = &compute.views[operand.register.index()];
        let weight = self.is_weight(view.buffer);
        let streams = compute.inst.engine() == Engine::Dmaw;
        if weight != (streams || operand.place == MemoryRule::Fifo) {
            return self
                .report(Some(op), format!("`{}` is a packed weight where none is expected, or none", operand.name));
        }
        if streams {
            return fifo.push_back(view.buffer);
        }
        if operand.place == MemoryRule::Fifo {
            if fifo.pop_front() != Some(view.buffer) {
                self.report(Some(op), "the weight is not the next one that was streamed".into());
            }
            return;
        }
        let in_sram = self.program.buffers[view.buffer].home == Home::Sram;
        let wrong = match operand.place {
            MemoryRule::Sram => !in_sram,
            MemoryRule::Dram => in_sram,
            MemoryRule::Any | MemoryRule::Fifo | MemoryRule::Nowhere => false,
        };
        if self.placed && wrong {
            self.report(Some(op), format!("`{}` lies in the wrong memory", operand.name));
        }
        // What an instruction updates may be partly new: a result that pieces fill.
        if operand.access == Access::Read {
            self.read(op, view);
        }
    }
}

/// All dims that a view is made of.
fn numbers(view: &View) -> Vec<&Dim> {
    view.dims.iter().chain(&view.strides).chain([&view.offset]).collect()
}

/// Where an op comes from, if it says so.
fn cause(op: &Op) -> Option<&Cause> {
    match op {
        Op::Compute(compute) => Some(&compute.cause),
        Op::Copy { cause, .. } => Some(cause),
        Op::For { .. } | Op::If { .. } | Op::Read { .. } | Op::Let { .. } | Op::Write { .. } | Op::Holds { .. } => None,
    }
}

//! The plan of an entry, for the debug info: what each instruction was made from, said in buffers, lengths and loops instead of registers.
//!
//! In: drafts that the emitter noted beside its lines, in dims and views of the tile program. Out: [`Plan`]. Always: nothing is taken from the
//! registers or descriptor rows that were emitted, so that a mistake in them does not repeat itself here.

use std::collections::BTreeMap;

use narae_isa::DimExpr;
use narae_isa::descriptor::Paging;
use narae_isa::image::plan::{Act, Plan, PlannedOperand, PlannedPlace, PlannedView, Step, Value, without_registers};
use narae_isa::instructions::Inst;
use narae_isa::table::{Access, Word};

use super::{Addresses, Emitter};
use crate::ir::{Dim, Symbol};
use crate::tile::{Buffer, Compute, Home, Parameters, Program, View};

/// What one instruction does, in words of the tile program.
#[derive(Clone, Debug)]
pub(super) enum Draft {
    /// An instruction of an engine: its template, its operands in the order of the row.
    Compute { template: Inst, operands: Vec<DraftOperand>, scalars: Vec<Dim> },
    /// Reads the element of a view.
    Load(DraftOperand),
    /// Writes an element of a view.
    Store(DraftOperand, Dim),
    /// Sets a symbol; to what was just read if there is no value.
    Set(Symbol, Option<Dim>),
    /// A loop begins.
    Enter(Symbol, Dim),
    /// The index goes on.
    Next(Symbol),
    /// Branches if the loop runs no time.
    Skip(Symbol),
    /// Branches if it runs again.
    Again(Symbol),
    /// Branches if what was just read is zero.
    Unless,
    /// Branches if a symbol is beyond its bounds.
    Beyond(Symbol),
    /// Branches always.
    Go,
    /// The program ends.
    Halt,
}

/// An operand of a draft.
#[derive(Clone, Debug)]
pub(super) enum DraftOperand {
    View(View, Option<Paging>),
    Weight(Buffer),
    Parameters(Parameters),
}

impl Emitter<'_> {
    /// A view as an operand.
    pub(super) fn planned(&self, view: &View) -> DraftOperand {
        DraftOperand::View(view.clone(), self.paging(view))
    }

    /// What an instruction of an engine does; `weights` says which of its views are packed weights.
    pub(super) fn draft(&self, compute: &Compute, weights: &[bool]) -> Draft {
        let mut operands = Vec::new();
        compute.inst.visit_operands(&mut |operand| {
            let index = operand.register.index();
            operands.push(match (operand.access, compute.views.get(index), &compute.parameters) {
                (Access::Parameters, _, Some(parameters)) => DraftOperand::Parameters(parameters.clone()),
                (_, Some(view), _) if weights[index] => DraftOperand::Weight(view.buffer),
                (_, Some(view), _) => self.planned(view),
                (_, None, _) => unreachable!("every operand of a template has its view"),
            });
        });
        let mut scalars = Vec::new();
        compute.inst.visit_registers(&mut |register, _| scalars.push(compute.scalars[register.index()].clone()));
        Draft::Compute { template: compute.inst, operands, scalars }
    }
}

/// The plan of an entry whose code begins at `first`. `words` are its final instructions, `numbers` its buffers in the debug info.
pub fn plan(
    program: &Program,
    addresses: &Addresses,
    drafts: &super::Drafts,
    words: &[Word],
    first: u32,
    numbers: &BTreeMap<Buffer, u32>,
) -> Plan {
    let slots = u16::try_from(addresses.slot_of.len()).unwrap_or(u16::MAX);
    let end = first + u32::try_from(words.len()).unwrap_or(u32::MAX);
    let plan = Plan { code: (first, end), slots, ..Plan::default() };
    let mut planner = Planner {
        program,
        addresses,
        numbers,
        plan,
        loops: BTreeMap::new(),
        expressions: BTreeMap::new(),
        operands: BTreeMap::new(),
        instructions: BTreeMap::new(),
    };
    for (pc, draft) in &drafts.0 {
        planner.step(first + pc, draft, &words[*pc as usize].inst);
    }
    planner.plan.loops = u16::try_from(planner.loops.len()).unwrap_or(u16::MAX);
    planner.plan
}

struct Planner<'a> {
    program: &'a Program,
    addresses: &'a Addresses,
    numbers: &'a BTreeMap<Buffer, u32>,
    plan: Plan,
    /// The number of each loop, by its index.
    loops: BTreeMap<Symbol, u16>,
    expressions: BTreeMap<String, u32>,
    operands: BTreeMap<PlannedOperand, u32>,
    instructions: BTreeMap<String, u32>,
}

impl Planner<'_> {
    fn step(&mut self, pc: u32, draft: &Draft, emitted: &Inst) {
        let is = match draft {
            Draft::Compute { template, .. } => self.instruction(template),
            _ => self.instruction(emitted),
        };
        let act = match draft {
            Draft::Compute { operands, scalars, .. } => {
                let operands = operands.iter().map(|operand| self.operand(operand)).collect();
                Act::Compute(operands, scalars.iter().map(|dim| self.value(dim)).collect())
            }
            Draft::Load(operand) => Act::Load(self.operand(operand)),
            Draft::Store(operand, value) => Act::Store(self.operand(operand), self.value(value)),
            Draft::Set(symbol, Some(value)) => Act::Set(self.slot(*symbol), self.value(value)),
            Draft::Set(symbol, None) => Act::Keep(self.slot(*symbol)),
            Draft::Enter(symbol, trip) => {
                let trip = self.value(trip);
                let next = u16::try_from(self.loops.len()).unwrap_or(u16::MAX);
                Act::Enter(*self.loops.entry(*symbol).or_insert(next), trip)
            }
            Draft::Next(symbol) => Act::Next(self.loops[symbol]),
            Draft::Skip(symbol) => Act::Skip(self.loops[symbol]),
            Draft::Again(symbol) => Act::Again(self.loops[symbol]),
            Draft::Unless => Act::Unless,
            Draft::Beyond(symbol) => Act::Beyond(self.slot(*symbol)),
            Draft::Go => Act::Go,
            Draft::Halt => Act::Halt,
        };
        self.plan.steps.push(Step { pc, is, act });
    }

    fn slot(&self, symbol: Symbol) -> u16 {
        let slot = self.addresses.slot_of.get(&symbol).and_then(|&slot| u16::try_from(slot).ok());
        slot.unwrap_or_else(|| unreachable!("a symbol that the program sets has a slot"))
    }

    fn instruction(&mut self, inst: &Inst) -> u32 {
        let text = without_registers(*inst).to_string();
        number(&mut self.instructions, &mut self.plan.instructions, text.clone(), text)
    }

    /// The number of a dim's expression; none if it is longer than what an image may hold.
    fn value(&mut self, dim: &Dim) -> Value {
        let (slots, loops) = (&self.addresses.slot_of, &self.loops);
        let name = |symbol: Symbol| match loops.get(&symbol) {
            Some(number) => self.plan.slots.checked_add(*number),
            None => slots.get(&symbol).and_then(|&slot| u16::try_from(slot).ok()),
        };
        let text = dim.to_expression(&name)?.to_string();
        let expression = DimExpr::parse(&text).ok()?;
        Some(number(&mut self.expressions, &mut self.plan.expressions, text, expression))
    }

    fn operand(&mut self, operand: &DraftOperand) -> u32 {
        let planned = match operand {
            DraftOperand::View(view, paging) => PlannedOperand::View(PlannedView {
                place: self.place(view.buffer),
                element: view.element,
                offset: self.value(&view.offset),
                dims: view.dims.iter().map(|dim| self.value(dim)).collect(),
                strides: view.strides.iter().map(|stride| self.value(stride)).collect(),
                paging: *paging,
            }),
            DraftOperand::Weight(buffer) => self.weight(*buffer),
            DraftOperand::Parameters(Parameters::Resize(resize)) => {
                PlannedOperand::Row(narae_isa::Row::Resize(*resize).to_string())
            }
            DraftOperand::Parameters(Parameters::Window(window)) => {
                PlannedOperand::Window(window.numbers().map(|dim| self.value(dim)).collect())
            }
        };
        number(&mut self.operands, &mut self.plan.operands, planned.clone(), planned)
    }

    /// Members of a table have the same extents, but each its own format: a budget spends bits where they help.
    fn weight(&mut self, buffer: Buffer) -> PlannedOperand {
        let program = self.program;
        let weights = program.members(buffer).into_iter().map(|member| match &program.buffers[member].home {
            Home::Weight(weight) => weight,
            _ => unreachable!("a streamed operand is a weight"),
        });
        let weights: Vec<_> = weights.collect();
        let size = |axis: usize| weights.first().and_then(|weight| u32::try_from(weight.recipe.dims()[axis]).ok());
        let (outputs, inputs) = (size(0).unwrap_or(u32::MAX), size(1).unwrap_or(u32::MAX));
        let formats = weights.iter().map(|weight| weight.format.to_string()).collect();
        PlannedOperand::Weight(self.place(buffer), formats, outputs, inputs)
    }

    fn place(&mut self, buffer: Buffer) -> PlannedPlace {
        let index = match &self.program.buffers[buffer].home {
            Home::Table { index, .. } => self.value(&Dim::from(*index)),
            _ => None,
        };
        let buffers = self.program.members(buffer).into_iter().map(|member| self.numbers[&member]).collect();
        PlannedPlace { buffers, index }
    }
}

/// The number of something in a list without repetitions.
fn number<K: Ord, T>(known: &mut BTreeMap<K, u32>, list: &mut Vec<T>, key: K, item: T) -> u32 {
    *known.entry(key).or_insert_with(|| {
        list.push(item);
        u32::try_from(list.len() - 1).unwrap_or(u32::MAX)
    })
}

//! Loops and conditionals: branches, and what registers hold across them.

use narae_isa::instructions as isa;
use narae_isa::operand::{Condition, MarkKind, ScalarFunction, ScalarRegister, Target};

use narae_isa::Diagnostic;

use super::scalars::scalar_register;
use super::{Draft, Emitted, Emitter, Line, State, limit};
use crate::ir::{Dim, Symbol};
use crate::tile::{Op, View};

/// How often a loop is emitted again because a register did not survive its body; every round drops one assumption.
const ROUNDS: usize = 200;

/// One loop while its code is emitted.
struct Frame<'a> {
    index: Symbol,
    counter: ScalarRegister,
    /// The register with the trip count, if that is not a number.
    bound: Option<ScalarRegister>,
    trip: &'a Dim,
    condition: Option<&'a View>,
    exit: u32,
    layers: bool,
}

impl Emitter<'_> {
    pub(super) fn for_loop(
        &mut self,
        index: Symbol,
        trip: &Dim,
        condition: Option<&View>,
        body: &[Op],
        layers: bool,
    ) -> Emitted {
        if trip.is(0) {
            return Ok(());
        }
        // A number goes into the branch if it fits there.
        let bound = match trip.as_const().and_then(|trip| i32::try_from(trip).ok()) {
            Some(_) => None,
            None => Some(self.locked_scalar(trip)?),
        };
        // The condition is read before the loop and at the end of every iteration: an iteration that has started is finished, so
        // that its waits and signals come in pairs.
        let enter = condition.map(|condition| self.flag_behind_barrier(condition)).transpose()?;
        self.push(Line::LoopBegin);
        let counter = self.counter(index, trip)?;
        let exit = self.label();
        if let Some(flag) = enter {
            self.leave_unless(flag, exit);
            self.state.scalars.unlock(flag.index());
        }
        if let Some(rb) = bound {
            self.push(Line::Step(Draft::Skip(index)));
            self.inst(isa::Branch { condition: Condition::Ge, ra: counter, rb, target: Target(exit) }, vec![]);
        }
        let known_to_run = bound.is_none() && condition.is_none();
        let before = self.state.clone();
        let frame = Frame { index, counter, bound, trip, condition, exit, layers };
        let top = self.rounds(&frame, body)?;
        self.push(Line::Label(exit));
        self.push(Line::LoopEnd);
        if layers {
            self.inst(isa::Mark { kind: MarkKind::Rest, value: 0, ri: None }, vec![]);
        }
        if !known_to_run {
            self.state = meet(&meet(&self.state, &before), &top);
        }
        self.state.scalars.unpin(counter.index());
        self.forget(index);
        self.state.scalars.set(counter.index(), None);
        if let Some(rb) = bound {
            self.state.scalars.unlock(rb.index());
        }
        Ok(())
    }

    /// A pinned register for the loop's index, set to 0.
    fn counter(&mut self, index: Symbol, trip: &Dim) -> Result<ScalarRegister, Diagnostic> {
        self.forget(index);
        let register = self.state.scalars.claim(Dim::from(index));
        let Some(register) = register.map(scalar_register) else {
            return Err(limit("loops are nested deeper than there are registers".to_string()));
        };
        self.state.scalars.pin(register.index());
        self.push(Line::Step(Draft::Enter(index, trip.clone())));
        self.inst(isa::LoadImmediate { rd: register, value: 0 }, vec![]);
        Ok(register)
    }

    /// Emits the body until what it assumes of registers at its start holds at its end as well.
    /// Returns what registers hold at the start of every iteration.
    fn rounds(&mut self, frame: &Frame<'_>, body: &[Op]) -> Result<State, Diagnostic> {
        let (index, counter, trip) = (frame.index, frame.counter, frame.trip);
        let (lines, labels, rows, origins) = (self.lines.len(), self.labels, self.rows.len(), self.origin_table.len());
        let (origin, tile_op) = (self.origin, self.tile_op);
        let mut assumed = self.state.clone();
        for _ in 0..ROUNDS {
            self.state = assumed.clone();
            let top = self.label();
            self.push(Line::Label(top));
            if frame.layers {
                self.inst(isa::Mark { kind: MarkKind::Layer, value: 0, ri: Some(counter) }, vec![]);
            }
            self.block(body)?;
            // What depends on the index is wrong in the next iteration.
            self.forget_but(index, counter);
            let next = isa::AluImmediate { function: ScalarFunction::Add, rd: counter, ra: counter, value: 1 };
            self.push(Line::Step(Draft::Next(index)));
            self.inst(next, vec![]);
            if let Some(condition) = frame.condition {
                let flag = self.flag_behind_barrier(condition)?;
                self.leave_unless(flag, frame.exit);
                self.state.scalars.unlock(flag.index());
            }
            let again = Line::Step(Draft::Again(index));
            match frame.bound {
                Some(rb) => {
                    self.push(again);
                    self.inst(isa::Branch { condition: Condition::Lt, ra: counter, rb, target: Target(top) }, vec![]);
                }
                None => {
                    let value = i32::try_from(trip.as_const().unwrap_or(0));
                    let value = value.map_err(|_| limit("a loop runs more often than 2^31 times".to_string()))?;
                    let condition = Condition::Lt;
                    self.push(again);
                    self.inst(isa::BranchImmediate { condition, ra: counter, value, target: Target(top) }, vec![]);
                }
            }
            let met = meet(&assumed, &self.state);
            if same(&met, &assumed) {
                return Ok(assumed);
            }
            assumed = met;
            self.lines.truncate(lines);
            self.labels = labels;
            self.rows.truncate(rows);
            self.origin_table.truncate(origins);
            (self.origin, self.tile_op) = (origin, tile_op);
        }
        unreachable!("every round drops at least one of at most 95 assumptions")
    }

    /// A locked register with a condition, and all engines idle.
    fn flag_behind_barrier(&mut self, condition: &View) -> Result<ScalarRegister, Diagnostic> {
        let flag = self.flag(condition)?;
        self.state.scalars.lock(flag.index());
        self.push(Line::Barrier);
        Ok(flag)
    }

    /// Leaves the loop when its condition does not hold.
    fn leave_unless(&mut self, flag: ScalarRegister, exit: u32) {
        let target = Target(exit);
        self.push(Line::Step(Draft::Unless));
        self.inst(isa::BranchImmediate { condition: Condition::Eq, ra: flag, value: 0, target }, vec![]);
    }

    /// A register with a one-element tensor's value.
    fn flag(&mut self, view: &View) -> Result<ScalarRegister, Diagnostic> {
        let mut touches = Vec::new();
        self.touches(view.buffer, false, &mut touches);
        let source = self.view(view)?;
        let Some(flag) = self.state.scalars.claim_temporary().map(scalar_register) else {
            return Err(limit("no scalar register is free for a condition".to_string()));
        };
        self.uses([view.buffer].into_iter());
        self.push(Line::Step(Draft::Load(self.planned(view))));
        self.inst(isa::LoadScalar { rd: flag, source, ri: None, index: 0 }, touches);
        Ok(flag)
    }

    fn forget_but(&mut self, index: Symbol, counter: ScalarRegister) {
        self.forget(index);
        self.state.scalars.set(counter.index(), Some(Dim::from(index)));
    }

    pub(super) fn conditional(&mut self, condition: &View, then_body: &[Op], else_body: &[Op]) -> Emitted {
        let flag = self.flag(condition)?;
        let (otherwise, end) = (self.label(), self.label());
        self.push(Line::Barrier);
        let value = 0;
        self.push(Line::Step(Draft::Unless));
        self.inst(
            isa::BranchImmediate { condition: Condition::Eq, ra: flag, value, target: Target(otherwise) },
            vec![],
        );
        let start = self.state.clone();
        self.block(then_body)?;
        self.push(Line::Barrier);
        self.push(Line::Step(Draft::Go));
        self.inst(isa::Jump { target: Target(end) }, vec![]);
        let after_then = std::mem::replace(&mut self.state, start);
        self.push(Line::Label(otherwise));
        self.block(else_body)?;
        self.push(Line::Barrier);
        self.push(Line::Label(end));
        self.state = meet(&self.state, &after_then);
        Ok(())
    }
}

/// What both states know.
fn meet(a: &State, b: &State) -> State {
    let mut met = a.clone();
    let (scalars, descriptors) = (b.scalars.contents(), b.descriptors.contents());
    met.scalars.retain(|index, key| scalars[index].as_ref() == Some(key));
    met.descriptors.retain(|index, key| descriptors[index].as_ref() == Some(key));
    met
}

fn same(a: &State, b: &State) -> bool {
    a.scalars.contents() == b.scalars.contents() && a.descriptors.contents() == b.descriptors.contents()
}

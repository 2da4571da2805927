//! Watches a run and makes the steps that timing replays.
//!
//! In: instructions as the control unit meets them, with the registers that they see. Out: [`Step`]s, one by one, to a sink: a vector, or a
//! channel to another thread. Always: one step per instruction, in program order.

use super::work::{Work, work};
use super::{Action, Step};
use crate::execute::{Context, touch};
use crate::machine::Recorder;
use crate::state::{Fault, Space};
use narae_isa::chip::Chip;
use narae_isa::table::Access;
use narae_isa::{Descriptor, Inst, Word};
use std::sync::Arc;

/// Makes steps.
#[derive(Debug)]
pub struct StepRecorder<'a, S> {
    chip: &'a Chip,
    sink: S,
    /// For each program counter what it cost last.
    known: Vec<Option<Known>>,
}

/// What an instruction cost with these descriptors.
#[derive(Debug)]
struct Known {
    descriptors: Vec<Option<Descriptor>>,
    work: Arc<Work>,
}

impl<'a, S: FnMut(Step)> StepRecorder<'a, S> {
    /// A recorder for this chip that hands every step to `sink`.
    pub fn new(chip: &'a Chip, sink: S) -> StepRecorder<'a, S> {
        StepRecorder { chip, sink, known: Vec::new() }
    }

    /// What an instruction costs. With the descriptors of the last time it costs the same, unless lengths in memory decide.
    fn work(&mut self, pc: u32, inst: &Inst, needs: u64, context: &Context<'_>) -> Result<Arc<Work>, Fault> {
        if matches!(inst, Inst::Attend(_) | Inst::Append(_)) {
            return work(self.chip, inst, context).map(Arc::new);
        }
        let index = pc as usize;
        if index >= self.known.len() {
            self.known.resize_with(index + 1, || None);
        }
        let registers = || (0..64).filter(move |register| needs >> register & 1 == 1);
        if let Some(known) = &self.known[index]
            && registers().zip(&known.descriptors).all(|(register, known)| context.descriptors[register] == *known)
        {
            return Ok(known.work.clone());
        }
        let work = Arc::new(work(self.chip, inst, context)?);
        let descriptors = registers().map(|register| context.descriptors[register]).collect();
        self.known[index] = Some(Known { descriptors, work: work.clone() });
        Ok(work)
    }
}

impl<S: FnMut(Step)> Recorder for StepRecorder<'_, S> {
    fn step(&mut self, pc: u32, word: &Word, context: &Context<'_>) -> Result<(), Fault> {
        let agent = word.inst.engine().code();
        let needs = needs(&word.inst);
        let action = match agent {
            0 => scalar_action(&word.inst, context),
            _ => Action::Dispatch(self.work(pc, &word.inst, needs, context)?),
        };
        (self.sink)(Step { pc, agent, sync: word.sync, needs, action });
        Ok(())
    }
}

/// The descriptor registers that an instruction reads, as bits.
fn needs(inst: &Inst) -> u64 {
    let mut needs = 0;
    inst.visit_operands(&mut |operand| {
        if operand.access != Access::Define {
            needs |= 1 << operand.register.index();
        }
    });
    needs
}

fn scalar_action(inst: &Inst, c: &Context<'_>) -> Action {
    match inst {
        Inst::Fence(_) | Inst::Halt(_) => Action::Fence,
        Inst::Jump(_) => Action::Branch,
        Inst::Branch(_) | Inst::BranchImmediate(_) => Action::Branch,
        Inst::LoadDescriptor(row) => {
            let offset = row.ri.map_or(0, |register| c.scalars[register.index()]);
            let register = row.dd.number();
            Action::Descriptor { row: (i64::from(row.row.0).wrapping_add(offset)) as u32, register }
        }
        Inst::LoadScalar(_) | Inst::StoreScalar(_) => {
            let mut address = None;
            let found = touch::<Fault>(c, inst, |touched| {
                address = (touched.space == Space::Dram).then_some(touched.start);
                Ok(())
            });
            // A bad address is reported when the instruction is executed.
            let address = found.ok().and(address);
            if matches!(inst, Inst::StoreScalar(_)) { Action::Store(address) } else { Action::Load(address) }
        }
        Inst::Mark(row) => {
            let offset = row.ri.map_or(0, |register| c.scalars[register.index()]);
            Action::Mark(row.kind, i64::from(row.value).wrapping_add(offset))
        }
        _ => Action::Scalar,
    }
}

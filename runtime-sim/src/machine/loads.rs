//! Scalars that the control unit loads from memory: where they come from when nothing is computed.
//!
//! A run that is only timed has no tensors. Lengths that the host gives are in memory; whatever an engine would have computed is not. In:
//! every scalar load and store of such a run. Out: the values to go on with, from the record of a functional run or by assumption, and a
//! sentence for each assumption. Always: a value that the host gave, a constant of the image, and what follows from such values in the
//! control unit is never replaced.

use crate::execute::{Context, Touched, touch};
use crate::state::{Fault, Space};
use narae_isa::operand::ScalarRegister;
use narae_isa::table::RegisterAccess;
use narae_isa::{ElementClass, Inst};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Every scalar that a run loaded, in order: program counter and value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recording {
    /// The entry that ran.
    pub entry: String,
    /// Its loads.
    pub loads: Vec<(u32, i64)>,
}

/// What to do with scalar loads.
#[derive(Debug, Default)]
pub enum Loads<'a> {
    /// Memory holds the truth.
    #[default]
    FromMemory,
    /// Memory holds the truth, which is written down.
    Record(&'a mut Vec<(u32, i64)>),
    /// Memory holds only what the host gave.
    Assume(&'a mut Assumptions),
}

/// A length that the program computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assumed {
    /// Its name.
    pub name: String,
    /// The value to go on with.
    pub value: i64,
    /// Why that value.
    pub reason: &'static str,
}

/// Values for what nothing has computed.
#[derive(Clone, Debug, Default)]
pub struct Assumptions {
    /// Lengths that the program computes, by the LPDDR address where it keeps them.
    pub computed: BTreeMap<u64, Assumed>,
    /// Ranges of LPDDR that hold what the host gave.
    pub given: Vec<(u64, u64)>,
    /// The loads of a functional run that are still to come.
    pub recorded: Option<VecDeque<(u32, i64)>>,
    /// What was assumed, in sentences.
    pub notes: BTreeSet<String>,
    /// Where the control unit has stored what it knows.
    stored: BTreeSet<(Space, u64)>,
    /// Registers with values that nothing has computed, as bits.
    unknown: u32,
}

impl Loads<'_> {
    /// The control unit has executed an instruction.
    pub(super) fn after(&mut self, pc: u32, inst: &Inst, c: &mut Context<'_>) -> Result<(), Fault> {
        match (self, inst) {
            (Loads::FromMemory, _) => {}
            (Loads::Record(list), Inst::LoadScalar(row)) => list.push((pc, c.scalars[row.rd.index()])),
            (Loads::Record(_), _) => {}
            (Loads::Assume(assumptions), _) => assumptions.after(pc, inst, c)?,
        }
        Ok(())
    }
}

impl Assumptions {
    fn after(&mut self, pc: u32, inst: &Inst, c: &mut Context<'_>) -> Result<(), Fault> {
        match inst {
            Inst::LoadScalar(row) => {
                let value = self.load(pc, inst, row.rd, c)?;
                c.scalars[row.rd.index()] = value;
            }
            Inst::StoreScalar(row) => self.store(inst, row.rs, c)?,
            _ => self.follow(inst),
        }
        Ok(())
    }

    fn set(&mut self, register: ScalarRegister, unknown: bool) {
        let bit = 1 << register.index();
        self.unknown = if unknown { self.unknown | bit } else { self.unknown & !bit };
    }

    /// The value of a load.
    fn load(&mut self, pc: u32, inst: &Inst, register: ScalarRegister, c: &Context<'_>) -> Result<i64, Fault> {
        let value = c.scalars[register.index()];
        if let Some(recorded) = &mut self.recorded {
            return match recorded.pop_front() {
                Some((at, value)) if at == pc => Ok(value),
                other => Err(Fault::operands(match other {
                    Some((at, _)) => {
                        format!("the recorded run loads a scalar at instruction {at} here, this one at {pc}")
                    }
                    None => format!("the recorded run has no load at instruction {pc}"),
                })),
            };
        }
        let Touched { space, start, .. } = touched(inst, c)?;
        let known = c.memory.is_constant(space, start)
            || self.stored.contains(&(space, start))
            || (space == Space::Dram && self.given.iter().any(|(from, to)| (*from..*to).contains(&start)));
        self.set(register, !known);
        if known {
            return Ok(value);
        }
        let flag = source_class(inst, c) == Some(ElementClass::Bool);
        if flag {
            self.notes.insert("conditions that data decides are taken as true".to_string());
        }
        Ok(if flag { 1 } else { value })
    }

    /// A store: a length that the program computes from what nothing has computed gets its assumed value.
    fn store(&mut self, inst: &Inst, register: ScalarRegister, c: &mut Context<'_>) -> Result<(), Fault> {
        let Touched { space, start, .. } = touched(inst, c)?;
        if self.unknown >> register.index() & 1 == 1 {
            let Some(assumed) = self.computed.get(&start).filter(|_| space == Space::Dram) else { return Ok(()) };
            let Assumed { name, value, reason } = assumed;
            self.notes.insert(format!("the length `{name}`, which data decides, is taken as {value} ({reason})"));
            c.scalars[register.index()] = *value;
            c.memory.bytes_mut(space, start, 8)?.copy_from_slice(&value.to_le_bytes());
            self.set(register, false);
        }
        self.stored.insert((space, start));
        Ok(())
    }

    /// What follows from an unknown value is unknown.
    fn follow(&mut self, inst: &Inst) {
        let (mut unknown, mut defined) = (false, None);
        inst.visit_registers(&mut |register, access| match access {
            RegisterAccess::Use => unknown |= self.unknown >> register.index() & 1 == 1,
            RegisterAccess::Define => defined = Some(register),
        });
        if let Some(register) = defined {
            self.set(register, unknown);
        }
    }
}

/// The one element that a scalar load or store touches.
fn touched(inst: &Inst, c: &Context<'_>) -> Result<Touched, Fault> {
    let mut found = None;
    touch::<Fault>(c, inst, |touched| {
        found = Some(touched);
        Ok(())
    })?;
    found.ok_or_else(|| Fault::operands("a scalar access of no element"))
}

fn source_class(inst: &Inst, c: &Context<'_>) -> Option<ElementClass> {
    let Inst::LoadScalar(row) = inst else { return None };
    match &c.descriptors[row.source.index()] {
        Some(narae_isa::Descriptor::Tensor(view)) => Some(view.element.class()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::tests::assemble;
    use crate::machine::{Core, Limits, NoRecorder};
    use crate::state::{Memory, Region};

    /// An engine computes a length and a flag; the control unit loops so many times, if the flag is set.
    const DATA_DECIDES: &str = "
.row count tensor sram i64 [1] at 0x0
.row flag tensor sram bool [1] at 0x40
.row slot tensor dram i64 [1] at 0x1000
    ldd d0, count, _
    ldd d1, flag, _
    ldd d2, slot, _
    fillint d0, value=3, _
    fillint d1, value=1, _
    fence
    lds r1, d0, _, index=0
    sts d2, _, index=0, r1
    lds r2, d1, _, index=0
    branchi eq, r2, value=0, end
    li r0, value=0
    again:
    alui add, r0, r0, value=1
    branch lt, r0, r1, again
    end:
    halt
    ";

    #[test]
    fn what_nothing_computes_is_recorded_or_assumed() {
        let program = assemble(DATA_DECIDES);
        let memory = || {
            let mut memory = Memory::new(0x4000);
            memory.map(Region::zeros("io", 0x1000, 0x1000)).unwrap();
            memory
        };
        let run = |limits: Limits, loads: Loads<'_>| {
            let mut memory = memory();
            let mut recorder = NoRecorder;
            let core = Core::new(&program, &mut memory, limits, &mut recorder).with_loads(loads);
            core.run(0).map(|statistics| statistics.instructions)
        };
        let mut recorded = Vec::new();
        let computed = run(Limits::default(), Loads::Record(&mut recorded)).unwrap();
        assert_eq!((computed, recorded.as_slice()), (11 + 2 * 3 + 1, [(6, 3), (8, 1)].as_slice()));
        let silent = Limits { compute: false, ..Limits::default() };
        let mut replay = Assumptions { recorded: Some(recorded.clone().into()), ..Assumptions::default() };
        assert_eq!(run(silent, Loads::Assume(&mut replay)).unwrap(), computed);
        assert!(replay.notes.is_empty());
        let length = Assumed { name: "routed".to_string(), value: 10, reason: "its maximum" };
        let mut assumed = Assumptions { computed: [(0x1000, length)].into(), ..Assumptions::default() };
        assert_eq!(run(silent, Loads::Assume(&mut assumed)).unwrap(), 11 + 2 * 10 + 1);
        let notes: Vec<&str> = assumed.notes.iter().map(String::as_str).collect();
        let length = "the length `routed`, which data decides, is taken as 10 (its maximum)";
        assert_eq!(notes, ["conditions that data decides are taken as true", length]);
        let mut wrong = Assumptions { recorded: Some([(7, 3)].into()), ..Assumptions::default() };
        assert_eq!(run(silent, Loads::Assume(&mut wrong)).unwrap_err().code().id, "E0608");
    }
}

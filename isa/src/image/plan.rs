//! The plan of an entry: what its instructions were made from, said without registers.
//!
//! In (from the compiler): for every instruction that touches memory or decides where to go on, the operation of the tile program behind it:
//! which region of which buffer each operand is, as expressions of lengths and loop indices, and when a branch is taken. Out: something to
//! hold the instructions against, before they run ([`Plan::problems`]) and while they do (the simulator's monitor). Always: the plan decides
//! nothing; an image without plans runs the same.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::debug::BufferInfo;
use crate::descriptor::Paging;
use crate::dim::DimExpr;
use crate::element::Element;
use crate::instructions::Inst;
use crate::table::Word;

/// The number of an expression in [`Plan::expressions`]; none where the value is too long to be written down.
pub type Value = Option<u32>;

/// What the instructions of one entry were made from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The instructions of the entry: the first, and the one behind the last.
    pub code: (u32, u32),
    /// The entry's lengths come first among the names `s0`, `s1` … of expressions, then the indices of its loops.
    pub slots: u16,
    /// The loops.
    pub loops: u16,
    /// Lengths, offsets, trip counts.
    pub expressions: Vec<DimExpr>,
    /// What operands are.
    pub operands: Vec<PlannedOperand>,
    /// Instructions with all registers written as the first one.
    pub instructions: Vec<String>,
    /// What instructions do, ascending.
    pub steps: Vec<Step>,
}

/// One instruction of the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Which instruction.
    pub pc: u32,
    /// What it is: a number in [`Plan::instructions`].
    pub is: u32,
    /// What it does.
    #[serde(rename = "does")]
    pub act: Act,
}

/// What an instruction does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Act {
    /// Works on these operands (in the order of the row) with these scalars.
    Compute(Vec<u32>, Vec<Value>),
    /// The control unit reads the element of this operand.
    Load(u32),
    /// The control unit writes a value to an element of this operand.
    Store(u32, Value),
    /// The control unit sets a length.
    Set(u16, Value),
    /// The control unit sets a length to what it has just read.
    Keep(u16),
    /// A loop begins: its index, how often it runs.
    Enter(u16, Value),
    /// The index of a loop goes on by one.
    Next(u16),
    /// Branches if the loop runs no time.
    Skip(u16),
    /// Branches if the loop runs again.
    Again(u16),
    /// Branches if what was just read is zero.
    Unless,
    /// Branches if a length is beyond the limit that the instruction names.
    Beyond(u16),
    /// Branches always.
    Go,
    /// The entry ends.
    Halt,
}

/// What an operand is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PlannedOperand {
    /// A region of a buffer.
    View(PlannedView),
    /// A packed weight: its place, the format of each buffer there (alike layers may have unlike ones), outputs, inputs.
    Weight(PlannedPlace, Vec<String>, u32, u32),
    /// The 18 numbers of a window.
    Window(Vec<Value>),
    /// A row that nothing changes, as text.
    Row(String),
}

/// Which buffer: one of [`super::DebugInfo::buffers`], or of several the one that a loop's index says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedPlace {
    /// Their numbers.
    pub buffers: Vec<u32>,
    /// The index, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
}

/// A region of a buffer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedView {
    /// The buffer.
    pub place: PlannedPlace,
    /// How its elements are read.
    pub element: Element,
    /// Position of the first element, in elements.
    pub offset: Value,
    /// Extents.
    pub dims: Vec<Value>,
    /// Distances of neighbours, in elements.
    pub strides: Vec<Value>,
    /// Where the pages of a KV cache are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paging: Option<Paging>,
}

impl PlannedOperand {
    /// Its place, if it has one.
    pub fn place(&self) -> Option<&PlannedPlace> {
        match self {
            PlannedOperand::View(view) => Some(&view.place),
            PlannedOperand::Weight(place, ..) => Some(place),
            PlannedOperand::Window(_) | PlannedOperand::Row(_) => None,
        }
    }

    fn values(&self) -> Vec<Value> {
        match self {
            PlannedOperand::View(view) => {
                [view.offset].into_iter().chain(view.dims.iter().copied()).chain(view.strides.iter().copied()).collect()
            }
            PlannedOperand::Window(values) => values.clone(),
            PlannedOperand::Weight(..) | PlannedOperand::Row(_) => Vec::new(),
        }
    }
}

impl Act {
    /// The operands, in the order of the instruction's row.
    pub fn operands(&self) -> &[u32] {
        match self {
            Act::Compute(operands, _) => operands,
            Act::Load(operand) | Act::Store(operand, _) => std::slice::from_ref(operand),
            _ => &[],
        }
    }

    fn values(&self) -> &[Value] {
        match self {
            Act::Compute(_, values) => values,
            Act::Store(_, value) | Act::Set(_, value) | Act::Enter(_, value) => std::slice::from_ref(value),
            _ => &[],
        }
    }

    /// Numbers of slots, then of loops, that must exist.
    fn names(&self) -> (Option<u16>, Option<u16>) {
        match self {
            Act::Set(slot, _) | Act::Keep(slot) | Act::Beyond(slot) => (Some(*slot), None),
            Act::Enter(index, _) | Act::Next(index) | Act::Skip(index) | Act::Again(index) => (None, Some(*index)),
            _ => (None, None),
        }
    }
}

/// The instruction with all registers written as the first one: what it is, wherever its operands are.
pub fn without_registers(mut inst: Inst) -> Inst {
    let (d0, r0) = (crate::DescriptorRegister::new(0), crate::ScalarRegister::new(0));
    inst.map_descriptors(|register| d0.unwrap_or(register));
    inst.map_registers(|register| r0.unwrap_or(register));
    inst
}

/// Whether an instruction may stand in code that has a plan only if the plan knows it: it touches memory or decides where to go on. (What the
/// control unit computes in registers shows when it is used; a load of a length is not in the plan.)
fn must_be_planned(inst: &Inst) -> bool {
    match inst {
        Inst::QueueSync(_) => false,
        Inst::Halt(_) | Inst::Jump(_) | Inst::Branch(_) | Inst::BranchImmediate(_) | Inst::StoreScalar(_) => true,
        inst => inst.engine() != crate::Engine::Scu,
    }
}

impl Plan {
    /// The step of an instruction.
    pub fn step(&self, pc: u32) -> Option<&Step> {
        self.steps.binary_search_by_key(&pc, |step| step.pc).ok().map(|at| &self.steps[at])
    }

    /// What is wrong with the plan itself, or with code that was not made from it: instruction and reason.
    pub fn problems(&self, slots: usize, words: &[Word], buffers: &[BufferInfo]) -> Vec<(u32, String)> {
        let (first, end) = (self.code.0, self.code.1);
        if first > end || end as usize > words.len() || usize::from(self.slots) != slots {
            return vec![(first, "the plan of the entry is for other code".to_string())];
        }
        if let Some(problem) = self.inconsistency(buffers) {
            return vec![(first, format!("the plan of the entry contradicts itself: {problem}"))];
        }
        let instructions: Vec<Option<Inst>> =
            self.instructions.iter().map(|text| Word::parse(text).ok().map(|word| word.inst)).collect();
        let steps: BTreeMap<u32, &Step> = self.steps.iter().map(|step| (step.pc, step)).collect();
        let problem = |pc: u32| {
            let inst = &words[pc as usize].inst;
            match steps.get(&pc) {
                Some(step) => {
                    let planned = &self.instructions[step.is as usize];
                    let same = instructions[step.is as usize] == Some(without_registers(*inst));
                    if !same {
                        return Some((pc, format!("`{inst}` is not what its operation is made of: `{planned}`")));
                    }
                    self.outlived(step, buffers)
                        .map(|name| (pc, format!("`{inst}` uses `{name}`, which is not in use there")))
                }
                None if must_be_planned(inst) => Some((pc, format!("`{inst}` comes from no operation"))),
                None => None,
            }
        };
        (first..end).filter_map(problem).collect()
    }

    /// The buffer of a step that nobody uses at this time.
    fn outlived<'a>(&self, step: &Step, buffers: &'a [BufferInfo]) -> Option<&'a str> {
        let operands = step.act.operands().iter().filter_map(|&operand| self.operands[operand as usize].place());
        let used = operands.flat_map(|place| &place.buffers).map(|&buffer| &buffers[buffer as usize]);
        let mut outlived = used.filter(|buffer| !(buffer.used.0..=buffer.used.1).contains(&step.pc));
        outlived.next().map(|buffer| buffer.name.as_str())
    }

    /// A number that names nothing.
    fn inconsistency(&self, buffers: &[BufferInfo]) -> Option<&'static str> {
        let names = usize::from(self.slots) + usize::from(self.loops);
        let known = |expression: &DimExpr| expression.slots().iter().all(|&slot| usize::from(slot) < names);
        let value = |value: &Value| value.is_none_or(|value| (value as usize) < self.expressions.len());
        if !self.expressions.iter().all(known) {
            return Some("an expression has a name that does not exist");
        }
        for operand in &self.operands {
            if !operand.values().iter().all(value) || !operand.place().is_none_or(|place| self.exists(place, buffers)) {
                return Some("an operand names something that does not exist");
            }
            if let PlannedOperand::Weight(place, formats, ..) = operand
                && formats.len() != place.buffers.len()
            {
                return Some("a weight has not one format for each of its buffers");
            }
            if let PlannedOperand::View(view) = operand
                && (view.dims.len() != view.strides.len() || view.dims.len() > crate::descriptor::MAX_RANK)
            {
                return Some("an operand has dims and strides that do not fit each other");
            }
        }
        let ascending = self.steps.windows(2).all(|pair| pair[0].pc < pair[1].pc);
        let exists = |step: &Step| {
            let (slot, index) = step.act.names();
            (self.code.0..self.code.1).contains(&step.pc)
                && (step.is as usize) < self.instructions.len()
                && slot.is_none_or(|slot| slot < self.slots)
                && index.is_none_or(|index| index < self.loops)
                && step.act.values().iter().all(value)
                && step.act.operands().iter().all(|&operand| (operand as usize) < self.operands.len())
        };
        (!ascending || !self.steps.iter().all(exists)).then_some("a step names something that does not exist")
    }

    fn exists(&self, place: &PlannedPlace, buffers: &[BufferInfo]) -> bool {
        let index = place.index.is_none_or(|index| (index as usize) < self.expressions.len());
        let one = place.index.is_some() || place.buffers.len() == 1;
        index && one && place.buffers.iter().all(|&buffer| (buffer as usize) < buffers.len())
    }
}

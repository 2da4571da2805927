//! The monitor: does the program access what it was made to access, and go the way that it was made to go?
//!
//! In: the plan of an entry ([`narae_isa::image::plan`]), every instruction as the control unit meets it, with its registers. Out: nothing, or
//! what differs. Always: the monitor computes lengths, offsets, indices of loops and decisions itself, from the plan alone, so that a wrong
//! address, a wrong register, a wrong row or a branch that is taken wrongly does not pass as right because it is wrong everywhere. Every
//! region lies inside of the buffer that debug info names. (What instructions are, and that their buffers are in use, was checked when the
//! image was opened.)

use narae_isa::descriptor::{Memory as Place, Parameters, WindowParameters};
use narae_isa::image::plan::{Act, Plan, PlannedOperand, PlannedPlace, PlannedView, Step, Value};
use narae_isa::image::{BufferInfo, Entry, Image};
use narae_isa::instructions::Inst;
use narae_isa::operand::{Condition, ScalarRegister};
use narae_isa::{Descriptor, Element, Row, View, WeightFormat, WeightView, codes};

use crate::execute::{Descriptors, Flow};
use crate::state::Fault;

/// No step.
const NONE: u32 = u32::MAX;

/// The plan of an entry, made ready once for all runs.
#[derive(Debug)]
pub struct Rules {
    plan: Plan,
    buffers: Vec<BufferInfo>,
    /// For each instruction of the entry the number of its step.
    steps: Vec<u32>,
    /// For each operand the names that its value depends on.
    names: Vec<Vec<u16>>,
    /// The address of each length.
    slots: Vec<u64>,
}

impl Rules {
    /// The rules of every entry of an image; none where it has no plan.
    pub fn of(image: &Image) -> Vec<Option<Rules>> {
        let debug = image.debug_info();
        let entries = image.metadata().entries.iter().enumerate();
        let rules = |(at, entry): (usize, &Entry)| {
            debug.plans.get(at).map(|plan| Rules::new(plan.clone(), debug.buffers.clone(), entry))
        };
        entries.map(rules).collect()
    }

    fn new(plan: Plan, buffers: Vec<BufferInfo>, entry: &Entry) -> Rules {
        let mut steps = vec![NONE; (plan.code.1 - plan.code.0) as usize];
        for (number, step) in (0u32..).zip(&plan.steps) {
            steps[(step.pc - plan.code.0) as usize] = number;
        }
        let names = plan.operands.iter().map(|operand| names_of(&plan, operand)).collect();
        let slots = entry.slots.iter().map(|slot| slot.address).collect();
        Rules { plan, buffers, steps, names, slots }
    }

    /// Instructions that a run needs at most, with every length at its greatest value and every condition true.
    pub fn instructions(&self, entry: &Entry) -> u64 {
        let mut values: Vec<i64> = entry.slots.iter().map(|slot| slot.max).collect();
        values.resize(usize::from(self.plan.slots) + usize::from(self.plan.loops), 0);
        let (mut total, mut at, mut times) = (0u64, self.plan.code.0, vec![1u64]);
        let mut trips = vec![1u64; usize::from(self.plan.loops)];
        for step in &self.plan.steps {
            match &step.act {
                Act::Enter(index, trip) => {
                    let evaluated = trip.and_then(|trip| self.plan.expressions[trip as usize].eval(&values).ok());
                    // A trip count that cannot be told is taken for one that never ends.
                    trips[usize::from(*index)] = evaluated.map_or(u64::MAX, |trip| u64::try_from(trip).unwrap_or(0));
                }
                Act::Again(_) => {}
                _ => continue,
            }
            let outer = times.last().copied().unwrap_or(1);
            total = total.saturating_add(outer.saturating_mul(u64::from(step.pc + 1 - at)));
            at = step.pc + 1;
            match &step.act {
                Act::Enter(index, _) => {
                    let trip = trips[usize::from(*index)];
                    // Bounds that depend on an index are greatest at one of its ends, as far as they are used.
                    values[usize::from(self.plan.slots) + usize::from(*index)] =
                        i64::try_from(trip).unwrap_or(i64::MAX).max(1) - 1;
                    times.push(outer.saturating_mul(trip.max(1)));
                }
                _ => drop(times.pop()),
            }
        }
        total.saturating_add(u64::from(self.plan.code.1 - at))
    }

    fn step(&self, pc: u32) -> Option<&Step> {
        let number = *self.steps.get(pc.checked_sub(self.plan.code.0)? as usize)?;
        self.plan.steps.get(number as usize)
    }
}

/// The lengths and loops that an operand depends on.
fn names_of(plan: &Plan, operand: &PlannedOperand) -> Vec<u16> {
    let values: Vec<Value> = match operand {
        PlannedOperand::View(PlannedView { offset, dims, strides, .. }) => {
            [&[*offset], &dims[..], &strides[..]].concat()
        }
        PlannedOperand::Window(values) => values.clone(),
        PlannedOperand::Weight(..) | PlannedOperand::Row(_) => Vec::new(),
    };
    let index = operand.place().and_then(|place| place.index);
    let used = values.into_iter().flatten().chain(index);
    let mut names: Vec<u16> = used.flat_map(|value| plan.expressions[value as usize].slots()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What an operand must be now.
#[derive(Clone, Debug, PartialEq)]
enum Expected {
    Descriptor(Descriptor),
    /// A part of it is too long for a plan: it must lie in these bytes.
    Inside(Place, u64, u64),
}

/// An expectation, and when it was computed.
#[derive(Clone, Debug)]
struct Known {
    at: u64,
    expected: Expected,
}

/// A run of an entry under its rules.
#[derive(Clone, Debug)]
pub struct Monitor<'a> {
    rules: &'a Rules,
    /// Lengths, then indices of loops.
    values: Vec<i64>,
    /// When each of them changed last.
    changed: Vec<u64>,
    trips: Vec<Option<i64>>,
    now: u64,
    known: Vec<Option<Known>>,
    /// What the control unit has read last.
    read: i64,
}

type Checked = Result<(), Fault>;

impl<'a> Monitor<'a> {
    /// At the start of a run; `length` gives the length in the slot of this number.
    pub fn new(rules: &'a Rules, entry: &Entry, length: impl Fn(u64) -> Option<i64>) -> Monitor<'a> {
        let plan = &rules.plan;
        let mut values: Vec<i64> = entry.slots.iter().map(|slot| length(slot.address).unwrap_or(0)).collect();
        values.resize(usize::from(plan.slots) + usize::from(plan.loops), 0);
        Monitor {
            rules,
            changed: vec![0; values.len()],
            values,
            trips: vec![None; usize::from(plan.loops)],
            now: 1,
            known: vec![None; plan.operands.len()],
            read: 0,
        }
    }

    /// The control unit meets an instruction: its operands and scalars are what they were made from.
    pub fn before(&mut self, pc: u32, inst: &Inst, scalars: &[i64; 32], descriptors: &Descriptors) -> Checked {
        let rules = self.rules;
        let Some(step) = rules.step(pc) else { return Ok(()) };
        self.operands(inst, step.act.operands(), descriptors)?;
        match (&step.act, inst) {
            (Act::Compute(_, values), _) => self.scalars(inst, values, scalars),
            (Act::Store(_, value), Inst::StoreScalar(row)) => self.value("rs", *value, scalars[row.rs.index()]),
            (Act::Set(slot, value), Inst::StoreScalar(row)) => {
                let given = scalars[row.rs.index()];
                self.value("rs", *value, given)?;
                self.slot(row.to.index(), *slot, row.ri, row.index, descriptors)?;
                self.set(usize::from(*slot), given);
                Ok(())
            }
            (Act::Keep(slot), Inst::StoreScalar(row)) => {
                let given = scalars[row.rs.index()];
                self.same("rs", self.read, given)?;
                self.slot(row.to.index(), *slot, row.ri, row.index, descriptors)?;
                self.set(usize::from(*slot), given);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// The control unit has executed an instruction and goes on as `flow` says.
    pub fn after(&mut self, pc: u32, inst: &Inst, flow: Flow, scalars: &[i64; 32]) -> Checked {
        let rules = self.rules;
        let Some(step) = rules.step(pc) else { return Ok(()) };
        let taken = match (&step.act, inst) {
            (Act::Load(_), Inst::LoadScalar(row)) => {
                self.read = scalars[row.rd.index()];
                return Ok(());
            }
            (Act::Enter(index, trip), Inst::LoadImmediate(row)) => {
                self.trips[usize::from(*index)] = trip.and_then(|trip| self.evaluate(trip));
                self.set(self.index(*index), 0);
                return self.counts(*index, scalars[row.rd.index()]);
            }
            (Act::Next(index), Inst::AluImmediate(row)) => {
                let at = self.index(*index);
                self.set(at, self.values[at] + 1);
                return self.counts(*index, scalars[row.rd.index()]);
            }
            (Act::Skip(index), _) => self.trips[usize::from(*index)].map(|trip| 0 >= trip),
            (Act::Again(index), _) => {
                self.trips[usize::from(*index)].map(|trip| self.values[self.index(*index)] < trip)
            }
            (Act::Unless, _) => Some(self.read == 0),
            (Act::Beyond(slot), Inst::BranchImmediate(row)) => {
                let (length, limit) = (self.values[usize::from(*slot)], i64::from(row.value));
                Some(if row.condition == Condition::Lt { length < limit } else { length > limit })
            }
            _ => None,
        };
        match taken {
            Some(taken) if taken != matches!(flow, Flow::Jump(_)) => {
                let (does, should) = if taken { ("goes on", "branch") } else { ("branches", "go on") };
                Err(differs(format!("the program {does} here, where by its lengths and loops it must {should}")))
            }
            _ => Ok(()),
        }
    }

    /// The place of a loop's index among the values.
    fn index(&self, number: u16) -> usize {
        usize::from(self.rules.plan.slots) + usize::from(number)
    }

    fn set(&mut self, at: usize, value: i64) {
        self.now += 1;
        self.values[at] = value;
        self.changed[at] = self.now;
    }

    /// The register of a loop's index.
    fn counts(&self, number: u16, register: i64) -> Checked {
        self.same("the index of the loop", self.values[self.index(number)], register)
    }

    fn evaluate(&self, value: u32) -> Option<i64> {
        self.rules.plan.expressions[value as usize].eval(&self.values).ok()
    }

    fn same(&self, what: &str, expected: i64, found: i64) -> Checked {
        match expected == found {
            true => Ok(()),
            false => Err(differs(format!(
                "{what} is {found}, where by the lengths and loops of the program it is {expected}"
            ))),
        }
    }

    fn value(&self, what: &str, value: Value, found: i64) -> Checked {
        let Some(value) = value else { return Ok(()) };
        let expression = &self.rules.plan.expressions[value as usize];
        match self.evaluate(value) {
            Some(expected) => self.same(what, expected, found),
            None => Err(differs(format!("{what} is {found}, but `{expression}` has no value"))),
        }
    }

    fn scalars(&self, inst: &Inst, values: &[Value], scalars: &[i64; 32]) -> Checked {
        let (mut result, mut values) = (Ok(()), values.iter());
        inst.visit_registers(&mut |register: ScalarRegister, _| {
            let value = values.next().copied().flatten();
            if result.is_ok() {
                result = self.value("a scalar operand", value, scalars[register.index()]);
            }
        });
        result
    }

    /// A store to a slot goes to the slot of this number.
    fn slot(
        &self,
        register: usize,
        slot: u16,
        ri: Option<ScalarRegister>,
        index: u32,
        descriptors: &Descriptors,
    ) -> Checked {
        let stored = match &descriptors[register] {
            Some(Descriptor::Tensor(view)) if view.is_dense() && view.element == Element::I64 && ri.is_none() => {
                Some((view.memory, view.base.wrapping_add(8 * u64::from(index))))
            }
            _ => None,
        };
        match stored == self.rules.slots.get(usize::from(slot)).map(|&address| (Place::Dram, address)) {
            true => Ok(()),
            false => Err(differs("the program stores a length elsewhere than in its slot".to_string())),
        }
    }

    fn operands(&mut self, inst: &Inst, operands: &[u32], descriptors: &Descriptors) -> Checked {
        let (mut result, mut numbers) = (Ok(()), operands.iter());
        inst.visit_operands(&mut |operand| {
            if let (Ok(()), Some(&number)) = (&result, numbers.next()) {
                result = self.operand(operand.name, number as usize, descriptors[operand.register.index()].as_ref());
            }
        });
        result
    }

    /// An operand is what its operation made it from.
    #[inline]
    fn operand(&mut self, name: &str, number: usize, found: Option<&Descriptor>) -> Checked {
        let fresh =
            |known: &Known| self.rules.names[number].iter().all(|&at| self.changed[usize::from(at)] <= known.at);
        if !self.known[number].as_ref().is_some_and(fresh) {
            let expected = self.expect(&self.rules.plan.operands[number])?;
            self.known[number] = Some(Known { at: self.now, expected });
        }
        let expected = self.known[number].as_ref().map(|known| &known.expected);
        let (Some(expected), Some(found)) = (expected, found) else {
            return Err(differs(format!("`{name}` was never loaded")));
        };
        match fits(expected, found) {
            true => Ok(()),
            false => Err(self.explain(name, number, expected, found)),
        }
    }

    #[cold]
    fn explain(&self, name: &str, number: usize, expected: &Expected, found: &Descriptor) -> Fault {
        let buffer = self.rules.plan.operands[number].place().and_then(|place| self.buffer(place).ok());
        let of = buffer.map_or(String::new(), |buffer| format!(" of the buffer `{}`", buffer.name));
        let expected = match expected {
            Expected::Descriptor(descriptor) => text(descriptor),
            Expected::Inside(memory, start, end) => format!("inside of {memory} {start:#x}..{end:#x}"),
        };
        differs(format!("`{name}` is {}, where its operation has {expected}{of}", text(found)))
    }

    fn buffer(&self, place: &PlannedPlace) -> Result<&'a BufferInfo, Fault> {
        let buffer = place.buffers[self.member(place)?];
        Ok(&self.rules.buffers[buffer as usize])
    }

    /// Which of the buffers of a place it is now.
    fn member(&self, place: &PlannedPlace) -> Result<usize, Fault> {
        let at = match place.index {
            None => Some(0),
            Some(index) => self.evaluate(index).and_then(|at| usize::try_from(at).ok()),
        };
        let member = at.filter(|&at| at < place.buffers.len());
        member.ok_or_else(|| differs("the index of the loop is beyond the buffers of its operation".to_string()))
    }

    /// What an operand must be under the lengths and indices of now.
    fn expect(&self, operand: &PlannedOperand) -> Result<Expected, Fault> {
        let descriptor = match operand {
            PlannedOperand::View(view) => return self.expect_view(view),
            PlannedOperand::Weight(place, formats, outputs, inputs) => {
                let format = &formats[self.member(place)?];
                let unknown = || differs(format!("the weight format `{format}` does not exist"));
                let format = WeightFormat::from_name(format).ok_or_else(unknown)?;
                let base = self.buffer(place)?.address;
                Descriptor::Weight(WeightView { format, outputs: *outputs, inputs: *inputs, base })
            }
            PlannedOperand::Window(values) => {
                let mut numbers = [0i32; 18];
                for (number, value) in numbers.iter_mut().zip(values) {
                    let found =
                        value.and_then(|value| self.evaluate(value)).and_then(|value| i32::try_from(value).ok());
                    *number = found.ok_or_else(|| differs("a number of the window has no value".to_string()))?;
                }
                Descriptor::Parameters(Parameters::Window(window(&numbers)))
            }
            PlannedOperand::Row(text) => {
                let row = Row::parse(text).ok().and_then(|row| row.resolve(&[0; 32]).ok());
                row.ok_or_else(|| differs(format!("the row `{text}` of the plan is not one")))?
            }
        };
        Ok(Expected::Descriptor(descriptor))
    }

    fn expect_view(&self, planned: &PlannedView) -> Result<Expected, Fault> {
        let buffer = self.buffer(&planned.place)?;
        let end = buffer.address.saturating_add(buffer.bytes);
        let number = |value: &Value| value.map(|value| self.evaluate(value));
        let whole: Option<Vec<Option<i64>>> =
            [&[planned.offset], &planned.dims[..], &planned.strides[..]].concat().iter().map(number).collect();
        let Some(numbers) = whole else { return Ok(Expected::Inside(buffer.memory, buffer.address, end)) };
        let rank = planned.dims.len();
        let view = numbers.into_iter().collect::<Option<Vec<i64>>>().and_then(|numbers| {
            let bytes = i64::try_from(planned.element.bytes()).ok()?;
            let base = buffer.address.checked_add_signed(numbers[0].checked_mul(bytes)?)?;
            let dims: Vec<u32> = numbers[1..=rank].iter().map(|&dim| u32::try_from(dim).ok()).collect::<Option<_>>()?;
            let mut view = View::strided(buffer.memory, planned.element, &dims, &numbers[1 + rank..], base);
            view.paging = planned.paging;
            Some(view)
        });
        let unknown = || differs(format!("a region of `{}` has no extent under these lengths", buffer.name));
        let view = view.ok_or_else(unknown)?;
        let range = view.checked_range().ok_or_else(unknown)?;
        if planned.paging.is_none() && !range.is_empty() && (range.start < buffer.address || range.end > end) {
            return Err(differs(format!(
                "a region {:#x}..{:#x} leaves its buffer `{}`, which is {:#x}..{end:#x}",
                range.start, range.end, buffer.name, buffer.address
            )));
        }
        Ok(Expected::Descriptor(Descriptor::Tensor(view)))
    }
}

/// The numbers of a window in the order of its row.
fn window(numbers: &[i32; 18]) -> WindowParameters<i32> {
    let group = |at: usize| [numbers[3 * at], numbers[3 * at + 1], numbers[3 * at + 2]];
    WindowParameters {
        kernel: group(0),
        stride: group(1),
        dilation: group(2),
        pad_before: group(3),
        pad_after: group(4),
        input_dilation: group(5),
    }
}

/// Whether a descriptor is the one that is expected.
#[inline]
fn fits(expected: &Expected, found: &Descriptor) -> bool {
    match (expected, found) {
        (Expected::Descriptor(Descriptor::Tensor(expected)), Descriptor::Tensor(found)) => same_region(expected, found),
        (Expected::Descriptor(expected), found) => expected == found,
        (Expected::Inside(memory, start, end), Descriptor::Tensor(found)) => {
            let range = found.byte_range();
            found.memory == *memory && (range.is_empty() || (range.start >= *start && range.end <= *end))
        }
        (Expected::Inside(..), _) => false,
    }
}

/// Whether two views are the same elements in the same order. A stride along an axis of one element says nothing.
#[inline]
fn same_region(a: &View, b: &View) -> bool {
    let head = (a.memory, a.element, a.base, a.paging, a.scaled_rows)
        == (b.memory, b.element, b.base, b.paging, b.scaled_rows);
    let strides = || {
        let axes = a.dims().iter().zip(a.strides().iter().zip(b.strides()));
        a.is_empty() || axes.into_iter().all(|(&dim, (a, b))| dim == 1 || a == b)
    };
    head && a.dims() == b.dims() && strides()
}

/// A descriptor in a few words.
fn text(descriptor: &Descriptor) -> String {
    match descriptor {
        Descriptor::Tensor(view) => {
            let strides = if view.is_dense() { String::new() } else { format!(" strides {:?}", view.strides()) };
            format!("{}{:?}{strides} at {} {:#x}", view.element, view.dims(), view.memory, view.base)
        }
        Descriptor::Weight(weight) => {
            format!("a weight {} [{}, {}] at dram {:#x}", weight.format, weight.outputs, weight.inputs, weight.base)
        }
        Descriptor::Parameters(parameters) => format!("{parameters:?}"),
    }
}

#[cold]
fn differs(message: String) -> Fault {
    Fault { code: &codes::E0612, message }
}

#[cfg(test)]
mod tests;

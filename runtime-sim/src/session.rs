//! The door: a machine with an image in it. Binds lengths, runs entries, keeps state between calls.
//!
//! In: an image, and named host tensors for each call. Out: named host tensors, and counts. Always: nothing is written to the machine before
//! all inputs have been checked (names, element types, shapes, maxima), and all problems of a call are reported together; state is zero at
//! the start and changes only by running entries or by [`Machine::write_state`].

use crate::machine::{Core, INSTRUCTIONS, Limits, Loads, NoRecorder, Program, Recorder, Statistics};
use crate::monitor::{Monitor, Rules};
use crate::places::Places;
use crate::report::Observation;
use crate::state::{Memory, Region, Space};
use narae_isa::chip::Chip;
use narae_isa::image::{Entry, Image, RegionKind, Slot, StateBuffer, TensorInfo};
use narae_isa::nearest::nearest;
use narae_isa::{Diagnostic, Diagnostics, DimExpr, HostTensor, codes};
use std::collections::BTreeMap;
use std::sync::Arc;

mod lengths;
mod room;
mod timed;

pub use lengths::Lengths;
pub use timed::{DramModel, Timed, TimingOptions, memory_sheet};

/// Named tensors.
pub type Tensors = BTreeMap<String, HostTensor>;

/// What a call gave.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The outputs of the entry by name.
    pub outputs: Tensors,
    /// The lengths by slot, those that the program computed included.
    pub slots: Vec<i64>,
    /// Counts of the run.
    pub statistics: Statistics,
}

/// A machine with an image: see the module documentation.
#[derive(Debug)]
pub struct Machine {
    image: Arc<Image>,
    program: Program,
    memory: Memory,
    limits: Limits,
    /// What each entry was made from, where the image says so.
    rules: Vec<Option<Rules>>,
    /// What the image declares of memory: what is left for programs without a plan.
    places: Places,
}

/// A run may take so many times the instructions that its image says it needs at most.
const PATIENCE: u64 = 4;

impl Machine {
    /// A machine of the chip that the image was compiled for, with the image in its memory and all state zero.
    pub fn new(image: Arc<Image>, limits: Limits) -> Result<Machine, Diagnostics> {
        let mut memory = Memory::new(image.chip().sram_bytes());
        let inconsistent = |message: String| Diagnostic::new(&codes::E0505, message).at_file(image.name());
        for region in &image.metadata().regions {
            let mapped = match (region.memory, region.kind) {
                // Weights are mapped below; code and descriptors are read by the control unit only; SRAM is one region.
                (narae_isa::Memory::Sram, _)
                | (_, RegionKind::Weights | RegionKind::Code | RegionKind::Descriptors) => Ok(()),
                (narae_isa::Memory::Dram, RegionKind::Io | RegionKind::State | RegionKind::Scratch) => {
                    memory.map(Region::zeros(region.name.clone(), region.address, region.bytes))
                }
            };
            mapped.map_err(|fault| inconsistent(fault.message))?;
        }
        if !image.weights_range().is_empty() {
            memory.map(Region::weights(image.clone())).map_err(|fault| inconsistent(fault.message))?;
        }
        let program = Program { words: image.words().to_vec(), rows: image.rows().to_vec() };
        let (rules, places) = (Rules::of(&image), Places::of(&image));
        Ok(Machine { image, program, memory, limits, rules, places })
    }

    /// The image.
    pub fn image(&self) -> &Image {
        &self.image
    }

    /// The chip.
    pub fn chip(&self) -> &Chip {
        self.image.chip()
    }

    /// What runs may do from here on.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// The code and the descriptor rows.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Runs an entry.
    pub fn run(&mut self, entry: &str, inputs: &Tensors) -> Result<Outcome, Diagnostics> {
        self.run_recorded(entry, inputs, &mut NoRecorder)
    }

    /// Runs an entry and shows every instruction to a recorder.
    pub fn run_recorded<R: Recorder>(
        &mut self,
        name: &str,
        inputs: &Tensors,
        recorder: &mut R,
    ) -> Result<Outcome, Diagnostics> {
        self.run_with_loads(name, inputs, recorder, Loads::FromMemory)
    }

    fn run_with_loads<R: Recorder>(
        &mut self,
        name: &str,
        inputs: &Tensors,
        recorder: &mut R,
        loads: Loads<'_>,
    ) -> Result<Outcome, Diagnostics> {
        let image = self.image.clone();
        let entry = image.entry(name)?;
        let mut slots = bind(entry, inputs)?;
        check_equations(entry, &slots, false)?;
        room::check(entry, &slots, &room::past(inputs))?;
        self.write_inputs(entry, inputs, &slots)?;
        let statistics = match self.run_core(name, entry.pc, recorder, loads) {
            Ok(statistics) => statistics,
            Err(problems) => return Err(self.blamed(entry, slots, problems)),
        };
        self.read_slots(entry, &mut slots)?;
        check_equations(entry, &slots, true)?;
        let outputs = self.read_outputs(entry, &slots)?;
        Ok(Outcome { outputs, slots, statistics })
    }

    /// Why a run stopped. Where an instruction refused its operands, and lengths that the program computed are not equal that the model needs to be,
    /// that is the reason: the program is right for all others.
    fn blamed(&self, entry: &Entry, mut slots: Vec<i64>, problems: Diagnostics) -> Diagnostics {
        let operands = problems.0.iter().any(|problem| ["E0605", "E0608"].contains(&problem.code.id));
        if !operands || self.read_slots(entry, &mut slots).is_err() {
            return problems;
        }
        match check_equations(entry, &slots, true) {
            Ok(()) => problems,
            Err(unequal) => unequal,
        }
    }

    /// Runs the program of an entry; its inputs are in memory.
    fn run_core<R: Recorder>(
        &mut self,
        entry: &str,
        pc: u32,
        recorder: &mut R,
        loads: Loads<'_>,
    ) -> Result<Statistics, Diagnostics> {
        let image = self.image.clone();
        let entries = &image.metadata().entries;
        let at = entries.iter().position(|other| other.name == entry);
        let rules = at.and_then(|at| Some((&entries[at], self.rules.get(at)?.as_ref()?)));
        let mut limits = self.limits;
        limits.instructions = limits.instructions.or_else(|| {
            rules.map(|(entry, rules)| rules.instructions(entry).saturating_mul(PATIENCE).saturating_add(INSTRUCTIONS))
        });
        // Without values there are no lengths that the program computes, only assumptions.
        let watched = rules.filter(|_| limits.check && limits.compute);
        let monitor = watched.map(|(entry, rules)| {
            Monitor::new(rules, entry, |address| {
                let bytes = self.memory.bytes(Space::Dram, address, 8).ok()?;
                bytes.first_chunk().map(|bytes| i64::from_le_bytes(*bytes))
            })
        });
        let places = rules.is_none().then_some(&self.places);
        let core = Core::new(&self.program, &mut self.memory, limits, recorder).with_loads(loads);
        core.with_monitor(monitor).with_places(places).run(pc).map_err(|failure| self.describe(entry, &failure).into())
    }

    /// A timed run of this machine, as reports and traces look at it. `tokens` is the number of tokens that it produced, if it has any.
    pub fn observation<'a>(&'a self, timed: &'a Timed, tokens: Option<u64>) -> Result<Observation<'a>, Diagnostics> {
        let entry = self.image.entry(&timed.entry)?;
        let Timed { lengths, timing, moves, .. } = timed;
        Ok(Observation { image: &self.image, entry, lengths, timing, moves, tokens })
    }

    fn address_of(&self, kind: RegionKind) -> u64 {
        self.image.metadata().region(kind).map_or(0, |region| region.address)
    }

    fn origin_of(&self, pc: u32) -> Option<String> {
        let origin = self.image.debug_info().origin(pc)?;
        let names: Vec<String> = origin.nodes.iter().map(|(name, operator)| format!("{name} ({operator})")).collect();
        (!names.is_empty()).then(|| names.join(", "))
    }

    /// A failure with the place in the model that the instruction came from.
    fn describe(&self, entry: &str, failure: &crate::machine::Failure) -> Diagnostic {
        let found = failure.diagnose(entry, &self.program);
        let pc = match &found.place {
            Some(narae_isa::Place::Instruction { pc, .. }) => *pc,
            _ => return found,
        };
        match self.origin_of(pc) {
            Some(origin) => found.note(format!("it implements {origin}")),
            None => found,
        }
    }

    /// Writes lengths and inputs to their places.
    fn write_inputs(&mut self, entry: &Entry, inputs: &Tensors, slots: &[i64]) -> Result<(), Diagnostics> {
        for (slot, value) in entry.slots.iter().zip(slots) {
            if !slot.computed {
                self.write(Space::Dram, slot.address, &value.to_le_bytes())?;
            }
        }
        for info in &entry.inputs {
            if let Some(tensor) = inputs.get(&info.name) {
                if tensor.bytes.len() as u64 > info.capacity_bytes {
                    let message = format!(
                        "input `{}` has {} bytes, there is room for {}",
                        info.name,
                        tensor.bytes.len(),
                        info.capacity_bytes
                    );
                    return Err(Diagnostic::new(&codes::E0604, message).into());
                }
                self.write(space(info.memory), info.address, &tensor.bytes)?;
            }
        }
        Ok(())
    }

    fn write(&mut self, space: Space, address: u64, bytes: &[u8]) -> Result<(), Diagnostics> {
        match self.memory.bytes_mut(space, address, bytes.len() as u64) {
            Ok(place) => {
                place.copy_from_slice(bytes);
                Ok(())
            }
            Err(fault) => Err(Diagnostic::new(&codes::E0505, fault.message).at_file(self.image.name()).into()),
        }
    }

    fn read(&self, space: Space, address: u64, bytes: u64) -> Result<&[u8], Diagnostics> {
        let found = self.memory.bytes(space, address, bytes);
        found.map_err(|fault| Diagnostic::new(&codes::E0505, fault.message).at_file(self.image.name()).into())
    }

    /// Reads the lengths that the program computed.
    fn read_slots(&self, entry: &Entry, slots: &mut [i64]) -> Result<(), Diagnostics> {
        for (slot, value) in entry.slots.iter().zip(slots.iter_mut()) {
            if slot.computed {
                let bytes = self.read(Space::Dram, slot.address, 8)?;
                *value = bytes.first_chunk().map_or(0, |bytes| i64::from_le_bytes(*bytes));
                if !(0..=slot.max).contains(value) {
                    let message = format!(
                        "the program computed the length `{}` as {value}, its maximum is {}",
                        slot.name, slot.max
                    );
                    return Err(Diagnostic::new(&codes::E0604, message).into());
                }
            }
        }
        Ok(())
    }

    fn read_outputs(&self, entry: &Entry, slots: &[i64]) -> Result<Tensors, Diagnostics> {
        let mut outputs = Tensors::new();
        for info in &entry.outputs {
            let bad = |message: String| Diagnostic::new(&codes::E0505, message).at_file(self.image.name());
            let dims = info.dims_at(slots).map_err(bad)?;
            let count = dims.iter().try_fold(info.element.bytes() as u64, |n, d| n.checked_mul(*d as u64));
            let bytes = count.filter(|bytes| *bytes <= info.capacity_bytes).ok_or_else(|| {
                Diagnostic::new(
                    &codes::E0604,
                    format!("output `{}` with the dims {dims:?} exceeds its {} bytes", info.name, info.capacity_bytes),
                )
            })?;
            let bytes =
                if bytes == 0 { Vec::new() } else { self.read(space(info.memory), info.address, bytes)?.to_vec() };
            let tensor = HostTensor::new(info.element, dims, bytes)
                .ok_or_else(|| bad(format!("output `{}` is inconsistent", info.name)))?;
            outputs.insert(info.name.clone(), tensor);
        }
        Ok(outputs)
    }

    /// Sets all state to zero.
    pub fn reset_state(&mut self) -> Result<(), Diagnostics> {
        let image = self.image.clone();
        for buffer in &image.metadata().state {
            let place = self.memory.bytes_mut(Space::Dram, buffer.address, buffer.bytes);
            let place = place.map_err(|fault| Diagnostic::new(&codes::E0505, fault.message).at_file(image.name()))?;
            place.fill(0);
        }
        Ok(())
    }

    fn state_buffer(&self, name: &str) -> Result<StateBuffer, Diagnostic> {
        let buffers = &self.image.metadata().state;
        buffers.iter().find(|buffer| buffer.name == name).cloned().ok_or_else(|| {
            let names: Vec<&str> = buffers.iter().map(|buffer| buffer.name.as_str()).collect();
            Diagnostic::new(&codes::E0601, format!("the image has no state `{name}`"))
                .help(format!("its state is: {}", names.join(", ")))
        })
    }

    /// A copy of a state buffer, as bytes.
    pub fn read_state(&self, name: &str) -> Result<Vec<u8>, Diagnostics> {
        let buffer = self.state_buffer(name)?;
        self.read(Space::Dram, buffer.address, buffer.bytes).map(<[u8]>::to_vec)
    }

    /// Replaces a state buffer.
    pub fn write_state(&mut self, name: &str, bytes: &[u8]) -> Result<(), Diagnostics> {
        let buffer = self.state_buffer(name)?;
        if bytes.len() as u64 != buffer.bytes {
            let message = format!("state `{name}` has {} bytes, {} are given", buffer.bytes, bytes.len());
            return Err(Diagnostic::new(&codes::E0603, message).into());
        }
        self.write(Space::Dram, buffer.address, bytes)
    }
}

fn space(memory: narae_isa::Memory) -> Space {
    match memory {
        narae_isa::Memory::Dram => Space::Dram,
        narae_isa::Memory::Sram => Space::Sram,
    }
}

/// Finds the lengths from the dims of the inputs and checks everything else against them.
fn bind(entry: &Entry, inputs: &Tensors) -> Result<Vec<i64>, Diagnostics> {
    let mut problems = Vec::new();
    let names = || entry.inputs.iter().map(|info| info.name.as_str()).collect::<Vec<_>>().join(", ");
    for name in inputs.keys().filter(|name| entry.inputs.iter().all(|info| info.name != **name)) {
        problems.push(
            Diagnostic::new(&codes::E0601, format!("entry `{}` has no input `{name}`", entry.name))
                .tensor(name)
                .help(format!("{}its inputs are: {}", meant(name, entry, inputs), names())),
        );
    }
    let mut slots: Vec<Option<(i64, String)>> = vec![None; entry.slots.len()];
    for info in &entry.inputs {
        let Some(tensor) = inputs.get(&info.name) else {
            let what = format!("the input `{}` of entry `{}` is missing", info.name, entry.name);
            problems.push(Diagnostic::new(&codes::E0601, what).tensor(&info.name));
            continue;
        };
        if tensor.element != info.element {
            let what = format!("input `{}` is {}, expected {}", info.name, tensor.element, info.element);
            problems.push(Diagnostic::new(&codes::E0602, what).tensor(&info.name));
        }
        if tensor.dims.len() != info.dims.len() {
            let message =
                format!("input `{}` has the dims {:?}, expected {} dims", info.name, tensor.dims, info.dims.len());
            problems.push(Diagnostic::new(&codes::E0603, message).tensor(&info.name));
            continue;
        }
        for (axis, (dim, given)) in info.dims.iter().zip(&tensor.dims).enumerate() {
            if let DimExpr::Slot(slot) = dim
                && let Some(bound) = slots.get_mut(usize::from(*slot))
                && bound.is_none()
            {
                *bound = Some((*given as i64, format!("dim {axis} of `{}`", info.name)));
            }
        }
    }
    if !problems.is_empty() {
        return Err(Diagnostics(problems));
    }
    let dims = |name: &str| inputs.get(name).map(|tensor| tensor.dims.as_slice());
    values_of(entry, &slots, dims, problems)
}

/// The value of every length: that which was bound, whose place is named if it is out of range. Inputs whose dims are known must agree.
fn values_of<'a>(
    entry: &Entry,
    slots: &[Option<(i64, String)>],
    dims: impl Fn(&str) -> Option<&'a [usize]>,
    mut problems: Vec<Diagnostic>,
) -> Result<Vec<i64>, Diagnostics> {
    let mut values = Vec::with_capacity(slots.len());
    for (slot, bound) in entry.slots.iter().zip(slots) {
        if let Some((value, place)) = bound {
            problems.extend(out_of_range(slot, *value, place));
        }
        // A length that no input has is a constant of the compilation, such as the capacity of a cache.
        let unbound = if slot.computed { 0 } else { slot.max };
        values.push(bound.as_ref().map_or(unbound, |bound| bound.0));
    }
    for info in &entry.inputs {
        if let Some(dims) = dims(&info.name) {
            problems.extend(check_dims_of(info, dims, &values, entry));
        }
    }
    Diagnostics::check(problems, values)
}

/// The input that a name was meant for, as the start of an advice: one that is not given.
fn meant(name: &str, entry: &Entry, inputs: &Tensors) -> String {
    let missing = entry.inputs.iter().map(|info| info.name.as_str()).filter(|name| !inputs.contains_key(*name));
    nearest(name, missing).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default()
}

/// The problem of a length that the program was not compiled for.
fn out_of_range(slot: &Slot, value: i64, place: &str) -> Option<Diagnostic> {
    let Slot { name, min, max, .. } = slot;
    if value > *max {
        let message = format!("{place} is {value}, but the program was compiled for `{name}` up to {max}");
        let help = format!("compile again with a greater maximum of `{name}`");
        return Some(Diagnostic::new(&codes::E0604, message).dim(name).help(help));
    }
    let message = format!("{place} is {value}, but the model needs `{name}` to be at least {min}");
    (value < *min).then(|| Diagnostic::new(&codes::E0603, message).dim(name))
}

/// The problem of dims that the other inputs contradict.
fn check_dims_of(info: &TensorInfo, dims: &[usize], slots: &[i64], entry: &Entry) -> Option<Diagnostic> {
    match info.dims_at(slots) {
        Err(reason) => Some(Diagnostic::new(&codes::E0603, reason)),
        Ok(want) if want != dims => {
            let lengths: Vec<String> =
                entry.slots.iter().zip(slots).map(|(slot, value)| format!("{} = {value}", slot.name)).collect();
            let message = format!("input `{}` has the dims {dims:?}, expected {want:?}", info.name);
            let axis = want.iter().zip(dims).position(|(want, found)| want != found);
            let found = Diagnostic::new(&codes::E0603, message).tensor(&info.name);
            let found = axis.into_iter().fold(found, Diagnostic::axis);
            Some(match lengths.as_slice() {
                [] => found,
                lengths => found.note(format!("the inputs before it say: {}", lengths.join(", "))),
            })
        }
        Ok(_) => None,
    }
}

/// Checks the lengths that the program takes to be equal: those that depend on what it computed, or all others.
fn check_equations(entry: &Entry, slots: &[i64], computed: bool) -> Result<(), Diagnostics> {
    let depends = |side: &DimExpr| side.slots().iter().any(|&slot| entry.slots[usize::from(slot)].computed);
    let differ = |(left, right): &&(DimExpr, DimExpr)| {
        (depends(left) || depends(right)) == computed && left.eval(slots).ok() != right.eval(slots).ok()
    };
    let named = |side: &DimExpr| side.named(&|slot| entry.slots[usize::from(slot)].name.clone());
    let problem = |(left, right): &(DimExpr, DimExpr)| {
        let value = |side: &DimExpr| side.eval(slots).map_or_else(|error| error.to_string(), |value| value.to_string());
        let message = format!("the model needs `{}` and `{}` to be equal", named(left), named(right));
        Diagnostic::new(&codes::E0603, message).note(format!("they are {} and {}", value(left), value(right)))
    };
    Diagnostics::check(entry.equations.iter().filter(differ).map(problem).collect(), ())
}

#[cfg(test)]
mod tests;

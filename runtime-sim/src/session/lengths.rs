//! Calls that are only timed: lengths without tensors.
//!
//! In: what is known of a call ([`Lengths`]): dims of inputs, lengths by name, tokens before the call, the record of a functional run. Out: a
//! [`Timed`] whose timing says what was assumed. Always: no tensor is read or written but integers of rank 0 or 1, which are lengths
//! themselves; weights are never looked at; all problems of a call are reported together.

use super::{Machine, Tensors, Timed, TimingOptions, check_equations, values_of};
use crate::machine::{Assumed, Assumptions, Loads, Recording};
use crate::state::Space;
use narae_isa::image::{Entry, TensorInfo};
use narae_isa::{Diagnostic, Diagnostics, DimExpr, HostTensor, codes};
use std::collections::BTreeMap;

/// What is known of a call that is only timed.
#[derive(Clone, Debug, Default)]
pub struct Lengths {
    /// Dims of inputs, by name; those that are not given follow from `named`.
    pub shapes: BTreeMap<String, Vec<usize>>,
    /// Lengths by their name in the model.
    pub named: BTreeMap<String, i64>,
    /// Tokens before the call, of every sequence.
    pub past: Option<i64>,
    /// Values of integer inputs of rank 0 or 1, such as the shape of a reshape.
    pub values: Tensors,
    /// Lengths that the program computes from data, by name.
    pub assumed: BTreeMap<String, i64>,
    /// The scalars of a functional run with the same lengths.
    pub recorded: Option<Recording>,
}

impl Lengths {
    /// The lengths of a call with these inputs.
    pub fn of(inputs: &Tensors) -> Lengths {
        let shapes = inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect();
        let lengths = |(_, tensor): &(&String, &HostTensor)| !tensor.element.is_float() && tensor.rank() <= 1;
        let values = inputs.iter().filter(lengths).map(|(name, tensor)| (name.clone(), tensor.clone())).collect();
        Lengths { shapes, values, ..Lengths::default() }
    }
}

impl Machine {
    /// Times an entry without computing anything: only the control unit runs. What the program would compute and then read as a length or
    /// a condition comes from the record of a functional run, or is assumed; [`crate::timing::Timing::assumptions`] says what.
    pub fn time(&mut self, name: &str, lengths: &Lengths, options: &TimingOptions) -> Result<Timed, Diagnostics> {
        let image = self.image.clone();
        let entry = image.entry(name)?;
        let slots = bind(entry, lengths)?;
        check_equations(entry, &slots, false)?;
        let past = lengths.past.map_or_else(|| super::room::past(&lengths.values), |past| vec![past]);
        super::room::check(entry, &slots, &past)?;
        let mut assumptions = self.write_lengths(entry, lengths, &slots)?;
        if let Some(recorded) = &lengths.recorded {
            if recorded.entry != name {
                let message = format!("the recorded run is one of entry `{}`, not `{name}`", recorded.entry);
                return Err(Diagnostic::new(&codes::E0601, message).into());
            }
            assumptions.recorded = Some(recorded.loads.iter().copied().collect());
        }
        let limits = self.limits;
        self.limits.compute = false;
        let result = self.timed(name, options, |machine, recorder| {
            let statistics = machine.run_core(name, entry.pc, recorder, Loads::Assume(&mut assumptions))?;
            Ok((statistics, slots))
        });
        self.limits = limits;
        let (_, mut timed) = result?;
        timed.timing.assumptions = assumptions.notes.into_iter().collect();
        Ok(timed)
    }

    /// Runs an entry and writes down every scalar that the control unit loads, for [`Lengths::recorded`].
    pub fn run_recording(&mut self, name: &str, inputs: &Tensors) -> Result<(super::Outcome, Recording), Diagnostics> {
        let mut recording = Recording { entry: name.to_string(), loads: Vec::new() };
        let mut recorder = crate::machine::NoRecorder;
        let outcome = self.run_with_loads(name, inputs, &mut recorder, Loads::Record(&mut recording.loads))?;
        Ok((outcome, recording))
    }

    /// Writes lengths to their places; says what is known and what has to be assumed.
    fn write_lengths(&mut self, entry: &Entry, lengths: &Lengths, slots: &[i64]) -> Result<Assumptions, Diagnostics> {
        let mut assumptions = Assumptions::default();
        for (slot, value) in entry.slots.iter().zip(slots) {
            if slot.computed {
                let (value, reason) = match lengths.assumed.get(&slot.name) {
                    Some(value) => (*value, "as asked for"),
                    None => (slot.max, "its maximum"),
                };
                assumptions.computed.insert(slot.address, Assumed { name: slot.name.clone(), value, reason });
            } else {
                self.write(Space::Dram, slot.address, &value.to_le_bytes())?;
                assumptions.given.push((slot.address, slot.address + 8));
            }
        }
        for info in entry.inputs.iter().filter(|info| !info.element.is_float() && info.dims.len() <= 1) {
            let tensor = input_of(info, lengths, slots, &mut assumptions);
            if tensor.bytes.len() as u64 <= info.capacity_bytes && info.memory == narae_isa::Memory::Dram {
                self.write(Space::Dram, info.address, &tensor.bytes)?;
                assumptions.given.push((info.address, info.address + tensor.bytes.len() as u64));
            }
        }
        Ok(assumptions)
    }
}

/// The values of an integer input: as given, the past where it is one, else zeros.
fn input_of(info: &TensorInfo, lengths: &Lengths, slots: &[i64], assumptions: &mut Assumptions) -> HostTensor {
    let dims = info.dims_at(slots).unwrap_or_default();
    if let Some(tensor) = lengths.values.get(&info.name).filter(|t| t.element == info.element && t.dims == dims) {
        return tensor.clone();
    }
    let is_past = info.name.to_ascii_lowercase().contains("past");
    let value = if is_past { lengths.past.unwrap_or(0) } else { 0 };
    if !(is_past && lengths.past.is_some()) {
        assumptions.notes.insert(format!("the input `{}` is taken as {value}", info.name));
    }
    let count = dims.iter().product();
    HostTensor::from_i64_as(info.element, &dims, &vec![value; count])
}

/// Finds the lengths of all slots.
fn bind(entry: &Entry, lengths: &Lengths) -> Result<Vec<i64>, Diagnostics> {
    let mut problems = Vec::new();
    let mut slots: Vec<Option<(i64, String)>> = vec![None; entry.slots.len()];
    let free = |index: usize| !entry.slots[index].computed && appears(entry, index);
    let names = || {
        let names =
            entry.slots.iter().enumerate().filter(|(index, _)| free(*index)).map(|(_, slot)| slot.name.as_str());
        names.collect::<Vec<_>>().join(", ")
    };
    for (name, value) in &lengths.named {
        match entry.slots.iter().position(|slot| slot.name == *name && !slot.computed) {
            Some(index) => slots[index] = Some((*value, format!("the length `{name}`"))),
            None => problems.push(
                Diagnostic::new(&codes::E0601, format!("entry `{}` has no length `{name}`", entry.name))
                    .help(format!("its lengths are: {}", names())),
            ),
        }
    }
    for (name, dims) in &lengths.shapes {
        match entry.inputs.iter().find(|info| info.name == *name) {
            Some(info) => problems.extend(bind_shape(info, dims, &mut slots)),
            None => {
                let what = format!("entry `{}` has no input `{name}`", entry.name);
                let names: Vec<&str> = entry.inputs.iter().map(|info| info.name.as_str()).collect();
                let help = format!("its inputs are: {}", names.join(", "));
                problems.push(Diagnostic::new(&codes::E0601, what).tensor(name).help(help));
            }
        }
    }
    let past: Vec<usize> = (0..slots.len()).filter(|i| free(*i) && entry.slots[*i].name.contains("past")).collect();
    if let (Some(value), [index]) = (lengths.past, past.as_slice())
        && slots[*index].is_none()
    {
        slots[*index] = Some((value, "the past".to_string()));
    }
    problems.extend(idle(entry, lengths, &past));
    let missing = |index: &usize| slots[*index].is_none() && free(*index);
    for index in (0..slots.len()).filter(missing) {
        let name = &entry.slots[index].name;
        problems.push(
            Diagnostic::new(&codes::E0601, format!("the length `{name}` of entry `{}` is not given", entry.name))
                .help(format!("give it, as in --dim {name}=1, or inputs whose dims say it")),
        );
    }
    values_of(entry, &slots, |name| lengths.shapes.get(name).map(Vec::as_slice), problems)
}

/// What was said of lengths that the entry does not have.
fn idle(entry: &Entry, lengths: &Lengths, past: &[usize]) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let computed: Vec<&str> = entry.slots.iter().filter(|slot| slot.computed).map(|slot| slot.name.as_str()).collect();
    for name in lengths.assumed.keys().filter(|name| !computed.contains(&name.as_str())) {
        let what = format!("entry `{}` computes no length `{name}` that could be assumed", entry.name);
        let help = match computed.as_slice() {
            [] => String::from("it computes none: leave --assume out"),
            names => format!("it computes: {}", names.join(", ")),
        };
        found.push(Diagnostic::new(&codes::E0601, what).dim(name).help(help));
    }
    let takes_past =
        !past.is_empty() || entry.inputs.iter().any(|info| info.name.to_ascii_lowercase().contains("past"));
    if lengths.past.is_some() && !takes_past {
        let what = format!("entry `{}` knows no tokens before the call", entry.name);
        found.push(Diagnostic::new(&codes::E0601, what).help("leave --past out"));
    }
    found
}

/// Whether a length is a dim of some input by itself.
fn appears(entry: &Entry, index: usize) -> bool {
    let mut dims = entry.inputs.iter().flat_map(|info| &info.dims);
    dims.any(|dim| matches!(dim, DimExpr::Slot(slot) if usize::from(*slot) == index))
}

fn bind_shape(info: &TensorInfo, dims: &[usize], slots: &mut [Option<(i64, String)>]) -> Option<Diagnostic> {
    if dims.len() != info.dims.len() {
        let message = format!("input `{}` has the dims {dims:?}, expected {} dims", info.name, info.dims.len());
        return Some(Diagnostic::new(&codes::E0603, message));
    }
    for (axis, (dim, given)) in info.dims.iter().zip(dims).enumerate() {
        if let DimExpr::Slot(slot) = dim
            && let Some(bound) = slots.get_mut(usize::from(*slot))
            && bound.is_none()
        {
            *bound = Some((*given as i64, format!("dim {axis} of `{}`", info.name)));
        }
    }
    None
}

//! The memory of an interpreted program: every buffer is a region of its own, so that a view cannot reach into another one.
//!
//! In: a program and its inputs. Out: descriptors of views, and tensors read through them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use narae_compiler::compress::{Sources, pack};
use narae_compiler::graph::eval::Point;
use narae_compiler::ir::Dim;
use narae_compiler::tile::{Buffer, Home, Op, Program, View};
use narae_isa::{Descriptor, Diagnostic, Diagnostics, HostTensor, Memory, WeightView, codes};
use narae_sim::state::{self, Fault, Region, Space};

use super::beyond;
use crate::npz::Arrays;
use crate::session::converted;

/// Free addresses between buffers, so that a view one past the end is in none.
const GAP: u64 = 1 << 12;

pub(super) struct Store<'a> {
    program: &'a Program,
    pub(super) memory: state::Memory,
    starts: BTreeMap<Buffer, u64>,
}

impl<'a> Store<'a> {
    /// The memory at the start of a run; learns the lengths from the dims of the inputs.
    pub(super) fn new(
        program: &'a Program,
        sources: &Sources,
        inputs: &Arrays,
        point: &mut Point<'a>,
    ) -> Result<Store<'a>, Diagnostics> {
        let mut store = Store { program, memory: state::Memory::new(0), starts: BTreeMap::new() };
        let given = store.inputs(inputs)?;
        point.bind_extents(given.iter().map(|(buffer, tensor)| {
            let data = &program.buffers[*buffer];
            (data.name.as_str(), data.dims.as_slice(), tensor)
        }))?;
        let mut next = GAP;
        for buffer in used(program) {
            store.map(buffer, next, sources)?;
            next = (next + program.buffers[buffer].capacity + GAP).next_multiple_of(GAP);
        }
        for (buffer, tensor) in given {
            store.fill(buffer, &tensor)?;
        }
        Ok(store)
    }

    fn inputs(&self, inputs: &Arrays) -> Result<Vec<(Buffer, HostTensor)>, Diagnostics> {
        let mut found = Vec::new();
        for (buffer, data) in &self.program.buffers {
            if matches!(data.home, Home::Input(_)) {
                let missing = || Diagnostic::new(&codes::E0601, format!("the input `{}` is missing", data.name));
                let tensor = inputs.get(&data.name).cloned().ok_or_else(missing)?;
                found.push((buffer, converted(&data.name, tensor, data.element)?));
            }
        }
        Ok(found)
    }

    fn map(&mut self, buffer: Buffer, start: u64, sources: &Sources) -> Result<(), Diagnostics> {
        let data = &self.program.buffers[buffer];
        let shared = |bytes: Vec<u8>| {
            let count = bytes.len();
            Region::shared(data.name.clone(), start, Arc::new(bytes), 0, count)
        };
        let region = match &data.home {
            Home::Constant(recipe) => shared(recipe.evaluate(sources)?.bytes),
            Home::Weight(weight) => shared(pack::whole(&weight.recipe, weight.format, sources)?),
            Home::Table { .. } => return Ok(()),
            Home::State(name) => return Err(kept(name)),
            Home::Sram | Home::Dram | Home::Scratch | Home::Input(_) | Home::Output(_) => {
                Some(Region::zeros(data.name.clone(), start, data.capacity))
            }
        };
        let region = region.unwrap_or_else(|| unreachable!("shared bytes are taken whole"));
        self.memory.map(region).unwrap_or_else(|fault| unreachable!("buffers do not overlap: {}", fault.message));
        self.starts.insert(buffer, start);
        Ok(())
    }

    fn fill(&mut self, buffer: Buffer, tensor: &HostTensor) -> Result<(), Diagnostics> {
        let data = &self.program.buffers[buffer];
        if tensor.bytes.len() as u64 > data.capacity {
            let what =
                format!("input `{}` has {} bytes, there is room for {}", data.name, tensor.bytes.len(), data.capacity);
            return Err(Diagnostic::new(&codes::E0604, what).into());
        }
        let Some(&start) = self.starts.get(&buffer) else { return Ok(()) }; // nobody uses it
        let place =
            self.memory.bytes_mut(Space::Dram, start, tensor.bytes.len() as u64).map_err(|fault| ours(&fault))?;
        place.copy_from_slice(&tensor.bytes);
        Ok(())
    }

    /// The buffer that a view is on in this iteration.
    fn resolve(&self, buffer: Buffer, point: &Point<'_>) -> Result<Buffer, Diagnostic> {
        let Home::Table { index, members } = &self.program.buffers[buffer].home else { return Ok(buffer) };
        let number = point.value(&Dim::from(*index))?;
        let member = usize::try_from(number).ok().and_then(|number| members.get(number));
        member.copied().ok_or_else(|| beyond("the index of a table"))
    }

    /// The descriptor of a view, and where in its buffer it starts.
    pub(super) fn descriptor(&self, view: &View, point: &Point<'_>) -> Result<(Descriptor, (Buffer, i64)), Diagnostic> {
        let buffer = self.resolve(view.buffer, point)?;
        let start = self.starts[&buffer];
        if let Home::Weight(weight) = &self.program.buffers[buffer].home {
            let size = |axis: usize| u32::try_from(weight.recipe.dims()[axis]).map_err(|_| beyond("a weight"));
            let view = WeightView { format: weight.format, outputs: size(0)?, inputs: size(1)?, base: start };
            return Ok((Descriptor::Weight(view), (buffer, 0)));
        }
        let mut dims = Vec::with_capacity(view.rank());
        for dim in &view.dims {
            dims.push(u32::try_from(point.value(dim)?).map_err(|_| beyond("a dim"))?);
        }
        let mut strides = Vec::with_capacity(view.rank());
        for stride in &view.strides {
            strides.push(point.value(stride)?);
        }
        let offset = point.value(&view.offset)?.saturating_mul(view.element.bytes() as i64);
        let base = start.checked_add_signed(offset).ok_or_else(|| beyond("an address"))?;
        let view = narae_isa::View::strided(Memory::Dram, view.element, &dims, &strides, base);
        Ok((Descriptor::Tensor(view), (buffer, offset)))
    }

    /// What a view holds, and the view with its base counted from the start of the buffer.
    pub(super) fn read(
        &self,
        view: &View,
        point: &Point<'_>,
    ) -> Result<(HostTensor, Buffer, narae_isa::View), Diagnostic> {
        let (descriptor, (buffer, offset)) = self.descriptor(view, point)?;
        let Descriptor::Tensor(mut view) = descriptor else { return Err(beyond("a packed weight")) };
        let value = tensor(&self.memory, &view).map_err(|fault| ours(&fault))?;
        view.base = offset.unsigned_abs();
        Ok((value, buffer, view))
    }

    /// Writes numbers to a dense view.
    pub(super) fn write(&mut self, to: &View, numbers: &[i64], point: &Point<'_>) -> Result<(), Diagnostic> {
        let (descriptor, _) = self.descriptor(to, point)?;
        let Descriptor::Tensor(view) = descriptor else { return Err(beyond("a packed weight")) };
        let bytes = HostTensor::from_i64_as(view.element, &[numbers.len()], numbers).bytes;
        let place = self.memory.bytes_mut(Space::Dram, view.base, bytes.len() as u64).map_err(|fault| ours(&fault))?;
        place.copy_from_slice(&bytes);
        Ok(())
    }

    /// The outputs by name.
    pub(super) fn outputs(&self, point: &Point<'_>) -> Result<Arrays, Diagnostics> {
        let mut outputs = Arrays::new();
        for (buffer, data) in &self.program.buffers {
            if matches!(data.home, Home::Output(_)) {
                let view = View::dense(buffer, data.element, &data.dims);
                outputs.insert(data.name.clone(), self.read(&view, point)?.0);
            }
        }
        Ok(outputs)
    }
}

/// The elements of a view as a tensor.
pub fn tensor(memory: &state::Memory, view: &narae_isa::View) -> Result<HostTensor, Fault> {
    let mut bytes = Vec::new();
    memory.load_bits(&state::View::of(view), &mut bytes)?;
    let dims = view.dims().iter().map(|&dim| dim as usize).collect();
    HostTensor::new(view.element, dims, bytes).ok_or_else(|| Fault::bounds("a view with more elements than memory"))
}

/// Buffers that some op touches, the members of tables included, and the outputs.
fn used(program: &Program) -> BTreeSet<Buffer> {
    fn visit(ops: &[Op], program: &Program, used: &mut BTreeSet<Buffer>) {
        for op in ops {
            for view in op.views() {
                used.extend(program.members(view.buffer));
            }
            if let Op::Holds { view, .. } = op {
                used.extend(program.members(view.buffer));
            }
            op.bodies().into_iter().for_each(|body| visit(body, program, used));
        }
    }
    let outputs = program.buffers.iter().filter(|(_, data)| matches!(data.home, Home::Output(_)));
    let mut used = outputs.map(|(buffer, _)| buffer).collect();
    visit(&program.body, program, &mut used);
    used
}

fn ours(fault: &Fault) -> Diagnostic {
    Diagnostic::new(fault.code, fault.message.clone())
}

fn kept(name: &str) -> Diagnostics {
    Diagnostic::new(&codes::E0409, format!("the cache `{name}` is kept on the chip between programs"))
        .help("use --kv-cache io")
        .into()
}

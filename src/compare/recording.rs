//! What a placed program does, instruction by instruction: what the machine is held against.
//!
//! In: a run of the interpreter. Out: for each instruction its operands with hashes of their bytes before and after; and the tensors of the
//! model that the program held, and where. Always holds: an instruction is kept without its registers, because those are the code's own.

use std::collections::{BTreeMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use narae_compiler::graph::names::Tensor;
use narae_compiler::tile::{Buffer, Cause, Program};
use narae_isa::instructions::Inst;
use narae_isa::operand::{DescriptorRegister, ScalarRegister};
use narae_isa::table::Access;
use narae_isa::{Descriptor, Diagnostics, View};
use narae_sim::execute::Context;
use narae_sim::state::Space;

use super::Values;
use crate::interpreter::{Held, Step, Tape, tensor};

/// One operand of an instruction, as it was found.
#[derive(Clone, Debug)]
pub(super) struct Operand {
    pub(super) name: &'static str,
    pub(super) access: Access,
    pub(super) register: DescriptorRegister,
    pub(super) descriptor: Descriptor,
    /// The hash of its bytes.
    pub(super) bytes: u64,
}

/// One instruction of the placed program.
pub(super) struct Expected {
    /// As the program writes it.
    pub(super) template: Inst,
    /// Without its registers.
    pub(super) inst: Inst,
    pub(super) scalars: Vec<i64>,
    pub(super) before: Vec<Operand>,
    pub(super) after: Vec<Operand>,
    /// Per operand: the number of its view.
    pub(super) fields: Vec<usize>,
    /// Per view: the buffer, and the byte offset in it.
    pub(super) places: Vec<(Buffer, i64)>,
    /// Per view: the step that last wrote its buffer.
    pub(super) writers: Vec<Option<usize>>,
    pub(super) layer: Option<(u32, u32)>,
    pub(super) cause: Cause,
}

/// The instructions of an interpreted program, and the tensors that it held.
#[derive(Default)]
pub(super) struct Recording {
    /// Whether instructions are recorded, or tensors only.
    pub(super) instructions: bool,
    pub(super) steps: Vec<Expected>,
    /// The last step that wrote each buffer.
    pub(super) writers: BTreeMap<Buffer, usize>,
    /// After so many steps, this buffer holds this tensor in this view.
    pub(super) held: VecDeque<(usize, u32, Buffer, View)>,
    pub(super) values: Values,
}

impl Tape for Recording {
    fn before(&mut self, step: &Step<'_>) -> Result<(), Diagnostics> {
        if !self.instructions {
            return Ok(());
        }
        let inst = &step.compute.inst;
        let writers = step.places.iter().map(|(buffer, _)| self.writers.get(buffer).copied()).collect();
        self.steps.push(Expected {
            template: *inst,
            inst: bare(inst),
            scalars: scalars(inst, step.context),
            before: operands(inst, step.context, |access| access != Access::Write),
            after: Vec::new(),
            fields: fields(inst),
            places: step.places.to_vec(),
            writers,
            layer: step.layer,
            cause: step.compute.cause.clone(),
        });
        Ok(())
    }

    fn after(&mut self, step: &Step<'_>) -> Result<(), Diagnostics> {
        let Some(number) = self.steps.len().checked_sub(1) else { return Ok(()) };
        let after = operands(&step.compute.inst, step.context, writes);
        for operand in &after {
            if let Some((buffer, _)) = step.places.get(operand.register.index()) {
                self.writers.insert(*buffer, number);
            }
        }
        self.steps[number].after = after;
        Ok(())
    }

    fn holds(&mut self, tensor: &Tensor, held: &Held<'_>) -> Result<(), Diagnostics> {
        self.held.push_back((self.steps.len(), tensor.number, held.buffer, held.view));
        self.values.insert(tensor.number, held.value.clone());
        Ok(())
    }
}

impl Recording {
    /// Of a placed program also the instructions, for the machine to follow.
    pub(super) fn of(program: &Program) -> Recording {
        Recording { instructions: program.placed, ..Recording::default() }
    }
}

/// Whether an instruction stands for one of the tile program; synchronisation and the control unit's own do not.
pub(super) fn compares(inst: &Inst) -> bool {
    inst.engine() != narae_isa::Engine::Scu && !matches!(inst, Inst::QueueSync(_))
}

pub(super) fn writes(access: Access) -> bool {
    matches!(access, Access::Write | Access::ReadWrite)
}

/// An instruction with all registers the same, to compare everything else.
pub(super) fn bare(inst: &Inst) -> Inst {
    let mut bare = *inst;
    if let (Some(descriptor), Some(scalar)) = (DescriptorRegister::new(0), ScalarRegister::new(0)) {
        bare.map_descriptors(|_| descriptor);
        bare.map_registers(|_| scalar);
    }
    bare
}

/// The values of the scalar registers that an instruction names, in the order of its fields.
pub(super) fn scalars(inst: &Inst, context: &Context<'_>) -> Vec<i64> {
    let mut values = Vec::new();
    let mut copy = *inst;
    copy.map_registers(|register| {
        values.push(context.scalars[register.index()]);
        register
    });
    values
}

/// The operands whose access passes, with the hash of their bytes.
pub(super) fn operands(inst: &Inst, context: &Context<'_>, wanted: impl Fn(Access) -> bool) -> Vec<Operand> {
    let mut found = Vec::new();
    inst.visit_operands(&mut |operand| {
        if let Some(descriptor) = context.descriptors[operand.register.index()].filter(|_| wanted(operand.access)) {
            let (name, access, register) = (operand.name, operand.access, operand.register);
            found.push(Operand { name, access, register, descriptor, bytes: hash(&descriptor, context) });
        }
    });
    found
}

/// The views of a template's operands: its descriptor fields number them.
fn fields(template: &Inst) -> Vec<usize> {
    let mut fields = Vec::new();
    template.visit_operands(&mut |operand| fields.push(operand.register.index()));
    fields
}

fn hash(descriptor: &Descriptor, context: &Context<'_>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match descriptor {
        Descriptor::Tensor(view) => match tensor(context.memory, view) {
            Ok(tensor) => tensor.bytes.hash(&mut hasher),
            Err(fault) => fault.message.hash(&mut hasher),
        },
        Descriptor::Weight(weight) => {
            let bytes = context.memory.bytes(Space::Dram, weight.base, weight.packed_bytes());
            bytes.map(<[u8]>::to_vec).unwrap_or_default().hash(&mut hasher);
        }
        Descriptor::Parameters(_) => {}
    }
    hasher.finish()
}

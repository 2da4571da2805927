//! Runs tile programs as they are written: the simulator's meaning of each instruction, without the machine around it. No registers, no
//! queues, no semaphores, and every buffer is a memory of its own.
//!
//! In: a program (placed or not), the files of its constants, inputs by name. Out: outputs by name; a [`Tape`] sees every instruction and
//! every tensor of the model that the program holds on the way. Always holds: instructions run in program order; a view that leaves
//! its buffer is an error. What is not run here: caches that stay on the chip, because they outlive a program.

mod store;

use std::collections::VecDeque;

use narae_compiler::compress::Sources;
use narae_compiler::graph::eval::Point;
use narae_compiler::graph::names::Tensor;
use narae_compiler::ir::{Dim, Symbol};
use narae_compiler::lower::tile_to_isa::copy_instruction;
use narae_compiler::tile::{Buffer, Compute, Home, Op, Parameters, Program, View};
use narae_isa::descriptor::{Parameters as Resolved, WindowParameters};
use narae_isa::operand::{DescriptorRegister, ScalarRegister};
use narae_isa::{Descriptor, Diagnostic, Diagnostics, HostTensor, Inst, codes};
use narae_sim::Limits;
use narae_sim::execute::{Context, Descriptors};
use narae_sim::kernels::attention::Scratch;
use narae_sim::state::Fault;

use crate::npz::Arrays;
use store::Store;
pub use store::tensor;

/// An instruction that runs: the template, and what its descriptor fields stand for.
pub struct Step<'a> {
    /// The op of the program.
    pub compute: &'a Compute,
    /// Per view: the buffer, and the byte offset of the first element in it.
    pub places: &'a [(Buffer, i64)],
    /// Inside of a loop of alike layers: which one, of how many.
    pub layer: Option<(u32, u32)>,
    /// Memory and registers, numbered as in the template.
    pub context: &'a Context<'a>,
}

/// Who watches a program run. An error ends the run.
pub trait Tape {
    /// An instruction is about to run.
    fn before(&mut self, _step: &Step<'_>) -> Result<(), Diagnostics> {
        Ok(())
    }
    /// The instruction has run.
    fn after(&mut self, _step: &Step<'_>) -> Result<(), Diagnostics> {
        Ok(())
    }
    /// The program holds a tensor of the model here.
    fn holds(&mut self, _tensor: &Tensor, _held: &Held<'_>) -> Result<(), Diagnostics> {
        Ok(())
    }
}

/// A tensor of the model in a buffer of the program.
pub struct Held<'a> {
    /// Its value.
    pub value: &'a HostTensor,
    /// The buffer.
    pub buffer: Buffer,
    /// The view, its base counted from the start of the buffer.
    pub view: narae_isa::View,
}

/// Nobody watches.
pub struct Untaped;

impl Tape for Untaped {}

/// Runs a program.
pub fn run(program: &Program, sources: &Sources, inputs: &Arrays, tape: &mut dyn Tape) -> Result<Arrays, Diagnostics> {
    let mut point = Point::new(&program.symbols);
    let store = Store::new(program, sources, inputs, &mut point)?;
    let mut interpreter = Interpreter {
        program,
        point,
        store,
        scalars: [0; ScalarRegister::COUNT],
        descriptors: Box::new([None; DescriptorRegister::COUNT]),
        weights: VecDeque::new(),
        scratch: Scratch::default(),
        loops: Vec::new(),
        tape,
    };
    interpreter.block(&program.body)?;
    interpreter.store.outputs(&interpreter.point)
}

struct Interpreter<'a> {
    program: &'a Program,
    point: Point<'a>,
    store: Store<'a>,
    scalars: [i64; ScalarRegister::COUNT],
    descriptors: Box<Descriptors>,
    weights: VecDeque<narae_isa::WeightView>,
    scratch: Scratch,
    /// The loops of alike layers around the current op: the iteration, and how many there are.
    loops: Vec<(u32, u32)>,
    tape: &'a mut dyn Tape,
}

impl Interpreter<'_> {
    fn block(&mut self, ops: &[Op]) -> Result<(), Diagnostics> {
        ops.iter().try_for_each(|op| self.op(op))
    }

    fn op(&mut self, op: &Op) -> Result<(), Diagnostics> {
        match op {
            Op::Compute(compute) => self.compute(compute),
            Op::Copy { to, from, cause } => self.compute(&copy_instruction(self.program, to, from, cause)),
            Op::For { index, trip, condition, body, layers } => {
                self.repeat(*index, trip, condition.as_ref(), body, *layers)
            }
            Op::If { condition, then_body, else_body } => {
                let holds = self.integer(condition)? != 0;
                self.block(if holds { then_body } else { else_body })
            }
            Op::Read { symbol, from } => {
                let value = self.integer(from)?;
                self.point.assign(*symbol, value);
                Ok(())
            }
            Op::Let { symbol, value } => {
                let value = self.point.value(value).map_err(Diagnostic::from)?;
                self.point.assign(*symbol, value);
                Ok(())
            }
            Op::Write { to, values } => self.write(to, values),
            Op::Holds { view, tensors } => self.holds(view, tensors),
        }
    }

    fn repeat(
        &mut self,
        index: Symbol,
        trip: &Dim,
        condition: Option<&View>,
        body: &[Op],
        layers: bool,
    ) -> Result<(), Diagnostics> {
        let trip = self.point.value(trip).map_err(Diagnostic::from)?;
        for iteration in 0..trip {
            self.point.assign(index, iteration);
            if let Some(condition) = condition
                && self.integer(condition)? == 0
            {
                break;
            }
            if layers {
                let number = |value: i64| u32::try_from(value).unwrap_or(u32::MAX);
                self.loops.push((number(iteration), number(trip)));
            }
            self.block(body)?;
            if layers {
                self.loops.pop();
            }
        }
        Ok(())
    }

    fn compute(&mut self, compute: &Compute) -> Result<(), Diagnostics> {
        let located = |problem: Diagnostic| Diagnostics::from(compute.cause.provenance.locate(problem));
        let mut places = Vec::with_capacity(compute.views.len());
        for (number, view) in compute.views.iter().enumerate() {
            let (descriptor, place) = self.store.descriptor(view, &self.point).map_err(located)?;
            self.descriptors[number] = Some(descriptor);
            places.push(place);
        }
        if let Some(parameters) = &compute.parameters {
            let resolved = self.parameters(parameters).map_err(located)?;
            self.descriptors[compute.views.len()] = Some(Descriptor::Parameters(resolved));
        }
        for (number, scalar) in compute.scalars.iter().enumerate() {
            self.scalars[number] = self.point.value(scalar).map_err(|failure| located(failure.into()))?;
        }
        let mut context = Context {
            memory: &mut self.store.memory,
            scalars: &mut self.scalars,
            descriptors: &mut self.descriptors,
            rows: &[],
            weights: &mut self.weights,
            arch: Limits::default().arch,
            scratch: &mut self.scratch,
        };
        let layer = self.loops.last().copied();
        self.tape.before(&Step { compute, places: &places, layer, context: &context })?;
        compute.inst.execute(&mut context).map_err(|fault| located(failed(&compute.inst, &fault)))?;
        self.tape.after(&Step { compute, places: &places, layer, context: &context })
    }

    fn parameters(&self, parameters: &Parameters) -> Result<Resolved, Diagnostic> {
        let window = match parameters {
            Parameters::Resize(resize) => return Ok(Resolved::Resize(*resize)),
            Parameters::Window(window) => window,
        };
        let numbers = |dims: &[Dim; 3]| -> Result<[i32; 3], Diagnostic> {
            let mut found = [0; 3];
            for (number, dim) in found.iter_mut().zip(dims) {
                *number = i32::try_from(self.point.value(dim)?).map_err(|_| beyond("a window"))?;
            }
            Ok(found)
        };
        Ok(Resolved::Window(WindowParameters {
            kernel: numbers(&window.kernel)?,
            stride: numbers(&window.stride)?,
            dilation: numbers(&window.dilation)?,
            pad_before: numbers(&window.pad_before)?,
            pad_after: numbers(&window.pad_after)?,
            input_dilation: numbers(&window.input_dilation)?,
        }))
    }

    /// The (only) element of a view.
    fn integer(&mut self, view: &View) -> Result<i64, Diagnostics> {
        let (value, ..) = self.store.read(view, &self.point)?;
        Ok(if value.is_empty() { 0 } else { value.get_i64(0) })
    }

    fn write(&mut self, to: &View, values: &[Dim]) -> Result<(), Diagnostics> {
        let mut numbers = Vec::with_capacity(values.len());
        for value in values {
            numbers.push(self.point.value(value).map_err(Diagnostic::from)?);
        }
        Ok(self.store.write(to, &numbers, &self.point)?)
    }

    fn holds(&mut self, view: &View, tensors: &[narae_compiler::graph::names::Named]) -> Result<(), Diagnostics> {
        let here = self.loops.last().map(|layer| layer.0);
        let (value, buffer, view) = self.store.read(view, &self.point)?;
        for named in tensors.iter().filter(|named| named.iteration.is_none() || named.iteration == here) {
            self.tape.holds(&named.tensor, &Held { value: &value, buffer, view })?;
        }
        Ok(())
    }
}

fn failed(inst: &Inst, fault: &Fault) -> Diagnostic {
    Diagnostic::new(fault.code, fault.message.clone()).note(format!("the tile program runs `{inst}`"))
}

fn beyond(what: &str) -> Diagnostic {
    Diagnostic::new(&codes::E0403, format!("{what} is beyond what a descriptor can say"))
}

/// Whether a program can be run here.
pub fn runs(program: &Program) -> bool {
    !program.buffers.values().any(|data| matches!(data.home, Home::State(_)))
}

//! What every instruction does to registers and memory: one method per row of the instruction table.
//!
//! In: an instruction with the registers that were captured when it was dispatched. Out: changed memory (or registers), or a [`Fault`].
//! Always: operands are read completely before the result is written, so that an instruction may write the view that it reads; nothing is
//! written by an instruction whose operands its row forbids.

mod attention;
mod convolution;
mod matrix;
mod moves;
mod number;
mod scalar;
mod touch;
mod vector;

pub use attention::visible_keys;
pub use touch::{Touched, touch};

use crate::kernels::attention::Scratch;
use crate::state::{Fault, Memory, View};
use narae_isa::descriptor::{Parameters, WindowParameters};
use narae_isa::instructions::*;
use narae_isa::operand::{DescriptorRegister, ScalarRegister};
use narae_isa::{Descriptor, Row, WeightView};
use pulp::Arch;
use std::collections::VecDeque;

/// Where the control unit continues.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    /// With the next instruction.
    Next,
    /// At this instruction.
    Jump(u32),
    /// Nowhere: the entry ends.
    Halt,
    /// With the next instruction, when all engines are idle.
    Fence,
}

/// The values of the descriptor registers.
pub type Descriptors = [Option<Descriptor>; DescriptorRegister::COUNT];

/// What an instruction can see and change.
pub struct Context<'a> {
    /// Both memories.
    pub memory: &'a mut Memory,
    /// Scalar registers.
    pub scalars: &'a mut [i64; ScalarRegister::COUNT],
    /// Descriptor registers.
    pub descriptors: &'a mut Descriptors,
    /// The descriptor section.
    pub rows: &'a [Row],
    /// Weights that were streamed and not yet consumed.
    pub weights: &'a mut VecDeque<WeightView>,
    /// Instruction set of the host.
    pub arch: Arch,
    /// Reused memory.
    pub scratch: &'a mut Scratch,
}

impl Context<'_> {
    fn scalar(&self, register: ScalarRegister) -> i64 {
        self.scalars[register.index()]
    }

    fn optional_scalar(&self, register: Option<ScalarRegister>) -> Option<i64> {
        register.map(|register| self.scalar(register))
    }

    fn descriptor(&self, register: DescriptorRegister) -> Result<&Descriptor, Fault> {
        self.descriptors[register.index()]
            .as_ref()
            .ok_or_else(|| Fault::operands(format!("{register} was never loaded")))
    }

    /// The tensor row of an operand, which may be paged.
    fn tensor(&self, register: DescriptorRegister) -> Result<&narae_isa::View, Fault> {
        match self.descriptor(register)? {
            Descriptor::Tensor(view) => Ok(view),
            Descriptor::Weight(_) | Descriptor::Parameters(_) => {
                Err(Fault::operands(format!("{register} does not hold a tensor")))
            }
        }
    }

    /// The view of an operand that must not be paged.
    fn view(&self, register: DescriptorRegister) -> Result<View, Fault> {
        let row = self.tensor(register)?;
        if row.paging.is_some() || row.scaled_rows {
            return Err(Fault::operands(format!("{register} is paged or has scaled rows; only caches may be")));
        }
        Ok(View::of(row))
    }

    fn optional_view(&self, register: Option<DescriptorRegister>) -> Result<Option<View>, Fault> {
        register.map(|register| self.view(register)).transpose()
    }

    fn weight(&self, register: DescriptorRegister) -> Result<WeightView, Fault> {
        match self.descriptor(register)? {
            Descriptor::Weight(weight) => Ok(*weight),
            Descriptor::Tensor(_) | Descriptor::Parameters(_) => {
                Err(Fault::operands(format!("{register} does not hold a packed weight")))
            }
        }
    }

    fn window(&self, register: DescriptorRegister) -> Result<WindowParameters<i32>, Fault> {
        match self.descriptor(register)? {
            Descriptor::Parameters(Parameters::Window(window)) => Ok(*window),
            Descriptor::Parameters(Parameters::Resize(_)) | Descriptor::Tensor(_) | Descriptor::Weight(_) => {
                Err(Fault::operands(format!("{register} does not hold a window row")))
            }
        }
    }
}

/// All views have the same dims as the first one.
fn same_dims(views: &[(&str, &View)]) -> Result<(), Fault> {
    for (name, view) in &views[1..] {
        if view.dims() != views[0].1.dims() {
            return Err(differ(views[0], (name, view)));
        }
    }
    Ok(())
}

#[cold]
fn differ(a: (&str, &View), b: (&str, &View)) -> Fault {
    Fault::operands(format!("`{}` has the dims {:?}, `{}` {:?}", a.0, a.1.dims(), b.0, b.1.dims()))
}

/// A fault unless `condition` holds.
fn require(condition: bool, message: impl FnOnce() -> String) -> Result<(), Fault> {
    if condition { Ok(()) } else { Err(Fault::operands(message())) }
}

macro_rules! methods {
    ($($module:path: $($method:ident $row:ident),*;)*) => {
        impl Execute for Context<'_> {
            type Output = Flow;
            type Error = Fault;
            $($(
                #[inline]
                fn $method(&mut self, row: &$row) -> Result<Flow, Fault> {
                    use $module as module;
                    module::$method(self, row)
                }
            )*)*
        }
    };
}

methods! {
    scalar: halt Halt, fence Fence, sync QueueSync, li LoadImmediate, mov MoveScalar, alu Alu, alui AluImmediate, jump Jump, branch Branch,
        branchi BranchImmediate, lds LoadScalar, sts StoreScalar, ldd LoadDescriptor, mark Mark;
    moves: ldw LoadWeight, transfer Transfer, gatherrows GatherRows, scatterrows ScatterRows, append Append;
    matrix: linear Linear, matmul Matmul, matmulint MatmulInteger;
    convolution: conv Convolution;
    attention: attend Attend;
    vector::elementwise: unary Unary, binary Binary, compare Compare, select Select, convert Convert, fill Fill, fillint FillInteger, iota Iota,
        copy Copy, quantize Quantize, dequantize Dequantize;
    vector::rows: reduce Reduce, argreduce ArgReduce, softmax Softmax, norm Norm, rope Rope, cumulate Cumulate;
    vector::index: gather Gather, gatherelements GatherElements, gathernd GatherNd, scatterelements ScatterElements, scatternd ScatterNd,
        topk TopK, nonzero NonZero;
    vector::window: pool Pool, resize Resize;
}

//! Dialect 2: instructions over views of buffers, loops, explicit moves.
//!
//! A [`Program`] is what one entry does. Its [`Buffer`]s are pieces of memory: some have a place already (inputs, outputs,
//! constants, weights and state live in LPDDR), the others are scratch and get a memory and an address by the passes
//! `place` and `allocate`. An [`Op::Compute`] is a machine instruction as a template: its descriptor fields number the
//! op's views and its register fields number the op's scalars, so there is no second table of operations.
//!
//! Order is program order; what may overlap is decided later, from the bytes that the placed views touch.

#[cfg(test)]
mod testing;
pub mod text;
pub mod verify;
pub mod view;

use std::collections::BTreeMap;
use std::sync::Arc;

use cranelift_entity::{PrimaryMap, entity_impl};
use narae_isa::Element;
use narae_isa::descriptor::{Memory, ResizeParameters, WindowParameters};
use narae_isa::instructions::Inst;

pub use self::view::View;
use crate::compress::Recipe;
use crate::graph::Provenance;
use crate::graph::names::Named;
use crate::ir::{Dim, Symbol, Symbols};

/// Why an op is there: the graph op that it implements, and the ONNX nodes behind that. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct Cause {
    /// The ONNX nodes.
    pub provenance: Provenance,
    /// The graph op: its first result and its name; empty for moves that no op asks for.
    pub graph_op: Arc<str>,
}

/// A piece of memory.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Buffer(u32);
entity_impl!(Buffer, "b");

/// Where a buffer's bytes come from and where they live.
#[derive(Clone, Debug, PartialEq)]
pub enum Home {
    /// Working memory, in SRAM.
    Sram,
    /// Working memory, in LPDDR.
    Dram,
    /// Working memory whose place is not decided yet.
    Scratch,
    /// Input number so-and-so of the entry, in LPDDR.
    Input(usize),
    /// Output number so-and-so of the entry, in LPDDR.
    Output(usize),
    /// Bytes of the image: dense elements in LPDDR.
    Constant(Recipe),
    /// Bytes of the image: a weight in the layout that the matrix unit streams.
    Weight(Weight),
    /// One of several buffers of equal size, all in LPDDR: the one that the index of the loop says.
    Table {
        /// The loop's index.
        index: Symbol,
        /// The buffers, one per iteration.
        members: Vec<Buffer>,
    },
    /// A KV cache that is kept between runs: a pool of pages in LPDDR, of this name.
    State(String),
}

/// A weight as the matrix unit wants it: `[outputs, inputs]` in a format.
#[derive(Clone, Debug, PartialEq)]
pub struct Weight {
    /// The elements.
    pub recipe: Recipe,
    /// How they are stored.
    pub format: narae_isa::format::WeightFormat,
}

/// Tokens in one page of a KV cache: one block of the attention engine.
pub const PAGE_TOKENS: usize = 64;

/// A row of the table of buffers.
#[derive(Clone, Debug, PartialEq)]
pub struct BufferData {
    /// Where it lives.
    pub home: Home,
    /// The most bytes it ever holds.
    pub capacity: u64,
    /// The type of its elements; views may read it as another type of the same width.
    pub element: Element,
    /// Its extents as a dense tensor.
    pub dims: Vec<Dim>,
    /// For reports: the value or tensor it holds.
    pub name: String,
}

/// An operation.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// An instruction of an engine.
    Compute(Compute),
    /// Copies elements; which engine does it follows from where the two sides live.
    Copy {
        /// Where to.
        to: View,
        /// Where from; same dims and element.
        from: View,
        /// Where it comes from in the model.
        cause: Cause,
    },
    /// Runs the body `trip` times with `index` = 0, 1, ….
    For {
        /// The loop's index; a symbol of the program.
        index: Symbol,
        /// How often.
        trip: Dim,
        /// Checked before every iteration: a one-element tensor that must not be zero.
        condition: Option<View>,
        /// What.
        body: Vec<Op>,
        /// Whether the iterations are alike layers (for reports) rather than pieces of one tensor.
        layers: bool,
    },
    /// Runs one of two bodies.
    If {
        /// A one-element integer or bool tensor.
        condition: View,
        /// Runs when it is not zero.
        then_body: Vec<Op>,
        /// Runs when it is zero.
        else_body: Vec<Op>,
    },
    /// Sets a symbol to the (only) element of a view.
    Read {
        /// The symbol.
        symbol: Symbol,
        /// One integer element.
        from: View,
    },
    /// Sets a symbol to a number that other symbols give.
    Let {
        /// The symbol.
        symbol: Symbol,
        /// Its value from here on.
        value: Dim,
    },
    /// Writes integers to the elements of a view, row-major.
    Write {
        /// A dense view.
        to: View,
        /// One per element.
        values: Vec<Dim>,
    },
    /// Does nothing: says which tensors of the model a view holds once the op before has run. Only there if the graph had names.
    Holds {
        /// The view; that it is named here is no use of it.
        view: View,
        /// The tensors.
        tensors: Vec<Named>,
    },
}

/// An instruction as a template.
#[derive(Clone, Debug, PartialEq)]
pub struct Compute {
    /// Descriptor fields number `views`, register fields number `scalars`.
    pub inst: Inst,
    /// The operands.
    pub views: Vec<View>,
    /// The values of register operands.
    pub scalars: Vec<Dim>,
    /// What a parameters operand holds; its descriptor field is the number after the last view.
    pub parameters: Option<Parameters>,
    /// Where it comes from in the model.
    pub cause: Cause,
}

/// Parameters that do not fit an instruction.
#[derive(Clone, Debug, PartialEq)]
pub enum Parameters {
    /// Windows of convolution and pooling; unused spatial axes hold the neutral value.
    Window(WindowParameters<Dim>),
    /// Choices of `resize`.
    Resize(ResizeParameters),
}

/// What one entry does.
#[derive(Clone, Debug, Default)]
pub struct Program {
    /// The entry's name.
    pub name: String,
    /// The symbols of all dims.
    pub symbols: Symbols,
    /// The buffers.
    pub buffers: PrimaryMap<Buffer, BufferData>,
    /// Whether every operand has its memory.
    pub placed: bool,
    /// Byte offset in SRAM of each buffer there; empty until the program is placed.
    pub sram: BTreeMap<Buffer, u64>,
    /// The operations in order.
    pub body: Vec<Op>,
}

/// Programs are equal that say the same, with the same names; what was noted on the way does not count.
impl PartialEq for Program {
    fn eq(&self, other: &Program) -> bool {
        self.name == other.name
            && self.symbols.iter().eq(other.symbols.iter())
            && self.symbols.assumptions().eq(other.symbols.assumptions())
            && self.buffers.iter().eq(other.buffers.iter())
            && (self.placed, &self.sram) == (other.placed, &other.sram)
            && self.body == other.body
    }
}

impl Home {
    /// The memory that such buffers are in, once scratch has been placed.
    pub fn memory(&self) -> Memory {
        match self {
            Home::Sram => Memory::Sram,
            Home::Scratch => unreachable!("scratch has been placed"),
            Home::Dram
            | Home::Input(_)
            | Home::Output(_)
            | Home::Constant(_)
            | Home::Weight(_)
            | Home::Table { .. }
            | Home::State(_) => Memory::Dram,
        }
    }
}

impl Program {
    /// The buffers behind a buffer: those of a table, or itself.
    pub fn members(&self, buffer: Buffer) -> Vec<Buffer> {
        match &self.buffers[buffer].home {
            Home::Table { members, .. } => members.clone(),
            _ => vec![buffer],
        }
    }
}

impl Op {
    /// The bodies inside.
    pub fn bodies(&self) -> Vec<&Vec<Op>> {
        match self {
            Op::For { body, .. } => vec![body],
            Op::If { then_body, else_body, .. } => vec![then_body, else_body],
            Op::Compute(_)
            | Op::Copy { .. }
            | Op::Read { .. }
            | Op::Write { .. }
            | Op::Let { .. }
            | Op::Holds { .. } => vec![],
        }
    }

    /// The views that this op itself uses, bodies not included.
    pub fn views(&self) -> Vec<&View> {
        match self {
            Op::Compute(compute) => compute.views.iter().collect(),
            Op::Copy { to, from, .. } => vec![to, from],
            Op::If { condition, .. } => vec![condition],
            Op::Read { from, .. } => vec![from],
            Op::Write { to, .. } => vec![to],
            Op::For { condition, .. } => condition.iter().collect(),
            Op::Let { .. } | Op::Holds { .. } => vec![],
        }
    }
}

//! Descriptors: what formats, shapes, strides and addresses look like in memory and in the control unit.
//!
//! In: rows of 128 bytes from the descriptor section of an image, and the scalar registers. Out: [`Descriptor`]s, the
//! values of descriptor registers. A row may name scalar registers in place of its base offset, dims, strides and
//! parameters; `ldd` *resolves* them when it loads the row. So one row serves every length, and one loop body serves all
//! layers through tables of rows.
//!
//! Always: a row decodes to one meaning or to an error, unused bytes are zero, and `encode(decode(bytes)) == bytes`.
//!
//! Layout of a tensor or weight row (little-endian):
//!
//! | bytes | content |
//! |---|---|
//! | 0 | memory: 0 DRAM, 1 SRAM |
//! | 1 | element code (below 64) or weight format code |
//! | 2 | rank, at most 8 |
//! | 3 | flags: 1 dense (strides follow from the dims), 2 paged, 4 scaled rows |
//! | 4, 5 | bit i: dim i, stride i is a register number |
//! | 6 | base register, 255 for none; its value is added to the base |
//! | 7 | zero |
//! | 8..16 | base byte address |
//! | 16..48 | dims, 8 × u32 |
//! | 48..112 | strides in elements, 8 × i64 |
//! | 112..120 | paged: address of the page table |
//! | 120..124 | paged: tokens per page; weight: inputs per group, 0 for a whole row |
//! | 124..128 | paged: entries of the page table per sequence |
//!
//! Layout of a parameters row: byte 0 is 128, byte 1 the kind, bytes 4..8 a mask of words that are register numbers, then
//! 30 words of 32 bits whose meaning depends on the kind ([`WindowParameters`], [`ResizeParameters`]).

mod parameters;
mod row;
mod text;
mod view;

pub use parameters::{CoordinateMode, NearestMode, Parameters, ResizeMode, ResizeParameters, WindowParameters};
pub use row::{RowError, TensorRow, WeightRow};
pub use view::{Paging, ResolveError, View, WeightView};

use crate::operand::ScalarRegister;

/// Bytes of one row.
pub const ROW_BYTES: usize = 128;
/// The highest rank.
pub const MAX_RANK: usize = 8;

/// A memory that descriptors can point into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
#[repr(u8)]
pub enum Memory {
    /// LPDDR: one flat physical space.
    Dram = 0,
    /// The SRAM of all tiles: one flat space.
    Sram = 1,
}

impl Memory {
    /// The word in every text form.
    pub fn name(self) -> &'static str {
        match self {
            Memory::Dram => "dram",
            Memory::Sram => "sram",
        }
    }

    /// The one with this name.
    pub fn from_name(name: &str) -> Option<Memory> {
        [Memory::Dram, Memory::Sram].into_iter().find(|memory| memory.name() == name)
    }
}

impl std::fmt::Display for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// A number in a row: fixed, or the value of a register when the row is loaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Number<T> {
    /// The number itself.
    Fixed(T),
    /// The value of this register at `ldd`.
    Register(ScalarRegister),
}

impl<T> Number<T> {
    /// The register, if it is one.
    pub fn register(&self) -> Option<ScalarRegister> {
        match self {
            Number::Fixed(_) => None,
            Number::Register(register) => Some(*register),
        }
    }
}

impl<T: Copy + TryFrom<i64>> Number<T> {
    /// The number, given the registers; `None` when the register's value does not fit.
    pub fn resolve(&self, registers: &[i64; ScalarRegister::COUNT]) -> Option<T> {
        match self {
            Number::Fixed(value) => Some(*value),
            Number::Register(register) => T::try_from(registers[register.index()]).ok(),
        }
    }
}

/// One row of the descriptor section.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Row {
    /// A view of elements in memory.
    Tensor(TensorRow),
    /// A packed weight in DRAM.
    Weight(WeightRow),
    /// Strides, dilations and pads of windows.
    Window(WindowParameters<Number<i32>>),
    /// Choices of `resize`.
    Resize(ResizeParameters),
}

/// The value of a descriptor register: a row without registers in it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Descriptor {
    /// A view of elements in memory.
    Tensor(View),
    /// A packed weight in DRAM.
    Weight(WeightView),
    /// Parameters.
    Parameters(Parameters),
}

impl Row {
    /// The 128 bytes.
    pub fn encode(&self) -> [u8; ROW_BYTES] {
        match self {
            Row::Tensor(row) => row.encode(),
            Row::Weight(row) => row.encode(),
            Row::Window(row) => row.encode(),
            Row::Resize(row) => row.encode(),
        }
    }

    /// The row of 128 bytes.
    pub fn decode(bytes: &[u8; ROW_BYTES]) -> Result<Row, RowError> {
        if bytes[0] == parameters::TAG {
            return parameters::decode(bytes);
        }
        match bytes[1] {
            code if code < crate::format::FIRST_CODE => TensorRow::decode(bytes).map(Row::Tensor),
            _ => WeightRow::decode(bytes).map(Row::Weight),
        }
    }

    /// Replaces registers by their values.
    pub fn resolve(&self, registers: &[i64; ScalarRegister::COUNT]) -> Result<Descriptor, ResolveError> {
        match self {
            Row::Tensor(row) => row.resolve(registers).map(Descriptor::Tensor),
            Row::Weight(row) => row.resolve(registers).map(Descriptor::Weight),
            Row::Window(row) => row.resolve(registers).map(|window| Descriptor::Parameters(Parameters::Window(window))),
            Row::Resize(row) => Ok(Descriptor::Parameters(Parameters::Resize(*row))),
        }
    }

    /// The scalar registers that the row names: what an `ldd` of it reads.
    pub fn registers(&self) -> Vec<ScalarRegister> {
        match self {
            Row::Tensor(row) => row.registers(),
            Row::Weight(row) => row.base_register.into_iter().collect(),
            Row::Window(row) => row.numbers().filter_map(Number::register).collect(),
            Row::Resize(_) => Vec::new(),
        }
    }

    /// Reads what [`std::fmt::Display`] wrote.
    pub fn parse(text: &str) -> Result<Row, String> {
        text::parse(text)
    }
}

#[cfg(test)]
mod tests;

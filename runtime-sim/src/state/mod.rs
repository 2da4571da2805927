//! The machine's memories and the views that instructions have of them.
//!
//! In: addresses and descriptors that a program computed. Out: bytes, or a [`Fault`]. Always: every access is checked against the regions
//! of the memory map before a byte is touched, and weights are read where the image lies, never copied.

mod cache;
mod memory;
mod numbers;
mod view;

pub use cache::Cache;
pub use memory::{Memory, Region, SharedBytes};
pub use numbers::{Arithmetic, Integers};
pub use view::{MAX_RANK, Nest, View};

use narae_isa::Code;
use narae_isa::codes;

/// The two memories of the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// LPDDR.
    Dram,
    /// On-chip memory.
    Sram,
}

impl Space {
    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Space::Dram => "dram",
            Space::Sram => "sram",
        }
    }
}

/// Why an instruction cannot be executed; the machine adds which one it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Error code.
    pub code: &'static Code,
    /// What is wrong.
    pub message: String,
}

impl Fault {
    /// Operands that the instruction's row forbids.
    pub fn operands(message: impl Into<String>) -> Fault {
        Fault { code: &codes::E0608, message: message.into() }
    }

    /// An access outside of memory.
    pub fn bounds(message: impl Into<String>) -> Fault {
        Fault { code: &codes::E0605, message: message.into() }
    }
}

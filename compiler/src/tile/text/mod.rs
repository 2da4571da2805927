//! The text form of programs: MLIR's generic form, which parses back to the same program and which a stock `mlir-opt
//! --allow-unregistered-dialect` accepts.
//!
//! One `"narae.tile"` operation holds the program; its attributes say the entry's name, whether it is placed, and what the symbols are. First stand the
//! buffers, `"tile.buffer"`, with their home, capacity and name; the type of a buffer is that of its contents. An operand is a buffer as
//! a whole, dense, or a `"tile.view"` of one, which stands before the operation that uses it. An instruction is an operation
//! `"tile.<mnemonic>"`: `inst` is its text, in which descriptor register `d1` means operand number 1 and scalar register `r0` the first
//! of `scalars`. The other operations are `move`, `for`, `if`, `read`, `let`, `write` and `holds`. Locations are optional: the graph op as the
//! label, the ONNX nodes as the places.

mod parse;
mod print;
mod tensors;
#[cfg(test)]
mod tests;

pub use self::parse::{is_program, parse};
pub(super) use self::print::summary;
pub use self::print::{Options, print};

/// Operations that are not instructions.
#[cfg(test)]
pub(super) const STRUCTURE: &[&str] = &["buffer", "view", "move", "for", "if", "read", "let", "write", "holds"];

//! What every dialect of the compiler shares: entities, symbolic dims, the table of symbols and text.
//!
//! In go names and integers from models; out come values that are cheap to copy, compare and hash.
//! Nothing here knows an op, a file format or an instruction.

pub mod attribute;
pub mod dim;
mod dim_expr;
mod dim_text;
pub mod entities;
pub mod interval;
mod polynomial;
pub mod symbols;
pub(crate) mod text;

pub use dim::Dim;
pub use entities::{Node, Symbol, Value};
pub use symbols::{SymbolData, SymbolDefinition, Symbols};

#[cfg(test)]
mod tests;

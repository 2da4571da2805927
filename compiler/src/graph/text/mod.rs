//! The text form of graphs: MLIR's generic form, which parses back to the same graph and which a stock `mlir-opt
//! --allow-unregistered-dialect` accepts.
//!
//! One `"narae.graph"` operation holds the graph: its block arguments are the inputs, `"graph.return"` names the outputs. Types
//! are `tensor<4x?xf32, "4, seq">`: the encoding spells the dims where they are not all known. Attributes of the graph say what its
//! symbols are. Bodies of loops and conditionals are regions; an attribute of the region's name holds what is said of a graph.
//! Large constants are not printed but named by file and offset. Locations are optional.

pub(super) mod claims;
mod parse;
mod print;

pub use self::parse::parse;
pub use self::print::{Options, print};

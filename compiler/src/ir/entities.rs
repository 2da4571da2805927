//! The entities of the compiler: small integers with a printable prefix, so that the name in memory is the name in text.
//!
//! An entity is an index into the one map that owns its data; it means nothing without that map.

use cranelift_entity::entity_impl;

/// A tensor of a graph: an input, or one result of one node.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value(u32);
entity_impl!(Value, "v");

/// An operation of a graph.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Node(u32);
entity_impl!(Node, "n");

/// A named unknown integer: a length that is known only when the program runs.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Symbol(u32);
entity_impl!(Symbol, "s");

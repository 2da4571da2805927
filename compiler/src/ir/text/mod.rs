//! What the text forms of all dialects share: MLIR's generic form, without knowing any operation.
//!
//! In: text, or attributes and types. Out: operations as written (`syntax`), or pieces of text (`write`). Types are
//! `tensor<4x?xf32, "4, seq">`: the encoding spells the dims where they are not all known. The table of symbols is an attribute of the
//! operation that encloses a graph or program (`symbols`). What is printed parses back to the same.

mod lexer;
pub(crate) mod symbols;
pub(crate) mod syntax;
pub(crate) mod write;

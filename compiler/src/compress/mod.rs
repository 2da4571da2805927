//! Weights: recipes (where bytes come from and what is done with them), quantizers, formats that a file already carries, error
//! models, and the decisions among formats.
//!
//! In: sources and rows of weights and the candidates of each weight. Out: tensors in a stream; codes, scales and zero points; a chosen
//! format per weight with the reason. Always holds: nothing here keeps a whole model's weights, and nothing depends on the clock or
//! on threads. No pass holds a weight: a constant of the graph holds a [`Recipe`], which is executed once, in a stream of
//! bounded memory, when the image is written.

pub mod account;
pub mod carry;
pub mod choose;
pub mod decide;
pub mod pack;
pub mod policy;
pub mod quantize;
pub mod recipe;
mod recipe_read;
#[cfg(test)]
mod recipe_tests;
pub mod sites;
pub mod sources;
pub mod stored;

pub use recipe::{Recipe, Step};
pub use sources::{FileId, Sources};

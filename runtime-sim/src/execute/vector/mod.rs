//! The vector engine, by family of instructions.

pub(super) mod elementwise;
pub(super) mod index;
pub(super) mod rows;
pub(super) mod window;

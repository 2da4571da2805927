//! The laws, by theme. One law is one line: name, left side, right side, conditions, example.
//!
//! For authors: a law is an equality of values up to the order of rounding. It is directed: the right side is what the chip
//! likes better, or a normal form on the way there. Never associativity of `add` or `mul` in general, never a law that applies
//! to its own result; a law that makes a constant or an attribute must make finitely many. Every law has an example, and the test
//! in `tests/` compares both sides on a hundred random shapes. A number is close to nothing: it is the one that a law names, or what the
//! named one is rounded to in the tensor's type (`numbers.rs`). Every condition has an example that it refuses in `tests/refusals.rs`: a test
//! leaves each condition out and wants to see a refused example taken.

mod activation;
mod algebra;
mod attention;
mod layout;
mod linear;
mod norm;
mod rope;

use super::law::Law;

/// All laws, in a fixed order.
pub fn laws() -> Vec<Law> {
    [algebra::laws(), layout::laws(), norm::laws(), activation::laws(), rope::laws(), linear::laws(), attention::laws()]
        .into_iter()
        .flatten()
        .collect()
}

//! Weights: quantizers, formats that a file already carries, error models, and the decisions among formats.
//!
//! In: rows of weights and the candidates of each weight. Out: codes, scales and zero points; a chosen format per weight
//! with the reason. Always holds: nothing here keeps a whole model's weights, and nothing depends on the clock or on threads.

pub mod carry;
pub mod choose;
pub mod policy;
pub mod quantize;

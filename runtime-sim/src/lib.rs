//! The simulator: opens an image, binds lengths, runs entries, and answers what was computed and when.
//!
//! In: a Narae image (crate `narae-isa`) and host tensors. Out: host tensors, and a report of cycles, bytes and joules. Always: this crate has
//! never heard of ONNX or of the compiler; results never depend on the host's instruction set, on thread counts or on time.

pub mod checker;
pub mod dram;
pub mod execute;
pub mod kernels;
pub mod machine;
pub mod state;

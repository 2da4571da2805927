//! Executes Narae images: values, cycles, bytes, joules. Imports `narae-isa` only; has never heard of ONNX.

pub mod dram;

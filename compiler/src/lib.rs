//! ONNX model in, Narae image out. Imports `narae-isa` only; has never heard of the simulator.

pub mod bounds;
pub mod compile;
pub mod compress;
pub mod graph;
pub mod image;
pub mod ir;
pub mod lower;
pub mod onnx;
pub mod options;
pub mod passes;
pub mod pipeline;
pub mod rewrite;
pub mod tile;

//! Narae: from ONNX transformer graphs to the instructions of a single-chip LPDDR accelerator, and an instruction-level simulator
//! that executes them. This crate is the face: it re-exports the doors of the three crates behind it and adds what only a user of all
//! of them needs (arrays in numpy's files, tokenizers, sampling, the command line).
//!
//! - [`isa`]: the machine as a contract (instructions, formats, chip sheets, the image file);
//! - [`compiler`]: ONNX to image;
//! - [`sim`]: executes images. It has never heard of ONNX.
#![forbid(unsafe_code)]

// The command line is written as a user of this library, like any other program.
extern crate self as narae;

pub mod cli;
pub mod compare;
pub mod difference;
pub mod interpreter;
pub mod language;
pub mod npz;
pub mod padding;
pub mod quality;
pub mod sampling;
pub mod session;
pub mod settings;
pub mod tokenizer;

pub use narae_compiler as compiler;
pub use narae_isa as isa;
pub use narae_sim as sim;

//! The Narae machine as a contract: instructions, element and weight formats, chip data sheets, the image file.
//!
//! Everything that compiler and simulator agree on is defined here, once. Imports nothing else of this workspace.
//! Suggested reading order: [`element`] and [`tensor`] (what data is), [`functions`] (what the elementwise functions
//! mean), [`diagnostic`] and [`codes`] (how everything in this repository reports a problem), [`dim`] (lengths that are
//! known only at run time).
//!
//! Invariant: nothing in this crate touches the terminal, the clock, or the network, and nothing panics on data that a
//! file or a user can provide.
#![deny(unsafe_code)]

pub mod chip;
pub mod codes;
pub mod descriptor;
pub mod diagnostic;
pub mod dim;
pub mod element;
pub mod format;
pub mod functions;
pub mod image;
pub mod instructions;
pub mod manual;
pub mod map;
pub mod numerics;
pub mod operand;
mod small_float;
pub mod table;
pub mod tensor;
pub mod text;

pub use chip::Chip;
pub use descriptor::{Descriptor, Memory, Row, TensorRow, View, WeightRow, WeightView};
pub use diagnostic::{Code, Diagnostic, Diagnostics, Place};
pub use dim::DimExpr;
pub use element::{Element, ElementClass, Overflow};
pub use format::WeightFormat;
pub use functions::{
    BinaryFunction, CompareFunction, CumulateFunction, ReduceFunction, ScatterFunction, UnaryFunction,
};
pub use image::Image;
pub use instructions::{Execute, Inst};
pub use operand::{DescriptorRegister, Engine, ScalarRegister, Semaphore};
pub use table::{Access, Operand, Synchronization, Word};
pub use tensor::HostTensor;
pub use text::assemble;

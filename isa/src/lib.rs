//! The Narae machine as a contract: instructions, element and weight formats, chip data sheets, the image file.
//!
//! Everything that compiler and simulator agree on is defined here, once. Imports nothing else of this workspace.
//!
//! # The machine on one page
//!
//! ```text
//!            program (instructions, descriptor rows)                     r0 … r31   scalar registers, 64 bits
//!                 │ fetch                                                d0 … d62   descriptor registers
//!      ┌──────────▼──────────┐  dispatch, registers captured             s0 … s31   counting semaphores
//!      │  SCU control unit   ├────────┬────────┬────────┬────────┐
//!      └──────────┬──────────┘     ┌──▼──┐  ┌──▼──┐  ┌──▼──┐  ┌──▼──┐  ┌─────┐
//!                 └────────────────│DMAW │  │DMAA │  │ MXE │  │ ATE │  │ VPE │   in-order queues, all concurrent
//!                                  └──┬──┘  └──┬──┘  └──┬──┘  └──┬──┘  └──┬──┘
//!          LPDDR, all channels  ◄─────┴────────┴── FIFO─┘        │        │
//!          SRAM, one space      ◄──────────────┴────────┴────────┴────────┘
//! ```
//!
//! - **Programs** are 128-bit instructions ([`instructions`]: one row is the one definition of each). Formats, shapes, strides and addresses
//!   live in [`descriptor`] rows in memory; `ldd` loads one and replaces the registers that it names by their values. So lengths are never
//!   in the code, and one loop body serves all layers.
//! - **Engines** work concurrently. Nothing orders their memory accesses but semaphores (`@wait`, `@signal`) and `fence`. There are no
//!   caches: the program moves data between LPDDR and SRAM itself.
//! - **Weights** are packed by [`mod@format`] and stream through a FIFO from `ldw` to the one `linear` that consumes them.
//! - **Numbers** are written down: the order of every sum stands at the instruction, elementwise functions in [`functions`] and
//!   [`numerics`]. Results do not depend on the host, on the chip, or on how work was divided.
//! - **Chips** differ in their data sheet ([`chip`]) only. A compiled program is an [`image`].
//!
//! `WORKED.md` writes down the ten hardest operations in full; [`manual`] prints the manual; [`text`] is the assembler.
//!
//! Suggested reading order: [`element`] and [`tensor`] (what data is), [`functions`], [`descriptor`], [`instructions`], [`mod@format`],
//! [`image`]; beside them [`diagnostic`] and [`codes`] (how everything in this repository reports a problem) and [`dim`] (lengths in metadata).
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
pub mod files;
pub mod format;
pub mod functions;
pub mod image;
pub mod instructions;
pub mod magic;
pub mod manual;
pub mod map;
pub mod nearest;
pub mod numerics;
pub mod operand;
pub mod output;
pub mod sheet;
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

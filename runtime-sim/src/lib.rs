//! The simulator: opens an image, binds lengths, runs entries, and answers what was computed and when.
//!
//! In: a Narae image (crate `narae-isa`) and host tensors. Out: host tensors, and a report of cycles, bytes and joules. Always: this crate has
//! never heard of ONNX or of the compiler; results never depend on the host's instruction set, on thread counts or on time.
//!
//! Reading order: [`session`] (the door), [`machine`] (control unit, queues, semaphores), [`execute`] (the meaning of each instruction),
//! [`kernels`] (the arithmetic), [`state`] (memories and views), [`checker`] (happens-before), [`monitor`] (what the program
//! was made from), [`timing`] (when),
//! [`dram`] (the LPDDR model), [`report`] (what people see), [`validation`] (the bars, measured).

pub mod checker;
pub mod dram;
pub mod energy;
pub mod execute;
pub mod kernels;
pub mod machine;
pub mod monitor;
pub mod places;
pub mod report;
pub mod session;
pub mod state;
pub mod timing;
pub mod trace;
pub mod validation;

pub use machine::Limits;
pub use report::Report;
pub use session::{Machine, Outcome, Tensors};

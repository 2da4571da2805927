//! The bars of the simulator as data: what is measured, once, for the tests that hold them and for the page that shows them.
//!
//! In: nothing but the built-in chips. Out: figures by subject, and a [`Chapter`](crate::dram::validation::Chapter) of the page ([`chapter`]). Always: no clocks of the host in here
//! (speeds are measured by `examples/validation`); what is missed is shown like anything else. The memory model has its own
//! bars, which need the anchor's data: [`crate::dram::validation`].
//!
//! One file per subject: [`formulas`] (N1), [`streams`] (N4, balance, ceiling), [`token`] (the programs of N5), [`bugs`] (N6), [`determinism`] (N7),
//! [`energy`] (E1), [`replay`] (item 8); [`programs`] runs them.

pub mod bugs;
pub mod determinism;
pub mod energy;
pub mod formulas;
mod page;
pub mod programs;
pub mod replay;
pub mod streams;
pub mod token;

pub use page::chapter;

//! One file per chart: each makes a section of the page from the report.
//!
//! In: a [`Report`](crate::report::Report). Out: [`Section`](super::section::Section)s. Always: nothing is computed here that the
//! report does not hold but shares, sums and rates.

mod axis;
pub mod baseline;
pub mod channels;
pub mod critical;
pub mod energy;
pub mod engines;
pub mod formats;
pub mod foundations;
pub mod generation;
pub mod layers;
pub mod memory;
pub mod nodes;
pub mod roofline;
mod stack;
pub mod summary;
mod time;
pub mod timeline;

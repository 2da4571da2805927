//! The LPDDR model, usable alone.

mod channel;
pub mod counts;
mod device;
mod energy;
mod exact;
mod fast;
mod interface;
mod issue;
pub mod mapping;
mod ports;
mod queue;
mod rates;
mod reader;
mod refresh;
mod replay;
mod report;
pub mod sheet;
pub mod trace;

pub use energy::EnergyReport;
pub use exact::ExactDram;
pub use fast::FastDram;
pub use interface::{Completion, Dram, DramReport, Picoseconds, Request, RequestId, Spent};
pub use reader::{Problem, ProblemKind};
pub use report::{Mode, TraceReport, run_trace};

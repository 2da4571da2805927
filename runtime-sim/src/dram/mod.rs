//! The LPDDR model, usable alone: `narae dram TRACE.csv --config C.toml`.
//!
//! **In:** a sheet ([`sheet`]: timing, controller, mapping, energy table) and requests, either a trace ([`trace`]) or DMA
//! queues that submit as they go ([`Dram`]). **Out:** when each request is done, commands, row hits, energy by class, and
//! what every clock of the data bus went into. **Always:** deterministic, on any machine and number of threads; bytes in =
//! bytes out; never above the peak; nothing here knows the rest of Narae except its diagnostics.
//!
//! # Two settings
//! `compat` reproduces the anchor, Ramulator 2.1 (commit c5b1c3a4), clock for clock: every golden case, micro-case and
//! command count in `../shared/dram` comes out equal. `jedec` is the default: what the standard allows and real
//! controllers do. They differ in five points, all in `refresh.rs` and `issue.rs`:
//! - a due refresh stops only its own banks, not the channel;
//! - a refresh may be postponed (`refresh_postpone`) and the banks of a round are refreshed in any order, so that it is
//!   sent when nobody wants them;
//! - REFpb refreshes two banks (16-bank devices), so each bank is refreshed every tREFI, twice as often as in the anchor;
//! - RDA/WRA → REFpb and PREab → REFpb keep their distance (absent in the anchor, its issue 142);
//! - a write is complete when its data has been transferred, not when its command is sent; idle channels power down.
//!
//! # Two modes
//! *Exact* looks at every burst and visits only clocks at which something can happen. *Fast* is never a second model with
//! its own constants: it skips what the exact model has already shown. For a trace (`sampled.rs`) a stretch that repeats
//! is run until its rate is known, then skipped; behind [`Dram`] (`fast.rs`, `rates.rs`) streams share the rate that the
//! exact channel gives to their mixture, so that a stream of hundreds of MB costs as much as one burst.
//!
//! # The ceiling of a weight stream
//! A sequential read stream reaches 99.8 % of the peak in the `jedec` setting of LPDDR5X-8533 (95.8 % in `compat`). The
//! table in `docs/validation.md` says what each measure is worth; three make the ceiling:
//! 1. *Bank groups must rotate.* A bank group takes a burst every tCCD_L = 4 clocks, the bus one every 2: a stream in one
//!    bank gets 41 %. The mapping `o16 x4 b2 g2 x2 + xor2` changes the group every 128 bytes and the bank every 512, so any
//!    queue sees all groups. It costs 0.2 points against rotating at every burst (`x6 g2`), and is worth 35 to 50 points on
//!    scattered blocks and on streams whose bases are aligned, which is why it is the default.
//! 2. *Queues must be deep, and served by bank.* 64 entries are 128 clocks of data, longer than tRP + tRCD = 40 and the
//!    spread of the activates: the next rows are open before the present ones are exhausted. With 8 entries 21 points go.
//! 3. *Refresh must be sent where nobody is.* A pair of banks is refreshed for tRFCpb = 150 clocks every 521. The pair that
//!    the stream has left last is the one to which it comes back last, so refreshing that one first costs the bus nothing;
//!    `compat`, which takes the banks round robin and stops the channel meanwhile, loses 4 points to half as many. Owing
//!    up to eight refreshes costs and gains nothing on one stream, it gives the freedom that mixed traffic needs.
//!
//! What remains (0.2 %) are rows of one bank that meet because of the hash. All-bank refresh cannot be hidden: it costs
//! tRFCab / tREFI = 7.2 % and a restart each, whatever is postponed.
//!
//! # Not modelled
//! ODT, BL32 and the 8-bank and 16-bank modes, link ECC, DVFS and temperature derating, RFM / adaptive refresh, self-refresh
//! and deep sleep (power-down is, with its exit time), REFpb of LPDDR6 (unpublished), precharge-power-down entry commands on
//! the command bus, read-to-read preambles beyond WCK synchronisation, and errors. Energies have no primary source for
//! their split. Agreement with another model is not agreement with silicon: `docs/validation.md`.

mod channel;
pub mod counts;
mod device;
mod energy;
mod exact;
mod fast;
mod idle;
mod interface;
mod issue;
pub mod mapping;
mod ports;
mod queue;
mod rates;
mod recorder;
mod refresh;
mod replay;
mod report;
mod sampled;
pub mod sheet;
pub mod trace;
pub mod validation;

pub use energy::EnergyReport;
pub use exact::ExactDram;
pub use fast::FastDram;
pub use interface::{Completion, Dram, DramReport, Picoseconds, Request, RequestId, Spent};
pub use recorder::Recorder;
pub use report::{Mode, TraceReport, run_trace, run_trace_files};

#[cfg(test)]
mod tests;

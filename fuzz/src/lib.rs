//! The doors of Narae, each as a function of bytes, and what makes bytes for them.
//!
//! In: bytes of any kind. Out: an [`Outcome`] in process: accepted, or refused with codes. A panic, a code of the kind "our bug", a run of
//! more than two seconds or of more than 256 MiB is a finding; who runs the doors (the seeded runner in `main.rs`, libFuzzer in `coverage/`,
//! the short pass in `tests/smoke.rs`) decides what becomes of it.
//!
//! [`doors`] is THE table of doors · [`mutate`] changes bytes by what they mean (text, JSON, protobuf, archives, images) · [`corpus`] is what
//! they start from · [`random`] makes every run a function of seed and number.
//! Always holds: a door uses no network, no clock and no state of an earlier run but its scratch folder.
#![forbid(unsafe_code)]

pub mod corpus;
pub mod doors;
pub mod mutate;
pub mod random;
pub mod scratch;

use narae::isa::Diagnostics;

/// What a door says of some bytes.
pub type Outcome = Result<(), Diagnostics>;

/// Whether a door only reads, or also compiles or executes what it read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Parses and checks: a million runs and more.
    Reads,
    /// Compiles or executes: two hundred thousand runs and more.
    Executes,
}

/// A way for a file or a user to get bytes into Narae.
pub struct Door {
    /// Its name on the command line.
    pub name: &'static str,
    /// What bytes are to it, in one line.
    pub doc: &'static str,
    /// How much it does.
    pub kind: Kind,
    /// What mutation starts from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// New bytes from the seeds.
    pub mutate: fn(&mut random::Random, &[Vec<u8>]) -> Vec<u8>,
    /// Opens it.
    pub run: fn(&[u8]) -> Outcome,
    /// The file behind bytes that are choices and not the file itself, for looking at and for other tools.
    pub export: Option<fn(&[u8]) -> Vec<u8>>,
}

/// The door of this name.
pub fn find(name: &str) -> Option<&'static Door> {
    doors::DOORS.iter().find(|door| door.name == name)
}

/// Codes of an outcome that call it our own bug (exit status 70).
pub fn own_bug(outcome: &Outcome) -> Option<String> {
    let found = outcome.as_ref().err()?;
    found
        .iter()
        .find(|problem| problem.code.exit == 70)
        .map(|problem| format!("{}: {}", problem.code.id, problem.message))
}

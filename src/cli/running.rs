//! How programs run, shared by every subcommand that runs one. In: text. Out: limits of the machine. Always holds: a program that does not end
//! is given up, and its loop is named.

use narae::session::Session;
use narae_sim::Limits;

/// Bounds of a run.
#[derive(clap::Args, Clone, Default)]
#[command(next_help_heading = "Running")]
pub struct RunOptions {
    /// Give a run up after so many instructions [default: four times what the image says that it needs, and 100 million]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    max_instructions: Option<u64>,
}

impl RunOptions {
    /// The session under these limits.
    pub fn limit(&self, session: &mut Session) {
        session.machine().set_limits(Limits { instructions: self.max_instructions, ..Limits::default() });
    }
}

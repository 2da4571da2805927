//! How a model file is read, shared by every subcommand that opens one. In: text. Out: [`Limits`]. Always holds: limits that nobody raised
//! are the defaults, which protect against hostile files.

use narae_compiler::onnx::Limits;
use narae_isa::Diagnostics;

use super::options::once;

/// Bounds of what a model file may ask.
#[derive(clap::Args, Clone)]
#[command(next_help_heading = "Reading the model")]
pub struct ReadOptions {
    /// Raise a limit on the model file, if you trust it: nodes, items, depth, bytes, rank, nesting or inlined-nodes; may be repeated
    #[arg(long = "limit", value_name = "LIMIT=N", value_parser = limit, hide_short_help = true)]
    limits: Vec<(String, u32)>,
    /// Accept external data that is a hard link, which may also stand outside of the model's folder
    #[arg(long, hide_short_help = true)]
    hard_links: bool,
}

impl ReadOptions {
    /// The limits that hold.
    pub fn limits(&self) -> Result<Limits, Diagnostics> {
        once("--limit", &self.limits)?;
        let mut limits = Limits { hard_links: self.hard_links, ..Limits::default() };
        for (name, bound) in &self.limits {
            assert!(limits.set(name, *bound), "the name was checked when it was parsed");
        }
        Ok(limits)
    }
}

/// `LIMIT=N`.
fn limit(text: &str) -> Result<(String, u32), String> {
    let (name, bound) = text.split_once('=').ok_or_else(|| format!("`{text}` is not LIMIT=N"))?;
    if !Limits::names().any(|known| known == name) {
        return Err(format!("the limits are {}", Limits::names().collect::<Vec<_>>().join(", ")));
    }
    let bound = bound.parse().map_err(|_| format!("`{bound}` is not a number up to {}", u32::MAX))?;
    Ok((name.to_string(), bound))
}

//! `narae explain E0123`: what an error code means.

use std::path::PathBuf;

use narae_isa::{Code, Diagnostic, Diagnostics, codes};

use super::{Outcome, Voice, output};

/// What to explain.
#[derive(clap::Args)]
pub struct Arguments {
    /// An error code (E0123), or `all` for the list of codes
    what: PathBuf,
}

/// Prints the explanation.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let what = arguments.what.to_string_lossy();
    if what == "all" {
        let lines: Vec<String> = codes::ALL.iter().map(|code| format!("{}  exit {:<2}  {}\n", code.id, code.exit, code.title)).collect();
        return output::to_stdout(lines.concat().as_bytes());
    }
    let code = codes::find(&what).ok_or_else(|| unknown(&what))?;
    output::to_stdout(page(code).as_bytes())
}

fn page(code: &Code) -> String {
    format!("{}: {}\n\n{}\n\nThe exit code is {}.\n", code.id, code.title, super::render::wrap(code.explanation, 100), code.exit)
}

fn unknown(what: &str) -> Diagnostics {
    Diagnostic::new(&codes::E0801, format!("there is no error code `{what}`")).help("`narae explain all` lists the codes").into()
}

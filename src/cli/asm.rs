//! `narae asm`: assembly text to an image.

use std::io::Read as _;
use std::path::PathBuf;

use narae_isa::{Diagnostic, Diagnostics, assemble, codes};

use super::{Outcome, Voice, output};

/// What to assemble.
#[derive(clap::Args)]
pub struct Arguments {
    /// The text (`-`: standard input)
    file: PathBuf,
    /// Where the image goes (`-`: standard output)
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
}

/// Assembles.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let text = read_text(&arguments.file)?;
    let image = assemble(&arguments.file.display().to_string(), &text)?;
    output::write(&arguments.output, &image)
}

/// A text from a file or standard input.
pub fn read_text(path: &std::path::Path) -> Result<String, Diagnostics> {
    let mut text = String::new();
    let read = match output::is_stream(path) {
        true => std::io::stdin().lock().read_to_string(&mut text).map(|_| ()),
        false => std::fs::read_to_string(path).map(|content| text = content),
    };
    read.map_err(|error| {
        let what = format!("cannot read `{}`: {error}", path.display());
        Diagnostic::new(&codes::E0803, what).at_file(path.display().to_string())
    })?;
    Ok(text)
}

//! `narae asm`: assembly text to an image.

use std::path::PathBuf;

use narae_isa::{Diagnostic, Diagnostics, assemble, codes, files};

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
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    let text = read_text(&arguments.file)?;
    let image = assemble(&arguments.file.display().to_string(), &text)?;
    output::write(&arguments.output, &image)?;
    if text.lines().any(|line| line.trim_start().starts_with(".region")) {
        voice.say("note: the text of a disassembled image holds no weights; those of the new image are zeros");
    }
    Ok(())
}

/// A text from a file or standard input.
pub fn read_text(path: &std::path::Path) -> Result<String, Diagnostics> {
    let read = match output::is_stream(path) {
        true => files::read_text_from(std::io::stdin().lock(), files::MOST_TEXT_BYTES),
        false => files::read_text(path, files::MOST_TEXT_BYTES),
    };
    Ok(read.map_err(|error| {
        let what = format!("cannot read `{}`: {error}", path.display());
        Diagnostic::new(&codes::E0803, what).at_file(path.display().to_string())
    })?)
}

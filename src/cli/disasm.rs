//! `narae disasm`: the code of an image as assembly, each run of instructions headed by where it comes from.

use std::path::PathBuf;

use narae_isa::Image;
use narae_isa::text::disassemble_image;

use super::{Outcome, Voice, output};

/// Which image.
#[derive(clap::Args)]
pub struct Arguments {
    /// The image (.narae)
    image: PathBuf,
    /// Where the text goes
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    output: PathBuf,
}

/// Prints rows, entries and instructions.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let image = Image::open(&arguments.image)?;
    output::write(&arguments.output, disassemble_image(&image).as_bytes())
}

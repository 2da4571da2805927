//! `narae inspect`: what an image says about itself, for people or as JSON.

use std::path::PathBuf;

use narae_isa::Image;
use narae_isa::text::inspect_image;

use super::{Outcome, Voice, output};

/// Which image.
#[derive(clap::Args)]
pub struct Arguments {
    /// The image (.narae)
    image: PathBuf,
    /// Print the metadata as JSON
    #[arg(long)]
    json: bool,
}

/// Prints entries, tensors, lengths, state and the memory map.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let image = Image::open(&arguments.image)?;
    let text = match arguments.json {
        true => format!("{:#}\n", serde_json::to_value(image.metadata()).unwrap_or_default()),
        false => inspect_image(&image),
    };
    output::to_stdout(text.as_bytes())
}

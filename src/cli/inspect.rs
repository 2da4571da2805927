//! `narae inspect`: what an image says about itself, for people or as JSON.

use std::path::PathBuf;

use narae_isa::Image;
use narae_isa::text::inspect_image;

use super::{Outcome, Voice, output, weights};

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
        false => {
            let decisions = weights::decisions(&image);
            let kept = weights::wide(&weights::kept(&image), 3);
            let weights = if decisions.is_empty() { String::new() } else { weights::by_format(&decisions) };
            inspect_image(&image) + &weights + &kept
        }
    };
    output::to_stdout(text.as_bytes())
}

//! `narae verify`: every hash of an image, and every bound of its code, descriptors and metadata.

use std::path::PathBuf;

use narae_isa::image::Image;

use super::{Outcome, Voice};

/// Which images.
#[derive(clap::Args)]
pub struct Arguments {
    /// Images (.narae)
    #[arg(required = true)]
    images: Vec<PathBuf>,
}

/// Verifies all of them, stopping at the first that is not whole.
pub fn run(arguments: Arguments, voice: Voice) -> Outcome {
    for path in &arguments.images {
        let image = Image::open(path)?;
        image.verify()?;
        voice.say(format_args!("{}: whole; for {}", path.display(), image.chip().chip.name));
    }
    Ok(())
}

//! Images, mostly with right hashes: what a file claims that was made to deceive.

use narae::isa::Image;
use narae::isa::text::{disassemble_image, inspect_image};

use super::running;
use crate::Outcome;
use crate::random::Random;

/// Opens, verifies, prints.
pub fn read(bytes: &[u8]) -> Outcome {
    let image = Image::from_bytes("fuzz.narae", bytes.to_vec())?;
    let whole = image.verify();
    let _ = inspect_image(&image);
    let _ = disassemble_image(&image);
    let _ = serde_json::to_value(image.metadata());
    whole
}

/// Opens, runs, times.
pub fn execute(bytes: &[u8]) -> Outcome {
    let image = Image::from_bytes("fuzz.narae", bytes.to_vec())?;
    running::run_image(image, &mut Random::new(running::number(bytes)))
}

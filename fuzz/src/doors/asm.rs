//! Assembly text.

use narae::isa::text::{disassemble_image, inspect_image};
use narae::isa::{Image, assemble};

use crate::Outcome;

/// Assembles; what comes out opens, and prints.
pub fn run(bytes: &[u8]) -> Outcome {
    let text = String::from_utf8_lossy(bytes);
    let image = assemble("fuzz.s", &text)?;
    match Image::from_bytes("fuzz.narae", image) {
        Ok(image) => {
            let _ = inspect_image(&image);
            let _ = disassemble_image(&image);
            image.verify()
        }
        Err(problems) => panic!("what the assembler wrote does not open: {problems}"),
    }
}

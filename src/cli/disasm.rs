//! `narae disasm`: the code of an image as assembly, each run of instructions headed by where it comes from.

use std::fmt::Write as _;
use std::path::PathBuf;

use narae_isa::Diagnostics;
use narae_isa::image::{Image, Origin};
use narae_isa::text::{disassemble_word, labels_of};

use super::{Outcome, Voice, output};

/// Which image.
#[derive(clap::Args)]
pub struct Arguments {
    /// The image (.narae)
    image: PathBuf,
    /// Where the text goes
    #[arg(short, long, default_value = "-", value_name = "FILE")]
    output: PathBuf,
    /// Also print addresses and the encoded words
    #[arg(long)]
    words: bool,
    /// Leave out where instructions come from
    #[arg(long)]
    no_origins: bool,
}

/// Prints rows, entries and instructions.
pub fn run(arguments: Arguments, _voice: Voice) -> Outcome {
    let image = Image::open(&arguments.image)?;
    output::write(&arguments.output, text(&image, &arguments)?.as_bytes())
}

fn text(image: &Image, arguments: &Arguments) -> Result<String, Diagnostics> {
    let mut out = String::new();
    for (index, row) in image.rows().iter().enumerate() {
        let _ = writeln!(out, ".row row{index} {row}");
    }
    let labels = labels_of(image.words());
    let mut last: Option<&Origin> = None;
    for (pc, word) in image.words().iter().enumerate() {
        let origin = image.debug_info().origin(pc as u32);
        for entry in image.metadata().entries.iter().filter(|entry| entry.pc as usize == pc) {
            let _ = writeln!(out, ".entry {}", entry.name);
        }
        if origin != last && !arguments.no_origins {
            out.push_str(&origin.map(origin_text).unwrap_or_default());
        }
        last = origin;
        if let Some(label) = labels.get(&(pc as u32)) {
            let _ = writeln!(out, "{label}:");
        }
        let line = disassemble_word(word, &labels, &|row| Some(format!("row{row}")));
        match arguments.words {
            true => { let _ = writeln!(out, "    /* {pc:6} {:032x} */ {line}", word.encode()); }
            false => { let _ = writeln!(out, "    {line}"); }
        }
    }
    Ok(out)
}

fn origin_text(origin: &Origin) -> String {
    let nodes: Vec<String> = origin.nodes.iter().map(|(name, op)| format!("{name} ({op})")).collect();
    let parts = [origin.tile.clone(), origin.graph.clone(), nodes.join(", ")];
    let parts: Vec<String> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    format!("    // {}\n", parts.join(" <- ").replace('\n', " "))
}

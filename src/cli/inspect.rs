//! `narae inspect`: what an image says about itself, for people or as JSON.

use std::fmt::Write as _;
use std::path::PathBuf;

use narae_isa::image::{Entry, Image, Region, TensorInfo};
use narae_isa::table::WORD_BYTES;

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
    let text = if arguments.json { json(&image) } else { human(&image) };
    output::to_stdout(text.as_bytes())
}

fn json(image: &Image) -> String {
    let metadata = serde_json::to_value(image.metadata()).unwrap_or_default();
    format!("{metadata:#}\n")
}

fn human(image: &Image) -> String {
    let metadata = image.metadata();
    let weights = image.weights_range();
    let mut out = format!("{}: model `{}` for {}, written by {}\n", image.name(), metadata.model, image.chip().chip.name, metadata.producer);
    let _ = writeln!(
        out,
        "code {} ({} instructions), descriptors {} rows, weights {}",
        bytes((image.words().len() * WORD_BYTES) as u64),
        image.words().len(),
        image.rows().len(),
        bytes(weights.end - weights.start)
    );
    for entry in &metadata.entries {
        out.push_str(&entry_text(entry));
    }
    if !metadata.state.is_empty() {
        let total = metadata.state.iter().map(|buffer| buffer.bytes).sum();
        let _ = writeln!(out, "\nstate: {} buffers, {}", metadata.state.len(), bytes(total));
    }
    out.push_str("\nmemory map\n");
    for region in &metadata.regions {
        out.push_str(&region_text(region));
    }
    out
}

fn entry_text(entry: &Entry) -> String {
    let mut out = format!("\nentry {} (instruction {})\n", entry.name, entry.pc);
    for (side, tensors) in [("in ", &entry.inputs), ("out", &entry.outputs)] {
        for tensor in tensors {
            let _ = writeln!(out, "  {side} {:<32} {:<5} {}", tensor.name, tensor.element.name(), dims_text(tensor, entry));
        }
    }
    for slot in &entry.slots {
        let who = if slot.computed { "computed by the program" } else { "from the inputs" };
        let _ = writeln!(out, "  length {:<29} up to {} ({who})", slot.name, slot.max);
    }
    out
}

/// Dims with the names of the lengths in place of their numbers.
pub fn dims_text(tensor: &TensorInfo, entry: &Entry) -> String {
    let dims: Vec<String> = tensor.dims.iter().map(|dim| named(&dim.to_string(), entry)).collect();
    format!("[{}]", dims.join(", "))
}

/// `s3` becomes the name of slot 3.
fn named(expression: &str, entry: &Entry) -> String {
    let mut out = String::new();
    let mut rest = expression;
    while let Some(at) = rest.find('s') {
        let digits = rest[at + 1..].find(|c: char| !c.is_ascii_digit()).map_or(rest.len(), |end| at + 1 + end);
        let slot = rest[at + 1..digits].parse::<usize>().ok().and_then(|index| entry.slots.get(index));
        out.push_str(&rest[..at]);
        out.push_str(slot.map_or(&rest[at..digits], |slot| slot.name.as_str()));
        rest = &rest[digits..];
    }
    out + rest
}

fn region_text(region: &Region) -> String {
    let memory = format!("{:?}", region.memory).to_lowercase();
    format!("  {memory:<5} {:#014x} {:>12}  {}\n", region.address, bytes(region.bytes), region.name)
}

/// A size with a unit that a person can read.
pub fn bytes(count: u64) -> String {
    match count {
        0..10_240 => format!("{count} B"),
        10_240..10_485_760 => format!("{:.1} KiB", count as f64 / 1024.0),
        10_485_760..10_737_418_240 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", count as f64 / 1_073_741_824.0),
    }
}

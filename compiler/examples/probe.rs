//! Compiles one model and prints sizes: `cargo run --release -p narae-compiler --example probe MODEL.onnx`.
#![allow(clippy::print_stdout, reason = "an example talks to the terminal")]

use narae_compiler::compile::{Options, Precision, compile};
use narae_compiler::onnx::{Limits, Model};
use narae_compiler::pipeline::Unobserved;
use narae_isa::chip::Chip;

fn main() {
    let path = std::env::args().nth(1).unwrap_or_default();
    let run = || -> Result<(), narae_isa::Diagnostics> {
        let start = std::time::Instant::now();
        let model = Model::open(&path, &Limits::default())?;
        let mut options = Options::new(Chip::load("narae-1")?);
        options.precision = Precision::F32;
        options.maxima.rest = narae_compiler::bounds::Rest::AtMost(64);
        let (compiled, findings) = compile(&model, &options, &mut Unobserved)?;
        println!(
            "{} instructions, {} rows, {} weight bytes",
            compiled.content.words.len(),
            compiled.content.rows.len(),
            compiled.weight_bytes()
        );
        for region in &findings.recovered.regions {
            println!("{} {:?} {:?}", region.name, region.ops, region.notes);
        }
        let bytes = compiled.to_bytes()?;
        println!("{} bytes in {:?}", bytes.len(), start.elapsed());
        if let Some(out) = std::env::args().nth(2) {
            std::fs::write(out, bytes).ok();
        }
        for (pc, word) in compiled.content.words.iter().enumerate().take(400) {
            println!("{pc:5} {word}");
        }
        Ok(())
    };
    if let Err(problems) = run() {
        println!("{problems}");
    }
}

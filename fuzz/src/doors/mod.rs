//! THE table of doors, one row each; one file per family.

mod asm;
mod cli;
mod external;
mod image;
mod ir;
mod npz;
mod onnx;
mod operators;
pub mod running;
mod sheets;
mod tokenizer;
mod trace;
mod writing;

pub use cli::FILES as CLI_FILES;

use crate::Kind::{Executes, Reads};
use crate::mutate;
use crate::{Door, corpus};

/// A door whose bytes are the file itself.
const fn door(
    name: &'static str,
    kind: crate::Kind,
    doc: &'static str,
    run: fn(&[u8]) -> crate::Outcome,
    seeds: fn() -> Vec<Vec<u8>>,
    mutate: fn(&mut crate::random::Random, &[Vec<u8>]) -> Vec<u8>,
) -> Door {
    Door { name, doc, kind, seeds, mutate, run, export: None }
}

/// Every door.
pub static DOORS: &[Door] = &[
    door("wire", Reads, "an ONNX file: scanned, decoded, imported", onnx::wire, corpus::onnx, mutate::protobuf::mutate),
    door(
        "compile",
        Executes,
        "an ONNX file: compiled, run and timed",
        onnx::compile,
        corpus::models,
        mutate::protobuf::mutate,
    ),
    Door {
        export: Some(operators::export),
        ..door(
            "operators",
            Executes,
            "choices: one node of any operator, compiled and run",
            operators::run,
            corpus::operators,
            operators::mutate,
        )
    },
    Door {
        export: Some(external::export),
        ..door(
            "external",
            Reads,
            "choices: a model whose tensors lie in other files",
            external::run,
            corpus::none,
            external::mutate,
        )
    },
    door("npz", Reads, "an .npz archive, and the same bytes as .npy", npz::run, corpus::npz, mutate::archive::mutate),
    door(
        "image",
        Reads,
        "an image: opened, verified, printed",
        image::read,
        corpus::image_files,
        mutate::image::mutate,
    ),
    door("execute", Executes, "an image: run and timed", image::execute, corpus::image_files, mutate::image::mutate),
    door("asm", Reads, "assembly text: assembled, opened, printed", asm::run, corpus::asm, mutate::text::mutate),
    door(
        "graph-text",
        Reads,
        "the text of a graph: parsed, verified, printed, parsed",
        ir::read,
        corpus::graphs,
        mutate::text::mutate,
    ),
    door(
        "graph",
        Executes,
        "the text of a graph: every pass, compiled and run",
        ir::compile,
        corpus::graphs,
        mutate::text::mutate,
    ),
    door(
        "tile-text",
        Reads,
        "the text of a tile program: parsed, verified, printed",
        ir::read,
        corpus::tiles,
        mutate::text::mutate,
    ),
    door("tile", Executes, "the text of a tile program: placed", ir::place, corpus::tiles, mutate::text::mutate),
    door("chip", Reads, "the sheet of a chip", sheets::chip, corpus::chips, mutate::text::mutate),
    door("dram", Reads, "the sheet of a memory", sheets::dram, corpus::drams, mutate::text::mutate),
    door("trace", Executes, "a trace of requests: read and run", trace::run, corpus::traces, mutate::text::mutate),
    door("tokenizer", Reads, "a tokenizer.json: read, used", tokenizer::run, corpus::tokenizers, mutate::json::mutate),
    door("cli", Executes, "a command line, one argument a line", cli::run, corpus::command_lines, cli::mutate),
];

//! One decoder layer on its way down, as text that people review: the graph before lowering, the placed program, the assembly.
//!
//! A snapshot changes only when somebody blesses it: `INSTA_UPDATE=always cargo test -p narae-compiler --test layer`. The texts
//! parse back and a stock mlir-opt accepts them.

use std::path::Path;

use narae_compiler::bounds::{self, Maxima, Rest};
use narae_compiler::compile::{Options, compile_graph, optimise};
use narae_compiler::compress::policy::Policy;
use narae_compiler::graph::{self, Graph};
use narae_compiler::onnx::{Limits, Model, import};
use narae_compiler::pipeline::Unobserved;
use narae_compiler::tile::{self, verify};
use narae_isa::chip::Chip;

fn read(name: &str) -> Graph {
    // A relative path, so that the texts say the same everywhere: tests of a package run in its folder.
    let model = Model::open(Path::new("../tests/data").join(name), &Limits::default()).expect("the model opens");
    import(&model).expect("the model is imported")
}

fn options() -> Options {
    let maxima =
        Maxima { batch: Some(2), sequence: Some(16), past: Some(32), rest: Rest::AtMost(64), ..Maxima::default() };
    let chip = Chip::built_in("narae-edge").expect("a built-in chip");
    Options { maxima, quant: Policy::None, name: "llama1_layer".into(), ..Options::new(chip) }
}

/// The numbers of constants are not worth reviewing.
fn without_bytes(text: &str) -> String {
    let line = |line: &str| match (line.find("bytes = \""), line.find("values = [")) {
        (Some(at), _) => {
            let end = line[at + 9..].find('"').map_or(line.len(), |end| at + 9 + end);
            format!("{}…{}", &line[..at + 9], &line[end..])
        }
        _ => line.to_string(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn one_layer() {
    let options = options();
    let mut graph = read("llama1_layer.onnx");
    bounds::fix(&mut graph, &options.maxima).expect("the lengths are known");
    let (optimised, _) = optimise(graph.clone(), &options, &mut Unobserved).expect("the graph is optimised");
    let text = graph::text::print(&optimised, graph::text::Options { locations: false });
    insta::assert_snapshot!("layer_graph", without_bytes(&text));
    let parsed = graph::text::parse(&text, &optimised.sources).expect("the graph parses back");
    assert!(parsed == optimised, "the graph parses back to itself");

    let sources = graph.sources.clone();
    let (compiled, _) = compile_graph(graph, &options, &mut Unobserved).expect("the graph compiles");
    let program = &compiled.programs[0];
    verify::placed(program).expect("the program is right");
    let text = tile::text::print(program, &sources, tile::text::Options { locations: false });
    insta::assert_snapshot!("layer_tile", without_bytes(&text));
    let located = tile::text::print(program, &sources, tile::text::Options { locations: true });
    let parsed = tile::text::parse(&located, &sources).expect("the program parses back");
    assert!(parsed == *program, "the program parses back to itself");

    let words = compiled.content.words.iter().enumerate();
    let assembly: Vec<String> = words.map(|(at, word)| format!("{at:4}  {word}")).collect();
    insta::assert_snapshot!("layer_assembly", assembly.join("\n"));
}

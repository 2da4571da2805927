//! The back half of the road on small graphs: what the instructions look like.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

use std::collections::BTreeMap;

use narae_compiler::compress::{Recipe, Sources};
use narae_compiler::graph::{Graph, Op, Provenance, TensorType};
use narae_compiler::ir::{Dim, SymbolDefinition};
use narae_compiler::lower::{graph_to_tile, tile_to_isa};
use narae_compiler::passes::{memory_map, place};
use narae_isa::{BinaryFunction, Element, HostTensor, UnaryFunction};

#[test]
fn a_small_mlp() {
    let mut graph = Graph::new("mlp", Sources::default());
    let rows = graph.symbols.add_bounded("rows", SymbolDefinition::Input { input: 0, axis: 0 }, Some(0), Some(128));
    let x = graph.add_input("x", TensorType::new(Element::F32, vec![Dim::from(rows), 64.into()]));
    let none = Provenance::none();
    let weight = |n: usize, k: usize| Recipe::inline(HostTensor::zeros(Element::F32, &[n, k]));
    let w1 = graph.constant(weight(96, 64), &none).unwrap();
    let w2 = graph.constant(weight(64, 96), &none).unwrap();
    let h = graph.add1(Op::Linear {}, &[x, w1], &none).unwrap();
    let a = graph.add1(Op::Unary { function: UnaryFunction::Silu }, &[h], &none).unwrap();
    let y = graph.add1(Op::Linear {}, &[a, w2], &none).unwrap();
    let z = graph.add1(Op::Binary { function: BinaryFunction::Add }, &[x, y], &none).unwrap();
    graph.add_output("z", z);
    let program = graph_to_tile::lower(&graph, "main").unwrap();
    let placed = place::place(&program, 1 << 25).unwrap();
    let map = memory_map::map(&[&placed], 4096, 1 << 30).unwrap();
    let mut table = tile_to_isa::Rows::default();
    let code = tile_to_isa::emit(&placed, &map.entries[0], &mut table).unwrap();
    for word in &code.words {
        println!("{word}");
    }
    let _: BTreeMap<u32, u32> = BTreeMap::new();
    // Cut into pieces in a tiny memory.
    let placed = place::place(&program, 1 << 16).unwrap();
    let map = memory_map::map(&[&placed], 4096, 1 << 30).unwrap();
    let code = tile_to_isa::emit(&placed, &map.entries[0], &mut table).unwrap();
    println!("--- small");
    for word in &code.words {
        println!("{word}");
    }
}

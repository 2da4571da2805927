//! The back half of the road on small graphs: what the instructions look like.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

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
    let mut table = tile_to_isa::Rows::default();
    let mut assembled = |sram| {
        let placed = place::place(&program, sram).unwrap();
        let map = memory_map::map(&[&placed], 4096, 1 << 30).unwrap();
        let code = tile_to_isa::emit(&placed, &map.entries[0], &mut table).unwrap();
        code.words.iter().map(|word| format!("{word}\n")).collect::<String>()
    };
    // In one piece: both products, one after the other.
    insta::assert_snapshot!("small_mlp", assembled(1 << 25));
    // Cut into pieces, by a loop over the rows.
    insta::assert_snapshot!("small_mlp_in_pieces", assembled(1 << 16));
}

//! Each invariant, broken on purpose in a program that is right, is found.

use narae_isa::instructions as isa;
use narae_isa::{BinaryFunction, Element, HostTensor, UnaryFunction};

use super::{lowered, placed};
use crate::compress::{Recipe, Sources};
use crate::graph::{Graph, Op as GraphOp, Provenance, TensorType};
use crate::ir::{Dim, Symbol, SymbolDefinition};
use crate::lower::graph_to_tile::{self, d, r};
use crate::passes::place;
use crate::tile::{Buffer, Compute, Home, Op, Program};

/// `z = x + silu(x · w)`, lowered.
fn program() -> Program {
    let mut graph = Graph::new("mlp", Sources::default());
    let rows = graph.symbols.add_bounded("rows", SymbolDefinition::Input { input: 0, axis: 0 }, Some(0), Some(128));
    let x = graph.add_input("x", TensorType::new(Element::F32, vec![Dim::from(rows), 64.into()]));
    let none = Provenance::none();
    let recipe = Recipe::inline(HostTensor::zeros(Element::F32, &[64, 64]));
    let w = graph.constant(recipe, &none).expect("a constant");
    let h = graph.add1(GraphOp::Linear {}, &[x, w], &none).expect("a product");
    let a = graph.add1(GraphOp::Unary { function: UnaryFunction::Silu }, &[h], &none).expect("a function");
    let z = graph.add1(GraphOp::Binary { function: BinaryFunction::Add }, &[x, a], &none).expect("a sum");
    graph.add_output("z", z);
    graph_to_tile::lower(&graph, "main").expect("it lowers")
}

/// The compute with this mnemonic.
fn find<'a>(program: &'a mut Program, mnemonic: &str) -> &'a mut Compute {
    let found = program.body.iter_mut().find_map(|op| match op {
        Op::Compute(compute) if compute.inst.mnemonic() == mnemonic => Some(compute),
        _ => None,
    });
    found.expect("the instruction is there")
}

fn broken(how: impl FnOnce(&mut Program), expected: &str) {
    let mut program = program();
    lowered(&program).expect("the program is right");
    how(&mut program);
    let errors = lowered(&program).expect_err("the program is wrong").to_string();
    assert!(errors.contains(expected), "`{expected}` is not in:\n{errors}");
}

#[test]
fn what_lowering_and_placement_make_is_right() {
    let program = program();
    lowered(&program).expect("lowered");
    for bytes in [1 << 25, 1 << 16] {
        placed(&place::place(&program, bytes).expect("it fits")).expect("placed");
    }
}

#[test]
fn views_stay_inside() {
    broken(|p| find(p, "unary").views[0].offset = Dim::ONE, "reaches out of");
    broken(|p| find(p, "unary").views[1].strides[0] = Dim::from(65i64), "reaches out of");
    broken(|p| find(p, "unary").views[0].buffer = Buffer::from_u32(99), "does not exist");
    broken(|p| find(p, "unary").views[0].element = Element::F16, "another width");
    broken(|p| drop(find(p, "unary").views[0].strides.pop()), "more dims than strides");
    broken(|p| find(p, "unary").views[0].strides[0] = Dim::ZERO, "repeats elements");
}

#[test]
fn operands_agree_with_the_row() {
    broken(|p| find(p, "linear").views[1].dims[1] = Dim::from(32i64), "do not fit");
    broken(|p| find(p, "unary").views[0].dims[0] = Dim::ONE, "do not fit");
    broken(|p| drop(find(p, "binary").views.pop()), "a view that is not there");
    broken(|p| find(p, "unary").scalars.push(Dim::ONE), "a scalar is not an operand");
    broken(
        |p| find(p, "unary").inst = isa::FillInteger { out: d(0), value: 0, rs: Some(r(3)) }.into(),
        "a view or the parameters are not an operand",
    );
    broken(
        |p| find(p, "unary").inst = isa::Select { out: d(0), c: d(1), a: d(1), b: d(1) }.into(),
        "the elements of `c`",
    );
    broken(|p| find(p, "unary").inst = isa::Halt {}.into(), "not an operand");
}

#[test]
fn weights_are_taken_in_order() {
    broken(|p| p.body.retain(|op| !matches!(op, Op::Compute(c) if c.inst.mnemonic() == "ldw")), "not the next one");
    broken(|p| p.body.retain(|op| !matches!(op, Op::Compute(c) if c.inst.mnemonic() == "linear")), "no product");
}

#[test]
fn buffers_are_written_before_they_are_read() {
    broken(|p| p.body.retain(|op| !matches!(op, Op::Compute(c) if c.inst.mnemonic() == "unary")), "is read before");
    broken(|p| p.body.clear(), "is never written");
    broken(
        |p| {
            let from = find(p, "unary").views[0].clone();
            let input = p.buffers.iter().find(|(_, data)| data.home == Home::Input(0)).expect("an input").0;
            let to = crate::tile::View { buffer: input, ..from.clone() };
            p.body.push(Op::Copy { to, from, cause: crate::tile::Cause::default() });
        },
        "not ours to write",
    );
}

#[test]
fn symbols_are_defined_before_they_are_used() {
    broken(
        |p| {
            let symbol = p.symbols.add_bounded("late", SymbolDefinition::Undefined, Some(0), Some(1));
            find(p, "unary").views[0].offset = symbol.into();
        },
        "`late` is used before it is defined",
    );
    broken(|p| find(p, "unary").views[0].offset = Symbol::from_u32(99).into(), "does not exist");
    broken(
        |p| {
            let index = p.symbols.add_bounded("i", SymbolDefinition::Undefined, Some(0), Some(1));
            let body = vec![Op::Let { symbol: index, value: Dim::ONE }];
            p.body.push(Op::For { index, trip: 2.into(), condition: None, body: body.clone(), layers: false });
            p.body.push(Op::For { index, trip: 2.into(), condition: None, body: vec![], layers: false });
        },
        "the index of a loop is set",
    );
}

#[test]
fn placement_leaves_nothing_undecided() {
    let errors = placed(&program()).expect_err("nothing is placed yet").to_string();
    assert!(errors.contains("has no memory") && !errors.contains("never written"), "{errors}");
    let mut program = program();
    let scratch: Vec<Buffer> =
        program.buffers.iter().filter(|(_, data)| data.home == Home::Scratch).map(|(buffer, _)| buffer).collect();
    scratch.into_iter().for_each(|buffer| program.buffers[buffer].home = Home::Dram);
    let errors = placed(&program).expect_err("operands lie in LPDDR").to_string();
    assert!(errors.contains("wrong memory"), "{errors}");
}

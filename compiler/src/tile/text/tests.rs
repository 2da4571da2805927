//! Properties over random programs and over programs lowered from random graphs: the text parses back, mlir-opt accepts it.

use narae_isa::instructions::Inst;
use narae_testing::mlir_opt;
use proptest::prelude::*;

use super::{Options, STRUCTURE, parse, print};
use crate::bounds::{self, Maxima};
use crate::compress::Sources;
use crate::graph::testing::random_graph;
use crate::lower::graph_to_tile;
use crate::passes::place;
use crate::tile::testing::random_program;
use crate::tile::{Program, verify};

const LOCATED: Options = Options { locations: true };

fn round_trip(program: &Program, sources: &Sources) {
    let text = print(program, sources, LOCATED);
    let parsed = parse(&text, sources).unwrap_or_else(|error| panic!("{error}\n{text}"));
    assert!(
        parsed == *program,
        "the program is another one after parsing:\n{text}\n{}",
        print(&parsed, sources, LOCATED)
    );
    assert_eq!(print(&parsed, sources, LOCATED), text);
}

/// A random graph as a program, before and after placement; `None` if it needs a limit that nobody gave.
fn lowered(seed: u64) -> Option<(Program, Program)> {
    let (mut graph, _) = random_graph(seed, 30);
    bounds::bind(&mut graph, &Maxima { rest: bounds::Rest::AtMost(8), ..Maxima::default() }).ok()?;
    let program = graph_to_tile::lower(&graph, "main").ok()?;
    let placed = place::place(&program, 1 << 20).ok()?;
    Some((program, placed))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_programs_parse_back(seed in any::<u64>()) {
        round_trip(&random_program(seed, 12), &Sources::new());
    }

    #[test]
    fn lowered_graphs_parse_back_and_verify(seed in any::<u64>()) {
        if let Some((program, placed)) = lowered(seed) {
            round_trip(&program, &Sources::new());
            round_trip(&placed, &Sources::new());
            let show = |program: &Program| print(program, &Sources::new(), Options::default());
            verify::lowered(&program).map_err(|e| TestCaseError::fail(format!("{e}\n{}", show(&program))))?;
            verify::placed(&placed).map_err(|e| TestCaseError::fail(format!("{e}\n{}", show(&placed))))?;
        }
    }
}

#[test]
fn most_random_graphs_lower() {
    let lowered = (0..60).filter(|&seed| lowered(seed).is_some()).count();
    assert!(lowered > 20, "the properties would say little: only {lowered} of 60 graphs are lowered");
}

#[test]
fn mlir_opt_accepts_programs() {
    let mut texts: Vec<String> = (0..8)
        .map(|seed| print(&random_program(seed, 40), &Sources::new(), Options { locations: seed % 2 == 0 }))
        .collect();
    let found = (0..).filter_map(lowered).take(4);
    texts.extend(found.map(|(_, placed)| print(&placed, &Sources::new(), LOCATED)));
    for text in texts {
        mlir_opt(&text).unwrap_or_else(|message| panic!("{message}\n{text}"));
    }
}

#[test]
fn structure_is_told_from_instructions() {
    for name in STRUCTURE {
        assert!(Inst::ROWS.iter().all(|row| row.mnemonic != *name), "`{name}` is an instruction and a structure");
    }
}

#[test]
fn wrong_text_is_refused_with_its_line() {
    let wrap = |line: &str| {
        format!(
            "\"builtin.module\"() ({{\n\"narae.tile\"() ({{\n{line}\n}}) {{assumptions = [], name = \"m\", symbols = []}} : () -> ()\n}}) : () -> ()"
        )
    };
    for (line, expected) in [
        ("\"tile.move\"(%b0, %b0) : () -> ()", "not defined"),
        ("\"tile.fence\"() {inst = \"halt\"} : () -> ()", "holds the instruction"),
        ("\"tile.fence\"() {inst = \"fence @wait(s1, 1)\"} : () -> ()", "neither waits nor signals"),
        ("%b0 = \"tile.buffer\"() {capacity = 4, home = \"moon\", name = \"x\"} : () -> tensor<1xf32>", "no home"),
        (
            "%b0 = \"tile.buffer\"() {capacity = -4, home = \"sram\", name = \"x\"} : () -> tensor<1xf32>",
            "not negative",
        ),
        ("\"tile.for\"() ({}, {}) {index = \"i\"} : () -> ()", "wrong number"),
        ("\"graph.add\"() : () -> ()", "not an operation"),
        ("\"tile.let\"() {symbol = \"x\", value = 1} : () -> ()", "names no symbol"),
    ] {
        let error = parse(&wrap(line), &Sources::new()).expect_err("the text is wrong");
        assert!(error.message.contains(expected), "{error}");
        assert!(error.to_string().contains('3'), "{error}");
    }
}

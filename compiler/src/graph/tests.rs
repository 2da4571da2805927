//! Properties over random graphs: what inference says is what evaluation yields; text parses back; the verifier accepts.

use narae_testing::mlir_opt;
use proptest::prelude::*;

use super::eval::{evaluate, evaluate_all};
use super::testing::random_graph;
use super::text::claims::check;
use super::text::{Options, parse, print};
use super::verify::verify;
use crate::compress::Sources;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn evaluation_yields_the_inferred_types(seed in any::<u64>()) {
        let (graph, inputs) = random_graph(seed, 40);
        verify(&graph).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
        // An index or extent that the random data makes wrong is a refusal, never a panic.
        if let Ok(all) = evaluate_all(&graph, &inputs) {
            for (value, data) in graph.values() {
                let tensor = all[value].as_ref().expect("every value was kept");
                prop_assert_eq!(tensor.element, data.ty.element);
                prop_assert_eq!(tensor.bytes.len(), tensor.dims.iter().product::<usize>() * tensor.element.bytes());
            }
            let outputs = evaluate(&graph, &inputs).expect("the same evaluation");
            for port in graph.outputs() {
                prop_assert_eq!(Some(&outputs[&port.name]), all[port.value].as_ref());
            }
        }
    }

    #[test]
    fn text_parses_back_to_the_same_graph(seed in any::<u64>()) {
        let (mut graph, _) = random_graph(seed, 40);
        // What the graph is made to fit and nothing proves is an assumption of its text.
        check(&mut graph).map_err(TestCaseError::fail)?;
        let text = print(&graph, Options { locations: true });
        let parsed = parse(&text, &Sources::new()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert!(parsed == graph);
        prop_assert_eq!(print(&parsed, Options { locations: true }), text);
        verify(&parsed).map_err(|errors| TestCaseError::fail(errors.to_string()))?;
    }
}

#[test]
fn most_random_graphs_evaluate() {
    let evaluated = (0..100).filter(|&seed| {
        let (graph, inputs) = random_graph(seed, 40);
        evaluate(&graph, &inputs).is_ok()
    });
    assert!(evaluated.count() > 40, "the properties would say little");
}

#[test]
fn wrong_text_is_refused_with_its_line() {
    for (text, expected) in [
        ("", "string"),
        ("\"builtin.module\"() ({\n \"narae.graph\"() ({\n ^bb0(): \n", "string"),
        ("\"builtin.module\"() ({ \"x\"", "narae.graph"),
        ("\"unterminated", "closing quote"),
        ("[[[[[[", "string"),
    ] {
        let error = parse(text, &Sources::new()).expect_err("the text is wrong");
        assert!(error.message.contains(expected), "{error}");
    }
}

#[test]
fn mlir_opt_accepts_random_graphs() {
    for seed in 0..10 {
        let (graph, _) = random_graph(seed, 60);
        let text = print(&graph, Options { locations: seed % 2 == 0 });
        mlir_opt(&text).unwrap_or_else(|message| panic!("seed {seed}: {message}"));
    }
}

/// Parses and verifies whatever the text has become; only panics can fail.
fn read(text: &str) -> bool {
    parse(text, &Sources::new()).is_ok_and(|graph| verify(&graph).is_ok())
}

#[test]
fn cut_and_edited_text_is_read_or_refused() {
    let mut refused = 0;
    for seed in 0..12u64 {
        let text = print(&random_graph(seed, 12).0, Options { locations: true });
        assert!(read(&text));
        for end in (0..text.len()).step_by(5 + seed as usize).filter(|&end| text.is_char_boundary(end)) {
            refused += usize::from(!read(&text[..end]));
        }
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = |below: usize| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as usize % below
        };
        for _ in 0..150 {
            let mut bytes = text.clone().into_bytes();
            for _ in 0..1 + next(3) {
                let (at, pieces) = (
                    next(bytes.len()),
                    [&b"7"[..], b"0", b"-1", b"x", b"\"", b"%v1", b"f16", b"99999999999", b"]", b"?", b""],
                );
                let piece = pieces[next(pieces.len())];
                let end = (at + next(4)).min(bytes.len());
                bytes.splice(at..end, piece.iter().copied());
            }
            if let Ok(edited) = String::from_utf8(bytes) {
                refused += usize::from(!read(&edited));
            }
        }
    }
    assert!(refused > 500, "the edits change something: {refused}");
}

#[test]
fn a_result_that_its_op_does_not_give_is_refused_at_its_line() {
    let text = |attributes: &str, op: &str, ty: &str| {
        format!(
            "\"builtin.module\"() ({{\n  \"narae.graph\"() ({{\n  ^bb0(%v0: tensor<2x3xi64>):\n    \
             %v1 = \"graph.{op}\"(%v0) {{{attributes}}} : (tensor<2x3xi64>) -> tensor<{ty}>\n    \
             \"graph.return\"(%v1) {{names = [\"y\"]}} : (tensor<{ty}>) -> ()\n  }}) {{assumptions = [], inputs = [\"x\"], \
             name = \"g\", states = [], symbols = []}} : () -> ()\n}}) : () -> ()\n"
        )
    };
    let turn = "permutation = [1, 0]";
    assert!(read(&text(turn, "transpose", "3x2xi64")));
    for ty in ["2x3xi64", "3x2xi32", "6xi64", "3x2x1xi64", "3x65535xi64"] {
        let problem = parse(&text(turn, "transpose", ty), &Sources::new()).unwrap_err();
        assert!(problem.code.id == "E0304" && problem.to_string().contains("text:4"), "{ty}: {problem}");
    }
    assert!(parse(&text("permutation = [1, 63]", "transpose", "3x2xi64"), &Sources::new()).is_err());
}

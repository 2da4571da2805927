//! Properties over random graphs: what inference says is what evaluation yields; text parses back; the verifier accepts.

use narae_testing::mlir_opt;
use proptest::prelude::*;

use super::eval::{evaluate, evaluate_all};
use super::testing::random_graph;
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
        let (graph, _) = random_graph(seed, 40);
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

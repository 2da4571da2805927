//! Laws that come to no end: each bound holds inside of a round, is reported with its law, and leaves a right program.

use narae_isa::BinaryFunction;

use super::*;
use crate::graph::Op;
use crate::passes::canonicalize::canonicalize;
use crate::rewrite::saturate::{Bounds, saturate};
use crate::rewrite::{Options, Report, recover};

/// `y` from `x[3,4]` through products with these numbers.
fn products(numbers: &[f32]) -> Graph {
    let mut graph = Graph::new("products", Sources::new());
    let none = Provenance::none();
    let mut value = graph.add_input("x", TensorType::new(Element::F32, vec![3.into(), 4.into()]));
    for number in numbers {
        let factor = graph.constant_tensor(HostTensor::scalar_f32(*number), &none).unwrap();
        value = graph.add1(Op::Binary { function: BinaryFunction::Mul }, &[value, factor], &none).unwrap();
    }
    graph.add_output("y", value);
    graph
}

fn input() -> BTreeMap<String, HostTensor> {
    let values: Vec<f64> = (0..12).map(|at| f64::from(at) - 5.5).collect();
    BTreeMap::from([("x".to_owned(), HostTensor::from_f64_as(Element::F32, &[3, 4], &values))])
}

/// Recovers a graph and compares what it computes; the report and the greatest number of terms.
fn recovered(graph: &Graph, options: &Options) -> Report {
    let mut better = graph.clone();
    canonicalize(&mut better).unwrap();
    let report = recover(&mut better, options).unwrap();
    let [left, right] = [graph, &better].map(|graph| eval::evaluate(graph, &input()).unwrap());
    agree(&left["y"], &right["y"], tolerance(graph)).unwrap();
    report
}

#[test]
fn numbers_near_one_are_no_ones() {
    let tiny = f32::EPSILON;
    for numbers in [
        &[1.0005][..],
        &[0.99901],
        &[1.0 + tiny],
        &[1.0 - tiny / 2.0],
        &[1.0 / 255.0, 255.1],
        &[0.707_09, 1.414_19],
        &[0.1, 10.0, 0.3, 1.0 / 0.3],
        &[1.1; 60],
        &[-1.0; 9],
        &[0.5, 2.0, -1.0, 0.5, 2.0, -1.0],
    ] {
        let report = recovered(&products(numbers), &Options::default());
        let region = &report.regions[0];
        assert!(region.notes.is_empty(), "{numbers:?}: {:?}", region.notes);
        assert!(region.saturated.0 < 500 && region.iterations <= numbers.len() + 8, "{numbers:?}: {region:?}");
    }
}

/// A law that makes ever more: x · c = (x · c/2) · 2, and more of that with each round.
fn endless() -> Vec<Law> {
    let halved = |found: &mut super::super::law::Match<'_>| {
        let half = found.number("?c")? / 2.0;
        found.bind_constant("?h", HostTensor::from_f64_as(Element::F32, &[], &[half]));
        found.bind_constant("?t", HostTensor::scalar_f32(2.0));
        Some(())
    };
    let mut laws = rules::laws();
    laws.push(law("ever-more", "(mul ?x ?c)", "(mul (mul ?x ?h) ?t)").when(halved));
    laws
}

#[test]
fn a_law_without_end_is_left_out_and_named() {
    let options = Options { rules: endless, ..Options::default() };
    let report = recovered(&products(&[3.0]), &options);
    let notes = &report.regions[0].notes;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("`ever-more`") && notes[0].contains("`products`"), "{notes:?}");
    assert!(report.regions[0].saturated.0 < 100, "what it made is gone");
}

/// The e-graph of a graph after the laws without end, with these bounds.
fn bounded(bounds: Bounds) -> (usize, usize, Option<(String, String)>) {
    let mut cut = Cut::new(&products(&[3.0, 5.0]), &Default::default());
    let laws: Vec<_> = endless().into_iter().map(Law::rewrite).collect();
    let outcome = saturate(&mut cut.space, &laws, &bounds);
    let reached = outcome.reached.map(|reached| (reached.law, reached.bound));
    (cut.space.total_size(), outcome.rounds, reached)
}

#[test]
fn each_bound_holds_inside_of_a_round() {
    let far = Bounds { rounds: 1000, growth: 1000, matches: 1000, class: 100_000 };
    let (terms, _, reached) = bounded(Bounds { growth: 1, ..far });
    let (law, bound) = reached.expect("the terms are bounded");
    assert_eq!((law.as_str(), bound.as_str()), ("ever-more", "256 terms"));
    assert!(terms <= 256 + 8, "{terms} terms, one match makes less than 8");
    let (_, rounds, reached) = bounded(Bounds { rounds: 5, ..far });
    assert_eq!((rounds, reached.map(|(_, bound)| bound)), (5, Some("5 rounds".to_owned())));
    let (_, _, reached) = bounded(Bounds { class: 6, ..far });
    assert_eq!(reached.map(|(_, bound)| bound), Some("6 terms for one value".to_owned()));
    let (_, _, reached) = bounded(Bounds { matches: 0, ..far });
    assert_eq!(reached, Some(("mul-commutes".to_owned(), "0 matches in one round".to_owned())));
}

#[test]
fn what_ends_is_not_stopped() {
    let mut cut = Cut::new(&products(&[3.0, 5.0]), &Default::default());
    let laws: Vec<_> = rules::laws().into_iter().map(Law::rewrite).collect();
    let outcome = saturate(&mut cut.space, &laws, &Bounds::default());
    assert_eq!(outcome.reached, None);
    assert_eq!(outcome.applied["numbers-combine"], 1);
    // The last round is the one in which nothing changes.
    let again = saturate(&mut cut.space, &laws, &Bounds::default());
    assert_eq!((again.rounds, again.applied.len(), again.reached), (1, 0, None));
}

/// Products in another order round differently: what is already `x` times a number gets no second number.
#[test]
fn a_value_is_one_multiple_of_another() {
    for same in [true, false] {
        let graph = products(&[0.1, 0.3]);
        let mut cut = Cut::new(&graph, &Default::default());
        let [x, y] = [graph.inputs()[0].value, graph.outputs()[0].value].map(|value| cut.class(value));
        let known = if same {
            x
        } else {
            let factor = cut.space.analysis.constant(&Recipe::inline(HostTensor::scalar_f32(0.030_000_01)));
            let factor = cut.space.add(factor);
            cut.space.add(Term { head: Head::Binary(BinaryFunction::Mul), children: vec![factor, x] })
        };
        cut.space.union(known, y);
        cut.space.rebuild();
        let rewrite = refusals::find("numbers-combine").rewrite();
        let before = cut.space.total_size();
        let matches = rewrite.search(&cut.space);
        assert!(!matches.is_empty());
        assert!(rewrite.apply(&mut cut.space, &matches).is_empty() && cut.space.total_size() == before);
    }
}

/// NaN is a number that equals itself here, or merging it would never end.
#[test]
fn a_cycle_with_nan_ends() {
    let mut cut = Cut::new(&products(&[f32::NAN, 1.0]), &Default::default());
    let term =
        cut.space.analysis.constant(&Recipe::inline(HostTensor::from_f64_as(Element::F32, &[3, 4], &[f64::NAN; 12])));
    let nan = cut.space.add(term);
    let negated = cut.space.add(Term { head: Head::Unary(narae_isa::UnaryFunction::Neg), children: vec![nan] });
    cut.space.union(nan, negated);
    cut.space.rebuild();
    assert!(analysis::number(&cut.space, nan).is_some_and(f64::is_nan));
}

/// Of a chain of products the product of all is taken, and not that of each two of its links.
#[test]
fn a_chain_of_products_is_linear_work() {
    let terms = |length: usize| recovered(&products(&vec![1.01; length]), &Options::default()).regions[0].saturated.0;
    assert!(terms(40) < 2 * terms(20) + 40, "{} and {} terms", terms(20), terms(40));
}

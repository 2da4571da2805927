//! Laws where they are used: after the laws, every term of the e-graph of a model is evaluated against its class.
//!
//! Lengths get small values, leaves random ones. The first term of a class whose operands have values gives the class its value, and
//! all others must agree with it, so that a law that is wrong in one surrounding only is seen there.

use std::path::{Path, PathBuf};

use super::*;
use crate::graph::eval::{Point, evaluate_op};
use crate::onnx::{Limits, Model, import};
use crate::passes::canonicalize::canonicalize;
use crate::rewrite::Options;
use crate::rewrite::saturate::saturate;

/// Regions with more bytes of constants are not evaluated here.
const MAXIMUM_CONSTANTS: usize = 8 << 20;

/// What was seen of one e-graph.
#[derive(Debug, Default)]
struct Seen {
    terms: usize,
    evaluated: usize,
    wrong: Vec<String>,
}

/// The e-graph of a graph after these laws.
fn saturated(graph: &Graph, laws: Vec<Law>) -> Cut {
    let mut cut = Cut::new(graph, &Default::default());
    let laws: Vec<_> = laws.into_iter().map(Law::rewrite).collect();
    let outcome = saturate(&mut cut.space, &laws, &Options::default().bounds);
    assert_eq!(outcome.reached, None, "the laws come to an end");
    assert!(cut.space.analysis.clashes.is_empty(), "{:?}", cut.space.analysis.clashes);
    cut
}

/// A random value of a leaf: no index is out of a small table's range, and no row of a mask is empty.
fn leaf(graph: &Graph, value: Value, point: &Point<'_>, random: &mut Random) -> Option<HostTensor> {
    let ty = graph.ty(value);
    let dims = point.sizes(&ty.dims).ok()?;
    let mask = graph.inputs().iter().any(|port| port.value == value && port.name.contains("mask"));
    Some(match ty.element {
        element if mask && !element.is_float() => tensor(element, &dims, || 1.0),
        element if element.is_float() => tensor(element, &dims, || random.real(-1.5, 1.5)),
        Element::Bool => tensor(Element::Bool, &dims, || random.below(2) as f64),
        element => tensor(element, &dims, || random.below(4) as f64),
    })
}

/// The value of a term whose operands have values.
fn value(cut: &Cut, term: &Term, values: &BTreeMap<Id, HostTensor>, point: &Point<'_>) -> Option<HostTensor> {
    let space = &cut.space;
    if let Head::Constant(number) = term.head {
        return space.analysis.recipe(number).evaluate(&space.analysis.scratch().sources).ok();
    }
    let split = term.head.attributes();
    let attributes: Option<Vec<Attr>> =
        term.children[..split].iter().map(|child| analysis::attribute(space, *child).cloned()).collect();
    let operands: Option<Vec<&HostTensor>> =
        term.operands().iter().map(|child| values.get(&space.find(*child))).collect();
    let op = Term::to_op(&term.head, &attributes?, &space.analysis.names()).ok()?;
    let mut results = evaluate_op(&op, &operands?, point, &space.analysis.scratch().sources).ok()?;
    Some(results.swap_remove(0))
}

/// Evaluates every term.
fn look(graph: &Graph, cut: &Cut, seed: u64) -> Seen {
    let mut random = Random(seed);
    let symbols = &cut.space.analysis.scratch().symbols;
    let mut point = Point::new(symbols);
    for (symbol, row) in symbols.iter().filter(|(_, row)| row.replacement.is_none()) {
        point.assign(symbol, row.lower.unwrap_or(0).max(2) + random.below(3) as i64);
    }
    let mut classes: Vec<Id> = cut.space.classes().map(|class| class.id).collect();
    classes.sort_unstable();
    let mut values: BTreeMap<Id, HostTensor> = BTreeMap::new();
    for id in &classes {
        let leaves = cut.space[*id].nodes.iter().filter_map(|term| match term.head {
            Head::Value(number) => Some(cut.space.analysis.leaf_data(number).value),
            _ => None,
        });
        for tensor in leaves.filter_map(|value| leaf(graph, value, &point, &mut random)) {
            values.insert(*id, tensor);
        }
    }
    loop {
        let known = values.len();
        for id in &classes {
            let found = || cut.space[*id].nodes.iter().find_map(|term| value(cut, term, &values, &point));
            if !values.contains_key(id)
                && let Some(tensor) = found()
            {
                values.insert(*id, tensor);
            }
        }
        if values.len() == known {
            break;
        }
    }
    let mut seen = Seen::default();
    for id in classes {
        compare(cut, id, &values, &point, &mut seen);
    }
    seen
}

fn compare(cut: &Cut, id: Id, values: &BTreeMap<Id, HostTensor>, point: &Point<'_>, seen: &mut Seen) {
    let inner = |term: &&Term| !extract::is_leaf(term);
    for term in cut.space[id].nodes.iter().filter(inner) {
        seen.terms += 1;
        let (Some(own), Some(class)) = (value(cut, term, values, point), values.get(&id)) else { continue };
        seen.evaluated += 1;
        if let Err(message) = agree(class, &own, tolerance(cut.space.analysis.scratch())) {
            seen.wrong.push(format!("{term} {:?}: {message}", term.children));
        }
    }
}

fn canonical(path: &Path) -> Option<Graph> {
    let mut graph = import(&Model::open(path, &Limits::default()).ok()?).ok()?;
    canonicalize(&mut graph).ok()?;
    Some(graph)
}

fn constants(graph: &Graph) -> usize {
    let bytes = |op: &crate::graph::Op| match op {
        crate::graph::Op::Constant { recipe } => recipe.bytes(),
        _ => 0,
    };
    graph.nodes().map(|(_, node)| bytes(&node.op)).sum()
}

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data").join(name)
}

#[test]
fn every_term_of_small_models_is_its_class() {
    for name in ["llama1_layer", "llama2_primitive", "llama2_primitive_fp16", "llama2_fused23"] {
        let graph = canonical(&data(&format!("{name}.onnx"))).expect("a model of ours");
        let seen = look(&graph, &saturated(&graph, rules::laws()), 0x51ed_270b_9e37_79b9);
        assert!(seen.wrong.is_empty(), "{name}: {:#?}", seen.wrong);
        assert!(10 * seen.evaluated >= 9 * seen.terms, "{name}: {} of {} terms", seen.evaluated, seen.terms);
    }
}

/// A wrong law is seen in the surroundings of a model too.
#[test]
fn a_wrong_law_is_seen_in_a_model() {
    let graph = canonical(&data("llama1_layer.onnx")).expect("a model of ours");
    for number in 0..2 {
        let wrong = [
            law("norm-without-mean", "(rms_norm ?v ?x)", "(mul ?x (rsqrt (reduce-mean ?a (square ?x))))")
                .when(|found| found.bind_field("?a", &vec![0_usize])),
            law("gate-swapped", "(mul-silu ?u ?g)", "(mul-silu ?g ?u)"),
        ];
        let mut laws = rules::laws();
        laws.extend(wrong.into_iter().nth(number));
        let seen = look(&graph, &saturated(&graph, laws), 0x51ed_270b_9e37_79b9);
        assert!(!seen.wrong.is_empty(), "wrong law {number} of {} terms", seen.evaluated);
    }
}

/// All files below a folder.
fn models(folder: &Path, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            models(&path, found);
        } else if path.extension().is_some_and(|end| end == "onnx") {
            found.push(path);
        }
    }
}

/// `cargo test --release -p narae-compiler --lib in_situ -- --ignored`: every file of the shared zoo with few weights; 1 minute.
#[test]
#[ignore = "a minute: cargo test --release -p narae-compiler --lib in_situ -- --ignored"]
fn every_term_of_the_zoo_is_its_class() {
    let shared = std::env::var_os("NARAE_SHARED").map_or_else(|| PathBuf::from("/work/shared"), PathBuf::from);
    let mut files = vec![];
    models(&shared.join("models/zoo"), &mut files);
    models(&shared.join("models/zoo2"), &mut files);
    files.sort();
    let mut wrong = vec![];
    let (mut checked, mut terms) = (0, 0);
    for path in &files {
        let Some(graph) = canonical(path).filter(|graph| constants(graph) <= MAXIMUM_CONSTANTS) else { continue };
        let seen = look(&graph, &saturated(&graph, rules::laws()), 0x51ed_270b_9e37_79b9);
        (checked, terms) = (checked + 1, terms + seen.evaluated);
        wrong.extend(seen.wrong.iter().take(3).map(|message| format!("{}: {message}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(files.is_empty() || (checked >= 60 && terms >= 10_000), "{checked} files, {terms} terms");
}

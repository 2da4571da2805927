//! `--quant` acts or says why: weights in every place of a graph, patterns, ranges, and an account of every byte. Small models that are
//! written here; the zoo on top, where it is there.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::path::{Path, PathBuf};

use narae::npz::{self, Arrays};
use narae::session::{Reference, Session};
use narae_compiler::compile::{Options, Precision, compile};
use narae_compiler::compress::decide::Decision;
use narae_compiler::compress::policy::Policy;
use narae_compiler::onnx::Model;
use narae_compiler::pipeline::Unobserved;
use narae_isa::{Chip, Diagnostics, HostTensor};
use support::narae;
use support::wire::{Dim, Graph, Message, initializer, node, value};

fn options(quant: &str, inputs: &Arrays, chip: &str) -> Options {
    let mut options = Options::new(Chip::built_in(chip).expect("a built-in chip"));
    options.quant = Policy::parse(quant).expect("a policy");
    options.maxima.shapes.push(inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect());
    options
}

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let noise = |index: u64| ((index + 1).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed * 97) >> 40) as f32;
    (0..count as u64).map(|index| noise(index * 31 + seed) / (1 << 23) as f32 - 1.0).collect()
}

fn weight(name: &str, dims: &[i64]) -> Message {
    let count: i64 = dims.iter().product();
    let values: Vec<f32> = numbers(5, count as usize).into_iter().map(|value| value * 0.2).collect();
    initializer(name, dims, &values)
}

fn with(node: Message, kind: i64, field: u32, name: &str, number: i64) -> Message {
    node.message(5, Message::default().bytes(1, name).number(field, number).number(20, kind))
}

fn with_int(node: Message, name: &str, number: i64) -> Message {
    with(node, 2, 3, name, number)
}

fn with_graph(node: Message, name: &str, graph: Message) -> Message {
    node.message(5, Message::default().bytes(1, name).message(6, graph).number(20, 5))
}

fn integers(name: &str, dims: &[i64], values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    dims.iter().fold(Message::default(), |tensor, dim| tensor.number(1, *dim)).number(2, 7).bytes(8, name).bytes(9, raw)
}

fn floats(dims: &[usize], seed: u64) -> HostTensor {
    HostTensor::from_f32(dims, &numbers(seed, dims.iter().product()))
}

/// A model with its inputs, and the name of its weight.
struct Case {
    name: &'static str,
    graph: Graph,
    inputs: Arrays,
}

fn case(name: &'static str, nodes: Vec<Message>, weights: Vec<Message>, x: &[usize], out: &[i64]) -> Case {
    let declared: Vec<Dim<'_>> = x.iter().map(|extent| Dim::Is(*extent as i64)).collect();
    let result: Vec<Dim<'_>> = out.iter().map(|extent| Dim::Is(*extent)).collect();
    let graph = Graph {
        nodes,
        initializers: weights,
        inputs: vec![value("x", 1, &declared)],
        outputs: vec![value("y", 1, &result)],
    };
    Case { name, graph, inputs: [("x".to_owned(), floats(x, 3))].into() }
}

fn loop_body() -> Message {
    let boolean = |name: &str| value(name, 9, &[]);
    let state = |name: &str| value(name, 1, &[Dim::Is(2), Dim::Is(64)]);
    Graph {
        nodes: vec![
            node("product", "MatMul", &["v", "w"], &["h"]),
            node("", "Tanh", &["h"], &["v2"]),
            node("", "Identity", &["ci"], &["co"]),
        ],
        initializers: vec![],
        inputs: vec![value("i", 7, &[]), boolean("ci"), state("v")],
        outputs: vec![boolean("co"), state("v2")],
    }
    .message()
}

fn branch(weight: &str, output: &str) -> Message {
    Graph {
        nodes: vec![node("product", "MatMul", &["x", weight], &[output])],
        initializers: vec![],
        inputs: vec![],
        outputs: vec![value(output, 1, &[Dim::Is(2), Dim::Is(48)])],
    }
    .message()
}

fn cases() -> Vec<Case> {
    let matmul = |a: &str, b: &str| vec![node("product", "MatMul", &[a, b], &["y"])];
    let gemm = |a: &str, b: &str, flags: &[&str]| {
        let start = node("product", "Gemm", &[a, b], &["y"]);
        vec![flags.iter().fold(start, |node, flag| with_int(node, flag, 1))]
    };
    let conv = |rank: usize| {
        let ones: Vec<i64> = vec![1; rank];
        let node = node("product", "Conv", &["x", "w", "b"], &["y"]);
        let kernel =
            ones.iter().fold(Message::default().bytes(1, "kernel_shape"), |message, one| message.number(8, *one));
        vec![node.message(5, kernel.number(20, 7))]
    };
    let bias = || initializer("b", &[48], &numbers(9, 48));
    let mut all = vec![
        case("on the right, fixed dims", matmul("x", "w"), vec![weight("w", &[64, 48])], &[1, 8, 64], &[1, 8, 48]),
        case("on the left", matmul("w", "x"), vec![weight("w", &[48, 64])], &[2, 64, 3], &[2, 48, 3]),
        case("in batches", matmul("x", "w"), vec![weight("w", &[4, 64, 48])], &[4, 3, 64], &[4, 3, 48]),
        case("in batches for one operand", matmul("x", "w"), vec![weight("w", &[4, 64, 48])], &[1, 3, 64], &[4, 3, 48]),
        case(
            "in batches of heads",
            matmul("x", "w"),
            vec![weight("w", &[1, 4, 64, 48])],
            &[2, 4, 3, 64],
            &[2, 4, 3, 48],
        ),
        case("in batches on the left", matmul("w", "x"), vec![weight("w", &[4, 48, 64])], &[4, 64, 3], &[4, 48, 3]),
        case("Gemm", gemm("x", "w", &[]), vec![weight("w", &[64, 48])], &[3, 64], &[3, 48]),
        case("Gemm, weight flipped", gemm("x", "w", &["transB"]), vec![weight("w", &[48, 64])], &[3, 64], &[3, 48]),
        case("Gemm, operand flipped", gemm("x", "w", &["transA"]), vec![weight("w", &[64, 48])], &[64, 3], &[3, 48]),
        case(
            "Gemm, both flipped",
            gemm("x", "w", &["transA", "transB"]),
            vec![weight("w", &[48, 64])],
            &[64, 3],
            &[3, 48],
        ),
        case("Gemm, on the left", gemm("w", "x", &[]), vec![weight("w", &[48, 64])], &[64, 3], &[48, 3]),
        case(
            "Gemm, on the left and flipped",
            gemm("w", "x", &["transA"]),
            vec![weight("w", &[64, 48])],
            &[64, 3],
            &[48, 3],
        ),
        case("a convolution of 1", conv(1), vec![weight("w", &[48, 64, 1]), bias()], &[2, 64, 5], &[2, 48, 5]),
        case(
            "a convolution of 1 x 1",
            conv(2),
            vec![weight("w", &[48, 64, 1, 1]), bias()],
            &[2, 64, 3, 4],
            &[2, 48, 3, 4],
        ),
    ];
    let turned = node("product", "Loop", &["three", "", "x"], &["y"]);
    let weights = vec![weight("w", &[64, 64]), integers("three", &[], &[3])];
    all.push(case("in a loop", vec![with_graph(turned, "body", loop_body())], weights, &[2, 64], &[2, 64]));
    let chosen = with_graph(
        with_graph(node("choice", "If", &["c"], &["y"]), "then_branch", branch("w", "a")),
        "else_branch",
        branch("u", "b"),
    );
    let mut branches =
        case("in branches", vec![chosen], vec![weight("w", &[64, 48]), weight("u", &[64, 48])], &[2, 64], &[2, 48]);
    branches.graph.inputs.push(value("c", 9, &[]));
    branches.inputs.insert("c".into(), HostTensor::from_i64_as(narae_isa::Element::Bool, &[], &[1]));
    all.push(branches);
    for (name, dims, index) in [
        ("chosen by an index", vec![], vec![2]),
        ("chosen by a negative index", vec![], vec![-1]),
        ("chosen by an index per row", vec![3], vec![3, 0, -2]),
    ] {
        let rows = if dims.is_empty() { vec![3, 64] } else { vec![3, 1, 64] };
        let out = if dims.is_empty() { vec![3, 48] } else { vec![3, 1, 48] };
        let nodes =
            vec![node("choice", "Gather", &["w", "e"], &["we"]), node("product", "MatMul", &["x", "we"], &["y"])];
        let mut experts = case(name, nodes, vec![weight("w", &[4, 64, 48])], &rows, &out);
        let extents: Vec<Dim<'_>> = dims.iter().map(|extent: &usize| Dim::Is(*extent as i64)).collect();
        experts.graph.inputs.push(value("e", 7, &extents));
        experts.inputs.insert("e".into(), HostTensor::from_i64(&dims, &index));
        all.push(experts);
    }
    all
}

fn written(folder: &Path, number: usize, graph: Graph) -> PathBuf {
    let path = folder.join(format!("{number}.onnx"));
    std::fs::write(&path, graph.model()).expect("a file");
    path
}

fn difference(a: &HostTensor, b: &HostTensor) -> f64 {
    assert_eq!(a.dims, b.dims);
    let range = b.to_f64_vec().into_iter().fold(1e-30f64, |most, value| most.max(value.abs()));
    a.to_f64_vec().iter().zip(b.to_f64_vec()).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / range
}

/// Decisions about an image, whose bytes are those of its weight section.
fn decided(path: &Path, options: &Options) -> Result<Vec<Decision>, Diagnostics> {
    let (compiled, findings) = compile(&Model::open(path, &options.limits)?, options, &mut Unobserved)?;
    let sum: u64 = findings.decisions.iter().map(|decision| decision.chosen.bytes).sum();
    assert_eq!(sum, compiled.weight_bytes(), "{}: every byte is accounted for", path.display());
    assert!(findings.decisions.iter().all(|decision| !decision.reason.is_empty() && !decision.names.is_empty()));
    Ok(findings.decisions)
}

fn is_coded(decision: &Decision) -> bool {
    decision.chosen.storage.starts_with("u4:g32")
}

#[test]
fn weights_are_coded_wherever_they_stand() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut wrong = vec![];
    for (number, Case { name, graph, inputs }) in cases().into_iter().enumerate() {
        let path = written(folder.path(), number, graph);
        for chip in ["narae-1", "narae-edge"] {
            for optimisation in [0, 2] {
                let what = format!("{name}, {chip} -O{optimisation}");
                let options = Options { optimisation, ..options("u4:g32", &inputs, chip) };
                let decisions = decided(&path, &options).unwrap_or_else(|error| panic!("{what}: {error}"));
                let coded: u64 = decisions.iter().filter(|row| is_coded(row)).map(|row| row.chosen.bytes).sum();
                let floats: u64 =
                    decisions.iter().filter(|row| row.chosen.storage == "f32").map(|row| row.chosen.bytes).sum();
                let unread = decisions.iter().any(|row| row.reason.contains("nothing reads it"));
                if unread || coded < 48 * 64 / 2 || floats > 48 * 64 {
                    wrong.push(format!("{what}: {coded} bytes of codes, {floats} of floats"));
                    continue;
                }
                let want = Reference::optimised(&path, &options, &mut Unobserved).and_then(|model| model.run(&inputs));
                let want = want.unwrap_or_else(|error| panic!("{what}: {error}"));
                let exact =
                    Reference::open(&path, &options.limits).and_then(|model| model.run(&inputs)).expect("it evaluates");
                let got = Session::compile(&path, &options).and_then(|mut session| session.run(None, &inputs));
                let got = got.unwrap_or_else(|error| panic!("{what}: {error}"));
                let (near, far) = (difference(&got["y"], &want["y"]), difference(&want["y"], &exact["y"]));
                if near > 1e-4 || !(1e-4..0.6).contains(&far) {
                    wrong.push(format!(
                        "{what}: {near:.2e} from the dequantised weights, those {far:.2e} from the file's"
                    ));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What a budget chooses differs from weight to weight, also between those of alike layers: the image runs, and as its weights say.
#[test]
fn weights_that_a_budget_chooses_run_as_chosen() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/tinylm/model.onnx");
    let graph = narae::session::import(&path, &narae_compiler::onnx::Limits::default()).expect("it imports");
    let size = |dim: &narae_compiler::ir::Dim| dim.as_size().unwrap_or(3);
    let tensor = |port: &narae_compiler::graph::Port| {
        let past = |axis: usize| port.name.contains("past") && axis == 2;
        let dims: Vec<usize> = graph
            .dims(port.value)
            .iter()
            .enumerate()
            .map(|(axis, dim)| if past(axis) { 0 } else { size(dim) })
            .collect();
        let count = dims.iter().product::<usize>() as i64;
        match graph.element(port.value) {
            element if element.is_float() => HostTensor::zeros(element, &dims),
            element if port.name.contains("mask") => HostTensor::from_i64_as(element, &dims, &vec![1; count as usize]),
            element => HostTensor::from_i64_as(element, &dims, &(0..count).map(|at| at % 3).collect::<Vec<_>>()),
        }
    };
    let inputs: Arrays = graph.inputs().iter().map(|port| (port.name.clone(), tensor(port))).collect();
    let mut formats = std::collections::BTreeSet::new();
    for budget in [1e-5, 1e-1] {
        let options =
            Options { error_budget: budget, precision: Precision::F32, ..options("auto", &inputs, "narae-1") };
        let (mut session, findings) = Session::compile_observed(&path, &options, &mut Unobserved).expect("it compiles");
        let layers = findings.decisions.iter().filter(|row| row.chosen.bytes > 32 << 10);
        let chosen: std::collections::BTreeSet<String> = layers.map(|row| row.chosen.storage.clone()).collect();
        let want = Reference::optimised(&path, &options, &mut Unobserved).and_then(|model| model.run(&inputs));
        let (want, got) = (want.expect("it evaluates"), session.run(None, &inputs).expect("it runs"));
        let far = difference(&got["logits"], &want["logits"]);
        // The caches of this file are f16, and each is rounded once.
        assert!(far < 1e-3, "budget {budget}: {far:.2e} from the weights that were chosen");
        formats.insert(chosen);
    }
    assert!(formats.len() == 2 && formats.iter().any(|chosen| chosen.len() > 1), "budgets choose: {formats:?}");
}

#[test]
fn an_index_out_of_range_is_refused_as_by_the_gather() {
    let folder = tempfile::tempdir().expect("a folder");
    let case = cases().into_iter().find(|case| case.name == "chosen by an index").expect("the case");
    let path = written(folder.path(), 0, case.graph);
    let mut inputs = case.inputs;
    let options = options("u4:g32", &inputs, "narae-1");
    let mut session = Session::compile(&path, &options).expect("it compiles");
    for index in [4, -5] {
        inputs.insert("e".into(), HostTensor::from_i64(&[], &[index]));
        assert!(session.run(None, &inputs).is_err(), "{index} of 4 experts");
    }
}

#[test]
fn what_is_not_coded_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let wide = case(
        "a window of 3",
        vec![node("product", "Conv", &["x", "w"], &["y"])],
        vec![weight("w", &[48, 64, 3])],
        &[2, 64, 5],
        &[2, 48, 3],
    );
    let path = written(folder.path(), 0, wide.graph);
    let decisions = decided(&path, &options("u4:g32", &wide.inputs, "narae-1")).expect("it compiles");
    let row = decisions.iter().find(|row| row.role == "convolution").expect("the kernel");
    assert!(row.reason.contains("window of 3") && row.names.iter().any(|name| name == "w"), "{row:?}");
    assert_eq!((row.chosen.storage.as_str(), row.chosen.bytes), ("f32", 4 * 48 * 64 * 3));
}

/// x · w, with w written by `values`.
fn product(values: &[f32]) -> Case {
    let mut one = case("", vec![node("product", "MatMul", &["x", "weight"], &["y"])], vec![], &[3, 64], &[3, 48]);
    one.graph.initializers.push(initializer("weight", &[64, 48], values));
    one
}

#[test]
fn a_pattern_that_names_nothing_is_an_error_with_the_nearest_name() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = product(&numbers(1, 64 * 48));
    let path = written(folder.path(), 0, one.graph);
    for (quant, fits) in [
        ("wieght=u4", false),
        ("lm_head=u8", false),
        ("weight=u4", true),
        ("*eigh*=u4,*=u8", true),
        ("product=u4", true),
    ] {
        let result = decided(&path, &options(quant, &one.inputs, "narae-1"));
        match result {
            Ok(_) => assert!(fits, "{quant} names nothing"),
            Err(error) => assert!(
                !fits && error.to_string().contains("E0411") && error.to_string().contains("nearest"),
                "{quant}: {error}"
            ),
        }
    }
}

#[test]
fn an_error_budget_belongs_to_auto() {
    let run = narae(&["compile", "m.onnx", "-o", "m.narae", "--error-budget", "0.1"]);
    assert_eq!(run.code, 2, "{}", run.stderr);
    assert!(run.stderr.contains("--quant auto"), "{}", run.stderr);
}

#[test]
fn numbers_beyond_f16_are_never_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut values = numbers(1, 64 * 48);
    values[5] = 1.2e5;
    let one = product(&values);
    let path = written(folder.path(), 0, one.graph);
    let exact =
        Reference::open(&path, &Default::default()).and_then(|model| model.run(&one.inputs)).expect("it evaluates");
    let options_of = |quant: &str| options(quant, &one.inputs, "narae-1");
    let got = Session::compile(&path, &options_of("f16"))
        .and_then(|mut session| session.run(None, &one.inputs))
        .expect("it runs");
    assert!(difference(&got["y"], &exact["y"]) < 1e-5, "f16 storage is widened");
    let decisions = decided(&path, &options_of("f16")).expect("it compiles");
    assert!(
        decisions.iter().any(|row| row.reason.contains("f16 cannot") && row.chosen.storage == "f32"),
        "{decisions:?}"
    );
    // The scale of a group of codes overflows f16 as well.
    values[5] = 3e6;
    let one = product(&values);
    let path = written(folder.path(), 1, one.graph);
    let refused = Session::compile(&path, &options_of("u4:g32:f16")).err().expect("it is refused").to_string();
    assert!(refused.contains("E0412"), "{refused}");
    assert!(Session::compile(&path, &options_of("u4:g32:f32")).is_ok());
}

#[test]
fn the_second_product_of_lora_is_no_head() {
    let folder = tempfile::tempdir().expect("a folder");
    let nodes = vec![
        node("base", "MatMul", &["x", "w"], &["a"]),
        node("down", "MatMul", &["x", "d"], &["b"]),
        node("up", "MatMul", &["b", "u"], &["c"]),
        node("", "Add", &["a", "c"], &["y"]),
    ];
    let weights = vec![weight("w", &[64, 64]), weight("d", &[64, 4]), weight("u", &[4, 64])];
    let lora = case("", nodes, weights, &[3, 64], &[3, 64]);
    let path = written(folder.path(), 0, lora.graph);
    let decisions = decided(&path, &options("u4:g32", &lora.inputs, "narae-1")).expect("it compiles");
    assert!(decisions.iter().all(|row| row.role != "lm_head"), "{decisions:?}");
    assert!(decisions.iter().filter(|row| is_coded(row)).count() >= 2);
    // The same shape at the end of a model that is nothing else is one.
    let plain =
        case("", vec![node("head", "MatMul", &["x", "u"], &["y"])], vec![weight("u", &[4, 64])], &[3, 4], &[3, 64]);
    let path = written(folder.path(), 1, plain.graph);
    let decisions = decided(&path, &options("u4:g32", &plain.inputs, "narae-1")).expect("it compiles");
    assert!(decisions.iter().any(|row| row.role == "lm_head"), "{decisions:?}");
}

#[test]
fn groups_of_zeros_are_zeros() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut values = numbers(1, 64 * 48);
    values.iter_mut().enumerate().filter(|(at, _)| at / 48 < 32).for_each(|(_, value)| *value = 0.0);
    let one = product(&values);
    let path = written(folder.path(), 0, one.graph);
    let mut inputs = one.inputs.clone();
    let row: Vec<f32> = (0..192).map(|at| if at % 64 < 32 { 3.0 } else { 0.0 }).collect();
    inputs.insert("x".into(), HostTensor::from_f32(&[3, 64], &row));
    for format in ["u4:g32", "u4:g32:sym", "u2:g32:clip", "u3:g32:sym:clip", "u8:g32", "u4:g32:bf16", "u4:g32:f32"] {
        let got = Session::compile(&path, &options(format, &inputs, "narae-1"))
            .and_then(|mut session| session.run(None, &inputs));
        let got = got.unwrap_or_else(|error| panic!("{format}: {error}"));
        assert!(got["y"].to_f64_vec().iter().all(|value| *value == 0.0), "{format}");
    }
}

#[test]
fn the_evaluator_sees_the_weights_that_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let one = product(&numbers(1, 64 * 48));
    let path = written(folder.path(), 0, one.graph);
    let (npz, plain, coded) = (folder.path().join("in.npz"), folder.path().join("a.npz"), folder.path().join("b.npz"));
    std::fs::write(&npz, npz::to_bytes(&one.inputs).expect("arrays")).expect("a file");
    let text = |path: &Path| path.to_str().expect("UTF-8").to_owned();
    let base = ["run".to_owned(), text(&path), "--inputs".into(), text(&npz), "--evaluator".into()];
    narae(&[&base[..], &["-o".into(), text(&plain)]].concat()).ok();
    narae(&[&base[..], &["-o".into(), text(&coded), "--quant".into(), "u4:g32".into()]].concat()).ok();
    let read = |path: &Path| npz::read_selected(path, "").expect("answers");
    let far = difference(&read(&coded)["y"], &read(&plain)["y"]);
    assert!((1e-3..0.3).contains(&far), "{far}");
}

#[test]
fn every_byte_of_the_zoo_is_accounted_for() {
    let Some(zoo) = support::zoo::Zoo::named("models/zoo") else { return support::skip("the zoo") };
    let mut files = 0;
    for row in zoo.rows("") {
        let Ok(calls) = row.calls() else { continue };
        let Some(call) = calls.first() else { continue };
        match decided(&row.path, &options("u4", &call.inputs, "narae-1")) {
            Ok(decisions) => {
                files += 1;
                let bytes = |coded: bool| -> u64 {
                    let is = |row: &&Decision| row.chosen.storage.contains(':') == coded;
                    decisions.iter().filter(is).map(|row| row.chosen.bytes).sum()
                };
                println!("{}: {} bytes of codes, {} others", row.name, bytes(true), bytes(false));
            }
            Err(_) if support::zoo::REFUSED.iter().any(|(name, _)| *name == row.name) => {}
            Err(problem) => panic!("{}: {problem}", row.name),
        }
    }
    assert!(files >= 60, "{files} files");
}

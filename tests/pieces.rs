//! What does not fit the working memory is cut into pieces, and the pieces give the same bits: every instruction that is cut in more
//! than one way, on a chip with room for all and on one with a few KiB, against the evaluator.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::sync::Arc;

use narae::npz::Arrays;
use narae_compiler::compile::{Options, compile_graph};
use narae_compiler::compress::{Recipe, Sources};
use narae_compiler::graph::eval::evaluate;
use narae_compiler::graph::ops::PoolFunction;
use narae_compiler::graph::{Graph, Op, Provenance, Real, TensorType};
use narae_compiler::ir::{Dim, SymbolDefinition, Value};
use narae_compiler::pipeline::Unobserved;
use narae_isa::{Chip, Element, HostTensor, Image, Overflow, ReduceFunction, ScatterFunction};
use narae_sim::{Limits, Machine};
use support::compare::{Tolerance, compare_all};

/// A chip with so many KiB of working memory.
fn chip(kib: u64) -> Chip {
    let mut chip = Chip::built_in("narae-edge").expect("a built-in chip");
    chip.sram.bytes_per_tile = chip.dmaw.fifo_bytes_per_tile + kib * 1024 / chip.tiles.count;
    chip
}

fn noise(dims: &[usize], seed: usize) -> HostTensor {
    let count = dims.iter().product();
    let number = |at: usize| ((at * 7919 + seed * 104_729) % 2003) as f32 / 1001.5 - 1.0;
    HostTensor::from_f32(dims, &(0..count).map(number).collect::<Vec<f32>>())
}

fn run(graph: &Graph, inputs: &Arrays, kib: u64) -> (Arrays, usize) {
    let options = Options::new(chip(kib));
    let (compiled, _) = compile_graph(graph.clone(), &options, &mut Unobserved).expect("the graph compiles");
    let image = Image::from_bytes("graph", compiled.to_bytes().expect("an image")).expect("the image opens");
    let count = image.words().len();
    let mut machine = Machine::new(Arc::new(image), Limits::default()).expect("a machine");
    (machine.run("main", inputs).expect("the program runs").outputs, count)
}

/// A graph of one op on inputs of these dims, the first one's axis `dynamic` a length, on both chips.
fn check(what: &str, op: Op, dims: &[&[usize]], dynamic: Option<usize>) {
    let tensors: Vec<HostTensor> = dims.iter().enumerate().map(|(seed, dims)| noise(dims, seed)).collect();
    check_on(what, op, tensors, dynamic);
}

fn check_on(what: &str, op: Op, tensors: Vec<HostTensor>, dynamic: Option<usize>) {
    let mut graph = Graph::new("piece", Sources::default());
    let mut operands: Vec<Value> = Vec::new();
    let mut inputs = Arrays::new();
    for (number, tensor) in tensors.into_iter().enumerate() {
        let mut dims: Vec<Dim> = tensor.dims.iter().map(|&extent| Dim::from(extent)).collect();
        if let (0, Some(axis)) = (number, dynamic) {
            let most = tensor.dims[axis] as i64 + 3;
            let definition = SymbolDefinition::Input { input: 0, axis: axis as u32 };
            dims[axis] = graph.symbols.add_bounded("length", definition, Some(0), Some(most)).into();
        }
        operands.push(graph.add_input(format!("in{number}"), TensorType::new(tensor.element, dims)));
        inputs.insert(format!("in{number}"), tensor);
    }
    let result = graph.add1(op, &operands, &Provenance::none()).expect("the types fit");
    graph.add_output("out", result);
    check_graph(what, &graph, &inputs);
}

fn check_graph(what: &str, graph: &Graph, inputs: &Arrays) {
    let want = evaluate(graph, inputs).expect("the evaluator runs");
    let (whole, short) = run(graph, inputs, 4 << 10);
    let (pieces, long) = run(graph, inputs, 16);
    assert!(long > short, "{what}: the small chip has a loop: {short} and {long} instructions");
    assert!(whole["out"] == pieces["out"], "{what}: pieces give the same bits");
    // The evaluator sums in f64: a result of halves may be one unit in the last place away.
    let unit = if want["out"].element == Element::F16 { 1e-3 } else { 1e-5 };
    compare_all(&pieces, &want, inputs, |_| Tolerance { relative: unit, absolute: 1e-5 })
        .unwrap_or_else(|problem| panic!("{what}: {problem}"));
}

/// The bias lies in an input that is too large to be kept, so that it is copied before the loop; the weight streams inside of it.
#[test]
fn products_with_a_streamed_weight() {
    let mut graph = Graph::new("piece", Sources::default());
    let inputs = Arrays::from([("x".to_string(), noise(&[90, 40], 1)), ("many".to_string(), noise(&[3000], 2))]);
    let f32 = |dims: &[i64]| {
        TensorType::new(Element::F32, dims.iter().map(|&extent| Dim::from(extent)).collect::<Vec<Dim>>())
    };
    let x = graph.add_input("x", f32(&[90, 40]));
    let many = graph.add_input("many", f32(&[3000]));
    let mut add = |op, operands: &[Value]| graph.add1(op, operands, &Provenance::none()).expect("the types fit");
    let weight = add(Op::Constant { recipe: Recipe::inline(noise(&[48, 40], 3)) }, &[]);
    let bias = add(Op::Slice { starts: vec![7.into()], steps: vec![1], dims: vec![48.into()] }, &[many]);
    let result = add(Op::Linear {}, &[x, weight, bias]);
    graph.add_output("out", result);
    check_graph("a product", &graph, &inputs);
}

fn conv(strides: [usize; 2], before: i64, dilation: usize, spread: usize, groups: usize, dims: [usize; 2]) -> Op {
    Op::Conv {
        strides: strides.to_vec(),
        before: vec![before.into(); 2],
        dilations: vec![dilation; 2],
        input_dilations: vec![spread; 2],
        groups,
        dims: dims.iter().map(|&extent| extent.into()).collect(),
    }
}

#[test]
fn convolutions() {
    let x: &[usize] = &[1, 4, 19, 23];
    check("a plain one", conv([1, 1], 1, 1, 1, 1, [19, 23]), &[x, &[6, 4, 3, 3], &[6]], None);
    check("one with strides", conv([2, 3], 2, 1, 1, 1, [10, 8]), &[x, &[6, 4, 5, 5], &[6]], None);
    check("a dilated one", conv([1, 2], 3, 2, 1, 2, [21, 13]), &[x, &[6, 2, 3, 3], &[6]], None);
    check("one per channel", conv([1, 1], 1, 1, 1, 4, [19, 23]), &[x, &[8, 1, 3, 3], &[8]], None);
    check("a transposed one", conv([1, 1], 2, 1, 2, 1, [38, 46]), &[x, &[5, 4, 4, 4]], None);
    check("many channels", conv([1, 1], 0, 1, 1, 1, [3, 3]), &[&[1, 40, 5, 5], &[64, 40, 3, 3], &[64]], None);
}

#[test]
fn pools() {
    for function in [PoolFunction::Max, PoolFunction::Sum] {
        let op = Op::Pool {
            function,
            kernel: vec![3, 2],
            strides: vec![2, 1],
            before: vec![1.into(), 0.into()],
            dilations: vec![1, 2],
            dims: vec![20.into(), 38.into()],
        };
        check("a pool", op, &[&[1, 2, 40, 40]], None);
    }
}

fn attention(causal: bool, window: usize, bias: bool) -> Op {
    let (scale, softcap) = (Real::new(0.3), Real::new(0.0));
    Op::Attention { scale, causal, window, softcap, bias, lengths: false, sinks: false }
}

#[test]
fn attentions() {
    let (q, k): (&[usize], &[usize]) = (&[1, 4, 37, 16], &[1, 2, 45, 16]);
    check("all keys", attention(false, 0, false), &[q, k, k], None);
    check("earlier keys", attention(true, 0, false), &[q, k, k], None);
    check("the last keys", attention(true, 7, false), &[q, k, k], None);
    check("a bias of heads", attention(true, 0, true), &[q, k, k, &[1, 4, 37, 45]], None);
    check("one head of keys", attention(true, 0, false), &[&[1, 4, 70, 16], &[1, 1, 70, 16], &[1, 1, 70, 16]], None);
    check("a length", attention(false, 0, false), &[&[1, 4, 41, 16], k, k], Some(2));
}

#[test]
fn gathers_of_coordinates() {
    let indices: Vec<i64> = (0..24).map(|at| [at * 5 % 9 - 9, at * 3 % 8][at as usize % 2]).collect();
    let tensors = vec![noise(&[9, 8, 33], 1), HostTensor::from_i64(&[12, 2], &indices)];
    check_on("rows", Op::GatherNd { batch: 0 }, tensors, None);
    let indices: Vec<i64> = (0..2 * 60).map(|at| at * 7 % 11).collect();
    let tensors = vec![noise(&[2, 11, 40], 2), HostTensor::from_i64(&[2, 60, 1], &indices)];
    check_on("rows of a batch", Op::GatherNd { batch: 1 }, tensors, None);
}

/// Rows of 20 KB where one instruction gets 8 KiB.
#[test]
fn long_rows() {
    for rows in [1, 3] {
        let x: &[usize] = &[rows, 5021];
        for function in [ReduceFunction::Sum, ReduceFunction::Mean, ReduceFunction::Norm2, ReduceFunction::Max] {
            check("a reduction", Op::Reduce { function, axes: vec![1] }, &[x], None);
        }
        for log in [false, true] {
            check("a softmax", Op::Softmax { axis: 1, log }, &[x], None);
        }
        let epsilon = Real::new(1e-5);
        check("a normalisation", Op::LayerNorm { epsilon }, &[x], None);
        check("one with gain and bias", Op::LayerNorm { epsilon }, &[x, &[5021], &[5021]], None);
        check("one without a mean", Op::RmsNorm { epsilon }, &[x, &[5021]], None);
    }
    let x: &[usize] = &[2, 5021];
    check("a sum of a length", Op::Reduce { function: ReduceFunction::Sum, axes: vec![1] }, &[x], Some(1));
    check("a softmax of a length", Op::Softmax { axis: 1, log: false }, &[x], Some(1));
    check("a normalisation of a length", Op::LayerNorm { epsilon: Real::new(1e-5) }, &[x], Some(1));
    let axes = vec![0, 2];
    check("two axes", Op::Reduce { function: ReduceFunction::Mean, axes }, &[&[51, 3, 107]], None);
}

#[test]
fn long_rows_of_halves() {
    let halves = |dims: &[usize], seed| noise(dims, seed).convert(Element::F16, Overflow::Saturate);
    let epsilon = Real::new(1e-5);
    check_on("a normalisation", Op::LayerNorm { epsilon }, vec![halves(&[2, 9001], 1)], None);
    let mean = Op::Reduce { function: ReduceFunction::Mean, axes: vec![1] };
    check_on("a mean", mean, vec![halves(&[2, 9001], 1)], None);
}

#[test]
fn scatters() {
    let places: Vec<i64> = (0..30 * 5 * 7).map(|at| at * 11 % 13 - 3).collect();
    for function in [ScatterFunction::Replace, ScatterFunction::Add] {
        let tensors = vec![noise(&[34, 17, 7], 1), HostTensor::from_i64(&[30, 5, 7], &places), noise(&[30, 5, 7], 2)];
        check_on("elements", Op::ScatterElements { axis: 1, function }, tensors, None);
        let tuples = HostTensor::from_i64(&[2, 2], &[3, 1, -2, 4]);
        let tensors = vec![noise(&[9, 5, 90], 1), tuples, noise(&[2, 90], 2)];
        check_on("rows", Op::ScatterNd { function }, tensors, None);
    }
}

/// The buffer for the coordinates lies in LPDDR, and all of it moves.
#[test]
fn coordinates_of_what_is_not_zero() {
    let mut graph = Graph::new("piece", Sources::default());
    let x = HostTensor::from_i64(&[20, 17], &(0..20 * 17).map(|at| at % 3).collect::<Vec<i64>>());
    let inputs = Arrays::from([("x".to_string(), x)]);
    let x = graph.add_input("x", TensorType::new(Element::I64, vec![Dim::from(20usize), 17usize.into()]));
    let results = graph.add(Op::NonZero {}, &[x], &Provenance::none()).expect("the types fit");
    graph.add_output("places", results[0]);
    graph.add_output("count", results[1]);
    let want = evaluate(&graph, &inputs).expect("the evaluator runs");
    let (whole, _) = run(&graph, &inputs, 4 << 10);
    let (moved, _) = run(&graph, &inputs, 16);
    assert!(whole == want && moved == want, "the same coordinates wherever they lie");
}

#[test]
fn blocks_of_codes() {
    let codes = |dims: &[usize]| {
        let count: usize = dims.iter().product();
        HostTensor::from_i64_as(Element::U8, dims, &(0..count as i64).map(|at| at * 31 % 251).collect::<Vec<i64>>())
    };
    let one_zero = HostTensor::from_i64_as(Element::U8, &[1, 1], &[7]);
    // 20 columns in blocks of 8 end with a short one, blocks of 5 do not; a scale or a zero point may be one for all blocks.
    for (block, blocks) in [(8, 3), (5, 4)] {
        let op = Op::Dequantize { axis: 1, block };
        let scales = noise(&[700, blocks], 1);
        let zeros = codes(&[700, blocks]);
        check_on("a scale per block", op.clone(), vec![codes(&[700, 20]), scales.clone()], None);
        check_on(
            "one zero for all blocks",
            op.clone(),
            vec![codes(&[700, 20]), scales.clone(), one_zero.clone()],
            None,
        );
        check_on("a zero per block", op.clone(), vec![codes(&[700, 20]), scales, zeros.clone()], None);
        check_on("one scale for all blocks", op.clone(), vec![codes(&[700, 20]), noise(&[1, 1], 1), zeros], None);
        check_on("one of both", op, vec![codes(&[700, 20]), noise(&[1, 1], 1), one_zero.clone()], None);
    }
}

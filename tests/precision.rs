//! `--precision f16` and `bf16`: what is finite in f32 stays finite, masks mask in every spelling, and what 16 bits would ruin stays wide.
//! Small models that are written here; decoders, diffusion models and the zoos are in `precision_models.rs`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use narae::npz::Arrays;
use narae::session::Reference;
use narae_compiler::compile::Options;
use narae_compiler::onnx::Limits;
use narae_isa::HostTensor;
use support::narrow::{NARROW, answer, distance, mismatches, options, rounding};
use support::wire::{Dim, Graph, Message, initializer, node, value};

fn with_int(node: Message, name: &str, number: i64) -> Message {
    node.message(5, Message::default().bytes(1, name).number(3, number).number(20, 2))
}

/// An i64 initializer.
fn integers(name: &str, values: &[i64]) -> Message {
    let raw: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    Message::default().number(1, values.len() as i64).number(2, 7).bytes(8, name).bytes(9, raw)
}

fn numbers(seed: u64, count: usize) -> Vec<f32> {
    let noise = |index: u64| ((index + 1).wrapping_mul(6_364_136_223_846_793_005).wrapping_add(seed * 97) >> 40) as f32;
    (0..count as u64).map(|index| noise(index * 31 + seed) / (1 << 23) as f32 - 1.0).collect()
}

fn cast(input: &str, output: &str, to: i64) -> Message {
    with_int(node("", "Cast", &[input], &[output]), "to", to)
}

/// The spellings of a mask: the nodes between the mask and the scores `ss`, which leave the masked scores in `sb`.
fn spellings() -> Vec<(&'static str, Vec<Message>)> {
    let n = |op: &str, inputs: &[&str], output: &str| node("", op, inputs, &[output]);
    let inverse = || vec![n("Sub", &["one", "a4"], "inv")];
    let truth = || vec![cast("a4", "b4", 9)];
    let added = || n("Add", &["ss", "bias"], "sb");
    let with = |first: Vec<Message>, rest: Vec<Message>| first.into_iter().chain(rest).collect::<Vec<_>>();
    vec![
        (
            "masked fill of a triangle",
            with(inverse(), vec![cast("inv", "ib", 9), n("Where", &["ib", "min", "tri"], "bias"), added()]),
        ),
        (
            "least number times mask plus triangle, not below the least",
            with(
                inverse(),
                vec![
                    n("Mul", &["inv", "min"], "b0"),
                    n("Add", &["b0", "tri"], "b1"),
                    n("Max", &["b1", "min"], "bias"),
                    added(),
                ],
            ),
        ),
        ("-1e9 times mask", with(inverse(), vec![n("Mul", &["inv", "big"], "bias"), added()])),
        ("-10000 times mask", with(inverse(), vec![n("Mul", &["inv", "m10k"], "bias"), added()])),
        ("zero where seen", with(truth(), vec![n("Where", &["b4", "zero", "min"], "bias"), added()])),
        ("scores where seen, else the least", with(truth(), vec![n("Where", &["b4", "ss", "min"], "sb")])),
        ("scores where seen, else -1e9", with(truth(), vec![n("Where", &["b4", "ss", "big"], "sb")])),
        (
            "two masks of -1e9",
            with(inverse(), vec![n("Mul", &["inv", "big"], "b0"), n("Add", &["b0", "tri9"], "bias"), added()]),
        ),
        ("mask minus one times 1e9", vec![n("Sub", &["a4", "one"], "b0"), n("Mul", &["b0", "plus"], "bias"), added()]),
        (
            "minus the least number",
            with(inverse(), vec![n("Mul", &["inv", "max"], "b0"), n("Sub", &["ss", "b0"], "sb")]),
        ),
        (
            "the least number twice, bounded",
            with(
                inverse(),
                vec![
                    n("Mul", &["inv", "min"], "b0"),
                    n("Add", &["b0", "b0"], "b1"),
                    n("Max", &["b1", "min"], "bias"),
                    added(),
                ],
            ),
        ),
        (
            "added to scores one after the other",
            with(
                inverse(),
                vec![n("Mul", &["inv", "big"], "b0"), n("Add", &["ss", "b0"], "s1"), n("Add", &["s1", "tri9"], "sb")],
            ),
        ),
        ("a float mask of the caller", vec![n("Add", &["ss", "fm"], "sb")]),
        (
            "a float mask of the caller and a padding mask",
            with(
                inverse(),
                vec![
                    n("Mul", &["inv", "big"], "b0"),
                    n("Add", &["b0", "fm"], "b1"),
                    n("Max", &["b1", "min"], "bias"),
                    added(),
                ],
            ),
        ),
    ]
}

fn attention(spelling: Vec<Message>) -> Graph {
    let least = f32::MIN;
    let triangle = |hidden: f32| -> Vec<f32> { (0..25).map(|at| if at % 5 > at / 5 { hidden } else { 0.0 }).collect() };
    let scalar = |name: &str, number: f32| initializer(name, &[], &[number]);
    let four = |name: &str, dims: [i64; 4]| value(name, 1, &dims.map(Dim::Is));
    let mut nodes = vec![
        cast("am", "amf", 1),
        node("", "Unsqueeze", &["amf", "axes"], &["a4"]),
        node("", "MatMul", &["q", "kt"], &["s"]),
        node("", "Mul", &["s", "half"], &["ss"]),
    ];
    nodes.extend(spelling);
    nodes.push(with_int(node("", "Softmax", &["sb"], &["p"]), "axis", -1));
    nodes.push(node("", "MatMul", &["p", "v"], &["y"]));
    Graph {
        nodes,
        initializers: vec![
            integers("axes", &[1, 2]),
            scalar("half", 0.5),
            scalar("one", 1.0),
            scalar("zero", 0.0),
            scalar("min", least),
            scalar("max", f32::MAX),
            scalar("big", -1e9),
            scalar("plus", 1e9),
            scalar("m10k", -10000.0),
            initializer("tri", &[1, 1, 5, 5], &triangle(least)),
            initializer("tri9", &[1, 1, 5, 5], &triangle(-1e9)),
        ],
        inputs: vec![
            four("q", [2, 2, 5, 4]),
            four("kt", [2, 2, 4, 5]),
            four("v", [2, 2, 5, 4]),
            value("am", 7, &[Dim::Is(2), Dim::Is(5)]),
            four("fm", [1, 1, 5, 5]),
        ],
        outputs: vec![four("y", [2, 2, 5, 4])],
    }
}

#[test]
fn masks_mask_in_every_spelling() {
    let folder = tempfile::tempdir().expect("a folder");
    let float = |name: &str, dims: &[usize], seed| {
        (name.to_owned(), HostTensor::from_f32(dims, &numbers(seed, dims.iter().product())))
    };
    let mut inputs: Arrays =
        [float("q", &[2, 2, 5, 4], 1), float("kt", &[2, 2, 4, 5], 2), float("v", &[2, 2, 5, 4], 3)].into();
    inputs.insert("am".into(), HostTensor::from_i64(&[2, 5], &[0, 0, 1, 1, 1, 1, 1, 1, 1, 1]));
    let hidden: Vec<f32> = (0..25).map(|at| if at % 5 > at / 5 { f32::MIN } else { 0.0 }).collect();
    inputs.insert("fm".into(), HostTensor::from_f32(&[1, 1, 5, 5], &hidden));
    let mut wrong = vec![];
    for (number, (name, spelling)) in spellings().into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.onnx"));
        std::fs::write(&path, attention(spelling).model()).expect("a file");
        let want =
            Reference::open(&path, &Limits::default()).and_then(|model| model.run(&inputs)).expect("it evaluates");
        assert!(want["y"].to_f64_vec().iter().all(|value| value.is_finite()), "{name}: f32 itself is not finite");
        for precision in NARROW {
            for optimisation in [0, 2] {
                let options = Options { optimisation, ..options(precision, &inputs) };
                let got = answer(&path, &options, &inputs);
                let (kinds, far) = (mismatches(&got["y"], &want["y"]), distance(&got["y"], &want["y"]));
                // Scores, weights, values and the result are rounded once each.
                if kinds > 0 || far > 8.0 * rounding(precision) {
                    wrong.push(format!("{name} {precision:?} -O{optimisation}: {kinds} of another kind, {far:.2e}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A model of elementwise ops over `x` with named scalars.
fn chain(nodes: Vec<Message>, scalars: &[(&str, f32)]) -> Graph {
    let mut initializers: Vec<Message> =
        scalars.iter().map(|(name, number)| initializer(name, &[], &[*number])).collect();
    initializers.push(integers("last", &[-1]));
    Graph {
        nodes,
        initializers,
        inputs: vec![value("x", 1, &[Dim::Is(4), Dim::Is(16)])],
        outputs: vec![value("y", 1, &[Dim::Is(4), Dim::Is(16)])],
    }
}

#[test]
fn norms_and_exponentials_do_not_overflow() {
    let n = |op: &str, inputs: &[&str], output: &str| node("", op, inputs, &[output]);
    let l2 = |epsilon| {
        vec![
            n("Mul", &["x", "x"], "s"),
            n("ReduceSum", &["s", "last"], "v"),
            n("Sqrt", &["v"], "r"),
            n("Max", &["r", epsilon], "m"),
            n("Div", &["x", "m"], "y"),
        ]
    };
    let cases: Vec<(&str, f32, Vec<Message>)> = vec![
        ("L2 norm of large numbers", 3e3, l2("tiny")),
        ("L2 norm of small numbers", 1e-3, l2("tiny")),
        (
            "spelled RMS norm",
            2e3,
            vec![
                n("Mul", &["x", "x"], "s"),
                n("ReduceMean", &["s"], "v"),
                n("Add", &["v", "tiny"], "w"),
                n("Sqrt", &["w"], "r"),
                n("Div", &["x", "r"], "y"),
            ],
        ),
        ("softplus by hand", 20.0, vec![n("Exp", &["x"], "e"), n("Add", &["e", "one"], "f"), n("Log", &["f"], "y")]),
        (
            "sigmoid by hand",
            40.0,
            vec![
                n("Neg", &["x"], "m"),
                n("Exp", &["m"], "e"),
                n("Add", &["e", "one"], "f"),
                n("Div", &["x", "f"], "y"),
            ],
        ),
        (
            "softmax by hand",
            30.0,
            vec![n("Exp", &["x"], "e"), n("ReduceSum", &["e", "last"], "s"), n("Div", &["e", "s"], "y")],
        ),
        (
            "quotient by something small",
            1.0,
            vec![
                n("Mul", &["x", "x"], "s"),
                n("Mul", &["s", "tiny"], "t"),
                n("Add", &["t", "tiny"], "u"),
                n("Mul", &["x", "tiny"], "z"),
                n("Div", &["z", "u"], "y"),
            ],
        ),
        (
            "cube in a GELU",
            60.0,
            vec![
                n("Mul", &["x", "x"], "s"),
                n("Mul", &["s", "x"], "c"),
                n("Mul", &["c", "one"], "d"),
                n("Add", &["d", "x"], "e"),
                n("Tanh", &["e"], "t"),
                n("Mul", &["t", "x"], "y"),
            ],
        ),
        (
            "a large factor undone",
            1.0,
            vec![n("Mul", &["x", "million"], "a"), n("Mul", &["a", "one"], "b"), n("Div", &["b", "million"], "y")],
        ),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let mut wrong = vec![];
    for (number, (name, scale, nodes)) in cases.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.onnx"));
        std::fs::write(&path, chain(nodes, &[("tiny", 1e-12), ("one", 1.0), ("million", 1e6)]).model())
            .expect("a file");
        let values: Vec<f32> = numbers(7, 64).into_iter().map(|value| value * scale).collect();
        let inputs: Arrays = [("x".to_owned(), HostTensor::from_f32(&[4, 16], &values))].into();
        let want =
            Reference::open(&path, &Limits::default()).and_then(|model| model.run(&inputs)).expect("it evaluates");
        for precision in NARROW {
            let got = answer(&path, &options(precision, &inputs), &inputs);
            let (kinds, far) = (mismatches(&got["y"], &want["y"]), distance(&got["y"], &want["y"]));
            // An exponential of a rounded x is off by the rounding of x.
            if kinds > 0 || far > 4.0 * rounding(precision) * f64::from(scale).clamp(1.0, 40.0) {
                wrong.push(format!("{name} {precision:?}: {kinds} of another kind, {far:.2e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Sines of `position · frequency`, in the spelling of the nodes that make the angles `angle [S, 8]`.
fn angles(spelling: Vec<Message>, input: (&str, i64)) -> Graph {
    let mut nodes = spelling;
    nodes.push(node("", "Sin", &["angle"], &["sine"]));
    nodes.push(node("", "Add", &["sine", "zeros"], &["y"]));
    let frequencies: Vec<f32> = (0..8).map(|at| 10_000f32.powf(-(at as f32) / 8.0)).collect();
    Graph {
        nodes,
        initializers: vec![
            initializer("frequencies", &[8], &frequencies),
            initializer("row", &[1, 8], &frequencies),
            initializer("thousand", &[], &[1000.0]),
            initializer("zeros", &[8], &[0.0; 8]),
            integers("axis", &[1]),
            Message::default().number(2, 7).bytes(8, "zero").bytes(9, [0u8; 8]),
        ],
        inputs: vec![value(input.0, input.1, &[Dim::Named("s")])],
        outputs: vec![value("y", 1, &[Dim::Named("s"), Dim::Is(8)])],
    }
}

#[test]
fn angles_are_exact_wherever_they_come_from() {
    let n = |op: &str, inputs: &[&str], output: &str| node("", op, inputs, &[output]);
    let column = |from: &str| n("Unsqueeze", &[from, "axis"], "column");
    let positions: Vec<i64> = vec![0, 3, 255, 257, 2003, 2049, 8100];
    let cases: Vec<(&str, (&str, i64), Vec<Message>)> = vec![
        (
            "positions times frequencies",
            ("p", 7),
            vec![cast("p", "f", 1), column("f"), n("Mul", &["column", "frequencies"], "angle")],
        ),
        ("an outer product", ("p", 7), vec![cast("p", "f", 1), column("f"), n("MatMul", &["column", "row"], "angle")]),
        (
            "a running sum of a mask",
            ("p", 7),
            vec![
                cast("p", "f", 1),
                n("CumSum", &["f", "zero"], "c"),
                column("c"),
                n("Mul", &["column", "frequencies"], "angle"),
            ],
        ),
        (
            "a time of the caller",
            ("t", 1),
            vec![n("Mul", &["t", "thousand"], "f"), column("f"), n("Mul", &["column", "frequencies"], "angle")],
        ),
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let mut wrong = vec![];
    for (number, (name, input, spelling)) in cases.into_iter().enumerate() {
        let path = folder.path().join(format!("{number}.onnx"));
        std::fs::write(&path, angles(spelling, input).model()).expect("a file");
        let times: Vec<f32> = positions.iter().map(|position| *position as f32 / 8101.0).collect();
        let tensor = match input.1 {
            7 => HostTensor::from_i64(&[positions.len()], &positions),
            _ => HostTensor::from_f32(&[positions.len()], &times),
        };
        let inputs: Arrays = [(input.0.to_owned(), tensor)].into();
        let want =
            Reference::open(&path, &Limits::default()).and_then(|model| model.run(&inputs)).expect("it evaluates");
        for precision in NARROW {
            for optimisation in [0, 2] {
                let options = Options { optimisation, ..options(precision, &inputs) };
                let far = distance(&answer(&path, &options, &inputs)["y"], &want["y"]);
                if far > 2.0 * rounding(precision) {
                    wrong.push(format!("{name} {precision:?} -O{optimisation}: {far:.2e}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_a_loop_carries_is_not_rounded_each_time() {
    let scalar = |name: &str, kind| value(name, kind, &[]);
    let body = Graph {
        nodes: vec![node("", "Add", &["sum", "step"], &["next"]), node("", "Identity", &["ci"], &["co"])],
        initializers: vec![],
        inputs: vec![scalar("i", 7), scalar("ci", 9), scalar("sum", 1)],
        outputs: vec![scalar("co", 9), scalar("next", 1)],
    };
    let turned = node("", "Loop", &["count", "", "x"], &["y"]);
    let graph = Graph {
        nodes: vec![turned.message(5, Message::default().bytes(1, "body").message(6, body.message()).number(20, 5))],
        initializers: vec![initializer("step", &[], &[1.0])],
        inputs: vec![scalar("x", 1), scalar("count", 7)],
        outputs: vec![scalar("y", 1)],
    };
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("loop.onnx");
    std::fs::write(&path, graph.model()).expect("a file");
    let inputs: Arrays =
        [("x".to_owned(), HostTensor::from_f32(&[], &[0.0])), ("count".to_owned(), HostTensor::from_i64(&[], &[3001]))]
            .into();
    for precision in NARROW {
        assert_eq!(answer(&path, &options(precision, &inputs), &inputs)["y"].to_f64_vec(), [3001.0], "{precision:?}");
    }
}

#[test]
fn what_stays_wide_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let image = folder.path().join("m.narae");
    let model = support::data("llama2_primitive.onnx");
    let arguments = [
        "compile",
        model.to_str().expect("UTF-8"),
        "-o",
        image.to_str().expect("UTF-8"),
        "--precision",
        "bf16",
        "--max",
        "*=64",
    ];
    support::narae(&arguments).ok();
    let shown = support::narae(&["explain", image.to_str().expect("UTF-8")]).ok().stdout;
    for reason in ["its sine or cosine is taken", "it is made from integers"] {
        assert!(shown.contains(reason), "{shown}");
    }
    assert!(support::narae(&["inspect", image.to_str().expect("UTF-8")]).ok().stdout.contains("stays f32"));
}

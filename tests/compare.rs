//! `narae compare` on models that are right, and on bugs planted at every stage: a wrong pass over the graph, a wrong law, a wrong pass
//! over the tile program, a wrong instruction, a wrong descriptor, a memory plan that lets two buffers overlap. The node, pass, law and
//! instruction that are named must be the planted ones.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use narae::compare::{Comparison, Settings, compare, verdict};
use narae::npz::{self, Arrays};
use narae_compiler::compile::Options;
use narae_compiler::compress::policy::Policy;
use narae_compiler::graph::{Graph, Op};
use narae_compiler::image::Compiled;
use narae_compiler::onnx::{Limits, Model};
use narae_compiler::pipeline::{Pass, Work};
use narae_compiler::rewrite::law::{Law, law};
use narae_compiler::rewrite::rules;
use narae_compiler::tile::{Home, Op as TileOp};
use narae_isa::instructions::Inst;
use narae_isa::operand::Float32;
use narae_isa::{BinaryFunction, Chip, Diagnostic, Element, HostTensor, Row};
use support::{data, narae};

fn options() -> Options {
    Options::new(Chip::built_in("narae-1").expect("a built-in chip"))
}

/// Compares a small model of this repository on one of its calls.
fn compared(model: &str, call: &str, mut options: Options, tamper: Option<&dyn Fn(&mut Compiled)>) -> Comparison {
    let answers = data(&format!("{model}.npz"));
    let side = |side: &str| npz::read_selected(&answers, &format!("{call}/{side}/")).expect("the call is there");
    let (inputs, expected) = (side("in"), side("out"));
    options.maxima.shapes.push(inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect());
    let model = Model::open(data(&format!("{model}.onnx")), &Limits::default()).expect("our own model");
    let settings = Settings { options: &options, relative: None, tamper };
    compare(&model, &inputs, Some(&expected), &settings).unwrap_or_else(|found| panic!("{found}"))
}

/// The verdict of a comparison that must find something: the whole text.
#[track_caller]
fn found(comparison: &Comparison) -> Diagnostic {
    let found = verdict(comparison).expect_err("a bug was planted");
    assert_eq!(found.exit(), 4);
    found.0.into_iter().next().expect("one verdict")
}

#[track_caller]
fn says(found: &Diagnostic, parts: &[&str]) {
    let text = found.to_string();
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in\n{text}");
    }
}

#[test]
fn right_models_agree_at_every_stage() {
    for (model, call) in [
        ("llama2_primitive", "set0/call0"),
        ("llama2_primitive", "set0/call1"),
        ("llama2_fused23", "set1/call2"),
        ("llama2_primitive_fp16", "set0/call1"),
    ] {
        let comparison = compared(model, call, options(), None);
        verdict(&comparison).unwrap_or_else(|found| panic!("{model} {call}: {found}"));
        let stages: Vec<&str> = comparison.stages.iter().map(|stage| stage.name.as_str()).collect();
        let road =
            ["canonicalize", "recover", "expose", "decide", "retype", "roll", "dead-code", "bound", "lower", "place"];
        assert_eq!(stages, [&["import", "fix-dims"][..], &road, &["instructions"]].concat());
        assert!(comparison.instructions > 50, "{}", comparison.instructions);
        // The tensors of both layers are found inside of the loop, in the program and on the machine.
        let machine = comparison.stages.last().expect("the instructions");
        for layer in ["layers.0/", "layers.1/"] {
            let of_layer = |number: &&u32| comparison.tensors[number].name.contains(layer);
            assert!(machine.tensors.keys().filter(of_layer).count() > 15, "{model}: {layer}");
        }
    }
}

#[test]
fn nothing_depends_on_names() {
    let model = Model::open(data("llama2_primitive.onnx"), &Limits::default()).expect("our own model");
    let mut options = options();
    (options.maxima.batch, options.maxima.sequence, options.maxima.past) = (Some(2), Some(8), Some(16));
    let compiled = |graph: Graph| {
        let unobserved = &mut narae_compiler::pipeline::Unobserved;
        narae_compiler::compile::compile_graph(graph, &options, unobserved).expect("it compiles").0.content
    };
    let plain = compiled(narae_compiler::onnx::import(&model).expect("a graph"));
    let named = compiled(
        narae_compiler::onnx::import_with_names(&model, &narae_compiler::bounds::Maxima::default()).expect("a graph"),
    );
    assert!(plain.words == named.words && plain.rows == named.rows, "names changed the program");
}

/// The first product of gate and up in layer 1 becomes a sum.
fn wrong_product(graph: &mut Graph) {
    let wrong = graph.nodes().find(|(_, node)| {
        node.provenance.origins().iter().any(|origin| origin.name == "/model/layers.1/mlp/Mul_1")
            && matches!(node.op, Op::Binary { function: BinaryFunction::Mul })
    });
    let (node, _) = wrong.expect("the gated product is there before the laws");
    graph.replace_op(node, Op::Binary { function: BinaryFunction::Add });
}

#[test]
fn a_wrong_pass_over_the_graph() {
    let mut options = options();
    let work = Work::Graph(|graph, _| {
        wrong_product(graph);
        Ok(())
    });
    options.own_passes.push(("canonicalize", Pass { name: "planted", doc: "", rounds: false, work }));
    let comparison = compared("llama2_primitive", "set0/call1", options, None);
    let found = found(&comparison);
    says(
        &found,
        &["the pass `planted` is the first", "`/model/layers.1/mlp/Mul_1`", "against canonicalize", "instruction"],
    );
}

/// What an activation gives is not what it is given. (Of one type, as it must be: laws that change types are refused otherwise.)
fn laws_with_a_wrong_one() -> Vec<Law> {
    let mut laws = rules::laws();
    laws.push(law("planted-law", "(silu ?a)", "?a"));
    laws
}

#[test]
fn a_wrong_law() {
    let comparison =
        compared("llama2_primitive", "set0/call1", Options { laws: laws_with_a_wrong_one, ..options() }, None);
    assert!(comparison.suspects.iter().any(|law| law == "planted-law"), "{:?}", comparison.suspects);
    says(&found(&comparison), &["the pass `recover` is the first", "--without-law", "planted-law"]);
}

#[test]
fn a_wrong_pass_over_the_program() {
    let mut options = options();
    let work = Work::Tile(|program, _| {
        spoil(&mut program.body);
        Ok(())
    });
    options.own_passes.push(("lower", Pass { name: "planted", doc: "", rounds: false, work }));
    let comparison = compared("llama2_primitive", "set0/call1", options, None);
    // The norm's epsilon grows in the body of the loop, so the first layer is the first that is wrong.
    says(&found(&comparison), &["the pass `planted` is the first", "/model/layers.0/input_layernorm", "against lower"]);
}

/// A coarse epsilon for every norm.
fn spoil(ops: &mut [TileOp]) {
    for op in ops {
        match op {
            TileOp::Compute(compute) => {
                if let Inst::Norm(norm) = &mut compute.inst {
                    norm.epsilon = Float32::new(1.0);
                }
            }
            TileOp::For { body, .. } => spoil(body),
            _ => {}
        }
    }
}

/// The first instruction of this kind, and its number.
fn first(compiled: &Compiled, wanted: impl Fn(&Inst) -> bool) -> usize {
    compiled.content.words.iter().position(|word| wanted(&word.inst)).expect("the program has such an instruction")
}

#[test]
fn a_wrong_instruction() {
    let pc = std::cell::Cell::new(0);
    let tamper = |compiled: &mut Compiled| {
        // The residual sum at the end of a layer becomes a difference.
        let sums = |inst: &Inst| matches!(inst, Inst::Binary(row) if row.function == BinaryFunction::Add);
        let at = compiled.content.words.iter().rposition(|word| sums(&word.inst)).expect("a residual sum");
        let Inst::Binary(row) = &mut compiled.content.words[at].inst else { unreachable!("it was found by its kind") };
        row.function = BinaryFunction::Sub;
        pc.set(at);
    };
    let comparison = compared("llama2_primitive", "set0/call1", options(), Some(&tamper));
    let wrong = comparison.wrong.as_ref().expect("a wrong instruction");
    assert_eq!(wrong.pc as usize, pc.get());
    assert!(wrong.text.starts_with("binary sub"), "{}", wrong.text);
    let place = format!("instruction {} is the first", pc.get());
    says(&found(&comparison), &[&place, "is not what the program says, `binary add", "layers.0", "layer 0 of 2"]);
}

#[test]
fn a_wrong_number_inside_of_an_instruction() {
    let pc = std::cell::Cell::new(0);
    let tamper = |compiled: &mut Compiled| {
        let at = first(compiled, |inst| matches!(inst, Inst::Norm(_)));
        let Inst::Norm(row) = &mut compiled.content.words[at].inst else { unreachable!("it was found by its kind") };
        row.epsilon = Float32::new(0.5);
        pc.set(at);
    };
    let comparison = compared("llama2_fused23", "set0/call1", options(), Some(&tamper));
    assert_eq!(comparison.wrong.as_ref().map(|wrong| wrong.pc as usize), Some(pc.get()));
    says(&found(&comparison), &["epsilon=0.5", "input_layernorm"]);
}

/// The `ldd` that first loads a row, and the row.
fn load_of(compiled: &Compiled, wanted: impl Fn(&Row) -> bool) -> (usize, usize) {
    let loads = compiled.content.words.iter().enumerate().filter_map(|(pc, word)| match word.inst {
        Inst::LoadDescriptor(load) => Some((pc, load.row.0 as usize)),
        _ => None,
    });
    loads.into_iter().find(|(_, row)| wanted(&compiled.content.rows[*row])).expect("such a row is loaded")
}

#[test]
fn a_wrong_address_in_a_descriptor() {
    let pc = std::cell::Cell::new(0);
    let tamper = |compiled: &mut Compiled| {
        let sram =
            |row: &Row| matches!(row, Row::Tensor(row) if row.memory == narae_isa::Memory::Sram && row.base >= 64);
        let (at, row) = load_of(compiled, sram);
        let Row::Tensor(row) = &mut compiled.content.rows[row] else { unreachable!("it was found by its kind") };
        row.base -= 64;
        pc.set(at);
    };
    let comparison = compared("llama2_primitive", "set0/call1", options(), Some(&tamper));
    assert_eq!(comparison.wrong.as_ref().map(|wrong| wrong.pc as usize), Some(pc.get()));
    says(&found(&comparison), &["loads another descriptor", "begins at sram", "the program says sram"]);
}

#[test]
fn a_wrong_weight_in_one_layer_of_twelve() {
    // The table of the first weight that differs by layer: row 7 of it gets the weight of layer 6.
    let tamper = |compiled: &mut Compiled| {
        let loads = compiled.content.words.iter().filter_map(|word| match word.inst {
            Inst::LoadDescriptor(load) if load.ri.is_some() => Some(load.row.0 as usize),
            _ => None,
        });
        let table =
            loads.into_iter().find(|&row| matches!(compiled.content.rows[row], Row::Weight(_))).expect("a table");
        compiled.content.rows[table + 7] = compiled.content.rows[table + 6].clone();
    };
    let mut options = options();
    options.quant = Policy::None;
    let model = Model::open(data("llama12_primitive.onnx"), &Limits::default()).expect("our own model");
    let inputs = twelve_layers();
    options.maxima.shapes.push(inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect());
    let settings = Settings { options: &options, relative: None, tamper: Some(&tamper) };
    let comparison = compare(&model, &inputs, None, &settings).unwrap_or_else(|found| panic!("{found}"));
    says(&found(&comparison), &["its weight is", "layers.7/", "layer 7 of 12"]);
    // Everything before layer 7 is right on the machine, and layer 7 is not.
    let machine = comparison.stages.last().expect("the instructions");
    let first = machine.tensors.iter().find(|(_, cell)| cell.excess() > 1.0).expect("something is wrong");
    assert!(comparison.tensors[first.0].name.contains("layers.7/"), "{}", comparison.tensors[first.0].name);
}

/// Three tokens without a past.
fn twelve_layers() -> Arrays {
    let ids = |values: &[i64]| HostTensor::from_i64(&[1, 3], values);
    let mut inputs = Arrays::from([
        ("input_ids".to_string(), ids(&[5, 17, 3])),
        ("attention_mask".to_string(), ids(&[1, 1, 1])),
        ("position_ids".to_string(), ids(&[0, 1, 2])),
    ]);
    for layer in 0..12 {
        for side in ["key", "value"] {
            inputs.insert(format!("past_key_values.{layer}.{side}"), HostTensor::zeros(Element::F16, &[1, 2, 0, 8]));
        }
    }
    inputs
}

#[test]
fn a_memory_plan_that_reuses_too_early() {
    // The plan says that some result lies where the residual stream still lies, and the rows follow the plan.
    let tamper = |compiled: &mut Compiled| {
        let program = &compiled.programs[0];
        let carried = program.buffers.iter().filter(|(_, data)| matches!(data.home, Home::Sram));
        let mut offsets: Vec<(u64, u64)> = carried
            .map(|(buffer, data)| {
                (compiled.addresses[0].buffers.get(&buffer).copied().unwrap_or(u64::MAX), data.capacity)
            })
            .collect();
        offsets.retain(|(offset, _)| *offset != u64::MAX);
        offsets.sort_unstable();
        offsets.dedup();
        // Two neighbours of one size: the second moves onto the first.
        let pair = offsets
            .windows(2)
            .find(|pair| pair[0].1 == pair[1].1 && pair[0].0 != pair[1].0)
            .expect("two alike buffers");
        let (from, to) = (pair[1].0, pair[0].0);
        for address in compiled.addresses[0].buffers.values_mut().filter(|address| **address == from) {
            *address = to;
        }
        for row in &mut compiled.content.rows {
            if let Row::Tensor(row) = row
                && row.memory == narae_isa::Memory::Sram
                && row.base == from
                && row.base_register.is_none()
            {
                row.base = to;
            }
        }
    };
    let comparison = compared("llama2_primitive", "set0/call1", options(), Some(&tamper));
    says(&found(&comparison), &["writes over", "still needs"]);
}

#[test]
fn a_length_that_is_wrong() {
    // Scalar code adds one too much somewhere: the first engine instruction that uses the length is named, or its descriptor's load.
    let tamper = |compiled: &mut Compiled| {
        let at = first(compiled, |inst| matches!(inst, Inst::AluImmediate(row) if row.value > 1));
        let Inst::AluImmediate(row) = &mut compiled.content.words[at].inst else { unreachable!("found by its kind") };
        row.value -= 1;
    };
    let comparison = compared("llama2_primitive", "set0/call1", options(), Some(&tamper));
    assert!(comparison.wrong.is_some());
    says(&found(&comparison), &["the program says"]);
}

#[test]
fn quantization_is_seen_where_it_is_decided() {
    let mut options = options();
    options.quant = Policy::parse("u4:g32").expect("a policy");
    let comparison = compared("llama2_primitive", "set0/call1", options, None);
    says(&found(&comparison), &["the pass `decide` is the first", "--quant"]);
    // The same codes stand in all later stages, so nothing is blamed on them.
    let far: Vec<&str> = comparison
        .stages
        .iter()
        .filter(|stage| stage.worst().is_some_and(|(cell, _)| cell.excess() > 1.0))
        .map(|stage| stage.name.as_str())
        .collect();
    assert_eq!(far, ["decide"]);
    assert!(comparison.wrong.is_none());
}

#[test]
fn answers_that_the_graph_does_not_give() {
    let answers = data("llama2_primitive.npz");
    let side = |side: &str| npz::read_selected(&answers, &format!("set0/call1/{side}/")).expect("the call is there");
    let (inputs, mut expected) = (side("in"), side("out"));
    let logits = expected.get_mut("logits").expect("the answer");
    *logits =
        HostTensor::from_f32(&logits.dims.clone(), &logits.to_f32_vec().iter().map(|x| x * 1.01).collect::<Vec<_>>());
    let model = Model::open(data("llama2_primitive.onnx"), &Limits::default()).expect("our own model");
    let mut options = options();
    options.maxima.shapes.push(inputs.iter().map(|(name, tensor)| (name.clone(), tensor.dims.clone())).collect());
    let settings = Settings { options: &options, relative: None, tamper: None };
    let comparison = compare(&model, &inputs, Some(&expected), &settings).expect("it runs");
    says(&found(&comparison), &["the imported graph is the first", "`logits`", "/lm_head/MatMul"]);
}

#[test]
fn on_the_command_line() {
    let (model, answers) = (data("llama2_fused23.onnx"), data("llama2_fused23.npz"));
    let paths = [model.to_string_lossy().into_owned(), answers.to_string_lossy().into_owned()];
    let run =
        |more: &[&str]| narae(&[&["compare", &paths[0], "--inputs", &paths[1], "--call", "set0/call1"], more].concat());
    let right = run(&[]).ok();
    insta::assert_snapshot!("compare", right.stdout);
    assert_eq!(right.stderr, "all stages agree\n");
    let table = run(&["--all"]).ok().stdout;
    assert!(table.contains("/model/layers.1/mlp/Mul_1_output_0") && table.contains("optimised graph"), "{table}");
    let json: serde_json::Value = serde_json::from_str(&run(&["--json"]).ok().stdout).expect("JSON");
    assert_eq!(json["divergences"], serde_json::json!([]));
    assert!(json["stages"].as_array().is_some_and(|stages| stages.len() == 13));
    let strict = run(&["--quant", "u4:g32"]);
    assert!(
        strict.code == 4 && strict.stderr.contains("error[E0901]") && strict.stderr.contains("`decide`"),
        "{}",
        strict.stderr
    );
    run(&["--quant", "u4:g32", "--rtol", "0.9"]).ok();
    assert_eq!(run(&["--kv-cache", "state"]).code, 2);
}

#[test]
fn models_of_every_kind_agree() {
    let folder = shared_or_skip!("models/zoo");
    for (model, call) in [
        ("optimum/bert/model", "set0/call0"),
        ("torch_ts/dit", "set0/call0"),
        ("genai/llama_int4/model", "set1/call1"),
        ("torch_dynamo/llama_kv_fp16", "set0/call0"),
        ("ort_gpt2/gpt2_past_int8", "set1/call0"),
        ("torch_dynamo/timm_swin", "set0/call0"),
    ] {
        let path = |extension: &str| folder.join(format!("{model}.{extension}")).to_string_lossy().into_owned();
        let run = narae(&["compare", &path("onnx"), "--inputs", &path("npz"), "--call", call]);
        assert_eq!(run.code, 0, "{model}\n{}\n{}", run.stdout, run.stderr);
    }
}

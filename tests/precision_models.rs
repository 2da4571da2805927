//! `--precision f16` and `bf16` on models: positions and times survive, and no file of the zoos gets a NaN or an infinity that f32 has not.
//! A decoder of `tests/data`; trained models and the zoos where they are there, of which the plain tests run one file of each exporter and
//! family. All files: `cargo test --test precision_models -- --ignored`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::path::Path;

use narae::npz::Arrays;
use narae::session::{Session, import};
use narae_compiler::compile::Precision;
use narae_compiler::onnx::Limits;
use narae_isa::HostTensor;
use rayon::prelude::*;
use support::narrow::{NARROW, answer, distance, mismatches, options};
use support::zoo::{Call, Row};

/// How far logits are: the greatest difference, and the root of the mean square.
#[derive(Clone, Copy, Debug)]
struct Error {
    most: f64,
    mean: f64,
}

/// Tokens of a call that is made at several offsets.
const COUNT: usize = 64;

/// 64 tokens for a decoder whose past is empty, the first one at an offset.
fn tokens_at(path: &Path, offset: i64) -> Arrays {
    let graph = import(path, &Limits::default()).expect("it imports");
    let size = |name: &str| match name {
        name if name.contains("past") => 0,
        name if name.contains("batch") => 1,
        _ => COUNT as i64,
    };
    let ids = graph.inputs().iter().find(|port| port.name == "input_ids" || port.name == "position_ids");
    let ids = graph.dims(ids.expect("a decoder has ids").value);
    let tensor = |port: &narae_compiler::graph::Port| {
        let extent = |(axis, dim): (usize, &narae_compiler::ir::Dim)| match dim.as_size() {
            Some(extent) => extent,
            None if *dim == ids[0] || axis == 0 => 1,
            None if *dim == ids[1] => COUNT,
            None if port.name.contains("past") => 0,
            None => {
                let found = dim.eval(&|symbol| Some(size(graph.symbols.name(symbol))));
                found.and_then(|extent| usize::try_from(extent).ok()).unwrap_or(COUNT)
            }
        };
        let dims: Vec<usize> = graph.dims(port.value).iter().enumerate().map(extent).collect();
        let all = 0..dims.iter().product::<usize>() as i64;
        let numbers: Vec<i64> = match port.name.as_str() {
            "input_ids" => all.map(|at| (at * 37 + 11) % 89).collect(),
            "position_ids" => all.map(|at| offset + at % COUNT as i64).collect(),
            _ => all.map(|_| 1).collect(),
        };
        match graph.element(port.value) {
            element if element.is_float() => HostTensor::zeros(element, &dims),
            element => HostTensor::from_i64_as(element, &dims, &numbers),
        }
    };
    graph.inputs().iter().map(|port| (port.name.clone(), tensor(port))).collect()
}

/// The logits of one image at several offsets; or why a run was refused.
fn logits(path: &Path, precision: Precision, calls: &[Arrays]) -> Vec<Result<Vec<f64>, String>> {
    let mut session = match Session::compile(path, &options(precision, &calls[0])) {
        Ok(session) => session,
        Err(refused) => return vec![Err(refused.to_string()); calls.len()],
    };
    let mut run = |inputs: &Arrays| {
        let outputs = session.run(None, inputs).map_err(|refused| refused.to_string())?;
        outputs.get("logits").map(HostTensor::to_f64_vec).ok_or_else(|| "no logits".to_string())
    };
    calls.iter().map(&mut run).collect()
}

fn error_of(narrow: &[f64], wide: &[f64]) -> Error {
    let differences: Vec<f64> = narrow.iter().zip(wide).map(|(narrow, wide)| (narrow - wide).abs()).collect();
    let squares: f64 = differences.iter().map(|difference| difference * difference).sum();
    Error { most: differences.iter().copied().fold(0.0, f64::max), mean: (squares / differences.len() as f64).sqrt() }
}

/// The code of an index outside of a table.
const SHORT_TABLE: &str = "E0605";

/// RoPE is relative: an error that grows with the offset is one of the positions. The greatest difference of all logits is one number of
/// one token and scatters from offset to offset in models with random weights; their mean square scatters less, and is held closer.
fn offsets_do_not_matter(path: &Path) -> Vec<String> {
    let name = path.display();
    let calls = OFFSETS.map(|offset| tokens_at(path, offset));
    let wide = logits(path, Precision::F32, &calls);
    let mut wrong = vec![];
    for precision in NARROW {
        let mut first = None;
        for ((offset, narrow), wide) in OFFSETS.iter().zip(logits(path, precision, &calls)).zip(&wide) {
            let error = match (&narrow, wide) {
                (Ok(narrow), Ok(wide)) => error_of(narrow, wide),
                // The only good reason: a table of positions that has fewer rows.
                (Err(refused), _) | (_, Err(refused)) if *offset > 0 && refused.contains(SHORT_TABLE) => {
                    println!("{name}: its tables end before offset {offset}");
                    continue;
                }
                (Err(refused), _) | (_, Err(refused)) => {
                    wrong.push(format!("{name}: refused at offset {offset}: {refused}"));
                    continue;
                }
            };
            let first = *first.get_or_insert(error);
            let ratios = [error.mean / first.mean, error.most / first.most];
            let line =
                format!("{name} {precision:?} {offset}: mean {:.2}, most {:.2} times {first:?}", ratios[0], ratios[1]);
            println!("{line}");
            if ratios[0] > 1.25 || ratios[1] > 1.5 {
                wrong.push(line);
            }
        }
    }
    wrong
}

/// Where the first token stands.
const OFFSETS: [i64; 4] = [0, 255, 2003, 8100];

#[test]
fn positions_survive_in_our_own_decoder() {
    let wrong = offsets_do_not_matter(&support::data("llama2_primitive.onnx"));
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The zoos' LLaMA-like exports of optimum and dynamo with an input of positions.
const DECODERS: &[&str] = &[
    "zoo/optimum/granite/model.onnx",
    "zoo/optimum/llama/model.onnx",
    "zoo/optimum/llama_nocache/model.onnx",
    "zoo/optimum/qwen3/model.onnx",
    "zoo/torch_dynamo/llama_kv.onnx",
    "zoo/torch_dynamo/llama_kv_opset23.onnx",
    "zoo2/optimum/arcee/model.onnx",
    "zoo2/optimum/cohere/model.onnx",
    "zoo2/optimum/phi3_longrope/model.onnx",
    "zoo2/torch_dynamo/cohere2_kv20.onnx",
    "zoo2/torch_dynamo/exaone4_kv20.onnx",
    "zoo2/torch_dynamo/gemma4_kv20.onnx",
    "zoo2/torch_dynamo/gpt_oss_kv20.onnx",
    "zoo2/torch_dynamo/hyperclovax_seed_kv20.onnx",
    "zoo2/torch_dynamo/hyperclovax_seed_kv23.onnx",
    "zoo2/torch_dynamo/ministral3_kv20.onnx",
];

#[test]
fn positions_survive_in_decoders_of_the_zoos() {
    let models = shared_or_skip!("models");
    let wrong: Vec<String> =
        DECODERS.par_iter().flat_map_iter(|name| offsets_do_not_matter(&models.join(name))).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn times_of_a_diffusion_model_survive() {
    let folder = shared_or_skip!("models/real/hangul-dit");
    let read = |side: &str| {
        narae::npz::read_selected(&folder.join("refs.npz"), &format!("set0/call0/{side}/")).expect("answers")
    };
    let inputs = read("in");
    let batch = inputs["t"].len();
    for time in [0.0, 0.03, 0.1, 0.25, 0.5, 0.75, 0.9, 0.97, 1.0] {
        let mut inputs = inputs.clone();
        inputs.insert("t".into(), HostTensor::from_f32(&[batch], &vec![time; batch]));
        let run =
            |file: &str, precision| answer(&folder.join(file), &options(precision, &inputs), &inputs)["v"].clone();
        let want = run("denoiser_dynamo.onnx", Precision::F32);
        let ours = distance(&run("denoiser_dynamo.onnx", Precision::F16), &want);
        let theirs = distance(&run("denoiser_fp16.onnx", Precision::Auto), &want);
        println!("t = {time}: {ours:.3e}, the fp16 file {theirs:.3e}");
        assert!(ours <= 1.5 * theirs, "t = {time}: {ours:.3e}, the fp16 file {theirs:.3e}");
    }
}

/// The code of an operator that is not supported.
const UNSUPPORTED: &str = "E0201";

/// Files of the zoos that have such an operator, which is named: a plain `run` refuses them as well.
const UNSUPPORTED_FILES: &[(&str, &str)] = &[
    ("genai/lfm2_fp32/model.onnx", "CausalConvWithState"),
    ("genai/lfm2_int4/model.onnx", "CausalConvWithState"),
    ("genai/qwen2_5_vl_fp32/model.onnx", "MRotaryEmbedding"),
    ("genai/qwen3_5_vl_fp32/model.onnx", "LinearAttention"),
];

/// What is wrong with a refusal: nothing if the file is listed, and is refused for the reason that is listed and no other.
fn refusal(file: &str, problem: &str) -> Result<(), String> {
    let other = |line: &&str| line.contains("error[E") && !line.contains(UNSUPPORTED);
    let as_listed = match UNSUPPORTED_FILES.iter().find(|(name, _)| *name == file) {
        Some((_, operator)) => {
            problem.contains(UNSUPPORTED) && problem.contains(operator) && !problem.lines().any(|line| other(&line))
        }
        None => support::zoo::REFUSED.iter().any(|(name, _)| *name == file),
    };
    if as_listed { Ok(()) } else { Err(problem.to_owned()) }
}

#[test]
fn a_refusal_is_as_listed_or_a_fault() {
    let (listed, named) = ("genai/lfm2_fp32/model.onnx", "error[E0201]: `CausalConvWithState` is not supported");
    assert_eq!(refusal(listed, named), Ok(()));
    for (file, problem) in [
        ("genai/llama_fp16/model.onnx", named),
        (listed, "error[E0201]: `LinearAttention` is not supported"),
        (listed, "error[E0402]: `CausalConvWithState` is too large"),
        (listed, "error[E0201]: `CausalConvWithState` is not supported\nerror[E0301]: another one"),
    ] {
        assert_eq!(refusal(file, problem), Err(problem.to_owned()), "{file}");
    }
}

/// What is NaN or infinite in a row's first call in a precision where the stored answer is not; whether it ran.
fn new_infinities(row: &Row, call: &Call, precision: Precision) -> Result<bool, String> {
    let mut session = match Session::compile(&row.path, &options(precision, &call.inputs)) {
        Ok(session) => session,
        Err(problem) => return refusal(&row.name, &problem.to_string()).map(|()| false),
    };
    if UNSUPPORTED_FILES.iter().any(|(name, _)| *name == row.name) {
        return Err(String::from("compiles, and must leave UNSUPPORTED_FILES"));
    }
    let got = session.run(None, &call.inputs).map_err(|problem| problem.to_string())?;
    for (name, want) in call.wanted.iter().filter(|(_, want)| want.element.is_float()) {
        let kinds = mismatches(&got[name], want);
        if kinds > 0 {
            return Err(format!("{name}: {kinds} of another kind"));
        }
    }
    Ok(true)
}

/// Whether the first call of a file ran in each narrow type; a problem where it gives what f32 does not.
fn finite(row: &Row) -> Vec<Result<bool, String>> {
    let calls = row.calls().unwrap_or_default();
    let Some(call) = calls.first() else { return vec![] };
    let narrowed = |precision| {
        new_infinities(row, call, precision).map_err(|problem| format!("{} {precision:?}: {problem}", row.name))
    };
    NARROW.into_iter().map(narrowed).collect()
}

/// Files of a zoo in both types: nothing is NaN or infinite where f32 is not.
fn nothing_new_is_infinite(zoo: &str, chosen: impl Fn(usize, &str) -> bool) -> usize {
    let Some(zoo) = support::zoo::Zoo::named(zoo) else {
        support::skip("the zoo");
        return 0;
    };
    let rows: Vec<_> = zoo.rows("").into_iter().enumerate().filter(|(at, row)| chosen(*at, &row.name)).collect();
    let narrowed: Vec<Result<bool, String>> = rows.par_iter().flat_map_iter(|(_, row)| finite(row)).collect();
    let runs = narrowed.iter().filter(|ran| matches!(ran, Ok(true))).count();
    let wrong: Vec<String> = narrowed.into_iter().filter_map(Result::err).collect();
    println!("{runs} runs");
    assert!(wrong.is_empty(), "{wrong:#?}");
    runs
}

/// One file of each exporter and family, small where there is a choice: what the plain tests run.
const SOME_OF_ZOO: &[&str] = &[
    "genai/gemma2_fp32/model.onnx",
    "genai/granite_fp32/model.onnx",
    "genai/llama_fp16/model.onnx",
    "genai/llama_int4/model.onnx",
    "genai/qwen3_fp32/model.onnx",
    "genai/whisper_fp32/decoder.onnx",
    "generator/dit_tiny_fp16.onnx",
    "generator/llama_tiny_kv_mup_fp32_pool.onnx",
    "onnxscript/local_functions.onnx",
    "optimum/bloom/model.onnx",
    "optimum/qwen3_moe/model.onnx",
    "optimum/t5/encoder_model.onnx",
    "ort_fused/bert_optimum_fused.onnx",
    "ort_gpt2/gpt2_past_int8.onnx",
    "torch_dynamo/timm_swin.onnx",
    "torch_ts/pixart_static.onnx",
    "torch_ts_odd/bert_opset11.onnx",
    "torch_ts_odd/scripted_if.onnx",
    "torch_ts_odd/scripted_loop_sequence.onnx",
];

/// The same of the second zoo.
const SOME_OF_ZOO2: &[&str] = &[
    "genai/ernie4_5_fp32/model.onnx",
    "genai/lfm2_fp32/model.onnx",
    "genai/mistral_int4/model.onnx",
    "genai/phi4_mini_fp32/model.onnx",
    "genai/qwen2_5_vl_fp32/model.onnx",
    "genai/qwen3_5_vl_fp32/model.onnx",
    "optimum/modernbert/model.onnx",
    "optimum/mpt/model.onnx",
    "optimum/starcoder_bigcode/model.onnx",
    "torch_dynamo/deepseek_v3_kv20.onnx",
    "torch_dynamo/gpt_oss_kv20.onnx",
    "torch_dynamo/lfm2_dec20.onnx",
    "torch_dynamo/qwen3_moe_kv20.onnx",
    "torch_ts/mamba2_ts17.onnx",
    "torch_ts/recurrent_gemma_ts17.onnx",
    "torch_ts/sam2_hiera_ts17.onnx",
    "torch_ts/vae_kl_decoder_ts17.onnx",
];

fn some_stay_finite(zoo: &str, names: &[&str]) {
    drop(shared_or_skip!(zoo));
    let runs = nothing_new_is_infinite(zoo, |_, name| names.contains(&name));
    let refused = names.iter().filter(|name| {
        let is = |(file, _): &&(&str, &str)| file == *name;
        UNSUPPORTED_FILES.iter().any(|row| is(&row)) || support::zoo::REFUSED.iter().any(|row| is(&row))
    });
    assert_eq!(runs, NARROW.len() * (names.len() - refused.count()), "every file of the list runs");
}

#[test]
fn some_of_zoo_stay_finite() {
    some_stay_finite("models/zoo", SOME_OF_ZOO);
}

#[test]
fn some_of_zoo2_stay_finite() {
    some_stay_finite("models/zoo2", SOME_OF_ZOO2);
}

#[test]
#[ignore = "minutes: every file of the zoo"]
fn zoo_stays_finite() {
    let _ = nothing_new_is_infinite("models/zoo", |_, _| true);
}

#[test]
#[ignore = "minutes: every file of the second zoo"]
fn zoo2_stays_finite() {
    let _ = nothing_new_is_infinite("models/zoo2", |_, _| true);
}

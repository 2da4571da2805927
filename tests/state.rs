//! `--kv-cache state` against `--kv-cache io`: a prompt and eight more tokens, one sequence and two with pasts of their own, on the small
//! decoders of the repository and on every decoder of the shared zoos. Always holds: logits are equal, or the model is refused with E0409
//! and a reason; there is nothing in between.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::path::Path;

use narae::language::LanguageModel;
use narae::npz::Arrays;
use narae::session::{Session, import};
use narae_compiler::compile::{KvCache, Logits, Options, Precision};
use narae_compiler::onnx::Limits;
use narae_isa::{Chip, Diagnostics, Element, HostTensor};
use support::zoo::{Row, Zoo};

/// Decoders of the zoos whose caches are kept: fewer must never be.
const KEPT: &[&str] = &[
    "zoo/genai/gemma2_fp32/model.onnx",
    "zoo/genai/granite_fp32/model.onnx",
    "zoo/genai/llama_bf16/model.onnx",
    "zoo/genai/llama_fp16/model.onnx",
    "zoo/genai/llama_fp32/model.onnx",
    "zoo/genai/llama_int4/model.onnx",
    "zoo/genai/llama_int4_qdq/model.onnx",
    "zoo/genai/llama_int8/model.onnx",
    "zoo/genai/qwen3_fp32/model.onnx",
    "zoo/generator/llama_tiny_kv_fused23_compute_fp32.onnx",
    "zoo/generator/llama_tiny_kv_fused23_fp16.onnx",
    "zoo/generator/llama_tiny_kv_mup_fp32_pool.onnx",
    "zoo/generator/llama_tiny_kv_primitive_compute_fp32.onnx",
    "zoo/optimum/gpt2/model.onnx",
    "zoo/optimum/granite/model.onnx",
    "zoo/optimum/llama/model.onnx",
    "zoo/optimum/qwen3/model.onnx",
    "zoo/optimum/qwen3_moe/model.onnx",
    "zoo/ort_fused/llama_dynamo_fused.onnx",
    "zoo/ort_fused/llama_session_extended.onnx",
    "zoo/torch_dynamo/llama_kv.onnx",
    "zoo/torch_dynamo/llama_kv_fp16.onnx",
    "zoo/torch_dynamo/llama_kv_opset23.onnx",
    "zoo/torch_ts/llama_kv.onnx",
    "zoo/torch_ts/llama_kv_fp16.onnx",
    "zoo2/genai/ernie4_5_fp32/model.onnx",
    "zoo2/genai/granite3_int4/model.onnx",
    "zoo2/genai/hunyuan_dense_int4/model.onnx",
    "zoo2/genai/llama3_1_int4_qdq/model.onnx",
    "zoo2/genai/mistral_int4/model.onnx",
    "zoo2/genai/nemotronp_int4/model.onnx",
    "zoo2/genai/qwen2_5_int4/model.onnx",
    "zoo2/genai/qwen3_fp32/model.onnx",
    "zoo2/optimum/arcee/model.onnx",
    "zoo2/optimum/cohere/model.onnx",
    "zoo2/optimum/deepseek_v3/model.onnx",
    "zoo2/optimum/phi3_longrope/model.onnx",
    "zoo2/optimum/starcoder_bigcode/model.onnx",
    "zoo2/torch_dynamo/cohere2_kv20.onnx",
    "zoo2/torch_dynamo/exaone4_kv20.onnx",
    "zoo2/torch_dynamo/gemma4_kv20.onnx",
    "zoo2/torch_dynamo/hyperclovax_seed_kv20.onnx",
    "zoo2/torch_dynamo/hyperclovax_seed_kv23.onnx",
    "zoo2/torch_dynamo/ministral3_kv20.onnx",
    "zoo2/torch_dynamo/qwen3_moe_kv20.onnx",
];

/// Tokens of the prompt, and decode steps after it.
const PROMPT: usize = 7;
const STEPS: usize = 8;

fn options(kv_cache: KvCache, batch: i64) -> Options {
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    options.kv_cache = kv_cache;
    options.precision = Precision::F32;
    options.maxima.batch = Some(batch);
    options.maxima.sequence = Some(8);
    options.maxima.past = Some(24);
    options
}

/// Tokens by which the second of two sequences is taken back.
const BACK: usize = 3;

/// Token ids that every vocabulary has: always the same.
fn ids(sequence: usize) -> Vec<i64> {
    (0..PROMPT + STEPS).map(|at| ((sequence * 13 + at * at * 5 + at * 3 + 1) % 31) as i64).collect()
}

/// Logits of a call behind its last token, and the rest of the sequence one by one.
type Rows = Vec<Vec<f32>>;

fn text(problems: Diagnostics) -> String {
    problems.to_string()
}

/// A prompt and the steps after it.
fn run(model: &mut LanguageModel, ids: &[i64]) -> Result<Rows, Diagnostics> {
    model.reset();
    let mut rows = vec![model.feed(&ids[..PROMPT])?];
    for &id in &ids[PROMPT..] {
        rows.push(model.feed(&[id])?);
    }
    Ok(rows)
}

/// How far two runs are from each other, of the largest logit; infinite if they are not alike.
fn apart(got: &[f32], want: &[f32]) -> f32 {
    if got.len() != want.len() || got.iter().chain(want).any(|value| !value.is_finite()) {
        return f32::INFINITY;
    }
    let largest = want.iter().fold(1e-6_f32, |most, value| most.max(value.abs()));
    got.iter().zip(want).fold(0.0_f32, |most, (a, b)| most.max((a - b).abs())) / largest
}

fn worst(got: &Rows, want: &Rows) -> f32 {
    if got.len() != want.len() {
        return f32::INFINITY;
    }
    got.iter().zip(want).map(|(got, want)| apart(got, want)).fold(0.0, f32::max)
}

/// Two sequences in one session whose second one is taken back by so many tokens after the prompt: their pasts differ from there on.
fn two(session: &mut Session, back: usize) -> Result<[Rows; 2], Diagnostics> {
    let entry = session.image().entry("prefill")?.clone();
    let input =
        |rank: usize| entry.inputs.iter().find(|info| info.dims.len() == rank).expect("ids and lengths").clone();
    let (named, lengths) = (input(2), input(1));
    let mut call = |entry: &str, tokens: [&[i64]; 2], past: [usize; 2]| -> Result<[Vec<f32>; 2], Diagnostics> {
        let count = tokens[0].len();
        let mut inputs = Arrays::new();
        inputs.insert(named.name.clone(), HostTensor::from_i64_as(named.element, &[2, count], &tokens.concat()));
        inputs.insert(lengths.name.clone(), HostTensor::from_i64(&[2], &past.map(|past| past as i64)));
        let outputs = session.run(Some(entry), &inputs)?;
        let rows = outputs.values().next().expect("the logits");
        let width = *rows.dims.last().expect("a vocabulary");
        let each = rows.len() / 2;
        let last = |item: usize| (each * (item + 1) - width..each * (item + 1)).map(|at| rows.get_f32(at)).collect();
        Ok([last(0), last(1)])
    };
    let (first, second) = (ids(1), ids(2));
    let mut rows = [vec![], vec![]];
    let prompt = call("prefill", [&first[..PROMPT], &second[..PROMPT]], [0, 0])?;
    let [a, b] = prompt;
    rows[0].push(a);
    rows[1].push(b);
    let mut past = [PROMPT, PROMPT - back];
    // Three tokens at once, then one by one.
    let next = |ids: &[i64], past: usize, count: usize| ids[past..past + count].to_vec();
    for count in [3, 1, 1, 1, 1, 1] {
        let tokens = [next(&first, past[0], count), next(&second, past[1], count)];
        let entry = if count == 1 { "decode" } else { "prefill" };
        let [a, b] = call(entry, [&tokens[0], &tokens[1]], past)?;
        rows[0].push(a);
        rows[1].push(b);
        past = past.map(|past| past + count);
    }
    Ok(rows)
}

/// What one sequence gives with the caches as inputs and outputs, in the calls of [`two`].
fn alone(model: &mut LanguageModel, ids: &[i64], back: usize) -> Result<Rows, Diagnostics> {
    model.reset();
    let mut rows = vec![model.feed(&ids[..PROMPT])?];
    if back > 0 {
        model.reset();
        model.feed(&ids[..PROMPT - back])?;
    }
    let mut past = PROMPT - back;
    for count in [3, 1, 1, 1, 1, 1] {
        rows.push(model.feed(&ids[past..past + count])?);
        past += count;
    }
    Ok(rows)
}

/// Within what the order of sums costs in f32.
const TOLERANCE: f32 = 2e-5;

/// How far logits may be apart, of the largest one. A file that keeps its tensors in 16 bits rounds behind every node; where the two forms
/// sum in another order (the past of a cache on the chip is read in blocks), what is next to the middle of two numbers falls to the other
/// side, by a unit in the last place: 2^-10 in f16, 2^-7 in bf16. Two of them may meet in the largest logit.
fn tolerance(path: &Path) -> f32 {
    let graph = import(path, &Limits::default()).expect("it was imported before");
    let keeps = |element| graph.inputs().iter().any(|port| graph.element(port.value) == element);
    if keeps(Element::BF16) {
        1.6e-2
    } else if keeps(Element::F16) {
        2e-3
    } else {
        TOLERANCE
    }
}

/// The verdict on a decoder.
enum Verdict {
    /// Equal; the greatest difference.
    Same(f32),
    /// Refused with E0409: why.
    Refused(String),
    /// The model is none that compiles, whatever the cache.
    NoModel,
}

fn judge(path: &Path, back: usize, change: &dyn Fn(&mut Options)) -> Result<Verdict, String> {
    let with = |kv_cache, batch| {
        let mut options = options(kv_cache, batch);
        change(&mut options);
        options
    };
    let Ok(io) = Session::compile(path, &options(KvCache::Io, 1)) else { return Ok(Verdict::NoModel) };
    let state = match Session::compile(path, &with(KvCache::State, 1)) {
        Ok(state) => state,
        Err(problems) => {
            let first = &problems.0[0];
            return if first.code.id == "E0409" {
                Ok(Verdict::Refused(first.message.clone()))
            } else {
                Err(text(problems))
            };
        }
    };
    let (mut io, mut state) = (LanguageModel::new(io).map_err(text)?, LanguageModel::new(state).map_err(text)?);
    let mut most = (0.0_f32, String::new());
    let mut compare = |what: String, got: &Rows, want: &Rows| {
        let apart = worst(got, want);
        if apart > most.0 {
            most = (apart, what);
        }
    };
    for sequence in 0..2 {
        let want = run(&mut io, &ids(sequence)).map_err(text)?;
        let got = run(&mut state, &ids(sequence)).map_err(text)?;
        compare(format!("sequence {sequence} alone"), &got, &want);
    }
    let mut both = Session::compile(path, &with(KvCache::State, 2)).map_err(text)?;
    let got = two(&mut both, back).map_err(text)?;
    for (item, back) in [(0, 0), (1, back)] {
        compare(format!("item {item} of two"), &got[item], &alone(&mut io, &ids(item + 1), back).map_err(text)?);
    }
    let (apart, what) = most;
    if apart <= tolerance(path) {
        Ok(Verdict::Same(apart))
    } else {
        Err(format!("{what}: logits are {apart:.2e} apart"))
    }
}

/// Judges every `of`-th decoder of both zoos from `first` on.
fn zoo_decoders(first: usize, of: usize) {
    let (Some(zoo), Some(zoo2)) = (Zoo::named("models/zoo"), Zoo::named("models/zoo2")) else {
        return support::skip("models/zoo and models/zoo2");
    };
    let named = |name: &str, zoo: &Zoo| {
        zoo.rows("").into_iter().map(|row| (format!("{name}/{}", row.name), row)).collect::<Vec<_>>()
    };
    let rows: Vec<(String, Row)> = [named("zoo", &zoo), named("zoo2", &zoo2)].concat();
    let chosen = rows.iter().filter(|(_, row)| is_decoder(&row.path)).skip(first).step_by(of);
    let mut problems = vec![];
    for (name, row) in chosen {
        match (judge(&row.path, BACK, &|_| {}), KEPT.contains(&name.as_str())) {
            (Ok(Verdict::Same(apart)), _) => println!("same {name} ({apart:.1e})"),
            (Ok(Verdict::Refused(why)), false) => println!("refused {name}: {why}"),
            (Ok(Verdict::NoModel), false) => println!("no model {name}"),
            (Ok(Verdict::Refused(why)), true) => problems.push(format!("{name} is refused: {why}")),
            (Ok(Verdict::NoModel), true) => problems.push(format!("{name} does not compile")),
            (Err(problem), _) => problems.push(format!("{name}: {problem}")),
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

/// Whether a model has inputs of past keys and values. One that is not imported is none here.
fn is_decoder(path: &Path) -> bool {
    import(path, &Limits::default()).is_ok_and(|graph| graph.inputs().iter().any(|port| port.name.contains("past")))
}

#[test]
fn every_decoder_of_the_zoos_1() {
    zoo_decoders(0, 4);
}

#[test]
fn every_decoder_of_the_zoos_2() {
    zoo_decoders(1, 4);
}

#[test]
fn every_decoder_of_the_zoos_3() {
    zoo_decoders(2, 4);
}

#[test]
fn every_decoder_of_the_zoos_4() {
    zoo_decoders(3, 4);
}

fn is_same(file: &str, change: &dyn Fn(&mut Options)) {
    is_same_with(file, BACK, change);
}

fn is_same_with(file: &str, back: usize, change: &dyn Fn(&mut Options)) {
    match judge(&support::data(file), back, change) {
        Ok(Verdict::Same(apart)) => println!("{file}: {apart:.1e}"),
        Ok(Verdict::Refused(why)) => panic!("{file} is refused: {why}"),
        Ok(Verdict::NoModel) => panic!("{file} does not compile"),
        Err(problem) => panic!("{file}: {problem}"),
    }
}

fn is_refused(file: &str) -> String {
    match judge(&support::data(file), BACK, &|_| {}) {
        Ok(Verdict::Refused(why)) => why,
        Ok(_) => panic!("{file} is taken, and must not be"),
        Err(problem) => panic!("{file}: {problem}"),
    }
}

#[test]
fn our_own_decoders() {
    for file in ["llama2_primitive.onnx", "llama2_fused23.onnx", "llama2_primitive_fp16.onnx"] {
        is_same(file, &|_| {});
    }
}

/// Lengths that the data decides: the rows of experts, a length that is a maximum over positions; positions as one row.
#[test]
fn our_own_decoders_with_lengths_of_their_own() {
    for kind in ["experts", "counted", "window"] {
        is_same(&format!("decoders/{kind}.onnx"), &|_| {});
    }
    // The greatest position of all sequences takes part in each of them: they are alike only where they are equally long.
    is_same_with("decoders/lengths.onnx", 0, &|_| {});
}

#[test]
fn what_is_not_proven_is_refused() {
    for kind in ["prefix", "lowered"] {
        assert_eq!(is_refused(&format!("decoders/{kind}.onnx")), "the mask is not proven to be causal");
    }
    let why = is_refused("decoders/summed.onnx");
    assert_eq!(why, "the cache `past_key_values.0.key` is used by something else than attention");
}

#[test]
fn without_optimisation_a_cache_is_kept_too() {
    for level in [0, 1] {
        is_same("llama2_primitive.onnx", &|options| options.optimisation = level);
        is_same("decoders/experts.onnx", &|options| options.optimisation = level);
    }
    let mut options = options(KvCache::State, 1);
    options.optimisation = 0;
    let path = support::data("llama1_layer.onnx");
    let (_, findings) =
        Session::compile_observed(&path, &options, &mut narae_compiler::pipeline::Unobserved).expect("it compiles");
    assert!(findings.notes.iter().any(|note| note.contains("-O0")), "{:?}", findings.notes);
}

/// The number of tokens of a call is fixed: a prompt of so many, and what is left one by one.
#[test]
fn a_fixed_number_of_tokens() {
    for tokens in [1, 2, 3, 7] {
        let fixed = |options: &mut Options| {
            options.maxima.fixed = vec![("sequence_length".into(), tokens)];
            options.maxima.sequence = None;
        };
        for file in ["llama2_primitive.onnx", "decoders/counted.onnx", "decoders/window.onnx"] {
            let mut io = LanguageModel::compile(&support::data(file), &options(KvCache::Io, 1)).expect("io compiles");
            let mut options = options(KvCache::State, 1);
            fixed(&mut options);
            let mut state = LanguageModel::compile(&support::data(file), &options)
                .unwrap_or_else(|problems| panic!("{file}, {tokens} tokens: {problems}"));
            let (want, got) = (run(&mut io, &ids(0)).expect("io runs"), run(&mut state, &ids(0)).expect("state runs"));
            let apart = worst(&got, &want);
            assert!(apart <= TOLERANCE, "{file}, {tokens} tokens: {apart}");
        }
    }
    // As long as constants are folded, and longer.
    for tokens in [127, 128, 129] {
        let mut options = options(KvCache::State, 1);
        options.maxima.fixed = vec![("sequence_length".into(), tokens)];
        options.logits = Logits::All;
        Session::compile(&support::data("llama2_primitive.onnx"), &options)
            .unwrap_or_else(|problems| panic!("{tokens} tokens: {problems}"));
    }
}

/// The caches of an image for a fixed number of tokens have room for the longest past and a call.
#[test]
fn the_room_of_caches() {
    let room = |options: &Options| {
        let session = Session::compile(&support::data("llama1_layer.onnx"), options).expect("it compiles");
        let entries = session.image().metadata().entries.clone();
        let of = |entry: &narae_isa::image::Entry| {
            entry.slots.iter().find(|slot| slot.name == "capacity").map(|slot| slot.max).expect("a capacity")
        };
        entries.iter().map(of).collect::<Vec<_>>()
    };
    let mut fixed = options(KvCache::State, 1);
    assert_eq!(room(&fixed), [32, 32]);
    fixed.maxima.fixed = vec![("sequence_length".into(), 5)];
    assert_eq!(room(&fixed), [29, 29]);
    fixed.maxima.sequence = None;
    assert_eq!(room(&fixed), [29, 29]);
    let mut named = options(KvCache::State, 1);
    named.maxima.sequence = None;
    named.maxima.lengths = vec![("sequence_length".into(), 6)];
    assert_eq!(room(&named), [30, 30]);
    // A call that is longer than any past fits as well.
    let mut short = options(KvCache::State, 1);
    short.maxima.past = Some(0);
    assert_eq!(room(&short), [8, 8]);
}

/// More sequences than a table of pages can tell apart are refused before it is made.
#[test]
fn a_batch_without_end_is_refused() {
    let options = options(KvCache::State, 1 << 31);
    let refused = Session::compile(&support::data("llama1_layer.onnx"), &options).err().expect("it is too large");
    assert!(refused.to_string().contains("E0402"), "{refused}");
}

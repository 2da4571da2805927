//! Bugs seeded into compiled programs: the simulator must find each of them and name both instructions.
//!
//! A small decoder is compiled as it is for `generate` (caches kept on the chip) and for `run` (caches as inputs and outputs). Then one
//! thing is broken at a time – a wait or a signal dropped, semaphores swapped, a buffer in SRAM moved onto another – and a prompt and
//! two tokens are run.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::collections::BTreeMap;

use narae::language::LanguageModel;
use narae::session::{Session, import};
use narae_compiler::bounds;
use narae_compiler::compile::{KvCache, Options, Precision, compile_graph};
use narae_compiler::image::Compiled;
use narae_compiler::onnx::Limits;
use narae_compiler::pipeline::Unobserved;
use narae_isa::descriptor::Memory;
use narae_isa::{Chip, Diagnostics, Image};

fn compiled(kv_cache: KvCache) -> Compiled {
    let mut options = Options::new(Chip::built_in("narae-1").expect("a built-in chip"));
    (options.kv_cache, options.precision) = (kv_cache, Precision::F32);
    (options.maxima.batch, options.maxima.sequence, options.maxima.past) = (Some(1), Some(8), Some(16));
    let mut graph = import(&support::data("llama2_primitive.onnx"), &Limits::default()).expect("the model imports");
    bounds::fix(&mut graph, &options.maxima).expect("the maxima fit");
    compile_graph(graph, &options, &mut Unobserved).expect("the model compiles").0
}

/// The logits after a prompt and two tokens.
fn run(program: &Compiled) -> Result<Vec<f32>, Diagnostics> {
    let image = Image::from_bytes("seeded", program.to_bytes()?)?;
    let mut model = LanguageModel::new(Session::new(image)?)?;
    let mut logits = model.feed(&[3, 1, 4, 1, 5])?;
    for id in [9, 2] {
        logits.extend(model.feed(&[id])?);
    }
    Ok(logits)
}

/// The code of the problem that a run ends with, which must name an instruction and another one.
fn caught(program: &Compiled, what: &str) -> &'static str {
    let problems = run(program).expect_err(what);
    let text = problems.to_string();
    let code = problems.0[0].code.id;
    match code {
        "E0606" => assert!(text.matches("instruction ").count() >= 2, "{what}: both instructions in: {text}"),
        "E0607" => assert!(text.contains("instruction "), "{what}: who waits in: {text}"),
        _ => panic!("{what}: {text}"),
    }
    code
}

#[test]
fn every_seeded_semaphore_bug_is_found() {
    for kv_cache in [KvCache::Io, KvCache::State] {
        let mut program = compiled(kv_cache);
        run(&program).expect("the program as compiled is right");
        let words = program.content.words.clone();
        let mut found: BTreeMap<(&str, &str), usize> = BTreeMap::new();
        let waits: Vec<usize> = (0..words.len()).filter(|&pc| words[pc].sync.wait.is_some()).collect();
        let signals: Vec<usize> = (0..words.len()).filter(|&pc| words[pc].sync.signal.is_some()).collect();
        for (number, &pc) in waits.iter().enumerate() {
            program.content.words[pc].sync.wait = None;
            let code = caught(&program, &format!("{kv_cache:?}: the wait of {pc} `{}` dropped", words[pc]));
            *found.entry(("dropped wait", code)).or_default() += 1;
            let other = (1..waits.len()).map(|step| words[waits[(number + step) % waits.len()]].sync.wait);
            if let Some(other) = other.into_iter().find(|other| *other != words[pc].sync.wait) {
                program.content.words[pc].sync.wait = other;
                let code = caught(&program, &format!("{kv_cache:?}: {pc} `{}` waits for {other:?}", words[pc]));
                *found.entry(("swapped semaphore", code)).or_default() += 1;
            }
            program.content.words[pc] = words[pc];
        }
        for &pc in &signals {
            program.content.words[pc].sync.signal = None;
            let code = caught(&program, &format!("{kv_cache:?}: the signal of {pc} `{}` dropped", words[pc]));
            *found.entry(("dropped signal", code)).or_default() += 1;
            program.content.words[pc] = words[pc];
        }
        println!("{kv_cache:?}: {found:?}");
        assert!(waits.len() > 20, "a program without waits shows nothing");
    }
}

/// Every buffer of working memory is moved onto every other one that is in use at the same time, as a wrong plan would do it.
#[test]
fn a_plan_that_reuses_a_buffer_early_is_refused() {
    for kv_cache in [KvCache::Io, KvCache::State] {
        let mut program = compiled(kv_cache);
        let buffers = program.content.debug.buffers.clone();
        let scratch = |number: &usize| buffers[*number].memory == Memory::Sram;
        let numbers: Vec<usize> = (0..buffers.len()).filter(scratch).collect();
        let meet = |one: usize, other: usize| {
            let (one, other) = (buffers[one].used, buffers[other].used);
            one.0 <= other.1 && other.0 <= one.1
        };
        let mut seeded = 0;
        for &moved in &numbers {
            for &onto in numbers.iter().filter(|&&onto| onto != moved && meet(moved, onto)) {
                program.content.debug.buffers[moved].address = buffers[onto].address;
                let problems = run(&program).expect_err("two buffers in one place");
                let text = problems.to_string();
                let named = [moved, onto].iter().all(|&number| text.contains(&format!("`{}`", buffers[number].name)));
                assert!(text.contains("E0505") && text.contains("instruction") && named, "{text}");
                seeded += 1;
            }
            program.content.debug.buffers[moved].address = buffers[moved].address;
        }
        println!("{kv_cache:?}: {seeded} plans refused");
        assert!(seeded > 100, "a program whose buffers never meet shows nothing");
    }
}

//! Hand-written programs. (Bugs in random ones: `crate::validation::bugs`.)

use super::*;
use crate::state::{Region, SharedBytes};
use narae_isa::Semaphore;
use narae_isa::text::{assemble_program, split_lines};
use std::sync::Arc;

pub(super) fn assemble(text: &str) -> Program {
    let assembled = assemble_program("test.s", &split_lines(text), &|row| Ok(row.to_string()), &mut |_, name, _| {
        Err(format!("no directive {name}"))
    });
    let program = assembled.unwrap();
    Program { words: program.words, rows: program.rows.into_iter().map(|(_, row)| row).collect() }
}

fn run(program: &Program, memory: &mut Memory) -> Result<Statistics, Failure> {
    Core::new(program, memory, Limits { instructions: Some(100_000), ..Limits::default() }, &mut NoRecorder).run(0)
}

fn put(memory: &mut Memory, address: u64, values: &[f32]) {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    memory.bytes_mut(Space::Dram, address, bytes.len() as u64).unwrap().copy_from_slice(&bytes);
}

fn get(memory: &Memory, address: u64, n: usize) -> Vec<f32> {
    let bytes = memory.bytes(Space::Dram, address, 4 * n as u64).unwrap();
    bytes.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b)).collect()
}

/// A weight whose row n, column k holds n + k, in the packed f32 layout.
fn weights(memory: &mut Memory, address: u64, n: usize, k: usize) {
    let mut bytes = Vec::new();
    for slice in 0..n / 32 {
        for j in 0..k {
            for lane in 0..32 {
                bytes.extend(((slice * 32 + lane + j) as f32).to_le_bytes());
            }
        }
    }
    let length = bytes.len();
    let shared: SharedBytes = Arc::new(bytes);
    memory.map(Region::shared("weights", address, shared, 0, length).unwrap()).unwrap();
}

const PIPELINE: &str = "
.row in tensor dram f32 [1, 64] at 0x1000 + r1
.row a tensor sram f32 [1, 64] at 0x0
.row b tensor sram f32 [1, 64] at 0x1000
.row out tensor dram f32 [1, 64] at 0x2000 + r1
.row w weight f32 [64, 64] at 0x10000
    li r0, value=4
    li r1, value=0
    ldd d1, a, _
    ldd d2, b, _
    ldd d4, w, _
again:
    ldd d0, in, _
    ldd d3, out, _
    transfer d1, d0 @signal(s1, 1)
    ldw d4
    linear d2, d1, d4, _ @wait(s1, 1) @signal(s2, 1)
    unary relu, d2, d2 @wait(s2, 1) @signal(s3, 1)
    transfer d3, d2 @wait(s3, 1)
    alui add, r1, r1, value=256
    alui sub, r0, r0, value=1
    branchi gt, r0, value=0, again
    halt
";

fn pipeline_memory() -> Memory {
    let mut memory = Memory::new(0x4000);
    memory.map(Region::zeros("io", 0x1000, 0x2000)).unwrap();
    weights(&mut memory, 0x10000, 64, 64);
    let input: Vec<f32> = (0..256).map(|i| if i % 64 == i / 64 { 1.0 } else { 0.0 }).collect();
    put(&mut memory, 0x1000, &input);
    memory
}

#[test]
fn a_pipeline_of_engines_computes_products() {
    let (program, mut memory) = (assemble(PIPELINE), pipeline_memory());
    let statistics = run(&program, &mut memory).unwrap();
    assert_eq!(statistics, Statistics { instructions: 5 + 4 * 10 + 1, unused_signals: 0 });
    for step in 0..4 {
        let want: Vec<f32> = (0..64).map(|n| (n + step) as f32).collect();
        assert_eq!(get(&memory, 0x2000 + 256 * step as u64, 64), want);
    }
}

#[test]
fn each_dropped_wait_of_the_pipeline_is_explained() {
    let program = assemble(PIPELINE);
    let waits: Vec<usize> = (0..program.words.len()).filter(|pc| program.words[*pc].sync.wait.is_some()).collect();
    assert_eq!(waits.len(), 3);
    for pc in waits {
        let mut broken = program.clone();
        broken.words[pc].sync.wait = None;
        let failure = run(&broken, &mut pipeline_memory()).unwrap_err();
        assert_eq!(failure.code().id, "E0606", "{pc}");
        let text = failure.diagnose("main", &broken).message;
        assert!(text.contains(&format!("instruction {pc} `")) && text.matches("instruction ").count() >= 2, "{text}");
    }
}

#[test]
fn deadlocks_name_everyone_who_waits() {
    let mut program = assemble(PIPELINE);
    let linear = program.words.iter().position(|word| matches!(word.inst, Inst::Linear(_))).unwrap();
    program.words[linear].sync.wait = Some((Semaphore::new(9).unwrap(), 1));
    let failure = run(&program, &mut pipeline_memory()).unwrap_err();
    assert_eq!(failure.code().id, "E0607");
    let text = format!("{:?}", failure.diagnose("main", &program).notes);
    assert!(
        text.contains("waits for 1 of s9, which holds 0") && text.contains("waits until all engines are idle"),
        "{text}"
    );
}

#[test]
fn a_missing_weight_is_a_deadlock_and_a_wrong_one_a_fault() {
    let program = assemble(PIPELINE);
    let ldw = program.words.iter().position(|word| matches!(word.inst, Inst::LoadWeight(_))).unwrap();
    let mut missing = program.clone();
    missing.words[ldw].inst = program.words[0].inst;
    assert_eq!(run(&missing, &mut pipeline_memory()).unwrap_err().code().id, "E0607");
    let two = PIPELINE
        .replace("    ldw d4", "    ldw d5")
        .replace("    li r0", ".row w2 weight f32 [32, 64] at 0x10000\n    ldd d5, w2, _\n    li r0");
    let wrong = assemble(&two);
    assert_eq!(run(&wrong, &mut pipeline_memory()).unwrap_err().code().id, "E0608");
}

#[test]
fn faults_name_the_instruction() {
    for (text, code) in [
        ("jump 7", "E0605"),
        ("alui div, r0, r0, value=0\nhalt", "E0608"),
        ("again: jump again", "E0609"),
        (".row x tensor dram f32 [4] at 0x0\nldd d0, x, _\nlds r0, d0, _, index=0\nhalt", "E0605"),
        (".row x tensor sram f32 [4] at 0x0\nldd d0, x, _\nlds r0, d0, _, index=4\nhalt", "E0605"),
        (".row x tensor sram f32 [4] at 0x3ffc\nldd d0, x, _\nunary exp, d0, d0\nhalt", "E0605"),
        ("unary exp, d0, d0\nhalt", "E0608"),
        (".row x tensor sram f32 [4] at 0x0\nldd d0, 1, _\nhalt", "E0605"),
        (
            ".row x tensor sram f32 [4] at 0x0\n.row y tensor sram f32 [5] at 0x100\nldd d0, x, _\nldd d1, y, _\nunary exp, d0, d1\nhalt",
            "E0608",
        ),
    ] {
        let failure = run(&assemble(text), &mut pipeline_memory()).unwrap_err();
        assert_eq!(failure.code().id, code, "{text}: {failure:?}");
    }
}

#[test]
fn results_do_not_depend_on_the_instruction_set() {
    let mut answers = Vec::new();
    for arch in crate::kernels::lanes::all_archs() {
        let (program, mut memory) = (assemble(PIPELINE), pipeline_memory());
        let limits = Limits { arch, ..Limits::default() };
        Core::new(&program, &mut memory, limits, &mut NoRecorder).run(0).unwrap();
        answers.push(get(&memory, 0x2000, 256));
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
}

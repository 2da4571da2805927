//! Corrupted programs: one instruction, one operand, one address or one jump of a compiled program is changed, hashes and all made right
//! again, and the program runs. It must be refused, or stop with an error, or give the same outputs to the bit; never go on for long.
//!
//! The sample runs with `cargo test`; the campaign (1,000 programs) with
//! `cargo test --release --test corrupted -- --ignored --nocapture`.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "tests talk to whoever runs them")]

mod support;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use narae::npz::Arrays;
use narae::session::{Session, import};
use narae_compiler::bounds;
use narae_compiler::compile::{KvCache, Options, Precision, compile_graph};
use narae_compiler::image::Compiled;
use narae_compiler::onnx::Limits;
use narae_compiler::pipeline::Unobserved;
use narae_isa::image::TensorInfo;
use narae_isa::instructions::Inst;
use narae_isa::operand::Target;
use narae_isa::{Chip, Diagnostics, Element, HostTensor, Image, Row, Word};

/// A generator of numbers: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }
}

/// A program, and what is asked of it.
struct Subject {
    name: String,
    compiled: Compiled,
    calls: Vec<(String, Arrays)>,
    want: Vec<Arrays>,
}

fn made_up(random: &mut Random, info: &TensorInfo, dims: &[usize]) -> HostTensor {
    let count = dims.iter().product();
    if info.element == Element::F32 {
        let values: Vec<f32> = (0..count).map(|_| random.below(1000) as f32 / 500.0 - 1.0).collect();
        return HostTensor::from_f32(dims, &values);
    }
    let values: Vec<i64> = match info.name.as_str() {
        "input_ids" => (0..count).map(|_| random.below(40) as i64).collect(),
        "attention_mask" => vec![1; count],
        "position_ids" => (0..count as i64).collect(),
        // Nothing is in the cache before the first call.
        _ => vec![0; count],
    };
    HostTensor::from_i64(dims, &values)
}

/// A small decoder, one chip, with its caches inside or outside.
fn subject(chip: &str, kv_cache: KvCache, quant: &str) -> Subject {
    let mut options = Options::new(Chip::built_in(chip).expect("a built-in chip"));
    (options.kv_cache, options.precision) = (kv_cache, Precision::F32);
    options.quant = narae_compiler::compress::policy::Policy::parse(quant).expect("a policy");
    (options.maxima.batch, options.maxima.sequence, options.maxima.past) = (Some(1), Some(8), Some(16));
    let mut graph = import(&support::data("llama2_primitive.onnx"), &Limits::default()).expect("the model imports");
    bounds::fix(&mut graph, &options.maxima).expect("the maxima fit");
    let compiled = compile_graph(graph, &options, &mut Unobserved).expect("the model compiles").0;
    let mut random = Random(1);
    let calls = compiled.content.metadata.entries.iter().map(|entry| {
        // Five tokens behind three.
        let lengths: Vec<i64> = entry
            .slots
            .iter()
            .map(|slot| match slot.name.as_str() {
                name if name.contains("past") => 3.min(slot.max),
                name if name.contains("batch") => 1,
                _ => 5.min(slot.max),
            })
            .collect();
        let inputs = entry.inputs.iter().map(|info| {
            let dims = info.dims_at(&lengths).expect("lengths of every input");
            (info.name.clone(), made_up(&mut random, info, &dims))
        });
        (entry.name.clone(), inputs.collect())
    });
    let calls: Vec<(String, Arrays)> = calls.collect();
    let mut subject = Subject { name: format!("{chip} {kv_cache:?} {quant}"), compiled, calls, want: Vec::new() };
    subject.want =
        run(&subject.compiled, &subject.calls).unwrap_or_else(|problems| panic!("{}: {problems}", subject.name));
    subject
}

/// All calls on one machine: state goes on from call to call.
fn run(program: &Compiled, calls: &[(String, Arrays)]) -> Result<Vec<Arrays>, Diagnostics> {
    let mut session = Session::new(Image::from_bytes("corrupted", program.to_bytes()?)?)?;
    calls.iter().map(|(entry, inputs)| session.run(Some(entry), inputs)).collect()
}

/// What is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Change {
    Instruction,
    Operand,
    /// An address that may leave its buffer or stay inside.
    Address,
    Jump,
}

const CHANGES: [Change; 4] = [Change::Instruction, Change::Operand, Change::Address, Change::Jump];

/// Changes one thing; says what, or nothing if there was nothing to change.
fn corrupt(compiled: &mut Compiled, change: Change, random: &mut Random) -> Option<String> {
    let (words, rows) = (&mut compiled.content.words, &mut compiled.content.rows);
    let pc = random.below(words.len());
    match change {
        Change::Instruction => {
            let other = match random.below(4) {
                0 => Word::parse("mark rest, value=0, _").ok()?,
                1 if pc > 0 => words[pc - 1],
                _ => words[random.below(words.len())],
            };
            let other = if random.below(2) == 0 { Word { sync: words[pc].sync, ..other } } else { other };
            let text = format!("instruction {pc} `{}` is `{other}`", words[pc]);
            (std::mem::replace(&mut words[pc], other) != other).then_some(text)
        }
        Change::Operand => {
            let changed = (0..100).find_map(|_| {
                let bit = 24 + random.below(104);
                Word::decode(words[pc].encode() ^ (1 << bit)).ok()
            })?;
            let text = format!("instruction {pc} `{}` is `{changed}`", words[pc]);
            words[pc] = changed;
            Some(text)
        }
        Change::Address => {
            let by = [64, -64, 4, 128, 256, 4096, 8, -4, 1024, 65536][random.below(10)];
            let at = random.below(rows.len());
            let base = match &mut rows[at] {
                Row::Tensor(row) => &mut row.base,
                Row::Weight(row) => &mut row.base,
                Row::Window(_) | Row::Resize(_) => return None,
            };
            *base = base.checked_add_signed(by)?;
            Some(format!("row {at} `{}` is moved by {by}", rows[at]))
        }
        Change::Jump => {
            let branches: Vec<usize> = (0..words.len()).filter(|&pc| words[pc].inst.target().is_some()).collect();
            let pc = *branches.get(random.below(branches.len().max(1)))?;
            let target = Target(random.below(words.len()) as u32);
            let before = words[pc];
            match &mut words[pc].inst {
                Inst::Jump(row) => row.target = target,
                Inst::Branch(row) => row.target = target,
                Inst::BranchImmediate(row) => row.target = target,
                _ => return None,
            }
            (words[pc] != before).then(|| format!("instruction {pc} `{before}` goes to {}", target.0))
        }
    }
}

#[derive(Debug, Default)]
struct Tally {
    tried: usize,
    caught: BTreeMap<&'static str, usize>,
    same: usize,
    wrong: Vec<String>,
    slowest: Duration,
}

/// Corrupts the subjects in turn; without their plans, what is left is what the checker and the instructions themselves notice.
fn campaign(subjects: &mut [Subject], count: usize, seed: u64) -> BTreeMap<Change, Tally> {
    let mut random = Random(seed);
    let mut tallies: BTreeMap<Change, Tally> = BTreeMap::new();
    let mut done = 0;
    while done < count {
        let (change, number) = (CHANGES[done % CHANGES.len()], random.below(subjects.len()));
        let subject = &mut subjects[number];
        let before = subject.compiled.content.clone();
        if let Some(what) = corrupt(&mut subject.compiled, change, &mut random) {
            let start = Instant::now();
            let found = run(&subject.compiled, &subject.calls);
            let tally = tallies.entry(change).or_default();
            (tally.tried, tally.slowest) = (tally.tried + 1, tally.slowest.max(start.elapsed()));
            match found {
                Err(problems) => *tally.caught.entry(problems.0[0].code.id).or_default() += 1,
                Ok(outputs) if outputs == subject.want => tally.same += 1,
                Ok(_) => tally.wrong.push(format!("{}: {what}", subject.name)),
            }
            done += 1;
        }
        subject.compiled.content = before;
    }
    tallies
}

fn show(tallies: &BTreeMap<Change, Tally>) {
    for (change, tally) in tallies {
        println!(
            "{change:?}: {} tried, caught {:?}, {} the same, {} wrong, slowest {:.2} s",
            tally.tried,
            tally.caught,
            tally.same,
            tally.wrong.len(),
            tally.slowest.as_secs_f64()
        );
        tally.wrong.iter().for_each(|what| println!("  wrong: {what}"));
    }
}

fn must_hold(tallies: &BTreeMap<Change, Tally>) {
    let (tried, wrong) =
        tallies.values().fold((0, 0), |(tried, wrong), tally| (tried + tally.tried, wrong + tally.wrong.len()));
    assert!(wrong * 20 <= tried, "{wrong} of {tried} were silently wrong");
    assert!(tallies[&Change::Address].wrong.is_empty(), "an address leaves its region unseen");
    for (change, tally) in tallies {
        assert!(!tally.caught.is_empty(), "{change:?}: nothing was caught, so nothing was changed");
        assert!(tally.slowest < Duration::from_secs(10), "{change:?}: a run took {:?}", tally.slowest);
    }
}

#[test]
fn a_sample_of_corrupted_programs_is_never_silently_wrong() {
    let mut subjects = [subject("narae-1", KvCache::State, "none")];
    let tallies = campaign(&mut subjects, 60, 1);
    show(&tallies);
    must_hold(&tallies);
}

#[test]
#[ignore = "minutes; run with --release"]
fn a_thousand_corrupted_programs() {
    let mut subjects = [
        subject("narae-1", KvCache::State, "none"),
        subject("narae-1", KvCache::Io, "u4:g32"),
        subject("narae-edge", KvCache::Io, "none"),
        subject("narae-edge", KvCache::State, "u4:g32"),
    ];
    let tallies = campaign(&mut subjects, 1000, 7);
    show(&tallies);
    must_hold(&tallies);
}

//! Running images as a user would: small inputs that fit the entry, values and timing.
//!
//! In: a verified image, a number that decides lengths and values. Out: what the machine says. Always holds: an image that asks for more
//! memory than a run may take is not run; a run ends after [`INSTRUCTIONS`].

use std::sync::Arc;

use narae::compiler::bounds::Rest;
use narae::compiler::compile::{KvCache, Options, Precision, compile_graph};
use narae::compiler::compress::policy::Policy;
use narae::compiler::graph::Graph;
use narae::compiler::pipeline::Unobserved;
use narae::isa::image::{Entry, RegionKind};
use narae::isa::{Chip, Diagnostics, Element, HostTensor, Image, Memory};
use narae::sim::session::{Lengths, TimingOptions};
use narae::sim::{Limits, Machine, Tensors};

use crate::Outcome;
use crate::random::Random;

/// Instructions after which a run is given up.
pub const INSTRUCTIONS: u64 = 20_000;

/// Bytes of all regions beyond which an image is not run: big tensors are legal, and what they cost is no news.
const MOST_BYTES: u64 = 32 << 20;

/// Cycles of the chip beyond which only the time is computed: long products are legal, and that they take their time is no news.
const MOST_CYCLES: u64 = 50_000;

/// Bytes of an input beyond which there is no run.
const MOST_INPUT: usize = 1 << 20;

/// Codes that a program which we compiled ourselves must never meet: they call the program wrong, not its inputs.
const NOT_FROM_US: [&str; 7] = ["E0505", "E0506", "E0507", "E0606", "E0607", "E0608", "E0304"];

/// A number from bytes, for choices that are no part of them.
pub fn number(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Options that differ from run to run.
pub fn options(random: &mut Random) -> Options {
    let names = ["narae-1", "narae-edge", "narae-edge"];
    let chip = Chip::built_in(random.word(&names)).unwrap_or_else(|| unreachable!("these chips are built in"));
    let mut options = Options::new(chip);
    options.optimisation = *random.pick(&[0, 1, 2, 2, 2, 3]);
    options.precision =
        *random.pick(&[Precision::Auto, Precision::Auto, Precision::F32, Precision::F16, Precision::Bf16]);
    let policies = ["none", "none", "none", "u4", "u8:g32", "f16", "auto", "*=u4:g64"];
    options.quant = Policy::parse(random.word(&policies)).unwrap_or(Policy::None);
    options.kv_cache = if random.chance(6) { KvCache::State } else { KvCache::Io };
    let most = *random.pick(&[1, 3, 4, 9]);
    options.maxima.rest = Rest::AtMost(most);
    if random.chance(3) {
        options.maxima.batch = Some(most);
        options.maxima.sequence = Some(most);
        options.maxima.past = Some(most);
    }
    options.verify_each = random.chance(4);
    options
}

/// Compiles a graph and runs what comes out. Refusals by code are fine; an image of ours that the machine calls wrong is not.
pub fn compile_and_run(graph: Graph, number: u64) -> Outcome {
    let mut random = Random::new(number);
    let options = options(&mut random);
    let (compiled, _) = compile_graph(graph, &options, &mut Unobserved)?;
    if compiled.weight_bytes() > MOST_BYTES {
        return Ok(());
    }
    let image = match Image::from_bytes("fresh", compiled.to_bytes()?) {
        Ok(image) => image,
        Err(problems) => panic!("our own image does not open: {problems}"),
    };
    let outcome = run_image(image, &mut random);
    if let Err(problems) = &outcome
        && let Some(problem) = problems.iter().find(|problem| NOT_FROM_US.contains(&problem.code.id))
    {
        panic!("our own program is called wrong: {} {}", problem.code.id, problem.message);
    }
    outcome
}

/// Runs and times every entry.
pub fn run_image(image: Image, random: &mut Random) -> Outcome {
    let bytes: u64 = image.metadata().regions.iter().fold(0, |sum, region| sum.saturating_add(counted(region)));
    if bytes > MOST_BYTES {
        return Ok(());
    }
    let image = Arc::new(image);
    let limits = Limits { instructions: Some(INSTRUCTIONS), ..Limits::default() };
    let mut machine = Machine::new(image.clone(), limits)?;
    let mut outcome = Ok(());
    for entry in &image.metadata().entries {
        outcome = outcome.and(run_entry(&mut machine, entry, random));
    }
    outcome
}

fn counted(region: &narae::isa::image::Region) -> u64 {
    match (region.memory, region.kind) {
        (Memory::Dram, RegionKind::Io | RegionKind::State | RegionKind::Scratch) => region.bytes,
        _ => 0,
    }
}

fn run_entry(machine: &mut Machine, entry: &Entry, random: &mut Random) -> Outcome {
    let Some(inputs) = inputs(entry, random) else { return Ok(()) };
    let timing = TimingOptions { moves: random.chance(2), ..TimingOptions::default() };
    let timed: Result<(), Diagnostics> = match machine.time(&entry.name, &Lengths::of(&inputs), &timing) {
        Ok(timed) if timed.timing.end > MOST_CYCLES.saturating_mul(timed.timing.clock) => return Ok(()),
        // So is a loop that does not end: what it costs grows with the length of its operands, which the bound on instructions does not know.
        Err(problems) if problems.iter().any(|problem| problem.code.id == "E0609") => return Err(problems),
        timed => timed.map(|_| ()),
    };
    let values = match random.chance(3) {
        true => machine.run_timed(&entry.name, &inputs, &timing).map(|_| ()),
        false => machine.run(&entry.name, &inputs).map(|_| ()),
    };
    values.and(timed)
}

/// Inputs that fit an entry; none if its dims cannot be had, or are large.
fn inputs(entry: &Entry, random: &mut Random) -> Option<Tensors> {
    let length = |random: &mut Random, (min, max): (i64, i64)| match random.below(3) {
        0 => max,
        1 => min,
        _ => min.saturating_add(random.below(max.saturating_sub(min).clamp(0, 64) as usize + 1) as i64),
    };
    let slots: Vec<i64> = entry.slots.iter().map(|slot| length(random, (slot.min, slot.max))).collect();
    let mut inputs = Tensors::new();
    for info in &entry.inputs {
        let dims = info.dims_at(&slots).ok()?;
        let count = dims.iter().try_fold(1usize, |product, dim| product.checked_mul(*dim))?;
        if count.checked_mul(info.element.bytes()).is_none_or(|bytes| bytes > MOST_INPUT) {
            return None;
        }
        inputs.insert(info.name.clone(), tensor(random, info.element, &dims));
    }
    Some(inputs)
}

/// A tensor of small numbers.
pub fn tensor(random: &mut Random, element: Element, dims: &[usize]) -> HostTensor {
    let count: usize = dims.iter().product();
    let values: Vec<f64> = (0..count)
        .map(|_| match element {
            Element::Bool => random.below(2) as f64,
            _ if element.is_float() => (random.below(401) as f64 - 200.0) / 64.0,
            _ => random.below(4) as f64,
        })
        .collect();
    HostTensor::from_f64_as(element, dims, &values)
}
